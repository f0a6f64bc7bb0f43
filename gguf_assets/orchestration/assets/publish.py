"""What readers see: the published day, and the report on the sync that made it."""

import time
from datetime import date
from typing import Any

import dagster as dg

from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.orchestration.assets.capture import day_of
from gguf_assets.orchestration.backing_up import back_up_after_sync, back_up_before_publishing
from gguf_assets.orchestration.checks import NEVERTHELESS
from gguf_assets.orchestration.config import PublishConfig
from gguf_assets.orchestration.failures import clear_failures
from gguf_assets.orchestration.hooks import record_failed_sync
from gguf_assets.orchestration.logs import RunLog
from gguf_assets.orchestration.reporting import SyncReport, report_sync, seconds_taken
from gguf_assets.orchestration.threads import ahead
from gguf_assets.orchestration.walking import end_of_capture
from gguf_assets.quality.completeness import as_text
from gguf_assets.settings.load import LoadedSettings
from gguf_assets.store.backing_up import Made
from gguf_assets.store.export import Export, export_latest
from gguf_assets.store.manifests import CandidateManifest
from gguf_assets.store.publish import PublishOutcome, publish
from gguf_assets.store.store import Store
from gguf_assets.store.thinning import rebuild_what_needs


def build_publish_assets(
    days: dg.DailyPartitionsDefinition, judged: list[dg.AssetsDefinition]
) -> list[dg.AssetsDefinition]:
    """Return the assets `published_catalogue` and `sync_report`."""

    @dg.asset(
        partitions_def=days,
        hooks={record_failed_sync},
        group_name="published",
        kinds={"parquet"},
        deps=judged,
    )
    def published_catalogue(
        context: dg.AssetExecutionContext,
        config: PublishConfig,
        settings: dg.ResourceParam[LoadedSettings],
        store: dg.ResourceParam[Store],
    ) -> dg.MaterializeResult:
        """The day as readers see it: all datasets, all or nothing; refused below the threshold."""
        began = time.monotonic()
        with clear_failures():
            candidate = store.candidates.manifest(day_of(context))
            refuse_frozen(store, settings, candidate, replace=config.replace)
            refuse_incomplete(settings, candidate)
            preserve = settings.settings.error_handling.preserve_data_on_failure
            backup = back_up_before_publishing(store, settings, candidate.day)
            rebuild_what_needs(store, candidate)
            outcome = publish(store.layout, candidate, despite_verdict=not preserve)
            count = 2 if settings.settings.performance.enable_parallel_processing else 0
            export = export_latest(store.layout, overlap=lambda texts: ahead(texts, count))
        metadata = published_metadata(store, outcome) | export_metadata(export) | backup_metadata(backup)
        RunLog(context.log, settings).stage(
            f"Published: {metadata['rows_models']:,} models, {metadata['rows_files']:,} files"
            + (", as they were" if outcome.unchanged else "")
        )
        return dg.MaterializeResult(metadata=metadata | seconds_taken(began, settings))

    @dg.asset(
        partitions_def=days,
        hooks={record_failed_sync},
        group_name="published",
        kinds={"markdown"},
        deps=[published_catalogue],
    )
    def sync_report(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[LoadedSettings],
        store: dg.ResourceParam[Store],
    ) -> dg.MaterializeResult:
        """The report of the day, and the end of the sync in the history."""
        with clear_failures():
            day = day_of(context)
            report = report_sync(store, settings, context.instance, context.run, day)
        log = RunLog(context.log, settings)
        log.say(report.block)
        if report.problem is not None:
            log.warn(unwritten_pages(day, report.problem))
        if not ended_sync(store, context.run.run_id):
            return dg.MaterializeResult(metadata=report_metadata(report) | backup_metadata(None))
        backup, problem = back_up_after_sync(store, settings, day)
        if problem is not None:
            log.warn(problem)
        return dg.MaterializeResult(metadata=report_metadata(report) | backup_metadata(backup, problem))

    return [published_catalogue, sync_report]


