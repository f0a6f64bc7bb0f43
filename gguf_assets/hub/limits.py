"""How fast requests may follow each other: configured rates, shared by processes, and announced quotas.

What belongs here: waiting before a request. What does not: waiting after a failed one (`client`).
"""

from __future__ import annotations

import logging
import math
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from gguf_assets.errors import ErrorCategory, PermanentError

if TYPE_CHECKING:
    from pyrate_limiter import InMemoryBucket, Rate, SQLiteBucket

    _Bucket = InMemoryBucket | SQLiteBucket

_logger = logging.getLogger(__name__)

_HOUR_MS = 3_600_000
_SMOOTH_BELOW = 10  # requests per second from which single requests are no longer spaced out
_LEAK_EVERY = 500  # requests between two sweeps of entries that no window counts any more
_WORTH_TELLING = 10.0  # seconds
_LONGEST_WINDOW = 3600  # seconds; the Hub's own are minutes, and no header may hold a sync for days
_TABLE = "hub_requests"


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
    """

    requests_per_second: float | None
    requests_per_hour: int | None
    timeout_seconds: float
    max_retries: int
    backoff_base: float
    backoff_jitter: bool
    exponential_backoff: bool


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


class AnnouncedQuota:
    """The quota of the `RateLimit` headers: waits when it is used up, slows down evenly near its end."""

    def __init__(self) -> None:
        self._seen: tuple[int, int, int, float] | None = None  # remaining, few, seconds to reset, seen at

    def observe(self, headers: Mapping[str, str], now: float) -> None:
        """Take note of an answer's headers; answers without them change nothing."""
        from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]

        info = parse_ratelimit_headers(headers)
        if info is not None:
            few = 10 if info.limit is None else max(1, info.limit // 10)
            reset = min(info.reset_in_seconds, _LONGEST_WINDOW)
            self._seen = (info.remaining, few, reset, now)

    def wait(self, now: float) -> float:
        """Return the seconds until the next request may go out."""
        if self._seen is None:
            return 0.0
        remaining, few, reset, seen_at = self._seen
        elapsed = max(0.0, now - seen_at)
        if remaining == 0:
            # The Hub rounds down: a second more, or the first request of the new window comes too early.
            return max(0.0, reset + 1 - elapsed)
        if remaining > few or elapsed >= reset:
            return 0.0
        return max(0.0, reset / (remaining + 1) - elapsed)


class RateLimiter:
    """Holds requests back until they are within the configured rates and the announced quota.

    Args:
        limits: the configured rates.
        file: SQLite file through which all processes of this machine share the rates; in memory when None.
        sleep: waits for so many seconds.
        clock: seconds since the epoch.

    Raises:
        PermanentError: the file cannot be used (category `storage`).
    """

    def __init__(
        self,
        limits: RequestLimits,
        *,
        file: Path | None,
        sleep: Callable[[float], None],
        clock: Callable[[], float],
    ) -> None:
        self._sleep = sleep
        self._clock = clock
        self._lock = threading.RLock()
        self._acquired = 0
        self._quota = AnnouncedQuota()
        self._file = file
        windows = binding_rates(limits)
        self._bucket = _open_bucket(windows, file) if windows else None

    def acquire(self) -> None:
        """Wait until the next request may go out, and count it.

        Raises:
            PermanentError: the shared file cannot be used any more (category `storage`).
        """
        if self._bucket is not None:
            while (wait := self._take(self._bucket)) > 0:
                self._pause(wait)
        with self._lock:
            wait = self._quota.wait(self._clock())
        if wait > 0:
            self._pause(wait)

    def observe(self, headers: Mapping[str, str]) -> None:
        """Take note of the quota that an answer announces."""
        with self._lock:
            self._quota.observe(headers, self._clock())

    def delay(self) -> float:
        """Return the seconds for which the next request would be held back, without counting one."""
        delays = [self.quota_wait()]
        if self._bucket is not None:
            with self._locked(self._bucket) as bucket:
                now = int(self._clock() * 1000)
                for rate in bucket.rates:
                    blocking = bucket.peek(rate.limit - 1)
                    if blocking is not None:
                        left = blocking.timestamp + rate.interval - now
                        delays.append(min(left, rate.interval) / 1000)
        return max(delays)

    def quota_wait(self) -> float:
        """Return the seconds for which the announced quota holds back the next request."""
        with self._lock:
            return self._quota.wait(self._clock())

    def close(self) -> None:
        """Close the shared file."""
        if self._bucket is not None:
            self._bucket.close()
            self._bucket = None

    def _take(self, bucket: _Bucket) -> float:
        """Return 0 when a request was counted, else the seconds until another attempt."""
        from pyrate_limiter import RateItem

        # The bucket is used directly: the library's Limiter adds a thread and a wait of its own.
        with self._locked(bucket):
            now = int(self._clock() * 1000)
            if self._acquired % _LEAK_EVERY == 0:
                bucket.leak(now)
            item = RateItem(_TABLE, now)
            if bucket.put(item):
                self._acquired += 1
                return 0.0
            wait_ms = bucket.waiting(item)
            assert isinstance(wait_ms, int)  # these buckets are synchronous
            rate = bucket.failing_rate
            if rate is not None and wait_ms > rate.interval + 1:
                # Entries from the future: the clock was set back, and they would block for as long.
                bucket.flush()
                return 0.001
            return max(wait_ms, 1) / 1000

    @contextmanager
    def _locked(self, bucket: _Bucket) -> Iterator[_Bucket]:
        """Keep other threads and, of a shared bucket, other processes out.

        Raises:
            PermanentError: the shared file cannot be used any more (category `storage`).
        """
        shared = cast("AbstractContextManager[object]", bucket.limiter_lock() or nullcontext())
        try:
            with self._lock, shared:
                yield bucket
        except (OSError, sqlite3.Error) as error:
            raise _unusable(self._file, error) from error

    def _pause(self, seconds: float) -> None:
        if seconds >= _WORTH_TELLING:
            _logger.info("Rate limit: the next request to the Hub goes out in %.0f s", seconds)
        self._sleep(seconds)


def _open_bucket(windows: list[tuple[int, int]], file: Path | None) -> _Bucket:
    from pyrate_limiter import InMemoryBucket, Rate

    rates = [Rate(requests, interval) for requests, interval in windows]
    if file is None:
        return InMemoryBucket(rates)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _open_shared(rates, file)
        except sqlite3.DatabaseError:
            # What it held is worth an hour at most; a damaged one must not stop every sync.
            for suffix in ("", "-wal", "-shm"):
                with suppress(FileNotFoundError):
                    file.with_name(file.name + suffix).unlink()
            return _open_shared(rates, file)
    except (OSError, sqlite3.Error) as error:
        raise _unusable(file, error) from error


def _open_shared(rates: list[Rate], file: Path) -> SQLiteBucket:
    from pyrate_limiter import SQLiteBucket

    return SQLiteBucket.init_from_file(rates, table=_TABLE, db_path=str(file), use_file_lock=True)


def _unusable(file: Path | None, error: Exception) -> PermanentError:
    return PermanentError(
        f"The file {file}, through which processes share the request rate, cannot be used ({error})",
        category=ErrorCategory.STORAGE,
        remedy="Make its folder writable, or set GGUF_ASSETS_STATE_DIR to one that is.",
    )
