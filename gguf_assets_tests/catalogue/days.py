"""Days of a Hub for these tests: listing rows, pages, detail answers, and the tables built from them."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue.delta import COMPARED, FILE_COLUMNS, DayTables, Delta, compare_days
from gguf_assets.catalogue.details import read_details
from gguf_assets.catalogue.extras import Extras
from gguf_assets.catalogue.parse import ListedPage, parse_listing_page
from gguf_assets.catalogue.schema import FILES, MODELS, TOMBSTONES
from gguf_assets.catalogue.snapshot import DayContext, SnapshotFigures, build_snapshot

FIRST_DAY = date(2025, 8, 10)
CREATED = datetime(2025, 8, 1, 12, tzinfo=UTC)


def hub_id(number: int) -> str:
    return f"{number:024x}"


def sha(seed: object) -> str:
    return hashlib.sha1(str(seed).encode()).hexdigest()


def sha256(seed: object) -> str:
    return hashlib.sha256(str(seed).encode()).hexdigest()


def day_number(number: int) -> date:
    return FIRST_DAY + timedelta(days=number)


def noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


def row(number: int = 1, **changed: Any) -> dict[str, Any]:
    """A sound row of a full listing; higher numbers were created earlier, so rows in order are in order."""
    values = {
        "_id": hub_id(number),
        "id": f"owner/Model-{number}-GGUF",
        "sha": sha(number),
        "createdAt": f"{CREATED - timedelta(minutes=number):%Y-%m-%dT%H:%M:%S.000Z}",
        "lastModified": "2025-08-02T00:00:00.000Z",
        "downloads": 10,
        "downloadsAllTime": 100,
        "likes": 1,
        "trendingScore": 0,
        "gated": False,
        "private": False,
        "disabled": False,
        "library_name": "gguf",
        "pipeline_tag": "text-generation",
        "tags": ["gguf", "license:mit"],
        "siblings": [{"rfilename": "README.md"}, {"rfilename": f"model-{number}.Q4_K_M.gguf"}],
    }
    return values | changed


def census(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "siblings"} for row in rows]


def pages(rows: Sequence[Any], size: int = 1000) -> Callable[[], Iterator[ListedPage]]:
    """Return what `build_snapshot` takes: the parsed pages of a walk, `size` rows each."""
    bodies = [orjson.dumps(rows[i : i + size]) for i in range(0, max(len(rows), 1), size)]
    return lambda: (parse_listing_page(f"listing-{n:05}", body) for n, body in enumerate(bodies, start=1))


@dataclass
class Answer:
    hub_id: str
    model_id: str
    sha: str
    status: int = 200
    info: bytes | None = None
    tree: tuple[bytes, ...] = ()


Files = dict[str, tuple[int | None, str | None]]
"""Path to size in bytes and SHA-256."""


def answer(listed: dict[str, Any], files: Files, **info: Any) -> Answer:
    siblings = [
        {"rfilename": path, "size": size, "lfs": None if digest is None else {"sha256": digest, "size": size}}
        for path, (size, digest) in files.items()
    ]
    body = {"_id": listed["_id"], "id": listed["id"], "sha": listed["sha"], "siblings": siblings, **info}
    return Answer(listed["_id"], listed["id"], listed["sha"], info=orjson.dumps(body))


@dataclass
class Sink:
    models: list[pa.Table] = field(default_factory=list)
    files: list[pa.Table] = field(default_factory=list)

    def write_models(self, rows: pa.Table) -> None:
        self.models.append(rows)

    def write_files(self, rows: pa.Table) -> None:
        self.files.append(rows)


@dataclass
class Day:
    """A built day; serves as baseline for the next one."""

    date: date
    models_table: pa.Table
    files_table: pa.Table
    figures: SnapshotFigures
    attempts: int

    def models(self) -> Iterable[pa.RecordBatch]:
        return _batches(self.models_table, 3)

    def files(self, columns: list[str]) -> Iterable[pa.RecordBatch]:
        return _batches(self.files_table.select(columns), 5)

    def same_tables(self, other: Day) -> bool:
        return self.models_table.equals(other.models_table) and self.files_table.equals(other.files_table)

    def model_rows(self) -> dict[str, dict[str, Any]]:
        return {row["hub_id"]: row for row in self.models_table.to_pylist()}

    def file_rows(self) -> dict[tuple[str, str], dict[str, Any]]:
        rows = self.files_table.select(["hub_id", "path", "size_bytes", "sha256"]).to_pylist()
        return {(row["hub_id"], row["path"]): row for row in rows}

    def files_of(self, hub_id: str) -> Files:
        return {
            path: (row["size_bytes"], row["sha256"])
            for (owner, path), row in self.file_rows().items()
            if owner == hub_id
        }

    def without(self, gone: set[str]) -> Day:
        """Return the day without some models, as after they were confirmed to be gone."""
        ids = pa.array(sorted(gone), pa.string())
        models, files = (
            table.filter(pc.invert(pc.is_in(table["hub_id"], value_set=ids)))
            for table in (self.models_table, self.files_table)
        )
        return Day(self.date, models, files, self.figures, self.attempts)

    def side(self) -> DayTables:
        def of(table: pa.Table, ids: pa.Array) -> pa.Table:
            return table.filter(pc.is_in(table["hub_id"], value_set=ids))

        return DayTables(
            self.models_table.select(list(COMPARED)),
            lambda ids: of(self.models_table, ids),
            lambda ids: of(self.files_table.select(list(FILE_COLUMNS)), ids),
        )


def _batches(table: pa.Table, rows: int) -> Iterable[pa.RecordBatch]:
    """Return a small table in tiny batches, so that stretches of a day end in the middle of them."""
    return table.to_batches(max_chunksize=rows if table.num_rows < 500 else 331)


def build(
    walked: Sequence[Any] | Callable[[], Iterable[ListedPage]],
    answers: Iterable[Answer] = (),
    baseline: Day | None = None,
    *,
    day: date | None = None,
    extras: Extras | None = None,
) -> Day:
    """Build the day after the baseline from listing rows (or pages) and detail answers."""
    if day is None:
        day = FIRST_DAY if baseline is None else baseline.date + timedelta(days=1)
    sinks: list[Sink] = []

    @contextmanager
    def open_sink() -> Iterator[Sink]:
        sinks.append(Sink())
        yield sinks[-1]

    figures = build_snapshot(
        walked if callable(walked) else pages(walked),
        read_details(answers),
        baseline,
        DayContext(day, None if baseline is None else baseline.date, noon(day)),
        open_sink,
        extras,
    )
    models = pa.concat_tables([MODELS.empty(), *sinks[-1].models]).combine_chunks()
    files = pa.concat_tables([FILES.empty(), *sinks[-1].files]).combine_chunks()
    return Day(day, models, files, figures, len(sinks))


def delta(
    old: Day,
    new: Day,
    tombstones: pa.Table | None = None,
    *,
    names_walked: bool = True,
    evidence: dict[str, str] | None = None,
) -> Delta:
    return compare_days(
        new.date,
        old.date,
        old.side(),
        new.side(),
        TOMBSTONES.empty() if tombstones is None else tombstones,
        names_walked=names_walked,
        evidence=evidence,
    )


def recorded_days(folder: Path) -> list[date]:
    return sorted(date.fromisoformat(path.name[:10]) for path in folder.glob("*.jsonl.gz"))


def recorded_rows(folder: Path, day: date) -> list[dict[str, Any]]:
    """Return the recorded models of a day in the order of a walk."""
    with gzip.open(folder / f"{day}.jsonl.gz") as lines:
        rows = [orjson.loads(line) for line in lines]
    rows.sort(key=lambda row: row["_id"])
    rows.sort(key=lambda row: row["createdAt"], reverse=True)
    return rows


def recorded_listing(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in row.items() if key != "files"}
        | {"siblings": [{"rfilename": file["path"]} for file in row["files"]]}
        for row in rows
    ]


def recorded_answers(rows: Iterable[dict[str, Any]]) -> list[Answer]:
    return [answer(row, {file["path"]: (file["size"], file["lfs"]) for file in row["files"]}) for row in rows]
