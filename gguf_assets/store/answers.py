"""The detail answers of a capture: spooled one by one, sealed into files.

An answer is safe in the local spool as soon as `add` returns; full spools and the rest at the end are sealed
into files of the capture. What does not belong here: the manifest and when the details end (`captures.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from gguf_assets.store.capture_manifest import DetailsEntry
from gguf_assets.store.raw_files import load_raw, store_raw
from gguf_assets.store.spool import Spool

ANSWERS_PER_FILE = 200
"""Detail answers in a sealed file; the last one of a run may hold fewer."""


@dataclass(frozen=True)
class StoredAnswer:
    """The Hub's answer about one repository at one commit.

    Attributes:
        hub_id: identity of the repository.
        model_id: name it was asked for by.
        sha: commit it was asked for at.
        status: HTTP status of the answer.
        info: raw JSON of the model info; None without one.
        tree: raw JSON of the pages of the file tree; empty when the model info names all files.
        requests: requests the answer took.
        verifies: whether it was asked for again, its details being known: no day is made of it.
    """

    hub_id: str
    model_id: str
    sha: str
    status: int
    info: bytes | None
    tree: tuple[bytes, ...]
    requests: int
    verifies: bool = False

    def to_record(self) -> dict[str, Any]:
        """Return the JSON record; raw JSON as text in it, so that it comes back byte for byte."""
        info = None if self.info is None else self.info.decode()
        return {**vars(self), "info": info, "tree": [page.decode() for page in self.tree]}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> StoredAnswer:
        """Return the answer that a JSON record describes."""
        info = None if record["info"] is None else record["info"].encode()
        return cls(**{**record, "info": info, "tree": tuple(page.encode() for page in record["tree"])})


@dataclass
class Verifying:
    """How many answers were asked for again, their details being known, sealed or not.

    Attributes:
        answered: those that tell the details.
        refused: those that tell why they are not told.
        requests: requests that both took.
    """

    answered: int = 0
    refused: int = 0
    requests: int = 0

    def count(self, answer: StoredAnswer) -> None:
        """Add an answer if it is one of them."""
        if answer.verifies:
            self.answered += answer.status == 200
            self.refused += answer.status != 200
            self.requests += answer.requests


class AnswerStore:
    """The answers of one capture, each (repository, commit) once.

    Args:
        folder: folder of the sealed files.
        sealed: the sealed files so far; entries are added to this very list.
        spool: local file of the answers not yet sealed.
        owner: text that names the capture, so that a spool left by another one is not taken for its own.
        suffix: how the names of new sealed files end after `.jsonl`.
        prefix: how the names of the sealed files begin.

    Attributes:
        verifying: how many of them were asked for again.

    Raises:
        PermanentError: a file is damaged (category `data`) or the disk refused (category `storage`).
    """

    def __init__(
        self,
        folder: Path,
        sealed: list[DetailsEntry],
        *,
        spool: Path,
        owner: str,
        suffix: str,
        prefix: str = "details",
    ) -> None:
        self._folder = folder
        self._prefix = prefix
        self._suffix = suffix
        self._sealed = sealed
        self._spool = Spool(spool, owner)
        self._known: set[tuple[str, str]] = set()
        self.verifying = Verifying()
        for answer in iter_sealed(folder, sealed):
            self._known.add((answer.hub_id, answer.sha))
            self.verifying.count(answer)
        # A process that died between sealing and clearing has left its answers in both places.
        if any((record["hub_id"], record["sha"]) in self._known for record in self._spool.records):
            self._spool.clear()
        for record in self._spool.records:
            self._known.add((record["hub_id"], record["sha"]))
            self.verifying.count(StoredAnswer.from_record(record))

    @property
    def waiting(self) -> int:
        """Number of answers not yet sealed."""
        return len(self._spool.records)

    @property
    def waiting_requests(self) -> int:
        """Requests that the answers not yet sealed took."""
        return sum(record["requests"] for record in self._spool.records)

    @property
    def waiting_asked(self) -> int:
        """Answers not yet sealed that took a request, and were not taken over from another capture."""
        return sum(record["requests"] > 0 for record in self._spool.records)

    def has(self, hub_id: str, sha: str) -> bool:
        """Whether there is an answer about a repository at a commit."""
        return (hub_id, sha) in self._known

    def add(self, answer: StoredAnswer) -> None:
        """Keep an answer; it survives the end of this process once the call has returned.

        Raises:
            PermanentError: the disk refused (category `storage`).
        """
        self._spool.append(answer.to_record())
        self._known.add((answer.hub_id, answer.sha))
        self.verifying.count(answer)

    def seal(self) -> DetailsEntry | None:
        """Write the waiting answers into a sealed file; None when there are none.

        The caller stores the manifest, then calls `forget_sealed`: a death in between doubles nothing.

        Raises:
            PermanentError: the disk refused (category `storage`).
        """
        records = self._spool.records
        if not records:
            return None
        name = f"{self._prefix}-{len(self._sealed) + 1:05d}.jsonl{self._suffix}"
        lines = b"".join(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE) for record in records)
        sha256 = store_raw(self._folder / name, lines)
        entry = DetailsEntry(name, len(records), sum(record["requests"] for record in records), sha256)
        self._sealed.append(entry)
        return entry

    def forget_sealed(self) -> None:
        """Drop the waiting answers, which a sealed file now holds."""
        self._spool.clear()


def iter_sealed(folder: Path, entries: list[DetailsEntry]) -> Iterator[StoredAnswer]:
    """Yield the answers of sealed files in stored order.

    Raises:
        PermanentError: a file is missing or not what was stored (category `data`).
    """
    for entry in entries:
        # Line ends within the raw JSON are escaped in the record.
        for line in load_raw(folder / entry.name, entry.sha256).splitlines():
            yield StoredAnswer.from_record(orjson.loads(line))
