"""Fixtures shared by all rooms."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before anything imports huggingface_hub: no telemetry probe, no proxy on loopback, no progress bars.
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ["NO_PROXY"] = "127.0.0.1,localhost"
for name in ("HF_TOKEN", "HUGGINGFACE_TOKEN", "HF_ENDPOINT", "SYNC_MODE", "SYNC_ENVIRONMENT", "DAGSTER_HOME"):
    os.environ.pop(name, None)

# Every sync forces some hundred small writes to the disk; in memory that costs a third of the time.
MEMORY = Path("/dev/shm")
if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2 * 2**30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

import hypothesis  # noqa: E402
import pytest  # noqa: E402
from xdist.scheduler import LoadGroupScheduling  # noqa: E402

from gguf_assets_tests.quicker import drawn_charts, quicken_dagster, sketched_charts  # noqa: E402

# A loaded machine is no reason to fail.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


quicken_dagster()


@pytest.fixture(scope="session", autouse=True)
def without_drawing() -> Iterator[None]:
    """Draw no charts, except where a test is about them."""
    with sketched_charts():
        yield


@pytest.fixture(scope="module")
def drawing() -> Iterator[None]:
    """Draw charts in this module."""
    with drawn_charts():
        yield


@pytest.fixture(scope="session")
def recording() -> Path:
    """The folder with recorded days of the Hub; skips where GGUF_ASSETS_HUB_RECORDING does not name one."""
    folder = os.environ.get("GGUF_ASSETS_HUB_RECORDING")
    if not folder:
        pytest.skip("GGUF_ASSETS_HUB_RECORDING is unset: no recorded Hub to run against")
    path = Path(folder)
    if not any(path.glob("*.jsonl.gz")):
        pytest.skip(f"GGUF_ASSETS_HUB_RECORDING={folder} holds no recorded day")
    return path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow tests, so that no worker is left alone with one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


BY_PARAMETER = ("test_edited_days.py", "test_recorded_days.py")
"""Modules whose tests share days of syncing that each of their parameters needs anew."""


class OneStoryOneProcess(LoadGroupScheduling):
    """Keeps the tests of a module of whole syncs together, since they share days that were synced once.

    All others go to whoever is free. The groups of pytest-xdist 3.8 (`xdist_group`) are lost on pytest 9.2,
    which keeps node ids elsewhere.
    """

    def _split_scope(self, nodeid: str) -> str:
        name, _, test = nodeid.partition("::")
        module = Path(name)
        if module.parent.name not in ("gguf_assets_tests", "orchestration"):
            return nodeid
        if module.name not in BY_PARAMETER:
            return name
        return name + "".join(test.partition("[")[1:])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneStoryOneProcess:
    """Use that scheduler, whatever `--dist` says."""
    return OneStoryOneProcess(config, log)
