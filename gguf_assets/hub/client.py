"""One client of the Hub: requests with retries, in one place, and every answer judged before it is used.

huggingface_hub sends the requests (`session`), the transport below it confines, paces and counts them. What
does not belong here: when to try again (`retries`), what the answers mean (`walk`, `details`) and asking for
several things together (`asking`).
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.hub.adaptive import Adaptation
from gguf_assets.hub.answers import AnswerCheck, HubAnswer, expect_json
from gguf_assets.hub.errors import (
    INVALID_CREDENTIALS,
    FailedTryError,
    hub_date,
    permanent_status,
    server_message,
    transient_status,
)
from gguf_assets.hub.figures import Figures
from gguf_assets.hub.limits import QuotaState, RateLimiter, RequestLimits
from gguf_assets.hub.origin import check_endpoint
from gguf_assets.hub.quota import quota_key
from gguf_assets.hub.retries import RetryPolicy
from gguf_assets.hub.traffic import Traffic, Turn
from gguf_assets.hub.trying import Brought, Trying

if TYPE_CHECKING:
    import httpx2

    from gguf_assets.hub.session import Session

__all__ = ["AnswerCheck", "HubAnswer", "HubClient", "expect_json"]

_LONGEST = 200
"""Characters of the Hub's own words that are kept in a message."""

_SLICE = 10.0
"""Seconds between two looks at the deadline while waiting for a turn."""

_TOKEN = re.compile(r"[\x21-\x7e]+")

_NO_WHOAMI = frozenset({403, 404, 405})
"""What a mirror says that does not know who somebody is."""


