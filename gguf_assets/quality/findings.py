"""What a rule is, and the collector of its findings as rows of the `issues` dataset.

A finding names row, rule, value and message. Counts are exact; listed rows are bounded, so that a fault of
every row cannot fill the memory. What does not belong here: the rules themselves (`rules`, `model_rules`,
`file_rules`, `history_rules`, `schema_rule`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue.findings import shown
from gguf_assets.catalogue.schema import ISSUES

LISTED_PER_MESSAGE = 1_000
"""Findings of one rule with one message that become rows; the rest is counted in one further row."""

Severity = Literal["error", "warning", "info"]

Group = Literal["structure", "paths", "dates", "counters", "files", "labels", "contents", "day", "reading"]
"""What a rule is about; the UI shows one check for each group."""

GROUPS: dict[Group, str] = {
    "structure": "Rows, keys and order of the tables",
    "paths": "Paths of files",
    "dates": "Dates of models",
    "counters": "Downloads and likes",
    "files": "Files: sizes, checksums, shard sets",
    "labels": "Labels of quantization against what is in the files",
    "contents": "What repositories contain",
    "day": "The day beside the days before it",
    "reading": "Reading the Hub's answers: rows and values that were set aside or fixed",
}
"""All groups with what their rules look at, in the order in which they are shown."""


@dataclass(frozen=True)
class Rule:
    """One promise about the data.

    Attributes:
        name: stored in `issues.rule` and in the counts of a day.
        severity: an `error` keeps the day from being published.
        what: what must hold.
        reason: why it matters, in one line.
        group: what it is about.
        reference: where the promise comes from: a specification, a documentation, a decision.
        switchable: whether `validation.disabled_rules` may name it; rules that hold a day together, and
            those without which a value cannot be stored, cannot be switched off.
    """

    name: str
    severity: Severity
    what: str
    reason: str
    group: Group
    reference: str
    switchable: bool = True


class Findings:
    """Collects the findings of one day.

    Args:
        day: the day the findings belong to.
        off: names of rules whose findings are not wanted.
        listed_per_message: how many findings of a rule with the same message become rows.
    """

    def __init__(
        self, day: date, *, off: Collection[str] = (), listed_per_message: int = LISTED_PER_MESSAGE
    ) -> None:
        self._day = day
        self._off = frozenset(off)
        self._limit = listed_per_message
        self._counts: dict[str, int] = {}
        # Rule, then message: messages are few and fixed, so one broken column does not hide another.
        self._rows: dict[str, dict[str, list[dict[str, Any]]]] = {}

    def wants(self, rule: Rule) -> bool:
        """Return whether a rule is applied; what it costs may be saved otherwise."""
        return rule.name not in self._off

    def count(self, rule: Rule) -> int:
        """Return how often a rule was broken, listed or not."""
        return self._counts.get(rule.name, 0)

    def add_masked(
        self, rule: Rule, batch: pa.RecordBatch, broken: pa.Array, *, value: str | None = None, message: str
    ) -> None:
        """Add a finding for every row whose mask is true.

        Args:
            rule: the broken rule.
            batch: rows with `hub_id`, `model_id` and, for files, `path`.
            broken: boolean mask over the batch; null counts as not broken.
            value: name of the column that holds the offending value.
            message: what is wrong, in words; the same for every row.
        """
        where = pc.indices_nonzero(broken)
        if len(where):
            values = None if value is None else batch.column(value)
            self.add_rows(rule, batch, where, values=values, message=message)

    def add_rows(
        self,
        rule: Rule,
        batch: pa.RecordBatch,
        where: pa.Array,
        *,
        values: pa.Array | None = None,
        message: str,
    ) -> None:
        """Add a finding for the rows at the given positions of a batch.

        Args:
            rule: the broken rule.
            batch: rows with `hub_id`, `model_id` and, for files, `path`.
            where: positions of the broken rows.
            values: the offending values, one for every row of the batch.
            message: what is wrong, in words; the same for every row.
        """
        if not self.wants(rule):
            return
        listed = self._listed(rule, message)
        places = where.slice(0, max(0, self._limit - len(listed)))
        names = [name for name in ("hub_id", "model_id", "path") if name in batch.schema.names]
        rows = batch.select(names).take(places).to_pylist()
        taken: list[Any] = [None] * len(rows) if values is None else values.take(places).to_pylist()
        listed += [
            {**row, "value": None if v is None else shown(str(v))} for row, v in zip(rows, taken, strict=True)
        ]
        self._counts[rule.name] = self.count(rule) + len(where)

    def add_day(self, rule: Rule, *, value: str, message: str) -> None:
        """Add one finding about the day as a whole.

        Args:
            rule: the broken rule.
            value: the offending figure.
            message: what is wrong, in words and figures.
        """
        if self.wants(rule):
            self._listed(rule, message).append({"value": value})
            self._counts[rule.name] = self.count(rule) + 1

    def table(self, rules: Iterable[Rule]) -> pa.Table:
        """Return the findings of the given rules, in their order, with the schema of `issues`."""
        rows: list[dict[str, Any]] = []
        for rule in rules:
            common = {"snapshot_date": self._day, "rule": rule.name, "severity": rule.severity}
            listed = [
                {**row, **common, "message": message}
                for message, found in self._rows.get(rule.name, {}).items()
                for row in found
            ]
            rows += listed
            if more := self.count(rule) - len(listed):
                message = f"{more} further findings of this rule are counted, but not listed."
                rows.append({**common, "value": str(more), "message": message})
        columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in ISSUES.arrow]
        return pa.Table.from_arrays(columns, schema=ISSUES.arrow)

    def _listed(self, rule: Rule, message: str) -> list[dict[str, Any]]:
        return self._rows.setdefault(rule.name, {}).setdefault(message, [])
