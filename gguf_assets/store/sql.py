"""SQL over the published days: views that DuckDB reads, and nothing else that it may read or write.

DuckDB is given Arrow's view of the files and no file system (`enable_external_access` off): since version 2 a
`select` may hold a `copy … to`, so the kind of a statement alone would protect nothing. What belongs here:
the views, one query, its rows as batches. What does not: how rows are shown.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from gguf_assets.atomic import read_json
from gguf_assets.catalogue.schema import DATASETS
from gguf_assets.errors import ErrorCategory, PermanentError, Refused, TransientError
from gguf_assets.store.layout import Layout
from gguf_assets.store.publish import Published

LATEST = "latest_"
"""How the names of the views of the latest day begin."""

MEMORY_BYTES = 1_000_000_000
"""What DuckDB may hold in memory; beyond it, it spills to temporary files, then says what it lacks."""

_HIVE_KEY = pa.field("date", pa.date32())
_BATCH_ROWS = 10_000
_KINDS = ("SELECT", "EXPLAIN", "MULTI")  # the last one is what `pivot` makes of itself
_VIEWS_HINT = "`gguf-assets sql` without a query lists the views and their columns."


@dataclass(frozen=True)
class View:
    """A view.

    Attributes:
        name: `models` for all days, `latest_models` for the latest one.
        grain: what one row is.
        columns: names and types of DuckDB, in order.
    """

    name: str
    grain: str
    columns: tuple[tuple[str, str], ...]


class Answer:
    """The rows of a query, read once, batch by batch.

    Attributes:
        schema: their columns.
    """

    def __init__(self, database: Database, reader: pa.RecordBatchReader) -> None:
        self._database = database
        self._reader = reader
        self.schema: pa.Schema = reader.schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows.

        Raises:
            Refused, PermanentError, TransientError: as `Database.query`.
        """
        while True:
            with self._database.said_clearly():
                batch = next(self._reader, None)
            if batch is None:
                return
            yield batch


class Database:
    """The published days of a store as views; made by `open_database`."""

    def __init__(self, layout: Layout, connection: Any, days: list[date], latest: date) -> None:
        self._layout = layout
        self._connection = connection
        self._days = days
        self._latest = latest
        self._seen = self._state()

    def views(self) -> list[View]:
        """Return all views.

        Raises:
            PermanentError, TransientError: as `query`.
        """
        with self.said_clearly():
            for name in _view_names():
                self._register(name, in_row_groups=False)
            return [
                View(name, DATASETS[name.removeprefix(LATEST)].grain, tuple(self._columns(name)))
                for name in _view_names()
            ]

    def query(self, text: str) -> Answer:
        """Run one query.

        Raises:
            Refused: it is no query, not a single one, or wrong.
            TransientError: a day was published anew meanwhile.
            PermanentError: it takes more memory than it may, or a file is damaged.
        """
        named = set(re.findall(r"\w+", text.lower()))
        with self.said_clearly():
            for name in _view_names():
                # Only the views that are used are worth a look into each of their files.
                self._register(name, in_row_groups=name in named)
            statements = self._connection.extract_statements(text)
            kinds = [statement.type.name for statement in statements]
            if len(kinds) != 1:
                raise _refused(f"One query is allowed, and there are {len(kinds)}")
            if kinds[0] not in _KINDS:
                raise _refused(f"Only queries are allowed (select, with, from, pivot …), not {kinds[0]}")
            return Answer(self, self._connection.sql(statements[0]).to_arrow_reader(_BATCH_ROWS))

    @contextmanager
    def said_clearly(self) -> Iterator[None]:
        """Turn what DuckDB says into an error for people."""
        import duckdb

        try:
            yield
        except (duckdb.InterruptException, RuntimeError) as error:
            # What DuckDB makes of SIGINT and SIGTERM.
            raise KeyboardInterrupt from error
        except duckdb.OutOfMemoryException as error:
            raise PermanentError(
                f"The query needs more memory than the {MEMORY_BYTES // 1_000_000:,} MB it may take: "
                f"{_first_lines(error)}",
                category=ErrorCategory.SYSTEM,
                remedy="Select fewer columns or days, or aggregate.",
            ) from error
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            if self._state() != self._seen:
                raise TransientError(
                    "A day was published anew while the query was running",
                    category=ErrorCategory.DATA,
                    remedy="Run the query again.",
                ) from error
            if isinstance(error, duckdb.PermissionException):
                raise _refused(
                    f"A query sees the views alone, no other file and no address: {_first_lines(error)}"
                ) from error
            if isinstance(error, duckdb.Error) and "arrow" not in str(error).lower():
                raise _refused(f"The query is wrong: {_first_lines(error)}") from error
            raise PermanentError(
                f"The published files cannot be read: {_first_lines(error)}",
                category=ErrorCategory.DATA,
                remedy="`gguf-assets doctor` says what is wrong; `gguf-assets rederive` derives days again.",
            ) from error

    def _state(self) -> list[tuple[int, int]]:
        """Return what tells whether a manifest was replaced: publishing a day writes it last."""
        paths = (self._layout.published_manifest(day) for day in self._days)
        return [
            (found.st_ino, found.st_mtime_ns) for found in (path.stat() for path in paths if path.exists())
        ]

    def _register(self, view: str, *, in_row_groups: bool) -> None:
        dataset = view.removeprefix(LATEST)
        days = [self._latest] if view != dataset else self._days
        found = _dataset(self._layout, dataset, days, in_row_groups=in_row_groups)
        self._connection.register(view, found)

    def _columns(self, view: str) -> list[tuple[str, str]]:
        described = self._connection.execute(f"describe {view}").fetchall()
        return [(row[0], row[1]) for row in described]


