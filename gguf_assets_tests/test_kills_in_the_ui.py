"""A run launched from the Dagster UI, killed and launched again: the real server, asked as a browser does."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import psutil
import pytest

from gguf_assets.demo.faults import Fault, FaultKind
from gguf_assets.orchestration.runs import PID
from gguf_assets_tests.calling import Catalogue, assert_clear
from gguf_assets_tests.hubs import hub_of, repository
from gguf_assets_tests.running import wait_until

DAY = date(2025, 8, 10)
REPOSITORIES = [
    repository(f"owner/model-{n:02d}", created_at=f"2025-06-{28 - n:02d}T10:00:00.000Z") for n in range(10)
]

LOCATIONS = """query { workspaceOrError { ... on Workspace { locationEntries { name loadStatus
    locationOrLoadError { ... on RepositoryLocation { repositories { name } } } } } } }"""
LAUNCH = """mutation($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
RUN = """query($id: ID!) { runOrError(runId: $id) { ... on Run { status tags { key value }
    eventConnection { events { ... on MessageEvent { message } } } } } }"""


class Ui:
    """`gguf-assets dev` in a process group of its own, asked by GraphQL."""

    def __init__(self, environ: dict[str, str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self._url = f"http://127.0.0.1:{port}/graphql"
        self.log = Path(environ["HOME"]) / "dev.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gguf_assets.cli", "dev", "--port", str(port)],
                env=environ,
                cwd=environ["HOME"],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return next(iter(json.load(answer)["data"].values()))

    def wait_for_definitions(self) -> dict[str, Any]:
        """Wait until the job can be launched; return what names it."""

        def loaded() -> dict[str, Any] | None:
            assert self.process.poll() is None, self.log.read_text()
            try:
                entries = self.ask(LOCATIONS)["locationEntries"]
            except OSError:
                return None
            return entries[0] if entries and entries[0]["loadStatus"] == "LOADED" else None

        location = wait_until(loaded, "the Dagster UI")
        return {
            "repositoryLocationName": location["name"],
            "repositoryName": location["locationOrLoadError"]["repositories"][0]["name"],
            "pipelineName": "daily_sync",
        }

    def launch(self, job: dict[str, Any]) -> str:
        """Launch the job for the day as the UI's button does; return the run's id."""
        tags = [{"key": "dagster/partition", "value": str(DAY)}]
        params = {
            "selector": job,
            "mode": "default",
            "runConfigData": {},
            "executionMetadata": {"tags": tags},
        }
        launched = self.ask(LAUNCH, params=params)
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return launched["run"]["runId"]

    def run(self, run_id: str) -> dict[str, Any]:
        run = self.ask(RUN, id=run_id)
        run["tags"] = {tag["key"]: tag["value"] for tag in run["tags"]}
        run["text"] = "\n".join(event.get("message", "") for event in run["eventConnection"]["events"])
        return run

    def kill(self) -> None:
        """Leave no process behind, whatever state they are in."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for child in family:
            if child.is_running():
                child.kill()
        _, alive = psutil.wait_procs(family, timeout=20)
        assert not alive


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
    first = ui.launch(job)
    wait_until(lambda: arrived.hits, "the run to wait for the Hub")
    pid = int(ui.run(first)["tags"][PID].partition(":")[0])

    refused = catalogue.call("sync", "--date", str(DAY))
    assert_clear(refused, 2, f"process {pid}", f"run {first}", "`dagster run daily_sync`")
    assert [sync.sync_id for sync in catalogue.store.history.syncs()] == [first]

    os.kill(pid, signal.SIGKILL)
    second = ui.launch(job)
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
