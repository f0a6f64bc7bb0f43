"""Beginning or going on with the capture of a day: where plan, Hub and store are introduced to each other.

Here: which capture a run works on, and the rule that the Hub's clock decides the day. Not here: the walk
itself (`hub/walk`), the choice of the mode (`catalogue/sync_plan`), the assets (`assets/capture`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from gguf_assets import __version__
from gguf_assets.catalogue.sync_plan import SyncMode, SyncPast, SyncRules, plan_sync
from gguf_assets.errors import ErrorCategory as Category
from gguf_assets.errors import GgufAssetsError, PermanentError, Refused
from gguf_assets.hub.client import HubAnswer, HubClient
from gguf_assets.hub.walk import CENSUS_FIELDS, FULL_FIELDS, first_page_path, walk
from gguf_assets.orchestration.derivation import derivation_settings
from gguf_assets.orchestration.partitions import OTHER_DAYS, what_can_be_rebuilt
from gguf_assets.settings.load import LoadedSettings
from gguf_assets.store.capture_manifest import CapturePlan
from gguf_assets.store.captures import Capture
from gguf_assets.store.store import Store


@dataclass(frozen=True)
class CaptureRequest:
    """What a run asks of the capture.

    Attributes:
        mode: the mode asked for at the start; `auto` leaves it to the settings.
        refetch: walk again although the day has a complete capture.
        detail_limit: most detail requests; None for all.
        limit_given: whether that was asked for, and not just the setting; it then also holds for a capture
            that was begun with another.
    """

    mode: SyncMode
    refetch: bool
    detail_limit: int | None
    limit_given: bool = False


def needs_walk(store: Store, day: date, request: CaptureRequest, loaded: LoadedSettings) -> bool:
    """Return whether the day's complete capture, if any, has to be replaced by a new walk.

    A complete capture is used until it is published or judged unfit to be; an unpublished day is then walked
    again, a published one only by full, force or refetch. Full and force walk only while the Hub shows the
    day: of a past one they derive what is stored.
    """
    complete = store.captures.latest_complete(day)
    if complete is None or request.refetch:
        return True
    published = store.published.manifest(day)
    used = published is not None and published.capture.run == complete.run
    rules = sync_rules(loaded)
    again = published is None or rules.force_full_sync or SyncMode.FULL in (request.mode, rules.mode)
    return again and (used or _refused(store, complete, loaded)) and not is_past(store, day)


def _refused(store: Store, capture: Capture, loaded: LoadedSettings) -> bool:
    """Return whether a capture was judged unfit for publishing, and would be again: nothing else changed."""
    try:
        candidate = store.candidates.manifest(capture.day)
    except PermanentError:  # there is none, or it is damaged: it is made anew
        return False
    if candidate.verdict is None or candidate.verdict.publishable or candidate.capture.run != capture.run:
        return False
    baseline = store.published.latest_before(capture.day)
    made_from = (candidate.pipeline_version, candidate.derivation, candidate.baseline)
    return made_from == (
        __version__,
        derivation_settings(loaded),
        None if baseline is None else baseline.as_baseline(),
    )


def is_past(store: Store, day: date) -> bool:
    """Return whether the Hub's clock was already seen past a day."""
    newest = store.newest_hub_time()
    return newest is not None and newest.date() > day


def refuse_past(store: Store, day: date, end: datetime | None = None) -> None:
    """Refuse to walk for a day that the Hub is known to have left, without asking it.

    Args:
        store: what the Hub's clock was last seen at.
        day: the day asked for.
        end: until when pages for the day are taken; its last moment when None.

    Raises:
        Refused: the Hub's clock was already seen past that.
    """
    newest = store.newest_hub_time()
    if newest is not None and (newest.date() > day if end is None else newest >= end):
        raise _past(store, day, newest)


def refuse_dry_run(loaded: LoadedSettings) -> None:
    """Refuse to sync in earnest where a dry run is asked for.

    Raises:
        Refused: the setting `dry_run` is on.
    """
    if loaded.settings.dry_run:
        raise Refused(
            f"dry_run is on ({loaded.origins['dry_run']}), and this version has no dry run: nothing was done",
            category=Category.CONFIGURATION,
            remedy="Unset DRY_RUN, or set dry_run: false, to sync.",
        )


