"""The verdict over a candidate day: every rule, in one registry, and the pass that applies them.

The registry is what the checks in the UI, the report and the settings speak of. What does not belong here:
how a rule is judged (`schema_rule`, `model_rules`, `file_rules`), and the single bad values of the Hub's
answers, which `catalogue/parse` has already set aside as findings of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Literal

import pyarrow as pa

from gguf_assets.quality import file_rules, model_rules
from gguf_assets.quality.findings import Findings, Rule
from gguf_assets.quality.schema_rule import SCHEMA, check_schema, require_structure

RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        SCHEMA,
        model_rules.SNAPSHOT_DATE,
        model_rules.MODEL_UNIQUE_ID,
        model_rules.MODEL_UNIQUE_NAME,
        model_rules.MODEL_ORDER,
        file_rules.FILE_PARENT,
        file_rules.FILE_UNIQUE,
        file_rules.FILE_ORDER,
        file_rules.FILE_PATH,
        file_rules.FILE_FACTS_CURRENT,
        model_rules.CREATED_AFTER_MODIFIED,
        model_rules.DATE_IN_FUTURE,
        file_rules.SHARD_SET_INCOMPLETE,
        file_rules.EMPTY_FILE,
        file_rules.LABEL_SIZE_MISMATCH,
        model_rules.NO_GGUF_FILE,
    )
}
"""All rules by name, gravest first; findings are listed in this order."""

BATCH_ROWS = 65_536
"""Rows judged at once: pandera over a whole table would take gigabytes."""

Outcome = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class ValidationResult:
    """What the rules found in a candidate.

    Attributes:
        issues: the findings, with the schema of `issues`; bounded for each rule.
        counts: rule name to the exact number of findings, zero included.
        checked: rule name to what became of it; a rule that was not applied is `skipped`.
        blocking: names of the failed rules of severity `error`; empty means the day may be published.
    """

    issues: pa.Table
    counts: dict[str, int]
    checked: dict[str, Outcome]
    blocking: list[str]


class Validation:
    """Judges the candidate tables of one day: first all batches of models, then all of files.

    Args:
        day: the day of the candidate.
        schema_validation: whether the declared limits of single columns are checked.
        batch_rows: rows judged at once; larger batches are cut.
    """

    def __init__(self, day: date, *, schema_validation: bool = True, batch_rows: int = BATCH_ROWS) -> None:
        self._schema_validation = schema_validation
        self._batch_rows = batch_rows
        self._findings = Findings(day)
        self._models = model_rules.ModelRules(day, self._findings)
        self._files = file_rules.FileRules(day, self._findings)

    def models(self, batch: pa.RecordBatch) -> None:
        """Judge the next batch of `models`.

        Raises:
            PermanentError: the batch has not the columns and types of `models`.
        """
        self._judge("models", batch, self._models.add)

    def files(self, batch: pa.RecordBatch) -> None:
        """Judge the next batch of `files`.

        Raises:
            PermanentError: the batch has not the columns and types of `files`.
        """
        self._judge("files", batch, self._files.add)

    def finish(self) -> ValidationResult:
        """Judge what only the whole day shows, and return the verdict. To be called once."""
        self._models.finish()
        self._files.finish(self._models.keys["hub_id"])
        counts = {name: self._findings.count(rule) for name, rule in RULES.items()}
        checked: dict[str, Outcome] = {
            name: "failed" if count else "passed" for name, count in counts.items()
        }
        if not self._schema_validation:
            checked[SCHEMA.name] = "skipped"
        # Equal paths are found as neighbours, which proves nothing where the order is broken.
        if counts[file_rules.FILE_ORDER.name] and not counts[file_rules.FILE_UNIQUE.name]:
            checked[file_rules.FILE_UNIQUE.name] = "skipped"
        blocking = [n for n, rule in RULES.items() if rule.severity == "error" and checked[n] == "failed"]
        return ValidationResult(self._findings.table(RULES.values()), counts, checked, blocking)

    def _judge(self, dataset: str, batch: pa.RecordBatch, judge: Callable[[pa.RecordBatch], None]) -> None:
        require_structure(dataset, batch)
        for part in self._parts(batch):
            if self._schema_validation:
                check_schema(dataset, part, self._findings)
            judge(part)

    def _parts(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        for start in range(0, len(batch), self._batch_rows):
            yield batch.slice(start, self._batch_rows)
