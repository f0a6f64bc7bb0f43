"""The command line in a forked process that is killed, or refused by its disk, at a chosen file change.

Processes are forked from a server that has imported everything already, so that a death costs a second and
not five, and that is itself without threads, so that forking is safe. A `Nursery` is a fork of that server
that has synced once: its own forks sync in half a second.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from gguf_assets_tests.running import PATIENCE_SECONDS, Ended
from gguf_assets_tests.watching import CHANGES, REFUSABLE, watch_changes

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["gguf_assets_tests.warm"])


@dataclass(frozen=True)
class Death:
    """The moment of a SIGKILL: the `nth` time that a path containing `path` is changed.

    Changes are: opened for writing, linked, renamed or unlinked, and the target of a rename counts. `after`
    dies when the change is made, otherwise just before it. `number` is another signal to be sent to itself.
    """

    path: str
    nth: int = 1
    after: bool = False
    number: int = signal.SIGKILL

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} change {self.nth} of {self.path}"


@dataclass(frozen=True)
class Refusal:
    """What a disk refuses: the `nth` call on a path containing `path`, with the error `errno`.

    Calls are those of `kinds`; `lasting` refuses every later one, too. What Dagster keeps is not touched:
    SQLite does not write through Python.
    """

    errno: int
    path: str
    nth: int = 1
    lasting: bool = False
    kinds: tuple[str, ...] = REFUSABLE


@dataclass(frozen=True)
class Change:
    """A change of a file of the catalogue, as `Nursery.record` lists them."""

    kind: str
    path: str


@dataclass(frozen=True)
class Order:
    """A command to be run in a fork of a nursery.

    Attributes:
        arguments: those of `gguf-assets`.
        environ: the whole environment; HOME is the working folder.
        death: when it dies, or gets a signal.
        refusal: what its disk refuses.
        clock: this machine's clock at the start, which then goes on; None leaves it alone.
        patient: whether it waits between two tries as it would in earnest.
        record: the file that every change below the data folder is written to, a line each.
    """

    arguments: tuple[str, ...]
    environ: Mapping[str, str]
    death: Death | None = None
    refusal: Refusal | None = None
    clock: datetime | None = None
    patient: bool = False
    record: str | None = None


def run_forked(*arguments: str, environ: Mapping[str, str], death: Death | None = None) -> Ended:
    """Run `gguf-assets ARGUMENTS` in a forked process, to its end or to its death."""
    home = Path(environ["HOME"])
    process = _forks.Process(target=_command_line, args=(arguments, dict(environ), death))
    process.start()
    process.join(PATIENCE_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
    assert process.exitcode is not None
    return Ended(process.exitcode, (home / "stdout").read_text(), (home / "stderr").read_text())


class Nursery:
    """A process without threads that has synced once, and forks a process for every command; close it.

    Args:
        warming: a sync that it runs itself, so that its forks find everything loaded; None forgoes that.
    """

    def __init__(self, warming: Mapping[str, str] | None = None) -> None:
        self._pipe, theirs = _forks.Pipe()
        self._process = _forks.Process(
            target=_nurse, args=(theirs, None if warming is None else dict(warming))
        )
        self._process.start()
        theirs.close()

    def run(self, *orders: Order) -> list[Ended]:
        """Run commands at the same time, each in a process of its own; return how each has ended."""
        self._pipe.send(orders)
        if not self._pipe.poll(PATIENCE_SECONDS):
            self._process.kill()
            raise AssertionError(f"waited {PATIENCE_SECONDS:.0f} s in vain for {orders}")
        codes = self._pipe.recv()
        return [
            Ended(code, *(_said(order, place, stream) for stream in ("stdout", "stderr")))
            for place, (order, code) in enumerate(zip(orders, codes, strict=True))
        ]

    def record(self, order: Order) -> list[Change]:
        """Run a command undisturbed and return every change that it makes below its data and state folder."""
        file = Path(order.environ["HOME"]) / "changes"
        (ended,) = self.run(
            Order(order.arguments, order.environ, clock=order.clock, patient=order.patient, record=str(file))
        )
        assert ended.code == 0, ended
        return [Change(*line.split("\t")) for line in file.read_text().splitlines()]

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _said(order: Order, place: int, stream: str) -> str:
    return (Path(order.environ["HOME"]) / f"{stream}{place}").read_text(errors="replace")


def _nurse(pipe: Connection, warming: Mapping[str, str] | None) -> None:
    if warming is not None:
        _warm_up(warming)
    gc.collect()
    gc.freeze()  # what is loaded is not looked through, and so not copied, in the forks
    while True:
        try:
            orders: Sequence[Order] = pipe.recv()
        except EOFError:
            return
        forks = [_forked(order, place, pipe) for place, order in enumerate(orders)]
        pipe.send([_code(fork) for fork in forks])


def _warm_up(environ: Mapping[str, str]) -> None:
    from gguf_assets_tests.calling import call
    from gguf_assets_tests.quicker import close_databases

    before = dict(os.environ)
    ended = call("sync", environ=environ)
    assert ended.code == 0, ended
    close_databases()
    os.environ.clear()
    os.environ.update(before)
    shutil.rmtree(environ["HOME"], ignore_errors=True)


def _forked(order: Order, place: int, pipe: Connection) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        pipe.close()
        code = _obey(order, place)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 (a fork must not come back into the server's own loop)
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _code(pid: int) -> int:
    end = time.monotonic() + PATIENCE_SECONDS / 2
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.004)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return 71


def _obey(order: Order, place: int) -> int:
    from gguf_assets.hub.client import HubClient
    from gguf_assets.orchestration import resources

    _settle(order.arguments, order.environ, str(place))
    if not order.patient:
        resources.HubClient = partial(HubClient, sleep=lambda _seconds: None)
    if order.record is not None:
        _record(Path(order.environ["HOME"]), Path(order.record))
    if order.refusal is not None:
        _refuse(order.refusal, order.environ)
    if order.death is not None:
        _arm(order.death)
    with _travelled(order.clock):
        from gguf_assets.cli import main

        main()
    return 0


@contextmanager
def _travelled(moment: datetime | None) -> Iterator[None]:
    if moment is None:
        yield
        return
    import time_machine

    with time_machine.travel(moment, tick=True):
        yield


def _command_line(arguments: tuple[str, ...], environ: Mapping[str, str], death: Death | None) -> None:
    _settle(arguments, environ, "")
    if death is not None:
        _arm(death)
    from gguf_assets.cli import main

    main()


def _settle(arguments: tuple[str, ...], environ: Mapping[str, str], suffix: str) -> None:
    """Make this process one of that environment, which writes what it says into files of its home."""
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(environ["HOME"])
    for number, name in ((1, f"stdout{suffix}"), (2, f"stderr{suffix}")):
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.argv = ["gguf-assets", *arguments]


def _arm(death: Death) -> None:
    """Die at a moment; only what passes through `os` counts."""
    seen = 0

    def watch(kind: str, path: str, call: Callable[[], Any]) -> Any:
        nonlocal seen
        if death.path not in path or "/dagster/" in path:
            return call()
        seen += 1
        mine = seen == death.nth
        if mine and not death.after:
            os.kill(os.getpid(), death.number)
        try:
            return call()
        finally:
            if mine and death.after:
                os.kill(os.getpid(), death.number)

    watch_changes(watch, CHANGES)


def _refuse(refusal: Refusal, environ: Mapping[str, str]) -> None:
    """Let the disk of this process refuse."""
    home, seen = environ["HOME"], 0

    def watch(kind: str, path: str, call: Callable[[], Any]) -> Any:
        nonlocal seen
        if not path.startswith(home) or "/dagster/" in path or refusal.path not in path:
            return call()
        seen += 1
        if seen == refusal.nth or (refusal.lasting and seen > refusal.nth):
            raise OSError(refusal.errno, os.strerror(refusal.errno), path)
        return call()

    watch_changes(watch, refusal.kinds)


def _record(home: Path, file: Path) -> None:
    """Write down every change of files below the home, but those of Dagster."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)

    def watch(kind: str, path: str, call: Callable[[], Any]) -> Any:
        if path.startswith(f"{home}/") and "/dagster/" not in path:
            writing(descriptor, f"{kind}\t{path.removeprefix(f'{home}/')}\n".encode())
        return call()

    writing = os.write
    watch_changes(watch, CHANGES)
