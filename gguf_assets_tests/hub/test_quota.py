"""Announced quotas as state: what answers say, in whatever order they come, against a Hub that counts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_assets.hub.quota import (
    Announcement,
    QuotaBook,
    announcement,
    bucket_of,
    demanded_pause,
)

ME = "me"


def book(remaining: int, reset: int, total: int | None = None, *, at: float = 1000.0) -> QuotaBook:
    headers = {"ratelimit": f'"api";r={remaining};t={reset}'}
    if total is not None:
        headers["ratelimit-policy"] = f'"fixed window";"api";q={total};w=300'
    return QuotaBook().told(announcement(headers), 0.0, at, at)


def wait(known: QuotaBook, now: float) -> float:
    return known.at(now).wait(now, None, ME)


@pytest.mark.parametrize("headers", [{}, {"ratelimit": "nonsense"}])
def test_nothing_announced_holds_nothing_back(headers):
    assert announcement(headers) is None
    assert wait(QuotaBook().told(None, 0.0, 0.0, 0.0), 0.0) == 0


def test_plenty_left_holds_nothing_back():
    assert wait(book(499, 300, 500), 1000.0) == 0


def test_a_used_up_quota_is_waited_for_to_its_end():
    known = book(0, 55, 500)
    assert wait(known, 1000.0) == 56
    assert wait(known, 1050.0) == 6
    assert wait(known, 1056.0) == 0


def test_near_its_end_requests_are_spread_evenly_over_the_rest():
    known = book(9, 100, 500)
    assert wait(known, 1000.0) == 10
    assert wait(known, 1004.0) == 6
    assert wait(known, 1100.0) == 0  # the window is over


@given(st.integers(0, 10**6), st.integers(0, 10**12), st.floats(-1e9, 1e9))
def test_no_announcement_holds_a_request_for_much_more_than_an_hour(remaining, reset, moved):
    assert 0 <= wait(book(remaining, reset, at=2e9), 2e9 + moved) <= 3601


def test_a_clock_that_was_set_back_does_not_prolong_a_window():
    assert wait(book(0, 300, 500, at=2e9), 2e9 - 86400) == 0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"retry-after": "30"}, 30),
        ({"retry-after": "soon"}, 0),
        ({"retry-after": "-5"}, 0),
        ({"retry-after": "3600"}, 3600),
        ({"retry-after": "3601"}, 0),
        (
            {"retry-after": "Sun, 10 Aug 2025 12:00:20 GMT", "date": "Sun, 10 Aug 2025 12:00:00 GMT"},
            20,
        ),
    ],
)
def test_a_demanded_pause_is_read(headers, seconds):
    assert demanded_pause(headers) == seconds


@pytest.mark.parametrize(
    ("path", "bucket"),
    [("/api/models?limit=1", "api"), ("/o/m/resolve/main/a.gguf", "resolvers")],
)
def test_a_path_has_its_quota(path, bucket):
    assert bucket_of(path) == bucket


def test_an_answer_of_the_window_before_does_not_spoil_the_new_one():
    """It was under way for four seconds, over the reset: its number and its end are of the old window."""
    known = QuotaBook().told(Announcement("api", 3, 2, 500, 300), 0.0, 1000.0, 1000.0)
    known = known.at(1003.5)
    assert known.windows["api"].remaining == 500
    known = known.told(Announcement("api", 0, 1, 500, 300), 0.0, 1000.5, 1004.5)
    assert known.windows["api"].remaining == 500
    assert wait(known, 1004.5) == 0


def test_a_window_that_began_earlier_than_thought_is_taken_up():
    known = QuotaBook().told(Announcement("api", 0, 55, 500, 300), 0.0, 1000.0, 1000.0)
    known = known.told(Announcement("api", 499, 300, 500, 300), 0.0, 1020.0, 1020.1)
    assert wait(known, 1020.1) == 0
    assert known.windows["api"].remaining == 499


@given(st.text() | st.binary() | st.none())
def test_whatever_was_stored_never_stops_a_sync(text):
    assert wait(QuotaBook.load(text), 1000.0) <= 3601


def test_what_is_stored_comes_back():
    known = book(9, 100, 500).taken(1000.0, "api", ME).told(None, 30.0, 1000.0, 1001.0)
    assert QuotaBook.load(known.dump()) == known


# Against a Hub that counts


@dataclass
class CountingHub:
    """A fixed window, begun by its first request or by the clock; tells whole seconds, up or down."""

    limit: int
    length: float
    aligned: bool
    rounding: object
    began: float = -math.inf
    used: int = 0
    refused: list[float] = field(default_factory=list)

    def answer(self, now: float) -> Announcement:
        if self.aligned and math.floor(now / self.length) * self.length > self.began:
            self.began, self.used = math.floor(now / self.length) * self.length, 0
        elif not self.aligned and now - self.began >= self.length:
            self.began, self.used = now, 0
        self.used += 1
        if self.used > self.limit:
            self.refused.append(now)
        left = self.rounding(self.began + self.length - now)  # type: ignore[operator]
        return Announcement("api", max(0, self.limit - self.used), left, self.limit, self.length)


@settings(max_examples=300)
@given(
    limit=st.integers(1, 40),
    length=st.sampled_from([5.0, 30.0, 300.0]),
    aligned=st.booleans(),
    rounding=st.sampled_from([math.ceil, math.floor]),
    steps=st.lists(
        st.tuples(st.integers(0, 4), st.floats(0.0, 1.5), st.floats(0.0, 1.9)), min_size=5, max_size=150
    ),
)
def test_no_interleaving_sends_more_than_is_announced(limit, length, aligned, rounding, steps):
    """Five requesters ask whenever they may; answers come late and out of order; nobody is ever refused."""
    hub = CountingHub(limit, length, aligned, rounding)
    known, now = QuotaBook(), 1_000_000.0
    under_way: dict[int, tuple[float, float, Announcement]] = {}

    def deliver() -> None:
        nonlocal known
        for who in [who for who, (due, *_) in under_way.items() if due <= now]:
            _, sent, said = under_way.pop(who)
            known = known.at(now).told(said, 0.0, sent, now)

    for who, pause, latency in steps:
        now += pause
        deliver()
        if who in under_way:
            continue
        known = known.at(now)
        if known.wait(now, "api", str(who)) <= 0:
            known = known.taken(now, "api", str(who))
            under_way[who] = (now + latency, now, hub.answer(now))
    assert hub.refused == []


@settings(max_examples=100)
@given(
    limit=st.integers(2, 40),
    foreign=st.lists(st.booleans(), min_size=50, max_size=150),
    requesters=st.integers(1, 4),
)
def test_somebody_else_on_the_same_account_costs_a_few_refusals_only(limit, foreign, requesters):
    """Unknown requests of others can only be seen in answers: at most those under way are refused."""
    hub = CountingHub(limit, 300.0, False, math.floor)
    known, now = QuotaBook(), 1_000_000.0
    mine_refused = 0
    for turn, other in enumerate(foreign):
        now += 0.1
        if other:
            hub.answer(now)
        who = str(turn % requesters)
        known = known.at(now)
        if known.wait(now, "api", who) <= 0:
            known = known.taken(now, "api", who)
            before = len(hub.refused)
            said = hub.answer(now)
            mine_refused += len(hub.refused) - before
            known = known.told(said, 0.0, now, now)
    assert mine_refused <= 1
