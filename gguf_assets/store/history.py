"""The history of syncs, and the metadata of the last one.

An append-only file: "started" when a sync begins, "finished" or "failed" when it ends. A start without an
end is a sync that died, however it died. What belongs here: these records. What does not: deciding from
them how the next sync goes (`catalogue/`), how fresh the catalogue is (`freshness`), and the clock: all times
are the Hub's and are handed in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any

import orjson

from gguf_assets.atomic import read_json, storage_errors, write_json
from gguf_assets.errors import ErrorCategory
from gguf_assets.store.freshness import write_freshness
from gguf_assets.store.layout import Layout
from gguf_assets.store.spool import append_whole

DIED = "ended without a word (killed or crashed)"
"""Error message of a sync that has a start and no end."""

INTERRUPTED = "interrupted"
"""Error message of a sync that somebody ended by a signal (Ctrl-C)."""


@dataclass(frozen=True)
class SyncRecord:
    """One sync as the history tells it.

    Attributes:
        sync_id: identity of the sync.
        day: the day it was for; None when it failed before the day was known.
        hub_time: the Hub's clock at the start; None when the Hub was out of reach.
        mode: `full` or `incremental` as it ended, or as it began when it did not end; None while undecided.
        reason: code of the reason for the mode.
        run_id: the Dagster run; None without one.
        capture_run: number of the capture it walked or re-used; None before.
        trigger: what started it, e.g. `schedule daily_sync_schedule` or `command line`; None when not told.
        state: `running`, `finished` or `failed`.
        finished_at: the Hub's clock at the end; None when unknown.
        published: whether the day was published.
        figures: figures of the end: models, added, updated, …
        error_message: why it failed; None when it did not.
        category: category of that error.
    """

    sync_id: str
    day: date | None
    hub_time: datetime | None
    mode: str | None
    reason: str | None
    run_id: str | None
    capture_run: int | None
    trigger: str | None = None
    state: str = "running"
    finished_at: datetime | None = None
    published: bool = False
    figures: Mapping[str, Any] = field(default_factory=dict)
    error_message: str | None = None
    category: str | None = None


@dataclass(frozen=True)
class SyncMetadata:
    """The nine figures of the last sync, as other programs read them.

    Attributes:
        last_sync_time: the Hub's clock at the end of the sync, ISO 8601 with offset; None when unknown.
        sync_mode: `full` or `incremental`; None while undecided.
        total_models_processed: models processed.
        models_added, models_updated, models_removed: changes against the baseline.
        sync_duration: seconds.
        success: whether the sync finished and published.
        error_message: why not; None on success.
    """

    last_sync_time: str | None
    sync_mode: str | None
    total_models_processed: int = 0
    models_added: int = 0
    models_updated: int = 0
    models_removed: int = 0
    sync_duration: float = 0.0
    success: bool = True
    error_message: str | None = None


def failure_metadata(sync: SyncRecord, error_message: str, seconds: float) -> SyncMetadata:
    """Return the figures of a sync that failed after so many seconds."""
    return SyncMetadata(
        last_sync_time=None if sync.hub_time is None else sync.hub_time.isoformat(),
        sync_mode=sync.mode,
        sync_duration=seconds,
        success=False,
        error_message=error_message,
    )


class SyncHistory:
    """The history of the syncs of a store."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._path = layout.history_file
        self._last_sync_path = layout.last_sync_file

    def started(
        self,
        sync_id: str,
        day: date | None,
        hub_time: datetime | None,
        *,
        mode: str | None = None,
        reason: str | None = None,
        run_id: str | None = None,
        capture_run: int | None = None,
        trigger: str | None = None,
    ) -> None:
        """Record that a sync has begun; a second start under the same id adds what is known since.

        Raises:
            PermanentError: the disk refused (category `storage`).
        """
        self._append(
            {
                "event": "started",
                "sync_id": sync_id,
                "day": day,
                "hub_time": hub_time,
                "mode": mode,
                "reason": reason,
                "run_id": run_id,
                "capture_run": capture_run,
                "trigger": trigger,
            }
        )

    def finished(
        self,
        sync_id: str,
        *,
        published: bool,
        hub_time: datetime | None = None,
        mode: str | None = None,
        reason: str | None = None,
        figures: Mapping[str, Any] | None = None,
    ) -> None:
        """Record that a sync has ended by itself, and how fresh the catalogue is since.

        Args:
            sync_id: identity of the sync.
            published: whether the day was published.
            hub_time: the Hub's clock at the end.
            mode: the mode it ended in, where that differs from the one it began in.
            reason: code of the reason for that mode.
            figures: plain JSON values: models, added, updated, removed, duration_seconds, …

        Raises:
            PermanentError: the disk refused (category `storage`).
        """
        self._append(
            {
                "event": "finished",
                "sync_id": sync_id,
                "published": published,
                "hub_time": hub_time,
                "mode": mode,
                "reason": reason,
                "figures": dict(figures or {}),
            }
        )
        self._note_freshness(hub_time)

    def failed(
        self,
        sync_id: str,
        error_message: str,
        category: ErrorCategory | str,
        *,
        hub_time: datetime | None = None,
    ) -> None:
        """Record that a sync has failed, and how fresh the catalogue still is.

        Raises:
            PermanentError: the disk refused (category `storage`).
        """
        self._append(
            {
                "event": "failed",
                "sync_id": sync_id,
                "error_message": error_message,
                "category": str(category),
                "hub_time": hub_time,
            }
        )
        self._note_freshness(hub_time)

    def syncs(self, *, running: str | None = None) -> list[SyncRecord]:
        """Return all syncs, oldest first.

        Args:
            running: identity of the sync that is under way now. Any other one without an end has failed.

        Raises:
            PermanentError: the disk refused (category `storage`).
        """
        records: dict[str, SyncRecord] = {}
        for _, event in self._events():
            if event is None:
                continue
            sync_id = event["sync_id"]
            known = records.get(sync_id) or SyncRecord(sync_id, None, None, None, None, None, None)
            records[sync_id] = _after(known, event)
        return [
            replace(record, state="failed", error_message=DIED, category=ErrorCategory.SYSTEM.value)
            if record.state == "running" and record.sync_id != running
            else record
            for record in records.values()
        ]

    def end_dead(self, alive: Collection[str]) -> list[SyncRecord]:
        """Record as failed every sync that has a start, no end and nobody who could end it; return them.

        Args:
            alive: identities of the syncs that are under way now.

        Raises:
            PermanentError: the disk refused (category `storage`).
        """
        syncs = self.syncs()
        ended = {event["sync_id"] for _, event in self._events() if event and event.get("event") != "started"}
        dead = [sync for sync in syncs if sync.sync_id not in ended and sync.sync_id not in alive]
        for sync in dead:
            self.failed(sync.sync_id, DIED, ErrorCategory.SYSTEM)
        if dead and dead[-1].sync_id == syncs[-1].sync_id:
            self.write_last_sync(failure_metadata(dead[-1], DIED, 0.0))
        return dead

    def damaged_lines(self) -> list[int]:
        """Return the numbers of the lines, from 1, that are no records; they count for nothing.

        A process that is killed while it writes leaves such a line.

        Raises:
            PermanentError: the disk refused (category `storage`).
        """
        return [number for number, event in self._events() if event is None]

    def write_last_sync(self, metadata: SyncMetadata) -> None:
        """Replace the metadata of the last sync.

        Raises:
            PermanentError: the disk refused (category `storage`).
        """
        write_json(self._last_sync_path, asdict(metadata))

    def last_sync(self) -> SyncMetadata | None:
        """Return the metadata of the last sync; None without any. Fields that are missing take their default.

        Raises:
            PermanentError: the file cannot be read (category `storage`) or is no JSON (category `data`).
        """
        content = read_json(self._last_sync_path)
        if not isinstance(content, dict):
            return None
        known = {name: content[name] for name in SyncMetadata.__dataclass_fields__ if name in content}
        return SyncMetadata(**{"last_sync_time": None, "sync_mode": None, **known})

    def _note_freshness(self, hub_time: datetime | None) -> None:
        """Write `freshness.json`, by this machine's clock where the Hub's is not known."""
        write_freshness(self._layout, self.syncs(), hub_time or datetime.now(UTC))

    def _append(self, event: dict[str, Any]) -> None:
        with storage_errors(self._path, "write"):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # A process that died while writing may have left half a line: it must not swallow this one.
            start = b"" if self._ends_with_newline() else b"\n"
            append_whole(self._path, start + orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE), sync=True)

    def _ends_with_newline(self) -> bool:
        if not self._path.exists() or not self._path.stat().st_size:
            return True
        with self._path.open("rb") as file:
            file.seek(-1, 2)
            return file.read(1) == b"\n"

    def _events(self) -> Iterator[tuple[int, dict[str, Any] | None]]:
        with storage_errors(self._path, "read"):
            lines = self._path.read_bytes().split(b"\n") if self._path.exists() else []
        return ((number, _event(line)) for number, line in enumerate(lines, start=1) if line)


