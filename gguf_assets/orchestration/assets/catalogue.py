"""The candidate of the day: models, files and what changed since the baseline."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
from pydantic import Field

from gguf_assets import __version__
from gguf_assets.catalogue.delta import (
    COMPARED,
    FILE_COLUMNS,
    DayTables,
    Delta,
    compare_days,
    first_day_delta,
)
from gguf_assets.catalogue.details import read_details
from gguf_assets.catalogue.findings import findings_table
from gguf_assets.catalogue.parse import ListedPage, parse_listing_page
from gguf_assets.catalogue.schema import DATASETS, ISSUES
from gguf_assets.catalogue.snapshot import DayContext, SnapshotFigures, build_snapshot
from gguf_assets.catalogue.sync_plan import WalkKind
from gguf_assets.orchestration.assets.capture import day_of, reporter
from gguf_assets.orchestration.derivation import (
    Source,
    absences_of,
    derivation_settings,
    extras_of,
    first_seen_of,
    source_of,
)
from gguf_assets.orchestration.failures import clear_failures
from gguf_assets.orchestration.hooks import record_failed_sync
from gguf_assets.orchestration.memory import watch_of
from gguf_assets.orchestration.metadata import PREVIEW_ROWS, dataset_metadata, definition_metadata
from gguf_assets.orchestration.progress import Progress, Reporter
from gguf_assets.orchestration.reading import WatchedDay
from gguf_assets.orchestration.reporting import seconds_taken
from gguf_assets.orchestration.threads import Behind, ahead
from gguf_assets.settings.load import LoadedSettings
from gguf_assets.store.candidates import Candidates
from gguf_assets.store.datasets import DatasetInfo, DatasetWriter, iter_batches, read_table, write_table
from gguf_assets.store.store import DayFiles, Store

TOP_QUANTIZATIONS = 10
_OVERLAP = 2
"""How many chunks of a day another thread may be ahead or behind."""

_PREVIEWED = {
    "models": ("model_id", "sha", "downloads", "gguf_files", "quantizations"),
    "files": ("model_id", "path", "role", "quantization", "size_bytes"),
}


class DeriveConfig(dg.Config):
    """Options of the derivation."""

    as_published: bool = Field(
        default=False,
        description="Keep the baseline that the day's manifest names, where the day is published.",
    )


def build_catalogue_assets(
    days: dg.DailyPartitionsDefinition, capture: list[dg.AssetsDefinition]
) -> list[dg.AssetsDefinition]:
    """Return the assets `catalogue_models`, `catalogue_files` and `catalogue_delta`."""

    @dg.multi_asset(
        name="catalogue_tables",
        partitions_def=days,
        hooks={record_failed_sync},
        group_name="catalogue",
        specs=[
            dg.AssetSpec(
                f"catalogue_{name}",
                deps=[asset.key for asset in capture],
                description=f"Candidate: {DATASETS[name].grain}.",
                metadata=definition_metadata(name),
                kinds={"parquet"},
            )
            for name in ("models", "files")
        ],
    )
    def catalogue_tables(
        context: dg.AssetExecutionContext,
        config: DeriveConfig,
        settings: dg.ResourceParam[LoadedSettings],
        store: dg.ResourceParam[Store],
        progress: dg.ResourceParam[Progress],
    ) -> Iterator[dg.MaterializeResult]:
        """Merge the captured walk and details onto the last published day."""
        began = time.monotonic()
        with clear_failures():
            source = source_of(store, day_of(context), context.run.run_id, as_published=config.as_published)
            figures, infos = derive_tables(store, settings, source, reporter(context, settings, progress))
        for name in ("models", "files"):
            yield dg.MaterializeResult(
                asset_key=f"catalogue_{name}",
                metadata={
                    **tables_metadata(store, source, name, infos[name], figures),
                    **(seconds_taken(began, settings) if name == "models" else {}),
                },
                data_version=dg.DataVersion(infos[name].row_digest),
            )

    @dg.asset(
        partitions_def=days,
        hooks={record_failed_sync},
        group_name="catalogue",
        kinds={"parquet"},
        deps=[catalogue_tables],
        metadata=definition_metadata("changes"),
    )
    def catalogue_delta(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[LoadedSettings],
        store: dg.ResourceParam[Store],
    ) -> dg.MaterializeResult:
        """What changed since the baseline, by model and by file, and who is gone for good."""
        day, began = day_of(context), time.monotonic()
        with clear_failures():
            delta = derive_delta(store, settings, day)
            infos = write_delta(store, day, delta)
        return dg.MaterializeResult(
            metadata={
                **dataset_metadata(
                    infos["changes"], str(store.layout.candidate_file("changes", day)), delta.changes
                ),
                **{kind: delta.counts().get(kind, 0) for kind in ("added", "updated", "removed", "renamed")},
                "file_changes": infos["file_changes"].rows,
                "tombstones": infos["tombstones"].rows,
                **seconds_taken(began, settings),
            },
            data_version=dg.DataVersion(infos["changes"].row_digest),
        )

    return [catalogue_tables, catalogue_delta]


class _TableWriter:
    """Writes `models` and `files` side by side; satisfies `catalogue`'s `SnapshotSink`."""

    def __init__(self, models: DatasetWriter, files: DatasetWriter, behind: Behind, report: Reporter) -> None:
        self._models = models
        self._files = files
        self._behind = behind
        self._report = report
        self._merged = 0

    def write_models(self, rows: pa.Table) -> None:
        self._behind.do(self._models.write, rows)
        self._merged += rows.num_rows
        self._report.step_by_unit("models merged", self._merged, None)

    def write_files(self, rows: pa.Table) -> None:
        self._behind.do(self._files.write, rows)


