"""The schedules: the partition of the tick's own day, and a plain reason where nothing is requested."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import RemoteInstigatorOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
    SensorInstigatorData,
)

from gguf_assets.errors import Refused
from gguf_assets.orchestration.automation import AutomationState, automation_states
from gguf_assets.orchestration.build import build_defs
from gguf_assets.orchestration.runs import PID, process_tags
from gguf_assets_tests.calling import Catalogue
from gguf_assets_tests.hubs import hub_of, repository
from gguf_assets_tests.orchestration.player import REPOSITORY, Player, playing
from gguf_assets_tests.orchestration.test_runs import sleeper
from gguf_assets_tests.running import environment

DAILY, WEEKLY = "daily_sync_schedule", "weekly_full_schedule"
BACKUP, CHANGED = "config_backup_daily", "config_changed_sensor"
SENSOR, REPAIR = "full_sync_threshold_sensor", "failed_sync_repair_sensor"
MAINTENANCE = "maintenance_daily"
TELLING = (
    "sync_succeeded_sensor",
    "sync_failed_sensor",
    "sync_canceled_sensor",
    "catalogue_freshness_sensor",
)
DAY = date(2025, 8, 10)
NEXT = DAY + timedelta(days=1)
TICK = datetime(2025, 8, 10, 2, 30, tzinfo=UTC)
MODELS = [repository(f"owner/model-{number}") for number in range(3)]
FULL = {"ops": {"hub_listing": {"config": {"mode": "full"}}}}
Status = dg.DagsterRunStatus


@pytest.fixture
def player(tmp_path: Path) -> Iterator[Player]:
    """The daemon of an empty catalogue that begins on the day."""
    with (
        hub_of({DAY: MODELS, NEXT: MODELS}, tick=0) as hub,
        playing(Catalogue(tmp_path, hub, GGUF_ASSETS_START_DATE=str(DAY))) as player,
    ):
        yield player


def definitions(home: Path, **environ: str) -> dg.RepositoryDefinition:
    return build_defs(environ={**environment(home, "http://127.0.0.1:9"), **environ}).get_repository_def()


@pytest.mark.parametrize(
    ("name", "on"), [("production", True), ("staging", True), ("development", False), ("testing", False)]
)
def test_what_is_on_by_default(tmp_path: Path, name: str, on: bool) -> None:
    repository = definitions(tmp_path, SYNC_ENVIRONMENT=name)
    schedules = {schedule.name: schedule.default_status for schedule in repository.schedule_defs}
    Default = dg.DefaultScheduleStatus
    daily = Default.RUNNING if on else Default.STOPPED
    assert schedules == {DAILY: daily, BACKUP: daily, MAINTENANCE: daily, WEEKLY: Default.STOPPED}
    syncing = dg.DefaultSensorStatus.RUNNING if on else dg.DefaultSensorStatus.STOPPED
    assert {sensor.name: sensor.default_status for sensor in repository.sensor_defs} == {
        SENSOR: syncing,
        REPAIR: syncing,
        **dict.fromkeys(TELLING, syncing),
        CHANGED: dg.DefaultSensorStatus.RUNNING,
    }


def test_the_times_are_those_of_the_settings(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    (config / "sync-config-testing.yaml").write_text(
        'environment: testing\nsync_behavior:\n  schedule_time: "23:05"\n  weekly_full_cron: "15 1 * * 6"\n'
    )
    repository = definitions(tmp_path, GGUF_ASSETS_CONFIG_DIR=str(config))
    assert {s.name: s.cron_schedule for s in repository.schedule_defs} == {
        BACKUP: "0 2 * * *",
        MAINTENANCE: "15 5 * * *",
        DAILY: "5 23 * * *",
        WEEKLY: "15 1 * * 6",
    }
    for schedule in repository.schedule_defs:
        assert schedule.execution_timezone == "UTC"
        assert schedule.description is not None
        assert ("reload" in schedule.description) is (schedule.name not in (BACKUP, MAINTENANCE)), (
            "their times are no settings"
        )


def test_what_status_cannot_show_because_of_the_settings_it_names(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="WORKFLOW_TIMEOUT_HOURS"):
        automation_states(environment(tmp_path, "http://127.0.0.1:9", WORKFLOW_TIMEOUT_HOURS="soon"), None)


def test_runs_are_bounded_by_the_hours_of_the_settings(tmp_path: Path) -> None:
    repository = definitions(tmp_path, WORKFLOW_TIMEOUT_HOURS="2")
    bounds = {job.name: job.tags.get("dagster/max_runtime") for job in repository.get_all_jobs()}
    assert {name: bounds[name] for name in ("daily_sync", "full_sync", "rederive")} == dict.fromkeys(
        ("daily_sync", "full_sync", "rederive"), "7200"
    )


def test_a_tick_syncs_its_own_day_and_says_so_in_the_history(player: Player) -> None:
    with player.at(TICK):
        request = player.tick(DAILY)
        assert isinstance(request, dg.RunRequest)
        assert (request.partition_key, request.run_config) == ("2025-08-10", {})
        ran = player.do(DAILY, request)
    assert ran.choice == ("full", "first_run")
    assert ran.record is not None
    assert ran.record.trigger == f"schedule {DAILY}"
    assert ran.run.tags["dagster/max_runtime"] == "21600"
    assert ran.run.tags["gguf/writes"] == "catalogue"

    with player.at(TICK + timedelta(days=1)):
        request = player.tick(DAILY)
        assert isinstance(request, dg.RunRequest)
        assert request.partition_key == "2025-08-11"
        assert player.do(DAILY, request).choice == ("incremental", "recent")
    assert player.catalogue.store.published.days() == [DAY, NEXT]


def test_the_day_is_that_of_the_tick_in_utc(player: Player) -> None:
    with player.at(TICK):
        due = datetime.fromisoformat("2025-08-09T20:30:00-06:00")
        request = player.tick(DAILY, due)
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == "2025-08-10"


@pytest.mark.parametrize("status", [Status.QUEUED, Status.NOT_STARTED, Status.STARTING, Status.STARTED])
@pytest.mark.parametrize("job", ["daily_sync", "full_sync"])
def test_a_day_that_is_being_synced_is_not_asked_for_again(player: Player, job: str, status: Status) -> None:
    with player.at(TICK):
        pending = player.pend(job, DAY, status)
        reason = player.tick(DAILY)
        assert reason == (
            f"A sync of 2025-08-10 is queued or running already: run {pending[:8]} ({job}, "
            f"{status.value.lower()})"
        )
        player.end(pending)
        assert isinstance(player.tick(DAILY), dg.RunRequest)


def test_assets_materialised_in_the_ui_are_a_sync_where_the_listing_is_among_them(player: Player) -> None:
    job = player.defs.resolve_implicit_global_asset_job_def()
    with player.at(TICK):
        for names, waits in (
            (["catalogue_delta"], False),
            (["hub_listing", "hub_details"], True),
            ([], True),
        ):
            run = player.instance.create_run_for_job(
                job,
                status=Status.STARTED,
                tags={"dagster/partition": str(DAY)},
                asset_selection=frozenset(map(dg.AssetKey, names)) or None,
            )
            assert isinstance(player.tick(DAILY), str) is waits
            player.end(run.run_id)


def test_a_run_that_does_not_sync_the_day_is_no_reason_to_leave_it_out(player: Player) -> None:
    with player.at(TICK):
        player.pend("sync_plan", DAY)
        player.pend("rederive", DAY)
        player.pend("daily_sync", NEXT)
        assert isinstance(player.tick(DAILY), dg.RunRequest)


def test_a_run_whose_process_is_gone_does_not_keep_the_day_from_being_synced(player: Player) -> None:
    with sleeper() as process:
        tags = process_tags(process.pid)
        with player.at(TICK):
            dead = player.pend("daily_sync", DAY, Status.STARTED, **tags)
            assert tags[PID] in player.instance.get_run_by_id(dead).tags.values()
            assert isinstance(player.tick(DAILY), str)
            process.kill()
            process.wait()
            assert isinstance(player.tick(DAILY), dg.RunRequest)
    run = player.instance.get_run_by_id(dead)
    assert run is not None
    assert run.status is Status.FAILURE


def test_a_tick_that_comes_when_its_day_is_over_costs_nothing(player: Player) -> None:
    """Dagster makes up for the last tick it missed while it was off."""
    with player.at(datetime(2025, 8, 11, 0, 10, tzinfo=UTC)):
        for name in (DAILY, WEEKLY):
            reason = player.tick(name, TICK)
            assert reason == (
                "This tick was due at 2025-08-10 02:30 UTC and comes at 2025-08-11 00:10 UTC by this "
                "machine's clock: 2025-08-10 is over, and the Hub shows only the present. The next tick "
                "syncs its own day"
            )
    with player.at(datetime(2025, 8, 10, 23, 50, tzinfo=UTC)):
        assert isinstance(player.tick(DAILY, TICK), dg.RunRequest), "late, but on its day"


def test_a_day_that_is_no_partition_is_refused_by_name(tmp_path: Path) -> None:
    with (
        hub_of(MODELS, tick=0) as hub,
        playing(Catalogue(tmp_path, hub, GGUF_ASSETS_START_DATE="2025-09-01")) as player,
        player.at(TICK),
    ):
        for name in (DAILY, WEEKLY):
            reason = player.tick(name)
            assert isinstance(reason, str)
            for part in ("2025-08-10", "2025-09-01", "GGUF_ASSETS_START_DATE", "reload"):
                assert part in reason
        reason = player.tick(DAILY, TICK + timedelta(days=40))
        assert reason == (
            "2025-09-19 has not begun: the last day is 2025-08-10 by this machine's clock (UTC)"
        )


def test_the_weekly_schedule_asks_for_a_full_sync_behind_the_daily_one(player: Player) -> None:
    with player.at(TICK):
        player.pend("daily_sync", DAY)
        request = player.tick(WEEKLY)
        assert isinstance(request, dg.RunRequest)
        assert (request.partition_key, request.run_config) == ("2025-08-10", FULL)
        pending = player.pend("full_sync", DAY)
        assert player.tick(WEEKLY) == (
            f"A full sync of 2025-08-10 is queued or running already: run {pending[:8]} (full_sync, queued)"
        )


def test_the_weekly_full_sync_is_full(player: Player) -> None:
    with player.at(TICK):
        request = player.tick(WEEKLY)
        assert isinstance(request, dg.RunRequest)
        ran = player.do(WEEKLY, request)
    assert ran.choice == ("full", "explicit")
    assert ran.record is not None
    assert ran.record.trigger == f"schedule {WEEKLY}"


def test_what_status_shows_of_the_automation(tmp_path: Path) -> None:
    environ = environment(tmp_path, "http://127.0.0.1:9")
    assert automation_states(environ, None) == [
        AutomationState(DAILY, "schedule", on=False, when="02:30 UTC"),
        AutomationState(WEEKLY, "schedule", on=False, when="Sunday 04:00 UTC"),
        AutomationState(BACKUP, "schedule", on=False, when="02:00 UTC"),
        AutomationState(MAINTENANCE, "schedule", on=False, when="05:15 UTC"),
        AutomationState("full_sync_threshold_sensor", "sensor", on=False, when="every 5 min"),
        AutomationState("failed_sync_repair_sensor", "sensor", on=False, when="every 1 min"),
        *(AutomationState(name, "sensor", on=False, when="every 1 min") for name in TELLING[:3]),
        AutomationState(TELLING[3], "sensor", on=False, when="every 5 min"),
        AutomationState(CHANGED, "sensor", on=True, when="every 1 min"),
    ]
    production = environ | {"SYNC_ENVIRONMENT": "production"}
    assert [state.name for state in automation_states(production, None) if not state.on] == [WEEKLY]


@pytest.mark.parametrize(
    ("weekly_full_cron", "when"),
    [
        ("0 4 * * 0", "Sunday 04:00 UTC"),
        ("5 23 * * 7", "Sunday 23:05 UTC"),
        ("0 4 * * 6", "Saturday 04:00 UTC"),
        ("0 4 * * *", "04:00 UTC"),
        ("0 4 1 * *", "cron 0 4 1 * * UTC"),
        ("0 4 * * 1,4", "cron 0 4 * * 1,4 UTC"),
        ("*/30 4 * * 0", "cron */30 4 * * 0 UTC"),
    ],
)
def test_times_are_told_in_words_where_there_are_some(
    tmp_path: Path, weekly_full_cron: str, when: str
) -> None:
    (tmp_path / "sync-config-testing.yaml").write_text(
        f'environment: testing\nsync_behavior:\n  weekly_full_cron: "{weekly_full_cron}"\n'
    )
    environ = environment(tmp_path, "http://127.0.0.1:9", GGUF_ASSETS_CONFIG_DIR=str(tmp_path))
    assert automation_states(environ, None)[1].when == when


def switch(player: Player, name: str, status: InstigatorStatus) -> None:
    """Do what the switch of a schedule or sensor in the UI does."""
    origin = RemoteInstigatorOrigin(REPOSITORY, name)
    if name.endswith("schedule"):
        state = InstigatorState(origin, InstigatorType.SCHEDULE, status, ScheduleInstigatorData("30 2 * * *"))
    else:
        state = InstigatorState(origin, InstigatorType.SENSOR, status, SensorInstigatorData())
    storage = player.instance
    if storage.get_instigator_state(origin.get_id(), state.selector_id) is None:
        storage.add_instigator_state(state)
    else:
        storage.update_instigator_state(state)


def told(player: Player, environment_name: str) -> dict[str, bool]:
    environ = {**player.catalogue.environ, "SYNC_ENVIRONMENT": environment_name}
    return {state.name: state.on for state in automation_states(environ, player.instance)}


def test_what_an_operator_has_switched_counts(player: Player) -> None:
    for on in (True, False):
        for name in (WEEKLY, SENSOR):
            switch(player, name, InstigatorStatus.RUNNING if on else InstigatorStatus.STOPPED)
        switched = {WEEKLY: on, SENSOR: on, CHANGED: True}
        others = (DAILY, BACKUP, MAINTENANCE, REPAIR, *TELLING)
        assert told(player, "testing") == {**dict.fromkeys(others, False), **switched}
        assert told(player, "production") == {**dict.fromkeys(others, True), **switched}


def test_a_switch_that_was_put_back_to_the_default_has_the_default(player: Player) -> None:
    switch(player, DAILY, InstigatorStatus.STOPPED)
    assert not told(player, "production")[DAILY]
    switch(player, DAILY, InstigatorStatus.DECLARED_IN_CODE)
    assert told(player, "production")[DAILY]
    assert not told(player, "testing")[DAILY]
