"""A backup beside what is there: which files differ, and a whole copy of each one that is wanted.

A file that is damaged in one backup is taken from another that holds the same bytes. What belongs here:
looking. What does not: which files are wanted, and putting them in place (`restoring.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final

from gguf_assets.atomic import damaged, read_json, storage_errors
from gguf_assets.catalogue.schema import DATASETS
from gguf_assets.errors import PermanentError
from gguf_assets.store.backups import (
    HISTORY,
    PUBLISHED,
    Backup,
    BackupManifest,
    Entry,
    backups_in,
    manifest_path,
    readable,
)
from gguf_assets.store.digests import sha256_of
from gguf_assets.store.layout import Layout, day_folder, parse_day
from gguf_assets.store.manifests import PublishedManifest
from gguf_assets.store.publish import Published
from gguf_assets.store.thinned import thinned_note

THINNED: Final = "files"
"""The dataset that a day may lack: it is rebuilt from the changes of files."""


class Look:
    """Compares a backup with what is there, reading each file once."""

    def __init__(
        self,
        layout: Layout,
        backup: Backup,
        manifest: BackupManifest,
        day: date | None,
    ) -> None:
        self._layout, self._backup, self._manifest = layout, backup, manifest
        self._all: list[tuple[Backup, BackupManifest]] | None = None
        self._days = [backup_day for backup_day in manifest.days if day is None or backup_day == day]
        self.overwritten: set[str] = set()
        self.present: dict[str, str] = {}

    def target(self, path: str) -> Path:
        """Return where a file of the backup belongs."""
        return target_of(self._layout, path)

    def differs(self, path: str) -> bool:
        """Whether the present file is missing or another; others are noted as overwritten."""
        target, entry = self.target(path), self._manifest.files[path]
        if not target.is_file():
            return True
        if path not in self.present:
            self.present[path] = sha256_of(target)
        if self.present[path] == entry.sha256:
            return False
        self.overwritten.add(path)
        return True

    def day(self, day: date, *, alone: bool) -> tuple[Mapping[str, Any], dict[str, Path], bool]:
        """Return the stored manifest of a day, the files to be put in place, and whether one is thinned."""
        path = manifest_path(day)
        if path not in self._manifest.files:
            raise self._damaged(path, "the manifest of the backup does not name it")
        stored = self.whole(path)
        content: Mapping[str, Any] = read_json(stored) or {}
        published = published_manifest(content, stored)
        files: dict[str, Path] = {}
        thinned = False
        for name in DATASETS:
            if (info := published.files.get(name)) is None:
                continue
            inside = f"{PUBLISHED}/{info.name}"
            entry = self._manifest.files.get(inside)
            if name == THINNED and not alone and thinned_note(self._layout, day) is not None:
                continue  # left out on purpose, and rebuilt when needed
            if entry is None or entry.sha256 != info.sha256:
                found = self._elsewhere(inside, info.sha256)
                target = self.target(inside)
                if target.is_file() and self._digest(inside, target) == info.sha256:
                    continue
                if found is None and entry is None and name == THINNED:
                    thinned = True
                elif found is None:
                    raise self._damaged(inside, "it is not what the manifest of its day says")
                else:
                    files[name] = found
                    if target.is_file():
                        self.overwritten.add(inside)
            elif self.differs(inside):
                files[name] = self.whole(inside)
        return content, files, thinned

    def is_misnamed(self, day: date) -> bool:
        """Whether this is the latest day and `latest.json` does not say so."""
        if any(other > day for other in {*self._days, *Published(self._layout).days()}):
            return False
        latest = self._layout.latest
        with storage_errors(latest, "read"):
            stored = latest.read_bytes() if latest.is_file() else b""
        return f'"{self._manifest.files[manifest_path(day)].sha256}"'.encode() not in stored

    def thinned(self, day: date) -> dict[str, Path]:
        """Return what is known of a thinned day and missing: the note, and the rows that are kept with it."""
        folder = f"{PUBLISHED}/thinned/{day_folder(day)}"
        paths = [f"{folder}.json", *self._manifest.part(folder)]
        return {
            path: self.whole(path)
            for path in paths
            if path in self._manifest.files and not self.target(path).exists()
        }

    def needs_no_note(self, path: str) -> bool:
        """Whether a file is the note on a thinned day, or belongs to it, and the day is there as a whole."""
        parts = path.split("/")
        day = parse_day(parts[2].removesuffix(".json")) if parts[:2] == [PUBLISHED, "thinned"] else None
        return day is not None and self._layout.published_file(THINNED, day).exists()

    def whole(self, path: str) -> Path:
        """Return a file of the backup that is byte for byte as the manifest says, or the same of another.

        Raises:
            PermanentError: it is damaged in every backup (category `data`).
        """
        entry = self._manifest.files[path]
        if self._backup.is_whole(path, entry):
            return self._backup.file(path)
        found = self._elsewhere(path, entry.sha256)
        if found is None:
            raise self._damaged(path, "its size or SHA-256 is not what the manifest of the backup says")
        return found

    def _others(self) -> list[tuple[Backup, BackupManifest]]:
        """Return all backups that can be used, the newest first; they are many, so only when asked for."""
        if self._all is None:
            self._all = list(readable(backups_in(self._layout.backups_dir)))
        return self._all

    def _digest(self, path: str, target: Path) -> str:
        if path not in self.present:
            self.present[path] = sha256_of(target)
        return self.present[path]

    def _elsewhere(self, path: str, sha256: str) -> Path | None:
        """Return the same content in another backup."""
        for backup, manifest in self._others():
            entry = manifest.files.get(path)
            if backup != self._backup and entry and entry.sha256 == sha256 and backup.is_whole(path, entry):
                return backup.file(path)
        return None

    def _damaged(self, path: str, what: str) -> PermanentError:
        older = next(
            (
                backup
                for backup, manifest in self._others()
                if backup < self._backup and _is_sound(backup, path, manifest.files.get(path))
            ),
            None,
        )
        remedy = "Nothing was changed. "
        if older is None:
            remedy += "Other days can be restored one by one: gguf-assets restore --date DAY"
        else:
            remedy += f"An older backup is whole there: gguf-assets restore --backup {older.name}"
        return damaged(self._backup.file(path), what, remedy)


def _is_sound(backup: Backup, path: str, entry: Entry | None) -> bool:
    """Whether a backup does not hold a file, or holds it whole."""
    return entry is None or backup.is_whole(path, entry)


def published_manifest(content: Any, path: Path) -> PublishedManifest:
    """Return the manifest of a day that a stored document describes.

    Raises:
        PermanentError: it is no such document (category `data`).
    """
    try:
        return PublishedManifest.from_json(content)
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(path, f"it is no manifest of a published day ({error!r})") from error


def manifest_day(path: str) -> date | None:
    """Return the day of whose manifest this is the path in a backup; None for other files."""
    parts = path.split("/")
    if len(parts) != 3 or parts[:2] != [PUBLISHED, "manifest"]:
        return None
    return parse_day(parts[2].removesuffix(".json"))


def target_of(layout: Layout, path: str) -> Path:
    """Return where a file of a backup belongs."""
    part, _, inside = path.partition("/")
    match part:
        case "published":
            return layout.published / inside
        case "captures":
            return layout.captures / inside
        case "config":
            return layout.config_dir / inside
    return layout.history_file if path == HISTORY else layout.last_sync_file
