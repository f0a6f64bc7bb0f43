"""How things stand in numbers, in the text format of Prometheus: from what is stored, and from nothing else.

Units are base units (seconds, bytes, ratios from 0 to 1), counters end in `_total`, and what is not known is
left out. What belongs here: names and meanings of the metrics. What does not: where they are written to (the
command line), and the figures of a sync (`reporting`).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.hub.errors import TRY_CATEGORIES
from gguf_assets.orchestration.traffic import FAILED
from gguf_assets.store.freshness import stored_freshness
from gguf_assets.store.history import SyncRecord
from gguf_assets.store.layout import Layout
from gguf_assets.store.lock import WriterLock
from gguf_assets.store.manifests import PublishedManifest
from gguf_assets.store.store import Store

_RECENT_SYNCS = 30
_CHANGES = ("added", "updated", "removed", "renamed")
_MB = 2**20


def metrics_text(store: Store, now: datetime) -> bytes:
    """Return all metrics as text.

    Args:
        store: what is stored; it is read alone, and may be written to meanwhile.
        now: the time from which ages count, UTC.

    Raises:
        PermanentError: the disk refused (category `storage`).
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families([*metrics_of(store, now)]))
    return generate_latest(registry)


class _Families:
    """Hands metrics that are there already to a registry."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def metrics_of(store: Store, now: datetime) -> Iterator[Metric]:
    """Yield all metrics; arguments and errors as `metrics_text`."""
    running = _running(store.layout)
    syncs = [sync for sync in store.history.syncs(running=running) if sync.state != "running"]
    finished = [sync for sync in syncs if sync.state == "finished"]
    yield _gauge("sync_running", "Whether a sync runs at present.", float(running is not None))
    yield from _syncs(syncs, finished)
    yield from _last_sync(syncs, finished)
    yield from _sent(finished)
    yield from _published(store, now)
    yield from _freshness(store, syncs, now)
    yield from _disk(store.layout)


def _syncs(syncs: Sequence[SyncRecord], finished: Sequence[SyncRecord]) -> Iterator[Metric]:
    total = CounterMetricFamily(
        "gguf_assets_syncs",
        "Syncs that have ended, by state and category of the error.",
        labels=("state", "category"),
    )
    total.add_metric(("finished", ""), len(finished))
    failed = Counter(sync.category for sync in syncs if sync.state == "failed")
    for category in ErrorCategory:
        if category is not ErrorCategory.REFUSED:  # a refusal is no sync
            total.add_metric(("failed", category.value), failed[category.value])
    yield total
    recent = syncs[-_RECENT_SYNCS:]
    if recent:
        share = sum(sync.state == "finished" for sync in recent) / len(recent)
        yield _gauge("sync_success_ratio", f"Share of the last {_RECENT_SYNCS} syncs that finished.", share)


def _last_sync(syncs: Sequence[SyncRecord], finished: Sequence[SyncRecord]) -> Iterator[Metric]:
    """Yield what the last sync was like; figures are those of the last one that finished."""
    if syncs:
        last = syncs[-1]
        yield _gauge("last_sync_success", "Whether the last sync finished.", last.state == "finished")
        ended = last.finished_at or last.hub_time
        if ended is not None:
            what = "When the last sync ended, or began if that is all that is known, by the Hub's clock."
            yield _gauge("last_sync_timestamp_seconds", what, ended.timestamp())
    if not finished:
        return
    figures = finished[-1].figures
    for name, what, figure, scale in (
        ("last_sync_duration_seconds", "How long the last finished sync took.", "duration_seconds", 1),
        ("last_sync_requests", "Requests of the last finished sync.", "requests", 1),
        ("last_sync_error_ratio", "Share of its requests that failed as tries.", "error_rate", 1),
        ("last_sync_peak_memory_bytes", "Most memory its process held.", "peak_rss_mb", _MB),
        ("last_sync_cpu_seconds", "CPU time its process used.", "cpu_seconds", 1),
    ):
        yield from _known(name, what, figures.get(figure), scale)
    changed = GaugeMetricFamily(
        "gguf_assets_last_sync_models",
        "Models the last finished sync found changed, by change.",
        labels=("change",),
    )
    for change in _CHANGES:
        if figures.get(change) is not None:
            changed.add_metric((change,), figures[change])
    yield changed


def _sent(finished: Sequence[SyncRecord]) -> Iterator[Metric]:
    """Yield what all finished syncs together sent; a failed one leaves no figures."""
    for name, what, figure in (
        ("requests", "Requests to the Hub of all finished syncs.", "requests"),
        ("rate_limit_hits", "Answers that asked to slow down, of all finished syncs.", "rate_limit_hits"),
        (
            "waited_seconds",
            "Seconds all finished syncs waited for rates and between tries.",
            "waited_seconds",
        ),
    ):
        total = sum(sync.figures.get(figure) or 0 for sync in finished)
        yield CounterMetricFamily(f"gguf_assets_{name}", what, value=total)
    tries = CounterMetricFamily(
        "gguf_assets_failed_tries",
        "Tries of all finished syncs that failed, by category.",
        labels=("category",),
    )
    for category in TRY_CATEGORIES:
        key = f"{FAILED}_{category.value}"
        tries.add_metric((category.value,), sum(sync.figures.get(key) or 0 for sync in finished))
    yield tries
    for name, what, figure in (
        ("quota_remaining_requests", "Requests the Hub still allowed when last told.", "quota_remaining"),
        ("quota_limit_requests", "Requests the Hub allows in a window, when last told.", "quota_limit"),
    ):
        told = [sync.figures[figure] for sync in finished if sync.figures.get(figure) is not None]
        yield from _known(name, what, told[-1] if told else None)


def _published(store: Store, now: datetime) -> Iterator[Metric]:
    days = store.published.days()
    yield _gauge("published_days", "Days that are published.", len(days))
    latest = _latest_manifest(store, days)
    if latest is None:
        return
    began = datetime.combine(latest.day, datetime.min.time(), UTC)
    yield _gauge(
        "last_published_day_timestamp_seconds", "When the last published day began.", began.timestamp()
    )
    age = max(0.0, (now - began).total_seconds())
    yield _gauge(
        "last_published_day_age_seconds",
        "Seconds since the last published day began, by the clock of this machine.",
        age,
    )
    yield _gauge("models", "Models of the last published day.", latest.rows["models"])
    yield _gauge("files", "Files of the last published day.", latest.rows["files"])
    yield _gauge("issues", "Issues of the last published day.", latest.rows["issues"])
    what = "Completeness of the last published day, 0 to 1."
    yield from _known("completeness_ratio", what, latest.completeness)
    health: Mapping[str, Any] = latest.figures.get("health") or {}
    yield from _known("health_score", "Mean health of its models, 0 to 10.", health.get("mean"))


def _latest_manifest(store: Store, days: Sequence[date]) -> PublishedManifest | None:
    for day in reversed(days):
        manifest = store.published.manifest(day)
        if manifest is not None:
            return manifest
    return None


def _freshness(store: Store, syncs: Sequence[SyncRecord], now: datetime) -> Iterator[Metric]:
    freshness = stored_freshness(store.layout, syncs)
    if freshness.last_success is not None:
        what = "When the last sync that published ended, by the Hub's clock."
        yield _gauge("last_success_timestamp_seconds", what, freshness.last_success.timestamp())
    stale = GaugeMetricFamily(
        "gguf_assets_stale",
        "Whether no sync has published for monitoring.freshness_warning_hours or _failure_hours.",
        labels=("severity",),
    )
    # Whoever reads a file written a while ago knows better than its verdict.
    since = GaugeMetricFamily(
        "gguf_assets_stale_timestamp_seconds",
        "From when on the catalogue is stale, if no sync publishes before.",
        labels=("severity",),
    )
    for severity, begins in (("warning", freshness.stale_after), ("failure", freshness.failed_after)):
        if begins is not None:
            stale.add_metric((severity,), float(now >= begins))
            since.add_metric((severity,), begins.timestamp())
    yield stale
    yield since


def _disk(layout: Layout) -> Iterator[Metric]:
    parts = GaugeMetricFamily(
        "gguf_assets_data_bytes",
        "Bytes of the files in a part of the data folder; hard links in a part count once.",
        labels=("part",),
    )
    for name, folder in (
        ("published", layout.published),
        ("captures", layout.captures),
        ("candidate", layout.candidate),
        ("backups", layout.backups_dir),
        ("reports", layout.reports_dir),
    ):
        parts.add_metric((name,), _bytes_below(folder))
    yield parts


def _bytes_below(folder: Path) -> int:
    """Return the bytes of the files below a folder; what vanishes meanwhile counts as gone."""
    sizes: dict[tuple[int, int], int] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                found = Path(place, name).lstat()
            except OSError:
                continue
            sizes[(found.st_dev, found.st_ino)] = found.st_size
    return sum(sizes.values())


def _running(layout: Layout) -> str | None:
    """Return the run of whoever writes at present; None where nobody does, or nobody can tell."""
    try:
        holder = WriterLock(layout).holder()
    except PermanentError:
        return None
    return None if holder is None else holder.run_id


def _known(name: str, what: str, value: float | None, scale: float = 1) -> Iterator[Metric]:
    if value is not None:
        yield _gauge(name, what, value * scale)


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(f"gguf_assets_{name}", what, value=float(value))
