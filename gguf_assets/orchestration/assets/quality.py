"""What the candidate is worth: the assets `validation_report` and `health_scores`."""

import time

import dagster as dg

from gguf_assets.orchestration import checks, rule_checks
from gguf_assets.orchestration.assets.capture import day_of
from gguf_assets.orchestration.failures import clear_failures
from gguf_assets.orchestration.hooks import record_failed_sync
from gguf_assets.orchestration.judging import judge
from gguf_assets.orchestration.metadata import dataset_metadata, definition_metadata
from gguf_assets.orchestration.reporting import seconds_taken
from gguf_assets.orchestration.scoring import score_day
from gguf_assets.settings.load import LoadedSettings
from gguf_assets.store.store import Store


def build_quality_assets(
    days: dg.DailyPartitionsDefinition, catalogue: list[dg.AssetsDefinition]
) -> list[dg.AssetsDefinition]:
    """Return the assets `validation_report` and `health_scores`."""

    @dg.asset(
        partitions_def=days,
        hooks={record_failed_sync},
        group_name="quality",
        kinds={"parquet"},
        deps=catalogue,
        check_specs=[*checks.SPECS, *rule_checks.SPECS],
        metadata=definition_metadata("issues"),
    )
    def validation_report(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[LoadedSettings],
        store: dg.ResourceParam[Store],
    ) -> dg.MaterializeResult:
        """Everything found wrong with the day, and the verdict whether it may be published."""
        began = time.monotonic()
        with clear_failures():
            judgement = judge(store, settings, day_of(context))
        return dg.MaterializeResult(
            metadata=judgement.metadata(store, day_of(context)) | seconds_taken(began, settings),
            check_results=judgement.results,
        )

    @dg.asset(
        partitions_def=days,
        hooks={record_failed_sync},
        group_name="quality",
        kinds={"parquet"},
        deps=catalogue,
        metadata=definition_metadata("health"),
    )
    def health_scores(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[LoadedSettings],
        store: dg.ResourceParam[Store],
    ) -> dg.MaterializeResult:
        """How healthy each model is, 0 to 10, with the checks, reasons and unknowns behind it."""
        day, began = day_of(context), time.monotonic()
        with clear_failures():
            scored = score_day(store, settings, day)
        path = str(store.layout.candidate_file("health", day))
        return dg.MaterializeResult(
            metadata=dataset_metadata(scored.info, path) | scored.metadata() | seconds_taken(began, settings)
        )

    return [validation_report, health_scores]
