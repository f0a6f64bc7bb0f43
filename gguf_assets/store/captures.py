"""Captures: what the Hub answered, byte for byte as it came, resumable, immutable once complete.

A capture is a folder of listing pages and answers. What belongs here: which captures there are, beginning
and opening them. What does not: what one holds (`capture.py`), asking the Hub (`hub/`) and what the answers
mean (`catalogue/`).
"""

from __future__ import annotations

from datetime import date

from gguf_assets.atomic import read_json, storage_errors, write_json
from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.store.capture import Capture
from gguf_assets.store.capture_manifest import CaptureManifest, CapturePlan
from gguf_assets.store.layout import Layout, parse_day, parse_run
from gguf_assets.store.raw_files import capture_damaged


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
