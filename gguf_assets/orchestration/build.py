"""The one place where everything is put together for Dagster; tests and command line make variants."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from datetime import date
from typing import Any

import dagster as dg

from gguf_assets.orchestration.assets.capture import build_capture_assets
from gguf_assets.orchestration.assets.catalogue import build_catalogue_assets
from gguf_assets.orchestration.assets.publish import build_publish_assets
from gguf_assets.orchestration.assets.quality import build_quality_assets
from gguf_assets.orchestration.backlog import details_backlog
from gguf_assets.orchestration.executors import chosen_executor
from gguf_assets.orchestration.jobs import build_jobs
from gguf_assets.orchestration.partitions import catalogue_days, first_day
from gguf_assets.orchestration.progress import NoProgress
from gguf_assets.orchestration.resources import HubResource, SettingsResource, StoreResource, layout_of
from gguf_assets.orchestration.schedules import build_schedules
from gguf_assets.orchestration.sensors import build_sensors
from gguf_assets.orchestration.sync_plan import sync_plan_job
from gguf_assets.settings.load import load_settings
from gguf_assets.store.store import Store


def build_defs(
    *,
    environ: Mapping[str, str] | None = None,
    syncing: date | None = None,
    resources: Mapping[str, Any] | None = None,
) -> dg.Definitions:
    """Return assets, checks, jobs, schedules, sensors and resources.

    Args:
        environ: environment variables; those of the process when None.
        syncing: the day about to be synced; an empty store's partitions begin there.
        resources: resources that replace those of the same name.

    Raises:
        Refused: settings, first day or executor are not valid.
    """
    environ = os.environ if environ is None else environ
    loaded = load_settings(environ)
    store = Store(layout_of(loaded))
    days = catalogue_days(first_day(environ, store.earliest_day(), syncing))
    capture = build_capture_assets(days)
    catalogue = build_catalogue_assets(days, capture)
    quality = build_quality_assets(days, catalogue)
    hub = dg.AssetSpec(
        "huggingface_hub",
        description="The Hugging Face Hub: what it shows at present.",
        group_name="capture",
        kinds={"huggingface"},
    )
    settings = SettingsResource()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.Definitions(
            assets=[hub, *capture, *catalogue, *quality, *build_publish_assets(days, [*catalogue, *quality])],
            jobs=[*build_jobs(loaded), details_backlog, sync_plan_job],
            schedules=build_schedules(loaded, days),
            sensors=build_sensors(environ, loaded, days),
            resources={
                "settings": settings,
                "hub": HubResource(settings=settings),
                "store": StoreResource(settings=settings),
                "progress": NoProgress(),
                **(resources or {}),
            },
            executor=chosen_executor(environ),
        )
