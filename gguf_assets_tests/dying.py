"""The command line in a forked process that is killed at a chosen change of its files.

Processes are forked from a server that has imported everything already, so that a death costs a second and
not five, and that is itself without threads, so that forking is safe.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf_assets_tests.running import PATIENCE_SECONDS, Ended

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["gguf_assets_tests.warm"])


@dataclass(frozen=True)
class Death:
    """The moment of a SIGKILL: the `nth` time that a path containing `path` is changed.

    Changes are: opened for writing, linked, renamed or unlinked, and the target of a rename counts. `after`
    dies when the change is made, otherwise just before it.
    """

    path: str
    nth: int = 1
    after: bool = False

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} change {self.nth} of {self.path}"


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


def _command_line(arguments: tuple[str, ...], environ: Mapping[str, str], death: Death | None) -> None:
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(environ["HOME"])
    for number, name in ((1, "stdout"), (2, "stderr")):
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.argv = ["gguf-assets", *arguments]
    if death is not None:
        _arm(death)
    from gguf_assets.cli import main

    main()


def _arm(death: Death) -> None:
    seen = 0

    def deadly(call: Callable[..., Any], position: int, changes: Callable[..., bool]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal seen
            if death.path not in str(args[position]) or not changes(*args):
                return call(*args, **kwargs)
            seen += 1
            if seen == death.nth and not death.after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = call(*args, **kwargs)
            if seen == death.nth:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return wrapped

    def writing(_path: object, flags: int = 0, *_: object) -> bool:
        return bool(flags & (os.O_WRONLY | os.O_RDWR))

    for name, position in {"replace": 1, "rename": 1, "link": 1, "unlink": 0}.items():
        setattr(os, name, deadly(getattr(os, name), position, lambda *_: True))
    os.open = deadly(os.open, 0, writing)
