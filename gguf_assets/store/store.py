"""The store as a whole: captures, candidates, published days and history of one data folder.

What belongs here: putting the parts together and questions that need more than one of them. What does not:
anything about a single part (its own module has it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue.schema import DATASETS
from gguf_assets.store.candidates import Candidates
from gguf_assets.store.captures import Captures
from gguf_assets.store.datasets import iter_batches, read_table
from gguf_assets.store.history import SyncHistory
from gguf_assets.store.layout import Layout
from gguf_assets.store.publish import Published
from gguf_assets.store.thinned import readable_files


class Store:
    """Everything that lies in a data folder.

    Attributes:
        layout: where it lies.
        captures: what the Hub answered.
        candidates: days as they would look when published.
        published: days as readers see them.
        history: the syncs so far.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.captures = Captures(layout)
        self.candidates = Candidates(layout)
        self.published = Published(layout)
        self.history = SyncHistory(layout)

    def earliest_day(self) -> date | None:
        """Return the first day that has a capture or is published; None in an empty store."""
        return min([*self.captures.days(), *self.published.days()], default=None)

    def newest_hub_time(self) -> datetime | None:
        """Return the latest time of the Hub's clock that the store knows of; None in an empty store."""
        times = [time for sync in self.history.syncs() for time in (sync.hub_time, sync.finished_at) if time]
        for day in self.captures.days()[-1:]:
            for run in self.captures.runs(day):
                seen = self.captures.open(day, run).last_hub_date
                times += [] if seen is None else [seen]
        return max(times, default=None)

    def published_tables(self, day: date) -> DayFiles:
        """Return the published tables of a day; left out `files` are rebuilt when they are read."""
        models = self.published.file("models", day)
        return DayFiles(models, lambda: readable_files(self.layout, self.published, day))

    def candidate_tables(self, day: date) -> DayFiles:
        """Return the candidate's tables of a day."""
        files = self.layout.candidate_file("files", day)
        return DayFiles(self.layout.candidate_file("models", day), lambda: files)


class DayFiles:
    """`models` and `files` of one day, read as streams or by identity; satisfies `catalogue`'s `Baseline`.

    Args:
        models: the file of `models`.
        files: returns that of `files`; called when they are read.
    """

    def __init__(self, models: Path, files: Callable[[], Path]) -> None:
        self._models = models
        self._files = files

    def models(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield batches of `models`, all columns or the named ones, in order."""
        return iter_batches(self._models, columns)

    def files(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield batches of `files`, all columns or the named ones, in order."""
        return iter_batches(self._files(), columns)

    def model_columns(self, columns: list[str]) -> pa.Table:
        """Return the named columns of all models."""
        return read_table(self._models, columns)

    def models_of(self, hub_ids: pa.Array) -> pa.Table:
        """Return whole rows of the given models."""
        return _chosen(self.models(), hub_ids, DATASETS["models"].arrow)

    def files_of(self, hub_ids: pa.Array, columns: list[str]) -> pa.Table:
        """Return the named columns of the files of the given models."""
        schema = pa.schema([DATASETS["files"].arrow.field(name) for name in columns])
        return _chosen(self.files(columns), hub_ids, schema)


def _chosen(batches: Iterator[pa.RecordBatch], hub_ids: pa.Array, schema: pa.Schema) -> pa.Table:
    """Return the rows of the given models."""
    if len(hub_ids) == 0:
        return schema.empty_table()
    parts = (batch.filter(pc.is_in(batch["hub_id"], value_set=hub_ids)) for batch in batches)
    return pa.Table.from_batches([part for part in parts if part.num_rows], schema)
