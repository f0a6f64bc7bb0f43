"""The days of a catalogue side by side: figures over time, as charts and as a table.

What is not known of a day, an older one for example, is a gap and never a zero. What does not belong here:
reading manifests and history (`orchestration/`), and drawing (`charts`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from gguf_assets.quality.charts import Chart, Series, figure
from gguf_assets.quality.completeness import as_text
from gguf_assets.quality.html import Html, element, joined, table

DAYS_SHOWN = 90
"""Published days up to a day that its page shows side by side."""

UNKNOWN = "–"
"""What a table shows for a figure that is not known."""


@dataclass(frozen=True)
class DayTrend:
    """What is known of a published day; None where it is not.

    Attributes:
        day: the day.
        models, files: rows.
        changes: kind of change to number of models; None on the first day.
        completeness, coverage, fill, details: shares, 0 to 1.
        health_mean, health_median: of the health scores, 0 to 10.
        findings: severity to number of findings.
        requests: those of the sync that published the day.
        seconds: how long that sync took; None also where durations are not to be shown.
        failed_syncs: syncs for the day that failed.
        page: whether the day has a page.
    """

    day: date
    models: int
    files: int
    changes: Mapping[str, int] | None = None
    completeness: float | None = None
    coverage: float | None = None
    fill: float | None = None
    details: float | None = None
    health_mean: float | None = None
    health_median: float | None = None
    findings: Mapping[str, int] = field(default_factory=dict)
    requests: int | None = None
    seconds: float | None = None
    failed_syncs: int | None = None
    page: bool = True


_Value = Callable[[DayTrend], float | None]


def day_charts(days: Sequence[DayTrend]) -> list[Chart]:
    """Return what the page of a day draws; nothing on a first day."""
    return _telling(
        _models(days),
        _completeness(days),
        _health(days),
        _chart(days, "requests", "Requests", "Requests that each day's sync sent.", _REQUESTS, kind="bars"),
        _chart(
            days,
            "seconds",
            "Duration",
            "Seconds that each day's sync took.",
            _SECONDS,
            kind="bars",
            decimals=1,
        ),
    )


def all_charts(days: Sequence[DayTrend]) -> list[Chart]:
    """Return what the dashboard draws: the charts of a day, and changes, findings and failed syncs."""
    changes = [(kind, _changed(kind)) for kind in ("added", "updated", "removed", "renamed")]
    failed = _chart(
        days,
        "failed",
        "Failed syncs",
        "Syncs for each published day that failed before one succeeded.",
        [("failed syncs", lambda day: day.failed_syncs)],
        kind="bars",
    )
    further = _telling(
        _chart(
            days, "changes", "Changes", "Models that changed against the day before.", changes, from_zero=True
        ),
        _chart(
            days,
            "findings",
            "Findings",
            "What was found wrong with each day's data, by severity.",
            [(severity, _found(severity)) for severity in ("error", "warning", "info")],
            from_zero=True,
        ),
        *([failed] if any(day.failed_syncs for day in days) else ()),
    )
    own = day_charts(days)
    return [*own[:1], *further[:1], *own[1:], *further[1:]]


def drawn(charts: Iterable[Chart]) -> Html:
    """Return charts side by side where there is room."""
    return element("div", joined((figure(chart) for chart in charts), "\n"), class_="charts")


def figures_table(
    days: Sequence[DayTrend], caption: str, first: Callable[[DayTrend], object] | None = None
) -> Html:
    """Return the figures of the days as a table, newest first.

    Args:
        days: the days, oldest first.
        caption: what it shows.
        first: what names a day; the day itself when None.
    """
    timed = any(day.seconds is not None for day in days)
    head = [
        "day",
        "models",
        "added",
        "updated",
        "removed",
        "completeness",
        "coverage",
        "fill",
        "file details",
    ]
    head += ["health", "errors", "warnings", "requests", *(["seconds"] if timed else []), "failed syncs"]
    rows = [
        [
            element("time", day.day) if first is None else first(day),
            day.models,
            *(_count(_changed(kind)(day)) for kind in ("added", "updated", "removed")),
            *(_share(share) for share in (day.completeness, day.coverage, day.fill, day.details)),
            _decimal(day.health_mean, 2),
            *(_count(_found(severity)(day)) for severity in ("error", "warning")),
            _count(day.requests),
            *([_decimal(day.seconds, 1)] if timed else []),
            _count(day.failed_syncs),
        ]
        for day in reversed(days)
    ]
    return table(caption, head, rows, numbers=range(1, len(head)))


def _models(days: Sequence[DayTrend]) -> Chart:
    return _chart(days, "models", "Models", "Models in the catalogue.", [("models", lambda day: day.models)])


def _completeness(days: Sequence[DayTrend]) -> Chart:
    return _chart(
        days,
        "completeness",
        "Completeness",
        "Completeness is coverage × fill; file details are a figure of their own.",
        [
            ("completeness", lambda day: day.completeness),
            ("coverage", lambda day: day.coverage),
            ("fill", lambda day: day.fill),
            ("file details", lambda day: day.details),
        ],
        decimals=4,
        top=1.0,
    )


def _health(days: Sequence[DayTrend]) -> Chart:
    return _chart(
        days,
        "health",
        "Health",
        "Health scores of all models, 0 to 10.",
        [("mean", lambda day: day.health_mean), ("median", lambda day: day.health_median)],
        decimals=2,
    )


def _chart(
    days: Sequence[DayTrend],
    key: str,
    title: str,
    about: str,
    series: Sequence[tuple[str, _Value]],
    **shape: object,
) -> Chart:
    drawn = tuple(Series(name, tuple(value(day) for day in days)) for name, value in series)
    return Chart(key, title, about, tuple(day.day for day in days), drawn, **shape)  # type: ignore[arg-type]


def _telling(*charts: Chart) -> list[Chart]:
    return [chart for chart in charts if chart.tells]


_REQUESTS: list[tuple[str, _Value]] = [("requests", lambda day: day.requests)]
_SECONDS: list[tuple[str, _Value]] = [("seconds", lambda day: day.seconds)]


def _changed(kind: str) -> _Value:
    return lambda day: None if day.changes is None else day.changes.get(kind, 0)


def _found(severity: str) -> _Value:
    return lambda day: day.findings.get(severity)


def _count(value: float | None) -> object:
    return UNKNOWN if value is None else int(value)


def _share(value: float | None) -> str:
    return UNKNOWN if value is None else as_text(value)


def _decimal(value: float | None, digits: int) -> str:
    return UNKNOWN if value is None else f"{value:,.{digits}f}"
