"""Asking for many things at the same time: order, bounds, budgets, and every way in which it can end."""

from __future__ import annotations

import logging
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from huggingface_hub import close_session
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_assets.errors import ErrorCategory, PermanentError, TransientError
from gguf_assets.hub.asking import AskedSummary, Questions, ask_all
from gguf_assets.hub.client import HubClient, expect_json
from gguf_assets.hub.details import fetch_details
from gguf_assets.hub.errors import BudgetError
from gguf_assets.hub.headers import HeadTarget, read_heads
from gguf_assets.hub.room import Room
from gguf_assets_tests.hub.scripted import FakeTime, Reply, Request, ScriptedHub, limits, until
from gguf_assets_tests.hub.test_details import SHA, Answers, info, number_of, target, usual

FAULTS = [
    Reply(status=500),
    Reply(status=503),
    Reply(reset=True),
    Reply(b"[1, 2]", cut_after=3),
    Reply(b"<html></html>", content_type="text/html"),
]


@dataclass
class Crowd:
    """A Hub that answers slowly, so that requests meet; notes how many were there at the same time."""

    answer: Callable[[Request], Reply] = usual
    seconds: Callable[[int], float] = lambda _: 0.02
    most: int = 0
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: Request) -> Reply:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(self.seconds(number_of(request)))
        with self._lock:
            self._now -= 1
        return self.answer(request)


def client_of(hub: ScriptedHub, together: int, **changes) -> HubClient:
    bounds = limits(max_concurrent_requests=together, **changes)
    return HubClient(hub.url, token=None, limits=bounds, **FakeTime().hooks)


def fetched(hub: ScriptedHub, count: int, together: int, sink: Answers | None = None, *, limit=None, **rest):
    """Ask for the details of so many repositories; return summary, numbers in the order of storing, sink."""
    sink = Answers() if sink is None else sink
    deadline = rest.pop("deadline", lambda: False)
    order: list[int] = []
    with client_of(hub, together, **rest) as client:
        summary = fetch_details(
            client,
            [target(number) for number in range(count)],
            sink,
            limit=limit,
            deadline=deadline,
            on_answer=lambda answer: order.append(int(answer.hub_id, 16)),
        )
        assert summary.requests == client.requests == len(hub.requests)
    return summary, order, sink


def threads_of_asking() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("hub-")]


@pytest.mark.parametrize("together", [1, 2, 8])
def test_no_more_than_the_maximum_are_under_way_and_that_many_are(together):
    with ScriptedHub(answer=(crowd := Crowd())) as hub:
        summary, order, _ = fetched(hub, 40, together)
    assert crowd.most == together
    assert order == list(range(40))
    assert (summary.answered, summary.stopped_reason) == (40, "done")


def test_answers_come_in_the_order_of_the_targets_whichever_came_first():
    slow_first = Crowd(seconds=lambda number: 0.08 if number % 8 == 0 else 0.001 * (8 - number % 8))
    with ScriptedHub(answer=slow_first) as hub:
        _, order, _ = fetched(hub, 32, 8)
    assert order == list(range(32))


def test_answers_are_kept_by_the_thread_that_asks():
    kept: set[str] = set()
    asked: set[str] = set()

    def ask(number: int) -> int:
        asked.add(threading.current_thread().name)
        time.sleep(0.005)
        return number

    def keep(_: int, __: int) -> None:
        kept.add(threading.current_thread().name)

    with ScriptedHub([Reply()]) as hub, client_of(hub, 4) as client:
        summary = ask_all(
            client, Questions(range(20), lambda _: False, ask, keep), limit=None, deadline=lambda: False
        )
    assert summary == AskedSummary(answered=20, failed=0, requests=0, stopped_reason="done")
    assert kept == {threading.current_thread().name}
    assert len(asked) == 4
    assert kept.isdisjoint(asked)


def test_with_one_under_way_no_thread_is_started(monkeypatch):
    with ScriptedHub(answer=usual) as hub, client_of(hub, 1) as client:
        monkeypatch.setattr(threading.Thread, "start", lambda _: pytest.fail("a thread was started"))
        # The Hub of this test needs threads of its own, so nothing is sent here.
        asked = Questions(range(5), lambda _: False, lambda number: number, lambda _, __: None)
        assert ask_all(client, asked, limit=None, deadline=lambda: False).answered == 5


