"""Rules over the rows of `models`: identity, names, dates, order, and models without a file.

Each batch is looked at once, in Arrow; across batches only ids, names and the last row are kept. Limits of
single columns are in `schema_rule`.
"""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.quality.findings import Findings, Rule

MODEL_UNIQUE_ID = Rule(
    "model_unique_id",
    "error",
    "A `hub_id` stands in one row of `models` only.",
    "It identifies the repository; a second row doubles its counters, files and changes.",
)
MODEL_UNIQUE_NAME = Rule(
    "model_unique_name",
    "warning",
    "A `model_id`, without regard to case, belongs to one repository; unconfirmed rows are excepted.",
    "The Hub gives a name to one repository at a time; a second owner means a row is stale.",
)
MODEL_ORDER = Rule(
    "model_order",
    "error",
    "Models are in the order of the walk: `created_at` descending (nulls last), then `hub_id`.",
    "The next day is merged against this one as two sorted streams.",
)
CREATED_AFTER_MODIFIED = Rule(
    "created_after_modified",
    "warning",
    "`created_at` is not later than `last_modified`.",
    "A repository cannot have been changed before it existed; one of the dates is wrong.",
)
DATE_IN_FUTURE = Rule(
    "date_in_future",
    "warning",
    "`created_at` and `last_modified` are at most a day after `observed_at`.",
    "A date in the future is a fault of the source and would lead every list of the newest.",
)
NO_GGUF_FILE = Rule(
    "no_gguf_file",
    "info",
    "A model tagged `gguf` has at least one file ending in `.gguf`.",
    "Placeholders and scripts carry the tag, too; there is nothing to run in them.",
)
SNAPSHOT_DATE = Rule(
    "snapshot_date",
    "error",
    "`snapshot_date` is the day of the candidate.",
    "A row of another day in this partition would be read as of this day.",
)

_KEYS = ("hub_id", "model_id", "presence")


class ModelRules:
    """Judges the models of one day, batch after batch in the order of the file.

    Args:
        day: the day of the candidate.
        findings: receives what is found.
    """

    def __init__(self, day: date, findings: Findings) -> None:
        self._day = day
        self._findings = findings
        self._keys: list[pa.RecordBatch] = []
        self._last: pa.RecordBatch | None = None

    @property
    def keys(self) -> pa.Table:
        """`hub_id`, `model_id` and `presence` of the models seen so far, in file order."""
        schema = pa.schema([(name, pa.string()) for name in _KEYS])
        return pa.Table.from_batches(self._keys, schema).combine_chunks()

    def add(self, batch: pa.RecordBatch) -> None:
        """Judge the next batch of `models`."""
        check_day(self._day, batch, self._findings)
        self._check_order(batch)
        self._check_dates(batch)
        self._check_tagged(batch)
        # Written anew without nullability, so that rows broken there can still be held.
        self._keys.append(pa.RecordBatch.from_arrays([batch.column(name) for name in _KEYS], list(_KEYS)))

    def finish(self) -> None:
        """Judge what only the whole day shows: repeated ids and names."""
        keys = self.keys
        self._check_unique(MODEL_UNIQUE_ID, keys, keys["hub_id"])
        confirmed = keys.filter(pc.fill_null(pc.not_equal(keys["presence"], "unconfirmed"), True))
        self._check_unique(MODEL_UNIQUE_NAME, confirmed, pc.utf8_lower(confirmed["model_id"]))

    def _check_order(self, batch: pa.RecordBatch) -> None:
        if not len(batch):
            return
        created = pc.fill_null(batch["created_at"].cast(pa.int64()), _BEFORE_ALL)
        current = pa.RecordBatch.from_arrays(
            [created, pc.fill_null(batch["hub_id"], "")], ["created", "hub_id"]
        )
        earlier = with_previous(current, self._last)
        later = pc.greater(current["created"], earlier["created"])
        tie = pc.equal(current["created"], earlier["created"])
        broken = pc.or_(later, pc.and_(tie, pc.less(current["hub_id"], earlier["hub_id"])))
        self._findings.add_masked(
            MODEL_ORDER,
            batch,
            broken,
            value="created_at",
            message="The row belongs above the row before it.",
        )
        self._last = last_row(current)

    def _check_dates(self, batch: pa.RecordBatch) -> None:
        created, modified, observed = (batch[n] for n in ("created_at", "last_modified", "observed_at"))
        self._findings.add_masked(
            CREATED_AFTER_MODIFIED,
            batch,
            pc.greater(created, modified),
            value="created_at",
            message="`created_at` is later than `last_modified`.",
        )
        limit = pc.add(observed, pa.scalar(timedelta(days=1), pa.duration("us")))
        for column in ("created_at", "last_modified"):
            self._findings.add_masked(
                DATE_IN_FUTURE,
                batch,
                pc.greater(batch[column], limit),
                value=column,
                message=f"`{column}` is more than a day after the day of observation.",
            )

    def _check_tagged(self, batch: pa.RecordBatch) -> None:
        empty = batch.filter(pc.fill_null(pc.equal(batch["gguf_files"], 0), False))
        self._findings.add_masked(
            NO_GGUF_FILE,
            empty,
            list_contains(empty["tags"], "gguf"),
            message="The model is tagged `gguf`, but has no file ending in `.gguf`.",
        )

    def _check_unique(self, rule: Rule, keys: pa.Table, values: pa.ChunkedArray) -> None:
        counts = pc.value_counts(values.drop_null())
        repeated = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
        if len(repeated):
            rows = keys.filter(pc.is_in(values, value_set=repeated)).combine_chunks().to_batches()[0]
            column = "hub_id" if rule is MODEL_UNIQUE_ID else "model_id"
            self._findings.add_rows(
                rule,
                rows,
                pa.array(np.arange(len(rows))),
                values=rows[column],
                message=f"`{column}` stands in more than one row.",
            )


_BEFORE_ALL = -(2**63)


def check_day(day: date, batch: pa.RecordBatch, findings: Findings) -> None:
    """Check that every row of a batch of models or files is of the given day."""
    other = pc.fill_null(pc.not_equal(batch["snapshot_date"], pa.scalar(day, pa.date32())), True)
    findings.add_masked(
        SNAPSHOT_DATE,
        batch,
        other,
        value="snapshot_date",
        message="`snapshot_date` is not the day judged.",
    )


def list_contains(lists: pa.Array, text: str) -> pa.Array:
    """Return for every list whether it contains a text; a null list contains nothing."""
    found = pc.fill_null(pc.equal(pc.list_flatten(lists), text), False)
    mask = np.zeros(len(lists), dtype=bool)
    mask[pc.list_parent_indices(lists).filter(found).to_numpy(zero_copy_only=False)] = True
    return pa.array(mask)


def last_row(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a copy of the last row, which does not keep the batch in memory."""
    return batch.take(pa.array([len(batch) - 1]))


def with_previous(batch: pa.RecordBatch, last: pa.RecordBatch | None) -> pa.RecordBatch:
    """Return the rows shifted by one: in each place the row before it.

    Args:
        batch: at least one row.
        last: the last row of the batch before; None for the first, whose first row is its own forerunner.
    """
    first = batch.slice(0, 1) if last is None else last
    table = pa.Table.from_batches([first, batch.slice(0, len(batch) - 1)])
    return table.combine_chunks().to_batches()[0]
