"""The walk over the listing: pages in, pages handed on, nothing lost and nothing invented."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import parse_qsl, urlsplit

import pytest

from gguf_assets.errors import ErrorCategory, PermanentError, TransientError
from gguf_assets.hub.client import HubClient
from gguf_assets.hub.walk import CENSUS_FIELDS, FULL_FIELDS, first_page_path, walk
from gguf_assets_tests.hub.scripted import FakeTime, Reply, Request, ScriptedHub, limits

PAGES = [[f"m{page}-{row}" for row in range(3)] for page in range(5)]


class KilledError(BaseException):
    """Stands for a kill at a certain moment."""


@dataclass
class Pages:
    """A sink in memory."""

    next_link: str | None = None
    contents: list[bytes] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    dates: list[datetime] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)
    kill_after: int | None = None

    @property
    def pages_stored(self) -> int:
        return len(self.contents)

    def store_page(self, content, *, rows, next_link, date, requests):
        self.contents.append(content)
        self.rows.append(rows)
        self.dates.append(date)
        self.requests.append(requests)
        self.next_link = next_link
        if self.pages_stored == self.kill_after:
            raise KilledError


def page_number(request: Request) -> int:
    return int(dict(parse_qsl(urlsplit(request.path).query)).get("cursor", 0))


def page_reply(hub: ScriptedHub, number: int, rows: list | None = None, link: str | None = None) -> Reply:
    link = f"{hub.url}/api/models?filter=gguf&cursor={number + 1}" if link is None else link
    last = number == len(PAGES) - 1
    headers = () if last and "elsewhere" not in link else (("Link", f'<{link}>; rel="next"'),)
    return Reply.json(PAGES[number] if rows is None else rows, headers=headers)


def hub_with(special: dict[int, list[Reply]] | None = None) -> ScriptedHub:
    """A Hub of five pages; `special` answers of a page come first."""
    special = special or {}

    def answer(request: Request) -> Reply:
        number = page_number(request)
        return special[number].pop(0) if special.get(number) else page_reply(hub, number)

    hub = ScriptedHub(answer=answer)
    return hub


def client_of(hub: ScriptedHub, **changes) -> HubClient:
    return HubClient(hub.url, token=None, limits=limits(**changes), **FakeTime().hooks)


def walked(hub: ScriptedHub, sink: Pages, **rest) -> Pages:
    with client_of(hub) as client:
        walk(client, sink, fields=FULL_FIELDS, **rest)
    return sink


def test_the_first_request_asks_for_gguf_by_creation_with_repeated_expand():
    parts = urlsplit(first_page_path(CENSUS_FIELDS))
    query = parse_qsl(parts.query)
    assert parts.path == "/api/models"
    assert query[:3] == [("filter", "gguf"), ("sort", "createdAt"), ("limit", "1000")]
    assert query[3:] == [("expand", name) for name in CENSUS_FIELDS]
    assert set(FULL_FIELDS) - set(CENSUS_FIELDS) == {"siblings"}


def test_a_walk_hands_on_every_page_as_it_came_and_sends_one_request_a_page():
    seen = []
    with hub_with() as hub:
        sink = walked(hub, Pages(), on_page=lambda pages, rows: seen.append((pages, rows)))
    assert sink.contents == [page_reply(hub, number).body for number in range(5)]
    assert sink.rows == [3] * 5
    assert sink.next_link is None
    assert sink.requests == [1, 2, 3, 4, 5]
    assert seen == [(1, 3), (2, 3), (3, 3), (4, 3), (5, 3)]
    assert hub.paths == [
        first_page_path(FULL_FIELDS),
        *(f"/api/models?filter=gguf&cursor={n}" for n in range(1, 5)),
    ]


@pytest.mark.parametrize("killed_after", range(1, 6))
def test_a_walk_killed_after_any_page_goes_on_at_the_next_one(killed_after):
    with hub_with() as hub:
        whole = walked(hub, Pages())
    with hub_with() as hub:
        sink = Pages(kill_after=killed_after)
        with pytest.raises(KilledError):
            walked(hub, sink)
        hub.requests.clear()
        sink.kill_after = None
        walked(hub, sink)
        assert len(hub.requests) == 5 - killed_after
    assert (sink.contents, sink.rows, sink.next_link) == (whole.contents, whole.rows, whole.next_link)
    assert sink.requests[killed_after:] == list(range(1, 6 - killed_after))


def test_a_walk_that_ended_is_left_alone():
    with hub_with() as hub:
        sink = walked(hub, Pages())
        hub.requests.clear()
        walked(hub, sink)
        assert hub.requests == []


def test_a_first_page_asked_for_before_is_not_asked_for_again():
    with hub_with() as hub:
        sink = Pages()
        with client_of(hub) as client:
            first = client.get(first_page_path(FULL_FIELDS))
            walk(client, sink, fields=FULL_FIELDS, first_page=first)
            assert client.requests == len(hub.requests) == 5
    assert sink.requests == [1, 2, 3, 4, 5]
    assert sink.contents[0] == page_reply(hub, 0).body


def test_a_broken_first_page_asked_for_before_is_asked_for_again():
    with hub_with({0: [Reply.json([])]}) as hub:
        sink = Pages()
        with client_of(hub) as client:
            first = client.get(first_page_path(FULL_FIELDS))
            walk(client, sink, fields=FULL_FIELDS, first_page=first)
            assert client.requests == sink.requests[-1] + 1 == 6
    assert len(sink.contents) == 5


def test_retries_count_as_requests_of_their_page():
    with hub_with({2: [Reply(status=500), Reply(reset=True)]}) as hub:
        sink = walked(hub, Pages())
    assert sink.requests == [1, 2, 5, 6, 7]


@pytest.mark.parametrize("page", [0, 2, 4])
@pytest.mark.parametrize(
    "broken",
    [
        Reply(b"<html></html>", content_type="text/html"),
        Reply.json({"error": "busy"}),
        Reply.json("text"),
        Reply(b'[{"id": '),
        Reply(b'["a"]', dates=()),
    ],
    ids=["html", "object", "string", "cut", "undated"],
)
def test_a_broken_page_is_asked_for_again_and_never_stored(page, broken):
    with hub_with({page: [broken]}) as hub:
        sink = walked(hub, Pages())
    assert sink.contents == [page_reply(hub, number).body for number in range(5)]
    with hub_with({page: [broken] * 6}) as hub:
        sink = Pages()
        with pytest.raises(TransientError, match="tried 6 times"):
            walked(hub, sink)
        assert sink.contents == [page_reply(hub, number).body for number in range(page)]
        # What was stored stays, and the same walk goes on from there.
        assert len(walked(hub, sink).contents) == 5


def test_an_empty_page_without_a_link_is_asked_for_once_more_and_then_believed():
    with hub_with({2: [Reply.json([])]}) as hub:
        assert len(walked(hub, Pages()).contents) == 5
    with hub_with({2: [Reply.json([])] * 2}) as hub:
        sink = walked(hub, Pages())
    assert sink.rows == [3, 3, 0]
    assert sink.next_link is None


def test_an_empty_listing_is_a_failure():
    with ScriptedHub([Reply.json([])]) as hub, pytest.raises(TransientError, match="empty listing"):
        walked(hub, Pages())


def test_an_empty_page_with_a_next_link_is_followed():
    with hub_with() as hub:
        hub_answer = hub.answer
        assert hub_answer is not None
        hub.answer = lambda request: (
            page_reply(hub, 2, rows=[]) if page_number(request) == 2 else hub_answer(request)
        )
        sink = walked(hub, Pages())
    assert sink.rows == [3, 3, 0, 3, 3]


@pytest.mark.parametrize("page", [0, 2])
@pytest.mark.parametrize(
    "link", ["http://elsewhere.example/api/models?cursor=9", "/api/models?cursor=9&elsewhere", "https://127.0.0.1/"]
)  # fmt: skip
def test_a_page_that_links_to_another_origin_ends_the_walk_and_is_not_stored(page, link):
    with hub_with() as hub:
        usual = hub.answer
        assert usual is not None
        hub.answer = lambda request: (
            page_reply(hub, page, link=link) if page_number(request) == page else usual(request)
        )
        sink = Pages()
        with pytest.raises(PermanentError, match="another origin") as caught:
            walked(hub, sink)
        assert caught.value.category is ErrorCategory.API
        assert sink.pages_stored == page
        assert len(hub.requests) == page + 1


def test_the_token_never_follows_a_foreign_link():
    with ScriptedHub([Reply.json([1])]) as other, hub_with() as hub:
        hub.answer = lambda request: page_reply(hub, 0, link=f"{other.url}/api/models?cursor=1")
        client = HubClient(hub.url, token="hf_secret", limits=limits(), **FakeTime().hooks)
        with client, pytest.raises(PermanentError, match="another origin"):
            walk(client, Pages(), fields=FULL_FIELDS)
        assert other.requests == []


def test_a_link_back_to_a_page_already_read_is_a_failure():
    with hub_with() as hub:
        usual = hub.answer
        assert usual is not None
        back = f"{hub.url}/api/models?filter=gguf&cursor=1"
        hub.answer = lambda request: (
            page_reply(hub, 3, link=back) if page_number(request) == 3 else usual(request)
        )
        sink = Pages()
        with pytest.raises(TransientError, match="already read"):
            walked(hub, sink)
        assert sink.pages_stored == 3


def test_broken_rows_do_not_break_a_page():
    rows = [None, 5, "text", {}, {"_id": None}]
    with ScriptedHub([Reply.json(rows)]) as hub:
        assert walked(hub, Pages()).rows == [5]
