"""The doctor: what is in force, what is missing, what to do. It changes nothing but dead runs' states."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from gguf_assets import __version__
from gguf_assets.errors import GgufAssetsError
from gguf_assets.hub.client import HubClient
from gguf_assets.masking import mask
from gguf_assets.orchestration.configuration import problems_of
from gguf_assets.orchestration.instance import instance_errors, open_instance
from gguf_assets.orchestration.resources import layout_of, request_limits
from gguf_assets.orchestration.runs import reap_dead_runs
from gguf_assets.settings.load import LoadedSettings, load_settings
from gguf_assets.settings.token import require_token
from gguf_assets.store.layout import Layout
from gguf_assets.store.lock import WriterLock
from gguf_assets.store.store import Store

State = Literal["ok", "note", "problem"]
_FREE_BYTES = 2 * 2**30


@dataclass(frozen=True)
class Line:
    """One line of the examination."""

    topic: str
    state: State
    text: str
    remedy: str | None = None


@dataclass
class Examination:
    """Everything the doctor found, in reading order."""

    lines: list[Line] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """Whether nothing stands in the way of a sync."""
        return all(line.state != "problem" for line in self.lines)

    def add(self, topic: str, state: State, text: str, remedy: str | None = None) -> None:
        """Add a line."""
        self.lines.append(Line(topic, state, text, remedy))

    def as_json(self) -> dict[str, Any]:
        """Return the examination as plain JSON values."""
        return {"healthy": self.healthy, "lines": [vars(line) for line in self.lines]}


def examine(environ: Mapping[str, str]) -> Examination:
    """Look at settings, folders, Hub, Dagster instance and the last sync."""
    found = Examination()
    found.add("program", "ok", f"gguf_assets {__version__} on Python {sys.version.split()[0]}")
    try:
        loaded = load_settings(environ)
    except GgufAssetsError as error:
        *others, last = problems_of(error)
        for problem in others:
            found.add("settings", "problem", mask(str(problem)))
        found.add("settings", "problem", mask(str(last)), error.remedy)
        return found
    found.add("settings", "ok", f"{loaded.settings.environment}: {loaded.source}")
    for advice in loaded.advice:
        found.add("settings", "note", f"{', '.join(advice.keys)}: {advice.text}", advice.hint)
    layout = layout_of(loaded)
    _folders(found, layout)
    _token(found, loaded)
    _hub(found, loaded)
    _instances(found, layout, environ)
    _store(found, layout)
    return found


def _folders(found: Examination, layout: Layout) -> None:
    for topic, folder in {"data folder": layout.data, "state folder": layout.state}.items():
        existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            found.add(
                topic, "problem", f"{folder} cannot be written to", f"Check the permissions of {existing}"
            )
            continue
        free = shutil.disk_usage(existing).free
        state: State = "note" if free < _FREE_BYTES else "ok"
        found.add(topic, state, f"{folder.absolute()} ({free / 2**30:.1f} GB free)")


def _token(found: Examination, loaded: LoadedSettings) -> None:
    try:
        token = require_token(loaded)
    except GgufAssetsError as error:
        found.add("token", "problem", error.message, error.remedy)
        return
    text = (
        "none: the Hub is asked anonymously, at the anonymous limits"
        if token is None
        else f"from {loaded.token_source}"
    )
    found.add("token", "ok", text)


def _hub(found: Examination, loaded: LoadedSettings) -> None:
    limits = replace(request_limits(loaded), max_retries=0)
    token = None if loaded.token is None else loaded.token.get_secret_value()
    try:
        with HubClient(loaded.endpoint, token=token, limits=limits) as hub:
            now = hub.now()
    except GgufAssetsError as error:
        found.add("Hub", "problem", error.message, error.remedy)
        return
    found.add("Hub", "ok", f"{loaded.endpoint} answers; its clock says {now:%Y-%m-%d %H:%M} UTC")


def _instances(found: Examination, layout: Layout, environ: Mapping[str, str]) -> None:
    home = layout.dagster_home.absolute()
    found.add("Dagster", "ok", f"instance in {home}")
    named = environ.get("DAGSTER_HOME")
    if named and Path(named).absolute() != home:
        found.add(
            "Dagster",
            "note",
            f"two instances: DAGSTER_HOME names {named}, the command line and `gguf-assets dev` use {home}",
            "Unset DAGSTER_HOME, or open the UI with: gguf-assets dev",
        )
    if home.exists():
        with _problems(found, "Dagster"), instance_errors(home), open_instance(home) as instance:
            for run_id in reap_dead_runs(instance):
                found.add("Dagster", "note", f"run {run_id}: its process is gone, it is now shown as failed")


def _store(found: Examination, layout: Layout) -> None:
    store = Store(layout)
    days = store.published.days()
    if not days:
        found.add("published", "note", "no day is published yet", "gguf-assets sync")
    else:
        found.add("published", "ok", f"{len(days)} days, {days[0]} to {days[-1]}")
    for day in days:
        with _problems(found, "published"):
            if day == days[-1]:
                store.published.verify(day)  # whole: the next day builds on it
            else:
                store.published.manifest(day)
    for day in store.captures.days()[-1:]:
        with _problems(found, "captures"):
            store.captures.latest(day)
    with _problems(found, "history"):
        _syncs(found, layout, store)


def _syncs(found: Examination, layout: Layout, store: Store) -> None:
    holder = WriterLock(layout).holder()
    if holder is not None:
        found.add("lock", "note", f"a sync is under way: {holder}")
    syncs = store.history.syncs(running=None if holder is None else holder.run_id)
    if syncs and syncs[-1].state == "failed":
        found.add(
            "last sync", "note", f"{syncs[-1].day}: failed: {syncs[-1].error_message}", "gguf-assets sync"
        )
    damaged = store.history.damaged_lines()
    if damaged:
        found.add(
            "history",
            "note",
            f"{layout.history_file}: not readable, and left out: line {', '.join(map(str, damaged))}",
            "A sync that was killed leaves such a line; any other is put back from a backup.",
        )


@contextmanager
def _problems(found: Examination, topic: str) -> Iterator[None]:
    """Add a line for an error that leaves the block, and go on."""
    try:
        yield
    except GgufAssetsError as error:
        found.add(topic, "problem", error.message, error.remedy)