def derive_tables(
    store: Store, settings: LoadedSettings, source: Source, report: Reporter
) -> tuple[SnapshotFigures, dict[str, DatasetInfo]]:
    """Write the candidate's `models` and `files`, and what was set aside on the way.

    Raises:
        PermanentError: something cannot be read or written, or memory passes its limit; no file is left then.
    """
    capture, candidates = source.capture, store.candidates
    day, performance, watch = capture.day, settings.settings.performance, watch_of(settings)
    overlap = _OVERLAP if performance.enable_parallel_processing else 0
    fix = settings.settings.validation.enable_automatic_fixes
    candidates.begin(
        day,
        capture=source.capture_ref(),
        baseline=source.baseline_ref(),
        derivation=derivation_settings(settings),
        pipeline_version=__version__,
        compress=performance.enable_data_compression,
    )
    finished: dict[str, DatasetWriter] = {}

    @contextmanager
    def open_sink() -> Iterator[_TableWriter]:
        with ExitStack() as stack:
            models, files = (
                stack.enter_context(candidates.writer(name, day)) for name in ("models", "files")
            )
            finished.update(models=models, files=files)
            behind = stack.enter_context(Behind(overlap, watch.short))
            yield _TableWriter(models, files, behind, report)

    def pages() -> Iterable[ListedPage]:
        parsed = (parse_listing_page(name, content, fix=fix) for name, content in capture.iter_pages())
        return ahead(parsed, overlap, watch.short)

    assert capture.observed_at is not None, "a complete capture has a first page"
    absences = absences_of(capture, fix=fix)
    figures = build_snapshot(
        pages,
        read_details(capture.iter_answers(source.details_files), fix=fix),
        None
        if source.baseline is None
        else WatchedDay.of(store.published_tables(source.baseline.day), settings, watch),
        DayContext(
            day,
            None if source.baseline is None else source.baseline.day,
            capture.observed_at,
            gone=absences.gone,
            first_seen=first_seen_of(store, source),
            walked_all=capture.plan.kind != WalkKind.WINDOW,
        ),
        open_sink,
        extras_of(
            store,
            source,
            absences,
            merged=settings.settings.sync_behavior.enable_deduplication,
            fix=fix,
        ),
    )
    figures.findings += absences.findings
    infos = {name: writer.info for name, writer in finished.items()}
    write_table(
        store.layout.candidate_findings(day),
        findings_table(figures.findings, day),
        ISSUES.arrow,
        compress=performance.enable_data_compression,
    )
    candidates.record(day, infos, figures=snapshot_figures(figures))
    return figures, infos


