"""One page of the Hub's listing becomes Arrow columns; what cannot be trusted becomes findings.

A row without a usable identity is set aside whole (`quarantined`); a single bad value becomes null. The
common page is converted column by column in bulk, and only a column that does not convert is looked at
value by value, so what a row gives never depends on its neighbours. What does not belong here: comparing
with earlier days (`snapshot`).
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue.findings import Finding, shown
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

COUNTER_LIMIT = 10**15
"""Counters above this are no counters: the whole Hub has not been downloaded that often."""

TIME_RANGE = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))
"""Times outside are none of the Hub's; Arrow would take years that Python cannot hold."""

HUB_ID_PATTERN = r"^[0-9a-f]{24}$"
SHA_PATTERN = r"^[0-9a-f]{40}$"
# The client library's rule for repository names, which also forbids `..` (the Hub has no other names).
MODEL_ID_PATTERN = r"^([A-Za-z0-9_][A-Za-z0-9_.\-]{0,95}/)?[A-Za-z0-9_][A-Za-z0-9_.\-]{0,95}$"

_NOTHING = type(None)


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
    with collector_paused():
        return _parse(name, content)


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


def _parse(name: str, content: bytes) -> ListedPage:
    items = parse_json(content)
    if not isinstance(items, list):
        raise ValueError(f"{name} is no JSON array")
    rows, findings = identified_rows(name, items)
    quarantined = len(items) - len(rows)
    reader = RowReader(rows, findings)
    columns = {
        "hub_id": pa.array([row["_id"] for row in rows], pa.string()),
        "model_id": pa.array([row["id"] for row in rows], pa.string()),
        "sha": reader.hashes("sha"),
        "created_at": reader.times("createdAt"),
        "last_modified": reader.times("lastModified"),
        "downloads": reader.counters("downloads"),
        "downloads_all_time": reader.counters("downloadsAllTime"),
        "likes": reader.counters("likes"),
        "trending_score": reader.column("trendingScore", pa.float64(), int, float, convert=_number),
        "gated": reader.access("gated"),
        "private": reader.column("private", pa.bool_(), bool),
        "disabled": reader.column("disabled", pa.bool_(), bool),
        "library_name": reader.texts("library_name"),
        "pipeline_tag": reader.texts("pipeline_tag"),
        "tags": reader.tags(),
        "siblings": reader.siblings(),
    }
    models = pa.table(columns, schema=LISTED)
    gguf = _is_gguf(columns["tags"], columns["siblings"])
    kept = models if gguf is None else models.filter(gguf)
    return ListedPage(kept, tuple(findings), quarantined, len(models) - len(kept))


def identified_rows(page: str, items: list[Any]) -> tuple[list[dict[str, Any]], list[Finding]]:
    """Return the rows with a usable `_id` and `id`, and findings about the others."""
    try:
        ids = pa.array([item["_id"] for item in items], pa.string())
        names = pa.array([item["id"] for item in items], pa.string())
        if pc.all(pc.and_(_are_ids(ids), _are_names(names)), skip_nulls=False, min_count=0).as_py():
            return items, []
    except (pa.ArrowTypeError, TypeError, KeyError):
        pass  # some row is broken: find out which
    rows, findings = [], []
    for position, item in enumerate(items):
        problem = _identity_problem(item)
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


class _UnusableError(Exception):
    """A value does not fit its column; the argument is the rule it breaks."""


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise _UnusableError("wrong_type")
    return float(value)


def _counter(value: Any) -> int:
    if type(value) is not int:
        raise _UnusableError("wrong_type")
    return min(value, COUNTER_LIMIT + 1)  # out of range either way, but an int64


def _access(value: Any) -> str:
    if value is False:
        return "no"
    if value not in ("auto", "manual"):
        raise _UnusableError("wrong_type")
    return str(value)


