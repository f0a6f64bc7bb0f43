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
    "sized",
    "empty",
    "sharded",
    "sharded_incomplete",
    "runnable",
    "runnable_whole",
    "adapters",
    "adapters_whole",
    "weights_sized",
    "weights_hashed",
    "model_files",
    "labelled",
    "labelled_sized",
    "mismatched",
)
"""Counts for each model: of all its files; of those that run (roles `model`, `draft`), of adapters (roles
`lora`, `control_vector`) and of both (weights_); of those with role `model` (model_files to mismatched)."""

SMALLEST_GGUF = 65
"""Bytes of the smallest GGUF file with a tensor: header 24, its description at least 33, padded to 64 (the
default alignment of 32, GGUF specification), and one byte of data."""

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
    runnable = model | true(pc.equal(batch["role"], "draft"))
    adapter = true(pc.is_in(batch["role"], value_set=pa.array(["lora", "control_vector"])))
    weights = runnable | adapter
    sized = true(pc.is_valid(batch["size_bytes"]))
    empty = true(pc.equal(batch["size_bytes"], 0)) | (
        weights & true(pc.less(batch["size_bytes"], SMALLEST_GGUF))
    )
    incomplete = true(pc.equal(batch["shard_set_complete"], False))
    whole = ~empty & ~incomplete
    labelled = model & true(pc.is_valid(batch["quantization"]))
    return {
        "files": np.ones(len(batch), dtype=bool),
        "sized": sized,
        "empty": empty,
        "sharded": true(pc.is_valid(batch["shard_set_complete"])),
        "sharded_incomplete": incomplete,
        "runnable": runnable,
        "runnable_whole": runnable & whole,
        "adapters": adapter,
        "adapters_whole": adapter & whole,
        "weights_sized": weights & sized,
        "weights_hashed": weights & sized & true(pc.is_valid(batch["sha256"])),
        "model_files": model,
        "labelled": labelled,
        "labelled_sized": labelled & sized,
        "mismatched": labelled & sized & true(list_contains(batch["flags"], "label_size_mismatch")),
    }
