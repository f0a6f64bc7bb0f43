"""Clock, days, renames and the life of the loopback Hub as a server."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx2
import pytest

from gguf_assets.demo.server import LoopbackHub
from gguf_assets.demo.state import WrittenHub
from gguf_assets.errors import Refused
from gguf_assets_tests.hubs import DAY, hub_of, repository

CHECKOUT = Path(__file__).parents[2]
NEXT = DAY + timedelta(days=1)
DAYS = {
    DAY: [
        repository("old/Name-GGUF", hub_id="1" * 24),
        repository("o/stays", hub_id="2" * 24),
        repository("o/goes", hub_id="3" * 24),
        repository("o/hides", hub_id="4" * 24),
    ],
    NEXT: [
        repository("new/name-GGUF", hub_id="1" * 24),
        repository("o/stays", hub_id="2" * 24),
        repository("o/hides", hub_id="4" * 24, private=True),
    ],
}


def hub_time(answer: httpx2.Response) -> datetime:
    (stamp,) = answer.headers.get_list("date")
    return parsedate_to_datetime(stamp)


def test_the_clock_starts_at_noon_of_the_last_day_and_can_be_moved():
    with hub_of(DAYS, tick=0) as hub, httpx2.Client(base_url=hub.url) as client:
        assert hub_time(client.get("/api/models")) == datetime(2025, 8, 11, 12, tzinfo=UTC)
        hub.set_day(DAY, datetime(2025, 1, 1, 23, 59, 59).time())
        assert hub_time(client.get("/api/models/o/none")) == datetime(2025, 8, 10, 23, 59, 59, tzinfo=UTC)
        hub.clock.set(datetime(2025, 8, 11, 3, tzinfo=UTC))
        assert (hub.day, hub_time(client.get("/")).day) == (DAY, 11), "the clock may run past the day served"


def test_the_clock_ticks_as_fast_as_told():
    with hub_of(DAYS, tick=100_000) as hub, httpx2.Client(base_url=hub.url) as client:
        first = hub_time(client.get("/api/models"))
        time.sleep(0.05)
        assert timedelta(seconds=5_000) <= hub_time(client.get("/api/models")) - first < timedelta(days=2)


def test_every_answer_has_one_date_and_a_request_id():
    with hub_of(DAYS) as hub, httpx2.Client(base_url=hub.url) as client:
        paths = (
            "/api/models",
            "/api/models/o/none",
            "/nowhere",
            "/api/models?sort=x",
            "/api/agent-harnesses",
        )
        answers = [client.get(path) for path in paths]
    assert all(len(answer.headers.get_list("date")) == 1 for answer in answers)
    assert len({answer.headers["x-request-id"] for answer in answers}) == len(paths)


@pytest.mark.parametrize(
    ("asked", "location"),
    [
        ("/api/models/old/Name-GGUF?blobs=true", "/api/models/new/name-GGUF?blobs=true"),
        ("/api/models/NEW/NAME-gguf/tree/main/a%20b", "/api/models/new/name-GGUF/tree/main/a%20b"),
        ("/old/Name-GGUF/resolve/main/x%2Fy", "/new/name-GGUF/resolve/main/x%2Fy"),
    ],
)
def test_old_names_and_other_cases_are_redirected_relatively(asked, location):
    with hub_of(DAYS) as hub, httpx2.Client(base_url=hub.url) as client:
        answer = client.get(asked)
        assert (answer.status_code, answer.headers["location"]) == (307, location)


def test_on_the_day_before_nothing_was_renamed_or_removed():
    with hub_of(DAYS, day=DAY) as hub, httpx2.Client(base_url=hub.url) as client:
        names = ("old/Name-GGUF", "o/goes", "o/hides")
        assert [client.get(f"/api/models/{name}").status_code for name in names] == [200, 200, 200]
        hub.set_day(NEXT)
        assert [client.get(f"/api/models/{name}").status_code for name in names] == [307, 401, 401]


def test_a_redirect_may_land_on_another_repository():
    source = WrittenHub({DAY: [repository("o/other")]}, redirects={"o/was": "o/other", "o/lost": "o/gone"})
    with LoopbackHub(source) as hub, httpx2.Client(base_url=hub.url) as client:
        assert client.get("/api/models/o/was").headers["location"] == "/api/models/o/other"
        assert client.get("/api/models/o/lost").status_code == 401


def test_a_missing_model_can_be_the_live_hubs_bare_401():
    coded, bare = hub_of(DAYS), hub_of(DAYS, bare_401=True)
    with coded, bare:
        assert httpx2.get(f"{coded.url}/api/models/o/none").headers["x-error-code"] == "RepoNotFound"
        answer = httpx2.get(f"{bare.url}/api/models/o/none")
    assert answer.status_code == 401
    assert "x-error-code" not in answer.headers
    assert answer.json() == {"error": "Invalid username or password."}


def test_the_log_tells_what_was_asked_and_whether_a_token_came_along():
    with hub_of(DAYS) as hub:
        httpx2.get(f"{hub.url}/api/models?limit=1")
        httpx2.get(f"{hub.url}/api/models/o/none", headers={"Authorization": "Bearer hf_x"})
        logged = [(r.method, r.target, r.status, r.authorized) for r in hub.requests]
        hub.clear_requests()
    assert logged == [("GET", "/api/models?limit=1", 200, False), ("GET", "/api/models/o/none", 404, True)]
    assert hub.requests == []


def test_a_served_hub_is_moved_and_disturbed_over_http():
    with hub_of(DAYS, tick=0) as hub, httpx2.Client(base_url=hub.url) as client:
        moved = client.post("/_loopback/day", json={"day": str(DAY), "time": "23:00:00"}).json()
        assert moved == {
            "day": "2025-08-10",
            "now": "2025-08-10T23:00:00+00:00",
            "days": ["2025-08-10", "2025-08-11"],
            "faults": 0,
        }
        rule = {"kind": "status", "path": "/api/models", "status": 500}
        assert client.post("/_loopback/faults", json=[rule]).json()["faults"] == 1
        assert client.get("/api/models").status_code == 500
        logged = client.get("/_loopback/requests").json()
        assert logged == [{"method": "GET", "target": "/api/models", "status": 500}]
        client.delete("/_loopback/requests")
        assert client.delete("/_loopback/faults").json()["faults"] == 0
        assert client.get("/_loopback/requests").json() == []
        assert client.get("/_loopback").json()["day"] == "2025-08-10"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("day", {"day": "2020-01-01"}),
        ("day", {"day": "yesterday"}),
        ("day", {}),
        ("faults", [{"kind": "explode"}]),
        ("faults", [{"kind": "reset", "how": "hard"}]),
        ("elsewhere", {}),
    ],
)
def test_a_wrong_handle_is_a_400_and_changes_nothing(path, body):
    with hub_of(DAYS) as hub:
        answer = httpx2.post(f"{hub.url}/_loopback/{path}", json=body)
        assert (answer.status_code, hub.day, hub.faults) == (400, NEXT, [])
        assert answer.json()["error"]


def test_a_day_it_does_not_have_is_refused_with_the_days_it_has():
    with pytest.raises(Refused, match=r"no day 2020-01-01: it has 2, from 2025-08-10 to 2025-08-11"):
        hub_of(DAYS, day=date(2020, 1, 1))


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org"])
def test_it_listens_on_loopback_only(host):
    with pytest.raises(Refused, match="does not listen"):
        hub_of(DAYS, host=host)


def test_a_port_in_use_is_refused_and_a_stopped_hub_frees_its_own():
    first = hub_of(DAYS).start()
    port = int(first.url.rpartition(":")[2])
    with pytest.raises(Refused, match=f"Port {port} of 127.0.0.1"):
        hub_of(DAYS, port=port).start()
    first.stop()
    first.stop()
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(first.url)
    with first:
        assert httpx2.get(f"{first.url}/api/models").status_code == 200
    assert threading.active_count() < 20


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_answers_until_a_signal_and_ends_well(number):
    program = (
        "from gguf_assets.demo.server import serve\n"
        "from gguf_assets_tests.hubs import DAY, repository\n"
        "from gguf_assets.demo.state import WrittenHub\n"
        "hub = WrittenHub({DAY: [repository('o/m')]})\n"
        "serve(hub, port=0, announce=lambda hub: print(hub.url, flush=True))\n"
        "print('ended')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
    )
    try:
        url = process.stdout.readline().strip()
        assert httpx2.get(f"{url}/api/models").json()[0]["id"] == "o/m"
        process.send_signal(number)
        out, _ = process.communicate(timeout=10)
    finally:
        process.kill()
        process.wait()
    assert (out, process.returncode) == ("ended\n", 0)
