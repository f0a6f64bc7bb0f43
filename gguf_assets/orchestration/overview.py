"""What the store holds, as the command line shows it: syncs, days and their state, reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from gguf_assets.errors import ErrorCategory, PermanentError, Refused
from gguf_assets.orchestration.resources import layout_of
from gguf_assets.settings.load import load_settings
from gguf_assets.store.history import SyncRecord
from gguf_assets.store.lock import Holder, WriterLock
from gguf_assets.store.store import Store


@dataclass(frozen=True)
class DayState:
    """What is stored of a day.

    Attributes:
        day: the day.
        capture: `complete`, `unfinished` or `none`.
        published: whether readers see it.
        mode: `full` or `incremental`; None while not published.
        models: rows of `models`; None while not published.
        completeness: score 0 to 1; None while not published.
    """

    day: date
    capture: str
    published: bool
    mode: str | None
    models: int | None
    completeness: float | None


@dataclass(frozen=True)
class Overview:
    """Everything `status` shows.

    Attributes:
        data: the data folder.
        days: stored days, in order.
        gaps: days between the first and the last that are not published.
        syncs: all syncs, oldest first.
        holder: who is writing at present.
    """

    data: str
    days: list[DayState]
    gaps: list[date]
    syncs: list[SyncRecord]
    holder: Holder | None

    def as_json(self) -> dict[str, Any]:
        """Return the overview as plain JSON values."""
        return {
            "data": self.data,
            "days": [vars(day) for day in self.days],
            "gaps": self.gaps,
            "syncs": [vars(sync) for sync in self.syncs],
            "writing": None if self.holder is None else vars(self.holder),
        }


def overview(environ: Mapping[str, str]) -> Overview:
    """Return what the store holds; nothing is written."""
    layout = layout_of(load_settings(environ))
    store, holder = Store(layout), WriterLock(layout).holder()
    captured, published = store.captures.days(), store.published.days()
    days = [_state(store, day) for day in sorted({*captured, *published})]
    span = range(published[0].toordinal(), published[-1].toordinal()) if published else range(0)
    gaps = [day for day in map(date.fromordinal, span) if day not in published]
    running = None if holder is None else holder.run_id
    return Overview(str(layout.data), days, gaps, store.history.syncs(running=running), holder)


def _state(store: Store, day: date) -> DayState:
    latest, manifest = store.captures.latest(day), store.published.manifest(day)
    capture = "none" if latest is None else "complete" if latest.complete else "unfinished"
    if capture == "unfinished" and store.captures.latest_complete(day) is not None:
        capture = "complete"
    if manifest is None:
        return DayState(day, capture, published=False, mode=None, models=None, completeness=None)
    return DayState(day, capture, True, manifest.mode, manifest.rows["models"], manifest.completeness)


def stored_report(environ: Mapping[str, str], day: date | None) -> tuple[date, str]:
    """Return a day and its report.

    Raises:
        Refused: nothing is published yet, or the day is not.
        PermanentError: the report is missing.
    """
    store = Store(layout_of(load_settings(environ)))
    days = store.published.days()
    if not days:
        raise Refused("No day is published yet", remedy="gguf-assets sync")
    chosen = days[-1] if day is None else day
    if chosen not in days:
        raise Refused(
            f"{chosen} is not published. Published days: {days[0]} to {days[-1]} ({len(days)})",
            remedy="`gguf-assets status` lists all days.",
        )
    path = store.layout.report_file(chosen)
    try:
        return chosen, path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PermanentError(
            f"The report of {chosen} is missing: {path}",
            category=ErrorCategory.DATA,
            remedy=f"Write it again: gguf-assets rederive --from {chosen} --to {chosen}",
        ) from None
