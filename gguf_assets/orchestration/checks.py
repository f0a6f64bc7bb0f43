"""The asset checks: which verdicts of `quality/` the UI shows, and which of them stop publishing.

The checks are results of `validation_report` itself, so each run judges its own day; the verdict is also
stored with the candidate, where `published_catalogue` reads it again whoever launches it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import dagster as dg

from gguf_assets.hub.routes import ROUTES
from gguf_assets.quality.completeness import Completeness, Gate
from gguf_assets.quality.rules import RULES, ValidationResult
from gguf_assets.store.capture_manifest import RouteEntry

ASSET = "validation_report"
COMPLETENESS, RULES_KEPT, DETAILS, WARNINGS, ROUTES_AGREE = (
    "completeness",
    "rules_for_publishing",
    "file_detail_coverage",
    "warnings",
    "discovery_routes",
)

SPECS = [
    dg.AssetCheckSpec(
        COMPLETENESS,
        asset=ASSET,
        blocking=True,
        description="Coverage x fill reaches validation.min_completeness_score.",
    ),
    dg.AssetCheckSpec(
        RULES_KEPT,
        asset=ASSET,
        blocking=True,
        description="No rule is broken without which a day must not be published.",
    ),
    dg.AssetCheckSpec(
        DETAILS, asset=ASSET, description="Share of models whose file details are known at their sha."
    ),
    dg.AssetCheckSpec(WARNINGS, asset=ASSET, description="Rules of lower severity."),
    dg.AssetCheckSpec(
        ROUTES_AGREE,
        asset=ASSET,
        description="No discovery route saw a GGUF model that the listing lacks, and none broke off.",
    ),
]


NEVERTHELESS = "published nevertheless: error_handling.preserve_data_on_failure is off"


def completeness_result(
    completeness: Completeness, gate: Gate, enabled: bool, *, waived: bool = False
) -> dg.AssetCheckResult:
    """Return the verdict on completeness; a check that is switched off says so and is no pass.

    Args:
        completeness: how complete the day is.
        gate: whether that is enough.
        enabled: whether it counts.
        waived: whether the day is published whatever the verdict is; it then only warns.
    """
    if not enabled:
        return _skipped(COMPLETENESS, "validation.enable_completeness_checking is off")
    metadata: dict[str, float | int] = {
        "score": completeness.score,
        "fill": completeness.fill,
        **{name: value for name, value in completeness.parts.items() if not isinstance(value, bool)},
    }
    if completeness.coverage is not None:
        metadata["coverage"] = completeness.coverage
    elif gate.passed:
        return dg.AssetCheckResult(
            check_name=COMPLETENESS,
            passed=False,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"No independent count: {gate.text}",
            metadata=metadata,
        )
    return dg.AssetCheckResult(
        check_name=COMPLETENESS,
        passed=gate.passed,
        severity=_blocking_severity(waived),
        description=gate.text if gate.passed or not waived else f"{gate.text}; {NEVERTHELESS}",
        metadata=metadata,
    )


def rules_result(result: ValidationResult, *, waived: bool = False) -> dg.AssetCheckResult:
    """Return the verdict on the rules that stop publishing.

    Args:
        result: what the rules found.
        waived: whether the day is published whatever the verdict is; it then only warns.
    """
    counts = {name: result.counts[name] for name, rule in RULES.items() if rule.severity == "error"}
    kept = sum(result.checked[name] == "passed" for name in counts)
    text = "broken: " + ", ".join(result.blocking) if result.blocking else f"{kept} rules kept"
    text += _not_applied(result, counts)
    if not result.publishable and waived:
        text += f"; {NEVERTHELESS}"
    return dg.AssetCheckResult(
        check_name=RULES_KEPT,
        passed=kept == len(counts),
        severity=dg.AssetCheckSeverity.WARN if result.publishable else _blocking_severity(waived),
        description=text,
        metadata=dict(counts),
    )


def warnings_result(result: ValidationResult, set_aside: Mapping[str, int]) -> dg.AssetCheckResult:
    """Return what was found that does not stop publishing, by rule.

    Args:
        result: what the rules found.
        set_aside: what the derivation set aside, by rule.
    """
    rules = [name for name, rule in RULES.items() if rule.severity != "error"]
    counts = {**{name: result.counts[name] for name in rules}, **set_aside}
    found = {name: count for name, count in counts.items() if count}
    left_out = _not_applied(result, rules)
    text = ", ".join(f"{name}: {count:,}" for name, count in found.items()) or "nothing found"
    return dg.AssetCheckResult(
        check_name=WARNINGS,
        passed=not found and not left_out,
        severity=dg.AssetCheckSeverity.WARN,
        description=text + left_out,
        metadata=counts,
    )


def routes_result(
    routes: Mapping[str, RouteEntry],
    seen_by: Mapping[str, int],
    only_elsewhere: int,
    *,
    mode: str,
    enabled: bool,
    merged: bool,
) -> dg.AssetCheckResult:
    """Return whether the discovery routes agree.

    Args:
        routes: what each further route brought.
        seen_by: models that each route saw.
        only_elsewhere: models that a further route saw and the listing lacks.
        mode: mode of the sync; only full ones walk further routes.
        enabled: whether they are switched on.
        merged: whether `seen_by` counts a model for every route, and not for the first that saw it alone.
    """
    if not enabled:
        return _skipped(ROUTES_AGREE, "sync_behavior.enable_multi_strategy_discovery is off")
    broken = {name: entry.error for name, entry in routes.items() if entry.error is not None}
    said = [f"{name}: {seen_by.get(name, 0):,}" for name in routes]
    text = (
        ("models seen by " if merged else "models first seen by ") + ", ".join(said)
        if said
        else f"not walked: the sync was {mode}"
    )
    if only_elsewhere:
        text += f"; {only_elsewhere:,} of them the listing lacks"
    if broken:
        text += "; broken off: " + ", ".join(f"{name} ({error})" for name, error in broken.items())
    return dg.AssetCheckResult(
        check_name=ROUTES_AGREE,
        passed=not broken and not only_elsewhere,
        severity=dg.AssetCheckSeverity.WARN,
        description=text,
        metadata={
            "only_elsewhere": only_elsewhere,
            "broken_off": len(broken),
            **{f"seen_by_{name}": seen_by.get(name, 0) for name in ROUTES},
        },
    )


def details_result(known: int, models: int, coverage: float | None) -> dg.AssetCheckResult:
    """Return how far file details are known; low by necessity after a first run, so it only warns."""
    return dg.AssetCheckResult(
        check_name=DETAILS,
        passed=known == models,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"file details known for {known:,} of {models:,} models",
        metadata={"known": known, "models": models, "share": 0.0 if coverage is None else coverage},
    )


def _blocking_severity(waived: bool) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.WARN if waived else dg.AssetCheckSeverity.ERROR


def _not_applied(result: ValidationResult, names: Iterable[str]) -> str:
    """Return in words which of these rules were not applied, or not to everything; empty for none."""
    chosen = set(names)
    skipped = [name for name in result.named("skipped") if name in chosen]
    unchecked = [name for name in result.named("not checked") if name in chosen]
    text = "; skipped: " + ", ".join(skipped) if skipped else ""
    if result.unfinished is not None:
        limit = "validation.validation_timeout_seconds"
        text += f"; time was up ({limit}) before {result.unfinished} were checked"
    return text + (", so not checked: " + ", ".join(unchecked) if unchecked else "")


def _skipped(name: str, why: str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=name,
        passed=False,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"skipped: {why}",
        metadata={"skipped": True},
    )
