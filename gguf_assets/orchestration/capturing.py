"""Which capture of a day a run works on: a stored one, one to go on with, or a new one.

Here: that choice, and the rule that the Hub's clock decides the day. Not here: the choice of the mode
(`catalogue/sync_plan`), the walk (`walking`), what completes it (`completing`), the assets
(`assets/capture`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

from gguf_assets import __version__
from gguf_assets.catalogue.sync_plan import (
    DETERMINING,
    Reason,
    SyncMode,
    SyncPlan,
    SyncRules,
    WalkKind,
    plan_sync,
)
from gguf_assets.errors import ErrorCategory as Category
from gguf_assets.errors import GgufAssetsError, PermanentError, Refused
from gguf_assets.hub.client import HubClient
from gguf_assets.orchestration.completing import Listing, complete_listing, turned_full_if_changed
from gguf_assets.orchestration.derivation import derivation_settings
from gguf_assets.orchestration.partitions import OTHER_DAYS, what_can_be_rebuilt
from gguf_assets.orchestration.planning import sync_past, sync_rules
from gguf_assets.orchestration.walking import (
    Sync,
    capture_plan,
    end_of_capture,
    first_path,
    walk_new,
    walk_on,
)
from gguf_assets.settings.load import LoadedSettings
from gguf_assets.store.capture import Capture
from gguf_assets.store.capture_manifest import CapturePlan
from gguf_assets.store.store import Store


@dataclass(frozen=True)
class CaptureRequest:
    """What a run asks of the capture.

    Attributes:
        mode: the mode asked for at the start; `auto` leaves it to the settings.
        refetch: walk again although the day has a complete capture.
        detail_limit: most detail requests; None for all.
        force: full, whatever mode and history say.
        hub_now: the Hub's clock, where it was asked for just before; None where it was not.
        limit_given: whether that was asked for, and not just the setting; it then also holds for a capture
            that was begun with another.
    """

    mode: SyncMode
    refetch: bool
    detail_limit: int | None
    force: bool = False
    hub_now: datetime | None = None
    limit_given: bool = False


def needs_walk(store: Store, day: date, request: CaptureRequest, loaded: LoadedSettings) -> bool:
    """Return whether the day's complete capture, if any, has to be replaced by a new walk.

    A complete capture is used until it is published or judged unfit to be: an unfit one is walked again, a
    published one only by full, force or refetch, or after a later sync of it that failed. None but refetch
    walks for a day that the Hub has left: of a past one what is stored is derived.
    """
    complete = store.captures.latest_complete(day)
    if complete is None or request.refetch:
        return True
    published = store.published.manifest(day)
    used = published is not None and published.capture.run == complete.run
    rules = sync_rules(loaded)
    full = request.force or rules.force_full_sync or SyncMode.FULL in (request.mode, rules.mode)
    again = used and (full or _failed_since(store, complete))
    return (again or _refused(store, complete, loaded)) and not is_past(store, day)


def _failed_since(store: Store, complete: Capture) -> bool:
    """Return whether the last sync was another look at the day, and failed: what is stored is no repair."""
    last = next(reversed(store.history.syncs()), None)
    if last is None or last.state != "failed" or last.day not in (None, complete.day):
        return False
    return last.capture_run != complete.run


def _refused(store: Store, capture: Capture, loaded: LoadedSettings) -> bool:
    """Return whether a capture was judged unfit for publishing, and would be again: nothing else changed."""
    try:
        candidate = store.candidates.manifest(capture.day)
    except PermanentError:  # there is none, or it is damaged: it is made anew
        return False
    verdict = candidate.verdict
    if verdict is None or verdict.publishable or candidate.capture.run != capture.run:
        return False
    if verdict.figures.get("not_checked"):  # time ran out, which says nothing about the capture
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
            f"dry_run is on ({loaded.origins['dry_run']}): nothing is synced in earnest",
            category=Category.CONFIGURATION,
            remedy="See what a sync would do: launch the job sync_plan, or gguf-assets sync. To sync, unset "
            "DRY_RUN, or set dry_run: false.",
        )


def obtain_capture(sync: Sync, day: date, request: CaptureRequest) -> Listing:
    """Return the day's complete listing: a stored one, or walked now.

    Args:
        sync: the run; the Hub is not asked when a stored capture serves.
        day: the partition.
        request: what the run asks for.

    Raises:
        Refused: the day is not the Hub's present day.
        TransientError, PermanentError: the Hub, the disk.
    """
    store = sync.store
    refuse_dry_run(sync.loaded)
    if not needs_walk(store, day, request, sync.loaded):
        stored = store.captures.latest_complete(day)
        if stored is not None:
            sync.stage(f"Nothing is fetched: {day} has a complete capture, run {stored.run:02d}", None)
            if not is_past(store, day):  # a past day is derived again, which is no look at the Hub
                sync.note_start(stored, stored.last_hub_date)
            return Listing.of(stored, fix=sync.loaded.settings.validation.enable_automatic_fixes)
    capture = unfinished_capture(store, sync.hub, day, request, sync_rules(sync.loaded))
    if capture is None:
        capture = _begin(sync, day, request)
    else:
        _go_on(sync, capture, request)
    listing = turned_full_if_changed(sync, capture)
    complete_listing(sync, listing)
    return listing


def _begin(sync: Sync, day: date, request: CaptureRequest) -> Capture:
    """Decide the mode, begin a capture and walk it."""
    refuse_past(sync.store, day)
    rules, past = sync_rules(sync.loaded), sync_past(sync.store, day, running=sync.run_id)

    def plan_at(now: datetime) -> SyncPlan:
        plan = plan_sync(past, rules, now, request.mode, force=request.force)
        return suited_to_day(sync.store, day, plan)

    def captured(plan: SyncPlan) -> CapturePlan:
        return capture_plan(plan, sync.hub.endpoint, rules, request.detail_limit)

    try:
        foreseen = foreseen_plan(day, plan_at)
        if foreseen is None:
            now = request.hub_now or sync.hub.now()
            refuse_other_day(sync.store, day, now)
            foreseen = plan_at(now)
        first = sync.hub.get(first_path(captured(foreseen)))
    except Refused:
        raise
    except GgufAssetsError:
        sync.note_start(None, None)
        raise
    refuse_other_day(sync.store, day, first.date)
    plan = plan_at(first.date) if foreseen.mode is SyncMode.INCREMENTAL else foreseen
    for line in plan.log_lines():
        sync.log(line)
    return walk_new(sync, day, captured(plan), first)


def suited_to_day(store: Store, day: date, plan: SyncPlan) -> SyncPlan:
    """Return a plan that does not undo what is published of the day.

    A walk over a window builds on the day before and knows nothing of removals, so a day that a walk over all
    models has made is walked again over all models.
    """
    published = store.published.manifest(day)
    if plan.kind is not WalkKind.WINDOW or published is None or published.capture.kind == WalkKind.WINDOW:
        return plan
    note = f"All models are walked: {day} is published from a walk over all models, which a window would undo"
    return replace(plan, kind=WalkKind.CENSUS, notes=(*plan.notes, note))


def foreseen_plan(day: date, plan_at: Callable[[datetime], SyncPlan]) -> SyncPlan | None:
    """Return a plan of the day as far as its first page depends on it; None where the hour decides.

    Only then the Hub's clock has to be asked for: the first page tells it anyway.
    """
    midnight = datetime.combine(day, datetime.min.time(), UTC)
    early, late = plan_at(midnight), plan_at(midnight + timedelta(days=1))
    return early if early.kind is late.kind else None


def _go_on(sync: Sync, capture: Capture, request: CaptureRequest) -> None:
    """Go on with a capture that an earlier run left unfinished, under the plan it was begun with."""
    if not capture.listing_complete:
        refuse_past(sync.store, capture.day, end_of_capture(capture.day, sync.loaded))
    sync.log(f"{DETERMINING}…")
    sync.stage(
        f"{capture.plan.reason_text}; going on with capture run {capture.run:02d}, which an earlier run left "
        f"after {capture.pages_stored} pages",
        capture.plan.reason_text,
    )
    sync.note_start(capture, capture.last_hub_date)
    if request.limit_given:
        capture.limit_details(request.detail_limit)
    if not capture.listing_complete:
        walk_on(sync, capture)


def unfinished_capture(
    store: Store, hub: HubClient, day: date, request: CaptureRequest, rules: SyncRules
) -> Capture | None:
    """Return the day's last capture if it was interrupted and this run may go on with it.

    Going on is the same sync, so it keeps its plan. Another Hub's links lead nowhere here, and an explicitly
    other mode needs other pages.
    """
    capture = store.captures.latest(day)
    if capture is None or capture.complete or request.refetch:
        return None
    if capture.plan.endpoint != hub.endpoint or not capture.pages_stored:
        return None
    asked = rules.mode if request.mode is SyncMode.AUTO else request.mode
    if request.force or rules.force_full_sync:
        asked = SyncMode.FULL
    if asked is not SyncMode.AUTO and asked.value != capture.plan.mode:
        return capture if capture.plan.reason in (Reason.FIRST_RUN, Reason.SIGNIFICANT_CHANGE) else None
    return capture


def refuse_other_day(store: Store, day: date, now: datetime) -> None:
    """Refuse to walk for a day that is not the Hub's present one.

    Raises:
        Refused: the Hub's clock says another day.
    """
    if now.date() != day:
        raise _past(store, day, now) if now.date() > day else _not_yet(day, now)


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