def _event(line: bytes) -> dict[str, Any] | None:
    """Return the event that a line records; None when it records none."""
    try:
        event: dict[str, Any] = orjson.loads(line)
        if not isinstance(event["sync_id"], str):
            return None
        _after(SyncRecord(event["sync_id"], None, None, None, None, None, None), event)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return event


def _after(record: SyncRecord, event: Mapping[str, Any]) -> SyncRecord:
    """Return the record with what one event adds; fields the event leaves open keep what was known."""
    said = {name: event[name] for name in ("mode", "reason") if event.get(name) is not None}
    hub_time = _time(event.get("hub_time"))
    match event.get("event"):
        case "started":
            told = ("run_id", "capture_run", "trigger")
            said |= {name: event[name] for name in told if event.get(name) is not None}
            if event.get("day") is not None:
                said["day"] = date.fromisoformat(event["day"])
            return replace(record, **said, hub_time=record.hub_time or hub_time)
        case "finished":
            figures, published = event.get("figures", {}), event.get("published", False)
            return replace(
                record,
                **said,
                state="finished",
                finished_at=hub_time,
                figures=figures,
                published=published,
                error_message=None,
                category=None,
            )
        case "failed":
            return replace(
                record,
                state="failed",
                finished_at=hub_time,
                error_message=event.get("error_message"),
                category=event.get("category"),
            )
        case _:
            return record


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
