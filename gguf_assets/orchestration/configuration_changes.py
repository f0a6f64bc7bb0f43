"""The sensor `config_changed_sensor`: shows in the UI that the configuration has changed, or become invalid.

People are told of both. Its cursor holds the values last seen, masked, where they differ from the program's
defaults, so that a tick leaves little behind. What belongs here: noticing. What does not: what is shown
(`configuration`), telling (`alerting`) and who changed what by a command (`settings/audit`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import dagster as dg
import orjson

from gguf_assets.errors import GgufAssetsError
from gguf_assets.masking import mask
from gguf_assets.orchestration.alerting import tell_about_configuration
from gguf_assets.orchestration.configuration import (
    KEY,
    VALID,
    AtLoad,
    changes_table,
    digest_of,
    failed_verdict,
    passed_verdict,
)
from gguf_assets.orchestration.resources import layout_of
from gguf_assets.settings.audit import AuditTrail, audit_file, present_actor
from gguf_assets.settings.difference import Change, Snapshot, changes_between, snapshot
from gguf_assets.settings.load import LoadedSettings, load_settings
from gguf_assets.settings.model import SyncConfiguration
from gguf_assets.settings.tracking import note_configuration

CHANGED_SENSOR = "config_changed_sensor"
_NAMED = 5


@dataclass(frozen=True)
class Seen:
    """What the last tick saw.

    Attributes:
        values: what differs from the program's defaults, masked, by dotted key; None before the first look.
        hidden: SHA-256 of the values that were masked.
        since: since when they are so, ISO 8601.
        invalid: names the problems of the present state; None while it is valid.
        invalid_since: since when, ISO 8601.
    """

    values: dict[str, str] | None = None
    hidden: dict[str, str] = field(default_factory=dict)
    since: str = ""
    invalid: str | None = None
    invalid_since: str = ""

    @classmethod
    def read(cls, cursor: str | None) -> Seen:
        """Return what a cursor says; nothing if somebody has set it to something else."""
        try:
            return cls(**orjson.loads(cursor or "{}"))
        except (orjson.JSONDecodeError, TypeError):
            return cls()

    def written(self) -> str:
        """Return the cursor."""
        return orjson.dumps(asdict(self)).decode()


def build_config_changed_sensor(environ: Mapping[str, str], loaded_with: AtLoad) -> dg.SensorDefinition:
    """Return `config_changed_sensor`.

    Args:
        environ: environment variables; the settings are read from there anew at every tick.
        loaded_with: what the code location was loaded with.
    """

    @dg.sensor(
        name=CHANGED_SENSOR,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Shows a changed setting as an observation of the asset `configuration`, with old and new value, "
            "an invalid configuration as a failed check `configuration_valid` and one put right as a passed "
            "one, each once; the change is written to the audit trail, and people are told by the alert "
            "channels. It also says when a setting needs a reload of the code location. It starts nothing "
            "and asks the Hub nothing. On by default everywhere."
        ),
    )
    def config_changed_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return look(environ, loaded_with, context.cursor, datetime.now(UTC))

    return config_changed_sensor


def look(
    environ: Mapping[str, str], loaded_with: AtLoad, cursor: str | None, now: datetime
) -> dg.SensorResult:
    """Return what is to be shown of the configuration since the last look, and the next cursor.

    Args:
        environ: environment variables.
        loaded_with: what the code location was loaded with.
        cursor: what the last look left.
        now: this machine's clock.
    """
    seen = Seen.read(cursor)
    try:
        loaded = load_settings(environ)
    except GgufAssetsError as error:
        return _invalid(seen, error, now, loaded_with, environ)
    trail = AuditTrail(audit_file(loaded.state_dir))
    note_configuration(loaded, trail, present_actor(CHANGED_SENSOR), now)
    return _valid(seen, loaded, loaded_with.outdated(loaded), now, environ)


def _invalid(
    seen: Seen, error: GgufAssetsError, now: datetime, loaded_with: AtLoad, environ: Mapping[str, str]
) -> dg.SensorResult:
    verdict = failed_verdict(error)
    name = hashlib.sha256(mask(error.message).encode()).hexdigest()
    if seen.invalid == name:
        told = f"Invalid, and shown so, since {seen.invalid_since}: {verdict['description']}"
        return dg.SensorResult(skip_reason=told, cursor=seen.written())
    seen = replace(seen, invalid=name, invalid_since=_time(now))
    known = loaded_with.loaded  # with invalid settings nobody could be reached
    tell_about_configuration(known, layout_of(known), environ, invalid=verdict["description"])
    return dg.SensorResult(
        skip_reason=f"The configuration is invalid: {verdict['description']}",
        asset_events=[_evaluation(passed=False, verdict=verdict)],
        cursor=seen.written(),
    )


def _valid(
    seen: Seen, loaded: LoadedSettings, outdated: str | None, now: datetime, environ: Mapping[str, str]
) -> dg.SensorResult:
    defaults, present = _defaults(), snapshot(loaded.settings)
    values = {key: text for key, text in present.values.items() if defaults.get(key) != text}
    same = seen.values == values and seen.hidden == present.hidden
    after = f". {outdated}" if outdated else ""
    if same and seen.invalid is None:
        told = f"Unchanged since {seen.since} ({mask(loaded.source)}){after}"
        return dg.SensorResult(skip_reason=told, cursor=seen.written())
    changes: list[Change] = []
    if seen.values is not None:
        changes = changes_between(Snapshot({**defaults, **seen.values}, seen.hidden), present)
    events: list[Any] = []
    if changes:
        events.append(_observation(changes, loaded, outdated))
    if changes or seen.invalid is not None:
        events.append(_evaluation(passed=True, verdict=passed_verdict(loaded)))
    told = (
        _sentence(changes)
        if changes
        else f"{'Seen for the first time' if seen.invalid is None else 'Valid now'} ({mask(loaded.source)})"
        if seen.values is None
        else "Valid again, with the same values as before"
    )
    if seen.invalid is not None:
        tell_about_configuration(loaded, layout_of(loaded), environ)
    if changes:
        tell_about_configuration(loaded, layout_of(loaded), environ, changed=_sentence(changes))
    since = seen.since if same else _time(now)
    return dg.SensorResult(
        skip_reason=f"{told}{after}",
        asset_events=events,
        cursor=Seen(values, dict(present.hidden), since).written(),
    )


@lru_cache(maxsize=1)
def _defaults() -> Mapping[str, str]:
    return snapshot(SyncConfiguration()).values


def _sentence(changes: Sequence[Change]) -> str:
    named = [f"{one.key}: {one.old or 'unset'} → {one.new or 'unset'}" for one in changes[:_NAMED]]
    more = f" and {len(changes) - _NAMED} more" if len(changes) > _NAMED else ""
    return f"{len(changes)} setting{'' if len(changes) == 1 else 's'} changed: {', '.join(named)}{more}"


def _observation(
    changes: Sequence[Change], loaded: LoadedSettings, outdated: str | None
) -> dg.AssetObservation:
    return dg.AssetObservation(
        KEY,
        description=_sentence(changes),
        metadata={
            "changes": len(changes),
            "changed": dg.MetadataValue.md(changes_table(changes, loaded)),
            "needs_reload": outdated or "nothing",
            "source": mask(loaded.source),
            "sha256": digest_of(snapshot(loaded.settings).values),
        },
    )


def _evaluation(*, passed: bool, verdict: Mapping[str, Any]) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(asset_key=KEY, check_name=VALID, passed=passed, blocking=True, **verdict)


def _time(now: datetime) -> str:
    return f"{now:%Y-%m-%d %H:%M} UTC"
