"""Adapting rate and concurrency: bounds whatever happens, growth while all is quiet, less when it is not."""

from __future__ import annotations

import logging
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gguf_assets.hub.adaptive import Adaptation, Pace
from gguf_assets.hub.client import HubClient
from gguf_assets_tests.hub.scripted import FakeTime, Reply, ScriptedHub, limits

EVENTS = st.lists(st.sampled_from(["quiet", "alone", "short", "429", "503", "timeout", "late"]), max_size=400)


def happen(pace: Pace, event: str) -> None:
    """Tell a pace of one event."""
    if event in ("quiet", "alone", "short"):
        pace.answered(together=event != "alone", memory_short=lambda: event == "short")
    else:
        began = 0 if event == "late" else pace.cuts
        pace.disturbed(event, began=began, slow_down=event == "429")


@given(st.integers(1, 100), st.booleans(), EVENTS)
def test_whatever_happens_both_stay_within_their_bounds(maximum, has_rate, events):
    pace = Pace(maximum, has_rate)
    for event in events:
        before = pace.concurrency, pace.rate
        happen(pace, event)
        assert 1 <= pace.concurrency <= maximum
        assert 0.1 <= pace.rate <= 1.0
        assert has_rate or pace.rate == 1.0
        if event in ("429", "503", "timeout", "late", "short"):
            assert pace.concurrency <= before[0]
        if event in ("quiet", "alone"):
            assert before[0] <= pace.concurrency <= 2 * before[0] + maximum // 10
            assert pace.rate >= before[1]


