"""The verdict on a candidate: the rules, the completeness, and what the checks say of both.

Here: bringing together what a judgement needs (candidate, baseline, the days before, the capture) and
recording what came out. Not here: rules and scores (`quality/`), the words of the checks (`checks`,
`rule_checks`), and the asset (`assets/quality`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow as pa

from gguf_assets.catalogue.sync_plan import WalkKind
from gguf_assets.orchestration import checks, rule_checks
from gguf_assets.orchestration.assets.catalogue import write_candidate
from gguf_assets.orchestration.memory import watch_of
from gguf_assets.orchestration.metadata import dataset_metadata
from gguf_assets.orchestration.reading import WatchedDay
from gguf_assets.orchestration.rule_switches import switched_off
from gguf_assets.orchestration.verification import evidence_of
from gguf_assets.quality.completeness import Census, Completeness
from gguf_assets.quality.rules import ValidationResult
from gguf_assets.settings.load import LoadedSettings
from gguf_assets.store.capture import Capture
from gguf_assets.store.datasets import DatasetInfo, read_table
from gguf_assets.store.manifests import CandidateManifest, PublishedManifest, Verdict
from gguf_assets.store.store import Store

if TYPE_CHECKING:
    from gguf_assets.quality.completeness import ListingCounts
    from gguf_assets.quality.history_rules import DayFigures

JUDGED = ("models", "files", "changes", "file_changes", "tombstones", "issues")

_EARLIER = ["hub_id", "downloads_all_time", "likes"]


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
        """Return the metadata of the materialisation; the numeric keys are the same every day."""
        figures = self.verdict.figures
        numbers = {name: value for name, value in figures.items() if isinstance(value, int | float)}
        return {
            **dataset_metadata(self.info, str(store.layout.candidate_file("issues", day)), self.issues),
            **numbers,
            "completeness": self.verdict.completeness or 0.0,
            "publishable": self.verdict.publishable,
            **{f"findings_{name}": count for name, count in figures["findings"].items()},
            "rules_skipped": len(figures["why_skipped"]),
            "rules_not_checked": len(figures.get("not_checked", ())),
            "skipped": dg.MetadataValue.json(dict(figures["why_skipped"])),
            "not_checked": dg.MetadataValue.json(list(figures.get("not_checked", ()))),
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
    from gguf_assets.quality.completeness import ListingCounts, file_detail_coverage, gate

    rules, behavior = settings.settings.validation, settings.settings.sync_behavior
    manifest = store.candidates.manifest(day)
    counts = ListingCounts()
    off = switched_off(rules)
    capture = store.captures.open(day, manifest.capture.run)
    result = _validated(store, settings, off, manifest, capture, counts, clock)
    set_aside = read_table(store.layout.candidate_findings(day))
    issues = pa.concat_tables([set_aside, result.issues])
    census = last_census(store, manifest, capture)
    completeness = _measured(counts, manifest, capture, census)
    verdict_gate = gate(completeness, rules.min_completeness_score, behavior.full_sync_threshold_hours)
    complete_enough = verdict_gate.passed or not rules.enable_completeness_checking
    found = rule_checks.Found(result, set_aside, off)
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
            "file_detail_coverage": file_detail_coverage(counts.details_known, counts.models),
            "issues": issues.num_rows,
            "findings": found.counts,
            "fixed": found.fixed,
            "skipped": list(found.why_skipped),
            "why_skipped": found.why_skipped,
            "blocking": result.blocking,
            **({} if result.unfinished is None else {"not_checked": result.named("not checked")}),
        },
    )
    waived = verdict.waivable and not settings.settings.error_handling.preserve_data_on_failure
    store.candidates.record_verdict(day, verdict, JUDGED)
    results = [
        checks.completeness_result(
            completeness,
            verdict_gate,
            minimum=rules.min_completeness_score,
            enabled=rules.enable_completeness_checking,
            waived=waived,
        ),
        *rule_checks.group_results(found, waived=waived),
        checks.details_result(counts.details_known, counts.models, rules.min_file_detail_coverage),
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


def _validated(
    store: Store,
    settings: LoadedSettings,
    off: Mapping[str, str],
    manifest: CandidateManifest,
    capture: Capture,
    counts: ListingCounts,
    clock: Callable[[], float],
) -> ValidationResult:
    """Apply the rules to the candidate within time and memory there is, and count its models on the way."""
    from gguf_assets.quality.rules import RULES, Validation

    end = clock() + settings.settings.validation.validation_timeout_seconds
    day, baseline, watch = manifest.day, manifest.baseline, watch_of(settings)
    tables = WatchedDay.of(store.candidate_tables(day), settings, watch)
    validation = Validation(
        day,
        off={name: why for name, why in off.items() if name in RULES},
        earlier=None if baseline is None else store.published_tables(baseline.date).model_columns(_EARLIER),
        evidence=evidence_of(capture, manifest.capture.details_files),
        deadline=lambda: clock() >= end,
    )
    for batch in tables.models():
        watch.look("validation")
        validation.models(batch)
        counts.add(batch)
    for batch in tables.files():
        watch.look("validation")
        validation.files(batch)
        if validation.stopped:
            break
    validation.history(
        day_figures(manifest),
        [day_figures(earlier) for earlier in recent_days(store, manifest)],
        read_table(store.layout.candidate_file("file_changes", day)),
    )
    return validation.finish()


def _measured(
    counts: ListingCounts, manifest: CandidateManifest, capture: Capture, census: Census | None
) -> Completeness:
    from gguf_assets.quality.completeness import measure

    return measure(
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


def recent_days(store: Store, manifest: CandidateManifest) -> Iterator[PublishedManifest]:
    """Yield the published days that a candidate stands on, newest first: its baseline, the baseline of that…

    By what the manifests name and not by what is published now, so that a day derived again meets the same.
    """
    from gguf_assets.quality.history_rules import RECENT_DAYS

    named = manifest.baseline
    for _ in range(RECENT_DAYS):
        earlier = None if named is None else store.published.manifest(named.date)
        if earlier is None:
            return
        yield earlier
        named = earlier.baseline


def day_figures(manifest: CandidateManifest | PublishedManifest) -> DayFigures:
    """Return the figures of a day that the rules over several days compare.

    Days published before the counters were compared count as such that had none to compare.
    """
    from gguf_assets.quality.history_rules import DayFigures

    figures = manifest.figures
    return DayFigures(
        day=manifest.day,
        listed=None if manifest.capture.kind == WalkKind.WINDOW else figures["listed"],
        changed=None if manifest.baseline is None else sum(figures.get("changes", {}).values()),
        counters_compared=figures.get("counters_compared", 0),
        counters_moved=figures.get("counters_moved", 0),
    )


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
