"""The beginnings of files: one bounded range read each, so that their headers can be looked at.

The Hub counts each as a download, so only who asked for it gets here (rule 7). What belongs here: asking,
under the rules for the token and for redirects. What does not: which files (`catalogue/verification`), where
the bytes are kept (a `HeadSink`) and what they say (`gguf_header`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, urljoin

from gguf_assets.hub.asking import Questions, StopReason, ask_all
from gguf_assets.hub.client import HubClient
from gguf_assets.hub.details import MALFORMED, NAME, SHA
from gguf_assets.hub.errors import FailedTryError

if TYPE_CHECKING:
    import httpx2

HEAD_BYTES = 262_144
"""Bytes that are read of a file: the general keys come first, long lists of tokens after them."""

ABOUT_ONE_FILE = frozenset({400, 401, 403, 404, 410, 416, 451})
"""What may be said about one file without the run being wrong as a whole; 416: it is empty."""

_MOST_HOPS = 5
_CONTENT_RANGE = re.compile(r"bytes 0-(\d{1,18})/(\d{1,18}|\*)")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True)
class HeadTarget:
    """A file to be read the beginning of, at the commit that the catalogue knows it at."""

    hub_id: str
    model_id: str
    sha: str
    path: str


@dataclass(frozen=True)
class FileHead:
    """What came of one read.

    Attributes:
        status: HTTP status: 200 or 206 with the bytes, else why there are none.
        content: the first bytes of the file, at most `HEAD_BYTES`; None without them.
        file_bytes: size of the whole file; None where it was not said.
        requests: requests that it took, redirect hops included.
    """

    status: int
    content: bytes | None = None
    file_bytes: int | None = None
    requests: int = 0


class HeadSink(Protocol):
    """Where the beginnings of files go."""

    def has_head(self, hub_id: str, sha: str, path: str) -> bool:
        """Whether the file was read at this commit before."""

    def store_head(
        self,
        *,
        hub_id: str,
        model_id: str,
        sha: str,
        path: str,
        status: int,
        content: bytes | None,
        file_bytes: int | None,
        requests: int,
    ) -> None:
        """Keep what came of a read (the attributes of `HeadTarget` and `FileHead`)."""


@dataclass(frozen=True)
class HeadsSummary:
    """How the reading went.

    Attributes:
        read: files whose beginning was read by this call.
        skipped: files of which the Hub said that they cannot be had: gone, gated, empty.
        failed: files whose answers stayed broken or out of reach.
        requests: requests sent by this call.
        stopped_reason: `done`; `budget` (request limit of the run); `deadline`; `failing` (the Hub kept
            failing, so the rest was left).
    """

    read: int = 0
    skipped: int = 0
    failed: int = 0
    requests: int = 0
    stopped_reason: StopReason = "done"


def read_heads(
    client: HubClient, targets: Iterable[HeadTarget], sink: HeadSink, *, deadline: Callable[[], bool]
) -> HeadsSummary:
    """Read the beginnings of files, several at the same time, and hand them on in the order of the targets.

    Files that the sink has are passed over without a request.

    Args:
        client: the Hub.
        targets: the files.
        sink: where the bytes go.
        deadline: asked before every file and during long waits for the rate; true ends the reading.

    Raises:
        PermanentError: the Hub refuses the token, leads to another origin, or the disk refused.
    """
    with_content = without = 0

    def keep(target: HeadTarget, head: FileHead) -> None:
        nonlocal with_content, without
        with_content += head.content is not None
        without += head.content is None
        sink.store_head(**vars(target), **vars(head))

    questions = Questions(
        targets,
        known=lambda target: sink.has_head(target.hub_id, target.sha, target.path),
        ask=lambda target: read_head(client, target),
        keep=keep,
    )
    asked = ask_all(client, questions, limit=None, deadline=deadline)
    return HeadsSummary(with_content, without, asked.failed, asked.requests, asked.stopped_reason)


def read_head(client: HubClient, target: HeadTarget) -> FileHead:
    """Read the beginning of one file, by one GET with `Range`; nothing beyond it is taken off the wire.

    Raises:
        TransientError, PermanentError: as `HubClient.get`; that a file cannot be had is no error.
    """
    before = client.own_requests
    path = _address(target)
    if path is None:
        return FileHead(MALFORMED)
    return client.again(path, lambda: _read_once(client, path, before))


def _address(target: HeadTarget) -> str | None:
    """Return path of a file on the endpoint; None for names that no repository or file can have."""
    parts = target.path.split("/")
    if NAME.fullmatch(target.model_id) is None or SHA.fullmatch(target.sha) is None:
        return None
    if any(part in ("", ".", "..") for part in parts):
        return None
    try:
        return f"/{target.model_id}/resolve/{target.sha}/{quote(target.path)}"
    except UnicodeEncodeError:
        return None


def _read_once(client: HubClient, path: str, requests_before: int) -> FileHead:
    """Try once, from the endpoint to wherever it keeps the file.

    Raises:
        FailedTryError: another try may help.
        PermanentError: the Hub refuses, or leads where its files do not lie.
    """
    url = client.endpoint + path
    for _ in range(_MOST_HOPS + 1):
        with client.content(url, HEAD_BYTES) as response:
            status = response.status_code
            if status not in _REDIRECTS:
                return _judged(client, path, response, requests_before)
            url = _joined(url, response.headers.get("location", ""))
    raise FailedTryError(f"redirected more than {_MOST_HOPS} times")


def _joined(url: str, location: str) -> str:
    """Return where a redirect leads; as it stands where it is no address."""
    try:
        return urljoin(url, location)
    except ValueError:
        return location


def _judged(client: HubClient, path: str, response: httpx2.Response, requests_before: int) -> FileHead:
    """Return what an answer holds.

    Raises:
        FailedTryError: it is not the beginning of a file; another try may help.
        PermanentError: the Hub refuses.
    """
    status, headers = response.status_code, dict(response.headers.items())
    content, ended = _first_bytes(response)
    client.refuse_failed(path, status, headers, content, ABOUT_ONE_FILE)
    requests = client.own_requests - requests_before
    if status in ABOUT_ONE_FILE:
        return FileHead(status, requests=requests)
    if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        raise FailedTryError(f"answered {status}, which says nothing")
    if headers.get("content-encoding", "identity") != "identity":
        raise FailedTryError("answered with a compressed file, which was not asked for")
    if "html" in headers.get("content-type", ""):
        raise FailedTryError("answered with HTML instead of a file")
    size = _file_bytes(status, headers, len(content) if ended else None)
    if size is not None and len(content) != min(size, HEAD_BYTES):
        raise FailedTryError(f"broke off the answer after {len(content):,} bytes")
    return FileHead(status, content, size, requests)


def _first_bytes(response: httpx2.Response) -> tuple[bytes, bool]:
    """Return at most `HEAD_BYTES` of a body, and whether it ended by then; the rest is never read."""
    body = bytearray()
    for chunk in response.iter_raw():
        body += chunk[: HEAD_BYTES - len(body)]
        if len(body) >= HEAD_BYTES:
            return bytes(body), False
    return bytes(body), True


def _file_bytes(status: int, headers: dict[str, str], ended_at: int | None) -> int | None:
    """Return the size of the whole file.

    Raises:
        FailedTryError: the answer holds another range than the one asked for.
    """
    if status == HTTPStatus.OK:
        length = headers.get("content-length", "")
        return int(length) if length.isascii() and length.isdecimal() and len(length) < 19 else ended_at
    said = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
    if said is None:
        raise FailedTryError("answered with another range than the one asked for")
    return None if said[2] == "*" else int(said[2])
