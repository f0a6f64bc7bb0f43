"""The report of a day as text: Markdown for the UI and `reports/`, and the "SYNC MODE REPORT" of the log.

Pure wording of facts that are handed in: the same facts give the same text. What does not belong here:
finding the facts (`rules`, `completeness`, `health`, `highlights`) and writing files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue.schema import CHANGES, GRADES
from gguf_assets.quality.completeness import Completeness, Gate, as_text, file_detail_coverage
from gguf_assets.quality.highlights import Mover, Movers, Vocabulary
from gguf_assets.quality.markdown import escaped, table
from gguf_assets.quality.rules import RULES

NAMES_SHOWN = 10
"""Models named for each kind of change."""

_NAMED = ("added", "removed", "renamed", "recreated", "restored")


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
        durations: name of a stage to its seconds, in the order of the stages.
        completeness: how complete the day is.
        gate: whether it may be published, in words.
        findings: rule to number of findings, those of the parser included.
        skipped: rules that were not applied.
        blocking: failed rules that keep the day from being published.
        grades: health grade to number of models.
        published: whether the day was published.
        failed: why its checks failed, where it was published nevertheless.
        window_hours: hours that an incremental sync looks back; None for a full one.
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


def change_counts(changes: pa.Table) -> dict[str, int]:
    """Return for each kind of change, in the order of the schema, how many models it happened to."""
    found = {entry["values"]: entry["counts"] for entry in pc.value_counts(changes["change"]).to_pylist()}
    return {change: found.get(change, 0) for change in CHANGES}


def sync_mode_report(facts: DayFacts, changes: Mapping[str, int]) -> str:
    """Return the block that ends the log of a sync.

    Args:
        facts: the figures of the day.
        changes: what `change_counts` returned.
    """
    return mode_report(
        facts.mode,
        sum(facts.durations.values()),
        facts.processed,
        changes,
        window_hours=facts.window_hours,
        reason=facts.reason,
        requests=facts.requests,
    )


def mode_report(
    mode: str,
    seconds: float,
    processed: int,
    changes: Mapping[str, int],
    *,
    window_hours: float | None,
    reason: str | None = None,
    requests: int | None = None,
) -> str:
    """Return the same block from its figures; what is None is left out.

    Args:
        mode: `full` or `incremental`.
        seconds: how long the sync took.
        processed: models whose files were read again.
        changes: number of models added, updated and removed, by these names.
        window_hours: hours that an incremental sync looks back.
        reason: why this mode, in words.
        requests: requests to the Hub.
    """
    lines = [
        "SYNC MODE REPORT",
        f"Sync Mode: {mode.upper()}",
        *([] if reason is None else [f"Reason: {reason}"]),
        f"Duration: {seconds:.1f} seconds",
        f"Models Processed: {processed}",
        *([] if requests is None else [f"Requests: {requests}"]),
    ]
    if mode == "incremental":
        lines += [
            "Incremental Changes:",
            *(f"  {change.capitalize()}: {changes[change]}" for change in ("added", "updated", "removed")),
        ]
        if window_hours is not None:
            lines.append(f"  Window: {window_hours:g} hours")
    return "\n".join(lines)


def day_report(
    facts: DayFacts,
    changes: pa.Table,
    movers: Movers,
    vocabulary: Vocabulary,
    known_before: Vocabulary | None,
) -> str:
    """Return the report of a day as Markdown.

    Args:
        facts: the figures of the day.
        changes: the day's `changes`; without rows on the first day.
        movers: filled with the day's `models`.
        vocabulary: filled with the day's `models`.
        known_before: filled with the baseline's `models`; None on the first day.
    """
    sections = (
        _summary(facts),
        _changes(facts, changes),
        _movers("Rising downloads", movers.rising),
        _movers("Falling downloads", movers.falling),
        _first_seen(vocabulary, known_before),
        _completeness(facts),
        _findings(facts),
        _health(facts),
        _work(facts),
    )
    return "\n".join(line for section in sections for line in section).rstrip() + "\n"


def _summary(facts: DayFacts) -> Iterator[str]:
    yield f"# GGUF catalogue, {facts.day.isoformat()}"
    yield ""
    if facts.published:
        yield f"- Published: {facts.models:,} models, {facts.files:,} files."
    else:
        yield f"- **Not published.** The candidate has {facts.models:,} models and {facts.files:,} files."
    if facts.failed:
        yield f"- **Published although its checks failed**: {'; '.join(facts.failed)}."
    against = "the first day" if facts.baseline is None else f"compared with {facts.baseline.isoformat()}"
    yield f"- {facts.reason}; {against}."
    yield f"- Gate: {facts.gate.text}."
    if facts.blocking:
        yield f"- Blocking findings: {', '.join(f'`{rule}`' for rule in facts.blocking)}."
    yield ""


def _changes(facts: DayFacts, changes: pa.Table) -> Iterator[str]:
    yield "## Changes"
    yield ""
    if facts.baseline is None:
        yield "This is the first day: there is nothing to compare it with."
        yield ""
        return
    counts = change_counts(changes)
    shown = {
        change: n for change, n in counts.items() if n or change in ("added", "updated", "removed", "renamed")
    }
    yield from table(["change", "models"], shown.items())
    yield ""
    for change in _NAMED:
        if counts[change]:
            yield f"{change.capitalize()}: {_names(changes.filter(pc.equal(changes['change'], change)))}."
            yield ""


def _names(rows: pa.Table) -> str:
    first = rows.slice(0, NAMES_SHOWN).select(["model_id", "previous_model_id"]).to_pylist()
    names = [
        escaped(row["model_id"])
        if row["previous_model_id"] is None
        else f"{escaped(row['previous_model_id'])} → {escaped(row['model_id'])}"
        for row in first
    ]
    more = rows.num_rows - len(first)
    return ", ".join(names) + (f" and {more:,} more" if more else "")


def _movers(title: str, movers: list[Mover]) -> Iterator[str]:
    if movers:
        yield f"## {title}"
        yield ""
        rows = [
            (escaped(m.model_id), f"{m.delta:+,}", "?" if m.downloads is None else m.downloads)
            for m in movers
        ]
        yield from table(["model", "change", "30 days"], rows)
        yield ""


def _first_seen(today: Vocabulary, before: Vocabulary | None) -> Iterator[str]:
    if before is None:
        return
    fresh = {
        "Architectures": sorted(today.architectures - before.architectures),
        "Quantizations": sorted(today.quantizations - before.quantizations),
    }
    if any(fresh.values()):
        yield "## Not seen the day before"
        yield ""
        for title, words in fresh.items():
            if words:
                more = len(words) - NAMES_SHOWN
                rest = f" and {more:,} more" if more > 0 else ""
                yield f"{title}: {', '.join(escaped(word) for word in words[:NAMES_SHOWN])}{rest}."
                yield ""


def _completeness(facts: DayFacts) -> Iterator[str]:
    completeness = facts.completeness
    coverage = completeness.coverage
    details = file_detail_coverage(facts.details_known, facts.models)
    yield "## Completeness"
    yield ""
    rows: list[tuple[str, object]] = [
        ("completeness", as_text(completeness.score)),
        ("coverage", "no independent count" if coverage is None else as_text(coverage)),
        ("fill", as_text(completeness.fill)),
        *((escaped(name.replace("_", " ")), _part(value)) for name, value in completeness.parts.items()),
        ("file details known", "no models" if details is None else as_text(details)),
    ]
    yield from table(["figure", "value"], rows)
    yield ""


def _part(value: float | bool) -> object:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, int) else as_text(value)


def _findings(facts: DayFacts) -> Iterator[str]:
    yield "## Findings"
    yield ""
    found = {rule: count for rule, count in facts.findings.items() if count}
    if found:
        # Rules of the registry first, gravest first; then those of the parser, by name.
        order = [rule for rule in RULES if rule in found] + sorted(found.keys() - RULES.keys())
        rows = [
            (f"`{rule}`", found[rule], RULES[rule].severity if rule in RULES else "set aside or made null")
            for rule in order
        ]
        yield from table(["rule", "findings", "severity"], rows)
    else:
        yield "None."
    if facts.skipped:
        yield ""
        yield f"Skipped: {', '.join(f'`{rule}`' for rule in facts.skipped)}."
    yield ""


def _health(facts: DayFacts) -> Iterator[str]:
    total = sum(facts.grades.values())
    if total:
        yield "## Health"
        yield ""
        rows = [
            (grade, facts.grades.get(grade, 0), f"{facts.grades.get(grade, 0) / total:.1%}")
            for grade in GRADES
        ]
        yield from table(["grade", "models", "share"], rows)
        yield ""


def _work(facts: DayFacts) -> Iterator[str]:
    yield "## Work"
    yield ""
    yield f"{facts.requests:,} requests, {facts.detail_requests:,} of them for details."
    yield ""
    yield from table(["stage", "seconds"], [(escaped(s), f"{t:.1f}") for s, t in facts.durations.items()])
