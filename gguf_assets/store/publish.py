"""Publishing: a judged candidate becomes what readers see, all of it or nothing.

Every file is staged beside its target, a journal is written, then all are renamed in the declared order,
`models` last, and the manifest and `latest.json` follow. Whoever finds a journal rolls it forward. What
does not belong here: deciding whether a day is good enough (`quality/` judges, the verdict is stored).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import orjson

from gguf_assets.atomic import (
    damaged,
    json_bytes,
    read_json,
    storage_errors,
    sweep,
    sync_file,
    sync_folder,
    write_atomically,
    write_json,
)
from gguf_assets.catalogue.schema import DATASETS
from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.store.datasets import matches, verify
from gguf_assets.store.layout import Layout, parse_day
from gguf_assets.store.manifests import CandidateManifest, PublishedManifest
from gguf_assets.store.thinned import left_out

_STAGED_SUFFIX = ".staged"


class Published:
    """What is published in a store; read only."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def days(self) -> list[date]:
        """Return the published days, in order."""
        folder = self._layout.published_manifests
        found = (parse_day(path.stem) for path in folder.glob("date=*.json")) if folder.is_dir() else ()
        return sorted(day for day in found if day is not None)

    def latest_day(self) -> date | None:
        """Return the last published day; None without one."""
        return max(self.days(), default=None)

    def manifest(self, day: date) -> PublishedManifest | None:
        """Return the manifest of a published day; None when the day is not published.

        Raises:
            PermanentError: the manifest is damaged (category `data`).
        """
        path = self._layout.published_manifest(day)
        content = read_json(path)
        if content is None:
            return None
        try:
            return PublishedManifest.from_json(content)
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(path, f"it is no manifest of a published day ({error!r})") from error

    def latest_before(self, day: date) -> PublishedManifest | None:
        """Return the manifest of the last published day before `day`: its baseline; None without one.

        Raises:
            PermanentError: the manifest is damaged (category `data`).
        """
        before = max((other for other in self.days() if other < day), default=None)
        return None if before is None else self.manifest(before)

    def file(self, dataset: str, day: date) -> Path:
        """Return the path of a published dataset and day."""
        return self._layout.published_file(dataset, day)

    def verify(self, day: date) -> None:
        """Check every file of a published day against its manifest.

        Raises:
            PermanentError: the day is not published, or a file is missing or differs (category `data`).
        """
        manifest = self.manifest(day)
        if manifest is None:
            raise damaged(self._layout.published_manifest(day), "the day is not published")
        for dataset, info in manifest.files.items():
            if dataset == "files" and left_out(self._layout, manifest):
                continue
            verify(self.file(dataset, day), info, f"Derive the day again: {_rederive(day)}")


@dataclass(frozen=True)
class PublishOutcome:
    """What publishing did.

    Attributes:
        manifest: the manifest of the day as published.
        unchanged: whether all of it was there already, and nothing was touched.
    """

    manifest: PublishedManifest
    unchanged: bool


def publish(layout: Layout, candidate: CandidateManifest, *, despite_verdict: bool = False) -> PublishOutcome:
    """Make a candidate the published state of its day, all of it or nothing.

    An interrupted publishing is completed first. Files that are already there byte for byte stay as they are.

    Args:
        layout: where everything lies.
        candidate: the manifest of the candidate, with a verdict that allows it.
        despite_verdict: publish also what the verdict refuses, where it can be waived; the manifest says so.

    Raises:
        PermanentError: the candidate is not judged, judged not publishable, incomplete, differs from what
            was judged, or its baseline has changed since (category `data`); the disk refused (`storage`).
    """
    recover(layout)
    day = candidate.day
    _check_verdict(candidate, despite_verdict=despite_verdict)
    _check_baseline(layout, candidate)
    for dataset, info in candidate.files.items():
        verify(layout.candidate_file(dataset, day), info, f"Derive the day again: {_rederive(day)}")
    manifest = PublishedManifest.of(candidate)
    changed = [
        name for name in DATASETS if not matches(layout.published_file(name, day), candidate.files[name])
    ]
    if not changed and _is_published(layout, manifest):
        return PublishOutcome(manifest, unchanged=True)
    sources = {name: layout.candidate_file(name, day) for name in changed}
    publish_files(layout, manifest.to_json(), sources)
    return PublishOutcome(manifest, unchanged=False)


def publish_files(layout: Layout, content: Mapping[str, Any], sources: Mapping[str, Path]) -> None:
    """Make files the published state of a day, all of them or nothing; files not named stay as they are.

    Args:
        layout: where everything lies.
        content: the manifest of the day as it is stored; the files are what it says of them.
        sources: the files by dataset; they are linked, or copied where they lie on another disk.

    Raises:
        PermanentError: a file is not what the manifest says (category `data`), or the disk refused
            (`storage`).
    """
    changed = [name for name in DATASETS if name in sources]
    manifest = PublishedManifest.from_json(orjson.loads(json_bytes(content)))
    _stage_all(layout, manifest.day, {name: sources[name] for name in changed})
    write_json(layout.journal, {"staged": changed, "manifest": content})
    _roll_forward(layout, changed, manifest, content)


