"""What was deployed: the record beside the active file, which can say that it counts for another environment.

A production file may be tried on staging: its bytes stay as they are and this record says what it counts for.
An entry speaks of content, by its SHA-256, never of a name alone: as soon as the file is edited, it no longer
applies. While the active file is replaced the record holds entries for the old content and for the new, so
that a crash leaves the one or the other, never the old content as another environment.

What belongs here: reading and writing that record. What does not: replacing the active file (`deployment`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from gguf_assets.atomic import damaged, json_bytes, read_json, write_atomically
from gguf_assets.errors import PermanentError

RECORD_NAME: Final = "deployed.json"
_REMEDY: Final = "Deploy again, which writes it anew: gguf-assets config deploy ENVIRONMENT --force"


@dataclass(frozen=True)
class DeploymentRecord:
    """One content that was put in force.

    Attributes:
        file: name of the active file.
        sha256: of its content.
        environment: what it counts for; None where only the file itself says.
        source: where the content came from.
        at: when, ISO 8601, UTC.
        by: who did it.
        values: what it said, by dotted key, secrets masked; empty where it was invalid.
        hidden: SHA-256 of the values that were masked.
    """

    file: str
    sha256: str
    environment: str | None
    source: str
    at: str
    by: str
    values: Mapping[str, str] = field(default_factory=dict)
    hidden: Mapping[str, str] = field(default_factory=dict)

    def speaks_of(self, file: str, content: bytes) -> bool:
        """Return whether this is about that file with that content."""
        return self.file == file and self.sha256 == sha256(content)


def sha256(content: bytes) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def read_records(folder: Path) -> list[DeploymentRecord]:
    """Return the entries of a folder's record, the latest first; none without a record.

    Raises:
        PermanentError: it cannot be read (category `storage`) or is damaged (category `data`).
    """
    path = folder / RECORD_NAME
    return records_from(path, read_json(path, _REMEDY))


def records_from(path: Path, content: Any) -> list[DeploymentRecord]:
    """Return the entries in a record's content.

    Raises:
        PermanentError: the content is no record (category `data`).
    """
    if content is None:
        return []
    try:
        records = [DeploymentRecord(**entry) for entry in content["deployments"]]
    except (TypeError, KeyError) as error:
        raise damaged(path, f"it is no record of deployments ({error})", _REMEDY) from None
    for record in records:
        if not isinstance(record.sha256, str) or not isinstance(record.environment, (str, type(None))):
            raise damaged(path, "an entry lacks its checksum or environment", _REMEDY)
    return records


def record_of(folder: Path, file: str, content: bytes) -> DeploymentRecord | None:
    """Return the entry that speaks of this content of the active file, if there is one.

    Raises:
        PermanentError: the record cannot be read (category `storage`) or is damaged (category `data`).
    """
    return record_in(read_records(folder), file, content)


def record_in(records: Sequence[DeploymentRecord], file: str, content: bytes) -> DeploymentRecord | None:
    """Return the entry among some that speaks of this content of a file, the latest one, if there is any."""
    return next((record for record in records if record.speaks_of(file, content)), None)


def write_records(path: Path, records: Sequence[DeploymentRecord]) -> None:
    """Replace a record, atomically and readable by its owner only.

    Raises:
        PermanentError: the disk refused (category `storage`).
    """
    content = json_bytes({"deployments": [asdict(record) for record in records]})
    write_atomically(path, content, mode=0o600)


def known_records(folder: Path) -> list[DeploymentRecord]:
    """Return the entries of a folder's record, none where it is unusable: whoever deploys writes it anew."""
    try:
        return read_records(folder)
    except PermanentError:
        return []
