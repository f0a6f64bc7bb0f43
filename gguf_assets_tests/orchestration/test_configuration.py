"""The configuration in Dagster: what a run records of it, and that nothing begins with an invalid one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import pytest
import time_machine

from gguf_assets.errors import Refused
from gguf_assets.orchestration.automation import automation_states
from gguf_assets.orchestration.build import build_defs
from gguf_assets.orchestration.configuration import at_load, configuration_metadata
from gguf_assets.orchestration.coordinator import _time_limit
from gguf_assets.settings.difference import Change
from gguf_assets.settings.load import fallback_settings, load_settings
from gguf_assets.settings.problems import InvalidSettings, Problem
from gguf_assets.store.lock import WriterLock
from gguf_assets_tests.calling import Catalogue, assert_clear, failure_text, launch
from gguf_assets_tests.hubs import hub_of, repository
from gguf_assets_tests.orchestration.player import QUIET, Player, playing
from gguf_assets_tests.running import environment

DAY = date(2025, 8, 10)
NEXT = DAY + timedelta(days=1)
MODELS = [repository(f"owner/model-{number}") for number in range(3)]
BROKEN = """\
environment: testing
rate_limiting:
  requests_per_second: 0
  request_per_hour: 10
sync_behavior:
  mode: fulll
"""
AUTOMATION = {
    "daily_sync_schedule",
    "weekly_full_schedule",
    "config_backup_daily",
    "full_sync_threshold_sensor",
    "failed_sync_repair_sensor",
    "maintenance_daily",
    "sync_succeeded_sensor",
    "sync_failed_sensor",
    "sync_canceled_sensor",
    "catalogue_freshness_sensor",
}
TOKEN = "hf_" + "Secret" * 6
WEBHOOK = "https://alerts.example.org/path-that-nobody-may-see"


@pytest.fixture
def player(tmp_path: Path) -> Iterator[Player]:
    """The daemon of an empty catalogue with a configuration folder of its own."""
    (tmp_path / "config").mkdir()
    folders = {"GGUF_ASSETS_CONFIG_DIR": str(tmp_path / "config"), "GGUF_ASSETS_START_DATE": str(DAY)}
    with (
        hub_of({DAY: MODELS, NEXT: MODELS}, tick=0) as hub,
        playing(Catalogue(tmp_path, hub, **folders)) as player,
        player.at(datetime.combine(DAY, time(12), UTC)),
    ):
        yield player


def write(player: Player, text: str) -> Path:
    """Write the active file."""
    file = player.catalogue.home / "config" / "sync-config.yaml"
    file.write_text(text)
    return file


def run_ops(player: Player, job: str, **overrides: str) -> dg.ExecuteInProcessResult:
    """Run a job without a day, with overrides from the Launchpad."""
    config: dict[str, Any] = {**QUIET, **launchpad(overrides)}
    return player.defs.resolve_job_def(job).execute_in_process(
        instance=player.instance, run_config=config, raise_on_error=False
    )


def launchpad(overrides: dict[str, str]) -> dict[str, Any]:
    """The run config of somebody who sets settings in the Launchpad."""
    return {"resources": {"settings": {"config": {"overrides": overrides}}}}


def in_force(player: Player, run_id: str) -> dict[str, dict[str, str]]:
    """What the event log of a run says of every setting; it says it once."""
    records = player.instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    events = [record.dagster_event for record in records if record.dagster_event is not None]
    (event,) = [event for event in events if (event.message or "").startswith("Configuration in force: ")]
    return event.engine_event_data.metadata["effective"].value


def happened(player: Player, run_id: str, kind: dg.DagsterEventType) -> list[Any]:
    """The events of a kind in a run."""
    return [record.dagster_event for record in player.instance.all_logs(run_id, of_type=kind)]


def test_an_invalid_file_fails_the_check_and_nothing_after_it_runs(player: Player) -> None:
    file = write(player, BROKEN)
    player.reload()
    ran = player.run("daily_sync", DAY)
    assert not ran.success
    assert not launch(player.catalogue, DAY, "configuration", "hub_listing").success
    started = happened(player, ran.run.run_id, dg.DagsterEventType.STEP_START)
    assert [event.step_key for event in started] == ["configuration"]
    assert not happened(player, ran.run.run_id, dg.DagsterEventType.ASSET_MATERIALIZATION)
    (checked,) = happened(player, ran.run.run_id, dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    verdict = checked.event_specific_data
    assert (verdict.check_name, verdict.passed, verdict.severity) == (
        "configuration_valid",
        False,
        dg.AssetCheckSeverity.ERROR,
    )
    assert verdict.description == (
        "3 problems, so nothing runs: Unknown key rate_limiting.request_per_hour; Requests per second must "
        "be positive; Mode must be one of auto, incremental, full"
    )
    assert verdict.metadata["problems"].value == 3
    assert [record.data for record in verdict.metadata["table"].records] == [
        {
            "problem": "Unknown key rate_limiting.request_per_hour",
            "key": "rate_limiting.request_per_hour",
            "value": "",
            "where": f"file {file}, line 4",
            "allowed": "",
            "hint": "did you mean rate_limiting.requests_per_hour?",
        },
        {
            "problem": "Requests per second must be positive",
            "key": "rate_limiting.requests_per_second",
            "value": "0",
            "where": f"file {file}, line 3",
            "allowed": "a positive number",
            "hint": "",
        },
        {
            "problem": "Mode must be one of auto, incremental, full",
            "key": "sync_behavior.mode",
            "value": "'fulll'",
            "where": f"file {file}, line 6",
            "allowed": "one of auto, incremental, full",
            "hint": "",
        },
    ]
    assert_untouched(player)


def test_without_the_check_every_job_is_refused_and_names_all_problems(player: Player) -> None:
    write(player, BROKEN)
    alone = launch(player.catalogue, DAY, "hub_listing")
    rederived = player.defs.resolve_job_def("rederive").execute_in_process(
        partition_key=str(DAY), instance=player.instance, run_config=QUIET, raise_on_error=False
    )
    without_a_day = [run_ops(player, job) for job in ("sync_plan", "details_backlog", "config_backup")]
    for result in (alone, rederived, *without_a_day):
        assert not result.success
        told = failure_text(result)
        for named in ("request_per_hour", "Requests per second", "'fulll'", "line 6"):
            assert named in told, told
    assert_untouched(player)


def assert_untouched(player: Player) -> None:
    """Nothing was asked of the Hub, and nothing lies in the data folder but Dagster's own."""
    assert player.catalogue.hub.requests == []
    assert player.catalogue.store.history.syncs() == []
    assert WriterLock(player.catalogue.store.layout).holder() is None
    assert {path.name for path in player.catalogue.data.iterdir()} == {"dagster"}


