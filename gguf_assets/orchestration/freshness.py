"""Freshness in Dagster: the policy of `published_catalogue`, and a check that knows which day is there.

Dagster's own policy looks at the time of the last materialisation of any partition. The check
`catalogue_fresh` goes by the history: when a sync succeeded last, and whether the newest days are published.
What does not belong here: how fresh the catalogue is (`store/freshness`) and who is told (`alerting`).
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import orjson

from gguf_assets.errors import GgufAssetsError
from gguf_assets.orchestration.alert_facts import syncs_so_far
from gguf_assets.orchestration.alerting import tell_about_freshness
from gguf_assets.orchestration.failures import Unavailable, usable
from gguf_assets.orchestration.resources import layout_of
from gguf_assets.orchestration.schedules import AUTOMATIC, default_sensor_status, no_settings
from gguf_assets.settings.load import LoadedSettings, load_settings
from gguf_assets.store.freshness import Freshness, FreshnessState, freshness_of
from gguf_assets.store.store import Store

FRESHNESS_SENSOR, FRESH = "catalogue_freshness_sensor", "catalogue_fresh"
PUBLISHED = dg.AssetKey("published_catalogue")
CHECK = dg.AssetCheckKey(PUBLISHED, FRESH)
_EVERY_SECONDS = 300
_AGAIN = timedelta(hours=1)


def freshness_policy(loaded: LoadedSettings) -> dg.FreshnessPolicy:
    """Return when Dagster shows the published catalogue as stale, and when as failed.

    Args:
        loaded: the settings; `monitoring.freshness_warning_hours` and `freshness_failure_hours` count.
    """
    watched = loaded.settings.monitoring
    return dg.FreshnessPolicy.time_window(
        fail_window=timedelta(hours=watched.freshness_failure_hours),
        warn_window=timedelta(hours=watched.freshness_warning_hours),
    )


def with_freshness(assets: list[dg.AssetsDefinition], loaded: LoadedSettings) -> list[dg.AssetsDefinition]:
    """Return assets with the policy on `published_catalogue`; the others are as they were."""
    policy = freshness_policy(loaded)
    return [
        one.map_asset_specs(lambda spec: dg.apply_freshness_policy(spec, policy))
        if PUBLISHED in one.keys
        else one
        for one in assets
    ]


def build_freshness_check() -> dg.AssetChecksDefinition:
    """Return the check `catalogue_fresh`: no job runs it; the sensor reports it, and people may launch it."""

    @dg.asset_check(
        asset=PUBLISHED,
        name=FRESH,
        blocking=False,
        description=(
            "The newest day is published and a sync has succeeded lately: within "
            "`monitoring.freshness_warning_hours` (a warning beyond), `freshness_failure_hours` (an error). "
            f"{FRESHNESS_SENSOR} evaluates it from what is stored, also while no sync succeeds."
        ),
    )
    def catalogue_fresh(settings: dg.ResourceParam[LoadedSettings | Unavailable]) -> dg.AssetCheckResult:
        now = datetime.now(UTC)
        return dg.AssetCheckResult(**verdict(freshness_now(usable(settings)), now))  # type: ignore[arg-type]

    return catalogue_fresh


def freshness_now(loaded: LoadedSettings) -> Freshness:
    """Return how fresh the published catalogue is by the hours in force."""
    store, watched = Store(layout_of(loaded)), loaded.settings.monitoring
    return freshness_of(
        syncs_so_far(store),
        store.published.latest_day(),
        stale_hours=watched.freshness_warning_hours,
        failed_hours=watched.freshness_failure_hours,
    )


def verdict(freshness: Freshness, now: datetime) -> dict[str, Any]:
    """Return what the check says, as the arguments of a result or an evaluation."""
    state, age = freshness.state(now), freshness.age_hours(now)
    metadata: dict[str, Any] = {"state": state.value, "latest_day": str(freshness.latest_day)}
    if age is not None:
        metadata["age_hours"] = round(age, 2)
    since, remedy = freshness.stale_since(now), freshness.remedy(now)
    if since is not None:
        metadata["stale_since"] = since.isoformat()
    if remedy is not None:
        metadata["remedy"] = remedy
    failed = state is FreshnessState.FAILED
    return {
        "passed": state is FreshnessState.FRESH,
        "severity": dg.AssetCheckSeverity.ERROR if failed else dg.AssetCheckSeverity.WARN,
        "description": freshness.sentence(now),
        "metadata": metadata,
    }


@dataclass(frozen=True)
class Shown:
    """What the sensor has shown last: its cursor."""

    state: str = ""
    at: str = "2000-01-01T00:00:00+00:00"

    @classmethod
    def read(cls, cursor: str | None) -> "Shown":
        """Return what a cursor says; nothing if somebody has set it to something else."""
        try:
            shown = cls(**orjson.loads(cursor or "{}"))
            datetime.fromisoformat(shown.at)
            return shown
        except (orjson.JSONDecodeError, TypeError, ValueError):
            return cls()


def build_freshness_sensor(environ: Mapping[str, str], loaded: LoadedSettings) -> dg.SensorDefinition:
    """Return `catalogue_freshness_sensor`.

    Args:
        environ: environment variables; the settings are read from there anew at every tick.
        loaded: the settings at present; whether the sensor is on by default comes from there.
    """

    @dg.sensor(
        name=FRESHNESS_SENSOR,
        minimum_interval_seconds=_EVERY_SECONDS,
        default_status=default_sensor_status(loaded),
        description=(
            f"Shows how fresh the published catalogue is as the check `{FRESH}`: when its state changes and "
            "every hour, also while no sync succeeds; tells people when it becomes stale, has been so for "
            "too long, and is fresh again. It reads what is stored and asks the Hub nothing. On by default "
            f"in {' and '.join(AUTOMATIC)}."
        ),
    )
    def catalogue_freshness_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        try:
            present = load_settings(environ)
        except GgufAssetsError as error:
            return dg.SkipReason(no_settings(error))
        return look(present, context.cursor, datetime.now(UTC), environ)

    return catalogue_freshness_sensor


def look(
    loaded: LoadedSettings, cursor: str | None, now: datetime, environ: Mapping[str, str] | None = None
) -> dg.SensorResult:
    """Return what is to be shown of the freshness since the last look; tells people what is news.

    Args:
        loaded: the settings.
        cursor: what the last look left.
        now: this machine's clock.
        environ: environment variables with addresses and secrets; those of the process when None.
    """
    shown, freshness = Shown.read(cursor), freshness_now(loaded)
    state = freshness.state(now)
    environ = os.environ if environ is None else environ
    tell_about_freshness(freshness, loaded, layout_of(loaded), now, environ=environ)
    told = f"Published catalogue: {freshness.sentence(now)}"
    if state is FreshnessState.EMPTY:
        return dg.SensorResult(skip_reason=told, cursor=cursor)
    if shown.state == state.value and abs(now - datetime.fromisoformat(shown.at)) < _AGAIN:
        return dg.SensorResult(skip_reason=told, cursor=cursor)
    return dg.SensorResult(
        skip_reason=told,
        asset_events=[
            dg.AssetCheckEvaluation(
                asset_key=PUBLISHED, check_name=FRESH, blocking=False, **verdict(freshness, now)
            )
        ],
        cursor=orjson.dumps(asdict(Shown(state.value, now.isoformat()))).decode(),
    )
