"""What the reports say, gathered from the store: a day with its highlights, and all days side by side.

Read are manifests, the sync history and the published Parquet. What does not belong here: wording
(`quality/`) and writing files (`report_pages`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from gguf_assets.quality.completeness import Completeness, Gate
from gguf_assets.quality.dashboard import FailedSync
from gguf_assets.quality.day_facts import DayFacts, Highlights, by_severity
from gguf_assets.quality.highlights import Movers, Vocabulary, WorstModels
from gguf_assets.quality.trends import DayTrend
from gguf_assets.store.capture import Capture
from gguf_assets.store.datasets import iter_batches, read_table
from gguf_assets.store.history import SyncRecord
from gguf_assets.store.manifests import PublishedManifest
from gguf_assets.store.store import Store

_MOVING = ["model_id", "hub_id", "downloads", "downloads_delta", "architecture", "quantizations"]


def facts_of(manifest: PublishedManifest, capture: Capture, durations: Mapping[str, float]) -> DayFacts:
    """Return the figures of a published day; what its version did not judge yet is left open.

    Args:
        manifest: the published day.
        capture: the capture it is made from.
        durations: seconds by stage; empty where they are not known.
    """
    judged, figures = manifest.judged, manifest.figures
    return DayFacts(
        day=manifest.day,
        baseline=None if manifest.baseline is None else manifest.baseline.date,
        mode=manifest.mode,
        reason=capture.plan.reason_text,
        models=manifest.rows["models"],
        files=manifest.rows["files"],
        processed=processed(manifest),
        details_known=int(figures["details_known"]),
        requests=capture.requests + capture.detail_requests,
        detail_requests=capture.detail_requests,
        durations=durations,
        completeness=Completeness(
            manifest.completeness or 0.0, judged["coverage"], judged["fill"], judged["parts"]
        ),
        gate=Gate(not manifest.failed, judged["gate"]),
        findings=judged["findings"],
        skipped=judged["skipped"],
        blocking=judged["blocking"],
        grades=figures.get("grades", {}),
        published=True,
        window_hours=capture.plan.window_hours,
        failed=manifest.failed,
        why_skipped=judged.get("why_skipped", {}),
        not_checked=judged.get("not_checked", ()),
        health=figures.get("health", {}),
    )


def processed(manifest: PublishedManifest) -> int:
    """Return how many models a sync worked through: all in a full one, else new, changed and undated ones."""
    if manifest.mode == "full" or manifest.baseline is None:
        listed: int = manifest.figures["listed"]
        return listed
    changes = manifest.figures.get("changes", {})
    kinds = ("added", "restored", "recreated", "updated")
    count: int = sum(changes.get(kind, 0) for kind in kinds) + manifest.figures["undated"]
    return count


def highlights_of(store: Store, manifest: PublishedManifest) -> Highlights:
    """Return what stands out on a published day, read from its tables and those of its baseline."""
    day = manifest.day
    movers, today, before, worst = Movers(), Vocabulary(), Vocabulary(), WorstModels()
    for batch in store.published_tables(day).models(_MOVING):
        movers.add(batch)
        today.add(batch)
    if manifest.baseline is not None:
        for batch in store.published_tables(manifest.baseline.date).models(["architecture", "quantizations"]):
            before.add(batch)
    for batch in iter_batches(store.published.file("health", day)):
        worst.add(batch)
    known = manifest.baseline is not None
    return Highlights(
        changes=read_table(store.published.file("changes", day)),
        rising=movers.rising,
        falling=movers.falling,
        architectures=sorted(today.architectures - before.architectures) if known else (),
        quantizations=sorted(today.quantizations - before.quantizations) if known else (),
        worst=worst.worst,
    )


def trends_of(
    store: Store,
    syncs: Sequence[SyncRecord],
    *,
    timed: bool,
    ending: Mapping[date, Mapping[str, Any]] | None = None,
) -> list[DayTrend]:
    """Return all published days side by side, oldest first.

    Args:
        store: where they lie.
        syncs: the sync history.
        timed: whether durations are to be shown.
        ending: figures of the sync under way by its day, which the history does not have yet.
    """
    succeeded: dict[date, Mapping[str, Any]] = {}
    failed: Counter[date] = Counter()
    for sync in syncs:
        if sync.day is not None and sync.state == "failed":
            failed[sync.day] += 1
        elif sync.day is not None and sync.published:
            succeeded[sync.day] = sync.figures
    succeeded |= ending or {}
    days = []
    for day in store.published.days():
        manifest = store.published.manifest(day)
        if manifest is not None:
            page = store.layout.day_page(day).is_file()
            days.append(_trend(manifest, succeeded.get(day, {}), failed[day], timed=timed, page=page))
    return days


def _trend(
    manifest: PublishedManifest, sync: Mapping[str, Any], failed: int, *, timed: bool, page: bool
) -> DayTrend:
    judged, figures = manifest.judged, manifest.figures
    health = figures.get("health", {})
    return DayTrend(
        day=manifest.day,
        models=manifest.rows["models"],
        files=manifest.rows["files"],
        changes=None if manifest.baseline is None else figures.get("changes", {}),
        completeness=manifest.completeness,
        coverage=judged.get("coverage"),
        fill=judged.get("fill"),
        details=judged.get("file_detail_coverage"),
        health_mean=health.get("mean"),
        health_median=health.get("median"),
        findings=by_severity(judged["findings"]) if "findings" in judged else {},
        requests=sync.get("requests"),
        seconds=sync.get("duration_seconds") if timed else None,
        failed_syncs=failed,
        page=page,
    )


def failed_syncs(syncs: Sequence[SyncRecord]) -> list[FailedSync]:
    """Return the syncs that failed, oldest first."""
    return [
        FailedSync(
            None if sync.day is None else sync.day.isoformat(),
            sync.hub_time,
            sync.category,
            sync.error_message,
        )
        for sync in syncs
        if sync.state == "failed"
    ]
