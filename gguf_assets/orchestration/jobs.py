"""The jobs: one run a day with the whole graph, full or as the settings decide, and deriving a day again."""

from __future__ import annotations

from typing import Any

import dagster as dg

from gguf_assets.orchestration.configuration import CONFIGURATION
from gguf_assets.settings.load import LoadedSettings

CAPTURE = ("hub_listing", "hub_details")
DERIVED = (
    "catalogue_models",
    "catalogue_files",
    "catalogue_delta",
    "validation_report",
    "health_scores",
    "published_catalogue",
    "sync_report",
)
DAILY_SYNC, FULL_SYNC = "daily_sync", "full_sync"
SYNCS = (DAILY_SYNC, FULL_SYNC)
"""The jobs that capture a day."""

ASSET_JOB = "__ASSET_JOB"
"""Begins the name of the job under which Dagster runs assets that are launched without a job of ours."""

UNRUN = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey("published_catalogue"), "catalogue_fresh"))
"""The check that a sensor reports from what is stored."""

WRITES = {"gguf/writes": "catalogue"}
"""Runs with this tag wait for one another in the run queue."""

MAX_RUNTIME = "dagster/max_runtime"
"""Seconds after which Dagster's run monitoring ends a run."""

FULL_CONFIG = {"ops": {"hub_listing": {"config": {"mode": "full"}}}}
"""Run config of a sync that is asked to be full."""

REFETCH_CONFIG = {"ops": {"hub_listing": {"config": {"refetch": True}}}}
"""Run config of a sync that looks at the Hub although the day has a complete capture."""


def time_limit(loaded: LoadedSettings) -> dict[str, str]:
    """Return the tag that ends a run after `workflow_timeout_hours`."""
    return {MAX_RUNTIME: str(loaded.settings.workflow_timeout_hours * 3600)}


def build_jobs(loaded: LoadedSettings) -> list[Any]:
    """Return `daily_sync`, `full_sync` and `rederive`.

    Args:
        loaded: the settings; `workflow_timeout_hours` bounds the runs.
    """
    everything = dg.AssetSelection.assets(CONFIGURATION, *CAPTURE, *DERIVED) - UNRUN
    tags = {**WRITES, **time_limit(loaded)}
    return [
        dg.define_asset_job(
            DAILY_SYNC,
            selection=everything,
            description="Capture, derive, judge and publish a day; the settings decide the mode.",
            tags=tags,
        ),
        dg.define_asset_job(
            FULL_SYNC,
            selection=everything,
            description="The same with all fields, everything processed again.",
            tags=tags,
            config=FULL_CONFIG,
        ),
        dg.define_asset_job(
            "rederive",
            selection=dg.AssetSelection.assets(*DERIVED) - UNRUN,
            description="Everything after the capture again, from what is stored; no request is sent.",
            tags=tags,
            config={"ops": {"catalogue_tables": {"config": {"as_published": True}}}},
        ),
    ]
