"""The end of a sync: its report, its figures in the history, and the metadata of the last sync.

Figures come from the manifests (`report_facts`) and from Dagster's record of the run; the wording is
`quality/report`'s, and the pages are written by `report_pages`.
"""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from gguf_assets.atomic import write_atomically
from gguf_assets.errors import GgufAssetsError
from gguf_assets.masking import mask
from gguf_assets.orchestration.memory import peak_mb
from gguf_assets.orchestration.traffic import failed_tries_text, run_traffic
from gguf_assets.settings.load import LoadedSettings
from gguf_assets.store.capture import Capture
from gguf_assets.store.history import SyncMetadata, failure_metadata
from gguf_assets.store.manifests import PublishedManifest
from gguf_assets.store.store import Store

if TYPE_CHECKING:
    from gguf_assets.quality.day_facts import DayFacts, Highlights

_STAGES = {
    "hub_listing": "listing",
    "hub_details": "details",
    "catalogue_tables": "models and files",
    "catalogue_delta": "delta",
    "validation_report": "validation",
    "health_scores": "health",
    "published_catalogue": "publishing",
}

RECENT_SYNCS = 30
"""So many syncs the success rate is about."""


@dataclass(frozen=True)
class SyncReport:
    """What the end of a sync has to say.

    Attributes:
        text: the report as Markdown.
        block: the "SYNC MODE REPORT" for the log.
        figures: numeric figures for the UI, null where nobody knows: without performance metrics no duration
            is among them, which the history knows nevertheless.
        pages: the pages written, that of the day first; empty where they could not be.
        page_bytes: the bytes of these pages.
        problem: why the pages could not be written; None when they were.
    """

    text: str
    block: str
    figures: Mapping[str, Any]
    pages: Sequence[Path]
    page_bytes: int
    problem: str | None


def report_sync(
    store: Store, loaded: LoadedSettings, instance: dg.DagsterInstance, run: dg.DagsterRun, day: date
) -> SyncReport:
    """Write the day's report and pages and, where this run is a sync, its end in the history.

    Raises:
        PermanentError: the day cannot be read, or the disk refused the report or the history. The pages are a
            view of what is stored: what keeps them from being written is told, and fails no published day.
    """
    from gguf_assets.orchestration.report_facts import facts_of, highlights_of
    from gguf_assets.quality.day_facts import change_counts
    from gguf_assets.quality.report import day_report, sync_mode_report

    manifest = store.published.manifest(day)
    assert manifest is not None, "published_catalogue comes before"
    capture = store.captures.open(day, manifest.capture.run)
    durations = stage_durations(instance, run.run_id)
    facts, highlights = facts_of(manifest, capture, durations), highlights_of(store, manifest)
    requests = run_traffic(instance, run, loaded)
    text = day_report(facts, highlights) + failed_tries_text(requests)
    write_atomically(store.layout.report_file(day), text.encode())
    measured = loaded.settings.monitoring.enable_performance_metrics
    figures = sync_figures(manifest, requests, durations)
    is_sync = any(sync.sync_id == run.run_id for sync in store.history.syncs())
    pages, problem = _pages(store, loaded, facts, highlights, run.run_id, figures if is_sync else None)
    if measured:
        figures |= {"success_rate": success_rate(store, run.run_id, is_sync=is_sync), **process_figures()}
    if is_sync:
        store.history.write_last_sync(last_sync(capture, manifest, figures))
        # Last of all: a sync that has no end in the history is done again.
        store.history.finished(
            run.run_id,
            published=True,
            hub_time=capture.last_hub_date,
            mode=manifest.mode,
            reason=manifest.reason,
            figures=figures,
        )
    unmeasured = () if measured else ("duration_seconds",)
    shown = {
        name: value
        for name, value in figures.items()
        if (value is None or isinstance(value, int | float)) and name not in unmeasured
    }
    block = sync_mode_report(facts, change_counts(highlights.changes))
    return SyncReport(text, block, shown, pages, sum(page.stat().st_size for page in pages), problem)


