"""What is to be told of a run, gathered from Dagster's events and the history.

What belongs here: reading. What does not: deciding what of it is told (`alert_conditions`).
"""

from __future__ import annotations

import dagster as dg

from gguf_assets.masking import mask
from gguf_assets.orchestration.alert_conditions import CheckOutcome, SyncOutcomeFacts
from gguf_assets.orchestration.configuration import VALID
from gguf_assets.orchestration.failures import CATEGORY, REMEDY
from gguf_assets.orchestration.jobs import ASSET_JOB, SYNCS
from gguf_assets.store.history import SyncRecord
from gguf_assets.store.lock import WriterLock
from gguf_assets.store.store import Store

SKIPPED = "skipped"
"""Metadata of a check that was not made."""


def syncs_so_far(store: Store) -> list[SyncRecord]:
    """Return all syncs, oldest first; one under way is no failed one."""
    holder = WriterLock(store.layout).holder()
    return store.history.syncs(running=None if holder is None else holder.run_id)


def facts_of_run(instance: dg.DagsterInstance, run: dg.DagsterRun, store: Store) -> SyncOutcomeFacts | None:
    """Return what a run has to tell; None where it was no sync, such as a derivation or a refusal.

    A run of the sync jobs that failed before it was in the history counts as a sync that failed.

    Args:
        instance: knows the run's events.
        run: the run, which has ended.
        store: its history tells how the sync ended.
    """
    if run.job_name not in SYNCS and not run.job_name.startswith(ASSET_JOB):
        return None
    syncs = syncs_so_far(store)
    category, message, remedy = _failure(instance, run)
    sync = next((one for one in syncs if one.sync_id == run.run_id), None)
    if sync is None:
        if run.status is not dg.DagsterRunStatus.FAILURE or run.job_name not in SYNCS or category is None:
            return None
        sync = SyncRecord(
            run.run_id,
            None,
            None,
            None,
            None,
            run.run_id,
            None,
            state="failed",
            category=category,
            error_message=message,
        )
    return SyncOutcomeFacts(
        sync=sync,
        checks=checks_of_run(instance, run.run_id),
        remedy=remedy,
        cancelled=cancelled_by_hand(instance, run),
        overtaken=_overtaken(syncs, sync),
    )


def facts_of_sync(sync: SyncRecord, remedy: str | None = None) -> SyncOutcomeFacts:
    """Return what a sync without a run has to tell: the Hub did not answer at all, or the process died."""
    return SyncOutcomeFacts(sync=sync, remedy=remedy)


def checks_of_run(instance: dg.DagsterInstance, run_id: str) -> list[CheckOutcome]:
    """Return the checks of a run, each as it ended last, without those that were skipped."""
    found: dict[str, CheckOutcome] = {}
    for record in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        event = record.dagster_event
        if event is None:
            continue
        check = event.asset_check_evaluation_data
        if check.check_name == VALID:  # while it fails, the run is refused, and nobody is told of refusals
            continue
        found.pop(check.check_name, None)
        if SKIPPED not in check.metadata:
            error = check.severity is dg.AssetCheckSeverity.ERROR
            text = mask(check.description or "")
            found[check.check_name] = CheckOutcome(check.check_name, check.passed, error, text)
    return list(found.values())


def cancelled_by_hand(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether somebody cancelled a run; one that took too long is cancelled, too, but reported as failed."""
    if run.status is not dg.DagsterRunStatus.CANCELED:
        return False
    return not instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)


def _failure(instance: dg.DagsterInstance, run: dg.DagsterRun) -> tuple[str | None, str | None, str | None]:
    """Return category, message and remedy of the first step of a run that failed as the core says it."""
    for record in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        event = record.dagster_event
        described = None if event is None else event.step_failure_data.user_failure_data
        if described is not None and CATEGORY in described.metadata:
            texts = {name: mask(str(value.value)) for name, value in described.metadata.items()}
            return texts[CATEGORY], mask(described.description or ""), texts.get(REMEDY)
    return None, None, None


def _overtaken(syncs: list[SyncRecord], sync: SyncRecord) -> bool:
    """Whether a later sync has ended otherwise: then this one is no news any more."""
    ids = [one.sync_id for one in syncs]
    later = syncs[ids.index(sync.sync_id) + 1 :] if sync.sync_id in ids else []
    return any(one.state in ("finished", "failed") and one.state != sync.state for one in later)
