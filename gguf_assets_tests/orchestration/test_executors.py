"""Executors by name, and that steps in processes of their own work on one run without refusing each other."""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import date
from multiprocessing.connection import Connection
from pathlib import Path

import dagster as dg
import pytest

from gguf_assets.errors import ErrorCategory, Refused
from gguf_assets.orchestration.executors import VARIABLE, chosen_executor, run_process
from gguf_assets.orchestration.instance import prepare_home
from gguf_assets.orchestration.resources import _acquire
from gguf_assets.orchestration.runs import PID
from gguf_assets.store.layout import Layout
from gguf_assets.store.lock import WriterLock
from gguf_assets_tests.calling import Catalogue
from gguf_assets_tests.hubs import hub_of, repository
from gguf_assets_tests.running import PATIENCE_SECONDS

DAY = date(2025, 8, 10)
processes = multiprocessing.get_context("spawn")


@pytest.mark.parametrize(
    ("environ", "executor"),
    [
        ({}, dg.in_process_executor),
        ({VARIABLE: ""}, dg.in_process_executor),
        ({VARIABLE: "in_process"}, dg.in_process_executor),
        ({VARIABLE: "multiprocess"}, dg.multiprocess_executor),
    ],
)
def test_steps_run_in_the_process_of_the_run_unless_another_executor_is_named(
    environ: dict[str, str], executor: dg.ExecutorDefinition
) -> None:
    assert chosen_executor(environ) is executor


def test_an_unknown_executor_is_refused_with_the_known_ones() -> None:
    allowed = "'threads' is no executor: allowed are in_process, multiprocess, celery"
    with pytest.raises(Refused, match=allowed):
        chosen_executor({VARIABLE: "threads"})


@pytest.mark.skipif(importlib.util.find_spec("dagster_celery") is not None, reason="the extra is installed")
def test_celery_without_its_extra_is_refused_with_the_way_to_get_it() -> None:
    with pytest.raises(Refused) as caught:
        chosen_executor({VARIABLE: "celery"})
    assert caught.value.category is ErrorCategory.CONFIGURATION
    assert "gguf_assets[celery]" in (caught.value.remedy or "")


def tell_run_process(pipe: Connection) -> None:
    pipe.send(
        {name: run_process({VARIABLE: name}) for name in ("", "in_process", "multiprocess", "celery")}
        | {"own": os.getpid()}
    )


def test_the_process_of_a_run_is_known_from_within_a_step_where_it_can_be() -> None:
    receiver, sender = processes.Pipe(duplex=False)
    step = processes.Process(target=tell_run_process, args=(sender,))
    step.start()
    told = receiver.recv()
    step.join()
    assert told[""] == told["in_process"] == told["own"] == step.pid
    assert told["multiprocess"] == os.getpid()
    assert told["celery"] is None


HOLD = """
import sys
from pathlib import Path
from gguf_assets.store.layout import Layout
from gguf_assets.store.lock import WriterLock
home = Path(sys.argv[1])
with WriterLock(Layout(home, home)).held(run_id="one", command="dagster run daily_sync"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock for the run `one` until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


def test_a_step_waits_for_another_step_of_its_run(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    lock, taken = WriterLock(Layout(tmp_path, tmp_path)), threading.Event()

    def wait() -> None:
        _acquire(lock, "one", "dagster run daily_sync")
        taken.set()

    step = threading.Thread(target=wait)
    step.start()
    assert not taken.wait(0.5)
    assert holder.stdin is not None
    holder.stdin.close()
    assert taken.wait(PATIENCE_SECONDS)
    step.join()
    lock.release()


@pytest.mark.parametrize("run_id", ["two", None])
@pytest.mark.usefixtures("holder")
def test_another_run_is_refused_at_once(tmp_path: Path, run_id: str | None) -> None:
    began = time.monotonic()
    with pytest.raises(Refused, match="run one, `dagster run daily_sync`"):
        _acquire(WriterLock(Layout(tmp_path, tmp_path)), run_id, "gguf-assets sync")
    assert time.monotonic() - began < 1.5


@pytest.mark.slow
def test_a_run_with_a_process_a_step_publishes_what_one_process_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repositories = [
        repository(f"owner/model-{n:02d}", created_at=f"2025-06-{28 - n:02d}T10:00:00.000Z") for n in range(8)
    ]
    (tmp_path / "steps").mkdir()
    with hub_of({DAY: repositories}, page_size=4, tick=0) as hub:
        calm = Catalogue(tmp_path, hub)
        assert calm.sync("--date", str(DAY)).code == 0
        requests = len(hub.requests)
        hub.clear_requests()

        home = tmp_path / "steps" / "data" / "dagster"
        variables = {VARIABLE: "multiprocess", "GGUF_ASSETS_START_DATE": str(DAY), "DAGSTER_HOME": str(home)}
        catalogue = Catalogue(tmp_path / "steps", hub, **variables)
        monkeypatch.setenv("DAGSTER_HOME", "/set/anew")
        prepare_home(home)
        # Steps forked from a server that has the definitions loaded: the same processes, in half the time.
        server = {"forkserver": {"preload_modules": ["gguf_assets.definitions"]}}
        config = tmp_path / "config.yaml"
        config.write_text(json.dumps({"execution": {"config": {"start_method": server}}}))
        tags = json.dumps({"dagster/partition": str(DAY)})
        job = ["-m", "gguf_assets.definitions", "-j", "daily_sync", "--config", str(config), "--tags", tags]
        run = subprocess.Popen(
            [sys.executable, "-m", "dagster", "job", "execute", *job],
            env=catalogue.environ,
            cwd=catalogue.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        output, _ = run.communicate(timeout=PATIENCE_SECONDS)
        assert run.returncode == 0, output
        assert len(hub.requests) == requests

    assert catalogue.published() == calm.published()
    assert [sync.state for sync in catalogue.store.history.syncs()] == ["finished"]
    with dg.DagsterInstance.from_config(str(home)) as instance:
        (record,) = instance.get_runs()
        steps = instance.all_logs(record.run_id, of_type=dg.DagsterEventType.STEP_WORKER_STARTED)
        assert len(steps) == 9, "a process for every step"
        assert record.tags[PID].partition(":")[0] == str(run.pid), "the run is marked with its own process"
