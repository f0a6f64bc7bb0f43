"""Recorded days of the Hub through the command line, one after another, in full and in incremental mode.

What is expected is computed from the recording by this module alone, so that other recorded days do as well.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from gguf_assets.catalogue.schema import DATASETS
from gguf_assets.demo.recording import RecordedHub
from gguf_assets.demo.server import LoopbackHub
from gguf_assets_tests.calling import call, digests
from gguf_assets_tests.running import environment, run

pytestmark = [pytest.mark.recording, pytest.mark.slow]

PAGE = 1000
"""Rows on a page of the listing, and entries on a page of a file tree."""

KEYS = (
    "date mode reason models added updated removed renamed completeness requests detail_requests published "
    "duration_seconds"
).split()

Line = dict[str, Any]


class RecordedDays:
    """The recording, read without the product: the repositories of every day by identity."""

    def __init__(self, folder: Path) -> None:
        self.by_day: dict[date, dict[str, Line]] = {}
        for path in sorted(folder.glob("*.jsonl.gz")):
            with gzip.open(path) as lines:
                rows = [json.loads(line) for line in lines]
            self.by_day[date.fromisoformat(path.name[:10])] = {row["_id"]: row for row in rows}
        self.days = list(self.by_day)

    def before(self, day: date) -> dict[str, Line] | None:
        position = self.days.index(day)
        return self.by_day[self.days[position - 1]] if position else None

    def added(self, day: date) -> set[str]:
        before = self.before(day)
        return set() if before is None else self.by_day[day].keys() - before.keys()

    def updated(self, day: date) -> set[str]:
        before, now = self.before(day) or {}, self.by_day[day]
        return {i for i in before.keys() & now.keys() if before[i]["sha"] != now[i]["sha"]}

    def renamed(self, day: date) -> set[str]:
        before, now = self.before(day) or {}, self.by_day[day]
        return {i for i in before.keys() & now.keys() if before[i]["id"] != now[i]["id"]}

    def asked_for(self, day: date) -> dict[tuple[str, str], Line]:
        """The repositories whose details are not known at their commit, by name and commit."""
        now = self.by_day[day]
        wanted = now.keys() if self.before(day) is None else self.added(day) | self.updated(day)
        return {(now[i]["id"], now[i]["sha"]): now[i] for i in wanted}


@dataclass(frozen=True)
class Series:
    """All recorded days, synced one after another.

    Attributes:
        home: the home of the processes; the data lie in `home/data`.
        outcomes: what `sync --json` printed, by day.
        requests: what the Hub was asked, by day.
    """

    home: Path
    outcomes: dict[date, Line]
    requests: dict[date, list[str]]

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def published(self) -> Path:
        return self.data / "published"

    def rows(self, dataset: str, day: date) -> Any:
        """The table of a day as the file holds it: no folder name is read as a column."""
        return pq.ParquetFile(self.file(dataset, day)).read()

    def file(self, dataset: str, day: date) -> Path:
        return self.published / dataset / f"date={day}" / "part-0.parquet"

    def manifest(self, day: date) -> Line:
        return json.loads((self.published / "manifest" / f"date={day}.json").read_bytes())

    def copied(self, home: Path) -> Series:
        """A copy that may be changed; without Dagster's own history, which no rule depends on."""
        shutil.copytree(self.data, home / "data", ignore=shutil.ignore_patterns("dagster", "limits"))
        return Series(home, self.outcomes, self.requests)


