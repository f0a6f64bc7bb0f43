"""The dry run: it says what a sync then does, asks for no more than the Hub's clock and writes nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, time
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import pytest

from gguf_assets.demo.faults import Fault, FaultKind
from gguf_assets.demo.server import LoopbackHub
from gguf_assets.demo.state import Repository
from gguf_assets.orchestration.build import build_defs
from gguf_assets.orchestration.instance import open_instance
from gguf_assets.store.lock import WriterLock
from gguf_assets_tests.calling import Catalogue, assert_clear, call, digests, failure_text
from gguf_assets_tests.hubs import gguf, hub_of, plain, repository
from gguf_assets_tests.running import Ended, environment

FIRST, SECOND, THIRD = date(2025, 8, 10), date(2025, 8, 11), date(2025, 8, 12)
NAMES = [f"owner/model-{number}" for number in range(6)]
PAGES = "filter=gguf&sort="
"""Part of every request for a page of the walk, and of no other."""


def models(*edited: str) -> Sequence[Repository]:
    """Some models; the edited ones have another commit."""
    files = [plain("README.md"), gguf("edited.Q8_0.gguf")]
    return [
        repository(name, files=files, sha=f"{number + 1:x}" * 40) if name in edited else repository(name)
        for number, name in enumerate(NAMES)
    ]


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    days = {FIRST: models(), SECOND: models(), THIRD: models()}
    with hub_of(days, day=FIRST, tick=0) as hub:
        yield hub


@pytest.fixture(scope="module")
def first_day(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """A catalogue whose first day is published, with the details of two of six models."""
    catalogue = Catalogue(tmp_path_factory.mktemp("first"), hub)
    hub.set_day(FIRST)
    assert catalogue.sync("--details", "2").code == 0
    return catalogue


@pytest.fixture
def catalogue(first_day: Catalogue, tmp_path: Path) -> Catalogue:
    """A copy of it, on the second day."""
    first_day.hub.set_day(SECOND)
    return first_day.copy(tmp_path)


def everything(home: Path) -> dict[str, str]:
    """Digests of all files below a folder, and all its folders."""
    return digests(home) | {str(path): "folder" for path in home.rglob("*") if path.is_dir()}


def dry(catalogue: Catalogue, *arguments: str, requests: int = 1, **environ: str) -> Any:
    """Return what a dry run says, having sent so many requests and written nothing."""
    before = everything(catalogue.home)
    catalogue.hub.clear_requests()
    ended = catalogue.call("sync", "--dry-run", "--json", *arguments, **environ)
    assert everything(catalogue.home) == before
    assert ended.code == 0, ended
    assert len(ended.stdout.splitlines()) == 1
    assert ended.json["requests"] == len(catalogue.hub.requests) == requests
    assert ended.json["dry_run"] is True
    return ended.json


def part(told: Mapping[str, Any], name: str) -> Any:
    """One part of the expected requests."""
    return {entry["name"]: entry for entry in told["expected_requests_by_part"]}[name]


def sent(hub: LoopbackHub, text: str) -> int:
    """How many requests with this text in their address the Hub has seen."""
    return sum(text in request.target for request in hub.requests)


def clear_of(ended: Ended) -> str:
    return ended.stdout + ended.stderr


# The plan is what a sync then does


OPTIONS: dict[str, tuple[list[str], dict[str, str], tuple[str, str, str]]] = {
    # name: arguments, environment, (mode, reason, kind)
    "as the settings decide": ([], {}, ("incremental", "recent", "census")),
    "full": (["--mode", "full"], {}, ("full", "explicit", "full")),
    "incremental": (["--mode", "incremental"], {}, ("incremental", "explicit", "census")),
    "forced": (["--force", "--mode", "incremental"], {}, ("full", "forced", "full")),
    "threshold": ([], {"FULL_SYNC_THRESHOLD_HOURS": "23"}, ("full", "threshold", "full")),
    "a widened window": ([], {"INCREMENTAL_WINDOW_HOURS": "6"}, ("incremental", "recent", "census")),
    "no census": (
        ["--date", str(SECOND)],
        {"GGUF_SYNC__SYNC_BEHAVIOR__CENSUS": "false"},
        ("incremental", "recent", "window"),
    ),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_the_plan_is_what_a_sync_then_does(catalogue, name):
    arguments, environ, decision = OPTIONS[name]
    told = dry(catalogue, *arguments, **environ)
    assert (told["date"], told["action"]) == (str(SECOND), "walk")
    assert (told["mode"], told["reason"], told["kind"]) == decision
    real = catalogue.sync(*arguments, **environ)
    assert real.code == 0, real
    plan = catalogue.store.captures.latest(SECOND).plan
    assert (plan.mode, plan.reason, plan.kind) == decision
    assert plan.reason_text == told["reason_text"]
    assert list(plan.notes) == told["notes"][: len(plan.notes)]
    turns = "It turns full if the listing has 10% more or fewer models than the 6 published"
    assert (turns in told["notes"]) == (decision[1:] == ("recent", "census"))
    assert (plan.window_hours, plan.window_start) == (told["window_hours"], told["window_start"])
    assert told["log"]
    for line in told["log"]:
        assert line in clear_of(real)
    if decision[2] != "window":
        assert part(told, "listing")["requests"] == sent(catalogue.hub, PAGES) == 1
    if "--date" in arguments:
        assert sent(catalogue.hub, "?limit=1") == 0, "the hour decides nothing, and the first page tells it"
        assert "clock" not in [entry["name"] for entry in told["expected_requests_by_part"]]
    else:
        assert part(told, "clock")["requests"] == sent(catalogue.hub, "?limit=1") == 1


def test_on_an_unchanged_hub_the_expected_pages_of_the_listing_are_those_of_the_sync(tmp_path):
    many = [repository(f"owner/model-{number:04d}") for number in range(2_003)]
    with hub_of({FIRST: many, SECOND: many}, day=FIRST, tick=0) as hub:
        catalogue = Catalogue(tmp_path, hub)
        assert catalogue.sync("--details", "none").code == 0
        hub.set_day(SECOND)
        for arguments in ([], ["--mode", "full"]):
            told = dry(catalogue, "--details", "none", *arguments)
            assert part(told, "details")["requests"] == 0
            assert catalogue.sync("--details", "none", *arguments).code == 0
            assert part(told, "listing")["requests"] == sent(hub, PAGES) == 3


def test_a_first_run_is_planned_without_leaving_a_trace(hub, tmp_path):
    hub.set_day(FIRST)
    catalogue = Catalogue(tmp_path, hub)
    told = dry(catalogue)
    assert list(tmp_path.iterdir()) == []
    assert (told["mode"], told["reason"], told["window_hours"]) == ("full", "first_run", None)
    assert told["hub_time"].startswith(str(FIRST))
    assert part(told, "listing")["requests"] is None, "nobody knows how many models there are"
    assert part(told, "details")["requests"] == 2000, "what the budget allows"
    assert part(told, "routes")["requests"] == 5 + 10 + 5
    assert "absent" not in [entry["name"] for entry in told["expected_requests_by_part"]]
    assert (told["expected_requests"], told["expected_requests_at_least"]) == (None, 1 + 20 + 2000)
    assert told["expected_seconds"] is None
    assert part(dry(catalogue, "--details", "all"), "details")["requests"] is None
    real = catalogue.sync("--json", "--details", "none").json
    assert (real["mode"], real["reason"]) == ("full", "first_run")


def test_after_a_failed_sync_the_plan_names_the_failure_as_the_sync_then_does(catalogue):
    down = Fault(FaultKind.STATUS, path=PAGES, count=None)
    assert catalogue.sync(fault=down, MAX_RETRIES="0").code == 1
    told = dry(catalogue)
    assert (told["mode"], told["reason"]) == ("full", "last_failed")
    assert "answered 503" in told["reason_text"]
    assert catalogue.sync("--json").json["reason"] == "last_failed"
    assert catalogue.store.captures.latest(SECOND).plan.reason_text == told["reason_text"]


def test_an_unfinished_walk_is_gone_on_with(tmp_path):
    with hub_of([repository(name) for name in NAMES], day=FIRST, tick=0, page_size=2) as hub:
        catalogue = Catalogue(tmp_path, hub, MAX_RETRIES="0")
        broken = Fault(FaultKind.STATUS, path=PAGES, nth=3, count=None)
        assert catalogue.sync("--details", "4", fault=broken).code == 1
        told = dry(catalogue, "--date", str(FIRST), requests=0)
        assert (told["action"], told["mode"], told["reason"]) == ("go on", "full", "first_run")
        assert "run 01" in told["log"][1]
        assert "after 2 pages" in told["log"][1]
        assert part(told, "details")["requests"] == 4, "the limit it was begun with"
        assert part(dry(catalogue, "--details", "3"), "details")["requests"] == 3
        real = catalogue.sync("--date", str(FIRST))
        assert real.code == 0
        for line in told["log"]:
            assert line in clear_of(real)
        assert sent(hub, PAGES) == 1
        assert sent(hub, "/revision/") == 4
        assert catalogue.store.captures.runs(FIRST) == [1]


def test_an_unfinished_details_phase_is_counted_without_touching_its_spool(tmp_path):
    ten = [repository(f"owner/model-{number}") for number in range(10)]
    with hub_of(ten, day=FIRST, tick=0) as hub:
        catalogue = Catalogue(tmp_path, hub, MAX_RETRIES="0")
        down = Fault(FaultKind.RESET, path="/revision/", nth=3, count=None)
        assert catalogue.sync(fault=down).code == 1
        (spool,) = (catalogue.data / "spool").glob("details-*")
        with spool.open("ab") as file:
            file.write(b'{"hub_id": "torn')  # what a kill leaves; whoever goes on cuts it off
        told = dry(catalogue)
        assert told["action"] == "go on"
        assert [entry["name"] for entry in told["expected_requests_by_part"]] == ["clock", "details"]
        assert part(told, "details")["requests"] == 10 - 2
        assert told["expected_requests"] == 1 + 8
        assert catalogue.sync().code == 0
        assert sent(hub, "/revision/") == 8


def test_a_stored_capture_is_used_without_a_request(catalogue):
    assert catalogue.sync("--details", "none").code == 0
    shutil.rmtree(catalogue.data / "published" / "manifest")  # the day is not published any more
    shutil.rmtree(catalogue.data / "published" / "models")
    told = dry(catalogue, "--date", str(SECOND), requests=0)
    assert (told["action"], told["mode"], told["reason"]) == ("use stored capture", "incremental", "recent")
    assert (told["expected_requests"], told["expected_seconds"]) == (0, 0.0)
    assert told["log"] == [f"Nothing is fetched: {SECOND} has a complete capture, run 01"]
    real = catalogue.sync("--date", str(SECOND))
    assert told["log"][0] in clear_of(real)
    assert catalogue.hub.requests == []


def test_a_published_day_has_nothing_to_do_unless_it_is_walked_again(catalogue):
    assert catalogue.sync("--details", "none").code == 0
    told = dry(catalogue, "--date", str(SECOND), requests=0)
    assert (told["action"], told["expected_requests"]) == ("nothing to do", 0)
    assert (told["mode"], told["reason"], told["window_hours"]) == ("incremental", "recent", None)
    assert "already published (6 models)" in told["reason_text"]
    assert dry(catalogue)["expected_requests"] == 1, "the Hub's clock"
    for again in (["--refetch"], ["--mode", "full"], ["--force"]):
        told = dry(catalogue, *again)
        assert told["action"] == "walk"
        assert part(told, "details")["requests"] == 4, "nothing has changed; four are not known yet"
    assert catalogue.sync("--json", "--refetch").json["detail_requests"] == 4


def test_force_makes_a_sync_full_whatever_mode_and_history_say(catalogue):
    real = catalogue.sync("--force", "--mode", "incremental", "--json", SYNC_MODE="incremental")
    assert (real.code, real.json["mode"], real.json["reason"]) == (0, "full", "forced")
    again = catalogue.sync("--force", "--json", "--date", str(SECOND))
    assert (again.json["mode"], again.json["reason"]) == ("full", "forced")
    assert catalogue.store.captures.runs(SECOND) == [1, 2], "a published day, too, is walked again"


# What it costs


def test_expected_details_are_the_backlog_and_what_usually_changes_within_the_budget(catalogue):
    told = part(dry(catalogue), "details")
    assert told["requests"] is None, "nobody knows yet how many change in a day"
    assert told["most"] == 2000
    assert part(dry(catalogue, "--details", "3"), "details")["requests"] == 3, "four are waiting"
    assert part(dry(catalogue, "--details", "none"), "details")["requests"] == 0
    assert catalogue.sync("--details", "1").code == 0
    catalogue.hub.set_day(THIRD)
    told = dry(catalogue)
    assert part(told, "details")["requests"] == 3, "no model changes in a day, and three are left"
    assert part(told, "absent")["requests"] == 0
    assert part(told, "absent")["most"] == 500 + 10 + 1, "a control before, after, and every 50 models"
    assert told["expected_requests"] == 1 + 1 + 0 + 3
    real = catalogue.sync("--json").json
    assert (real["requests"], real["detail_requests"]) == (5, 3)


def test_expected_changes_are_those_of_a_usual_day_times_the_days_since(tmp_path):
    later = date(2025, 8, 14)
    days = {FIRST: models(), SECOND: models(*NAMES[:2]), later: models(*NAMES[:2])}
    with hub_of(days, day=FIRST, tick=0) as hub:
        catalogue = Catalogue(tmp_path, hub)
        assert catalogue.sync().code == 0
        hub.set_day(SECOND)
        assert catalogue.sync("--json").json["updated"] == 2
        hub.set_day(later)
        told = dry(catalogue)
        assert part(told, "details")["requests"] == 2 * 3
        assert "as on the last comparable day" in part(told, "details")["basis"]
        window = dry(catalogue, GGUF_SYNC__SYNC_BEHAVIOR__CENSUS="false")
        assert window["kind"] == "window"
        assert part(window, "listing")["requests"] == 1
        assert "absent" not in [entry["name"] for entry in window["expected_requests_by_part"]]


def test_the_time_follows_from_the_rates_in_force_or_from_the_pace_so_far(catalogue):
    assert catalogue.sync("--details", "none").code == 0
    catalogue.hub.set_day(THIRD)
    asked = ["--details", "4"]
    # The clock, a page and four details.
    assert dry(catalogue, *asked)["expected_requests"] == 6
    assert dry(catalogue, *asked, REQUESTS_PER_SECOND="1.5")["expected_seconds"] == 4.0
    both = dry(catalogue, *asked, REQUESTS_PER_SECOND="1.5", REQUESTS_PER_HOUR="5")
    assert both["expected_seconds"] == pytest.approx(3600 + 1 / 1.5, abs=0.1), "the sixth waits an hour"
    pace = [sync.figures for sync in catalogue.store.history.syncs()]
    requests = sum(figures["requests"] for figures in pace)
    seconds = sum(figures["duration_seconds"] for figures in pace)
    told = dry(catalogue, *asked)
    assert told["expected_seconds"] == pytest.approx(6 * seconds / requests, abs=0.1)
    assert "pace of the last 2 syncs" in told["expected_seconds_basis"]


def test_thirty_minutes_at_the_rate_in_force_bound_the_details(catalogue):
    told = part(dry(catalogue, "--details", "all", REQUESTS_PER_SECOND="0.002"), "details")
    assert (told["requests"], told["most"]) == (3, 3)
    assert "30 minutes" in told["basis"]


# Refusals are those of a sync


REFUSED = {
    "a past day without a capture": (["--date", str(FIRST)], {}, "cannot be captured any more"),
    "a future day": (["--date", "2999-01-01"], {}, "is in the future"),
    "a day before the first": (["--date", "2025-08-09"], {}, "lies before the first day"),
    "no date": (["--date", "soon"], {}, "is no date"),
    "no number": (["--details", "few"], {}, "details='few' is not allowed"),
    "no mode": (["--mode", "half"], {}, "--mode 'half' is not allowed"),
    "no token": (
        [],
        {"SYNC_ENVIRONMENT": "production", "HF_ENDPOINT": "https://huggingface.co"},
        "token is required",
    ),
    "no executor": ([], {"GGUF_ASSETS_EXECUTOR": "magic"}, "is no executor"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_sync_refuses_a_dry_run_refuses_with_the_same_words(catalogue, name):
    arguments, environ, text = REFUSED[name]
    if name.startswith("a past day"):
        assert catalogue.sync("--details", "none").code == 0
        shutil.rmtree(catalogue.data / "captures" / f"date={FIRST}")
        shutil.rmtree(catalogue.data / "published")
        environ = {"GGUF_ASSETS_START_DATE": str(FIRST)}
    before = everything(catalogue.home)
    catalogue.hub.clear_requests()
    refused = catalogue.call("sync", "--dry-run", *arguments, **environ)
    assert_clear(refused, 2, text)
    assert catalogue.hub.requests == []
    assert everything(catalogue.home) == before
    real = catalogue.sync(*arguments, **environ)
    assert (real.code, real.stderr) == (2, refused.stderr)


def test_a_day_that_has_not_begun_on_the_hub_is_refused_where_the_clock_is_needed(catalogue):
    catalogue.hub.set_day(SECOND, time(23, 59))
    refused = catalogue.call("sync", "--dry-run", "--date", str(THIRD))
    assert_clear(refused, 2, f"{THIRD} has not begun", "23:59")
    assert catalogue.sync("--date", str(THIRD)).stderr == refused.stderr


def test_a_named_day_that_is_full_whatever_the_time_costs_no_request_and_says_so(catalogue):
    told = dry(catalogue, "--date", str(SECOND), "--mode", "full", requests=0)
    assert (told["mode"], told["hub_time"]) == ("full", None)
    assert "clock" not in [entry["name"] for entry in told["expected_requests_by_part"]]
    assert told["notes"] == [
        f"The Hub's clock was not asked: a sync is refused unless the Hub shows {SECOND}"
    ]


def test_a_hub_out_of_reach_ends_it_with_code_1_and_no_trace_of_a_failed_sync(catalogue):
    before = everything(catalogue.home)
    catalogue.hub.faults[:] = [Fault(FaultKind.STATUS, count=None)]
    try:
        ended = catalogue.call("sync", "--dry-run", MAX_RETRIES="0")
    finally:
        catalogue.hub.faults.clear()
    assert_clear(ended, 1, "answered 503")
    assert everything(catalogue.home) == before


def test_another_writer_and_an_interrupted_publishing_are_named(catalogue):
    catalogue.store.layout.journal.write_text("{}")
    with WriterLock(catalogue.store.layout).held(command="a test"):
        notes = dry(catalogue)["notes"]
    assert "`a test`" in notes[-2]
    assert "completes the publishing that was interrupted" in notes[-1]


# The setting, and how it looks


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_the_setting_makes_every_sync_a_dry_run_and_says_why(catalogue, arguments):
    before = everything(catalogue.home)
    ended = catalogue.call("sync", *arguments, DRY_RUN="true")
    assert ended.code == 0, ended
    assert everything(catalogue.home) == before
    assert "dry_run is on (environment variable DRY_RUN)" in ended.stdout
    if arguments:
        assert (ended.json["dry_run"], ended.json["mode"]) == (True, "incremental")
    assert catalogue.call("sync", "--dry-run", DRY_RUN="true").stdout.startswith(
        "Dry run, nothing is written: --dry-run"
    )


def test_people_read_decision_reason_estimates_and_what_they_are_based_on(catalogue):
    text = catalogue.call("sync", "--dry-run", REQUESTS_PER_SECOND="2").stdout
    for expected in (
        "nothing is written",
        f"{SECOND}: walk, incremental (recent)",
        f"Performing incremental sync (last sync: 24.0h ago): built on {FIRST}",
        "Filtering models modified after 2025-08-09T12:00:00+00:00",
        "Estimates",
        "unknown",
        "Expected requests: unknown, at least 2",
    ):
        assert expected in text
    known = catalogue.call("sync", "--dry-run", "--date", str(FIRST)).stdout
    assert "nothing to do" in known


# The job


def planned(catalogue: Catalogue, **config: Any) -> tuple[dg.ExecuteInProcessResult, dict[str, Any]]:
    """Run the job `sync_plan` in the catalogue's own instance; return the result and what it shows."""
    with (
        mock.patch.dict(os.environ, catalogue.environ, clear=True),
        open_instance(catalogue.store.layout.dagster_home) as instance,
    ):
        result = (
            build_defs()
            .resolve_job_def("sync_plan")
            .execute_in_process(
                instance=instance,
                run_config={
                    "ops": {"plan_next_sync": {"config": config}},
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                },
                raise_on_error=False,
            )
        )
        lines = [entry.user_message for entry in instance.all_logs(result.run_id)]
    outputs = [event for event in result.all_events if event.is_successful_output]
    metadata = outputs[0].step_output_data.metadata if outputs else {}
    return result, {name: value.value for name, value in metadata.items()} | {"log lines": lines}


