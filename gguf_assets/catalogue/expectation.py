"""What a sync will probably cost: requests by part, and how long they take at a given pace.

Every figure is an estimate from counts that are handed in, and says what it is based on; unknown is None.
Here: the arithmetic. Not here: where the counts come from (orchestration reads the store).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from statistics import median

CLOCK, LISTING, ROUTES, ABSENT, DETAILS = "clock", "listing", "routes", "absent", "details"
VERIFICATION, HEADERS = "verification", "headers"
"""The parts of a sync that ask the Hub, in their order."""

_HOUR = 3600.0


@dataclass(frozen=True)
class Part:
    """The requests of one part of a sync.

    Attributes:
        name: `clock`, `listing`, `routes`, `absent`, `details`, `verification` or `headers`.
        requests: how many are expected; None when unknown.
        basis: what the figure is based on, for people.
        most: how many there can be at most, retries aside; None without a bound.
    """

    name: str
    requests: int | None
    basis: str
    most: int | None = None


@dataclass(frozen=True)
class Expectation:
    """What a sync will probably ask the Hub for.

    Attributes:
        parts: the parts it has; one that is missing sends nothing.
        seconds: how long all requests take; None when unknown.
        seconds_basis: what that is based on, for people.
    """

    parts: tuple[Part, ...]
    seconds: float | None
    seconds_basis: str

    @property
    def requests(self) -> int | None:
        """All expected requests; None when those of any part are unknown."""
        known = [part.requests for part in self.parts if part.requests is not None]
        return sum(known) if len(known) == len(self.parts) else None

    @property
    def at_least(self) -> int:
        """The expected requests of the parts that are known."""
        return sum(part.requests or 0 for part in self.parts)


def listing_pages(rows: float | None, page_size: int) -> int | None:
    """Return the pages of a listing of so many rows, one at least; None when they are unknown."""
    return None if rows is None else max(1, math.ceil(rows / page_size))


def middle(values: Collection[float]) -> float | None:
    """Return the median; None of nothing."""
    return median(values) if values else None


def details_expected(allowed: int | None, changed: float | None, backlog: int | None) -> int | None:
    """Return how many details will be asked for.

    Args:
        allowed: most requests of the run; None for no bound.
        changed: new and changed models that are expected; None when unknown.
        backlog: models whose details are still unknown; None when even the models are (on a first run).

    Returns:
        What the run may ask for where there is more to be asked; None when that is not known.
    """
    if backlog is None:
        return allowed
    if allowed is not None and backlog >= allowed:
        return allowed
    if changed is None:
        return None
    wanted = backlog + round(changed)
    return wanted if allowed is None else min(allowed, wanted)


def verification_expected(allowed: int, known: int, left: int | None) -> int:
    """Return how many models will be asked for again.

    Args:
        allowed: most requests for it.
        known: models whose details are known.
        left: requests that the details leave over; None for any number.
    """
    return min(allowed, known) if left is None else min(allowed, known, left)


def with_controls(asked: int, every: int) -> int:
    """Return the requests of asking after so many absent models, a control before, after and in between."""
    return 0 if asked == 0 else asked + math.ceil(asked / every) + 1


def seconds_within(requests: int, per_second: float | None, per_hour: int | None) -> float | None:
    """Return how long requests take within both rates; None when no rate binds.

    Within every hour they follow each other as fast as the rate per second allows, until those of the hour
    are used up.
    """
    if per_second is None and per_hour is None:
        return None
    pause = 0.0 if per_second is None else 1 / per_second
    if per_hour is None or pause * per_hour >= _HOUR:
        return requests * pause
    hours, rest = divmod(requests, per_hour)
    if rest == 0 and hours:
        hours, rest = hours - 1, per_hour
    return hours * _HOUR + rest * pause


def allowed_within(seconds: float, per_second: float | None, per_hour: int | None) -> int | None:
    """Return how many requests can be sent within so many seconds, no longer than an hour; None for any."""
    bounds = [] if per_second is None else [int(seconds * per_second)]
    return min([*bounds, *([] if per_hour is None else [per_hour])], default=None)
