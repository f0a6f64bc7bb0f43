"""Detail answers of the Hub become facts: sizes and hashes of files, and what a GGUF header says.

Input are the raw bodies as captured: model info with `blobs=true` and, for repositories whose siblings
cannot be trusted, the pages of the tree. Facts belong to one commit (`sha`) and hold for it for ever. A value
that is not as promised is mended where that is wanted and it has one right reading (`fixes`), else unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeGuard

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue import fixes
from gguf_assets.catalogue.findings import Finding, shown
from gguf_assets.catalogue.fixes import Fix, fix_findings, mended
from gguf_assets.catalogue.paths_table import describe_paths
from gguf_assets.jsontext import parse_json

FILE_SIZE_LIMIT = 2**50
"""Bytes; the Hub allows 500 GB a file, so a petabyte is no size."""

DETAIL_MODELS = pa.schema(
    [
        ("hub_id", pa.string()),
        ("sha", pa.string()),
        ("architecture", pa.string()),
        ("parameter_count", pa.int64()),
        ("context_length", pa.int64()),
    ]
)
DETAIL_FILES = pa.schema(
    [("hub_id", pa.string()), ("path", pa.string()), ("size_bytes", pa.int64()), ("sha256", pa.string())]
)

_SHA256 = re.compile(r"[0-9a-f]{64}")
_BATCH_ANSWERS = 500
UNSAFE_PATH = r"(^|[/\\])\.\.([/\\]|$)|^[/\\]|^[A-Za-z]:[/\\]|\x00"
"""A path that could leave the folder it is put into: absolute, `..` or drive parts (RE2)."""

_UNSAFE = re.compile(UNSAFE_PATH.replace("$", r"\Z"))  # RE2's `$` is the very end, Python's is not


class Answer(Protocol):
    """One captured detail answer; `info` and `tree` are raw JSON bodies."""

    @property
    def hub_id(self) -> str:
        """Identity of the repository."""

    @property
    def model_id(self) -> str:
        """Name it was asked by."""

    @property
    def sha(self) -> str:
        """Commit it was asked at."""

    @property
    def status(self) -> int:
        """HTTP status of the answer."""

    @property
    def info(self) -> bytes | None:
        """Model info; None when there is none."""

    @property
    def tree(self) -> tuple[bytes, ...]:
        """Pages of the tree; empty where siblings could be trusted."""


@dataclass(frozen=True)
class Details:
    """The facts of all answers of a capture.

    Attributes:
        models: schema `DETAIL_MODELS`, one row per answered repository.
        files: schema `DETAIL_FILES`, the GGUF-related files of those repositories, in the order of `models`.
        findings: answers and values that were not usable, and what was mended.
        refused: answers with an error status, and those that could not be used.
    """

    models: pa.Table
    files: pa.Table
    findings: tuple[Finding, ...]
    refused: int

    def files_of(self, rows: np.ndarray) -> tuple[np.ndarray, pa.Table]:
        """Return the files of the models at the given rows, and for each file which of those it is of."""
        starts, ends = self._offsets[rows], self._offsets[rows + 1]
        counts = ends - starts
        owners = np.repeat(np.arange(len(rows)), counts)
        positions = np.arange(len(owners)) + np.repeat(starts - (np.cumsum(counts) - counts), counts)
        return owners, self.files.take(pa.array(positions))

    @cached_property
    def _offsets(self) -> np.ndarray:
        """Where the files of each model begin, and the end of the last."""
        owners = pc.index_in(self.files["hub_id"], value_set=self.models["hub_id"].combine_chunks())
        return np.searchsorted(np.asarray(owners), np.arange(self.models.num_rows + 1))


def is_unsafe(path: str) -> bool:
    """Return whether a path could leave the folder it is put into (absolute, `..` or drive parts)."""
    return _UNSAFE.search(path) is not None


def read_details(answers: Iterable[Answer], *, fix: bool = False) -> Details:
    """Read all answers, keeping of every repository the first usable one.

    Memory is bounded by the GGUF-related files of the answered repositories, not by the raw bodies.

    Args:
        answers: the answers as captured.
        fix: whether values with one right reading are mended (`fixes`) instead of being taken as unknown.
    """
    notes = _Notes(fix)
    models: list[dict[str, Any]] = []
    batches: list[pa.Table] = []
    seen: set[str] = set()
    rows: list[tuple[str, str, int | None, str | None]] = []
    refused = 0
    for count, answer in enumerate(answers, start=1):
        if answer.status != 200 or answer.info is None:
            refused += 1
        elif answer.hub_id not in seen:
            try:
                info, entries = _opened(answer, answer.info)
            except ValueError as problem:
                refused += 1
                notes.add(answer, "details_unusable", f"{problem}; details stay unknown", answer.sha)
                continue
            seen.add(answer.hub_id)
            models.append({"hub_id": answer.hub_id, "sha": answer.sha, **_header_facts(answer, info, notes)})
            rows.extend((answer.hub_id, *file) for file in _files(answer, entries, notes))
        if count % _BATCH_ANSWERS == 0:
            batches.append(_related(rows))
            rows = []
    batches.append(_related(rows))
    return Details(
        pa.Table.from_pylist(models, schema=DETAIL_MODELS),
        pa.concat_tables(batches).combine_chunks(),
        tuple(notes.findings),
        refused,
    )


def _opened(answer: Answer, content: bytes) -> tuple[dict[str, Any], list[Any]]:
    """Return the model info and the list of file entries of an answer.

    Raises:
        ValueError: it is broken, about another repository or commit, or without a list of files (a failed
            read is not an empty list, rule 5).
    """
    try:
        info = parse_json(content)
        pages = [parse_json(page) for page in answer.tree]
    except ValueError:
        raise ValueError("the answer is no JSON") from None
    if not isinstance(info, dict):
        raise ValueError("the answer is no JSON object")
    for key, asked in (("_id", answer.hub_id), ("sha", answer.sha)):
        if info.get(key, asked) != asked:
            raise ValueError(f"the answer is about another `{key}`: {shown(info[key])}")
    lists = pages or [info.get("siblings")]
    if not all(isinstance(part, list) for part in lists):
        raise ValueError("the answer carries no list of files")
    return info, [entry for part in lists for entry in part]


def _related(rows: list[tuple[str, str, int | None, str | None]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    table = pa.table(dict(zip(DETAIL_FILES.names, columns, strict=True)), schema=DETAIL_FILES)
    return table.filter(describe_paths(table["path"])["related"])


class _Notes:
    """The findings about all answers, and whether values may be mended."""

    def __init__(self, fix: bool) -> None:
        self.findings: list[Finding] = []
        self._fix = fix

    def add(self, answer: Answer, rule: str, message: str, value: Any, path: str | None = None) -> None:
        """Note what is not usable."""
        names = {"hub_id": answer.hub_id, "model_id": answer.model_id, "path": path}
        self.findings.append(Finding(rule, "warning", message, value=shown(value), **names))

    def mended(
        self,
        answer: Answer,
        key: str,
        value: Any,
        with_fixes: tuple[Fix, ...],
        fits: Callable[[Any], bool],
        path: str | None = None,
    ) -> Any:
        """Return a value mended, which is noted, or as it is where that is not wanted or is of no use."""
        better, steps = mended(key, value, with_fixes) if self._fix else (value, ())
        if not steps or not (better is None or fits(better)):
            return value
        self.findings += fix_findings(key, steps, hub_id=answer.hub_id, model_id=answer.model_id, path=path)
        return better


def _header_facts(answer: Answer, info: dict[str, Any], notes: _Notes) -> dict[str, Any]:
    """Return what the Hub read from a GGUF header of the repository."""
    header = info.get("gguf")
    if not isinstance(header, dict):
        return {"architecture": None, "parameter_count": None, "context_length": None}
    name = notes.mended(answer, "gguf.architecture", header.get("architecture"), fixes.TEXT, _is_name)
    return {
        "architecture": name if _is_name(name) else None,
        "parameter_count": _count(answer, "gguf.total", header.get("total"), notes),
        "context_length": _count(answer, "gguf.context_length", header.get("context_length"), notes),
    }


def _is_name(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and len(value) <= 100


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= FILE_SIZE_LIMIT


def _is_sha256(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _count(answer: Answer, key: str, value: Any, notes: _Notes, path: str | None = None) -> int | None:
    """Return a whole number from 0 up to a petabyte, else None with a finding."""
    if value is None or (type(value) is int and 0 <= value <= FILE_SIZE_LIMIT):
        return value  # nearly every file: without a further call
    better = notes.mended(answer, key, value, fixes.NUMBER, _is_count, path)
    if better is None or _is_count(better):
        return better
    notes.add(answer, "out_of_range", f"`{key}` is no plausible number; taken as unknown", value, path)
    return None


def _mended_digest(answer: Answer, key: str, value: Any, notes: _Notes, path: str) -> str | None:
    """Return what can be made a SHA-256 in hexadecimal digits, else None with a finding."""
    better = notes.mended(answer, key, value, fixes.HASH, _is_sha256, path)
    if better is None or _is_sha256(better):
        return better
    notes.add(answer, "malformed", "the SHA-256 is none; taken as unknown", value, path)
    return None


def _files(answer: Answer, entries: list[Any], notes: _Notes) -> Iterator[tuple[str, int | None, str | None]]:
    """Yield path, size in bytes and SHA-256 of every usable file, each path once."""
    seen: set[str] = set()
    without_size = 0
    name_key, digest_key = ("path", "oid") if answer.tree else ("rfilename", "sha256")
    for entry in entries:
        if answer.tree and isinstance(entry, dict) and entry.get("type") == "directory":
            continue
        path = entry.get(name_key) if isinstance(entry, dict) else None
        if not isinstance(path, str) or not path:
            notes.add(answer, "wrong_type", "a file without a usable name; left out", entry)
            continue
        if is_unsafe(path):
            notes.add(answer, "unsafe_path", "the path could leave its folder; left out", path, path)
            continue
        if path in seen:
            continue
        seen.add(path)
        stored = entry.get("lfs")
        stored = stored if isinstance(stored, dict) else {}
        size, key = entry.get("size"), "size"
        if size is None:
            size, key = stored.get("size"), "lfs.size"
        without_size += size is None
        digest = stored.get(digest_key)
        if digest is not None and not (isinstance(digest, str) and _SHA256.fullmatch(digest)):
            digest = _mended_digest(answer, f"lfs.{digest_key}", digest, notes, path)
        yield path, _count(answer, key, size, notes, path), digest
    if without_size:
        message = "the answer gives so many files no size; their sizes stay unknown"
        notes.add(answer, "size_missing", message, f"{without_size} of {len(seen)} files")


def known_at(details: pa.Table, hub_ids: pa.Array, shas: pa.Array) -> pa.Array:
    """Return for every (hub_id, sha) the row of `Details.models` that answers it, null where none does."""
    rows = pc.index_in(hub_ids, value_set=details["hub_id"].combine_chunks())
    same = pc.equal(details["sha"].combine_chunks().take(rows), shas)
    return pc.if_else(pc.fill_null(same, False), rows, None)