def sync_all(folder: Path, home: Path, mode: str) -> None:
    """Sync all recorded days; leave what was printed and asked in `home/series.json`.

    The full series names its days. The incremental one leaves them to the Hub's clock, and two of its days
    are processes of their own, as an operator starts them.
    """
    source = RecordedHub(folder)
    outcomes, requests = {}, {}
    with LoopbackHub(source, day=source.days[0], tick=0) as hub:
        for number, day in enumerate(source.days):
            hub.set_day(day)
            hub.clear_requests()
            named = ["--date", str(day)] if mode == "full" else []
            command = run if mode == "incremental" and number in (1, 2) else call
            arguments = ["sync", *named, "--mode", mode, "--details", "all", "--json"]
            ended = command(*arguments, environ=environment(home, hub.url))
            assert ended.code == 0, ended.stderr
            outcomes[str(day)] = ended.json
            requests[str(day)] = [request.target for request in hub.requests]
    (home / "series.json").write_text(json.dumps({"outcomes": outcomes, "requests": requests}))


@pytest.fixture(scope="session")
def series_of(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Series]:
    """Return the series of a mode, made once, whichever of several test processes needs it first."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent

    def series(mode: str) -> Series:
        home = shared / f"recorded-{mode}"
        with FileLock(f"{home}.lock"):
            if not (home / "series.json").exists():
                shutil.rmtree(home, ignore_errors=True)
                home.mkdir()
                sync_all(recording, home, mode)
        told = json.loads((home / "series.json").read_text())
        by_day = {
            name: {date.fromisoformat(day): value for day, value in told[name].items()} for name in told
        }
        return Series(home, **by_day)

    return series


@pytest.fixture(scope="session")
def recorded(recording: Path) -> RecordedDays:
    return RecordedDays(recording)


@pytest.fixture(params=["full", "incremental"])
def series(request: pytest.FixtureRequest, series_of: Callable[[str], Series]) -> Series:
    return series_of(request.param)


@pytest.fixture
def copy(series_of: Callable[[str], Series], tmp_path: Path) -> Series:
    return series_of("full").copied(tmp_path)


def modified(folder: Path) -> dict[Path, int]:
    """Return when every file below a folder was written, in nanoseconds."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


# What is published


def test_every_recorded_model_is_published_each_day_under_its_name(
    series: Series, recorded: RecordedDays
) -> None:
    for day, expected in recorded.by_day.items():
        models = series.rows("models", day).to_pylist()
        assert Counter(row["presence"] for row in models) == {"listed": len(expected)}
        assert {row["hub_id"]: (row["model_id"], row["sha"]) for row in models} == {
            hub_id: (line["id"], line["sha"]) for hub_id, line in expected.items()
        }
        assert series.outcomes[day]["models"] == len(expected)
        assert series.outcomes[day]["published"] is True
        assert {row["snapshot_date"] for row in models} == {day}


def test_what_the_listing_tells_of_a_model_is_published_as_told(
    series: Series, recorded: RecordedDays
) -> None:
    for day, expected in recorded.by_day.items():
        before = recorded.before(day) or {}
        for row in series.rows("models", day).to_pylist():
            line, was = expected[row["hub_id"]], before.get(row["hub_id"])
            assert row["owner"] == line["id"].split("/")[0]
            assert row["tags"] == line["tags"]
            assert row["gated"] == {False: "no"}.get(line["gated"], line["gated"])
            for name in ("downloads", "likes", "private", "disabled", "pipeline_tag", "library_name"):
                assert row[name] == line[name], (day, row["model_id"], name)
            for name in ("downloads", "likes"):
                assert row[f"{name}_delta"] == (None if was is None else line[name] - was[name])
            assert row["created_at"] == datetime.fromisoformat(line["createdAt"])
            assert row["last_modified"] == datetime.fromisoformat(line["lastModified"])


def test_added_and_updated_are_the_sets_computed_from_the_recording(
    series: Series, recorded: RecordedDays
) -> None:
    for day in recorded.days:
        found: dict[str, set[str]] = {}
        for row in series.rows("changes", day).to_pylist():
            found.setdefault(row["change"], set()).add(row["hub_id"])
        expected = {"added": recorded.added(day), "updated": recorded.updated(day)}
        expected["renamed"] = recorded.renamed(day)
        for kind, hub_ids in expected.items():
            assert found.get(kind, set()) == hub_ids, (day, kind)
            assert series.outcomes[day][kind] == len(hub_ids)
        assert "removed" not in found
        assert series.outcomes[day]["removed"] == 0


