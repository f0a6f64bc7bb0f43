"""Thinning: of older days one a week keeps its `files`, those of the others are left out and can be rebuilt.

A day is left out only after it has been rebuilt, from the disk and to the same bytes, and after the note
that says how has been written; whoever is interrupted loses nothing. What belongs here: which days, and that
order. What does not: notes and rebuilding (`thinned.py`), and the schedule (`orchestration/maintenance`).
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from gguf_assets import __version__
from gguf_assets.atomic import storage_errors, sync_folder, write_json
from gguf_assets.catalogue.rebuilding import KEPT, MODEL_COLUMNS, differing
from gguf_assets.catalogue.schema import FILES
from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.store.datasets import WRITER, DatasetInfo, DatasetWriter, iter_batches, read_table
from gguf_assets.store.layout import Layout, parse_day
from gguf_assets.store.manifests import CandidateManifest, PublishedManifest
from gguf_assets.store.slices import Slices
from gguf_assets.store.store import Store
from gguf_assets.store.thinned import (
    ThinnedNote,
    chain_from,
    forget,
    put_back,
    rebuilding,
    sources_of,
    stored_note,
    write_rebuilt,
)

MOST_CHANGES: Final = 3_000_000
"""Most changed files between a day and its base: they are held in memory, some 200 bytes each."""

MOST_KEPT: Final = 0.25
"""Largest share of a day's rows that may have to be kept; beyond it thinning would save too little."""


@dataclass(frozen=True)
class LeftOut:
    """A day whose `files` were left out, or would be.

    Attributes:
        day: the day.
        base: the day it is rebuilt from.
        bytes: size of the file.
        freed: bytes that the disk got back: 0 where a backup or a candidate is the same file; less the rows
            that had to be kept.
        kept_rows: rows that do not come out and so are kept.
    """

    day: date
    base: date
    bytes: int
    freed: int
    kept_rows: int


@dataclass(frozen=True)
class KeptWhole:
    """A day that should be thinned and cannot be.

    Attributes:
        day: the day.
        reason: why not, in words.
    """

    day: date
    reason: str


class _NotThinnedError(Exception):
    """A day stays whole; the text says why."""


def thin(
    store: Store, now_day: date, full_days: int, *, dry_run: bool = False
) -> Iterator[LeftOut | KeptWhole]:
    """Leave out the `files` of days that are too old to be needed whole, where they can be rebuilt exactly.

    Whoever calls holds the writer's lock.

    Args:
        store: the store.
        now_day: the present day by the Hub's clock.
        full_days: age in days up to which every day keeps its `files`.
        dry_run: only say which days it would be, without trying to rebuild them.

    Yields:
        The day whose `files` were just left out, or would be, or that has to stay whole.

    Raises:
        PermanentError: the disk refused (category `storage`), or a manifest or a note is damaged (`data`).
    """
    layout = store.layout
    found = ((day, store.published.manifest(day)) for day in store.published.days())
    manifests = {day: manifest for day, manifest in found if manifest is not None}
    baselines = {day: m.baseline.date for day, m in manifests.items() if m.baseline is not None}
    whole = whole_days(sorted(manifests), baselines, now_day, full_days) | _bases(layout)
    if not dry_run:
        with storage_errors(layout.rebuilt_dir, "remove"):
            if layout.rebuilt_dir.is_dir():
                shutil.rmtree(layout.rebuilt_dir)
    for day in sorted(manifests.keys() - whole):
        if not layout.published_file("files", day).is_file():
            if not dry_run:
                _remove_empty(layout.published_file("files", day).parent)
            continue
        try:
            yield _thin_day(store, manifests[day], whole, dry_run=dry_run)
        except _NotThinnedError as error:
            yield KeptWhole(day, str(error))


def whole_days(
    days: Sequence[date], baselines: Mapping[date, date], now_day: date, full_days: int
) -> set[date]:
    """Return the published days that keep their `files`.

    Those are the oldest and the newest one, the first one of every ISO week, all that are not older than
    `full_days`, and what these were built on.

    Args:
        days: the published days, in order.
        baselines: the published day that each was built on; the first one was built on none.
        now_day: the present day.
        full_days: age in days up to which every day is kept whole.
    """
    edge = now_day - timedelta(days=full_days)
    young = {day for day in days if day >= edge} | set(days[-1:])
    weeks: dict[tuple[int, int], date] = {}
    for day in days:
        weeks.setdefault(day.isocalendar()[:2], day)
    return {*days[:1], *weeks.values(), *young, *(baselines[day] for day in young if day in baselines)}


def rebuild(store: Store, day: date) -> None:
    """Rebuild the `files` of a thinned day byte for byte and put them back; nothing where they are there.

    Raises:
        PermanentError: the day is not thinned, or cannot be rebuilt exactly (category `data`), or the disk
            refused (category `storage`).
    """
    put_back(store.layout, store.published, day)


def rebuild_what_needs(store: Store, candidate: CandidateManifest | PublishedManifest) -> list[date]:
    """Put back the `files` of the days that are rebuilt from a day, before that is published with other rows.

    Returns:
        The days that were put back; none where the candidate has the rows that are published.

    Raises:
        PermanentError: as `rebuild`.
    """
    day, published = candidate.day, store.published.manifest(candidate.day)
    if published is None or all(
        name in candidate.files and candidate.files[name].row_digest == info.row_digest
        for name, info in published.files.items()
    ):
        return []
    needing = [
        note.day
        for note in _notes(store.layout)
        if note.day != day and day.isoformat() in note.built_from and _is_left_out(store.layout, note)
    ]
    for other in needing:
        rebuild(store, other)
    return needing


