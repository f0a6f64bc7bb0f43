"""The page of the trends over all published days, for people without the Dagster UI.

What belongs here: what is shown over all days. What does not: the charts themselves (`trends`, `charts`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from gguf_assets.quality.html import Html, element, links, page, section, table
from gguf_assets.quality.index_page import days_table
from gguf_assets.quality.trends import UNKNOWN, DayTrend, all_charts, drawn


@dataclass(frozen=True)
class FailedSync:
    """A sync that failed.

    Attributes:
        day: the day it was for, as text; None when it failed before that was known.
        time: the Hub's clock when it began; None when the Hub was out of reach.
        category: category of the error.
        message: why it failed.
    """

    day: str | None
    time: datetime | None
    category: str | None
    message: str | None


FAILED_SHOWN = 20
"""Failed syncs that are shown, the last ones."""


def dashboard_page(
    days: Sequence[DayTrend], failed: Sequence[FailedSync], address: Callable[[DayTrend], str], *, index: str
) -> Html:
    """Return the page of all trends.

    Args:
        days: all published days, oldest first.
        failed: the syncs that failed, oldest first.
        address: where the page of a day lies, relative to this one.
        index: where the list of all days lies, relative to this one.
    """
    charts = all_charts(days)
    words = f"{len(days):,} published days, {days[0].day} to {days[-1].day}."
    return page(
        "GGUF catalogue, trends",
        element("p", words, " A gap is a day, or a figure, that is not known." if charts else ""),
        (
            section("Over time", drawn(charts), name="over-time") if charts else None,
            _failed(failed),
            section("All days", days_table(days, address), name="days"),
        ),
        navigation=links([(index, "All days")], "Other pages"),
    )


def _failed(failed: Sequence[FailedSync]) -> Html:
    if not failed:
        return section("Syncs that failed", element("p", "None."), name="failed")
    rows = [
        (
            UNKNOWN if sync.time is None else f"{sync.time:%Y-%m-%d %H:%M} UTC",
            sync.day or UNKNOWN,
            sync.category or UNKNOWN,
            element("div", sync.message or UNKNOWN, class_="wide"),
        )
        for sync in reversed(failed[-FAILED_SHOWN:])
    ]
    caption = (
        f"The last {len(rows):,} of {len(failed):,}" if len(failed) > len(rows) else f"{len(rows):,} in all"
    )
    return section(
        "Syncs that failed", table(caption, ["began", "for the day", "category", "why"], rows), name="failed"
    )
