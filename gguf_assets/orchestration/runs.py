"""Runs and the processes behind them: marking a run with its process, and ending runs whose process is gone.

A killed process leaves its run STARTED for ever; whoever starts next reports it as failed and frees what it
held. Here: tags and reaping. Not here: the writer's lock, which the system releases by itself (`store/`).
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import dagster as dg

from gguf_assets.store.history import DIED, SyncHistory

PID, HOST, BOOT = "gguf/pid", "gguf/host", "gguf/boot"
REQUESTS_BEFORE = "gguf/requests_before"
"""Requests sent before the run, e.g. for the Hub's date; they count as requests of the sync."""

FAILED_BEFORE = "gguf/tries_failed_before"
"""Tries of these requests that failed: category → number, as JSON."""

TRIGGER = "gguf/trigger"
"""What started a run, where Dagster has no tag of its own for it."""

HUB_NOW = "gguf/hub_now"
"""The Hub's clock, ISO 8601, as it was asked for just before the run began."""

UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.CANCELING,
]


def hub_now_of(tags: Mapping[str, str]) -> datetime | None:
    """Return the Hub's clock that a run was started with; None where nobody asked."""
    text = tags.get(HUB_NOW)
    return None if text is None else datetime.fromisoformat(text)


def trigger_of(tags: Mapping[str, str]) -> str:
    """Return what started a run: a schedule, a sensor, a backfill, the command line or a person in the UI."""
    for tag, kind in (
        ("dagster/schedule_name", "schedule"),
        ("dagster/sensor_name", "sensor"),
        ("dagster/backfill", "backfill"),
    ):
        if tag in tags:
            return f"{kind} {tags[tag]}"
    return tags.get(TRIGGER, "launch")


def boot_id() -> str:
    """Return what names this boot of the machine; empty where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Return when a process was started, in the system's ticks; empty when it is gone or not told."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        # A killed process keeps its number until its parent has asked for its end; in containers for ever.
        return "" if state in ("Z", "X") else fields[18]
    except (OSError, IndexError, ValueError):
        return ""


def process_tags(pid: int | None = None) -> dict[str, str]:
    """Return the tags that mark a run as one of a process of this machine; of this one when None."""
    pid = os.getpid() if pid is None else pid
    return {PID: f"{pid}:{_started(pid)}", HOST: platform.node(), BOOT: boot_id()}


def is_dead(tags: dict[str, str]) -> bool:
    """Return whether the process that marked a run is certainly gone."""
    if PID not in tags or tags.get(HOST) != platform.node():
        return False
    if tags.get(BOOT) != boot_id():
        return True
    pid, _, started = tags[PID].partition(":")
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, ValueError):
        return False
    return _started(int(pid)) != started


def reap_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Report every run whose process is gone as failed and free what it held; return their ids."""
    reaped = []
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=UNFINISHED)):
        if is_dead(dict(run.tags)) and not _has_inherited_tags(instance, run):
            instance.report_run_failed(
                run, f"The process of this run ({run.tags[PID].partition(':')[0]}) is gone: killed or crashed"
            )
            if instance.event_log_storage.supports_global_concurrency_limits:
                instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            reaped.append(run.run_id)
    return reaped


def end_dead_syncs(instance: dg.DagsterInstance, history: SyncHistory) -> list[str]:
    """Record as failed the syncs that died, however that was; return a sentence about each.

    To be called by the holder of the writer's lock, after dead runs were reaped: what Dagster still shows as
    unfinished is then alive.
    """
    alive = [run.run_id for run in instance.get_runs(filters=dg.RunsFilter(statuses=UNFINISHED))]
    return [
        f"The sync of {sync.day or 'an unknown day'} that began at {sync.hub_time or 'an unknown time'} "
        f"{DIED}; it is recorded as failed"
        for sync in history.end_dead(alive)
    ]


def _has_inherited_tags(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether a run executed again still carries the mark of the run it repeats: its own is to come."""
    parent = None if run.parent_run_id is None else instance.get_run_by_id(run.parent_run_id)
    return parent is not None and parent.tags.get(PID) == run.tags[PID]