@contextmanager
def open_database(layout: Layout) -> Iterator[Database]:
    """Open the published days for queries; nothing is written but temporary files while memory is short.

    Raises:
        Refused: nothing is published yet, or DuckDB is not installed.
    """
    try:
        import duckdb
    except ImportError:
        raise Refused(
            "SQL needs DuckDB, which is not installed",
            category=ErrorCategory.CONFIGURATION,
            remedy='Install it with the extra: python -m pip install "gguf_assets[analysis]"',
        ) from None
    days = Published(layout).days()
    if not days:
        raise Refused("No day is published yet", remedy="gguf-assets sync")
    # It names the last day that is there whole; missing only while the very first one is being published.
    told = read_json(layout.latest)
    latest = days[-1] if told is None else date.fromisoformat(told["date"])
    with (
        tempfile.TemporaryDirectory(prefix="gguf-assets-sql-") as spill,
        duckdb.connect(":memory:") as connection,
    ):
        for setting, value in {
            "memory_limit": f"{MEMORY_BYTES}B",
            "temp_directory": spill,
            "TimeZone": "UTC",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
            "enable_external_access": False,
            "lock_configuration": True,
        }.items():
            connection.execute(f"set {setting} = {value if isinstance(value, bool) else repr(value)}")
        try:
            yield Database(layout, connection, days, latest)
        finally:
            # A query that goes on has nobody to answer any more, and closing would wait for it.
            connection.interrupt()


def _view_names() -> Iterable[str]:
    return [*DATASETS, *(f"{LATEST}{name}" for name in DATASETS)]


def _dataset(layout: Layout, name: str, days: list[date], *, in_row_groups: bool) -> pads.Dataset:
    """Return a dataset over some days as Arrow sees it; those without a file are left out.

    Args:
        layout: where the files lie.
        name: the dataset.
        days: the days.
        in_row_groups: whether row groups are read one by one. A file as a whole is decoded far ahead of
            what is asked for: a gigabyte for a day of 200,000 models.
    """
    paths = [path for day in days if (path := layout.published_file(name, day)).is_file()]
    options = pads.ParquetFragmentScanOptions(pre_buffer=False)
    parquet = pads.ParquetFileFormat(default_fragment_scan_options=options)
    schema = _schema(name, paths)
    found = pads.dataset(
        [str(path) for path in paths],
        schema=schema,
        format=parquet,
        partitioning=pads.partitioning(pa.schema([_HIVE_KEY]), flavor="hive"),
        partition_base_dir=str(layout.published_dataset(name)),
    )
    if not in_row_groups:
        return found
    groups: list[Any] = []
    for path, file in zip(paths, found.get_fragments(), strict=True):
        with _naming(path):
            groups += file.split_by_row_group()
    return pads.FileSystemDataset(groups, schema, parquet, found.filesystem)


def _schema(name: str, paths: list[Path]) -> pa.Schema:
    """Return all columns of a dataset: those declared, and those a later version of the schema has added."""
    schemas = [DATASETS[name].arrow]
    for newest in paths[-1:]:
        with _naming(newest):
            schemas.append(pq.read_schema(newest))
    fields = {field.name: field.with_nullable(True) for schema in schemas for field in schema}
    return pa.schema([*fields.values(), _HIVE_KEY])


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let an error about a file name it."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise OSError(f"{path}: {error}") from error


def _refused(message: str) -> Refused:
    return Refused(message, category=ErrorCategory.CONFIGURATION, remedy=_VIEWS_HINT)


def _first_lines(error: Exception) -> str:
    """Return what an error says in one line, without its kind and the copy of the query."""
    said = str(error).split("\nLINE ")[0]
    text = " ".join(line.strip() for line in said.splitlines() if line.strip())
    return re.sub(r"^[A-Z][A-Za-z ]* Error: ", "", text)
