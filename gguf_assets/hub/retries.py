"""When a failed try is followed by another one, and after how long: the one retry policy of the product.

Pure: numbers in, numbers out. What does not belong here: trying and waiting (`client`), and which failures
another try may cure (`errors`: the others never get here).
"""

from __future__ import annotations

from dataclasses import dataclass

from gguf_assets.hub.limits import RequestLimits

LONGEST_BACKOFF = 60.0
"""Seconds beyond which a pause does not grow by itself."""

LONGEST_WAIT = 3600.0
"""Seconds; a Hub that asks for more is not waited for."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often and when something that failed is tried again.

    Attributes:
        max_retries: further tries after the first one.
        base: base of the growing pause, in seconds; the pause itself where pauses do not grow.
        growing: whether pauses grow from try to try, as powers of the base.
        jitter: whether pauses are shortened at random, by at most half, so that clients spread out.
    """

    max_retries: int
    base: float
    growing: bool
    jitter: bool

    @classmethod
    def of(cls, limits: RequestLimits) -> RetryPolicy:
        """Return the policy that the limits of a client describe."""
        return cls(limits.max_retries, limits.backoff_base, limits.exponential_backoff, limits.backoff_jitter)

    @property
    def tries(self) -> int:
        """Most tries of one thing."""
        return self.max_retries + 1

    def pause(
        self, failed: int, *, luck: float, asked: float | None = None, quota: float = 0.0
    ) -> float | None:
        """Return the seconds to wait before the next try; None when there is none.

        Args:
            failed: tries that have failed so far, at least 1.
            luck: a number from 0 to 1; 1 leaves the pause as long as it is.
            asked: seconds that the Hub asked to wait (`Retry-After`); None when it did not.
            quota: seconds for which the announced quota holds requests back.
        """
        if failed > self.max_retries:
            return None
        wait = max(self.backoff(failed, luck), asked or 0.0, quota)
        return None if wait > LONGEST_WAIT else wait

    def backoff(self, failed: int, luck: float) -> float:
        """Return the seconds of the product's own pause after so many failed tries."""
        if self.growing:
            try:
                seconds = min(LONGEST_BACKOFF, self.base ** (failed - 1))
            except OverflowError:
                seconds = LONGEST_BACKOFF
        else:
            seconds = self.base
        return seconds * (0.5 + luck / 2) if self.jitter else seconds
