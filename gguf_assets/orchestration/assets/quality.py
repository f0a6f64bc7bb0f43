"""What the candidate is worth: validation, completeness and health."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue.sync_plan import WalkKind
from gguf_assets.orchestration import checks
from gguf_assets.orchestration.assets.capture import day_of
from gguf_assets.orchestration.assets.catalogue import write_candidate
from gguf_assets.orchestration.failures import clear_failures
from gguf_assets.orchestration.hooks import record_failed_sync
from gguf_assets.orchestration.metadata import dataset_metadata, definition_metadata
from gguf_assets.orchestration.reporting import seconds_taken
from gguf_assets.quality.completeness import Census, Completeness
from gguf_assets.quality.rules import ValidationResult
from gguf_assets.settings.load import LoadedSettings
from gguf_assets.store.capture import Capture
from gguf_assets.store.datasets import DatasetInfo, read_table
from gguf_assets.store.manifests import CandidateManifest, Verdict
from gguf_assets.store.store import Store

JUDGED = ("models", "files", "changes", "file_changes", "tombstones", "issues")


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
        check_specs=checks.SPECS,
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
            info, grades, mean = score_day(store, day, settings.settings.validation.enable_quality_scoring)
        metadata: dict[str, Any] = {
            **dataset_metadata(info, str(store.layout.candidate_file("health", day))),
            **{f"grade_{grade}": count for grade, count in grades.items()},
            **seconds_taken(began, settings),
        }
        return dg.MaterializeResult(metadata=metadata if mean is None else {**metadata, "mean_score": mean})

    return [validation_report, health_scores]


@dataclass(frozen=True)
class Judgement:
    """What `validation_report` found.

    Attributes:
        verdict: whether the candidate may be published.
        info: the written `issues`.
        issues: their first rows.
        results: the asset checks.
    """

    verdict: Verdict
    info: DatasetInfo
    issues: pa.Table
    results: list[dg.AssetCheckResult]

    def metadata(self, store: Store, day: date) -> dict[str, Any]:
        """Return the metadata of the materialisation."""
        figures = {
            name: value for name, value in self.verdict.figures.items() if isinstance(value, int | float)
        }
        return {
            **dataset_metadata(self.info, str(store.layout.candidate_file("issues", day)), self.issues),
            **figures,
            "completeness": self.verdict.completeness or 0.0,
            "publishable": self.verdict.publishable,
        }


def judge(
    store: Store, settings: LoadedSettings, day: date, clock: Callable[[], float] = time.monotonic
) -> Judgement:
    """Validate the candidate, measure its completeness, write `issues` and record the verdict.

    Args:
        store: where the candidate lies.
        settings: what must hold, and how long the validation may take.
        day: the day.
        clock: seconds since anything.
    """
    from gguf_assets.quality.completeness import ListingCounts, file_detail_coverage, gate, measure
    from gguf_assets.quality.rules import Validation

    rules = settings.settings.validation
    end = clock() + rules.validation_timeout_seconds
    manifest = store.candidates.manifest(day)
    tables = store.candidate_tables(day)
    validation = Validation(
        day,
        schema_validation=rules.enable_schema_validation,
        file_verification=rules.enable_file_verification,
        deadline=lambda: clock() >= end,
    )
    counts = ListingCounts()
    for batch in tables.models():
        validation.models(batch)
        counts.add(batch)
    for batch in tables.files():
        validation.files(batch)
        if validation.stopped:
            break
    result = validation.finish()
    set_aside = read_table(store.layout.candidate_findings(day))
    issues = pa.concat_tables([set_aside, result.issues])
    capture = store.captures.open(day, manifest.capture.run)
    census = last_census(store, manifest, capture)
    completeness = measure(
        listed=counts.listed,
        quarantined=int(manifest.figures["quarantined"]),
        absent_unconfirmed=counts.unconfirmed,
        put_back=counts.put_back,
        seen_by_other_routes=counts.by_other_routes,
        baseline_known=manifest.baseline is not None,
        filled=counts.filled,
        walk_ended=capture.listing_complete,
        census=census if capture.plan.kind == WalkKind.WINDOW else None,
    )
    behavior = settings.settings.sync_behavior
    verdict_gate = gate(completeness, rules.min_completeness_score, behavior.full_sync_threshold_hours)
    complete_enough = verdict_gate.passed or not rules.enable_completeness_checking
    coverage = file_detail_coverage(counts.details_known, counts.models)
    found = Counter({entry["values"]: entry["counts"] for entry in _value_counts(set_aside["rule"])})
    info = write_candidate(store.candidates, "issues", day, issues)
    store.candidates.record(day, {"issues": info})
    verdict = Verdict(
        publishable=complete_enough and result.publishable,
        reasons=(
            *(() if complete_enough else (verdict_gate.text,)),
            *(f"rule {name} is broken ({result.counts[name]:,} findings)" for name in result.blocking),
            *unfinished_reasons(result, rules.validation_timeout_seconds),
        ),
        waivable=counts.listed > 0 and capture.listing_complete and result.unfinished is None,
        completeness=completeness.score,
        figures={
            "coverage": completeness.coverage,
            "census": census_figures(capture, completeness, census),
            "fill": completeness.fill,
            "parts": completeness.parts,
            "gate": verdict_gate.text,
            "file_detail_coverage": coverage,
            "issues": issues.num_rows,
            "findings": {**result.counts, **found},
            "skipped": result.named("skipped"),
            "blocking": result.blocking,
            **({} if result.unfinished is None else {"not_checked": result.named("not checked")}),
        },
    )
    waived = verdict.waivable and not settings.settings.error_handling.preserve_data_on_failure
    store.candidates.record_verdict(day, verdict, JUDGED)
    results = [
        checks.completeness_result(
            completeness, verdict_gate, rules.enable_completeness_checking, waived=waived
        ),
        checks.rules_result(result, waived=waived),
        checks.details_result(counts.details_known, counts.models, coverage),
        checks.warnings_result(result, found),
        checks.routes_result(
            capture.routes,
            counts.seen_by,
            counts.by_other_routes,
            mode=capture.plan.mode,
            enabled=capture.plan.routes or behavior.enable_multi_strategy_discovery,
            merged=behavior.enable_deduplication,
        ),
    ]
    return Judgement(verdict, info, issues.slice(0, 5), results)


def unfinished_reasons(result: ValidationResult, seconds: int) -> list[str]:
    """Return why an unfinished validation lets nothing be published; empty for a finished one."""
    if result.unfinished is None:
        return []
    return [
        f"the validation was stopped after {seconds:,} s (validation.validation_timeout_seconds), before "
        f"{result.unfinished} were checked"
    ]


def last_census(store: Store, manifest: CandidateManifest, capture: Capture) -> Census | None:
    """Return the last walk over all models before a capture, by the baseline; None on the first day."""
    if manifest.baseline is None or capture.observed_at is None:
        return None
    baseline = store.published.manifest(manifest.baseline.date)
    known = {} if baseline is None else baseline.judged.get("census", {})
    # A day published before this was kept is taken to have been looked at when it began.
    began = datetime.combine(manifest.baseline.date, datetime.min.time(), UTC)
    observed = datetime.fromisoformat(known["observed_at"]) if known else began
    coverage = known["coverage"] if known else None if baseline is None else baseline.judged.get("coverage")
    age = (capture.observed_at - observed).total_seconds() / 3600
    return Census(known.get("date", manifest.baseline.date.isoformat()), coverage, age)


def census_figures(capture: Capture, completeness: Completeness, last: Census | None) -> dict[str, Any]:
    """Return the last walk over all models as the manifest hands it on: this one, or the one before it."""
    assert capture.observed_at is not None, "a complete capture has a first page"
    if capture.plan.kind != WalkKind.WINDOW or last is None:
        return {
            "date": capture.day.isoformat(),
            "observed_at": capture.observed_at.isoformat(),
            "coverage": completeness.coverage,
        }
    observed = capture.observed_at - timedelta(hours=last.age_hours)
    return {"date": last.day, "observed_at": observed.isoformat(), "coverage": last.coverage}


def _value_counts(column: pa.ChunkedArray) -> Iterable[dict[str, Any]]:
    counts: list[dict[str, Any]] = pc.value_counts(column).to_pylist()
    return counts


def score_day(store: Store, day: date, enabled: bool) -> tuple[DatasetInfo, dict[str, int], float | None]:
    """Write the health of every model; return it with the number of models per grade and the mean score."""
    from gguf_assets.catalogue.schema import GRADES
    from gguf_assets.quality.file_facts import FILE_COLUMNS, FileFacts
    from gguf_assets.quality.health import MODEL_COLUMNS, score_models

    tables, facts = store.candidate_tables(day), FileFacts()
    grades: Counter[str] = Counter()
    total = known = 0.0
    if enabled:
        for batch in tables.files(list(FILE_COLUMNS)):
            facts.add(batch)
    with store.candidates.writer("health", day) as writer:
        for batch in tables.models(list(MODEL_COLUMNS)) if enabled else ():
            scores = score_models(batch, facts)
            writer.write(scores)
            for entry in _value_counts(scores["grade"].drop_null()):
                grades[entry["values"]] += entry["counts"]
            total += pc.sum(scores["score"]).as_py() or 0.0
            known += pc.count(scores["score"]).as_py()
    by_grade = {grade: grades[grade] for grade in GRADES}
    store.candidates.record(day, {"health": writer.info}, figures={"grades": by_grade})
    return writer.info, by_grade, round(total / known, 3) if known else None
