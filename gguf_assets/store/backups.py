"""The backups of a store: which there are, what each holds, and removing those that are too old.

A backup is a folder that can be read like the data folder: `published/` as it stood, the history of syncs and
the configuration, with a manifest of every file. What belongs here: names, manifests, retention. What does
not: making one (`backing_up.py`) and putting one back (`restoring.py`).
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from gguf_assets.atomic import damaged, read_json, storage_errors, sync_folder
from gguf_assets.catalogue.schema import DATASETS
from gguf_assets.errors import ErrorCategory, PermanentError, Refused
from gguf_assets.store.digests import sha256_of
from gguf_assets.store.layout import MANIFEST_NAME, parse_day

FORMAT: Final = 1
"""Counts up when a field of the manifest of a backup changes its meaning or goes."""

PUBLISHED, HISTORY, LAST_SYNC, CONFIG, CAPTURES = (
    "published",
    "history/syncs.jsonl",
    "last_sync_metadata.json",
    "config",
    "captures",
)
"""Where the parts of a store lie in a backup."""

BEFORE_RESTORE: Final = "before a restore"
"""The occasion of a backup of what a restore replaces: put back only when it is named."""

_STAMP: Final = "%Y%m%dT%H%M%SZ"
_NAME: Final = re.compile(r"backup-(?P<number>[0-9]{4,})-(?P<at>[0-9]{8}T[0-9]{6}Z)")
_LEFTOVER: Final = re.compile(r"\.backup-[0-9]{4,}-[0-9]{8}T[0-9]{6}Z\.(partial|removed)")


@dataclass(frozen=True)
class Entry:
    """A file of a backup.

    Attributes:
        bytes: its size.
        sha256: its digest, in hexadecimal.
        source: device, inode and time of change (nanoseconds) of the file it was made from: as long as these
            are the same, it need not be read again.
    """

    bytes: int
    sha256: str
    source: tuple[int, int, int]


@dataclass(frozen=True)
class BackupManifest:
    """What a backup holds.

    Attributes:
        created_at: when it was made, as its name says.
        occasion: why: `before publishing`, `after the sync of DAY`, `asked for`, `before a restore`.
        writer: who held the store at the time: process, machine and since when.
        data: the data folder it was made from.
        product_version: version of the program that made it.
        schema_version: version of the schemas that program knew.
        days: the published days in it.
        files: its files, by their path in it.
        problems: what was wrong with the store when it was made; empty when nothing was.
        left_out: symbolic links and other things that are no regular files, which are not followed.
    """

    created_at: datetime
    occasion: str
    writer: str
    data: str
    product_version: str
    schema_version: int
    days: tuple[date, ...]
    files: Mapping[str, Entry]
    problems: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the document that is stored."""
        files = {path: [entry.bytes, entry.sha256, entry.source] for path, entry in self.files.items()}
        return {"format": FORMAT, **vars(self), "files": files}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> BackupManifest:
        """Return the manifest that a stored document describes.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: it is no such document.
        """
        values = {name: content[name] for name in cls.__dataclass_fields__}
        values["created_at"] = datetime.fromisoformat(values["created_at"])
        values["days"] = tuple(date.fromisoformat(day) for day in values["days"])
        values |= {name: tuple(values[name]) for name in ("problems", "left_out")}
        values["files"] = {
            checked_path(path): Entry(int(size), str(sha256), tuple(source))
            for path, (size, sha256, source) in values["files"].items()
        }
        return cls(**values)

    def part(self, *parts: str) -> dict[str, str]:
        """Return the digests of the files in some parts of the backup, by path."""
        return {
            path: entry.sha256
            for path, entry in self.files.items()
            if any(path == part or path.startswith(f"{part}/") for part in parts)
        }


@dataclass(frozen=True, order=True)
class Backup:
    """A backup by its name; the number counts up, whatever the clock does.

    Attributes:
        number: its number.
        path: its folder.
        created_at: when it was made, by its name.
    """

    number: int
    path: Path = field(compare=False)
    created_at: datetime = field(compare=False)

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.path.name

    def manifest(self) -> BackupManifest:
        """Return what it holds.

        Raises:
            Refused: a newer program made it.
            PermanentError: the manifest is missing or damaged (category `data`), or cannot be read.
        """
        path = self.path / MANIFEST_NAME
        remedy = "Other backups may be whole: gguf-assets restore --list"
        content = read_json(path, remedy)
        if content is None:
            raise damaged(path, "the file is missing", remedy)
        try:
            if content["format"] > FORMAT:
                raise Refused(
                    f"{self.name} was made by gguf_assets {content['product_version']}, in a newer format "
                    f"({content['format']}) than this program knows ({FORMAT})",
                    remedy="Install that version, then restore.",
                )
            return BackupManifest.from_json(content)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise damaged(path, f"it is no manifest of a backup ({error!r})", remedy) from error

    def file(self, path: str) -> Path:
        """Return where a file of the backup lies."""
        return self.path / path

    def is_whole(self, path: str, entry: Entry) -> bool:
        """Whether a file of the backup is there, byte for byte.

        Raises:
            PermanentError: it cannot be read (category `storage`).
        """
        file = self.file(path)
        with storage_errors(file, "read"):
            return (
                not file.is_symlink()
                and file.is_file()
                and file.stat().st_size == entry.bytes
                and sha256_of(file) == entry.sha256
            )


