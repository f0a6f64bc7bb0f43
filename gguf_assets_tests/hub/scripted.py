"""A Hub that says exactly what a test scripts, byte by byte, over real HTTP."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from gguf_assets.hub.limits import RequestLimits

DATE = "Sun, 10 Aug 2025 12:00:00 GMT"


@dataclass(frozen=True)
class Request:
    path: str
    headers: dict[str, str]


@dataclass(frozen=True)
class Reply:
    """An answer; `dates` are sent as they are, one header each."""

    body: bytes = b"[]"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    dates: tuple[str, ...] = (DATE,)
    content_type: str = "application/json"
    cut_after: int | None = None
    reset: bool = False
    stall: float = 0.0
    drip: float = 0.0

    @staticmethod
    def json(content: object, **rest: object) -> Reply:
        return Reply(json.dumps(content).encode(), **rest)  # type: ignore[arg-type]


@dataclass
class ScriptedHub:
    """Answers with the replies of `script` in turn, the last one for ever, or with what `answer` returns."""

    script: Iterable[Reply] = ()
    answer: Callable[[Request], Reply] | None = None
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> ScriptedHub:
        self._replies = list(self.script)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._stopped = threading.Event()
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for connection in (self._listener, *self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in self._threads:
            thread.join(timeout=5)

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            while head := self._read_head(connection):
                lines = head.decode("latin-1").split("\r\n")
                headers = dict(line.split(": ", 1) for line in lines[1:] if line)
                request = Request(
                    lines[0].split(" ")[1], {name.lower(): text for name, text in headers.items()}
                )
                self.requests.append(request)
                if not self._reply(connection, self._next(request)):
                    return

    def _next(self, request: Request) -> Reply:
        if self.answer is not None:
            return self.answer(request)
        return self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]

    def _read_head(self, connection: socket.socket) -> bytes:
        head = b""
        while b"\r\n\r\n" not in head:
            chunk = connection.recv(65536)
            if not chunk:
                return b""
            head += chunk
        return head

    def _reply(self, connection: socket.socket, reply: Reply) -> bool:
        """Send a reply; false when the connection ends with it."""
        if reply.stall:
            self._stopped.wait(reply.stall)
        if reply.reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        headers = [
            *(("Date", date) for date in reply.dates),
            ("Content-Type", reply.content_type),
            ("Content-Length", str(len(reply.body))),
            *reply.headers,
        ]
        head = "".join(f"{name}: {text}\r\n" for name, text in headers)
        connection.sendall(f"HTTP/1.1 {reply.status} Said\r\n{head}\r\n".encode("latin-1"))
        if reply.drip:
            for position in range(len(reply.body)):
                if self._stopped.wait(reply.drip):
                    return False
                connection.sendall(reply.body[position : position + 1])
            return True
        connection.sendall(reply.body[: reply.cut_after])
        return reply.cut_after is None


@dataclass
class FakeTime:
    """A clock that only sleeping moves."""

    now: float = 1_754_827_200.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.slept.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now

    @property
    def hooks(self) -> dict[str, Callable]:
        """Arguments of `HubClient` for tests without real pauses and without chance."""
        return {"sleep": self.sleep, "clock": self.clock, "random": lambda: 1.0}


def limits(**changes: object) -> RequestLimits:
    """Limits without any rate and with quick time-outs."""
    values = {
        "requests_per_second": None,
        "requests_per_hour": None,
        "timeout_seconds": 5.0,
        "max_retries": 5,
        "backoff_base": 2.0,
        "backoff_jitter": False,
        "exponential_backoff": True,
        **changes,
    }
    return RequestLimits(**values)  # type: ignore[arg-type]


def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)
