"""The run coordinator of the instance: Dagster's queue, which first ends runs whose process is gone.

A killed run stays STARTED for ever and, by the limit of one writing run, would keep every later run in the
queue; reaping when a run is submitted lets it start at once. What is launched from the asset graph has none
of the jobs' tags, so it gets them here.
"""

import os

from dagster import DagsterRun
from dagster._core.run_coordinator.base import SubmitRunContext
from dagster._core.run_coordinator.queued_run_coordinator import QueuedRunCoordinator

from gguf_assets.errors import GgufAssetsError
from gguf_assets.orchestration.jobs import ASSET_JOB, WRITES, time_limit
from gguf_assets.orchestration.runs import reap_dead_runs
from gguf_assets.settings.load import load_settings


class ReapingRunCoordinator(QueuedRunCoordinator):
    """Queues runs; named in `dagster.yaml`."""

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Report runs of dead processes as failed, then queue the new one."""
        reap_dead_runs(self._instance)
        run = context.dagster_run
        if run.job_name.startswith(ASSET_JOB) and not WRITES.keys() <= run.tags.keys():
            self._instance.add_run_tags(run.run_id, {**_time_limit(), **WRITES, **run.tags})
        return super().submit_run(context)


def _time_limit() -> dict[str, str]:
    """Return the tag that ends a run after the configured hours; none while the settings cannot be read."""
    try:
        return time_limit(load_settings(os.environ))
    except GgufAssetsError:
        return {}  # the run itself says what is wrong with them
