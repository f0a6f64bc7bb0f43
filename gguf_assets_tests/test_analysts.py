"""Every answer of docs/analysts.md, run as it stands there: pandas, DuckDB and plain Python must agree.

They run in two stores: the recorded days as published, and a copy of them with what those days lack:
a rename, a gap, copies of files, unknown values and rules that were skipped.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gguf_assets.store.layout import Layout
from gguf_assets.store.publish import publish
from gguf_assets.store.sql import open_database
from gguf_assets_tests.store.days import candidate
from gguf_assets_tests.test_recorded_days import RecordedDays, Series, gguf_files, recorded, series_of

__all__ = ["recorded", "series_of"]  # fixtures

DOCUMENT = Path(__file__).parents[1] / "docs" / "analysts.md"
NAME, LATER_NAME = "unsloth/gpt-oss-20b-GGUF", "unsloth/gpt-oss-20b-renamed-GGUF"
PAST = "2025-08-14"

Row = dict[str, Any]
COLUMNS = {
    "models": "hub_id model_id sha details_sha downloads gguf_files license parameter_count presence".split(),
    "files": "hub_id model_id path role quantization shard_set shard_count size_bytes sha256".split(),
    "changes": ["hub_id", "model_id", "change"],
    "file_changes": "hub_id model_id path change previous_sha256 sha256".split(),
}


def blocks(language: str) -> dict[str, str]:
    """Return the code of every section in a language, by its title."""
    sections = re.split(r"^##+ ", DOCUMENT.read_text(), flags=re.MULTILINE)[1:]
    found = {}
    for section in sections:
        code = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
        assert len(code) <= 1, section
        found |= {section.splitlines()[0]: block for block in code}
    return found


PANDAS, DUCKDB = blocks("python"), blocks("sql")
QUESTIONS = [title for title in PANDAS if not title.startswith("Start in")]


class Published:
    """What is published below a home, as plain rows."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._read: dict[tuple[str, date], list[Row]] = {}
        self.folder = home / "data" / "published"
        self.days = [date.fromisoformat(path.name[5:]) for path in sorted((self.folder / "models").iterdir())]
        self.latest = self.days[-1]
        self.week = [day for day in self.days if day > self.latest - timedelta(days=7)]

    def rows(self, dataset: str, *days: date) -> list[Row]:
        """Return the rows of some days, `date` among them; of the latest one if none is named."""
        for day in days or (self.latest,):
            if (dataset, day) not in self._read:
                table = pq.ParquetFile(self.file(dataset, day)).read(columns=COLUMNS[dataset])
                self._read[dataset, day] = [row | {"date": str(day)} for row in table.to_pylist()]
        return [row for day in days or (self.latest,) for row in self._read[dataset, day]]

    def file(self, dataset: str, day: date) -> Path:
        return self.folder / dataset / f"date={day}" / "part-0.parquet"

    def manifest(self, day: date) -> Path:
        return self.folder / "manifest" / f"date={day}.json"

    def rewrite(self, dataset: str, day: date, change: Callable[[int, Row], Row]) -> None:
        """Change the rows of a file; their number in it is given, too."""
        table = pq.ParquetFile(self.file(dataset, day)).read()
        rows = [change(number, row) for number, row in enumerate(table.to_pylist())]
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), self.file(dataset, day))


@pytest.fixture(scope="module")
def as_recorded(series_of: Callable[[str], Series]) -> Published:
    return Published(series_of("full").home)


