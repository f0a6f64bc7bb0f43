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

Outcome = Literal["passed", "failed", "skipped", "not checked"]

_DONE_WITH_MODELS = frozenset(
    rule.name
    for rule in (
        model_rules.MODEL_ORDER,
        model_rules.CREATED_AFTER_MODIFIED,
        model_rules.DATE_IN_FUTURE,
        model_rules.NO_GGUF_FILE,
    )
)
"""Rules that have seen all they look at once the last model was judged."""

_DONE_WITH_FILES = _DONE_WITH_MODELS | {
    rule.name
    for rule in (
        SCHEMA,
        model_rules.SNAPSHOT_DATE,
        file_rules.FILE_PATH,
        file_rules.FILE_FACTS_CURRENT,
        file_rules.EMPTY_FILE,
        file_rules.LABEL_SIZE_MISMATCH,
    )
}
"""The same once the last file was judged; all others look at the day as a whole."""


def _never() -> bool:
    return False


@dataclass(frozen=True)
class ValidationResult:
    """What the rules found in a candidate.

    Attributes:
        issues: the findings, with the schema of `issues`; bounded for each rule.
        counts: rule name to the exact number of findings, zero included.
        checked: rule name to what became of it: one that is switched off, or proves nothing, is `skipped`;
            one that time did not allow to be applied to everything, and found nothing, is `not checked`.
        blocking: names of the failed rules of severity `error`.
        unfinished: what was not checked because time was up, in words; None when everything was.
    """

    issues: pa.Table
    counts: dict[str, int]
    checked: dict[str, Outcome]
    blocking: list[str]
    unfinished: str | None = None

    @property
    def publishable(self) -> bool:
        """Whether the day may be published: an unfinished judgement is none."""
        return not self.blocking and self.unfinished is None

    def named(self, outcome: Outcome) -> list[str]:
        """Return the names of the rules that came out like this, gravest first."""
        return [name for name, found in self.checked.items() if found == outcome]


class Validation:
    """Judges the candidate tables of one day: first all batches of models, then all of files.

    Args:
        day: the day of the candidate.
        schema_validation: whether the declared limits of single columns are checked.
        file_verification: whether sizes, checksums and shard sets of files are checked.
        batch_rows: rows judged at once; larger batches are cut.
        deadline: says when time is up; asked before each batch, and before the day as a whole is judged.
    """

    def __init__(
        self,
        day: date,
        *,
        schema_validation: bool = True,
        file_verification: bool = True,
        batch_rows: int = BATCH_ROWS,
        deadline: Callable[[], bool] = _never,
    ) -> None:
        self._off = set() if schema_validation else {SCHEMA.name}
        if not file_verification:
            self._off |= {rule.name for rule in file_rules.VERIFIED}
        self._batch_rows = batch_rows
        self._deadline = deadline
        self._findings = Findings(day)
        self._models = model_rules.ModelRules(day, self._findings)
        self._files = file_rules.FileRules(day, self._findings, verify=file_verification)
        self._rows = {"models": 0, "files": 0}
        self._stopped_in: str | None = None

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

    @property
    def stopped(self) -> bool:
        """Whether time was up before everything was judged; further batches are not looked at."""
        return self._stopped_in is not None

    def finish(self) -> ValidationResult:
        """Judge what only the whole day shows, and return the verdict. To be called once."""
        if not self._time_is_up("day"):
            self._models.finish()
            self._files.finish(self._models.keys["hub_id"])
        counts = {name: self._findings.count(rule) for name, rule in RULES.items()}
        checked: dict[str, Outcome] = {
            name: "failed" if count else "passed" for name, count in counts.items()
        }
        checked |= dict.fromkeys((name for name in self._unfinished() if not counts[name]), "not checked")
        checked |= dict.fromkeys((name for name in RULES if name in self._off), "skipped")
        # Equal paths are found as neighbours, which proves nothing where the order is broken.
        unproven = checked[file_rules.FILE_UNIQUE.name] == "passed"
        if counts[file_rules.FILE_ORDER.name] and unproven:
            checked[file_rules.FILE_UNIQUE.name] = "skipped"
        blocking = [n for n, rule in RULES.items() if rule.severity == "error" and checked[n] == "failed"]
        issues = self._findings.table(RULES.values())
        return ValidationResult(issues, counts, checked, blocking, self._left_out())

    def _judge(self, dataset: str, batch: pa.RecordBatch, judge: Callable[[pa.RecordBatch], None]) -> None:
        require_structure(dataset, batch)
        for part in self._parts(batch):
            if self._time_is_up(dataset):
                return
            if SCHEMA.name not in self._off:
                check_schema(dataset, part, self._findings)
            judge(part)
            self._rows[dataset] += len(part)

    def _time_is_up(self, part: str) -> bool:
        """Return whether to stop before this part: `models`, `files` or the `day` as a whole."""
        if self._stopped_in is None and self._deadline():
            self._stopped_in = part
        return self._stopped_in is not None

    def _unfinished(self) -> list[str]:
        """Return the rules that have not seen all they look at."""
        done = {None: RULES.keys(), "files": _DONE_WITH_MODELS, "day": _DONE_WITH_FILES}
        return [name for name in RULES if name not in done.get(self._stopped_in, ())]

    def _left_out(self) -> str | None:
        if self._stopped_in is None:
            return None
        if self._stopped_in == "day":
            return "repeated keys, parents and shard sets"
        first = self._rows[self._stopped_in] + 1
        rest = " and all files" if self._stopped_in == "models" else ""
        return f"{self._stopped_in} from row {first:,} on{rest}"

    def _parts(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        for start in range(0, len(batch), self._batch_rows):
            yield batch.slice(start, self._batch_rows)
