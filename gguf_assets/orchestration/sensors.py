"""The sensors that sync: in full when the last full one has become too old, once more when the last failed.

Both read stored state only, never the Hub, and every tick that requests nothing says why, with the numbers.
Here: when. Not here: the mode, which `plan_sync` decides in the run they request.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import dagster as dg
import orjson

from gguf_assets.catalogue.sync_plan import hours_between
from gguf_assets.errors import ErrorCategory, GgufAssetsError
from gguf_assets.masking import mask
from gguf_assets.orchestration.alert_facts import cancelled_by_hand
from gguf_assets.orchestration.jobs import DAILY_SYNC, FULL_CONFIG, FULL_SYNC, REFETCH_CONFIG
from gguf_assets.orchestration.pending import PARTITION, named, pending_runs
from gguf_assets.orchestration.planning import sync_past
from gguf_assets.orchestration.resources import layout_of
from gguf_assets.orchestration.schedules import (
    AUTOMATIC,
    default_sensor_status,
    no_settings,
    not_a_partition,
)
from gguf_assets.settings.load import LoadedSettings, load_settings
from gguf_assets.store.history import INTERRUPTED, SyncRecord
from gguf_assets.store.lock import WriterLock
from gguf_assets.store.store import Store

THRESHOLD_SENSOR, REPAIR_SENSOR = "full_sync_threshold_sensor", "failed_sync_repair_sensor"
RUN_KEY, SENSOR = "dagster/run_key", "dagster/sensor_name"

CURABLE = frozenset(
    {
        ErrorCategory.NETWORK,
        ErrorCategory.TIMEOUT,
        ErrorCategory.RATE_LIMIT,
        ErrorCategory.API,
        ErrorCategory.DATA,
        ErrorCategory.SYSTEM,
    }
)
"""Failures that another try may cure; the others need somebody who changes something."""

Answer = dg.RunRequest | dg.SkipReason


def build_sensors(
    environ: Mapping[str, str], loaded: LoadedSettings, days: dg.DailyPartitionsDefinition
) -> list[dg.SensorDefinition]:
    """Return `full_sync_threshold_sensor` and `failed_sync_repair_sensor`.

    Args:
        environ: environment variables; the settings are read from there anew at every tick.
        loaded: the settings at present; whether the sensors are on by default comes from there.
        days: the partitions.
    """
    status = default_sensor_status(loaded)
    on_by_default = f"On by default in {' and '.join(AUTOMATIC)}."

    @dg.sensor(
        name=THRESHOLD_SENSOR,
        job_name=FULL_SYNC,
        minimum_interval_seconds=300,
        default_status=status,
        description=(
            "Requests a full sync of today once the last successful full sync is older than "
            "`sync_behavior.full_sync_threshold_hours`, at most once a day. It reads what is stored and asks "
            "the Hub nothing. The time of the last full sync is the Hub's clock; now, and today, are this "
            "machine's clock in UTC, since Dagster's partitions know no other. Every tick says how old the "
            f"last full sync is and when the next one is due. {on_by_default}"
        ),
    )
    def full_sync_threshold_sensor(context: dg.SensorEvaluationContext) -> Answer:
        try:
            loaded = load_settings(environ)
        except GgufAssetsError as error:
            return dg.SkipReason(no_settings(error))
        return when_too_old(loaded, context.instance, days, datetime.now(UTC))

    @dg.sensor(
        name=REPAIR_SENSOR,
        job_name=DAILY_SYNC,
        minimum_interval_seconds=60,
        default_status=status,
        description=(
            "Requests another sync of today when the last one failed or died and another try may cure it "
            f"({', '.join(sorted(CURABLE))}): `error_handling.recovery_delay_seconds` after its end, at most "
            "`error_handling.max_recovery_attempts` times a day, once for every failed sync. A sync that "
            "somebody cancelled is left alone. After a failure the sync is full. Switched off altogether by "
            f"`error_handling.enable_error_recovery: false`. {on_by_default}"
        ),
    )
    def failed_sync_repair_sensor(context: dg.SensorEvaluationContext) -> Answer:
        try:
            loaded = load_settings(environ)
        except GgufAssetsError as error:
            return dg.SkipReason(no_settings(error))
        return when_failed(loaded, context, days, datetime.now(UTC))

    return [full_sync_threshold_sensor, failed_sync_repair_sensor]


def when_too_old(
    loaded: LoadedSettings, instance: dg.DagsterInstance, days: dg.DailyPartitionsDefinition, now: datetime
) -> Answer:
    """Return a request for a full sync where the last one is too old, else why there is none.

    Args:
        loaded: the settings.
        instance: knows which runs are pending and which were requested.
        days: the partitions.
        now: this machine's clock.
    """
    store, today = Store(layout_of(loaded)), now.date()
    limit = loaded.settings.sync_behavior.full_sync_threshold_hours
    if store.published.latest_day() is None:
        return dg.SkipReason(
            f"No day is published yet, so the first sync is full in any case (threshold {limit} h)"
        )
    # Today's own full sync counts, so the question is put as tomorrow's sync would put it.
    last = sync_past(store, today + timedelta(days=1)).last_full
    age = hours_between(last, now)
    told = _age_of_full(last, age, limit, now)
    if last is not None and age is not None and age <= limit:
        return dg.SkipReason(told)
    reason = _under_way(loaded, pending_runs(instance, today)) or not_a_partition(today, days)
    if reason is not None:
        return dg.SkipReason(f"{told} · {reason}")
    key = f"full:{'never' if last is None else last.isoformat()}:{today.isoformat()}"
    earlier = _requested(instance, THRESHOLD_SENSOR, {RUN_KEY: key})
    if earlier:
        return dg.SkipReason(
            f"{told} · requested today already: {named(earlier[0])}; if that does not help, it is requested "
            f"again on {today + timedelta(days=1)}"
        )
    return dg.RunRequest(run_key=key, partition_key=today.isoformat(), run_config=FULL_CONFIG)


def _age_of_full(last: datetime | None, age: float | None, limit: int, now: datetime) -> str:
    if last is None or age is None:
        return f"No full sync is on record; threshold {limit} h; due now"
    due = last + timedelta(hours=limit)
    left = (due - now).total_seconds() / 3600
    when = f"in {left:.1f} h" if age <= limit else f"{-left:.1f} h ago"
    return (
        f"Last full sync {age:.1f} h ago ({last:%Y-%m-%d %H:%M} UTC by the Hub's clock); threshold "
        f"{limit} h; due at {due:%Y-%m-%d %H:%M} UTC, {when}"
    )


def when_failed(
    loaded: LoadedSettings,
    context: dg.SensorEvaluationContext,
    days: dg.DailyPartitionsDefinition,
    now: datetime,
) -> Answer:
    """Return a request for another sync where the last one failed and that may help, else why there is none.

    Args:
        loaded: the settings.
        context: Dagster's instance, and the cursor: which failed sync was first seen when.
        days: the partitions.
        now: this machine's clock.
    """
    instance, today = context.instance, now.date()
    # Asked in this order, a sync that begins meanwhile is under way and not one without an end.
    store = Store(layout_of(loaded))
    syncs = store.history.syncs()
    busy = _under_way(loaded, pending_runs(instance))
    if busy is not None:
        return dg.SkipReason(f"Nothing is requested meanwhile: {busy}")
    if not syncs:
        return dg.SkipReason("No sync is on record yet")
    last = syncs[-1]
    if last.state != "failed":
        return dg.SkipReason(f"The last sync, of {last.day}, did not fail ({last.state})")
    told = f"The last sync, of {last.day or 'an unknown day'}, failed ({last.category}): {last.error_message}"
    reason = (
        _not_to_be_cured(loaded, instance, last)
        or _tried_enough(loaded, instance, last, now)
        or _too_early(loaded, context, last, now)
        or not_a_partition(today, days)
    )
    if reason is not None:
        return dg.SkipReason(mask(f"{told} · {reason}"))
    # What failed was to replace an earlier sync of today, so the Hub is looked at anew. Elsewhere the repair
    # goes on where the failed one stopped.
    config = REFETCH_CONFIG if today in store.published.days() else {}
    return dg.RunRequest(run_key=f"repair:{last.sync_id}", partition_key=today.isoformat(), run_config=config)


def _not_to_be_cured(loaded: LoadedSettings, instance: dg.DagsterInstance, last: SyncRecord) -> str | None:
    if not loaded.settings.error_handling.enable_error_recovery:
        return "error_handling.enable_error_recovery is off"
    if last.category not in CURABLE:
        return f"another try cannot cure that: change what is wrong, then {_BY_HAND}"
    if last.error_message == INTERRUPTED:
        return f"somebody interrupted it, so it is left alone; when it may run again: {_BY_HAND}"
    run = None if last.run_id is None else instance.get_run_by_id(last.run_id)
    if run is not None and cancelled_by_hand(instance, run):
        return f"somebody cancelled it ({named(run)}), so it is left alone; when it may run again: {_BY_HAND}"
    return None


_BY_HAND = "gguf-assets sync"


def _tried_enough(
    loaded: LoadedSettings, instance: dg.DagsterInstance, last: SyncRecord, now: datetime
) -> str | None:
    most = loaded.settings.error_handling.max_recovery_attempts
    today = now.date().isoformat()
    for_this = _requested(instance, REPAIR_SENSOR, {RUN_KEY: f"repair:{last.sync_id}"})
    if for_this:
        return f"another try was requested already: {named(for_this[0])}; by hand: {_BY_HAND}"
    tried = len(_requested(instance, REPAIR_SENSOR, {PARTITION: today}))
    if tried >= most:
        return (
            f"{tried} of at most {most} tries were requested for {today} "
            f"(error_handling.max_recovery_attempts); by hand: {_BY_HAND}"
        )
    return None


def _too_early(
    loaded: LoadedSettings, context: dg.SensorEvaluationContext, last: SyncRecord, now: datetime
) -> str | None:
    delay = loaded.settings.error_handling.recovery_delay_seconds
    ended = _ended(context, last, now)
    waited = (now - ended).total_seconds()
    if waited >= delay:
        return None
    due = ended + timedelta(seconds=delay)
    return (
        f"its end is {max(0.0, waited):.0f} s ago, and another try comes after {delay} s "
        f"(error_handling.recovery_delay_seconds): from {due:%Y-%m-%d %H:%M:%S} UTC on, in "
        f"{(due - now).total_seconds():.0f} s"
    )


def _ended(context: dg.SensorEvaluationContext, last: SyncRecord, now: datetime) -> datetime:
    """Return when a failed sync ended: as Dagster recorded it, else when a tick saw it first."""
    record = None if last.run_id is None else context.instance.get_run_record_by_id(last.run_id)
    if record is not None and record.end_time is not None:
        return datetime.fromtimestamp(record.end_time, UTC)
    seen = orjson.loads(context.cursor) if context.cursor else {}
    if seen.get("sync_id") != last.sync_id:
        seen = {"sync_id": last.sync_id, "seen": now.isoformat()}
        context.update_cursor(orjson.dumps(seen).decode())
    return datetime.fromisoformat(seen["seen"])


def _under_way(loaded: LoadedSettings, pending: list[dg.DagsterRun]) -> str | None:
    """Return what is queued, running or writing at present, in words; None when nothing is."""
    if pending:
        others = f" and {len(pending) - 1} more" if len(pending) > 1 else ""
        return f"queued or running already: {named(pending[0])}{others}"
    holder = WriterLock(layout_of(loaded)).holder()
    return None if holder is None else f"the store is being written to by {holder}"


def _requested(instance: dg.DagsterInstance, sensor: str, tags: Mapping[str, str]) -> list[dg.DagsterRun]:
    """Return the runs that a sensor requested, newest first."""
    return list(instance.get_runs(filters=dg.RunsFilter(tags={SENSOR: sensor, **tags})))
