"""Charts over days as SVG that stands inside a page: drawn by Altair and vl-convert, then made small.

What is drawn names colours as variables of the page, so one drawing serves light and dark. The same series
give the same bytes. What does not belong here: which facts are drawn (`trends`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import Any, Literal
from xml.etree import ElementTree

from gguf_assets.quality.html import Html, element, joined
from gguf_assets.quality.page_style import SERIES

WIDTH, HEIGHT = 300, 150
"""The plot in pixels; a chart is as wide as a phone, and stands beside others where there is room."""

POINTS = 40
"""Days up to which each value of a line has its point; a value without neighbours has one in any case."""

_INK, _FAINT, _LINE = "#0a0b01", "#0a0b02", "#0a0b03"
_COLOURS = [f"#0a0c0{number}" for number in range(1, SERIES + 1)]
_VARIABLES = {
    _INK: "currentColor",
    _FAINT: "var(--faint)",
    _LINE: "var(--line)",
    **{colour: f"var(--series-{number})" for number, colour in enumerate(_COLOURS, start=1)},
}
"""Colours that stand in a drawing for those of the page."""

_DASHES = ((1, 0), (7, 3), (2, 2), (9, 3, 2, 3))
"""How the lines of the series differ for whoever cannot tell their colours apart; plain is the first."""

_DAY = 86_400_000
_DATA = "days"
_AXIS_WIDTH = 44
"""Pixels for the labels of the upright axis, so that the fonts of a machine change no drawing."""

_DROPPED = (
    "class",
    "role",
    "aria-roledescription",
    "aria-label",
    "aria-hidden",
    "pointer-events",
    "font-family",
)
_NUMBER = re.compile(r"-?\d+\.\d{2,}")


@dataclass(frozen=True)
class Series:
    """One line, or the bars, of a chart.

    Attributes:
        name: what it is called in the legend.
        values: one for each day; None where it is not known, which leaves a gap.
    """

    name: str
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Chart:
    """What is drawn over days.

    Attributes:
        key: its name in addresses and ids of the page.
        title: what it shows.
        about: how to read it, in one sentence.
        days: the days in order; where days between them are missing, lines have a gap.
        series: at most four; bars have one.
        kind: lines, or bars, which begin at 0.
        from_zero: whether the upright axis of lines begins at 0, as that of bars does.
        decimals: digits after the point in the words about it.
        top: the largest value there can be, where the upright axis ends; None leaves that to the values.
    """

    key: str
    title: str
    about: str
    days: tuple[date, ...]
    series: tuple[Series, ...]
    kind: Literal["lines", "bars"] = "lines"
    decimals: int = 0
    top: float | None = None
    from_zero: bool = False

    @property
    def tells(self) -> bool:
        """Whether there is anything over time: a value on two days at least."""
        return any(sum(value is not None for value in series.values) > 1 for series in self.series)


def figure(chart: Chart) -> Html:
    """Return a chart with its heading, its legend and its content in words."""
    caption = element(
        "figcaption",
        element("h3", chart.title),
        element("p", chart.about),
        _legend(chart) if len(chart.series) > 1 else None,
    )
    return element("figure", caption, draw(chart), id=f"chart-{chart.key}")


@lru_cache(maxsize=16)
def draw(chart: Chart) -> Html:
    """Return the drawing of a chart as an `svg` element, its words inside.

    The last drawings are kept: the dashboard of a young catalogue has those of its last day's page.
    """
    import vl_convert

    drawn = vl_convert.vegalite_to_svg(_specification(chart), allowed_base_urls=[])
    root = _small(ElementTree.fromstring(drawn))
    size = root.attrib["viewBox"]
    title, words = f"{chart.key}-title", f"{chart.key}-words"
    return element(
        "svg",
        element("title", chart.title, id=title),
        element("desc", in_words(chart), id=words),
        *(Html(_colourless(ElementTree.tostring(child, encoding="unicode"))) for child in root),
        class_="chart",
        viewBox=size,
        role="img",
        aria_labelledby=f"{title} {words}",
        font_family="inherit",
    )


def in_words(chart: Chart) -> str:
    """Return the content of a chart as sentences: where each series begins, ends, and how far it goes."""
    return " ".join(_told(chart, series) for series in chart.series)


def _told(chart: Chart, series: Series) -> str:
    known = [(day, value) for day, value in zip(chart.days, series.values, strict=True) if value is not None]
    if not known:
        return f"{series.name}: not known."
    values = [value for _, value in known]
    (first, began), (last, ended) = known[0], known[-1]

    def figure(value: float) -> str:
        return f"{value:,.{chart.decimals}f}"

    return (
        f"{series.name}: {figure(began)} on {first}, {figure(ended)} on {last}; "
        f"lowest {figure(min(values))}, highest {figure(max(values))}."
    )


def _specification(chart: Chart) -> dict[str, Any]:
    import altair as alt

    x = (
        alt.X("day:T")
        .title(None)
        .scale(type="utc", nice=False, domain=_reach(chart))
        .axis(
            format="%-d %b",
            values=_marked(chart.days),
            labelAngle=0,
            grid=False,
            labelFlush=True,
            labelOverlap=False,
        )
    )
    y_scale = alt.Scale(zero=chart.kind == "bars" or chart.from_zero, nice=True, **_domain(chart))
    y_axis = alt.Axis(tickCount=4, minExtent=_AXIS_WIDTH, maxExtent=_AXIS_WIDTH, format=_axis_format(chart))
    names = [series.name for series in chart.series]
    encoded = {"x": x, "y": alt.Y("value:Q", title=None, scale=y_scale, axis=y_axis)}
    base = alt.Chart(alt.NamedData(name=_DATA))
    if chart.kind == "bars":
        width = max(1.0, min(24.0, 0.7 * WIDTH / (_span(chart.days) + 1)))
        drawn = base.mark_bar(size=width, color=_COLOURS[0]).encode(**encoded)
    else:
        colour = alt.Color("name:N", legend=None).scale(domain=names, range=_COLOURS[: len(names)])
        dash = alt.StrokeDash("name:N", legend=None).scale(
            domain=names, range=[list(dash) for dash in _DASHES[: len(names)]]
        )
        lines = base.mark_line(strokeWidth=2).encode(**encoded, color=colour, strokeDash=dash)
        points = base.transform_filter("datum.point").mark_circle(size=22, opacity=1)
        drawn = lines + points.encode(**encoded, color=colour)
    axis = {
        "labelColor": _INK,
        "domainColor": _FAINT,
        "tickColor": _FAINT,
        "gridColor": _LINE,
        "labelFontSize": 13,
    }
    whole = drawn.properties(
        width=WIDTH, height=HEIGHT, padding={"left": 0, "right": 6, "top": 8, "bottom": 2}
    )
    content: dict[str, Any] = (
        whole.configure(aria=False, background="transparent")
        .configure_view(stroke=None)
        .configure_axis(**axis)
        .to_dict()
    )
    # Not handed to Altair, which looks at every value for as long as the drawing takes.
    return {**content, "datasets": {_DATA: _rows(chart)}}


def _rows(chart: Chart) -> list[dict[str, Any]]:
    """Return the values day by day, those of missing days as unknown."""
    rows = []
    first, last = chart.days[0], chart.days[-1]
    for series in chart.series:
        known = dict(zip(chart.days, series.values, strict=True))
        days = [first + timedelta(number) for number in range((last - first).days + 1)]
        values = [known.get(day) for day in days]
        for place, (day, value) in enumerate(zip(days, values, strict=True)):
            beside = [*values[max(0, place - 1) : place], *values[place + 1 : place + 2]]
            alone = all(neighbour is None for neighbour in beside)
            point = value is not None and (alone or len(days) <= POINTS)
            rows.append({"day": day.isoformat(), "name": series.name, "value": value, "point": point})
    return rows


def _marked(days: Sequence[date]) -> list[int]:
    """Return which days the axis names, as milliseconds: the first, the last and what fits between."""
    first, span = days[0], _span(days)
    # Few days are named evenly or only at the ends; of many nobody sees that the steps are not the same.
    steps = 3 if span > 8 else next(step for step in (3, 2, 1) if span % step == 0)
    chosen = {round(span * step / steps) for step in range(steps + 1)}
    return [_instant(first + timedelta(number)) for number in sorted(chosen)]


def _reach(chart: Chart) -> list[int]:
    """Return where the axis of the days begins and ends, in milliseconds: bars stand across their day."""
    room = _DAY // 2 if chart.kind == "bars" else 0
    return [_instant(chart.days[0]) - room, _instant(chart.days[-1]) + room]


def _instant(day: date) -> int:
    return (day - date(1970, 1, 1)).days * _DAY


def _span(days: Sequence[date]) -> int:
    return (days[-1] - days[0]).days


def _domain(chart: Chart) -> Mapping[str, Any]:
    """Return the bounds of the upright axis; values that are all equal get room above and below."""
    values = [value for series in chart.series for value in series.values if value is not None]
    if chart.top is not None:
        return {"domain": [min(min(values), 0.95 * chart.top), chart.top]}
    if chart.kind == "bars" or chart.from_zero or min(values) < max(values):
        return {}
    room = 0.1 * abs(values[0]) if chart.decimals else max(1.0, 0.1 * abs(values[0]))
    return {"domain": [values[0] - room, values[0] + room]}


def _axis_format(chart: Chart) -> str:
    values = [value for series in chart.series for value in series.values if value is not None]
    if max(map(abs, values), default=0) >= 10_000:
        return ".4~s"
    return ",~f" if not chart.decimals else "~g"


def _small(root: ElementTree.Element) -> ElementTree.Element:
    """Return a drawing without what shows nothing, without names of a namespace, with short numbers."""
    for parent in root.iter():
        parent.tag = parent.tag.rpartition("}")[2]
        for child in list(parent):
            if _shows_nothing(child):
                parent.remove(child)
        for name in _DROPPED:
            parent.attrib.pop(name, None)
        if parent.get("opacity") == "1":
            del parent.attrib["opacity"]
        for name, value in parent.attrib.items():
            parent.attrib[name] = _NUMBER.sub(
                lambda match: f"{float(match[0]):.2f}".rstrip("0").rstrip("."), value
            )
    return root


def _shows_nothing(element: ElementTree.Element) -> bool:
    kind = element.get("class", "")
    unseen = element.get("display") == "none" or element.get("opacity") == "0"
    return unseen or (kind == "background" and element.get("stroke") is None)


def _colourless(markup: str) -> str:
    for colour, variable in _VARIABLES.items():
        markup = markup.replace(f'"{colour}"', f'"{variable}"')
    return markup


def _legend(chart: Chart) -> Html:
    entries = []
    for number, series in enumerate(chart.series, start=1):
        dash = _DASHES[number - 1]
        line = element(
            "line",
            x1=0,
            x2=28,
            y1=5,
            y2=5,
            stroke=f"var(--series-{number})",
            stroke_width=2.5,
            stroke_dasharray=" ".join(map(str, dash)) if dash[1] else None,
        )
        sample = element("svg", line, viewBox="0 0 28 10", aria_hidden="true")
        entries.append(element("li", sample, series.name))
    return element("ul", joined(entries), class_="legend")
