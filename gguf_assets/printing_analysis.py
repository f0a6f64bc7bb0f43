"""How answers to SQL look: a table for people, CSV and JSON for programs. No facts are found here."""

from __future__ import annotations

import csv
import textwrap
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import IO, TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gguf_assets.store.sql import LATEST

if TYPE_CHECKING:
    from gguf_assets.store.sql import Answer, View

_CELL = 300
"""Characters of a value that a table shows at most."""

_WIDE = 10_000
"""Columns of a table where no terminal sets a width."""


def print_views(views: list[View]) -> None:
    """Print the views and their columns."""
    for view in views:
        if not view.name.startswith(LATEST):
            typer.echo(f"{view.name}: {view.grain}")
            columns = ", ".join(f"{name} {kind}" for name, kind in view.columns)
            typer.echo(textwrap.fill(columns, 110, initial_indent="    ", subsequent_indent="    "))
    typer.echo(f"Each of them also as {LATEST}models, {LATEST}files …: the last published day alone.")
    typer.echo('Ask: gguf-assets sql "select date, count(*) from models group by all order by date"')


def views_as_json(views: list[View]) -> dict[str, Any]:
    """Return the views as plain JSON values."""
    return {
        "views": [
            {
                "name": view.name,
                "row": view.grain,
                "columns": [{"name": name, "type": kind} for name, kind in view.columns],
            }
            for view in views
        ]
    }


def print_answer(answer: Answer, limit: int) -> None:
    """Print the first rows as a table, and how many more there are."""
    table = Table()
    for name, kind in zip(_names(answer.schema), answer.schema.types, strict=True):
        number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        table.add_column(_shown(name), overflow="fold", justify="right" if number else "left")
    rest = 0
    for row in _rows(answer):
        if table.row_count < limit:
            table.add_row(*map(_shown, row))
        else:
            rest += 1
    _console().print(table)
    _say_rest(rest)


def write_csv(answer: Answer, stream: IO[str], limit: int | None) -> None:
    """Write the rows as CSV (RFC 4180, lines end in a line feed)."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_names(answer.schema))
    written = rest = 0
    for row in _rows(answer):
        if limit is None or written < limit:
            writer.writerow([_text(value) for value in row])
            written += 1
        else:
            rest += 1
    stream.flush()
    _say_rest(rest)


def answer_as_json(answer: Answer, limit: int | None) -> dict[str, Any]:
    """Return the rows as plain JSON values."""
    names = _names(answer.schema)
    rows: list[dict[str, Any]] = []
    rest = 0
    for row in _rows(answer):
        if limit is None or len(rows) < limit:
            rows.append(dict(zip(names, map(_value, row), strict=True)))
        else:
            rest += 1
    return {"columns": names, "rows": rows, "count": len(rows), "more": rest}


def _rows(answer: Answer) -> Iterator[tuple[Any, ...]]:
    for batch in answer.batches():
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _names(schema: pa.Schema) -> list[str]:
    """Return the names of the columns, those of the same name numbered as pandas does it."""
    names: list[str] = []
    for name in schema.names:
        number, other = 0, name
        while other in names:
            number += 1
            other = f"{name}_{number}"
        names.append(other)
    return names


def _value(value: Any) -> Any:
    """Return a value as JSON knows it."""
    match value:
        case Decimal():
            # Sums of whole numbers come as decimals; JSON's integers end at 64 bits here.
            whole = value == value.to_integral_value() and abs(value) < 2**63
            return int(value) if whole else float(value)
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date() | time():
            return value.isoformat()
        case timedelta():
            return str(value)
        case bytes():
            return value.hex()
        case list() | tuple():
            return [_value(item) for item in value]
        case dict():
            return {str(key): _value(item) for key, item in value.items()}
    return value


def _text(value: Any) -> str:
    """Return a value as a text; unknown is an empty one."""
    plain = _value(value)
    if plain is None:
        return ""
    return plain if isinstance(plain, str) else orjson.dumps(plain).decode()


def _shown(value: Any) -> Text:
    """Return a value as a cell: strangers choose names, so what a terminal would obey is shown instead."""
    if value is None:
        return Text("null", style="dim")
    text = "".join(
        character if character.isprintable() or character == "\n" else ascii(character)[1:-1]
        for character in _text(value)
    )
    return Text(text if len(text) <= _CELL else text[: _CELL - 1] + "…")


def _say_rest(rest: int) -> None:
    if rest:
        typer.echo(f"… and {rest:,} more: --limit N shows more, --csv all.", err=True)


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDE)
