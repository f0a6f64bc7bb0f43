"""The facts of one day as its reports show them, and what the Markdown report and the page say alike.

What belongs here: plain facts, their order and their words. What does not: Markdown (`report`), HTML
(`day_page`), and finding the facts (`rules`, `completeness`, `health`, `highlights`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue.fixes import FIXES
from gguf_assets.catalogue.schema import CHANGES
from gguf_assets.quality.completeness import Completeness, Gate, as_text, file_detail_coverage
from gguf_assets.quality.findings import Rule
from gguf_assets.quality.health_checks import HEALTH_CHECKS
from gguf_assets.quality.highlights import Mover, WorstModel
from gguf_assets.quality.reading_rules import READING_RULES
from gguf_assets.quality.rules import RULES

NAMES_SHOWN = 10
"""Models, or words, named for each kind of change."""

ALWAYS_SHOWN = ("added", "updated", "removed", "renamed")
"""Kinds of change that are shown although nothing of the kind happened."""

NAMED = tuple(change for change in CHANGES if change != "updated")
"""Kinds of change whose models are named; updates are too many and too usual."""


@dataclass(frozen=True)
class DayFacts:
    """The figures of one day, as the manifest and the run know them.

    Attributes:
        day: the UTC day by the Hub's clock.
        baseline: the published day it is compared with; None on the first day.
        mode: `full` or `incremental`.
        reason: why this mode, in words.
        models: rows of `models`.
        files: rows of `files`.
        processed: models whose files were read again.
        details_known: models whose file details are known at their current sha.
        requests: all requests to the Hub, details included.
        detail_requests: requests for details alone.
        durations: name of a stage to its seconds, in the order of the stages; empty when not known.
        completeness: how complete the day is.
        gate: whether it may be published, in words.
        findings: rule to number of findings, those of the parser included.
        skipped: rules that were not applied.
        blocking: failed rules that keep the day from being published.
        grades: health grade to number of models.
        published: whether the day was published.
        window_hours: hours that an incremental sync looks back; None for a full one.
        failed: why its checks failed, where it was published nevertheless.
        why_skipped: skipped rule to the reason, in words, where it is known.
        not_checked: rules that time did not allow to be applied to everything.
        health: the manifest's figures of health; empty where a day lacks them.
    """

    day: date
    baseline: date | None
    mode: str
    reason: str
    models: int
    files: int
    processed: int
    details_known: int
    requests: int
    detail_requests: int
    durations: Mapping[str, float]
    completeness: Completeness
    gate: Gate
    findings: Mapping[str, int]
    skipped: Sequence[str]
    blocking: Sequence[str]
    grades: Mapping[str, int]
    published: bool
    window_hours: float | None = None
    failed: Sequence[str] = ()
    why_skipped: Mapping[str, str] = field(default_factory=dict)
    not_checked: Sequence[str] = ()
    health: Mapping[str, Any] = field(default_factory=dict)

    @property
    def against(self) -> str:
        """What the day is compared with, in words."""
        return "the first day" if self.baseline is None else f"compared with {self.baseline.isoformat()}"


@dataclass(frozen=True)
class Highlights:
    """What stands out on a day.

    Attributes:
        changes: the day's `changes`; without rows on the first day.
        rising, falling: the models whose downloads moved most.
        architectures, quantizations: words that the baseline did not have, in order; empty on the first day.
        worst: the models with the lowest health scores, worst first.
    """

    changes: pa.Table
    rising: Sequence[Mover] = ()
    falling: Sequence[Mover] = ()
    architectures: Sequence[str] = ()
    quantizations: Sequence[str] = ()
    worst: Sequence[WorstModel] = ()


@dataclass(frozen=True)
class Change:
    """One kind of change.

    Attributes:
        kind: as in `changes.change`.
        models: how many models it happened to.
        names: the first of them, with their name before where it is another; empty where none are named.
    """

    kind: str
    models: int
    names: Sequence[tuple[str, str | None]]

    @property
    def more(self) -> int:
        """How many models are not named."""
        return self.models - len(self.names)


@dataclass(frozen=True)
class Found:
    """How often a rule was broken; `fixed` tells a value that was put right."""

    rule: Rule
    count: int
    fixed: bool


def change_counts(changes: pa.Table) -> dict[str, int]:
    """Return for each kind of change, in the order of the schema, how many models it happened to."""
    found = {entry["values"]: entry["counts"] for entry in pc.value_counts(changes["change"]).to_pylist()}
    return {change: found.get(change, 0) for change in CHANGES}


def changes_shown(changes: pa.Table) -> list[Change]:
    """Return the kinds of change that happened, and those that are always shown."""
    return [
        Change(kind, count, _names(changes, kind) if kind in NAMED and count else ())
        for kind, count in change_counts(changes).items()
        if count or kind in ALWAYS_SHOWN
    ]


def _names(changes: pa.Table, kind: str) -> list[tuple[str, str | None]]:
    rows = changes.filter(pc.equal(changes["change"], kind)).slice(0, NAMES_SHOWN)
    return list(zip(rows["model_id"].to_pylist(), rows["previous_model_id"].to_pylist(), strict=True))


def findings_shown(findings: Mapping[str, int]) -> list[Found]:
    """Return the broken rules, gravest first; a rule of an older version that is no more comes last."""
    known = {**RULES, **READING_RULES}
    order = {name: place for place, name in enumerate(known)}
    gravity = {"error": 0, "warning": 1, "info": 2}
    found = [
        Found(known.get(name) or _unknown(name), count, name in FIXES)
        for name, count in findings.items()
        if count
    ]
    return sorted(
        found,
        key=lambda one: (gravity[one.rule.severity], order.get(one.rule.name, len(order)), one.rule.name),
    )


def by_severity(findings: Mapping[str, int]) -> dict[str, int]:
    """Return the number of findings of each severity."""
    counts = {"error": 0, "warning": 0, "info": 0}
    for one in findings_shown(findings):
        counts[one.rule.severity] += one.count
    return counts


def _unknown(name: str) -> Rule:
    words = "A rule of another version of the program."
    return Rule(name, "info", words, "", "reading", "", switchable=False)


def skipped_shown(facts: DayFacts) -> dict[str, str]:
    """Return why each skipped rule was skipped, by rule; those that time cut off come last."""
    why = {
        rule: facts.why_skipped.get(rule, "switched off, or without what it needs") for rule in facts.skipped
    }
    return why | dict.fromkeys(facts.not_checked, "time was up")


def completeness_shown(facts: DayFacts) -> Iterator[tuple[str, object, str]]:
    """Yield the parts of the completeness: name, value and what it means."""
    completeness = facts.completeness
    coverage = completeness.coverage
    details = file_detail_coverage(facts.details_known, facts.models)
    yield "completeness", as_text(completeness.score), "coverage × fill; what the gate compares"
    yield (
        "coverage",
        "no independent count" if coverage is None else as_text(coverage),
        "models listed, of all that should be there",
    )
    yield "fill", as_text(completeness.fill), "required fields that listed models have"
    for name, value in completeness.parts.items():
        words = name.replace("_", " ")
        yield words, _part(value), _PARTS.get(name, "share of listed models" if "filled" in name else "")
    yield (
        "file details known",
        "no models" if details is None else as_text(details),
        "models whose files are known at their current commit; no part of the completeness",
    )


_PARTS = {
    "listed": "models that the walk showed and that can be trusted",
    "quarantined": "rows of the walk that were set aside whole",
    "unconfirmed": "models of the day before, neither listed nor proven to be gone",
    "put_back": "models missing in the listing that answered when asked by name",
    "seen_by_other_routes": "models that only another route saw",
    "walk_ended": "whether the walk came to its last page",
    "census_age_hours": "hours since the last walk over all models, under whose coverage this day stands",
}


def _part(value: float | bool) -> object:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, int) else as_text(value)


def lost_points(model: WorstModel) -> Iterator[tuple[str, str, str]]:
    """Yield for each check that cost a model points: its name, what is wrong and what its owner can do."""
    for lost in model.reasons:
        check = HEALTH_CHECKS.get(lost.check)
        meaning = "" if check is None else check.reasons.get(lost.reason, "").partition(": ")[2]
        yield lost.check, meaning or lost.reason, "" if check is None else check.remedy