def test_threads_end_with_the_asking():
    with ScriptedHub(answer=usual) as hub:
        fetched(hub, 20, 8)
    for thread in threads_of_asking():
        thread.join(2)
    assert threads_of_asking() == []


def test_what_was_answered_before_costs_no_request():
    sink = Answers({(target(number).hub_id, SHA): {} for number in range(0, 20, 2)})
    with ScriptedHub(answer=usual) as hub:
        summary, order, _ = fetched(hub, 20, 4, sink)
    assert order == list(range(1, 20, 2))
    assert summary.requests == 10


def test_a_target_that_is_named_twice_is_kept_once():
    sink = Answers()
    with ScriptedHub(answer=Crowd()) as hub, client_of(hub, 4) as client:
        targets = [target(1), target(1), target(2)]
        summary = fetch_details(client, targets, sink, limit=None, deadline=lambda: False)
    assert (summary.answered, len(sink.answers)) == (2, 2)


@pytest.mark.parametrize("together", [1, 3, 10])
@pytest.mark.parametrize("limit", [0, 1, 7, 20, 100])
def test_the_request_limit_is_never_exceeded(together, limit):
    with ScriptedHub(answer=Crowd(seconds=lambda _: 0.002)) as hub:
        summary, order, _ = fetched(hub, 20, together, limit=limit)
        assert len(hub.requests) == min(limit, 20)
    assert order == list(range(min(limit, 20)))
    assert summary.stopped_reason == ("budget" if limit < 20 else "done")


PAGES = 4


def paged(hub: ScriptedHub) -> Callable[[Request], Reply]:
    """Details that take a request for the model info and four for the pages of the tree."""

    def answer(request: Request) -> Reply:
        if "/revision/" in request.path:
            return Reply.json(info(number_of(request), None))
        path, _, cursor = request.path.partition("&cursor=")
        page = int(cursor or 1)
        link = () if page == PAGES else (("Link", f'<{hub.url}{path}&cursor={page + 1}>; rel="next"'),)
        return Reply.json([], headers=link)

    return answer


@pytest.mark.parametrize("together", [1, 4, 10])
@pytest.mark.parametrize("limit", [1, 4, 5, 6, 13, 23, 50])
def test_with_targets_of_many_requests_the_limit_is_passed_by_one_target_at_most(together, limit):
    with ScriptedHub() as hub:
        hub.answer = Crowd(paged(hub), seconds=lambda _: 0.002)
        summary, order, _ = fetched(hub, 10, together, limit=limit)
        assert len(hub.requests) <= limit + PAGES
    assert summary.stopped_reason == ("done" if summary.answered == 10 else "budget")
    assert order == sorted(order)
    assert order[:1] == [0], "the first one is never starved by those behind it"


@pytest.mark.parametrize("together", [1, 4])
def test_runs_with_a_small_limit_get_everything_in_the_end(together):
    sink = Answers()
    with ScriptedHub() as hub:
        hub.answer = paged(hub)
        for _ in range(8):
            hub.requests.clear()
            fetched(hub, 6, together, sink, limit=2)
    assert len(sink.answers) == 6
    assert {answer["requests"] for answer in sink.answers} == {1 + PAGES}


@pytest.mark.parametrize("together", [2, 6])
def test_retries_are_within_the_limit_but_for_the_first_open_target(together):
    with ScriptedHub([Reply(status=500)]) as hub:
        summary, order, _ = fetched(hub, 50, together, limit=10, max_retries=5)
        assert len(hub.requests) <= 10 + 5
    assert order == []
    assert summary.stopped_reason in ("budget", "failing")


def test_every_answer_counts_its_own_requests_alone():
    tries: Counter[int] = Counter()

    def answer(request: Request) -> Reply:
        number = number_of(request)
        tries[number] += 1
        return Reply(status=500) if tries[number] <= number % 4 else usual(request)

    with ScriptedHub(answer=Crowd(answer, seconds=lambda number: 0.002 * (number % 3))) as hub:
        summary, _, sink = fetched(hub, 24, 8)
    assert [answer["requests"] for answer in sink.answers] == [1 + number % 4 for number in range(24)]
    assert summary.requests == sum(1 + number % 4 for number in range(24))


def test_the_deadline_ends_what_is_begun_and_begins_nothing_more():
    with ScriptedHub(answer=Crowd()) as hub:
        began = time.monotonic()
        summary, order, _ = fetched(hub, 1000, 4, deadline=lambda: time.monotonic() - began > 0.2)
    assert summary.stopped_reason == "deadline"
    assert 0 < len(order) < 200
    assert order == list(range(len(order))), "all that was begun was kept"


def test_failures_in_a_row_are_counted_in_the_order_of_the_targets():
    """Five bad repositories among good ones, each beside good ones in time, end nothing."""

    def answer(request: Request) -> Reply:
        return Reply(status=500) if number_of(request) % 5 else usual(request)

    with ScriptedHub(answer=Crowd(answer, seconds=lambda number: 0.0 if number % 5 else 0.03)) as hub:
        summary, order, _ = fetched(hub, 40, 8, max_retries=0)
    assert (summary.answered, summary.failed, summary.stopped_reason) == (8, 32, "done")
    assert order == list(range(0, 40, 5))


@pytest.mark.parametrize("together", [1, 4, 8])
def test_five_failures_in_a_row_leave_the_rest_and_keep_what_was_answered(together):
    def answer(request: Request) -> Reply:
        return Reply(status=500) if number_of(request) >= 10 else usual(request)

    with ScriptedHub(answer=answer) as hub:
        summary, order, _ = fetched(hub, 1000, together, max_retries=1)
        assert len(hub.requests) <= 10 + 2 * (5 + 2 * together)
    assert summary.stopped_reason == "failing"
    assert order == list(range(10))


@pytest.mark.parametrize("together", [1, 4])
def test_a_hub_out_of_reach_is_raised_by_details_and_told_by_heads(together):
    with ScriptedHub([Reply(reset=True)]) as hub:
        with pytest.raises(TransientError) as caught:
            fetched(hub, 100, together, max_retries=1)
        assert caught.value.category is ErrorCategory.NETWORK
        assert len(hub.requests) <= 2 * (5 + 2 * together)

        class Nothing:
            def has_head(self, *_: object) -> bool:
                return False

        heads = [HeadTarget("0" * 24, "owner/model", SHA, f"{number}.gguf") for number in range(100)]
        with client_of(hub, together, max_retries=0) as client:
            summary = read_heads(client, heads, Nothing(), deadline=lambda: False)  # type: ignore[arg-type]
    assert (summary.read, summary.stopped_reason) == (0, "failing")


@pytest.mark.parametrize("together", [1, 4, 16])
def test_a_refused_token_costs_what_is_under_way_and_is_raised(together):
    def answer(request: Request) -> Reply:
        if number_of(request) < 6:
            return usual(request)
        said = "Invalid credentials in Authorization header"
        return Reply.json({"error": said}, status=401)

    sink = Answers()
    with ScriptedHub(answer=Crowd(answer)) as hub:
        with pytest.raises(PermanentError) as caught:
            fetched(hub, 500, together, sink)
        assert len(hub.requests) <= 6 + together
    assert caught.value.category is ErrorCategory.AUTHENTICATION
    assert [int(hub_id, 16) for hub_id, _ in sink.stored] == list(range(6)), "nothing that came was lost"


def test_a_sink_that_refuses_ends_the_asking_at_once():
    class Full(Answers):
        def store_answer(self, **answer):
            if len(self.stored) == 3:
                raise PermanentError("disk full", category=ErrorCategory.STORAGE)
            super().store_answer(**answer)

    sink = Full()
    with ScriptedHub(answer=Crowd()) as hub:
        with pytest.raises(PermanentError, match="disk full"):
            fetched(hub, 500, 8, sink)
        assert len(hub.requests) <= 3 + 1 + 8
    assert len(sink.stored) == 3


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 12))
def test_whatever_the_hub_does_the_same_is_stored_as_one_after_the_other(seed, together):
    chance = random.Random(seed)
    count = 30
    plans = [[chance.choice(FAULTS) for _ in range(chance.choice([0, 0, 0, 1, 2, 3]))] for _ in range(count)]

    def run(at_once: int) -> tuple[object, list, list]:
        left = [list(plan) for plan in plans]

        def answer(request: Request) -> Reply:
            plan = left[number_of(request)]
            return plan.pop(0) if plan else usual(request)

        with ScriptedHub(answer=answer) as hub:
            summary, order, sink = fetched(hub, count, at_once, max_retries=2)
        return summary, order, sink.answers

    assert run(together) == run(1)


