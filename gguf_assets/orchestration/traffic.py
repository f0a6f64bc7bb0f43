"""What a run's requests came to: as metadata of the assets that send them, and added up for its report.

Keys are always the same; what nobody knows is null. What does not belong here: counting (`hub/`) and the
other figures of a sync (`reporting`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import dagster as dg

from gguf_assets.errors import ErrorCategory
from gguf_assets.hub.errors import TRY_CATEGORIES
from gguf_assets.orchestration.progress import Traffic
from gguf_assets.orchestration.runs import FAILED_BEFORE, REQUESTS_BEFORE
from gguf_assets.settings.load import LoadedSettings

FAILED = "tries_failed"
_SENDING = ("hub_listing", "hub_details")
_ADDED = ("rate_limit_hits", "waited_seconds")
_LATEST = ("quota_remaining", "quota_limit")


class Counting(Traffic, Protocol):
    """What the Hub's client counts, besides what is told while it goes."""

    @property
    def rate_limit_hits(self) -> int:
        """Answers so far that asked to slow down."""

    @property
    def waited_seconds(self) -> float:
        """Seconds waited so far for the rates and between tries."""


@dataclass(frozen=True)
class Counted:
    """What a client had counted at a moment."""

    requests: int
    failed_tries: Mapping[ErrorCategory, int]
    rate_limit_hits: int
    waited_seconds: float


NOTHING = Counted(0, {}, 0, 0.0)


def counted(hub: Counting) -> Counted:
    """Return what a client has counted so far."""
    return Counted(hub.requests, dict(hub.failed_tries), hub.rate_limit_hits, hub.waited_seconds)


def traffic_metadata(hub: Counting, loaded: LoadedSettings, since: Counted = NOTHING) -> dict[str, Any]:
    """Return what was sent since a moment as metadata.

    Args:
        hub: the client.
        loaded: the settings: without performance metrics limits, waits and quota are left out.
        since: what it had counted before.
    """
    now, quota = counted(hub), hub.quota
    failed = {kind: tries - since.failed_tries.get(kind, 0) for kind, tries in now.failed_tries.items()}
    metadata: dict[str, Any] = {"requests": now.requests - since.requests, **failed_tries(failed, loaded)}
    if loaded.settings.monitoring.enable_performance_metrics:
        metadata |= {
            "rate_limit_hits": now.rate_limit_hits - since.rate_limit_hits,
            "waited_seconds": round(now.waited_seconds - since.waited_seconds, 3),
            "quota_remaining": None if quota is None else quota.remaining,
            "quota_limit": None if quota is None else quota.limit,
        }
    return metadata


def failed_tries(failed: Mapping[ErrorCategory, int], loaded: LoadedSettings) -> dict[str, int]:
    """Return the tries that failed as metadata: all of them, and by category if the settings want that.

    Args:
        failed: what the Hub's client counted, zeros included, so that the keys are always the same.
        loaded: the settings.
    """
    figures = {FAILED: sum(failed.values())}
    if loaded.settings.error_handling.enable_categorized_errors:
        figures |= {f"{FAILED}_{category.value}": tries for category, tries in failed.items()}
    return figures


def failed_tries_text(figures: Mapping[str, Any]) -> str:
    """Return the tries that failed as the end of the report; empty where none did."""
    if not figures[FAILED]:
        return ""
    kinds = [
        f"{name.removeprefix(FAILED + '_')} {tries:,}"
        for name, tries in figures.items()
        if name.startswith(FAILED + "_") and tries
    ]
    by_kind = f" ({', '.join(kinds)})" if kinds else ""
    return f"\nTries that failed: {figures[FAILED]:,}{by_kind}.\n"


def run_traffic(instance: dg.DagsterInstance, run: dg.DagsterRun, loaded: LoadedSettings) -> dict[str, Any]:
    """Return what a run sent, from the metadata of its materialisations and what was sent before it began.

    `detail_requests` counts repositories asked for; the further tree pages that a repository of 1,000 files
    takes are among `requests`. `error_rate` is the share of requests that failed as tries; null without any.
    """
    failed_before = _failed_before(run)
    figures: dict[str, Any] = {
        "requests": int(run.tags.get(REQUESTS_BEFORE, "0")),
        "detail_requests": 0,
        **failed_tries(failed_before, loaded),
    }
    measured = loaded.settings.monitoring.enable_performance_metrics
    if measured:
        figures |= {"rate_limit_hits": failed_before[ErrorCategory.RATE_LIMIT], "waited_seconds": 0.0}
        figures |= dict.fromkeys(_LATEST)
    for record in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
        event = record.dagster_event
        if event is None or event.asset_key is None or event.asset_key.to_user_string() not in _SENDING:
            continue
        metadata = event.step_materialization_data.materialization.metadata
        said = {name: entry.value for name, entry in metadata.items()}
        figures["detail_requests"] += said.get("asked") or 0
        for name, value in said.items():
            if name == "requests" or name.startswith(FAILED) or (name in _ADDED and name in figures):
                figures[name] = figures.get(name, 0) + (value or 0)
            elif name in _LATEST and name in figures and value is not None:
                figures[name] = value
    if measured:
        figures["waited_seconds"] = round(figures["waited_seconds"], 3)
        sent = figures["requests"]
        figures["error_rate"] = round(min(1.0, figures[FAILED] / sent), 6) if sent else None
    return figures


def _failed_before(run: dg.DagsterRun) -> dict[ErrorCategory, int]:
    """Return the tries that had failed when a run began; every category, 0 where none had."""
    before = json.loads(run.tags.get(FAILED_BEFORE, "{}"))
    return {category: int(before.get(category.value, 0)) for category in TRY_CATEGORIES}
