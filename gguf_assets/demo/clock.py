"""The Hub's own clock, which stamps every answer and which a caller may move."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from email.utils import format_datetime

# perf_counter, because tests that move the process's clock must not move the Hub's.
from time import perf_counter

NOON = time(12, 0, 0)


class HubClock:
    """A clock that starts at a given moment and advances with real time × `tick` (0: it stands still)."""

    def __init__(self, moment: datetime, tick: float = 1.0) -> None:
        self.tick = tick
        self.set(moment)

    def now(self) -> datetime:
        """Return the Hub's time, in UTC."""
        start, since = self._anchor
        return start + timedelta(seconds=(perf_counter() - since) * self.tick)

    def set(self, moment: datetime) -> None:
        """Move the clock to `moment`, which must carry a time zone."""
        self._anchor = (moment.astimezone(UTC), perf_counter())

    def http_date(self) -> str:
        """Return the time as the `Date` header has it."""
        return format_datetime(self.now(), usegmt=True)


def at(day: date, moment: time = NOON) -> datetime:
    """Return that time of that UTC day."""
    return datetime.combine(day, moment, tzinfo=UTC)
