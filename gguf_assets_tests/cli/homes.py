"""A home with a configuration folder, changed and looked at through the command line alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from unittest import mock

from gguf_assets_tests.calling import digests, runner
from gguf_assets_tests.running import Ended

NOWHERE = "http://127.0.0.1:9"  # a loopback address, so that no token is needed


class Home:
    """A home folder in which commands run; nothing but its environment is known to them."""

    def __init__(self, path: Path, endpoint: str = NOWHERE) -> None:
        self.path = path
        self.data = path / "data"
        self.folder = self.data / "config"
        self.active = self.folder / "sync-config.yaml"
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(path),
            "NO_PROXY": "127.0.0.1,localhost",
            "HF_ENDPOINT": endpoint,
            "GGUF_ASSETS_DATA_DIR": str(self.data),
            "COLUMNS": "200",
        }

    def write(self, name: str, text: str) -> Path:
        """Write a configuration file and return its path."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.folder / name
        path.parent.mkdir(exist_ok=True, mode=0o700)
        path.write_text(text)
        path.chmod(0o600)
        return path

    def call(self, *arguments: str, answer: str | None = None, **environ: str) -> Ended:
        """Run `gguf-assets ARGUMENTS`; as if on a terminal on which this answer is typed, if there is one."""
        from gguf_assets.cli import app

        with (
            mock.patch.dict(os.environ, {**self.environ, **environ}, clear=True),
            mock.patch("gguf_assets.cli.places.on_terminal", return_value=answer is not None),
        ):
            result = runner().invoke(app, list(arguments), input=answer)
        return Ended(result.exit_code, result.stdout, result.stderr)

    def config(self, *arguments: str, **environ: str) -> Ended:
        """Run `gguf-assets config ARGUMENTS`."""
        return self.call("config", *arguments, **environ)

    def done(self, *arguments: str, **environ: str) -> Ended:
        """Run `gguf-assets config ARGUMENTS`, which must succeed."""
        ended = self.config(*arguments, **environ)
        assert ended.code == 0, ended
        return ended

    def answered(self, answer: str, *arguments: str) -> Ended:
        """Run `gguf-assets config ARGUMENTS` on a terminal on which this answer is typed."""
        return self.call("config", *arguments, answer=answer)

    def settings(self, **environ: str) -> dict[str, str]:
        """Return all settings in force by dotted key, as texts."""
        shown = self.done("show", "--json", **environ).json["settings"]
        return {key: line["value"] for key, line in shown.items()}

    def files(self) -> dict[str, str]:
        """Return the digests of all files below the home, but for those that only say who is at work."""
        return {name: digest for name, digest in digests(self.path).items() if not name.endswith(".lock")}

    def backups(self) -> list[str]:
        """Return the names of the backups, the oldest first."""
        return sorted(path.name for path in (self.folder / "backups").glob("*.yaml"))

    def trail(self) -> list[dict[str, Any]]:
        """Return the entries of the audit trail."""
        path = self.data / "logs" / "audit.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
