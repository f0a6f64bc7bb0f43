"""The report of a day as one page that needs nothing else: no script, no network, light and dark, paper.

Pure wording of facts that are handed in; the same facts give the same bytes. What does not belong here: the
facts and their order (`day_facts`, `trends`), elements and style (`html`), drawing (`charts`).
"""

from __future__ import annotations

from collections.abc import Sequence

from gguf_assets.catalogue.schema import GRADES
from gguf_assets.quality.completeness import as_text
from gguf_assets.quality.day_facts import (
    NAMES_SHOWN,
    Change,
    DayFacts,
    Highlights,
    by_severity,
    changes_shown,
    completeness_shown,
    findings_shown,
    lost_points,
    skipped_shown,
)
from gguf_assets.quality.health_checks import HEALTH_CHECKS
from gguf_assets.quality.highlights import Mover
from gguf_assets.quality.html import (
    Html,
    bar,
    code,
    element,
    joined,
    links,
    page,
    section,
    strange,
    table,
)
from gguf_assets.quality.trends import UNKNOWN, DayTrend, day_charts, drawn, figures_table

_STATES = {"green": "good", "yellow": "middling", "red": "bad"}


def day_page(
    facts: DayFacts,
    highlights: Highlights,
    days: Sequence[DayTrend],
    *,
    navigation: Sequence[tuple[str, str]] = (),
) -> Html:
    """Return the page of a day.

    Args:
        facts: the figures of the day.
        highlights: what stands out.
        days: the published days up to this one, oldest first; the last is this one.
        navigation: relative links to other pages.
    """
    return page(
        f"GGUF catalogue, {facts.day.isoformat()}",
        joined((_lead(facts), _figures(facts, days)), "\n"),
        (
            _changes(facts, highlights),
            _movers(highlights),
            _first_seen(facts, highlights),
            _completeness(facts),
            _over_time(days),
            _health(facts),
            _worst(highlights),
            _findings(facts),
            _work(facts),
        ),
        navigation=links(navigation, "Other pages") if navigation else None,
    )


def _lead(facts: DayFacts) -> Html:
    lines: list[object] = [
        element("p", f"{_sentence(facts.reason)}; {facts.against}. Gate: {facts.gate.text}.")
    ]
    if not facts.published:
        lines.append(_notice("Not published.", "This is the candidate of the day."))
    if facts.failed:
        lines.append(_notice("Published although its checks failed:", f"{'; '.join(facts.failed)}."))
    if facts.blocking:
        rules = joined((code(rule) for rule in facts.blocking), ", ")
        lines.append(_notice("Blocking findings:", rules))
    return joined(lines, "\n")


def _notice(what: str, words: object) -> Html:
    return element("p", element("strong", what), " ", words, class_="notice")


def _figures(facts: DayFacts, days: Sequence[DayTrend]) -> Html:
    before = days[-2] if len(days) > 1 else None
    grave = by_severity(facts.findings)
    mean = facts.health.get("mean")
    changed = None if facts.baseline is None else (days[-1].changes if days else None)
    entries: list[tuple[str, str, str | None]] = [
        ("Models", f"{facts.models:,}", None if before is None else f"{facts.models - before.models:+,}"),
        ("Files", f"{facts.files:,}", None if before is None else f"{facts.files - before.files:+,}"),
        ("Completeness", as_text(facts.completeness.score), None),
    ]
    if changed is not None:
        entries += [
            (kind.capitalize(), f"{changed.get(kind, 0):,}", None) for kind in ("added", "updated", "removed")
        ]
    if mean is not None:
        entries.append(("Mean health", f"{mean:.2f}", "of 10"))
    notes = f"errors: {grave['error']:,}, notes: {grave['info']:,}"
    entries.append(("Warnings", f"{grave['warning']:,}", notes))
    boxes = (
        element(
            "div",
            element("dt", name),
            element("dd", figure, None if note is None else element("small", note)),
        )
        for name, figure, note in entries
    )
    return element("dl", *boxes, class_="figures")


