"""`GET /api/models` of the loopback Hub, seen by a plain HTTP client."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gguf_assets.demo.listing import Listing, decode_cursor, encode_cursor
from gguf_assets.demo.state import HubState
from gguf_assets_tests.hubs import DAY, gguf, hub_of, plain, repository


def pages(client: httpx2.Client, url: str) -> list[list[dict]]:
    found = []
    while url:
        answer = client.get(url)
        assert answer.status_code == 200, answer.text
        found.append(answer.json())
        url = answer.links.get("next", {}).get("url", "")
    return found


@pytest.fixture(scope="module")
def client():
    with httpx2.Client(timeout=10) as client:
        yield client


def numbered(count: int, **fields: object):
    return [repository(f"owner/model-{n:03d}-GGUF", hub_id=f"{n:024x}", **fields) for n in range(count)]


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(1, 7))
def test_every_repository_is_listed_once_in_order_however_the_pages_fall(downloads, page_size):
    repositories = [repository(f"o/m{n}", hub_id=f"{n:024x}", downloads=d) for n, d in enumerate(downloads)]
    listing = Listing(HubState(DAY, repositories))
    got, parameters = [], [("sort", "downloads")]
    while parameters:
        answer = listing.answer(parameters, "http://hub/api/models", page_size)
        got.append([item["_id"] for item in json.loads(answer.body)])
        link = answer.headers.get("link")
        parameters = link and parse_qsl(urlsplit(link.partition(">")[0]).query)
    expected = sorted(repositories, key=lambda r: (-r.downloads, r.hub_id))
    assert [hub_id for page in got for hub_id in page] == [r.hub_id for r in expected]
    assert [len(page) for page in got[:-1]] == [page_size] * (len(got) - 1)


def test_the_link_is_absolute_names_the_clients_own_host_and_carries_every_parameter(client):
    with hub_of(numbered(3)) as hub:
        port = hub.url.rpartition(":")[2]
        answer = client.get(
            f"http://localhost:{port}/api/models",
            params=[
                ("filter", "gguf"),
                ("filter", "region:us"),
                ("limit", "2"),
                ("expand", "sha"),
                ("expand", "tags"),
            ],
        )
        link = httpx2.URL(answer.links["next"]["url"])
    assert (link.scheme, link.host, str(link.port), link.path) == ("http", "localhost", port, "/api/models")
    assert link.params.get_list("filter") == ["gguf", "region:us"]
    assert link.params.get_list("expand") == ["sha", "tags"]
    condition = json.loads(base64.b64decode(link.params["cursor"]))
    assert condition["$or"][0]["_id"] == {"$gt": f"{1:024x}"}


@pytest.mark.parametrize("sort", ["createdAt", "lastModified", "trendingScore", "downloads", "likes"])
def test_all_five_sorts_are_descending(client, sort):
    repositories = [
        repository(
            f"o/m{n}",
            downloads=n * 7 % 5,
            likes=n * 3 % 4,
            trending_score=n % 3,
            created_at=f"2025-01-0{1 + n * 5 % 8}T00:00:00.000Z",
            last_modified=f"2025-02-0{1 + n * 3 % 7}T00:00:00.000Z",
        )
        for n in range(12)
    ]
    with hub_of(repositories, page_size=5) as hub:
        got = pages(client, f"{hub.url}/api/models?full=true&sort={sort}")
    values = [item[sort] for page in got for item in page]
    assert values == sorted(values, reverse=True)
    assert len(values) == 12


def test_a_walk_over_a_moving_sort_misses_and_repeats_but_one_over_created_at_does_not(client):
    before = numbered(6)
    by_downloads = [
        repository(r.model_id, hub_id=r.hub_id, downloads=60 - 10 * n) for n, r in enumerate(before)
    ]
    # Overnight the third rises to the top (missed) and the first falls to the end (seen twice).
    moved = {2: 100, 0: 1}
    after = [
        repository(r.model_id, hub_id=r.hub_id, downloads=moved.get(n, 60 - 10 * n))
        for n, r in enumerate(before)
    ]
    days = {DAY: by_downloads, DAY + timedelta(days=1): after}
    seen = {}
    with hub_of(days, day=DAY, page_size=2) as hub:
        for sort in ("downloads", "createdAt"):
            hub.set_day(DAY)
            first = client.get(f"{hub.url}/api/models?sort={sort}")
            hub.set_day(DAY + timedelta(days=1))
            rest = pages(client, first.links["next"]["url"])
            seen[sort] = [item["_id"][-1] for page in [first.json(), *rest] for item in page]
    assert seen["downloads"] == ["0", "1", "3", "4", "5", "0"]
    assert sorted(seen["createdAt"]) == ["0", "1", "2", "3", "4", "5"]


def test_expand_gives_only_what_was_asked_for_and_takes_brackets(client):
    with hub_of([repository("o/m", gguf={"architecture": "llama", "total": 8})]) as hub:
        plain_form = client.get(f"{hub.url}/api/models?expand=sha&expand=gguf").json()
        brackets = client.get(f"{hub.url}/api/models?expand[]=gguf&expand[]=sha").json()
    assert plain_form == brackets
    assert set(plain_form[0]) == {"_id", "id", "sha", "gguf"}


@pytest.mark.parametrize("value", ["baseModels", "childrenModelCount", "usedStorage", "_id", "nonsense"])
def test_an_expand_value_the_listing_does_not_have_is_a_400_naming_it(client, value):
    with hub_of(numbered(1)) as hub:
        answer = client.get(f"{hub.url}/api/models?expand={value}")
    assert answer.status_code == 400
    assert value in answer.json()["error"]
    assert value in answer.headers["x-error-message"]


def test_siblings_of_a_listing_are_names_only(client):
    with hub_of([repository("o/m", files=[plain("README.md"), gguf("sub/m.gguf")])]) as hub:
        item = client.get(f"{hub.url}/api/models?full=true").json()[0]
    assert item["siblings"] == [{"rfilename": "README.md"}, {"rfilename": "sub/m.gguf"}]
    assert {"sha", "lastModified", "gated", "disabled", "author"} <= set(item)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("filter=gguf", ["a/one-GGUF", "b/two"]),
        ("filter=gguf&filter=license:mit", ["b/two"]),
        ("filter=nothing-has-this", []),
        ("author=b", ["b/two"]),
        ("search=ONE", ["a/one-GGUF"]),
        ("apps=llama.cpp", ["b/two"]),
        ("apps=unheard-of", []),
        ("gated=true", ["b/two"]),
        ("", ["a/one-GGUF", "b/two", "c/three"]),
    ],
)
def test_filters_narrow_the_listing(client, query, names):
    repositories = [
        repository("a/one-GGUF", files=[plain("README.md")]),
        repository("b/two", tags=("gguf", "license:mit"), gated="auto"),
        repository("c/three", tags=("pytorch",), library_name=None, files=[]),
        repository("d/hidden", private=True),
    ]
    with hub_of(repositories) as hub:
        items = client.get(f"{hub.url}/api/models?{query}").json()
    assert sorted(item["id"] for item in items) == names


@pytest.mark.parametrize(
    "query", ["sort=age", "limit=0", "limit=many", "cursor=%%", "sort=likes&cursor=e30="]
)
def test_a_wrong_parameter_is_a_400(client, query):
    with hub_of(numbered(1)) as hub:
        assert client.get(f"{hub.url}/api/models?{query}").status_code == 400


@given(st.integers(1_646_179_200_000, 4_102_444_800_000))
def test_a_cursor_of_a_date_comes_back_to_the_millisecond(milliseconds):
    cursor = encode_cursor("createdAt", milliseconds, "ab" * 12)
    assert decode_cursor(cursor, "createdAt") == (milliseconds, "ab" * 12)
