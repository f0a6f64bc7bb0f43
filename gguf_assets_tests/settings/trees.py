"""A configuration folder that is changed by the functions under test, and what is in force in it."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gguf_assets.settings.audit import Actor, AuditTrail
from gguf_assets.settings.deployment import (
    Created,
    Deployed,
    back_up,
    create,
    deploy,
    prune,
    restore,
)
from gguf_assets.settings.load import LoadedSettings, load_settings
from gguf_assets.settings.tree import ConfigTree

ACTOR = Actor("somebody@somewhere", "gguf-assets config …")
START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)

STAGING = b"# for trying things\nenvironment: staging\nlog_level: DEBUG\n"
PRODUCTION = b"environment: production\nrate_limiting: {max_retries: 7}\n"


class Tree:
    """A folder `config`, a state folder beside it, and a clock that stands still until it is moved."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.tree = ConfigTree(home / "config")
        self.state = home / "state"
        self.trail = AuditTrail(self.state / "logs" / "audit.jsonl")
        self.now = START
        self.common: dict[str, Any] = {"trail": self.trail, "actor": ACTOR}

    def write(self, name: str, content: bytes | str) -> Path:
        path = self.tree.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def later(self, **by: float) -> None:
        self.now += timedelta(**by)

    def deploy(self, environment: str, **options: Any) -> Deployed:
        return deploy(self.tree, environment, **{**self.common, "now": self.now, **options})

    def restore(self, name: str, **options: Any) -> Deployed:
        return restore(self.tree, name, **{**self.common, "now": self.now, **options})

    def create(self, name: str, **options: Any) -> Created:
        return create(self.tree, name, **{**self.common, "now": self.now, **options})

    def back_up(self, **options: Any) -> Path:
        return back_up(self.tree, **{**self.common, "now": self.now, **options})

    def prune(self, days: int, **options: Any) -> list[Path]:
        return prune(self.tree, days, **{**self.common, "now": self.now, **options})

    def load(self, **environ: str) -> LoadedSettings:
        folders = {
            "GGUF_ASSETS_CONFIG_DIR": str(self.tree.folder),
            "GGUF_ASSETS_STATE_DIR": str(self.state),
        }
        return load_settings(folders | environ)

    def in_force(self) -> tuple[bytes | None, str]:
        """Return the bytes of the active file and the environment that counts."""
        content = self.tree.active.read_bytes() if self.tree.active.exists() else None
        return content, self.load().settings.environment

    def backups(self) -> list[str]:
        folder = self.tree.backups
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []

    def events(self) -> list[str]:
        return [entry["event"] for entry in self.trail.entries()]


def mode(path: Path) -> int:
    """Return the permissions of a file or folder."""
    return stat.S_IMODE(path.stat().st_mode)
