"""One client of the Hub: requests with retries, in one place, and every answer judged before it is used.

huggingface_hub sends the requests (its session, headers and hooks), the transport below it confines, paces
and counts them. What does not belong here: what the answers mean (`walk`, `details`).
"""

from __future__ import annotations

import logging
import math
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from gguf_assets import __version__
from gguf_assets.errors import ErrorCategory, GgufAssetsError, PermanentError
from gguf_assets.hub.errors import (
    INVALID_CREDENTIALS,
    TRY_CATEGORIES,
    FailedTryError,
    failed_on_the_way,
    gave_up,
    hub_date,
    permanent_status,
    server_message,
    transient_status,
)
from gguf_assets.hub.limits import RateLimiter, RequestLimits
from gguf_assets.hub.origin import check_endpoint, origin_of
from gguf_assets.jsontext import parse_json
from gguf_assets.masking import mask

if TYPE_CHECKING:
    import httpx2

    from gguf_assets.hub.transport import Traffic

_logger = logging.getLogger(__name__)

_LONGEST_BACKOFF = 60.0
_LONGEST_WAIT = 3600.0
"""Seconds; a Hub that asks for more is not waited for."""

_LONGEST = 200
"""Characters of the Hub's own words that are kept in a message."""

_SLICE = 10.0
"""Seconds between two looks at the deadline while waiting for a turn."""

_TOKEN = re.compile(r"[\x21-\x7e]+")
# huggingface_hub has one session per process, so only one client can be behind it.
_in_use = threading.Lock()


