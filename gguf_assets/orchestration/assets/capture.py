"""What the Hub answered: the listing of the day and the details of repositories."""

import time
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from typing import Any

import dagster as dg
import pyarrow as pa

from gguf_assets.catalogue.heads import HEADS, distinct_heads, parse_heads
from gguf_assets.catalogue.sync_plan import SyncMode
from gguf_assets.catalogue.targets import KNOWN, TARGETS, detail_targets
from gguf_assets.hub.client import HubClient
from gguf_assets.hub.details import DetailsSummary, DetailTarget, fetch_details
from gguf_assets.hub.routes import ROUTES
from gguf_assets.orchestration.answer_cache import adopt_answers, cache_rules
from gguf_assets.orchestration.capturing import CaptureRequest, obtain_capture
from gguf_assets.orchestration.completing import Listing, route_heads
from gguf_assets.orchestration.config import DEFAULT_DETAILS, SyncConfig, detail_limit
from gguf_assets.orchestration.configuration import CONFIGURATION
from gguf_assets.orchestration.derivation import absences_of, capture_of_run
from gguf_assets.orchestration.failures import clear_failures
from gguf_assets.orchestration.hooks import record_failed_sync
from gguf_assets.orchestration.logs import RunLog
from gguf_assets.orchestration.memory import watch_of
from gguf_assets.orchestration.progress import Progress, Reporter, Standing, Traffic
from gguf_assets.orchestration.reporting import seconds_taken
from gguf_assets.orchestration.runs import hub_now_of, trigger_of
from gguf_assets.orchestration.traffic import counted, traffic_metadata
from gguf_assets.orchestration.verification import (
    AskAgain,
    allowed_again,
    verification_metadata,
    verify_files,
)
from gguf_assets.orchestration.walking import Sync
from gguf_assets.settings.load import LoadedSettings
from gguf_assets.store.capture import Capture
from gguf_assets.store.store import Store

DETAILS_SECONDS = 30 * 60
"""A run asks for details so long at most; the rest waits for the next run or the backlog job."""


def day_of(context: dg.AssetExecutionContext | dg.OpExecutionContext) -> date:
    """Return the day of a run's partition."""
    return date.fromisoformat(context.partition_key)