def test_an_update_names_both_commits_and_the_files_that_came_went_and_changed(
    series: Series, recorded: RecordedDays
) -> None:
    for day in recorded.days[1:]:
        before, now = recorded.before(day) or {}, recorded.by_day[day]
        files: dict[str, dict[str, str]] = {}
        for row in series.rows("file_changes", day).to_pylist():
            if row["path"].lower().endswith(".gguf"):
                files.setdefault(row["hub_id"], {})[row["path"]] = row["change"]
        changes = {row["hub_id"]: row for row in series.rows("changes", day).to_pylist()}
        for hub_id in recorded.updated(day):
            row = changes[hub_id]
            assert (row["previous_sha"], row["sha"]) == (before[hub_id]["sha"], now[hub_id]["sha"])
            was, became = gguf_files(before[hub_id]), gguf_files(now[hub_id])
            expected = dict.fromkeys(became.keys() - was.keys(), "added")
            expected |= dict.fromkeys(was.keys() - became.keys(), "removed")
            expected |= {path: "replaced" for path in was.keys() & became.keys() if was[path] != became[path]}
            assert files.get(hub_id, {}) == expected, now[hub_id]["id"]
        for hub_id in recorded.added(day):
            assert set(files.get(hub_id, {})) == set(gguf_files(now[hub_id]))


def gguf_files(line: Line) -> dict[str, tuple[int, str | None]]:
    return {f["path"]: (f["size"], f["lfs"]) for f in line["files"] if f["path"].lower().endswith(".gguf")}


def test_size_and_checksum_of_every_gguf_file_equal_the_recordings(
    series: Series, recorded: RecordedDays
) -> None:
    columns = ["hub_id", "path", "size_bytes", "sha256"]
    for day, lines in recorded.by_day.items():
        found: dict[str, dict[str, tuple[int, str]]] = {}
        for row in series.rows("files", day).select(columns).to_pylist():
            if row["path"].lower().endswith(".gguf"):
                found.setdefault(row["hub_id"], {})[row["path"]] = (row["size_bytes"], row["sha256"])
        expected = {hub_id: gguf_files(line) for hub_id, line in lines.items()}
        assert found == {hub_id: files for hub_id, files in expected.items() if files}
        for row in series.rows("models", day).select(["hub_id", "gguf_files", "gguf_bytes"]).to_pylist():
            files = expected[row["hub_id"]]
            assert row["gguf_files"] == len(files)
            assert row["gguf_bytes"] == sum(size for size, _ in files.values())


# What it cost


def entries(line: Line) -> int:
    """Files and folders of a repository."""
    parents = {str(parent) for f in line["files"] for parent in Path(f["path"]).parents}
    return len(line["files"]) + len(parents - {"."})


