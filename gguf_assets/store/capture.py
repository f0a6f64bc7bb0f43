"""One capture: the pages of a walk, further routes, answers about absent models and details, with a manifest.

The manifest is written after every step, so that a killed run goes on where it stopped. What belongs here:
what one capture holds and in which order it grows. What does not: which captures there are (`captures.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime

from gguf_assets.atomic import write_json
from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.store.answers import ANSWERS_PER_FILE, AnswerStore, StoredAnswer, iter_sealed
from gguf_assets.store.capture_manifest import (
    AbsenceEntry,
    CaptureManifest,
    CapturePlan,
    HeadEntry,
    PageEntry,
    RouteEntry,
    VerificationEntry,
)
from gguf_assets.store.gaps import AbsenceAnswers, RoutePages, iter_absences, iter_route_pages
from gguf_assets.store.layout import Layout
from gguf_assets.store.raw_files import load_raw, store_raw
from gguf_assets.store.verification import Verification, iter_heads


class Capture:
    """One capture; satisfies the sinks of the listing walk and of the details phase.

    Made by `Captures`.
    """

    def __init__(self, layout: Layout, manifest: CaptureManifest, *, append: bool = False) -> None:
        self._folder = layout.run_dir(manifest.day, manifest.run)
        self._path = layout.capture_manifest(manifest.day, manifest.run)
        self._suffix = layout.raw_suffix
        self._spool_path = layout.details_spool(manifest.day, manifest.run)
        self._absences_spool_path = layout.absences_spool(manifest.day, manifest.run)
        self._manifest = manifest
        self._append = append
        self._requests_before = manifest.requests
        self._spent = 0
        self._answers: AnswerStore | None = None

    @property
    def day(self) -> date:
        """The day of the capture."""
        return self._manifest.day

    @property
    def run(self) -> int:
        """Number of the capture among those of the day, from 1."""
        return self._manifest.run

    @property
    def plan(self) -> CapturePlan:
        """What the walk was started for."""
        return self._manifest.plan

    @property
    def pages(self) -> tuple[PageEntry, ...]:
        """The stored pages, in the order of the walk."""
        return tuple(self._manifest.pages)

    @property
    def pages_stored(self) -> int:
        """Number of stored pages."""
        return len(self._manifest.pages)

    @property
    def rows(self) -> int:
        """Rows of all stored pages, repeated ones counted every time."""
        return sum(page.rows for page in self._manifest.pages)

    @property
    def next_link(self) -> str | None:
        """Path and query of the next page; None before the first page and after the last."""
        return self._manifest.next_link

    @property
    def listing_complete(self) -> bool:
        """Whether the listing has been walked to its end."""
        return self._manifest.listing_complete

    @property
    def details_complete(self) -> bool:
        """Whether the details phase has ended."""
        return self._manifest.details_complete

    @property
    def complete(self) -> bool:
        """Whether the capture has ended; from then on it is immutable, but for appended details."""
        return self.listing_complete and self.details_complete

    @property
    def details_files(self) -> int:
        """Number of sealed files of detail answers."""
        return len(self._manifest.details)

    @property
    def details_stopped(self) -> str | None:
        """Why the details phase ended: `done`, `budget`, `deadline` or `failing`; None before."""
        return self._manifest.details_stopped

    @property
    def details_failed(self) -> int:
        """Repositories whose details stayed out of reach."""
        return self._manifest.details_failed

    @property
    def requests(self) -> int:
        """Requests of the listing, its routes and the asking after absent models; of killed runs as well."""
        routes = sum(route.requests for route in self._manifest.routes.values())
        absence = 0 if self._manifest.absence is None else self._manifest.absence.requests
        return self._manifest.requests + routes + absence

    @property
    def detail_requests(self) -> int:
        """Requests of the details phase, asking again included, those of killed runs as well."""
        under_way = self.listing_complete and (self._append or not self.details_complete)
        waiting = self._open_answers().waiting_requests if under_way else 0
        verified = self._manifest.verification
        heads = 0 if verified is None else sum(head.requests for head in verified.heads)
        return self._manifest.detail_requests + waiting + heads

    @property
    def observed_at(self) -> datetime | None:
        """The Hub's clock at the first page; None before it."""
        return self._manifest.pages[0].date if self._manifest.pages else None

    @property
    def last_hub_date(self) -> datetime | None:
        """The Hub's clock at the last stored page; None before the first."""
        return self._manifest.pages[-1].date if self._manifest.pages else None

    def store_page(
        self, content: bytes, *, rows: int, next_link: str | None, date: datetime, requests: int
    ) -> None:
        """Store the next page of the listing, byte for byte; once this returns it is never fetched again.

        Args:
            content: body of the answer.
            rows: rows in it.
            next_link: path and query of the page after it, None for the last one.
            date: the Hub's clock in the answer.
            requests: requests of this walk so far, this page's included; a resumed walk starts at 0 again.

        Raises:
            PermanentError: the listing is complete, or the disk refused (category `storage`).
        """
        if self.listing_complete or (self._manifest.pages and self.next_link is None):
            raise self._immutable("its listing has ended")
        name = f"listing-{self.pages_stored + 1:05d}.json{self._suffix}"
        sha256 = store_raw(self._folder / name, content)
        self._manifest.pages.append(PageEntry(name, rows, len(content), sha256, date))
        self._manifest.next_link = next_link
        self._manifest.requests = self._requests_before + requests
        self._save()

    def finish_listing(self) -> None:
        """Mark the listing as walked to its end.

        Raises:
            PermanentError: pages are missing (category `data`), or the disk refused (category `storage`).
        """
        if not self._manifest.pages or self.next_link is not None:
            raise PermanentError(
                f"The listing of {self.day} (run {self.run}) has not ended after {self.pages_stored} pages",
                category=ErrorCategory.DATA,
                remedy=f"Go on with it: gguf-assets sync --date {self.day}",
            )
        if not self.listing_complete:
            self._manifest.listing_complete = True
            self._save()

    def has_answer(self, hub_id: str, sha: str) -> bool:
        """Whether the details of a repository at a commit are stored, whatever the answer was."""
        return self._open_answers().has(hub_id, sha)

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
        verifies: bool = False,
    ) -> None:
        """Store an answer about one repository; a second one about the same commit is ignored.

        One that `verifies` what is known is kept apart: no day is made of it.

        Raises:
            PermanentError: the capture is complete and not open for appending, or the disk refused.
        """
        if not self.listing_complete or (self.details_complete and not self._append):
            raise self._immutable(
                "its details have ended" if self.listing_complete else "its listing goes on"
            )
        if self.has_answer(hub_id, sha):
            return
        answers = self._open_answers()
        if answers.waiting >= ANSWERS_PER_FILE:
            self._seal()
        answers.add(StoredAnswer(hub_id, model_id, sha, status, info, tree, requests, verifies))
        self._spent += requests

    def finish_details(self, *, stopped: str = "done", failed: int = 0, requests: int = 0) -> None:
        """End the details phase, at whatever it ended; appended details are ended the same way.

        Args:
            stopped: why it ended: `done`, `budget`, `deadline` or `failing`.
            failed: repositories whose details stayed out of reach.
            requests: all requests of the phase since the capture was opened, those for beginnings of files
                that were stored excepted; those that no stored answer accounts for (failed repositories) are
                added to the capture's total.

        Raises:
            PermanentError: the listing is not complete, or the disk refused (category `storage`).
        """
        if not self.listing_complete:
            raise self._immutable("its listing goes on")
        if self.details_complete and not self._append:
            return
        self._seal()
        self._manifest.details_complete = True
        self._manifest.details_stopped = stopped
        self._manifest.details_failed = failed
        self._manifest.detail_requests += max(0, requests - self._spent)
        self._save()

    def limit_details(self, limit: int | None) -> None:
        """Replace the request limit of the details phase; None for no limit.

        Raises:
            PermanentError: the details phase has ended, or the disk refused (category `storage`).
        """
        if self.details_complete:
            raise self._immutable("its details have ended")
        if limit != self.plan.detail_limit:
            self._manifest.plan = replace(self.plan, detail_limit=limit)
            self._save()

    def iter_pages(self) -> Iterator[tuple[str, bytes]]:
        """Yield name and content of every page in the order of the walk, checked against its digest.

        Raises:
            PermanentError: a page is missing or not what was stored (category `data`).
        """
        for page in self._manifest.pages:
            yield page.name, load_raw(self._folder / page.name, page.sha256)

    def iter_answers(self, files: int | None = None) -> Iterator[StoredAnswer]:
        """Yield the sealed answers in stored order, but for those that verify what is known.

        Args:
            files: read only the first so many sealed files; None for all.

        Raises:
            PermanentError: a file is missing or not what was stored (category `data`).
        """
        sealed = iter_sealed(self._folder, self._manifest.details[:files])
        yield from (answer for answer in sealed if not answer.verifies)

    def iter_verifying(self, files: int | None = None) -> Iterator[StoredAnswer]:
        """Yield the sealed answers that verify what is known, in stored order; arguments as `iter_answers`.

        Raises:
            PermanentError: a file is missing or not what was stored (category `data`).
        """
        sealed = iter_sealed(self._folder, self._manifest.details[:files])
        yield from (answer for answer in sealed if answer.verifies)

    @property
    def verification(self) -> VerificationEntry | None:
        """How the asking again for what is known went; None before it, and in older captures."""
        return self._manifest.verification

    @property
    def verification_requests(self) -> int:
        """Requests that asked again for details, those of killed runs included."""
        return 0 if self.verification is None else self._open_answers().verifying.requests

    def open_verification(self, after: str | None, heads_after: str | None) -> Verification:
        """Return where goes what is asked again for, begun now or by an earlier run.

        Args:
            after: identity after which the turn of the models begins; what an earlier run began with stays.
            heads_after: the same for the beginnings of files.

        Raises:
            PermanentError: the details have ended, or the disk refused (category `storage`).
        """
        if self.details_complete:
            raise self._immutable("its details have ended")
        if self._manifest.verification is None:
            self._manifest.verification = VerificationEntry(after, after, heads_after, heads_after)
            self._save()
        return Verification(
            self._folder,
            self._manifest.verification,
            self,
            verifying=self._open_answers().verifying,
            save=self._save,
            suffix=self._suffix,
        )

    def iter_heads(self) -> Iterator[tuple[HeadEntry, bytes | None]]:
        """Yield the files whose beginnings were asked for, with the bytes where there are any.

        Raises:
            PermanentError: a file is missing or not what was stored (category `data`).
        """
        if self._manifest.verification is not None:
            yield from iter_heads(self._folder, self._manifest.verification)

    @property
    def routes(self) -> Mapping[str, RouteEntry]:
        """What the further discovery routes brought, by name; empty where none belong to the listing."""
        return self._manifest.routes

    @property
    def absence(self) -> AbsenceEntry | None:
        """How the asking after absent models went; None before it."""
        return self._manifest.absence

    def open_routes(self, links: Mapping[str, Sequence[str]]) -> dict[str, RoutePages]:
        """Return the routes to be walked, begun with these first links unless they were begun before.

        One that broke off in an earlier run is gone on with.

        Raises:
            PermanentError: the disk refused (category `storage`).
        """
        if not self._manifest.routes:
            self._manifest.routes = {name: RouteEntry(list(paths)) for name, paths in links.items()}
            self._save()
        for entry in self._manifest.routes.values():
            entry.error = None
        return {
            name: RoutePages(self._folder, name, entry, self._save, self._suffix)
            for name, entry in self._manifest.routes.items()
        }

    def iter_route_pages(self, name: str) -> Iterator[tuple[str, bytes]]:
        """Yield name and content of every page of a route, checked against its digest.

        Raises:
            PermanentError: a page is missing or not what was stored (category `data`).
        """
        yield from iter_route_pages(self._folder, self._manifest.routes[name])

    def open_absences(self, absent: int, *, anonymous: bool) -> AbsenceAnswers:
        """Return where answers about absent models go, begun now or by an earlier run.

        Args:
            absent: models of the baseline that nothing listed.
            anonymous: whether they are asked for without a token.

        Raises:
            PermanentError: the disk refused (category `storage`).
        """
        if self._manifest.absence is None:
            self._manifest.absence = AbsenceEntry(absent, anonymous)
            self._save()
        return AbsenceAnswers(
            self._folder,
            self._manifest.absence,
            spool=self._absences_spool_path,
            owner=self._owner(),
            save=self._save,
            suffix=self._suffix,
        )

    def iter_absences(self) -> Iterator[StoredAnswer]:
        """Yield the answers about absent models in stored order.

        Raises:
            PermanentError: a file is missing or not what was stored (category `data`).
        """
        if self._manifest.absence is not None:
            yield from iter_absences(self._folder, self._manifest.absence)

    def _owner(self) -> str:
        """Return what names this capture to its spools."""
        first = self._manifest.pages[0].sha256 if self._manifest.pages else ""
        return f"{self.day} run {self.run} {first}"

    def _open_answers(self) -> AnswerStore:
        """Return the stored answers; which there are is read back on first use."""
        if self._answers is None:
            self._answers = AnswerStore(
                self._folder,
                self._manifest.details,
                spool=self._spool_path,
                owner=self._owner(),
                suffix=self._suffix,
            )
        return self._answers

    def _seal(self) -> None:
        answers = self._open_answers()
        entry = answers.seal()
        if entry is not None:
            self._manifest.detail_requests += entry.requests
            self._save()
            answers.forget_sealed()

    def _save(self) -> None:
        write_json(self._path, self._manifest.to_json())

    def _immutable(self, why: str) -> PermanentError:
        return PermanentError(
            f"Nothing can be added to the capture of {self.day} (run {self.run}): {why}",
            category=ErrorCategory.STORAGE,
            remedy=f"A new capture is started by: gguf-assets sync --date {self.day} --refetch",
        )
