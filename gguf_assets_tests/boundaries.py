"""Every change of files of a sync, and catalogues that one is disturbed in; for tests that do it everywhere.

What belongs here: recording the changes, choosing among them, and what has to hold after a disturbance. What
does not: the disturbances (`dying`) and which of them a test makes.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

from gguf_assets.demo.server import LoopbackHub
from gguf_assets.demo.state import ListedFiles, Repository
from gguf_assets_tests.calling import Catalogue, digests
from gguf_assets_tests.dying import Change, Nursery, Order
from gguf_assets_tests.fault_oracle import Oracle
from gguf_assets_tests.fault_worlds import World
from gguf_assets_tests.hubs import gguf, hub_of, repository
from gguf_assets_tests.running import Ended

FIRST, SECOND = date(2025, 8, 10), date(2025, 8, 11)
ALL = "GGUF_ASSETS_ALL_BOUNDARIES"
"""Environment variable that asks for every boundary instead of one of each kind."""

_TEMPORARY = re.compile(r"(?P<name>/\.[^/]+\.)\d+-\d+\.tmp$")
_FIGURES = ("models", "added", "updated", "removed", "renamed", "completeness")


def days() -> dict[date, list[Repository]]:
    """Two days: one model updated, one renamed, one gated, one removed, one new."""
    first = [
        repository(f"owner/model-{n:02d}", created_at=f"2025-06-{28 - n:02d}T10:00:00.000Z") for n in range(9)
    ]
    second = list(first)
    files = (*first[0].files, gguf("model-00.Q8_0.gguf", 7_000_000_000))
    second[0] = replace(
        first[0], sha="a" * 40, file_set=ListedFiles(files), last_modified="2025-08-11T01:00:00.000Z"
    )
    second[1] = replace(first[1], model_id="owner/renamed", author=None)
    second[2] = replace(first[2], gated="manual")
    del second[5]
    second.insert(0, repository("new/model", created_at="2025-08-11T02:00:00.000Z"))
    return {FIRST: first, SECOND: second}


@dataclass(frozen=True)
class Boundary:
    """One change of a file in a sync.

    Attributes:
        kind: opened for writing, linked, renamed or unlinked.
        path: the file below the home, a temporary name without process and number.
        nth: the how manieth change it is of paths with this in their name.
    """

    kind: str
    path: str
    nth: int

    @property
    def family(self) -> str:
        """The file it is a change of, whatever the dataset, page, day or run."""
        path = re.sub(r"\d{4}-\d\d-\d\d", "D", self.path)
        path = re.sub(r"(run=|-)\d+", r"\1N", path)
        path = re.sub(r"/\.([^/]+?)\.?$", r"/\1", path)
        datasets = (
            r"^(data/(?:published|candidate|backups/[^/]+/published))/(?!manifest|latest|journal)[a-z_]+/"
        )
        return re.sub(datasets, r"\1/*/", path)

    def __str__(self) -> str:
        return f"{self.kind} {self.path} {self.nth}"


def boundaries(changes: list[Change]) -> list[Boundary]:
    """Return the boundaries that changes are, such that each is found again in another run."""
    found = []
    for place, change in enumerate(changes):
        part = _TEMPORARY.sub(r"\g<name>", f"/{change.path}").removeprefix("/")
        nth = sum(part in other.path for other in changes[: place + 1])
        found.append(Boundary(change.kind, part, nth))
    # A temporary file is removed when it has been renamed already.
    return [one for one in found if one.kind != "unlink" or not one.path.endswith(".")]


def chosen(every: list[Boundary]) -> list[Boundary]:
    """Return one boundary of each family, or all of them where the environment asks for that."""
    if os.environ.get(ALL):
        return every
    rng, families = Random(len(every)), {}
    for boundary in every:
        families.setdefault(boundary.family, []).append(boundary)
    return [rng.choice(members) for members in families.values()]


@dataclass
class Stage:
    """A Hub on its second day, a catalogue with the first one published, and what a calm sync makes of it.

    Attributes:
        calm: what an undisturbed sync leaves, by path.
        calm_full: the same of one whose predecessor failed.
        seen: what readers see after an undisturbed one.
        last: the undisturbed one in the history.
    """

    hub: LoopbackHub
    nursery: Nursery
    folder: Path
    first: Catalogue
    boundaries: list[Boundary]
    calm: Mapping[str, str]
    calm_full: Mapping[str, str]
    seen: Mapping[str, str]
    last: Any
    made: int = 0

    @contextmanager
    def catalogue(self) -> Iterator[Catalogue]:
        """Make a copy of the catalogue as it is on the second day's morning, which goes afterwards."""
        self.made += 1
        home = self.folder / f"copy-{self.made}"
        try:
            self.hub.set_day(SECOND)
            self.hub.faults.clear()
            yield copied(self.first, home)
        finally:
            shutil.rmtree(home, ignore_errors=True)

    def sync(self, catalogue: Catalogue, *arguments: str, **order: Any) -> Ended:
        """Sync in a process of its own."""
        return self.nursery.run(Order(("sync", *arguments), catalogue.environ, **order))[0]

    def assert_readers_see_whole_files(self, catalogue: Catalogue) -> None:
        """Every file that readers see is that of a finished day, and latest.json leads to a whole one.

        For a sync that is the first of the second day, whose bytes are known.
        """
        before = {f"published/{name}": digest for name, digest in self.first.published().items()}
        for name, digest in visible(catalogue).items():
            assert digest in (self.seen.get(name), before.get(name)), (
                f"{name} is neither the old nor the new one"
            )
        assert before.keys() <= visible(catalogue).keys(), "something is gone"
        oracle = Oracle(catalogue.data / "published", World({}, 0, ()))
        oracle.judge_reader()
        for day in oracle.days():
            oracle.judge_files(day)

    def assert_completes(self, catalogue: Catalogue) -> None:
        """The next sync ends well, and what lies there then is what an undisturbed one leaves.

        One that died before its first page has failed, and the next is then full.
        """
        again = self.sync(catalogue)
        assert again.code == 0, again
        expected = self.calm_full if catalogue.last.mode == "full" else self.calm
        found = data_of(catalogue)
        other = {name for name in found.keys() | expected if found.get(name) != expected.get(name)}
        assert not other, f"these differ from an undisturbed sync: {sorted(other)}"
        syncs = [sync for sync in catalogue.store.history.syncs() if sync.day == SECOND]
        assert (syncs[-1].state, syncs[-1].published) == ("finished", True)
        assert all(sync.state in ("failed", "finished") for sync in syncs)
        for name in _FIGURES:
            assert syncs[-1].figures[name] == self.last.figures[name], name
        assert catalogue.last_sync_file["success"] is True


