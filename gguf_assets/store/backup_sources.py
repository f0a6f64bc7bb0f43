"""What of a store goes into a backup: the published tree, the history of ended syncs, the configuration.

Symbolic links are not followed, and what is being written is passed over. What does not belong here: how it
gets into the backup (`backing_up.py`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import orjson

from gguf_assets.atomic import storage_errors
from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.store.backups import CAPTURES, CONFIG, PUBLISHED
from gguf_assets.store.layout import Layout


def refuse_inside(layout: Layout) -> None:
    """Refuse a folder of backups inside what is backed up, or around it.

    Raises:
        PermanentError: it is one (category `configuration`).
    """
    folder = layout.backups_dir.resolve()
    for part in (layout.published, layout.captures, layout.candidate, layout.config_dir):
        inside = part.resolve()
        if folder.is_relative_to(inside) or inside.is_relative_to(folder):
            raise PermanentError(
                f"storage.backup_directory is {layout.backups_dir}, and backups cannot lie inside {part} or "
                "around it",
                category=ErrorCategory.CONFIGURATION,
                remedy="Name a folder of its own, best on another disk: storage.backup_directory: /backups",
            )


def ended_history(layout: Layout) -> bytes:
    """Return the lines of the history that tell of syncs which have ended; a running one is no failed one."""
    path = layout.history_file
    with storage_errors(path, "read"):
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    events = [_event(line) for line in lines]
    ended = {sync_id for sync_id, event in events if event in ("finished", "failed")}
    return b"".join(
        line for line, (sync_id, _) in zip(lines, events, strict=True) if sync_id is None or sync_id in ended
    )


def walked(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield the files below a folder with their paths there, symbolic links as such."""
    waiting = [("", folder)]
    while waiting:
        above, path = waiting.pop()
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except FileNotFoundError:
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue  # being written, or no part of the product
            if entry.is_dir(follow_symlinks=False):
                waiting.append((f"{above}{entry.name}/", Path(entry.path)))
            else:
                yield above + entry.name, entry


def files_of(layout: Layout, *, captures: bool) -> tuple[dict[str, os.DirEntry[str]], list[str]]:
    """Return the files to be linked, by their paths in the backup, and what is no regular file."""
    found: dict[str, os.DirEntry[str]] = {}
    left_out = []
    parts = {PUBLISHED: layout.published, **({CAPTURES: layout.captures} if captures else {})}
    for name, folder in parts.items():
        with storage_errors(folder, "read"):
            for path, entry in walked(folder):
                if entry.is_symlink() or not entry.is_file(follow_symlinks=False):
                    left_out.append(entry.path)
                elif entry.path != str(layout.journal):
                    found[f"{name}/{path}"] = entry
    return found, left_out


def configuration(layout: Layout, left_out: list[str]) -> dict[str, bytes]:
    """Return the files of the configuration folder; it is small, and copies of it are private."""
    copies = {}
    with storage_errors(layout.config_dir, "read"):
        for path, entry in walked(layout.config_dir):
            if entry.is_file(follow_symlinks=False):
                copies[f"{CONFIG}/{path}"] = Path(entry.path).read_bytes()
            else:
                left_out.append(entry.path)
    return copies


def _event(line: bytes) -> tuple[str | None, str | None]:
    try:
        content = orjson.loads(line)
        return str(content["sync_id"]), str(content["event"])
    except (ValueError, KeyError, TypeError):
        return None, None
