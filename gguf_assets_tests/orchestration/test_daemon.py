"""Dagster's own daemon at work: its loops, its queue, runs in processes of their own, a code server.

`player` plays the daemon where the clock has to be moved; here nothing is played, so the day is the present
one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
import time_machine
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.scheduler.instigation import InstigatorTick, TickStatus
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.backfill import execute_backfill_iteration
from dagster._daemon.monitoring.run_monitoring import execute_run_monitoring_iteration
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from dagster._daemon.sensor import execute_sensor_iteration

from gguf_assets.demo.faults import Fault, FaultKind
from gguf_assets.orchestration.runs import PID
from gguf_assets_tests.calling import Catalogue
from gguf_assets_tests.hubs import hub_of, repository
from gguf_assets_tests.orchestration.player import Player, launchpad, playing
from gguf_assets_tests.running import wait_until

pytestmark = pytest.mark.slow

THRESHOLD, REPAIR = "full_sync_threshold_sensor", "failed_sync_repair_sensor"
AGE = timedelta(days=8)
MODELS = [repository(f"owner/model-{number}") for number in range(3)]
MODULE = "gguf_assets.definitions"
Status = dg.DagsterRunStatus


def present_day() -> date:
    """Return today, which does not end while a test runs: shortly before midnight that is waited for."""
    now = datetime.now(UTC)
    left = timedelta(days=1) - (now - now.replace(hour=0, minute=0, second=0, microsecond=0))
    if left < timedelta(minutes=4):
        time.sleep(left.total_seconds() + 1)
    return datetime.now(UTC).date()


class Daemon:
    """The loops of Dagster's daemon, turned by hand; the last full sync was eight days ago."""

    def __init__(self, player: Player, workspace: Any, today: date) -> None:
        self.today, self.long_ago, self.never_seen = today, today - AGE, today - timedelta(days=4)
        self.player, self.instance, self._workspace = player, player.instance, workspace
        self._log = logging.getLogger("daemon")
        self._queue = QueuedRunCoordinatorDaemon(1)
        request = workspace.create_request_context()
        (entry,) = request.get_code_location_entries().values()
        assert entry.code_location, entry.load_error
        (self.repository,) = entry.code_location.get_repositories().values()

    def look(self, name: str, *, later: float = 0) -> InstigatorTick:
        """Turn the loop of the sensors, so many seconds from now, and return the last tick of one."""
        with time_machine.travel(datetime.now(UTC) + timedelta(seconds=later)):
            assert not [
                error for error in execute_sensor_iteration(self._workspace, self._log, None, None) if error
            ]
        sensor = self.repository.get_sensor(name)
        (tick,) = self.instance.get_ticks(sensor.get_remote_origin_id(), sensor.selector_id, limit=1)
        return tick

    def launch(self) -> None:
        """Turn the loop of the queue."""
        assert not [error for error in self._queue.run_iteration(self._workspace) if error]

    def monitor(self) -> None:
        """Turn the loop that watches over runs."""
        assert not [e for e in execute_run_monitoring_iteration(self._workspace, self._log) if e]

    def backfill(self, job: str, days: list[date], config: dict[str, Any]) -> None:
        """Ask for a backfill of a job as the UI does, and turn the loop of the backfills."""
        self.instance.add_backfill(
            PartitionBackfill(
                "backfill",
                BulkActionStatus.REQUESTED,
                False,
                {},
                time.time(),
                partition_set_origin=self.repository.get_partition_set(
                    f"{job}_partition_set"
                ).get_remote_origin(),
                partition_names=[str(day) for day in days],
                run_config=config,
            )
        )
        self.go_on()

    def go_on(self) -> None:
        """Turn the loop of the backfills."""
        assert not [error for error in execute_backfill_iteration(self._workspace, self._log) if error]

    def backfill_assets(self, days: list[date]) -> None:
        """Ask for a backfill of all assets as the asset graph of the UI does, and turn its loop."""
        graph = self.repository.asset_graph
        self.instance.add_backfill(
            PartitionBackfill.from_asset_partitions(
                backfill_id="assets",
                asset_graph=graph,
                partition_names=[str(day) for day in days],
                asset_selection=list(graph.materializable_asset_keys),
                backfill_timestamp=time.time(),
                tags={},
                dynamic_partitions_store=self.instance,
                all_partitions=False,
                title=None,
                description=None,
                run_config=None,
            )
        )
        self.go_on()

    def runs(self, **tags: str) -> list[dg.DagsterRun]:
        """Runs with these tags of Dagster's, oldest first."""
        named = {f"dagster/{name}": value for name, value in tags.items()}
        return list(self.instance.get_runs(filters=dg.RunsFilter(tags=named), ascending=True))

    def finish(self, **tags: str) -> list[dg.DagsterRun]:
        """Turn the queue until the runs with these tags have ended."""

        def ended() -> bool:
            self.launch()
            time.sleep(0.3)  # the runs need the processor more
            return all(run.is_finished for run in self.runs(**tags))

        wait_until(ended, f"the runs with {tags}")
        return self.runs(**tags)

    def text(self, run: dg.DagsterRun) -> str:
        """Everything the run's event log says."""
        entries = self.instance.all_logs(run.run_id)
        said = [
            (entry.dagster_event and entry.dagster_event.message) or entry.user_message for entry in entries
        ]
        return "\n".join(said)


