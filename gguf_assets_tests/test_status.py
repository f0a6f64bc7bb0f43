"""What `status` says: syncs, gaps, days that can be rebuilt, the next sync, schedules; it writes nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import time_machine
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
)

from gguf_assets.demo.faults import Fault, FaultKind
from gguf_assets.demo.server import LoopbackHub
from gguf_assets.demo.state import Repository
from gguf_assets.orchestration.instance import open_instance
from gguf_assets.store.lock import WriterLock
from gguf_assets_tests.calling import Catalogue, digests
from gguf_assets_tests.hubs import hub_of, repository

FIRST, SECOND, FOURTH, FIFTH = (date(2025, 8, day) for day in (10, 11, 13, 14))
GAP = date(2025, 8, 12)
NOON = 12
"""The hour at which the Hub is looked at."""


def models() -> Sequence[Repository]:
    return [repository(f"owner/model-{number}") for number in range(5)]


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    days = dict.fromkeys((FIRST, SECOND, FOURTH, FIFTH), models())
    with hub_of(days, day=FIRST, tick=0, page_size=2) as hub:
        yield hub


@pytest.fixture(scope="module")
def three_days(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """A catalogue of three days with a gap before the last one."""
    catalogue = Catalogue(tmp_path_factory.mktemp("three"), hub)
    for day in (FIRST, SECOND, FOURTH):
        hub.set_day(day)
        assert catalogue.sync().code == 0
    return catalogue


@pytest.fixture
def catalogue(three_days: Catalogue, tmp_path: Path) -> Catalogue:
    three_days.hub.set_day(FIFTH)
    return three_days.copy(tmp_path, MAX_RETRIES="0")


def everything(home: Path) -> dict[str, str]:
    """Digests of all files below a folder, and all its folders."""
    return digests(home) | {str(path): "folder" for path in home.rglob("*") if path.is_dir()}


def status(catalogue: Catalogue, *, at: datetime | None = None, **environ: str) -> tuple[str, Any]:
    """Return what `status` prints for people and for machines, having asked and written nothing."""
    before = everything(catalogue.home)
    catalogue.hub.clear_requests()
    with time_machine.travel(at or noon(FIFTH), tick=False):
        texts = [catalogue.call("status", *more, **environ) for more in ([], ["--json"])]
    assert [ended.code for ended in texts] == [0, 0], texts
    assert everything(catalogue.home) == before
    assert catalogue.hub.requests == []
    return texts[0].stdout, texts[1].json


def noon(day: date, hours: float = 0) -> datetime:
    return datetime(day.year, day.month, day.day, NOON, tzinfo=UTC) + timedelta(hours=hours)


def plan(told: Mapping[str, Any]) -> tuple[str, str, str, str]:
    following = told["next_sync"]["plan"]
    return following["date"], following["action"], following["mode"], following["reason"]


def test_an_empty_store_says_how_to_begin_and_what_the_first_sync_does(hub, tmp_path):
    text, told = status(Catalogue(tmp_path, hub))
    assert list(tmp_path.iterdir()) == []
    assert "Begin with: gguf-assets sync" in text
    assert f"Next sync ({FIFTH} 12:00 UTC, this machine's clock): {FIFTH}, walk, full" in text
    assert "no day has been published yet" in text
    assert plan(told) == (str(FIFTH), "walk", "full", "first_run")
    assert (told["days"], told["gaps"], told["syncs"], told["unfinished"]) == ([], [], [], [])
    assert told["rebuildable"] == {"count": 0, "first": None, "last": None, "last_days": []}


def test_days_gaps_what_can_be_rebuilt_and_how_the_last_syncs_went(catalogue):
    shutil.rmtree(catalogue.data / "captures" / f"date={SECOND}")
    text, told = status(catalogue)
    assert told["gaps"] == [str(GAP)]
    assert f"Gaps, days in between that are not published: {GAP}" in text
    assert told["rebuildable"] == {
        "count": 2,
        "first": str(FIRST),
        "last": str(FOURTH),
        "last_days": [str(FIRST), str(FOURTH)],
    }
    assert f"can be rebuilt from their captures: {FIRST}, {FOURTH}\n" in text
    syncs = [(sync["day"], sync["trigger"], sync["mode"], sync["reason"]) for sync in told["syncs"]]
    assert syncs == [
        (str(FIRST), "command line", "full", "first_run"),
        (str(SECOND), "command line", "incremental", "recent"),
        (str(FOURTH), "command line", "incremental", "recent"),
    ]
    # The clock and three pages; on the first day five details and the routes besides.
    assert [sync["figures"]["requests"] for sync in told["syncs"][1:]] == [4, 4]
    for sync in told["syncs"]:
        assert f"{sync['figures']['duration_seconds']:.1f} s" in text
    assert "command line" in text
    assert "…" not in text, "no word is cut off"
    shown = catalogue.call("status", "--last", "1").stdout
    assert "first_run" not in shown
    assert "recent" in shown


def test_without_a_gap_the_days_that_can_be_rebuilt_are_a_range(catalogue):
    shutil.rmtree(catalogue.data / "captures" / f"date={FOURTH}")
    assert f"can be rebuilt from their captures: {FIRST} to {SECOND} (2 days)" in status(catalogue)[0]


def test_the_next_sync_is_planned_by_this_machines_clock_and_is_what_then_happens(catalogue):
    text, told = status(catalogue)
    assert told["next_sync"]["clock"] == noon(FIFTH).isoformat()
    assert told["next_sync"]["clock_source"] == "this machine's clock"
    assert plan(told) == (str(FIFTH), "walk", "incremental", "recent")
    assert f"Performing incremental sync (last sync: 24.0h ago): built on {FOURTH}" in text
    expected = told["next_sync"]["plan"]
    real = catalogue.sync("--json").json
    assert (real["date"], real["mode"], real["reason"]) == (str(FIFTH), "incremental", "recent")
    assert expected["window_hours"] == catalogue.store.captures.latest(FIFTH).plan.window_hours
    assert plan(status(catalogue)[1]) == (str(FIFTH), "nothing to do", "incremental", "recent")


def test_a_machine_whose_clock_is_behind_plans_by_the_hubs(catalogue):
    text, told = status(catalogue, at=noon(FOURTH, hours=-1))
    assert told["next_sync"]["clock"] == noon(FOURTH).isoformat()
    assert "the Hub's clock as it was last seen" in told["next_sync"]["clock_source"]
    assert f"Next sync ({FOURTH} 12:00 UTC, the Hub's clock as it was last seen" in text
    assert plan(told)[1] == "nothing to do"
    text, told = status(catalogue, at=noon(GAP))
    assert told["next_sync"]["plan"] is None
    assert f"{FOURTH} is in the future" in told["next_sync"]["refusal"]
    assert f"none is possible. {FOURTH} is in the future: the last day is {GAP}" in text


def test_a_failed_sync_is_shown_with_its_reason_and_decides_the_next_one(catalogue):
    down = Fault(FaultKind.STATUS, path="filter=gguf", count=None)
    assert catalogue.sync(fault=down).code == 1
    text, told = status(catalogue)
    last = told["syncs"][-1]
    assert (last["day"], last["state"], last["published"]) == (str(FIFTH), "failed", False)
    assert f"failed: {FIFTH}: {last['error_message']}" in text.replace("\n", " ").replace("  ", " ")
    assert plan(told) == (str(FIFTH), "walk", "full", "last_failed")
    assert told["unfinished"] == []


def test_an_unfinished_sync_is_said_to_be_one_as_long_as_it_can_go_on(catalogue):
    broken = Fault(FaultKind.STATUS, path="filter=gguf", nth=3, count=None)
    assert catalogue.sync(fault=broken).code == 1
    text, told = status(catalogue)
    unfinished = {"day": str(FIFTH), "run": 1, "pages": 2, "listing_complete": False, "can_go_on": True}
    assert told["unfinished"] == [unfinished]
    assert f"Unfinished: the capture of {FIFTH} (run 01) has 2 pages and lacks pages" in text
    assert "a sync of it goes on" in text
    assert plan(told)[:3] == (str(FIFTH), "go on", "incremental")
    assert "going on with capture run 01" in told["next_sync"]["plan"]["log"][1]
    # Six hours into the next day nothing can be added to it any more.
    catalogue.store.history.started("another", None, noon(FIFTH, hours=18))
    text, told = status(catalogue, at=noon(FIFTH, hours=18))
    assert told["unfinished"] == [unfinished | {"can_go_on": False}]
    assert "it cannot be gone on with any more" in text


def test_who_is_writing_is_shown_and_no_failure(catalogue):
    catalogue.store.history.started("run-1", FIFTH, noon(FIFTH), run_id="run-1")
    with WriterLock(catalogue.store.layout).held(run_id="run-1", command="a test"):
        text, told = status(catalogue)
    assert "Writing at present: process" in text
    assert told["writing"]["command"] == "a test"
    assert told["syncs"][-1]["state"] == "running"
    assert plan(told)[2:] == ("incremental", "recent")
    assert status(catalogue)[1]["syncs"][-1]["state"] == "failed", "nobody is at it any more"


def test_the_setting_dry_run_is_named(catalogue):
    text, told = status(catalogue, DRY_RUN="true")
    note = "dry_run is on (environment variable DRY_RUN): a sync only says what it would do"
    assert note in text
    assert told["next_sync"]["plan"]["notes"][-1] == note


def test_damage_is_named_where_the_next_sync_would_meet_it(catalogue):
    catalogue.store.published.file("models", FOURTH).write_bytes(b"no Parquet")
    text, told = status(catalogue)
    assert told["next_sync"]["plan"] is None
    assert "is damaged" in told["next_sync"]["refusal"]
    assert "none is possible" in text


# Schedules and sensors


def switches(told: Mapping[str, Any]) -> dict[str, bool]:
    return {state["name"]: state["on"] for state in told["automation"]}


def test_schedules_and_sensors_have_the_defaults_of_the_environment(catalogue):
    text, told = status(catalogue)
    assert switches(told) == {
        "daily_sync_schedule": False,
        "weekly_full_schedule": False,
        "config_backup_daily": False,
        "maintenance_daily": False,
        "full_sync_threshold_sensor": False,
        "failed_sync_repair_sensor": False,
        "config_changed_sensor": True,
        "sync_succeeded_sensor": False,
        "sync_failed_sensor": False,
        "sync_canceled_sensor": False,
        "catalogue_freshness_sensor": False,
    }
    assert "schedule daily_sync_schedule" in text
    assert {state["when"] for state in told["automation"] if state["name"].startswith("daily")} == {
        "02:30 UTC"
    }
    on = switches(status(catalogue, SYNC_ENVIRONMENT="staging")[1])
    assert (on["daily_sync_schedule"], on["weekly_full_schedule"]) == (True, False)


def test_what_an_operator_has_switched_in_the_ui_is_seen_and_left_as_it_is(catalogue):
    location = GrpcServerCodeLocationOrigin(host="localhost", port=1, location_name="gguf_assets")
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), "daily_sync_schedule")
    with (
        mock.patch.dict(os.environ, catalogue.environ, clear=True),
        open_instance(catalogue.store.layout.dagster_home) as instance,
    ):
        data = ScheduleInstigatorData("30 2 * * *", None)
        state = InstigatorState(origin, InstigatorType.SCHEDULE, InstigatorStatus.RUNNING, data)
        instance.add_instigator_state(state)
    text, told = status(catalogue)
    assert [name for name, on in switches(told).items() if on] == [
        "daily_sync_schedule",
        "config_changed_sensor",
    ]
    (line,) = (line for line in text.splitlines() if "schedule daily_sync_schedule" in line)
    assert " on " in line


@pytest.mark.parametrize("left", ["nothing", "no databases", "a damaged database", "no settings"])
def test_a_dagster_folder_in_any_state_is_neither_made_nor_mended(catalogue, left):
    home = catalogue.store.layout.dagster_home
    if left == "nothing":
        shutil.rmtree(home)
    elif left == "no databases":
        shutil.rmtree(home / "schedules")
    elif left == "a damaged database":
        (home / "schedules" / "schedules.db").write_bytes(b"no database" * 1000)
    # A copied catalogue has no dagster.yaml anyway.
    text, told = status(catalogue)
    if left == "a damaged database":
        assert told["automation"] is None
        assert "cannot be used" in told["automation_error"]
        assert "Schedules and sensors: unknown." in text
    else:
        assert len(told["automation"]) == 11
        assert told["automation_error"] is None
