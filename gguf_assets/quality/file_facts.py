"""What the files of each model add up to, for the health checks.

Filled batch by batch from `files`, whose rows are together for each model; nothing of single files is kept.
What the sums mean for the health of a model stands in `health`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.quality.model_rules import list_contains

FACTS = (
    "files",
    "model_files",
    "sized",
    "empty",
    "sharded",
    "sharded_incomplete",
    "labelled",
    "labelled_sized",
    "mismatched",
    "model_sized",
    "model_hashed",
)
"""Counts for each model: of all its files, or of those with role `model` (model_, labelled, mismatched)."""


FILE_COLUMNS = ("hub_id", "role", "size_bytes", "sha256", "quantization", "shard_set_complete", "flags")
"""The columns of `files` that are counted."""


class FileFacts:
    """Counts the files of each model. Complete once every batch of the day was added."""

    def __init__(self) -> None:
        self._parts: list[pa.Table] = []
        self._sums: pa.Table | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        """Count the next batch of `files`, of which `FILE_COLUMNS` are enough."""
        if not len(batch):
            return
        ids = pc.fill_null(batch["hub_id"], "")
        starts = np.concatenate(([True], np.asarray(pc.not_equal(ids.slice(1), ids.slice(0, len(ids) - 1)))))
        first = np.flatnonzero(starts)
        counts = {name: np.add.reduceat(mask, first, dtype=np.int64) for name, mask in _masks(batch).items()}
        self._parts.append(pa.table({"hub_id": ids.take(pa.array(first)), **counts}))
        self._sums = None

    def of(self, hub_ids: pa.Array) -> dict[str, npt.NDArray[np.int64]]:
        """Return the counts of the given models, zero for a model without files.

        Args:
            hub_ids: n identities.

        Returns:
            For each of `FACTS` an array of n counts.
        """
        if not self._parts:
            return {name: np.zeros(len(hub_ids), dtype=np.int64) for name in FACTS}
        if self._sums is None:
            # A model whose rows lie in two batches has two parts.
            parts = pa.concat_tables(self._parts).group_by("hub_id", use_threads=False)
            self._sums = parts.aggregate([(name, "sum") for name in FACTS]).combine_chunks()
        place = pc.index_in(hub_ids, value_set=self._sums["hub_id"])
        return {
            name: np.asarray(pc.fill_null(self._sums[f"{name}_sum"].take(place).combine_chunks(), 0))
            for name in FACTS
        }


def _masks(batch: pa.RecordBatch) -> dict[str, npt.NDArray[np.bool_]]:
    def true(mask: pa.Array) -> npt.NDArray[np.bool_]:
        return np.asarray(pc.fill_null(mask, False))

    model = true(pc.equal(batch["role"], "model"))
    sized = true(pc.is_valid(batch["size_bytes"]))
    labelled = model & true(pc.is_valid(batch["quantization"]))
    return {
        "files": np.ones(len(batch), dtype=bool),
        "model_files": model,
        "sized": sized,
        "empty": true(pc.equal(batch["size_bytes"], 0)),
        "sharded": true(pc.is_valid(batch["shard_set_complete"])),
        "sharded_incomplete": true(pc.equal(batch["shard_set_complete"], False)),
        "labelled": labelled,
        "labelled_sized": labelled & sized,
        "mismatched": labelled & sized & true(list_contains(batch["flags"], "label_size_mismatch")),
        "model_sized": model & sized,
        "model_hashed": model & sized & true(pc.is_valid(batch["sha256"])),
    }
