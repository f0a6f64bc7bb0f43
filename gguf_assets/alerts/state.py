"""What the notifier remembers between runs: conditions that last, who was told, channels that do not work.

One small JSON file, changed by one process at a time. A file that is damaged is started anew, and a disk that
refuses it costs the memory of other processes, never an alert. What does not belong here: when to tell.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from gguf_assets.alerts.alert import Severity
from gguf_assets.atomic import json_bytes, read_json, write_atomically
from gguf_assets.errors import ErrorCategory, GgufAssetsError
from gguf_assets.masking import mask

_VERSION = 1
_MOST_CONDITIONS = 500
_logger = logging.getLogger("gguf_assets.alerts")

Result = TypeVar("Result")


@dataclass
class Condition:
    """What is remembered of a condition.

    Attributes:
        count: how often it was raised since it began; 0 when it does not last.
        since: when it began.
        told: channels that believe that it lasts.
        told_at: when somebody was told last; kept beyond the end, for the cool-down.
        tried_at: when telling was tried last.
        interval_seconds: how long after that it is told again.
        times_told: how often it was told since it began.
        worst: the worst severity that was told.
        title: what it is called.
        url: where to read on.
    """

    count: int = 0
    since: datetime | None = None
    told: list[str] = field(default_factory=list)
    told_at: datetime | None = None
    tried_at: datetime | None = None
    interval_seconds: float = 0.0
    times_told: int = 0
    worst: Severity | None = None
    title: str = ""
    url: str | None = None

    def not_after(self, now: datetime) -> None:
        """Move times that lie ahead to now: a clock that was set back must not silence a condition."""
        self.since = _earlier(self.since, now)
        self.told_at = _earlier(self.told_at, now)
        self.tried_at = _earlier(self.tried_at, now)


@dataclass(frozen=True)
class ChannelProblem:
    """Why a channel does not work.

    Attributes:
        reason: what it answered last; safe to show.
        since: when it failed first since it worked last.
    """

    reason: str
    since: datetime


@dataclass
class AlertState:
    """All that is remembered.

    Attributes:
        conditions: by condition.
        channels: by name of a channel that does not work.
    """

    conditions: dict[str, Condition] = field(default_factory=dict)
    channels: dict[str, ChannelProblem] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return what is written; the conditions that were tried last, when there are too many."""
        newest = sorted(self.conditions.items(), key=lambda item: item[1].tried_at or _BEGINNING)
        return {
            "version": _VERSION,
            "conditions": {key: asdict(condition) for key, condition in sorted(newest[-_MOST_CONDITIONS:])},
            "channels": {name: asdict(problem) for name, problem in sorted(self.channels.items())},
        }

    @classmethod
    def of(cls, document: Any) -> AlertState:
        """Return what a document says.

        Raises:
            ValueError: it is no document of this version.
        """
        try:
            if document["version"] != _VERSION:
                raise ValueError(f"version {document['version']!r} instead of {_VERSION}")
            return cls(
                conditions={str(key): _condition(value) for key, value in document["conditions"].items()},
                channels={
                    str(name): ChannelProblem(reason=str(value["reason"]), since=_time(value["since"]))
                    for name, value in document["channels"].items()
                },
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"a value is missing or of another kind ({type(error).__name__})") from error


class StateFile:
    """The file that holds the state, and what stands in for it while the disk refuses.

    Args:
        path: the file; its lock lies beside it.
        patience_seconds: how long another process may hold it.
    """

    def __init__(self, path: Path, *, patience_seconds: float) -> None:
        self._path = path
        self._patience = patience_seconds
        self._kept: AlertState | None = None

    def change(self, work: Callable[[AlertState], Result]) -> tuple[Result, str | None]:
        """Do something with the state while no other process does.

        Args:
            work: may change the state it is given.

        Returns:
            What `work` returned, and why the state could not be kept, None when it could.
        """
        with self._locked() as not_locked:
            state, before, not_read = self._load()
            result = work(state)
            not_written = self._save(state, before)
        return result, not_locked or not_read or not_written

    def read(self) -> AlertState:
        """Return the state without waiting for anybody."""
        return self._load()[0]

    @contextlib.contextmanager
    def _locked(self) -> Iterator[str | None]:
        lock = FileLock(self._path.with_name(f"{self._path.name}.lock"), timeout=self._patience)
        trouble = None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            # Telling twice is better than not at all.
            trouble = f"another process has held {self._path} for more than {self._patience:.0f} s"
        except (OSError, NotImplementedError) as error:
            trouble = (
                f"{self._path} cannot be locked: {getattr(error, 'strerror', None) or type(error).__name__}"
            )
        try:
            yield trouble
        finally:
            lock.release()

    def _load(self) -> tuple[AlertState, bytes, str | None]:
        if self._kept is not None:
            return self._kept, b"", None
        try:
            document = read_json(self._path)
            state = AlertState() if document is None else AlertState.of(document)
        except GgufAssetsError as error:
            if error.category is ErrorCategory.STORAGE:
                return AlertState(), b"", mask(error.message)
            return self._anew(error.message)
        except ValueError as error:
            return self._anew(f"{self._path} is damaged: {error}")
        return state, json_bytes(document), None

    def _anew(self, why: str) -> tuple[AlertState, bytes, str | None]:
        _logger.warning("%s. The alerts are remembered anew from now on.", mask(why))
        return AlertState(), b"", None

    def _save(self, state: AlertState, before: bytes) -> str | None:
        after = json_bytes(state.document())
        try:
            if after != before:
                write_atomically(self._path, after)
        except GgufAssetsError as error:
            self._kept = state
            return mask(error.message)
        self._kept = None
        return None


_BEGINNING = datetime.min.replace(tzinfo=UTC)


def _condition(value: Any) -> Condition:
    times = {name: None if value[name] is None else _time(value[name]) for name in _TIMES}
    return Condition(
        count=int(value["count"]),
        told=[str(name) for name in value["told"]],
        interval_seconds=float(value["interval_seconds"]),
        times_told=int(value["times_told"]),
        worst=None if value["worst"] is None else Severity(value["worst"]),
        title=str(value["title"]),
        url=None if value["url"] is None else str(value["url"]),
        **times,
    )


_TIMES = ("since", "told_at", "tried_at")


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _earlier(time: datetime | None, now: datetime) -> datetime | None:
    return None if time is None else min(time, now)
