"""Merging one stretch of the walk with the baseline's rows of the same stretch of the order.

Here: which value a row of `models` and `files` gets, and what happens to models that the walk did not list.
Not here: cutting walk and baseline into stretches (`ordering`), and starting over (`snapshot`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue import file_rows
from gguf_assets.catalogue.details import Details, known_at
from gguf_assets.catalogue.findings import Finding
from gguf_assets.catalogue.ordering import in_order
from gguf_assets.catalogue.schema import FILES, MODELS, STRINGS, TIMESTAMP
from gguf_assets.catalogue.tags import tag_columns

_HEADER = ("architecture", "parameter_count", "context_length")
_COUNTERS = ("downloads", "downloads_all_time", "likes")
_CARRIED = ("sha", "created_at", *_COUNTERS, "details_sha", "first_seen", "last_changed", *_HEADER)


@dataclass(frozen=True)
class DayContext:
    """What a snapshot depends on besides captures and baseline.

    Attributes:
        day: the partition.
        baseline_day: the published day it builds on, None on the first.
        observed_at: the Hub's clock at the first page of the walk.
        gone: evidence by `hub_id` of models that are proven not to be there any more (rule 4).
        first_seen: when models that were gone up to the baseline were first seen, by `hub_id`.
        walked_all: whether the walk was one over all models. One over a window says nothing about who is
            absent: the others stay as they were.
    """

    day: date
    baseline_day: date | None
    observed_at: datetime
    gone: Mapping[str, str] = field(default_factory=dict)
    first_seen: Mapping[str, date] = field(default_factory=dict)
    walked_all: bool = True


@dataclass
class SnapshotFigures:
    """What the merge met; counts are rows.

    Attributes:
        listed: models the walk listed and that can be trusted.
        quarantined: listed rows set aside.
        not_gguf: listed rows that are no GGUF models.
        duplicates: rows listed again.
        put_back: models that were not listed and are there all the same.
        unconfirmed: models of the baseline that were not listed and are kept, nobody knowing better.
        carried: models of the baseline outside the window of a walk that was none over all models.
        gone: models of the baseline that are proven not to be there any more.
        taken_over: baseline models whose name another repository bears now; they are gone.
        details_known: models whose file details are known at their current sha.
        undated: listed models without `last_modified`.
        counters_compared: listed models that the baseline has, too.
        counters_moved: those of them with a counter that differs from the baseline's.
        files: rows of `files`.
        quantizations: files with role `model` per label.
        findings: everything set aside or made null.
    """

    listed: int = 0
    quarantined: int = 0
    not_gguf: int = 0
    duplicates: int = 0
    put_back: int = 0
    unconfirmed: int = 0
    carried: int = 0
    gone: int = 0
    taken_over: int = 0
    details_known: int = 0
    undated: int = 0
    counters_compared: int = 0
    counters_moved: int = 0
    files: int = 0
    quantizations: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    @property
    def models(self) -> int:
        """Rows of `models`."""
        return self.listed + self.put_back + self.unconfirmed + self.carried


class Names:
    """Who bears which name: a name belongs to one repository, whatever the case of its letters (rule 2).

    A repository that was not listed is gone if another one bears its name now. New names mostly come up
    before the old repository does (newest first), the others come late.
    """

    def __init__(self, taken_over: frozenset[str]) -> None:
        self._taken_over = taken_over
        self._given: set[str] = set()
        self._kept: dict[str, str] = {}

    def give(self, names: Iterable[str]) -> None:
        """Note names that repositories have got since the baseline."""
        self._given.update(name.lower() for name in names)

    def taken(self, hub_ids: Iterable[str], names: Iterable[str]) -> list[bool]:
        """Return which absent repositories have lost their names to others."""
        verdicts = []
        for hub_id, name in zip(hub_ids, map(str.lower, names), strict=True):
            verdicts.append(hub_id in self._taken_over or name in self._given)
            if not verdicts[-1]:
                self._kept[name] = hub_id
        return verdicts

    def late(self) -> frozenset[str]:
        """Return the repositories whose names were given away after they had been kept."""
        return frozenset(hub_id for name, hub_id in self._kept.items() if name in self._given)


class Merger:
    """Merges one chunk of the walk with the baseline's rows of the same stretch of the order."""

    def __init__(self, details: Details, context: DayContext, figures: SnapshotFigures, names: Names) -> None:
        self._details = details
        self._context = context
        self._figures = figures
        self._names = names
        self._gone = pa.array(sorted(context.gone), pa.string())
        self._returned = pa.array(sorted(context.first_seen), pa.string())
        self._returned_since = pa.array(
            [context.first_seen[hub_id] for hub_id in self._returned.to_pylist()], pa.date32()
        )

    def merge(
        self, listed: pa.Table, old: pa.Table | None, old_files: pa.Table | None
    ) -> tuple[pa.Table, pa.Table]:
        """Return the rows of `models` and `files` of this stretch; `listed` has the schema `PLACED`."""
        earlier = MODELS.empty() if old is None else old
        present = self._present(listed, earlier)
        models = present
        if self._context.baseline_day is not None:
            models = in_order(pa.concat_tables([present, self._absent(listed, earlier)])).combine_chunks()
        raw, names_known = self._raw_files(listed, models, earlier, old_files)
        files = file_rows.assemble(raw, models)
        self._count(present, models, files)
        return _finished_models(models, files, names_known), _finished_files(models, files)

    def _present(self, listed: pa.Table, earlier: pa.Table) -> pa.Table:
        """Return rows of `models` for what was listed; file sums are filled in later."""
        context, count = self._context, listed.num_rows
        rows = pc.index_in(_ids(listed), value_set=_ids(earlier))
        before = {name: _one(earlier[name]).take(rows) for name in _CARRIED}
        columns: dict[str, pa.Array] = {name: _one(listed[name]) for name in listed.column_names}
        stand = _details_stand(before, columns["sha"])
        found = known_at(self._details.models, _ids(listed), columns["sha"])
        known = pc.or_(stand, pc.is_valid(found))
        changed = pc.fill_null(pc.not_equal(before["sha"], columns["sha"]), False)
        today = _all(context.day, count, pa.date32())
        columns |= tag_columns(columns["tags"])
        columns |= {
            "snapshot_date": today,
            # Immutable, and the row's place in the order: an unreadable one is the one known before.
            "created_at": pc.coalesce(columns["created_at"], before["created_at"]),
            "owner": pc.struct_field(pc.extract_regex(columns["model_id"], r"^(?P<owner>[^/]+)/"), "owner"),
            "downloads_delta": pc.subtract(columns["downloads"], before["downloads"]),
            "likes_delta": pc.subtract(columns["likes"], before["likes"]),
            "counters_observed_at": _all(context.observed_at, count, TIMESTAMP),
            "counters_stalled": _stalled(columns, before, pc.is_valid(rows)),
            "baseline_date": _all(context.baseline_day, count, pa.date32()),
            "details_sha": pc.if_else(
                known, columns["sha"], _other_than(columns["sha"], before["details_sha"])
            ),
            "first_seen": pc.coalesce(before["first_seen"], self._seen_before(listed), today),
            "last_changed": pc.if_else(changed, today, pc.coalesce(before["last_changed"], today)),
            "observed_at": _all(context.observed_at, count, TIMESTAMP),
        }
        for name in _HEADER:
            fact = _one(self._details.models[name]).take(found)
            columns[name] = pc.if_else(stand, before[name], fact)
        return _table(MODELS.arrow, columns, count)

    def _seen_before(self, listed: pa.Table) -> pa.Array:
        """Return when models that had been gone were first seen; null for all others."""
        return self._returned_since.take(pc.index_in(_ids(listed), value_set=self._returned))

    def _absent(self, listed: pa.Table, earlier: pa.Table) -> pa.Table:
        """Return the baseline's models that nothing shows and nothing proves gone: they stay (rule 4)."""
        former = _one(earlier["model_id"]).take(pc.index_in(_ids(listed), value_set=_ids(earlier)))
        same_name = pc.fill_null(pc.equal(former, _one(listed["model_id"])), False)
        self._names.give(listed["model_id"].filter(pc.invert(same_name)).to_pylist())
        absent = earlier.filter(pc.invert(pc.is_in(_ids(earlier), value_set=_ids(listed))))
        gone = pc.is_in(_ids(absent), value_set=self._gone)
        self._figures.gone += pc.sum(gone).as_py() or 0
        absent = absent.filter(pc.invert(gone))
        taken = self._names.taken(absent["hub_id"].to_pylist(), absent["model_id"].to_pylist())
        self._figures.taken_over += sum(taken)
        absent = absent.filter(pc.invert(pa.array(taken, pa.bool_())))
        count = absent.num_rows
        columns = {name: _one(absent[name]) for name in absent.column_names}
        columns |= {
            "snapshot_date": _all(self._context.day, count, pa.date32()),
            "baseline_date": _all(self._context.baseline_day, count, pa.date32()),
            "downloads_delta": pa.nulls(count, pa.int64()),
            "likes_delta": pa.nulls(count, pa.int64()),
            "counters_stalled": pa.nulls(count, pa.bool_()),
        }
        if self._context.walked_all:
            columns["presence"] = _all("unconfirmed", count, pa.string())
            self._figures.unconfirmed += count
        else:
            self._figures.carried += count
        return _table(MODELS.arrow, columns, count)

    def _raw_files(
        self, listed: pa.Table, models: pa.Table, earlier: pa.Table, old_files: pa.Table | None
    ) -> tuple[pa.Table, pa.Array]:
        """Return the file entries of the chunk: of the baseline, of today's answers, or names only.

        Sizes and hashes hold for the commit they were read at; at any other only the names stand. The
        second value says of which models the file names are known at all.
        """
        ids, shas = _ids(models), _one(models["sha"])
        rows = pc.index_in(ids, value_set=_ids(earlier))
        before = {name: _one(earlier[name]).take(rows) for name in ("sha", "details_sha", "gguf_files")}
        carried = _details_stand(before, shas)
        known = pc.fill_null(pc.equal(_one(models["details_sha"]), shas), False)
        names = _one(listed["siblings"]).take(pc.index_in(ids, value_set=_ids(listed)))
        from_listing = pc.and_not(pc.is_valid(names), known)
        from_old = pc.and_(pc.is_valid(before["gguf_files"]), pc.invert(pc.or_(known, from_listing)))
        parts = [self._answered_files(models, pc.and_not(known, carried)), _exploded(names, from_listing)]
        if old_files is not None:
            parts.append(_carried_files(old_files, ids, carried, from_old))
        return pa.concat_tables(parts), pc.or_(pc.or_(known, from_listing), from_old)

    def _answered_files(self, models: pa.Table, answered: pa.Array) -> pa.Table:
        """Return the entries of the models that today's answers describe."""
        positions = np.flatnonzero(np.asarray(answered))
        rows = pc.index_in(_ids(models).take(pa.array(positions)), value_set=_ids(self._details.models))
        owners, files = self._details.files_of(np.asarray(rows, dtype=np.int64))
        entries = [pa.array(positions[owners]), *(_one(files[name]) for name in file_rows.RAW.names[1:])]
        return pa.table(entries, schema=file_rows.RAW)

    def _count(self, present: pa.Table, models: pa.Table, files: file_rows.FileRows) -> None:
        figures = self._figures
        listed = pc.equal(present["presence"], "listed")
        figures.listed += pc.sum(listed).as_py() or 0
        figures.put_back += present.num_rows - (pc.sum(listed).as_py() or 0)
        figures.details_known += pc.sum(pc.equal(models["details_sha"], models["sha"])).as_py() or 0
        stalled = present["counters_stalled"]
        figures.counters_compared += pc.count(stalled).as_py()
        figures.counters_moved += pc.count(stalled).as_py() - (pc.sum(stalled).as_py() or 0)
        figures.undated += pc.sum(pc.and_(listed, pc.is_null(present["last_modified"]))).as_py() or 0
        figures.files += len(files.rows)
        labels = files.columns["quantization"].filter(pc.equal(files.columns["role"], "model"))
        for entry in pc.value_counts(labels.drop_null()).to_pylist():
            figures.quantizations[entry["values"]] += entry["counts"]
        figures.findings += files.findings


