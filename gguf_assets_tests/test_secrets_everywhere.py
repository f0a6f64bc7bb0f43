"""Planted secrets appear nowhere: in no file, output, event of Dagster, answer of the UI, or alert."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gguf_assets.demo.faults import Fault, FaultKind
from gguf_assets_tests.calling import Catalogue
from gguf_assets_tests.hubs import hub_of, repository
from gguf_assets_tests.running import Ended, wait_until
from gguf_assets_tests.test_secrets import assert_nowhere
from gguf_assets_tests.ui import Ui

TOKEN = "hf_" + "PlantedToken" * 3
GITHUB = "ghp_" + "PlantedGitHub" * 3
PASSWORD = "planted-mail-password-0001"
SIGNING = "planted-signing-secret-0002"
HOOK = "T0PLANTED/B0PLANTED/planted-hook-path-0003"
DATABASE = "planted-database-password-0004"
SECRETS = (TOKEN, GITHUB, PASSWORD, SIGNING, HOOK, DATABASE)

_METADATA = """metadataEntries { label description __typename
    ... on TextMetadataEntry { text } ... on MarkdownMetadataEntry { mdStr } ... on UrlMetadataEntry { url }
    ... on PathMetadataEntry { path } ... on JsonMetadataEntry { jsonString }
    ... on TableMetadataEntry { table { records } } }"""
_ERROR = "error { message stack className cause { message stack } }"
QUERIES = (
    """query { runsOrError(limit: 50) { ... on Runs { results { runId status runConfigYaml
        tags { key value } eventConnection(limit: 5000) { events {
        ... on MessageEvent { message eventType } """
    + f"... on ErrorEvent {{ {_ERROR} }} ... on ExecutionStepFailureEvent {{ {_ERROR} "
    + f"failureMetadata {{ {_METADATA} }} }} ... on RunFailureEvent {{ {_ERROR} }} "
    + f"... on DisplayableEvent {{ description {_METADATA} }} }} }} }} }} }} }}",
    f"query {{ assetNodes {{ assetKey {{ path }} description assetMaterializations(limit: 20) "
    f"{{ {_METADATA} tags {{ key value }} }} "
    f"assetObservations(limit: 50) {{ {_METADATA} }} "
    "assetChecksOrError { ... on AssetChecks { checks { name description executionForLatestMaterialization "
    f"{{ status evaluation {{ description {_METADATA} }} }} }} }} }} }} }}",
    """query { instance { info hasInfo daemonHealth { allDaemonStatuses {
        lastHeartbeatErrors { message stack } } } } }""",
    """query { workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError {
        ... on PythonError { message stack }
        ... on RepositoryLocation { repositories {
          allTopLevelResourceDetails { name configuredValues { key value type } }
          sensors { name description sensorState { ticks(limit: 20) { status skipReason cursor
            error { message stack } logEvents { events { message } } } } }
          schedules { name scheduleState { ticks(limit: 20) { skipReason error { message stack } } } }
        } } } } } } }""",
)


@contextmanager
def echoing_receiver() -> Iterator[tuple[str, list[bytes]]]:
    """A webhook receiver that refuses what it gets and repeats its own address and headers."""
    got: list[bytes] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            body = f"no service at {self.path} for {self.headers}".encode()
            self.send_response(500, f"no {self.path}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", got
        server.shutdown()
        thread.join()


def answers_of_the_ui(environ: dict[str, str], tick_of: str) -> list[str]:
    """What the UI says of runs, assets, checks, sensors and the instance."""
    ui = Ui(environ)
    try:
        ui.wait_for_definitions()

        def ticked() -> bool:
            location = ui.ask(QUERIES[3])["locationEntries"][0]["locationOrLoadError"]
            sensors = location["repositories"][0]["sensors"]
            return any(s["name"] == tick_of and s["sensorState"]["ticks"] for s in sensors)

        wait_until(ticked, f"a tick of {tick_of}")
        return [json.dumps(ui.ask(query)) for query in QUERIES]
    finally:
        ui.kill()


@pytest.mark.slow
def test_planted_secrets_appear_nowhere(tmp_path: Path) -> None:
    today = datetime.now(UTC).date()
    with (
        hub_of({today: [repository(f"owner/model-{n}") for n in range(5)]}, page_size=3) as hub,
        echoing_receiver() as (receiver, got),
    ):
        config = tmp_path / "data" / "config"
        config.mkdir(parents=True)
        file = config / "sync-config-staging.yaml"
        file.touch(0o600)
        file.write_text(
            "environment: staging\nnotifications:\n"
            f"  webhook_urls: ['{receiver}/services/{HOOK}', 'env:MY_HOOK']\n"
        )
        every = "log,github,webhook,email"
        catalogue = Catalogue(
            tmp_path,
            hub,
            SYNC_ENVIRONMENT="staging",
            HF_TOKEN=TOKEN,
            MAX_RETRIES="0",
            MY_HOOK=f"{receiver}/hooks/{HOOK}",
            GITHUB_TOKEN=GITHUB,
            GITHUB_REPOSITORY="owner/alerts",
            GITHUB_API_URL=receiver,
            GGUF_ASSETS_SMTP_URL=f"smtp://mailer:{PASSWORD}@127.0.0.1:9",
            GGUF_ASSETS_WEBHOOK_SECRET=SIGNING,
            GGUF_SYNC__SECURITY__ENABLE_REQUEST_SIGNING="true",
            GGUF_SYNC__NOTIFICATIONS__ENABLE_SUCCESS_NOTIFICATIONS="true",
            GGUF_SYNC__NOTIFICATIONS__NOTIFICATION_CHANNELS=every,
            GGUF_SYNC__MONITORING__ALERT_CHANNELS=every,
            GGUF_SYNC__NOTIFICATIONS__EMAIL_RECIPIENTS="operator@example.org",
        )
        assert catalogue.call("config", "validate").code == 0
        said: list[Ended] = []
        echo = " and ".join((TOKEN, GITHUB, PASSWORD, SIGNING, f"/services/{HOOK}"))
        faults = [
            None,
            Fault(
                FaultKind.STATUS,
                status=401,
                headers={"x-error-message": f"Invalid credentials {echo}"},
                count=None,
            ),
            Fault(FaultKind.STATUS, "sort=", status=500, headers={"x-error-message": echo}, count=None),
            Fault(
                FaultKind.FOREIGN_LINK, "sort=", origin=f"https://u:{PASSWORD}@x.invalid/{TOKEN}", count=None
            ),
        ]
        for fault in faults:
            said.append(catalogue.sync("--refetch", fault=fault))
        assert [ended.code for ended in said] == [0, 1, 1, 1], said
        said.append(
            catalogue.sync(
                "--refetch", GGUF_ASSETS_SHARED_LIMITS_URL=f"postgresql://u:{DATABASE}@127.0.0.1:1/x"
            )
        )
        assert said[-1].code != 0
        commands = (
            "status",
            "report",
            "doctor",
            "metrics",
            "config show",
            "config show --json",
            "config env",
        )
        said += [catalogue.call(*command.split()) for command in commands]
        assert got, "somebody was told"
        said += [Ended(0, body.decode(), "") for body in got]
        told = answers_of_the_ui(catalogue.environ, "failed_sync_repair_sensor")
        texts = [*(text for ended in said for text in (ended.stdout, ended.stderr)), *told]
        log = (tmp_path / "dev.log").read_text()
        (tmp_path / "dev.log").unlink()
    # The operator's own file holds the address that the operator wrote into it, and so do its backups.
    for own in tmp_path.rglob("sync-config-staging.yaml"):
        assert stat.S_IMODE(own.stat().st_mode) == 0o600
        own.unlink()
    for secret in SECRETS:
        assert_nowhere(secret, tmp_path, log, *texts)