@contextmanager
def stage() -> Iterator[Stage]:
    """Publish the first day, and record an undisturbed sync of the second."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="boundaries-", dir=memory if memory.is_dir() else None))
    try:
        with hub_of(days(), page_size=4, tick=0, day=FIRST) as hub:
            for name in ("warm", "first"):
                (folder / name).mkdir()
            with Nursery(Catalogue(folder / "warm", hub).environ) as nursery:
                first = Catalogue(folder / "first", hub)
                (ended,) = nursery.run(Order(("sync",), first.environ))
                assert ended.code == 0, ended
                hub.set_day(SECOND)
                calm = copied(first, folder / "calm")
                changes = nursery.record(Order(("sync",), calm.environ))
                full = copied(first, folder / "full")
                with socket.socket() as closed:
                    closed.bind(("127.0.0.1", 0))  # and never listens
                    down = {"HF_ENDPOINT": f"http://127.0.0.1:{closed.getsockname()[1]}"}
                    (failed,) = nursery.run(Order(("sync",), {**full.environ, **down}))
                (ended,) = nursery.run(Order(("sync",), full.environ))
                assert (failed.code, ended.code) == (1, 0), (failed, ended)
                data = (data_of(calm), data_of(full))
                yield Stage(hub, nursery, folder, first, boundaries(changes), *data, visible(calm), calm.last)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def copied(catalogue: Catalogue, home: Path) -> Catalogue:
    """Return a catalogue with the same data in another home; its instance's databases are at rest."""
    shutil.copytree(catalogue.data, home / "data")
    (home / "data" / "dagster" / "dagster.yaml").unlink()
    return Catalogue(home, catalogue.hub)


def data_of(catalogue: Catalogue) -> dict[str, str]:
    """Return digests of the last capture of the second day, of candidates and of what is published.

    Where a sync died before its first page a second capture is begun: its number is left out of the
    manifests, and so are digests of manifests. Those of captures count requests, of which a resumed walk
    sends more.
    """
    found = {}
    runs = sorted((catalogue.data / "captures" / f"date={SECOND}").glob("run=*"))
    for name, digest in digests(runs[-1]).items():
        if name != "manifest.json":
            found[f"captures/{name}"] = digest
    for part in ("candidate", "published"):
        for name, digest in digests(catalogue.data / part).items():
            path = catalogue.data / part / name
            found[f"{part}/{name}"] = digest if path.suffix == ".parquet" else _content(path)
    return found


def _content(path: Path) -> str:
    content = path.read_bytes()
    told = json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)
    for name in ("manifest", "sha256"):
        told.pop(name, None)
    told.get("capture", {}).pop("run", None)
    return json.dumps(told, sort_keys=True)


def visible(catalogue: Catalogue) -> dict[str, str]:
    """Return digests of what readers see: names that begin with a dot are not read by anybody."""
    return {
        f"published/{name}": digest
        for name, digest in catalogue.published().items()
        if "/." not in f"/{name}" and name != "journal.json"
    }
