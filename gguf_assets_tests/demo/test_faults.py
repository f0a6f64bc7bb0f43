"""Every fault of the loopback Hub, as it arrives at a plain HTTP client."""

from __future__ import annotations

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gguf_assets.demo.faults import Fault, FaultKind, merge_patch
from gguf_assets.demo.quota import Quota
from gguf_assets_tests.hubs import hub_of, repository

LISTING = "/api/models?sort=createdAt"


@pytest.fixture(scope="module")
def shared():
    repositories = [repository(f"o/m{n}", hub_id=f"{n:024x}") for n in range(6)]
    with hub_of(repositories, page_size=3) as hub:
        yield hub


@pytest.fixture
def hub(shared):
    shared.faults.clear()
    shared.clear_requests()
    return shared


@pytest.fixture
def client(hub):
    with httpx2.Client(base_url=hub.url, timeout=5) as client:
        yield client


def ids(answer: httpx2.Response) -> list[int]:
    return [int(item["_id"], 16) for item in answer.json()]


def test_a_status_comes_with_its_headers_and_the_hubs_error_form_and_only_as_often_as_said(hub, client):
    hub.faults.append(Fault("status", LISTING, status=429, headers={"Retry-After": "3"}, count=2))
    answers = [client.get(LISTING) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["retry-after"] == "3"
    assert "error" in answers[0].json()


def test_a_fault_waits_for_its_path_and_its_turn(hub, client):
    fault = Fault("status", "cursor=", nth=2, status=504, count=None)
    hub.faults.append(fault)
    first = client.get(LISTING)
    following = first.links["next"]["url"]
    assert [client.get(u).status_code for u in (LISTING, following, following, following)] == [
        200,
        200,
        504,
        504,
    ]
    assert (fault.seen, fault.hits) == (3, 2)


def test_a_reset_ends_the_connection_without_an_answer(hub, client):
    hub.faults.append(Fault("reset"))
    with pytest.raises(httpx2.ReadError, match="reset"):
        client.get(LISTING)
    assert hub.requests[-1].status == 0
    assert client.get(LISTING).status_code == 200


def test_a_stall_outlasts_a_timeout(hub, client):
    hub.faults.append(Fault("stall", seconds=0.6))
    with pytest.raises(httpx2.ReadTimeout):
        client.get(LISTING, timeout=0.2)


def test_a_truncated_body_is_shorter_than_announced(hub, client):
    hub.faults.append(Fault("truncate", length=25, count=2))
    with pytest.raises(httpx2.RemoteProtocolError, match="received 25 bytes"):
        client.get(LISTING)
    with pytest.raises(httpx2.RemoteProtocolError, match="received 25 bytes"):
        client.get("/o/m1/resolve/main/README.md")
    assert client.get(LISTING).status_code == 200


def test_garbage_is_a_green_answer_that_is_no_json(hub, client):
    hub.faults += [Fault("garbage"), Fault("garbage", nth=2, body='[{"_id": ')]
    page, cut = client.get(LISTING), client.get(LISTING)
    assert page.status_code == cut.status_code == 200
    assert page.text.startswith("<!doctype html>")
    assert cut.text == '[{"_id": '


def test_a_foreign_link_leads_elsewhere(hub, client):
    hub.faults.append(Fault("foreign_link", origin="http://127.0.0.2:1"))
    assert client.get(LISTING).links["next"]["url"].startswith("http://127.0.0.2:1/")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault("drop_row"), [1, 2]),
        (Fault("drop_row", hub_id=f"{1:024x}"), [0, 2]),
        (Fault("double_row", hub_id=f"{2:024x}"), [0, 1, 2, 2]),
        (Fault("empty_page"), []),
    ],
)
def test_rows_go_missing_and_come_twice_while_the_link_stays(hub, client, fault, expected):
    hub.faults.append(fault)
    answer = client.get(LISTING)
    assert ids(answer) == expected
    assert ids(client.get(answer.links["next"]["url"])) == [3, 4, 5]


def test_a_row_is_changed_by_a_function_or_a_patch(hub, client):
    hub.faults += [
        Fault("edit_row", "/api/models?", edit=lambda row: row | {"downloads": -1}),
        Fault("edit_row", "/api/models?", hub_id=f"{1:024x}", edit={"_id": None, "id": "../../etc/passwd"}),
        Fault("edit_row", "/api/models/o/m3", edit={"siblings": []}),
    ]
    rows = client.get(LISTING).json()
    assert [row["downloads"] for row in rows] == [-1, -1, -1]
    assert rows[1]["id"] == "../../etc/passwd"
    assert "_id" not in rows[1]
    assert client.get("/api/models/o/m3").json()["siblings"] == []


def test_the_date_can_be_missing_or_doubled(hub, client):
    hub.faults += [Fault("no_date"), Fault("two_dates", nth=2)]
    dates = [client.get(LISTING).headers.get_list("date") for _ in range(3)]
    assert [len(found) for found in dates] == [0, 2, 1]
    assert dates[1][0] != dates[1][1]


def test_faults_can_strike_together(hub, client):
    hub.faults += [Fault("status", status=500), Fault("no_date")]
    answer = client.get(LISTING)
    assert (answer.status_code, "date" in answer.headers) == (500, False)


def test_a_kind_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="explode"):
        Fault("explode")
    assert Fault("stall").kind is FaultKind.STALL


def test_a_quota_counts_every_answer_and_then_says_when_it_ends():
    with hub_of([repository("o/m")], quota=Quota(3, 300)) as hub, httpx2.Client(base_url=hub.url) as client:
        paths = ("/api/models", "/api/models/o/none", "/api/models?expand=x", "/api/models")
        answers = [client.get(path) for path in paths]
        download = client.get("/o/m/resolve/main/README.md")
    assert [answer.status_code for answer in answers] == [200, 401, 400, 429]
    left = [answer.headers["ratelimit"].split(";")[:2] for answer in answers]
    assert left == [['"api"', "r=2"], ['"api"', "r=1"], ['"api"', "r=0"], ['"api"', "r=0"]]
    assert answers[0].headers["ratelimit-policy"] == '"fixed window";"api";q=3;w=300'
    assert download.headers["ratelimit"].startswith('"resolvers";r=2;t=')


def test_a_quota_opens_again_with_the_next_window():
    with hub_of([repository("o/m")], quota=Quota(1, 0.2)) as hub, httpx2.Client(base_url=hub.url) as client:
        statuses = []
        while len(statuses) < 2 or statuses[-1] == 429:
            statuses.append(client.get("/api/models").status_code)
    assert statuses[:2] == [200, 429]
    assert statuses[-1] == 200


json_values = st.recursive(
    st.integers() | st.text(max_size=3), lambda inner: st.dictionaries(st.text(max_size=2), inner, max_size=3)
)


@given(json_values, json_values)
def test_a_merge_patch_without_deletions_is_contained_in_its_result(target, patch):
    merged = merge_patch(target, patch)
    assert merge_patch(merged, patch) == merged
    if isinstance(patch, dict):
        assert set(patch) <= set(merged)
    else:
        assert merged == patch