def _tag_list(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise _UnusableError("wrong_type")
    return value


def _time(value: Any) -> datetime:
    if not isinstance(value, str):
        raise _UnusableError("wrong_type")
    try:
        moment = datetime.fromisoformat(value)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _UnusableError("malformed") from None
    if not TIME_RANGE[0] <= moment < TIME_RANGE[1]:
        raise _UnusableError("out_of_range")
    return moment


class RowReader:
    """Reads one column after the other off rows with usable identities, noting what does not fit."""

    def __init__(self, rows: list[dict[str, Any]], findings: list[Finding]) -> None:
        self.rows = rows
        self.findings = findings

    def column(
        self, key: str, kind: pa.DataType, *types: type, convert: Callable[[Any], Any] | None = None
    ) -> pa.Array:
        """Convert the values of a key; a missing one is null.

        The types are looked at first because Arrow on its own takes 1.5 for 1, true for 1.0 and a text for
        the list of its letters.

        Args:
            key: key of the values in the rows.
            kind: Arrow type of the column.
            types: types of values that Arrow may convert in bulk, besides null.
            convert: converts a single value where that fails, and raises `_UnusableError`; by default values
                of the types are taken as they are.
        """
        values = [row.get(key) for row in self.rows]
        if set(map(type, values)) <= {*types, _NOTHING}:
            try:
                return pa.array(values, kind)
            except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
                pass  # an element of a list, or a number that Arrow does not take

        def of_these_types(value: Any) -> Any:
            if type(value) not in types:
                raise _UnusableError("wrong_type")
            return value

        return self._one_by_one(key, values, kind, convert or of_these_types)

    def texts(self, key: str) -> pa.Array:
        """Return texts."""
        return self.column(key, pa.string(), str)

    def hashes(self, key: str) -> pa.Array:
        """Return commit ids; anything else is null."""
        texts = self.texts(key)
        return self._unless(key, texts, pc.invert(pc.match_substring_regex(texts, SHA_PATTERN)), "malformed")

    def counters(self, key: str) -> pa.Array:
        """Return counters; impossible ones are null."""
        numbers = self.column(key, pa.int64(), int, convert=_counter)
        outside = pc.or_(pc.less(numbers, 0), pc.greater(numbers, COUNTER_LIMIT))
        return self._unless(key, numbers, outside, "out_of_range")

    def access(self, key: str) -> pa.Array:
        """Return how a repository is gated: `no`, `auto` or `manual`."""
        values = [row.get(key) for row in self.rows]
        if all(value is False for value in values):
            return pa.repeat(pa.scalar("no"), len(values))
        return self._one_by_one(key, values, pa.string(), _access)

    def times(self, key: str) -> pa.Array:
        """Return times in UTC; those outside `TIME_RANGE` are null."""
        values = [row.get(key) for row in self.rows]
        if set(map(type, values)) <= {str, _NOTHING}:
            try:
                times = pa.array(values, pa.string()).cast(TIMESTAMP)
            except pa.ArrowInvalid:
                pass  # not all in the Hub's own form
            else:
                low, high = (pa.scalar(limit, TIMESTAMP) for limit in TIME_RANGE)
                if pc.all(pc.and_(pc.less_equal(low, times), pc.less(times, high)), min_count=0).as_py():
                    return times
        return self._one_by_one(key, values, TIMESTAMP, _time)

    def tags(self) -> pa.Array:
        """Return the lists of tags."""
        lists = self.column("tags", STRINGS, list, convert=_tag_list)
        if lists.flatten().null_count == 0:
            return lists
        return self._one_by_one("tags", [row.get("tags") for row in self.rows], STRINGS, _tag_list)

    def siblings(self) -> pa.Array:
        """Return the lists of file names."""
        lists = [row.get("siblings") for row in self.rows]
        if set(map(type, lists)) <= {list, _NOTHING}:
            try:
                names = pa.array(
                    [None if files is None else [file["rfilename"] for file in files] for files in lists],
                    STRINGS,
                )
            except (pa.ArrowTypeError, TypeError, KeyError):
                pass  # some entry is broken: find out which
            else:
                if names.flatten().null_count == 0:
                    return names
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
            name = file.get("rfilename") if isinstance(file, dict) else None
            if isinstance(name, str):
                names.append(name)
            else:
                self._note(row, "siblings", "wrong_type", file)
        return names

    def _one_by_one(
        self, key: str, values: list[Any], kind: pa.DataType, convert: Callable[[Any], Any]
    ) -> pa.Array:
        """Convert value by value; what does not fit becomes null, with a finding."""
        converted: list[Any] = []
        for row, value in zip(self.rows, values, strict=True):
            try:
                converted.append(None if value is None else convert(value))
            except _UnusableError as problem:
                converted.append(None)
                self._note(row, key, str(problem), value)
        return pa.array(converted, kind)

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
