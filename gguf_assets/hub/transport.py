"""The one way onto the wire: a transport under huggingface_hub's own client.

Every request and every redirect hop passes here, so here they are confined to the endpoint's origin, held
back by the rate limiter, bounded in time and counted. What does not belong here: retrying and judging
answers (`client`). Importing this module imports httpx2.
"""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence

import httpx2

from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.hub.limits import RateLimiter
from gguf_assets.hub.origin import Origin, foreign_origin, holds_content, origin_of
from gguf_assets.hub.traffic import Traffic
from gguf_assets.loopback import is_loopback

FILE_CONTENT = "gguf_assets_file_content"
"""Extension of a request for the content of a file, which may lie on another origin than the endpoint's."""

_WHOLE_ANSWER = 10
"""A body may take so many timeouts as a whole: a Hub that drips bytes must not hold a sync for ever."""


class HubTransport(httpx2.BaseTransport):
    """Wraps the transport that owns the sockets.

    Args:
        inner: the wrapped transport.
        endpoint: the one allowed origin, `scheme://host[:port]`.
        limiter: holds requests back.
        timeout_seconds: bound of every single step: connecting, sending, waiting for the next bytes.
        traffic: where requests are counted.
        allowed_domains: where contents of files may lie besides the endpoint and the Hub's CDN.
        wire: makes the transport for another origin.
    """

    def __init__(
        self,
        inner: httpx2.BaseTransport,
        *,
        endpoint: str,
        limiter: RateLimiter,
        timeout_seconds: float,
        traffic: Traffic,
        allowed_domains: Sequence[str] = (),
        wire: Callable[[str], httpx2.BaseTransport] | None = None,
    ) -> None:
        self._inner = inner
        self._allowed_domains = allowed_domains
        self._wire = wire or wire_for
        self._others: dict[Origin, httpx2.BaseTransport] = {}
        self._lock = threading.Lock()
        self._endpoint = endpoint
        self._origin = origin_of(endpoint)
        self._limiter = limiter
        self._timeout = timeout_seconds
        self._traffic = traffic
        self._under_way = 0
        self._closing = False

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request.

        Raises:
            PermanentError: the request would leave the endpoint's origin, and is none for the content of a
                file, where that may lie, without a token (category `api`); or the budget of the run is spent.
            AbandonedError: nobody waits for the answer any more.
        """
        url = str(request.url)
        own = _origin_on_the_wire(request.url) == self._origin
        inner = self._inner if own else self._other(request, url)
        self._traffic.take_place()
        try:
            self._limiter.acquire(request.url.raw_path.decode("ascii") if own else None)
        except BaseException:
            self._traffic.give_back()
            raise
        # huggingface_hub passes timeout=None, which would switch off any default of the client.
        timeout = httpx2.Timeout(self._timeout).as_dict()
        request.extensions = {**request.extensions, "timeout": timeout}
        self._traffic.sent()
        with self._lock:
            self._under_way += 1
        try:
            response = inner.handle_request(request)
        except BaseException as error:
            if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
                self._traffic.unsent()
            self._ended()
            raise
        if own:
            try:
                self._limiter.observe(response.headers)
            except BaseException:
                response.close()
                self._ended()
                raise
        if response.status_code == 429 or (response.status_code == 503 and "retry-after" in response.headers):
            self._traffic.slowed_down()
        seconds = _WHOLE_ANSWER * self._timeout
        response.stream = _BoundedStream(response.stream, seconds=seconds, ended=self._ended)
        return response

    def close(self) -> None:
        """Close the sockets, as soon as nothing is under way over them any more.

        huggingface_hub closes the session of the process whenever it meets a ConnectError; a socket that is
        closed under a thread that waits for its answer would make that wait out its timeout.
        """
        with self._lock:
            self._closing = True
            if self._under_way:
                return
        self._close_all()

    def _ended(self) -> None:
        with self._lock:
            self._under_way -= 1
            if not self._closing or self._under_way:
                return
        self._close_all()

    def _close_all(self) -> None:
        for transport in (self._inner, *self._others.values()):
            transport.close()

    def _other(self, request: httpx2.Request, url: str) -> httpx2.BaseTransport:
        """Return what a request for the content of a file goes over to another origin.

        Raises:
            PermanentError: it must not go there.
        """
        origin = _origin_on_the_wire(request.url)
        content = bool(request.extensions.get(FILE_CONTENT)) and "authorization" not in request.headers
        if origin is None or not content or not holds_content(self._endpoint, url, self._allowed_domains):
            raise foreign_origin(self._endpoint, url)
        request.headers.pop("cookie", None)
        with self._lock:
            if origin not in self._others:
                netloc = request.url.netloc.decode("ascii")
                self._others[origin] = self._wire(f"{request.url.scheme}://{netloc}")
            return self._others[origin]


def _origin_on_the_wire(url: httpx2.URL) -> Origin | None:
    """Return the origin that a request goes to; None where its text, read otherwise, names another one.

    Two readers of addresses need not agree about an odd one, and sockets follow this one.
    """
    origin = origin_of(str(url))
    if origin is None or url.userinfo:
        return None
    return origin if (url.scheme, url.host) == origin[:2] and url.port in (None, origin[2]) else None


class _BoundedStream(httpx2.SyncByteStream):
    """A body that must have come as a whole within so many seconds."""

    def __init__(self, inner: object, *, seconds: float, ended: Callable[[], None]) -> None:
        assert isinstance(inner, httpx2.SyncByteStream)
        self._inner = inner
        self._ended: Callable[[], None] | None = ended
        self._deadline = time.monotonic() + seconds

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._inner:
            if time.monotonic() > self._deadline:
                raise httpx2.ReadTimeout("the answer did not end")
            yield chunk

    def close(self) -> None:
        ended, self._ended = self._ended, None
        try:
            self._inner.close()
        finally:
            if ended is not None:
                ended()


def wire_for(endpoint: str) -> httpx2.HTTPTransport:
    """Return the transport that owns the sockets, behind the proxy that the environment names, if any.

    A client with a transport of its own ignores proxy variables, so they are honoured here; loopback never
    goes through a proxy.

    Raises:
        PermanentError: the proxy's address is unusable (category `configuration`).
    """
    origin = origin_of(endpoint)
    assert origin is not None
    scheme, host, _ = origin
    # Plain http knows no certificates, and loading them outlasts a page.
    verify = scheme == "https"
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return httpx2.HTTPTransport(verify=verify)
    proxies = urllib.request.getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if proxy is None:
        return httpx2.HTTPTransport(verify=verify)
    try:
        return httpx2.HTTPTransport(proxy=proxy if "://" in proxy else f"http://{proxy}")
    except (ValueError, ImportError, httpx2.InvalidURL):
        # Its text may hold a password: neither shown nor chained.
        raise PermanentError(
            f"The proxy that the environment names for {scheme} addresses is unusable",
            category=ErrorCategory.CONFIGURATION,
            remedy=f"Correct {scheme.upper()}_PROXY or ALL_PROXY, or put {host} into NO_PROXY.",
        ) from None
