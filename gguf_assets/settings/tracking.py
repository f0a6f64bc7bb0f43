"""Noticing that the configuration changed, also where nobody used a command for it.

The file that applies, without variables and options, is compared with what was last noted in the state
folder. What belongs here: noting, and recording what nobody has recorded yet. What does not: changing the
configuration (`deployment`), which records itself.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from filelock import FileLock

from gguf_assets.atomic import json_bytes, read_json, storage_errors, write_atomically
from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.settings.audit import Actor, AuditTrail, timestamp
from gguf_assets.settings.deployed import DeploymentRecord, known_records, sha256
from gguf_assets.settings.difference import Change, Snapshot, changes_between, snapshot
from gguf_assets.settings.files import ENVIRONMENT, find_file
from gguf_assets.settings.load import SYNC_DOCUMENT, LoadedSettings
from gguf_assets.settings.model import SyncConfiguration
from gguf_assets.settings.problems import InvalidSettings
from gguf_assets.settings.resolving import resolve

_AUDIT: Final = "security.enable_audit_logging"
_PATIENCE_SECONDS: Final = 10
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Noted:
    """What applied at some time; `values` is what it last said when it was valid without variables."""

    sha256: str
    environment: str
    source: str
    at: str
    values: Mapping[str, str] = field(default_factory=dict)
    hidden: Mapping[str, str] = field(default_factory=dict)

    def is_same(self, other: _Noted | DeploymentRecord) -> bool:
        return (self.sha256, self.environment) == (other.sha256, other.environment)


def seen_file(state_dir: Path) -> Path:
    """Return where a state folder holds what was last noted of the configuration."""
    return state_dir / "configuration_seen.json"


def note_configuration(
    loaded: LoadedSettings, trail: AuditTrail | None, actor: Actor, now: datetime
) -> list[Change] | None:
    """Note the configuration that applies, and record a change that nobody has recorded.

    Never raises: a state folder that cannot be written is a warning in the log.

    Args:
        loaded: the settings of this process; their variables and options are left out.
        trail: where changes are recorded; None for nowhere.
        actor: who noticed it.
        now: the time, with a time zone.

    Returns:
        What changed since it was last noted, at first what differs from the code's defaults; None where the
        same applies as before. A change of comments alone is an empty list.
    """
    path = seen_file(loaded.state_dir)
    lock_file = loaded.state_dir / "locks" / f"{path.stem}.lock"
    try:
        with storage_errors(lock_file, "lock"):
            lock_file.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(lock_file, thread_local=False, fallback_to_soft=False)
            lock.acquire(timeout=_PATIENCE_SECONDS, poll_interval=0.02)
        try:
            return _note(path, loaded, trail, actor, now)
        finally:
            lock.release()
    except Exception as error:  # noqa: BLE001 - a sync must not fail because of a note
        _logger.warning("The configuration in force could not be noted: %s", error)
        return None


def _note(
    path: Path, loaded: LoadedSettings, trail: AuditTrail | None, actor: Actor, now: datetime
) -> list[Change] | None:
    seen = _seen(path)
    present = _present(loaded, now, seen)
    if seen is not None and present.is_same(seen):
        return None
    deployed = _deployed(loaded)
    # What was deployed since has been recorded: only what happened after it is new.
    known: _Noted | DeploymentRecord | None = seen
    if deployed is not None and not present.is_same(deployed) and (seen is None or deployed.at >= seen.at):
        known = deployed
    asked = [one.values.get(_AUDIT) for one in (seen, present) if one is not None]
    if trail is not None and set(asked) != {"false"} and not _is_recorded(deployed, present, trail):
        trail.append(
            "first_seen" if known is None else "edited",
            actor,
            at=present.at,
            file=None if loaded.file is None else str(loaded.file),
            environment=present.environment,
            source=present.source,
            sha256=present.sha256,
            changes={one.key: {"old": one.old, "new": one.new} for one in _changes(known, present)},
        )
    write_atomically(path, json_bytes(asdict(present)), mode=0o600)
    return _changes(seen or known, present)


def _present(loaded: LoadedSettings, now: datetime, seen: _Noted | None) -> _Noted:
    found = find_file(SYNC_DOCUMENT, loaded.config_dir, loaded.settings.environment, None)
    entry = found.layer.entries.get(ENVIRONMENT)
    try:
        described = snapshot(resolve(SYNC_DOCUMENT, [found.layer]).settings)
    except InvalidSettings:
        # Variables make it valid; what it said when it last was valid by itself stays known.
        described = Snapshot({}, {}) if seen is None else Snapshot(seen.values, seen.hidden)
    return _Noted(
        sha256=sha256(found.content),
        environment=loaded.settings.environment if entry is None else str(entry.value),
        source=found.source,
        at=timestamp(now),
        values=described.values,
        hidden=described.hidden,
    )


def _seen(path: Path) -> _Noted | None:
    try:
        content = read_json(path)
        noted = None if content is None else _Noted(**content)
    except TypeError:
        return None
    except PermanentError as error:
        if error.category is ErrorCategory.DATA:
            return None  # half a note is no note: it is written anew
        raise
    if noted is None or not isinstance(noted.at, str):
        return None
    return noted if isinstance(noted.values, dict) and isinstance(noted.hidden, dict) else None


def _deployed(loaded: LoadedSettings) -> DeploymentRecord | None:
    """Return the latest deployment of the active file."""
    records = known_records(loaded.config_dir)
    return next((one for one in records if one.file == SYNC_DOCUMENT.active_file), None)


def _is_recorded(deployed: DeploymentRecord | None, present: _Noted, trail: AuditTrail) -> bool:
    """Return whether what applies was deployed, and that was recorded: a crash may have come between."""
    return (
        deployed is not None
        and present.is_same(deployed)
        and any(
            (entry.get("at"), entry.get("sha256")) == (deployed.at, deployed.sha256)
            for entry in trail.entries()
        )
    )


def _changes(known: _Noted | DeploymentRecord | None, present: _Noted) -> list[Change]:
    if not present.values:
        return []
    before = snapshot(SyncConfiguration()) if known is None else Snapshot(known.values, known.hidden)
    return changes_between(before, Snapshot(present.values, present.hidden))
