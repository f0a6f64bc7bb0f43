"""The command that shows the report of a day: as text, as a page, or in the browser."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from gguf_assets.cli.days import chosen_day
from gguf_assets.cli.exits import Json, clear, print_json


@clear
def report(
    day: Annotated[
        str | None,
        typer.Option("--date", metavar="DAY", help="The day; the latest published one if left out."),
    ] = None,
    in_browser: Annotated[
        bool, typer.Option("--open", help="Open the day's page in your browser, and say where it lies.")
    ] = False,
    as_html: Annotated[
        bool, typer.Option("--html", help="Print the day's page (HTML) instead of the Markdown.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print the report of a day.

    Every sync also writes it as a page, reports/date=DAY/index.html, which needs nothing else; --open and
    --html make the page of a day that has none, such as one of an older version.

    Example: gguf-assets report --open
    """
    from gguf_assets.orchestration.overview import stored_report

    stored = stored_report(os.environ, chosen_day(day))
    page = stored.page
    if page is None and (in_browser or as_html):
        from gguf_assets.orchestration.report_pages import page_of

        page = page_of(os.environ, stored.day)
    if page is not None and in_browser:
        opened = _open(page)
        typer.echo(f"Opened {page}" if opened else _by_hand(page), err=as_json or as_html)
    if as_json:
        where = None if page is None else str(page)
        print_json({"date": stored.day.isoformat(), "report": stored.text, "page": where})
    elif page is not None and as_html:
        typer.echo(page.read_text(encoding="utf-8"), nl=False)
    elif not in_browser:
        typer.echo(stored.text)


def _open(page: Path) -> bool:
    """Open a page in the user's browser; return whether one was found."""
    import webbrowser

    return webbrowser.open(page.resolve().as_uri())


def _by_hand(page: Path) -> str:
    return (
        f"No browser was found here. The page: {page}\n"
        "Open that file in any browser, also on another machine: it needs nothing else."
    )
