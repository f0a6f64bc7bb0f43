"""Helpers for the tests of backups: damage that is not a link's, and the commands."""

from __future__ import annotations

from pathlib import Path


def spoil(path: Path) -> None:
    """Change one byte of a file under this name alone: published files and their backups are one file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(bytes(content))


def with_storage_commands() -> None:
    """Let the command line have backup, restore and verify, where it has not."""
    from gguf_assets.cli import app
    from gguf_assets.cli.storage import backup, restore, verify

    there = {command.callback.__name__ for command in app.registered_commands if command.callback}
    for command in (backup, restore, verify):
        if command.__name__ not in there:
            app.command()(command)
