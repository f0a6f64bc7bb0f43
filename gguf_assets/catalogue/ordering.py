"""The one order of a day: newest `created_at` first (unknown last), then `hub_id`.

Walk and baseline share it, so a day is a merge of two streams and nothing is sorted as a whole. Here: the
listing cut into ordered chunks, and the baseline read in step with them. Not here: what the merged rows
mean (`snapshot`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue.findings import Finding
from gguf_assets.catalogue.parse import LISTED, ListedPage

CHUNK_MODELS = 4_000
"""Models handled at once; bounds memory and has no influence on the rows."""

_UNDATED = np.iinfo(np.int64).min

END = int(_UNDATED)
"""The place behind all rows. A place is a creation time (`created_keys`); all rows from then on were seen."""


class OutOfOrder(Exception):
    """The walk did not keep the promised order: it has to be taken in one piece and sorted."""


def created_keys(table: pa.Table) -> np.ndarray:
    """Return `created_at` as int64 microseconds, unknown times as the smallest number."""
    return np.asarray(pc.fill_null(table["created_at"].cast(pa.int64()), _UNDATED))


def in_order(table: pa.Table) -> pa.Table:
    """Return the table sorted; the common case of a sorted table costs one comparison a row."""
    keys = created_keys(table)
    if not (keys[1:] > keys[:-1]).any():
        ties = np.flatnonzero(keys[1:] == keys[:-1])
        ids = table["hub_id"]
        before, after = ids.take(pa.array(ties)), ids.take(pa.array(ties + 1))
        if not pc.any(pc.greater(before, after)).as_py():
            return table
    order = pc.sort_indices(
        pa.table({"created": pa.array(keys), "hub_id": table["hub_id"]}),
        sort_keys=[("created", "descending"), ("hub_id", "ascending")],
    )
    return table.take(order)


class OrderedWalk:
    """Cuts parsed pages into chunks in order, without doubles, counting what it meets.

    Args:
        pages: parsed pages as walked.
        whole: take the walk in one piece and sort it, for a walk that is out of order.
        known_created: hub_id and created_at by the baseline, for rows whose own time cannot be read.
    """

    def __init__(
        self, pages: Iterable[ListedPage], *, whole: bool = False, known_created: pa.Table | None = None
    ) -> None:
        self._pages = pages
        self._whole = whole
        self._known_created = known_created
        self._seen: set[str] = set()
        self.findings: list[Finding] = []
        self.quarantined = 0
        self.not_gguf = 0
        self.duplicates = 0

    def chunks(self) -> Iterator[tuple[pa.Table, int]]:
        """Yield chunks of schema `LISTED` and the place up to which the order is now complete.

        The last chunk (possibly empty) comes with `END`. Rows of one creation time are never split.

        Raises:
            OutOfOrder: a row came after an older one.
        """
        undated: list[pa.Table] = []
        tables = self._dated_tables(undated)
        if self._whole:
            everything = in_order(_together([LISTED.empty_table(), *tables]))
            starts = range(0, everything.num_rows, CHUNK_MODELS)
            tables = (everything.slice(start, CHUNK_MODELS) for start in starts)
        held = [LISTED.empty_table()]
        for table in tables:
            held.append(table)
            if sum(part.num_rows for part in held) >= CHUNK_MODELS:
                ready = self._sorted(held)
                keys = created_keys(ready)
                cut = int(np.searchsorted(-keys, -keys[-1], side="left"))
                held = [ready.slice(cut)]
                if cut:
                    yield self._without_doubles(ready.slice(0, cut)), int(keys[cut - 1])
        last = _together([self._sorted(held), *undated])
        yield self._without_doubles(in_order(last)), END

    def seen(self, hub_ids: set[str]) -> frozenset[str]:
        """Return which of these repositories the walk has listed so far."""
        return frozenset(hub_ids & self._seen)

    def _dated_tables(self, undated: list[pa.Table]) -> Iterator[pa.Table]:
        for page in self._pages:
            self.findings += page.findings
            self.quarantined += page.quarantined
            self.not_gguf += page.not_gguf
            yield self._dated(page.models, undated)

    def _dated(self, models: pa.Table, undated: list[pa.Table]) -> pa.Table:
        """Split off rows without a creation time, unless the baseline knows it."""
        if self._known_created is not None:
            rows = pc.index_in(models["hub_id"], value_set=self._known_created["hub_id"].combine_chunks())
            known = self._known_created["created_at"].combine_chunks().take(rows.combine_chunks())
            position = models.schema.get_field_index("created_at")
            models = models.set_column(
                position, models.schema.field(position), pc.coalesce(models["created_at"], known)
            )
        if models["created_at"].null_count == 0:
            return models
        undated.append(models.filter(pc.is_null(models["created_at"])))
        return models.filter(pc.is_valid(models["created_at"]))

    def _sorted(self, parts: list[pa.Table]) -> pa.Table:
        table = _together(parts)
        keys = created_keys(table)
        if (keys[1:] > keys[:-1]).any():
            raise OutOfOrder
        return in_order(table)

    def _without_doubles(self, table: pa.Table) -> pa.Table:
        """Keep the first row of every identity (rule 6: de-duplicate on `_id`)."""
        ids = table["hub_id"].to_pylist()
        fresh = set(ids)
        if len(fresh) == len(ids) and self._seen.isdisjoint(fresh):
            self._seen |= fresh
            return table
        keep = []
        for hub_id, model_id in zip(ids, table["model_id"].to_pylist(), strict=True):
            keep.append(hub_id not in self._seen)
            self._seen.add(hub_id)
            if not keep[-1]:
                self.duplicates += 1
                self.findings.append(
                    Finding(
                        "listed_twice",
                        "warning",
                        "the walk listed the repository more than once; the first row counts",
                        hub_id=hub_id,
                        model_id=model_id,
                        value=hub_id,
                    )
                )
        return table.filter(pa.array(keep))


class BaselineCursor:
    """Reads the baseline's models and files in step with the walk.

    Args:
        models: batches of the baseline's `models`, in order.
        files: batches of its `files` (at least hub_id, path, size_bytes, sha256), in the same order.
        displaced: identities to leave out because they are handed in another way.
    """

    def __init__(
        self,
        models: Iterable[pa.RecordBatch],
        files: Iterable[pa.RecordBatch],
        displaced: pa.Array | None = None,
    ) -> None:
        self._models = iter(models)
        self._files = iter(files)
        self._displaced = displaced
        self._held_models: pa.Table | None = None
        self._held_files: pa.Table | None = None

    def take_through(self, place: int) -> tuple[pa.Table | None, pa.Table | None]:
        """Return the next models up to and including a place, and their files; None where there are none."""
        parts: list[pa.Table] = []
        while (held := self._more(self._held_models, self._models)) is not None:
            # Newest first: negated keys rise; one more keeps the smallest integer negatable.
            count = int(np.searchsorted(-(created_keys(held) + 1), -(place + 1), side="right"))
            parts.append(held.slice(0, count))
            self._held_models = held.slice(count)
            if count < held.num_rows:
                break
        models = _joined(parts)
        return models, None if models is None else self._files_of(models["hub_id"].combine_chunks())

    def _files_of(self, hub_ids: pa.Array) -> pa.Table | None:
        """Return the next files as long as they belong to the given models."""
        parts: list[pa.Table] = []
        while (held := self._more(self._held_files, self._files)) is not None:
            inside = pc.is_in(held["hub_id"], value_set=hub_ids).to_numpy()
            count = held.num_rows if inside.all() else int(np.argmin(inside))
            parts.append(held.slice(0, count))
            self._held_files = held.slice(count)
            if count < held.num_rows:
                break
        return _joined(parts)

    def _more(self, held: pa.Table | None, batches: Iterator[pa.RecordBatch]) -> pa.Table | None:
        """Return what is held back, or the next rows that are to be read, or None at the end."""
        while held is None or held.num_rows == 0:
            batch = next(batches, None)
            if batch is None:
                return None
            held = pa.Table.from_batches([batch])
            if self._displaced is not None and len(self._displaced):
                held = held.filter(pc.invert(pc.is_in(held["hub_id"], value_set=self._displaced)))
        return held


def _joined(parts: list[pa.Table]) -> pa.Table | None:
    filled = [part for part in parts if part.num_rows]
    return _together(filled) if filled else None


def _together(parts: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(parts).combine_chunks()
