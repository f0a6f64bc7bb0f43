"""Route pages and answers about absent models: killed anywhere they go on, and nothing counts twice."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.store import gaps
from gguf_assets.store.capture import Capture
from gguf_assets.store.captures import Captures
from gguf_assets.store.layout import Layout
from gguf_assets_tests.store.days import DAY, NOON, PLAN
from gguf_assets_tests.store.processes import contents, outcomes_of_dying

LINKS = {"search": ["/search"], "publishers": ["/a", "/b"], "apps": ["/apps"]}
PAGES = {
    "search": [(b'[{"_id":"1"}]', "/search?2"), ('[ {"_id": "ü"}]\n'.encode(), None)],
    "publishers": [(b"[]", None), (b"[{}]", None)],
    "apps": [(b'[{"_id":"2"}, {}]', "/apps?2"), (b"[{ }]", "/apps?3")],
}
"""Content of the pages of a route, and the link of each; the apps are cut off after two."""

INFO = b'{\n "_id": "x", "text": "\\u2028 \xc3\xbc \\"" }'
ASKED = 7
CONTROLS = 3
"""Requests for the control, in the run that ends the asking."""


def answer(number: int) -> dict:
    """Every third one is there, the fourth was never sent: its name is none."""
    return {
        "hub_id": f"{number:024x}",
        "model_id": f"owner/name-{number}",
        "status": 400 if number == 4 else 200 if number % 3 == 0 else 404,
        "info": INFO if number % 3 == 0 else None,
        "requests": 0 if number == 4 else 1 + (number == 3),
    }


@pytest.fixture(autouse=True)
def two_answers_a_file(monkeypatch):
    monkeypatch.setattr(gaps, "ANSWERS_PER_FILE", 2)


def walked_capture(layout: Layout) -> Capture:
    """A capture whose listing has ended."""
    capture = Captures(layout).begin(DAY, PLAN)
    capture.store_page(b"[]", rows=0, next_link=None, date=NOON, requests=1)
    capture.finish_listing()
    return capture


def walk_routes(capture: Capture, budget: list[int]) -> bool:
    """Do what the route walk does, from where the routes stand; false when the budget is used up."""
    for name, route in capture.open_routes(LINKS).items():
        first = route.pages_stored
        while route.next_link is not None:
            done = route.pages_stored
            if done == 2:
                route.end(requests=done - first)
                break
            if not budget[0]:
                return False
            budget[0] -= 1
            content, link = PAGES[name][done]
            date = NOON + timedelta(seconds=done)
            rows = len(json.loads(content))
            route.store_page(content, rows=rows, next_link=link, date=date, requests=done + 1 - first)
    return True


def ask(capture: Capture, budget: list[int]) -> bool:
    """Do what the asking does, from where it stands; false when the budget is used up."""
    sink = capture.open_absences(ASKED, anonymous=True)
    spent = 0
    for number in range(ASKED):
        if sink.has_answer(answer(number)["hub_id"]):
            continue
        if not budget[0]:
            return False
        budget[0] -= 1
        sink.store_answer(**answer(number))
        spent += answer(number)["requests"]
    sink.finish(control=["c/listed"], trusted=True, requests=spent + CONTROLS)
    return True


def go_on(layout: Layout, budget: int = 10**6) -> None:
    """Do everything that is left to do, or so many steps of it."""
    capture, steps = Captures(layout).latest(DAY), [budget]
    assert capture is not None
    if walk_routes(capture, steps) and (capture.absence is None or not capture.absence.done):
        ask(capture, steps)


def assert_whole(layout: Layout) -> None:
    """Assert that the capture holds everything once."""
    capture = Captures(layout).latest(DAY)
    assert capture is not None
    assert set(capture.routes) == set(LINKS)
    for name in LINKS:
        pages = PAGES[name]
        entry = capture.routes[name]
        assert [content for _, content in capture.iter_route_pages(name)] == [page for page, _ in pages]
        assert [page.rows for page in entry.pages] == [len(json.loads(page)) for page, _ in pages]
        assert [page.date for page in entry.pages] == [NOON, NOON + timedelta(seconds=1)]
        assert (entry.links, entry.error, entry.done) == ([], None, True)
        assert entry.capped == (name == "apps")
        assert entry.requests == 2
    answers = [{key: getattr(a, key) for key in answer(0)} for a in capture.iter_absences()]
    assert answers == [answer(number) for number in range(ASKED)]
    entry = capture.absence
    assert entry is not None
    assert (entry.absent, entry.asked, entry.anonymous) == (ASKED, ASKED - (ASKED > 4), True)
    assert (entry.done, entry.trusted, entry.control) == (True, True, ["c/listed"])
    requests = sum(answer(number)["requests"] for number in range(ASKED))
    assert entry.requests == requests + CONTROLS
    assert sum(file.answers for file in entry.files) == ASKED
    assert capture.requests == 1 + 2 * len(LINKS) + requests + CONTROLS
    assert contents(layout.state / "spool" if layout.state != layout.data else layout.data / "spool") == {}


def test_pages_and_answers_come_back_byte_for_byte_and_requests_count_once(layout):
    walked_capture(layout)
    go_on(layout)
    assert_whole(layout)


@given(kills=st.lists(st.integers(0, 13), max_size=5))
@settings(max_examples=25)
def test_stopped_and_resumed_anywhere_they_are_the_same(tmp_path_factory, kills):
    whole, broken = (
        Layout(tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("state")) for _ in range(2)
    )
    for layout in (whole, broken):
        walked_capture(layout)
    go_on(whole)
    for kill in kills:
        go_on(broken, kill)
    go_on(broken)
    assert_whole(broken)
    if sum(kills) == 0:
        assert contents(whole.data) == contents(broken.data)


@pytest.mark.slow
def test_killed_at_any_call_they_go_on_and_nothing_counts_twice(tmp_path, monkeypatch):
    # Every call is died at twice: few of them will do.
    monkeypatch.setattr(sys.modules[__name__], "LINKS", {"search": LINKS["search"]})
    monkeypatch.setattr(sys.modules[__name__], "ASKED", 3)
    dying = Layout(tmp_path / "data", tmp_path / "state")

    def prepare():
        for folder in (dying.data, dying.state):
            shutil.rmtree(folder, ignore_errors=True)
        walked_capture(dying)

    deaths = 0
    for _ in outcomes_of_dying(lambda: go_on(dying), prepare):
        deaths += 1
        go_on(dying)
        assert_whole(dying)
    assert deaths > 50


def interrupted(layout: Layout, steps: int = 6 + 1) -> Capture:
    """A capture whose asking was stopped after some answers; by default one, which waits in the spool."""
    capture = walked_capture(layout)
    go_on(layout, steps)
    return capture


def test_an_answer_that_was_torn_by_the_death_is_asked_for_again_and_those_before_it_are_not(layout):
    interrupted(layout, 6 + 2)
    spool = layout.absences_spool(DAY, 1)
    spool.write_bytes(spool.read_bytes()[:-9])
    sink = Captures(layout).latest(DAY).open_absences(ASKED, anonymous=True)
    assert [sink.has_answer(answer(number)["hub_id"]) for number in range(3)] == [True, False, False]
    assert sink.asked == 1
    go_on(layout)
    assert_whole(layout)


def test_a_death_between_sealing_and_clearing_doubles_nothing(layout):
    interrupted(layout, 6 + 2)
    spool = layout.absences_spool(DAY, 1)
    waiting = spool.read_bytes()
    go_on(layout, 1)
    sealed = Captures(layout).latest(DAY).absence
    assert (len(sealed.files), sealed.asked) == (1, 2)
    spool.write_bytes(waiting)
    sink = Captures(layout).latest(DAY).open_absences(ASKED, anonymous=True)
    assert sink.asked == 2
    go_on(layout)
    assert_whole(layout)


def test_a_death_between_the_sealed_file_and_the_manifest_loses_nothing(layout):
    interrupted(layout, 6 + 2)
    manifest = layout.capture_manifest(DAY, 1)
    before, spooled = manifest.read_bytes(), layout.absences_spool(DAY, 1).read_bytes()
    go_on(layout, 1)
    manifest.write_bytes(before)
    layout.absences_spool(DAY, 1).write_bytes(spooled)
    go_on(layout)
    assert_whole(layout)


def test_the_spool_of_another_capture_is_not_taken_for_its_own(layout):
    interrupted(layout)
    foreign = layout.absences_spool(DAY, 1).read_bytes()
    shutil.rmtree(layout.captures_of(DAY))
    capture = Captures(layout).begin(DAY, PLAN)
    capture.store_page(b"[{}]", rows=1, next_link=None, date=NOON, requests=1)
    capture.finish_listing()
    layout.absences_spool(DAY, 1).write_bytes(foreign)
    assert capture.open_absences(1, anonymous=True).asked == 0


def test_how_far_the_asking_is_counts_what_waits_and_not_what_was_taken_over(layout):
    sink = walked_capture(layout).open_absences(9, anonymous=False)
    for number in range(5):
        sink.store_answer(**{**answer(number), "requests": number % 2})
        sink.store_answer(**{**answer(number), "status": 500, "requests": 9})
    assert sink.asked == 2, "a second answer about the same model is ignored"
    sink.finish(control=[], trusted=False, requests=4)
    assert (sink.asked, sink.entry.requests, sink.entry.trusted, sink.entry.done) == (2, 4, False, True)
    reopened = Captures(layout).latest(DAY)
    assert [a.status for a in reopened.iter_absences()] == [answer(number)["status"] for number in range(5)]
    assert (reopened.absence.asked, reopened.requests) == (2, 1 + 4)


def test_an_asking_keeps_the_number_that_was_absent_when_it_began(layout):
    capture = walked_capture(layout)
    capture.open_absences(9, anonymous=False)
    assert capture.open_absences(5, anonymous=False).entry.absent == 9


def test_routes_once_begun_keep_their_links(layout):
    interrupted(layout, 1)
    other = {name: ["/other"] for name in LINKS}
    routes = Captures(layout).latest(DAY).open_routes(other)
    assert {name: route.next_link for name, route in routes.items()} == {
        "search": "/search?2",
        "publishers": "/a",
        "apps": "/apps",
    }


def test_a_route_that_broke_off_keeps_its_pages_and_says_why(layout):
    capture = walked_capture(layout)
    route = capture.open_routes(LINKS)["publishers"]
    route.store_page(b"[{}]", rows=1, next_link=None, date=NOON, requests=2)
    route.end(requests=5, error="The Hub answered 503")
    assert route.next_link is None
    entry = Captures(layout).latest(DAY).routes["publishers"]
    assert (entry.error, entry.capped, entry.done, entry.requests) == ("The Hub answered 503", False, True, 5)
    assert [content for _, content in capture.iter_route_pages("publishers")] == [b"[{}]"]


def test_requests_of_a_route_add_up_over_the_runs(layout):
    capture = walked_capture(layout)
    route = capture.open_routes(LINKS)["search"]
    route.store_page(b"[]", rows=0, next_link="/2", date=NOON, requests=3)
    route = Captures(layout).latest(DAY).open_routes(LINKS)["search"]
    route.store_page(b"[]", rows=0, next_link="/3", date=NOON, requests=1)
    route.store_page(b"[]", rows=0, next_link=None, date=NOON, requests=2)
    assert Captures(layout).latest(DAY).routes["search"].requests == 5


@given(steps=st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=4), last=st.booleans())
@settings(max_examples=20, deadline=None)
def test_route_pages_and_answers_may_be_compressed_and_plain_in_one_capture(tmp_path_factory, steps, last):
    packed = Layout(tmp_path_factory.mktemp("mixed"), tmp_path_factory.mktemp("state"))
    plain = replace(packed, compress_captures=False)
    walked_capture(packed)
    for budget, compressed in steps:
        go_on(packed if compressed else plain, budget)
    go_on(packed if last else plain)
    assert_whole(packed)
    names = [path.name for path in packed.run_dir(DAY, 1).iterdir() if path.name != "manifest.json"]
    assert len({name.partition(".")[0] for name in names}) == len(names)
    assert {name.endswith(".zst") for name in names} <= {step[1] for step in steps} | {last, True}


@pytest.mark.parametrize("damage", ["missing", "other"])
@pytest.mark.parametrize("name", ["route-search-00002.json.zst", "absences-00001.jsonl.zst"])
def test_a_damaged_file_is_named(layout, name, damage):
    walked_capture(layout)
    go_on(layout)
    path = layout.run_dir(DAY, 1) / name
    path.unlink()
    if damage == "other":
        path.write_bytes(b"something else")
    capture = Captures(layout).latest(DAY)
    with pytest.raises(PermanentError, match=re.escape(str(path))) as caught:
        list(capture.iter_route_pages("search"))
        list(capture.iter_absences())
    assert caught.value.category is ErrorCategory.DATA
    assert "--refetch" in (caught.value.remedy or "")


def test_an_asking_is_not_gone_on_with_over_a_damaged_file(layout):
    interrupted(layout, 6 + 3)
    path = layout.run_dir(DAY, 1) / "absences-00001.jsonl.zst"
    path.write_bytes(b"something else")
    with pytest.raises(PermanentError, match=path.name):
        Captures(layout).latest(DAY).open_absences(ASKED, anonymous=True)
