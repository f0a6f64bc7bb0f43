"""Captures: what the Hub answered, byte for byte as it came, resumable, immutable once complete.

A capture is a folder of compressed listing pages and detail answers with a manifest that is written after
every step, so that a killed walk goes on at the page after the last stored one. What does not belong here:
asking the Hub (`hub/`) and what the answers mean (`catalogue/`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime

from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.store.answers import ANSWERS_PER_FILE, AnswerStore, StoredAnswer, iter_sealed
from gguf_assets.store.atomic import read_json, storage_errors, write_json
from gguf_assets.store.capture_manifest import CaptureManifest, CapturePlan, PageEntry
from gguf_assets.store.compressed import capture_damaged, load_compressed, store_compressed
from gguf_assets.store.layout import Layout, parse_day, parse_run


class Captures:
    """The captures of a store."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def days(self) -> list[date]:
        """Return the days that have captures, in order."""
        folder = self._layout.captures
        found = (parse_day(path.name) for path in folder.iterdir()) if folder.is_dir() else ()
        return sorted(day for day in found if day is not None and self.runs(day))

    def complete_days(self) -> list[date]:
        """Return the days that have a complete capture and so can be derived, in order."""
        return [day for day in self.days() if self.latest_complete(day) is not None]

    def runs(self, day: date) -> list[int]:
        """Return the numbers of a day's captures, in order."""
        return [run for run in self._numbers(day) if self._layout.capture_manifest(day, run).is_file()]

    def latest(self, day: date) -> Capture | None:
        """Return the last begun capture of a day, complete or not; None without one."""
        runs = self.runs(day)
        return self.open(day, runs[-1]) if runs else None

    def latest_complete(self, day: date) -> Capture | None:
        """Return the last complete capture of a day; None without one."""
        opened = (self.open(day, run) for run in reversed(self.runs(day)))
        return next((capture for capture in opened if capture.complete), None)

    def begin(self, day: date, plan: CapturePlan) -> Capture:
        """Start a new capture of a day under the next free number.

        Raises:
            PermanentError: the disk refused (category `storage`).
        """
        run = max(self._numbers(day), default=0) + 1
        with storage_errors(self._layout.run_dir(day, run), "make"):
            self._layout.run_dir(day, run).mkdir(parents=True)
        manifest = CaptureManifest(day=day, run=run, plan=plan)
        write_json(self._layout.capture_manifest(day, run), manifest.to_json())
        return Capture(self._layout, manifest)

    def open(self, day: date, run: int, *, append: bool = False) -> Capture:
        """Open a capture to read it, to go on with it or, with `append`, to add details to a complete one.

        Raises:
            PermanentError: there is no such capture, or its manifest is damaged (category `data`).
        """
        path = self._layout.capture_manifest(day, run)
        content = read_json(path)
        if content is None:
            raise PermanentError(
                f"{day} has no capture {run}: {path} is missing",
                category=ErrorCategory.DATA,
                remedy="`gguf-assets status` lists the days with captures.",
            )
        try:
            manifest = CaptureManifest.from_json(content)
        except (KeyError, TypeError, ValueError) as error:
            raise capture_damaged(path, f"it is no capture manifest ({error!r})") from error
        return Capture(self._layout, manifest, append=append)

    def _numbers(self, day: date) -> list[int]:
        folder = self._layout.captures_of(day)
        found = (parse_run(path.name) for path in folder.iterdir()) if folder.is_dir() else ()
        return sorted(run for run in found if run is not None)


class Capture:
    """One capture; satisfies the sinks of the listing walk and of the details phase.

    Made by `Captures`.
    """

    def __init__(self, layout: Layout, manifest: CaptureManifest, *, append: bool = False) -> None:
        self._folder = layout.run_dir(manifest.day, manifest.run)
        self._path = layout.capture_manifest(manifest.day, manifest.run)
        self._spool_path = layout.details_spool(manifest.day, manifest.run)
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
        """Requests of the listing, those of killed runs included."""
        return self._manifest.requests

    @property
    def detail_requests(self) -> int:
        """Requests of the details phase, those of killed runs included."""
        under_way = self.listing_complete and (self._append or not self.details_complete)
        waiting = self._open_answers().waiting_requests if under_way else 0
        return self._manifest.detail_requests + waiting

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
        name = f"listing-{self.pages_stored + 1:05d}.json.zst"
        sha256 = store_compressed(self._folder / name, content)
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
    ) -> None:
        """Store an answer about one repository; a second one about the same commit is ignored.

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
        answers.add(StoredAnswer(hub_id, model_id, sha, status, info, tree, requests))
        self._spent += requests

    def finish_details(self, *, stopped: str = "done", failed: int = 0, requests: int = 0) -> None:
        """End the details phase, at whatever it ended; appended details are ended the same way.

        Args:
            stopped: why it ended: `done`, `budget`, `deadline` or `failing`.
            failed: repositories whose details stayed out of reach.
            requests: all requests of the phase since the capture was opened; those that no stored answer
                accounts for (failed repositories) are added to the capture's total.

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
            yield page.name, load_compressed(self._folder / page.name, page.sha256)

    def iter_answers(self, files: int | None = None) -> Iterator[StoredAnswer]:
        """Yield the sealed answers in stored order.

        Args:
            files: read only the first so many sealed files; None for all.

        Raises:
            PermanentError: a file is missing or not what was stored (category `data`).
        """
        yield from iter_sealed(self._folder, self._manifest.details[:files])

    def _open_answers(self) -> AnswerStore:
        """Return the stored answers; which there are is read back on first use."""
        if self._answers is None:
            first = self._manifest.pages[0].sha256 if self._manifest.pages else ""
            owner = f"{self.day} run {self.run} {first}"
            self._answers = AnswerStore(
                self._folder, self._manifest.details, spool=self._spool_path, owner=owner
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
