"""The job and the command that remove what is too old, on days made by real syncs and on made-up ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import pytest

from gguf_assets.cli.maintenance import maintain as command
from gguf_assets.demo.generate import GeneratedHub
from gguf_assets.demo.server import LoopbackHub
from gguf_assets.errors import PermanentError
from gguf_assets.orchestration.maintenance import (
    AUDIT_EVENT,
    MAINTENANCE_CRON,
    build_maintenance_schedule,
    maintain,
    maintenance,
)
from gguf_assets.orchestration.resources import SettingsResource, StoreResource
from gguf_assets.settings.audit import Actor, AuditTrail, audit_file
from gguf_assets.settings.load import load_settings
from gguf_assets.store.layout import Layout
from gguf_assets.store.store import Store
from gguf_assets.store.thinning import rebuild, thin, thinned_days
from gguf_assets_tests.calling import Catalogue, digests
from gguf_assets_tests.running import environment
from gguf_assets_tests.store.histories import MONDAY, publish_history

NOWHERE = "http://127.0.0.1:9"
NOON = datetime(2025, 12, 1, 12, tzinfo=UTC)
ACTOR = Actor("somebody@here", "a test")
FIGURES = {
    "captures_removed",
    "candidates_removed",
    "leftovers_removed",
    "backups_removed",
    "days_thinned",
    "days_kept_whole",
    "rows_kept",
    "bytes_freed",
}
HOLDER = """
import sys
from pathlib import Path
from gguf_assets.store.layout import Layout
from gguf_assets.store.lock import WriterLock
folder = Path(sys.argv[1])
with WriterLock(Layout(folder, folder)).held(command="gguf-assets sync"):
    print("held", flush=True)
    sys.stdin.read()
