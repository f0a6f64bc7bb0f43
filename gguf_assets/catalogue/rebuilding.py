"""The `files` of a day again, from those of an earlier day and what changed since.

A pure function: paths, sizes and hashes come from the earlier day and from `file_changes`, everything else of
a row from its path and from the day's `models`, by the functions that made it at first. What belongs here:
that, and finding the rows that do not come out so. What does not: where the days lie, and whether one may be
removed (`store/`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue import file_rows
from gguf_assets.catalogue.schema import FILES

DETAILS = ("hub_id", "sha", "details_sha")
"""Columns of `models` that say whose sizes and hashes are known on a day."""

CHANGED = ("hub_id", "path", "change", "size_bytes", "sha256")
"""Columns of `file_changes` that say what a file is from that day on."""

FACTS = ("hub_id", "path", "size_bytes", "sha256")
"""Columns of `files` that are known, not derived."""

MODEL_COLUMNS = (
    "snapshot_date",
    "hub_id",
    "model_id",
    "sha",
    "details_sha",
    "parameter_count",
    "architecture",
    "base_models",
)
"""Columns of `models` that rows of `files` repeat or are computed with."""

KEPT = pa.schema([pa.field(field.name, field.type) for field in FILES.arrow])
"""Rows kept because they do not come out; a model that has no files has one row without a path."""

SLICE = 4_000
"""Models rebuilt at once; bounds memory and has no influence on the rows."""

_REPEATED = ("snapshot_date", "hub_id", "model_id", "sha", "details_sha")


@dataclass(frozen=True)
class Step:
    """One published day after the earlier one.

    Attributes:
        changes: its `file_changes`, columns `CHANGED`.
        unknown: identities of its models whose sizes and hashes are not known on that day.
    """

    changes: pa.Table
    unknown: pa.Array


def unknown_of(models: pa.Table) -> pa.Array:
    """Return the identities whose details are not known; `models` has the columns `DETAILS`."""
    known = pc.fill_null(pc.equal(models["sha"], models["details_sha"]), False)
    return _one(models["hub_id"].filter(pc.invert(known)))


def displaced(earlier: pa.Table, models: pa.Table) -> pa.Array:
    """Return the identities whose place in the order of models is another one than on the earlier day.

    Args:
        earlier: hub_id and created_at of the earlier day.
        models: the same of the day to be rebuilt.
    """
    before = _one(earlier["created_at"]).take(
        _one(pc.index_in(models["hub_id"], value_set=_one(earlier["hub_id"])))
    )
    there = pc.is_in(models["hub_id"], value_set=_one(earlier["hub_id"]))
    now = _one(models["created_at"])
    same = pc.or_(pc.fill_null(pc.equal(before, now), False), pc.and_(pc.is_null(before), pc.is_null(now)))
    return _one(models["hub_id"].filter(pc.and_(_one(there), pc.invert(same))))


class Rebuilding:
    """Rebuilds the files of a day, stretch by stretch, in its own order.

    Memory holds the identities of the day, the changes since the earlier day and one stretch.

    Args:
        hub_ids: identities of the day's models, in order.
        steps: the published days after the earlier one, the day itself last.
        earlier: batches of the earlier day's `files`, columns `FACTS`, in order.
        moved: `displaced` of the two days.
        in_hand: the earlier day's files of those, columns `FACTS`.
        kept: rows that stand as they are, schema `KEPT`, and replace all rows of their models.
    """

    def __init__(
        self,
        hub_ids: pa.Array,
        steps: Sequence[Step],
        earlier: Iterable[pa.RecordBatch],
        moved: pa.Array,
        in_hand: pa.Table,
        kept: pa.Table | None = None,
    ) -> None:
        self._hub_ids = hub_ids
        self._moved = moved
        self._earlier = _Stream(earlier, hub_ids, moved)
        self._kept = KEPT.empty_table() if kept is None else kept
        self._events = self._history(steps, in_hand)
        self._nulled = np.full(len(hub_ids), -1)
        for number, step in enumerate(steps, start=1):
            places = pc.index_in(step.unknown, value_set=hub_ids).drop_null()
            self._nulled[np.asarray(places, dtype=np.int64)] = number

    def tables(self, models: Iterable[pa.RecordBatch]) -> Iterator[tuple[pa.Table, pa.Table]]:
        """Yield stretches of the day's models, and their rows of `files`.

        Args:
            models: batches of the day's `models`, at least `MODEL_COLUMNS`, in order.
        """
        start = 0
        for batch in models:
            for first in range(0, batch.num_rows, SLICE):
                part = pa.Table.from_batches([batch.slice(first, SLICE)]).combine_chunks()
                yield part, self._files(part, start)
                start += part.num_rows

    def _history(self, steps: Sequence[Step], in_hand: pa.Table) -> pa.Table:
        """Return what happened to files, by place of the model; files in hand happened before all steps."""
        parts = [_placed(in_hand, self._hub_ids, 0, None)]
        for number, step in enumerate(steps, start=1):
            parts.append(_placed(step.changes, self._hub_ids, number, step.changes["change"]))
        together = pa.concat_tables(parts).combine_chunks()
        return together.take(pa.array(np.argsort(np.asarray(together["place"]), kind="stable")))

    def _files(self, models: pa.Table, start: int) -> pa.Table:
        """Return the rows of the next stretch; `start` is the place of its first model."""
        end = start + models.num_rows
        places = np.asarray(self._events["place"])
        low, high = np.searchsorted(places, (start, end))
        facts = pa.concat_tables([self._earlier.up_to(end), self._events.slice(low, high - low)])
        raw = self._standing(facts.combine_chunks(), start)
        files = file_rows.assemble(raw, models)
        rows = pa.array(files.rows)
        columns = {name: _one(models[name]).take(rows) for name in _REPEATED} | files.columns
        table = pa.table({name: columns[name] for name in FILES.arrow.names}, schema=FILES.arrow)
        return self._with_kept(table, _one(models["hub_id"]))

    def _standing(self, facts: pa.Table, start: int) -> pa.Table:
        """Return the file entries that are there in the end, schema `file_rows.RAW`: the last word counts."""
        paths = _one(facts["path"]).dictionary_encode()
        places, steps = np.asarray(facts["place"]), np.asarray(facts["step"])
        keys = places * max(len(paths.dictionary), 1) + np.asarray(paths.indices, dtype=np.int64)
        order = np.lexsort((steps, keys))
        last = np.ones(len(order), dtype=bool)
        last[:-1] = keys[order][1:] != keys[order][:-1]
        chosen = order[last]
        chosen = chosen[~np.asarray(facts["gone"])[chosen]]
        # Sizes and hashes were given up on every day on which the details were not known.
        stand = pa.array(steps[chosen] > self._nulled[places[chosen]], pa.bool_())
        index = pa.array(chosen)
        size, sha256 = (
            pc.if_else(stand, _one(facts[name]).take(index), None) for name in ("size_bytes", "sha256")
        )
        rows = pa.array(places[chosen] - start, pa.int64())
        return pa.table([rows, _one(facts["path"]).take(index), size, sha256], schema=file_rows.RAW)

    def _with_kept(self, files: pa.Table, hub_ids: pa.Array) -> pa.Table:
        """Replace the rows of models of which the rows themselves were kept."""
        kept = self._kept.filter(pc.is_in(self._kept["hub_id"], value_set=hub_ids))
        if not kept.num_rows:
            return files
        others = files.filter(pc.invert(pc.is_in(files["hub_id"], value_set=_one(kept["hub_id"]))))
        rows = pa.concat_tables([others, kept.filter(pc.is_valid(kept["path"])).cast(FILES.arrow)])
        owners = np.asarray(pc.index_in(_one(rows["hub_id"]), value_set=hub_ids), dtype=np.int64)
        return rows.take(pa.array(np.argsort(owners, kind="stable"))).combine_chunks()


def differing(models: pa.Table, rebuilt: pa.Table, actual: pa.Table) -> pa.Table:
    """Return the rows to be kept, schema `KEPT`: of the models whose rebuilt rows are not the actual ones.

    Args:
        models: some models of a day, in order.
        rebuilt: their rows of `files` as rebuilt.
        actual: their rows of `files` as they are.
    """
    if rebuilt.equals(actual):
        return KEPT.empty_table()
    ids = _one(models["hub_id"])
    bounds = [_bounds(table, ids) for table in (rebuilt, actual)]
    parts = []
    for number, hub_id in enumerate(ids.to_pylist()):
        ours, theirs = (
            table.slice(bound[number], bound[number + 1] - bound[number])
            for table, bound in zip((rebuilt, actual), bounds, strict=True)
        )
        if ours.equals(theirs):
            continue
        if theirs.num_rows:
            parts.append(theirs.cast(KEPT))
        else:
            parts.append(pa.Table.from_pylist([{"hub_id": hub_id}], schema=KEPT))
    return pa.concat_tables([KEPT.empty_table(), *parts]).combine_chunks()


def _bounds(table: pa.Table, hub_ids: pa.Array) -> np.ndarray:
    """Return where the rows of each model begin, and where those of the last one end."""
    owners = np.asarray(pc.index_in(_one(table["hub_id"]), value_set=hub_ids), dtype=np.int64)
    return np.searchsorted(owners, np.arange(len(hub_ids) + 1))


class _Stream:
    """The earlier day's files of models that are still there and at the same place of the order."""

    def __init__(self, batches: Iterable[pa.RecordBatch], hub_ids: pa.Array, moved: pa.Array) -> None:
        self._batches = iter(batches)
        self._hub_ids = hub_ids
        self._moved = moved
        self._held = _placed(None, hub_ids, 0, None)

    def up_to(self, end: int) -> pa.Table:
        """Return the next files, of the models before a place."""
        parts = []
        while True:
            count = int(np.searchsorted(np.asarray(self._held["place"]), end))
            parts.append(self._held.slice(0, count))
            if count < self._held.num_rows:
                self._held = self._held.slice(count)
                break
            batch = next(self._batches, None)
            if batch is None:
                self._held = self._held.slice(count)
                break
            table = pa.Table.from_batches([batch])
            table = table.filter(pc.invert(pc.is_in(table["hub_id"], value_set=self._moved)))
            self._held = _placed(table, self._hub_ids, 0, None)
        return pa.concat_tables(parts)


_PLACED = pa.schema(
    [
        ("place", pa.int64()),
        ("step", pa.int64()),
        ("gone", pa.bool_()),
        ("path", pa.string()),
        ("size_bytes", pa.int64()),
        ("sha256", pa.string()),
    ]
)


def _placed(table: pa.Table | None, hub_ids: pa.Array, step: int, kinds: pa.ChunkedArray | None) -> pa.Table:
    """Return the entries of models that are there, with the places of these among the day's models."""
    if table is None or not table.num_rows:
        return _PLACED.empty_table()
    places = _one(pc.index_in(table["hub_id"], value_set=hub_ids))
    count = table.num_rows
    columns = [
        places.cast(pa.int64()),
        pa.repeat(pa.scalar(step, pa.int64()), count),
        pa.repeat(pa.scalar(False), count) if kinds is None else _one(pc.equal(kinds, "removed")),
        *(_one(table[name]) for name in ("path", "size_bytes", "sha256")),
    ]
    return pa.table(columns, schema=_PLACED).filter(pc.is_valid(places)).combine_chunks()


def _one(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Return a column as one array."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
