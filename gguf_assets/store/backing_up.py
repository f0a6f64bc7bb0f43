"""Making a backup: hard links of what is published, copies of history and configuration, and a manifest.

Published files are replaced by renaming and never edited, so a link keeps what was there and costs no space.
A backup is made under a hidden name and renamed, so it is there whole or not at all. What does not belong
here: which backups there are (`backups.py`), and when one is made (`orchestration/`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from errno import EMLINK, ENOSYS, ENOTSUP, EPERM, EXDEV
from hashlib import sha256
from pathlib import Path
from typing import Final

from gguf_assets import __version__
from gguf_assets.atomic import json_bytes, storage_errors, sync_file, sync_folder
from gguf_assets.catalogue.schema import SCHEMA_VERSION
from gguf_assets.errors import PermanentError
from gguf_assets.store.backup_sources import configuration, ended_history, files_of, refuse_inside
from gguf_assets.store.backups import (
    BEFORE_RESTORE,
    CAPTURES,
    CONFIG,
    HISTORY,
    LAST_SYNC,
    PUBLISHED,
    Backup,
    BackupManifest,
    Entry,
    backups_in,
    dataset_of,
    next_backup,
    partial_path,
    readable,
    remove_leftovers,
)
from gguf_assets.store.datasets import DatasetInfo
from gguf_assets.store.digests import sha256_of
from gguf_assets.store.layout import MANIFEST_NAME, Layout
from gguf_assets.store.lock import WriterLock
from gguf_assets.store.publish import Published, recover

_NO_LINKS: Final = (EXDEV, EPERM, EMLINK, ENOTSUP, ENOSYS)
"""Why a file system gives no hard link to a file that it would copy."""

_PRIVATE_FILE, _PRIVATE_FOLDER = 0o600, 0o700

Report = Callable[[str, int, int | None], None]
"""Told how far a long step is: its name, how many are done, of how many."""


def no_report(_name: str, _done: int, _total: int | None) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Made:
    """What became of a request for a backup.

    Attributes:
        backup: the new backup, or the one that holds the same already; None when nothing is published.
        new: whether it was made just now.
        files: how many files it holds.
        copied_bytes: bytes that were copied; what could be linked takes no space.
        problems: what was found wrong with the store.
        left_out: what is no regular file and so is not in it.
    """

    backup: Backup | None
    new: bool
    files: int = 0
    copied_bytes: int = 0
    problems: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def make_backup(
    layout: Layout,
    occasion: str,
    now: datetime,
    *,
    captures: bool = False,
    once_a_writer: bool = False,
    known: Mapping[str, str] | None = None,
    report: Report = no_report,
) -> Made:
    """Back up what is published, history and configuration; to be called by the holder of the writer's lock.

    The history in a backup holds the syncs that have ended. Nothing is made where the newest backup holds the
    same published days and configuration.

    Args:
        layout: where everything lies; backups go to `layout.backups_dir`.
        occasion: why, for the manifest.
        now: the time the backup is named by.
        captures: also the answers of the Hub, of which there are many.
        once_a_writer: make none after another of the same holder of the lock on the same occasion: what was
            there before it began is kept then.
        known: digests of files that were read just now, by path in the backup; others are taken from the
            manifests of the days and from the newest backup as long as a file has not changed.
        report: told how far it is.

    Raises:
        PermanentError: the folder of backups lies inside what is backed up (category `configuration`), or the
            disk refused (`storage`); nothing is left behind.
    """
    folder = layout.backups_dir
    refuse_inside(layout)
    recover(layout)
    if not Published(layout).days() and occasion != BEFORE_RESTORE:
        return Made(None, new=False)
    remove_leftovers(folder)
    newest = next(readable(backups_in(folder)[-1:]), None)
    writer = _writer(layout)
    if newest and once_a_writer and (newest[1].writer, newest[1].occasion) == (writer, occasion):
        return Made(newest[0], new=False, files=len(newest[1].files))
    files, left_out = files_of(layout, captures=captures)
    problems: list[str] = []
    before = {} if newest is None else newest[1].files
    entries = _entries(layout, files, before, known or {}, problems)
    copies = {HISTORY: ended_history(layout), **configuration(layout, left_out)}
    with storage_errors(layout.last_sync_file, "read"), contextlib.suppress(FileNotFoundError):
        copies[LAST_SYNC] = layout.last_sync_file.read_bytes()
    for path, content in copies.items():
        entries[path] = Entry(len(content), sha256(content).hexdigest(), (0, 0, 0))
    backup = next_backup(folder, now)
    manifest = BackupManifest(
        created_at=backup.created_at,
        occasion=occasion,
        writer=writer,
        data=str(layout.data.absolute()),
        product_version=__version__,
        schema_version=SCHEMA_VERSION,
        days=tuple(Published(layout).days()),
        files=dict(sorted(entries.items())),
        problems=tuple(problems),
        left_out=tuple(left_out),
    )
    parts = (PUBLISHED, CONFIG, *((CAPTURES,) if captures else ()))
    if newest is not None and newest[1].part(*parts) == manifest.part(*parts):
        return Made(newest[0], False, len(newest[1].files), 0, manifest.problems, manifest.left_out)
    with storage_errors(folder, "back up to"):
        folder.mkdir(parents=True, exist_ok=True)
        copied = _write(backup, manifest, files, copies, newest, report)
    return Made(backup, True, len(entries), copied, manifest.problems, manifest.left_out)


def placed(source: Path, target: Path, *, copy: bool = False) -> None:
    """Put a file of a backup at a path that is free: as a link, or as a copy with usual permissions.

    Raises:
        OSError: the disk refused.
    """
    if copy or not _linked(source, target, None):
        shutil.copyfile(source, target)


def _writer(layout: Layout) -> str:
    holder = WriterLock(layout).holder()
    return "" if holder is None else f"{holder.pid}@{holder.host} {holder.since}"


def _entries(
    layout: Layout,
    files: Mapping[str, os.DirEntry[str]],
    before: Mapping[str, Entry],
    known: Mapping[str, str],
    problems: list[str],
) -> dict[str, Entry]:
    """Return what the manifest says of the linked files; only what is new and in no manifest is read."""
    published = Published(layout)
    infos: dict[date, Mapping[str, DatasetInfo]] = {}
    entries = {}
    for path, file in files.items():
        with storage_errors(Path(file.path), "read"):
            facts = file.stat(follow_symlinks=False)
        source = (facts.st_dev, facts.st_ino, facts.st_mtime_ns)
        last = before.get(path)
        if last is not None and last.source == source and last.bytes == facts.st_size and path not in known:
            entries[path] = last
            continue
        digest = known.get(path)
        if digest is None and (dataset := dataset_of(path)) is not None:
            name, day = dataset
            if day not in infos:
                infos[day] = _infos(published, day, problems)
            info = infos[day].get(name)
            if info is not None and info.bytes != facts.st_size:
                problems.append(f"{file.path} is not what the manifest of {day} says")
            elif info is not None:
                digest = info.sha256
        entries[path] = Entry(facts.st_size, digest or sha256_of(Path(file.path)), source)
    return entries


def _infos(published: Published, day: date, problems: list[str]) -> Mapping[str, DatasetInfo]:
    try:
        manifest = published.manifest(day)
    except PermanentError as error:
        problems.append(error.message)
        return {}
    return {} if manifest is None else manifest.files


def _write(
    backup: Backup,
    manifest: BackupManifest,
    files: Mapping[str, os.DirEntry[str]],
    copies: Mapping[str, bytes],
    newest: tuple[Backup, BackupManifest] | None,
    report: Report,
) -> int:
    """Write a backup under a hidden name, then give it its own; return how many bytes were copied."""
    place = partial_path(backup)
    made: set[str] = set()
    copied = 0
    try:
        place.mkdir()
        for done, (path, file) in enumerate(files.items()):
            if done % 100 == 0:
                report("backup", done, len(files))
            _make_folder(place, path, made)
            entry = manifest.files[path]
            same = newest if newest is not None and newest[1].files.get(path) == entry else None
            if not _linked(Path(file.path), place / path, None if same is None else same[0].file(path)):
                shutil.copyfile(file.path, place / path, follow_symlinks=False)
                os.utime(place / path, ns=(entry.source[2], entry.source[2]))
                sync_file(place / path)
                copied += entry.bytes
        for path, content in copies.items():
            _make_folder(place, path, made)
            _copy(place / path, content)
            copied += len(content)
        _copy(place / MANIFEST_NAME, json_bytes(manifest.to_json()))
        sync_folder(place)
        place.rename(backup.path)
        sync_folder(backup.path.parent)
        report("backup", len(files), len(files))
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    return copied


def _make_folder(place: Path, path: str, made: set[str]) -> None:
    above = path.rpartition("/")[0]
    if above in made:
        return
    (place / above).mkdir(parents=True, exist_ok=True)
    if above.split("/")[0] == CONFIG:
        (place / CONFIG).chmod(_PRIVATE_FOLDER)
        (place / above).chmod(_PRIVATE_FOLDER)
    made.add(above)


def _linked(source: Path, target: Path, earlier: Path | None) -> bool:
    """Link a file, or where it lies on another disk its copy in the newest backup; whether that went."""
    for origin in (source, earlier):
        if origin is None:
            continue
        try:
            os.link(origin, target, follow_symlinks=False)
        except FileNotFoundError:
            if origin is source:
                raise
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
        else:
            return True
    return False


def _copy(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
