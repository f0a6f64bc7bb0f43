"""The job `maintenance`: what is too old goes, once a day and after the sync.

Captures, candidates and backups beyond their retention are removed, `files` of older days are thinned. What
belongs here: the order, the record and the Dagster side. What does not: what may go (`store/retention`,
`store/thinning`, `store/backups`), and copies of the configuration (`config_backup`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from gguf_assets.errors import GgufAssetsError
from gguf_assets.orchestration.backing_up import hub_time
from gguf_assets.orchestration.failures import clear_failures, usable
from gguf_assets.orchestration.jobs import WRITES
from gguf_assets.orchestration.logs import RunLog
from gguf_assets.orchestration.schedules import AUTOMATIC, default_schedule_status, without_settings
from gguf_assets.settings.audit import Actor, AuditTrail, audit_file, present_actor
from gguf_assets.settings.load import LoadedSettings
from gguf_assets.store.backups import prune_backups
from gguf_assets.store.retention import Removal, expire, hub_day
from gguf_assets.store.store import Store
from gguf_assets.store.thinning import KeptWhole, LeftOut, thin

MAINTENANCE = "maintenance"
MAINTENANCE_CRON = "15 5 * * *"
"""When the job is asked for, UTC: a sync that began at the usual time has ended by then, or is waited for."""

AUDIT_EVENT = "retention"


@dataclass(frozen=True)
class Maintained:
    """What a maintenance did, or would do.

    Attributes:
        day: the present day by the Hub's clock, by which ages are counted; None in an empty store.
        dry_run: whether it was only looked.
        removals: captures, candidates and leftovers.
        backups: backups that were removed; of a dry run always empty.
        left_out: days whose `files` were left out.
        kept_whole: days that should have been thinned and stay whole.
        problem: why it did not come to its end; None when it did.
    """

    day: date | None
    dry_run: bool
    removals: tuple[Removal, ...] = ()
    backups: tuple[Path, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    kept_whole: tuple[KeptWhole, ...] = ()
    problem: GgufAssetsError | None = None

    def names(self, kind: str) -> list[str]:
        """Return what was removed of a kind."""
        return [removal.name for removal in self.removals if removal.kind == kind]

    @property
    def bytes_freed(self) -> int:
        """Bytes that the disk got back, backups not counted: what they share with others stays."""
        return sum(r.bytes for r in self.removals) + sum(d.freed for d in self.left_out)

    def figures(self) -> dict[str, int]:
        """Return the numbers, always under the same names."""
        return {
            "captures_removed": len(self.names("capture")),
            "candidates_removed": len(self.names("candidate")),
            "leftovers_removed": len(self.names("leftover")),
            "backups_removed": len(self.backups),
            "days_thinned": len(self.left_out),
            "days_kept_whole": len(self.kept_whole),
            "rows_kept": sum(day.kept_rows for day in self.left_out),
            "bytes_freed": self.bytes_freed,
        }

    def facts(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "day": None if self.day is None else self.day.isoformat(),
            "captures": self.names("capture"),
            "candidates": self.names("candidate"),
            "leftovers": self.names("leftover"),
            "backups": [path.name for path in self.backups],
            "thinned": {day.day.isoformat(): day.base.isoformat() for day in self.left_out},
            "kept_whole": {day.day.isoformat(): day.reason for day in self.kept_whole},
            "bytes_freed": self.bytes_freed,
        }


def maintain(
    store: Store, loaded: LoadedSettings, actor: Actor, now: datetime, *, dry_run: bool = False
) -> Maintained:
    """Remove what is too old and thin older days; whoever calls holds the writer's lock, but for a dry run.

    What was done is recorded in the audit trail, also where the rest could not be done.

    Args:
        store: the store.
        loaded: the settings in force.
        actor: who does it, for the audit trail.
        now: this machine's clock; ages are counted by the Hub's, as it was last seen, and never beyond this.
        dry_run: only say what would be done.

    Raises:
        PermanentError: the audit trail cannot be written, so nothing was done (category `storage`).
    """
    trail = AuditTrail(audit_file(loaded.state_dir))
    if not dry_run:
        trail.ensure_writable()
    done = _maintained(store, loaded, now, dry_run=dry_run)
    if not dry_run and (done.removals or done.backups or done.left_out):
        trail.append(AUDIT_EVENT, actor, **done.facts())
    return done


def _maintained(store: Store, loaded: LoadedSettings, now: datetime, *, dry_run: bool) -> Maintained:
    storage, day = loaded.settings.storage, hub_day(store, now)
    removals: list[Removal] = []
    backups: list[Path] = []
    thinned: list[LeftOut | KeptWhole] = []
    problem = None
    if day is None:
        return Maintained(day, dry_run)
    try:
        removals.extend(  # one by one: what was removed is known where the next one fails
            expire(
                store,
                day,
                capture_days=storage.capture_retention_days,
                candidate_days=storage.candidate_retention_days,
                dry_run=dry_run,
            )
        )
        if not dry_run:
            folder = store.layout.backups_dir
            backups += prune_backups(folder, storage.backup_retention_days, min(now, hub_time(store)))
        thinned.extend(thin(store, day, storage.files_full_days, dry_run=dry_run))
    except GgufAssetsError as error:
        problem = error
    left_out = tuple(one for one in thinned if isinstance(one, LeftOut))
    whole = tuple(one for one in thinned if isinstance(one, KeptWhole))
    return Maintained(day, dry_run, tuple(removals), tuple(backups), left_out, whole, problem)


class MaintenanceConfig(dg.Config):
    """Options of the maintenance."""

    dry_run: bool = Field(default=False, description="Only say what would be removed and thinned.")


@dg.op
def remove_what_is_too_old(
    context: dg.OpExecutionContext,
    config: MaintenanceConfig,
    settings: dg.ResourceParam[LoadedSettings],
    store: dg.ResourceParam[Store],
) -> None:
    """Remove captures, candidates and backups beyond their retention, and thin `files` of older days."""
    actor = present_actor(f"run {context.run.run_id} of {context.run.job_name}")
    with clear_failures():
        loaded = usable(settings)
        done = maintain(store, loaded, actor, datetime.now(UTC), dry_run=config.dry_run)
        context.add_output_metadata(maintenance_metadata(done))
        RunLog(context.log, loaded).say(in_words(done))
        for day in done.kept_whole:
            context.log.warning(f"The files of {day.day} stay whole: {day.reason}")
        if done.problem is not None:
            raise done.problem


@dg.job(
    name=MAINTENANCE,
    tags=WRITES,
    description="What is too old goes: captures (`storage.capture_retention_days`), candidates of published "
    "days (`storage.candidate_retention_days`) and backups (`storage.backup_retention_days`), never the "
    "newest. Of days older than `storage.files_full_days` one a week keeps its `files`, those of the others "
    "are rebuilt exactly when they are needed. Ages are counted by the Hub's clock.",
)
def maintenance() -> None:
    """Remove what is too old."""
    remove_what_is_too_old()


def maintenance_metadata(done: Maintained) -> dict[str, Any]:
    """Return what the metadata of a run say of it; the numbers always under the same keys."""
    facts = done.facts()
    lists = {name: facts[name] for name in ("captures", "candidates", "backups", "thinned", "kept_whole")}
    return {
        **done.figures(),
        "hub_day": facts["day"] or "nothing captured yet",
        "dry_run": done.dry_run,
        "details": dg.MetadataValue.json(lists),
    }


def in_words(done: Maintained) -> str:
    """Return in a sentence what a maintenance did, or would do."""
    figures, would = done.figures(), "would be " if done.dry_run else ""
    removed = ", ".join(
        f"{figures[f'{kind}_removed']} {kind}" for kind in ("captures", "candidates", "backups", "leftovers")
    )
    return (
        f"Maintenance: {removed} {would}removed; files of {figures['days_thinned']} days {would}left out, "
        f"{figures['days_kept_whole']} stay whole; {figures['bytes_freed']:,} bytes {would}freed"
    )


def build_maintenance_schedule(environ: Mapping[str, str], loaded: LoadedSettings) -> dg.ScheduleDefinition:
    """Return `maintenance_daily`.

    Args:
        environ: environment variables; whether the settings are valid is asked anew at every tick.
        loaded: the settings at present; the default of the switch comes from there.
    """

    @dg.schedule(
        name="maintenance_daily",
        job_name=MAINTENANCE,
        cron_schedule=MAINTENANCE_CRON,
        execution_timezone="UTC",
        default_status=default_schedule_status(loaded),
        description="At 05:15 UTC, removes what is beyond its retention and thins older days (see the job "
        f"`{MAINTENANCE}`); a sync under way is waited for. On by default in {' and '.join(AUTOMATIC)}.",
    )
    def maintenance_daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        reason = without_settings(environ)
        return dg.RunRequest() if reason is None else dg.SkipReason(reason)

    return maintenance_daily
