"""Parquet files: written as a stream, always the same bytes for the same rows, and read back with care.

What belongs here: the shape of a file (row groups, compression), its digests, writing and reading one.
What does not: which dataset it is, where it lies (`layout.py`) and what its columns mean (`catalogue/`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from gguf_assets.atomic import (
    abandon_replacing,
    begin_replacing,
    damaged,
    finish_replacing,
    storage_errors,
)
from gguf_assets.catalogue.schema import ROW_GROUP_ROWS
from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.store.digests import RowDigest, sha256_of
from gguf_assets.store.layout import parse_day

WRITER = f"pyarrow {pa.__version__}"
"""The Parquet writer: with another one the same rows may give other bytes."""

PLAIN_WRITER = f"{WRITER}, uncompressed"
"""The same where it does not compress."""

_COMPRESSION = "zstd"
_COMPRESSION_LEVEL = 1


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a written file; kept in manifests.

    Attributes:
        name: path inside `candidate/` or `published/`: `<dataset>/date=YYYY-MM-DD/part-0.parquet`.
        rows: number of rows.
        bytes: size of the file in bytes.
        sha256: digest of the file, in hexadecimal.
        row_digest: digest of the values, which another Parquet writer gives as well.
    """

    name: str
    rows: int
    bytes: int
    sha256: str
    row_digest: str

    def to_json(self) -> dict[str, Any]:
        """Return the entry of a manifest."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> DatasetInfo:
        """Return what an entry of a manifest says."""
        return cls(**content)


class DatasetWriter:
    """Writes one Parquet file as a stream; the file is there when the block has ended well, else nothing.

    Rows may come in batches of any size: row groups always have `ROW_GROUP_ROWS` rows (the last one fewer),
    so equal rows give equal bytes.

    Args:
        path: the file.
        schema: its columns; batches are cast to it where that loses nothing.
        metadata: texts kept in the file's key-value metadata; no clock and no run id belongs there.
        compress: whether the columns are compressed.

    Raises:
        PermanentError: the disk refused (category `storage`), or rows do not fit (category `data`).
    """

    def __init__(
        self,
        path: Path,
        schema: pa.Schema,
        *,
        metadata: Mapping[str, str] | None = None,
        compress: bool = True,
    ) -> None:
        self._path = path
        self._compress = compress
        self._schema = schema.with_metadata(dict(sorted((metadata or {}).items())))
        self._digest = RowDigest(schema)
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0
        self._rows = 0
        self._info: DatasetInfo | None = None

    @property
    def info(self) -> DatasetInfo:
        """What is known of the file, once the block has ended well.

        Raises:
            ValueError: the file is not finished.
        """
        if self._info is None:
            raise ValueError(f"{self._path} is not finished: read info after the with block")
        return self._info

    def write(self, rows: pa.RecordBatch | pa.Table) -> None:
        """Add rows after those already written.

        Raises:
            PermanentError: the disk refused (category `storage`), or rows do not fit (category `data`).
        """
        table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
        self._waiting.append(self._fitting(table))
        self._waiting_rows += table.num_rows
        if self._waiting_rows >= ROW_GROUP_ROWS:
            self._write_groups(final=False)

    def __enter__(self) -> Self:
        self._temporary = begin_replacing(self._path)
        try:
            with storage_errors(self._path, "write"):
                self._file = self._temporary.open("wb")
                self._parquet = pq.ParquetWriter(
                    self._file,
                    self._schema,
                    compression=_COMPRESSION if self._compress else "none",
                    compression_level=_COMPRESSION_LEVEL if self._compress else None,
                    version="2.6",
                    data_page_version="1.0",
                )
        except BaseException:
            abandon_replacing(self._temporary)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._finish()
        finally:
            # Where that failed nothing is kept, so the Parquet writer must not try once more when collected.
            self._parquet.is_open = False
            with contextlib.suppress(OSError):  # nor may what a full disk left in the buffer
                self._file.close()
            abandon_replacing(self._temporary)

    def _finish(self) -> None:
        self._write_groups(final=True)
        with storage_errors(self._path, "write"):
            self._parquet.close()
            self._file.close()
        info = DatasetInfo(
            name="/".join(self._path.parts[-3:]),
            rows=self._rows,
            bytes=self._temporary.stat().st_size,
            sha256=sha256_of(self._temporary),
            row_digest=self._digest.hexdigest(),
        )
        finish_replacing(self._temporary, self._path)
        self._info = info
        _give_back_memory()

    def _fitting(self, table: pa.Table) -> pa.Table:
        try:
            return table.cast(self._schema)
        except (ValueError, pa.ArrowException) as error:
            raise PermanentError(
                f"Rows do not fit the schema of {self._path}: {error}",
                category=ErrorCategory.DATA,
                remedy="This is a fault of the program, not of the data: please report it.",
            ) from error

    def _write_groups(self, *, final: bool) -> None:
        table = pa.concat_tables(self._waiting) if self._waiting else self._schema.empty_table()
        start = 0
        while table.num_rows - start >= ROW_GROUP_ROWS or (final and start < table.num_rows):
            # One contiguous chunk a column: how rows came in batches must not show in the bytes.
            group = table.slice(start, ROW_GROUP_ROWS).combine_chunks()
            with storage_errors(self._path, "write"):
                self._parquet.write_table(group, row_group_size=ROW_GROUP_ROWS)
            self._digest.update(group)
            start += group.num_rows
        self._rows += start
        self._waiting = [table.slice(start)] if start < table.num_rows else []
        self._waiting_rows = table.num_rows - start


def write_table(
    path: Path,
    table: pa.Table,
    schema: pa.Schema,
    *,
    metadata: Mapping[str, str] | None = None,
    compress: bool = True,
) -> DatasetInfo:
    """Write a whole table with `DatasetWriter`."""
    with DatasetWriter(path, schema, metadata=metadata, compress=compress) as writer:
        writer.write(table)
    return writer.info


def iter_batches(
    path: Path, columns: Sequence[str] | None = None, *, batch_rows: int = ROW_GROUP_ROWS
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file in order, in batches of at most `batch_rows`.

    Raises:
        PermanentError: the file cannot be read (category `storage`), is missing or no Parquet (`data`).
    """
    with _sound(path), path.open("rb") as source, pq.ParquetFile(source) as file:
        batches = file.iter_batches(batch_size=batch_rows, columns=None if columns is None else list(columns))
        while (batch := next(batches, None)) is not None:
            yield batch
    _give_back_memory()


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Return all rows of a file; the hive key of its folder is not among the columns.

    Raises:
        PermanentError: the file cannot be read (category `storage`), is missing or no Parquet (`data`).
    """
    with _sound(path), pq.ParquetFile(path) as file:
        return file.read(columns=None if columns is None else list(columns))


def _give_back_memory() -> None:
    """Return to the system what Arrow keeps for later: the next step may need it elsewhere."""
    pa.default_memory_pool().release_unused()


@contextlib.contextmanager
def _sound(path: Path) -> Iterator[None]:
    """Turn what Arrow says of a broken file into an error that names the file and what to do."""
    day = parse_day(path.parent.name)
    remedy = None
    if day is not None:
        remedy = f"Derive the day again from its capture: gguf-assets rederive --from {day} --to {day}"
    with storage_errors(path, "read"):
        try:
            yield
        except pa.ArrowInvalid as error:
            raise damaged(path, str(error), remedy) from error
        except FileNotFoundError as error:
            raise damaged(path, "the file is missing", remedy) from error
        except OSError as error:
            if error.errno is not None:
                raise
            # Arrow's own, without a number: the bytes are not what Parquet makes.
            raise damaged(path, str(error), remedy) from error


def matches(path: Path, info: DatasetInfo) -> bool:
    """Whether a file is there and is byte for byte the one described.

    Raises:
        PermanentError: the file cannot be read (category `storage`).
    """
    with storage_errors(path, "read"):
        return path.is_file() and path.stat().st_size == info.bytes and sha256_of(path) == info.sha256


def verify(path: Path, info: DatasetInfo, remedy: str | None = None) -> None:
    """Check that a file is byte for byte the one described.

    Args:
        path: the file.
        info: what it must be.
        remedy: what to do when it is not; to restore a backup by default.

    Raises:
        PermanentError: it is missing or differs (category `data`), or cannot be read (category `storage`).
    """
    if not path.is_file():
        raise damaged(path, "the file is missing", remedy)
    if not matches(path, info):
        what = f"its size or SHA-256 is not the recorded {info.bytes:,} bytes, {info.sha256}"
        raise damaged(path, what, remedy)
