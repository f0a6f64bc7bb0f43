"""The real Dagster UI in a process of its own, asked by GraphQL as a browser does."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from datetime import date
from pathlib import Path
from typing import Any

import psutil

from gguf_assets_tests.running import wait_until

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

    def launch(self, job: dict[str, Any], day: date) -> str:
        """Launch a job for a day as the UI's button does; return the run's id."""
        tags = [{"key": "dagster/partition", "value": str(day)}]
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
