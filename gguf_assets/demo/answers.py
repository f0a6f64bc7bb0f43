"""An answer of the Hub before it goes onto the wire, and the error answers with their codes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson


@dataclass
class Answer:
    """Status, headers and body; `stream` replaces the body where bytes are made on the way (see `length`)."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    stream: Iterator[bytes] | None = None
    length: int | None = None

    @property
    def content_length(self) -> int:
        """Number of bytes the answer announces."""
        return len(self.body) if self.length is None else self.length


def as_json(document: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Return a JSON answer; `document` may be bytes that are JSON already."""
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    return Answer(status, body, {"content-type": "application/json; charset=utf-8", **(headers or {})})


def error(
    status: int, message: str, code: str | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """Return an error as the Hub sends it: JSON body, `X-Error-Message` and, if known, `X-Error-Code`."""
    # A header holds one line of ASCII.
    header_text = " ".join(message.split()).encode("ascii", "replace").decode()
    named = {"x-error-message": header_text} | ({"x-error-code": code} if code else {}) | dict(headers or {})
    return as_json({"error": message}, status=status, headers=named)


def bad_request(message: str) -> Answer:
    """Return a 400."""
    return error(400, message)


def revision_not_found(revision: str) -> Answer:
    """Return the 404 for an unknown branch or commit."""
    return error(404, f"Invalid rev id: {revision}", "RevisionNotFound")


def entry_not_found(path: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Return the 404 for an unknown file."""
    return error(404, f"Entry not found: {path}", "EntryNotFound", headers)