def of_the_data(catalogue: Catalogue) -> dict[str, str]:
    """Digests of everything but Dagster's own folder and the log of runs."""
    found = digests(catalogue.data)
    return {path: digest for path, digest in found.items() if not path.startswith(("dagster/", "logs/"))}


def test_the_job_shows_the_same_plan_in_the_ui_and_materialises_nothing(catalogue):
    told = dry(catalogue)
    before = of_the_data(catalogue)
    result, shown = planned(catalogue)
    assert result.success
    assert not [event for event in result.all_events if event.is_step_materialization]
    assert of_the_data(catalogue) == before
    assert (shown["date"], shown["mode"], shown["reason_code"]) == (str(SECOND), "incremental", "recent")
    for name in ("action", "kind", "window_hours", "window_start", "expected_requests_at_least", "requests"):
        assert shown[name] == told[name]
    assert "expected_requests" not in shown, "unknown is left out, not zero"
    assert "| listing | 1 | unknown |" in shown["plan"]
    assert "| details | unknown | 2,000 |" in shown["plan"]
    for line in told["log"]:
        assert line in shown["log lines"]


def test_the_job_takes_the_options_of_a_sync_and_a_day(catalogue):
    _, shown = planned(catalogue, date=str(SECOND), force=True, mode="incremental", details="3")
    assert (shown["mode"], shown["reason_code"], shown["requests"]) == ("full", "forced", 0)
    assert "| details | 3 | 3 |" in shown["plan"]
    for config, text in (
        ({"date": "soon"}, "date='soon' is no date"),
        ({"date": "2025-08-09"}, "lies before the first day"),
        ({"details": "few"}, "details='few' is not allowed"),
    ):
        result, _ = planned(catalogue, **config)
        assert not result.success
        assert text in failure_text(result)


def test_json_of_a_refused_dry_run_is_one_object(hub, tmp_path):
    environ = environment(tmp_path, hub.url)
    ended = call("sync", "--dry-run", "--json", "--date", "2999-01-01", environ=environ)
    assert ended.code == 2
    (line,) = ended.stdout.splitlines()
    assert json.loads(line)["category"] == "refused"
    assert list(tmp_path.iterdir()) == []
