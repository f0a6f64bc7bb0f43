"""Counters of rates and quotas that several machines share, through a Redis or PostgreSQL server.

What belongs here: connecting, one requester's turn at a time across machines, the server's own clock, errors
in words without the password. What does not: who waits (`limits`, `quota`).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.hub.limit_stores import LimitStore, Outcome, Turn, rates_of
from gguf_assets.hub.quota import QuotaBook
from gguf_assets.masking import mask, register_secret

if TYPE_CHECKING:
    import psycopg
    import redis
    from pyrate_limiter import PostgresBucket, RedisBucket

PREFIX: Final = "gguf_assets:"
"""What the names of all keys in Redis begin with."""

QUOTA_TABLE: Final = "gguf_assets_quotas"
VARIABLE: Final = "GGUF_ASSETS_SHARED_LIMITS_URL"

_CONNECT_SECONDS = 5
_ANSWER_SECONDS = 10
_TURN_SECONDS = 10  # a requester that died in its turn holds up the others for no longer
_WAIT_SECONDS = 60  # for one's turn
_QUOTA_KEPT_SECONDS = 2 * 3600
_LEFT_OVER_SECONDS = 60

_CREATE_QUOTAS = f"""
CREATE TABLE IF NOT EXISTS {QUOTA_TABLE} (
    account text PRIMARY KEY, state text NOT NULL, noted timestamptz NOT NULL DEFAULT now()
)"""
_FORGET_QUOTAS = f"DELETE FROM {QUOTA_TABLE} WHERE noted < now() - interval '1 day'"
_SELECT_QUOTA = f"SELECT state FROM {QUOTA_TABLE} WHERE account = %s"
_STORE_QUOTA = f"""
INSERT INTO {QUOTA_TABLE} (account, state) VALUES (%s, %s)
ON CONFLICT (account) DO UPDATE SET state = excluded.state, noted = now()"""


def open_shared_store(url: str, windows: list[tuple[int, int]], account: str) -> LimitStore:
    """Connect to the server that several machines share.

    Args:
        url: `redis://`, `rediss://` or `postgresql://`, with user and password where needed.
        windows: the configured rates as (requests, milliseconds), shortest first.
        account: whose requests are counted and whose quotas are kept.

    Raises:
        PermanentError: the URL is unusable or a package is missing (category `configuration`), or the server
            cannot be used (category `storage`). No text shows the password.
    """
    shown = _checked(url)
    try:
        if url.startswith("postgresql://"):
            return PostgresStore(url, windows, account, shown)
        return RedisStore(url, windows, account, shown)
    except ImportError as error:
        raise PermanentError(
            f"{VARIABLE} names a server, and the package {error.name} that speaks to it is not installed",
            category=ErrorCategory.CONFIGURATION,
            remedy="Install it: pip install 'gguf_assets[shared-limits]'",
        ) from None


class RedisStore:
    """Counters in Redis: an expiring sorted set of requests, an expiring text of quotas, and a lock.

    Args:
        url: `redis://…` or `rediss://…`.
        windows: the configured rates.
        account: whose requests and quotas; part of the keys.
        shown: the URL as messages may show it.

    Raises:
        PermanentError: the server cannot be used (category `storage`).
        ImportError: the package redis is not installed.
    """

    def __init__(self, url: str, windows: list[tuple[int, int]], account: str, shown: str) -> None:
        import redis
        from redis.backoff import ExponentialBackoff
        from redis.retry import Retry

        self._shown = shown
        self._requests_key = f"{PREFIX}requests:{account}"
        self._quota_key = f"{PREFIX}quota:{account}"
        self._lock_key = f"{PREFIX}turn:{account}"
        self._longest_ms = windows[-1][1] if windows else 0
        self._windows = windows
        self._bucket: RedisBucket | None = None
        try:
            self._redis: redis.Redis = redis.Redis.from_url(
                url,
                socket_connect_timeout=_CONNECT_SECONDS,
                socket_timeout=_ANSWER_SECONDS,
                retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 2),
                client_name="gguf_assets",
                decode_responses=False,
            )
        except ValueError as error:
            raise _unusable_url(str(error)) from None
        try:
            with self._errors():
                self._redis.ping()
                self._load()
        except BaseException:
            self.close()
            raise

    def _load(self) -> None:
        from pyrate_limiter import RedisBucket

        if self._windows:
            bucket = RedisBucket.init(rates_of(self._windows), self._redis, self._requests_key)
            assert isinstance(bucket, RedisBucket)  # the client is synchronous
            self._bucket = bucket

    def turn(self, work: Callable[[Turn], Outcome]) -> Outcome:
        """See `limit_stores.LimitStore`; the caller keeps its own threads apart."""
        import redis

        with self._errors():
            try:
                return self._turn(work)
            except redis.exceptions.NoScriptError:
                # The server was started anew and has forgotten the library's script.
                self._load()
                return self._turn(work)

    def _turn(self, work: Callable[[Turn], Outcome]) -> Outcome:
        import redis

        lock = self._redis.lock(
            self._lock_key, timeout=_TURN_SECONDS, sleep=0.02, blocking_timeout=_WAIT_SECONDS
        )
        if not lock.acquire():
            raise redis.exceptions.TimeoutError(f"no turn within {_WAIT_SECONDS} s")
        try:
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.time()
            pipeline.get(self._quota_key)
            (seconds, micros), stored = pipeline.execute()
            book = QuotaBook.load(stored)
            turn = Turn(seconds + micros / 1e6, book, self._bucket)
            outcome = work(turn)
            pipeline = self._redis.pipeline(transaction=False)
            if turn.book is not book:
                pipeline.set(self._quota_key, turn.book.dump(), ex=_QUOTA_KEPT_SECONDS)
            if self._bucket is not None:
                pipeline.pexpire(self._requests_key, self._longest_ms + 1000 * _LEFT_OVER_SECONDS)
            pipeline.execute()
            return outcome
        finally:
            # Taken away after its time was over: what was to be done is done.
            with suppress(redis.exceptions.LockError):
                lock.release()

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        import redis

        try:
            yield
        except (redis.exceptions.RedisError, OSError) as error:
            raise _unusable(self._shown, error) from None


class PostgresStore:
    """Counters in PostgreSQL: a table of requests per account, one of quotas, an advisory lock per turn.

    Args:
        url: `postgresql://…`.
        windows: the configured rates.
        account: whose requests and quotas.
        shown: the URL as messages may show it.

    Raises:
        PermanentError: the server cannot be used (category `storage`).
        ImportError: the package psycopg is not installed.
    """

    def __init__(self, url: str, windows: list[tuple[int, int]], account: str, shown: str) -> None:
        import psycopg  # noqa: F401 - a missing package is told before anything else

        self._url, self._windows, self._account, self._shown = url, windows, account, shown
        # The library's table has no column for the account.
        self._table = f"{PREFIX[:-1]}_{account}".replace("-", "_")
        self._lock_number = zlib.crc32(f"{PREFIX}{account}".encode())
        self._connection: psycopg.Connection[Any] | None = None
        with self._errors():
            self._connect()

    def _connect(self) -> psycopg.Connection[Any]:
        import psycopg
        from pyrate_limiter import PostgresBucket

        connection = psycopg.connect(
            self._url,
            connect_timeout=_CONNECT_SECONDS,
            application_name="gguf_assets",
            keepalives_idle=_ANSWER_SECONDS,
            tcp_user_timeout=1000 * _ANSWER_SECONDS,
        )
        try:
            # The library's times have no zone: all machines must mean the same one.
            connection.execute("SET TIME ZONE 'UTC'")
            connection.execute(f"SET lock_timeout = '{_WAIT_SECONDS}s'")
            connection.execute(f"SET statement_timeout = '{_WAIT_SECONDS + _ANSWER_SECONDS}s'")
            connection.commit()
            self._lock(connection)
            connection.execute(_CREATE_QUOTAS)
            connection.execute(_FORGET_QUOTAS)
            self._bucket: PostgresBucket | None = None
            if self._windows:
                pool: Any = _OneConnection(connection)
                self._bucket = PostgresBucket(pool, self._table, rates_of(self._windows))
            connection.commit()
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def turn(self, work: Callable[[Turn], Outcome]) -> Outcome:
        """See `limit_stores.LimitStore`; the caller keeps its own threads apart."""
        import psycopg

        with self._errors():
            try:
                return self._turn(self._connection or self._connect(), work)
            except psycopg.OperationalError:
                # The server may have been started anew; one more try, with a connection of today.
                self.close()
                return self._turn(self._connect(), work)

    def _turn(self, connection: psycopg.Connection[Any], work: Callable[[Turn], Outcome]) -> Outcome:
        with connection.transaction():
            self._lock(connection)
            row = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
            stored = connection.execute(_SELECT_QUOTA, (self._account,)).fetchone()
            assert row is not None  # a SELECT without FROM has one
            book = QuotaBook.load(stored[0] if stored else None)
            turn = Turn(row[0], book, self._bucket)
            outcome = work(turn)
            if turn.book is not book:
                connection.execute(_STORE_QUOTA, (self._account, turn.book.dump()))
            return outcome

    def _lock(self, connection: psycopg.Connection[Any]) -> None:
        """Keep all others out until the transaction ends, be it by the death of this process."""
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (self._lock_number,))

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        import psycopg

        try:
            yield
        except psycopg.Error as error:
            self.close()
            raise _unusable(self._shown, error) from None


class _OneConnection:
    """What the library takes for a pool: the one connection of this store, within the turn's transaction."""

    closed = False

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Any]]:
        """Lend the connection; a statement that failed in it does not spoil the transaction."""
        from psycopg.pq import TransactionStatus

        self._connection.execute("SAVEPOINT lent")
        yield self._connection
        if self._connection.info.transaction_status is TransactionStatus.INERROR:
            self._connection.execute("ROLLBACK TO SAVEPOINT lent")
        self._connection.execute("RELEASE SAVEPOINT lent")

    def close(self) -> None:
        """Leave it to the store."""


