"""The job `config_backup`: keeps a copy of the active configuration file and removes copies that are too old.

What belongs here: the Dagster side. What does not: how a copy is made and which are removed (`settings`).
"""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from gguf_assets.orchestration.failures import clear_failures, usable
from gguf_assets.orchestration.logs import RunLog
from gguf_assets.settings.audit import Actor, AuditTrail, audit_file, present_actor
from gguf_assets.settings.deployment import back_up, prune
from gguf_assets.settings.load import LoadedSettings
from gguf_assets.settings.tree import ConfigTree

CONFIG_BACKUP = "config_backup"


@dg.op
def back_up_configuration(context: dg.OpExecutionContext, settings: dg.ResourceParam[LoadedSettings]) -> None:
    """Copy the active configuration file where it has changed, and remove old copies."""
    actor = present_actor(f"run {context.run.run_id} of {context.run.job_name}")
    with clear_failures():
        made, removed = keep_copy(usable(settings), actor, datetime.now(UTC))
    RunLog(context.log, settings).say(
        f"Backup: {made or 'none, the newest one is the same'}; {len(removed)} old ones removed"
    )
    context.add_output_metadata(
        {
            "backup": str(made or ""),
            "removed": len(removed),
            "names": ", ".join(path.name for path in removed),
        }
    )


@dg.job(
    name=CONFIG_BACKUP,
    description="A copy of the active configuration file where it differs from the newest backup; backups "
    "older than `storage.backup_retention_days` are removed.",
)
def config_backup() -> None:
    """Keep a copy of the configuration."""
    back_up_configuration()


def keep_copy(loaded: LoadedSettings, actor: Actor, now: datetime) -> tuple[Path | None, list[Path]]:
    """Back up the active file where it differs from the newest backup; return the copy and what was removed.

    Args:
        loaded: the settings in force; folder and retention come from there.
        actor: who does it, for the audit trail.
        now: the time of the copy.

    Raises:
        GgufAssetsError: there is no active file, or the disk refused.
    """
    tree, trail = ConfigTree(loaded.config_dir), AuditTrail(audit_file(loaded.state_dir))
    newest = next(iter(tree.backup_files()), None)
    same = newest is not None and tree.active.is_file() and newest.read_bytes() == tree.active.read_bytes()
    made = None if same else back_up(tree, trail=trail, actor=actor, now=now)
    days = loaded.settings.storage.backup_retention_days
    return made, prune(tree, days, trail=trail, actor=actor, now=now)