def thinned_days(layout: Layout) -> list[date]:
    """Return the days whose `files` are left out, in order.

    Raises:
        PermanentError: a note is damaged (category `data`).
    """
    return [note.day for note in _notes(layout) if _is_left_out(layout, note)]


def _notes(layout: Layout) -> list[ThinnedNote]:
    folder = layout.thinned
    days = (parse_day(path.stem) for path in folder.glob("date=*.json")) if folder.is_dir() else ()
    notes = (stored_note(layout, day) for day in sorted(day for day in days if day is not None))
    return [note for note in notes if note is not None]


def _is_left_out(layout: Layout, note: ThinnedNote) -> bool:
    return not layout.published_file("files", note.day).exists()


def _bases(layout: Layout) -> set[date]:
    """Return the days that thinned ones are rebuilt from."""
    return {note.base for note in _notes(layout) if _is_left_out(layout, note)}


def _thin_day(
    store: Store, manifest: PublishedManifest, whole: Collection[date], *, dry_run: bool
) -> LeftOut:
    layout, day, target = store.layout, manifest.day, store.layout.published_file("files", manifest.day)
    chain = _chain(store, day, whole)
    changed = sum(later.rows.get("file_changes", 0) for later in chain[1:])
    if changed > MOST_CHANGES:
        raise _NotThinnedError(f"{changed:,} files changed since {chain[0].day}, more than {MOST_CHANGES:,}")
    stat = target.stat()
    if dry_run:
        return LeftOut(day, chain[0].day, stat.st_size, stat.st_size * (stat.st_nlink == 1), 0)
    forget(layout, day)  # what an interrupted thinning left
    try:
        kept = _rows_to_keep(layout, chain)
        _rebuild_to_the_same_bytes(layout, chain, kept)
    except _NotThinnedError:
        forget(layout, day)
        raise
    except PermanentError as error:
        forget(layout, day)
        if error.category != ErrorCategory.DATA:
            raise
        raise _NotThinnedError(error.message) from error
    note = ThinnedNote(day, chain[0].day, manifest.files["files"], sources_of(chain), kept, __version__)
    write_json(layout.thinned_note(day), note.to_json())
    with storage_errors(target, "remove"):
        target.unlink()
        sync_folder(target.parent)
    _remove_empty(target.parent)
    kept_bytes, kept_rows = (0, 0) if kept is None else (kept.bytes, kept.rows)
    freed = stat.st_size * (stat.st_nlink == 1) - kept_bytes
    return LeftOut(day, note.base, stat.st_size, max(freed, 0), kept_rows)


def _chain(store: Store, day: date, whole: Collection[date]) -> list[PublishedManifest]:
    """Return the manifests from the nearest whole day that the day was built on, over others, to it."""
    manifest = store.published.manifest(day)
    while manifest is not None and manifest.baseline is not None:
        before = manifest.baseline.date
        if before in whole and store.published.file("files", before).is_file():
            try:
                return chain_from(store.layout, store.published, before, day)
            except PermanentError as error:
                raise _NotThinnedError(error.message) from error
        manifest = store.published.manifest(before)
    raise _NotThinnedError("no earlier day that it was built on keeps its files")


def _rows_to_keep(layout: Layout, chain: Sequence[PublishedManifest]) -> DatasetInfo | None:
    """Write the rows that do not come out when rebuilt; return what is known of them, None without any.

    `file_changes` do not say everything: a full walk may show other file names of a commit whose details are
    not known, and an older version of the program may have read other facts from names.
    """
    day, path = chain[-1].day, layout.thinned_rows(chain[-1].day)
    actual = Slices(iter_batches(layout.published_file("files", day)), FILES.arrow)
    models = iter_batches(layout.published_file("models", day), MODEL_COLUMNS)
    rows, most = 0, MOST_KEPT * chain[-1].rows["files"]
    with DatasetWriter(path, KEPT) as writer:
        for part, rebuilt in rebuilding(layout, chain, None).tables(models):
            kept = differing(part, rebuilt, actual.of(part["hub_id"].combine_chunks()))
            rows += kept.num_rows
            if rows > most:
                raise _NotThinnedError(
                    f"more than {MOST_KEPT:.0%} of its rows do not come out of {chain[0].day} and what "
                    "changed since: another version of the program made it, or many names are new"
                )
            writer.write(kept)
    if rows:
        return writer.info
    forget(layout, day)
    return None


def _rebuild_to_the_same_bytes(
    layout: Layout, chain: Sequence[PublishedManifest], kept: DatasetInfo | None
) -> None:
    """Rebuild a day from what lies on the disk, elsewhere, as a later rebuilding does, and compare."""
    manifest = chain[-1]
    wanted = manifest.files["files"]
    path = layout.rebuilt_dir / f"{manifest.day}.try"
    rows = None if kept is None else read_table(layout.thinned_rows(manifest.day), KEPT.names)
    try:
        info = write_rebuilt(layout, chain, rows, path)
    finally:
        with storage_errors(path, "remove"):
            path.unlink(missing_ok=True)
        _remove_empty(layout.rebuilt_dir)
    if info.row_digest != wanted.row_digest:
        raise _NotThinnedError("other rows come out than its manifest says")
    if info.sha256 != wanted.sha256:
        raise _NotThinnedError(
            f"{WRITER} writes other bytes than {manifest.writer}, which it was published with"
        )


def _remove_empty(folder: Path) -> None:
    with storage_errors(folder, "remove"):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            sync_folder(folder.parent)
