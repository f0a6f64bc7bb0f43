"""The sensor of the configuration: a change, an invalid file and one put right are each shown once."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import pytest

from gguf_assets.orchestration import configuration_changes
from gguf_assets.orchestration.build import build_defs
from gguf_assets.orchestration.configuration import at_load
from gguf_assets.orchestration.configuration_changes import look
from gguf_assets.settings.load import load_settings
from gguf_assets_tests.running import environment

NOON = datetime(2025, 8, 10, 12, tzinfo=UTC)
VALID = "environment: testing\nsync_behavior:\n  detail_requests_per_run: 100\n"
CHANGED = "environment: testing\nsync_behavior:\n  detail_requests_per_run: 200\n  census: false\n"
BROKEN = "environment: testing\nsync_behavior:\n  mode: fulll\n  bogus: 1\n"


class Watch:
    """A configuration folder that the sensor looks at once a minute."""

    def __init__(self, home: Path) -> None:
        self.file = home / "config" / "sync-config.yaml"
        self.file.parent.mkdir()
        self.environ = environment(home, "http://127.0.0.1:9", GGUF_ASSETS_CONFIG_DIR=str(self.file.parent))
        self.cursor: str | None = None
        self.now = NOON
        self.say(VALID)
        self.reload()

    def say(self, text: str) -> None:
        """Write the active file."""
        self.file.write_text(text)

    def reload(self) -> None:
        """Load the code location anew."""
        self.loaded_with = at_load(self.environ)

    def look(self) -> tuple[list[Any], str]:
        """Evaluate the sensor a minute later; return its events and what it says."""
        self.now += timedelta(minutes=1)
        result = look(self.environ, self.loaded_with, self.cursor, self.now)
        self.cursor = result.cursor
        assert result.skip_reason is not None
        assert not result.run_requests
        return list(result.asset_events), str(result.skip_reason.skip_message)

    def trail(self) -> list[dict[str, Any]]:
        """The entries of the audit trail."""
        file = Path(self.environ["GGUF_ASSETS_DATA_DIR"]) / "logs" / "audit.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    return Watch(tmp_path)


def test_a_change_is_observed_with_old_and_new_value_and_noted(watch: Watch) -> None:
    assert watch.look()[0] == []
    watch.say(CHANGED)
    (observation, check), told = watch.look()
    assert isinstance(observation, dg.AssetObservation)
    assert observation.asset_key == dg.AssetKey("configuration")
    assert observation.metadata["changed"].value.splitlines() == [
        "| key | old | new | from | takes effect |",
        "| --- | --- | --- | --- | --- |",
        rf"| sync\_behavior.census | true | false | {place(watch, 4)} | with the next run |",
        rf"| sync\_behavior.detail\_requests\_per\_run | 100 | 200 | {place(watch, 3)} | with the next run |",
    ]
    assert observation.metadata["changes"].value == 2
    assert observation.metadata["needs_reload"].value == "nothing"
    assert isinstance(check, dg.AssetCheckEvaluation)
    assert (check.check_name, check.passed) == ("configuration_valid", True)
    assert told == (
        "2 settings changed: sync_behavior.census: true → false, "
        "sync_behavior.detail_requests_per_run: 100 → 200"
    )
    first, edited = watch.trail()
    assert (first["event"], edited["event"]) == ("first_seen", "edited")
    assert edited["command"] == "config_changed_sensor"
    assert edited["changes"] == {
        "sync_behavior.census": {"old": "true", "new": "false"},
        "sync_behavior.detail_requests_per_run": {"old": "100", "new": "200"},
    }


def place(watch: Watch, line: int) -> str:
    """The place of a line as Markdown shows it, cut like every cell."""
    text = f"file {watch.file}, line {line}"
    assert len(text) <= 120, "the folder of the test is short enough to be shown"
    return text.replace("_", r"\_")


def test_a_thousand_looks_at_one_change_show_it_once(watch: Watch) -> None:
    watch.look()
    watch.say(CHANGED)
    loaded, events, told = load_settings(watch.environ), [], set()
    watch.look()
    watch.reload()
    since = watch.now
    with (
        mock.patch.object(configuration_changes, "load_settings", return_value=loaded),
        mock.patch.object(configuration_changes, "note_configuration"),
    ):
        for _ in range(1000):
            found, reason = watch.look()
            events += found
            told.add(reason)
    assert events == []
    assert told == {f"Unchanged since {since:%Y-%m-%d %H:%M} UTC (file {watch.file})"}
    assert len(watch.cursor or "") < 1000, "a tick leaves little behind"


def test_an_invalid_file_is_shown_once_for_each_state_and_when_it_is_valid_again(watch: Watch) -> None:
    watch.look()
    watch.say(BROKEN)
    (check,), told = watch.look()
    assert (check.check_name, check.passed, check.blocking) == ("configuration_valid", False, True)
    assert check.severity is dg.AssetCheckSeverity.ERROR
    assert {record.data["key"] for record in check.metadata["table"].records} == {
        "sync_behavior.mode",
        "sync_behavior.bogus",
    }
    assert told.startswith("The configuration is invalid: 2 problems")
    since = watch.now
    events, told = watch.look()
    assert events == []
    assert told.startswith(f"Invalid, and shown so, since {since:%Y-%m-%d %H:%M} UTC: 2 problems")
    watch.say(BROKEN.replace("  bogus: 1\n", ""))
    (check,), _ = watch.look()
    assert not check.passed
    assert check.metadata["problems"].value == 1
    watch.say(VALID)
    (check,), told = watch.look()
    assert check.passed
    assert told == "Valid again, with the same values as before"
    assert watch.look()[0] == []


def test_an_invalid_file_that_is_put_right_otherwise_shows_the_change_as_well(watch: Watch) -> None:
    watch.look()
    watch.say(BROKEN)
    watch.look()
    watch.say(CHANGED)
    events, _ = watch.look()
    assert [type(event) for event in events] == [dg.AssetObservation, dg.AssetCheckEvaluation]
    assert events[0].metadata["changes"].value == 2
    assert events[1].passed


def test_a_variable_is_a_change_too_and_is_gone_with_it(watch: Watch) -> None:
    watch.look()
    watch.environ["SYNC_MODE"] = "full"
    (observation, _), _ = watch.look()
    assert "environment variable SYNC" in observation.metadata["changed"].value
    del watch.environ["SYNC_MODE"]
    (observation, _), told = watch.look()
    assert told == "1 setting changed: sync_behavior.mode: full → auto"


def test_what_needs_a_reload_is_named_until_it_is_done(watch: Watch) -> None:
    watch.look()
    watch.say(f"{VALID}  schedule_time: '03:30'\nworkflow_timeout_hours: 2\n")
    (observation, _), _ = watch.look()
    needed = observation.metadata["needs_reload"].value
    for part in ("workflow_timeout_hours", "sync_behavior.schedule_time", "reload the code location"):
        assert part in needed, needed
    assert "after a reload of the code location" in observation.metadata["changed"].value
    events, told = watch.look()
    assert events == []
    assert "workflow_timeout_hours, sync_behavior.schedule_time: reload the code location" in told
    watch.reload()
    assert "reload the code" not in watch.look()[1]


def test_a_code_location_that_was_loaded_with_an_invalid_file_asks_to_be_reloaded(watch: Watch) -> None:
    watch.say(BROKEN)
    watch.reload()
    assert not watch.look()[0][0].passed
    watch.say(VALID)
    (check,), told = watch.look()
    assert check.passed
    assert "loaded while the configuration was invalid" in told
    watch.reload()
    assert "reload the code" not in watch.look()[1]


def test_a_secret_is_seen_to_change_and_not_shown(watch: Watch) -> None:
    one, other = "https://alerts.example.org/first-one", "https://alerts.example.org/second-one"
    watch.environ["GGUF_SYNC__NOTIFICATIONS__WEBHOOK_URLS"] = one
    watch.look()
    watch.environ["GGUF_SYNC__NOTIFICATIONS__WEBHOOK_URLS"] = other
    (observation, check), told = watch.look()
    assert told == "1 setting changed: notifications.webhook_urls: *** → ***"
    for text in (repr(observation), repr(check), watch.cursor or ""):
        assert "first-one" not in text
        assert "second-one" not in text


@pytest.mark.parametrize("cursor", ["", "nonsense", "[]", "{}", '{"values": null, "of": "another program"}'])
def test_a_cursor_that_means_nothing_is_a_first_look(watch: Watch, cursor: str) -> None:
    watch.cursor = cursor
    events, told = watch.look()
    assert events == []
    assert told.startswith("Seen for the first time")
    assert watch.look()[1].startswith("Unchanged since")


def test_dagster_accepts_what_the_sensor_returns(watch: Watch) -> None:
    defs = build_defs(environ=watch.environ)
    sensor = defs.resolve_sensor_def("config_changed_sensor")
    cursor = None
    for text, events in ((VALID, 0), (CHANGED, 2), (BROKEN, 1), (BROKEN, 0)):
        watch.say(text)
        with dg.build_sensor_context(
            cursor=cursor, definitions=defs, sensor_name=sensor.name, instance=dg.DagsterInstance.ephemeral()
        ) as context:
            told = sensor.evaluate_tick(context)
        cursor = told.cursor
        assert len(told.asset_events) == events
        assert told.skip_message
        assert not told.run_requests
