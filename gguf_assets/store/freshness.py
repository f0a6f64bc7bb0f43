"""How fresh the published catalogue is, by the history alone: `data/freshness.json`, for other programs.

A file cannot know the time of its reader, so it holds the times from which the catalogue counts as stale and
as failed, beside the state at the time of writing. What belongs here: these facts and their verdict at a
given time. What does not: telling anybody (`orchestration/alerting`) and the clock, which is handed in.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from gguf_assets.atomic import write_json
from gguf_assets.errors import GgufAssetsError
from gguf_assets.masking import mask
from gguf_assets.store.layout import Layout
from gguf_assets.store.publish import Published

if TYPE_CHECKING:
    from gguf_assets.store.history import SyncRecord

_HOUR = timedelta(hours=1)
_log = logging.getLogger(__name__)


class FreshnessState(StrEnum):
    """How the catalogue stands at a given time."""

    EMPTY = "empty"
    """Nothing is published yet."""
    FRESH = "fresh"
    STALE = "stale"
    """No sync has succeeded for `monitoring.freshness_warning_hours`."""
    FAILED = "failed"
    """None for `monitoring.freshness_failure_hours`."""


@dataclass(frozen=True)
class LastFailure:
    """Why the last sync failed.

    Attributes:
        day: the day it was for; None when the day was not known yet.
        category: category of the error.
        message: the error without secrets.
    """

    day: date | None
    category: str
    message: str


@dataclass(frozen=True)
class Freshness:
    """What is known of how fresh the catalogue is.

    Attributes:
        latest_day: the latest published day; None while nothing is published.
        last_success: the Hub's clock at the end of the last sync that published; None without one on record.
        stale_after, failed_after: from when on the catalogue is stale, and that is a failure; None while
            nothing is published.
        last_failure: why the last sync failed; None when it did not.
    """

    latest_day: date | None
    last_success: datetime | None
    stale_after: datetime | None
    failed_after: datetime | None
    last_failure: LastFailure | None

    def state(self, now: datetime) -> FreshnessState:
        """Return the state at a time."""
        if self.stale_after is None or self.failed_after is None:
            return FreshnessState.EMPTY
        if now >= self.failed_after:
            return FreshnessState.FAILED
        return FreshnessState.STALE if now >= self.stale_after else FreshnessState.FRESH

    def stale_since(self, now: datetime) -> datetime | None:
        """Return since when the catalogue is stale; None while it is not."""
        return self.stale_after if self.stale_after is not None and now >= self.stale_after else None

    def age_hours(self, now: datetime) -> float | None:
        """Return the hours since the last success; None without one."""
        return None if self.last_success is None else max(0.0, (now - self.last_success) / _HOUR)

    def sentence(self, now: datetime) -> str:
        """Return the facts in words, e.g. `2025-08-12, last success 3.1 h ago, fresh until …`."""
        if self.latest_day is None:
            return f"nothing is published yet{self._why()}"
        age = self.age_hours(now)
        told = "no success on record" if age is None else f"last success {age:,.1f} h ago"
        since = self.stale_since(now)
        then = (
            f"fresh until {_minute(self.stale_after)}" if since is None else f"stale since {_minute(since)}"
        )
        return f"{self.latest_day}, {told}, {then}{self._why()}"

    def remedy(self, now: datetime) -> str | None:
        """Return what to do about a catalogue that is not fresh; None while it is."""
        if self.state(now) is FreshnessState.FRESH:
            return None
        if self.last_failure is None:
            return "Sync: gguf-assets sync. Whether the schedule is on: gguf-assets status"
        return "What is missing: gguf-assets doctor; then sync again: gguf-assets sync"

    def _why(self) -> str:
        failure = self.last_failure
        return "" if failure is None else f"; the last sync failed ({failure.category}): {failure.message}"

    def as_json(self, now: datetime) -> dict[str, Any]:
        """Return the content of `freshness.json`, with the state at a time."""
        failure = self.last_failure
        return {
            "latest_day": self.latest_day,
            "last_success": self.last_success,
            "stale_after": self.stale_after,
            "failed_after": self.failed_after,
            "stale_since": self.stale_since(now),
            "state": self.state(now).value,
            "state_at": now,
            "reason": None
            if failure is None
            else f"last sync failed ({failure.category}): {failure.message}",
            "last_failure": None if failure is None else vars(failure),
        }


def freshness_of(
    syncs: Sequence[SyncRecord], latest_day: date | None, *, stale_hours: int, failed_hours: int
) -> Freshness:
    """Return how fresh a catalogue is.

    Hours count from the last success, and from the end of the latest published day where that is earlier: a
    sync that mends an old day makes nothing fresh.

    Args:
        syncs: all syncs, oldest first; one that is under way counts for nothing.
        latest_day: the latest published day.
        stale_hours: hours after which the catalogue is stale.
        failed_hours: hours after which that is a failure.
    """
    ended = [sync for sync in syncs if sync.state != "running"]
    done = [sync for sync in ended if sync.state == "finished" and sync.published]
    times = [when for sync in done if (when := sync.finished_at or sync.hub_time) is not None]
    last_success = max(times, default=None)
    known = [] if last_success is None else [last_success]
    if latest_day is not None:
        known.append(datetime.combine(latest_day + timedelta(days=1), time(), UTC))
    since = min(known) if latest_day is not None else None
    last = ended[-1] if ended and ended[-1].state == "failed" else None
    return Freshness(
        latest_day=latest_day,
        last_success=last_success,
        stale_after=None if since is None else since + stale_hours * _HOUR,
        failed_after=None if since is None else since + failed_hours * _HOUR,
        last_failure=None
        if last is None
        else LastFailure(last.day, last.category or "system", mask(last.error_message or "no reason")),
    )


def stored_freshness(layout: Layout, syncs: Sequence[SyncRecord]) -> Freshness:
    """Return how fresh the catalogue of a store is, by its hours.

    Raises:
        PermanentError: what names the latest day cannot be read.
    """
    latest = Published(layout).latest_day()
    return freshness_of(syncs, latest, stale_hours=layout.stale_hours, failed_hours=layout.failed_hours)


def write_freshness(layout: Layout, syncs: Sequence[SyncRecord], now: datetime) -> None:
    """Replace `freshness.json`. It is a view of the history, so a disk that refuses it fails no sync."""
    try:
        write_json(layout.freshness_file, stored_freshness(layout, syncs).as_json(now))
    except GgufAssetsError as error:
        _log.warning("How fresh the catalogue is could not be noted: %s", mask(error.message))


def _minute(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"