def test_a_limit_is_kept_in_real_time_with_a_configured_rate():
    with ScriptedHub(answer=usual) as hub:
        bounds = limits(max_concurrent_requests=8, requests_per_second=50.0)
        with HubClient(hub.url, token=None, limits=bounds) as client:
            began = time.monotonic()
            summary = fetch_details(
                client, [target(n) for n in range(100)], Answers(), limit=None, deadline=lambda: False
            )
            seconds = time.monotonic() - began
    assert summary.answered == 100
    assert 1.0 <= seconds < 3.0  # 50 at once, 50 more in the next second


def test_several_under_way_are_faster_than_one():
    seconds = {}
    for together in (1, 8):
        with ScriptedHub(answer=Crowd()) as hub:
            began = time.monotonic()
            fetched(hub, 40, together)
            seconds[together] = time.monotonic() - began
    assert seconds[8] < seconds[1] / 2


def test_concurrency_adapts_while_asking(caplog):
    caplog.set_level(logging.INFO, "gguf_assets.hub.adaptive")
    throttled = iter([True] * 3)

    def answer(request: Request) -> Reply:
        if number_of(request) >= 30 and next(throttled, False):
            return Reply(status=429)
        return usual(request)

    crowd = Crowd(answer, seconds=lambda _: 0.005)
    with ScriptedHub(answer=crowd) as hub, client_of(hub, 20, adaptive=True) as client:
        targets = [target(n) for n in range(60)]
        summary = fetch_details(client, targets, Answers(), limit=None, deadline=lambda: False)
    assert (summary.answered, summary.failed) == (60, 0)
    assert crowd.most <= 20
    changes = re.findall(r"together: (\d+) → (\d+) \(at most 20\), because (.+)", caplog.text)
    steps = [(int(old), int(new), why) for old, new, why in changes]
    assert steps[0] == (4, 8, "4 requests were answered undisturbed")
    cuts = [(old, new) for old, new, why in steps if why == "the Hub answered 429"]
    assert cuts
    assert all(new == old // 2 for old, new in cuts)


def test_short_memory_makes_it_one_at_a_time():
    crowd = Crowd(seconds=lambda _: 0.002)
    bounds = limits(max_concurrent_requests=20, adaptive=True)
    with (
        ScriptedHub(answer=crowd) as hub,
        HubClient(hub.url, token=None, limits=bounds, memory_short=lambda: True) as client,
    ):
        targets = [target(n) for n in range(40)]
        summary = fetch_details(client, targets, Answers(), limit=None, deadline=lambda: False)
        assert client.concurrency == 1
    assert summary.answered == 40
    assert crowd.most <= 4


# The session of the process torn down under those who use it


def test_a_session_that_is_closed_under_others_disturbs_none_of_them():
    """What huggingface_hub does when anything in the process meets a ConnectError (hub-protocol.md §7.1)."""
    ended = threading.Event()

    def tear_down() -> None:
        while not ended.wait(0.03):
            close_session()

    with ScriptedHub(answer=Crowd(seconds=lambda _: 0.01)) as hub:
        tearing = threading.Thread(target=tear_down)
        tearing.start()
        sink, order = Answers(), []
        try:
            with client_of(hub, 8, max_retries=20) as client:
                summary = fetch_details(
                    client,
                    [target(n) for n in range(150)],
                    sink,
                    limit=None,
                    deadline=lambda: False,
                    on_answer=lambda answer: order.append(int(answer.hub_id, 16)),
                )
                tries = client.failed_tries
        finally:
            ended.set()
            tearing.join()
    assert order == list(range(150))
    assert (summary.failed, summary.stopped_reason) == (0, "done")
    assert {category for category, number in tries.items() if number} <= {ErrorCategory.NETWORK}
    assert hub.paths == list(dict.fromkeys(hub.paths)), "what was under way ended undisturbed"


@pytest.mark.parametrize("together", [1, 6])
def test_sockets_that_break_under_requests_cost_a_try_each(together):
    """ReadError and RemoteProtocolError, as threads get them whose sockets were torn down."""
    broken: set[int] = set()

    def answer(request: Request) -> Reply:
        number = number_of(request)
        if number % 2 and number not in broken:
            broken.add(number)
            return Reply(reset=True) if number % 4 == 1 else Reply(b"[" * 9, cut_after=2)
        return usual(request)

    with ScriptedHub(answer=answer) as hub:
        summary, order, sink = fetched(hub, 20, together)
    assert (summary.answered, summary.failed, summary.requests) == (20, 0, 30)
    assert order == list(range(20))
    assert [answer["requests"] for answer in sink.answers] == [1, 2] * 10


# The budget of a run


def test_a_client_sends_no_more_than_the_budget_of_the_run_retries_and_hops_included():
    script = [Reply(status=500), Reply(status=307, headers=(("Location", "/api/moved"),)), Reply()]
    with ScriptedHub(script) as hub, client_of(hub, 1, max_requests_per_run=5) as client:
        client.get("/api/models")  # a try, another one, and its hop
        assert client.requests_left == 2
        client.get("/api/models")
        client.get("/api/models")
        with pytest.raises(PermanentError) as caught:
            client.get("/api/models")
        assert client.requests == len(hub.requests) == 5
        assert sum(client.failed_tries.values()) == 1, "what was not sent is no failed try"
    assert caught.value.category is ErrorCategory.RATE_LIMIT
    assert "5 requests" in caught.value.message
    assert "rate_limiting.max_requests_per_run" in caught.value.message
    assert "rate_limiting.max_requests_per_run" in (caught.value.remedy or "")


def test_a_budget_that_ends_between_two_hops_sends_no_further_one():
    around = Reply(status=307, headers=(("Location", "/api/models"),))
    with ScriptedHub([around]) as hub, client_of(hub, 1, max_requests_per_run=3) as client:
        with pytest.raises(PermanentError, match="max_requests_per_run"):
            client.get("/api/models")
        assert len(hub.requests) == 3


def test_what_does_not_reach_the_hub_spends_no_budget():
    client = HubClient(
        "http://127.0.0.1:1", token=None, limits=limits(max_requests_per_run=2), **FakeTime().hooks
    )
    with client:
        with pytest.raises(TransientError):
            client.get("/api/models")
        assert client.requests_left == 2


@pytest.mark.parametrize("together", [1, 4, 16])
@pytest.mark.parametrize("limit", [None, 1000])
def test_details_stop_at_the_budget_of_the_run_and_lose_nothing(together, limit):
    sink = Answers()
    with ScriptedHub(answer=Crowd(seconds=lambda _: 0.002)) as hub:
        summary, order, _ = fetched(hub, 50, together, sink, limit=limit, max_requests_per_run=30)
        assert len(hub.requests) == 30
        assert (summary.answered, summary.failed, summary.stopped_reason) == (30, 0, "budget")
        assert order == list(range(30))
        hub.requests.clear()
        summary, order, _ = fetched(hub, 50, together, sink, max_requests_per_run=30)
    assert (order, summary.stopped_reason) == (list(range(30, 50)), "done")


@pytest.mark.parametrize("together", [1, 4])
def test_details_of_many_requests_never_exceed_the_budget_of_the_run(together):
    with ScriptedHub() as hub:
        hub.answer = Crowd(paged(hub), seconds=lambda _: 0.002)
        summary, _, sink = fetched(hub, 10, together, max_requests_per_run=17)
        assert len(hub.requests) <= 17
    assert summary.stopped_reason == "budget"
    assert 1 <= len(sink.answers) <= 3
    assert all(answer["requests"] == 1 + PAGES for answer in sink.answers)


def test_heads_stop_at_the_budget_of_the_run():
    class Kept(list):
        def has_head(self, *_: object) -> bool:
            return False

        def store_head(self, *, path: str, **_: object) -> None:
            self.append(path)

    kept = Kept()
    heads = [HeadTarget("0" * 24, "owner/model", SHA, f"{number}.gguf") for number in range(20)]
    answer = Reply(b"GGUF", 206, (("Content-Range", "bytes 0-3/4"),), content_type="application/octet-stream")
    with ScriptedHub([answer]) as hub, client_of(hub, 4, max_requests_per_run=7) as client:
        summary = read_heads(client, heads, kept, deadline=lambda: False)
        assert len(hub.requests) == 7
    assert kept == [f"{number}.gguf" for number in range(7)]
    assert (summary.read, summary.stopped_reason) == (7, "budget")


@given(
    st.integers(1, 30),
    st.integers(1, 8),
    st.lists(st.integers(0, 6), min_size=1, max_size=40),
    st.randoms(use_true_random=False),
)
def test_the_limit_of_a_room_is_passed_by_the_first_open_target_at_most(limit, together, costs, chance):
    """Targets that want so many requests each, in any order of events."""
    room, waiting, sent = Room(limit), list(enumerate(costs)), 0
    under_way: dict[int, list[int]] = {}  # number → wanted, sent
    while waiting or under_way:
        if waiting and len(under_way) < together and room.has_any():
            number, cost = waiting.pop(0)
            under_way[number] = [cost, 0]
            room.begin(number)
            continue
        if not under_way:
            break
        number = chance.choice(list(under_way))
        wanted, done = under_way[number]
        gone = done == wanted
        if not gone:
            try:
                room.take(number)
                under_way[number][1] += 1
                sent += 1
            except BudgetError:
                assert sent + len([1 for _, (_, s) in under_way.items() if s == 0]) >= limit
                gone = True
        if gone:
            room.end(number, under_way.pop(number)[1])
    assert sent <= limit + max(0, max(costs) - 1)
    if sum(costs) <= limit - 1:
        assert sent == sum(costs)


# Interruptions

SCRIPT = """
import logging, signal, sys
from contextlib import nullcontext
from gguf_assets.hub.client import HubClient
from gguf_assets.hub.details import fetch_details
from gguf_assets_tests.hub.scripted import limits
from gguf_assets_tests.hub.test_details import Answers, target

if sys.argv[2] == "dagster":
    from dagster._core.errors import DagsterExecutionInterruptedError as Interrupted
    from dagster._utils.interrupts import raise_interrupts_as
    raising = raise_interrupts_as(Interrupted)
else:
    Interrupted, raising = KeyboardInterrupt, nullcontext()
logging.getLogger().addHandler(logging.NullHandler())
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
sink = Answers()
try:
    bounds = limits(max_concurrent_requests=8, timeout_seconds=60)
    with HubClient(sys.argv[1], token=None, limits=bounds) as client:
        with raising:
            fetch_details(
                client, [target(n) for n in range(500)], sink, limit=None, deadline=lambda: False,
                on_answer=lambda answer: print(int(answer.hub_id, 16), flush=True),
            )
except Interrupted:
    print("interrupted", client.requests, flush=True)
"""


@pytest.mark.parametrize("how", ["python", "dagster"])
@pytest.mark.parametrize("hold", ["silence", "pause"])
def test_an_interruption_ends_the_process_soon_and_loses_only_what_was_under_way(how, hold):
    """The Hub stops answering, or asks for an hour's pause, while eight requests are under way."""

    def answer(request: Request) -> Reply:
        if number_of(request) < 20:
            return usual(request)
        if hold == "pause":
            return Reply(status=500, headers=(("Retry-After", "3000"),))
        return Reply(stall=30.0)

    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    with (
        ScriptedHub(answer=answer) as hub,
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, hub.url, how],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        try:
            # With eight at the same time, the 28th is begun when the 20th answer has been kept. A pause that
            # the Hub asks for holds all of them back, so that some of these may not have been sent.
            until(lambda: len(hub.requests) >= (28 if hold == "silence" else 21), seconds=20)
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            began = time.monotonic()
            stdout, stderr = process.communicate(timeout=20)
        finally:
            process.kill()
        seconds = time.monotonic() - began
        sent = len(hub.requests)
    *stored, last = stdout.splitlines()
    assert [int(number) for number in stored] == list(range(len(stored))), stderr
    assert len(stored) == 20 if hold == "silence" else 13 <= len(stored) <= 20
    assert last == f"interrupted {sent}"
    assert sent <= len(stored) + 8
    assert stderr == ""
    assert seconds < 8.0


def test_after_an_interruption_nothing_is_sent_any_more_not_even_without_the_client():
    """A thread that slept through the end of its client must not go on over another session."""

    class KilledError(BaseException):
        pass

    def answer(request: Request) -> Reply:
        return usual(request) if number_of(request) == 0 else Reply(status=500)

    def kill(_: object) -> None:
        time.sleep(0.1)  # the others have got their 500 and pause
        raise KilledError

    with ScriptedHub(answer=answer) as hub:
        bounds = limits(max_concurrent_requests=4, max_retries=5)
        with pytest.raises(KilledError), HubClient(hub.url, token=None, limits=bounds) as client:
            targets = [target(n) for n in range(4)]
            fetch_details(client, targets, Answers(), limit=None, deadline=lambda: False, on_answer=kill)
        sent = len(hub.requests)
        time.sleep(1.5)  # the first pause would be over
        assert len(hub.requests) == sent == 4
    for thread in threads_of_asking():
        thread.join(2)
    assert threads_of_asking() == []


def test_expect_json_is_where_it_was():
    from gguf_assets.hub import answers

    assert expect_json is answers.expect_json