def refuse_frozen(
    store: Store, settings: LoadedSettings, candidate: CandidateManifest, *, replace: bool
) -> None:
    """Refuse to change a day that the Hub has left for good.

    Raises:
        PermanentError: the day is published with other content and frozen, and `replace` was not given.
    """
    day = candidate.day
    published, newest = store.published.manifest(day), store.newest_hub_time()
    if published is None or replace or newest is None or newest < end_of_capture(day, settings):
        return
    other = sorted(name for name, info in candidate.files.items() if published.files.get(name) != info)
    if other:
        raise PermanentError(
            f"{day} is frozen and would change in {', '.join(other)}: published days stay as they are once "
            "the Hub has left them",
            category=ErrorCategory.DATA,
            remedy="To replace it and derive every later day again: "
            f"gguf-assets rederive --from {day} --replace",
        )


def refuse_incomplete(settings: LoadedSettings, candidate: CandidateManifest) -> None:
    """Refuse a candidate below the threshold in force, which may be another than the one it was judged by.

    A verdict that refused the candidate is not softened by this: `publish` obeys it in any case.

    Raises:
        PermanentError: the completeness is below `validation.min_completeness_score`, and days are not
            published regardless of that.
    """
    rules, verdict = settings.settings.validation, candidate.verdict
    counts = rules.enable_completeness_checking and settings.settings.error_handling.preserve_data_on_failure
    if not counts or verdict is None or not verdict.publishable or verdict.completeness is None:
        return
    if verdict.completeness < rules.min_completeness_score:
        raise PermanentError(
            f"{candidate.day} was not published: completeness {as_text(verdict.completeness)} is below the "
            f"minimum {rules.min_completeness_score:g} in force now; it was judged by a lower one",
            category=ErrorCategory.DATA,
            remedy=f"Walk the Hub again: gguf-assets sync --date {candidate.day} --refetch",
        )


def published_metadata(store: Store, outcome: PublishOutcome) -> dict[str, Any]:
    """Return the metadata of `published_catalogue`."""
    manifest = outcome.manifest
    day: date = manifest.day
    metadata: dict[str, Any] = {
        "dagster/partition_row_count": manifest.files["models"].rows,
        "unchanged": outcome.unchanged,
        "completeness": manifest.completeness or 0.0,
        "days_published": len(store.published.days()),
        "bytes": sum(info.bytes for info in manifest.files.values()),
        "failed_checks": len(manifest.failed),
        "manifest": dg.MetadataValue.path(str(store.layout.published_manifest(day))),
    }
    if manifest.failed:
        metadata["verdict"] = f"failed, and {NEVERTHELESS}: " + "; ".join(manifest.failed)
    return metadata | {f"rows_{name}": info.rows for name, info in manifest.files.items()}


def unwritten_pages(day: date, problem: str) -> str:
    """Return what is said of pages that could not be written: the day is published all the same."""
    return (
        f"The pages of the report could not be written: {problem}. {day} is published, and its report is in "
        f"Markdown. To write them: gguf-assets report --date {day} --open"
    )


def report_metadata(report: SyncReport) -> dict[str, Any]:
    """Return the metadata of `sync_report`."""
    metadata: dict[str, Any] = {
        "report": dg.MetadataValue.md(report.text),
        "pages": len(report.pages),
        "page_bytes": report.page_bytes,
        **report.figures,
    }
    for name, path in zip(("page", "index_page", "dashboard_page"), report.pages, strict=False):
        metadata[name] = dg.MetadataValue.path(str(path))
    return metadata if report.problem is None else metadata | {"pages_problem": report.problem}


def ended_sync(store: Store, run_id: str) -> bool:
    """Whether a run is a sync, and its end is in the history."""
    return any(sync.sync_id == run_id and sync.published for sync in store.history.syncs())


def backup_metadata(made: Made | None, problem: str | None = None) -> dict[str, Any]:
    """Return what the metadata of an asset say of a backup."""
    metadata: dict[str, Any] = {
        "backup_files": 0 if made is None or not made.new else made.files,
        "backup_copied_bytes": 0 if made is None else made.copied_bytes,
    }
    if made is not None and made.backup is not None:
        metadata["backup"] = dg.MetadataValue.path(str(made.backup.path))
    if made is not None and made.problems:
        metadata["backup_found"] = "\n".join(made.problems)
    return metadata if problem is None else metadata | {"backup_problem": problem}


def export_metadata(export: Export | None) -> dict[str, Any]:
    """Return what the metadata of `published_catalogue` say of the export for web pages."""
    return {
        "export_bytes": 0 if export is None else export.bytes,
        "export_written": export is not None and export.written,
    }
