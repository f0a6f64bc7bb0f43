"""Random sequences of faults over three days of a small Hub; `python -m gguf_assets_tests.fault_sequences`.

Every run has to end published and true, or failed and untouched; and a calm run after it always succeeds.
Runs are whole syncs through the command line, in processes forked from one that has synced before. What does
not belong here: the worlds (`fault_worlds`) and what is true (`fault_oracle`).
"""

from __future__ import annotations

import argparse
import shutil
import socket
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

from gguf_assets.demo.faults import FaultKind
from gguf_assets.demo.server import LoopbackHub
from gguf_assets.demo.state import WrittenHub
from gguf_assets_tests.calling import Catalogue, digests
from gguf_assets_tests.dying import Nursery, Order
from gguf_assets_tests.fault_attempts import PAGES, Attempt, Noted, random_attempt
from gguf_assets_tests.fault_oracle import Excuses, Oracle
from gguf_assets_tests.fault_worlds import DAYS, World, random_world
from gguf_assets_tests.hubs import hub_of, repository
from gguf_assets_tests.running import Ended


class Sequence:
    """Three days of one catalogue, as a seed has them."""

    def __init__(self, seed: int, bench: Bench, verbose: bool = False) -> None:
        self.rng = Random(seed)
        self.bench, self.verbose = bench, verbose
        self.world = random_world(self.rng)
        self.home = Path(tempfile.mkdtemp(prefix=f"seed-{seed}-", dir=bench.folder))

    def run(self) -> None:
        """Play it.

        Raises:
            AssertionError: a run ended neither published and true nor failed and untouched.
        """
        try:
            hub = LoopbackHub(
                WrittenHub(self.world.days), page_size=self.world.page_size, tick=0, day=DAYS[0]
            )
            with hub:
                self.hub = hub
                # Holes are to be published, too, in half of the sequences: then rows are put back.
                lenient = {"GGUF_SYNC__VALIDATION__MIN_COMPLETENESS_SCORE": "0.1"}
                more = lenient if self.rng.random() < 0.5 else {}
                self.catalogue = Catalogue(self.home, hub, MAX_RETRIES="2", TIMEOUT_SECONDS="1", **more)
                self.oracle = Oracle(self.catalogue.data / "published", self.world)
                self.tell(
                    f"{self.world.page_size} a page; {'; '.join(self.world.story) or 'nothing changes'}"
                )
                for day in DAYS:
                    self.play(day)
        finally:
            shutil.rmtree(self.home, ignore_errors=True)

    def tell(self, text: str) -> None:
        """Say what is done, where that is wanted."""
        if self.verbose:
            print(f"  {text}", flush=True)

    def play(self, day: date) -> None:
        """Play a day: faulty runs, then mostly a calm one."""
        self.hub.set_day(day)
        for _ in range(self.rng.choice((0, 1, 1, 2, 3))):
            self.attempt(day, random_attempt(self.rng, day, self.world))
        if day == DAYS[-1] or self.rng.random() < 0.6:
            # What a faulty run has captured is judged first; where it is refused, the next one walks again.
            for _ in range(2):
                (ended,) = self.attempt(day, Attempt(environ={"TIMEOUT_SECONDS": "20"}))
                if ended.code == 0:
                    break
                assert "was not published" in ended.stderr, f"a calm run failed: {ended}"
            assert ended.code == 0, f"two calm runs failed: {ended}"
            assert day in self.oracle.days(), "a calm run has not published"

    def attempt(self, day: date, attempt: Attempt) -> list[Ended]:
        """Run and judge."""
        self.tell(f"{day} {attempt}")
        seen = self.look()
        self.hub.faults[:] = attempt.faults
        environ = {**self.catalogue.environ, **attempt.environ}
        if attempt.down:
            environ["HF_ENDPOINT"] = f"http://127.0.0.1:{self.bench.dead_port}"
        order = Order(("sync", *attempt.arguments), environ, attempt.death, attempt.refusal, attempt.clock)
        orders = [order, Order(("sync",), environ)] if attempt.twice else [order]
        ended = self.bench.nursery.run(*orders)
        self.hub.faults.clear()
        self.excuse(day, attempt)
        for one in ended:
            self.tell(f"  → {one.code} {one.stderr.strip()[:300]}")
        self.bench.count(attempt, ended)
        self.judge(day, attempt, seen, ended)
        return ended

    def excuse(self, day: date, attempt: Attempt) -> None:
        """Note what the faults that struck excuse."""
        excuse = self.oracle.excuse(day)
        for fault in attempt.faults:
            if isinstance(fault, Noted) and fault.hits:
                _excuse_rows(excuse, fault, self.world, day)
            if fault.hits and fault.path != PAGES:
                excuse.unanswered = True
                excuse.denied |= fault.kind is FaultKind.STATUS and fault.status in (401, 403, 404)

    def look(self) -> Seen:
        """Return what lies there now."""
        published = self.catalogue.data / "published"
        files = digests(published) if published.exists() else {}
        visible = {n: d for n, d in files.items() if "/." not in f"/{n}" and n != "journal.json"}
        return Seen(visible, "journal.json" in files, self.oracle.days(), len(self.syncs()))

    def syncs(self) -> list[Any]:
        """Return the history."""
        return self.catalogue.store.history.syncs()

    def judge(self, day: date, attempt: Attempt, before: Seen, ended: list[Ended]) -> None:
        """Assert that a run ended published and true, or failed and untouched."""
        for one in ended:
            _judge_words(one, attempt)
        now = self.look()
        self.oracle.judge_reader() if not now.journal else None
        changed = {
            n for n in before.visible.keys() | now.visible if before.visible.get(n) != now.visible.get(n)
        }
        of_day = {n for n in changed if f"date={day}" in n}
        # A publishing that was interrupted is completed by whoever comes next, however that one ends.
        rolled = {n for n in changed if before.journal} - of_day
        others = {n for n in changed - of_day - rolled if n not in ("latest.json", "latest/models.json.gz")}
        assert not others, f"files of other days changed: {sorted(others)}"
        if now.journal:
            for name in of_day:
                assert name in now.visible, f"{name} is gone in the middle of publishing"
            self.bench.tallies["left a journal"] += 1
        elif of_day or rolled:
            for published in self.oracle.days():
                if published == day or before.journal:
                    self.oracle.judge_day(published)
        elif "latest.json" in changed:
            raise AssertionError("latest.json changed, and no day did")
        codes = {one.code for one in ended}
        new = self.syncs()[before.syncs :]
        if 0 in codes:
            assert day in now.days, "exit code 0, and the day is not published"
            if not attempt.twice:
                assert not new or (new[-1].state, new[-1].published) == ("finished", True), new[-1]
        elif codes == {2}:
            assert not new, f"refused, and in the history: {new}"
        elif day not in now.days:
            assert all(sync.state == "failed" for sync in new), new


