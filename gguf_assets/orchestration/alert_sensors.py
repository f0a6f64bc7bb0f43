"""The sensors that tell people how runs have ended, also those that no command line has started.

What belongs here: when. What does not: what is told and to whom (`alerting`).
"""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from gguf_assets.errors import GgufAssetsError
from gguf_assets.orchestration.alerting import anybody_is_told, tell_about_run
from gguf_assets.orchestration.freshness import build_freshness_sensor
from gguf_assets.orchestration.resources import layout_of
from gguf_assets.orchestration.schedules import AUTOMATIC, default_sensor_status, no_settings
from gguf_assets.settings.load import LoadedSettings, load_settings
from gguf_assets.store.store import Store

TOLD_OF = {
    "sync_succeeded_sensor": dg.DagsterRunStatus.SUCCESS,
    "sync_failed_sensor": dg.DagsterRunStatus.FAILURE,
    "sync_canceled_sensor": dg.DagsterRunStatus.CANCELED,
}
"""The sensors, and the end of a run that each is about."""

_EVERY_SECONDS = 60


def build_alert_sensors(environ: Mapping[str, str], loaded: LoadedSettings) -> list[dg.SensorDefinition]:
    """Return the sensors that tell people: of the end of runs, and of the catalogue's freshness.

    Args:
        environ: environment variables; the settings are read from there anew at every tick.
        loaded: the settings at present; whether the sensors are on by default comes from there.
    """
    sensors: list[dg.SensorDefinition] = [
        _build_sensor(name, status, environ, loaded) for name, status in TOLD_OF.items()
    ]
    return [*sensors, build_freshness_sensor(environ, loaded)]


def _build_sensor(
    name: str, ended: dg.DagsterRunStatus, environ: Mapping[str, str], loaded: LoadedSettings
) -> dg.RunStatusSensorDefinition:
    word = ended.value.lower()

    @dg.run_status_sensor(
        run_status=ended,
        name=name,
        minimum_interval_seconds=_EVERY_SECONDS,
        default_status=default_sensor_status(loaded),
        description=(
            f"Tells people of syncs that ended with {word}, of their checks and of the catalogue's "
            "freshness, by the channels in the settings; each run once, so not again what the command line "
            "has told. It "
            f"starts nothing and asks the Hub nothing. On by default in {' and '.join(AUTOMATIC)}."
        ),
    )
    def told(context: dg.RunStatusSensorContext) -> dg.SkipReason | None:
        try:
            present = load_settings(environ)
        except GgufAssetsError as error:
            return dg.SkipReason(no_settings(error))
        if not anybody_is_told(present):
            return dg.SkipReason("Alerts and notifications are off")
        run = context.dagster_run
        answers = tell_about_run(context.instance, run, present, Store(layout_of(present)), environ=environ)
        if not answers:  # told already, or no sync: the tick goes on with the next run
            return None
        sent = dict.fromkeys(name for answer in answers for name in answer.sent)
        return dg.SkipReason(f"Run {run.run_id[:8]}: told by {', '.join(sent) or 'no channel'}")

    return told
