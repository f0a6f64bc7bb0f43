"""The hook of the jobs: a failed step is written to the history as the end of the sync.

A process that is killed runs no hook; its sync is known as failed by its missing end.
"""

import dagster as dg
from dagster._core.errors import DagsterAssetCheckFailedError

from gguf_assets.errors import ErrorCategory
from gguf_assets.masking import mask
from gguf_assets.orchestration.failures import CATEGORY, Unavailable
from gguf_assets.orchestration.reporting import record_failure, refusal, seconds_since_start


@dg.failure_hook(required_resource_keys={"store"})
def record_failed_sync(context: dg.HookContext) -> None:
    """Record why a sync failed; a refusal is no sync and leaves no trace."""
    error = context.op_exception
    if isinstance(context.resources.store, Unavailable):
        return
    category, message = ErrorCategory.SYSTEM.value, mask(str(error))
    if isinstance(error, dg.Failure):
        message = error.description or message
        named = error.metadata.get(CATEGORY)
        category = category if named is None else str(named.value)
    elif isinstance(error, DagsterAssetCheckFailedError):
        category = ErrorCategory.DATA.value
        message = refusal(context.resources.store, context.run_id) or message
    if category != ErrorCategory.REFUSED:
        seconds = seconds_since_start(context.instance, context.run_id)
        record_failure(context.resources.store, context.run_id, message, category, seconds)
