"""Which mode a sync runs in, and why: one pure decision for schedule, UI, backfill, sensor and command line.

First match wins (DESIGN §5). All times are the Hub's clock and are handed in. Here: the decision, its codes
and its wording. Not here: reading settings or history (orchestration fills `SyncRules` and `SyncPast`), nor
the walk.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

DETERMINING = "Determining sync mode"
"""First words of every decision in the log (ledger §9)."""

SWITCHING = "Switching to full sync due to significant changes"

_OVERLAP_HOURS = 1.0
"""Added to the time since the last success where the window is widened: a walk takes a while (SYNC-33)."""


class SyncMode(StrEnum):
    """How a sync may be asked for; a plan is never `auto`."""

    AUTO = "auto"
    INCREMENTAL = "incremental"
    FULL = "full"


class Reason(StrEnum):
    """Why a plan has its mode: stable codes, in order of precedence."""

    FORCED = "forced"
    EXPLICIT = "explicit"
    FIRST_RUN = "first_run"
    LAST_FAILED = "last_failed"
    THRESHOLD = "threshold"
    RECENT = "recent"
    SIGNIFICANT_CHANGE = "significant_change"
    """Found out in the run itself, after the listing."""


class WalkKind(StrEnum):
    """What a sync asks the listing for."""

    FULL = "full"
    """All models, all fields."""
    CENSUS = "census"
    """All models, without file names."""
    WINDOW = "window"
    """Only what was modified within the window, newest first."""


@dataclass(frozen=True)
class SyncRules:
    """What the settings say about the choice; attributes are keys of `sync_behavior`.

    Attributes:
        mode: after file, environment and command line.
        force_full_sync: full, whatever else says otherwise.
        incremental_window_hours: hours back within which an incremental sync looks for modified models.
        full_sync_threshold_hours: age of the last full sync above which the next one is full.
        significant_change_threshold: relative change of the number of models from which a run turns full.
        census: whether an incremental sync walks all models lightly.
        multi_strategy_discovery: whether a full sync also walks further discovery routes.
    """

    mode: SyncMode = SyncMode.AUTO
    force_full_sync: bool = False
    incremental_window_hours: float = 48
    full_sync_threshold_hours: float = 168
    significant_change_threshold: float = 0.1
    census: bool = True
    multi_strategy_discovery: bool = True


@dataclass(frozen=True)
class SyncPast:
    """What the store knows of earlier syncs.

    Attributes:
        baseline_day: the last published day before the one to be synced; None before the first.
        last_success: the Hub's clock when the last successful sync looked at it; None without one.
        last_full: the same of the last successful full sync.
        failure: why the last sync failed; None when it did not, or there was none.
    """

    baseline_day: date | None = None
    last_success: datetime | None = None
    last_full: datetime | None = None
    failure: str | None = None


@dataclass(frozen=True)
class SyncPlan:
    """The decision.

    Attributes:
        mode: full or incremental.
        kind: what the listing is asked for.
        reason: code, stable for machines.
        reason_text: one sentence for people.
        window_hours: how far back an incremental sync looks; None for a full one.
        window_start: the same as a time; None for a full one.
        notes: remarks on the decision for the log, e.g. a widened window.
    """

    mode: SyncMode
    kind: WalkKind
    reason: Reason
    reason_text: str
    window_hours: float | None = None
    window_start: datetime | None = None
    notes: tuple[str, ...] = ()

    def log_lines(self) -> list[str]:
        """Return what the log says about the decision, in the ledger's wording (§9)."""
        lines = [f"{DETERMINING}…", self.reason_text, *self.notes]
        if self.window_start is not None:
            lines.append(f"Filtering models modified after {self.window_start.isoformat()}")
        return lines


def plan_sync(
    past: SyncPast,
    rules: SyncRules,
    now: datetime,
    override: SyncMode | None = None,
    *,
    force: bool = False,
) -> SyncPlan:
    """Decide the mode of a sync.

    Args:
        past: what is stored.
        rules: what the settings say.
        now: the Hub's clock, with time zone.
        override: the mode asked for at the start (Launchpad or command line); stronger than `rules.mode`.
        force: full is forced for this run (Launchpad), as `rules.force_full_sync` forces it for all.

    Returns:
        The plan; an explicit incremental without a baseline becomes full and says so.
    """
    timeless = plan_without_clock(past, rules, override, force=force)
    if timeless is not None:
        return timeless
    if _asked(rules, override) is SyncMode.INCREMENTAL:
        return _incremental(past, rules, now, Reason.EXPLICIT, "asked for")
    full_age = hours_between(past.last_full, now)
    if full_age is None or full_age > rules.full_sync_threshold_hours:
        return _full(Reason.THRESHOLD, _overdue(full_age, rules))
    return _incremental(past, rules, now, Reason.RECENT, f"built on {past.baseline_day}")