def recover(layout: Layout) -> date | None:
    """Complete an interrupted publishing and remove what dead processes left; call it before any other write.

    Returns:
        The day whose publishing was completed; None when nothing had been interrupted.

    Raises:
        PermanentError: the journal or a file it names is damaged (category `data`), or the disk refused.
    """
    recovered = None
    remedy = f"Remove it, then derive the stored days again: rm {layout.journal} && gguf-assets rederive"
    journal = read_json(layout.journal, remedy)
    if journal is not None:
        try:
            staged, manifest = list(journal["staged"]), PublishedManifest.from_json(journal["manifest"])
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(layout.journal, f"it is no journal of a publishing ({error!r})", remedy) from error
        _roll_forward(layout, staged, manifest, journal["manifest"])
        recovered = manifest.day
    with storage_errors(layout.published, "clean"):
        for leftover in layout.published.glob(f"*/date=*/.*{_STAGED_SUFFIX}"):
            leftover.unlink(missing_ok=True)
        sweep(layout.published)
        sweep(layout.published_manifests)
    return recovered


def _check_verdict(candidate: CandidateManifest, *, despite_verdict: bool) -> None:
    again = f"Derive the day again: {_rederive(candidate.day)}"
    missing = [name for name in DATASETS if name not in candidate.files]
    if missing:
        raise _not_published(candidate, f"{', '.join(missing)} not written yet", again)
    verdict = candidate.verdict
    if verdict is None:
        raise _not_published(candidate, "it has not been judged", again)
    if not verdict.publishable and not (despite_verdict and verdict.waivable):
        reasons = "; ".join(verdict.reasons) or "the checks refused it"
        walk_again = f"Walk the Hub again: gguf-assets sync --date {candidate.day} --refetch"
        raise _not_published(candidate, reasons, walk_again)
    changed = [name for name, sha256 in verdict.files.items() if candidate.files[name].sha256 != sha256]
    if changed:
        raise _not_published(candidate, f"{', '.join(changed)} changed after having been judged", again)


def _check_baseline(layout: Layout, candidate: CandidateManifest) -> None:
    before = Published(layout).latest_before(candidate.day)
    now = None if before is None else before.as_baseline()
    if now != candidate.baseline:
        was = "no earlier day" if candidate.baseline is None else f"{candidate.baseline.date}"
        found = (
            "there is none any more" if now is None else f"the latest before it is {now.date}, as it is now"
        )
        raise _not_published(
            candidate,
            f"its baseline has changed since: it was compared with {was}, {found}",
            f"Derive the day again: {_rederive(candidate.day)}",
        )


def _not_published(candidate: CandidateManifest, why: str, remedy: str) -> PermanentError:
    return PermanentError(
        f"{candidate.day} was not published: {why}", category=ErrorCategory.DATA, remedy=remedy
    )


def _rederive(day: date) -> str:
    return f"gguf-assets rederive --from {day} --to {day}"


def _staged(target: Path) -> Path:
    return target.parent / f".{target.name}{_STAGED_SUFFIX}"


def _stage_all(layout: Layout, day: date, sources: Mapping[str, Path]) -> None:
    """Put files beside their targets; where the disk refuses one, none is left behind."""
    targets = {dataset: layout.published_file(dataset, day) for dataset in sources}
    try:
        for dataset, target in targets.items():
            with storage_errors(target, "publish"):
                _stage(sources[dataset], target)
    except BaseException:
        for target in targets.values():
            with contextlib.suppress(OSError):
                _staged(target).unlink(missing_ok=True)
        raise


def _stage(source: Path, target: Path) -> None:
    """Put the content of a file beside its target: as a hard link, or where there are none as a copy."""
    staged = _staged(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    staged.unlink(missing_ok=True)
    try:
        os.link(source, staged)
    except OSError:
        shutil.copyfile(source, staged)
        sync_file(staged)
    sync_folder(target.parent)


def _roll_forward(
    layout: Layout, staged: list[str], manifest: PublishedManifest, content: Mapping[str, Any]
) -> None:
    """Do all that the journal announces; every step may have been done already by a process that died."""
    day = manifest.day
    for dataset in staged:
        target = layout.published_file(dataset, day)
        with storage_errors(target, "publish"):
            if _staged(target).exists():
                _staged(target).replace(target)
                # Renaming a name of a file to another name of the same file does nothing.
                _staged(target).unlink(missing_ok=True)
                sync_folder(target.parent)
        if not matches(target, manifest.files[dataset]):
            raise damaged(
                target,
                f"it is not what {layout.journal} announces, and its staged copy is gone",
                f"Remove {layout.journal}, then derive the day again: {_rederive(day)}",
            )
    stored = json_bytes(content)
    write_atomically(layout.published_manifest(day), stored)
    if Published(layout).latest_day() == day:
        write_atomically(layout.latest, _latest(day, stored))
    with storage_errors(layout.journal, "remove"):
        layout.journal.unlink(missing_ok=True)
        sync_folder(layout.published)


def _latest(day: date, manifest: bytes) -> bytes:
    return json_bytes(
        {
            "date": day,
            "manifest": f"manifest/date={day.isoformat()}.json",
            "sha256": hashlib.sha256(manifest).hexdigest(),
        }
    )


def _is_published(layout: Layout, manifest: PublishedManifest) -> bool:
    """Whether the manifest, and `latest.json` where it names the day, are already as they should be."""
    content = json_bytes(manifest.to_json())
    expected = {layout.published_manifest(manifest.day): content}
    if Published(layout).latest_day() == manifest.day:
        expected[layout.latest] = _latest(manifest.day, content)
    return all(path.is_file() and path.read_bytes() == stored for path, stored in expected.items())