@dataclass(frozen=True)
class HubAnswer:
    """An answer that passed all checks.

    Attributes:
        url: address that answered, after redirects.
        status: HTTP status, 200 or one that the caller allowed.
        headers: header fields, names in lower case.
        content: the body.
        date: the Hub's clock (the one `Date` header), UTC.
        next_url: address of the next page as the Hub named it (`Link`, rel "next"), unchecked; None on the
            last page.
        requests: requests that it took, retries and redirect hops included.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    content: bytes
    date: datetime
    next_url: str | None = None
    requests: int = 1


class _Answered(Protocol):
    """What a try brings home."""

    @property
    def status(self) -> int:
        """HTTP status."""


Brought = TypeVar("Brought", bound=_Answered)

AnswerCheck = Callable[[HubAnswer], object]
"""Raises `FailedTryError` for an answer of status 200 that cannot be used; it is then asked for again."""


def expect_json(answer: HubAnswer) -> Any:
    """Return the body as JSON.

    Raises:
        FailedTryError: it is none.
    """
    try:
        return parse_json(answer.content)
    except ValueError as error:
        kind = answer.headers.get("content-type", "")
        if "html" in kind or answer.content.lstrip()[:1] == b"<":
            raise FailedTryError("answered with HTML instead of JSON") from None
        raise FailedTryError(f"answered with a body that is no JSON ({error})") from None


class HubClient:
    """Asks one Hub. A context manager; one may be open in a process at a time.

    Args:
        endpoint: the Hub, `scheme://host[:port]`.
        token: access token; None asks anonymously and never falls back to a token found on this machine.
        limits: rates, timeout and retries.
        limiter_file: file through which the processes of this machine share the rates; None for this
            process alone.
        allowed_domains: domains that may be contacted, sub-domains included; empty for any.
        time_limit_seconds: how long after its opening it still sends requests; None for ever.
        sleep: waits for so many seconds.
        random: a number from 0 to below 1.
        clock: seconds since the epoch, for the rates.
        monotonic: seconds of a clock that nobody sets, for the time limit.

    Raises:
        PermanentError: endpoint, token or limiter file are unusable.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        token: str | None,
        limits: RequestLimits,
        limiter_file: Path | None = None,
        allowed_domains: Sequence[str] = (),
        time_limit_seconds: float | None = None,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if token is not None and _TOKEN.fullmatch(token) is None:
            raise PermanentError(
                "The token cannot be sent: it is empty or holds spaces, line breaks or other characters "
                "that no token has",
                category=ErrorCategory.AUTHENTICATION,
                remedy="Set HF_TOKEN again, without quotes or a trailing line break.",
            )
        self.endpoint = check_endpoint(endpoint, allowed_domains)
        self._allowed_domains = tuple(allowed_domains)
        self.retries = 0
        self._token = token
        self._limits = limits
        self._limiter_file = limiter_file
        self._sleep = sleep
        self._random = random
        self._clock = clock
        self._monotonic = monotonic
        self._time_limit = math.inf if time_limit_seconds is None else time_limit_seconds
        self._opened_at = 0.0
        self._headers: dict[str, str] = {}
        self._limiter: RateLimiter | None = None
        self._traffic: Traffic | None = None
        self._failed: Counter[ErrorCategory] = Counter()

    @property
    def anonymous(self) -> bool:
        """Whether it asks without a token."""
        return self._token is None

    @property
    def requests(self) -> int:
        """Requests that went to the wire, retries and redirect hops included."""
        return 0 if self._traffic is None else self._traffic.requests

    @property
    def rate_limit_hits(self) -> int:
        """Answers that asked to slow down."""
        return 0 if self._traffic is None else self._traffic.rate_limit_hits

    @property
    def failed_tries(self) -> dict[ErrorCategory, int]:
        """Tries that failed, by what they failed with: every one of `TRY_CATEGORIES`, 0 where none did."""
        return {category: self._failed[category] for category in TRY_CATEGORIES}

    def __repr__(self) -> str:
        return f"HubClient({self.endpoint!r}, {'with' if self._token else 'without'} token)"

    def __enter__(self) -> Self:
        import httpx2
        from huggingface_hub import constants, set_client_factory
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]
        from huggingface_hub.utils._http import hf_request_event_hook

        from gguf_assets.hub.transport import HubTransport, Traffic, wire_for

        if not _in_use.acquire(blocking=False):
            raise RuntimeError("another HubClient is open in this process; close it first")
        try:
            limiter = RateLimiter(self._limits, file=self._limiter_file, sleep=self._sleep, clock=self._clock)
            self._limiter = limiter
            self._opened_at = self._monotonic()
            self._traffic = traffic = Traffic()
            # It may have been imported before this package set the variable.
            constants.HF_HUB_DISABLE_TELEMETRY = True
            self._headers = build_hf_headers(
                token=self._token or False, library_name="gguf_assets", library_version=__version__
            )

            def session() -> httpx2.Client:
                transport = HubTransport(
                    wire_for(self.endpoint),
                    endpoint=self.endpoint,
                    limiter=limiter,
                    timeout_seconds=self._limits.timeout_seconds,
                    traffic=traffic,
                    allowed_domains=self._allowed_domains,
                )
                hooks = {"request": [hf_request_event_hook]}
                return httpx2.Client(
                    transport=transport, event_hooks=hooks, follow_redirects=True, timeout=None
                )

            set_client_factory(session)
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from huggingface_hub import set_client_factory
        from huggingface_hub.utils._http import default_client_factory

        set_client_factory(default_client_factory)
        self._release()

    def _release(self) -> None:
        if self._limiter is not None:
            self._limiter.close()
            self._limiter = None
        _in_use.release()

    def get(
        self,
        path_and_query: str,
        *,
        allow_status: frozenset[int] = frozenset(),
        check: AnswerCheck = expect_json,
    ) -> HubAnswer:
        """Ask for a path, again and again while it fails transiently and retries are left.

        Args:
            path_and_query: begins with `/`; sent as it is.
            allow_status: client errors (4xx) that are returned instead of raised.
            check: judges the body of an answer of status 200.

        Raises:
            TransientError: the tries are used up.
            PermanentError: no other try could help: token refused, not permitted, another origin, any
                other client error, or the time limit is over.
        """
        if not path_and_query.startswith("/"):
            raise ValueError(f"not a path: {path_and_query[:120]!r}")
        before = self.requests
        return self.again(path_and_query, lambda: self._try(path_and_query, allow_status, check, before))

    def again(self, path: str, once: Callable[[], Brought]) -> Brought:
        """Try something again and again while it fails transiently and retries are left.

        Args:
            path: what is asked for, for messages.
            once: tries once; raises `FailedTryError` where another try may help.

        Raises:
            TransientError: the tries are used up.
            PermanentError: no other try could help, or the time limit is over.
        """
        limiter = self._opened()
        tries = self._limits.max_retries + 1
        for number in range(1, tries + 1):
            self._refuse_after_time_limit()
            try:
                return self._noted_try(path, once, number)
            except FailedTryError as failure:
                wait = self._pause_after(number, failure, limiter)
                if number == tries or wait > _LONGEST_WAIT:
                    raise gave_up(self.endpoint, path, failure, number) from None
                self.retries += 1
                _logger.warning(
                    "The Hub at %s %s; try %d of %d in %.1f s",
                    self.endpoint,
                    failure.what,
                    number + 1,
                    tries,
                    wait,
                )
                self._sleep(wait)
        raise AssertionError("unreachable: the last try returns or raises")

    @contextmanager
    def content(self, url: str, first_bytes: int) -> Iterator[httpx2.Response]:
        """Ask once for the first bytes of a file; the body is not read yet, and no redirect is followed.

        The token goes to the endpoint's origin alone; other origins must be those of its files.

        Args:
            url: address of the file, on the endpoint or where that has redirected to.
            first_bytes: how many bytes to ask for.

        Raises:
            FailedTryError: another try may help.
            PermanentError: the address is not one of the Hub's files.
        """
        from huggingface_hub import get_session

        from gguf_assets.hub.transport import FILE_CONTENT

        own = origin_of(url) == origin_of(self.endpoint)
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

    def refuse_failed(
        self, path: str, status: int, headers: Mapping[str, str], body: bytes, allow_status: frozenset[int]
    ) -> None:
        """Raise what the status of an answer means, unless it is a success or allowed.

        Raises:
            FailedTryError: another try may help.
            PermanentError: no other try could.
        """
        # Masked before it is cut: half a token is recognised by nobody.
        said = "" if status < 400 else self._masked(server_message(headers, body))
        message = said[:_LONGEST]
        failure = transient_status(status, headers, message)
        if failure is not None:
            raise failure
        refused_token = status == 401 and INVALID_CREDENTIALS in said.lower()
        if status >= 400 and (refused_token or status not in allow_status):
            raise permanent_status(self.endpoint, path, status, message, token=self._token is not None)

    def wait_for_turn(self, stop: Callable[[], bool]) -> bool:
        """Wait while the rates hold the next request back for long, asking now and then whether to stop.

        A used-up hourly window can hold a request for most of an hour, which a deadline must survive.

        Args:
            stop: asked at once and between waits.

        Returns:
            Whether the next request may be sent; false when `stop` said so.
        """
        limiter = self._opened()
        while not stop():
            if limiter.delay() <= _SLICE:
                return True
            self._sleep(_SLICE)
        return False

    def now(self) -> datetime:
        """Return the Hub's clock, UTC, by one request.

        Raises:
            TransientError, PermanentError: as `get`.
        """
        return self.get("/api/models?limit=1").date

    def _refuse_after_time_limit(self) -> None:
        if self._monotonic() - self._opened_at > self._time_limit:
            raise PermanentError(
                f"Stopped after {self._time_limit / 3600:g} h, the longest that a sync may take",
                category=ErrorCategory.TIMEOUT,
                remedy="The same command goes on where it stopped; more time: WORKFLOW_TIMEOUT_HOURS.",
            )

    def _opened(self) -> RateLimiter:
        if self._limiter is None:
            raise RuntimeError("the HubClient is not open: use it in a with statement")
        return self._limiter

    def _noted_try(self, path: str, once: Callable[[], Brought], number: int) -> Brought:
        """Try once; count it by category if it fails, and log it for who looks closely."""
        began, waited = time.monotonic(), self._waited
        said = "no answer"
        try:
            answer = once()
            said = str(answer.status)
            return answer
        except (FailedTryError, GgufAssetsError) as error:
            if error.category in TRY_CATEGORIES:
                self._failed[error.category] += 1
            said = error.what if isinstance(error, FailedTryError) else error.message
            raise
        finally:
            if _logger.isEnabledFor(logging.DEBUG):
                _logger.debug(
                    "GET %s: %s, %.3f s, try %d of %d",
                    mask(path),
                    mask(said),
                    time.monotonic() - began - (self._waited - waited),
                    number,
                    self._limits.max_retries + 1,
                )

    @property
    def _waited(self) -> float:
        return 0.0 if self._traffic is None else self._traffic.waited

    def _try(
        self, path: str, allow_status: frozenset[int], check: AnswerCheck, requests_before: int
    ) -> HubAnswer:
        response = self._send(path)
        status, headers = response.status_code, dict(response.headers.items())
        self.refuse_failed(path, status, headers, response.content, allow_status)
        date = hub_date(response.headers.get_list("date"))
        answer = HubAnswer(
            url=str(response.url),
            status=status,
            headers=headers,
            content=response.content,
            date=date,
            next_url=response.links.get("next", {}).get("url"),
            requests=self.requests - requests_before,
        )
        if status not in allow_status:
            if status != 200:
                raise FailedTryError(f"answered {status}, which says nothing")
            check(answer)
        return answer

    def _send(self, path: str) -> httpx2.Response:
        from huggingface_hub.utils import http_backoff  # type: ignore[attr-defined]

        with self._wire_errors():
            # Neither its retries nor its warnings: both are ours.
            response: httpx2.Response = http_backoff(
                "GET",
                self.endpoint + path,
                headers=self._headers,
                max_retries=0,
                retry_on_exceptions=(),
                retry_on_status_codes=(),
            )
        return response

    @contextmanager
    def _wire_errors(self) -> Iterator[None]:
        """Turn what the transport raises into a failed try or an error of the product."""
        import httpx2
        from huggingface_hub.errors import OfflineModeIsEnabled

        try:
            yield
        except httpx2.RequestError as error:
            raise failed_on_the_way(error, self._limits.timeout_seconds) from None
        except httpx2.InvalidURL:
            raise PermanentError(
                f"The Hub at {self.endpoint} named an address that is none",
                category=ErrorCategory.API,
                remedy="Check that HF_ENDPOINT names a Hugging Face Hub: gguf-assets doctor",
            ) from None
        except OfflineModeIsEnabled:
            raise PermanentError(
                f"The Hub at {self.endpoint} must not be asked: HF_HUB_OFFLINE is set",
                category=ErrorCategory.CONFIGURATION,
                remedy="Unset HF_HUB_OFFLINE and run the same command again.",
            ) from None

    def _pause_after(self, number: int, failure: FailedTryError, limiter: RateLimiter) -> float:
        """Return the seconds to wait after a failed try, counted from 1."""
        base = self._limits.backoff_base
        backoff = min(_LONGEST_BACKOFF, base ** (number - 1)) if self._limits.exponential_backoff else base
        if self._limits.backoff_jitter:
            backoff *= 0.5 + self._random() / 2
        return max(backoff, failure.wait or 0.0, limiter.quota_wait())

    def _masked(self, text: str) -> str:
        """Take the token out of what a Hub may have echoed."""
        return text if self._token is None else text.replace(self._token, "***")
