"""The writer's lock: one process at a time writes to a store.

It is a lock of the operating system, so it is gone with the process that holds it, however that dies. A
note beside it says who holds it. What does not belong here: what is written under it.
"""

from __future__ import annotations

import contextlib
import os
import platform
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from gguf_assets.atomic import read_json, storage_errors, write_json
from gguf_assets.errors import PermanentError, Refused
from gguf_assets.store.layout import Layout

_PATIENCE_SECONDS = 0.2
"""How long a start waits: longer than the moment in which `holder` tries the lock, too short to notice."""


@dataclass(frozen=True)
class Holder:
    """Who holds the lock.

    Attributes:
        pid: process.
        host: machine.
        run_id: Dagster run; None without one.
        command: what it was started as.
        since: since when, by that machine's clock, ISO 8601.
    """

    pid: int
    host: str
    run_id: str | None
    command: str
    since: str

    def __str__(self) -> str:
        run = "" if self.run_id is None else f", run {self.run_id}"
        return f"process {self.pid} on {self.host}{run}, `{self.command}`, since {self.since}"


@dataclass
class _Holding:
    lock: FileLock
    note: Holder
    count: int


_held: dict[Path, _Holding] = {}
_held_guard = threading.Lock()


class WriterLock:
    """The lock of a store; the process that holds it may take it again and releases it as often."""

    def __init__(self, layout: Layout) -> None:
        self._path = layout.lock_file.absolute()
        self._note = layout.lock_note
        self._data = layout.data

    def acquire(self, *, run_id: str | None = None, command: str) -> None:
        """Take the lock without waiting for another holder to finish.

        Args:
            run_id: the Dagster run the lock is taken for; by the process that holds it already, the run that
                it has begun since.
            command: what was started, for whoever finds the lock taken.

        Raises:
            Refused: another process holds it.
            PermanentError: the disk refused (category `storage`).
        """
        with _held_guard:
            holding = self._own_holding()
            if holding is not None:
                if run_id is not None and run_id != holding.note.run_id:
                    holding.note = replace(holding.note, run_id=run_id)
                    write_json(self._note, asdict(holding.note))
                holding.count += 1
                return
            lock = self._lock()
            with storage_errors(self._path, "lock"):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    lock.acquire(timeout=_PATIENCE_SECONDS, poll_interval=0.02)
                except Timeout:
                    raise self._refused() from None
            try:
                since = datetime.now(UTC).isoformat(timespec="seconds")
                note = Holder(os.getpid(), platform.node(), run_id, command, since)
                write_json(self._note, asdict(note))
            except BaseException:
                lock.release()
                raise
            _held[self._path] = _Holding(lock, note, 1)

    def release(self) -> None:
        """Give the lock back; nothing happens when this process does not hold it."""
        with _held_guard:
            holding = self._own_holding()
            if holding is None:
                return
            holding.count -= 1
            if holding.count == 0:
                del _held[self._path]
                with contextlib.suppress(OSError):
                    self._note.unlink(missing_ok=True)
                holding.lock.release()

    @contextlib.contextmanager
    def held(self, *, run_id: str | None = None, command: str) -> Iterator[None]:
        """Hold the lock for the length of a block.

        Raises:
            Refused: another process holds it.
            PermanentError: the disk refused (category `storage`).
        """
        self.acquire(run_id=run_id, command=command)
        try:
            yield
        finally:
            self.release()

    def holder(self) -> Holder | None:
        """Return who holds the lock, this process included; None when nobody does.

        Raises:
            PermanentError: the disk refused (category `storage`).
        """
        with _held_guard:
            if self._own_holding() is None and not self._held_elsewhere():
                return None
            return self._read_note() or Holder(0, "unknown host", None, "unknown command", "just now")

    def _own_holding(self) -> _Holding | None:
        holding = _held.get(self._path)
        # A forked child inherits the table, not the right to write.
        return holding if holding is not None and holding.note.pid == os.getpid() else None

    def _lock(self) -> FileLock:
        # Never a soft lock: its file would outlive a killed process.
        return FileLock(self._path, thread_local=False, fallback_to_soft=False)

    def _held_elsewhere(self) -> bool:
        if not self._path.exists():
            return False
        lock = self._lock()
        with storage_errors(self._path, "lock"):
            try:
                lock.acquire(timeout=0)
            except Timeout:
                return True
            lock.release()
        return False

    def _read_note(self) -> Holder | None:
        try:
            content = read_json(self._note)
            return None if content is None else Holder(**content)
        except (PermanentError, TypeError):
            return None

    def _refused(self) -> Refused:
        holder = self._read_note()
        if holder is None:
            return Refused(
                f"Another process has just begun to write to {self._data}",
                remedy="`gguf-assets status` says which; try again when it is done.",
            )
        end = f", or end it: kill {holder.pid}" if holder.host == platform.node() else ""
        return Refused(
            f"Another process is writing to {self._data}: {holder}",
            remedy=f"Wait until it is done (`gguf-assets status` shows it){end}",
        )
