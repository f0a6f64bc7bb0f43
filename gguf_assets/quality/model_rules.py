"""Rules over the rows of `models`: identity, names, dates, counters, order, and models without a file.

Each batch is looked at once, in Arrow; across batches only ids, names, downloads and the last row are kept.
Limits of single columns are in `schema_rule`.
"""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue.schema import MODELS
from gguf_assets.quality.findings import Findings, Rule

MODEL_UNIQUE_ID = Rule(
    "model_unique_id",
    "error",
    "A `hub_id` stands in one row of `models` only.",
    "It identifies the repository; a second row doubles its counters, files and changes.",
    "structure",
    "docs/data.md: `hub_id` identifies a model",
    switchable=False,
)
MODEL_UNIQUE_NAME = Rule(
    "model_unique_name",
    "warning",
    "A `model_id`, without regard to case, belongs to one repository; unconfirmed rows are excepted.",
    "The Hub gives a name to one repository at a time; a second owner means a row is stale.",
    "structure",
    "https://huggingface.co/docs/hub/repositories-settings: a name belongs to one repository",
)
MODEL_ORDER = Rule(
    "model_order",
    "error",
    "Models are in the order of the walk: `created_at` descending (nulls last), then `hub_id`.",
    "The next day is merged against this one as two sorted streams.",
    "structure",
    "docs/data.md: row order",
    switchable=False,
)
CREATED_AFTER_MODIFIED = Rule(
    "created_after_modified",
    "warning",
    "`created_at` is not later than `last_modified`.",
    "A repository cannot have been changed before it existed; one of the dates is wrong.",
    "dates",
    "https://huggingface.co/docs/hub/api: `createdAt`, `lastModified`",
)
DATE_IN_FUTURE = Rule(
    "date_in_future",
    "warning",
    "`created_at` and `last_modified` are at most a day after `observed_at`.",
    "A date in the future is a fault of the source and would lead every list of the newest.",
    "dates",
    "https://huggingface.co/docs/hub/api: `createdAt`, `lastModified`",
)
DATES_IN_ORDER = Rule(
    "dates_in_order",
    "warning",
    "`first_seen` is not later than `last_changed`, and neither is later than `snapshot_date`.",
    "The catalogue writes these days itself; out of order they mislead whoever asks what is new.",
    "dates",
    "docs/data.md: `first_seen`, `last_changed`",
)
COUNTERS_POSSIBLE = Rule(
    "counters_possible",
    "warning",
    "`downloads`, those of the last 30 days, are not more than `downloads_all_time`.",
    "A part cannot exceed the whole; one of the counters is wrong. Where more than 1 % of the models are "
    "concerned, one finding for the day.",
    "counters",
    "https://huggingface.co/docs/huggingface_hub/package_reference/hf_api: ModelInfo",
)
COUNTERS_ROLLED_BACK = Rule(
    "counters_rolled_back",
    "warning",
    "`downloads_all_time` is not less than on the baseline day.",
    "It only ever grows: the repository was made anew, or the Hub has lost counts. Where more than 1 % of "
    "the models are concerned, one finding for the day. `downloads` may fall.",
    "counters",
    "https://huggingface.co/docs/huggingface_hub/package_reference/hf_api: ModelInfo",
)
NO_GGUF_FILE = Rule(
    "no_gguf_file",
    "info",
    "A model tagged `gguf` has at least one file ending in `.gguf`.",
    "Placeholders and scripts carry the tag, too; there is nothing to run in them.",
    "contents",
    "https://huggingface.co/docs/hub/gguf",
)
SNAPSHOT_DATE = Rule(
    "snapshot_date",
    "error",
    "`snapshot_date` is the day of the candidate.",
    "A row of another day in this partition would be read as of this day.",
    "structure",
    "docs/data.md: a partition is a UTC day by the Hub's clock",
    switchable=False,
)

SITE_WIDE_SHARE = 0.01
"""Above this share of the compared models a wrong counter is a fault of the Hub and not of the models: a
repository made anew under its identity, counter restarted, was met 2 times in 505,405 pairs of rows, while
the Hub's own faults hit all models at once (https://github.com/huggingface/hub-docs/issues/154)."""

SITE_WIDE_MODELS = 10
"""Up to so many are named one by one even where they are a large share, as in a small catalogue."""

_KEYS = ("hub_id", "model_id", "presence", "downloads", "downloads_all_time")


