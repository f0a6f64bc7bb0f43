"""How fast requests may follow each other: configured rates and announced quotas, shared by all requesters.

What belongs here: waiting before a request. What does not: waiting after a failed one (`client`), what the
Hub's quotas mean (`quota`), and where the counters lie (`limit_stores`, `shared_limits`).
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from gguf_assets.hub.limit_stores import REQUESTS, FileStore, LimitStore, MemoryStore, Outcome, Turn
from gguf_assets.hub.quota import API, QuotaBook, announcement, bucket_of, demanded_pause

if TYPE_CHECKING:
    from pyrate_limiter import AbstractBucket

_logger = logging.getLogger(__name__)

_HOUR_MS = 3_600_000
_SMOOTH_BELOW = 10  # requests per second from which single requests are no longer spaced out
_LEAK_EVERY = 500  # requests between two sweeps of entries that no window counts any more
_WORTH_TELLING = 10.0  # seconds
_SHORTEST_PAUSE = 0.001  # seconds; less may not move a clock


@dataclass(frozen=True)
class RequestLimits:
    """What bounds the requests of a client.

    Attributes:
        requests_per_second: most requests a second; None for no such bound.
        requests_per_hour: most requests in any hour; None for no such bound.
        timeout_seconds: how long the Hub may stay silent in one request.
        max_retries: further tries after a first one that failed transiently.
        backoff_base: base of the exponential pause between tries, in seconds; the pause itself where pauses
            do not grow.
        backoff_jitter: whether those pauses are shortened at random, so that clients spread out.
        exponential_backoff: whether the pauses grow from try to try.
        max_concurrent_requests: most requests under way at the same time.
        adaptive: whether rate and concurrency follow what the Hub's answers say.
        max_requests_per_run: most requests of one client, tries included; None for no such bound.
    """

    requests_per_second: float | None
    requests_per_hour: int | None
    timeout_seconds: float
    max_retries: int
    backoff_base: float
    backoff_jitter: bool
    exponential_backoff: bool
    max_concurrent_requests: int = 1
    adaptive: bool = False
    max_requests_per_run: int | None = None


@dataclass(frozen=True)
class QuotaState:
    """What is known of the quota that the Hub announced.

    Attributes:
        limit: requests per window; None when the Hub did not say.
        remaining: requests left in the window, those let go since the last answer taken off.
        resets_in_seconds: until the window begins anew.
    """

    limit: int | None
    remaining: int
    resets_in_seconds: float


def binding_rates(limits: RequestLimits) -> list[tuple[int, int]]:
    """Return the windows that can bind, as (requests, milliseconds), shortest first.

    A window that another one implies is left out (pyrate-limiter refuses it).
    """
    second, hour = limits.requests_per_second, limits.requests_per_hour
    if second is None:
        return [] if hour is None else [(hour, _HOUR_MS)]
    short = (1, math.ceil(1000 / second)) if second < _SMOOTH_BELOW else (math.floor(second), 1000)
    if hour is None or short[0] * _HOUR_MS <= hour * short[1]:
        return [short]
    return [short, (hour, _HOUR_MS)] if short[0] < hour else [(hour, _HOUR_MS)]


class RateLimiter:
    """Holds requests back until they are within the configured rates and the announced quotas.

    Args:
        limits: the configured rates.
        file: SQLite file through which all processes of this machine share rates and quotas; in memory
            when None.
        url: `redis://…`, `rediss://…` or `postgresql://…` through which several machines share them; then
            the file is not used.
        account: whose quotas are shared (`quota.quota_key`).
        sleep: waits for so many seconds.
        clock: seconds since the epoch; with a URL its server's clock counts instead.

    Raises:
        PermanentError: the file or the server cannot be used (category `storage`), or the URL is unusable
            (category `configuration`).
    """

    def __init__(
        self,
        limits: RequestLimits,
        *,
        file: Path | None,
        url: str | None = None,
        account: str = "",
        sleep: Callable[[float], None],
        clock: Callable[[], float],
    ) -> None:
        self._sleep = sleep
        self._clock = clock
        self._lock = threading.RLock()
        self._mine = threading.local()
        self._name = f"{os.getpid()}-{uuid4().hex[:12]}"
        self._acquired = 0
        self._per_second = limits.requests_per_second
        self._spacing = 0.0
        self._let_go_at = -math.inf
        self._book = QuotaBook()
        self._ahead = 0.0  # seconds that the store's clock is ahead of ours
        self._store = _open_store(binding_rates(limits), file, url, account, clock)

    def acquire(self, path: str | None = "/api/") -> None:
        """Wait until the next request may go out, and count it.

        Args:
            path: what is asked for at the Hub, which decides the quota; None for a request to another server,
                which only the configured rates hold back.

        Raises:
            PermanentError: the shared file or server cannot be used any more (category `storage`).
        """
        bucket = None if path is None else bucket_of(path)
        while (wait := self._turn(lambda turn: self._take(turn, bucket))) > 0:
            wait = max(wait, _SHORTEST_PAUSE)
            if wait >= _WORTH_TELLING:
                _logger.info("Rate limit: the next request to the Hub goes out in %.0f s", wait)
            self._sleep(wait)

    def observe(self, headers: Mapping[str, str]) -> None:
        """Take note of the quota that an answer announces, and of the pause that it demands.

        Called by the thread that acquired the request, once the answer's headers are there.

        Raises:
            PermanentError: as `acquire`.
        """
        said, pause = announcement(headers), demanded_pause(headers)
        with self._lock:
            if not self._book.teaches(said, pause, self._now()):
                return

            def note(turn: Turn) -> None:
                sent = getattr(self._mine, "sent", turn.now)
                turn.book = turn.book.at(turn.now).told(said, pause, min(sent, turn.now), turn.now)

            self._turn(note)

    def delay(self) -> float:
        """Return the seconds for which the next request would be held back, without counting one."""

        def look(turn: Turn) -> float:
            delays = [self._spacing_wait(), turn.book.at(turn.now).wait(turn.now, None, self._who)]
            now = int(turn.now * 1000)
            for rate in [] if turn.bucket is None else turn.bucket.rates:
                blocking = turn.bucket.peek(rate.limit - 1) if turn.bucket else None
                if blocking is not None:
                    left = blocking.timestamp + rate.interval - now  # type: ignore[union-attr]
                    delays.append(min(left, rate.interval) / 1000)
            return max(delays)

        return self._turn(look)

    def quota_wait(self) -> float:
        """Return the seconds for which an announced quota or a demanded pause holds back the next request."""
        return self._turn(lambda turn: turn.book.at(turn.now).wait(turn.now, None, self._who))

    def quota(self) -> QuotaState | None:
        """Return what is known of the announced quota; None when none was, or its window is over.

        What other requesters did since this one's last request is not in it: no store is asked.
        """
        with self._lock:
            now = self._now()
            windows = self._book.at(now).windows
            window = windows.get(API) or next(iter(windows.values()), None)
            if window is None or window.guessed:
                return None
            return QuotaState(window.limit, window.remaining, max(0.0, window.resets_at - now))

    def set_rate(self, factor: float) -> None:
        """Multiply the rate per second by a factor, for this process; windows per hour stay.

        Args:
            factor: more than 0 and at most 1, so that the configured rate is never exceeded; 1 restores it.
                Without a configured rate there is nothing to multiply.
        """
        if not 0 < factor <= 1:
            raise ValueError(f"a rate is multiplied by more than 0 and at most 1, not by {factor}")
        with self._lock:
            slower = factor < 1 and self._per_second is not None
            self._spacing = 1 / (self._per_second * factor) if slower and self._per_second else 0.0

    def close(self) -> None:
        """Close the shared file or connection."""
        with self._lock:
            self._store.close()

    @property
    def _who(self) -> str:
        return f"{self._name}-{threading.get_ident()}"

    def _now(self) -> float:
        """Return the time by the store's clock, as far as it is known without asking."""
        return self._clock() + self._ahead

    def _turn(self, work: Callable[[Turn], Outcome]) -> Outcome:
        """Do something in a turn of the store, and remember what is known then."""

        def remembered(turn: Turn) -> Outcome:
            outcome = work(turn)
            self._book, self._ahead = turn.book, turn.now - self._clock()
            return outcome

        with self._lock:
            return self._store.turn(remembered)

    def _take(self, turn: Turn, bucket: str | None) -> float:
        """Return 0 when a request was counted, else the seconds until another attempt."""
        book = turn.book.at(turn.now)
        wait = self._spacing_wait()
        if bucket is not None:
            wait = max(wait, book.wait(turn.now, bucket, self._who))
        if wait <= 0 and turn.bucket is not None:
            wait = self._put(turn.bucket, int(turn.now * 1000))
        if wait > 0:
            return wait
        if bucket is not None:
            turn.book = book.taken(turn.now, bucket, self._who)
            self._mine.sent = turn.now
        self._acquired += 1
        self._let_go_at = self._clock()
        return 0.0

    def _put(self, bucket: AbstractBucket, now: int) -> float:
        """Return 0 when the configured rates let a request go, else the seconds until another attempt."""
        from pyrate_limiter import RateItem

        # The bucket is used directly: the library's Limiter adds a thread and a wait of its own.
        if self._acquired % _LEAK_EVERY == 0:
            bucket.leak(now)
        item = RateItem(REQUESTS, now)
        if bucket.put(item):
            return 0.0
        wait_ms = bucket.waiting(item)
        assert isinstance(wait_ms, int)  # these buckets are synchronous
        rate = bucket.failing_rate
        if rate is not None and wait_ms > rate.interval + 1:
            # Entries from the future: the clock was set back, and they would block for as long.
            bucket.flush()
            return _SHORTEST_PAUSE
        return max(wait_ms, 1) / 1000

    def _spacing_wait(self) -> float:
        since = max(0.0, self._clock() - self._let_go_at)
        return max(0.0, self._spacing - since) if self._spacing else 0.0


def _open_store(
    windows: list[tuple[int, int]],
    file: Path | None,
    url: str | None,
    account: str,
    clock: Callable[[], float],
) -> LimitStore:
    if url is not None:
        from gguf_assets.hub.shared_limits import open_shared_store

        return open_shared_store(url, windows, account)
    return MemoryStore(windows, clock) if file is None else FileStore(windows, file, account, clock)
