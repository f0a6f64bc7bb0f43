"""Client, walk and details against the loopback Hub, captures as their sinks."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import orjson
import pytest

from gguf_assets.demo.faults import Fault
from gguf_assets.demo.quota import Quota
from gguf_assets.demo.recording import RecordedHub
from gguf_assets.demo.server import LoopbackHub
from gguf_assets.errors import PermanentError
from gguf_assets.hub.client import HubClient
from gguf_assets.hub.details import DetailTarget, fetch_details
from gguf_assets.hub.walk import CENSUS_FIELDS, FULL_FIELDS, walk
from gguf_assets.store.capture import Capture
from gguf_assets.store.capture_manifest import CapturePlan
from gguf_assets.store.captures import Captures
from gguf_assets.store.layout import Layout
from gguf_assets_tests.hub.scripted import FakeTime, limits
from gguf_assets_tests.hubs import DAY, gguf, hub_of, plain, repository

REPOSITORIES = [repository(f"owner/model-{number:02d}-GGUF") for number in range(25)]


def new_capture(folder: Path) -> Capture:
    plan = CapturePlan("http://hub", "full", "full", "first_run", "first run", FULL_FIELDS)
    return Captures(Layout(folder / "data", folder / "state")).begin(DAY, plan)


def client_of(hub: LoopbackHub, **rest) -> HubClient:
    return HubClient(hub.url, token=rest.pop("token", None), limits=limits(**rest), **FakeTime().hooks)


def rows_of(capture: Capture) -> list[dict]:
    return [row for _, page in capture.iter_pages() for row in orjson.loads(page)]


def targets_of(capture: Capture) -> list[DetailTarget]:
    return [DetailTarget(row["_id"], row["id"], row["sha"]) for row in rows_of(capture)]


@pytest.mark.parametrize("fields", [FULL_FIELDS, CENSUS_FIELDS])
def test_a_walk_finds_every_repository_once_with_the_fields_asked_for(tmp_path, fields):
    capture = new_capture(tmp_path)
    with hub_of(REPOSITORIES, page_size=10) as hub, client_of(hub) as client:
        walk(client, capture, fields=fields)
        assert client.requests == capture.requests == len(hub.requests) == 3
    capture.finish_listing()
    rows = rows_of(capture)
    assert sorted(row["id"] for row in rows) == [repo.model_id for repo in REPOSITORIES]
    assert all(set(row) <= {"_id", "id", *fields} for row in rows)
    assert all(("siblings" in row) == ("siblings" in fields) for row in rows)
    assert capture.observed_at is not None
    assert capture.observed_at.date() == DAY


def test_a_foreign_link_of_the_hub_is_refused(tmp_path):
    capture = new_capture(tmp_path)
    with hub_of(REPOSITORIES, page_size=10) as hub, client_of(hub, token="hf_anything") as client:
        hub.faults.append(Fault("foreign_link", path="cursor"))
        with pytest.raises(PermanentError, match=r"elsewhere\.invalid"):
            walk(client, capture, fields=FULL_FIELDS)
        assert capture.pages_stored == 1
        walk(client, capture, fields=FULL_FIELDS)
    assert len(rows_of(capture)) == 25


@pytest.mark.parametrize("fault", ["status", "reset", "stall", "truncate", "garbage", "no_date", "two_dates"])
def test_every_passing_fault_leaves_the_capture_as_without_it(tmp_path, fault):
    plain_capture, capture = new_capture(tmp_path / "a"), new_capture(tmp_path / "b")
    with hub_of(REPOSITORIES, page_size=10, tick=0) as hub, client_of(hub, timeout_seconds=0.3) as client:
        walk(client, plain_capture, fields=FULL_FIELDS)
        hub.faults += [Fault(fault, nth=2), Fault(fault, path="/revision/", nth=3)]
        walk(client, capture, fields=FULL_FIELDS)
        assert list(capture.iter_pages()) == list(plain_capture.iter_pages())
        assert capture.requests == plain_capture.requests + 1
        capture.finish_listing()
        summary = fetch_details(client, targets_of(capture), capture, limit=None, deadline=lambda: False)
    assert (summary.answered, summary.failed, summary.requests) == (25, 0, 26)


def test_a_quota_is_waited_for_and_the_walk_completes(tmp_path):
    capture = new_capture(tmp_path)
    with (
        hub_of(REPOSITORIES, page_size=5, quota=Quota(3, 1.0)) as hub,
        # In real time, by which the Hub's quota renews.
        HubClient(hub.url, token=None, limits=limits()) as client,
    ):
        walk(client, capture, fields=FULL_FIELDS)
    assert len(rows_of(capture)) == 25


def test_a_wrong_token_is_named(tmp_path):
    with hub_of(REPOSITORIES, token="hf_right") as hub, client_of(hub, token="hf_wrong") as client:
        with pytest.raises(PermanentError, match="does not accept the token") as caught:
            client.now()
        assert "hf_wrong" not in str(caught.value)
    with hub_of(REPOSITORIES, token="hf_right") as hub, client_of(hub, token="hf_right") as client:
        assert client.now().date() == DAY


def test_large_and_empty_repositories_are_read_from_the_tree(tmp_path):
    large = repository("owner/large", files=[gguf(f"part/{number:04d}.gguf") for number in range(1500)])
    empty = repository("owner/empty", files=[])
    capture = new_capture(tmp_path)
    with hub_of([large, empty, *REPOSITORIES]) as hub, client_of(hub) as client:
        walk(client, capture, fields=FULL_FIELDS)
        capture.finish_listing()
        targets = [
            target for target in targets_of(capture) if target.model_id in ("owner/large", "owner/empty")
        ]
        targets.append(DetailTarget("0" * 24, "owner/gone", "0" * 40))
        targets.append(DetailTarget(large.hub_id, "owner/large", "0" * 40))
        summary = fetch_details(client, targets, capture, limit=None, deadline=lambda: False)
        capture.finish_details(stopped=summary.stopped_reason, requests=summary.requests)
        assert summary.answered == len(targets)
        assert capture.detail_requests == summary.requests
    answers = {(answer.model_id, answer.sha): answer for answer in capture.iter_answers()}
    tree = answers["owner/large", large.sha].tree
    assert len(tree) == 2
    assert sum(len(orjson.loads(page)) for page in tree) >= 1500
    assert [answer.status for answer in answers.values() if answer.sha == "0" * 40] == [401, 404]


def test_plain_files_are_in_the_details_too(tmp_path):
    with hub_of([repository("owner/a", files=[plain("README.md", 7), gguf("a.gguf", 9)])]) as hub:
        capture = new_capture(tmp_path)
        with client_of(hub) as client:
            walk(client, capture, fields=FULL_FIELDS)
            capture.finish_listing()
            fetch_details(client, targets_of(capture), capture, limit=None, deadline=lambda: False)
            capture.finish_details()
    (answer,) = capture.iter_answers()
    assert answer.info is not None
    sizes = {file["rfilename"]: file["size"] for file in orjson.loads(answer.info)["siblings"]}
    assert sizes == {"README.md": 7, "a.gguf": 9}


@pytest.mark.recording
def test_a_recorded_day_is_captured_whole(tmp_path, recording):
    source = RecordedHub(recording)
    day = source.days[0]
    lines = gzip.decompress((recording / f"{day}.jsonl.gz").read_bytes()).splitlines()
    recorded = {row["_id"]: row for row in map(json.loads, lines)}
    capture = new_capture(tmp_path)
    with LoopbackHub(source, day=day, page_size=100) as hub, client_of(hub) as client:
        walk(client, capture, fields=FULL_FIELDS)
        capture.finish_listing()
        summary = fetch_details(client, targets_of(capture), capture, limit=None, deadline=lambda: False)
        capture.finish_details(requests=summary.requests)
        assert capture.requests == -(-len(recorded) // 100)
    assert {row["_id"]: row["sha"] for row in rows_of(capture)} == {
        hub_id: row["sha"] for hub_id, row in recorded.items()
    }
    assert (summary.answered, summary.failed) == (len(recorded), 0)
    for answer in capture.iter_answers():
        assert answer.info is not None
        pages = [orjson.loads(page) for page in answer.tree]
        files = {
            file.get("rfilename") or file["path"]: file["size"]
            for file in ([row for page in pages for row in page] or orjson.loads(answer.info)["siblings"])
            if file.get("type") != "directory"
        }
        assert files == {file["path"]: file["size"] for file in recorded[answer.hub_id]["files"]}
