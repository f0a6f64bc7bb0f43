"""The heads of a listing: who is listed, at which commit and since when, without the rest of the rows.

A run needs them before anything is derived: for the number of models, who is absent, and whose details to
ask for. They cost a fifth of the whole rows. What does not belong here: the whole rows (`parse`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue.fixes import TAGS, mended
from gguf_assets.catalogue.parse import LISTED, collector_paused, identified_rows
from gguf_assets.catalogue.row_reader import RowReader
from gguf_assets.jsontext import parse_json

HEADS = pa.schema(
    [LISTED.field(name) for name in ("hub_id", "model_id", "sha", "downloads", "last_modified")]
)
"""Columns of the heads; the same rows as `parse_listing_page` keeps."""


def parse_heads(name: str, content: bytes, *, filtered: bool = True, fix: bool = False) -> pa.Table:
    """Return the heads of one captured page, schema `HEADS`, in the page's order.

    Args:
        name: the page's name in the capture.
        content: the raw answer, a JSON array of models.
        filtered: whether the Hub's `gguf` filter was on; otherwise unreadable tags say nothing.
        fix: whether values are mended as `parse_listing_page` does it.

    Raises:
        ValueError: the page is no JSON array.
    """
    with collector_paused():
        items = parse_json(content)
        if not isinstance(items, list):
            raise ValueError(f"{name} is no JSON array")
        rows, _ = identified_rows(name, items, fix=fix)
        rows = [row for row in rows if _is_gguf(row, filtered=filtered, fix=fix)]
        reader = RowReader(rows, [], fix=fix)
        columns = {
            "hub_id": pa.array([row["_id"] for row in rows], pa.string()),
            "model_id": pa.array([row["id"] for row in rows], pa.string()),
            "sha": reader.hashes("sha"),
            "downloads": reader.counters("downloads"),
            "last_modified": reader.times("lastModified"),
        }
        return pa.table(columns, schema=HEADS)


def distinct_heads(pages: Iterable[pa.Table]) -> pa.Table:
    """Return the heads of all pages in one table, each repository once: its first row counts."""
    return first_of_each(pa.concat_tables([HEADS.empty_table(), *pages]))


def first_of_each(rows: pa.Table) -> pa.Table:
    """Return the first row of every repository (`hub_id`), in the order of the rows."""
    rows = rows.combine_chunks()
    codes = rows["hub_id"].combine_chunks().dictionary_encode().indices
    _, first = np.unique(np.asarray(codes), return_index=True)
    return rows if len(first) == rows.num_rows else rows.take(pa.array(np.sort(first)))


def count_in_window(heads: pa.Table, start: datetime) -> int:
    """Return how many models were modified since a time, those without a date included (SYNC-11)."""
    return int(pc.sum(modified_since(heads["last_modified"], start)).as_py() or 0)


def modified_since(modified: pa.Array | pa.ChunkedArray, start: datetime) -> pa.Array | pa.ChunkedArray:
    """Return for each time whether it lies in the window that begins at `start`; null does."""
    return pc.or_kleene(pc.is_null(modified), pc.greater_equal(modified, pa.scalar(start, modified.type)))


def _is_gguf(row: dict[str, Any], *, filtered: bool, fix: bool) -> bool:
    """Say what `parse_listing_page`, or without the filter `says_gguf`, says of a row (rule 10)."""
    tags, siblings = row.get("tags"), row.get("siblings")
    if fix and isinstance(tags, str):
        tags, _ = mended("tags", tags, TAGS)
    tagged = isinstance(tags, list) and "gguf" in tags
    if tagged and filtered:
        return True  # the common case, without a look at every tag
    readable = isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)
    if (tagged and readable) or (filtered and not readable):
        return True
    names = (
        (file.get("rfilename") for file in siblings or () if isinstance(file, dict))
        if isinstance(siblings, list)
        else ()
    )
    return any(isinstance(name, str) and name.lower().endswith(".gguf") for name in names)
