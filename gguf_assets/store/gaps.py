"""What a capture holds besides its walk: pages of further discovery routes, and answers about absent models.

Both are kept as they come and gone on with after a kill, as the walk is. What belongs here: storing and
reading them. What does not: asking the Hub (`hub/`) and what the answers mean (`catalogue/`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from gguf_assets.store.answers import ANSWERS_PER_FILE, AnswerStore, StoredAnswer, iter_sealed
from gguf_assets.store.capture_manifest import AbsenceEntry, PageEntry, RouteEntry
from gguf_assets.store.raw_files import load_raw, store_raw


class RoutePages:
    """The pages of one route; satisfies the sink of `hub`'s route walk. Made by `Capture`."""

    def __init__(
        self, folder: Path, name: str, entry: RouteEntry, save: Callable[[], None], suffix: str
    ) -> None:
        self._folder = folder
        self._name = name
        self._entry = entry
        self._save = save
        self._suffix = suffix
        self._requests_before = entry.requests

    @property
    def entry(self) -> RouteEntry:
        """How far it is."""
        return self._entry

    @property
    def next_link(self) -> str | None:
        """Path and query of the next page; None at the end."""
        return None if self._entry.done else self._entry.links[0]

    @property
    def pages_stored(self) -> int:
        """Number of stored pages."""
        return len(self._entry.pages)

    def store_page(
        self, content: bytes, *, rows: int, next_link: str | None, date: datetime, requests: int
    ) -> None:
        """Store the page that `next_link` asked for, byte for byte.

        Args:
            content: body of the answer.
            rows: rows in it.
            next_link: path and query of the page after it, None for the last one of its list.
            date: the Hub's clock in the answer.
            requests: requests of this route since it was opened.

        Raises:
            PermanentError: the disk refused (category `storage`).
        """
        name = f"route-{self._name}-{self.pages_stored + 1:05d}.json{self._suffix}"
        sha256 = store_raw(self._folder / name, content)
        self._entry.pages.append(PageEntry(name, rows, len(content), sha256, date))
        self._entry.links[:1] = [] if next_link is None else [next_link]
        self._entry.requests = self._requests_before + requests
        self._save()

    def end(self, *, requests: int, error: str | None = None) -> None:
        """End the route before its last page: at its most pages, or because it broke off.

        Args:
            requests: requests of this route since it was opened.
            error: why it broke off; None when it did not.
        """
        self._entry.capped = error is None and bool(self._entry.links)
        self._entry.error = error
        if error is None:
            self._entry.links.clear()
        self._entry.requests = self._requests_before + requests
        self._save()


def iter_route_pages(folder: Path, entry: RouteEntry) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every page of a route, checked against its digest.

    Raises:
        PermanentError: a page is missing or not what was stored (category `data`).
    """
    for page in entry.pages:
        yield page.name, load_raw(folder / page.name, page.sha256)


class AbsenceAnswers:
    """Answers about models that nothing listed; satisfies the sink of `hub`'s asking. Made by `Capture`."""

    def __init__(
        self,
        folder: Path,
        entry: AbsenceEntry,
        *,
        spool: Path,
        owner: str,
        save: Callable[[], None],
        suffix: str,
    ) -> None:
        self._folder = folder
        self._entry = entry
        self._save = save
        self._spent = 0
        self._answers = AnswerStore(
            folder, entry.files, spool=spool, owner=owner, suffix=suffix, prefix="absences"
        )

    @property
    def entry(self) -> AbsenceEntry:
        """How far the asking is."""
        return self._entry

    @property
    def asked(self) -> int:
        """Models asked for by name in this capture, those of killed runs included."""
        return self._entry.asked + self._answers.waiting_asked

    def has_answer(self, hub_id: str) -> bool:
        """Whether there is an answer about a model."""
        return self._answers.has(hub_id, "")

    def store_answer(
        self, *, hub_id: str, model_id: str, status: int, info: bytes | None, requests: int
    ) -> None:
        """Keep an answer; a second one about the same model is ignored.

        Raises:
            PermanentError: the disk refused (category `storage`).
        """
        if self.has_answer(hub_id):
            return
        if self._answers.waiting >= ANSWERS_PER_FILE:
            self._seal()
        self._answers.add(StoredAnswer(hub_id, model_id, "", status, info, (), requests))
        self._spent += requests

    def finish(self, *, control: list[str], trusted: bool, requests: int) -> None:
        """End the asking.

        Args:
            control: listed repositories that were asked for in between.
            trusted: whether each of them answered.
            requests: requests of the asking since it was opened, those for the control included.

        Raises:
            PermanentError: the disk refused (category `storage`).
        """
        self._seal()
        self._entry.control = control
        self._entry.trusted = trusted
        self._entry.requests += max(0, requests - self._spent)
        self._entry.done = True
        self._save()

    def _seal(self) -> None:
        asked = self._answers.waiting_asked
        sealed = self._answers.seal()
        if sealed is not None:
            self._entry.asked += asked
            self._entry.requests += sealed.requests
            self._save()
            self._answers.forget_sealed()


def iter_absences(folder: Path, entry: AbsenceEntry) -> Iterator[StoredAnswer]:
    """Yield the sealed answers in stored order.

    Raises:
        PermanentError: a file is missing or not what was stored (category `data`).
    """
    yield from iter_sealed(folder, entry.files)