def _one(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Return a column as one array."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _all(value: object, count: int, kind: pa.DataType) -> pa.Array:
    """Return `count` times the same value."""
    return pa.repeat(pa.scalar(value, kind), count) if count else pa.array([], kind)


def _details_stand(before: dict[str, pa.Array], shas: pa.Array) -> pa.Array:
    """Return for which models the baseline has the details of the given commits.

    It has them only if it was at that commit itself: at another one it kept `details_sha`, not the details.
    """
    same = pc.and_(pc.equal(before["details_sha"], shas), pc.equal(before["sha"], shas))
    return pc.fill_null(same, False)


def _stalled(now: dict[str, pa.Array], before: dict[str, pa.Array], known: pa.Array) -> pa.Array:
    """Return which listed models have the counters of the baseline; null for others and where it has none."""
    judged = pc.and_(known, pc.equal(now["presence"], "listed"))
    verdict = pc.if_else(judged, True, pa.scalar(None, pa.bool_()))
    for name in _COUNTERS:
        both_unknown = pc.and_(pc.is_null(now[name]), pc.is_null(before[name]))
        equal = pc.or_(pc.fill_null(pc.equal(now[name], before[name]), False), both_unknown)
        verdict = pc.and_(verdict, equal)
    return verdict


def _other_than(shas: pa.Array, details_shas: pa.Array) -> pa.Array:
    """Return the last commits that details are known of, null where those were lost: they are asked for."""
    lost = pc.fill_null(pc.equal(details_shas, shas), False)
    return pc.if_else(lost, None, details_shas)


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


def _carried_files(files: pa.Table, ids: pa.Array, whole: pa.Array, names_only: pa.Array) -> pa.Table:
    """Return the baseline's entries of models: with size and hash, or their names only."""
    rows = _one(pc.index_in(files["hub_id"], value_set=ids))
    wanted = pc.fill_null(pc.or_(whole, names_only).take(rows), False)
    files, rows = files.filter(wanted), rows.filter(wanted)
    stand = whole.take(rows)
    facts = [pc.if_else(stand, _one(files[name]), None) for name in ("size_bytes", "sha256")]
    return pa.table([rows.cast(pa.int64()), _one(files["path"]), *facts], schema=file_rows.RAW)


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


def _ids(table: pa.Table) -> pa.Array:
    return _one(table["hub_id"])
