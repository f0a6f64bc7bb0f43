"""Every change that this process makes to files passes by: for tests that stop it, forbid it or list it.

What belongs here: hooking `os` and `open`. What does not: what is done about a change (`dying`).
"""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

CHANGES = ("open", "link", "replace", "unlink")
"""Kinds of changes that a file's names and existence see: the boundaries of a sync."""

REFUSABLE = (*CHANGES, "mkdir", "write", "fsync")
"""Kinds of calls that a full or a read-only disk refuses."""

Watch = Callable[[str, str, Callable[[], Any]], Any]
"""Given the kind of a change, the path and the call that makes it, which it makes or not."""


def watch_changes(watch: Watch, kinds: Sequence[str]) -> None:
    """Let every change of this process's files pass through `watch`; the target of a rename counts."""

    def passing(
        kind: str, call: Callable[..., Any], place: int, changes: Callable[..., bool]
    ) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if not changes(*args, **kwargs):
                return call(*args, **kwargs)
            target = args[place]
            path = _path_of(target) if isinstance(target, int) else str(Path(target).absolute())
            return watch(kind, path, lambda: call(*args, **kwargs))

        return wrapped

    def by_flags(_path: object, flags: int = 0, *_: object, **__: object) -> bool:
        return bool(flags & (os.O_WRONLY | os.O_RDWR))

    def by_mode(path: object, mode: str = "r", *_: object, **__: object) -> bool:
        return not isinstance(path, int) and any(letter in mode for letter in "wax+")

    def always(*_: object, **__: object) -> bool:
        return True

    functions = {
        "link": (("link", 1),),
        "replace": (("replace", 1), ("rename", 1)),
        "unlink": (("unlink", 0), ("remove", 0)),
        "mkdir": (("mkdir", 0),),
        "write": (("write", 0),),
        "fsync": (("fsync", 0),),
    }
    for kind in kinds:
        for name, place in functions.get(kind, ()):
            setattr(os, name, passing(kind, getattr(os, name), place, always))
    if "open" in kinds:
        os.open = passing("open", os.open, 0, by_flags)
        builtins.open = io.open = passing("open", io.open, 0, by_mode)  # type: ignore[misc]


def _path_of(descriptor: int) -> str:
    try:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink())
    except OSError:
        return ""
