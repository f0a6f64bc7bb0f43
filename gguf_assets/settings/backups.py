"""Backups of the active configuration: taking them, and removing those that are too old.

A backup is a copy byte for byte. Where the file was deployed as another environment than it says, a note of
the same name that ends in `.json` says so, and restoring the backup honours it. What belongs here: that. What
does not: putting one back (`deployment`).
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from gguf_assets.atomic import read_json, storage_errors
from gguf_assets.errors import ErrorCategory, Refused
from gguf_assets.settings.audit import Actor, AuditTrail, timestamp
from gguf_assets.settings.deployed import records_from, sha256, write_records
from gguf_assets.settings.in_force import InForce, in_force, recording
from gguf_assets.settings.tree import ConfigTree, taken_at
from gguf_assets.settings.writing import changing, free_name, make_private, put

_REMEDY: Final = "Move that note away to restore the backup as what it says itself."


def back_up(tree: ConfigTree, *, trail: AuditTrail | None, actor: Actor, now: datetime) -> Path:
    """Copy the active file into the backups and return the copy.

    Raises:
        Refused: there is no active file.
        PermanentError: the disk refused (category `storage`).
    """
    if not os.path.lexists(tree.active):
        raise _nothing(tree)
    with changing(tree):
        current = in_force(tree)
        if current is None:
            raise _nothing(tree)
        recorded = recording(trail, [current.checked])
        backup = keep(tree, current, now)
        if recorded is not None:
            recorded.append(
                "backup",
                actor,
                at=timestamp(now),
                file=str(backup),
                environment=current.environment,
                sha256=sha256(current.checked.content),
                changes={},
            )
    return backup


def keep(tree: ConfigTree, current: InForce, now: datetime) -> Path:
    """Copy what is in force into the backups and return the copy; to be called while changing the folder.

    Raises:
        PermanentError: the disk refused (category `storage`).
    """
    make_private(tree.backups)
    path = free_name(tree, tree.active.stem, now)
    if current.record is not None and current.record.environment != current.checked.environment:
        # Before the copy: a crash in between leaves a note about nothing.
        write_records(note_of(path), [current.record])
    put(path, current.checked.content)
    return path


def note_of(backup: Path) -> Path:
    """Return where the note lies that says as what a backup was deployed."""
    return backup.with_suffix(".json")


def environment_of(backup: Path, content: bytes) -> str | None:
    """Return as what a backup was deployed; None where only the file itself says.

    Raises:
        PermanentError: the note cannot be read (category `storage`) or is damaged (category `data`).
    """
    if taken_at(backup) is None:
        return None
    note = note_of(backup)
    records = records_from(note, read_json(note, _REMEDY))
    return next((one.environment for one in records if one.sha256 == sha256(content)), None)


def prune(
    tree: ConfigTree, days: int, *, trail: AuditTrail | None, actor: Actor, now: datetime
) -> list[Path]:
    """Remove backups taken more than `days` days ago, by the time in their names; return what was removed.

    The newest stays, however old it is, and so does every file that is no backup of the active file.

    Raises:
        Refused: `days` is negative.
        PermanentError: the disk refused (category `storage`).
    """
    if days < 0:
        raise Refused(f"Backups cannot be kept for {days} days", remedy="Name 0 or more days.")
    if not tree.backups.is_dir():
        return []
    removed: list[Path] = []
    with changing(tree):
        old = _taken_before(tree, days, now)
        current = in_force(tree)
        recorded = recording(trail, [None if current is None else current.checked]) if old else None
        try:
            for path in old:
                with storage_errors(path, "remove"):
                    path.unlink()
                    removed.append(path)
                    note_of(path).unlink(missing_ok=True)
        finally:
            if recorded is not None and removed:
                names = [path.name for path in removed]
                recorded.append(
                    "prune",
                    actor,
                    at=timestamp(now),
                    file=str(tree.backups),
                    environment=None if current is None else current.environment,
                    removed=names,
                    days=days,
                    changes={},
                )
    return removed


def _nothing(tree: ConfigTree) -> Refused:
    return Refused(
        f"There is no active configuration to back up: {tree.active} does not exist",
        category=ErrorCategory.CONFIGURATION,
        remedy="Deploy one: gguf-assets config deploy ENVIRONMENT",
    )


def _taken_before(tree: ConfigTree, days: int, now: datetime) -> list[Path]:
    try:
        limit = now - timedelta(days=days)
    except OverflowError:
        limit = datetime.min.replace(tzinfo=UTC)
    taken = [(when, path) for path in tree.backup_files() if (when := taken_at(path)) is not None]
    return [path for when, path in taken[1:] if when < limit]