@pytest.fixture(scope="module")
def altered(as_recorded: Published, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A copy with all that the recorded days do not have."""
    home = tmp_path_factory.mktemp("altered")
    shutil.copytree(as_recorded.folder, home / "data" / "published")
    copy = Published(home)
    *early, skipping, gap = copy.days[:5]
    for day in (*early, gap):
        for path in copy.folder.glob(f"*/date={day}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    manifest = json.loads(copy.manifest(skipping).read_bytes())
    manifest["judged"]["skipped"] = ["no_gguf_file", "empty_file"]
    copy.manifest(skipping).write_text(json.dumps(manifest))

    def model(number: int, row: Row) -> Row:
        if row["model_id"] == NAME:
            return row | {"model_id": LATER_NAME}
        if number % 7 == 0:
            row |= {"details_sha": None if number % 2 else "0" * 40, "gguf_files": None}
        if number % 11 == 0:
            row |= {"downloads": None, "license": None}
        if number % 50 == 0:
            row |= {"presence": "unconfirmed", "sha": None}
        return row | {"parameter_count": 8 * number or None}

    def file(number: int, row: Row) -> Row:
        if int(row["hub_id"], 16) % 5 == 0:
            return row | {"size_bytes": None, "sha256": None, "memory_bytes_estimate": None}
        return row | {"sha256": f"{number % 900:064x}"}

    for day in copy.days[-2:]:
        copy.rewrite("models", day, model)
        copy.rewrite("files", day, file)
    return Published(home)


@pytest.fixture(params=["as_recorded", "altered"])
def published(request: pytest.FixtureRequest) -> Published:
    return request.getfixturevalue(request.param)


# What the answers must be, in plain Python


def added_this_week(of: Published) -> Iterator[tuple]:
    rows = [row for row in of.rows("changes", *of.week) if row["change"] == "added"]
    for row in sorted(rows, key=lambda row: (row["date"], row["hub_id"])):
        yield row["date"], row["hub_id"], row["model_id"]


def units(rows: list[Row]) -> dict[tuple[str, str], list[Row]]:
    """Return the rows of whole files and shard sets."""
    found = defaultdict(list)
    for row in rows:
        found[row["hub_id"], row["shard_set"] or row["path"]].append(row)
    return found


def fitting(of: Published) -> list[tuple]:
    found = []
    for (_, name), rows in units([row for row in of.rows("files") if row["role"] == "model"]).items():
        complete = rows[0]["shard_set"] is None or rows[0]["shard_count"] == len(rows)
        sizes = [row["size_bytes"] for row in rows]
        if complete and None not in sizes:
            memory = math.ceil(1.2 * sum(sizes))
            if memory <= 8 * 10**9:
                found.append((rows[0]["model_id"], name, rows[0]["quantization"], memory))
    return sorted(found, key=lambda row: row[:2])


def growing(of: Published) -> list[tuple]:
    before = {row["hub_id"]: row["downloads"] for row in of.rows("models", of.week[0])}
    found = [
        (row["hub_id"], row["model_id"], row["downloads"], row["downloads"] - before[row["hub_id"]])
        for row in of.rows("models")
        if row["downloads"] is not None and before.get(row["hub_id"]) is not None
    ]
    return sorted(found, key=lambda row: (-row[3], row[0]))[:20]


def in_the_past(of: Published) -> list[tuple]:
    day = max(day for day in of.days if str(day) <= PAST)
    columns = ("hub_id", "model_id", "sha", "downloads")
    return sorted(tuple(row[name] for name in columns) for row in of.rows("models", day))


def history(of: Published) -> list[tuple]:
    rows = of.rows("models", *of.days)
    its = {row["hub_id"] for row in rows if row["model_id"] == NAME}
    columns = ("date", "hub_id", "model_id", "sha", "downloads", "gguf_files")
    return sorted(tuple(row[name] for name in columns) for row in rows if row["hub_id"] in its)


def copies(of: Published) -> list[tuple]:
    owners, sizes = defaultdict(set), defaultdict(list)
    for row in of.rows("files"):
        if row["sha256"] is not None:
            owners[row["sha256"]].add(row["hub_id"])
            sizes[row["sha256"]].append(row["size_bytes"])
    found = [(sha256, len(who), max(sizes[sha256])) for sha256, who in owners.items() if len(who) > 1]
    return sorted(found, key=lambda row: (-row[1], row[0]))[:20]


def shares(of: Published) -> Iterator[tuple]:
    for day in of.days:
        labelled = [row for row in of.rows("files", day) if row["role"] == "model" and row["quantization"]]
        # A set whose shards carry several labels counts once under each of them.
        seen = Counter(
            label for rows in units(labelled).values() for label in {row["quantization"] for row in rows}
        )
        for label in sorted(seen):
            yield str(day), label, seen[label], seen[label] / sum(seen.values())


def licences(of: Published) -> list[tuple]:
    found = defaultdict(list)
    for row in of.rows("models"):
        found[row["license"]].append(row["downloads"])
    known = {name: [count for count in counts if count is not None] for name, counts in found.items()}
    rows = [(name, len(found[name]), sum(known[name]) if known[name] else None) for name in found]
    return sorted(rows, key=lambda row: (-row[1], row[0] is None, row[0] or ""))


def replaced(of: Published) -> list[tuple]:
    columns = ("date", "hub_id", "model_id", "path", "previous_sha256", "sha256")
    rows = [row for row in of.rows("file_changes", *of.days) if row["change"] == "replaced"]
    return sorted(tuple(row[name] for name in columns) for row in rows)


def unknown(of: Published) -> Iterator[tuple]:
    for day in of.days:
        rows = of.rows("models", day)
        yield (
            str(day),
            len(rows),
            sum(row["license"] is None for row in rows),
            sum(row["downloads"] is None for row in rows),
            sum(row["parameter_count"] is None for row in rows),
            sum(row["sha"] is None or row["details_sha"] != row["sha"] for row in rows),
            sum(row["presence"] != "listed" for row in rows),
        )


def gaps(of: Published) -> list[tuple]:
    span = range(of.days[0].toordinal(), of.days[-1].toordinal())
    return [(str(date.fromordinal(day)),) for day in span if date.fromordinal(day) not in of.days]


def skipped(of: Published) -> Iterator[tuple]:
    for day in of.days:
        for rule in sorted(json.loads(of.manifest(day).read_bytes())["judged"]["skipped"]):
            yield str(day), rule


EXPECTED: dict[str, Callable[[Published], Any]] = dict(
    zip(
        QUESTIONS,
        (
            added_this_week,
            fitting,
            growing,
            in_the_past,
            history,
            copies,
            shares,
            licences,
            replaced,
            unknown,
            gaps,
            skipped,
        ),
        strict=True,
    )
)


@cache
def expected(question: str, of: Published) -> list[tuple]:
    return [plain(row) for row in EXPECTED[question](of)]


# How the document answers them


@contextmanager
def inside(home: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(home)
    try:
        yield
    finally:
        os.chdir(before)


def by_pandas(home: Path, question: str) -> list[tuple]:
    known: dict[str, Any] = {}
    with inside(home):
        exec(PANDAS["Start in pandas"], known)
        exec(PANDAS[question], known)
    return [plain(row) for row in known["answer"].itertuples(index=False)]


def by_duckdb(home: Path, question: str) -> list[tuple]:
    with inside(home), duckdb.connect() as database:
        database.execute(DUCKDB["Start in DuckDB"])
        return [plain(row) for row in database.execute(DUCKDB[question]).fetchall()]


def by_the_command(home: Path, question: str) -> list[tuple]:
    with open_database(Layout(home / "data", home / "data")) as database:
        batches = list(database.query(DUCKDB[question]).batches())
    return [plain(row.values()) for batch in batches for row in batch.to_pylist()]


def plain(row: Any) -> tuple:
    """Return a row without what the ways call differently: unknown values, days, kinds of numbers."""
    return tuple(
        None
        if value is None or value is pd.NA or value != value
        else str(value)
        if isinstance(value, str | date)
        else round(float(value), 9)
        for value in row
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.recording
@pytest.mark.slow
@pytest.mark.parametrize("question", QUESTIONS)
def test_pandas_duckdb_and_the_command_answer_what_plain_python_finds(
    published: Published, question: str
) -> None:
    found = expected(question, published)
    assert by_pandas(published.home, question) == found
    assert by_duckdb(published.home, question) == found
    if "data/published" not in DUCKDB[question]:
        assert by_the_command(published.home, question) == found


@pytest.mark.recording
@pytest.mark.slow
def test_no_question_has_an_empty_answer_in_the_altered_days(altered: Published) -> None:
    assert [question for question in QUESTIONS if not expected(question, altered)] == []
    assert {row[2] for row in history(altered)} == {NAME, LATER_NAME}


@pytest.mark.recording
@pytest.mark.slow
def test_the_recording_itself_gives_the_same_answers(as_recorded: Published, recorded: RecordedDays) -> None:
    first, last = as_recorded.week[0], as_recorded.latest
    before, now = recorded.by_day[first], recorded.by_day[last]

    week = {(str(day), hub_id) for day in as_recorded.week for hub_id in recorded.added(day)}
    assert {row[:2] for row in added_this_week(as_recorded)} == week
    growth = {
        hub_id: now[hub_id]["downloads"] - before[hub_id]["downloads"] for hub_id in before.keys() & now
    }
    best = sorted(growth.items(), key=lambda item: (-item[1], item[0]))[:20]
    assert [(row[0], row[3]) for row in growing(as_recorded)] == best
    past = recorded.by_day[date.fromisoformat(PAST)]
    assert {row[:3] for row in in_the_past(as_recorded)} == {(i, r["id"], r["sha"]) for i, r in past.items()}
    stated = Counter(
        next((tag[8:] for tag in line["tags"] if tag.startswith("license:")), None) for line in now.values()
    )
    assert {row[0]: row[1] for row in licences(as_recorded)} == stated
    swapped = set()
    for day in recorded.days[1:]:
        was, became = recorded.before(day) or {}, recorded.by_day[day]
        for hub_id in was.keys() & became.keys():
            old, new = gguf_files(was[hub_id]), gguf_files(became[hub_id])
            swapped |= {
                (str(day), hub_id, path) for path in old.keys() & new.keys() if old[path][1] != new[path][1]
            }
    assert {(*row[:2], row[3]) for row in replaced(as_recorded) if row[3].endswith(".gguf")} == swapped
    assert swapped, "the recording holds silent replacements"


# Reading while days are published


def test_whoever_reads_all_days_while_days_are_published_sees_no_half_file(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data", tmp_path / "state")
    days = [date(2025, 8, 1) + timedelta(days=number) for number in range(25)]
    few, many = {"a": "o/a"}, {f"m{number}": f"o/m{number}" for number in range(3000)}
    for day in days[:-1]:
        publish(layout, candidate(layout, day, few))
    stop, failed = threading.Event(), []

    def write() -> None:
        try:
            number = 0
            while not stop.is_set():
                number += 1
                publish(layout, candidate(layout, days[-1], many if number % 2 else few))
        except Exception as error:  # noqa: BLE001 - said by the test below
            failed.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    folder, seen = layout.published_dataset("models"), set()
    try:
        while len(seen) < 2 and not failed:
            frame = pd.read_parquet(folder, columns=["hub_id", "date"])
            counts = Counter(frame["date"].astype(str))
            last = counts.pop(str(days[-1]), 0)
            assert set(counts.values()) == {1}
            assert last in (0, 1, 3000)
            with closing(duckdb.connect()) as database:
                found = database.execute(
                    "select date, count(*) from read_parquet(?, hive_partitioning = true) group by all",
                    [f"{folder}/*/*.parquet"],
                ).fetchall()
            assert {count for _, count in found} <= {1, 3000}
            seen.add(last)
            latest = json.loads(layout.latest.read_bytes())["date"]
            assert layout.published_file("models", date.fromisoformat(latest)).is_file()
    finally:
        stop.set()
        writer.join()
    assert failed == []
