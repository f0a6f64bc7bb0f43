"""Faults of the loopback Hub: which request is hit and what goes wrong with its answer.

A fault is data; the Hub asks it for every request and every answer. What does not belong here: how bytes
get onto the wire (`app.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson

HTML_PAGE = b"<!doctype html><html><head><title>Maintenance</title></head><body>Be right back.</body></html>"


class FaultKind(StrEnum):
    """What goes wrong."""

    STATUS = "status"
    """Another status, with `headers` and an error text, instead of the answer."""
    RESET = "reset"
    """The connection is reset (TCP RST) instead of an answer."""
    STALL = "stall"
    """Nothing for `seconds`, then the answer."""
    TRUNCATE = "truncate"
    """The body ends after `length` bytes, under the full Content-Length; then the connection closes."""
    GARBAGE = "garbage"
    """Status 200 with `body` (an HTML page by default) instead of the answer."""
    FOREIGN_LINK = "foreign_link"
    """The next page is said to lie at `origin`."""
    DROP_ROW = "drop_row"
    """The item with `hub_id` (the first by default) is missing from the page."""
    DOUBLE_ROW = "double_row"
    """The item with `hub_id` (the first by default) is there twice."""
    EMPTY_PAGE = "empty_page"
    """The page has no items; its Link stays."""
    EDIT_ROW = "edit_row"
    """The item with `hub_id` (all by default), or the single document, is changed by `edit`."""
    NO_DATE = "no_date"
    """No Date header."""
    TWO_DATES = "two_dates"
    """A second Date header with another day."""


Edit = Callable[[dict[str, Any]], Any] | Mapping[str, Any]
"""A function from the old to the new item, or a JSON merge patch (RFC 7396: null deletes a key)."""


@dataclass
class Fault:
    """A rule: requests whose target (path and query) contains `path`, from the `nth` such on, `count` times.

    `count=None` means for ever. The parameters after it belong to single kinds, see `FaultKind`.
    """

    kind: FaultKind | str
    path: str = ""
    nth: int = 1
    count: int | None = 1
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | str = HTML_PAGE
    seconds: float = 1.0
    length: int = 20
    origin: str = "http://elsewhere.invalid"
    hub_id: str | None = None
    edit: Edit = field(default_factory=dict)
    seen: int = 0
    """How many requests matched so far."""
    hits: int = 0
    """How many of them it struck."""

    def __post_init__(self) -> None:
        self.kind = FaultKind(self.kind)

    def strikes(self, target: str) -> bool:
        """Return whether this request is hit, and count it."""
        if self.path not in target:
            return False
        self.seen += 1
        if self.seen < self.nth or (self.count is not None and self.hits >= self.count):
            return False
        self.hits += 1
        return True

    def alter(self, body: bytes) -> bytes:
        """Return the JSON body of an answer as this fault leaves it."""
        document = orjson.loads(body)
        rows = document if isinstance(document, list) else [document]
        changed: list[Any] = []
        for position, row in enumerate(rows):
            times, row = self._row(position, row)
            changed += [row] * times
        if not isinstance(document, list):
            return orjson.dumps(changed[0])
        return orjson.dumps(changed)

    def _row(self, position: int, row: dict[str, Any]) -> tuple[int, Any]:
        named = row.get("_id") == self.hub_id
        first_or_named = named if self.hub_id is not None else position == 0
        match self.kind:
            case FaultKind.EMPTY_PAGE:
                return 0, row
            case FaultKind.DROP_ROW:
                return (0 if first_or_named else 1), row
            case FaultKind.DOUBLE_ROW:
                return (2 if first_or_named else 1), row
            case FaultKind.EDIT_ROW if named or self.hub_id is None:
                return 1, (self.edit(row) if callable(self.edit) else merge_patch(row, self.edit))
            case _:
                return 1, row


ROW_FAULTS = frozenset({FaultKind.DROP_ROW, FaultKind.DOUBLE_ROW, FaultKind.EMPTY_PAGE, FaultKind.EDIT_ROW})


def merge_patch(target: Any, patch: Any) -> Any:
    """Return `target` changed by a JSON merge patch (RFC 7396)."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged
