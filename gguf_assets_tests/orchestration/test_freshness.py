"""Freshness in Dagster: the policy on `published_catalogue`, the check and the sensor that shows it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import time_machine

from gguf_assets.demo.server import LoopbackHub
from gguf_assets.orchestration.assets.publish import build_publish_assets
from gguf_assets.orchestration.freshness import (
    CHECK,
    build_freshness_check,
    build_freshness_sensor,
    freshness_policy,
    look,
    with_freshness,
)
from gguf_assets.orchestration.partitions import catalogue_days
from gguf_assets.printing_freshness import freshness_lines
from gguf_assets.settings.load import LoadedSettings, load_settings
from gguf_assets.settings.problems import InvalidSettings
from gguf_assets_tests.calling import Catalogue
from gguf_assets_tests.hubs import hub_of, repository

FIRST = date(2025, 8, 10)
NOON = datetime(2025, 8, 10, 12, tzinfo=UTC)
HOURS = {
    "GGUF_SYNC__MONITORING__FRESHNESS_WARNING_HOURS": "3",
    "GGUF_SYNC__MONITORING__FRESHNESS_FAILURE_HOURS": "7",
}


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalogue]:
    """One day, published at noon by a catalogue that is stale after three hours."""
    hub: LoopbackHub
    with hub_of([repository("owner/model")], day=FIRST, tick=0) as hub:
        catalogue = Catalogue(tmp_path_factory.mktemp("fresh"), hub, **HOURS)
        with time_machine.travel(NOON):
            assert catalogue.sync().code == 0
        yield catalogue


def settings(home: Path, **environ: str) -> LoadedSettings:
    return load_settings({"SYNC_ENVIRONMENT": "testing", "GGUF_ASSETS_DATA_DIR": str(home), **environ})


def definitions(loaded: LoadedSettings) -> dg.Definitions:
    days = catalogue_days(FIRST)
    return dg.Definitions(
        assets=with_freshness(build_publish_assets(days, []), loaded),
        asset_checks=[build_freshness_check()],
        sensors=[build_freshness_sensor({}, loaded)],
        resources=dict.fromkeys(("settings", "store", "hub", "progress"), loaded),
    )


def test_dagsters_policy_has_the_hours_of_the_settings(tmp_path):
    defs = definitions(settings(tmp_path, **HOURS))
    graph = defs.resolve_asset_graph()
    policy: Any = graph.get(dg.AssetKey("published_catalogue")).freshness_policy
    windows = (policy.warn_window.to_timedelta(), policy.fail_window.to_timedelta())
    assert windows == (timedelta(hours=3), timedelta(hours=7))
    assert graph.get(dg.AssetKey("sync_report")).freshness_policy is None
    default: Any = freshness_policy(settings(tmp_path))
    assert default.warn_window.to_timedelta() == timedelta(hours=26)
    assert default.fail_window.to_timedelta() == timedelta(hours=50)


def test_the_check_never_blocks_and_hangs_on_what_readers_see(tmp_path):
    node = definitions(settings(tmp_path)).resolve_asset_graph().get(CHECK)
    assert node.key.asset_key == dg.AssetKey("published_catalogue")
    assert not node.blocking


def test_the_sensor_shows_a_change_of_state_at_once_and_the_same_state_hourly(catalogue):
    loaded = load_settings(catalogue.environ)
    cursor, seen = None, []
    for minutes in range(0, 10 * 60, 5):
        told = look(loaded, cursor, NOON + timedelta(minutes=minutes), catalogue.environ)
        cursor = told.cursor
        for event in told.asset_events:
            assert isinstance(event, dg.AssetCheckEvaluation)
            seen.append((minutes, event.passed, event.severity.value))
    assert seen == [
        *((minutes, True, "WARN") for minutes in (0, 60, 120)),
        *((minutes, False, "WARN") for minutes in (180, 240, 300, 360)),
        *((minutes, False, "ERROR") for minutes in (420, 480, 540)),
    ]


def test_a_cursor_that_somebody_has_changed_only_shows_the_state_again(catalogue):
    loaded = load_settings(catalogue.environ)
    for cursor in ("", "{", "[]", '{"state": "fresh"}', '{"at": "never"}', '{"x": 1}'):
        assert len(look(loaded, cursor, NOON, catalogue.environ).asset_events) == 1, cursor


def test_an_empty_catalogue_shows_nothing(tmp_path):
    told = look(settings(tmp_path), None, NOON, {})
    assert told.asset_events == []
    assert str(told.skip_reason and told.skip_reason.skip_message).endswith("nothing is published yet")


def test_what_the_sensor_shows_stands_in_the_instance(catalogue):
    loaded = load_settings(catalogue.environ)
    instance = dg.DagsterInstance.ephemeral()
    (event,) = look(loaded, None, NOON + timedelta(hours=8), catalogue.environ).asset_events
    assert isinstance(event, dg.AssetCheckEvaluation)
    instance.report_runless_asset_event(event)
    found = instance.event_log_storage.get_latest_asset_check_execution_by_key([CHECK])
    assert CHECK in found
    assert (
        event.metadata["remedy"].value
        == "Sync: gguf-assets sync. Whether the schedule is on: gguf-assets status"
    )


def test_people_may_launch_the_check(catalogue):
    loaded = load_settings(catalogue.environ)
    check = build_freshness_check()
    with time_machine.travel(NOON + timedelta(hours=4)):
        result: Any = check(loaded)
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert result.description == ("2025-08-10, last success 4.0 h ago, stale since 2025-08-10 15:00 UTC")


def test_the_status_says_since_when_with_a_remedy(catalogue):
    from gguf_assets.orchestration.overview import overview

    with time_machine.travel(NOON + timedelta(hours=1)):
        facts = overview(catalogue.environ)
    assert freshness_lines(facts) == [
        "Published catalogue: 2025-08-10, last success 1.0 h ago, fresh until 2025-08-10 15:00 UTC"
    ]
    with time_machine.travel(NOON + timedelta(hours=5)):
        facts = overview(catalogue.environ)
    first, remedy = freshness_lines(facts)
    assert first.endswith("last success 5.0 h ago, stale since 2025-08-10 15:00 UTC")
    assert remedy.strip().startswith("→ Sync: gguf-assets sync")
    told = facts.as_json()["freshness"]
    assert (told["state"], told["latest_day"]) == ("stale", FIRST)


@pytest.mark.parametrize(("warning", "failure", "valid"), [(26, 27, True), (26, 26, False), (60, 50, False)])
def test_failure_comes_after_warning(tmp_path, warning, failure, valid):
    hours = {
        "GGUF_SYNC__MONITORING__FRESHNESS_WARNING_HOURS": str(warning),
        "GGUF_SYNC__MONITORING__FRESHNESS_FAILURE_HOURS": str(failure),
    }
    if valid:
        settings(tmp_path, **hours)
        return
    with pytest.raises(InvalidSettings, match="Freshness failure hours must be more than") as refused:
        settings(tmp_path, **hours)
    assert f"a whole number above {warning}" in str(refused.value)