def backups_in(folder: Path) -> list[Backup]:
    """Return the backups in a folder, oldest first; none where there is no such folder.

    Raises:
        PermanentError: the folder cannot be read (category `storage`).
    """
    with storage_errors(folder, "read"):
        try:
            names = os.listdir(folder)  # noqa: PTH208 - Path.glob hides a folder that cannot be read
        except (FileNotFoundError, NotADirectoryError):
            return []
    return sorted(backup for name in names if (backup := _parsed(folder / name)) is not None)


def find_backup(folder: Path, name: str) -> Backup:
    """Return the backup that a name means: the whole name, or its number.

    Raises:
        Refused: there is no such backup; the message lists those that there are.
    """
    backups = backups_in(folder)
    digits = name.removeprefix("backup-")
    for backup in backups:
        if name == backup.name or (digits.isascii() and digits.isdecimal() and int(digits) == backup.number):
            return backup
    there = "\n".join(f"  {backup.name}" for backup in reversed(backups)) or "  none"
    raise Refused(
        f"There is no backup {name!r}. Backups in {folder}:\n{there}",
        category=ErrorCategory.CONFIGURATION,
        remedy="Name one of them: gguf-assets restore --backup NAME"
        if backups
        else "They are looked for where storage.backup_directory says: gguf-assets config show storage",
    )


def readable(backups: Collection[Backup]) -> Iterator[tuple[Backup, BackupManifest]]:
    """Yield backups that can be used, the newest first, with their manifests."""
    for backup in sorted(backups, reverse=True):
        try:
            manifest = backup.manifest()
        except PermanentError:
            continue
        yield backup, manifest


def next_backup(folder: Path, now: datetime) -> Backup:
    """Return the backup that is made next; nothing is written."""
    number = max((backup.number for backup in backups_in(folder)), default=0) + 1
    created_at = now.astimezone(UTC).replace(microsecond=0)
    name = f"backup-{number:04d}-{created_at.strftime(_STAMP)}"
    return Backup(number, folder / name, created_at)


def partial_path(backup: Backup) -> Path:
    """Return where a backup is made before it gets its name."""
    return backup.path.with_name(f".{backup.name}.partial")


def remove_leftovers(folder: Path) -> list[Path]:
    """Remove what processes that died while making or removing backups left; to be called by the writer.

    Raises:
        PermanentError: the disk refused (category `storage`).
    """
    with storage_errors(folder, "clean"):
        found = (
            [path for path in folder.iterdir() if _LEFTOVER.fullmatch(path.name)] if folder.is_dir() else []
        )
        for path in found:
            shutil.rmtree(path)
    return found


def prune_backups(folder: Path, days: int, now: datetime) -> list[Path]:
    """Remove backups made more than `days` days before `now`; to be called under the writer's lock.

    The newest stays, however old it is, and so does the newest that a restore would choose.

    Returns:
        The folders that were removed.

    Raises:
        Refused: `days` is negative.
        PermanentError: the disk refused (category `storage`).
    """
    if days < 0:
        raise Refused(f"Backups cannot be kept for {days} days", remedy="Name 0 or more days.")
    backups = backups_in(folder)
    remove_leftovers(folder)
    try:
        limit = now - timedelta(days=days)
    except OverflowError:
        return []
    old = [backup for backup in backups[:-1] if backup.created_at < limit]
    if not old:
        return []
    kept = preferred(backups)
    removed = []
    for backup in old:
        if kept is not None and backup == kept[0]:
            continue
        # Renamed first: half a backup is never visible.
        hidden = backup.path.with_name(f".{backup.name}.removed")
        with storage_errors(backup.path, "remove"):
            backup.path.rename(hidden)
            shutil.rmtree(hidden)
        removed.append(backup.path)
    with storage_errors(folder, "write"):
        sync_folder(folder)
    return removed


def preferred(backups: Collection[Backup], day: date | None = None) -> tuple[Backup, BackupManifest] | None:
    """Return the backup to restore unless one is named: the newest of a sound store, else the newest.

    Args:
        backups: the backups there are.
        day: only those that hold this day; any when None.
    """
    second = None
    for backup, manifest in readable(backups):
        if day is not None and day not in manifest.days:
            continue
        if not manifest.problems and manifest.occasion != BEFORE_RESTORE:
            return backup, manifest
        second = second or (backup, manifest)
    return second


def dataset_of(path: str) -> tuple[str, date] | None:
    """Return dataset and day of a published Parquet file by its path in a backup; None for other files."""
    parts = path.split("/")
    if len(parts) != 4 or parts[0] != PUBLISHED or parts[1] not in DATASETS:
        return None
    day = parse_day(parts[2])
    return None if day is None else (parts[1], day)


def manifest_path(day: date) -> str:
    """Return where the manifest of a published day lies in a backup."""
    return f"{PUBLISHED}/manifest/date={day.isoformat()}.json"


def checked_path(path: str) -> str:
    """Return a path of a manifest if it stays inside the backup.

    Raises:
        ValueError: it leads out of it.
    """
    parts = path.split("/")
    if "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{path!r} leads out of the backup")
    return path


def _parsed(path: Path) -> Backup | None:
    match = _NAME.fullmatch(path.name)
    if match is None or path.is_symlink() or not path.is_dir():
        return None
    try:
        created_at = datetime.strptime(match["at"], _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
    return Backup(int(match["number"]), path, created_at)
