"""The one place where everything is put together for Dagster; tests and command line make variants."""

from __future__ import annotations

import logging
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
from gguf_assets.orchestration.automation import all_schedules, all_sensors
from gguf_assets.orchestration.backlog import details_backlog
from gguf_assets.orchestration.config_backup import config_backup
from gguf_assets.orchestration.configuration import at_load, build_configuration_asset
from gguf_assets.orchestration.executors import chosen_executor
from gguf_assets.orchestration.freshness import build_freshness_check, with_freshness
from gguf_assets.orchestration.jobs import build_jobs
from gguf_assets.orchestration.maintenance import maintenance
from gguf_assets.orchestration.partitions import catalogue_days, first_day
from gguf_assets.orchestration.progress import NoProgress
from gguf_assets.orchestration.resources import HubResource, SettingsResource, StoreResource, layout_of
from gguf_assets.orchestration.sync_plan import sync_plan_job
from gguf_assets.store.store import Store

_logger = logging.getLogger(__name__)


def build_defs(
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, str] | None = None,
    syncing: date | None = None,
    resources: Mapping[str, Any] | None = None,
) -> dg.Definitions:
    """Return assets, checks, jobs, schedules, sensors and resources.

    With invalid settings they are shown all the same, schedules and sensors off by default: every run is
    refused, and says why.

    Args:
        environ: environment variables; those of the process when None.
        overrides: settings by dotted key, stronger than variables and file.
        syncing: the day about to be synced; an empty store's partitions begin there.
        resources: resources that replace those of the same name.

    Raises:
        Refused: folders, first day or executor are not valid.
    """
    environ = os.environ if environ is None else environ
    loaded_with = at_load(environ, overrides)
    if loaded_with.refusal is not None:
        _logger.warning(
            "The configuration is invalid: schedules and sensors are off by default, and every run is "
            "refused.\n%s",
            loaded_with.refusal.message,
        )
    loaded = loaded_with.loaded
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
    settings: Any = SettingsResource.configure_at_launch()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.Definitions(
            assets=[
                build_configuration_asset(loaded_with),
                hub,
                *capture,
                *catalogue,
                *quality,
                *with_freshness(build_publish_assets(days, [*catalogue, *quality]), loaded),
            ],
            asset_checks=[build_freshness_check()],
            jobs=[*build_jobs(loaded), details_backlog, sync_plan_job, config_backup, maintenance],
            schedules=all_schedules(environ, loaded, days),
            sensors=all_sensors(environ, loaded_with, days),
            resources={
                "settings": settings,
                "hub": HubResource(settings=settings),
                "store": StoreResource(settings=settings),
                "progress": NoProgress(),
                **(resources or {}),
            },
            executor=chosen_executor(environ),
        )
