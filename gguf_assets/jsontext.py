"""JSON as a Hub sends it, read in the same way by everybody.

orjson is fast and strict: half a surrogate pair or a number beyond a double makes it refuse a whole text,
although JSON allows both, and one broken value must not cost a page of a thousand rows. What is no JSON stays
an error. What does not belong here: what the values mean.
"""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import orjson

_LONGEST_WHOLE = len(str(-(2**63)))


def parse_json(content: bytes) -> Any:
    """Return the value of a JSON text in UTF-8.

    Half a surrogate pair becomes U+FFFD, a number beyond a double the largest one.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        try:
            lenient = json.loads(
                content.decode(), parse_constant=_no_json, parse_int=_number, parse_float=_number
            )
            return _clean(lenient)
        except (ValueError, RecursionError):
            raise error from None


def _no_json(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _number(text: str) -> int | float:
    number = float(text)
    if math.isinf(number):
        return math.copysign(sys.float_info.max, number)
    # As orjson does it: whole numbers are integers within 64 bits, and floats beyond.
    whole = int(text) if len(text) <= _LONGEST_WHOLE and text.lstrip("-").isdecimal() else None
    return number if whole is None or not -(2**63) <= whole < 2**64 else whole


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return value