@dataclass(frozen=True)
class Seen:
    """What lies there at a moment: digests of what readers see, a journal, published days, syncs told."""

    visible: dict[str, str]
    journal: bool
    days: list[date]
    syncs: int


def _judge_words(ended: Ended, attempt: Attempt) -> None:
    said = ended.stdout + ended.stderr
    assert "Traceback" not in said and "nexpected" not in ended.stderr, f"no clear message: {ended}"
    allowed = {0, 1, 2} | ({-9, 130} if attempt.death is not None else set())
    assert ended.code in allowed, f"exit code {ended.code}: {ended}"
    if ended.code in (1, 2):
        assert ended.stderr.lstrip().startswith("Error: ") or "\nError: " in ended.stderr, (
            f"no message: {ended}"
        )


def _excuse_rows(excuse: Excuses, fault: Noted, world: World, day: date) -> None:
    if fault.kind is not FaultKind.DOUBLE_ROW:
        excuse.unseen |= fault.struck
    if fault.kind is FaultKind.GARBAGE and fault.body == b"[]" and fault.hits > 1:
        # A last page that is empty twice is the end: pages that come out even end so.
        excuse.unseen |= world.truth(day).keys()
    if fault.kind is FaultKind.EDIT_ROW and isinstance(fault.edit, dict):
        for hub_id in fault.struck & world.truth(day).keys():
            columns = excuse.edited.setdefault(hub_id, {})
            for name, value in fault.edit.items():
                column = {"id": "model_id"}.get(name, name)
                plain = value if isinstance(value, str | int) else None
                columns.setdefault(column, set()).update({None, plain})


