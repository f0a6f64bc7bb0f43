"""The backlog of details: a job that works through what the daily budget leaves over.

What it finds is appended to the latest day's capture and used from the next day on (DESIGN §5).
"""

import dagster as dg
from pydantic import Field

from gguf_assets.catalogue.targets import TARGETS, detail_targets
from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.hub.client import HubClient
from gguf_assets.hub.details import DetailsSummary, DetailTarget
from gguf_assets.orchestration.answer_cache import adopt_answers, cache_rules
from gguf_assets.orchestration.assets.capture import ask, reporter
from gguf_assets.orchestration.failures import clear_failures
from gguf_assets.orchestration.logs import RunLog
from gguf_assets.orchestration.progress import Progress, Reporter
from gguf_assets.orchestration.walking import end_of_capture
from gguf_assets.settings.load import LoadedSettings
from gguf_assets.store.store import Store


class BacklogConfig(dg.Config):
    """Options of the backlog job."""

    requests: int = Field(default=2000, ge=1, description="Most detail requests of this run.")


@dg.op
def ask_for_details(
    context: dg.OpExecutionContext,
    config: BacklogConfig,
    settings: dg.ResourceParam[LoadedSettings],
    hub: dg.ResourceParam[HubClient],
    store: dg.ResourceParam[Store],
    progress: dg.ResourceParam[Progress],
) -> None:
    """Ask for the details of models of the latest published day that are not known yet."""
    with clear_failures():
        latest = store.published.latest_day()
        observed = None if latest is None else ("hub_details", latest)
        report = reporter(context, settings, progress, hub, observed=observed)
        summary = work_off(store, hub, settings, config.requests, report)
    RunLog(context.log, settings).say(
        f"details of {summary.answered:,} models learned by {summary.requests:,} requests "
        f"({summary.failed:,} failed); they are used from the next day on"
    )
    context.add_output_metadata({"answered": summary.answered, "requests": summary.requests})


def work_off(
    store: Store, hub: HubClient, settings: LoadedSettings, limit: int, report: Reporter
) -> DetailsSummary:
    """Append details to the capture of the latest published day.

    Raises:
        PermanentError: nothing is published yet, or the Hub has left the day for good.
    """
    manifest = store.published.manifest(latest) if (latest := store.published.latest_day()) else None
    if manifest is None:
        raise PermanentError(
            "There is no published day whose details could be completed",
            category=ErrorCategory.DATA,
            remedy="gguf-assets sync",
        )
    if hub.now() >= end_of_capture(manifest.day, settings):
        raise PermanentError(
            f"{manifest.day} is frozen: the Hub has left it, so nothing can be added to its capture",
            category=ErrorCategory.DATA,
            remedy="Sync the present day first: gguf-assets sync",
        )
    capture = store.captures.open(manifest.day, manifest.capture.run, append=True)
    models = store.published_tables(manifest.day).model_columns(
        ["hub_id", "model_id", "sha", "downloads", "details_sha", "gguf_files"]
    )
    table = detail_targets(models, models)
    rows = zip(*(table[name].to_pylist() for name in TARGETS.names), strict=True)
    targets = [DetailTarget(*row) for row in rows]
    adopt_answers(store, capture, targets, cache_rules(settings))
    summary = ask(hub, settings, capture, targets, limit, report)
    capture.finish_details(stopped=summary.stopped_reason, failed=summary.failed, requests=summary.requests)
    return summary


@dg.job(name="details_backlog", tags={"gguf/writes": "catalogue"})
def details_backlog() -> None:
    """Sizes, hashes and header facts of models that the daily budget has left over."""
    ask_for_details()
