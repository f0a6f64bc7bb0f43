"""Fixtures of the settings' tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from gguf_assets_tests.settings.configs import ConfigFolder


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ConfigFolder:
    """An empty configuration folder, with an empty working directory around it."""
    monkeypatch.chdir(tmp_path)
    return ConfigFolder(tmp_path / "config")
