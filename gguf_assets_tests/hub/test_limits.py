"""Rates and announced quotas: counted in simulated time."""

from __future__ import annotations

import math
import multiprocessing
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pyrate_limiter import InMemoryBucket, Rate

from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.hub.limits import QuotaState, RateLimiter, binding_rates
from gguf_assets.hub.quota import quota_key
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


def said(remaining: int, reset: int, total: int = 500, window: int = 300) -> dict[str, str]:
    return {
        "ratelimit": f'"api";r={remaining};t={reset}',
        "ratelimit-policy": f'"fixed window";"api";q={total};w={window}',
    }


def test_what_is_left_of_the_quota_is_told_and_counted_down(tmp_path):
    fake = FakeTime()
    limiter = limiter_of(fake, file=tmp_path / "hub.sqlite")
    assert limiter.quota() is None
    limiter.acquire()
    assert limiter.quota() is None
    limiter.observe(said(499, 300))
    assert limiter.quota() == QuotaState(500, 499, 300.0)
    limiter.acquire()
    fake.now += 10
    assert limiter.quota() == QuotaState(500, 498, 290.0)
    limiter.close()
    assert limiter.quota() == QuotaState(500, 498, 290.0)  # a report may ask after the end
    fake.now += 400
    assert limiter.quota() is None


def test_a_second_process_waits_for_the_quota_that_the_first_one_used_up(tmp_path):
    fake, file = FakeTime(), tmp_path / "hub.sqlite"
    first, second = limiter_of(fake, file=file), limiter_of(fake, file=file)
    first.acquire()
    first.observe(said(0, 55))
    assert (second.quota_wait(), second.delay()) == (56.0, 56.0)
    begin = fake.now
    second.acquire()
    assert fake.now - begin == 56.0
    first.close()
    second.close()


def test_a_pause_that_the_hub_demands_binds_all_processes(tmp_path):
    fake, file = FakeTime(), tmp_path / "hub.sqlite"
    first, second = limiter_of(fake, file=file), limiter_of(fake, file=file)
    first.acquire()
    first.observe({"retry-after": "30"})
    begin = fake.now
    second.acquire()
    assert fake.now - begin == 30.0
    second.observe({"retry-after": "999999"})  # a client gives up on that; it must not bind the next one
    assert first.quota_wait() == 0.0
    first.close()
    second.close()


def test_another_account_has_a_quota_of_its_own(tmp_path):
    fake, file = FakeTime(), tmp_path / "hub.sqlite"
    keywords = {"file": file, "sleep": fake.sleep, "clock": fake.clock}
    first = RateLimiter(rates(None, None), account="a", **keywords)
    second = RateLimiter(rates(None, None), account="b", **keywords)
    first.acquire()
    first.observe(said(0, 55))
    assert (first.quota_wait(), second.quota_wait()) == (56.0, 0.0)
    first.close()
    second.close()


def test_files_of_repositories_have_a_quota_of_their_own():
    fake = FakeTime()
    limiter = limiter_of(fake)
    limiter.acquire("/api/models")
    limiter.observe(said(0, 55))
    begin = fake.now
    limiter.acquire("/o/m/resolve/main/README.md")
    assert fake.now == begin
    limiter.acquire(None)  # another server: no quota of the Hub counts it
    assert fake.now == begin
    assert limiter.delay() == 56.0
    limiter.acquire("/api/models")
    assert fake.now - begin == 56.0


def test_many_threads_that_see_what_is_left_take_no_more_of_it():
    """25 in a window that the server really counts; ten threads; nobody is refused."""
    window, used, refused, begun = 1.0, [0], [0], [0.0]
    lock = threading.Lock()
    limiter = RateLimiter(rates(None, None), file=None, sleep=time.sleep, clock=time.time)

    def ask() -> dict[str, str]:
        with lock:
            now = time.time()
            if now - begun[0] >= window:
                begun[0], used[0] = now, 0
            used[0] += 1
            refused[0] += used[0] > 25
            return said(max(0, 25 - used[0]), 1, 25, 1)

    def worker() -> None:
        for _ in range(6):
            limiter.acquire("/api/models")
            time.sleep(0.005)
            limiter.observe(ask())

    with ThreadPoolExecutor(10) as pool:
        for done in [pool.submit(worker) for _ in range(10)]:
            done.result(timeout=60)
    assert refused[0] == 0


@settings(deadline=None)
@given(st.floats(0.5, 9), st.lists(st.floats(0.01, 1), min_size=1, max_size=6))
def test_a_factor_slows_down_and_never_speeds_up(second, factors):
    fake = FakeTime()
    limiter = limiter_of(fake, second)
    limiter.acquire()
    for factor in factors:
        limiter.set_rate(factor)
        last = fake.now
        limiter.acquire()
        assert 1 / (second * factor) - 1e-6 <= fake.now - last <= 1 / (second * factor) + 0.01
    limiter.set_rate(1)
    last = fake.now
    limiter.acquire()
    assert 1 / second - 1e-6 <= fake.now - last <= 1 / second + 0.01


@pytest.mark.parametrize("factor", [0, -1, 1.01, math.inf, math.nan])
def test_no_factor_raises_the_rate(factor):
    with pytest.raises(ValueError, match="at most 1"):
        limiter_of(FakeTime(), 1.0).set_rate(factor)


def test_a_factor_leaves_the_hour_alone_and_needs_a_rate():
    fake = FakeTime()
    limiter = limiter_of(fake, None, 100)
    limiter.set_rate(0.01)
    begin = fake.now
    for _ in range(100):
        limiter.acquire()
    assert fake.now == begin


