"""The loopback Hub as a running server: in a thread of this process or, for a terminal, until a signal."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
import threading
from collections.abc import Callable
from datetime import date
from time import sleep
from types import TracebackType
from typing import Any, Self

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from gguf_assets.demo.app import HubApp
from gguf_assets.demo.listing import HUB_PAGE_SIZE
from gguf_assets.demo.quota import Quota
from gguf_assets.demo.state import HubSource
from gguf_assets.errors import ErrorCategory, PermanentError, Refused

DEFAULT_PORT = 8765


class LoopbackHub(HubApp):
    """A Hub that the real client can talk to, served from a thread of this process.

    Args:
        source: the days it can serve.
        day: the one it serves first, the last by default; its clock starts at noon (UTC) of that day.
        port: 0 takes a free one.
        host: a loopback address; no other is allowed.
        page_size: most items on a page of the listing.
        tick: seconds its clock advances in a second; 0: it stands still.
        quota: the announced request quota; None: none is announced and none binds.
        token: the one token it accepts; None: any token is accepted.
        bare_401: whether a missing repository is an anonymous 401 without an error code, as on the live Hub.

    Raises:
        Refused: the day is unknown, or the host is not a loopback address.
    """

    def __init__(
        self,
        source: HubSource,
        *,
        day: date | None = None,
        port: int = 0,
        host: str = "127.0.0.1",
        page_size: int = HUB_PAGE_SIZE,
        tick: float = 1.0,
        quota: Quota | None = None,
        token: str | None = None,
        bare_401: bool = False,
    ) -> None:
        _check_loopback(host)
        super().__init__(
            source, day=day, page_size=page_size, tick=tick, quota=quota, token=token, bare_401=bare_401
        )
        self._host, self._port = host, port
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Scheme, host and port, without a slash at the end; known once the Hub is started."""
        return f"http://{self._host}:{self._port}"

    def start(self) -> Self:
        """Begin to serve and return when requests are answered.

        Raises:
            Refused: the port cannot be had.
        """
        listener = _listen(self._host, self._port)
        # The port stays the same when the Hub is stopped and started again.
        self._port = listener.getsockname()[1]
        config = uvicorn.Config(
            self,
            http=_tracking_protocol(self),
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            date_header=False,
            server_header=False,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="loopback-hub", daemon=True
        )
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise PermanentError(
                    f"The loopback Hub at {self.url} did not start.", category=ErrorCategory.SYSTEM
                )
            sleep(0.005)
        return self

    def stop(self) -> None:
        """Stop serving and close every connection; a Hub that is not running is left alone."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join()
            self._server = self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def serve(
    source: HubSource,
    *,
    day: date | None = None,
    port: int = DEFAULT_PORT,
    host: str = "127.0.0.1",
    announce: Callable[[LoopbackHub], None] = lambda hub: None,
    **options: Any,
) -> None:
    """Serve until SIGINT or SIGTERM; `announce` is called with the Hub once it answers.

    Must run in the main thread, which is where signals arrive. `options` are those of `LoopbackHub`.
    """
    stopped = threading.Event()
    hub = LoopbackHub(source, day=day, port=port, host=host, **options)
    before = {
        number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        with hub:
            announce(hub)
            stopped.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tracking_protocol(hub: HubApp) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol, with each connection's transport noted for faults that need it."""

    class TrackingProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
        def connection_made(self, transport: asyncio.Transport) -> None:
            # asyncio leaves Nagle's algorithm on for this listener's sockets: 44 ms for every small answer.
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._peer = transport.get_extra_info("peername")[:2]
            hub.connections[self._peer] = transport
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            hub.connections.pop(self._peer, None)
            super().connection_lost(exc)

    return TrackingProtocol


def _check_loopback(host: str) -> None:
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise Refused(
            f"The loopback Hub does not listen on {host}: anyone who reaches it can move its day.",
            remedy="Use 127.0.0.1, localhost or ::1.",
        )


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise Refused(
            f"Port {port} of {host} cannot be opened: {error.strerror}.",
            remedy="Choose another: gguf-assets hub serve --recording DIR --port 0",
        ) from error
