"""How things stand, as the command line shows it: syncs, days, the next sync, schedules, reports.

Nothing is written, and the Hub is not asked. What belongs here: reading. What does not: the choice of what
the next sync does (`dry_run`) and the looks (`printing`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from gguf_assets.catalogue.sync_plan import SyncMode
from gguf_assets.errors import ErrorCategory, GgufAssetsError, PermanentError, Refused
from gguf_assets.orchestration.alerting import unreached_channels
from gguf_assets.orchestration.automation import AutomationState, automation_states
from gguf_assets.orchestration.capturing import CaptureRequest
from gguf_assets.orchestration.dry_run import DryRun, View, copy_files, look_ahead, view
from gguf_assets.orchestration.instance import instance_errors
from gguf_assets.orchestration.resources import layout_of
from gguf_assets.orchestration.walking import end_of_capture
from gguf_assets.settings.load import load_settings
from gguf_assets.store.freshness import Freshness, freshness_of
from gguf_assets.store.history import SyncRecord
from gguf_assets.store.lock import Holder
from gguf_assets.store.store import Store

LAST_REBUILDABLE = 10
"""Days that can be rebuilt which are named one by one."""

_SCHEDULES = "schedules"


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
class Unfinished:
    """A capture that a sync has begun and not ended.

    Attributes:
        day: the day.
        run: number of the capture.
        pages: pages of the listing stored so far.
        listing_complete: whether only details, or what completes the listing, are missing.
        can_go_on: whether a sync may still go on with it; false once the Hub has left the day for good.
    """

    day: date
    run: int
    pages: int
    listing_complete: bool
    can_go_on: bool


@dataclass(frozen=True)
class NextSync:
    """What a sync without a day would do now, as far as can be told without asking the Hub.

    Attributes:
        clock: the time it is planned for.
        clock_source: whose clock that is.
        plan: what it would do; None when it would be refused or cannot be planned.
        refusal, remedy: why not, and what to do about it.
    """

    clock: datetime
    clock_source: str
    plan: DryRun | None
    refusal: str | None = None
    remedy: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        plan = None if self.plan is None else self.plan.as_json()
        if plan is not None:
            for about_the_dry_run in ("dry_run", "because", "hub_time", "requests"):
                del plan[about_the_dry_run]
        return {
            "clock": self.clock,
            "clock_source": self.clock_source,
            "plan": plan,
            "refusal": self.refusal,
            "remedy": self.remedy,
        }


@dataclass(frozen=True)
class Overview:
    """Everything `status` shows.

    Attributes:
        data: the data folder.
        days: stored days, in order.
        gaps: days between the first and the last that are not published.
        syncs: all syncs, oldest first.
        holder: who is writing at present.
        rebuildable: days that can be derived from their captures.
        unfinished: captures that were begun and not ended.
        next_sync: what the next sync will do.
        automation: schedules and sensors with their switches; None when they cannot be told.
        freshness: how fresh the published catalogue is.
        seen_at: the time that was judged by: this machine's clock, or the Hub's where that was seen later.
        unreached: channels by which nobody is told at present, and why.
        automation_error: why schedules and sensors cannot be told.
    """

    data: str
    days: list[DayState]
    gaps: list[date]
    syncs: list[SyncRecord]
    holder: Holder | None
    rebuildable: list[date]
    unfinished: list[Unfinished]
    next_sync: NextSync
    automation: list[AutomationState] | None
    freshness: Freshness
    seen_at: datetime
    unreached: Mapping[str, str]
    automation_error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the overview as plain JSON values."""
        days = self.rebuildable
        return {
            "data": self.data,
            "days": [vars(day) for day in self.days],
            "gaps": self.gaps,
            "syncs": [vars(sync) for sync in self.syncs],
            "writing": None if self.holder is None else vars(self.holder),
            "rebuildable": {
                "count": len(days),
                "first": days[0] if days else None,
                "last": days[-1] if days else None,
                "last_days": days[-LAST_REBUILDABLE:],
            },
            "unfinished": [vars(capture) for capture in self.unfinished],
            "next_sync": self.next_sync.as_json(),
            "automation": None if self.automation is None else [vars(state) for state in self.automation],
            "automation_error": self.automation_error,
            "freshness": self.freshness.as_json(self.seen_at),
            "channels_not_reached": dict(self.unreached),
        }


def overview(environ: Mapping[str, str]) -> Overview:
    """Return how things stand; nothing is written."""
    loaded = load_settings(environ)
    layout = layout_of(loaded)
    automation, automation_error = _automation(environ, layout.dagster_home)
    with view(loaded, environ) as seen:
        store, holder = seen.store, seen.holder
        syncs = store.history.syncs(running=None if holder is None else holder.run_id)
        newest, now = store.newest_hub_time(), datetime.now(UTC)
        captured, published = store.captures.days(), store.published.days()
        span = range(published[0].toordinal(), published[-1].toordinal()) if published else range(0)
        return Overview(
            data=str(layout.data),
            days=[_state(store, day) for day in sorted({*captured, *published})],
            gaps=[day for day in map(date.fromordinal, span) if day not in published],
            syncs=syncs,
            holder=holder,
            rebuildable=store.captures.complete_days(),
            unfinished=list(_unfinished(seen, captured)),
            next_sync=_next_sync(seen),
            automation=automation,
            freshness=freshness_of(
                syncs,
                published[-1] if published else None,
                stale_hours=loaded.settings.monitoring.freshness_warning_hours,
                failed_hours=loaded.settings.monitoring.freshness_failure_hours,
            ),
            seen_at=now if newest is None else max(now, newest),
            unreached=unreached_channels(loaded, layout),
            automation_error=automation_error,
        )


