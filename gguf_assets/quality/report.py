"""The report of a day as text: Markdown for the UI and `reports/`, and the "SYNC MODE REPORT" of the log.

Pure wording of facts that are handed in: the same facts give the same text. What does not belong here: the
facts and their order (`day_facts`), the page for the browser (`day_page`), and writing files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gguf_assets.catalogue.schema import GRADES
from gguf_assets.quality.day_facts import (
    NAMES_SHOWN,
    Change,
    DayFacts,
    Highlights,
    changes_shown,
    completeness_shown,
    findings_shown,
    lost_points,
    skipped_shown,
)
from gguf_assets.quality.highlights import Mover, WorstModel
from gguf_assets.quality.markdown import escaped, table


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


def day_report(facts: DayFacts, highlights: Highlights) -> str:
    """Return the report of a day as Markdown.

    Args:
        facts: the figures of the day.
        highlights: what stands out.
    """
    sections = (
        _summary(facts),
        _changes(facts, highlights),
        _movers("Rising downloads", highlights.rising),
        _movers("Falling downloads", highlights.falling),
        _first_seen(highlights),
        _completeness(facts),
        _findings(facts),
        _health(facts),
        _worst(highlights),
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
    yield f"- {facts.reason}; {facts.against}."
    yield f"- Gate: {facts.gate.text}."
    if facts.blocking:
        yield f"- Blocking findings: {', '.join(f'`{rule}`' for rule in facts.blocking)}."
    yield ""


def _changes(facts: DayFacts, highlights: Highlights) -> Iterator[str]:
    yield "## Changes"
    yield ""
    if facts.baseline is None:
        yield "This is the first day: there is nothing to compare it with."
        yield ""
        return
    shown = changes_shown(highlights.changes)
    yield from table(["change", "models"], [(change.kind, change.models) for change in shown])
    yield ""
    for change in shown:
        if change.names:
            yield f"{change.kind.capitalize()}: {_names(change)}."
            yield ""


def _names(change: Change) -> str:
    names = [
        escaped(name) if before is None else f"{escaped(before)} → {escaped(name)}"
        for name, before in change.names
    ]
    return ", ".join(names) + (f" and {change.more:,} more" if change.more else "")


def _movers(title: str, movers: Sequence[Mover]) -> Iterator[str]:
    if movers:
        yield f"## {title}"
        yield ""
        rows = [
            (escaped(m.model_id), f"{m.delta:+,}", "?" if m.downloads is None else m.downloads)
            for m in movers
        ]
        yield from table(["model", "change", "30 days"], rows)
        yield ""


def _first_seen(highlights: Highlights) -> Iterator[str]:
    fresh = {"Architectures": highlights.architectures, "Quantizations": highlights.quantizations}
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
    yield "## Completeness"
    yield ""
    rows = [(escaped(name), value, escaped(meaning)) for name, value, meaning in completeness_shown(facts)]
    yield from table(["figure", "value", "meaning"], rows)
    yield ""


def _findings(facts: DayFacts) -> Iterator[str]:
    yield "## Findings"
    yield ""
    found = findings_shown(facts.findings)
    if found:
        rows = [
            (
                f"`{one.rule.name}`",
                one.count,
                one.rule.severity,
                one.rule.group,
                "put right" if one.fixed else "",
                one.rule.what,
            )
            for one in found
        ]
        yield from table(["rule", "findings", "severity", "group", "fixed", "what it promises"], rows)
    else:
        yield "None."
    skipped = skipped_shown(facts)
    if skipped:
        yield ""
        yield f"Skipped: {', '.join(f'`{rule}` ({escaped(why)})' for rule, why in skipped.items())}."
    yield ""


def _health(facts: DayFacts) -> Iterator[str]:
    total = sum(facts.grades.values())
    if total:
        yield "## Health"
        yield ""
        health = facts.health
        if health.get("mean") is not None:
            yield (
                f"Mean {health['mean']:.2f}, median {health['median']:.2f} of 10: {health['status']}, over "
                f"{health['scored']:,} models."
            )
            yield ""
        rows = [
            (grade, facts.grades.get(grade, 0), f"{facts.grades.get(grade, 0) / total:.1%}")
            for grade in GRADES
        ]
        yield from table(["grade", "models", "share"], rows)
        yield ""


def _worst(highlights: Highlights) -> Iterator[str]:
    if highlights.worst:
        yield "## Least healthy models"
        yield ""
        yield from worst_table(highlights.worst)
        yield ""


def worst_table(worst: Sequence[WorstModel]) -> list[str]:
    """Return a table of the least healthy models, line by line: what is wanting, and what helps."""
    rows = [
        (
            escaped(model.model_id),
            f"{model.score:.2f}",
            model.grade,
            "<br>".join(f"`{check}`: {wrong}. {remedy}" for check, wrong, remedy in lost_points(model)),
        )
        for model in worst
    ]
    return table(["model", "score", "grade", "what is wanting, and what helps"], rows)


def _work(facts: DayFacts) -> Iterator[str]:
    yield "## Work"
    yield ""
    yield f"{facts.requests:,} requests, {facts.detail_requests:,} of them for details."
    if facts.durations:
        yield ""
        yield from table(["stage", "seconds"], [(escaped(s), f"{t:.1f}") for s, t in facts.durations.items()])
