"""What is in force in a configuration folder, and whether changes of it are recorded.

What belongs here: the active file together with the record of its deployment. What does not: variables and
the command line, which go over it (`load`), and changing it (`deployment`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gguf_assets.settings.audit import AuditTrail
from gguf_assets.settings.checking import CheckedFile, check_content
from gguf_assets.settings.deployed import DeploymentRecord, known_records
from gguf_assets.settings.files import Unreadable, read_content
from gguf_assets.settings.problems import InvalidSettings, Problem
from gguf_assets.settings.tree import ConfigTree


@dataclass(frozen=True)
class InForce:
    """The active file.

    Attributes:
        checked: the verdict on it, as what it was deployed.
        record: what is recorded of its deployment; None for a file that was put there by hand.
    """

    checked: CheckedFile
    record: DeploymentRecord | None

    @property
    def environment(self) -> str:
        """The environment it counts for."""
        recorded = None if self.record is None else self.record.environment
        return recorded or self.checked.counts_for


def in_force(tree: ConfigTree) -> InForce | None:
    """Return the active file; None without one.

    Raises:
        InvalidSettings: it is there and cannot be read.
    """
    content = read_or_refuse(tree.active)
    if content is None:
        return None
    record = next(
        (one for one in known_records(tree.folder) if one.speaks_of(tree.active.name, content)), None
    )
    environment = None if record is None else record.environment
    return InForce(check_content(tree.active, content, deployed_as=environment), record)


def read_or_refuse(path: Path) -> bytes | None:
    """Return what stands in a file; None if there is no such file.

    Raises:
        InvalidSettings: it is there and cannot be read.
    """
    try:
        return read_content(path)
    except Unreadable as problem:
        raise InvalidSettings(
            [Problem(str(problem))],
            remedy="Nothing was changed. Move it out of the way or make it readable, then try again.",
        ) from None


def recording(trail: AuditTrail | None, configurations: Iterable[CheckedFile | None]) -> AuditTrail | None:
    """Return the trail if a change is to be recorded: if any of these configurations asks for it.

    So that switching it off is recorded, too, the one before and the one after count; one that is invalid or
    not there counts as asking for it.

    Raises:
        PermanentError: an entry could not be written (category `storage`).
    """
    if trail is None or not any(
        one is None or one.settings is None or one.settings.security.enable_audit_logging
        for one in configurations
    ):
        return None
    trail.ensure_writable()
    return trail
