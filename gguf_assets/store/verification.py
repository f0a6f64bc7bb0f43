"""What a capture holds for the sake of verifying: answers asked for again, and beginnings of files.

The answers lie among those of the details and are marked; the beginning of each file is a file of its own,
since the Hub counts each read as a download and none must be lost. What belongs here: storing them and how
far the turn has come. What does not: asking the Hub (`hub/`) and whose turn it is (`catalogue/verification`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gguf_assets.store.answers import Verifying
from gguf_assets.store.capture_manifest import HeadEntry, VerificationEntry
from gguf_assets.store.raw_files import load_raw, store_raw

if TYPE_CHECKING:
    from gguf_assets.store.capture import Capture


class Verification:
    """Satisfies the sinks of `hub`'s details and of its reading of beginnings. Made by `Capture`."""

    def __init__(
        self,
        folder: Path,
        entry: VerificationEntry,
        details: Capture,
        *,
        verifying: Verifying,
        save: Callable[[], None],
        suffix: str,
    ) -> None:
        self._folder = folder
        self._entry = entry
        self._details = details
        self._verifying = verifying
        self._save = save
        self._suffix = suffix
        self._read = {(head.hub_id, head.sha, head.path) for head in entry.heads}

    @property
    def entry(self) -> VerificationEntry:
        """How far it is."""
        return self._entry

    @property
    def requests(self) -> int:
        """Requests that asked again for details, those of killed runs included."""
        return self._verifying.requests

    def has_answer(self, hub_id: str, sha: str) -> bool:
        """Whether the details of a repository at a commit are stored, whatever the answer was."""
        return self._details.has_answer(hub_id, sha)

    def store_answer(
        self,
        *,
        hub_id: str,
        model_id: str,
        sha: str,
        status: int,
        info: bytes | None,
        tree: tuple[bytes, ...],
        requests: int,
    ) -> None:
        """Keep an answer about a repository whose details are known.

        Raises:
            PermanentError: the disk refused (category `storage`).
        """
        self._details.store_answer(
            hub_id=hub_id,
            model_id=model_id,
            sha=sha,
            status=status,
            info=info,
            tree=tree,
            requests=requests,
            verifies=True,
        )

    def has_head(self, hub_id: str, sha: str, path: str) -> bool:
        """Whether the beginning of a file at a commit was asked for, whatever came of it."""
        return (hub_id, sha, path) in self._read

    def store_head(
        self,
        *,
        hub_id: str,
        model_id: str,
        sha: str,
        path: str,
        status: int,
        content: bytes | None,
        file_bytes: int | None,
        requests: int,
    ) -> None:
        """Keep the beginning of a file, byte for byte, or why there is none.

        Raises:
            PermanentError: the disk refused (category `storage`).
        """
        name = sha256 = None
        if content is not None:
            name = f"head-{len(self._entry.heads) + 1:05d}.bin{self._suffix}"
            sha256 = store_raw(self._folder / name, content)
        self._read.add((hub_id, sha, path))
        self._entry.heads.append(
            HeadEntry(hub_id, model_id, sha, path, status, requests, file_bytes, name, sha256)
        )
        self._entry.heads_last = hub_id
        self._save()

    def finish(self, *, last: str | None, heads_last: str | None, failed: int, stopped: str) -> None:
        """End the asking again.

        Args:
            last: identity of the last model answered, after which the next day goes on.
            heads_last: the same for beginnings of files; None for the last one stored.
            failed: models and files that stayed out of reach.
            stopped: why it ended: `done`, `budget`, `deadline` or `failing`.

        Raises:
            PermanentError: the disk refused (category `storage`).
        """
        self._entry.last = last
        self._entry.heads_last = heads_last or self._entry.heads_last
        self._entry.answered = self._verifying.answered
        self._entry.refused = self._verifying.refused
        self._entry.requests = self._verifying.requests
        self._entry.failed = failed
        self._entry.stopped = stopped
        self._save()


def iter_heads(folder: Path, entry: VerificationEntry) -> Iterator[tuple[HeadEntry, bytes | None]]:
    """Yield the files whose beginnings were asked for, with the bytes where there are any.

    Raises:
        PermanentError: a file is missing or not what was stored (category `data`).
    """
    for head in entry.heads:
        if head.name is None or head.sha256 is None:
            yield head, None
        else:
            yield head, load_raw(folder / head.name, head.sha256)
