"""What is wrong with a configuration: single problems, and the one error that reports them all.

What belongs here: the wording of problems. What does not: finding them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from gguf_assets.errors import ErrorCategory, Refused
from gguf_assets.masking import MASK, mask
from gguf_assets.settings.keys import Key, dotted

FAILED = "Configuration validation failed: "
_REMEDY = "Nothing was started. Correct what is named above where it is set (in brackets), then try again."
_LONGEST = 80


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        headline: the whole sentence, shown as it is.
        key: dotted key, None where the problem lies with a file as a whole.
        value: the value as it may be shown, None where there is none.
        allowed: what may stand there.
        origin: the layer that holds the value.
        hint: what to write instead.
    """

    headline: str
    key: str | None = None
    value: str | None = None
    allowed: str | None = None
    origin: str | None = None
    hint: str | None = None

    def __str__(self) -> str:
        """Return the headline, then key, value, layer, what is allowed and the hint, indented."""
        name = self.key if self.value is None else f"{self.key} = {self.value}"
        where = " ".join(part for part in (name, self.origin and f"({self.origin})") if part)
        facts = (where, self.allowed and f"allowed: {self.allowed}", self.hint)
        detail = "; ".join(fact for fact in facts if fact)
        return f"{self.headline}\n  {detail}" if detail else self.headline


class InvalidSettings(Refused):
    """A configuration that must not be used, with everything that is wrong with it.

    Attributes:
        problems: all problems found, in the order of the layers.
    """

    def __init__(self, problems: Sequence[Problem], *, remedy: str | None = _REMEDY) -> None:
        super().__init__(
            mask("\n".join(map(str, problems))), category=ErrorCategory.CONFIGURATION, remedy=remedy
        )
        self.problems = tuple(map(_masked, problems))


def _masked(problem: Problem) -> Problem:
    texts = {name: mask(text) for name, text in vars(problem).items() if text is not None}
    return replace(problem, **texts)


def shown(value: Any, key: Key | None = None) -> str:
    """Return a value for a message: short, and without any secret."""
    if key is not None and key.secret:
        return MASK
    try:
        text = value if isinstance(value, str) else repr(value)
    except (ValueError, RecursionError):  # thousands of digits or levels
        return f"a {type(value).__name__} too large to be shown"
    masked = mask(text)
    if isinstance(value, str):
        masked = repr(masked)
    return masked if len(masked) <= _LONGEST else masked[: _LONGEST - 1] + "…"


def unknown_environment(value: Any, environments: Sequence[str]) -> InvalidSettings:
    """Return the error that is those two lines and nothing else."""
    return InvalidSettings([Problem(invalid_environment(value, environments))], remedy=None)


def invalid_environment(value: Any, environments: Sequence[str]) -> str:
    """Return the two lines that say which environments there are."""
    name = mask(value) if isinstance(value, str) else shown(value)
    return f"Invalid environment: {name}\nValid environments: {', '.join(environments)}"


_UNSET: Final = object()


def wrong(key: Key, value: Any, text: str, origin: str, *, allowed: Any = _UNSET) -> Problem:
    """Return the problem of a key's value: `text` says what it must be, `allowed` what may stand there."""
    return Problem(
        f"{FAILED}{key.label} {text}",
        dotted(key.path),
        shown(value, key),
        key.allowed if allowed is _UNSET else allowed,
        origin,
    )