def plan_without_clock(
    past: SyncPast, rules: SyncRules, override: SyncMode | None = None, *, force: bool = False
) -> SyncPlan | None:
    """Return the plan where it is full whatever the time is; None where the Hub's clock has to be known.

    The arguments are those of `plan_sync`.
    """
    asked = _asked(rules, override)
    if force or rules.force_full_sync:
        where = "force was given for this run" if force else "sync_behavior.force_full_sync is set"
        return _full(Reason.FORCED, where)
    if asked is SyncMode.FULL:
        return _full(Reason.EXPLICIT, "asked for")
    if past.baseline_day is None:
        text = "no day has been published yet"
        if asked is SyncMode.INCREMENTAL:
            text += ", so there is nothing an incremental sync could build on"
        return _full(Reason.FIRST_RUN, text)
    if past.failure is not None and asked is SyncMode.AUTO:
        return _full(Reason.LAST_FAILED, f"the last sync failed ({past.failure})")
    return None


def hours_between(earlier: datetime | None, now: datetime) -> float | None:
    """Return the hours since a time, never negative; None where there is none."""
    return None if earlier is None else max(0.0, (now - earlier).total_seconds() / 3600)


def is_significant(listed: int, published: int, threshold: float) -> bool:
    """Return whether the number of models changed by at least the threshold (reached counts, X-09)."""
    # Cross-multiplied in whole numbers where possible: 0.1 x 70 is a little more than 7 in binary.
    return published > 0 and abs(listed - published) >= round(threshold * published, 9)


def significant_change_text(listed: int, published: int) -> str:
    """Return the ledger's wording of a significant change (SYNC-21)."""
    share = abs(listed - published) / published * 100
    return f"Significant change detected: {share:.1f}% change in model count ({published} → {listed})"


def in_window_text(in_window: int, listed: int, hours: float) -> str:
    """Return the ledger's wording of how many models lie in the window (SYNC-13)."""
    return f"Incremental sync: {in_window}/{listed} models within {hours:g}h window"


def processing_all_text(listed: int) -> str:
    """Return the ledger's wording of how many models a full sync works through (SYNC-17)."""
    return f"Full sync: processing all {listed} models"


def _asked(rules: SyncRules, override: SyncMode | None) -> SyncMode:
    return rules.mode if override in (None, SyncMode.AUTO) else override


def _full(reason: Reason, why: str) -> SyncPlan:
    return SyncPlan(SyncMode.FULL, WalkKind.FULL, reason, f"Performing full sync: {why}")


def _incremental(past: SyncPast, rules: SyncRules, now: datetime, reason: Reason, why: str) -> SyncPlan:
    age = hours_between(past.last_success, now)
    ago = "unknown" if age is None else f"{age:.1f}h ago"
    hours, notes = effective_window(rules.incremental_window_hours, age)
    return SyncPlan(
        SyncMode.INCREMENTAL,
        WalkKind.CENSUS if rules.census else WalkKind.WINDOW,
        reason,
        f"Performing incremental sync (last sync: {ago}): {why}",
        hours,
        now - timedelta(hours=hours),
        notes,
    )


def effective_window(configured: float, age: float | None) -> tuple[float, tuple[str, ...]]:
    """Return the window in hours, widened over the time since the last success, and what to say of it.

    Args:
        configured: `incremental_window_hours`.
        age: hours since the last success; None when unknown.
    """
    needed = 0.0 if age is None else age + _OVERLAP_HOURS
    if needed <= configured:
        return configured, ()
    hours = round(needed + 0.05, 1)  # rounded up, so that nothing falls between two windows
    note = f"Window widened from {configured:g}h to {hours:g}h: the last successful sync was {age:.1f}h ago"
    return hours, (note,)


def _overdue(age: float | None, rules: SyncRules) -> str:
    limit = f"threshold {rules.full_sync_threshold_hours:g}h"
    return f"no full sync on record ({limit})" if age is None else f"last full sync {age:.1f}h ago ({limit})"
