"""The snapshot of a day: the captured walk and details, merged onto the last published day.

A pure function of captures, baseline and context: no clock, no random. Here: going through walk and baseline
side by side, and starting over when something is found out late. Not here: the rows themselves (`merge`),
what changed (`delta`), and whether the result may be published (`quality/`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue.details import Details
from gguf_assets.catalogue.extras import ExtraCursor, Extras
from gguf_assets.catalogue.merge import DayContext, Merger, Names, SnapshotFigures
from gguf_assets.catalogue.ordering import BaselineCursor, OrderedWalk, OutOfOrder
from gguf_assets.catalogue.parse import ListedPage
from gguf_assets.catalogue.schema import FILES, MODELS

__all__ = ["Baseline", "DayContext", "SnapshotFigures", "SnapshotSink", "build_snapshot"]

_RAW_BASELINE = ("hub_id", "path", "size_bytes", "sha256")


class Baseline(Protocol):
    """The last published day before this one; each call reads anew."""

    def models(self) -> Iterable[pa.RecordBatch]:
        """Yield batches of `models`, all columns, in order."""

    def files(self, columns: list[str]) -> Iterable[pa.RecordBatch]:
        """Yield batches of the named columns of `files`, in order."""


class SnapshotSink(Protocol):
    """Where the rows go, in order."""

    def write_models(self, rows: pa.Table) -> None:
        """Take the next rows of `models`."""

    def write_files(self, rows: pa.Table) -> None:
        """Take the next rows of `files`."""


@dataclass(frozen=True)
class _Foreknowledge:
    """What an earlier attempt found out that has to be known from the beginning.

    Attributes:
        whole: the walk is out of order.
        displaced: repositories that lie at different places in walk and baseline.
        taken_over: baseline models whose names come up later in the walk, for another repository.
        listed_elsewhere: extras that the walk lists after all, at another place of the order.
    """

    whole: bool = False
    displaced: frozenset[str] = frozenset()
    taken_over: frozenset[str] = frozenset()
    listed_elsewhere: frozenset[str] = frozenset()


class _StartOverError(Exception):
    """The attempt has found out what it should have known."""

    def __init__(self, known: _Foreknowledge) -> None:
        super().__init__("start over")
        self.known = known


def build_snapshot(
    pages: Callable[[], Iterable[ListedPage]],
    details: Details,
    baseline: Baseline | None,
    context: DayContext,
    open_sink: Callable[[], AbstractContextManager[SnapshotSink]],
    extras: Extras | None = None,
) -> SnapshotFigures:
    """Merge a captured walk onto the baseline and write `models` and `files`, chunk by chunk.

    Memory holds one chunk, the detail facts and the identities. A walk that is out of order, rows that moved
    since the baseline (a creation time that changed or cannot be read) and names that an older repository
    took over make it start over, knowing so; the sink opened before is left by an exception and must discard
    what it got.

    Args:
        pages: gives the parsed pages of the walk; may be called again.
        details: facts of the capture's detail answers.
        baseline: the last published day before this one, None on the first day.
        context: day, baseline day, time of observation, and who is proven to be gone.
        open_sink: opens a fresh sink.
        extras: models that the walk may lack and that are there all the same; None for none.

    Returns:
        Counts and findings.
    """
    # A walk over a window is in the order of modification, and short.
    known = _Foreknowledge(whole=not context.walked_all)
    while True:
        cursor = ExtraCursor(extras or Extras(), known.listed_elsewhere)
        try:
            with open_sink() as sink:
                return _merge_walk(pages(), details, baseline, context, cursor, sink, known)
        except OutOfOrder:
            known = replace(known, whole=True)
        except _StartOverError as again:
            known = again.known


def _merge_walk(
    pages: Iterable[ListedPage],
    details: Details,
    baseline: Baseline | None,
    context: DayContext,
    extras: ExtraCursor,
    sink: SnapshotSink,
    known: _Foreknowledge,
) -> SnapshotFigures:
    figures = SnapshotFigures()
    cursor, in_hand = None, None
    if baseline is not None:
        displaced = pa.array(sorted(known.displaced), pa.string())
        cursor = BaselineCursor(baseline.models(), baseline.files(list(_RAW_BASELINE)), displaced)
        if known.displaced:
            in_hand = _in_hand(baseline, displaced)
    walk = OrderedWalk(pages, whole=known.whole, known_created=None if in_hand is None else in_hand[0])
    names = Names(known.taken_over)
    merger = Merger(details, context, figures, names)
    absent: list[str] = []
    new: set[str] = set()
    for walked, place in walk.chunks():
        listed = extras.join(walked, place)
        old, old_files = cursor.take_through(place) if cursor is not None else (None, None)
        if in_hand is not None:
            old, old_files = _with_in_hand(listed, old, old_files, in_hand)
        models, files = merger.merge(listed, old, old_files)
        sink.write_models(models)
        sink.write_files(files)
        if baseline is not None:
            absent += [] if old is None else _beyond(old, listed)
            new.update(listed["hub_id"].to_pylist() if old is None else _beyond(listed, old))
    doubled = walk.seen(extras.used)
    if doubled:
        raise _StartOverError(replace(known, listed_elsewhere=known.listed_elsewhere | doubled))
    moved = new.intersection(absent)
    if moved:
        raise _StartOverError(replace(known, displaced=known.displaced | moved))
    if names.late():
        raise _StartOverError(replace(known, taken_over=known.taken_over | names.late()))
    figures.quarantined, figures.not_gguf = walk.quarantined, walk.not_gguf
    figures.duplicates = walk.duplicates
    figures.findings = [*walk.findings, *details.findings, *figures.findings]
    return figures


def _in_hand(baseline: Baseline, displaced: pa.Array) -> tuple[pa.Table, pa.Table]:
    """Return models and files of the displaced rows of the baseline, held in memory."""

    def chosen(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
        parts = [batch.filter(pc.is_in(batch["hub_id"], value_set=displaced)) for batch in batches]
        return pa.Table.from_batches(parts).combine_chunks() if parts else schema.empty_table()

    files_schema = pa.schema([FILES.arrow.field(name) for name in _RAW_BASELINE])
    return (
        chosen(baseline.models(), MODELS.arrow),
        chosen(baseline.files(list(_RAW_BASELINE)), files_schema),
    )


def _with_in_hand(
    listed: pa.Table, old: pa.Table | None, old_files: pa.Table | None, in_hand: tuple[pa.Table, pa.Table]
) -> tuple[pa.Table | None, pa.Table | None]:
    """Add to the baseline's part of a chunk the displaced rows that the chunk lists."""
    added = [
        part.filter(pc.is_in(part["hub_id"], value_set=listed["hub_id"].combine_chunks())) for part in in_hand
    ]
    merged = []
    for part, extra in zip((old, old_files), added, strict=True):
        parts = [p for p in (part, extra) if p is not None and p.num_rows]
        merged.append(pa.concat_tables(parts).combine_chunks() if parts else None)
    return merged[0], merged[1]


def _beyond(table: pa.Table, other: pa.Table) -> list[str]:
    """Return the identities of a table that the other has not."""
    known = pc.is_in(table["hub_id"], value_set=other["hub_id"].combine_chunks())
    beyond: list[str] = table["hub_id"].filter(pc.invert(known)).to_pylist()
    return beyond
