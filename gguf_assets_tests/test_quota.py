"""Whole syncs under a quota that the Hub announces and enforces, alone and beside other processes.

The Hub counts in real time, in windows that begin with their first request; who is beyond one gets a 429.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gguf_assets.demo.app import LoggedRequest
from gguf_assets.demo.faults import Fault
from gguf_assets.demo.quota import Quota
from gguf_assets.demo.server import LoopbackHub
from gguf_assets.demo.state import Repository
from gguf_assets.hub.quota import quota_key
from gguf_assets_tests.calling import Catalogue, assert_clear
from gguf_assets_tests.hubs import DAY, hub_of, repository
from gguf_assets_tests.running import PATIENCE_SECONDS

ASKER = """
import sys
from pathlib import Path
from gguf_assets.hub.client import HubClient
from gguf_assets.hub.limits import RequestLimits

url, where, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
limits = RequestLimits(None, None, 10.0, 3, 2.0, False, True)
shared = {"shared_limits_url": where} if "://" in where else {"limiter_file": Path(where)}
with HubClient(url, token=None, limits=limits, **shared) as client:
    print("open", flush=True)
    sys.stdin.readline()
    for _ in range(times):
        client.now()
    print(client.requests, client.rate_limit_hits)
"""
"""Another kind of work against the same Hub, which shares the state folder."""


def models(count: int) -> Sequence[Repository]:
    return [repository(f"owner/model-{number:02d}", downloads=count - number) for number in range(count)]


def refusals(hub: LoopbackHub) -> int:
    return sum(request.status == 429 for request in hub.requests)


def synced(catalogue: Catalogue, count: int, *, requests: int) -> None:
    """Sync all details, and see the day published whole with at most one refusal."""
    ended = catalogue.sync("--details", "all", "--json")
    assert ended.code == 0, ended
    assert refusals(catalogue.hub) <= 1
    assert len(catalogue.hub.requests) >= requests
    rows = catalogue.models(DAY)
    assert len(rows) == count
    assert all(row["details_sha"] == row["sha"] for row in rows.values())


def asker(
    hub: LoopbackHub, catalogue: Catalogue, times: int, where: str | None = None
) -> subprocess.Popen[str]:
    """Start another process that asks; it begins when it is told to. `where` names a server, if any."""
    file = where or catalogue.store.layout.limits_dir / "requests.sqlite"
    process = subprocess.Popen(
        [sys.executable, "-c", ASKER, hub.url, str(file), str(times)],
        env={**catalogue.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


@pytest.mark.slow
@pytest.mark.parametrize("concurrent", [1, 10])
def test_a_sync_under_25_requests_in_5_seconds_sees_at_most_one_429(tmp_path, concurrent):
    with hub_of(models(64), quota=Quota(25, 5.0)) as hub:
        catalogue = Catalogue(tmp_path, hub, MAX_CONCURRENCY=str(concurrent))
        begin = time.monotonic()
        synced(catalogue, 64, requests=65)
        # Two more windows had to be waited for, and nothing much longer.
        assert 10 <= time.monotonic() - begin <= 60


@pytest.mark.slow
def test_two_processes_at_once_under_one_quota_see_at_most_one_429(tmp_path):
    with hub_of(models(30), quota=Quota(25, 1.0)) as hub:
        catalogue = Catalogue(tmp_path, hub, MAX_CONCURRENCY="10")
        others = [asker(hub, catalogue, 30) for _ in range(2)]
        for other in others:
            assert other.stdin is not None
            other.stdin.write("go\n")
            other.stdin.flush()
        synced(catalogue, 30, requests=31)
        said = [other.communicate(timeout=PATIENCE_SECONDS)[0].split() for other in others]
        assert [int(requests) - int(hits) for requests, hits in said] == [30, 30]
        assert refusals(hub) <= 1


def test_a_sync_that_begins_in_a_spent_window_waits_for_the_next(tmp_path):
    """Another process has used it all up: what that one saw is enough."""
    with hub_of(models(3), quota=Quota(10, 2.0)) as hub:
        catalogue = Catalogue(tmp_path, hub)
        other = asker(hub, catalogue, 10)
        assert other.communicate("go\n", timeout=PATIENCE_SECONDS)[0].split() == ["10", "0"]
        synced(catalogue, 3, requests=4)
        assert refusals(hub) == 0


class Arrivals(list):
    """The Hub's log, with the moments at which requests came."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def append(self, logged: LoggedRequest) -> None:
        self.times.append(time.monotonic())
        super().append(logged)


