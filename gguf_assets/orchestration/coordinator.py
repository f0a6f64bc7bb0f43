"""The run coordinator of the instance: Dagster's queue, which first ends runs whose process is gone.

A killed run stays STARTED for ever and, by the limit of one writing run, would keep every later run in the
queue; reaping when a run is submitted lets it start at once. What is launched from the asset graph has none
of the jobs' tags, so it gets them here; and a run that sets a time limit of its own gets that one.
"""

import os
from collections.abc import Mapping

from dagster import DagsterRun
from dagster._core.run_coordinator.base import SubmitRunContext
from dagster._core.run_coordinator.queued_run_coordinator import QueuedRunCoordinator

from gguf_assets.errors import GgufAssetsError
from gguf_assets.orchestration.config import overrides_in
from gguf_assets.orchestration.jobs import ASSET_JOB, MAX_RUNTIME, WRITES, time_limit
from gguf_assets.orchestration.runs import reap_dead_runs
from gguf_assets.settings.load import load_settings


class ReapingRunCoordinator(QueuedRunCoordinator):
    """Queues runs; named in `dagster.yaml`."""

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Report runs of dead processes as failed, then queue the new one."""
        reap_dead_runs(self._instance)
        run = context.dagster_run
        overrides = overrides_in(run.run_config)
        if run.job_name.startswith(ASSET_JOB) and not WRITES.keys() <= run.tags.keys():
            self._instance.add_run_tags(run.run_id, {**_time_limit(overrides), **WRITES, **run.tags})
        elif overrides and MAX_RUNTIME in run.tags:
            self._instance.add_run_tags(run.run_id, _time_limit(overrides))
        return super().submit_run(context)


def _time_limit(overrides: Mapping[str, str]) -> dict[str, str]:
    """Return the tag that ends a run after the configured hours; none while the settings cannot be read."""
    try:
        return time_limit(load_settings(os.environ, overrides=overrides))
    except GgufAssetsError:
        return {}  # the run itself says what is wrong with them
