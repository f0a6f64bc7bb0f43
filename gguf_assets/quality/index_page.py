"""The page that lists all published days, newest first, each with a link to its own page.

What belongs here: that list. What does not: trends (`dashboard`) and a single day (`day_page`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gguf_assets.quality.html import Html, element, links, page
from gguf_assets.quality.trends import DayTrend, figures_table


def index_page(
    days: Sequence[DayTrend], address: Callable[[DayTrend], str], *, dashboard: str | None = None
) -> Html:
    """Return the page of all days.

    Args:
        days: all published days, oldest first.
        address: where the page of a day lies, relative to this one.
        dashboard: where the dashboard lies; None without one.
    """
    return page(
        "GGUF catalogue, all days",
        element("p", _lead(days)),
        (days_table(days, address),),
        navigation=None if dashboard is None else links([(dashboard, "Trends over all days")], "Other pages"),
    )


def days_table(days: Sequence[DayTrend], address: Callable[[DayTrend], str]) -> Html:
    """Return the days with their key figures, newest first; those without a page have no link."""

    def named(day: DayTrend) -> object:
        name = element("time", day.day)
        return element("a", name, href=address(day)) if day.page else name

    return figures_table(days, "Published days, newest first", named)


def _lead(days: Sequence[DayTrend]) -> str:
    if not days:
        return "No day is published yet."
    plural = "day is" if len(days) == 1 else "days are"
    without = sum(not day.page for day in days)
    words = f"{len(days):,} {plural} published, {days[0].day} to {days[-1].day}."
    return words + (
        f" {without:,} without a page: gguf-assets report --date DAY --open makes it." if without else ""
    )