def _changes(facts: DayFacts, highlights: Highlights) -> Html:
    if facts.baseline is None:
        words = "This is the first day: there is nothing to compare it with."
        return section("What changed", element("p", words), name="changes")
    shown = changes_shown(highlights.changes)
    counts = table(
        f"Models that changed since {facts.baseline.isoformat()}",
        ["change", "models"],
        [(change.kind, change.models) for change in shown],
        numbers={1},
    )
    named = (
        part
        for change in shown
        if change.names
        for part in (element("h3", change.kind.capitalize()), _named(change))
    )
    return section("What changed", counts, *named, name="changes")


def _named(change: Change) -> Html:
    entries = [
        element("li", strange(name) if before is None else joined((strange(before), " → ", strange(name))))
        for name, before in change.names
    ]
    if change.more:
        entries.append(element("li", f"and {change.more:,} more", class_="faint"))
    return element("ul", *entries)


def _movers(highlights: Highlights) -> Html | None:
    parts = [
        _moved(title, movers)
        for title, movers in (("Rising", highlights.rising), ("Falling", highlights.falling))
        if movers
    ]
    if not parts:
        return None
    words = (
        "Downloads of the last 30 days against the day before; the counter is a window, so falling is normal."
    )
    return section(
        "Biggest movers", element("p", words), element("div", *parts, class_="beside"), name="movers"
    )


def _moved(title: str, movers: Sequence[Mover]) -> Html:
    rows = [
        (strange(m.model_id), f"{m.delta:+,}", UNKNOWN if m.downloads is None else m.downloads)
        for m in movers
    ]
    return table(f"{title} downloads", ["model", "change", "30 days"], rows, numbers={1, 2})


def _first_seen(facts: DayFacts, highlights: Highlights) -> Html | None:
    if facts.baseline is None:
        return None
    words = {"Quantizations": highlights.quantizations, "Architectures": highlights.architectures}
    parts = [
        element(
            "p", f"{title}: ", joined((strange(word) for word in found[:NAMES_SHOWN]), ", "), _rest(found)
        )
        for title, found in words.items()
        if found
    ]
    nothing = [element("p", "No quantization and no architecture that the day before did not have.")]
    return section("New quantizations and architectures", *(parts or nothing), name="new")


def _rest(words: Sequence[str]) -> str:
    more = len(words) - NAMES_SHOWN
    return f" and {more:,} more." if more > 0 else "."


def _completeness(facts: DayFacts) -> Html:
    head = ["figure", "value", "meaning"]
    shown = list(completeness_shown(facts))
    fields = [row for row in shown if row[0].startswith("filled ")]
    parts = table(
        "Completeness and what it is made of",
        head,
        [row for row in shown if row not in fields],
        numbers={1},
    )
    filled = element(
        "details",
        element("summary", "The required fields behind the fill"),
        table("Share of the listed models that have each required field", head, fields, numbers={1}),
    )
    return section("Completeness", parts, filled if fields else None, name="completeness")


def _over_time(days: Sequence[DayTrend]) -> Html | None:
    charts = day_charts(days)
    if not charts:
        return None
    first, last = days[0].day, days[-1].day
    figures = element(
        "details",
        element("summary", "The figures behind the charts"),
        figures_table(days, f"Published days from {first} to {last}, newest first"),
    )
    words = (
        f"{len(days):,} published days, {first} to {last}. A gap is a day, or a figure, that is not known."
    )
    return section("Over time", element("p", words), drawn(charts), figures, name="over-time")


def _health(facts: DayFacts) -> Html | None:
    total = sum(facts.grades.values())
    if not total:
        return None
    health = facts.health
    parts: list[object] = []
    if health.get("mean") is not None:
        state = health.get("status", "unknown")
        parts.append(
            element(
                "p",
                f"Mean {health['mean']:.2f}, median {health['median']:.2f} of 10, ",
                f"over {health['scored']:,} models. State: ",
                element("span", state, class_=f"state {_STATES.get(state, '')}".strip()),
                ".",
            )
        )
    grades = [(grade, facts.grades.get(grade, 0)) for grade in GRADES]
    distributions = [_distribution("Models by grade", "grade", grades)]
    if scores := health.get("scores"):
        names = [f"{low}–{low + 1}" if low < len(scores) - 1 else f"{low}" for low in range(len(scores))]
        counts = list(zip(names, scores, strict=True))
        distributions.append(_distribution("Models by score", "score", counts))
    parts.append(element("div", *distributions, class_="beside"))
    if checks := health.get("checks"):
        parts.append(_checks(checks))
    return section("Health", *parts, name="health")


