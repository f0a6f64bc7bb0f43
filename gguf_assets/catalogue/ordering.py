"""The one order of a day: newest `created_at` first (unknown last), then `hub_id`.

Walk and baseline share it, so a day is a merge of two streams and nothing is sorted as a whole. Here: the
listing cut into ordered chunks, and the baseline read in step with them. Not here: what the merged rows
mean (`snapshot`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue.findings import Finding
from gguf_assets.catalogue.parse import LISTED, ListedPage

CHUNK_MODELS = 8_000
"""Models handled at once; bounds memory and has no influence on the rows."""

_UNDATED = np.iinfo(np.int64).min
_LAST_ID = "g"  # greater than every hexadecimal identity


class OutOfOrder(Exception):
    """The walk did not keep the promised order: it has to be taken in one piece and sorted."""


@dataclass(frozen=True)
class Place:
    """A place in the order; every row at or before it has been seen."""

    created: int
    hub_id: str


END = Place(_UNDATED, _LAST_ID)


def created_keys(table: pa.Table) -> np.ndarray:
    """Return `created_at` as int64 microseconds, unknown times as the smallest number."""
    return np.asarray(pc.fill_null(table["created_at"].cast(pa.int64()), _UNDATED))


def in_order(table: pa.Table) -> pa.Table:
    """Return the table sorted; the common case of a sorted table costs one comparison a row."""
    keys = created_keys(table)
    steps = np.diff(keys)
    ties = np.flatnonzero(steps == 0)
    if not (steps > 0).any():
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

    def chunks(self) -> Iterator[tuple[pa.Table, Place]]:
        """Yield chunks of schema `LISTED` and the place up to which the order is now complete.

        The last chunk (possibly empty) comes with `END`. Rows of one creation time are never split.

        Raises:
            OutOfOrder: a row came after an older one.
        """
        held: list[pa.Table] = [LISTED.empty_table()]
        undated: list[pa.Table] = []
        for page in self._pages:
            self.findings += page.findings
            self.quarantined += page.quarantined
            self.not_gguf += page.not_gguf
            dated = self._dated(page.models, undated)
            held.append(dated)
            if not self._whole and sum(part.num_rows for part in held) >= CHUNK_MODELS:
                table = self._sorted(pa.concat_tables(held).combine_chunks())
                keys = created_keys(table)
                cut = int(np.flatnonzero(keys > keys[-1])[-1]) + 1 if keys[0] > keys[-1] else 0
                held = [table.slice(cut)]
                if cut:
                    place = Place(int(keys[cut - 1]), _LAST_ID)
                    yield self._without_doubles(table.slice(0, cut)), place
        rest = self._sorted(pa.concat_tables(held).combine_chunks())
        last = in_order(pa.concat_tables([rest, *undated]).combine_chunks())
        yield self._without_doubles(last), END

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

    def _sorted(self, table: pa.Table) -> pa.Table:
        if not self._whole and (np.diff(created_keys(table)) > 0).any():
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

    def take_through(self, place: Place) -> tuple[pa.Table | None, pa.Table | None]:
        """Return the models up to and including a place, and their files; None where there are none."""
        parts: list[pa.Table] = []
        while (held := self._more(self._held_models, self._models)) is not None:
            count = _count_through(held, place)
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
            if self._displaced is not None:
                held = held.filter(pc.invert(pc.is_in(held["hub_id"], value_set=self._displaced)))
        return held


def _count_through(table: pa.Table, place: Place) -> int:
    """Return how many leading rows of an ordered table lie at or before a place."""
    keys = created_keys(table)
    before = int(np.searchsorted(-(keys + 1), -(place.created + 1), side="left"))
    count = before
    while (
        count < len(keys) and keys[count] == place.created and table["hub_id"][count].as_py() <= place.hub_id
    ):
        count += 1
    return count


def _joined(parts: list[pa.Table]) -> pa.Table | None:
    filled = [part for part in parts if part.num_rows]
    return pa.concat_tables(filled).combine_chunks() if filled else None
