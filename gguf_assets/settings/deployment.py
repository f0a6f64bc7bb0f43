"""Putting a configuration in force: deploying a file, and restoring what was in force before.

The active file is a copy, byte for byte, never written in any other way. What belongs here: replacing it
safely. What does not: judging files (`checking`), backups as such (`backups`), new files (`creation`).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from gguf_assets.errors import PermanentError
from gguf_assets.settings.audit import Actor, AuditTrail, timestamp
from gguf_assets.settings.backups import back_up, environment_of, keep, prune
from gguf_assets.settings.checking import CheckedFile, check_content
from gguf_assets.settings.creation import Created, create
from gguf_assets.settings.deployed import (
    RECORD_NAME,
    DeploymentRecord,
    known_records,
    sha256,
    write_records,
)
from gguf_assets.settings.difference import Change, Snapshot, changes_between, differences, snapshot
from gguf_assets.settings.document import Advice
from gguf_assets.settings.in_force import InForce, in_force, read_or_refuse, recording
from gguf_assets.settings.model import ENVIRONMENTS
from gguf_assets.settings.problems import InvalidSettings, Problem, unknown_environment
from gguf_assets.settings.tree import ConfigTree, environment_not_found, file_not_found
from gguf_assets.settings.writing import changing, put

__all__ = ["Created", "Deployed", "back_up", "create", "deploy", "judge", "judge_backup", "prune", "restore"]


@dataclass(frozen=True)
class Deployed:
    """What deploying a file, or restoring a backup, did.

    Attributes:
        path: the active file.
        source: the file it is a copy of.
        backup: the copy of what was in force before; None where nothing was, or nothing changed.
        changes: what differs from before, the code's defaults where nothing was in force.
        advice: what is allowed in it and probably not meant.
        identical: it was in force already, and nothing was written.
        environment: the environment it counts for.
    """

    path: Path
    source: Path
    backup: Path | None
    changes: list[Change]
    advice: tuple[Advice, ...]
    identical: bool
    environment: str


def deploy(
    tree: ConfigTree,
    environment: str,
    *,
    source: Path | None = None,
    validate: bool = True,
    force: bool = False,
    trail: AuditTrail | None,
    actor: Actor,
    now: datetime,
) -> Deployed:
    """Make a file the active one, after backing up the active one.

    Args:
        tree: the configuration folder.
        environment: the environment that the file is to count for.
        source: the file; that of the environment when None.
        validate: refuse a file that is invalid.
        force: take a file that says another environment. It stays as it is and counts for `environment`.
        trail: where it is recorded; None for nowhere.
        actor: who does it.
        now: the time, with a time zone.

    Raises:
        InvalidSettings: the environment is unknown, or the file invalid or unreadable; with all problems.
        Refused: there is no such file, or it is for another environment.
        PermanentError: the disk refused (category `storage`). In force is the old configuration or, where
            only recording the change failed, the new one, never a mixture.
    """
    new = judge(tree, environment, source=source, validate=validate, force=force)
    facts = {"validated": validate, "forced": force}
    with changing(tree):
        return _put_in_force(tree, new, environment, "deploy", facts, trail, actor, now)


def judge(
    tree: ConfigTree,
    environment: str,
    *,
    source: Path | None = None,
    validate: bool = True,
    force: bool = False,
) -> CheckedFile:
    """Return the verdict on a file that may be deployed; arguments as of `deploy`, and nothing is written.

    Raises:
        InvalidSettings, Refused: it may not.
    """
    if environment not in ENVIRONMENTS:
        raise unknown_environment(environment, ENVIRONMENTS)
    path = tree.file_of(environment) if source is None else source
    content = read_or_refuse(path)
    if content is None:
        raise environment_not_found(path, environment) if source is None else file_not_found(path)
    new = check_content(path, content, deployed_as=environment)
    if not force and new.readable and new.meant_for != environment:
        raise InvalidSettings(
            [Problem(f"The file {path} {new.claim}, and the target is {environment}")],
            remedy=f"Deploy a file of {environment}, or have this one count for it: "
            f"gguf-assets config deploy {environment} --source {path} --force",
        )
    if validate and new.problems:
        raise InvalidSettings(
            new.problems, remedy="Nothing was deployed. Correct the file, then deploy it again."
        )
    return new


def restore(
    tree: ConfigTree,
    name: str,
    *,
    force: bool = False,
    trail: AuditTrail | None,
    actor: Actor,
    now: datetime,
) -> Deployed:
    """Put a backup in force again, as the environment it counted for, after backing up the active file.

    Args:
        tree: the configuration folder.
        name: name of a backup, or a path.
        force: restore it although it is invalid.
        trail: where it is recorded; None for nowhere.
        actor: who does it.
        now: the time, with a time zone.

    Raises:
        Refused: there is no such backup.
        InvalidSettings: it is invalid, or cannot be read; with all problems.
        PermanentError: the disk refused (category `storage`), as for `deploy`.
    """
    new, environment = judge_backup(tree, name, force=force)
    facts = {"validated": not force, "forced": force}
    with changing(tree):
        return _put_in_force(tree, new, environment, "restore", facts, trail, actor, now)


def judge_backup(tree: ConfigTree, name: str, *, force: bool = False) -> tuple[CheckedFile, str]:
    """Return the verdict on a backup that may be restored, and the environment it counts for.

    Raises:
        InvalidSettings, Refused: it may not, as for `restore`.
        PermanentError: the note on its environment cannot be read.
    """
    path = tree.find_backup(name)
    content = read_or_refuse(path)
    if content is None:
        raise file_not_found(path)
    deployed_as = environment_of(path, content)
    new = check_content(path, content, deployed_as=deployed_as)
    if new.problems and not force:
        raise InvalidSettings(
            new.problems,
            remedy="Nothing was restored. Restore another backup, or this one all the same with --force.",
        )
    return new, deployed_as or new.counts_for


def _put_in_force(
    tree: ConfigTree,
    new: CheckedFile,
    environment: str,
    event: str,
    facts: dict[str, Any],
    trail: AuditTrail | None,
    actor: Actor,
    now: datetime,
) -> Deployed:
    """Replace the active file, unless it is the same already."""
    current = in_force(tree)
    if current is not None and (current.checked.content, current.environment) == (new.content, environment):
        return Deployed(tree.active, new.path, None, [], new.advice, True, environment)
    recorded = recording(trail, [None if current is None else current.checked, new])
    changes = _changes(current, new)
    backup = None if current is None else keep(tree, current, now)
    described = Snapshot({}, {}) if new.settings is None else snapshot(new.settings)
    record = DeploymentRecord(
        file=tree.active.name,
        sha256=sha256(new.content),
        environment=environment,
        source=str(new.path),
        at=timestamp(now),
        by=actor.name,
        values=described.values,
        hidden=described.hidden,
    )
    _write(tree, current, new.content, record)
    if recorded is not None:
        _record(
            recorded,
            event,
            actor,
            at=record.at,
            file=str(tree.active),
            environment=environment,
            source=record.source,
            sha256=record.sha256,
            backup=None if backup is None else backup.name,
            changes={change.key: {"old": change.old, "new": change.new} for change in changes},
            problems=len(new.problems),
            **facts,
        )
    return Deployed(tree.active, new.path, backup, changes, new.advice, False, environment)


def _changes(current: InForce | None, new: CheckedFile) -> list[Change]:
    if new.settings is None:
        return []
    if current is None:
        return differences(None, new.settings)
    if current.checked.settings is None:
        return changes_between(Snapshot({}, {}), snapshot(new.settings))
    return differences(current.checked.settings, new.settings)


def _write(tree: ConfigTree, current: InForce | None, content: bytes, record: DeploymentRecord) -> None:
    """Replace record and active file so that at every moment the record speaks of what is active."""
    path = tree.folder / RECORD_NAME
    others = [one for one in known_records(tree.folder) if one.file != record.file]
    old = None if current is None or current.checked.content == content else current.record
    write_records(path, [record, *others] if old is None else [record, old, *others])
    if current is None or current.checked.content != content:
        put(tree.active, content)
    if old is not None:
        # What is left where this fails speaks of content that is no longer there.
        with suppress(PermanentError):
            write_records(path, [record, *others])


def _record(trail: AuditTrail, event: str, actor: Actor, **facts: Any) -> None:
    try:
        trail.append(event, actor, **facts)
    except PermanentError as error:
        raise PermanentError(
            f"{facts['file']} was replaced, but that could not be recorded: {error.message}",
            category=error.category,
            remedy=f"{error.remedy} The next sync records the change.",
        ) from error
