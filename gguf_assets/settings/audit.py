"""The audit trail: who changed the configuration, when, by which command, from what to what.

What belongs here: appending entries that cannot be torn apart, and reading them. What does not: deciding what
is worth an entry (`deployment`, `backups`, `creation`, `tracking`).
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import platform
import pwd
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from gguf_assets.atomic import storage_errors
from gguf_assets.masking import MASK, mask

_PRIVATE: Final = 0o600
_DEEPEST: Final = 20


@dataclass(frozen=True)
class Actor:
    """Who does something, and by what.

    Attributes:
        name: `user@host`; the user who called sudo, not root.
        command: what was called, e.g. `gguf-assets config deploy staging`.
    """

    name: str
    command: str


def present_actor(command: str) -> Actor:
    """Return who runs this process; never raises."""
    # The system is asked: anybody can set the variables USER and, without being root, SUDO_USER.
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = f"uid {os.getuid()}"
    if os.geteuid() == 0:
        user = os.environ.get("SUDO_USER", "").strip() or user
    return Actor(f"{user}@{platform.node() or 'unknown host'}", command)


def audit_file(state_dir: Path) -> Path:
    """Return where the audit trail of a state folder lies."""
    return state_dir / "logs" / "audit.jsonl"


def timestamp(now: datetime) -> str:
    """Return a time as entries and records hold it: ISO 8601, UTC."""
    return now.astimezone(UTC).isoformat(timespec="microseconds")


class AuditTrail:
    """An append-only file of JSON lines that only its owner can read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def ensure_writable(self) -> None:
        """Check that an entry can be appended, so that nothing is changed that cannot be recorded.

        Raises:
            PermanentError: the disk refused (category `storage`).
        """
        with storage_errors(self.path, "write"):
            os.close(self._open())

    def append(self, event: str, actor: Actor, **facts: Any) -> None:
        """Append an entry: as a whole, or not at all.

        Args:
            event: what happened.
            actor: who did it.
            facts: further fields, `at` for another time than now; secrets are masked, and a value that JSON
                does not know is written as its text.

        Raises:
            PermanentError: the disk refused (category `storage`).
        """
        at = facts.pop("at", None) or timestamp(datetime.now(UTC))
        entry = {"at": at, "event": event, "who": actor.name, "command": actor.command, **facts}
        line = json.dumps(_plain(entry, 0)).encode("ascii") + b"\n"
        with storage_errors(self.path, "write"):
            descriptor = self._open()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                _append_whole(descriptor, line)
            finally:
                os.close(descriptor)

    def entries(self) -> list[dict[str, Any]]:
        """Return all entries, the oldest first; a line that was torn apart is left out.

        Raises:
            PermanentError: the file cannot be read (category `storage`).
        """
        with storage_errors(self.path, "read"):
            try:
                content = self.path.read_bytes()
            except FileNotFoundError:
                return []
        found = []
        for line in content.split(b"\n"):
            with suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict):
                    found.append(entry)
        return found

    def _open(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _PRIVATE)
        there = os.fstat(descriptor)
        if there.st_uid == os.geteuid() and stat.S_ISREG(there.st_mode) and there.st_mode & 0o077:
            os.fchmod(descriptor, _PRIVATE)
        return descriptor


def _append_whole(descriptor: int, line: bytes) -> None:
    end = os.fstat(descriptor).st_size
    # A process that died while writing may have left half a line: it must not swallow this one.
    if end and os.pread(descriptor, 1, end - 1) != b"\n":
        line = b"\n" + line
    view = memoryview(line)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, end)
        raise


def _plain(value: Any, depth: int) -> Any:
    """Return a value as JSON knows it, without secrets; never raises."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if depth < _DEEPEST and isinstance(value, Mapping):
        return {str(_plain(key, _DEEPEST)): _plain(item, depth + 1) for key, item in value.items()}
    if depth < _DEEPEST and isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item, depth + 1) for item in value]
    try:
        return mask(str(value))
    except Exception:  # noqa: BLE001 - an odd value must not keep a change from being recorded
        return MASK
