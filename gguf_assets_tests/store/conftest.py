"""Fixtures of the store's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from gguf_assets.store.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(data=tmp_path / "data", state=tmp_path / "state")
