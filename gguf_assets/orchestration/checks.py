"""The asset checks that are about no rules: completeness, file details, discovery routes.

All checks are results of `validation_report` itself, so each run judges its own day; the verdict is also
stored with the candidate, where `published_catalogue` reads it again whoever launches it. Not here: the
checks of the groups of rules (`rule_checks`).
"""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from gguf_assets.hub.routes import ROUTES
from gguf_assets.quality.completeness import Completeness, Gate, as_text, file_detail_coverage
from gguf_assets.store.capture_manifest import RouteEntry

ASSET = "validation_report"
COMPLETENESS, DETAILS, ROUTES_AGREE = "completeness", "file_detail_coverage", "discovery_routes"

SPECS = [
    dg.AssetCheckSpec(
        COMPLETENESS,
        asset=ASSET,
        blocking=True,
        description="Coverage x fill reaches validation.min_completeness_score.",
    ),
    dg.AssetCheckSpec(
        DETAILS,
        asset=ASSET,
        description="The share of models whose file details are known at their sha reaches "
        "validation.min_file_detail_coverage. It is low by necessity after a first run, so it never blocks.",
    ),
    dg.AssetCheckSpec(
        ROUTES_AGREE,
        asset=ASSET,
        description="No discovery route saw a GGUF model that the listing lacks, and none broke off.",
    ),
]

NEVERTHELESS = "published nevertheless: error_handling.preserve_data_on_failure is off"


def completeness_result(
    completeness: Completeness, gate: Gate, *, minimum: float, enabled: bool, waived: bool = False
) -> dg.AssetCheckResult:
    """Return the verdict on completeness; a check that is switched off says so and is no pass.

    Args:
        completeness: how complete the day is.
        gate: whether that is enough.
        minimum: the smallest score that may be published.
        enabled: whether it counts.
        waived: whether the day is published whatever the verdict is; it then only warns.
    """
    metadata: dict[str, float | int | bool] = {
        "score": completeness.score,
        "minimum": minimum,
        "fill": completeness.fill,
        **({} if completeness.coverage is None else {"coverage": completeness.coverage}),
        **completeness.parts,
    }
    if not enabled:
        off = f"validation.enable_completeness_checking is off; {gate.text}"
        return _skipped(COMPLETENESS, off, **metadata)
    text = gate.text
    if completeness.coverage is None and gate.passed:
        text = f"No independent count: {gate.text}"
    if not gate.passed and waived:
        text = f"{gate.text}; {NEVERTHELESS}"
    return dg.AssetCheckResult(
        check_name=COMPLETENESS,
        passed=gate.passed and completeness.coverage is not None,
        severity=dg.AssetCheckSeverity.WARN if gate.passed else blocking_severity(waived),
        description=text,
        metadata=metadata,
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


def details_result(known: int, models: int, minimum: float) -> dg.AssetCheckResult:
    """Return how far file details are known; low by necessity after a first run, so it only warns.

    Args:
        known: models whose file details are known at their sha.
        models: all of them.
        minimum: the share, 0 to 1, below which it warns.
    """
    share = file_detail_coverage(known, models)
    passed = share is not None and share >= minimum
    relation = "reaches" if passed else "is below"
    text = f"file details known for {known:,} of {models:,} models"
    if share is not None:
        text += f": {as_text(share)} {relation} {minimum:g} (validation.min_file_detail_coverage)"
    return dg.AssetCheckResult(
        check_name=DETAILS,
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=text,
        metadata={"known": known, "models": models, "share": share or 0.0, "minimum": minimum},
    )


def blocking_severity(waived: bool) -> dg.AssetCheckSeverity:
    """Return the severity of a check that stops publishing, unless the day is published nevertheless."""
    return dg.AssetCheckSeverity.WARN if waived else dg.AssetCheckSeverity.ERROR


def _skipped(name: str, why: str, **metadata: float) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=name,
        passed=False,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"skipped: {why}",
        metadata={"skipped": True, **metadata},
    )
