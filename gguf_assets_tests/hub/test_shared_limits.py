"""Limits that machines share, against real servers (Redis, PostgreSQL); skipped where they do not answer."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from uuid import uuid4

import pytest

from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.hub import shared_limits
from gguf_assets.hub.limits import QuotaState, RateLimiter
from gguf_assets.hub.shared_limits import PREFIX, open_shared_store
from gguf_assets_tests.hub.scripted import FakeTime, limits

REDIS = os.environ.get("GGUF_ASSETS_TEST_REDIS_URL", "redis://127.0.0.1:6379/0")
POSTGRES = os.environ.get("GGUF_ASSETS_TEST_POSTGRES_URL", "postgresql://root@127.0.0.1:5432/test")
PASSWORD = "Tr1cky-Passw0rd"


@dataclass
class Server:
    """A server under test; `names` tells what of an account is stored there."""

    url: str
    account: str
    names: Callable[[str], list[str]]


@pytest.fixture(params=["redis", "postgresql"])
def server(request) -> Iterator[Server]:
    account = f"test-{uuid4().hex[:12]}"
    if request.param == "redis":
        yield from _redis(account)
    else:
        yield from _postgres(account)


def _redis(account: str) -> Iterator[Server]:
    redis = pytest.importorskip("redis")
    client = redis.Redis.from_url(REDIS, socket_connect_timeout=2)
    try:
        client.ping()
    except redis.exceptions.RedisError as error:
        pytest.skip(f"no Redis answers at {REDIS}: {error}")

    def names(of: str) -> list[str]:
        return sorted(name.decode() for name in client.scan_iter(f"{PREFIX}*{of}"))

    yield Server(REDIS, account, names)
    for name in names(account):
        client.delete(name)
    client.close()


def _postgres(account: str) -> Iterator[Server]:
    psycopg = pytest.importorskip("psycopg")
    schema = account.replace("-", "_")
    try:
        connection = psycopg.connect(POSTGRES, connect_timeout=2, autocommit=True)
    except psycopg.OperationalError as error:
        pytest.skip(f"no PostgreSQL answers at {POSTGRES}: {error}")
    connection.execute(f"CREATE SCHEMA {schema}")

    def names(of: str) -> list[str]:
        query = "SELECT table_name FROM information_schema.tables WHERE table_schema = %s ORDER BY 1"
        return [name for (name,) in connection.execute(query, (schema,))]

    try:
        yield Server(f"{POSTGRES}?options=-csearch_path%3D{schema}", account, names)
    finally:
        connection.execute(f"DROP SCHEMA {schema} CASCADE")
        connection.close()


def limiter_of(server: Server, second=None, hour=None, sleep=time.sleep) -> RateLimiter:
    values = limits(requests_per_second=second, requests_per_hour=hour)
    # A clock that is wrong by years: the server's own must count.
    return RateLimiter(
        values, file=None, url=server.url, account=server.account, sleep=sleep, clock=FakeTime().clock
    )


def said(remaining: int, reset: int) -> dict[str, str]:
    return {
        "ratelimit": f'"api";r={remaining};t={reset}',
        "ratelimit-policy": '"fixed window";"api";q=500;w=300',
    }


def _acquire(url, account, begin, results):
    limiter = RateLimiter(
        limits(requests_per_second=20.0),
        file=None,
        url=url,
        account=account,
        sleep=time.sleep,
        clock=time.time,
    )
    begin.wait()
    for _ in range(15):
        limiter.acquire()
        results.put(time.time())
        limiter.observe({})
    limiter.close()


def test_two_processes_share_the_rate(server):
    context = multiprocessing.get_context("spawn")
    begin, results = context.Event(), context.Queue()
    workers = [
        context.Process(target=_acquire, args=(server.url, server.account, begin, results)) for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    begin.set()
    times = sorted(results.get(timeout=60) for _ in range(30))
    for worker in workers:
        worker.join()
    # Two limiters for themselves would let all 30 through at once; together they take a second for every 20.
    assert all(late - early >= 0.5 for early, late in zip(times, times[21:], strict=False))


def test_two_machines_with_wrong_clocks_share_a_rate(server):
    first, second = limiter_of(server, 10.0 / 3), limiter_of(server, 10.0 / 3)
    begin = time.monotonic()
    for _ in range(3):
        first.acquire()
        first.observe({})
        second.acquire()
        second.observe({})
    assert time.monotonic() - begin >= 5 * 0.3 - 0.01
    first.close()
    second.close()


def test_a_rate_per_hour_is_shared(server):
    first, second = limiter_of(server, hour=3), limiter_of(server, hour=3)
    first.acquire()
    first.observe({})
    second.acquire()
    first.acquire()
    assert 3590 < second.delay() <= 3600
    first.close()
    second.close()


def test_an_announced_quota_and_a_pause_hold_back_the_other_machine(server):
    first, second = limiter_of(server), limiter_of(server)
    first.acquire()
    first.observe(said(0, 55))
    assert second.quota_wait() == pytest.approx(56, abs=1)
    first.observe({"retry-after": "300"})
    assert second.delay() == pytest.approx(300, abs=1)
    first.close()
    second.close()


def test_what_is_left_is_counted_down_together(server):
    first, second = limiter_of(server), limiter_of(server)
    first.acquire()
    first.observe(said(400, 200))
    for _ in range(3):
        first.acquire()
        second.acquire()
    state = second.quota()
    assert isinstance(state, QuotaState)
    assert (state.limit, state.remaining) == (500, 394)
    assert state.resets_in_seconds == pytest.approx(200, abs=2)
    first.close()
    second.close()


def test_names_are_ours_and_end_by_themselves(server):
    limiter = limiter_of(server, 50.0, 100)
    limiter.acquire()
    limiter.observe(said(400, 200))
    limiter.close()
    names = server.names(server.account)
    assert len(names) == 2
    assert all("gguf_assets" in name for name in names)
    if server.url.startswith("redis"):
        import redis

        with redis.Redis.from_url(server.url) as client:
            assert all(0 < client.ttl(name) <= 7200 for name in names)


def test_many_threads_share_one_connection(server):
    limiter = limiter_of(server, 200.0)
    failures: list[BaseException] = []

    def worker() -> None:
        try:
            for _ in range(5):
                limiter.acquire()
                limiter.observe(said(400, 200))
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=worker) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert failures == []
    state = limiter.quota()
    assert state is not None and state.remaining <= 400 - 32
    limiter.close()


def test_a_server_that_was_started_anew_is_asked_again(server):
    """The connection is cut and what the server kept of it is gone; the next request does not notice."""
    limiter = limiter_of(server, 50.0)
    limiter.acquire()
    limiter.observe({})
    if server.url.startswith("redis"):
        limiter._store._redis.script_flush()
        limiter._store._redis.connection_pool.disconnect()
    else:
        import psycopg

        number = limiter._store._connection.info.backend_pid
        with psycopg.connect(server.url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (number,))
    limiter.acquire()
    limiter.close()


class Relay:
    """A way to the server that can be cut; counts what is open."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                self.pairs.append((near, far))
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while block := one.recv(65536):
                other.sendall(block)
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for pair in self.pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()