def obtain_capture(
    store: Store,
    hub: HubClient,
    loaded: LoadedSettings,
    day: date,
    request: CaptureRequest,
    *,
    note_start: Callable[[Capture | None, datetime | None], None],
    on_page: Callable[[int, int], None],
) -> Capture:
    """Return a capture of the day whose listing is complete: a stored one, or walked now.

    Args:
        store: where captures lie.
        hub: the Hub; not asked when a stored capture serves.
        loaded: the settings.
        day: the partition.
        request: what the run asks for.
        note_start: called once when it is clear that this is a sync and no refusal, with the capture and the
            Hub's clock; with None when the Hub was out of reach before a capture could be begun.
        on_page: called after every stored page.

    Raises:
        Refused: the day is not the Hub's present day.
        TransientError, PermanentError: the Hub, the disk.
    """
    refuse_dry_run(loaded)
    if not needs_walk(store, day, request, loaded):
        capture = store.captures.latest_complete(day)
        if capture is not None:
            note_start(capture, capture.last_hub_date)
            return capture
    unfinished = _unfinished(store, hub, day, request)
    end = end_of_capture(day, loaded)
    if unfinished is not None:
        if not unfinished.listing_complete:
            refuse_past(store, day, end)
        note_start(unfinished, unfinished.last_hub_date)
        if request.limit_given:
            unfinished.limit_details(request.detail_limit)
        if not unfinished.listing_complete:
            _walk(hub, unfinished, end, None, on_page)
        return unfinished
    refuse_past(store, day)
    plan = _plan(store, hub, day, request, sync_rules(loaded))
    try:
        first = hub.get(first_page_path(plan.fields))
    except GgufAssetsError:
        note_start(None, None)
        raise
    if first.date.date() != day:
        raise _past(store, day, first.date) if first.date.date() > day else _not_yet(day, first.date)
    try:
        capture = store.captures.begin(day, plan)
    except PermanentError:
        note_start(None, first.date)
        raise
    note_start(capture, first.date)
    _walk(hub, capture, end, first, on_page)
    return capture


def end_of_capture(day: date, loaded: LoadedSettings) -> datetime:
    """Return until when a capture begun on a day may go on, and the day be published again."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    return midnight + timedelta(hours=loaded.settings.sync_behavior.late_capture_hours)


def sync_rules(loaded: LoadedSettings) -> SyncRules:
    """Return what the settings say about the choice of the mode."""
    behavior = loaded.settings.sync_behavior
    return SyncRules(mode=SyncMode(behavior.mode), force_full_sync=behavior.force_full_sync)


def _plan(store: Store, hub: HubClient, day: date, request: CaptureRequest, rules: SyncRules) -> CapturePlan:
    baseline = store.published.latest_before(day)
    past = SyncPast(baseline_day=None if baseline is None else baseline.day)
    decision = plan_sync(past, rules, request.mode)
    full = decision.mode is SyncMode.FULL
    return CapturePlan(
        endpoint=hub.endpoint,
        kind="full" if full else "census",
        mode=decision.mode.value,
        reason=decision.reason,
        reason_text=decision.reason_text,
        fields=FULL_FIELDS if full else CENSUS_FIELDS,
        detail_limit=request.detail_limit,
    )


def _unfinished(store: Store, hub: HubClient, day: date, request: CaptureRequest) -> Capture | None:
    """Return the day's last capture if it was interrupted and this run may go on with it.

    Another Hub's links lead nowhere here, and an explicitly other mode needs other pages.
    """
    capture = store.captures.latest(day)
    if capture is None or capture.complete or request.refetch:
        return None
    if capture.plan.endpoint != hub.endpoint or not capture.pages_stored:
        return None
    if request.mode is not SyncMode.AUTO and request.mode.value != capture.plan.mode:
        return capture if capture.plan.reason == "first_run" else None
    return capture


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
                category=Category.DATA,
                remedy="Sync the present day: gguf-assets sync",
            )
        self._capture.store_page(content, date=date, **rest)


def _walk(
    hub: HubClient,
    capture: Capture,
    end: datetime,
    first: HubAnswer | None,
    on_page: Callable[[int, int], None],
) -> None:
    walk(hub, _InTime(capture, end), fields=capture.plan.fields, first_page=first, on_page=on_page)
    capture.finish_listing()


def _past(store: Store, day: date, now: datetime) -> Refused:
    return Refused(
        f"{day} cannot be captured any more: the Hub's clock says {now:%Y-%m-%d %H:%M} UTC and the Hub shows "
        f"only the present. {what_can_be_rebuilt(store.captures.complete_days())}",
        remedy=OTHER_DAYS,
    )


def _not_yet(day: date, now: datetime) -> Refused:
    return Refused(
        f"{day} has not begun: the Hub's clock says {now:%Y-%m-%d %H:%M} UTC",
        remedy=f"Sync the Hub's present day: gguf-assets sync --date {now.date()}",
    )
