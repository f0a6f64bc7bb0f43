"""The run coordinator of the instance: Dagster's queue, which first ends runs whose process is gone.

A killed run stays STARTED for ever and, by the limit of one writing run, would keep every later run in the
queue; reaping when a run is submitted lets it start at once.
"""

from dagster import DagsterRun
from dagster._core.run_coordinator.base import SubmitRunContext
from dagster._core.run_coordinator.queued_run_coordinator import QueuedRunCoordinator

from gguf_assets.orchestration.runs import reap_dead_runs


class ReapingRunCoordinator(QueuedRunCoordinator):
    """Queues runs; named in `dagster.yaml`."""

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Report runs of dead processes as failed, then queue the new one."""
        reap_dead_runs(self._instance)
        return super().submit_run(context)