def test_the_first_request_asks_for_all_what_is_announced(tmp_path):
    """Nobody knows what is left until an answer came; who died meanwhile holds the others for seconds."""
    fake, file = FakeTime(), tmp_path / "hub.sqlite"
    first, second = limiter_of(fake, file=file), limiter_of(fake, file=file)
    first.acquire()
    first.acquire()  # its own request has failed meanwhile: it is not held up by itself
    begin = fake.now
    assert second.delay() > 0
    second.acquire()
    assert 4.9 <= fake.now - begin <= 5.1
    second.observe({})
    begin = fake.now
    for limiter in (first, second, first, second):
        limiter.acquire()
    assert fake.now == begin
    first.close()
    second.close()


def test_the_file_holds_no_token(tmp_path):
    token = "hf_" + "Qq7" * 11
    fake, file = FakeTime(), tmp_path / "hub.sqlite"
    account = quota_key("https://huggingface.co", token)
    limiter = RateLimiter(rates(5.0, 100), file=file, account=account, sleep=fake.sleep, clock=fake.clock)
    limiter.acquire()
    limiter.observe(said(10, 55))
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    limiter.close()
    assert account.encode() in stored
    assert token.encode() not in stored and token[3:15].encode() not in stored


def test_accounts_differ_by_hub_and_token():
    keys = {
        quota_key(endpoint, token)
        for endpoint in ("https://huggingface.co", "http://127.0.0.1:8765")
        for token in (None, "hf_one", "hf_two")
    }
    assert len(keys) == 6
    assert sum(key.startswith("anonymous-") for key in keys) == 2


def test_a_file_damaged_while_it_is_used_is_named(tmp_path):
    fake, file = FakeTime(), tmp_path / "hub.sqlite"
    limiter = limiter_of(fake, 5.0, file=file)
    limiter.acquire()
    with sqlite3.connect(file) as other:
        other.execute("DROP TABLE hub_quotas")
    other.close()
    with pytest.raises(PermanentError, match=r"hub\.sqlite.* cannot be used") as caught:
        limiter.acquire()
    assert caught.value.category is ErrorCategory.STORAGE
    limiter.close()


def test_a_folder_that_is_read_only_is_named(tmp_path):
    """Root may write anywhere, so a file stands in for the folder that cannot be written."""
    with pytest.raises(PermanentError) as caught:
        limiter_of(FakeTime(), 5.0, file=Path("/proc/gguf_assets/hub.sqlite"))
    assert caught.value.category is ErrorCategory.STORAGE


def test_a_file_that_another_program_keeps_locked_is_named(tmp_path, monkeypatch):
    fake, file = FakeTime(), tmp_path / "hub.sqlite"
    limiter = limiter_of(fake, 5.0, file=file)
    limiter._store._bucket.conn.execute("PRAGMA busy_timeout=50")
    limiter._store._connection.execute("PRAGMA busy_timeout=50")
    other = sqlite3.connect(file)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(PermanentError, match="locked") as caught:
        limiter.acquire()
    assert caught.value.category is ErrorCategory.STORAGE
    other.rollback()
    other.close()
    limiter.acquire()
    limiter.close()


def test_what_another_version_stored_is_left_aside(tmp_path):
    fake, file = FakeTime(), tmp_path / "hub.sqlite"
    limiter = limiter_of(fake, file=file)
    limiter.acquire()
    for text in ("", "no json", "[]", '{"windows": {"api": {"left": 0}}}', '{"windows": {}, "noted": "x"}'):
        with sqlite3.connect(file) as other:
            other.execute("UPDATE hub_quotas SET state = ?", (text,))
        other.close()
        assert limiter.quota_wait() == 0.0
    limiter.close()


@settings(deadline=None, max_examples=60, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    second=st.floats(0.5, 15),
    hour=st.integers(4, 40),
    steps=st.lists(
        st.tuples(
            st.integers(0, 2),
            st.none() | st.tuples(st.integers(0, 60), st.integers(0, 40)),
            st.floats(0, 0.9),
        ),
        min_size=10,
        max_size=50,
    ),
)
def test_three_processes_never_exceed_a_window_whatever_the_hub_says(tmp_path_factory, second, hour, steps):
    """Answers with any numbers may only slow down; at most what was announced goes out before the reset."""
    fake, file = FakeTime(), tmp_path_factory.mktemp("limits") / "hub.sqlite"
    processes = [limiter_of(fake, second, hour, file) for _ in range(3)]
    times: list[float] = []
    left, left_until = math.inf, 0.0
    for number, answer, pause in steps:
        process = processes[number]
        fake.now += pause
        process.acquire()
        if fake.now >= left_until:
            left = math.inf
        left -= 1
        assert left >= 0
        times.append(fake.now)
        if answer is None:
            process.observe({})
        else:
            remaining, reset = answer
            process.observe({"ratelimit": f'"api";r={remaining};t={reset}'})
            until = fake.now + reset
            if left == math.inf or until > left_until + 1.5:  # the next window
                left, left_until = remaining, until
            elif until >= left_until - 2:  # else it is an answer of a window before
                left, left_until = min(left, remaining), min(left_until, until)
    for process in processes:
        process.close()
    for length, most in ((1.0, math.ceil(second)), (3600.0, hour)):
        for position, begin in enumerate(times):
            assert sum(begin <= moment < begin + length for moment in times[position:]) <= most
