"""Which runs of the catalogue are queued or under way; schedules and sensors ask before they request one.

Runs whose process is gone are reported as failed first: a dead run is no reason to wait. What does not belong
here: when a run is due (`schedules`, `sensors`).
"""

from __future__ import annotations

from datetime import date

import dagster as dg

from gguf_assets.orchestration.jobs import ASSET_JOB, FULL_SYNC, SYNCS, WRITES
from gguf_assets.orchestration.runs import reap_dead_runs

PARTITION = "dagster/partition"
_LISTING = dg.AssetKey("hub_listing")

_PENDING = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def pending_runs(instance: dg.DagsterInstance, day: date | None = None) -> list[dg.DagsterRun]:
    """Return the runs that write to the store and have not ended, for one day or for all."""
    reap_dead_runs(instance)
    tags = {} if day is None else {PARTITION: day.isoformat()}
    runs = instance.get_runs(filters=dg.RunsFilter(statuses=_PENDING, tags=tags))
    return [run for run in runs if run.job_name.startswith(ASSET_JOB) or WRITES.items() <= run.tags.items()]


def is_sync(run: dg.DagsterRun) -> bool:
    """Return whether a run captures its day, and does not only derive what is stored."""
    if run.job_name in SYNCS:
        return True
    chosen = run.asset_selection
    return run.job_name.startswith(ASSET_JOB) and (not chosen or _LISTING in chosen)


def is_full_sync(run: dg.DagsterRun) -> bool:
    """Return whether a run was requested as a full sync."""
    return run.job_name == FULL_SYNC


def named(run: dg.DagsterRun) -> str:
    """Return how a reason names a run."""
    return f"run {run.run_id[:8]} ({run.job_name}, {run.status.value.lower()})"
