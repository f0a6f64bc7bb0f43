"""Small Hubs for the tests of every room: a repository in one line, a running Hub in one `with`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from gguf_assets.demo.server import LoopbackHub
from gguf_assets.demo.state import HubFile, ListedFiles, Repository, WrittenHub, made_file

DAY = date(2025, 8, 10)


def plain(path: str, size: int = 100) -> HubFile:
    """A plain (not LFS) file whose blob id is that of the bytes served."""
    return made_file(path, size, f"plain:{path}", lfs=False)


def gguf(path: str, size: int = 4_000_000_000, version: int = 1) -> HubFile:
    """An LFS file; another `version` has another sha256."""
    return made_file(path, size, f"{path}@{version}")


def repository(model_id: str, *, files: Sequence[HubFile] | None = None, **fields: Any) -> Repository:
    """A repository with believable defaults; `_id` and sha follow from the name unless given."""
    digest = hashlib.sha256(model_id.encode()).hexdigest()
    stem = model_id.split("/")[-1]
    listed = (plain("README.md"), gguf(f"{stem}.Q4_K_M.gguf")) if files is None else tuple(files)
    defaults: dict[str, Any] = {
        "hub_id": f"68600000{digest[:16]}",
        "sha": digest[:40],
        "created_at": "2025-06-28T00:00:00.000Z",
        "last_modified": "2025-07-01T00:00:00.000Z",
        "downloads": 10,
        "likes": 1,
        "library_name": "gguf",
    }
    return Repository(model_id=model_id, file_set=ListedFiles(listed), **(defaults | fields))


def hub_of(
    repositories: Sequence[Repository] | Mapping[date, Sequence[Repository]], **options: Any
) -> LoopbackHub:
    """A Hub holding these repositories on `DAY`, or on the days given; use it in a `with`."""
    days = repositories if isinstance(repositories, Mapping) else {DAY: repositories}
    return LoopbackHub(WrittenHub(days), **options)