@given(st.integers(1, 100), EVENTS)
def test_a_hub_that_is_quiet_for_long_enough_gets_the_maxima(maximum, events):
    pace = Pace(maximum)
    for event in events:
        happen(pace, event)
    # The concurrency grows by one at least in as many answers as it is: 1 + 2 + …; the rate in 9 × 20.
    for _ in range(maximum * (maximum + 1) // 2 + 200):
        happen(pace, "quiet")
    assert (pace.concurrency, pace.rate) == (maximum, 1.0)


@given(st.integers(1, 100), EVENTS)
def test_a_hub_that_goes_on_throttling_is_asked_one_request_at_a_time_and_slowly(maximum, events):
    pace = Pace(maximum)
    for event in events:
        happen(pace, event)
    for _ in range(8):
        happen(pace, "429")
    assert (pace.concurrency, pace.rate) == (1, 0.1)


@pytest.mark.parametrize(("maximum", "first"), [(1, 1), (3, 3), (4, 4), (50, 4)])
def test_it_begins_with_four_or_the_maximum(maximum, first):
    assert Pace(maximum).concurrency == first


def test_growth_takes_a_round_of_answers_and_says_why():
    pace = Pace(50)
    for _ in range(3):
        assert pace.answered(together=True) == []
    (change,) = pace.answered(together=True)
    assert (change.what, change.old, change.new) == ("concurrency", 4, 8)
    assert "4 requests were answered undisturbed" in change.why


def test_it_doubles_until_it_was_halved_once_and_then_grows_in_tenths():
    pace = Pace(50)

    def grown() -> list[int]:
        told = [change.new for _ in range(500) for change in pace.answered(together=True)]
        return [int(new) for new in told]

    assert grown() == [8, 16, 32, 50]
    pace.disturbed("429", began=pace.cuts, slow_down=False)
    assert grown() == [30, 35, 40, 45, 50]


def test_requests_that_were_alone_prove_nothing_about_many():
    pace = Pace(50)
    for _ in range(1000):
        assert pace.answered(together=False) == []
    assert pace.concurrency == 4


def test_a_burst_of_refusals_of_what_was_under_way_halves_once():
    pace = Pace(64)
    for _ in range(64 * 64):
        pace.answered(together=True)
    began = pace.cuts
    changes = [change for _ in range(64) for change in pace.disturbed("429", began=began, slow_down=True)]
    assert [(change.what, change.old, change.new) for change in changes] == [
        ("concurrency", 64, 32),
        ("rate", 1.0, 0.5),
    ]
    pace.disturbed("429", began=pace.cuts, slow_down=True)
    assert (pace.concurrency, pace.rate) == (16, 0.25)


def test_short_memory_halves_at_the_end_of_a_round_until_one_is_left():
    pace = Pace(8)
    seen = []
    for _ in range(12):
        pace.answered(together=True, memory_short=lambda: True)
        seen.append(pace.concurrency)
    assert seen == [4, 4, 4, 2, 2, 1, 1, 1, 1, 1, 1, 1]


def test_every_change_is_logged_with_old_new_and_why(caplog):
    caplog.set_level(logging.INFO)
    told: list[float] = []
    adaptation = Adaptation(50, has_rate=True, enabled=True, set_rate=told.append)
    for _ in range(4):
        adaptation.answered(together=True)
    adaptation.disturbed("the Hub answered 429", began=adaptation.cuts, slow_down=True)
    for _ in range(20):
        adaptation.answered(together=False)
    assert [record.getMessage() for record in caplog.records] == [
        "Requests under way together: 4 → 8 (at most 50), because 4 requests were answered undisturbed",
        "Requests under way together: 8 → 4 (at most 50), because the Hub answered 429",
        "Rate of requests: 100 % → 50 % of the configured one, because the Hub answered 429",
        "Rate of requests: 50 % → 60 % of the configured one, because 20 requests were answered undisturbed",
    ]
    assert {record.levelno for record in caplog.records} == {logging.INFO}
    assert told == [0.5, 0.6]


def test_switched_off_the_configured_maxima_are_used_constantly(caplog):
    caplog.set_level(logging.INFO)
    told: list[float] = []
    adaptation = Adaptation(50, has_rate=True, enabled=False, set_rate=told.append, memory_short=lambda: True)
    for _ in range(100):
        adaptation.answered(together=True)
        adaptation.disturbed("the Hub answered 429", began=adaptation.cuts, slow_down=True)
        assert adaptation.concurrency == 50
    assert told == []
    assert caplog.records == []


def test_many_threads_may_tell_at_once():
    adaptation = Adaptation(10, has_rate=True, enabled=True, set_rate=lambda _: None)

    def tell() -> None:
        for number in range(500):
            if number % 50 == 0:
                adaptation.disturbed("the Hub answered 429", began=adaptation.cuts, slow_down=True)
            adaptation.answered(together=True)
            assert 1 <= adaptation.concurrency <= 10

    threads = [threading.Thread(target=tell) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in range(300):
        adaptation.answered(together=True)
    assert adaptation.concurrency == 10


@pytest.mark.parametrize(
    ("disturbance", "slower"),
    [
        (Reply(status=429), True),
        (Reply(status=503, headers=(("Retry-After", "1"),)), True),
        (Reply(status=503), False),
        (Reply(stall=1.0), False),
        (Reply(status=408), False),
    ],
    ids=["429", "503 with Retry-After", "503", "silence", "408"],
)
def test_what_a_client_meets_lowers_its_concurrency_and_its_rate(disturbance, slower, caplog):
    caplog.set_level(logging.INFO)
    fake = FakeTime()
    bounds = limits(requests_per_second=100.0, max_concurrent_requests=50, adaptive=True, timeout_seconds=0.2)
    with (
        ScriptedHub([disturbance, Reply()]) as hub,
        HubClient(hub.url, token=None, limits=bounds, **fake.hooks) as client,
    ):
        assert (client.concurrency, client.max_concurrency) == (4, 50)
        client.get("/api/models")
        assert client.concurrency == 2
        assert ("Rate of requests: 100 % → 50 %" in caplog.text) is slower
        began = fake.now
        for _ in range(20):
            client.get("/api/models")
        # 19 pauses lie between 20 requests, of a fiftieth of a second when the rate is halved.
        assert fake.now - began == pytest.approx(20 * 0.02 if slower else 0.0, abs=0.03)


@pytest.mark.parametrize("failure", [Reply(status=500), Reply(reset=True), Reply(b"<html>")])
def test_other_failures_change_neither(failure):
    bounds = limits(requests_per_second=100.0, max_concurrent_requests=50, adaptive=True)
    with (
        ScriptedHub([failure, Reply()]) as hub,
        HubClient(hub.url, token=None, limits=bounds, **FakeTime().hooks) as client,
    ):
        client.get("/api/models")
        assert client.concurrency == 4