def _next_sync(seen: View) -> NextSync:
    """Return what a sync without a day would do now.

    By this machine's clock, unless the Hub's was already seen later.
    """
    clock, source = datetime.now(UTC), "this machine's clock"
    try:
        newest = seen.store.newest_hub_time()
        if newest is not None and newest > clock:
            clock, source = newest, "the Hub's clock as it was last seen, which is ahead of this machine's"
        behavior = seen.loaded.settings.sync_behavior
        request = CaptureRequest(SyncMode.AUTO, refetch=False, detail_limit=behavior.detail_requests_per_run)
        plan = look_ahead(seen, None, request, lambda: clock)
        if seen.loaded.settings.dry_run:
            on = f"dry_run is on ({seen.loaded.origins['dry_run']}): a sync only says what it would do"
            plan = replace(plan, notes=(*plan.notes, on))
        return NextSync(clock, source, plan)
    except GgufAssetsError as error:
        return NextSync(clock, source, None, error.message, error.remedy)


def _unfinished(seen: View, days: list[date]) -> Iterator[Unfinished]:
    """Yield the last captures of days that have not ended."""
    newest = seen.store.newest_hub_time()
    for day in days:
        capture = seen.store.captures.latest(day)
        if capture is not None and not capture.complete:
            in_time = newest is None or newest < end_of_capture(day, seen.loaded)
            can_go_on = capture.pages_stored > 0 and (in_time or capture.listing_complete)
            yield Unfinished(day, capture.run, capture.pages_stored, capture.listing_complete, can_go_on)


def _automation(environ: Mapping[str, str], home: Path) -> tuple[list[AutomationState] | None, str | None]:
    """Return schedules and sensors as they are switched, or why nobody can tell."""
    try:
        with _instance_to_read(home) as instance:
            return automation_states(environ, instance), None
    except GgufAssetsError as error:
        return None, error.message


@contextmanager
def _instance_to_read(home: Path) -> Iterator[dg.DagsterInstance | None]:
    """Open a Dagster instance so that nothing of it changes; None where there is none.

    Opening a database that a killed process left open mends it; here that happens to a copy.

    Raises:
        PermanentError, Refused: as `instance_errors`.
    """
    from dagster._core.instance.ref import InstanceRef

    if not home.is_dir():
        yield None
        return
    with instance_errors(home), tempfile.TemporaryDirectory(prefix="gguf-assets-") as folder:
        opened, base = home, _sqlite_folder(home)
        if base is not None:
            if not (base / _SCHEDULES / "schedules.db").is_file():
                yield None
                return
            opened = Path(folder)
            copy_files(base / _SCHEDULES, opened / _SCHEDULES)
        with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(opened))) as instance:
            yield instance


def _sqlite_folder(home: Path) -> Path | None:
    """Return where an instance keeps its SQLite files; None where it keeps its state elsewhere."""
    try:
        settings = yaml.safe_load((home / "dagster.yaml").read_bytes()) or {}
    except FileNotFoundError:
        return home
    storage = settings.get("storage", {"sqlite": {"base_dir": str(home)}})
    base = storage.get("sqlite", {}).get("base_dir") if isinstance(storage, dict) else None
    return Path(base) if isinstance(base, str) else None


def _state(store: Store, day: date) -> DayState:
    latest, manifest = store.captures.latest(day), store.published.manifest(day)
    capture = "none" if latest is None else "complete" if latest.complete else "unfinished"
    if capture == "unfinished" and store.captures.latest_complete(day) is not None:
        capture = "complete"
    if manifest is None:
        return DayState(day, capture, published=False, mode=None, models=None, completeness=None)
    return DayState(day, capture, True, manifest.mode, manifest.rows["models"], manifest.completeness)


@dataclass(frozen=True)
class StoredReport:
    """The report of a published day as it is stored.

    Attributes:
        day: the day.
        text: the report as Markdown.
        page: its page for the browser; None where the day has none, as days of older versions.
    """

    day: date
    text: str
    page: Path | None


def stored_report(environ: Mapping[str, str], day: date | None) -> StoredReport:
    """Return the report of a day, of the latest published one when None.

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
    path, page = store.layout.report_file(chosen), store.layout.day_page(chosen)
    try:
        text = path.read_text(encoding="utf-8")
        return StoredReport(chosen, text, page if page.is_file() else None)
    except FileNotFoundError:
        raise PermanentError(
            f"The report of {chosen} is missing: {path}",
            category=ErrorCategory.DATA,
            remedy=f"Write it again: gguf-assets rederive --from {chosen} --to {chosen}",
        ) from None