class ModelRules:
    """Judges the models of one day, batch after batch in the order of the file.

    Args:
        day: the day of the candidate.
        findings: receives what is found.
        earlier: hub_id and downloads_all_time of the baseline's models; None on the first day.
    """

    def __init__(self, day: date, findings: Findings, earlier: pa.Table | None) -> None:
        self._day = day
        self._findings = findings
        self._earlier = earlier
        self._lacking = {COUNTERS_ROLLED_BACK.name: "no baseline"} if earlier is None else {}
        self._keys: list[pa.RecordBatch] = []
        self._last: pa.RecordBatch | None = None

    @property
    def keys(self) -> pa.Table:
        """`hub_id`, `model_id`, `presence` and downloads of the models seen so far, in file order."""
        schema = pa.schema([(name, MODELS.arrow.field(name).type) for name in _KEYS])
        return pa.Table.from_batches(self._keys, schema).combine_chunks()

    @property
    def lacking(self) -> dict[str, str]:
        """Rule name to what it lacked, for the rules that had nothing to compare; complete after `finish`."""
        return self._lacking

    def add(self, batch: pa.RecordBatch) -> None:
        """Judge the next batch of `models`."""
        check_day(self._day, batch, self._findings)
        self._check_order(batch)
        self._check_dates(batch)
        self._check_tagged(batch)
        # Written anew without nullability, so that rows broken there can still be held.
        self._keys.append(pa.RecordBatch.from_arrays([batch.column(name) for name in _KEYS], list(_KEYS)))

    def finish(self) -> None:
        """Judge what only the whole day shows: repeated ids and names, and counters."""
        keys = self.keys
        self._check_unique(MODEL_UNIQUE_ID, keys, keys["hub_id"])
        confirmed = keys.filter(pc.fill_null(pc.not_equal(keys["presence"], "unconfirmed"), True))
        self._check_unique(MODEL_UNIQUE_NAME, confirmed, pc.utf8_lower(confirmed["model_id"]))
        self._check_counters(keys)

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

        first, changed, day = (batch[n] for n in ("first_seen", "last_changed", "snapshot_date"))
        for early, late, column, text in (
            (first, changed, "first_seen", "later than `last_changed`"),
            (changed, day, "last_changed", "later than `snapshot_date`"),
        ):
            self._findings.add_masked(
                DATES_IN_ORDER,
                batch,
                pc.greater(early, late),
                value=column,
                message=f"`{column}` is {text}.",
            )

    def _check_tagged(self, batch: pa.RecordBatch) -> None:
        empty = batch.filter(pc.fill_null(pc.equal(batch["gguf_files"], 0), False))
        self._findings.add_masked(
            NO_GGUF_FILE,
            empty,
            list_contains(empty["tags"], "gguf"),
            message="The model is tagged `gguf`, but has no file ending in `.gguf`.",
        )

    def _check_counters(self, keys: pa.Table) -> None:
        """Compare all-time downloads with the 30 days' and with the baseline's, over the whole day."""
        total = keys["downloads_all_time"]
        self._check_counter(
            COUNTERS_POSSIBLE,
            keys,
            pc.greater(keys["downloads"], total),
            value="downloads",
            message="The downloads of the last 30 days are more than those of all time.",
            lacking="no model states both counters",
        )
        if self._earlier is None:
            return
        earlier = self._earlier.combine_chunks()
        place = pc.index_in(keys["hub_id"], value_set=earlier["hub_id"].combine_chunks())
        before = earlier["downloads_all_time"].take(place)
        self._check_counter(
            COUNTERS_ROLLED_BACK,
            keys,
            pc.less(total, before),
            value="downloads_all_time",
            message="The downloads of all time are fewer than on the baseline day.",
            lacking="no model has `downloads_all_time` on both days",
        )

    def _check_counter(
        self, rule: Rule, keys: pa.Table, broken: pa.ChunkedArray, *, value: str, message: str, lacking: str
    ) -> None:
        """Add a finding for every model, or one for the day where it is no matter of single models."""
        compared, found = pc.count(broken).as_py(), pc.sum(broken).as_py() or 0
        if not compared:
            self._lacking[rule.name] = lacking
        elif found > max(SITE_WIDE_MODELS, SITE_WIDE_SHARE * compared):
            self._findings.add_day(
                rule,
                value=str(found),
                message=f"{message} This holds for {found:,} of {compared:,} models: the Hub has miscounted.",
            )
        elif found:
            rows = keys.filter(broken).combine_chunks().to_batches()[0]
            self._findings.add_masked(
                rule, rows, pa.repeat(pa.scalar(True), len(rows)), value=value, message=message
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
