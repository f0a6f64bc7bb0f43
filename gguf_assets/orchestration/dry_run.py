"""The dry run: what a sync would do now, and nothing of it done.

Nothing is written anywhere: no lock, no Dagster instance, no counter of the rate limiter. It asks the Hub at
most for its clock. Here: the choice between walking, going on, using what is stored and doing nothing, by the
rules of `capturing` and `planning`. Not here: what that costs (`estimates`), the Dagster job (`sync_plan`).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from gguf_assets.catalogue.expectation import Expectation
from gguf_assets.catalogue.sync_plan import (
    DETERMINING,
    Reason,
    SyncMode,
    SyncPlan,
    WalkKind,
    plan_sync,
    plan_without_clock,
)
from gguf_assets.hub.client import HubClient
from gguf_assets.orchestration.capturing import (
    CaptureRequest,
    foreseen_plan,
    needs_walk,
    refuse_other_day,
    refuse_past,
    suited_to_day,
    unfinished_capture,
)
from gguf_assets.orchestration.config import DEFAULT_DETAILS, detail_limit
from gguf_assets.orchestration.estimates import Estimates
from gguf_assets.orchestration.executors import chosen_executor
from gguf_assets.orchestration.partitions import first_day, refuse_outside
from gguf_assets.orchestration.planning import sync_past, sync_rules
from gguf_assets.orchestration.resources import layout_of, request_limits
from gguf_assets.orchestration.walking import capture_plan, end_of_capture
from gguf_assets.settings.load import LoadedSettings, load_settings
from gguf_assets.settings.token import require_token
from gguf_assets.store.capture_manifest import CapturePlan
from gguf_assets.store.lock import Holder, WriterLock
from gguf_assets.store.manifests import PublishedManifest
from gguf_assets.store.store import Store

ASKED_FOR = "--dry-run"
"""Why a dry run is one, where nothing but the command said so."""


class Action(StrEnum):
    """What a sync does about the listing of its day."""

    WALK = "walk"
    GO_ON = "go on"
    USE_STORED = "use stored capture"
    NOTHING = "nothing to do"


@dataclass(frozen=True)
class DryRun:
    """What a sync would do.

    Attributes:
        day: the day it would be for.
        action: what it would do about the listing.
        mode, reason: the mode, and the code of the reason for it.
        reason_text: the reason in one sentence.
        kind: what the listing is asked for: `full`, `census` or `window`.
        window_hours, window_start: how far back an incremental sync looks; None for a full one.
        notes: remarks for whoever reads it.
        log: what the sync would say about the decision.
        expected: what it would probably cost.
        clock: the Hub's clock where it was asked; None where the decision does not need it.
        requests: requests the dry run itself sent.
        because: why this is a dry run: the option, or where the setting comes from.
    """

    day: date
    action: Action
    mode: str
    reason: str
    reason_text: str
    kind: str
    window_hours: float | None
    window_start: datetime | None
    notes: tuple[str, ...]
    log: tuple[str, ...]
    expected: Expectation
    clock: datetime | None = None
    requests: int = 0
    because: str = ASKED_FOR

    def as_json(self) -> dict[str, Any]:
        """Return the keys of `gguf-assets sync --dry-run --json`; expected figures are estimates."""
        return {
            "date": self.day.isoformat(),
            "dry_run": True,
            "because": self.because,
            "action": self.action.value,
            "mode": self.mode,
            "reason": self.reason,
            "reason_text": self.reason_text,
            "kind": self.kind,
            "window_hours": self.window_hours,
            "window_start": self.window_start,
            "notes": list(self.notes),
            "log": list(self.log),
            "expected_requests": self.expected.requests,
            "expected_requests_at_least": self.expected.at_least,
            "expected_requests_by_part": [asdict(part) for part in self.expected.parts],
            "expected_seconds": self.expected.seconds,
            "expected_seconds_basis": self.expected.seconds_basis,
            "hub_time": self.clock,
            "requests": self.requests,
        }


def dry_run_setting(loaded: LoadedSettings) -> str | None:
    """Return where the setting `dry_run` is turned on; None where it is off."""
    return f"dry_run is on ({loaded.origins['dry_run']})" if loaded.settings.dry_run else None


def dry_run(
    day: date | None,
    mode: SyncMode,
    details: str,
    *,
    force: bool,
    refetch: bool,
    because: str = ASKED_FOR,
    environ: Mapping[str, str] | None = None,
    loaded: LoadedSettings | None = None,
) -> DryRun:
    """Return what `sync_day` would do with the same arguments now; nothing is written.

    Args:
        day: the day; None for the Hub's present one, at the price of one request.
        mode: the mode asked for.
        details: `default`, `all`, `none` or a number of requests.
        force: full, whatever mode and history say.
        refetch: walk again although the day has a complete capture.
        because: why this is a dry run.
        environ: environment variables; those of the process when None.
        loaded: the settings; those of the environment when None.

    Raises:
        GgufAssetsError: the sync would be refused, for the same reason, or the Hub does not tell its clock.
    """
    environ = os.environ if environ is None else environ
    loaded = load_settings(environ) if loaded is None else loaded
    chosen_executor(environ)
    first_day(environ, None, None)
    limit = detail_limit(details, loaded.settings.sync_behavior.detail_requests_per_run)
    request = CaptureRequest(mode, refetch, limit, force, limit_given=details != DEFAULT_DETAILS)
    token = require_token(loaded)
    with (
        view(loaded, environ, None if token is None else token.get_secret_value()) as seen,
        seen.hub as hub,
    ):
        found = look_ahead(seen, day, request, hub.now)
        return replace(found, requests=hub.requests, because=because)


@dataclass(frozen=True)
class View:
    """What a look ahead stands on; made by `view`.

    Attributes:
        store: the store, opened so that nothing of it changes, whatever it does on reading.
        hub: the Hub that a sync would ask, not opened; it keeps its rate to itself and writes nothing.
        loaded: the settings.
        environ: environment variables.
        holder: who is writing at present.
    """

    store: Store
    hub: HubClient
    loaded: LoadedSettings
    environ: Mapping[str, str]
    holder: Holder | None


@contextmanager
def view(loaded: LoadedSettings, environ: Mapping[str, str], token: str | None = None) -> Iterator[View]:
    """Open a store and name its Hub, to look only.

    Opening the spool of a killed sync mends it; here that happens to a copy.

    Raises:
        PermanentError: endpoint or token are unusable, or the disk refused.
    """
    layout = layout_of(loaded)
    hub = HubClient(
        loaded.endpoint,
        token=token,
        limits=request_limits(loaded),
        limiter_file=None,
        allowed_domains=tuple(loaded.settings.security.allowed_domains),
    )
    with tempfile.TemporaryDirectory(prefix="gguf-assets-") as folder:
        copied = replace(layout, state=Path(folder))
        copy_files(layout.spool_dir, copied.spool_dir)
        yield View(Store(copied), hub, loaded, environ, WriterLock(layout).holder())


def copy_files(folder: Path, target: Path) -> None:
    """Copy the files of a folder, if there is one; a file that its writer removes meanwhile is left out."""
    target.mkdir(parents=True)
    for path in sorted(folder.glob("*")):
        with suppress(FileNotFoundError):
            shutil.copyfile(path, target / path.name)


def look_ahead(
    seen: View, day: date | None, request: CaptureRequest, clock: Callable[[], datetime]
) -> DryRun:
    """Return what a sync would do, by the very rules that a sync follows.

    Args:
        seen: what there is.
        day: the day asked for; None for that of the clock.
        request: what is asked of the capture.
        clock: tells the Hub's clock; called at most once, and only where the decision needs it.

    Raises:
        GgufAssetsError: the sync would be refused, or the clock failed.
    """
    found = _decided(seen, day, request, clock)
    return replace(found, notes=(*found.notes, *_may_turn_full(seen, found), *_in_the_way(seen)))


def _decided(seen: View, day: date | None, request: CaptureRequest, clock: Callable[[], datetime]) -> DryRun:
    store, loaded = seen.store, seen.loaded
    now = clock() if day is None else None
    chosen = now.date() if now is not None else day
    assert chosen is not None
    first = first_day(seen.environ, store.earliest_day(), chosen if store.earliest_day() is None else None)
    refuse_outside(chosen, first, store.captures.complete_days())
    published, walk_again = store.published.manifest(chosen), needs_walk(store, chosen, request, loaded)
    estimates, asked = Estimates(store, loaded, chosen), int(now is not None)
    if published is not None and not walk_again and is_concluded(store, published):
        return _nothing(published, estimates.of_nothing(asked), now)
    if request.refetch or store.captures.latest(chosen) is None:
        refuse_past(store, chosen)
    stored = None if walk_again else store.captures.latest_complete(chosen)
    if stored is not None:
        log = f"Nothing is fetched: {chosen} has a complete capture, run {stored.run:02d}"
        return _described(chosen, Action.USE_STORED, stored.plan, (log,), estimates.of_nothing(asked), now)
    rules = sync_rules(loaded)
    begun = unfinished_capture(store, seen.hub, chosen, request, rules)
    if begun is not None:
        if not begun.listing_complete:
            refuse_past(store, chosen, end_of_capture(chosen, loaded))
        log = (
            f"{begun.plan.reason_text}; going on with capture run {begun.run:02d}, which an earlier run left "
            f"after {begun.pages_stored} pages"
        )
        limit = request.detail_limit if request.limit_given else begun.plan.detail_limit
        expected = estimates.of_rest(begun, limit, asked)
        return _described(chosen, Action.GO_ON, begun.plan, (f"{DETERMINING}…", log), expected, now)
    refuse_past(store, chosen)
    past = sync_past(store, chosen, running=None if seen.holder is None else seen.holder.run_id)

    def plan_at(moment: datetime) -> SyncPlan:
        planned = plan_sync(past, rules, moment, request.mode, force=request.force)
        return suited_to_day(store, chosen, planned)

    plan = plan_without_clock(past, rules, request.mode, force=request.force)
    if plan is None:
        asked |= foreseen_plan(chosen, plan_at) is None
        now = clock() if now is None else now
        refuse_other_day(store, chosen, now)
        plan = plan_at(now)
    planned = capture_plan(plan, seen.hub.endpoint, rules, request.detail_limit)
    expected = estimates.of_walk(planned, int(asked))
    walk = _described(chosen, Action.WALK, planned, tuple(plan.log_lines()), expected, now)
    if now is not None:
        return walk
    unasked = f"The Hub's clock was not asked: a sync is refused unless the Hub shows {chosen}"
    return replace(walk, notes=(*walk.notes, unasked))


def is_concluded(store: Store, manifest: PublishedManifest) -> bool:
    """Return whether the last sync of a published day came to its end.

    One that was killed just before it did not, nor one that was to replace the day and failed.
    """
    last = next((sync for sync in reversed(store.history.syncs()) if sync.day == manifest.day), None)
    return store.layout.report_file(manifest.day).is_file() and (last is None or last.state == "finished")


def _described(
    day: date,
    action: Action,
    plan: CapturePlan,
    log: tuple[str, ...],
    expected: Expectation,
    now: datetime | None,
) -> DryRun:
    return DryRun(
        day,
        action,
        plan.mode,
        plan.reason,
        plan.reason_text,
        plan.kind,
        plan.window_hours,
        None if plan.window_start is None else datetime.fromisoformat(plan.window_start),
        plan.notes,
        log,
        expected,
        now,
    )


def _nothing(manifest: PublishedManifest, expected: Expectation, now: datetime | None) -> DryRun:
    text = f"{manifest.day} is already published ({manifest.rows['models']:,} models); nothing to do"
    return DryRun(
        manifest.day,
        Action.NOTHING,
        manifest.mode,
        manifest.reason,
        text,
        manifest.capture.kind,
        None,
        None,
        (),
        (),
        expected,
        now,
    )


def _may_turn_full(seen: View, found: DryRun) -> Iterator[str]:
    """Yield from which change of their number on an incremental sync turns full; only the listing tells."""
    baseline = seen.store.published.latest_before(found.day)
    walks = found.action in (Action.WALK, Action.GO_ON) and found.kind == WalkKind.CENSUS
    if walks and baseline is not None and found.reason != Reason.EXPLICIT:
        share = sync_rules(seen.loaded).significant_change_threshold * 100
        models = f"{baseline.rows['models']:,} published"
        yield f"It turns full if the listing has {share:g}% more or fewer models than the {models}"


def _in_the_way(seen: View) -> Iterator[str]:
    """Yield what a sync would meet first."""
    if seen.holder is not None:
        yield f"A sync is refused until another process has done: {seen.holder}"
    if seen.store.layout.journal.is_file():
        yield "A sync first completes the publishing that was interrupted"
