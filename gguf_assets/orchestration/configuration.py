"""The configuration in Dagster: the asset `configuration` with its blocking check, and what is shown of it.

Every value that is shown passes through the mask. What belongs here: the asset, the check's verdict, tables.
What does not: reading settings (`settings/`), noticing changes between runs (`configuration_changes`).
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from dagster._core.events import EngineEventData

from gguf_assets.errors import GgufAssetsError
from gguf_assets.masking import mask
from gguf_assets.orchestration.failures import Unavailable
from gguf_assets.quality.markdown import escaped, table
from gguf_assets.settings.audit import AuditTrail, audit_file, present_actor
from gguf_assets.settings.difference import Change, differences, needs_reload, snapshot
from gguf_assets.settings.document import COMMAND_LINE
from gguf_assets.settings.load import LoadedSettings, fallback_settings, load_settings
from gguf_assets.settings.problems import FAILED, InvalidSettings, Problem
from gguf_assets.settings.tracking import note_configuration

CONFIGURATION, VALID = "configuration", "configuration_valid"
KEY = dg.AssetKey(CONFIGURATION)
RELOAD = "reload the code location (Deployment → Code locations → Reload) or start Dagster again"
_NAMED = 5
"""How many keys or problems a sentence names one by one."""


@dataclass(frozen=True)
class AtLoad:
    """What the code location was loaded with.

    Attributes:
        loaded: the settings in force then, or what stood in for invalid ones.
        refusal: why those in force could not be used; None when they could.
    """

    loaded: LoadedSettings
    refusal: InvalidSettings | None

    def outdated(self, now: LoadedSettings) -> str | None:
        """Return what has to be reloaded, in a sentence; None when nothing has.

        Args:
            now: the settings in force.
        """
        if self.refusal is not None:
            return (
                "The code location was loaded while the configuration was invalid, so schedules and sensors "
                f"are off by default: {RELOAD}"
            )
        if self.loaded.settings == now.settings:  # most often; comparing shown values takes much longer
            return None
        changed = needs_reload(differences(self.loaded.settings, now.settings))
        keys = [key for key in changed if now.origins[key] != COMMAND_LINE]  # those are for one run
        if not keys:
            return None
        return f"The code location was loaded with another {', '.join(keys)}: {RELOAD}"


def at_load(environ: Mapping[str, str], overrides: Mapping[str, str] | None = None) -> AtLoad:
    """Return the settings to load definitions with, so that the UI can show what is wrong with invalid ones.

    Raises:
        InvalidSettings: not even the folders are usable.
    """
    try:
        return AtLoad(load_settings(environ, overrides=overrides), None)
    except InvalidSettings as refusal:
        try:
            return AtLoad(fallback_settings(environ), refusal)
        except InvalidSettings:
            raise refusal from None


def build_configuration_asset(loaded_with: AtLoad) -> dg.AssetsDefinition:
    """Return the asset `configuration` with the check `configuration_valid`."""

    @dg.asset(
        name=CONFIGURATION,
        group_name=CONFIGURATION,
        kinds={"yaml"},
        output_required=False,
        check_specs=[
            dg.AssetCheckSpec(
                VALID,
                asset=CONFIGURATION,
                blocking=True,
                description="The settings in force are valid; with any that is not, nothing runs after this. "
                "What is allowed and probably not meant is listed and stops nothing.",
            )
        ],
    )
    def configuration(
        context: dg.AssetExecutionContext, settings: dg.ResourceParam[LoadedSettings]
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
        """The settings in force, each with where it comes from, and what has changed in the file."""
        if isinstance(settings, Unavailable):
            yield dg.AssetCheckResult(passed=False, **failed_verdict(settings.reason))
            return
        trail = AuditTrail(audit_file(settings.state_dir))
        actor = present_actor(f"run {context.run.run_id} of {context.run.job_name}")
        changes = note_configuration(settings, trail, actor, datetime.now(UTC))
        yield dg.MaterializeResult(
            metadata=configuration_metadata(settings, changes or [], loaded_with.outdated(settings)),
            check_results=[dg.AssetCheckResult(passed=True, **passed_verdict(settings))],
        )

    return configuration


def digest_of(values: Mapping[str, str]) -> str:
    """Return the SHA-256 of values as they are shown."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def note_in_force(instance: dg.DagsterInstance, run: dg.DagsterRun, loaded: LoadedSettings) -> None:
    """Record in the event log of a run which configuration it works with."""
    values = snapshot(loaded.settings).values
    metadata: dict[str, Any] = {
        "effective": dg.MetadataValue.json(
            {key: {"value": value, "from": place_of(loaded, key)} for key, value in values.items()}
        ),
        "source": mask(loaded.source),
        "sha256": digest_of(values),
    }
    instance.report_engine_event(
        f"Configuration in force: {loaded.settings.environment}, {mask(loaded.source)}{_set_here(loaded)}",
        run,
        EngineEventData(metadata=metadata),
    )


