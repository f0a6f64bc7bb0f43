"""The demo: several generated days through the real pipeline, in a fresh folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from gguf_assets.catalogue.sync_plan import SyncMode
from gguf_assets.demo.generate import GeneratedHub
from gguf_assets.demo.server import LoopbackHub
from gguf_assets.errors import Refused
from gguf_assets.orchestration.progress import Progress
from gguf_assets.orchestration.syncing import SyncOutcome, sync_day

DEMO_FOLDER = Path("data") / "demo"
_MARK = ".gguf-assets-demo"


def demonstrate(
    folder: Path, repositories: int, days: int, seed: int, progress: Progress
) -> Iterator[SyncOutcome]:
    """Sync day after day against a generated Hub; each day is yielded when it is published.

    Raises:
        Refused: the folder holds something that is not an earlier demo.
    """
    _make_fresh(folder)
    source = GeneratedHub(seed=seed, repositories=repositories, days=days)
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "GGUF_ASSETS_EXECUTOR")
    environ = {name: os.environ[name] for name in kept if name in os.environ}
    data = str(folder.absolute())
    with LoopbackHub(source, day=source.days[0]) as hub:
        environ |= {
            "HF_ENDPOINT": hub.url,
            "GGUF_ASSETS_DATA_DIR": data,
            "GGUF_ASSETS_STATE_DIR": data,
            "SYNC_ENVIRONMENT": "development",
        }
        before = dict(os.environ)
        # Resources read the settings of the process, so it becomes that of the demo for a while.
        os.environ.clear()
        os.environ.update(environ)
        try:
            for day in source.days:
                hub.set_day(day)
                yield sync_day(day, SyncMode.AUTO, "all", refetch=False, progress=progress)
        finally:
            os.environ.clear()
            os.environ.update(before)


def _make_fresh(folder: Path) -> None:
    """Make the folder empty; only an earlier demo is ever removed."""
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / _MARK).exists())):
        raise Refused(
            f"{folder} is not empty and holds no earlier demo, so it is left alone",
            remedy="gguf-assets demo --dir another/folder",
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / _MARK).write_text("Made by `gguf-assets demo`, which removes this folder when it runs again.\n")