def _distribution(caption: str, name: str, counts: Sequence[tuple[str, int]]) -> Html:
    total = sum(count for _, count in counts)
    most = max(count for _, count in counts)
    rows = [
        (key, count, f"{count / total:.1%}" if total else UNKNOWN, bar(count / most if most else 0))
        for key, count in counts
    ]
    return table(
        caption, [name, "models", "share", element("span", "bar", class_="unseen")], rows, numbers={1, 2}
    )


def _checks(checks: object) -> Html:
    assert isinstance(checks, dict)
    rows = []
    for name, figures in checks.items():
        declared = HEALTH_CHECKS.get(name)
        known, full, mean = figures["known"], figures["full"], figures["mean"]
        rows.append(
            (
                code(name),
                UNKNOWN if mean is None else f"{mean:.2f}",
                figures["weight"],
                known,
                f"{full / known:.1%}" if known else UNKNOWN,
                element("div", _words("" if declared is None else declared.what), class_="wide"),
            )
        )
    head = ["check", "mean", "weight", "known for", "full marks", "looks at"]
    return table("The checks behind the score, 0 to 10 each", head, rows, numbers={1, 2, 3, 4}, cards=True)


def _worst(highlights: Highlights) -> Html | None:
    if not highlights.worst:
        return None
    rows = []
    for model in highlights.worst:
        lost = [
            element("li", code(check), f": {wrong}. ", element("span", _words(remedy), class_="faint"))
            for check, wrong, remedy in lost_points(model)
        ]
        rows.append(
            (strange(model.model_id), f"{model.score:.2f}", model.grade, element("ul", *lost, class_="wide"))
        )
    shown = table(
        "The lowest scores: what costs them points, and what their owners can do",
        ["model", "score", "grade", "what is wanting"],
        rows,
        numbers={1},
        cards=True,
    )
    return section("Least healthy models", shown, name="worst")


def _findings(facts: DayFacts) -> Html:
    found = findings_shown(facts.findings)
    parts: list[object] = []
    if found:
        rows = [
            (
                code(one.rule.name),
                one.count,
                element("span", one.rule.severity, class_=_GRAVITY[one.rule.severity]),
                one.rule.group,
                "put right" if one.fixed else "",
                element("div", _words(one.rule.what), " ", _words(one.rule.reason), class_="wide"),
            )
            for one in found
        ]
        head = ["rule", "findings", "severity", "group", "fixed", "what it promises, and why"]
        parts.append(table("Findings by rule, gravest first", head, rows, numbers={1}, cards=True))
    else:
        parts.append(element("p", "None."))
    if skipped := skipped_shown(facts):
        reasons = [(code(rule), why) for rule, why in skipped.items()]
        parts.append(table("Rules that were not applied", ["rule", "why"], reasons))
    return section("Findings", *parts, name="findings")


_GRAVITY = {"error": "state bad", "warning": "state middling", "info": "faint"}


def _work(facts: DayFacts) -> Html:
    words = f"{facts.requests:,} requests, {facts.detail_requests:,} of them for details."
    parts: list[object] = [element("p", words)]
    if facts.durations:
        rows = [(stage, f"{seconds:.1f}") for stage, seconds in facts.durations.items()]
        parts.append(table("Seconds of each stage", ["stage", "seconds"], rows, numbers={1}))
    return section("Work", *parts, name="work")


def _words(markdown: str) -> Html:
    """Return words of ours, in which names stand between backticks."""
    pieces = markdown.split("`")
    return joined(code(piece) if place % 2 else piece for place, piece in enumerate(pieces))


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]
