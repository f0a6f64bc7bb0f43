"""The loopback Hub as an ASGI application: log, clock, quota, faults, and the bytes onto the wire.

What an answer says is decided in `routes.py`; what becomes of it on its way out, here.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, replace
from datetime import date, time, timedelta
from email.utils import format_datetime
from typing import Any

from starlette.types import Receive, Scope, Send

from gguf_assets.demo import control
from gguf_assets.demo.answers import Answer, error
from gguf_assets.demo.clock import NOON, HubClock, at
from gguf_assets.demo.edits import Edit, EditedHub, MadeEdit
from gguf_assets.demo.faults import ROW_FAULTS, Fault, FaultKind
from gguf_assets.demo.listing import HUB_PAGE_SIZE, Listing
from gguf_assets.demo.quota import Quota
from gguf_assets.demo.routes import Request, Routes
from gguf_assets.demo.state import HubSource


@dataclass(frozen=True)
class LoggedRequest:
    """A request the Hub received; status 0: the connection was reset. `authorized`: it carried a token."""

    method: str
    target: str
    status: int
    authorized: bool


class HubApp:
    """A Hub over a source, serving one of its days; see `server.LoopbackHub` for the arguments."""

    def __init__(
        self,
        source: HubSource,
        *,
        day: date | None = None,
        page_size: int = HUB_PAGE_SIZE,
        tick: float = 1.0,
        quota: Quota | None = None,
        token: str | None = None,
        bare_401: bool = False,
    ) -> None:
        self.source = source
        self.quota = quota
        self.faults: list[Fault] = []
        self.requests: list[LoggedRequest] = []
        self.connections: MutableMapping[tuple[str, int], asyncio.Transport] = {}
        self._token, self._page_size, self._bare_401 = token, page_size, bare_401
        self._request_number = 0
        self.clock = HubClock(at(source.days[-1]), tick)
        self.set_day(source.days[-1] if day is None else day)

    @property
    def source(self) -> HubSource:
        """The days it can serve, as they are without edits; another source begins without edits."""
        return self._source

    @source.setter
    def source(self, source: HubSource) -> None:
        self._source = source
        self._edited = source if isinstance(source, EditedHub) else EditedHub(source)

    @property
    def day(self) -> date:
        """The day whose state is served; the clock may have moved past it."""
        return self._routes.state.day

    def set_day(self, day: date, time: time = NOON) -> None:
        """Serve another day of the source and set the clock to that time (UTC) of it."""
        self._serve(day)
        self.clock.set(at(day, time))

    @property
    def edits(self) -> tuple[MadeEdit, ...]:
        """The edits in force, in the order in which they were made."""
        return self._edited.edits

    def edit(self, *edits: Edit) -> None:
        """Make edits, those without a day from the day served now on; the clock goes on as it was.

        Raises:
            Refused: as `EditedHub.edit` says; then none is made.
        """
        self._edited.edit(*(edit if edit.day else replace(edit, day=self.day) for edit in edits))
        self._serve(self.day)

    def clear_edits(self) -> None:
        """Take back all edits; the clock goes on as it was."""
        self._edited.clear_edits()
        self._serve(self.day)

    def _serve(self, day: date) -> None:
        state = self._edited.on(day)
        self._routes = Routes(state, Listing(state), self._token, self._page_size, self._bare_401)

    def clear_requests(self) -> None:
        """Forget the requests logged so far."""
        self.requests.clear()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request (ASGI)."""
        if scope["type"] != "http":
            return
        request = await _request(scope, receive)
        if request.path.startswith(control.PREFIX):
            await self._send(control.answer(self, request), request, [], send)
            return
        target = request.path + (f"?{request.query}" if request.query else "")
        struck = [fault for fault in list(self.faults) if fault.strikes(target)]
        kinds = {fault.kind for fault in struck}
        for fault in struck:
            if fault.kind is FaultKind.STALL:
                await asyncio.sleep(fault.seconds)
        if FaultKind.RESET in kinds:
            self._log(request, target, 0)
            self._reset(scope)
            return

        quota_headers, refusal = self.quota.count(target) if self.quota else ({}, None)
        answer = refusal or self._routes.answer(request)
        answer.headers |= quota_headers
        for fault in struck:
            answer = _faulty(answer, fault)
        self._log(request, target, answer.status)
        await self._send(answer, request, struck, send)

    def _log(self, request: Request, target: str, status: int) -> None:
        self.requests.append(LoggedRequest(request.method, target, status, request.bearer is not None))

    async def _send(self, answer: Answer, request: Request, struck: list[Fault], send: Send) -> None:
        self._request_number += 1
        headers = [
            ("content-length", str(answer.content_length)),
            ("x-request-id", f"Root=1-loopback-{self._request_number:08x}"),
            *answer.headers.items(),
            *(("date", value) for value in self._dates({fault.kind for fault in struck})),
        ]
        raw = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": raw})
        cut = next((fault.length for fault in struck if fault.kind is FaultKind.TRUNCATE), None)
        if request.method == "HEAD":
            await send({"type": "http.response.body", "body": b""})
        elif cut is not None and cut < answer.content_length:
            # An answer left unfinished makes the server close the connection.
            await send({"type": "http.response.body", "body": _first(answer, cut), "more_body": True})
        elif answer.stream is None:
            await send({"type": "http.response.body", "body": answer.body})
        else:
            for chunk in answer.stream:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    def _dates(self, kinds: set[FaultKind | str]) -> Iterator[str]:
        if FaultKind.NO_DATE not in kinds:
            yield self.clock.http_date()
        if FaultKind.TWO_DATES in kinds:
            yield format_datetime(self.clock.now() - timedelta(days=1), usegmt=True)

    def _reset(self, scope: Scope) -> None:
        transport = self.connections.get(tuple(scope["client"]))
        if transport is not None:
            # Lingering for zero seconds turns the close into a RST.
            linger = struct.pack("ii", 1, 0)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            transport.abort()


async def _request(scope: Scope, receive: Receive) -> Request:
    body = b""
    more: Any = scope["method"] == "POST"
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    return Request(
        scope["method"],
        scope["raw_path"].decode("latin-1"),
        scope["query_string"].decode("latin-1"),
        headers,
        body,
    )


def _faulty(answer: Answer, fault: Fault) -> Answer:
    """Return the answer as the fault leaves it; faults of the wire itself leave it alone."""
    if fault.kind is FaultKind.STATUS:
        return error(fault.status, f"Fault: status {fault.status}", headers=fault.headers)
    if fault.kind is FaultKind.GARBAGE:
        body = fault.body.encode() if isinstance(fault.body, str) else fault.body
        return Answer(200, body, {"content-type": "text/html; charset=utf-8", **fault.headers})
    if fault.kind is FaultKind.FOREIGN_LINK:
        answer.headers["link"] = f'<{fault.origin}/api/models?cursor=foreign>; rel="next"'
    elif fault.kind in ROW_FAULTS and answer.stream is None and answer.status == 200:
        answer.body = fault.alter(answer.body)
    return answer


def _first(answer: Answer, count: int) -> bytes:
    body = bytearray()
    for chunk in answer.stream or [answer.body]:
        body += chunk[: count - len(body)]
        if len(body) >= count:
            break
    return bytes(body)
