"""The command that asks the published days in SQL; how answers look is in `printing_analysis`."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from gguf_assets.cli.exits import Json, clear, print_json
from gguf_assets.errors import ErrorCategory, Refused

SHOWN_ROWS = 50
"""Rows of a table without `--limit`."""


@clear
def sql(
    query: Annotated[
        str | None,
        typer.Argument(
            metavar="QUERY",
            help="The query; - reads it from stdin. Without one: the views and their columns.",
        ),
    ] = None,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV: lists as JSON, times in UTC, unknown as nothing.")
    ] = False,
    as_json: Json = False,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help=f"Most rows; a table shows {SHOWN_ROWS} unless told, CSV and JSON all."),
    ] = None,
) -> None:
    """Ask the published days in SQL (DuckDB): models, files, changes … and latest_models … of the last day.

    The column date is the day. A query sees these views and nothing else, and changes nothing.

    Example: gguf-assets sql "select license, count(*) from latest_models group by all order by 2 desc"
    """
    from gguf_assets.printing_analysis import (
        answer_as_json,
        print_answer,
        print_views,
        views_as_json,
        write_csv,
    )
    from gguf_assets.settings.load import load_settings
    from gguf_assets.store.layout import Layout
    from gguf_assets.store.sql import open_database

    if as_csv and (as_json or query is None):
        raise Refused(
            "--csv prints the rows of a query, "
            + ("and --json was given, too" if as_json else "and none was given"),
            category=ErrorCategory.CONFIGURATION,
            remedy='gguf-assets sql --csv "select model_id from latest_models"',
        )
    text = sys.stdin.read() if query == "-" else query
    loaded = load_settings(os.environ)
    with open_database(Layout(data=loaded.data_dir, state=loaded.state_dir)) as database:
        if text is None:
            views = database.views()
            if as_json:
                print_json(views_as_json(views))
            else:
                print_views(views)
            return
        answer = database.query(text)
        if as_json:
            print_json(answer_as_json(answer, limit))
        elif as_csv:
            write_csv(answer, sys.stdout, limit)
        else:
            print_answer(answer, SHOWN_ROWS if limit is None else limit)
