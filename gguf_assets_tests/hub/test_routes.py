"""Further discovery routes: a few capped requests each, resumable; one that fails does not fail the sync."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

import pytest

from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.hub.client import HubClient
from gguf_assets.hub.routes import MOST_PAGES, ROUTES, route_links, walk_route
from gguf_assets.hub.walk import FULL_FIELDS
from gguf_assets_tests.hub.scripted import FakeTime, Reply, Request, ScriptedHub, limits


class KilledError(BaseException):
    """Stands for a kill at a certain moment."""


@dataclass
class Route:
    """A sink in memory that begins with some links."""

    links: list[str]
    contents: list[bytes] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)
    ended: list[tuple[int, str | None]] = field(default_factory=list)
    kill_after: int | None = None

    @property
    def next_link(self) -> str | None:
        return self.links[0] if self.links and not self.ended else None

    @property
    def pages_stored(self) -> int:
        return len(self.contents)

    def store_page(self, content, *, rows, next_link, date, requests):
        self.contents.append(content)
        self.rows.append(rows)
        self.requests.append(requests)
        self.links[:1] = [] if next_link is None else [next_link]
        if self.pages_stored == self.kill_after:
            raise KilledError

    def end(self, *, requests, error=None):
        self.ended.append((requests, error))

    @property
    def error(self) -> str:
        """Why it broke off."""
        ((_, error),) = self.ended
        assert error is not None
        return error


def query(link: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(link).query))


def number(request: Request) -> int:
    return int(query(request.path).get("cursor", 0))


def hub_of_pages(count: int | None, special: dict[int, Reply] | None = None) -> ScriptedHub:
    """A Hub with so many pages of one row behind every link (None: without end), some of them otherwise."""

    def answer(request: Request) -> Reply:
        page = number(request)
        if special is not None and page in special:
            return special[page]
        last = count is not None and page + 1 >= count
        path = request.path.partition("&cursor=")[0]
        link = f'<{hub.url}{path}&cursor={page + 1}>; rel="next"'
        return Reply.json([{"page": page}], headers=() if last else (("Link", link),))

    hub = ScriptedHub(answer=answer)
    return hub


SEARCH = "/api/models?search=gguf&sort=lastModified"


def walked(
    hub: ScriptedHub,
    route: Route,
    most_pages: int = 5,
    until: datetime | None = None,
    **options: object,
) -> Route:
    options = {"token": None, "limits": limits(max_retries=1), **FakeTime().hooks, **options}
    with HubClient(hub.url, **options) as client:  # type: ignore[arg-type]
        walk_route(client, route, most_pages=most_pages, until=until)
    return route


def test_the_routes_ask_for_names_publishers_and_apps_with_all_fields():
    links = route_links([f"owner {n}&x" for n in range(12)])
    assert tuple(links) == ROUTES == ("search", "publishers", "apps")
    expand = [("expand", name) for name in FULL_FIELDS]
    asked = {name: [parse_qsl(urlsplit(link).query) for link in made] for name, made in links.items()}
    assert asked["search"] == [
        [("search", "gguf"), ("sort", "lastModified"), ("limit", "1000"), *expand],
    ]
    assert asked["apps"] == [[("apps", "llama.cpp"), ("sort", "downloads"), ("limit", "1000"), *expand]]
    assert asked["publishers"] == [
        [("author", f"owner {n}&x"), ("sort", "createdAt"), ("limit", "1000"), *expand] for n in range(10)
    ]
    assert {urlsplit(link).path for made in links.values() for link in made} == {"/api/models"}
    assert route_links([])["publishers"] == []
    assert MOST_PAGES == {"search": 5, "publishers": 10, "apps": 5}


def test_a_route_ends_with_its_last_page_and_every_page_is_kept_as_it_came():
    with hub_of_pages(3) as hub:
        route = walked(hub, Route([SEARCH]))
        assert hub.paths == [SEARCH, f"{SEARCH}&cursor=1", f"{SEARCH}&cursor=2"]
    assert route.contents == [b'[{"page": 0}]', b'[{"page": 1}]', b'[{"page": 2}]']
    assert (route.rows, route.requests) == ([1, 1, 1], [1, 2, 3])
    assert (route.links, route.ended) == ([], [])


@pytest.mark.parametrize("pages", [5, None])
def test_a_route_stops_at_its_most_pages_and_is_capped_only_if_there_is_more(pages):
    with hub_of_pages(pages) as hub:
        route = walked(hub, Route([SEARCH]))
        assert len(hub.requests) == 5
    assert route.pages_stored == 5
    assert route.ended == ([] if pages else [(5, None)])


def test_of_every_publisher_only_the_newest_page_is_asked_for():
    links = route_links([f"owner-{n}" for n in range(10)])["publishers"]
    with hub_of_pages(None) as hub:
        route = walked(hub, Route(list(links)), most_pages=MOST_PAGES["publishers"])
        assert hub.paths == links
    assert route.ended == [], "all of them were asked: that is no cap"


def test_a_route_without_a_first_request_is_over_at_once():
    with hub_of_pages(1) as hub:
        assert walked(hub, Route([])).ended == []
        assert hub.requests == []


@pytest.mark.parametrize("killed_after", [1, 2, 4])
def test_a_killed_route_goes_on_at_the_next_link(killed_after):
    with hub_of_pages(5) as hub:
        whole = walked(hub, Route([SEARCH]))
        route = Route([SEARCH], kill_after=killed_after)
        with pytest.raises(KilledError):
            walked(hub, route)
        route.kill_after = None
        hub.requests.clear()
        walked(hub, route)
        assert hub.paths == [f"{SEARCH}&cursor={n}" for n in range(killed_after, 5)]
    assert (route.contents, route.links, route.ended) == (whole.contents, [], [])


def test_the_most_pages_hold_over_all_runs_together():
    with hub_of_pages(None) as hub:
        route = Route([SEARCH], kill_after=3)
        with pytest.raises(KilledError):
            walked(hub, route)
        walked(hub, route)
    assert route.pages_stored == 5
    assert route.ended == [(2, None)]


def test_an_empty_page_is_no_failure_of_a_sample():
    with ScriptedHub([Reply.json([])]) as hub:
        route = walked(hub, Route([SEARCH]))
        assert len(hub.requests) == 1
    assert (route.rows, route.ended) == ([0], [])


def linked_to(address: str) -> Reply:
    return Reply.json([{}], headers=(("Link", f'<{address}>; rel="next"'),))


@pytest.mark.parametrize(
    ("said", "part", "requests"),
    [
        (Reply.json({"error": "Invalid apps"}, status=400), "400", 1),
        (Reply.json({"error": "no"}, status=403), "403", 1),
        (Reply.json({"error": "no"}, status=404), "404", 1),
        (Reply(b"", status=503), "503", 2),
        (Reply(b"", status=429), "429", 2),
        (Reply(b"<!doctype html><title>Maintenance</title>", content_type="text/html"), "JSON", 2),
        (Reply.json({"models": []}), "instead of a list", 2),
        (Reply(b'[{"_id": "1"}]', cut_after=5), "broke off", 2),
        (Reply(reset=True), "", 2),
        (Reply.json([], dates=()), "Date", 2),
        (linked_to("http://elsewhere.invalid/api/models?cursor=1"), "another origin", 1),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_route_that_fails_says_why_and_keeps_what_it_has(said, part, requests):
    with hub_of_pages(None, {2: said}) as hub:
        route = walked(hub, Route([SEARCH]))
        assert len(hub.requests) == 2 + requests
    assert route.pages_stored == 2
    assert part in route.error
    assert route.ended[0][0] == 2 + requests


def test_a_page_that_links_back_ends_the_route():
    with hub_of_pages(None) as hub:
        hub.answer = lambda request: linked_to(f"{hub.url}{SEARCH}")
        route = walked(hub, Route([SEARCH]))
    assert "linked back" in route.error


@pytest.mark.parametrize("token", [None, "hf_" + "x" * 30])
def test_a_refused_token_ends_the_sync(token):
    refused = Reply.json({"error": "Invalid credentials in Authorization header"}, status=401)
    with hub_of_pages(None, {1: refused}) as hub, pytest.raises(PermanentError) as caught:
        walked(hub, Route([SEARCH]), token=token)
    assert caught.value.category is ErrorCategory.AUTHENTICATION


def test_a_sync_whose_time_is_up_does_not_blame_the_route():
    time = FakeTime()
    hooks = {**time.hooks, "monotonic": time.clock, "time_limit_seconds": 3600.0}
    route = Route([SEARCH])

    def late(request: Request) -> Reply:
        time.now += 4000
        return linked_to(f"{hub.url}{SEARCH}&cursor={number(request) + 1}")

    with ScriptedHub(answer=late) as hub, pytest.raises(PermanentError, match="longest that a sync may take"):
        walked(hub, route, **hooks)
    assert (route.pages_stored, route.ended) == (1, [])


def test_pages_of_another_day_are_not_taken():
    late = Reply.json([{}], dates=("Mon, 11 Aug 2025 06:00:00 GMT",))
    with hub_of_pages(None, {2: late}) as hub:
        route = walked(hub, Route([SEARCH]), until=datetime(2025, 8, 11, 6, tzinfo=UTC))
    assert route.pages_stored == 2
    assert "not finished in time: the Hub's clock says 2025-08-11 06:00" in route.error