def _pages(
    store: Store,
    loaded: LoadedSettings,
    facts: DayFacts,
    highlights: Highlights,
    run_id: str,
    figures: Mapping[str, Any] | None,
) -> tuple[list[Path], str | None]:
    """Write the pages and return them, or why they could not be written."""
    from gguf_assets.orchestration.report_pages import write_pages

    try:
        return write_pages(store, loaded, facts, highlights, running=run_id, figures=figures), None
    except Exception as error:  # noqa: BLE001 (what draws may raise anything, and the day is published)
        # A page of the day as it was before would be taken for this one.
        with contextlib.suppress(OSError):
            store.layout.day_page(facts.day).unlink(missing_ok=True)
        known = isinstance(error, GgufAssetsError)
        return [], mask(str(error) if known else f"{type(error).__name__}: {error}")


def seconds_taken(began: float, loaded: LoadedSettings) -> dict[str, float]:
    """Return the seconds since a `time.monotonic` as metadata; nothing without performance metrics."""
    if not loaded.settings.monitoring.enable_performance_metrics:
        return {}
    return {"duration_seconds": round(time.monotonic() - began, 3)}


def process_figures() -> dict[str, float]:
    """Return the most memory this process ever held, in MB, and the CPU seconds it has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "peak_rss_mb": round(peak_mb(), 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
    }


def success_rate(store: Store, run_id: str, *, is_sync: bool) -> float | None:
    """Return the share of the last syncs that finished; None without any.

    Args:
        store: where the history lies.
        run_id: the run that asks.
        is_sync: whether it is a sync itself, which is about to finish and counts as one that has.
    """
    ended = [sync.state == "finished" for sync in store.history.syncs() if sync.sync_id != run_id]
    last = [*ended, *([True] if is_sync else [])][-RECENT_SYNCS:]
    return round(sum(last) / len(last), 6) if last else None


def stage_durations(instance: dg.DagsterInstance, run_id: str) -> dict[str, float]:
    """Return the seconds of every finished stage of a run, in the order of the flow."""
    stats = {entry.step_key: entry for entry in instance.get_run_step_stats(run_id)}
    durations = {}
    for step, name in _STAGES.items():
        entry = stats.get(step)
        if entry is not None and entry.start_time and entry.end_time:
            durations[name] = round(max(0.0, entry.end_time - entry.start_time), 3)
    return durations


def sync_figures(
    manifest: PublishedManifest, requests: Mapping[str, Any], durations: dict[str, float]
) -> dict[str, Any]:
    """Return the figures of a sync that the history keeps and the command line prints."""
    changes = manifest.figures.get("changes", {})
    return {
        "models": manifest.rows["models"],
        "files": manifest.rows["files"],
        **{kind: changes.get(kind, 0) for kind in ("added", "updated", "removed", "renamed")},
        **{kind: manifest.figures.get(kind, 0) for kind in ("put_back", "unconfirmed")},
        "completeness": manifest.completeness,
        "issues": manifest.rows["issues"],
        **requests,
        "duration_seconds": round(sum(durations.values()), 3),
    }


def last_sync(capture: Capture, manifest: PublishedManifest, figures: dict[str, Any]) -> SyncMetadata:
    """Return the nine figures of the last sync."""
    from gguf_assets.orchestration.report_facts import processed

    ended = capture.last_hub_date
    return SyncMetadata(
        last_sync_time=None if ended is None else ended.isoformat(),
        sync_mode=manifest.mode,
        total_models_processed=processed(manifest),
        models_added=figures["added"],
        models_updated=figures["updated"],
        models_removed=figures["removed"],
        sync_duration=figures["duration_seconds"],
    )


def refusal(store: Store, run_id: str) -> str | None:
    """Return why the verdict on a sync's candidate refuses it; None where it does not."""
    day = next((sync.day for sync in store.history.syncs() if sync.sync_id == run_id), None)
    verdict = None if day is None else store.candidates.manifest(day).verdict
    if verdict is None or verdict.publishable:
        return None
    return f"{day} was not published: {'; '.join(verdict.reasons)}"


def record_failure(store: Store, run_id: str, message: str, category: str, seconds: float = 0.0) -> None:
    """Write to history and metadata that a begun sync has failed after so many seconds."""
    began = next((sync for sync in store.history.syncs() if sync.sync_id == run_id), None)
    if began is None:
        return
    store.history.failed(run_id, message, category)
    store.history.write_last_sync(failure_metadata(began, message, seconds))


def seconds_since_start(instance: dg.DagsterInstance, run_id: str) -> float:
    """Return for how long a run has been going; 0 where Dagster does not know."""
    record = instance.get_run_record_by_id(run_id)
    began = None if record is None else record.start_time
    return 0.0 if began is None else round(max(0.0, time.time() - began), 1)