def _checked(url: str) -> str:
    """Return the URL as messages may show it.

    Raises:
        PermanentError: it is none that can be used (category `configuration`).
    """
    register_secret(url)
    scheme, _, rest = url.partition("://")
    if not rest or scheme not in ("redis", "rediss", "postgresql"):
        known = scheme.lower() if rest and scheme.isalnum() else "no scheme"
        raise _unusable_url(f"it begins with {known}{'://' if known != 'no scheme' else ''}")
    if "@" in rest and (rest.count("@") > 1 or set("/?#") & set(rest.partition("@")[0])):
        raise _unusable_url("its user or password holds one of @ / ? # as it is; write %40, %2F, %3F, %23")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _unusable_url("its host or port cannot be read") from None
    if not host:
        raise _unusable_url("it names no host")
    if parts.password:
        register_secret(parts.password)
    return f"{scheme}://{host}" + (f":{port}" if port else "")


def _unusable_url(why: str) -> PermanentError:
    return PermanentError(
        f"{VARIABLE} is no address of a server that machines can share limits through: {mask(why)}",
        category=ErrorCategory.CONFIGURATION,
        remedy="Allowed are redis://host:6379/0, rediss://… and postgresql://user:password@host:5432/name; "
        "without the variable the processes of one machine share a file.",
    )


def _unusable(shown: str, error: Exception) -> PermanentError:
    said = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return PermanentError(
        f"The server {shown}, through which machines share the request rate, cannot be used ({mask(said)})",
        category=ErrorCategory.STORAGE,
        remedy=f"Check that it runs and that {VARIABLE} names it with the right user and password; a user of "
        "PostgreSQL must be allowed to create tables. Unset the variable to share within this machine alone.",
    )
