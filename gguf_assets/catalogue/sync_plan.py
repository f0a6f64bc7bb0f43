"""Which mode a sync runs in, and why: one pure decision for schedule, UI, backfill and command line.

First match wins (DESIGN §5). Here: the decision. Not here: reading settings or history (orchestration
fills `SyncRules` and `SyncPast`), nor the walk.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum


class SyncMode(StrEnum):
    """How a sync may be asked for; a plan is never `auto`."""

    AUTO = "auto"
    INCREMENTAL = "incremental"
    FULL = "full"


@dataclass(frozen=True)
class SyncRules:
    """What the settings say about the choice.

    Attributes:
        mode: `sync_behavior.mode` after file, environment and command line.
        force_full_sync: `sync_behavior.force_full_sync`.
    """

    mode: SyncMode = SyncMode.AUTO
    force_full_sync: bool = False


@dataclass(frozen=True)
class SyncPast:
    """What the store knows of earlier syncs.

    Attributes:
        baseline_day: the last published day before the one to be synced; None before the first.
    """

    baseline_day: date | None = None


@dataclass(frozen=True)
class SyncPlan:
    """The decision.

    Attributes:
        mode: full or incremental.
        reason: code, stable for machines.
        reason_text: one sentence for people.
    """

    mode: SyncMode
    reason: str
    reason_text: str


def plan_sync(past: SyncPast, rules: SyncRules, override: SyncMode | None = None) -> SyncPlan:
    """Decide the mode of a sync.

    Args:
        past: what is stored.
        rules: what the settings say.
        override: the mode asked for at the start (Launchpad or command line); stronger than the rules.

    Returns:
        The plan; an explicit incremental without a baseline becomes full and says so.
    """
    asked = override if override not in (None, SyncMode.AUTO) else rules.mode
    if rules.force_full_sync:
        return SyncPlan(SyncMode.FULL, "forced", "Full sync: sync_behavior.force_full_sync is set")
    if asked is SyncMode.FULL:
        return SyncPlan(SyncMode.FULL, "explicit", "Full sync: asked for")
    if past.baseline_day is None:
        text = "Full sync: no day has been published yet"
        if asked is SyncMode.INCREMENTAL:
            text += ", so there is nothing an incremental sync could build on"
        return SyncPlan(SyncMode.FULL, "first_run", text)
    if asked is SyncMode.INCREMENTAL:
        return SyncPlan(SyncMode.INCREMENTAL, "explicit", "Incremental sync: asked for")
    return SyncPlan(
        SyncMode.INCREMENTAL, "recent", f"Incremental sync: {past.baseline_day} is published to build on"
    )
