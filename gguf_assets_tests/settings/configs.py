"""A configuration folder in one line, and what loading it says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gguf_assets.settings.load import LoadedSettings, load_settings
from gguf_assets.settings.problems import InvalidSettings


class ConfigFolder:
    """A folder holding configuration files; loads with it as GGUF_ASSETS_CONFIG_DIR."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path

    def write(self, text: str | bytes, name: str = "sync-config.yaml") -> Path:
        """Write a file and return its path."""
        path = self.path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def load(self, environ: Mapping[str, str] | None = None, **overrides: Any) -> LoadedSettings:
        """Load; `__` in the name of an override stands for a dot."""
        return load_settings(
            {"GGUF_ASSETS_CONFIG_DIR": str(self.path)} | dict(environ or {}),
            overrides={name.replace("__", "."): value for name, value in overrides.items()},
        )

    def refused(self, environ: Mapping[str, str] | None = None, **overrides: Any) -> InvalidSettings:
        """Load what cannot be loaded and return the error."""
        with pytest.raises(InvalidSettings) as caught:
            self.load(environ, **overrides)
        return caught.value