class Bench:
    """What all sequences share: the nursery, a port where nobody listens, the count of what happened."""

    def __init__(self, folder: Path, nursery: Nursery, dead_port: int) -> None:
        self.folder, self.nursery, self.dead_port = folder, nursery, dead_port
        self.tallies: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()

    def count(self, attempt: Attempt, ended: list[Ended]) -> None:
        """Count a run by how it ended, and the faults that it met."""
        words = {0: "published", 1: "failed", 2: "refused", -9: "killed", 130: "interrupted"}
        for one in ended:
            self.tallies["runs"] += 1
            self.tallies[words.get(one.code, str(one.code))] += 1
        met = [str(fault.kind) for fault in attempt.faults if fault.hits]
        self.faults.update(met + [kind for kind in attempt.kinds if kind not in set(FaultKind)])


@contextmanager
def bench(folder: Path | None = None) -> Iterator[Bench]:
    """Make what sequences need, in memory where there is some."""
    memory = Path("/dev/shm")
    made = Path(tempfile.mkdtemp(prefix="faults-", dir=folder or (memory if memory.is_dir() else None)))
    try:
        with hub_of([repository("warm/up")]) as hub, socket.socket() as closed:
            home = made / "warming"
            home.mkdir()
            closed.bind(("127.0.0.1", 0))  # and never listens
            with Nursery(Catalogue(home, hub).environ) as nursery:
                yield Bench(made, nursery, closed.getsockname()[1])
    finally:
        shutil.rmtree(made, ignore_errors=True)


def failure_of(seed: int, bench: Bench, *, verbose: bool = False) -> str | None:
    """Play a seed; return what was wrong, None when nothing was."""
    try:
        Sequence(seed, bench, verbose).run()
    except Exception as error:  # noqa: BLE001 (a seed that breaks the engine is to print itself, too)
        if verbose:
            traceback.print_exc()
        text = str(error) or type(error).__name__
        again = f"python -m gguf_assets_tests.fault_sequences --seeds {seed} -v"
        return f"seed {seed}: {text[:1500]}\n  again: {again}"
    return None


def main() -> None:
    """Play seeds from the command line; the exit code is 1 when one failed."""
    parser = argparse.ArgumentParser(prog="python -m gguf_assets_tests.fault_sequences", description=__doc__)
    parser.add_argument("--seeds", default="0-24", help="A or A-B, both included")
    parser.add_argument("--stop-first", action="store_true", help="end at the first seed that fails")
    parser.add_argument("-v", "--verbose", action="store_true", help="list what is done")
    given = parser.parse_args()
    first, _, last = given.seeds.partition("-")
    seeds, failed, began = range(int(first), int(last or first) + 1), 0, time.monotonic()
    with bench() as shared:
        number = 0
        try:
            for number, seed in enumerate(seeds, start=1):
                wrong = failure_of(seed, shared, verbose=given.verbose)
                if wrong is not None:
                    failed += 1
                    print(wrong, flush=True)
                    if given.stop_first:
                        break
                if number % 25 == 0:
                    seconds = time.monotonic() - began
                    print(f"{number} seeds, {failed} failed, {seconds:.0f} s", flush=True)
        except KeyboardInterrupt:
            print(f"interrupted in seed {seed}")
            number -= 1
        seconds = time.monotonic() - began
        each = seconds / max(1, shared.tallies["runs"])
        print(f"{number} seeds, {failed} failed, {seconds:.0f} s, {each:.2f} s a run")
        for name, count in (*shared.tallies.most_common(), *shared.faults.most_common()):
            print(f"{count:7,}  {name}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
