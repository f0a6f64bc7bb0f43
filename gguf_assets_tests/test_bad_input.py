"""Bad answers of a Hub, and bad usage: a clear message, an exit code, nothing published, no harm done."""

from __future__ import annotations

import functools
import socket
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from gguf_assets.demo.faults import Fault, FaultKind
from gguf_assets.demo.server import LoopbackHub
from gguf_assets.hub.client import HubClient
from gguf_assets.orchestration import resources
from gguf_assets_tests.calling import Catalogue, assert_clear
from gguf_assets_tests.hubs import hub_of, repository
from gguf_assets_tests.running import run

FIRST, SECOND = date(2025, 8, 10), date(2025, 8, 11)
REPOSITORIES = [repository(f"owner/model-{number:02d}") for number in range(12)]
TOKEN = "hf_" + "Zq7" * 12
PAGES = "sort=createdAt"
"""Part of every request for a page of the walk, and of no other."""

JSON = {"content-type": "application/json"}
REQUESTS = 4
"""Requests of an undisturbed census: the Hub's clock, and three pages."""


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    days = {FIRST: REPOSITORIES, SECOND: REPOSITORIES}
    with hub_of(days, page_size=5, day=FIRST, token=TOKEN) as hub:
        yield hub


@pytest.fixture(scope="module")
def first_day(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """A catalogue whose first day is published."""
    catalogue = Catalogue(tmp_path_factory.mktemp("first"), hub)
    assert catalogue.sync("--details", "none").code == 0
    return catalogue


@pytest.fixture
def catalogue(first_day: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    """A copy of it on the second day; between two tries nobody waits."""
    impatient = functools.partial(HubClient, sleep=lambda _seconds: None)
    monkeypatch.setattr(resources, "HubClient", impatient)
    first_day.hub.set_day(SECOND)
    return first_day.copy(tmp_path, MAX_RETRIES="1", TIMEOUT_SECONDS="1")


def assert_failed_sync(catalogue: Catalogue, category: str, message: str) -> None:
    """The history and the metadata of the last sync say that it failed, and why."""
    assert catalogue.last.state == "failed"
    assert catalogue.last.category == category
    assert message in (catalogue.last.error_message or "")
    assert catalogue.last_sync_file["success"] is False
    assert message in catalogue.last_sync_file["error_message"]


def assert_recovers(catalogue: Catalogue) -> None:
    """The next undisturbed sync publishes the second day and leaves the first as it is."""
    before = catalogue.published()
    ended = catalogue.sync("--json", "--details", "none")
    assert ended.code == 0, ended
    assert ended.json["published"] and ended.json["models"] == 12
    after = catalogue.published()
    before.pop("latest.json")
    before.pop("latest/models.json.gz")
    assert before.items() <= after.items()
    assert catalogue.store.published.days() == [FIRST, SECOND]
    assert catalogue.last.state == "finished"
    assert catalogue.last_sync_file["success"] is True


BROKEN = {
    "HTML": (Fault(FaultKind.GARBAGE), "answered with HTML instead of JSON", "api"),
    "garbage": (
        Fault(FaultKind.GARBAGE, body=b"\x00\xff", headers=JSON),
        "answered with a body that is no",
        "api",
    ),
    "cut off": (Fault(FaultKind.TRUNCATE, length=40), "broke off the answer", "network"),
    "no list": (Fault(FaultKind.GARBAGE, PAGES, body=b'{"error": null}'), "instead of a list", "api"),
    "empty listing": (Fault(FaultKind.GARBAGE, PAGES, body=b"[]"), "answered with an empty listing", "api"),
    "empty first page": (Fault(FaultKind.EMPTY_PAGE, PAGES), "answered with an empty listing", "api"),
    "broken second page": (Fault(FaultKind.GARBAGE, PAGES, nth=2), "HTML instead of JSON", "api"),
    "no Date": (Fault(FaultKind.NO_DATE), "answered with no Date headers; exactly one is needed", "api"),
    "two Dates": (Fault(FaultKind.TWO_DATES), "answered with 2 Date headers; exactly one is needed", "api"),
    "foreign link": (
        Fault(FaultKind.FOREIGN_LINK, PAGES),
        "http://elsewhere.invalid, which is another",
        "api",
    ),
    "reset": (Fault(FaultKind.RESET), "broke off the answer", "network"),
    "stall": (Fault(FaultKind.STALL, PAGES, seconds=1.5), "did not answer in time", "timeout"),
    "500": (Fault(FaultKind.STATUS, status=500), "answered 500", "api"),
    "503 later": (Fault(FaultKind.STATUS, PAGES, nth=3, status=503), "answered 503", "api"),
    "404": (Fault(FaultKind.STATUS, status=404), "answered 404", "api"),
    "403": (Fault(FaultKind.STATUS, status=403), "answered 403", "permission"),
    "429": (Fault(FaultKind.STATUS, status=429, headers={"retry-after": "1"}), "answered 429", "rate_limit"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_lasting_fault_of_the_hub_fails_the_sync_and_only_it(catalogue, name):
    fault, message, category = BROKEN[name]
    fault.count, fault.seen, fault.hits = None, 0, 0
    before = catalogue.published()
    retries = "0" if name == "stall" else "1"
    ended = catalogue.sync(fault=fault, MAX_RETRIES=retries)
    assert_clear(ended, 1, f"Error: The Hub at {catalogue.hub.url}", message)
    assert catalogue.published() == before
    assert_failed_sync(catalogue, category, message)
    assert_recovers(catalogue)


@pytest.mark.parametrize(
    "kind", ["garbage", "truncate", "empty_page", "no_date", "two_dates", "reset", "status"]
)
def test_a_passing_fault_costs_one_more_request(catalogue, kind):
    ended = catalogue.sync("--json", "--details", "none", fault=Fault(kind, PAGES, nth=1))
    assert ended.code == 0, ended
    assert ended.json["requests"] == len(catalogue.hub.requests) == REQUESTS + 1
    assert catalogue.last.state == "finished"


def test_a_used_up_quota_is_waited_for(catalogue):
    spent = Fault(
        FaultKind.STATUS, PAGES, status=429, headers={"ratelimit": '"api";r=0;t=1', "retry-after": "1"}
    )
    ended = catalogue.sync("--json", "--details", "none", fault=spent)
    assert ended.code == 0, ended
    assert ended.json["requests"] == REQUESTS + 1


@pytest.mark.parametrize("arguments", [(), ("--date", str(SECOND))])
def test_a_hub_that_refuses_connections_is_a_failed_sync(catalogue, arguments):
    before = catalogue.published()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    ended = catalogue.sync("--json", *arguments, HF_ENDPOINT=f"http://127.0.0.1:{port}")
    assert_clear(ended, 1, "cannot be reached (connection refused)", "gguf-assets hub serve")
    assert ended.json["published"] is False
    assert ended.json["category"] == "network"
    assert catalogue.published() == before
    assert_failed_sync(catalogue, "network", "cannot be reached (connection refused)")
    assert_recovers(catalogue)


def test_a_hub_whose_name_is_unknown_is_a_failed_sync(catalogue):
    ended = catalogue.sync(
        HF_ENDPOINT="http://hub.nowhere.invalid",
        SYNC_ENVIRONMENT="development",
        GGUF_SYNC__SECURITY__ALLOWED_DOMAINS="nowhere.invalid",
    )
    assert_clear(ended, 1, "The Hub at http://hub.nowhere.invalid cannot be reached", "Check the network")
    assert_failed_sync(catalogue, "network", "cannot be reached")
    assert_recovers(catalogue)


def test_a_token_that_the_hub_does_not_accept_is_a_failed_sync(catalogue):
    wrong = "hf_" + "Wrong" * 8
    ended = catalogue.sync(HF_TOKEN=wrong)
    assert_clear(ended, 1, "answered 401", "does not accept the token", "Set HF_TOKEN")
    assert len(catalogue.hub.requests) == 1, "a refused token is not tried again"
    assert_failed_sync(catalogue, "authentication", "does not accept the token")
    assert_recovers(catalogue)


def test_a_missing_token_is_refused_before_anything_is_sent(catalogue):
    ended = catalogue.sync(SYNC_ENVIRONMENT="production", HF_ENDPOINT="https://huggingface.co")
    assert_clear(ended, 2, "Hugging Face token is required", "SYNC_ENVIRONMENT=development")
    assert len(catalogue.store.history.syncs()) == 1, "a refusal is no sync"


REFUSED = {
    "unknown mode": (["sync", "--mode", "nonsense"], {}, "--mode 'nonsense' is not allowed"),
    "unknown details": (["sync", "--details", "nonsense"], {}, "details='nonsense' is not allowed"),
    "negative details": (["sync", "--details", "-3"], {}, "details='-3' is not allowed"),
    "no date": (["sync", "--date", "2025-13-01"], {}, "--date '2025-13-01' is no date"),
    "a date in words": (["sync", "--date", "yesterday"], {}, "--date 'yesterday' is no date"),
    "a date too short": (["sync", "--date", "2025-8-1"], {}, "--date '2025-8-1' is no date"),
    "no date to report": (["report", "--date", "nonsense"], {}, "--date 'nonsense' is no date"),
    "unknown day to report": (["report", "--date", "2025-08-01"], {}, "2025-08-01 is not published"),
    "future": (["sync", "--date", "2999-01-01"], {}, "2999-01-01 is in the future"),
    "before the first day": (["sync", "--date", "2020-01-01"], {}, "lies before the first day"),
    "range backwards": (
        ["rederive", "--from", "2025-08-11", "--to", "2025-08-10"], {}, "--from 2025-08-11 lies after",
    ),
    "range of nothing": (["rederive", "--from", "2025-08-01"], {}, "2025-08-01 has no complete capture"),
    "first day": (["sync"], {"GGUF_ASSETS_START_DATE": "soon"}, "GGUF_ASSETS_START_DATE='soon' is no date"),
    "executor": (["sync"], {"GGUF_ASSETS_EXECUTOR": "nonsense"}, "GGUF_ASSETS_EXECUTOR='nonsense'"),
    "environment": (["sync"], {"SYNC_ENVIRONMENT": "nonsense"}, "Invalid environment: nonsense"),
    "a setting": (["sync"], {"TIMEOUT_SECONDS": "soon"}, "timeout_seconds = 'soon'"),
    "endpoint": (["sync"], {"HF_ENDPOINT": "ftp://127.0.0.1"}, "ftp://127.0.0.1"),
    "foreign host": (["sync"], {"HF_ENDPOINT": "http://elsewhere.invalid"}, "elsewhere.invalid"),
    "no recording": (["hub", "serve", "--recording", "/nowhere/at/all"], {}, "/nowhere/at/all"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_usage_is_refused_before_anything_begins(catalogue, name):
    arguments, environ, message = REFUSED[name]
    before = catalogue.published()
    catalogue.hub.clear_requests()
    ended = catalogue.call(*arguments, **environ)
    assert_clear(ended, 2, message)
    assert catalogue.hub.requests == []
    assert catalogue.published() == before
    assert len(catalogue.store.history.syncs()) == 1, "a refusal leaves no trace in the history"


def test_a_past_day_without_a_capture_is_refused_with_the_days_that_can_be_rebuilt(catalogue):
    assert_recovers(catalogue)
    assert catalogue.sync("--date", str(SECOND)).code == 0
    catalogue.environ["GGUF_ASSETS_START_DATE"] = "2025-08-01"
    catalogue.hub.clear_requests()
    ended = catalogue.call("sync", "--date", "2025-08-09")
    assert_clear(
        ended, 2, "2025-08-09 cannot be captured any more", "only the present", "2025-08-10, 2025-08-11"
    )
    assert catalogue.hub.requests == []
    assert len(catalogue.store.history.syncs()) == 2


def test_a_broken_configuration_file_is_named_with_the_line(catalogue):
    folder = catalogue.data / "config"
    folder.mkdir(exist_ok=True)
    (folder / "sync-config.yaml").write_text("environment: testing\nrate_limiting: [unclosed\n")
    ended = catalogue.sync()
    assert_clear(ended, 2, "sync-config.yaml", "broken YAML")
    assert catalogue.hub.requests == []
    assert len(catalogue.store.history.syncs()) == 1


@pytest.mark.slow
def test_a_process_of_its_own_says_the_same(catalogue):
    usage = run("sync", "--mode", "nonsense", environ=catalogue.environ)
    assert_clear(usage, 2, "--mode 'nonsense' is not allowed")
    catalogue.hub.faults[:] = [Fault(FaultKind.STATUS, status=403, count=None)]
    failed = run("sync", environ=catalogue.environ)
    catalogue.hub.faults.clear()
    assert_clear(failed, 1, "answered 403")
    assert failed.stdout == ""
    assert len(failed.stderr.strip().splitlines()) == 2, "nothing but the message and the next step"
    assert_recovers(catalogue)


def test_a_folder_that_is_no_recording_is_not_served(catalogue, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "2025-08-10.jsonl.gz").write_bytes(b"no gzip")
    for folder in (tmp_path / "empty", tmp_path / "broken"):
        ended = catalogue.call("hub", "serve", "--recording", str(folder), "--port", "0")
        assert ended.code in (1, 2), ended
        assert_clear(ended, ended.code, str(folder))


@pytest.mark.slow
def test_a_port_that_is_in_use_is_named(catalogue, tmp_path):
    recording = tmp_path / "recording"
    assert catalogue.call("hub", "generate", str(recording), "--repositories", "3", "--days", "1").code == 0
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run(
            "hub", "serve", "--recording", str(recording), "--port", str(port), environ=catalogue.environ
        )
    assert_clear(ended, 2, f"Port {port}", "--port 0")
