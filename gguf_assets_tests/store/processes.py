"""Processes that die: a forked child runs some code and is killed at a chosen call into the system."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

# Calls after which the disk looks different, or which promise that it stays so.
_CALLS = ("link", "replace", "rename", "unlink", "mkdir", "fsync", "write", "truncate", "ftruncate")


def outcomes_of_dying(work: Callable[[], None], prepare: Callable[[], None]) -> Iterator[str]:
    """Prepare, run `work` in a child and kill it (SIGKILL) at its n-th call, for n = 1, 2, …

    Each call is died at twice: just before and just after it. Yields once per death, for the test to look at
    what is left; ends when a child survives `work`.
    """
    number = 0
    while True:
        number += 1
        for after in (False, True):
            prepare()
            if _survives(work, number, after=after):
                return
            yield f"{'after' if after else 'before'} call {number}"


def _survives(work: Callable[[], None], number: int, *, after: bool) -> bool:
    child = os.fork()
    if child == 0:
        try:
            _arm(number, after=after)
            work()
        except BaseException:  # noqa: BLE001 - the child must not go on as a second test run
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.waitstatus_to_exitcode(status) == 0, "the child failed by itself"
    return True


def _arm(number: int, *, after: bool) -> None:
    calls = 0

    def deadly(call: Callable) -> Callable:
        def wrapped(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == number and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return call(*args, **kwargs)
            finally:
                if calls == number:
                    os.kill(os.getpid(), signal.SIGKILL)

        return wrapped

    for name in _CALLS:
        setattr(os, name, deadly(getattr(os, name)))


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file under a folder with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
