"""The environment variables of the product: which are set, what they override, which of several counts.

What belongs here: listing them, and pointing out those that look like ours and are none. What does not:
their effect (`layers`, `load`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from gguf_assets.masking import MASK, mask
from gguf_assets.settings.keys import Key, dotted, find_key, keys_of, nearest
from gguf_assets.settings.load import CONFIG_VARIABLE, STATE_VARIABLE, SYNC_DOCUMENT, load_settings
from gguf_assets.settings.model import SyncConfiguration
from gguf_assets.settings.problems import FAILED, InvalidSettings
from gguf_assets.settings.reference import variables_of

BESIDE_THE_KEYS: Final[Mapping[str, str]] = {
    STATE_VARIABLE: "folder on a local disk for locks, Dagster's instance, configuration and logs",
    CONFIG_VARIABLE: "configuration folder; config in the state folder if unset",
    "GGUF_ASSETS_START_DATE": "first partition, YYYY-MM-DD; the earliest stored day if unset",
    "GGUF_ASSETS_EXECUTOR": "in_process (default), multiprocess or celery, for runs launched from the UI",
}
"""Variables that set no key."""
_OURS: Final = ("GGUF_", "SYNC_", "HF_", "HUGGINGFACE_")
_OF_OTHERS: Final = ("HF_HUB_", "HF_XET_", "HF_HOME", "HF_DEBUG", "GGUF_ASSETS_HUB_RECORDING")
_ALIKE, _NEARLY_EQUAL = 0.8, 0.9
_NO_SUCH: Final = "no such variable: the names that there are stand in this list"

State = Literal["unset", "counts", "overruled", "invalid"]


@dataclass(frozen=True)
class Variable:
    """An environment variable of the product.

    Attributes:
        name: its name.
        key: the dotted key that it overrides; None where it overrides none.
        purpose: what it is for.
        value: its value as it may be shown; None where it is unset or empty.
        state: whether it is set and counts.
        note: by what it is overruled, or what is wrong with it.
    """

    name: str
    key: str | None
    purpose: str
    value: str | None
    state: State
    note: str | None = None


@dataclass(frozen=True)
class Stranger:
    """A variable that is set, looks like one of ours and is none: probably misspelt."""

    name: str
    hint: str

    @property
    def effect(self) -> str:
        """What comes of it, as the rest of a sentence."""
        return "is refused" if self.name.startswith(SYNC_DOCUMENT.prefix) else "does nothing"


def variables(environ: Mapping[str, str]) -> list[Variable]:
    """Return the variables with a name of their own, and all others of the product that are set."""
    wrong = _wrong(environ)
    found: list[Variable] = []
    for key in keys_of(SyncConfiguration).values():
        *named, generic = variables_of(key)
        shown = [*named, *_generic(key, generic, environ)]
        winner = next((name for name in shown if _is_set(environ, name)), None)
        found += [_variable(name, key, environ, winner, wrong) for name in shown]
    for name, purpose in BESIDE_THE_KEYS.items():
        value = mask(environ[name].strip()) if _is_set(environ, name) else None
        state: State = "unset" if value is None else "invalid" if name in wrong else "counts"
        found.append(Variable(name, None, purpose, value, state, wrong.get(name)))
    return found


def strangers(environ: Mapping[str, str]) -> list[Stranger]:
    """Return the variables that are set, look like ours and are none."""
    known = {name for key in keys_of(SyncConfiguration).values() for name in variables_of(key)}
    known |= set(BESIDE_THE_KEYS)
    return [
        Stranger(name, hint)
        for name in sorted(environ)
        if name not in known and (hint := _hint(name, known)) is not None
    ]


def as_json(found: Iterable[Variable], unknown: Iterable[Stranger]) -> dict[str, Any]:
    """Return all of it as plain JSON values."""
    return {
        "variables": {v.name: {k: x for k, x in vars(v).items() if k != "name"} for v in found},
        "unknown": {stranger.name: stranger.hint for stranger in unknown},
    }


def _is_set(environ: Mapping[str, str], name: str) -> bool:
    return bool(environ.get(name, "").strip())


def _generic(key: Key, generic: str, environ: Mapping[str, str]) -> list[str]:
    """Return the generic variables of a key that are set; of a free map, those of its parts, too."""
    names = [generic]
    if key.free:
        names += sorted(name for name in environ if name.startswith(f"{generic}__"))
    return [name for name in names if _is_set(environ, name)]


def _variable(
    name: str, key: Key, environ: Mapping[str, str], winner: str | None, wrong: Mapping[str, str]
) -> Variable:
    path, purpose = dotted(key.path), key.field.description or ""
    if not _is_set(environ, name):
        return Variable(name, path, purpose, None, "unset")
    value = MASK if key.secret else mask(environ[name].strip())
    # The parts of a free map are laid over each other, none overrules another.
    if name != winner and not key.free:
        return Variable(name, path, purpose, value, "overruled", f"by {winner}")
    if name in wrong:
        return Variable(name, path, purpose, value, "invalid", wrong[name])
    return Variable(name, path, purpose, value, "counts")


def _wrong(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what is wrong with the variables whose values stop the settings from being loaded."""
    try:
        load_settings(environ)
    except InvalidSettings as error:
        found: dict[str, str] = {}
        for problem in error.problems:
            name = (problem.origin or "").removeprefix("environment variable ").partition(" ")[0]
            if name in environ:
                found[name] = problem.headline.removeprefix(FAILED).splitlines()[0]
        return found
    return {}


def _hint(name: str, known: Iterable[str]) -> str | None:
    prefix = SYNC_DOCUMENT.prefix
    if name.startswith(prefix):
        path = tuple(name.removeprefix(prefix).lower().split("__"))
        if find_key(SyncConfiguration, path) is not None:
            return None
        if (meant := nearest(SyncConfiguration, path)) is not None:
            return f"did you mean {prefix}{'__'.join(meant).upper()}?"
    ours = name.startswith(_OURS)
    if name.startswith(_OF_OTHERS):
        return None
    near = difflib.get_close_matches(name, known, n=1, cutoff=_ALIKE if ours else _NEARLY_EQUAL)
    if near:
        return f"did you mean {near[0]}?"
    # What begins with HF_ may belong to any program that speaks to the Hub.
    return _NO_SUCH if ours and not name.startswith("HF_") else None
