"""Retention: captures and candidates that are too old are removed, never what a sync may still use.

Ages are counted by the Hub's clock as it was last seen, so a machine whose clock jumps ahead removes nothing.
What belongs here: what may go, and removing it so that nobody sees half of it. What does not: `files` that
can be rebuilt (`thinning.py`), backups (`backups.py`) and the schedule (`orchestration/maintenance`).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Final

from gguf_assets.atomic import storage_errors, sync_folder
from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.store.layout import Layout, parse_day, parse_run
from gguf_assets.store.store import Store

_REMOVED: Final = ".removed"
_SPOOL: Final = re.compile(r"(details|absences)-(?P<day>.{10})-(?P<run>run=[0-9]+)[.]jsonl")


@dataclass(frozen=True)
class Removal:
    """Something that was removed, or would be.

    Attributes:
        kind: `capture`, `candidate` or `leftover` (of a removal or a capture that a killed process left).
        day: the day it belonged to; None for a leftover that names none.
        name: its path in the data folder, or in the state folder.
        bytes: what the disk gets back; files that have another name elsewhere do not count.
    """

    kind: str
    day: date | None
    name: str
    bytes: int


def hub_day(store: Store, machine_now: datetime) -> date | None:
    """Return the present day by the Hub's clock as captures last saw it; None in an empty store.

    Args:
        store: the store.
        machine_now: this machine's clock; the day is never later than it says.
    """
    seen = [
        time_seen
        for day in store.captures.days()[-2:]
        for run in store.captures.runs(day)
        if (time_seen := _last_hub_date(store, day, run)) is not None
    ]
    latest = store.published.latest_day()
    if latest is not None:
        seen.append(datetime.combine(latest, time(), UTC))
    return min(max(seen), machine_now).date() if seen else None


def expire(
    store: Store, now_day: date, *, capture_days: int, candidate_days: int, dry_run: bool = False
) -> Iterator[Removal]:
    """Remove captures and candidates that are too old, and what killed processes left of such, one by one.

    Never removed: the newest complete capture; captures of the newest published day, of the day it was built
    on, and of all later ones, which hold what the next sync uses; candidates of days that are not published;
    the newest candidate. Whoever calls holds the writer's lock.

    Args:
        store: the store.
        now_day: the present day by the Hub's clock (`hub_day`).
        capture_days: age in days up to which captures are kept.
        candidate_days: the same for candidates of published days.
        dry_run: only say what would be removed.

    Yields:
        What was just removed, or would be.

    Raises:
        PermanentError: the disk refused (category `storage`), or a manifest of a published day is damaged.
    """
    for kind, day, paths in (
        *_leftovers(store.layout),
        *_captures(store, now_day - timedelta(days=capture_days)),
        *_candidates(store, now_day - timedelta(days=candidate_days)),
        *_unfinished_captures(store, now_day - timedelta(days=capture_days)),
    ):
        freed = sum(map(_bytes, paths))
        if not dry_run:
            for path in paths:
                _remove(path)
        yield Removal(kind, day, _name(store.layout, paths[0]), freed)


def _captures(store: Store, edge: date) -> Iterator[tuple[str, date, list[Path]]]:
    """Yield the captures of days before `edge` that nothing needs, with their spools."""
    needed_from = _needed_from(store)
    newest_complete = _newest_complete(store)
    for day in store.captures.days():
        if day >= edge or needed_from is None or day >= needed_from:
            continue
        for run in store.captures.runs(day):
            if (day, run) != newest_complete:
                spools = [store.layout.details_spool(day, run), store.layout.absences_spool(day, run)]
                there = [spool for spool in spools if spool.exists()]
                yield "capture", day, [store.layout.run_dir(day, run), *there]


def _needed_from(store: Store) -> date | None:
    """Return from which day on captures may still be used; None where nothing is published and all may.

    A sync takes over answers from captures since its baseline, and asks on where the one of it stopped. That
    is the newest published day, or, where that day is synced again, the one it was built on.
    """
    latest = store.published.latest_day()
    manifest = None if latest is None else store.published.manifest(latest)
    if manifest is None:
        return None
    return manifest.day if manifest.baseline is None else manifest.baseline.date


def _newest_complete(store: Store) -> tuple[date, int] | None:
    for day in reversed(store.captures.days()):
        for run in reversed(store.captures.runs(day)):
            try:
                if store.captures.open(day, run).complete:
                    return day, run
            except PermanentError as error:
                if error.category != ErrorCategory.DATA:
                    raise
    return None


def _unfinished_captures(store: Store, edge: date) -> Iterator[tuple[str, date, list[Path]]]:
    """Yield folders of old captures without a manifest: their process died before it was written."""
    folder = store.layout.captures
    for parent in sorted(folder.iterdir()) if folder.is_dir() else ():
        day = parse_day(parent.name)
        if day is None or day >= edge or not parent.is_dir():
            continue
        for path in sorted(parent.iterdir()):
            run = parse_run(path.name)
            if run is not None and not store.layout.capture_manifest(day, run).exists():
                yield "leftover", day, [path]


def _candidates(store: Store, edge: date) -> Iterator[tuple[str, date, list[Path]]]:
    """Yield the candidates of published days before `edge`, the manifest first: without it there is none."""
    layout, published = store.layout, set(store.published.days())
    there = layout.candidate.iterdir() if layout.candidate.is_dir() else ()
    folders = sorted(path for path in there if path.is_dir())
    of_day: dict[date, list[Path]] = {}
    for folder in sorted(folders, key=lambda folder: folder != layout.candidate_manifests):
        for path in sorted(folder.iterdir()):
            day = parse_day(path.stem if folder == layout.candidate_manifests else path.name)
            if day is not None:
                of_day.setdefault(day, []).append(path)
    newest = max(of_day, default=None)
    for day in sorted(of_day):
        if day < edge and day in published and day not in (newest, max(published)):
            yield "candidate", day, of_day[day]


def _leftovers(layout: Layout) -> Iterator[tuple[str, date | None, list[Path]]]:
    """Yield what a killed removal left."""
    for folder in (layout.captures, layout.candidate):
        for path in sorted(folder.glob(f"*/.*{_REMOVED}")) if folder.is_dir() else ():
            yield "leftover", parse_day(path.parent.name), [path]
    for path in sorted(layout.spool_dir.iterdir()) if layout.spool_dir.is_dir() else ():
        match = _SPOOL.fullmatch(path.name)
        day = None if match is None else parse_day(f"date={match['day']}")
        run = None if match is None else parse_run(match["run"])
        orphan = day is not None and run is not None and not layout.run_dir(day, run).exists()
        if orphan or (path.name.startswith(".") and path.name.endswith(_REMOVED)):
            yield "leftover", day, [path]


def _remove(path: Path) -> None:
    """Remove a file or folder; it is gone under its name at once, and an empty folder above it goes, too."""
    with storage_errors(path, "remove"):
        hidden = path
        if not path.name.startswith("."):
            hidden = path.with_name(f".{path.name}{_REMOVED}")
            path.rename(hidden)
            sync_folder(path.parent)
        if hidden.is_dir() and not hidden.is_symlink():
            shutil.rmtree(hidden)
        else:
            hidden.unlink(missing_ok=True)
        if parse_day(path.parent.name) is not None and not any(path.parent.iterdir()):
            path.parent.rmdir()
            sync_folder(path.parent.parent)


def _bytes(path: Path) -> int:
    """Return what removing a file or a folder gives back."""
    with storage_errors(path, "read"):
        files = [path] if not path.is_dir() else [file for file in path.rglob("*") if file.is_file()]
        stats = [file.lstat() for file in files]
    return sum(stat.st_size for stat in stats if stat.st_nlink == 1)


def _name(layout: Layout, path: Path) -> str:
    for folder in (layout.data, layout.state):
        if path.is_relative_to(folder):
            return path.relative_to(folder).as_posix()
    return path.name


def _last_hub_date(store: Store, day: date, run: int) -> datetime | None:
    try:
        return store.captures.open(day, run).last_hub_date
    except PermanentError as error:
        if error.category != ErrorCategory.DATA:
            raise
        return None
