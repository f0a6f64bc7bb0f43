"""The snapshot of a day: the captured walk and details, merged onto the last published day.

A pure function of captures, baseline and context: no clock, no random. Here: which value a row of `models`
and `files` gets, and what happens to models that the walk did not list. Not here: what changed (`delta`),
and whether the result may be published (`quality/`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue import file_rows
from gguf_assets.catalogue.details import Details, known_at
from gguf_assets.catalogue.findings import Finding
from gguf_assets.catalogue.ordering import BaselineCursor, OrderedWalk, OutOfOrder, in_order
from gguf_assets.catalogue.parse import ListedPage
from gguf_assets.catalogue.schema import FILES, MODELS, STRINGS, TIMESTAMP
from gguf_assets.catalogue.tags import tag_columns

ROUTE = "gguf"
"""The discovery route of the walk itself: the Hub's `gguf` tag filter."""

_RAW_BASELINE = ("hub_id", "path", "size_bytes", "sha256")


@dataclass(frozen=True)
class DayContext:
    """What a snapshot depends on besides captures and baseline.

    Attributes:
        day: the partition.
        baseline_day: the published day it builds on, None on the first.
        observed_at: the Hub's clock at the first page of the walk.
    """

    day: date
    baseline_day: date | None
    observed_at: datetime


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


@dataclass
class SnapshotFigures:
    """What the merge met; counts are rows.

    Attributes:
        listed: models the walk listed and that can be trusted.
        quarantined: listed rows set aside.
        not_gguf: listed rows that are no GGUF models.
        duplicates: rows listed again.
        unconfirmed: models of the baseline that were not listed and are kept.
        taken_over: baseline models whose name another repository bears now; they are gone.
        details_known: models whose file details are known at their current sha.
        undated: listed models without `last_modified`.
        files: rows of `files`.
        quantizations: files with role `model` per label.
        findings: everything set aside or made null.
    """

    listed: int = 0
    quarantined: int = 0
    not_gguf: int = 0
    duplicates: int = 0
    unconfirmed: int = 0
    taken_over: int = 0
    details_known: int = 0
    undated: int = 0
    files: int = 0
    quantizations: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    @property
    def models(self) -> int:
        """Rows of `models`."""
        return self.listed + self.unconfirmed


class _Displaced(Exception):
    """Rows of walk and baseline lie at different places although they are the same repository."""

    def __init__(self, hub_ids: pa.Array) -> None:
        super().__init__(f"{len(hub_ids)} rows displaced")
        self.hub_ids = hub_ids


def build_snapshot(
    pages: Callable[[], Iterable[ListedPage]],
    details: Details,
    baseline: Baseline | None,
    context: DayContext,
    open_sink: Callable[[], AbstractContextManager[SnapshotSink]],
) -> SnapshotFigures:
    """Merge a captured walk onto the baseline and write `models` and `files`, chunk by chunk.

    Memory holds one chunk, the detail facts and the identities. A walk that is out of order, or rows that
    moved since the baseline (a creation time that changed or cannot be read), make it start over with
    those rows in hand; the sink opened before is left by an exception and must discard what it got.

    Args:
        pages: gives the parsed pages of the walk; may be called again.
        details: facts of the capture's detail answers.
        baseline: the last published day before this one, None on the first day.
        context: day, baseline day and time of observation.
        open_sink: opens a fresh sink.

    Returns:
        Counts and findings.
    """
    whole, displaced = False, None
    while True:
        try:
            with open_sink() as sink:
                return _merge_walk(pages(), details, baseline, context, sink, whole, displaced)
        except OutOfOrder:
            whole = True
        except _Displaced as moved:
            displaced = moved.hub_ids