def snapshot_figures(figures: SnapshotFigures) -> dict[str, Any]:
    """Return the figures of a snapshot as the manifest keeps them."""
    return {
        "models": figures.models,
        "listed": figures.listed,
        "quarantined": figures.quarantined,
        "not_gguf": figures.not_gguf,
        "duplicates": figures.duplicates,
        "put_back": figures.put_back,
        "unconfirmed": figures.unconfirmed,
        "carried": figures.carried,
        "gone": figures.gone,
        "taken_over": figures.taken_over,
        "undated": figures.undated,
        "counters_compared": figures.counters_compared,
        "counters_moved": figures.counters_moved,
        "details_known": figures.details_known,
        "files": figures.files,
        "quantizations": dict(_most(figures.quantizations)),
    }


def _most(counter: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counter.items(), key=lambda entry: (-entry[1], entry[0]))[:TOP_QUANTIZATIONS]


def tables_metadata(
    store: Store, source: Source, name: str, info: DatasetInfo, figures: SnapshotFigures
) -> dict[str, Any]:
    """Return the metadata of `catalogue_models` or `catalogue_files`."""
    path = store.layout.candidate_file(name, source.capture.day)
    metadata = dataset_metadata(info, str(path), _first_rows(name, path))
    metadata["mode"] = source.capture.plan.mode
    metadata["baseline"] = "none" if source.baseline is None else source.baseline.day.isoformat()
    if name == "models":
        counts = snapshot_figures(figures)
        metadata |= {key: value for key, value in counts.items() if isinstance(value, int)}
    else:
        metadata["quantizations"] = dg.MetadataValue.json(dict(_most(figures.quantizations)))
    return metadata


def _first_rows(name: str, path: Path) -> pa.Table | None:
    batch = next(iter_batches(path, list(_PREVIEWED[name]), batch_rows=PREVIEW_ROWS), None)
    return None if batch is None else pa.Table.from_batches([batch])


def derive_delta(store: Store, settings: LoadedSettings, day: date) -> Delta:
    """Compare the candidate with the baseline its manifest names.

    Raises:
        PermanentError: a table cannot be read, or memory passes its limit.
    """
    manifest, watch = store.candidates.manifest(day), watch_of(settings)
    watch.look("comparing with the day before")
    if manifest.baseline is None:
        return first_day_delta()
    baseline = manifest.baseline.date
    fix = bool(manifest.derivation["enable_automatic_fixes"])
    return compare_days(
        day,
        baseline,
        _side(WatchedDay.of(store.published_tables(baseline), settings, watch)),
        _side(WatchedDay.of(store.candidate_tables(day), settings, watch)),
        read_table(store.published.file("tombstones", baseline)),
        names_walked=manifest.capture.kind != WalkKind.CENSUS,
        evidence=absences_of(store.captures.open(day, manifest.capture.run), fix=fix).gone,
    )


def _side(tables: DayFiles) -> DayTables:
    return DayTables(
        models=tables.model_columns(list(COMPARED)),
        rows=tables.models_of,
        files=lambda hub_ids: tables.files_of(hub_ids, list(FILE_COLUMNS)),
    )


def write_delta(store: Store, day: date, delta: Delta) -> dict[str, DatasetInfo]:
    """Write the three tables of a delta as candidates."""
    tables = {"changes": delta.changes, "file_changes": delta.file_changes, "tombstones": delta.tombstones}
    infos = {name: write_candidate(store.candidates, name, day, table) for name, table in tables.items()}
    store.candidates.record(day, infos, figures={"changes": delta.counts()})
    return infos


def write_candidate(candidates: Candidates, name: str, day: date, table: pa.Table) -> DatasetInfo:
    """Write a whole table as a candidate."""
    with candidates.writer(name, day) as writer:
        writer.write(table)
    return writer.info
