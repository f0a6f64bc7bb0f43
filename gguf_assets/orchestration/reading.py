"""The tables of a day as the settings want them read: in batches, in smaller ones near the limit, or whole.

The rows are the same each time, and so are the bytes of what is made of them. What does not belong here:
which day is read, and what its rows mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

from gguf_assets.catalogue.schema import ROW_GROUP_ROWS
from gguf_assets.orchestration.memory import MemoryWatch
from gguf_assets.settings.load import LoadedSettings
from gguf_assets.store.datasets import iter_batches, read_table
from gguf_assets.store.store import DayFiles

_FEWER = 8
"""A batch near the limit of memory is this many times smaller."""


class WatchedDay(DayFiles):
    """`models` and `files` of one day, read by the settings; satisfies `catalogue`'s `Baseline`.

    Args:
        models: the file of `models`.
        files: returns that of `files`; called when they are read.
        whole: read each table at once.
        watch: says whether memory is short.
    """

    def __init__(self, models: Path, files: Callable[[], Path], *, whole: bool, watch: MemoryWatch) -> None:
        super().__init__(models, files)
        self._whole = whole
        self._watch = watch

    @classmethod
    def of(cls, tables: DayFiles, loaded: LoadedSettings, watch: MemoryWatch) -> WatchedDay:
        """Return tables as `performance.enable_streaming_processing` wants them read."""
        whole = not loaded.settings.performance.enable_streaming_processing
        return cls(tables._models, tables._files, whole=whole, watch=watch)

    def models(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows of `models`, all columns or the named ones, in order."""
        return self._batches(self._models, columns)

    def files(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows of `files`, all columns or the named ones, in order."""
        return self._batches(self._files(), columns)

    def _batches(self, path: Path, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
        if self._whole:
            yield from read_table(path, columns).combine_chunks().to_batches()
            return
        rows = ROW_GROUP_ROWS // _FEWER if self._watch.short() else ROW_GROUP_ROWS
        yield from iter_batches(path, columns, batch_rows=rows)