def test_a_429_then_500s_then_silence_leave_the_day_as_without_them(tmp_path):
    """A-09: the wait that is asked for is kept, tries are bounded and counted, the rate is never exceeded."""
    with hub_of(models(4)) as hub:
        catalogue = Catalogue(
            tmp_path,
            hub,
            MAX_CONCURRENCY="1",
            MAX_RETRIES="4",
            TIMEOUT_SECONDS="1",
            REQUESTS_PER_SECOND="8",
            GGUF_SYNC__RATE_LIMITING__BACKOFF_BASE="1.0",
            GGUF_SYNC__RATE_LIMITING__BACKOFF_JITTER="false",
        )
        hub.requests = log = Arrivals()
        hub.faults += [
            Fault("status", path="/revision/", nth=1, status=429, headers={"Retry-After": "2"}),
            Fault("status", path="/revision/", nth=2, count=2, status=500),
            Fault("stall", path="/revision/", nth=4, seconds=1.5),
        ]
        ended = catalogue.call("sync", "--details", "all", "--json")
    assert ended.code == 0, ended
    tries = {key: count for key, count in catalogue.last.figures.items() if key.startswith("tries_failed_")}
    assert {key: count for key, count in tries.items() if count} == {
        "tries_failed_rate_limit": 1,
        "tries_failed_api": 2,
        "tries_failed_timeout": 1,
    }
    statuses = [request.status for request in log]
    refused = statuses.index(429)
    # The Hub logs a stalled request when it answers it; until then the client has asked for it again.
    assert sorted(request.status for request in log if "/revision/" in request.target) == [
        *[200] * 5,
        429,
        500,
        500,
    ]
    waited = [later - early for early, later in pairwise(log.times)]
    assert waited[refused] >= 2.0
    assert waited[refused + 1] >= 1.0 and waited[refused + 2] >= 1.0
    assert min(gap for gap, status in zip(waited, statuses, strict=False) if status == 200) >= 0.1
    assert all(row["details_sha"] == row["sha"] for row in catalogue.models(DAY).values())


def test_a_hub_that_only_refuses_fails_the_sync_with_its_category(tmp_path):
    with hub_of(models(3)) as hub:
        catalogue = Catalogue(tmp_path, hub, MAX_RETRIES="2")
        begin = time.monotonic()
        fault = Fault("status", path="/api/models?", status=429, count=None, headers={"Retry-After": "1"})
        ended = catalogue.sync(fault=fault)
        assert_clear(ended, 1, "answered 429", "3 times")
        assert time.monotonic() - begin >= 2  # twice what was asked for
        assert [request.status for request in hub.requests] == [429, 429, 429]
        assert catalogue.published() == {}
        assert catalogue.last.category == "rate_limit"
        assert catalogue.last_sync_file["success"] is False


# Machines that share limits: they have nothing in common but a server

REDIS = os.environ.get("GGUF_ASSETS_TEST_REDIS_URL", "redis://127.0.0.1:6379/0")
PASSWORD = "Tr1cky-Passw0rd"


@pytest.fixture
def redis() -> Iterator[Any]:
    """A Redis that answers; what a test leaves there goes."""
    package = pytest.importorskip("redis")
    client = package.Redis.from_url(REDIS, socket_connect_timeout=2)
    try:
        client.ping()
    except package.exceptions.RedisError as error:
        pytest.skip(f"no Redis answers at {REDIS}: {error}")
    before = set(client.scan_iter("gguf_assets:*"))
    yield client
    for name in set(client.scan_iter("gguf_assets:*")) - before:
        client.delete(name)
    client.close()


def test_a_sync_waits_for_the_quota_that_another_machine_used_up(tmp_path, redis):
    with hub_of(models(3), quota=Quota(10, 2.0)) as hub:
        catalogue = Catalogue(tmp_path, hub, GGUF_ASSETS_SHARED_LIMITS_URL=REDIS)
        other = asker(hub, catalogue, 10, where=REDIS)
        assert other.communicate("go\n", timeout=PATIENCE_SECONDS)[0].split() == ["10", "0"]
        synced(catalogue, 3, requests=4)
        assert refusals(hub) == 0
    assert redis.exists(f"gguf_assets:quota:{quota_key(hub.url, None)}")
    assert not list(tmp_path.rglob("requests.sqlite"))


def test_a_server_of_shared_limits_that_is_down_stops_the_sync_before_it_asks_anything(tmp_path):
    with hub_of(models(1)) as hub, socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        listener.close()
        url = f"redis://someone:{PASSWORD}@127.0.0.1:{port}/0"
        catalogue = Catalogue(tmp_path, hub, GGUF_ASSETS_SHARED_LIMITS_URL=url)
        ended = catalogue.sync()
        assert_clear(ended, 1, f"redis://127.0.0.1:{port}", "GGUF_ASSETS_SHARED_LIMITS_URL")
        assert PASSWORD not in ended.stdout + ended.stderr
        assert hub.requests == []
        assert catalogue.published() == {}
    written = [
        path for path in tmp_path.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()
    ]
    assert written == []
