"""Checking what is published: every file against its manifest, and what can heal what is wrong.

Nothing is written and no lock is taken: a day that is being replaced at that moment is looked at again. What
does not belong here: healing (`restoring.py`, and the derivation in `orchestration/`), and whether what a day
says of the Hub is right (`quality/`).
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Final

import orjson

from gguf_assets.catalogue.schema import DATASETS
from gguf_assets.errors import GgufAssetsError, Refused
from gguf_assets.store.backing_up import Report, no_report
from gguf_assets.store.backup_sources import walked
from gguf_assets.store.digests import sha256_of
from gguf_assets.store.export import exported_manifest
from gguf_assets.store.healing import what_heals
from gguf_assets.store.layout import PART_NAME, Layout, parse_day
from gguf_assets.store.lock import WriterLock
from gguf_assets.store.manifests import PublishedManifest
from gguf_assets.store.publish import Published
from gguf_assets.store.thinned import left_out, readable_files
from gguf_assets.store.verified import Reading, Verified
from gguf_assets.store.verifying_copies import verify_backups, verify_captures

_LOOKS: Final = 50
_PAUSE_SECONDS: Final = 0.1
"""How often, and how long apart, a day is looked at while it is being published."""


def verify_store(
    layout: Layout,
    first: date | None = None,
    last: date | None = None,
    *,
    deep: bool = False,
    captures: bool = False,
    backups: bool = False,
    report: Report = no_report,
) -> Verified:
    """Check what is published, and what else is asked for.

    Args:
        layout: where everything lies.
        first: first day; the first published one when None.
        last: last day, included; the last published one when None.
        deep: rebuild thinned days aside, and compare them by digest.
        captures: check every file of the captures of these days.
        backups: check every file of every backup.
        report: told how far it is.

    Raises:
        Refused: no day in the range is published.
        PermanentError: the disk refused to be read (category `storage`).
    """
    verifier = _Verifier(layout, report)
    everything = first is None and last is None
    days = [
        day
        for day in Published(layout).days()
        if (first is None or day >= first) and (last is None or day <= last)
    ]
    if not days and not everything:
        raise Refused(
            f"{first} is not published" if first == last else "No day in that range is published",
            remedy="`gguf-assets status` lists the published days; one that is lost may be in a backup: "
            "gguf-assets restore --list",
        )
    for done, day in enumerate(days):
        report("published", done, len(days))
        verifier.day(day, deep=deep)
    report("published", len(days), len(days))
    if everything:
        verifier.surroundings(set(days))
    if captures:
        verify_captures(layout, verifier.reading, None if everything else days, report)
    if backups:
        verify_backups(layout, verifier.reading, report)
    return verifier.verified


class _Verifier:
    """Checks published days, and remembers which of them are damaged."""

    def __init__(self, layout: Layout, report: Report) -> None:
        self._layout, self._report = layout, report
        self._published = Published(layout)
        self._damaged: set[date] = set()
        self.reading = Reading()
        self.verified = self.reading.verified

    def day(self, day: date, *, deep: bool) -> None:
        """Check a published day, again as long as it is being replaced."""
        for _ in range(_LOOKS):
            before = self._state(day)
            found = list(self._findings_of(day))
            if not found or (before == self._state(day) and not self._layout.journal.exists()):
                break
            time.sleep(_PAUSE_SECONDS)
        self.verified.days.append(day)
        if found:
            self._damaged.add(day)
            remedy = self._remedy_of(day)
            for path, what, own in found:
                self.reading.note(path, what, own or remedy, day)
            return
        manifest = self._published.manifest(day)
        if manifest is not None and not self._layout.published_file("files", day).exists():
            self.verified.thinned.append(day)
            if deep:
                self._rebuild(day, manifest)

    def surroundings(self, days: set[date]) -> None:
        """Check what belongs to no single day: `latest.json`, the journal, folders without a manifest."""
        layout = self._layout
        for _ in range(_LOOKS):
            before = self._state(None)
            found = self._latest_finding()
            if found is None or (before == self._state(None) and not layout.journal.exists()):
                break
            time.sleep(_PAUSE_SECONDS)
        if found is not None:
            day = self._published.latest_day()
            assert day is not None
            self.reading.note(layout.latest, found, self._remedy_of(day), day)
        if self._was_interrupted():
            what = "a publishing was begun and has not ended"
            self.reading.note(layout.journal, what, "Whatever writes next completes it: gguf-assets backup")
        for name in DATASETS:
            folder = layout.published_dataset(name)
            for entry in sorted(os.listdir(folder)) if folder.is_dir() else ():  # noqa: PTH208
                found_day = parse_day(entry)
                if found_day is not None and found_day not in days and (folder / entry / PART_NAME).exists():
                    path = folder / entry / PART_NAME
                    what = "readers see it, and no manifest names its day"
                    self.reading.note(path, what, self._remedy_of(found_day, move=path), found_day)
        latest = self._published.latest_day()
        if latest is not None and exported_manifest(layout.export_file) != _digest_of(
            layout.published_manifest(latest)
        ):
            self.verified.notes.append(
                f"{layout.export_file} is missing or of another day; the next sync writes it"
            )
        self._leftovers(latest)

    def _findings_of(self, day: date) -> Iterator[tuple[Path, str, str | None]]:
        """Yield path, what is wrong and, where it is not the day's, the remedy."""
        path = self._layout.published_manifest(day)
        try:
            manifest = self._published.manifest(day)
        except GgufAssetsError as error:
            yield path, error.message.removeprefix(f"{path} is damaged: "), None
            return
        if manifest is None:
            yield path, "the file is missing", None
            return
        if manifest.day != day:
            yield path, f"it is the manifest of {manifest.day}", None
            return
        for name in DATASETS:
            file = self._layout.published_file(name, day)
            info = manifest.files.get(name)
            if info is None:
                if file.exists():
                    yield file, "readers see it, and the manifest of its day does not name it", _move(file)
                continue
            if name == "files" and not file.exists():
                yield from self._thinned(manifest, file)
            elif (what := self.reading.difference(file, info.bytes, info.sha256)) is not None:
                yield file, what, None
            for extra in _strangers(file):
                yield (
                    extra,
                    "it lies beside a published file, and readers of the folder read it",
                    _move(extra),
                )

    def _thinned(self, manifest: PublishedManifest, file: Path) -> Iterator[tuple[Path, str, None]]:
        try:
            if not left_out(self._layout, manifest):
                yield file, "the file is missing", None
        except GgufAssetsError as error:
            yield file, f"it was left out to save space, and {error.message}", None

    def _rebuild(self, day: date, manifest: PublishedManifest) -> None:
        with tempfile.TemporaryDirectory(prefix="gguf-assets-verify-") as folder:
            aside = replace(self._layout, state=Path(folder))
            wanted, file = manifest.files["files"], self._layout.published_file("files", day)
            try:
                rebuilt = readable_files(aside, self._published, day)
                if sha256_of(rebuilt) == wanted.sha256:
                    self.verified.rebuilt.append(day)
                    return
                what = "rebuilt, it has the same rows and other bytes than its manifest says"
            except GgufAssetsError as error:
                what = error.message
            self.reading.note(file, what, self._remedy_of(day), day)

    def _latest_finding(self) -> str | None:
        layout, day = self._layout, self._published.latest_day()
        if day is None:
            return None
        try:
            content = orjson.loads(layout.latest.read_bytes())
            named, digest = content["date"], content["sha256"]
        except FileNotFoundError:
            return "the file is missing"
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f"it cannot be read ({error!r})"
        if named != day.isoformat():
            return f"it names {named}, and the latest published day is {day}"
        if digest != _digest_of(layout.published_manifest(day)):
            return f"it names another manifest of {day} than there is"
        return None

    def _state(self, day: date | None) -> tuple[bytes, bool]:
        path = self._layout.latest if day is None else self._layout.published_manifest(day)
        try:
            return path.read_bytes(), self._layout.journal.exists()
        except OSError:
            return b"", self._layout.journal.exists()

    def _leftovers(self, latest: date | None) -> None:
        folder = self._layout.candidate_manifests
        names = sorted(path.stem for path in folder.glob("date=*.json")) if folder.is_dir() else []
        left = [
            str(day)
            for name in names
            if (day := parse_day(name)) is not None
            and not self._layout.published_manifest(day).exists()
            and latest is not None
            and day < latest
        ]
        if left:
            self.verified.notes.append(
                f"Candidates that were never published: {', '.join(left)}; removing them does no harm, "
                "`gguf-assets rederive` makes them again"
            )

    def _was_interrupted(self) -> bool:
        """Whether a journal lies there that nobody is working off."""
        seen = _identity(self._layout.journal)
        if seen is None or WriterLock(self._layout).holder() is not None:
            return False
        time.sleep(5 * _PAUSE_SECONDS)
        return _identity(self._layout.journal) == seen

    def _remedy_of(self, day: date, move: Path | None = None) -> str:
        return what_heals(self._layout, day, self._is_whole, move)

    def _is_whole(self, day: date) -> bool:
        """Whether a published day is as its manifest says."""
        if day in self.verified.days:
            return day not in self._damaged
        return not list(self._findings_of(day))


def _strangers(file: Path) -> Iterator[Path]:
    """Yield what lies beside a published file and is read with it by whoever opens the folder."""
    for _, entry in walked(file.parent) if file.parent.is_dir() else ():
        if Path(entry.path) != file:
            yield Path(entry.path)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns


def _move(path: Path) -> str:
    return f"Move it away: mv {path} ELSEWHERE"


def _digest_of(path: Path) -> str | None:
    try:
        return sha256_of(path)
    except GgufAssetsError:
        return None
