"""The schedules: a sync a day, a weekly full one for a quiet hour, a daily copy of the configuration.

A tick requests the partition of its own UTC date, and nothing while the settings are invalid. Here: when, and
why a tick requests nothing. Not here: the mode of the sync (`catalogue/sync_plan`), and the sensors that look
at what is stored (`sensors`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime

import dagster as dg

from gguf_assets.errors import GgufAssetsError
from gguf_assets.masking import mask
from gguf_assets.orchestration.config_backup import CONFIG_BACKUP
from gguf_assets.orchestration.jobs import DAILY_SYNC, FULL_CONFIG, FULL_SYNC
from gguf_assets.orchestration.partitions import START_VARIABLE, machine_today
from gguf_assets.orchestration.pending import is_full_sync, is_sync, named, pending_runs
from gguf_assets.settings.load import SYNC_DOCUMENT, LoadedSettings, load_settings

AUTOMATIC = ("staging", "production")
"""The environments in which schedule and sensors are on unless an operator switches them off."""

_RELOAD = (
    "The time is read when the code location is loaded: after a change, reload it (Deployment → Code "
    "locations → Reload) or start Dagster again."
)


def build_schedules(
    environ: Mapping[str, str], loaded: LoadedSettings, days: dg.DailyPartitionsDefinition
) -> list[dg.ScheduleDefinition]:
    """Return `daily_sync_schedule`, `weekly_full_schedule` and `config_backup_daily`.

    Args:
        environ: environment variables; whether the settings are valid is asked anew at every tick.
        loaded: the settings at present; times of day and the defaults of the switches come from there.
        days: the partitions.
    """
    behavior = loaded.settings.sync_behavior
    hour, minute = behavior.schedule_time.split(":")

    @dg.schedule(
        job_name=DAILY_SYNC,
        cron_schedule=f"{int(minute)} {int(hour)} * * *",
        execution_timezone="UTC",
        default_status=default_schedule_status(loaded),
        description=(
            f"Syncs the present UTC day at {behavior.schedule_time} UTC (`sync_behavior.schedule_time`); the "
            "settings and the history decide whether incremental or full. A tick asks for nothing, and says "
            "why, when a sync of its day is queued or running, or when it comes so late that its day is "
            f"over: the Hub shows only the present. On by default in {' and '.join(AUTOMATIC)}; Dagster's "
            f"daemon must be running (`gguf-assets dev` starts it). {_RELOAD}"
        ),
    )
    def daily_sync_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        day = context.scheduled_execution_time.astimezone(UTC).date()
        reason = without_settings(environ) or reason_to_skip(context, days)
        if reason is not None:
            return dg.SkipReason(reason)
        pending = [run for run in pending_runs(context.instance, day) if is_sync(run)]
        if pending:
            return dg.SkipReason(f"A sync of {day} is queued or running already: {named(pending[0])}")
        return dg.RunRequest(partition_key=day.isoformat())

    @dg.schedule(
        job_name=FULL_SYNC,
        cron_schedule=behavior.weekly_full_cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description=(
            "Syncs the present UTC day in full, whatever the history says, at "
            f"`{behavior.weekly_full_cron}` UTC (cron, `sync_behavior.weekly_full_cron`). Off by default: a "
            "full sync comes by itself once the last one is older than "
            "`sync_behavior.full_sync_threshold_hours`. Switch it on to place full syncs at a quiet hour, "
            f"before that age is reached. {_RELOAD}"
        ),
    )
    def weekly_full_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        day = context.scheduled_execution_time.astimezone(UTC).date()
        reason = without_settings(environ) or reason_to_skip(context, days)
        if reason is not None:
            return dg.SkipReason(reason)
        # A daily sync under way is waited for in the queue: the week's full sync is not to be lost.
        pending = [run for run in pending_runs(context.instance, day) if is_full_sync(run)]
        if pending:
            return dg.SkipReason(f"A full sync of {day} is queued or running already: {named(pending[0])}")
        return dg.RunRequest(partition_key=day.isoformat(), run_config=FULL_CONFIG)

    @dg.schedule(
        job_name=CONFIG_BACKUP,
        cron_schedule="0 2 * * *",
        execution_timezone="UTC",
        default_status=default_schedule_status(loaded),
        description=(
            f"At 02:00 UTC, keeps a copy of the active configuration file {SYNC_DOCUMENT.active_file} where "
            "it differs from the newest backup, and removes backups older than "
            "`storage.backup_retention_days`. Without an active file there is nothing to keep. On by default "
            f"in {' and '.join(AUTOMATIC)}."
        ),
    )
    def config_backup_daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        try:
            folder = load_settings(environ).config_dir
        except GgufAssetsError as error:
            return dg.SkipReason(no_settings(error))
        if not (folder / SYNC_DOCUMENT.active_file).is_file():
            return dg.SkipReason(f"There is no active file {folder / SYNC_DOCUMENT.active_file}")
        return dg.RunRequest()

    return [daily_sync_schedule, weekly_full_schedule, config_backup_daily]


def no_settings(error: GgufAssetsError) -> str:
    """Return why a tick requests nothing while the settings are invalid."""
    return f"The settings cannot be loaded, so nothing is requested: {mask(str(error))}"


def without_settings(environ: Mapping[str, str]) -> str | None:
    """Return why nothing can be requested while the settings are invalid; None when they are valid."""
    try:
        load_settings(environ)
    except GgufAssetsError as error:
        return no_settings(error)
    return None


def default_sensor_status(loaded: LoadedSettings) -> dg.DefaultSensorStatus:
    """Return whether the sensors are on unless an operator switches them."""
    on = loaded.settings.environment in AUTOMATIC
    return dg.DefaultSensorStatus.RUNNING if on else dg.DefaultSensorStatus.STOPPED


def default_schedule_status(loaded: LoadedSettings) -> dg.DefaultScheduleStatus:
    """Return whether the daily schedule is on unless an operator switches it."""
    on = loaded.settings.environment in AUTOMATIC
    return dg.DefaultScheduleStatus.RUNNING if on else dg.DefaultScheduleStatus.STOPPED


def reason_to_skip(context: dg.ScheduleEvaluationContext, days: dg.DailyPartitionsDefinition) -> str | None:
    """Return why a tick's day cannot be synced now, whatever else is going on; None when it can."""
    due = context.scheduled_execution_time.astimezone(UTC)
    if due.date() < machine_today():
        return (
            f"This tick was due at {due:%Y-%m-%d %H:%M} UTC and comes at {datetime.now(UTC):%Y-%m-%d %H:%M} "
            f"UTC by this machine's clock: {due.date()} is over, and the Hub shows only the present. The "
            "next tick syncs its own day"
        )
    return not_a_partition(due.date(), days)


def not_a_partition(day: date, days: dg.DailyPartitionsDefinition) -> str | None:
    """Return why a day is no partition, in words; None when it is one."""
    first, last = days.start.date(), machine_today()
    if day > last:
        return f"{day} has not begun: the last day is {last} by this machine's clock (UTC)"
    if day < first:
        return (
            f"{day} is no day of this catalogue: its days begin on {first}. Where {START_VARIABLE} says "
            "so, set it to an earlier day, or unset it, and reload the code location"
        )
    return None
