"""Where the counters of the rates and the announced quotas lie: in memory, or in a file of this machine.

What belongs here: keeping both together and giving one requester at a time its turn. What does not: stores
that several machines share (`shared_limits`), and deciding who waits (`limits`, `quota`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.hub.quota import QuotaBook

if TYPE_CHECKING:
    from pyrate_limiter import AbstractBucket, Rate

REQUESTS = "hub_requests"
_QUOTAS = "hub_quotas"
_CREATE = f"CREATE TABLE IF NOT EXISTS {_QUOTAS} (account TEXT PRIMARY KEY, state TEXT NOT NULL)"
_SELECT = f"SELECT state FROM {_QUOTAS} WHERE account = ?"
_REPLACE = f"INSERT OR REPLACE INTO {_QUOTAS} (account, state) VALUES (?, ?)"

Outcome = TypeVar("Outcome")


@dataclass
class Turn:
    """What a requester has before it while nobody else has.

    Attributes:
        now: seconds since the epoch by the store's clock.
        book: the announced quotas; another one put here is stored at the end of the turn.
        bucket: counts the requests of the configured rates; None where none binds.
    """

    now: float
    book: QuotaBook
    bucket: AbstractBucket | None


class LimitStore(Protocol):
    """Where the counters lie."""

    def turn(self, work: Callable[[Turn], Outcome]) -> Outcome:
        """Do something while no other requester has its turn.

        Raises:
            PermanentError: the store cannot be used any more (category `storage`).
        """

    def close(self) -> None:
        """Let go of file or connection; later turns are not possible."""


class MemoryStore:
    """Counters of this process alone.

    Args:
        windows: the configured rates as (requests, milliseconds), shortest first.
        clock: seconds since the epoch.
    """

    def __init__(self, windows: list[tuple[int, int]], clock: Callable[[], float]) -> None:
        from pyrate_limiter import InMemoryBucket

        self._bucket = InMemoryBucket(rates_of(windows)) if windows else None
        self._clock = clock
        self._book = QuotaBook()

    def turn(self, work: Callable[[Turn], Outcome]) -> Outcome:
        """See `LimitStore`; the caller keeps its own threads apart."""
        turn = Turn(self._clock(), self._book, self._bucket)
        outcome = work(turn)
        self._book = turn.book
        return outcome

    def close(self) -> None:
        """Forget the counters."""
        if self._bucket is not None:
            self._bucket.close()


class FileStore:
    """Counters that all processes of this machine share through a SQLite file.

    Args:
        windows: the configured rates as (requests, milliseconds), shortest first.
        file: the database; made with its folder where missing, and anew where damaged.
        account: whose quotas are kept.
        clock: seconds since the epoch.

    Raises:
        PermanentError: the file cannot be used (category `storage`).
    """

    def __init__(
        self, windows: list[tuple[int, int]], file: Path, account: str, clock: Callable[[], float]
    ) -> None:
        self._file, self._account, self._clock = file, account, clock
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._open(windows)
            except sqlite3.DatabaseError:
                # What it held is worth an hour at most; a damaged one must not stop every sync.
                for suffix in ("", "-wal", "-shm"):
                    with suppress(FileNotFoundError):
                        file.with_name(file.name + suffix).unlink()
                self._open(windows)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error

    def _open(self, windows: list[tuple[int, int]]) -> None:
        from filelock import FileLock
        from pyrate_limiter import SQLiteBucket

        self._bucket: AbstractBucket | None = None
        lock: AbstractContextManager[object] = FileLock(f"{self._file}.lock")
        connection = sqlite3.connect(self._file, check_same_thread=False)
        try:
            with lock:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=NORMAL")
                connection.execute(_CREATE)
                connection.commit()
            if windows:
                # It makes its table and a connection of its own; one of each must serve both.
                bucket = SQLiteBucket.init_from_file(
                    rates_of(windows), table=REQUESTS, db_path=str(self._file), use_file_lock=True
                )
                connection.close()
                self._bucket, connection = bucket, bucket.conn
                lock = cast("AbstractContextManager[object]", bucket.lock)
        except BaseException:
            connection.close()
            raise
        self._lock, self._connection = lock, connection

    def turn(self, work: Callable[[Turn], Outcome]) -> Outcome:
        """See `LimitStore`; the caller keeps its own threads apart."""
        try:
            with self._lock:
                row = self._connection.execute(_SELECT, (self._account,)).fetchone()
                book = QuotaBook.load(row[0] if row else None)
                turn = Turn(self._clock(), book, self._bucket)
                outcome = work(turn)
                if turn.book is not book:
                    self._connection.execute(_REPLACE, (self._account, turn.book.dump()))
                    self._connection.commit()
                return outcome
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error

    def close(self) -> None:
        """Close the file."""
        if self._bucket is not None:
            self._bucket.close()
        self._connection.close()

    def _unusable(self, error: Exception) -> PermanentError:
        return PermanentError(
            f"The file {self._file}, through which processes share the request rate, cannot be used "
            f"({error})",
            category=ErrorCategory.STORAGE,
            remedy="Make its folder writable, or set GGUF_ASSETS_STATE_DIR to one that is.",
        )


def rates_of(windows: list[tuple[int, int]]) -> list[Rate]:
    """Return the windows as the library's rates."""
    from pyrate_limiter import Rate

    return [Rate(requests, interval) for requests, interval in windows]
