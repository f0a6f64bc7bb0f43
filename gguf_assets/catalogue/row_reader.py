"""Reads the columns of listing rows: in bulk where all values are as promised, else value by value.

What a row gives never depends on its neighbours. A value that does not fit is mended where that is wanted and
it has one right reading (`fixes`), else it becomes null; both are findings. What does not belong here: which
rows and columns there are (`parse`, `heads`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue import fixes
from gguf_assets.catalogue.findings import Finding, shown
from gguf_assets.catalogue.fixes import Fix, fix_findings, mended
from gguf_assets.catalogue.schema import STRINGS, TIMESTAMP

COUNTER_LIMIT = 10**15
"""Counters above this are no counters: the whole Hub has not been downloaded that often."""

TIME_RANGE = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))
"""Times outside are none of the Hub's; Arrow would take years that Python cannot hold."""

_SHA = re.compile(r"[0-9a-f]{40}")
_NOTHING = type(None)


class _UnusableError(Exception):
    """A value does not fit its column; the argument is the rule it breaks."""


def _of(value: Any, *types: type) -> Any:
    """Return a value of exactly one of the types: a Boolean is no number."""
    if type(value) not in types:
        raise _UnusableError("wrong_type")
    return value


def _text(value: Any) -> str:
    return str(_of(value, str))


def _truth(value: Any) -> bool:
    return bool(_of(value, bool))


def _number(value: Any) -> float:
    return float(_of(value, int, float))


def _hash(value: Any) -> str:
    if not _SHA.fullmatch(_of(value, str)):
        raise _UnusableError("malformed")
    return str(value)


def _counter(value: Any) -> int:
    if not 0 <= _of(value, int) <= COUNTER_LIMIT:
        raise _UnusableError("out_of_range")
    return int(value)


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
    """Reads one column after the other off rows with usable identities, noting what does not fit.

    Args:
        rows: rows of the listing with usable `_id` and `id`.
        findings: where findings are added to.
        fix: whether values with one right reading are mended.
    """

    def __init__(self, rows: list[dict[str, Any]], findings: list[Finding], *, fix: bool = False) -> None:
        self.rows = rows
        self.findings = findings
        self.fix = fix

    def texts(self, key: str) -> pa.Array:
        """Return texts; what is mended here is a text as well, so it is looked for."""
        values, texts = self._column(key, pa.string(), str, convert=_text, mend=fixes.TEXT)
        if not self.fix:
            return texts
        odd = pc.or_(pc.equal(texts, ""), pc.not_equal(pc.utf8_trim_whitespace(texts), texts))
        if not pc.any(odd).as_py():
            return texts
        better = texts.to_pylist()
        for position in pc.indices_nonzero(odd).to_pylist():
            row = self.rows[position]
            better[position], steps = mended(key, values[position], fixes.TEXT)
            self.findings += fix_findings(key, steps, hub_id=row["_id"], model_id=row["id"])
        return pa.array(better, pa.string())

    def truths(self, key: str) -> pa.Array:
        """Return truth values."""
        return self._column(key, pa.bool_(), bool, convert=_truth, mend=fixes.TRUTH)[1]

    def numbers(self, key: str) -> pa.Array:
        """Return numbers as doubles."""
        return self._column(key, pa.float64(), int, float, convert=_number, mend=fixes.NUMBER)[1]

    def hashes(self, key: str) -> pa.Array:
        """Return commit ids; anything else is null."""

        def wrong(texts: pa.Array) -> pa.Array:
            return pc.invert(pc.match_substring_regex(texts, f"^{_SHA.pattern}$"))

        return self._column(key, pa.string(), str, convert=_hash, mend=fixes.HASH, wrong=wrong)[1]

    def counters(self, key: str) -> pa.Array:
        """Return counters; impossible ones are null."""

        def wrong(numbers: pa.Array) -> pa.Array:
            return pc.or_(pc.less(numbers, 0), pc.greater(numbers, COUNTER_LIMIT))

        return self._column(key, pa.int64(), int, convert=_counter, mend=fixes.NUMBER, wrong=wrong)[1]

    def access(self, key: str) -> pa.Array:
        """Return how a repository is gated: `no`, `auto` or `manual`."""
        values = [row.get(key) for row in self.rows]
        if all(value is False for value in values):
            return pa.repeat(pa.scalar("no"), len(values))
        return self._one_by_one(key, values, pa.string(), _access, fixes.TRUTH)

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
        return self._one_by_one(key, values, TIMESTAMP, _time, fixes.TIME)

    def tags(self) -> pa.Array:
        """Return the lists of tags."""

        def wrong(lists: pa.Array) -> pa.Array:
            return pc.is_null(lists.flatten())

        return self._column("tags", STRINGS, list, convert=_tag_list, mend=fixes.TAGS, wrong=wrong)[1]

    def siblings(self) -> pa.Array:
        """Return the lists of file names; nothing is mended, since a name may hold anything."""
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

    def _column(
        self,
        key: str,
        kind: pa.DataType,
        *types: type,
        convert: Callable[[Any], Any],
        mend: tuple[Fix, ...],
        wrong: Callable[[pa.Array], pa.Array] | None = None,
    ) -> tuple[list[Any], pa.Array]:
        """Return the values of a key as they came, and converted; a missing one is null.

        The types are looked at first because Arrow on its own takes 1.5 for 1, true for 1.0 and a text for
        the list of its letters.

        Args:
            key: key of the values in the rows.
            kind: Arrow type of the column.
            types: types of values that Arrow may convert in bulk, besides null.
            convert: converts a single value where that fails, and raises `_UnusableError`.
            mend: the fixes that may be tried where that fails, too.
            wrong: says of the column in bulk where something is not as promised; null says nothing.
        """
        values = [row.get(key) for row in self.rows]
        if set(map(type, values)) <= {*types, _NOTHING}:
            try:
                column = pa.array(values, kind)
            except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
                pass  # an element of a list, or a number that Arrow does not take
            else:
                if wrong is None or not pc.any(wrong(column)).as_py():
                    return values, column
        return values, self._one_by_one(key, values, kind, convert, mend)

    def _one_by_one(
        self,
        key: str,
        values: list[Any],
        kind: pa.DataType,
        convert: Callable[[Any], Any],
        mend: tuple[Fix, ...],
    ) -> pa.Array:
        """Convert value by value; what does not fit is mended or becomes null, with a finding."""
        converted = [
            None if value is None else self._converted(row, key, value, convert, mend)
            for row, value in zip(self.rows, values, strict=True)
        ]
        return pa.array(converted, kind)

    def _converted(
        self,
        row: dict[str, Any],
        key: str,
        value: Any,
        convert: Callable[[Any], Any],
        mend: tuple[Fix, ...],
    ) -> Any:
        try:
            return convert(value)
        except _UnusableError as problem:
            rule = str(problem)
        better, steps = mended(key, value, mend) if self.fix else (value, ())
        if steps:
            try:
                result = None if better is None else convert(better)
            except _UnusableError:
                pass  # mending did not make it fit
            else:
                self.findings += fix_findings(key, steps, hub_id=row["_id"], model_id=row["id"])
                return result
        self._note(row, key, rule, value)
        return None

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
