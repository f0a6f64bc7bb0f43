"""What costs a process of the tests much and shows little: Dagster's databases opened anew, charts drawn.

Also the server that tests fork processes from: it applies this, and imports what a sync imports late, when it
is preloaded with `gguf_assets_tests.warm`.
"""

from __future__ import annotations

import gc
import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import unquote, urlsplit

from sqlalchemy.pool import QueuePool

from gguf_assets.quality import charts
from gguf_assets.quality.html import element


@cache
def quicken_dagster() -> None:
    """Keep database engines and migration scripts in this process."""
    _keep_engines()
    _keep_migration_scripts()
    # As the command line does: looking for cycles in all that a process of the tests holds costs a tenth.
    gc.set_threshold(100_000, 20, 20)


@contextmanager
def sketched_charts() -> Iterator[None]:
    """Let pages have their charts without drawing: Altair and V8 take a second for the first of a process.

    Tests about pages draw them, and so does every sync in a process of its own.
    """
    with mock.patch.object(charts, "draw", lambda chart: element("svg", element("title", chart.title))):
        yield


@contextmanager
def drawn_charts() -> Iterator[None]:
    """Draw charts, within `sketched_charts`."""
    with mock.patch.object(charts, "draw", _draw):
        yield


_draw = charts.draw


def _keep_engines() -> None:
    """Keep engines and connections of Dagster's SQLite storages, which makes them anew for every statement.

    Each new engine compiles all its statements again, each new connection reads the file anew: together
    half of the time of a small sync. An engine is kept for a file, not for its name, so that a database that
    was moved away or deleted is not written to any more.
    """
    storages = (
        "event_log.sqlite.sqlite_event_log",
        "runs.sqlite.sqlite_run_storage",
        "schedules.sqlite.sqlite_schedule_storage",
    )
    for name in storages:
        storage = importlib.import_module(f"dagster._core.storage.{name}")
        storage.create_engine = _kept(storage.create_engine)


_engines: dict[tuple[str, int | None], Any] = {}


def close_databases() -> None:
    """Close all connections, so that what was written stands in the databases' own files."""
    for engine in _engines.values():
        type(engine).dispose(engine)
    _engines.clear()


def _kept(create_engine: Callable[..., Any]) -> Callable[..., Any]:
    def kept(url: str, **options: Any) -> Any:
        key = (url, _file_number(url))
        if key not in _engines:
            if len(_engines) >= 64:
                close_databases()
            if key[1] is not None:
                options |= {"poolclass": QueuePool, "connect_args": {"check_same_thread": False}}
            engine = _engines[key] = create_engine(url, **options)
            if key[1] is not None:
                engine.dispose = lambda close=True: None  # Dagster has done with it after each statement
        return _engines[key]

    return kept


def _file_number(url: str) -> int | None:
    """Return which file an address of a database leads to at present; None where there is none."""
    try:
        return Path(unquote(urlsplit(url).path)).stat().st_ino
    except OSError:
        return None


def _keep_migration_scripts() -> None:
    """Keep Dagster's migration scripts, which it reads anew for every look at a database's version.

    They are some ninety Python files: a sixth of the time of a small sync.
    """
    scripts = importlib.import_module("alembic.script").ScriptDirectory
    from_config = scripts.from_config
    kept: dict[str, Any] = {}

    def keep(config: Any) -> Any:
        place = config.get_main_option("script_location")
        if place not in kept:
            kept[place] = from_config(config)
        return kept[place]

    scripts.from_config = staticmethod(keep)