def test_a_connection_lost_for_good_is_told_in_one_line_without_the_password(server):
    host, port = ("127.0.0.1", 6379) if server.url.startswith("redis") else ("127.0.0.1", 5432)
    if f"{host}:{port}" not in server.url:
        pytest.skip("the server under test is not the one of this machine")
    relay = Relay(host, port)
    server.url = server.url.replace(f":{port}", f":{relay.port}")
    limiter = limiter_of(server, 50.0)
    limiter.acquire()
    relay.cut()
    with pytest.raises(PermanentError) as caught:
        limiter.acquire()
    assert caught.value.category is ErrorCategory.STORAGE
    assert f"127.0.0.1:{relay.port}" in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.__suppress_context__
    limiter.close()


@pytest.mark.parametrize("scheme", ["redis", "rediss", "postgresql"])
def test_a_server_that_does_not_answer_is_named_before_anything_is_sent(scheme):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"{scheme}://someone:{PASSWORD}@127.0.0.1:{port}/0"
    with pytest.raises(PermanentError) as caught:
        open_shared_store(url, [(1, 1000)], "nobody")
    assert caught.value.category is ErrorCategory.STORAGE
    assert f"{scheme}://127.0.0.1:{port}" in caught.value.message
    assert PASSWORD not in str(caught.value)


