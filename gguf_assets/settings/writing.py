"""Changing files in the configuration folder: one process at a time, and nobody but the owner may read them.

What belongs here: the lock, the permissions, keeping a copy. What does not: what is written and why
(`deployment`, `backups`, `creation`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from gguf_assets.atomic import storage_errors, write_atomically
from gguf_assets.errors import Refused
from gguf_assets.settings.tree import ConfigTree, backup_name

LOCK_NAME: Final = ".sync-config.lock"
_FILE, _FOLDER = 0o600, 0o700
_PATIENCE_SECONDS: Final = 30


@contextmanager
def changing(tree: ConfigTree) -> Iterator[None]:
    """Hold the right to change the configuration folder, which is made when missing.

    Raises:
        Refused: another process holds it and does not come to an end.
        PermanentError: the disk refused (category `storage`).
    """
    make_private(tree.folder)
    path = tree.folder / LOCK_NAME
    # Never a soft lock: its file would outlive a killed process.
    lock = FileLock(path, mode=_FILE, thread_local=False, fallback_to_soft=False)
    with storage_errors(path, "lock"):
        try:
            lock.acquire(timeout=_PATIENCE_SECONDS, poll_interval=0.02)
        except Timeout:
            raise Refused(
                f"Another process is changing the configuration in {tree.folder}",
                remedy="Wait until it is done, then run the same command again.",
            ) from None
    try:
        yield
    finally:
        lock.release()


def make_private(folder: Path) -> None:
    """Make a folder that only its owner may use; one that is there is closed to others if it is ours.

    Raises:
        PermanentError: the disk refused (category `storage`).
    """
    with storage_errors(folder, "write"):
        folder.mkdir(parents=True, exist_ok=True, mode=_FOLDER)
        there = folder.stat()
        if there.st_uid == os.geteuid() and stat.S_IMODE(there.st_mode) & ~_FOLDER & 0o777:
            folder.chmod(_FOLDER)


def put(path: Path, content: bytes) -> None:
    """Write a file atomically, readable by its owner only.

    Raises:
        PermanentError: the disk refused (category `storage`).
    """
    write_atomically(path, content, mode=_FILE)


def free_name(tree: ConfigTree, stem: str, now: datetime) -> Path:
    """Return a path for a copy that is not taken: that of this second, or of the next free one."""
    taken = now
    while os.path.lexists(path := tree.backups / backup_name(stem, taken)):
        taken += timedelta(seconds=1)
    return path