def _merge_walk(
    pages: Iterable[ListedPage],
    details: Details,
    baseline: Baseline | None,
    context: DayContext,
    sink: SnapshotSink,
    whole: bool,
    displaced: pa.Array | None,
) -> SnapshotFigures:
    figures = SnapshotFigures()
    in_hand = _in_hand(baseline, displaced)
    cursor = None
    if baseline is not None:
        cursor = BaselineCursor(baseline.models(), baseline.files(list(_RAW_BASELINE)), displaced)
    walk = OrderedWalk(pages, whole=whole, known_created=None if in_hand is None else in_hand[0])
    absent_ids: list[pa.Array] = []
    new_ids: list[pa.Array] = []
    new_names: set[str] = set()
    merger = _Merger(details, context, figures, new_names)
    for listed, place in walk.chunks():
        old, old_files = cursor.take_through(place) if cursor is not None else (None, None)
        if in_hand is not None:
            old, old_files = _with_in_hand(listed, old, old_files, in_hand)
        models, files = merger.merge(listed, old, old_files)
        sink.write_models(models)
        sink.write_files(files)
        if old is not None:
            absent_ids += old["hub_id"].filter(_not_in(old, listed)).chunks
        if cursor is not None:
            new_ids += (
                listed["hub_id"] if old is None else listed["hub_id"].filter(_not_in(listed, old))
            ).chunks
    moved = _both(absent_ids, new_ids)
    if len(moved):
        raise _Displaced(moved if displaced is None else pa.concat_arrays([displaced, moved]))
    figures.quarantined, figures.not_gguf = walk.quarantined, walk.not_gguf
    figures.duplicates = walk.duplicates
    figures.findings = [*walk.findings, *details.findings, *figures.findings]
    return figures


