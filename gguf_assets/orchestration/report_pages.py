"""The pages of the reports: one for each day, the list of all days and, if wanted, the dashboard.

Each is written anew, whole, from what is stored. What does not belong here: what they say (`quality/`) and
the facts behind them (`report_facts`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gguf_assets.atomic import write_atomically
from gguf_assets.orchestration.resources import layout_of
from gguf_assets.settings.load import LoadedSettings, load_settings
from gguf_assets.store.store import Store

if TYPE_CHECKING:
    from gguf_assets.quality.day_facts import DayFacts, Highlights
    from gguf_assets.quality.trends import DayTrend


def write_pages(
    store: Store,
    loaded: LoadedSettings,
    facts: DayFacts,
    highlights: Highlights,
    *,
    running: str | None = None,
    figures: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write the page of a published day, the list of all days and, where it is on, the dashboard.

    Args:
        store: where the days lie.
        loaded: the settings.
        facts: the figures of the day.
        highlights: what stands out on it.
        running: the sync that is under way.
        figures: its figures, which the history does not have yet; None where this is no sync.

    Returns:
        The pages written.

    Raises:
        PermanentError: a manifest or the history cannot be read, or the disk refused.
    """
    from gguf_assets.orchestration.report_facts import failed_syncs, trends_of
    from gguf_assets.quality.dashboard import dashboard_page
    from gguf_assets.quality.day_page import day_page
    from gguf_assets.quality.index_page import index_page
    from gguf_assets.quality.trends import DAYS_SHOWN

    layout, monitoring = store.layout, loaded.settings.monitoring
    syncs = store.history.syncs(running=running)
    days = trends_of(
        store,
        syncs,
        timed=monitoring.enable_performance_metrics,
        ending=None if figures is None else {facts.day: figures},
    )
    own = layout.day_page(facts.day)
    days = [replace(trend, page=True) if trend.day == facts.day else trend for trend in days]
    known = [trend for trend in days if trend.day <= facts.day]
    pages = {
        own: day_page(
            facts,
            highlights,
            known[-DAYS_SHOWN:],
            navigation=_navigation(own, layout.index_page, store, known),
        ),
        layout.index_page: index_page(
            days,
            lambda trend: _relative(layout.day_page(trend.day), layout.index_page),
            dashboard=layout.dashboard_page.name if monitoring.enable_dashboard else None,
        ),
    }
    if monitoring.enable_dashboard:
        pages[layout.dashboard_page] = dashboard_page(
            days,
            failed_syncs(syncs),
            lambda trend: _relative(layout.day_page(trend.day), layout.dashboard_page),
            index=layout.index_page.name,
        )
    for path, content in pages.items():
        write_atomically(path, content.encode())
    return list(pages)


def page_of(environ: Mapping[str, str], day: date) -> Path:
    """Return the page of a published day, made from what is stored where it is missing.

    A day that an older version published has none; of its durations only the whole is known.

    Raises:
        PermanentError: the day's data cannot be read, or the disk refused.
    """
    from gguf_assets.orchestration.report_facts import facts_of, highlights_of

    loaded = load_settings(environ)
    store = Store(layout_of(loaded))
    path = store.layout.day_page(day)
    if not path.is_file():
        manifest = store.published.manifest(day)
        assert manifest is not None, "the caller has looked"
        capture = store.captures.open(day, manifest.capture.run)
        write_pages(store, loaded, facts_of(manifest, capture, {}), highlights_of(store, manifest))
    return path


def _navigation(own: Path, index: Path, store: Store, known: Sequence[DayTrend]) -> list[tuple[str, str]]:
    """Return the links of a day's page: to all days and, where it has a page, to the day before."""
    links = [(_relative(index, own), "All days")]
    if len(known) > 1 and known[-2].page:
        before = known[-2].day
        links.append((_relative(store.layout.day_page(before), own), f"The day before, {before}"))
    return links


def _relative(target: Path, page: Path) -> str:
    """Return the address of a page as another one names it."""
    return Path(os.path.relpath(target, page.parent)).as_posix()
