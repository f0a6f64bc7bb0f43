"""The jobs: one run a day with the whole graph, full or as the settings decide, and deriving a day again."""

from __future__ import annotations

from typing import Any

import dagster as dg

from gguf_assets.orchestration.hooks import record_failed_sync

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
WRITES = {"gguf/writes": "catalogue"}
"""Runs with this tag wait for one another in the run queue."""


def build_jobs() -> list[Any]:
    """Return `daily_sync`, `full_sync` and `rederive`."""
    everything = dg.AssetSelection.assets(*CAPTURE, *DERIVED)
    return [
        dg.define_asset_job(
            "daily_sync",
            selection=everything,
            description="Capture, derive, judge and publish a day; the settings decide the mode.",
            tags=WRITES,
            hooks={record_failed_sync},
        ),
        dg.define_asset_job(
            "full_sync",
            selection=everything,
            description="The same with all fields, everything processed again.",
            tags=WRITES,
            hooks={record_failed_sync},
            config={"ops": {"hub_listing": {"config": {"mode": "full"}}}},
        ),
        dg.define_asset_job(
            "rederive",
            selection=dg.AssetSelection.assets(*DERIVED),
            description="Everything after the capture again, from what is stored; no request is sent.",
            tags=WRITES,
            config={"ops": {"catalogue_tables": {"config": {"as_published": True}}}},
        ),
    ]
