"""One page of the Hub's listing becomes Arrow columns; what cannot be trusted becomes findings.

A row without a usable identity is set aside whole (`quarantined`); a single bad value becomes null. The
common page is converted column by column in bulk, and only a column that does not convert is looked at
value by value. What does not belong here: comparing with earlier days (`snapshot`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue.findings import Finding, shown
from gguf_assets.catalogue.schema import STRINGS, TIMESTAMP

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

COUNTER_LIMIT = 10**15
"""Counters above this are no counters: the whole Hub has not been downloaded that often."""

HUB_ID_PATTERN = r"^[0-9a-f]{24}$"
SHA_PATTERN = r"^[0-9a-f]{40}$"
# The client library's rule for repository names (hub-side names never hold anything else).
MODEL_ID_PATTERN = r"^([A-Za-z0-9_][A-Za-z0-9_.\-]{0,95}/)?[A-Za-z0-9_.][A-Za-z0-9_.\-]{0,95}$"

_BAD_VALUE = (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError)


@dataclass(frozen=True)
class ListedPage:
    """A parsed page.

    Attributes:
        models: the rows that can be trusted, schema `LISTED`, in the page's order.
        findings: what was set aside or made null.
        quarantined: number of rows set aside.
        not_gguf: rows left out because neither tag nor file says GGUF.
    """

    models: pa.Table
    findings: tuple[Finding, ...]
    quarantined: int
    not_gguf: int


def parse_listing_page(name: str, content: bytes) -> ListedPage:
    """Parse one captured page.

    Args:
        name: the page's name in the capture, named in findings.
        content: the raw answer, a JSON array of models.

    Raises:
        ValueError: the page is no JSON array (the walk does not store such a page).
    """
    items = orjson.loads(content)
    if not isinstance(items, list):
        raise ValueError(f"{name} is no JSON array")
    rows, findings = _identified(name, items)
    quarantined = len(items) - len(rows)
    reader = _Reader(rows, findings)
    columns = {
        "hub_id": pa.array([row["_id"] for row in rows], pa.string()),
        "model_id": pa.array([row["id"] for row in rows], pa.string()),
        "sha": reader.texts("sha", SHA_PATTERN),
        "created_at": reader.times("createdAt"),
        "last_modified": reader.times("lastModified"),
        "downloads": reader.counters("downloads"),
        "downloads_all_time": reader.counters("downloadsAllTime"),
        "likes": reader.counters("likes"),
        "trending_score": reader.column("trendingScore", pa.float64(), _number),
        "gated": reader.access("gated"),
        "private": reader.column("private", pa.bool_(), _boolean),
        "disabled": reader.column("disabled", pa.bool_(), _boolean),
        "library_name": reader.texts("library_name"),
        "pipeline_tag": reader.texts("pipeline_tag"),
        "tags": reader.column("tags", STRINGS, _strings),
        "siblings": reader.siblings(),
    }
    models = pa.table(columns, schema=LISTED)
    gguf = _is_gguf(models)
    kept = models if gguf is None else models.filter(gguf)
    return ListedPage(kept, tuple(findings), quarantined, len(models) - len(kept))


def _identified(page: str, items: list[Any]) -> tuple[list[dict[str, Any]], list[Finding]]:
    """Split off the rows without a usable `_id` and `id`."""
    try:
        ids = pa.array([item["_id"] for item in items], pa.string())
        names = pa.array([item["id"] for item in items], pa.string())
        good = pc.and_(
            pc.match_substring_regex(ids, HUB_ID_PATTERN), pc.match_substring_regex(names, MODEL_ID_PATTERN)
        )
        if pc.all(good, skip_nulls=False).as_py() in (True, None) and good.null_count == 0:
            return items, []
    except (*_BAD_VALUE, TypeError, KeyError):
        pass  # some row is broken: find out which
    rows, findings = [], []
    for position, item in enumerate(items):
        problem = _identity_problem(item)
        if problem is None:
            rows.append(item)
            continue
        rule, message, value = problem
        hub_id, model_id = (
            ((text if isinstance(text, str) else None) for text in (item.get("_id"), item.get("id")))
            if isinstance(item, dict)
            else (None, None)
        )
        where = f"{page} row {position}"
        findings.append(
            Finding(rule, "error", message, hub_id=hub_id, model_id=model_id, path=where, value=shown(value))
        )
    return rows, findings


def _identity_problem(item: Any) -> tuple[str, str, object] | None:
    """Return rule, message and value of what makes a row unusable, or None."""
    if not isinstance(item, dict):
        return "row_not_an_object", "the listing row is no JSON object; set aside", item
    for key, pattern, rule in (
        ("_id", HUB_ID_PATTERN, "hub_id_invalid"),
        ("id", MODEL_ID_PATTERN, "model_id_invalid"),
    ):
        value = item.get(key)
        if value is None:
            return rule, f"the listing row has no `{key}`; set aside", None
        if not isinstance(value, str) or not _matches(value, pattern):
            return rule, f"`{key}` is not what the Hub uses as one; row set aside", value
    return None


def _matches(value: str, pattern: str) -> bool:
    try:
        return bool(pc.match_substring_regex(pa.array([value], pa.string()), pattern)[0].as_py())
    except UnicodeEncodeError:
        return False


def _is_gguf(models: pa.Table) -> pa.Array | None:
    """Return which rows are GGUF models (rule 10: tag or file), or None when all are.

    What cannot be known (unreadable tags, a census without file names) does not make a row of the `gguf`
    listing anything else.
    """
    tagged = pc.or_(pc.is_null(models["tags"]), _any_of(models["tags"], lambda flat: pc.equal(flat, "gguf")))
    if pc.all(tagged).as_py() in (True, None):
        return None
    named = _any_of(models["siblings"], lambda flat: pc.ends_with(flat, ".gguf", ignore_case=True))
    return pc.or_(pc.or_(tagged, named), pc.is_null(models["siblings"]))


def _any_of(lists: pa.ChunkedArray, test: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Return for every list whether any of its values passes; null lists give false."""
    array = lists.combine_chunks()
    hits = pc.unique(pc.list_parent_indices(array).filter(test(pc.list_flatten(array))))
    rows = pa.array(range(len(array)), hits.type)
    return pc.is_in(rows, value_set=hits)


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and _encodable(value) else None