def test_a_server_that_accepts_and_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(shared_limits, "_CONNECT_SECONDS", 2)
    monkeypatch.setattr(shared_limits, "_ANSWER_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        for scheme in ("redis", "postgresql"):
            begin = time.monotonic()
            with pytest.raises(PermanentError, match="cannot be used"):
                open_shared_store(f"{scheme}://127.0.0.1:{port}/0", [(1, 1000)], "nobody")
            assert time.monotonic() - begin < 20


def test_a_wrong_password_is_told_without_showing_it(server):
    if server.url.startswith("redis"):
        url = REDIS.replace("redis://", f"redis://someone:{PASSWORD}@")
    else:
        url = POSTGRES.replace("postgresql://root@", f"postgresql://nobody_of_that_name:{PASSWORD}@")
    with pytest.raises(PermanentError) as caught:
        open_shared_store(url, [(1, 1000)], server.account)
    assert caught.value.category is ErrorCategory.STORAGE
    assert "password" in caught.value.remedy
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "part"),
    [
        (f"http://u:{PASSWORD}@host", "http://"),
        (f"mysql://u:{PASSWORD}@host", "mysql://"),
        (PASSWORD, "no scheme"),
        ("redis://", "no scheme"),
        (f"redis://u:{PASSWORD}@", "no host"),
        (f"redis://u:{PASSWORD}@host:port", "port"),
        (f"redis://u:{PASSWORD}@host:99999999", "port"),
        (f"postgresql://u:{PASSWORD}@more@host/x", "%40"),
        (f"postgresql://u:{PASSWORD}/more@host/x", "%2F"),
        (f"postgresql://u:{PASSWORD}#more@host/x", "%2F"),
    ],
)
def test_an_unusable_address_is_refused_without_showing_it(url, part):
    with pytest.raises(PermanentError) as caught:
        open_shared_store(url, [(1, 1000)], "nobody")
    assert caught.value.category is ErrorCategory.CONFIGURATION
    assert part in caught.value.message
    assert PASSWORD not in str(caught.value) and "more" not in str(caught.value)


@pytest.mark.parametrize(("scheme", "package"), [("redis", "redis"), ("postgresql", "psycopg")])
def test_a_missing_package_is_named_with_how_to_install_it(scheme, package, monkeypatch):
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(PermanentError) as caught:
        open_shared_store(f"{scheme}://127.0.0.1:1/0", [(1, 1000)], "nobody")
    assert caught.value.category is ErrorCategory.CONFIGURATION
    assert package in caught.value.message
    assert "pip install 'gguf_assets[shared-limits]'" in (caught.value.remedy or "")


def test_a_closed_limiter_leaves_no_connection(server):
    limiter = limiter_of(server, 50.0)
    limiter.acquire()
    if server.url.startswith("redis"):
        import redis

        with redis.Redis.from_url(server.url) as client:

            def ours() -> int:
                return sum(entry["name"] == "gguf_assets" for entry in client.client_list())

            before = ours()
            limiter.close()
            end = time.monotonic() + 5
            while ours() >= before and time.monotonic() < end:
                time.sleep(0.01)
            assert ours() < before
    else:
        connection = limiter._store._connection
        limiter.close()
        assert connection.closed
