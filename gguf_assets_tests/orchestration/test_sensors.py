"""The sensors: a full sync when the last one is too old, another try when the last sync failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import dagster as dg
import orjson
import pytest

from gguf_assets.demo.faults import Fault
from gguf_assets.demo.server import LoopbackHub
from gguf_assets.errors import ErrorCategory
from gguf_assets.orchestration.runs import process_tags
from gguf_assets.store.lock import WriterLock
from gguf_assets_tests.calling import Catalogue
from gguf_assets_tests.hubs import hub_of, repository
from gguf_assets_tests.orchestration.player import Player, Ran, launchpad, playing
from gguf_assets_tests.orchestration.test_runs import sleeper

THRESHOLD, REPAIR = "full_sync_threshold_sensor", "failed_sync_repair_sensor"
FIRST = date(2025, 8, 10)
NOON = datetime.combine(FIRST, time(12), UTC)
DAYS = [FIRST + timedelta(days=number) for number in range(10)]
MODELS = [repository(f"owner/model-{number}") for number in range(3)]
FULL = {"ops": {"hub_listing": {"config": {"mode": "full"}}}}
DUE = "Last full sync {age} h ago (2025-08-10 12:00 UTC by the Hub's clock); threshold 168 h; due at "
DUE += "2025-08-17 12:00 UTC, {when}"
Status = dg.DagsterRunStatus


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    with hub_of(dict.fromkeys(DAYS, MODELS), day=FIRST, tick=0) as hub:
        yield hub


@pytest.fixture(scope="module")
def first_day(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """A catalogue whose first day is published, by a full sync at noon."""
    catalogue = Catalogue(tmp_path_factory.mktemp("first"), hub)
    hub.set_day(FIRST)
    assert catalogue.sync().code == 0
    return catalogue


@pytest.fixture
def player(first_day: Catalogue, tmp_path: Path) -> Iterator[Player]:
    """The daemon of a copy of it."""
    with playing(first_day.copy(tmp_path, MAX_RETRIES="0")) as player:
        player.catalogue.hub.clear_requests()
        yield player


@pytest.fixture
def empty(hub: LoopbackHub, tmp_path: Path) -> Iterator[Player]:
    """The daemon of an empty catalogue that begins on the first day."""
    with playing(Catalogue(tmp_path, hub, GGUF_ASSETS_START_DATE=str(FIRST))) as player:
        yield player


def after(**span: float) -> datetime:
    """So long after the full sync of the first day."""
    return NOON + timedelta(**span)


@contextmanager
def broken(hub: LoopbackHub) -> Iterator[None]:
    """The Hub answers nothing but 503."""
    hub.faults[:] = [Fault("status", status=503, count=None)]
    try:
        yield
    finally:
        hub.faults.clear()


def requested(answer: dg.RunRequest | str) -> dg.RunRequest:
    assert isinstance(answer, dg.RunRequest), answer
    return answer


def configure(player: Player, line: str) -> None:
    """Set a key of `error_handling` in the live configuration."""
    path = player.catalogue.data / "config" / "sync-config-testing.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"environment: testing\nerror_handling:\n  {line}\n")


class TestFullSyncThreshold:
    def test_before_it_is_due_every_tick_says_when(self, player: Player) -> None:
        for hours, when in ((0, "in 168.0 h"), (12.5, "in 155.5 h"), (167.9, "in 0.1 h"), (168, "in 0.0 h")):
            with player.at(after(hours=hours)):
                assert player.look(THRESHOLD) == DUE.format(age=f"{hours:.1f}", when=when)
        assert player.catalogue.hub.requests == [], "it reads stored state, never the Hub"

    def test_when_it_is_due_a_full_sync_of_today_is_requested(self, player: Player) -> None:
        with player.at(after(hours=168, seconds=1)):
            request = requested(player.look(THRESHOLD))
            assert player.catalogue.hub.requests == []
            assert request.run_key == "full:2025-08-10T12:00:00+00:00:2025-08-17"
            assert (request.partition_key, request.run_config) == ("2025-08-17", FULL)
            ran = player.do(THRESHOLD, request)
            assert ran.choice == ("full", "explicit")
            assert ran.record is not None
            assert ran.record.trigger == f"sensor {THRESHOLD}"
            assert player.look(THRESHOLD) == (
                "Last full sync 0.0 h ago (2025-08-17 12:00 UTC by the Hub's clock); threshold 168 h; due at "
                "2025-08-24 12:00 UTC, in 168.0 h"
            )

    def test_incremental_syncs_in_between_do_not_put_it_off(self, player: Player) -> None:
        with player.at(after(hours=144)):
            assert player.run("daily_sync", DAYS[6]).choice == ("incremental", "recent")
        with player.at(after(hours=169)):
            assert requested(player.look(THRESHOLD)).run_key == "full:2025-08-10T12:00:00+00:00:2025-08-17"

    @pytest.mark.slow
    def test_a_thousand_ticks_request_once_and_again_the_next_day_if_that_failed(
        self, player: Player
    ) -> None:
        begin, step = after(hours=168, seconds=30), timedelta(seconds=43)
        assert (begin + 999 * step).date() == DAYS[7], "a thousand ticks on one day"
        keys, reasons = [], set()
        for number in range(1000):
            with player.at(begin + number * step):
                answer = player.look(THRESHOLD)
                if isinstance(answer, str):
                    reasons.add(answer.partition(" · ")[2])
                elif not player.known(THRESHOLD, answer):
                    keys.append(answer.run_key)
                    with broken(player.catalogue.hub):
                        failed = player.do(THRESHOLD, answer)
                    assert not failed.success
        assert keys == ["full:2025-08-10T12:00:00+00:00:2025-08-17"]
        assert reasons == {
            f"requested today already: run {failed.run.run_id[:8]} (full_sync, failure); if that does not "
            "help, it is requested again on 2025-08-18"
        }
        with player.at(datetime.combine(DAYS[8], time(), UTC)):
            request = requested(player.look(THRESHOLD))
            assert request.run_key == "full:2025-08-10T12:00:00+00:00:2025-08-18"
            assert player.do(THRESHOLD, request).choice == ("full", "explicit")
            assert isinstance(player.look(THRESHOLD), str)

    def test_a_request_that_nobody_has_run_yet_keeps_its_key(self, player: Player) -> None:
        answers = []
        for hours in (169, 170):
            with player.at(after(hours=hours)):
                answers.append(requested(player.look(THRESHOLD)).run_key)
        assert len(set(answers)) == 1

    @pytest.mark.parametrize("status", [Status.QUEUED, Status.STARTED])
    @pytest.mark.parametrize("job", ["daily_sync", "full_sync", "rederive"])
    def test_it_waits_for_a_run_for_today(self, player: Player, job: str, status: Status) -> None:
        with player.at(after(hours=170)):
            pending = player.pend(job, DAYS[7], status)
            assert player.look(THRESHOLD) == (
                DUE.format(age="170.0", when="2.0 h ago")
                + f" · queued or running already: run {pending[:8]} ({job}, {status.value.lower()})"
            )
            player.end(pending)
            assert isinstance(player.look(THRESHOLD), dg.RunRequest)
            player.pend(job, DAYS[6], status)
            assert isinstance(player.look(THRESHOLD), dg.RunRequest), "another day is waited for in the queue"

    def test_it_waits_for_whoever_writes(self, player: Player) -> None:
        lock = WriterLock(player.catalogue.store.layout)
        with player.at(after(hours=170)):
            with lock.held(command="gguf-assets sync"):
                reason = player.look(THRESHOLD)
            assert isinstance(reason, str)
            assert reason.startswith(
                DUE.format(age="170.0", when="2.0 h ago") + " · the store is being written to by process "
            )
            assert "`gguf-assets sync`" in reason
            assert isinstance(player.look(THRESHOLD), dg.RunRequest)

    def test_before_the_first_published_day_there_is_nothing_to_watch(self, empty: Player) -> None:
        with empty.at(NOON):
            assert empty.look(THRESHOLD) == (
                "No day is published yet, so the first sync is full in any case (threshold 168 h)"
            )

    def test_the_threshold_is_read_anew_at_every_tick(
        self, player: Player, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with player.at(after(hours=24)):
            assert isinstance(player.look(THRESHOLD), str)
            monkeypatch.setenv("FULL_SYNC_THRESHOLD_HOURS", "23")
            assert isinstance(player.look(THRESHOLD), dg.RunRequest)

    @pytest.mark.parametrize("sensor", [THRESHOLD, REPAIR])
    def test_settings_that_cannot_be_loaded_are_the_reason(
        self, player: Player, monkeypatch: pytest.MonkeyPatch, sensor: str
    ) -> None:
        monkeypatch.setenv("FULL_SYNC_THRESHOLD_HOURS", "soon")
        with player.at(after(hours=170)):
            reason = player.look(sensor)
        assert isinstance(reason, str)
        assert reason.startswith("The settings cannot be loaded, so nothing is requested: ")
        assert "FULL_SYNC_THRESHOLD_HOURS" in reason
        assert "soon" in reason

    def test_without_a_history_the_published_days_tell(self, player: Player) -> None:
        store = player.catalogue.store
        store.layout.history_file.unlink()
        store.layout.last_sync_file.unlink()
        with player.at(after(hours=5)):
            assert player.look(THRESHOLD) == DUE.format(age="5.0", when="in 163.0 h"), "noon of today"
        with player.at(after(hours=170)):
            key = requested(player.look(THRESHOLD)).run_key
        assert key == "full:2025-08-10T12:00:00+00:00:2025-08-17"

    def test_where_no_full_sync_is_on_record_one_is_requested(self, player: Player) -> None:
        layout = player.catalogue.store.layout
        layout.history_file.unlink()
        layout.last_sync_file.unlink()
        manifest = layout.published_manifest(FIRST)
        manifest.write_bytes(orjson.dumps({**orjson.loads(manifest.read_bytes()), "mode": "incremental"}))
        with player.at(after(hours=24)):
            assert requested(player.look(THRESHOLD)).run_key == "full:never:2025-08-11"

    def test_a_day_that_is_no_partition_is_refused_by_name(
        self, first_day: Catalogue, tmp_path: Path
    ) -> None:
        catalogue = first_day.copy(tmp_path, GGUF_ASSETS_START_DATE="2025-09-01")
        with playing(catalogue) as player, player.at(after(hours=170)):
            reason = player.look(THRESHOLD)
        assert isinstance(reason, str)
        assert "2025-08-17 is no day of this catalogue: its days begin on 2025-09-01" in reason


class TestFailedSyncRepair:
    def fail(self, player: Player, category: ErrorCategory = ErrorCategory.NETWORK) -> str:
        """Record a sync that failed and that Dagster knows nothing of; return its identity."""
        sync_id = f"failed-{len(player.catalogue.store.history.syncs())}"
        player.catalogue.store.history.started(sync_id, DAYS[1], NOON)
        player.catalogue.store.history.failed(sync_id, "the Hub is out of reach", category)
        return sync_id

    def sync(self, player: Player, day: date) -> Ran:
        """Sync while the Hub answers 503."""
        with broken(player.catalogue.hub):
            ran = player.run("daily_sync", day)
        assert not ran.success
        assert ran.record is not None
        assert ran.record.state == "failed"
        return ran

    def test_a_failed_sync_is_tried_again_in_full_after_the_delay(self, player: Player) -> None:
        failure = after(hours=24)
        with player.at(failure):
            failed = self.sync(player, DAYS[1])
        for seconds in (0, 1, 59):
            with player.at(failure + timedelta(seconds=seconds)):
                reason = player.look(REPAIR)
            assert isinstance(reason, str)
            assert reason.startswith("The last sync, of ")
            assert reason.endswith(
                f" · its end is {seconds} s ago, and another try comes after 60 s "
                "(error_handling.recovery_delay_seconds): from 2025-08-11 12:01:00 UTC on, in "
                f"{60 - seconds} s"
            )
        with player.at(failure + timedelta(seconds=60)):
            player.catalogue.hub.clear_requests()
            request = requested(player.look(REPAIR))
            assert player.catalogue.hub.requests == [], "the sensor never asks the Hub"
            assert request.run_key == f"repair:{failed.run.run_id}"
            assert (request.partition_key, request.run_config) == ("2025-08-11", {})
            ran = player.do(REPAIR, request)
            assert ran.choice == ("full", "last_failed")
            assert ran.record is not None
            assert ran.record.trigger == f"sensor {REPAIR}"
            assert player.look(REPAIR) == "The last sync, of 2025-08-11, did not fail (finished)"
        assert DAYS[1] in player.catalogue.store.published.days()

    def test_what_failed_on_an_earlier_day_is_repaired_by_today(self, player: Player) -> None:
        with player.at(after(hours=24)):
            self.sync(player, DAYS[1])
        with player.at(after(hours=72)):
            request = requested(player.look(REPAIR))
            assert request.partition_key == "2025-08-13"
            assert player.do(REPAIR, request).choice == ("full", "last_failed")

    def test_a_failed_second_sync_of_a_published_day_is_repaired_by_looking_at_the_hub_again(
        self, player: Player
    ) -> None:
        with player.at(after(hours=169)):
            assert player.run("daily_sync", DAYS[7], launchpad(mode="incremental")).success
            request = requested(player.look(THRESHOLD))
            with broken(player.catalogue.hub):
                failed = player.do(THRESHOLD, request)
            assert not failed.success
        with player.at(after(hours=170)):
            request = requested(player.look(REPAIR))
            assert (request.run_key, request.run_config) == (
                f"repair:{failed.run.run_id}",
                {"ops": {"hub_listing": {"config": {"refetch": True}}}},
            )
            ran = player.do(REPAIR, request)
            assert ran.choice == ("full", "last_failed")
            assert ran.requests > 0
            reason = player.look(THRESHOLD)
            assert isinstance(reason, str)
            assert reason.startswith("Last full sync 0.0 h ago (2025-08-17 14:00 UTC")

    def test_a_day_is_tried_so_often_at_most_and_the_next_day_again(self, player: Player) -> None:
        moment, keys, reason = after(hours=24), [], ""
        with player.at(moment):
            self.sync(player, DAYS[1])
        for _ in range(200):
            moment += timedelta(minutes=2)
            with player.at(moment):
                answer = player.look(REPAIR)
                if isinstance(answer, str):
                    reason = answer
                else:
                    keys.append(answer.run_key)
                    with broken(player.catalogue.hub):
                        player.do(REPAIR, answer)
        failures = [sync.sync_id for sync in player.catalogue.store.history.syncs()[1:]]
        assert len(failures) == 4
        assert keys == [f"repair:{sync_id}" for sync_id in failures[:3]]
        assert reason.endswith(
            " · 3 of at most 3 tries were requested for 2025-08-11 (error_handling.max_recovery_attempts); "
            "by hand: gguf-assets sync"
        )
        with player.at(datetime.combine(DAYS[2], time(), UTC)):
            request = requested(player.look(REPAIR))
        assert (request.run_key, request.partition_key) == (f"repair:{failures[-1]}", "2025-08-12")

    def test_no_tries_may_be_wanted(self, player: Player) -> None:
        self.fail(player)
        configure(player, "max_recovery_attempts: 0")
        with player.at(after(hours=30)):
            reason = player.look(REPAIR)
        assert isinstance(reason, str)
        assert " · 0 of at most 0 tries were requested for 2025-08-11 " in reason

    def test_the_delay_is_that_of_the_settings(self, player: Player) -> None:
        self.fail(player)
        configure(player, "recovery_delay_seconds: 0")
        with player.at(after(hours=30)):
            assert isinstance(player.look(REPAIR), dg.RunRequest)

    @pytest.mark.parametrize("category", list(ErrorCategory))
    def test_only_what_another_try_may_cure_is_tried_again(
        self, player: Player, category: ErrorCategory
    ) -> None:
        sync_id = self.fail(player, category)
        with player.at(after(hours=24)):
            player.look(REPAIR)
        with player.at(after(hours=24, seconds=60)):
            answer = player.look(REPAIR)
        if category in ("network", "timeout", "rate_limit", "api", "data", "system"):
            assert requested(answer).run_key == f"repair:{sync_id}"
        else:
            assert answer == (
                f"The last sync, of 2025-08-11, failed ({category}): the Hub is out of reach · another try "
                "cannot cure that: change what is wrong, then gguf-assets sync"
            )

    def test_the_delay_counts_from_the_first_sight_where_dagster_has_no_record(self, player: Player) -> None:
        self.fail(player)
        begin = after(hours=30)
        for seconds, wait in ((0, 60), (30, 30), (59, 1)):
            with player.at(begin + timedelta(seconds=seconds)):
                reason = player.look(REPAIR)
                assert isinstance(reason, str)
                assert f"its end is {seconds} s ago" in reason
                assert reason.endswith(f"in {wait} s")
        with player.at(begin + timedelta(seconds=60)):
            assert isinstance(player.look(REPAIR), dg.RunRequest)
        second = self.fail(player)
        with player.at(begin + timedelta(seconds=90)):
            reason = player.look(REPAIR)
            assert isinstance(reason, str)
            assert "its end is 0 s ago" in reason
        with player.at(begin + timedelta(seconds=150)):
            assert requested(player.look(REPAIR)).run_key == f"repair:{second}"

    def test_a_sync_that_died_is_repaired_and_one_under_way_is_not(self, player: Player) -> None:
        with sleeper() as process, player.at(after(hours=24)):
            run_id = player.pend("daily_sync", DAYS[1], Status.STARTED, **process_tags(process.pid))
            player.catalogue.store.history.started(run_id, DAYS[1], NOON, run_id=run_id)
            assert player.look(REPAIR) == (
                f"Nothing is requested meanwhile: queued or running already: run {run_id[:8]} (daily_sync, "
                "started)"
            )
            process.kill()
            process.wait()
            reason = player.look(REPAIR)
            assert isinstance(reason, str)
            assert "failed (system): ended without a word (killed or crashed)" in reason
            assert "its end is 0 s ago" in reason
        with player.at(after(hours=24, seconds=60)):
            request = requested(player.look(REPAIR))
            assert request.run_key == f"repair:{run_id}"
            assert player.do(REPAIR, request).choice == ("full", "last_failed")

    def test_nothing_is_requested_while_something_is_queued_or_written(self, player: Player) -> None:
        self.fail(player)
        with player.at(after(hours=24)):
            player.look(REPAIR)
        lock = WriterLock(player.catalogue.store.layout)
        with player.at(after(hours=25)):
            pending = player.pend("rederive", FIRST)
            player.pend("details_backlog", FIRST)
            reason = player.look(REPAIR)
            assert isinstance(reason, str)
            assert "queued or running already: run " in reason
            assert reason.endswith(" and 1 more")
            for run in player.instance.get_runs(filters=dg.RunsFilter(statuses=[Status.QUEUED])):
                player.end(run.run_id)
            assert player.instance.get_run_by_id(pending).status is Status.CANCELED
            with lock.held(command="gguf-assets rederive"):
                reason = player.look(REPAIR)
                assert isinstance(reason, str)
                assert "`gguf-assets rederive`" in reason
            assert isinstance(player.look(REPAIR), dg.RunRequest)

    def test_recovery_can_be_switched_off(self, player: Player) -> None:
        self.fail(player)
        configure(player, "enable_error_recovery: false")
        with player.at(after(hours=30)):
            assert player.look(REPAIR) == (
                "The last sync, of 2025-08-11, failed (network): the Hub is out of reach · "
                "error_handling.enable_error_recovery is off"
            )

    def test_a_sync_that_somebody_cancelled_is_left_alone(self, player: Player) -> None:
        with player.at(after(hours=24)):
            run_id = player.pend("daily_sync", DAYS[1], Status.STARTED)
            player.catalogue.store.history.started(run_id, DAYS[1], NOON, run_id=run_id)
            player.end(run_id)
        with player.at(after(hours=30)):
            reason = player.look(REPAIR)
        assert isinstance(reason, str)
        assert (
            f"somebody cancelled it (run {run_id[:8]} (daily_sync, canceled)), so it is left alone" in reason
        )

    def test_a_sync_that_took_too_long_is_not_taken_for_one_that_somebody_cancelled(
        self, player: Player
    ) -> None:
        """Dagster's run monitoring cancels it and reports it as failed; the last word may be either."""
        with player.at(after(hours=24)):
            run_id = player.pend("daily_sync", DAYS[1], Status.STARTED)
            player.catalogue.store.history.started(run_id, DAYS[1], NOON, run_id=run_id)
            player.end(run_id, failed=True)
            player.end(run_id)
        run = player.instance.get_run_by_id(run_id)
        assert run is not None
        assert run.status is Status.CANCELED
        with player.at(after(hours=30)):
            assert requested(player.look(REPAIR)).run_key == f"repair:{run_id}"

    def test_every_failed_sync_is_answered_once_even_if_the_answer_was_refused(self, player: Player) -> None:
        """A run that is refused is no sync: the failed one stays the last."""
        self.fail(player)
        with player.at(after(hours=30)):
            player.look(REPAIR)
        with player.at(after(hours=31)):
            request = requested(player.look(REPAIR))
            player.catalogue.hub.set_day(DAYS[3])
            refused = player.do(REPAIR, request)
            assert not refused.success
            assert refused.record is None
            reason = player.look(REPAIR)
        assert isinstance(reason, str)
        assert (
            f"another try was requested already: run {refused.run.run_id[:8]} (daily_sync, failure)" in reason
        )

    def test_without_any_sync_there_is_nothing_to_repair(self, empty: Player) -> None:
        with empty.at(NOON):
            assert empty.look(REPAIR) == "No sync is on record yet"

    def test_a_secret_in_an_error_message_is_masked(self, player: Player) -> None:
        history = player.catalogue.store.history
        history.started("leak", DAYS[1], NOON)
        token = "hf_" + "abcdefghijklmnopqrstuvwxyz012345"
        history.failed("leak", f"Authorization: Bearer {token}", ErrorCategory.PERMISSION)
        with player.at(after(hours=30)):
            reason = player.look(REPAIR)
        assert isinstance(reason, str)
        assert token not in reason
