"""Writing a file so that it is there whole or not at all, and errors of the disk in plain words.

A file is written beside its target under a name that starts with a dot and ends in `.tmp`, synced to disk
and renamed. What belongs here: that one protocol, for every file of the product. What does not: what stands
in the files.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Iterator
from errno import EACCES, EDQUOT, EEXIST, EFBIG, ENOSPC, ENOTDIR, EPERM, EROFS
from pathlib import Path
from typing import Any

import orjson

from gguf_assets.errors import ErrorCategory, PermanentError

_TEMPORARY = re.compile(r"\..+\.(?P<pid>\d+)-\d+\.tmp")
_counter = itertools.count()
_in_flight: set[Path] = set()

_MAKE_ROOM = "Free some space on that disk (or within the quota), then run the same command again."
_MAKE_WRITABLE = (
    "Make it writable for this user, or name another folder (GGUF_ASSETS_DATA_DIR; for the configuration "
    "GGUF_ASSETS_CONFIG_DIR)."
)
_MAKE_WAY = (
    "Move the file that is in the way, or name another folder (GGUF_ASSETS_DATA_DIR; for the configuration "
    "GGUF_ASSETS_CONFIG_DIR)."
)
_REMEDIES = {
    ENOSPC: _MAKE_ROOM,
    EDQUOT: _MAKE_ROOM,
    EFBIG: "Raise the limit on the size of files (ulimit -f), then run the same command again.",
    ENOTDIR: _MAKE_WAY,
    EEXIST: _MAKE_WAY,
    EACCES: _MAKE_WRITABLE,
    EPERM: _MAKE_WRITABLE,
    EROFS: _MAKE_WRITABLE,
}


def write_atomically(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """Write a file so that readers see the old content or the new one, also after a crash.

    Args:
        path: the file.
        data: its whole content.
        mode: its permissions from the first moment on; what the process gives new files when None.

    Raises:
        PermanentError: the disk refused (category `storage`).
    """
    with replacing(path) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if mode is None else mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)


def write_json(path: Path, content: Any) -> None:
    """Write an indented JSON document atomically.

    Raises:
        PermanentError: the disk refused (category `storage`).
    """
    write_atomically(path, json_bytes(content))


def json_bytes(content: Any) -> bytes:
    """Return the bytes in which a JSON document is kept; equal content gives equal bytes."""
    return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def read_json(path: Path, remedy: str | None = None) -> Any | None:
    """Return the content of a JSON document, None when there is no such file.

    Args:
        path: the file.
        remedy: what to do when it is damaged; to restore a backup by default.

    Raises:
        PermanentError: the file cannot be read (category `storage`) or is no JSON (category `data`).
    """
    with storage_errors(path, "read"):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise damaged(path, f"it is not JSON ({error})", remedy) from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Hand out a temporary path that replaces `path` when the block ends well and is removed when not.

    Raises:
        PermanentError: the disk refused (category `storage`).
    """
    temporary = begin_replacing(path)
    with storage_errors(path, "write"):
        try:
            yield temporary
            finish_replacing(temporary, path)
        finally:
            abandon_replacing(temporary)


def begin_replacing(path: Path) -> Path:
    """Return a temporary path beside `path`, its folder made and cleared of what dead processes left.

    Raises:
        PermanentError: the disk refused (category `storage`).
    """
    temporary = path.parent / f".{path.name}.{os.getpid()}-{next(_counter)}.tmp"
    with storage_errors(path, "write"):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
    _in_flight.add(temporary)
    return temporary


def finish_replacing(temporary: Path, path: Path) -> None:
    """Put a written temporary file in the place of `path`, surviving a crash at any moment.

    Raises:
        PermanentError: the disk refused (category `storage`).
    """
    with storage_errors(path, "write"):
        sync_file(temporary)
        temporary.replace(path)
        sync_folder(path.parent)


def abandon_replacing(temporary: Path) -> None:
    """Remove a temporary file, if it is still there."""
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)
    _in_flight.discard(temporary)


def sweep(folder: Path) -> list[Path]:
    """Remove temporary files that dead processes left in a folder; return what was removed."""
    removed = []
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _TEMPORARY.fullmatch(path.name)
        if match and path not in _in_flight and not _alive_elsewhere(int(match["pid"])):
            path.unlink(missing_ok=True)
            removed.append(path)
    return removed


def sync_file(path: Path) -> None:
    """Force the content of a file to the disk."""
    _sync(path, os.O_RDONLY)


def sync_folder(path: Path) -> None:
    """Force the names in a folder (a rename, a removal) to the disk."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


@contextlib.contextmanager
def storage_errors(path: Path, doing: str) -> Iterator[None]:
    """Turn an error of the operating system into one that names the path, the reason and what to do.

    Raises:
        PermanentError: the disk refused (category `storage`).
    """
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        remedy = _REMEDIES.get(error.errno or 0, f"Look at {path.parent}, then run the same command again.")
        named = path if error.filename is None or str(error.filename).endswith(".tmp") else error.filename
        raise PermanentError(
            f"Cannot {doing} {named}: {reason}", category=ErrorCategory.STORAGE, remedy=remedy
        ) from error


def damaged(path: Path, what: str, remedy: str | None = None) -> PermanentError:
    """Return the error for a stored file that is missing or not what was written."""
    return PermanentError(
        f"{path} is damaged: {what}",
        category=ErrorCategory.DATA,
        remedy=remedy or "Put the file back from a backup. `gguf-assets doctor` shows what else is wrong.",
    )


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _alive_elsewhere(pid: int) -> bool:
    """Whether another process has this number; a file of our own number not in flight is a leftover, too."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    except OverflowError:
        return False
    return True