def _set_here(loaded: LoadedSettings) -> str:
    """Return which keys come from variables and from the run itself, in words."""
    words = []
    for begins, where in (
        ("environment variable ", "by environment variables"),
        (COMMAND_LINE, "for this run"),
    ):
        keys = [key for key, origin in loaded.origins.items() if origin.startswith(begins)]
        if keys:
            words.append(f"; set {where}: {', '.join(keys)}")
    return "".join(words)


def place_of(loaded: LoadedSettings, key: str) -> str:
    """Return where a key's value stands, for people."""
    return mask(loaded.places.get(key, "default"))


def configuration_metadata(
    loaded: LoadedSettings, changes: Sequence[Change], outdated: str | None
) -> dict[str, Any]:
    """Return the metadata of the asset.

    Args:
        loaded: the settings in force.
        changes: what has changed in the file since it was last noted.
        outdated: what has to be reloaded, in a sentence; None when nothing has.
    """
    values = snapshot(loaded.settings).values
    rows = [(escaped(key), _cell(value), _cell(place_of(loaded, key))) for key, value in values.items()]
    return {
        "environment": str(loaded.settings.environment),
        "source": mask(loaded.source),
        "effective": dg.MetadataValue.md("\n".join(table(("key", "value", "from"), rows))),
        "sha256": digest_of(values),
        "changes": len(changes),
        "changed": dg.MetadataValue.md(changes_table(changes, loaded)),
        "needs_reload": outdated or "nothing",
        "warnings": len(loaded.advice),
    }


def changes_table(changes: Sequence[Change], loaded: LoadedSettings) -> str:
    """Return changes as Markdown: key, old and new value, where the new one stands, when it takes effect."""
    if not changes:
        return "Nothing has changed."
    late = needs_reload(changes)
    rows = [
        (
            escaped(change.key),
            _cell(change.old),
            _cell(change.new),
            _cell(place_of(loaded, change.key)),
            "after a reload of the code location" if change.key in late else "with the next run",
        )
        for change in changes
    ]
    return "\n".join(table(("key", "old", "new", "from", "takes effect"), rows))


def _cell(value: str | None) -> str:
    return "" if value is None else escaped(value)


def passed_verdict(loaded: LoadedSettings) -> dict[str, Any]:
    """Return description and metadata of the check for valid settings; warnings are listed."""
    advice = [
        {"keys": ", ".join(one.keys), "warning": mask(one.text), "hint": mask(one.hint)}
        for one in loaded.advice
    ]
    counted = f", {_count(len(advice), 'warning')}: {'; '.join(one['warning'] for one in advice)}"
    return {
        "description": f"Valid: {loaded.settings.environment}, {mask(loaded.source)}"
        + (counted if advice else ""),
        "metadata": {
            "problems": 0,
            "warnings": len(advice),
            **({"advice": _records(advice)} if advice else {}),
            "source": mask(loaded.source),
        },
    }


def failed_verdict(error: GgufAssetsError) -> dict[str, Any]:
    """Return description and metadata of the check for settings that must not be used."""
    problems = problems_of(error)
    headlines = [_headline(problem) for problem in problems]
    more = [f"and {len(headlines) - _NAMED} more"] if len(headlines) > _NAMED else []
    told = "; ".join([*headlines[:_NAMED], *more])
    records = [
        {
            "problem": headline,
            "key": mask(problem.key or ""),
            "value": mask(problem.value or ""),
            "where": mask(problem.origin or ""),
            "allowed": mask(problem.allowed or ""),
            "hint": mask(problem.hint or ""),
        }
        for headline, problem in zip(headlines, problems, strict=True)
    ]
    return {
        "description": f"{_count(len(problems), 'problem')}, so nothing runs: {told}",
        "metadata": {
            "problems": len(problems),
            "table": _records(records),
            "remedy": "Correct each where it is set, then launch again; `gguf-assets doctor` says the same.",
        },
    }


def problems_of(error: GgufAssetsError) -> Sequence[Problem]:
    """Return what an error says is wrong, one by one."""
    return error.problems if isinstance(error, InvalidSettings) else [Problem(error.message)]


def _headline(problem: Problem) -> str:
    return " ".join(mask(problem.headline).removeprefix(FAILED).split())


def _records(rows: Sequence[Mapping[str, str]]) -> dg.TableMetadataValue:
    columns = [dg.TableColumn(name) for name in rows[0]]
    return dg.MetadataValue.table([dg.TableRecord(dict(row)) for row in rows], dg.TableSchema(columns))


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