def _in_hand(baseline: Baseline | None, displaced: pa.Array | None) -> tuple[pa.Table, pa.Table] | None:
    """Return models and files of the displaced rows of the baseline, held in memory."""
    if baseline is None or displaced is None:
        return None

    def chosen(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
        parts = [batch.filter(pc.is_in(batch["hub_id"], value_set=displaced)) for batch in batches]
        return pa.Table.from_batches(parts, schema)

    files_schema = pa.schema([FILES.arrow.field(name) for name in _RAW_BASELINE])
    return (
        chosen(baseline.models(), MODELS.arrow).combine_chunks(),
        chosen(baseline.files(list(_RAW_BASELINE)), files_schema).combine_chunks(),
    )


def _with_in_hand(
    listed: pa.Table, old: pa.Table | None, old_files: pa.Table | None, in_hand: tuple[pa.Table, pa.Table]
) -> tuple[pa.Table | None, pa.Table | None]:
    """Add to the baseline's part of a chunk the displaced rows that the chunk lists."""
    added = [part.filter(pc.is_in(part["hub_id"], value_set=_ids(listed))) for part in in_hand]
    merged = []
    for part, extra in zip((old, old_files), added, strict=True):
        parts = [p for p in (part, extra) if p is not None and p.num_rows]
        merged.append(pa.concat_tables(parts).combine_chunks() if parts else None)
    return merged[0], merged[1]


def _ids(table: pa.Table) -> pa.Array:
    return table["hub_id"].combine_chunks()


def _not_in(table: pa.Table, other: pa.Table) -> pa.ChunkedArray:
    return pc.invert(pc.is_in(table["hub_id"], value_set=_ids(other)))


def _both(left: list[pa.Array], right: list[pa.Array]) -> pa.Array:
    """Return the identities in both lists."""
    if not left or not right:
        return pa.array([], pa.string())
    first, second = pa.concat_arrays(left), pa.concat_arrays(right)
    return first.filter(pc.is_in(first, value_set=second))


class _Merger:
    """Merges one chunk of the walk with the baseline's rows of the same stretch of the order."""

    def __init__(
        self, details: Details, context: DayContext, figures: SnapshotFigures, new_names: set[str]
    ) -> None:
        self._details = details
        self._context = context
        self._figures = figures
        self._new_names = new_names

    def merge(
        self, listed: pa.Table, old: pa.Table | None, old_files: pa.Table | None
    ) -> tuple[pa.Table, pa.Table]:
        """Return the rows of `models` and `files` of this stretch."""
        present = self._present(listed, old)
        absent = self._absent(listed, old, present)
        models = present if absent is None else in_order(pa.concat_tables([present, absent]))
        models = models.combine_chunks()
        raw, names_known = self._raw_files(listed, models, old, old_files)
        files = file_rows.assemble(raw, models)
        self._count(models, files)
        return _finished_models(models, files, names_known), _finished_files(models, files)

    def _present(self, listed: pa.Table, old: pa.Table | None) -> pa.Table:
        """Return rows of `models` for what was listed; file sums are filled in later."""
        context, count = self._context, listed.num_rows
        earlier = (MODELS.empty() if old is None else old).combine_chunks()
        rows = pc.index_in(_ids(listed), value_set=_ids(earlier))
        before = {name: _one(earlier[name]).take(rows) for name in _CARRIED}
        found = known_at(self._details.models, _ids(listed), _one(listed["sha"]))
        facts = {name: _one(self._details.models[name]).take(found) for name in _HEADER}
        answered = pc.is_valid(found)
        still = pc.fill_null(pc.equal(before["sha"], _one(listed["sha"])), False)
        columns: dict[str, pa.Array] = {name: _one(listed[name]) for name in listed.column_names}
        columns |= tag_columns(columns["tags"])
        columns |= {
            "snapshot_date": _all(context.day, count, pa.date32()),
            "owner": pc.struct_field(pc.extract_regex(columns["model_id"], r"^(?P<owner>[^/]+)/"), "owner"),
            "downloads_delta": pc.subtract(columns["downloads"], before["downloads"]),
            "likes_delta": pc.subtract(columns["likes"], before["likes"]),
            "counters_observed_at": _all(context.observed_at, count, TIMESTAMP),
            "counters_stalled": pa.nulls(count, pa.bool_()),
            "baseline_date": _all(context.baseline_day, count, pa.date32()),
            "details_sha": pc.if_else(answered, columns["sha"], before["details_sha"]),
            "presence": _all("listed", count, pa.string()),
            "discovered_by": _all([ROUTE], count, STRINGS),
            "first_seen": pc.coalesce(before["first_seen"], _all(context.day, count, pa.date32())),
            "last_changed": pc.if_else(
                pc.or_(still, pc.and_(pc.is_valid(rows), pc.is_null(columns["sha"]))),
                before["last_changed"],
                _all(context.day, count, pa.date32()),
            ),
            "observed_at": _all(context.observed_at, count, TIMESTAMP),
        }
        facts_stand = pc.fill_null(pc.equal(before["details_sha"], columns["sha"]), False)
        for name in _HEADER:
            columns[name] = pc.if_else(answered, facts[name], pc.if_else(facts_stand, before[name], None))
        return _table(MODELS.arrow, columns, count)

    def _absent(self, listed: pa.Table, old: pa.Table | None, present: pa.Table) -> pa.Table | None:
        """Return the baseline's models that were not listed: they stay, unconfirmed (rule 4).

        A name belongs to one repository: where another one bears it now, the old one is gone (rule 2).
        """
        if old is None:
            return None
        known = pc.is_in(listed["hub_id"], value_set=_ids(old))
        renamed = pc.invert(pc.is_in(listed["model_id"], value_set=_one(old["model_id"])))
        fresh = listed["model_id"].filter(pc.or_(pc.invert(known), renamed))
        self._new_names.update(name.lower() for name in fresh.to_pylist())
        absent = old.filter(_not_in(old, listed))
        if absent.num_rows == 0:
            return None
        taken = pa.array([name.lower() in self._new_names for name in absent["model_id"].to_pylist()])
        self._figures.taken_over += pc.sum(taken).as_py() or 0
        absent = absent.filter(pc.invert(taken)).combine_chunks()
        count = absent.num_rows
        columns = {name: _one(absent[name]) for name in absent.column_names}
        columns |= {
            "snapshot_date": _all(self._context.day, count, pa.date32()),
            "baseline_date": _all(self._context.baseline_day, count, pa.date32()),
            "downloads_delta": pa.nulls(count, pa.int64()),
            "likes_delta": pa.nulls(count, pa.int64()),
            "counters_stalled": pa.nulls(count, pa.bool_()),
            "presence": _all("unconfirmed", count, pa.string()),
        }
        return _table(MODELS.arrow, columns, count)

    def _raw_files(
        self, listed: pa.Table, models: pa.Table, old: pa.Table | None, old_files: pa.Table | None
    ) -> tuple[pa.Table, pa.Array]:
        """Return the file entries of the chunk: of today's answers, of the baseline, or names only.

        Sizes and hashes hold for the commit they were read at; at any other only the names stand. The
        second value says of which models the file names are known at all.
        """
        ids = _ids(models)
        known = pc.fill_null(pc.equal(_one(models["details_sha"]), _one(models["sha"])), False)
        answered = pc.is_in(ids, value_set=_ids(self._details.models).filter(self._current(models)))
        carried = pc.and_(known, pc.invert(answered))
        names = _one(listed["siblings"]).take(pc.index_in(ids, value_set=_ids(listed)))
        from_listing = pc.and_not(pc.is_valid(names), known)
        parts = [_entries(self._details.files, ids, answered, True), _exploded(names, from_listing)]
        names_known = pc.or_(known, from_listing)
        if old is not None:
            from_old = pc.invert(names_known)
            if old_files is not None:
                parts.append(_entries(old_files, ids, carried, True))
                parts.append(_entries(old_files, ids, from_old, False))
            old_known = pc.is_valid(_one(old["gguf_files"]).take(pc.index_in(ids, value_set=_ids(old))))
            names_known = pc.or_(names_known, pc.and_(from_old, old_known))
        return pa.concat_tables(parts), names_known

    def _current(self, models: pa.Table) -> pa.Array:
        """Return which detail answers are for the current commit of a model of the chunk."""
        details = self._details.models
        rows = pc.index_in(_ids(details), value_set=_ids(models))
        return pc.fill_null(pc.equal(_one(models["sha"]).take(rows), _one(details["sha"])), False)

    def _count(self, models: pa.Table, files: file_rows.FileRows) -> None:
        figures = self._figures
        listed = pc.equal(models["presence"], "listed")
        figures.listed += pc.sum(listed).as_py() or 0
        figures.unconfirmed += models.num_rows - (pc.sum(listed).as_py() or 0)
        figures.details_known += pc.sum(pc.equal(models["details_sha"], models["sha"])).as_py() or 0
        figures.undated += pc.sum(pc.and_(listed, pc.is_null(models["last_modified"]))).as_py() or 0
        figures.files += len(files.rows)
        labels = files.columns["quantization"].filter(pc.equal(files.columns["role"], "model"))
        for entry in pc.value_counts(labels.drop_null()).to_pylist():
            figures.quantizations[entry["values"]] += entry["counts"]
        figures.findings += files.findings


_HEADER = ("architecture", "parameter_count", "context_length")
_CARRIED = ("sha", "downloads", "likes", "details_sha", "first_seen", "last_changed", *_HEADER)


def _one(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Return a column as one array."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _all(value: object, count: int, kind: pa.DataType) -> pa.Array:
    """Return `count` times the same value."""
    return pa.repeat(pa.scalar(value, kind), count)


def _table(schema: pa.Schema, columns: dict[str, pa.Array], count: int) -> pa.Table:
    """Return a table of the schema; columns that are not given are null."""
    return pa.table({f.name: columns.get(f.name, pa.nulls(count, f.type)) for f in schema}, schema=schema)


def _exploded(names: pa.Array, wanted: pa.Array) -> pa.Table:
    """Return one entry a file name of the wanted models, sizes and hashes unknown."""
    positions = np.flatnonzero(np.asarray(wanted))
    lists = names.take(pa.array(positions))
    paths = pc.list_flatten(lists)
    rows = pa.array(positions).take(pc.list_parent_indices(lists))
    return pa.table(
        {
            "row": rows.cast(pa.int64()),
            "path": paths,
            "size_bytes": pa.nulls(len(paths), pa.int64()),
            "sha256": pa.nulls(len(paths), pa.string()),
        },
        schema=file_rows.RAW,
    )


def _entries(files: pa.Table, ids: pa.Array, wanted: pa.Array, with_sizes: bool) -> pa.Table:
    """Return the entries of the wanted models, with or without size and hash."""
    rows = pc.index_in(files["hub_id"], value_set=ids)
    chosen = pc.fill_null(_one(wanted).take(_one(rows)), False)
    part = files.filter(chosen)
    count = part.num_rows
    return pa.table(
        {
            "row": rows.filter(chosen).cast(pa.int64()),
            "path": part["path"],
            "size_bytes": part["size_bytes"] if with_sizes else pa.nulls(count, pa.int64()),
            "sha256": part["sha256"] if with_sizes else pa.nulls(count, pa.string()),
        },
        schema=file_rows.RAW,
    )


def _finished_models(models: pa.Table, files: file_rows.FileRows, names_known: pa.Array) -> pa.Table:
    """Fill in what the files add up to; unknown where nothing ever told the names or sizes."""
    sizes_known = pc.fill_null(pc.equal(_one(models["details_sha"]), _one(models["sha"])), False)
    unknown = pa.nulls(models.num_rows, STRINGS)
    sums = {
        "gguf_files": pc.if_else(names_known, files.gguf_files, None),
        "gguf_bytes": pc.if_else(sizes_known, files.gguf_bytes, None),
        "quantizations": pc.if_else(names_known, files.quantizations, unknown),
    }
    columns = {name: sums.get(name, models[name]) for name in MODELS.arrow.names}
    return pa.table(columns, schema=MODELS.arrow)


def _finished_files(models: pa.Table, files: file_rows.FileRows) -> pa.Table:
    rows = pa.array(files.rows)
    repeated = ("snapshot_date", "hub_id", "model_id", "sha", "details_sha")
    columns = {name: _one(models[name]).take(rows) for name in repeated} | files.columns
    return pa.table({name: columns[name] for name in FILES.arrow.names}, schema=FILES.arrow)
