"""The one Dagster instance of a state folder, shared by command line, UI and daemon.

`STATE/dagster/dagster.yaml` is written with absolute paths, so that it means the same from every folder.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from gguf_assets.store.atomic import write_atomically


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
    """Write the instance's `dagster.yaml` where there is none, and point DAGSTER_HOME to it."""
    home = home.absolute()
    path = home / "dagster.yaml"
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        text = "# The Dagster instance of this catalogue. Written once by gguf-assets; edit it as you need.\n"
        write_atomically(path, (text + yaml.safe_dump(instance_settings(home), sort_keys=False)).encode())
    os.environ["DAGSTER_HOME"] = str(home)


def open_instance(home: Path) -> dg.DagsterInstance:
    """Open the instance for runs in this process; their output stays on the terminal."""
    from dagster._core.instance.ref import InstanceRef

    prepare_home(home)
    quiet = {
        "compute_logs": {
            "module": "dagster._core.storage.noop_compute_log_manager",
            "class": "NoOpComputeLogManager",
        }
    }
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home.absolute()), overrides=quiet))
