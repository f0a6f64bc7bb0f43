"""Runs whose process is gone are shown as failed, and no others."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from gguf_assets.orchestration.instance import open_instance
from gguf_assets.orchestration.runs import BOOT, HOST, PID, boot_id, is_dead, process_tags, reap_dead_runs

Status = dg.DagsterRunStatus


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("DAGSTER_HOME", "/unset")
    with open_instance(tmp_path / "dagster") as instance:
        yield instance


@pytest.fixture
def gone() -> dict[str, str]:
    """The tags of a process of this machine that has been killed."""
    with sleeper() as process:
        tags = process_tags(process.pid)
        assert not is_dead(tags)
        process.kill()
    return tags


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])


def add_run(instance: dg.DagsterInstance, tags: dict[str, str], status: Status = Status.STARTED) -> str:
    run_id = str(uuid.uuid4())
    instance.add_run(dg.DagsterRun(job_name="daily_sync", run_id=run_id, tags=tags, status=status))
    return run_id


def status_of(instance: dg.DagsterInstance, run_id: str) -> Status:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_a_run_of_a_killed_process_is_reported_as_failed_with_the_process_named(
    instance: dg.DagsterInstance, gone: dict[str, str]
) -> None:
    run_id = add_run(instance, gone)
    assert reap_dead_runs(instance) == [run_id]
    assert status_of(instance, run_id) is Status.FAILURE
    (entry,) = instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    pid = gone[PID].partition(":")[0]
    assert f"The process of this run ({pid}) is gone" in (entry.dagster_event.message or "")
    assert reap_dead_runs(instance) == [], "once is enough"


@pytest.mark.parametrize("status", [Status.NOT_STARTED, Status.STARTING, Status.STARTED, Status.CANCELING])
def test_a_dead_run_is_found_however_far_it_came(
    instance: dg.DagsterInstance, gone: dict[str, str], status: Status
) -> None:
    assert reap_dead_runs(instance) == []
    run_id = add_run(instance, gone, status)
    assert reap_dead_runs(instance) == [run_id]


@pytest.mark.parametrize("status", [Status.SUCCESS, Status.FAILURE, Status.CANCELED])
def test_runs_that_have_ended_stay_as_they_are(
    instance: dg.DagsterInstance, gone: dict[str, str], status: Status
) -> None:
    run_id = add_run(instance, gone, status)
    assert reap_dead_runs(instance) == []
    assert status_of(instance, run_id) is status


def test_a_living_process_is_left_alone(instance: dg.DagsterInstance) -> None:
    own = add_run(instance, process_tags())
    with sleeper() as process:
        other = add_run(instance, process_tags(process.pid))
        assert reap_dead_runs(instance) == []
        process.kill()
    assert status_of(instance, own) is status_of(instance, other) is Status.STARTED


def test_a_run_that_no_process_has_marked_is_left_alone(instance: dg.DagsterInstance) -> None:
    add_run(instance, {})
    add_run(instance, {PID: "no number", HOST: platform.node(), BOOT: boot_id()})
    assert reap_dead_runs(instance) == []


def test_another_process_with_the_same_number_is_not_taken_for_the_old_one(
    instance: dg.DagsterInstance,
) -> None:
    pid, _, started = process_tags()[PID].partition(":")
    assert int(pid) == os.getpid()
    run_id = add_run(instance, {**process_tags(), PID: f"{pid}:{int(started) - 100}"})
    assert reap_dead_runs(instance) == [run_id]


def test_a_process_of_another_machine_is_left_alone(
    instance: dg.DagsterInstance, gone: dict[str, str]
) -> None:
    add_run(instance, {**gone, HOST: "another-machine"})
    add_run(instance, {**gone, HOST: "another-machine", BOOT: "another boot"})
    assert reap_dead_runs(instance) == []


def test_a_process_of_before_the_last_boot_is_dead_even_if_its_number_lives(
    instance: dg.DagsterInstance,
) -> None:
    run_id = add_run(instance, {**process_tags(), BOOT: "an earlier boot"})
    assert reap_dead_runs(instance) == [run_id]


def test_a_killed_process_that_its_parent_has_not_asked_for_is_dead(instance: dg.DagsterInstance) -> None:
    process = sleeper()
    run_id = add_run(instance, process_tags(process.pid))
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    try:
        assert Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        assert reap_dead_runs(instance) == [run_id]
    finally:
        process.wait()


def test_a_run_executed_again_is_not_taken_for_the_dead_one_whose_tags_it_has_inherited(
    instance: dg.DagsterInstance, gone: dict[str, str]
) -> None:
    first = add_run(instance, gone)
    assert reap_dead_runs(instance) == [first]
    again = dg.DagsterRun(
        job_name="daily_sync",
        run_id=str(uuid.uuid4()),
        tags=gone,
        status=Status.STARTING,
        parent_run_id=first,
        root_run_id=first,
    )
    instance.add_run(again)
    assert reap_dead_runs(instance) == []

    instance.add_run_tags(again.run_id, {**gone, PID: "999999999:1"})
    assert reap_dead_runs(instance) == [again.run_id], "marked by its own process, which is gone"
