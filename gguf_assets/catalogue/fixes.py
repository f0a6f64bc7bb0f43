"""Automatic fixes: values of the Hub's answers that are not as promised and have exactly one right reading.

The test for each: could a careful reader understand the value otherwise? Then it is no fix, and the value is
taken as unknown. Every fix is a finding that holds the value before and after, so it can be undone from
`issues` alone; the capture keeps what the Hub sent. Here: the fixes, and their way into findings and back.
Not here: which column may be mended by which of them, and when (`row_reader`, `parse`, `details`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gguf_assets.catalogue.findings import VALUE_LENGTH, Finding

_EXACT = 2**53
"""Whole numbers up to here are told apart by a double."""

_DIGITS = re.compile(r"0|[1-9][0-9]{0,15}")
_ONE_TAG = re.compile(r"[^\s,;|\[\]{}\"']+")


@dataclass(frozen=True)
class Fix:
    """One kind of repair.

    Attributes:
        name: the rule of its findings in `issues`.
        what: what was found, in words; the message of its findings.
        reason: why there is one reading only.
        reference: where the right form is promised.
        apply: returns the repaired value, or the same object where there is nothing for this fix to do.
    """

    name: str
    what: str
    reason: str
    reference: str
    apply: Callable[[Any], Any]


@dataclass(frozen=True)
class Step:
    """One fix applied to one value."""

    fix: Fix
    before: Any
    after: Any


def _trimmed(value: Any) -> Any:
    return value.strip() if isinstance(value, str) and value != value.strip() else value


def _absent(value: Any) -> Any:
    return None if value == "" and isinstance(value, str) else value


def _lower(value: Any) -> Any:
    if isinstance(value, str) and value.isascii() and value != value.lower():
        return value.lower()
    return value


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and _DIGITS.fullmatch(value) else value


def _whole(value: Any) -> Any:
    exact = isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT
    return int(value) if exact else value


def _boolean(value: Any) -> Any:
    if value in ("true", "false") and isinstance(value, str):
        return value == "true"
    return value


def _one_tag(value: Any) -> Any:
    return [value] if isinstance(value, str) and _ONE_TAG.fullmatch(value) else value


_API = "Hub API, `/api/models`"

SPACE_AROUND = Fix(
    "space_around_text",
    "white space stood around the text; it was cut off",
    "No identity, hash, date, number or word of the Hub begins or ends with white space.",
    _API,
    _trimmed,
)
EMPTY_TEXT = Fix(
    "empty_text",
    "an empty text stood for a value that is not there; taken as absent",
    "An empty text is no name, hash, date or number; the Hub leaves such a value out or sends null.",
    _API,
    _absent,
)
UPPER_CASE = Fix(
    "upper_case",
    "hexadecimal digits or a fixed word came in upper case; taken in lower case",
    "Hexadecimal digits mean the same in both cases, and no two words of the Hub differ in case alone.",
    "RFC 4648, section 8",
    _lower,
)
NUMBER_AS_TEXT = Fix(
    "number_as_text",
    "a whole number came as a text of digits; taken as the number",
    "Digits without sign, separator or leading zero are one number in every notation.",
    _API,
    _number,
)
WHOLE_NUMBER_AS_FLOAT = Fix(
    "whole_number_as_float",
    "a whole number came with a fraction of zero; taken as the whole number",
    "Up to 2^53 a double holds every whole number exactly.",
    "RFC 8259, section 6",
    _whole,
)
BOOLEAN_AS_TEXT = Fix(
    "boolean_as_text",
    "true or false came as text; taken as the truth value",
    "The words are those of JSON itself.",
    "RFC 8259, section 3",
    _boolean,
)
SINGLE_TAG = Fix(
    "single_tag",
    "one tag came as a text instead of a list; taken as a list of it",
    "A text without white space, separator, quotation mark or bracket is one tag.",
    _API,
    _one_tag,
)

FIXES: dict[str, Fix] = {
    fix.name: fix
    for fix in (
        SPACE_AROUND,
        EMPTY_TEXT,
        UPPER_CASE,
        NUMBER_AS_TEXT,
        WHOLE_NUMBER_AS_FLOAT,
        BOOLEAN_AS_TEXT,
        SINGLE_TAG,
    )
}
"""All fixes by name."""

# Which fixes may be applied to a value of each kind, in this order.
TEXT = TIME = (SPACE_AROUND, EMPTY_TEXT)
HASH = (SPACE_AROUND, EMPTY_TEXT, UPPER_CASE)
IDENTITY = (SPACE_AROUND, UPPER_CASE)
NAME = (SPACE_AROUND,)
NUMBER = (SPACE_AROUND, EMPTY_TEXT, NUMBER_AS_TEXT, WHOLE_NUMBER_AS_FLOAT)
TRUTH = (SPACE_AROUND, UPPER_CASE, BOOLEAN_AS_TEXT)
TAGS = (SINGLE_TAG,)


def mended(field: str, value: Any, fixes: tuple[Fix, ...]) -> tuple[Any, tuple[Step, ...]]:
    """Apply to a value the fixes that have something to do, in order.

    Whether the result is fit to be used is the caller's to judge; if not, the steps count for nothing.

    Args:
        field: key of the value in the Hub's answer.
        value: the value as found.
        fixes: the fixes that may be applied.

    Returns:
        The last value, and a step for each fix applied: none where one would not fit into a finding, since
        it could not be undone.
    """
    steps: list[Step] = []
    found = value
    for fix in fixes:
        after = fix.apply(value)
        if after is not value:
            steps.append(Step(fix, value, after))
            value = after
    if any(len(_written(field, part)) > VALUE_LENGTH for s in steps for part in (s.before, s.after)):
        return found, ()
    return value, tuple(steps)


def fix_findings(
    field: str, steps: tuple[Step, ...], *, hub_id: str, model_id: str, path: str | None = None
) -> list[Finding]:
    """Return the findings that record the steps of one value."""
    return [
        Finding(
            step.fix.name,
            "info",
            f"`{field}`: {step.fix.what}",
            hub_id=hub_id,
            model_id=model_id,
            path=path,
            value=_written(field, step.before),
            fixed_to=_written(field, step.after),
        )
        for step in steps
    ]


def undo(value: str, fixed_to: str) -> tuple[str, Any, Any]:
    """Return field, value before and value after of a fix, from its row in `issues`.

    Where several fixes mended one value, each goes back by one step: undo the last row first.

    Raises:
        ValueError: the texts are not those of a fix.
    """
    field, is_fix, before = value.partition("=")
    other, _, after = fixed_to.partition("=")
    if not is_fix or other != field:
        raise ValueError(f"{value!r} and {fixed_to!r} are no fix of one field")
    return field, json.loads(before), json.loads(after)


def _written(field: str, value: Any) -> str:
    return f"{field}={json.dumps(value)}"