def build_capture_assets(days: dg.DailyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Return the assets `hub_listing` and `hub_details`."""

    @dg.asset(
        partitions_def=days,
        hooks={record_failed_sync},
        group_name="capture",
        kinds={"huggingface"},
        deps=["huggingface_hub", CONFIGURATION],
    )
    def hub_listing(
        context: dg.AssetExecutionContext,
        config: SyncConfig,
        settings: dg.ResourceParam[LoadedSettings],
        hub: dg.ResourceParam[HubClient],
        store: dg.ResourceParam[Store],
        progress: dg.ResourceParam[Progress],
    ) -> dg.MaterializeResult:
        """The raw pages of the Hub's listing of GGUF repositories on the day, byte for byte as they came."""
        day, began = day_of(context), time.monotonic()
        report = reporter(context, settings, progress, hub, observed=("hub_listing", day))
        with clear_failures():
            sync = sync_of(context, settings, hub, store, report)
            listing = obtain_capture(sync, day, capture_request(config, settings, context.run))
        RunLog(context.log, settings).stage(
            f"Listing: {listing.heads.num_rows:,} models on {listing.capture.pages_stored:,} pages, "
            f"{hub.requests:,} requests"
        )
        metadata = listing_metadata(listing)
        metadata |= traffic_metadata(hub, settings) | seconds_taken(began, settings)
        return dg.MaterializeResult(metadata=metadata)

    @dg.asset(
        partitions_def=days,
        hooks={record_failed_sync},
        group_name="capture",
        kinds={"huggingface"},
        deps=[hub_listing],
    )
    def hub_details(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[LoadedSettings],
        hub: dg.ResourceParam[HubClient],
        store: dg.ResourceParam[Store],
        progress: dg.ResourceParam[Progress],
    ) -> dg.MaterializeResult:
        """Sizes, hashes and header facts of new and changed repositories, under a request budget."""
        day, began, before = day_of(context), time.monotonic(), counted(hub)
        report = reporter(context, settings, progress, hub, observed=("hub_details", day))
        with clear_failures():
            capture = capture_of_run(store, day, context.run.run_id)
            completed = None
            if not capture.details_complete:
                completed = complete_details(store, hub, settings, capture, report)
        metadata = details_metadata(capture, completed) | verification_metadata(capture)
        metadata |= traffic_metadata(hub, settings, before) | seconds_taken(began, settings)
        RunLog(context.log, settings).stage(
            f"Details: {metadata['asked']:,} models asked for, {metadata['failed']:,} without an answer, "
            f"{metadata['taken_over']:,} taken over from other captures, {metadata['verified']:,} verified, "
            f"{metadata['requests']:,} requests"
        )
        return dg.MaterializeResult(metadata=metadata)

    return [hub_listing, hub_details]


def reporter(
    context: dg.AssetExecutionContext | dg.OpExecutionContext,
    settings: LoadedSettings,
    progress: Progress,
    hub: Traffic | None = None,
    *,
    observed: tuple[str, date] | None = None,
) -> Reporter:
    """Return where a long step of this run tells how far it is.

    Args:
        context: the step.
        settings: the settings.
        progress: who watches.
        hub: the Hub's client; None where none is asked.
        observed: the asset and the day that observations are about; None for log lines alone.
    """
    monitoring = settings.settings.monitoring

    def observe(standing: Standing) -> None:
        assert observed is not None
        name, day = observed
        context.log_event(dg.AssetObservation(name, partition=day.isoformat(), metadata=standing.metadata()))

    return Reporter(
        progress,
        RunLog(context.log, settings).say,
        float(monitoring.progress_report_interval_seconds),
        tracked=monitoring.enable_progress_tracking,
        traffic=hub,
        memory=watch_of(settings),
        observe=None if observed is None else observe,
    )


def sync_of(
    context: dg.AssetExecutionContext,
    settings: LoadedSettings,
    hub: HubClient,
    store: Store,
    report: Reporter,
) -> Sync:
    """Return what this run walks with."""
    run_id = context.run.run_id
    day = day_of(context)

    def note_start(capture: Capture | None, now: datetime | None) -> None:
        plan = None if capture is None else capture.plan
        store.history.started(
            run_id,
            day,
            now,
            mode=None if plan is None else plan.mode,
            reason=None if plan is None else plan.reason,
            run_id=run_id,
            capture_run=None if capture is None else capture.run,
            trigger=trigger_of(context.run.tags),
        )

    own = RunLog(context.log, settings)

    def log(text: str) -> None:
        own.say(text)
        report.say(text)

    def stage(text: str, decided: str | None) -> None:
        own.stage(text, decided)
        report.say(text)

    return Sync(store, hub, settings, run_id, note_start, log, stage, report.step_by_unit)


def capture_request(config: SyncConfig, settings: LoadedSettings, run: dg.DagsterRun) -> CaptureRequest:
    """Return what a run's options ask of the capture.

    Raises:
        Refused: an option is not allowed.
    """
    return CaptureRequest(
        mode=SyncMode(config.mode.value),
        refetch=config.refetch,
        detail_limit=detail_limit(config.details, settings.settings.sync_behavior.detail_requests_per_run),
        force=config.force,
        hub_now=hub_now_of(run.tags),
        limit_given=config.details != DEFAULT_DETAILS,
    )


@dataclass(frozen=True)
class Completed:
    """How the details phase of a capture went: what was asked for, and how many answers were taken over."""

    summary: DetailsSummary
    adopted: int


def complete_details(
    store: Store, hub: HubClient, settings: LoadedSettings, capture: Capture, report: Reporter
) -> Completed:
    """Ask for the details a capture wants within its budget, after taking over what is stored elsewhere.

    What the budget leaves over is spent on asking again for details that are known.

    Raises:
        TransientError, PermanentError: the Hub, the disk; memory passes its limit. What was answered stays.
    """
    limit = capture.plan.detail_limit
    left = None if limit is None else max(0, limit - capture.detail_requests)
    fix = settings.settings.validation.enable_automatic_fixes
    end = time.monotonic() + DETAILS_SECONDS
    heads, adopted = cache(lambda: listed_heads(capture, fix=fix)), 0
    if left == 0:
        summary = DetailsSummary(0, 0, 0, "budget")
    else:
        targets = wanted_details(store, capture, heads())
        adopted = adopt_answers(store, capture, targets, cache_rules(settings))
        summary = ask(hub, settings, capture, targets, left, report, end)
    allowed = allowed_again(settings, limit)
    verifying = verify_files(
        store,
        hub,
        capture,
        AskAgain(0, 0) if summary.stopped_reason == "failing" else allowed,
        heads,
        left=None if left is None else max(0, left - summary.requests),
        deadline=lambda: time.monotonic() >= end,
        report=report,
    )
    capture.finish_details(
        stopped=summary.stopped_reason, failed=summary.failed, requests=summary.requests + verifying
    )
    return Completed(summary, adopted)


def ask(
    hub: HubClient,
    settings: LoadedSettings,
    capture: Capture,
    targets: list[DetailTarget],
    limit: int | None,
    report: Reporter,
    end: float | None = None,
) -> DetailsSummary:
    """Ask for targets within a request limit, until a time (monotonic); None for that of one run from now.

    Before each unit of them stock is taken.

    Raises:
        TransientError, PermanentError: as `fetch_details`, and memory passes its limit.
    """
    open_targets = [target for target in targets if not capture.has_answer(target.hub_id, target.sha)]
    total = len(open_targets) if limit is None else min(len(open_targets), limit)
    end = time.monotonic() + DETAILS_SECONDS if end is None else end
    done = 0

    def answered(_: object) -> None:
        nonlocal done
        done += 1
        report.step("file details", done, max(total, done))

    return fetch_details(
        hub,
        report.units(open_targets, settings.settings.performance.chunk_size, "file details"),
        capture,
        limit=limit,
        deadline=lambda: time.monotonic() >= end,
        on_answer=answered,
    )


def listed_heads(capture: Capture, *, fix: bool) -> pa.Table:
    """Return the heads of all models that the day's listing shows; `fix` as `parse_heads` has it."""
    pages = (parse_heads(name, content, fix=fix) for name, content in capture.iter_pages())
    there = absences_of(capture, fix=fix).there.select(HEADS.names)
    return distinct_heads([*pages, *route_heads(capture, fix=fix), there])


def wanted_details(store: Store, capture: Capture, heads: pa.Table) -> list[DetailTarget]:
    """Return whose details the day is missing, in the order of asking."""
    baseline = store.published.latest_before(capture.day)
    known = None
    if baseline is not None:
        known = store.published_tables(baseline.day).model_columns(list(KNOWN))
    targets = detail_targets(heads, known)
    columns = [targets[name].to_pylist() for name in TARGETS.names]
    return [DetailTarget(*row) for row in zip(*columns, strict=True)]


def listing_metadata(listing: Listing) -> dict[str, Any]:
    """Return the metadata of `hub_listing`; the same numeric keys on every day."""
    capture = listing.capture
    plan, absence = capture.plan, capture.absence
    routes: dict[str, int] = {}
    for name in ROUTES:
        entry = capture.routes.get(name)
        routes[f"route_{name}_rows"] = 0 if entry is None else sum(page.rows for page in entry.pages)
        routes[f"route_{name}_failed"] = int(entry is not None and entry.error is not None)
    return {
        "mode": plan.mode,
        "kind": plan.kind,
        "reason": plan.reason_text,
        "reason_code": plan.reason,
        "capture_run": capture.run,
        "rows": capture.rows,
        "listed": listing.heads.num_rows,
        "in_window": listing.in_window,
        "undated": listing.undated,
        "window_hours": float(plan.window_hours or 0.0),
        "absent": 0 if absence is None else absence.absent,
        "asked_by_name": 0 if absence is None else absence.asked,
        **routes,
        "pages": capture.pages_stored,
        "requests_of_capture": capture.requests,
        "observed_at": capture.observed_at.isoformat() if capture.observed_at else "",
    }


def details_metadata(capture: Capture, completed: Completed | None) -> dict[str, Any]:
    """Return the metadata of `hub_details`; None where the details were complete already."""
    summary = None if completed is None else completed.summary
    return {
        "asked": 0 if summary is None else summary.answered + summary.failed,
        "failed": capture.details_failed,
        "taken_over": 0 if completed is None else completed.adopted,
        "requests_of_capture": capture.detail_requests,
        "stopped": capture.details_stopped or "",
    }