def test_a_step_sees_nothing_of_a_file_that_breaks_after_the_command_has_read_it(player: Player) -> None:
    broken = InvalidSettings([Problem("Configuration validation failed: Mode must be a mode")])
    with mock.patch("gguf_assets.orchestration.resources.load_settings", side_effect=broken):
        ended = player.catalogue.sync()
    assert_clear(ended, 2, f"{DAY} was not synced: 1 problem, so nothing runs: Mode must be a mode")
    assert player.catalogue.store.history.syncs() == []


def test_launchpad_wins_over_the_environment_and_that_over_the_file(player: Player, monkeypatch) -> None:
    file = write(player, "environment: testing\nsync_behavior:\n  mode: incremental\n")

    def told(run_id: str) -> tuple[str, str]:
        mode = in_force(player, run_id)["sync_behavior.mode"]
        return mode["value"], mode["from"]

    assert told(run_ops(player, "sync_plan").run_id) == ("incremental", f"file {file}, line 3")
    monkeypatch.setenv("SYNC_MODE", "full")
    by_environment = run_ops(player, "sync_plan")
    assert told(by_environment.run_id) == ("full", "environment variable SYNC_MODE")
    by_launchpad = run_ops(player, "sync_plan", **{"sync_behavior.mode": "incremental"})
    assert told(by_launchpad.run_id) == ("incremental", "command line")
    # Nothing is published, so an incremental sync that is asked for is a first run; a full one is just full.
    assert [plan_of(result) for result in (by_environment, by_launchpad)] == ["explicit", "first_run"]
    monkeypatch.setenv("SYNC_MODE", "fulll")
    refused = run_ops(player, "sync_plan")
    assert not refused.success
    assert "one of auto, incremental, full" in failure_text(refused)


