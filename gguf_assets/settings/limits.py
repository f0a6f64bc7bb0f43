"""The limits that bind a sync: what the settings say, lowered without a token, lifted on loopback.

What belongs here: the rules that lead from settings to limits. What does not: keeping them (`hub/`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gguf_assets.settings.load import LoadedSettings

ANONYMOUS_REQUESTS_PER_SECOND: Final = 0.8
ANONYMOUS_REQUESTS_PER_HOUR: Final = 800
ANONYMOUS_CONCURRENT_REQUESTS: Final = 20


@dataclass(frozen=True)
class EffectiveLimits:
    """The limits in force.

    Attributes:
        requests_per_second: most requests a second; None for no such bound. What the Hub announces about its
            quotas binds beside it.
        requests_per_hour: most requests in any hour; None for no such bound.
        max_concurrent_requests: most requests under way at the same time.
        timeout_seconds: how long the Hub may stay silent in one request.
        max_retries: further tries of a request that failed transiently.
        backoff_base: base of the exponential pause between tries, in seconds; the pause itself where pauses
            do not grow.
        backoff_jitter: whether those pauses are shortened at random.
        exponential_backoff: whether the pauses grow from try to try.
    """

    requests_per_second: float | None
    requests_per_hour: int | None
    max_concurrent_requests: int
    timeout_seconds: float
    max_retries: int
    backoff_base: float
    backoff_jitter: bool
    exponential_backoff: bool


def effective_limits(loaded: LoadedSettings) -> EffectiveLimits:
    """Return the limits that bind a sync.

    On a loopback endpoint a rate binds only when it was set explicitly. Anywhere else the limits of anonymous
    callers are the ceiling as long as there is no token. Without rate limit protection no rate binds at all.
    """
    rates = loaded.settings.rate_limiting
    second: float | None = rates.requests_per_second
    hour: int | None = rates.requests_per_hour
    concurrent = rates.max_concurrent_requests
    if not loaded.settings.security.enable_rate_limit_protection:
        second = hour = None
    elif loaded.is_loopback:
        second = second if loaded.explicit_rate else None
        hour = hour if loaded.is_explicit("rate_limiting.requests_per_hour") else None
    elif loaded.token is None:
        second = min(rates.requests_per_second, ANONYMOUS_REQUESTS_PER_SECOND)
        hour = min(rates.requests_per_hour, ANONYMOUS_REQUESTS_PER_HOUR)
        concurrent = min(concurrent, ANONYMOUS_CONCURRENT_REQUESTS)
    return EffectiveLimits(
        requests_per_second=second,
        requests_per_hour=hour,
        max_concurrent_requests=concurrent,
        timeout_seconds=float(rates.timeout_seconds),
        max_retries=rates.max_retries,
        backoff_base=rates.backoff_base,
        backoff_jitter=rates.backoff_jitter,
        exponential_backoff=loaded.settings.error_handling.enable_exponential_backoff,
    )
