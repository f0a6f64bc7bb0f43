"""The command line: which days it syncs, what a second sync does, and what the other commands say."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from datetime import date, time
from pathlib import Path
from unittest import mock

import pytest
import typer.main

from gguf_assets import __version__
from gguf_assets.cli import app
from gguf_assets.demo.server import LoopbackHub
from gguf_assets.demo.state import Repository, WrittenHub
from gguf_assets.orchestration.instance import open_instance
from gguf_assets_tests.calling import Catalogue, assert_clear, call
from gguf_assets_tests.hubs import gguf, hub_of, plain, repository
from gguf_assets_tests.running import environment, run

FIRST, BETWEEN, THIRD = date(2025, 8, 10), date(2025, 8, 11), date(2025, 8, 12)
NAME = "gguf-assets"
NAMES = [f"owner/model-{number}" for number in range(6)]


def models(edited: str | None = None) -> Sequence[Repository]:
    """Some models; the edited one has another commit and file."""
    files = [plain("README.md"), gguf("edited.Q8_0.gguf")]
    return [
        repository(name, files=files, sha="e" * 40) if name == edited else repository(name) for name in NAMES
    ]


DAYS = {FIRST: models(), BETWEEN: models(), THIRD: models(NAMES[0])}


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with hub_of(DAYS, day=FIRST, tick=0) as hub:
        yield hub


@pytest.fixture(scope="module")
def two_days(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """A catalogue of the first and the third day; the day between was never captured."""
    with hub_of(DAYS, day=FIRST, tick=0) as hub:
        catalogue = Catalogue(tmp_path_factory.mktemp("two"), hub)
        assert catalogue.sync("--json").json["published"]
        hub.set_day(THIRD)
        assert catalogue.sync("--json").json["updated"] == 1
    return catalogue


@pytest.fixture
def catalogue(two_days: Catalogue, hub: LoopbackHub, tmp_path: Path) -> Catalogue:
    """A copy of it, on the third day of a Hub of its own."""
    hub.set_day(THIRD)
    copied = two_days.copy(tmp_path)
    return Catalogue(copied.home, hub)


def runs(catalogue: Catalogue) -> int:
    """Number of runs that Dagster knows of."""
    with mock.patch.dict(os.environ), open_instance(catalogue.store.layout.dagster_home) as instance:
        return instance.get_runs_count()


def written(catalogue: Catalogue) -> dict[str, int]:
    """When every published Parquet file was written, in nanoseconds."""
    found = (catalogue.data / "published").rglob("*.parquet")
    return {str(path): path.stat().st_mtime_ns for path in found}


# Which days


ONLY = "the Hub shows only the present"
REFUSED = {
    "between two stored days": ("2025-08-11", "2025-08-11 cannot be captured any more", ONLY),
    "before the first day": ("2025-08-09", "2025-08-09 lies before the first day of the catalogue", ONLY),
    "after today": ("2999-01-01", "2999-01-01 is in the future"),
    "no date": ("2025-02-30", "--date '2025-02-30' is no date", "YYYY-MM-DD"),
    "no ISO date": ("20250811", "--date '20250811' is no date"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_day_that_cannot_be_captured_is_refused_without_a_request_or_a_trace(catalogue, name):
    day, *parts = REFUSED[name]
    published, history, known = catalogue.published(), catalogue.store.history.syncs(), runs(catalogue)
    for more in ([], ["--mode", "full"], ["--refetch"]):
        ended = catalogue.sync("--date", day, *more)
        assert_clear(ended, 2, *parts)
        assert ended.stdout == ""
    assert catalogue.hub.requests == []
    assert catalogue.published() == published
    assert catalogue.store.history.syncs() == history
    assert runs(catalogue) == known
    as_json = catalogue.sync("--date", day, "--json")
    assert as_json.code == 2
    assert as_json.json["published"] is False
    assert as_json.json["category"] in ("refused", "configuration")


@pytest.mark.parametrize("day", ["2025-08-09", "2025-08-11"])
def test_a_refused_past_day_names_the_days_that_can_be_rebuilt(catalogue, day):
    ended = catalogue.sync("--date", day)
    days = "Days that can be rebuilt from their captures: 2025-08-10, 2025-08-12."
    assert_clear(ended, 2, ONLY, days, "gguf-assets rederive")


def test_a_published_day_that_the_hub_has_left_is_neither_walked_nor_refetched(catalogue):
    known = runs(catalogue)
    for arguments in (["--mode", "full"], ["--mode", "incremental"], []):
        ended = catalogue.sync("--date", str(FIRST), *arguments)
        assert ended.code == 0, ended
        assert "already published" in ended.stdout
    assert_clear(catalogue.sync("--date", str(FIRST), "--refetch"), 2, "cannot be captured any more")
    assert catalogue.hub.requests == []
    assert runs(catalogue) == known


def test_a_day_that_has_not_begun_on_the_hub_is_refused(hub, tmp_path):
    hub.set_day(FIRST, time(23, 59))
    catalogue = Catalogue(tmp_path, hub)
    assert_clear(catalogue.sync("--date", str(BETWEEN)), 2, "2025-08-11 has not begun", "2025-08-10 23:59")
    assert catalogue.store.history.syncs() == []
    assert catalogue.store.captures.days() == []
    # The refused day is not the first one of the catalogue from now on.
    assert catalogue.sync("--date", str(FIRST), "--details", "none").code == 0


def test_without_a_date_the_hubs_clock_says_which_day_it_is(hub, tmp_path):
    hub.set_day(BETWEEN, time(0, 0, 1))
    catalogue = Catalogue(tmp_path, hub)
    ended = catalogue.sync("--json", "--details", "none")
    assert ended.json["date"] == str(BETWEEN)
    assert ended.json["requests"] == len(hub.requests) == 2 + 3, "and a page of each further route"


# The same day again


def test_a_published_unchanged_day_costs_nothing(catalogue):
    published, stamps, known = catalogue.published(), written(catalogue), runs(catalogue)
    named = catalogue.sync("--date", str(THIRD), "--json")
    assert (named.code, named.json["requests"], named.json["detail_requests"]) == (0, 0, 0)
    assert (named.json["models"], named.json["updated"], named.json["published"]) == (6, 1, True)
    assert catalogue.hub.requests == []
    for mode in ("auto", "incremental"):
        ended = catalogue.sync("--mode", mode)
        assert ended.code == 0
        assert f"{THIRD} is already published (6 models); nothing to do" in ended.stdout
        assert len(catalogue.hub.requests) == 1, "the Hub's clock"
    assert (catalogue.published(), written(catalogue), runs(catalogue)) == (published, stamps, known)
    assert len(catalogue.store.history.syncs()) == 2


def test_a_refetch_that_finds_the_same_leaves_the_files_untouched(catalogue):
    stamps, digests = written(catalogue), catalogue.published()
    ended = catalogue.sync("--json", "--refetch", "--date", str(THIRD))
    assert ended.code == 0, ended
    assert (ended.json["requests"], ended.json["detail_requests"]) == (1, 0)
    assert len(catalogue.hub.requests) == 1
    assert written(catalogue) == stamps
    after = catalogue.published()
    changed = {path for path in after if after[path] != digests.get(path)}
    named = {f"manifest/date={THIRD}.json", "latest.json", "latest/models.json.gz"}
    assert changed == named, "the capture is another one"
    assert catalogue.store.published.manifest(THIRD).capture.run == 2
    assert catalogue.store.captures.runs(THIRD) == [1, 2]


def test_a_refetch_of_a_day_on_which_the_hub_has_changed_since_publishes_what_is_there_now(catalogue):
    first = {path: digest for path, digest in catalogue.published().items() if str(FIRST) in path}
    catalogue.hub.source = WrittenHub({FIRST: models(), THIRD: models(NAMES[1])})
    catalogue.hub.set_day(THIRD, time(18))
    ended = catalogue.sync("--json", "--refetch")
    assert ended.code == 0, ended
    assert ended.json["updated"] == 1
    assert ended.json["detail_requests"] == 1, "the one whose commit is new"
    assert [row["model_id"] for row in catalogue.rows("changes", THIRD)] == [NAMES[1]]
    found = catalogue.models(THIRD)
    assert (found[NAMES[1]]["sha"], found[NAMES[0]]["sha"]) == ("e" * 40, repository(NAMES[0]).sha)
    assert found[NAMES[0]]["observed_at"].hour == 18
    assert {path: digest for path, digest in catalogue.published().items() if str(FIRST) in path} == first
    published = catalogue.published()
    assert catalogue.call("rederive").code == 0
    assert catalogue.published() == published


def test_a_full_sync_of_a_published_day_walks_again_and_asks_for_no_known_details(catalogue):
    ended = catalogue.sync("--json", "--mode", "full")
    assert ended.code == 0, ended
    assert (ended.json["mode"], ended.json["reason"]) == ("full", "explicit")
    assert (ended.json["requests"], ended.json["detail_requests"]) == (2 + 3, 0)
    assert not [request for request in catalogue.hub.requests if "/revision/" in request.target]
    assert catalogue.store.published.manifest(THIRD).capture.run == 2
    assert all(model["gguf_bytes"] for model in catalogue.models(THIRD).values())


def test_a_data_folder_that_was_moved_keeps_its_dagster_history_and_writes_nothing_to_the_old_place(
    catalogue, tmp_path
):
    known = runs(catalogue)
    (tmp_path / "moved").mkdir()
    catalogue.data.rename(tmp_path / "moved" / "data")
    moved = Catalogue(tmp_path / "moved", catalogue.hub)
    assert moved.sync("--refetch").code == 0
    assert runs(moved) == known + 1
    assert not catalogue.data.exists()


# What the other commands say


def test_status_lists_days_gaps_and_syncs(catalogue):
    text = catalogue.call("status").stdout
    for part in (str(FIRST), str(THIRD), "first_run", "recent", "complete", "finished"):
        assert part in text
    assert f"not published: {BETWEEN}" in text
    facts = catalogue.call("status", "--json").json
    assert {"data", "days", "gaps", "syncs", "writing"} <= facts.keys()
    assert facts["gaps"] == [str(BETWEEN)]
    assert facts["writing"] is None
    assert [(day["day"], day["mode"], day["models"], day["published"]) for day in facts["days"]] == [
        (str(FIRST), "full", 6, True),
        (str(THIRD), "incremental", 6, True),
    ]
    assert [(sync["day"], sync["state"], sync["published"]) for sync in facts["syncs"]] == [
        (str(FIRST), "finished", True),
        (str(THIRD), "finished", True),
    ]
    assert str(FIRST) not in catalogue.call("status", "--last", "1").stdout.partition("not published")[0]
    assert catalogue.hub.requests == []


def test_report_prints_the_last_day_or_the_one_asked_for(catalogue):
    last = catalogue.call("report")
    assert last.stdout.startswith(f"# GGUF catalogue, {THIRD}")
    assert "| updated | 1 |" in last.stdout
    assert last.stdout.strip() == (catalogue.data / f"reports/date={THIRD}/report.md").read_text().strip()
    first = catalogue.call("report", "--date", str(FIRST), "--json").json
    assert list(first) == ["date", "report", "page"]
    assert first["report"].startswith(f"# GGUF catalogue, {FIRST}")
    assert_clear(catalogue.call("report", "--date", str(BETWEEN)), 2, f"{BETWEEN} is not published")
    (catalogue.data / f"reports/date={FIRST}/report.md").unlink()
    missing = catalogue.call("report", "--date", str(FIRST))
    assert_clear(missing, 1, "is missing", f"gguf-assets rederive --from {FIRST} --to {FIRST}")
    assert catalogue.call("rederive", "--from", str(FIRST), "--to", str(FIRST)).code == 0
    assert catalogue.call("report", "--date", str(FIRST)).stdout.startswith(f"# GGUF catalogue, {FIRST}")


def test_doctor_finds_a_catalogue_in_good_health(catalogue):
    ended = catalogue.call("doctor")
    assert ended.code == 0, ended
    assert ended.stdout.endswith("Ready to sync.\n")
    for part in (
        __version__,
        str(catalogue.data),
        "2025-08-12 12:00 UTC",
        "2 days, 2025-08-10 to 2025-08-12",
    ):
        assert part in ended.stdout
    facts = catalogue.call("doctor", "--json").json
    assert list(facts) == ["healthy", "lines"]
    assert facts["healthy"] is True
    assert {line["state"] for line in facts["lines"]} == {"ok"}


def test_doctor_says_what_is_in_the_way_and_ends_with_code_1(catalogue):
    catalogue.hub.stop()
    for arguments in (["doctor"], ["doctor", "--json"]):
        ended = catalogue.call(*arguments)
        assert ended.code == 1
        assert ended.stderr == ""
        assert "cannot be reached" in ended.stdout
    facts = ended.json
    assert facts["healthy"] is False
    assert [line["topic"] for line in facts["lines"] if line["state"] == "problem"] == ["Hub"]


def test_in_an_empty_folder_every_command_says_how_to_begin_and_leaves_nothing_behind(hub, tmp_path):
    environ = environment(tmp_path, hub.url)
    status = call("status", environ=environ)
    assert (status.code, "Begin with: gguf-assets sync" in status.stdout) == (0, True)
    assert call("status", "--json", environ=environ).json["days"] == []
    assert_clear(call("report", environ=environ), 2, "No day is published yet", "gguf-assets sync")
    doctor = call("doctor", environ=environ)
    assert (doctor.code, "no day is published yet" in doctor.stdout) == (0, True)
    assert list(tmp_path.iterdir()) == []
    nothing = call("rederive", environ=environ)
    assert (nothing.code, "Nothing to do" in nothing.stdout) == (0, True)


def commands() -> list[list[str]]:
    """Every command and group of the command line."""
    found: list[list[str]] = [[]]
    waiting = [([], typer.main.get_command(app))]
    while waiting:
        path, command = waiting.pop()
        for name, below in getattr(command, "commands", {}).items():
            found.append([*path, name])
            waiting.append(([*path, name], below))
    return found


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_help_tells_what_a_command_does(path, tmp_path):
    for option in ("--help", "-h"):
        ended = call(*path, option, environ=environment(tmp_path, "http://127.0.0.1:9"))
        assert (ended.code, ended.stderr) == (0, "")
        assert f"Usage: {' '.join([NAME, *path])} " in ended.stdout
        assert len(ended.stdout.splitlines()) > 5
    assert list(tmp_path.iterdir()) == []


def test_the_version_is_that_of_the_package(tmp_path):
    ended = call("--version", environ=environment(tmp_path, "http://127.0.0.1:9"))
    assert (ended.code, ended.stdout) == (0, f"gguf-assets {__version__}\n")


# Settings


def test_an_unknown_mode_in_the_environment_is_refused_with_the_modes_there_are(hub, tmp_path):
    ended = run("sync", environ=environment(tmp_path, hub.url, SYNC_MODE="fulll"))
    assert_clear(ended, 2, "Mode must be one of auto, incremental, full", "'fulll'", "SYNC_MODE")
    assert hub.requests == []
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_environment_is_said_in_the_documented_two_lines(hub, tmp_path):
    environ = environment(tmp_path, hub.url) | {"SYNC_ENVIRONMENT": "prod"}
    for command in ("sync", "rederive", "status", "report"):
        ended = call(command, environ=environ)
        assert ended.code == 2
        assert ended.stderr.splitlines()[:2] == [
            "Error: Invalid environment: prod",
            "Valid environments: development, staging, production, testing",
        ]
    assert hub.requests == []
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback_and_changes_neither_message_nor_code(hub, tmp_path):
    environ = environment(tmp_path, hub.url)
    silent, shown = (call(*more, "sync", "--date", "soon", environ=environ) for more in ([], ["--debug"]))
    assert (silent.code, shown.code) == (2, 2)
    assert "Traceback" not in silent.stderr
    assert shown.stderr.startswith("Traceback")
    assert shown.stderr.endswith(silent.stderr)


def test_json_of_a_refusal_is_one_object_on_the_last_line(hub, tmp_path):
    environ = environment(tmp_path, hub.url) | {"SYNC_ENVIRONMENT": "prod"}
    ended = call("sync", "--json", environ=environ)
    assert ended.code == 2
    (line,) = ended.stdout.splitlines()
    told = json.loads(line)
    assert list(told) == ["error", "remedy", "category", "published"]
    assert (told["category"], told["published"]) == ("configuration", False)
