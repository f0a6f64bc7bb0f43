"""The verdict over a candidate day: every rule, in one registry, and the pass that applies them.

The registry is what the checks in the UI, the report and the settings speak of. What does not belong here:
how a rule is judged (`schema_rule`, `model_rules`, `file_rules`, `history_rules`, `verification_rules`), and
the single bad values of the Hub's answers, which `catalogue/` has already set aside (`reading_rules`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType
from typing import Literal

import pyarrow as pa

from gguf_assets.quality import file_rules, history_rules, model_rules, verification_rules
from gguf_assets.quality.findings import Findings, Rule
from gguf_assets.quality.history_rules import DayFigures
from gguf_assets.quality.schema_rule import SCHEMA, check_schema, require_structure
from gguf_assets.quality.verification_rules import Evidence

RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        SCHEMA,
        model_rules.SNAPSHOT_DATE,
        model_rules.MODEL_UNIQUE_ID,
        model_rules.MODEL_ORDER,
        file_rules.FILE_PARENT,
        file_rules.FILE_UNIQUE,
        file_rules.FILE_ORDER,
        file_rules.FILE_PATH,
        file_rules.FILE_FACTS_CURRENT,
        model_rules.MODEL_UNIQUE_NAME,
        model_rules.CREATED_AFTER_MODIFIED,
        model_rules.DATE_IN_FUTURE,
        model_rules.DATES_IN_ORDER,
        model_rules.COUNTERS_POSSIBLE,
        model_rules.COUNTERS_ROLLED_BACK,
        history_rules.COUNTERS_STALLED,
        history_rules.PARTIAL_DAY,
        history_rules.STALLED_DAY,
        verification_rules.FILE_FACTS_CONFIRMED,
        file_rules.SHARD_SET_INCOMPLETE,
        file_rules.EMPTY_FILE,
        file_rules.SAME_BYTES_UNDER_TWO_LABELS,
        verification_rules.HEADER_UNREADABLE,
        verification_rules.HEADER_LABEL_MISMATCH,
        verification_rules.HEADER_ARCHITECTURE_MISMATCH,
        file_rules.LABEL_SIZE_MISMATCH,
        history_rules.REPLACED_IN_PLACE,
        model_rules.NO_GGUF_FILE,
    )
}
"""All rules by name, gravest first; findings are listed in this order."""

BATCH_ROWS = 65_536
"""Rows judged at once: pandera over a whole table would take gigabytes."""

Outcome = Literal["passed", "failed", "skipped", "not checked"]

_HEADERS = frozenset(rule.name for rule in verification_rules.OF_HEADERS)
_OF_EVIDENCE = _HEADERS | {verification_rules.FILE_FACTS_CONFIRMED.name}
_OF_HISTORY = frozenset(
    rule.name
    for rule in (
        history_rules.COUNTERS_STALLED,
        history_rules.PARTIAL_DAY,
        history_rules.STALLED_DAY,
        history_rules.REPLACED_IN_PLACE,
    )
)
_DONE_WITH_MODELS = frozenset(
    rule.name
    for rule in (
        model_rules.MODEL_ORDER,
        model_rules.CREATED_AFTER_MODIFIED,
        model_rules.DATE_IN_FUTURE,
        model_rules.DATES_IN_ORDER,
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
"""The same once the last file was judged; but for those of the history, all others look at the whole day."""


def _never() -> bool:
    return False


@dataclass(frozen=True)
class ValidationResult:
    """What the rules found in a candidate.

    Attributes:
        issues: the findings, with the schema of `issues`; bounded for each rule.
        counts: rule name to the exact number of findings, zero included.
        checked: rule name to what became of it: one that is switched off, or lacks what it needs to prove
            anything, is `skipped`; one that time did not allow to be applied to everything, and found
            nothing, is `not checked`.
        blocking: names of the failed rules of severity `error`.
        unfinished: what was not checked because time was up, in words; None when everything was.
        why_skipped: rule name to why it is `skipped`, in words, for all that are.
    """

    issues: pa.Table
    counts: dict[str, int]
    checked: dict[str, Outcome]
    blocking: list[str]
    unfinished: str | None = None
    why_skipped: dict[str, str] = field(default_factory=dict)

    @property
    def publishable(self) -> bool:
        """Whether the day may be published: an unfinished judgement is none."""
        return not self.blocking and self.unfinished is None

    def named(self, outcome: Outcome) -> list[str]:
        """Return the names of the rules that came out like this, gravest first."""
        return [name for name, found in self.checked.items() if found == outcome]


class Validation:
    """Judges a day: first all batches of models, then all of files, then its history, then `finish`.

    Args:
        day: the day of the candidate.
        off: names of the rules that are switched off, each with the words that say by what.
        earlier: hub_id, downloads_all_time and likes of the baseline's models; None on the first day.
        evidence: what was asked again or read from headers; None for nothing.
        batch_rows: rows judged at once; larger batches are cut.
        deadline: says when time is up; asked before each batch, before the history, and before the day as a
            whole is judged.

    Raises:
        ValueError: `off` names no rule, or one that cannot be switched off.
    """

    def __init__(
        self,
        day: date,
        *,
        off: Mapping[str, str] = MappingProxyType({}),
        earlier: pa.Table | None = None,
        evidence: Evidence | None = None,
        batch_rows: int = BATCH_ROWS,
        deadline: Callable[[], bool] = _never,
    ) -> None:
        _require_switchable(off)
        self._off = dict(off)
        self._batch_rows = batch_rows
        self._deadline = deadline
        self._findings = Findings(day, off=self._off)
        self._models = model_rules.ModelRules(day, self._findings, earlier)
        self._files = file_rules.FileRules(day, self._findings)
        self._history = history_rules.HistoryRules(self._findings)
        self._history_judged = False
        self._without_history = dict.fromkeys(_OF_HISTORY, "the days before it were not looked at")
        self._evidence = (
            None if evidence is None else verification_rules.VerificationRules(self._findings, evidence)
        )
        self._rows = {"models": 0, "files": 0}
        self._stopped_in: str | None = None

    def models(self, batch: pa.RecordBatch) -> None:
        """Judge the next batch of `models`.

        Raises:
            PermanentError: the batch has not the columns and types of `models`.
        """
        for part in self._judged("models", batch):
            self._models.add(part)
            if self._evidence is not None:
                self._evidence.models(part)

    def files(self, batch: pa.RecordBatch) -> None:
        """Judge the next batch of `files`.

        Raises:
            PermanentError: the batch has not the columns and types of `files`.
        """
        for part in self._judged("files", batch):
            self._files.add(part)
            if self._evidence is not None:
                self._evidence.files(part)

    def history(self, today: DayFigures, recent: Sequence[DayFigures], file_changes: pa.Table) -> None:
        """Judge the day beside the published days before it.

        Args:
            today: figures of the candidate.
            recent: figures of published days before it; the latest 14 count.
            file_changes: the candidate's `file_changes`.
        """
        if not self._time_is_up("history"):
            self._without_history = self._history.judge(today, recent, file_changes)
            self._history_judged = True

    @property
    def stopped(self) -> bool:
        """Whether time was up before everything was judged; further batches are not looked at."""
        return self._stopped_in is not None

    def finish(self) -> ValidationResult:
        """Judge what only the whole day shows, and return the verdict. To be called once."""
        if not self._time_is_up("day"):
            self._models.finish()
            self._files.finish(self._models.keys["hub_id"])
            if self._evidence is not None:
                self._evidence.finish()
        counts = {name: self._findings.count(rule) for name, rule in RULES.items()}
        checked: dict[str, Outcome] = {
            name: "failed" if count else "passed" for name, count in counts.items()
        }
        checked |= dict.fromkeys((name for name in self._unfinished() if not counts[name]), "not checked")
        lacking = self._lacking(counts)
        why_skipped = {name: why for name, why in lacking.items() if not counts[name]} | self._off
        checked |= dict.fromkeys(why_skipped, "skipped")
        blocking = [n for n, rule in RULES.items() if rule.severity == "error" and checked[n] == "failed"]
        return ValidationResult(
            self._findings.table(RULES.values()),
            counts,
            checked,
            blocking,
            self._left_out(),
            {name: why_skipped[name] for name in RULES if name in why_skipped},
        )

    def _judged(self, dataset: str, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Yield the parts of a batch that time allows to be judged, their single values already checked."""
        require_structure(dataset, batch)
        for start in range(0, len(batch), self._batch_rows):
            if self._time_is_up(dataset):
                return
            part = batch.slice(start, self._batch_rows)
            if self._findings.wants(SCHEMA):
                check_schema(dataset, part, self._findings)
            yield part
            self._rows[dataset] += len(part)

    def _time_is_up(self, part: str) -> bool:
        """Return whether to stop before this part: `models`, `files`, `history` or the `day` as a whole."""
        if self._stopped_in is None and self._deadline():
            self._stopped_in = part
        return self._stopped_in is not None

    def _unfinished(self) -> list[str]:
        """Return the rules that have not seen all they look at."""
        done = {
            None: RULES.keys(),
            "files": _DONE_WITH_MODELS,
            "history": _DONE_WITH_FILES,
            "day": _DONE_WITH_FILES | _OF_HISTORY,
        }
        return [name for name in RULES if name not in done.get(self._stopped_in, ())]

    def _lacking(self, counts: dict[str, int]) -> dict[str, str]:
        """Return why rules can prove nothing, by name, as far as that is known when time is up."""
        lacking = dict(self._models.lacking)
        if self._stopped_in not in ("models", "files"):
            lacking |= self._files.lacking
        if self._history_judged or self._stopped_in in (None, "day"):
            lacking |= self._without_history
        if self._evidence is None or self._stopped_in is None:
            looked_at = frozenset() if self._evidence is None else self._evidence.looked_at
            lacking |= {
                name: "no header was read" if name in _HEADERS else "no file facts were asked for again"
                for name in _OF_EVIDENCE - looked_at
            }
        # Equal paths are found as neighbours.
        if counts[file_rules.FILE_ORDER.name]:
            lacking[file_rules.FILE_UNIQUE.name] = "the files are not in order"
        return lacking

    def _left_out(self) -> str | None:
        whole_day = "repeated keys, parents, shard sets and counters"
        if self._stopped_in is None:
            return None
        if self._stopped_in == "day":
            return whole_day
        if self._stopped_in == "history":
            return f"the days before, {whole_day}"
        first = self._rows[self._stopped_in] + 1
        rest = " and all files" if self._stopped_in == "models" else ""
        return f"{self._stopped_in} from row {first:,} on{rest}"


def _require_switchable(names: Iterable[str]) -> None:
    wrong = sorted(name for name in names if name not in RULES or not RULES[name].switchable)
    if wrong:
        allowed = ", ".join(name for name, rule in RULES.items() if rule.switchable)
        raise ValueError(f"no rules that can be switched off: {', '.join(wrong)}; these can be: {allowed}")
