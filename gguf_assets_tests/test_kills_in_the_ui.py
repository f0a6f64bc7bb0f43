"""A run launched from the Dagster UI, killed and launched again: the real server, asked as a browser does."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import psutil
import pytest

from gguf_assets.demo.faults import Fault, FaultKind
from gguf_assets.orchestration.runs import PID
from gguf_assets_tests.calling import Catalogue, assert_clear
from gguf_assets_tests.hubs import hub_of, repository
from gguf_assets_tests.running import wait_until
from gguf_assets_tests.ui import Ui

DAY = date(2025, 8, 10)
REPOSITORIES = [
    repository(f"owner/model-{n:02d}", created_at=f"2025-06-{28 - n:02d}T10:00:00.000Z") for n in range(10)
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "ui").mkdir()
    return tmp_path / "ui"


@pytest.fixture
def arrived() -> Fault:
    """The Hub keeps silent on the eleventh request, a detail; `seen` counts all."""
    return Fault(FaultKind.STALL, nth=11, seconds=60)


@pytest.fixture
def catalogue(home: Path, arrived: Fault) -> Iterator[Catalogue]:
    with hub_of({DAY: REPOSITORIES}, page_size=4, tick=0) as hub:
        hub.faults.append(arrived)
        yield Catalogue(home, hub, GGUF_ASSETS_START_DATE=str(DAY))


@pytest.fixture
def ui(catalogue: Catalogue) -> Iterator[Ui]:
    ui = Ui(catalogue.environ)
    try:
        yield ui
    finally:
        ui.kill()


@pytest.fixture
def calm(ui: Ui, tmp_path: Path) -> tuple[dict[str, str], int]:
    """What the command line publishes, undisturbed, and how many requests that takes."""
    with hub_of({DAY: REPOSITORIES}, page_size=4, tick=0) as hub:
        undisturbed = Catalogue(tmp_path, hub)
        assert undisturbed.sync("--date", str(DAY)).code == 0
        return undisturbed.published(), len(hub.requests)


@pytest.mark.slow
def test_a_run_of_the_ui_killed_and_launched_again_publishes_what_the_command_line_does(
    ui: Ui, catalogue: Catalogue, calm: tuple[dict[str, str], int], arrived: Fault
) -> None:
    published, requests = calm
    job = ui.wait_for_definitions()
    assert psutil.Process(ui.process.pid).cmdline()[1:4] == ["-m", "dagster", "dev"], "signals reach Dagster"
    first = ui.launch(job, DAY)
    wait_until(lambda: arrived.hits, "the run to wait for the Hub")
    pid = int(ui.run(first)["tags"][PID].partition(":")[0])

    refused = catalogue.call("sync", "--date", str(DAY))
    assert_clear(refused, 2, f"process {pid}", f"run {first}", "`dagster run daily_sync`")
    assert [sync.sync_id for sync in catalogue.store.history.syncs()] == [first]

    os.kill(pid, signal.SIGKILL)
    second = ui.launch(job, DAY)
    ends = ("SUCCESS", "FAILURE", "CANCELED")
    run = wait_until(lambda: (run := ui.run(second))["status"] in ends and run, "the second run to end")
    assert run["status"] == "SUCCESS", run["text"]
    assert catalogue.published() == published, "the day of the UI equals that of the command line"
    assert arrived.seen == requests + 1, "only the request without an answer was sent again"

    dead = ui.run(first)
    assert dead["status"] == "FAILURE"
    # Whoever notices first says so: the next start, or Dagster in one of two wordings.
    assert f"({pid}) is gone" in dead["text"] or f"process for {first} " in dead["text"]
    assert [(sync.sync_id, sync.state) for sync in catalogue.store.history.syncs()] == [
        (first, "failed"),
        (second, "finished"),
    ]
    again = catalogue.call("sync", "--date", str(DAY), "--json").json
    assert (again["published"], again["requests"]) == (True, 0), "the command line finds the day done"
