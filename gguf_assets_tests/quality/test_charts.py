from __future__ import annotations

import re
from datetime import date, timedelta

import pytest

from gguf_assets.quality.charts import Chart, Series, draw, figure, in_words
from gguf_assets.quality.page_style import SERIES, STYLE

from .pages import Page

pytestmark = pytest.mark.usefixtures("drawing")

FIRST = date(2025, 8, 1)


def chart(values, key="models", kind="lines", gaps=(), **more):
    """A chart of lists of values over consecutive days, without the days at `gaps`."""
    days = [FIRST + timedelta(number) for number in range(len(next(iter(values.values()))) + len(gaps))]
    days = [day for number, day in enumerate(days) if number not in gaps]
    series = tuple(Series(name, tuple(of)) for name, of in values.items())
    return Chart(key, "A title", "About it.", tuple(days), series, kind, **more)


def lines(drawing):
    """The paths of lines: strokes with a dash."""
    return re.findall(r'<path d="([^"]+)"[^>]*stroke-dasharray', drawing)


def points(drawing):
    return re.findall(r'<path transform="translate\(([\d.]+),([\d.]+)\)"', drawing)


def test_a_value_that_is_not_known_is_a_gap_and_so_is_a_day_that_is_missing():
    [whole] = lines(draw(chart({"a": [1, 2, 3, 4, 5]})))
    [unknown] = lines(draw(chart({"a": [1, 2, None, 4, 5]})))
    [missing] = lines(draw(chart({"a": [1, 2, 4, 5]}, gaps=[2])))
    assert (whole.count("M"), unknown.count("M")) == (1, 2)
    assert unknown == missing


def test_points_stand_where_the_values_are():
    drawing = draw(chart({"a": [0.0, 5.0, 10.0]}, top=10.0))
    assert [(float(x), float(y)) for x, y in points(drawing)] == [(0, 150), (150, 75), (300, 0)]


def test_many_days_have_a_line_and_only_values_without_neighbours_a_point():
    values = [float(number % 9) for number in range(90)]
    assert points(draw(chart({"a": values}))) == []
    values[40] = values[42] = None
    assert len(points(draw(chart({"a": values})))) == 1


def test_bars_begin_at_zero_and_stand_inside_the_plot():
    drawing = draw(chart({"a": [50.0, 100.0]}, kind="bars"))
    bars = re.findall(r'd="M([\d.]+),([\d.]+)h([\d.]+)v([\d.]+)h-[\d.]+Z" fill="var', drawing)
    assert [float(height) for *_, height in bars] == [75, 150]
    assert all(float(x) >= 0 and float(x) + float(width) <= 300 for x, _, width, _ in bars)


def test_colours_are_those_of_the_page_and_all_of_them_are_declared_in_both_schemes():
    drawing = draw(chart({f"s{number}": [1.0 * number, 2, 3] for number in range(SERIES)}))
    assert not re.search(r"#[0-9a-f]{3,8}\b|\brgb|white|black", drawing)
    used = set(re.findall(r"var\((--[a-z0-9-]+)\)", drawing))
    assert {f"--series-{number + 1}" for number in range(SERIES)} <= used
    schemes = re.findall(r"--ground: #[^}]+", STYLE)
    assert len(schemes) == 3, "light, dark and paper"
    for scheme in schemes:
        assert used <= set(re.findall(r"(--[a-z0-9-]+):", scheme))


def test_the_drawing_has_text_says_what_it_shows_and_fetches_nothing():
    page = Page(draw(chart({"models": [1_000.0, 900.0, 1_200.0]})))
    [svg] = page.named("svg")
    assert svg["role"] == "img"
    ids = [attributes["id"] for _, attributes in page.elements if attributes.get("id")]
    assert svg["aria-labelledby"].split() == ids == ["models-title", "models-words"]
    assert "A title" in page.texts
    assert "models: 1,000 on 2025-08-01, 1,200 on 2025-08-03; lowest 900, highest 1,200." in page.texts
    assert {"1 Aug", "3 Aug"} <= set(page.texts)
    assert {tag for tag, _ in page.elements} <= {"svg", "title", "desc", "g", "path", "line", "text"}
    assert "http" not in page.text + str(page.elements)


def test_each_series_is_told_in_words_and_an_unknown_one_as_unknown():
    told = in_words(chart({"a": [None, 0.5, 0.25], "b": [None, None, None]}, decimals=2))
    assert told == ("a: 0.50 on 2025-08-02, 0.25 on 2025-08-03; lowest 0.25, highest 0.50. b: not known.")


def test_the_legend_names_the_series_where_there_are_several():
    assert "<ul" not in figure(chart({"a": [1.0, 2.0]}))
    page = Page(figure(chart({"a": [1.0, 2.0], "b": [2.0, 3.0]})))
    dashes = [line.get("stroke-dasharray") for line in page.named("line") if line.get("x1") == "0"]
    assert {"a", "b"} <= set(page.texts)
    assert len(set(dashes)) == 2


@pytest.mark.parametrize("values", [[7.0, 7.0], [0.0, 0.0], [1.0, None, 2.0], [1e6, 2e6, 1.5e6]])
def test_equal_values_zeros_and_millions_are_drawn(values):
    for kind in ("lines", "bars"):
        assert "NaN" not in draw(chart({"a": values}, kind=kind))


def test_a_chart_tells_something_from_the_second_value_on():
    assert not chart({"a": [1.0]}).tells
    assert not chart({"a": [1.0, None], "b": [None, 2.0]}).tells
    assert chart({"a": [1.0, None, 2.0]}).tells


def test_the_same_values_give_the_same_bytes():
    drawn = draw(chart({"a": [1.0, 2.5, 2.0]}))
    draw.cache_clear()
    assert draw(chart({"a": [1.0, 2.5, 2.0]})) == drawn


def test_lines_begin_at_zero_where_that_is_wanted():
    labels = [Page(draw(chart({"a": [100.0, 110.0]}, from_zero=wanted))).texts for wanted in (True, False)]
    assert ["0" in texts for texts in labels] == [True, False]
