"""Rates and announced quotas: counted in simulated time."""

from __future__ import annotations

import math
import multiprocessing
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyrate_limiter import InMemoryBucket, Rate

from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.hub.limits import AnnouncedQuota, RateLimiter, binding_rates
from gguf_assets_tests.hub.scripted import FakeTime, limits


def rates(second: float | None, hour: int | None):
    return limits(requests_per_second=second, requests_per_hour=hour)


@pytest.mark.parametrize(
    ("second", "hour", "windows"),
    [
        (None, None, []),
        (None, 800, [(800, 3_600_000)]),
        (5.0, None, [(1, 200)]),
        (20.0, None, [(20, 1000)]),
        (1.2, 5000, [(1, 834)]),  # 4,320 an hour at most: the hourly window cannot bind
        (0.8, 800, [(1, 1250), (800, 3_600_000)]),
        (20.0, 15, [(15, 3_600_000)]),  # 15 an hour are never 20 a second
    ],
)
def test_only_windows_that_can_bind_are_kept(second, hour, windows):
    assert binding_rates(rates(second, hour)) == windows


@given(st.none() | st.floats(0.001, 1000), st.none() | st.integers(1, 10**7))
def test_the_windows_are_ones_that_the_library_accepts(second, hour):
    windows = binding_rates(rates(second, hour))
    assert bool(windows) == (second is not None or hour is not None)
    if windows:
        InMemoryBucket([Rate(*window) for window in windows])


def limiter_of(fake: FakeTime, second=None, hour=None, file=None) -> RateLimiter:
    return RateLimiter(rates(second, hour), file=file, sleep=fake.sleep, clock=fake.clock)


@settings(deadline=None)
@given(st.floats(0.5, 50), st.none() | st.integers(5, 5000), st.integers(2, 60))
def test_no_window_ever_holds_more_than_its_share(second, hour, requests):
    fake = FakeTime()
    limiter = limiter_of(fake, second, hour)
    times = []
    for _ in range(requests):
        limiter.acquire()
        times.append(fake.now)
    for length, most in ((1.0, math.ceil(second)), (3600.0, hour or 10**9)):
        for position, begin in enumerate(times):
            assert sum(begin <= moment < begin + length for moment in times[position:]) <= most
    if hour is None and second < 10:
        assert times[-1] - times[0] <= (requests - 1) * (1 / second + 0.003)


@settings(deadline=None)
@given(st.floats(0.5, 50), st.none() | st.integers(5, 5000), st.integers(0, 60))
def test_the_delay_foretold_is_the_one_that_comes(second, hour, requests):
    fake = FakeTime()
    limiter = limiter_of(fake, second, hour)
    for _ in range(requests):
        limiter.acquire()
    foretold, begin = limiter.delay(), fake.now
    limiter.acquire()
    assert fake.now - begin == pytest.approx(max(0.0, foretold), abs=0.005)


def test_two_limiters_of_one_file_share_the_rate(tmp_path):
    fake = FakeTime()
    file = tmp_path / "limits" / "hub.sqlite"
    first, second = limiter_of(fake, 5.0, file=file), limiter_of(fake, 5.0, file=file)
    begin = fake.now
    for _ in range(10):
        first.acquire()
        second.acquire()
    assert fake.now - begin >= 19 * 0.2
    first.close()
    second.close()


def _acquire(file, begin, results):
    limiter = RateLimiter(rates(20.0, None), file=file, sleep=time.sleep, clock=time.time)
    begin.wait()
    for _ in range(15):
        limiter.acquire()
        results.put(time.time())
    limiter.close()


def test_two_processes_share_the_rate(tmp_path):
    context = multiprocessing.get_context("spawn")
    begin, results = context.Event(), context.Queue()
    workers = [
        context.Process(target=_acquire, args=(tmp_path / "hub.sqlite", begin, results)) for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    begin.set()
    times = sorted(results.get(timeout=30) for _ in range(30))
    for worker in workers:
        worker.join()
    # Two limiters for themselves would let all 30 through at once; together they take a second for every 20.
    assert all(late - early >= 0.5 for early, late in zip(times, times[21:], strict=False))


def test_a_clock_that_was_set_back_does_not_hold_requests_for_days(tmp_path):
    fake = FakeTime()
    limiter = limiter_of(fake, 2.0, 100, tmp_path / "hub.sqlite")
    for _ in range(5):
        limiter.acquire()
    fake.now -= 30 * 86400
    begin = fake.now
    for _ in range(5):
        limiter.acquire()
    assert fake.now - begin < 5
    limiter.close()


def test_a_damaged_file_is_made_anew(tmp_path):
    file = tmp_path / "hub.sqlite"
    file.write_bytes(b"this is no database, not even a small one" * 100)
    fake = FakeTime()
    limiter = limiter_of(fake, 5.0, file=file)
    limiter.acquire()
    limiter.acquire()
    assert sum(fake.slept) >= 0.2
    limiter.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "limits").write_text("in the way")
    with pytest.raises(PermanentError) as caught:
        limiter_of(FakeTime(), 5.0, file=tmp_path / "limits" / "hub.sqlite")
    assert caught.value.category is ErrorCategory.STORAGE
    assert "hub.sqlite" in caught.value.message


def quota(remaining: int, reset: int, total: int | None = None) -> AnnouncedQuota:
    announced = AnnouncedQuota()
    headers = {"ratelimit": f'"api";r={remaining};t={reset}'}
    if total is not None:
        headers["ratelimit-policy"] = f'"fixed window";"api";q={total};w=300'
    announced.observe(headers, 1000.0)
    return announced


def test_nothing_announced_holds_nothing_back():
    announced = AnnouncedQuota()
    announced.observe({}, 0.0)
    announced.observe({"ratelimit": "nonsense"}, 0.0)
    assert announced.wait(0.0) == 0


def test_plenty_left_holds_nothing_back():
    assert quota(499, 300, 500).wait(1000.0) == 0


def test_a_used_up_quota_is_waited_for_to_its_end():
    announced = quota(0, 55, 500)
    assert announced.wait(1000.0) == 56
    assert announced.wait(1050.0) == 6
    assert announced.wait(1056.0) == 0


def test_near_its_end_requests_are_spread_evenly_over_the_rest():
    announced = quota(9, 100, 500)
    assert announced.wait(1000.0) == 10
    assert announced.wait(1004.0) == 6
    assert announced.wait(1100.0) == 0  # the window is over


@given(st.integers(0, 10**6), st.integers(0, 10**12), st.floats(-1e9, 1e9))
def test_no_announcement_holds_a_request_for_much_more_than_an_hour(remaining, reset, moved):
    assert 0 <= quota(remaining, reset).wait(1000.0 + moved) <= 3601
