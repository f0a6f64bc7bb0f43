"""Room for requests under a limit that several targets share while they are under way together.

Each target has its first request reserved when it is begun. One that needs more takes what is left; when
nothing is, only the first open one may go on, so that the limit is passed by what that one still needs and no
more, as it is where targets are asked for one after the other. What does not belong here: asking.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from gguf_assets.errors import ErrorCategory
from gguf_assets.hub.errors import BudgetError


@dataclass
class _Share:
    """Places that one target has: its first one reserved, `used` of them asked for."""

    places: int = 1
    used: int = 0


class Room:
    """Places for requests.

    Args:
        limit: most places; None for any number.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._taken = 0
        self._shares: dict[int, _Share] = {}
        self._beyond: int | None = None
        self._lock = threading.Lock()

    def has_any(self) -> bool:
        """Return whether another target may be begun."""
        with self._lock:
            return self._limit is None or self._taken < self._limit

    def begin(self, number: int) -> None:
        """Reserve the first request of a target; numbers rise from target to target."""
        with self._lock:
            self._shares[number] = _Share()
            self._taken += 1

    def take(self, number: int) -> None:
        """Take a place for a request of a target that is under way.

        Raises:
            BudgetError: there is none left for it.
        """
        with self._lock:
            share = self._shares[number]
            share.used += 1
            if share.used <= share.places:
                return
            if self._limit is not None and self._taken >= self._limit:
                first = number == min(self._shares) and self._beyond in (None, number)
                if not first:
                    raise BudgetError(
                        f"The {self._limit:,} requests for this step are used up",
                        category=ErrorCategory.RATE_LIMIT,
                        remedy="What was stored so far is kept: run the same command again.",
                    )
                self._beyond = number
            share.places += 1
            self._taken += 1

    def end(self, number: int, sent: int) -> None:
        """Note what a target has really sent; what it had reserved beyond that is free again."""
        with self._lock:
            self._taken += sent - self._shares.pop(number).places
