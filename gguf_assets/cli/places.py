"""Where the commands of the configuration work: the folder, the audit trail, the settings in force if valid.

These commands put a broken configuration right, so they must find their way without a valid one.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gguf_assets.cli.exits import FAILED
from gguf_assets.errors import ErrorCategory, Refused

if TYPE_CHECKING:
    from gguf_assets.settings.audit import AuditTrail
    from gguf_assets.settings.load import LoadedSettings
    from gguf_assets.settings.tree import ConfigTree


@dataclass(frozen=True)
class Places:
    """Where the commands of the configuration work.

    Attributes:
        tree: the configuration folder.
        state_dir: the state folder.
        loaded: the settings in force; None where they are invalid.
        trail: where changes are recorded.
    """

    tree: ConfigTree
    state_dir: Path
    loaded: LoadedSettings | None
    trail: AuditTrail


def places() -> Places:
    """Return where the commands of the configuration work in this process."""
    from gguf_assets.settings.audit import AuditTrail, audit_file
    from gguf_assets.settings.load import config_folders, load_settings
    from gguf_assets.settings.problems import InvalidSettings
    from gguf_assets.settings.tree import ConfigTree

    loaded = None
    try:
        loaded = load_settings(os.environ)
        config_dir, state_dir = loaded.config_dir, loaded.state_dir
    except InvalidSettings:
        config_dir, state_dir = config_folders(os.environ)
    return Places(ConfigTree(config_dir), state_dir, loaded, AuditTrail(audit_file(state_dir)))


def on_terminal() -> bool:
    """Return whether somebody can be asked."""
    return sys.stdin.isatty()


def ask(question: str, forced: str) -> None:
    """Ask a question on the terminal and go on if the answer is yes.

    Args:
        question: without the question mark.
        forced: the command that does it without asking.

    Raises:
        Refused: there is no terminal to ask on.
        typer.Exit: the answer is no (exit code 1).
    """
    if not on_terminal():
        raise Refused(
            f"{question}: nobody can be asked, for there is no terminal",
            category=ErrorCategory.CONFIGURATION,
            remedy=f"To do it without being asked: {forced}",
        )
    try:
        agreed = typer.confirm(f"{question}?", default=False, err=True)
    except typer.Abort:
        typer.echo(err=True)
        agreed = False
    if not agreed:
        typer.echo("Nothing was changed.", err=True)
        raise typer.Exit(FAILED)
