"""A stream of rows ordered by model, taken stretch by stretch in step with a stream of models."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class Slices:
    """The rows of the next models each time.

    Args:
        batches: rows with a column `hub_id`, in the order of the models.
        schema: their columns.
    """

    def __init__(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
        self._batches = iter(batches)
        self._schema = schema
        self._held = schema.empty_table()

    def of(self, hub_ids: pa.Array) -> pa.Table:
        """Return the next rows as long as they belong to the given models, as one chunk a column."""
        parts = [self._schema.empty_table()]
        while True:
            inside = pc.is_in(self._held["hub_id"], value_set=hub_ids).to_numpy()
            count = len(inside) if inside.all() else int(np.argmin(inside))
            parts.append(self._held.slice(0, count))
            self._held = self._held.slice(count)
            if self._held.num_rows:
                break
            batch = next(self._batches, None)
            if batch is None:
                break
            self._held = pa.Table.from_batches([batch], self._schema)
        return pa.concat_tables(parts).combine_chunks()
