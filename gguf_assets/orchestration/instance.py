"""The one Dagster instance of a state folder, shared by command line, UI and daemon.

`STATE/dagster/dagster.yaml` is written with absolute paths, so that it means the same from every folder.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from gguf_assets.atomic import storage_errors, write_atomically
from gguf_assets.errors import ErrorCategory, PermanentError, Refused

_FULL_BYTES = 1_000_000


def instance_settings(home: Path) -> dict[str, Any]:
    """Return the content of `dagster.yaml` for an instance in a folder."""
    base = str(home)
    return {
        "storage": {"sqlite": {"base_dir": base}},
        "compute_logs": {
            "module": "dagster._core.storage.local_compute_log_manager",
            "class": "LocalComputeLogManager",
            "config": {"base_dir": f"{base}/logs"},
        },
        "local_artifact_storage": {
            "module": "dagster._core.storage.root",
            "class": "LocalArtifactStorage",
            "config": {"base_dir": base},
        },
        "telemetry": {"enabled": False},
        "nux": {"enabled": False},
        "python_logs": {"managed_python_loggers": ["gguf_assets"], "python_log_level": "INFO"},
        "run_coordinator": {
            "module": "gguf_assets.orchestration.coordinator",
            "class": "ReapingRunCoordinator",
            "config": {"dequeue_interval_seconds": 1},
        },
        "concurrency": {
            "runs": {
                "max_concurrent_runs": 4,
                "tag_concurrency_limits": [{"key": "gguf/writes", "limit": 1}],
            }
        },
        "run_retries": {"enabled": True, "max_retries": 0, "retry_on_asset_or_op_failure": False},
        "run_monitoring": {"enabled": True},
        "retention": {
            "schedule": {"purge_after_days": 90},
            "sensor": {"purge_after_days": {"skipped": 7, "failure": 30, "success": 90}},
        },
    }


def prepare_home(home: Path) -> None:
    """Write the instance's `dagster.yaml` where there is none, and point DAGSTER_HOME to it.

    Raises:
        PermanentError: the disk refused (category `storage`).
    """
    home = home.absolute()
    path = home / "dagster.yaml"
    if not path.exists() or _names_another_folder(path, home):
        text = "# The Dagster instance of this catalogue. Written once by gguf-assets; edit it as you need.\n"
        write_atomically(path, (text + yaml.safe_dump(instance_settings(home), sort_keys=False)).encode())
    os.environ["DAGSTER_HOME"] = str(home)


def _names_another_folder(path: Path, home: Path) -> bool:
    """Whether the file, never edited since, was written for another folder: the data were moved or copied."""
    try:
        settings = yaml.safe_load(path.read_bytes())
        base = Path(settings["storage"]["sqlite"]["base_dir"])
    except (yaml.YAMLError, KeyError, TypeError):
        return False
    return base != home and bool(settings == instance_settings(base))


@contextmanager
def instance_errors(home: Path) -> Iterator[None]:
    """Turn errors of the instance's databases and settings into one that names them and what to do.

    Raises:
        PermanentError: a database is damaged, or the disk refused (category `storage`).
        Refused: `dagster.yaml` cannot be used (category `configuration`).
    """
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except DBAPIError as error:
        full = shutil.disk_usage(home).free < _FULL_BYTES
        again = "then run the same command again"
        raise PermanentError(
            f"The Dagster instance in {home} cannot be used: {error.orig}"
            + (" (no space left on device)" if full else ""),
            category=ErrorCategory.STORAGE,
            remedy=f"Free some space on that disk, {again}."
            if full
            else f"Move that folder away, {again}: it is made anew, and no data of the catalogue lie in it.",
        ) from error
    except (yaml.YAMLError, dg.DagsterInvalidConfigError) as error:
        reason = " ".join(str(error).split())[:200]
        raise Refused(
            f"{home / 'dagster.yaml'} cannot be used: {reason}",
            category=ErrorCategory.CONFIGURATION,
            remedy="Correct it, or move it away: it is then written anew.",
        ) from error


def open_instance(home: Path) -> dg.DagsterInstance:
    """Open the instance for runs in this process; their output stays on the terminal.

    Raises:
        PermanentError, Refused: as `instance_errors`.
    """
    from dagster._core.instance.ref import InstanceRef

    prepare_home(home)
    quiet = {
        "compute_logs": {
            "module": "dagster._core.storage.noop_compute_log_manager",
            "class": "NoOpComputeLogManager",
        }
    }
    with instance_errors(home.absolute()), storage_errors(home.absolute(), "write"):
        return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home.absolute()), overrides=quiet))
