"""Which configuration files there are, which one is active, and how it came there: what `config list` shows.

What belongs here: facts about the configuration folder. What does not: changing it (`deployment`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from gguf_assets.settings.checking import CheckedFile, check_file
from gguf_assets.settings.deployed import DeploymentRecord, known_records
from gguf_assets.settings.files import shipped_profile
from gguf_assets.settings.load import SYNC_DOCUMENT
from gguf_assets.settings.model import ENVIRONMENTS
from gguf_assets.settings.reference import written
from gguf_assets.settings.tree import ConfigTree


@dataclass(frozen=True)
class ListedFile:
    """A configuration file in a few words; None is what an unreadable or invalid one does not tell.

    `deployed_as` is the environment that the active file counts for, where the file itself names another.
    """

    name: str
    path: str
    active: bool
    valid: bool
    problems: int
    warnings: int
    environment: str | None
    deployed_as: str | None
    mode: str | None
    concurrency: str | None
    debug: str | None


@dataclass(frozen=True)
class Inventory:
    """The configuration folder.

    Attributes:
        folder: where it lies.
        files: all its files, the active one first.
        in_force: which file or profile applies in this process, for people.
        deployed: the record of the last deployment or restoration; None without one.
        edited: whether the active file was changed since.
        active_notes: how the active file came there, in sentences.
        warnings: what is odd about the active file.
        backups: how many backups there are.
        newest_backup: name of the newest one.
    """

    folder: str
    files: tuple[ListedFile, ...]
    in_force: str
    deployed: DeploymentRecord | None
    edited: bool
    active_notes: tuple[str, ...]
    warnings: tuple[str, ...]
    backups: int
    newest_backup: str | None

    def as_json(self) -> dict[str, Any]:
        """Return all of it as plain JSON values."""
        return {
            "folder": self.folder,
            "in_force": self.in_force,
            "files": [vars(file) for file in self.files],
            "deployed": _deployed_as_json(self.deployed),
            "edited": self.edited,
            "warnings": list(self.warnings),
            "backups": self.backups,
            "newest_backup": self.newest_backup,
        }


def inventory(tree: ConfigTree, in_force: str) -> Inventory:
    """Return what lies in the configuration folder.

    Args:
        tree: the folder.
        in_force: which file or profile applies, for people.

    Raises:
        PermanentError: the folder cannot be read (category `storage`).
    """
    checked = {path: check_file(path) for path in tree.files()}
    active = checked.get(tree.active)
    # Of several entries that a crash left, the one that speaks of what is there counts.
    records = [
        one for one in known_records(tree.folder) if active is not None and one.file == tree.active.name
    ]
    speaking = [one for one in records if active is not None and one.speaks_of(one.file, active.content)]
    deployed = next(iter([*speaking, *records]), None)
    edited = deployed is not None and not speaking
    backups = tree.backup_files()
    same = [] if active is None else _equal(active, checked.values())
    return Inventory(
        folder=str(tree.folder),
        files=tuple(_listed(file, active=path == tree.active) for path, file in checked.items()),
        in_force=in_force,
        deployed=deployed,
        edited=edited,
        active_notes=() if active is None else tuple(_notes(active, deployed, same)),
        warnings=() if active is None else tuple(_warnings(active, deployed, edited, same)),
        backups=len(backups),
        newest_backup=backups[0].name if backups else None,
    )


def _listed(checked: CheckedFile, *, active: bool) -> ListedFile:
    settings = checked.settings
    return ListedFile(
        name=checked.path.name,
        path=str(checked.path),
        active=active,
        valid=checked.valid,
        problems=len(checked.problems),
        warnings=len(checked.advice),
        environment=checked.environment,
        deployed_as=checked.deployed_as,
        mode=None if settings is None else written(settings.sync_behavior.mode),
        concurrency=None if settings is None else written(settings.rate_limiting.max_concurrent_requests),
        debug=None if settings is None else written(settings.debug_mode),
    )


def _equal(active: CheckedFile, files: Iterable[CheckedFile]) -> list[str]:
    """Return the names of the profiles that the active file equals, byte for byte."""
    others = {file.path.name: file.content for file in files if file is not active}
    shipped = {f"the shipped profile {name}": shipped_profile(SYNC_DOCUMENT, name) for name in ENVIRONMENTS}
    return [name for name, content in {**others, **shipped}.items() if content == active.content]


def _notes(active: CheckedFile, deployed: DeploymentRecord | None, same: list[str]) -> Iterator[str]:
    if deployed is not None:
        yield f"Deployed from {deployed.source} at {deployed.at[:19].replace('T', ' ')} UTC by {deployed.by}"
    if same:
        yield f"{active.path.name} equals {', '.join(same)}"


def _warnings(
    active: CheckedFile, deployed: DeploymentRecord | None, edited: bool, same: list[str]
) -> Iterator[str]:
    name = active.path.name
    if deployed is None:
        yield f"nothing is recorded of how {name} came there: it was put there by hand"
    if edited:
        yield f"{name} was edited since it was deployed"
    if active.valid and not same:
        yield f"{name} equals no profile: it was edited in place, or the profile it came from has changed"


def _deployed_as_json(deployed: DeploymentRecord | None) -> dict[str, Any] | None:
    if deployed is None:
        return None
    return {name: getattr(deployed, name) for name in ("source", "at", "by", "environment", "sha256")}