def test_each_new_or_changed_model_is_asked_for_once_and_nothing_else_is_asked(
    series: Series, recorded: RecordedDays
) -> None:
    for day, targets in series.requests.items():
        wanted = recorded.asked_for(day)
        clock, listing, routes, revisions, trees = [], [], Counter(), Counter(), Counter()
        for target in targets:
            match unquote(urlsplit(target).path).split("/")[1:]:
                case ["api", "models"]:
                    query = parse_qs(urlsplit(target).query)
                    if query["limit"] == ["1"]:
                        clock.append(target)
                    elif query.get("filter") == ["gguf"]:
                        listing.append(target)
                    else:
                        routes.update({"search", "author", "apps"} & query.keys())
                case ["api", "models", *name, "revision", sha]:
                    revisions["/".join(name), sha] += 1
                case ["api", "models", *name, "tree", sha]:
                    trees["/".join(name), sha] += 1
                case _:
                    pytest.fail(f"{day}: {target}")
        assert len(listing) == -(-len(recorded.by_day[day]) // PAGE)
        assert revisions == dict.fromkeys(wanted, 1)
        # Below a thousand files the answer itself is trusted; from there on the tree is walked, page by page.
        assert trees == {
            key: -(-entries(line) // PAGE)
            for key, line in wanted.items()
            if not 0 < len(line["files"]) < PAGE
        }
        outcome = series.outcomes[day]
        assert len(clock) == (0 if outcome["mode"] == "full" and outcome["reason"] == "explicit" else 1)
        # Further routes belong to full syncs alone: samples, each with a cap.
        assert all(count <= {"search": 5, "author": 10, "apps": 5}[route] for route, count in routes.items())
        assert (len(routes) == 3) == (outcome["mode"] == "full")
        assert outcome["detail_requests"] == len(wanted)
        assert outcome["requests"] == len(targets)


def test_json_has_exactly_the_documented_keys_and_the_reason_of_the_mode(
    series: Series, recorded: RecordedDays
) -> None:
    modes = set()
    for day, outcome in series.outcomes.items():
        assert list(outcome) == KEYS
        assert outcome["date"] == str(day)
        assert outcome["completeness"] == 1.0
        assert outcome["duration_seconds"] > 0
        modes.add((outcome["mode"], outcome["reason"], day == recorded.days[0]))
    assert modes in (
        {("full", "explicit", True), ("full", "explicit", False)},
        {("full", "first_run", True), ("incremental", "explicit", False)},
    )


# The two modes compared


def test_both_modes_publish_the_same_rows_and_differ_only_in_what_the_files_say_of_the_sync(
    series_of: Callable[[str], Series], recorded: RecordedDays
) -> None:
    """A census carries no file names, and only full syncs walk further routes: nothing else depends on it."""
    full, incremental = series_of("full"), series_of("incremental")
    for day in recorded.days:
        for dataset in DATASETS:
            one, other = (pq.ParquetFile(s.file(dataset, day)) for s in (full, incremental))
            columns = [name for name in one.schema_arrow.names if name != "discovered_by"]
            assert one.read(columns=columns).equals(other.read(columns=columns)), (dataset, day)
            told = [file.schema_arrow.metadata for file in (one, other)]
            differing = {key for key in told[0] if told[0][key] != told[1][key]}
            assert differing <= {b"gguf_assets.mode", b"gguf_assets.reason"}
        rows = [
            {d: e["row_digest"] for d, e in s.manifest(day)["files"].items() if d != "models"}
            for s in (full, incremental)
        ]
        assert rows[0] == rows[1]
    assert {incremental.manifest(day)["capture"]["kind"] for day in recorded.days[1:]} == {"census"}
    assert {full.manifest(day)["capture"]["kind"] for day in recorded.days} == {"full"}


# What readers find


def test_pandas_and_duckdb_read_all_days_over_the_hive_folders(
    series: Series, recorded: RecordedDays
) -> None:
    expected = {str(day): len(lines) for day, lines in recorded.by_day.items()}
    models = pd.read_parquet(series.published / "models")
    assert models["date"].astype(str).value_counts().to_dict() == expected
    files = pd.read_parquet(series.published / "files", columns=["path", "date"])
    found = files["path"].str.lower().str.endswith(".gguf").groupby(files["date"].astype(str)).sum()
    assert found.to_dict() == {
        str(day): sum(len(gguf_files(line)) for line in lines.values())
        for day, lines in recorded.by_day.items()
    }
    with duckdb.connect() as database:
        for dataset in DATASETS:
            counted = dict(
                database.execute(
                    "select cast(date as varchar), count(*) from "
                    "read_parquet(?, hive_partitioning=true, union_by_name=false) group by all",
                    [f"{series.published}/{dataset}/*/*.parquet"],
                ).fetchall()
            )
            rows = {str(day): series.manifest(day)["rows"][dataset] for day in recorded.days}
            assert counted == {day: count for day, count in rows.items() if count}


def test_no_file_repeats_the_folders_key_as_a_column(series: Series, recorded: RecordedDays) -> None:
    for day in recorded.days:
        for dataset in DATASETS:
            assert "date" not in pq.ParquetFile(series.file(dataset, day)).schema_arrow.names
            pd.read_parquet(series.published / dataset / f"date={day}")


def test_manifests_name_every_file_with_its_true_digest_and_latest_the_last_day(
    series: Series, recorded: RecordedDays
) -> None:
    found = {path for path in digests(series.published) if path.endswith(".parquet")}
    named = set()
    for day in recorded.days:
        manifest = series.manifest(day)
        assert manifest["files"].keys() == DATASETS.keys()
        for dataset, entry in manifest["files"].items():
            content = (series.published / entry["name"]).read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (entry["bytes"], entry["sha256"])
            assert pq.ParquetFile(series.published / entry["name"]).metadata.num_rows == entry["rows"]
            assert manifest["rows"][dataset] == entry["rows"]
            named.add(entry["name"])
    assert found == named
    latest = json.loads((series.published / "latest.json").read_bytes())
    assert latest["date"] == str(recorded.days[-1])
    content = (series.published / latest["manifest"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == latest["sha256"]
    assert not (series.published / "journal.json").exists()


# Derived again, long after


@pytest.fixture
def silent_hub(recording: Path) -> Iterator[LoopbackHub]:
    """A Hub that fails the test when it is asked for anything."""
    with LoopbackHub(RecordedHub(recording)) as hub:
        yield hub
        assert hub.requests == []


def test_deriving_a_past_day_again_asks_the_hub_nothing_and_changes_no_byte(
    copy: Series, recorded: RecordedDays, silent_hub: LoopbackHub
) -> None:
    before, written = digests(copy.published), modified(copy.published)
    history = (copy.data / "history/syncs.jsonl").read_bytes()
    day = str(recorded.days[len(recorded.days) // 2])
    environ = environment(copy.home, silent_hub.url)
    ended = call("rederive", "--from", day, "--to", day, "--json", environ=environ)
    assert (ended.code, ended.json) == (0, {"days": {day: "identical"}, "requests": 0}), ended.stderr
    assert digests(copy.published) == before
    assert modified(copy.published) == written
    assert (copy.data / "history/syncs.jsonl").read_bytes() == history


def test_all_days_derived_again_from_captures_alone_have_the_same_bytes(
    copy: Series, recorded: RecordedDays, silent_hub: LoopbackHub
) -> None:
    before = digests(copy.published)
    shutil.rmtree(copy.published)
    shutil.rmtree(copy.data / "candidate")
    ended = call("rederive", environ=environment(copy.home, silent_hub.url))
    assert ended.code == 0, ended.stderr
    assert [line.split()[0] for line in ended.stdout.splitlines()] == [str(day) for day in recorded.days]
    assert digests(copy.published) == before


def test_status_report_and_doctor_speak_of_the_recorded_days(
    copy: Series, recorded: RecordedDays, recording: Path
) -> None:
    with LoopbackHub(RecordedHub(recording)) as hub:
        environ = environment(copy.home, hub.url)
        status = call("status", "--json", environ=environ).json
        assert [(day["day"], day["models"]) for day in status["days"]] == [
            (str(day), len(lines)) for day, lines in recorded.by_day.items()
        ]
        assert {(day["capture"], day["published"]) for day in status["days"]} == {("complete", True)}
        assert [sync["state"] for sync in status["syncs"]] == ["finished"] * len(recorded.days)
        for day in recorded.days:
            report = call("report", "--date", str(day), "--json", environ=environ).json
            assert report["date"] == str(day)
            assert f"{len(recorded.by_day[day]):,} models" in report["report"]
        assert hub.requests == []
        doctor = call("doctor", environ=environ)
        assert doctor.code == 0, doctor.stdout
        assert f"{len(recorded.days)} days, {recorded.days[0]} to {recorded.days[-1]}" in doctor.stdout