class HubClient(Figures):
    """Asks one Hub. A context manager; one may be open in a process at a time.

    Args:
        endpoint: the Hub, `scheme://host[:port]`.
        token: access token; None asks anonymously and never falls back to a token found on this machine.
        limits: rates, timeout and retries.
        limiter_file: file through which the processes of this machine share the rates; None for this
            process alone.
        allowed_domains: domains that may be contacted, sub-domains included; empty for any.
        time_limit_seconds: how long after its opening it still sends requests; None for ever.
        shared_limits_url: where several machines share the rates; None for this machine alone.
        memory_short: says whether memory is short, so that fewer requests should be under way.
        before_first: called before the first request is sent; what it raises refuses that and every later
            one.
        sleep: waits for so many seconds; None for real, but no longer than anybody waits for the outcome.
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
        shared_limits_url: str | None = None,
        memory_short: Callable[[], bool] = lambda: False,
        before_first: Callable[[HubClient], None] | None = None,
        sleep: Callable[[float], None] | None = None,
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
        self._token = token
        self._limits = limits
        self._limiter_file = limiter_file
        self._shared_limits_url = shared_limits_url
        self._memory_short = memory_short
        self._before_first = before_first
        self._before_first_lock = threading.RLock()
        self._sleep = sleep
        self._random = random
        self._clock = clock
        self._monotonic = monotonic
        self._time_limit_seconds = time_limit_seconds
        self._policy = RetryPolicy.of(limits)
        self._limiter: RateLimiter | None = None
        self._session: Session | None = None
        self._closing = ExitStack()
        self._begin()

    def _begin(self) -> None:
        """Set everything that is counted and adapted to its beginning."""
        traffic = Traffic(self._limits.max_requests_per_run)
        adaptation = Adaptation(
            self._limits.max_concurrent_requests,
            has_rate=self._limits.requests_per_second is not None,
            enabled=self._limits.adaptive,
            set_rate=lambda share: self._opened().set_rate(share),
            memory_short=self._memory_short,
        )
        super().__init__(traffic, adaptation)
        self._trying = Trying(
            self.endpoint,
            traffic,
            adaptation,
            sleep=self._sleep,
            random=self._random,
            monotonic=self._monotonic,
            time_limit_seconds=self._time_limit_seconds,
        )

    @property
    def anonymous(self) -> bool:
        """Whether it asks without a token."""
        return self._token is None

    @property
    def account(self) -> str:
        """Who asks whom, as a digest that tells no secret: the same for the same endpoint and token."""
        return quota_key(self.endpoint, self._token)

    @property
    def quota(self) -> QuotaState | None:
        """What is known of the quota that the Hub announced; None without one, or while it is not open."""
        return None if self._limiter is None else self._limiter.quota()

    def __repr__(self) -> str:
        return f"HubClient({self.endpoint!r}, {'with' if self._token else 'without'} token)"

    def __enter__(self) -> Self:
        from gguf_assets.hub.session import Session, one_at_a_time

        with ExitStack() as opening:
            opening.enter_context(one_at_a_time())
            self._begin()
            limiter = RateLimiter(
                self._limits,
                file=self._limiter_file,
                url=self._shared_limits_url,
                account=self.account,
                sleep=self._trying.pause,
                clock=self._clock,
            )
            opening.callback(limiter.close)
            self._session = opening.enter_context(
                Session(
                    self.endpoint,
                    self._token,
                    limiter=limiter,
                    traffic=self._traffic,
                    timeout_seconds=self._limits.timeout_seconds,
                    allowed_domains=self._allowed_domains,
                )
            )
            self._limiter = limiter
            self._closing = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._limiter = None
        self._closing.close()
        self._session = None

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
        self._do_first()
        before = self.own_requests
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
        self._do_first()
        return self._again(path, once, self._policy)

    def _again(self, path: str, once: Callable[[], Brought], policy: RetryPolicy) -> Brought:
        limiter = self._opened()
        return self._trying.again(path, once, policy, limiter.quota_wait)

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
        self._opened()
        assert self._session is not None
        with self._session.content(url, first_bytes) as response:
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
            self._trying.pause(_SLICE)
        return False

    def turn_delay(self) -> float:
        """Return the seconds for which the rates would hold the next request back."""
        return self._opened().delay()

    def now(self) -> datetime:
        """Return the Hub's clock, UTC, by one request.

        Raises:
            TransientError, PermanentError: as `get`.
        """
        return self.get("/api/models?limit=1").date

    def validate_token(self, *, max_retries: int | None = None) -> str | None:
        """Ask the Hub whose token it is.

        Args:
            max_retries: further tries where they should be others than those of all requests.

        Returns:
            Name of the account; None without a token, which asks nothing, or where the Hub does not know
            (some mirrors do not).

        Raises:
            PermanentError: the Hub does not accept the token (category `authentication`).
            TransientError: it cannot be told now: the tries are used up.
        """
        if self._token is None:
            return None
        policy = self._policy if max_retries is None else replace(self._policy, max_retries=max_retries)
        path, before = "/api/whoami-v2", self.own_requests
        answer = self._again(path, lambda: self._try(path, _NO_WHOAMI, expect_json, before), policy)
        said = expect_json(answer) if answer.status == 200 else None
        name = said.get("name") if isinstance(said, dict) else None
        return name if isinstance(name, str) else None

    @contextmanager
    def on_behalf_of(self, turn: Turn) -> Iterator[None]:
        """Have this thread ask for one thing while other threads ask for something else."""
        with self._traffic.on_behalf_of(turn):
            yield

    def _do_first(self) -> None:
        """Do what is to be done before the first request, once it has succeeded never again."""
        if self._before_first is None:
            return
        with self._before_first_lock:
            first = self._before_first
            if first is not None:
                self._opened()
                self._before_first = None  # it asks the Hub itself
                try:
                    first(self)
                except BaseException:
                    self._before_first = first
                    raise

    def _opened(self) -> RateLimiter:
        if self._limiter is None:
            raise RuntimeError("the HubClient is not open: use it in a with statement")
        return self._limiter

    def _try(
        self, path: str, allow_status: frozenset[int], check: AnswerCheck, requests_before: int
    ) -> HubAnswer:
        self._opened()
        assert self._session is not None
        response = self._session.get(path)
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
            requests=self.own_requests - requests_before,
        )
        if status not in allow_status:
            if status != 200:
                raise FailedTryError(f"answered {status}, which says nothing")
            check(answer)
        return answer

    def _masked(self, text: str) -> str:
        """Take the token out of what a Hub may have echoed."""
        return text if self._token is None else text.replace(self._token, "***")