"""
SHORT = {
    "storage.capture_retention_days": "4",
    "storage.candidate_retention_days": "2",
    "storage.files_full_days": "1",
}


def day(number: int) -> date:
    return MONDAY + timedelta(days=number)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    publish_history(Layout(tmp_path / "data", tmp_path / "data"), 10)
    return tmp_path


@pytest.fixture
def store(home: Path) -> Store:
    return Store(Layout(home / "data", home / "data"))


def trail_of(home: Path) -> list[dict[str, Any]]:
    entries = AuditTrail(audit_file(home / "data")).entries()
    return [entry for entry in entries if entry["event"] == AUDIT_EVENT]


def run(
    home: Path, overrides: Mapping[str, str] = SHORT, *, dry_run: bool = False
) -> dg.ExecuteInProcessResult:
    """Run the job in this process, with the resources that it has in earnest."""
    settings: Any = SettingsResource.configure_at_launch()
    with (
        mock.patch.dict(os.environ, environment(home, NOWHERE), clear=True),
        dg.instance_for_test() as instance,
    ):
        definitions = dg.Definitions(
            jobs=[maintenance],
            resources={"settings": settings, "store": StoreResource(settings=settings)},
        )
        return definitions.get_job_def("maintenance").execute_in_process(
            instance=instance,
            run_config={
                "ops": {"remove_what_is_too_old": {"config": {"dry_run": dry_run}}},
                "resources": {"settings": {"config": {"overrides": dict(overrides)}}},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
            raise_on_error=False,
        )


def metadata_of(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (output,) = [event for event in result.all_node_events if event.is_successful_output]
    return {name: value.value for name, value in output.step_output_data.metadata.items()}


def test_the_job_removes_thins_and_writes_one_line_to_the_audit_trail(home: Path, store: Store) -> None:
    original = digests(store.layout.published)
    result = run(home)
    assert result.success
    metadata = metadata_of(result)
    assert metadata.keys() >= FIGURES
    # The tenth day is the present one by the Hub's clock, day 9 and the one it was built on stay whole.
    assert (metadata["captures_removed"], metadata["candidates_removed"]) == (5, 7)
    assert metadata["days_thinned"] == 6
    assert metadata["days_kept_whole"] == metadata["leftovers_removed"] == 0
    assert metadata["bytes_freed"] > 10_000
    assert metadata["hub_day"] == day(9).isoformat()
    (entry,) = trail_of(home)
    assert entry["captures"] == [f"captures/date={day(n)}/run=01" for n in range(5)]
    assert entry["candidates"][0].endswith(f"date={day(0)}.json")
    assert entry["thinned"] == {str(day(n)): str(day(0)) for n in range(1, 7)}
    assert "maintenance" in entry["command"]
    again = metadata_of(run(home))
    assert {name: again[name] for name in FIGURES} == dict.fromkeys(FIGURES, 0)
    assert len(trail_of(home)) == 1  # nothing was done, nothing is recorded
    for one in thinned_days(store.layout):
        rebuild(store, one)
    assert digests(store.layout.published) == original


def test_a_dry_run_of_the_job_changes_nothing(home: Path, store: Store) -> None:
    before = (
        digests(store.layout.published) | digests(store.layout.captures) | digests(store.layout.candidate)
    )
    metadata = metadata_of(run(home, dry_run=True))
    assert (metadata["captures_removed"], metadata["days_thinned"], metadata["dry_run"]) == (5, 6, True)
    assert before == (
        digests(store.layout.published) | digests(store.layout.captures) | digests(store.layout.candidate)
    )
    assert trail_of(home) == []


def test_the_job_takes_the_lock_of_those_who_write_and_names_who_holds_it(home: Path, store: Store) -> None:
    before = digests(store.layout.published)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home / "data")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        result = run(home)
        holder.communicate(b"")
    assert not result.success
    assert "gguf-assets sync" in str([event.event_specific_data for event in result.all_events])
    assert digests(store.layout.published) == before


def test_by_default_nothing_of_the_last_month_is_touched_and_a_clock_in_2035_changes_nothing(
    home: Path, store: Store
) -> None:
    before = digests(store.layout.data)
    loaded = load_settings(environment(home, NOWHERE))
    done = maintain(store, loaded, ACTOR, datetime(2035, 1, 1, tzinfo=UTC))
    assert done.day == day(9)
    # Two candidates are older than a week; everything else is younger than its retention.
    assert [(one.kind, one.day) for one in done.removals] == [("candidate", day(0)), ("candidate", day(1))]
    assert not done.left_out
    after = digests(store.layout.data)
    assert {name for name in before.keys() - after.keys() if not name.startswith("candidate/")} == set()


def test_what_was_done_is_recorded_also_where_the_rest_could_not_be(
    home: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> Any:
        raise PermanentError("the disk is on fire", category="storage")  # type: ignore[arg-type]
        yield

    monkeypatch.setattr("gguf_assets.orchestration.maintenance.thin", broken)
    loaded = load_settings(environment(home, NOWHERE), overrides=SHORT)
    done = maintain(store, loaded, ACTOR, NOON)
    assert str(done.problem) == "the disk is on fire"
    assert len(done.names("capture")) == 5
    assert [entry["who"] for entry in trail_of(home)] == ["somebody@here"]
    assert not run(home, SHORT).success  # and the run fails


def test_nothing_is_removed_that_cannot_be_recorded(home: Path, store: Store) -> None:
    audit_file(home / "data").mkdir(parents=True)
    before = digests(store.layout.data)
    with pytest.raises(PermanentError):
        maintain(store, load_settings(environment(home, NOWHERE), overrides=SHORT), ACTOR, NOON)
    assert digests(store.layout.data) == before


def test_an_empty_store_is_no_failure(tmp_path: Path) -> None:
    metadata = metadata_of(run(tmp_path))
    assert {name: metadata[name] for name in FIGURES} == dict.fromkeys(FIGURES, 0)
    assert metadata["hub_day"] == "nothing captured yet"


@pytest.mark.parametrize("as_json", [False, True])
def test_the_command_says_what_it_does(home: Path, capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    variables = environment(home, NOWHERE, SYNC_STORAGE_FILES_FULL_DAYS="1")
    with mock.patch.dict(os.environ, variables, clear=True):
        command(dry_run=True, as_json=as_json)
    shown = capsys.readouterr().out
    if as_json:
        told = json.loads(shown.splitlines()[-1])
        assert told["dry_run"] is True
        assert told.keys() >= FIGURES
        assert told["candidates_removed"] == 2
    else:
        assert f"Would remove candidate candidate/manifest/date={day(0)}.json" in shown
        assert "2 candidates" in shown


@pytest.mark.parametrize(("name", "on"), [("production", True), ("development", False)])
def test_the_schedule_asks_for_it_every_day_after_the_sync(tmp_path: Path, name: str, on: bool) -> None:
    variables = environment(tmp_path, NOWHERE, SYNC_ENVIRONMENT=name)
    schedule = build_maintenance_schedule(variables, load_settings(variables))
    assert (schedule.cron_schedule, schedule.execution_timezone) == (MAINTENANCE_CRON, "UTC")
    assert (schedule.default_status == dg.DefaultScheduleStatus.RUNNING) is on
    with dg.build_schedule_context(scheduled_execution_time=NOON) as context:
        assert schedule.evaluate_tick(context).run_requests
        broken = {**variables, "SYNC_ENVIRONMENT": "nonsense"}
        skipping = build_maintenance_schedule(broken, load_settings(variables)).evaluate_tick(context)
    assert not skipping.run_requests
    assert "settings" in str(skipping.skip_message)


@pytest.mark.slow
def test_days_of_real_syncs_are_thinned_read_rederived_and_rebuilt(tmp_path: Path) -> None:
    source = GeneratedHub(3, 80, 10, date(2025, 8, 13))
    days = list(source.days)
    with LoopbackHub(source, day=days[0], tick=0) as hub:
        catalogue = Catalogue(tmp_path, hub)
        for number, one in enumerate(days):
            hub.set_day(one)
            mode = "full" if number % 4 == 0 else "incremental"
            ended = catalogue.sync("--mode", mode, "--details", "25", "--json")
            assert ended.code == 0, ended.stderr
        store, original = catalogue.store, catalogue.published()
        done = list(thin(store, days[-1] + timedelta(days=100), 30))
        gone = thinned_days(store.layout)
        assert len(gone) == len(done) >= 6
        # A day that was built on a thinned one is derived again from it, to the same bytes.
        built_on = next(one for one in gone if one - timedelta(days=1) in gone)
        ended = catalogue.call("rederive", "--from", str(built_on), "--to", str(built_on))
        assert ended.code == 0, ended.stderr
        assert built_on not in thinned_days(store.layout)
        for one in thinned_days(store.layout):
            rebuild(store, one)
        now = catalogue.published()
        assert {name: now.get(name) for name in original} == original
