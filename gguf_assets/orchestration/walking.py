"""Walking the listing into a capture: where a plan, the Hub and the store are introduced to each other.

Here: a plan as the capture keeps it, and the walk within the hours in which pages belong to the day. Not
here: which capture a run works on (`capturing`) and what completes a walked listing (`completing`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from gguf_assets.catalogue.sync_plan import SyncMode, SyncPlan, SyncRules, WalkKind
from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.hub.client import HubAnswer, HubClient
from gguf_assets.hub.walk import (
    BY_CREATION,
    BY_MODIFICATION,
    CENSUS_FIELDS,
    FULL_FIELDS,
    first_page_path,
    walk,
)
from gguf_assets.settings.load import LoadedSettings
from gguf_assets.store.capture import Capture
from gguf_assets.store.capture_manifest import CapturePlan
from gguf_assets.store.store import Store


@dataclass(frozen=True)
class Sync:
    """What a run walks with; made once, at its start.

    Attributes:
        store: where captures lie.
        hub: the Hub.
        loaded: the settings.
        run_id: the run; its own entry in the history is no past.
        note_start: called when it is clear that this is a sync and no refusal, with the capture and the Hub's
            clock, and again with a capture that replaces it; with None when the Hub was out of reach before
            a capture could be begun.
        log: takes decisions, warnings and results of the sync.
        stage: takes how a stage of it goes, which is a detail, and what of that is a decision (None for
            nothing).
        step: told how far a long step is: its name, what is done, and of how much (None: nobody knows).
    """

    store: Store
    hub: HubClient
    loaded: LoadedSettings
    run_id: str
    note_start: Callable[[Capture | None, datetime | None], None]
    log: Callable[[str], None]
    stage: Callable[[str, str | None], None]
    step: Callable[[str, int, int | None], None]


def capture_plan(plan: SyncPlan, endpoint: str, rules: SyncRules, detail_limit: int | None) -> CapturePlan:
    """Return a plan as the capture's manifest keeps it."""
    return CapturePlan(
        endpoint=endpoint,
        kind=plan.kind.value,
        mode=plan.mode.value,
        reason=plan.reason.value,
        reason_text=plan.reason_text,
        # A walk over a window is short enough to ask for file names as well.
        fields=CENSUS_FIELDS if plan.kind is WalkKind.CENSUS else FULL_FIELDS,
        detail_limit=detail_limit,
        window_start=None if plan.window_start is None else plan.window_start.isoformat(),
        window_hours=plan.window_hours,
        notes=plan.notes,
        routes=plan.mode is SyncMode.FULL and rules.multi_strategy_discovery,
    )


def first_path(plan: CapturePlan) -> str:
    """Return path and query of a plan's first page."""
    sort = BY_MODIFICATION if plan.kind == WalkKind.WINDOW else BY_CREATION
    return first_page_path(plan.fields, sort=sort)


def walk_new(sync: Sync, day: date, plan: CapturePlan, first: HubAnswer) -> Capture:
    """Begin a capture with the answer to its first page, and walk it to its end.

    Raises:
        TransientError, PermanentError: the Hub, the disk.
    """
    try:
        capture = sync.store.captures.begin(day, plan)
    except PermanentError:
        sync.note_start(None, first.date)
        raise
    sync.note_start(capture, first.date)
    walk_on(sync, capture, first)
    return capture


def walk_on(sync: Sync, capture: Capture, first: HubAnswer | None = None) -> None:
    """Walk a capture to its end, from where it stands.

    Raises:
        TransientError, PermanentError: the Hub, the disk; the Hub's clock has left the hours for the day.
    """
    plan = capture.plan
    edge = plan.window_start if plan.kind == WalkKind.WINDOW else None
    walk(
        sync.hub,
        _InTime(capture, end_of_capture(capture.day, sync.loaded)),
        fields=plan.fields,
        until=None if edge is None else datetime.fromisoformat(edge),
        first_page=first,
        on_page=lambda pages, _rows: sync.step("listing pages", pages, None),
    )
    capture.finish_listing()


def end_of_capture(day: date, loaded: LoadedSettings) -> datetime:
    """Return until when a capture begun on a day may go on, and the day be published again."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    return midnight + timedelta(hours=loaded.settings.sync_behavior.late_capture_hours)


class _InTime:
    """Hands pages on to the capture as long as the Hub's clock allows them to belong to the day."""

    def __init__(self, capture: Capture, end: datetime) -> None:
        self._capture = capture
        self._end = end

    @property
    def next_link(self) -> str | None:
        return self._capture.next_link

    @property
    def pages_stored(self) -> int:
        return self._capture.pages_stored

    def store_page(self, content: bytes, *, date: datetime, **rest: Any) -> None:
        if date >= self._end:
            raise PermanentError(
                f"The capture of {self._capture.day} was not finished in time: the Hub's clock says "
                f"{date:%Y-%m-%d %H:%M} UTC, and pages for it are taken until {self._end:%Y-%m-%d %H:%M}",
                category=ErrorCategory.DATA,
                remedy="Sync the present day: gguf-assets sync",
            )
        self._capture.store_page(content, date=date, **rest)
