"""One page of the Hub's listing becomes Arrow columns; what cannot be trusted becomes findings.

A row without a usable identity is set aside whole (`quarantined`); a single bad value becomes null, unless it
has one right reading and is to be mended (`fixes`). What does not belong here: reading one column
(`row_reader`), comparing with earlier days (`snapshot`).
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue.findings import Finding, shown
from gguf_assets.catalogue.fixes import IDENTITY, NAME, fix_findings, mended
from gguf_assets.catalogue.row_reader import RowReader
from gguf_assets.catalogue.schema import STRINGS, TIMESTAMP
from gguf_assets.jsontext import parse_json

LISTED = pa.schema(
    [
        ("hub_id", pa.string()),
        ("model_id", pa.string()),
        ("sha", pa.string()),
        ("created_at", TIMESTAMP),
        ("last_modified", TIMESTAMP),
        ("downloads", pa.int64()),
        ("downloads_all_time", pa.int64()),
        ("likes", pa.int64()),
        ("trending_score", pa.float64()),
        ("gated", pa.string()),
        ("private", pa.bool_()),
        ("disabled", pa.bool_()),
        ("library_name", pa.string()),
        ("pipeline_tag", pa.string()),
        ("tags", STRINGS),
        ("siblings", STRINGS),
    ]
)
"""Columns of a parsed page; `siblings` is null where the listing carries no file names (census)."""

HUB_ID_PATTERN = r"^[0-9a-f]{24}$"
# The client library's rule for repository names, which also forbids `..` (the Hub has no other names).
MODEL_ID_PATTERN = r"^([A-Za-z0-9_][A-Za-z0-9_.\-]{0,95}/)?[A-Za-z0-9_][A-Za-z0-9_.\-]{0,95}$"


@dataclass(frozen=True)
class ListedPage:
    """A parsed page.

    Attributes:
        models: the rows that can be trusted, schema `LISTED`, in the page's order.
        findings: what was set aside, made null or mended.
        quarantined: number of rows set aside.
        not_gguf: rows left out because neither tag nor file says GGUF.
    """

    models: pa.Table
    findings: tuple[Finding, ...]
    quarantined: int
    not_gguf: int


def parse_listing_page(name: str, content: bytes, *, fix: bool = False) -> ListedPage:
    """Parse one captured page.

    Args:
        name: the page's name in the capture, named in findings.
        content: the raw answer, a JSON array of models.
        fix: whether values with one right reading are mended (`fixes`) instead of being taken as unknown.

    Raises:
        ValueError: the page is no JSON array (the walk does not store such a page).
    """
    with collector_paused():
        return _parse(name, content, fix)


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep the garbage collector from searching a page's thousands of objects for cycles: JSON has none."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _parse(name: str, content: bytes, fix: bool) -> ListedPage:
    items = parse_json(content)
    if not isinstance(items, list):
        raise ValueError(f"{name} is no JSON array")
    rows, findings = identified_rows(name, items, fix=fix)
    quarantined = len(items) - len(rows)
    reader = RowReader(rows, findings, fix=fix)
    columns = {
        "hub_id": pa.array([row["_id"] for row in rows], pa.string()),
        "model_id": pa.array([row["id"] for row in rows], pa.string()),
        "sha": reader.hashes("sha"),
        "created_at": reader.times("createdAt"),
        "last_modified": reader.times("lastModified"),
        "downloads": reader.counters("downloads"),
        "downloads_all_time": reader.counters("downloadsAllTime"),
        "likes": reader.counters("likes"),
        "trending_score": reader.numbers("trendingScore"),
        "gated": reader.access("gated"),
        "private": reader.truths("private"),
        "disabled": reader.truths("disabled"),
        "library_name": reader.texts("library_name"),
        "pipeline_tag": reader.texts("pipeline_tag"),
        "tags": reader.tags(),
        "siblings": reader.siblings(),
    }
    models = pa.table(columns, schema=LISTED)
    gguf = _is_gguf(columns["tags"], columns["siblings"])
    kept = models if gguf is None else models.filter(gguf)
    return ListedPage(kept, tuple(findings), quarantined, len(models) - len(kept))


def identified_rows(
    page: str, items: list[Any], *, fix: bool = False
) -> tuple[list[dict[str, Any]], list[Finding]]:
    """Return the rows with a usable `_id` and `id`, and findings about the others and what was mended."""
    try:
        ids = pa.array([item["_id"] for item in items], pa.string())
        names = pa.array([item["id"] for item in items], pa.string())
        if pc.all(pc.and_(_are_ids(ids), _are_names(names)), skip_nulls=False, min_count=0).as_py():
            return items, []
    except (pa.ArrowTypeError, TypeError, KeyError):
        pass  # some row is broken: find out which
    rows: list[dict[str, Any]] = []
    findings: list[Finding] = []
    for position, item in enumerate(items):
        problem = _identity_problem(item)
        if problem is not None and fix and isinstance(item, dict):
            better, made = _with_mended_identity(item)
            if _identity_problem(better) is None:
                item, problem = better, None
                findings += made
        if problem is None:
            rows.append(item)
            continue
        rule, message, value = problem
        claimed = item if isinstance(item, dict) else {}
        hub_id, model_id = (_text_or_none(claimed.get(key)) for key in ("_id", "id"))
        where = f"{page} row {position}"
        text = None if value is None else shown(value)
        findings.append(
            Finding(rule, "error", message, hub_id=hub_id, model_id=model_id, path=where, value=text)
        )
    return rows, findings


def _identity_problem(item: Any) -> tuple[str, str, object] | None:
    """Return rule, message and value of what makes a row unusable, or None."""
    if not isinstance(item, dict):
        return "row_not_an_object", "the listing row is no JSON object; set aside", item
    for key, fits, rule in (("_id", _are_ids, "hub_id_invalid"), ("id", _are_names, "model_id_invalid")):
        value = item.get(key)
        if value is None:
            return rule, f"the listing row has no `{key}`; set aside", None
        if not isinstance(value, str) or not fits(pa.array([value]))[0].as_py():
            return rule, f"`{key}` is not what the Hub uses as one; row set aside", value
    return None


def _with_mended_identity(item: dict[str, Any]) -> tuple[dict[str, Any], list[Finding]]:
    """Return a copy of the row with what can be mended of `_id` and `id`, and the findings that say so."""
    hub_id, of_id = mended("_id", item.get("_id"), IDENTITY)
    model_id, of_name = mended("id", item.get("id"), NAME)
    findings = [
        finding
        for key, steps in (("_id", of_id), ("id", of_name))
        for finding in fix_findings(key, steps, hub_id=hub_id, model_id=model_id)
    ]
    return {**item, "_id": hub_id, "id": model_id}, findings


def _are_ids(values: pa.Array) -> pa.Array:
    return pc.match_substring_regex(values, HUB_ID_PATTERN)


def _are_names(values: pa.Array) -> pa.Array:
    return pc.and_not(pc.match_substring_regex(values, MODEL_ID_PATTERN), pc.match_substring(values, ".."))


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _is_gguf(tags: pa.Array, siblings: pa.Array) -> pa.Array | None:
    """Return which rows are GGUF models (rule 10: tag or file), or None when all are.

    Unreadable tags do not make a row of the `gguf` listing anything else.
    """
    tagged = pc.or_(pc.is_null(tags), _any_of(tags, lambda flat: pc.equal(flat, "gguf")))
    if pc.all(tagged, min_count=0).as_py():
        return None
    return pc.or_(tagged, _any_of(siblings, lambda flat: pc.ends_with(flat, ".gguf", ignore_case=True)))


def says_gguf(rows: pa.Table) -> pa.Array:
    """Return which rows of schema `LISTED` say by tag or file name that they are GGUF models (rule 10).

    Unlike in the listing itself, where the Hub's filter has said so, unreadable tags say nothing.
    """
    tags, siblings = (rows[name].combine_chunks() for name in ("tags", "siblings"))
    tagged = _any_of(tags, lambda flat: pc.equal(flat, "gguf"))
    return pc.or_(tagged, _any_of(siblings, lambda flat: pc.ends_with(flat, ".gguf", ignore_case=True)))


def _any_of(lists: pa.Array, test: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Return for every list whether any of its values passes; null lists give false."""
    hits = pc.unique(pc.list_parent_indices(lists).filter(test(pc.list_flatten(lists))))
    return pc.is_in(pa.array(range(len(lists)), hits.type), value_set=hits)
