"""The folder of the configuration: which files there are, and what a name given by people means.

What belongs here: names and places. What does not: what stands in the files (`checking`), and changing
anything (`deployment`, `backups`, `creation`).
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gguf_assets.atomic import storage_errors
from gguf_assets.errors import ErrorCategory, Refused
from gguf_assets.settings.load import SYNC_DOCUMENT
from gguf_assets.settings.model import ENVIRONMENTS

ACTIVE_NAME: Final = "active"
BACKUP_MARK: Final = "_backup_"
_STEM: Final = SYNC_DOCUMENT.active_file.removesuffix(".yaml")
_STAMP: Final = "%Y%m%d_%H%M%S"
_BACKUP: Final = re.compile(rf"{_STEM}{BACKUP_MARK}([0-9]{{8}}_[0-9]{{6}})\.yaml")


class ConfigTree:
    """A configuration folder; it need not exist.

    Attributes:
        folder: the folder.
        active: the file in force, if it is there.
        backups: the folder of the backups.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.active = folder / SYNC_DOCUMENT.active_file
        self.backups = folder / "backups"

    def file_of(self, environment: str) -> Path:
        """Return where the file of an environment, or of a profile of another name, lies."""
        return self.folder / SYNC_DOCUMENT.environment_file.format(environment=environment)

    def files(self) -> list[Path]:
        """Return all configuration files, the active one first, the others by name.

        Raises:
            PermanentError: the folder cannot be read (category `storage`).
        """
        return sorted(
            _listed(self.folder, f"{_STEM}*.yaml"), key=lambda path: (path != self.active, path.name)
        )

    def backup_files(self) -> list[Path]:
        """Return the backups of the active file, the newest first; those without a time in their name last.

        Raises:
            PermanentError: the folder cannot be read (category `storage`).
        """
        found = _listed(self.backups, f"{_STEM}{BACKUP_MARK}*.yaml")
        return sorted(found, key=lambda path: (taken_at(path) is not None, path.name), reverse=True)

    def find(self, name: str) -> Path:
        """Return the file that a name means.

        A bare name is looked for in this folder: `active`, an environment, a profile (`high-volume`), a file,
        a backup. Anything with a folder in it is a path.

        Raises:
            Refused: there is no such file; the message lists those that there are.
        """
        if os.sep in name or name.startswith("~"):
            path = Path(os.path.expanduser(name))  # noqa: PTH111 - Path.expanduser fails on unknown users
            if not os.path.lexists(path):
                raise self._unknown(f"Configuration file not found: {path}")
            return path
        if name == ACTIVE_NAME:
            candidates = [self.active]
        else:
            places = (self.folder, self.backups)
            candidates = [
                self.file_of(name),
                *(place / f"{name}{end}" for place in places for end in ("", ".yaml")),
            ]
        for path in candidates:
            if (
                name not in ("", ".", "..")
                and os.path.lexists(path)
                and path not in (self.folder, self.backups)
            ):
                return path
        if name in ENVIRONMENTS:
            raise environment_not_found(self.file_of(name), name)
        raise self._unknown(
            f"There is no active configuration: {self.active} does not exist"
            if name == ACTIVE_NAME
            else f"There is no configuration {name!r} in {self.folder}"
        )

    def find_backup(self, name: str) -> Path:
        """Return the backup that a name means: one of `backups/`, with or without `.yaml`, or a path.

        Raises:
            Refused: there is no such backup; the message lists those that there are.
        """
        if os.sep in name or name.startswith("~"):
            path = Path(os.path.expanduser(name))  # noqa: PTH111 - Path.expanduser fails on unknown users
            if os.path.lexists(path):
                return path
        backups = self.backup_files()
        found = next((path for path in backups if name in (path.name, path.stem)), None)
        if found is None:
            there = "\n".join(f"  {path.name}" for path in backups) or "  none"
            raise Refused(
                f"There is no backup {name!r}. Backups in {self.backups}:\n{there}",
                category=ErrorCategory.CONFIGURATION,
                remedy="Name one of them: gguf-assets config restore NAME"
                if backups
                else "Make one of what is in force: gguf-assets config backup",
            )
        return found

    def _unknown(self, message: str) -> Refused:
        files = self.files()
        there = "\n".join(f"  {path.name}" for path in files) or "  none"
        return Refused(
            f"{message}. Configurations in {self.folder}:\n{there}",
            category=ErrorCategory.CONFIGURATION,
            remedy="Name one of them, an environment, or a path with a folder in it (./FILE)."
            if files
            else "Make one: gguf-assets config create development",
        )


def environment_not_found(path: Path, environment: str) -> Refused:
    """Return the error for an environment that has no file."""
    return Refused(
        f"Environment configuration not found: {path}",
        category=ErrorCategory.CONFIGURATION,
        remedy=f"Create it: gguf-assets config create {environment}",
    )


def file_not_found(path: Path) -> Refused:
    """Return the error for a file that was named and is not there."""
    return Refused(
        f"Configuration file not found: {path}",
        category=ErrorCategory.CONFIGURATION,
        remedy="See which there are: gguf-assets config list",
    )


def backup_name(stem: str, taken: datetime) -> str:
    """Return the name of a backup: of the active file, or of another file with its name for a stem."""
    return f"{stem}{BACKUP_MARK}{taken.astimezone(UTC).strftime(_STAMP)}.yaml"


def taken_at(path: Path) -> datetime | None:
    """Return when a backup of the active file was taken, by its name; None for any other file."""
    match = _BACKUP.fullmatch(path.name)
    if match is None:
        return None
    try:
        return datetime.strptime(match[1], _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None


def _listed(folder: Path, pattern: str) -> list[Path]:
    with storage_errors(folder, "read"):
        try:
            names = os.listdir(folder)  # noqa: PTH208 - Path.glob hides a folder that cannot be read
        except (FileNotFoundError, NotADirectoryError):
            return []
    return [folder / name for name in names if Path(name).match(pattern)]