@pytest.fixture
def stalled() -> Fault:
    """The Hub keeps silent on a discovery route, which a full sync walks after the listing."""
    return Fault(FaultKind.STALL, path="search=gguf", seconds=900)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A catalogue in staging, where the automation is on, whose last full sync is eight days old."""
    today = present_day()
    with hub_of(dict.fromkeys((today - AGE, today), MODELS), day=today - AGE, tick=0) as hub:
        catalogue = Catalogue(tmp_path, hub, SYNC_ENVIRONMENT="staging", HF_TOKEN="hf_" + "x" * 20)
        config = catalogue.data / "config" / "sync-config-staging.yaml"
        config.parent.mkdir(parents=True)
        config.write_text("environment: staging\nerror_handling:\n  recovery_delay_seconds: 0\n")
        assert catalogue.sync().code == 0
        hub.set_day(today)
        hub.clear_requests()
        home = str(catalogue.store.layout.dagster_home)
        target = ModuleTarget(MODULE, attribute=None, working_directory=None, location_name=MODULE)
        with (
            playing(catalogue, DAGSTER_HOME=home) as player,
            create_test_daemon_workspace_context(target, player.instance) as workspace,
        ):
            yield Daemon(player, workspace, today)


def test_a_full_sync_that_is_due_hangs_is_ended_and_repaired_and_days_are_backfilled(
    daemon: Daemon, stalled: Fault
) -> None:
    player, catalogue = daemon.player, daemon.player.catalogue
    today, long_ago, never_seen = daemon.today, daemon.long_ago, daemon.never_seen
    hub, history = catalogue.hub, catalogue.store.history

    # The sensor is on without anybody's doing, and asks for one run however often it is evaluated.
    assert daemon.look(THRESHOLD).status is TickStatus.SUCCESS
    (full,) = daemon.runs(sensor_name=THRESHOLD)
    assert (full.job_name, full.status) == ("full_sync", Status.QUEUED)
    assert full.tags["dagster/run_key"] == f"full:{long_ago}T12:00:00+00:00:{today}"
    assert full.tags["dagster/max_runtime"] == str(6 * 3600)
    tick = daemon.look(THRESHOLD, later=301)
    assert tick.status is TickStatus.SKIPPED
    assert tick.skip_reason is not None
    assert f"queued or running already: run {full.run_id[:8]} (full_sync, queued)" in tick.skip_reason
    assert daemon.runs(sensor_name=THRESHOLD) == [full]

    # A run that takes longer than its bound is ended, and not before. The bound is lowered here, since nobody
    # can move the clock of the run's process.
    hub.faults.append(stalled)
    daemon.launch()
    wait_until(lambda: stalled.hits, "the run to wait for the Hub")
    daemon.monitor()
    (full,) = daemon.runs(sensor_name=THRESHOLD)
    assert full.status is Status.STARTED
    process = int(full.tags[PID].partition(":")[0])
    player.instance.add_run_tags(full.run_id, {"dagster/max_runtime": "0.01"})
    daemon.monitor()
    wait_until(lambda: not psutil.pid_exists(process), "the end of the run's process")
    (full,) = daemon.finish(sensor_name=THRESHOLD)
    assert "Exceeded maximum runtime of 0 seconds" in daemon.text(full)
    assert full.status in (Status.FAILURE, Status.CANCELED), "whose word comes last is Dagster's affair"
    hub.faults.clear()
    last = history.syncs()[-1]
    assert (last.run_id, last.state, last.category) == (full.run_id, "failed", "system")
    assert catalogue.store.published.days() == [long_ago]

    # The other sensor asks for the repair, which goes on where the killed run stopped, under its plan.
    tick = daemon.look(REPAIR, later=700)
    assert tick.status is TickStatus.SUCCESS, tick.skip_reason
    (repair,) = daemon.finish(sensor_name=REPAIR)
    assert (repair.job_name, repair.status) == ("daily_sync", Status.SUCCESS), daemon.text(repair)
    assert repair.tags["dagster/run_key"] == f"repair:{full.run_id}"
    last = history.syncs()[-1]
    assert (last.mode, last.reason, last.trigger) == ("full", "explicit", f"sensor {REPAIR}")
    assert "going on with capture run 01" in daemon.text(repair)
    assert catalogue.store.published.days() == [long_ago, today]

    # A backfill: one run at a time, in the order of the days, whatever order they were named in.
    before = catalogue.published()
    hub.clear_requests()
    daemon.backfill("daily_sync", [long_ago, never_seen, today], launchpad(mode="full"))
    runs = {run.tags["dagster/partition"]: run for run in daemon.finish(backfill="backfill")}
    assert {day: run.status for day, run in runs.items()} == {
        str(long_ago): Status.SUCCESS,
        str(never_seen): Status.FAILURE,
        str(today): Status.SUCCESS,
    }
    times = []
    for day in (long_ago, never_seen, today):
        record = player.instance.get_run_record_by_id(runs[str(day)].run_id)
        assert record is not None
        times += [record.start_time, record.end_time]
    assert times == sorted(times), "one after another, in the order of the days"

    # A captured day is derived again without a request, as it was; today is fetched again in full.
    ran = {day: player.ended(run.run_id) for day, run in runs.items()}
    assert f"Nothing is fetched: {long_ago} has a complete capture, run 01" in ran[str(long_ago)].lines
    assert ran[str(today)].choice == ("full", "explicit")
    assert ran[str(today)].listing["requests"] == len(hub.requests) > 0
    assert ran[str(long_ago)].listing["requests"] == 0
    after = catalogue.published()
    changed = {path for path in before if after[path] != before[path]}
    assert changed, "the manifest of today names another capture"
    assert not [path for path in changed if str(long_ago) in path]

    # A day that nobody captured fails at once and for good, with the reason, and leaves no trace.
    lost = ran[str(never_seen)]
    assert lost.record is None
    (failure,) = [
        event.dagster_event.step_failure_data
        for event in player.instance.all_logs(runs[str(never_seen)].run_id)
        if event.dagster_event is not None and event.dagster_event.is_step_failure
    ]
    described = failure.user_failure_data
    assert described is not None
    assert f"{never_seen} cannot be captured any more" in str(described.description)
    assert f"Days that can be rebuilt from their captures: {long_ago}, {today}." in str(described.description)
    assert "the Hub shows only the present" in str(described.description)
    assert "STEP_UP_FOR_RETRY" not in daemon.text(runs[str(never_seen)])
    assert len(daemon.runs(backfill="backfill")) == 3, "no run was repeated"

    # The same from the asset graph, whose runs have no job of ours: one at a time, in order, and bounded.
    hub.clear_requests()
    syncs = len(history.syncs())
    daemon.backfill_assets([long_ago, today])
    daemon.finish(backfill="assets")
    daemon.go_on()
    configuration, *graph_runs = daemon.finish(backfill="assets")
    assert configuration.asset_selection == {dg.AssetKey("configuration")}, "it is of no day, and comes first"
    assert [run.tags["dagster/partition"] for run in graph_runs] == [str(long_ago), str(today)]
    assert [run.status for run in graph_runs] == [Status.SUCCESS] * 2, daemon.text(graph_runs[0])
    assert all(run.tags["dagster/max_runtime"] == str(6 * 3600) for run in graph_runs)
    records = [player.instance.get_run_record_by_id(run.run_id) for run in graph_runs]
    first, second = (record for record in records if record is not None)
    assert first.end_time <= second.start_time
    assert hub.requests == []
    assert catalogue.published() == after
    assert len(history.syncs()) == syncs + 1, "deriving a past day again is no look at the Hub"