def plan_of(result: dg.ExecuteInProcessResult) -> str:
    """The code of the reason in the plan of a dry run."""
    (output,) = [event for event in result.all_events if event.is_successful_output]
    return output.step_output_data.metadata["reason_code"].value


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("sync_behavior.mod", "full", "did you mean sync_behavior.mode?"),
        ("sync_behavior.detail_requests_per_run", "many", "a whole number"),
        ("sync_behavior", "full", "section"),
    ],
)
def test_a_wrong_override_is_refused_like_any_other_problem(
    player: Player, key: str, value: str, named: str
) -> None:
    result = run_ops(player, "sync_plan", **{key: value})
    assert not result.success
    assert named in failure_text(result)
    assert "command line" in failure_text(result)
    assert_clear(player.catalogue.call("sync", "--set", f"{key}={value}"), 2, named, "command line")


def test_a_sync_by_command_shows_in_its_run_what_was_set_for_it(player: Player) -> None:
    write(player, "environment: testing\nsync_behavior:\n  mode: incremental\n  detail_requests_per_run: 7\n")
    ended = player.catalogue.sync(
        "--json", "--set", "sync_behavior.mode=full", "--set", "sync_behavior.detail_requests_per_run=1"
    )
    assert ended.code == 0, ended
    assert (ended.json["mode"], ended.json["reason"], ended.json["detail_requests"]) == (
        "full",
        "explicit",
        1,
    )
    (run,) = player.instance.get_runs()
    given = {"sync_behavior.mode": "full", "sync_behavior.detail_requests_per_run": "1"}
    assert run.run_config["resources"] == launchpad(given)["resources"]
    effective = in_force(player, run.run_id)
    assert effective["sync_behavior.mode"] == {"value": "full", "from": "command line"}
    assert effective["storage.data_directory"]["from"] == "environment variable GGUF_ASSETS_DATA_DIR"
    assert effective["sync_behavior.census"] == {"value": "true", "from": "default"}
    (made,) = [
        event.step_materialization_data.materialization.metadata
        for event in happened(player, run.run_id, dg.DagsterEventType.ASSET_MATERIALIZATION)
        if event.asset_key == dg.AssetKey("configuration")
    ]
    assert r"| sync\_behavior.mode | full | command line |" in made["effective"].value
    assert made["needs_reload"].value == "nothing"
    (verdict,) = [
        event.event_specific_data
        for event in happened(player, run.run_id, dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        if event.event_specific_data.check_name == "configuration_valid"
    ]
    assert verdict.passed
    assert verdict.metadata["problems"].value == 0


def test_a_dry_run_takes_settings_for_itself_as_well(player: Player) -> None:
    planned = player.catalogue.call("sync", "--dry-run", "--json", "--set", "sync_behavior.mode=full")
    assert (planned.code, planned.json["mode"], planned.json["reason"]) == (0, "full", "explicit")
    asked = player.catalogue.call("sync", "--json", "--set", "dry_run=true")
    assert asked.json["because"] == "dry_run is on (command line)"
    assert player.instance.get_runs() == []


@pytest.mark.parametrize("text", ["full", "=full", "  =full", ""])
def test_a_malformed_set_is_refused_with_an_example(player: Player, text: str) -> None:
    ended = player.catalogue.call("sync", "--set", text)
    assert_clear(ended, 2, f"--set {text!r} is not of the form KEY=VALUE", "gguf-assets sync --set ")


def test_two_values_for_a_key_are_refused(player: Player) -> None:
    twice = ("--set", "sync_behavior.mode=full", "--set", "sync_behavior.mode=auto")
    assert_clear(player.catalogue.call("sync", *twice), 2, "two values", "sync_behavior.mode")


def test_a_secret_is_not_taken_for_a_run_and_not_shown(player: Player) -> None:
    for key in ("notifications.webhook_urls", "huggingface_token"):
        ended = player.catalogue.call("sync", "--set", f"{key}={WEBHOOK}")
        assert_clear(ended, 2, f"{key} is a secret", "environment variable")
        assert "nobody-may-see" not in ended.stdout + ended.stderr
    refused = run_ops(player, "sync_plan", huggingface_token=TOKEN)
    assert "huggingface_token is a secret" in failure_text(refused)
    assert TOKEN not in failure_text(refused)


def test_no_secret_reaches_the_event_log(player: Player, monkeypatch) -> None:
    write(player, f"environment: testing\ncustom_settings:\n  address: {WEBHOOK}?token=q1w2e3r4t5z6\n")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("GGUF_SYNC__NOTIFICATIONS__WEBHOOK_URLS", WEBHOOK)
    assert player.run("daily_sync", DAY).success
    monkeypatch.setenv("GGUF_SYNC__NOTIFICATIONS__WEBHOOK_URLS", f"not a url {WEBHOOK}")
    assert not player.run("daily_sync", DAY).success
    backed_up = set(player.catalogue.data.glob("backups/*/config/*"))  # copies of the operator's own file
    files = (file for file in player.catalogue.data.rglob("*") if file.is_file() and file not in backed_up)
    stored = b"".join(file.read_bytes() for file in files)
    assert b"Configuration in force" in stored
    for secret in (TOKEN, "nobody-may-see", "q1w2e3r4t5z6"):
        assert secret.encode() not in stored, secret


def test_what_is_set_for_one_run_needs_no_reload(tmp_path: Path) -> None:
    environ = environment(tmp_path, "http://127.0.0.1:9")
    loaded_with = at_load(environ)
    assert loaded_with.outdated(load_settings(environ, overrides={"workflow_timeout_hours": "2"})) is None
    told = loaded_with.outdated(load_settings({**environ, "WORKFLOW_TIMEOUT_HOURS": "2"}))
    assert told is not None
    assert told.startswith("The code location was loaded with another workflow_timeout_hours: reload")


def test_definitions_load_with_a_broken_file_and_nothing_is_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tmp_path / "config"
    config.mkdir()
    environ = environment(
        tmp_path, "http://127.0.0.1:9", SYNC_ENVIRONMENT="production", GGUF_ASSETS_CONFIG_DIR=str(config)
    )
    on = {state.name for state in automation_states(environ, None) if state.on}
    assert on == AUTOMATION - {"weekly_full_schedule"} | {"config_changed_sensor"}
    (config / "sync-config.yaml").write_text("environment: production\nworkflow_timeout_hours: [\n")
    defs = build_defs(environ=environ)
    assert "every run is refused" in caplog.text
    assert "sync-config.yaml" in caplog.text
    dg.Definitions.validate_loadable(defs)
    repository = defs.get_repository_def()
    assert {schedule.default_status for schedule in repository.schedule_defs} == {
        dg.DefaultScheduleStatus.STOPPED
    }
    running = {
        sensor.name
        for sensor in repository.sensor_defs
        if sensor.default_status is dg.DefaultSensorStatus.RUNNING
    }
    assert running == {"config_changed_sensor"}, "it shows what is wrong, and starts nothing"


def test_what_stands_in_for_invalid_settings_keeps_the_folders(tmp_path: Path) -> None:
    config, data = tmp_path / "config", tmp_path / "moved"
    config.mkdir()
    (config / "sync-config.yaml").write_text(
        f"environment: production\nworkflow_timeout_hours: 99\nstorage:\n  data_directory: {data}\n"
    )
    environ = {"GGUF_ASSETS_CONFIG_DIR": str(config), "GGUF_ASSETS_STATE_DIR": str(tmp_path / "state")}
    stand_in = fallback_settings(environ)
    assert (stand_in.data_dir, stand_in.state_dir, stand_in.config_dir) == (data, tmp_path / "state", config)
    assert stand_in.settings.environment == "development"
    assert stand_in.token is None
    assert fallback_settings({**environ, "GGUF_ASSETS_DATA_DIR": str(tmp_path)}).data_dir == tmp_path


def test_without_usable_folders_definitions_do_not_load(tmp_path: Path) -> None:
    environ = environment(tmp_path, "http://127.0.0.1:9", GGUF_ASSETS_CONFIG_DIR=str(tmp_path / "typo"))
    with pytest.raises(Refused, match="GGUF_ASSETS_CONFIG_DIR"):
        build_defs(environ=environ)


def test_schedules_that_are_on_ask_for_nothing_while_the_settings_are_invalid(player: Player) -> None:
    file = write(player, "environment: testing\n")
    player.reload()
    names = sorted(name for name in AUTOMATION if not name.endswith("sensor"))
    assert all(isinstance(player.tick(name), dg.RunRequest) for name in names)
    file.write_text(BROKEN)
    for name in names:
        reason = player.tick(name)
        assert isinstance(reason, str)
        assert reason.startswith("The settings cannot be loaded, so nothing is requested: "), name
        assert "Requests per second" in reason


def test_what_the_materialisation_says_of_changes(tmp_path: Path) -> None:
    environ = environment(tmp_path, "http://127.0.0.1:9")
    metadata = configuration_metadata(
        load_settings(environ),
        [
            Change("workflow_timeout_hours", "6", "3"),
            Change("sync_behavior.census", "true", "false"),
        ],
        "reload it",
    )
    assert metadata["changes"] == 2
    assert metadata["changed"].value.splitlines()[2:] == [
        r"| workflow\_timeout\_hours | 6 | 3 | default | after a reload of the code location |",
        r"| sync\_behavior.census | true | false | default | with the next run |",
    ]
    assert metadata["needs_reload"] == "reload it"
    assert metadata["source"].startswith("shipped profile testing")


def test_the_backup_job_copies_what_has_changed_and_removes_what_is_old(player: Player) -> None:
    schedule = "config_backup_daily"
    reason = player.tick(schedule)
    assert isinstance(reason, str)
    assert "There is no active file" in reason
    file = write(player, "environment: testing\nstorage:\n  backup_retention_days: 2\n")
    assert isinstance(player.tick(schedule), dg.RunRequest)
    folder = file.parent / "backups"

    def backed_up(moment: datetime) -> dict[str, str]:
        with time_machine.travel(moment, tick=False):
            assert run_ops(player, "config_backup").success
        return {path.name: path.read_text() for path in sorted(folder.glob("*.yaml"))}

    first, second = "sync-config_backup_20250810_020000.yaml", "sync-config_backup_20250813_020000.yaml"
    morning = datetime(2025, 8, 10, 2, tzinfo=UTC)
    before = file.read_text()
    assert backed_up(morning) == {first: before}
    assert backed_up(morning + timedelta(days=1)) == {first: before}, "nothing has changed"
    file.write_text(f"{before}# changed\n")
    assert backed_up(morning + timedelta(days=3)) == {second: f"{before}# changed\n"}, "the first is too old"


def test_the_time_limit_that_a_run_sets_for_itself_is_the_one_that_ends_it(tmp_path: Path) -> None:
    environ = environment(tmp_path, "http://127.0.0.1:9", WORKFLOW_TIMEOUT_HOURS="2")
    with mock.patch.dict("os.environ", environ, clear=True):
        assert _time_limit({}) == {"dagster/max_runtime": "7200"}
        assert _time_limit({"workflow_timeout_hours": "3"}) == {"dagster/max_runtime": "10800"}
        assert _time_limit({"workflow_timeout_hours": "99"}) == {}


def test_the_doctor_names_the_file_every_problem_and_every_warning(player: Player) -> None:
    file = write(player, BROKEN)
    lines = player.catalogue.call("doctor", "--json").json["lines"]
    settings = [line for line in lines if line["topic"] == "settings"]
    assert [line["state"] for line in settings] == ["problem"] * 3
    assert all(str(file) in line["text"] for line in settings)
    file.write_text("environment: testing\nsync_behavior:\n  force_full_sync: true\n")
    lines = player.catalogue.call("doctor", "--json").json["lines"]
    settings = [line for line in lines if line["topic"] == "settings"]
    assert [line["state"] for line in settings] == ["ok", "note"]
    assert settings[0]["text"] == f"testing: file {file}"
    assert "sync_behavior.force_full_sync" in settings[1]["text"]
