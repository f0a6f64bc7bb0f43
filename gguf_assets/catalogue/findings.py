"""Findings: what is wrong with a row or value, as rows of the `issues` dataset.

Here: the record and its conversion to Arrow. Not here: the rules that make findings (`parse`, `details`,
`quality/rules`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from gguf_assets.catalogue.schema import ISSUES

VALUE_LENGTH = 200
"""Characters of an offending value that are kept; the capture has the whole."""


@dataclass(frozen=True)
class Finding:
    """One finding; the fields are the columns of the `issues` dataset without the day."""

    rule: str
    severity: str
    message: str
    hub_id: str | None = None
    model_id: str | None = None
    path: str | None = None
    value: str | None = None
    fixed_to: str | None = None


def shown(value: object) -> str:
    """Return an offending value as short, printable text."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except RecursionError:
        text = f"deeply nested {type(value).__name__}"
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= VALUE_LENGTH else text[: VALUE_LENGTH - 1] + "…"


def findings_table(findings: Iterable[Finding], day: date) -> pa.Table:
    """Return findings as a table of the `issues` schema, in the order given."""
    rows: Sequence[Finding] = tuple(findings)
    columns: dict[str, list[object]] = {"snapshot_date": [day] * len(rows)}
    for name in ISSUES.arrow.names[1:]:
        columns[name] = [getattr(row, name) for row in rows]
    return pa.table(columns, schema=ISSUES.arrow)