def _encodable(value: str) -> bool:
    return value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _counter(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if -(2**63) <= value < 2**63 else None


def _strings(value: Any) -> list[str] | None:
    if isinstance(value, list) and all(isinstance(part, str) and _encodable(part) for part in value):
        return value
    return None


def _access(value: Any) -> str | None:
    if value is False:
        return "no"
    return value if value in ("auto", "manual") else None


def utc_time(value: Any) -> datetime | None:
    """Return an ISO 8601 text as UTC time; naive texts are UTC, anything else is None (SYNC-12)."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


class _Reader:
    """Reads one column after the other off rows with usable identities, noting what does not fit."""

    def __init__(self, rows: list[dict[str, Any]], findings: list[Finding]) -> None:
        self.rows = rows
        self.findings = findings

    def column(self, key: str, kind: pa.DataType, convert: Callable[[Any], Any]) -> pa.Array:
        """Convert in bulk; value by value when that fails."""
        values = [row.get(key) for row in self.rows]
        try:
            return pa.array(values, kind)
        except _BAD_VALUE:
            return pa.array(self._one_by_one(key, values, convert), kind)

    def texts(self, key: str, pattern: str | None = None) -> pa.Array:
        texts = self.column(key, pa.string(), _text)
        if pattern is None:
            return texts
        return self._unless(key, texts, pc.invert(pc.match_substring_regex(texts, pattern)), "malformed")

    def counters(self, key: str) -> pa.Array:
        numbers = self.column(key, pa.int64(), _counter)
        outside = pc.or_(pc.less(numbers, 0), pc.greater(numbers, COUNTER_LIMIT))
        return self._unless(key, numbers, outside, "out_of_range")

    def access(self, key: str) -> pa.Array:
        values = [row.get(key) for row in self.rows]
        if all(value is False for value in values):
            return pa.array(["no"] * len(values), pa.string())
        return pa.array(self._one_by_one(key, values, _access), pa.string())

    def times(self, key: str) -> pa.Array:
        try:
            texts = pa.array([row.get(key) for row in self.rows], pa.string())
            return texts.cast(TIMESTAMP)
        except _BAD_VALUE:
            values = [row.get(key) for row in self.rows]
            return pa.array(self._one_by_one(key, values, utc_time), TIMESTAMP)

    def siblings(self) -> pa.Array:
        lists = [row.get("siblings") for row in self.rows]
        try:
            names = [None if files is None else [file["rfilename"] for file in files] for files in lists]
            return pa.array(names, STRINGS)
        except (*_BAD_VALUE, TypeError, KeyError):
            return pa.array([self._file_names(row) for row in self.rows], STRINGS)

    def _file_names(self, row: dict[str, Any]) -> list[str] | None:
        """Return the usable file names of one row whose siblings do not all convert."""
        files = row.get("siblings")
        if files is None:
            return None
        if not isinstance(files, list):
            self._note(row, "siblings", "wrong_type", files)
            return None
        names = []
        for file in files:
            name = _text(file.get("rfilename")) if isinstance(file, dict) else None
            if name is None:
                self._note(row, "siblings", "wrong_type", file)
            else:
                names.append(name)
        return names

    def _one_by_one(self, key: str, values: list[Any], convert: Callable[[Any], Any]) -> list[Any]:
        converted = [None if value is None else convert(value) for value in values]
        for row, value, result in zip(self.rows, values, converted, strict=True):
            if value is not None and result is None:
                self._note(row, key, "wrong_type", value)
        return converted

    def _unless(self, key: str, values: pa.Array, bad: pa.Array, rule: str) -> pa.Array:
        """Make the bad values null, with a finding each."""
        if not pc.any(bad).as_py():
            return values
        for position in pc.indices_nonzero(bad).to_pylist():
            row = self.rows[position]
            self._note(row, key, rule, row.get(key))
        return pc.if_else(pc.fill_null(bad, False), None, values)

    def _note(self, row: dict[str, Any], key: str, rule: str, value: object) -> None:
        self.findings.append(
            Finding(
                rule,
                "warning",
                f"`{key}` of the listing row is not usable; taken as unknown",
                hub_id=row["_id"],
                model_id=row["id"],
                value=f"{key}={shown(value)}",
            )
        )
