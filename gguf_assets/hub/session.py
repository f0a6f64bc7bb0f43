"""huggingface_hub's session with the product's own transport in it, and the requests that are sent over it.

The session is one per process, so only one `HubClient` can be behind it. What belongs here: opening, closing,
sending once. What does not: trying again (`client`) and what answers mean. Importing it imports httpx2.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import httpx2
from huggingface_hub import close_session, constants, get_session, set_client_factory
from huggingface_hub.errors import OfflineModeIsEnabled
from huggingface_hub.utils import build_hf_headers, http_backoff  # type: ignore[attr-defined]
from huggingface_hub.utils._http import default_client_factory, hf_request_event_hook

from gguf_assets import __version__
from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.hub.errors import FailedTryError, failed_on_the_way
from gguf_assets.hub.limits import RateLimiter
from gguf_assets.hub.origin import origin_of
from gguf_assets.hub.traffic import Traffic
from gguf_assets.hub.transport import FILE_CONTENT, HubTransport, wire_for

_LAST_CALLS = 2.0
"""Seconds for which threads that still ask are waited for when a session is closed."""

_in_use = threading.Lock()


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Hold the process's one session.

    Raises:
        RuntimeError: another client holds it.
    """
    if not _in_use.acquire(blocking=False):
        raise RuntimeError("another HubClient is open in this process; close it first")
    try:
        yield
    finally:
        _in_use.release()


class Session:
    """Sends requests to one Hub, each once. A context manager, within `one_at_a_time`.

    Args:
        endpoint: the Hub, checked.
        token: access token; None for none, also none that this machine may hold.
        limiter: holds requests back.
        traffic: where requests are counted.
        timeout_seconds: how long the Hub may stay silent.
        allowed_domains: where contents of files may lie besides the endpoint and the Hub's CDN.
    """

    def __init__(
        self,
        endpoint: str,
        token: str | None,
        *,
        limiter: RateLimiter,
        traffic: Traffic,
        timeout_seconds: float,
        allowed_domains: Sequence[str],
    ) -> None:
        self._endpoint = endpoint
        self._limiter = limiter
        self._traffic = traffic
        self._timeout = timeout_seconds
        self._allowed_domains = allowed_domains
        # It may have been imported before this package set the variable; the headers already look at it.
        constants.HF_HUB_DISABLE_TELEMETRY = True
        self._headers: dict[str, str] = build_hf_headers(
            token=token or False, library_name="gguf_assets", library_version=__version__
        )

    def __enter__(self) -> Self:
        set_client_factory(self._client)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._traffic.closed.set()
        close_session()
        # The factory stays until then: by another one, a late try would go out unconfined.
        self._traffic.wait_for_calls(_LAST_CALLS)
        set_client_factory(default_client_factory)

    def _client(self) -> httpx2.Client:
        """Make a session; huggingface_hub does so anew whenever one was closed."""
        transport = HubTransport(
            wire_for(self._endpoint),
            endpoint=self._endpoint,
            limiter=self._limiter,
            timeout_seconds=self._timeout,
            traffic=self._traffic,
            allowed_domains=self._allowed_domains,
        )
        hooks = {"request": [hf_request_event_hook]}
        return httpx2.Client(transport=transport, event_hooks=hooks, follow_redirects=True, timeout=None)

    def get(self, path: str) -> httpx2.Response:
        """Ask for a path on the endpoint, once; redirects on its origin are followed.

        Raises:
            FailedTryError: another try may help.
            PermanentError: none could.
        """
        self._traffic.refuse_abandoned()
        with self._wire_errors():
            # Neither its retries nor its warnings: both are ours.
            response: httpx2.Response = http_backoff(
                "GET",
                self._endpoint + path,
                headers=self._headers,
                max_retries=0,
                retry_on_exceptions=(),
                retry_on_status_codes=(),
            )
        return response

    @contextmanager
    def content(self, url: str, first_bytes: int) -> Iterator[httpx2.Response]:
        """Ask once for the first bytes of a file; the arguments and errors of `HubClient.content`."""
        self._traffic.refuse_abandoned()
        own = origin_of(url) == origin_of(self._endpoint)
        headers = self._headers if own else {"user-agent": self._headers["user-agent"]}
        # Compressed, a few bytes could become any number.
        headers = {**headers, "range": f"bytes=0-{first_bytes - 1}", "accept-encoding": "identity"}
        with (
            self._wire_errors(),
            get_session().stream(
                "GET", url, headers=headers, follow_redirects=False, extensions={FILE_CONTENT: True}
            ) as response,
        ):
            yield response

    @contextmanager
    def _wire_errors(self) -> Iterator[None]:
        """Turn what the transport raises into a failed try or an error of the product."""
        try:
            yield
        except httpx2.RequestError as error:
            raise failed_on_the_way(error, self._timeout) from None
        except httpx2.InvalidURL:
            raise PermanentError(
                f"The Hub at {self._endpoint} named an address that is none",
                category=ErrorCategory.API,
                remedy="Check that HF_ENDPOINT names a Hugging Face Hub: gguf-assets doctor",
            ) from None
        except OfflineModeIsEnabled:
            raise PermanentError(
                f"The Hub at {self._endpoint} must not be asked: HF_HUB_OFFLINE is set",
                category=ErrorCategory.CONFIGURATION,
                remedy="Unset HF_HUB_OFFLINE and run the same command again.",
            ) from None
        except RuntimeError as error:
            # Somebody closed the session of the process between our getting and our using it.
            if "has been closed" not in str(error):
                raise
            raise FailedTryError(
                "was not asked (the connection was closed meanwhile)", category=ErrorCategory.NETWORK
            ) from None
