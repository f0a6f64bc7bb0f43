"""All schedules and sensors, which of them are on, and when they act, as `gguf-assets status` tells it.

What an operator switched in the UI counts; what nobody touched has the default of its environment. Not here:
what a single schedule or sensor does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg

from gguf_assets.orchestration.alert_sensors import build_alert_sensors
from gguf_assets.orchestration.configuration import AtLoad
from gguf_assets.orchestration.configuration_changes import build_config_changed_sensor
from gguf_assets.orchestration.maintenance import build_maintenance_schedule
from gguf_assets.orchestration.partitions import catalogue_days, first_day
from gguf_assets.orchestration.schedules import build_schedules
from gguf_assets.orchestration.sensors import build_sensors
from gguf_assets.settings.load import LoadedSettings, load_settings

_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True)
class AutomationState:
    """A schedule or sensor as it is.

    Attributes:
        name: its name in the UI.
        kind: `schedule` or `sensor`.
        on: whether Dagster's daemon, if one runs, evaluates it.
        when: in plain words, e.g. `02:30 UTC` or `every 5 min`.
    """

    name: str
    kind: str
    on: bool
    when: str


def all_schedules(
    environ: Mapping[str, str], loaded: LoadedSettings, days: dg.DailyPartitionsDefinition
) -> list[dg.ScheduleDefinition]:
    """Return every schedule; the arguments of those who build them."""
    return [*build_schedules(environ, loaded, days), build_maintenance_schedule(environ, loaded)]


def all_sensors(
    environ: Mapping[str, str], loaded_with: AtLoad, days: dg.DailyPartitionsDefinition
) -> list[dg.SensorDefinition]:
    """Return every sensor; the arguments of those who build them."""
    return [
        *build_sensors(environ, loaded_with.loaded, days),
        *build_alert_sensors(environ, loaded_with.loaded),
        build_config_changed_sensor(environ, loaded_with),
    ]


def automation_states(
    environ: Mapping[str, str], instance: dg.DagsterInstance | None
) -> list[AutomationState]:
    """Return every schedule and sensor with its state.

    Args:
        environ: environment variables.
        instance: knows what an operator switched; None where there is no instance yet.

    Raises:
        Refused: settings or first day are not valid.
    """
    loaded = load_settings(environ)
    days = catalogue_days(first_day(environ, None, None))
    switched = {} if instance is None else _switched(instance)
    schedules = [
        AutomationState(
            schedule.name,
            "schedule",
            switched.get(schedule.name, schedule.default_status is dg.DefaultScheduleStatus.RUNNING),
            _when(str(schedule.cron_schedule)),
        )
        for schedule in all_schedules(environ, loaded, days)
    ]
    sensors = [
        AutomationState(
            sensor.name,
            "sensor",
            switched.get(sensor.name, sensor.default_status is dg.DefaultSensorStatus.RUNNING),
            f"every {(sensor.minimum_interval_seconds or 0) // 60} min",
        )
        for sensor in all_sensors(environ, AtLoad(loaded, None), days)
    ]
    return schedules + sensors


def _switched(instance: dg.DagsterInstance) -> dict[str, bool]:
    """Return what an operator switched on or off, by name."""
    states = {state.instigator_name: state.status.value for state in instance.all_instigator_state()}
    return {name: status == "RUNNING" for name, status in states.items() if status in ("RUNNING", "STOPPED")}


def _when(cron: str) -> str:
    """Return a cron line in words where it names a time of day, else as it is."""
    minute, hour, day, month, weekday = cron.split()
    if not (minute.isdecimal() and hour.isdecimal()) or (day, month) != ("*", "*"):
        return f"cron {cron} UTC"
    time = f"{int(hour):02d}:{int(minute):02d} UTC"
    if weekday == "*":
        return time
    return f"{_WEEKDAYS[int(weekday)]} {time}" if weekday.isdecimal() else f"cron {cron} UTC"
