"""The mode of a sync: the first rule that applies wins, and the reason says which."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gguf_assets.catalogue.sync_plan import (
    SyncMode,
    SyncPast,
    SyncRules,
    WalkKind,
    in_window_text,
    is_significant,
    plan_sync,
    plan_without_clock,
    processing_all_text,
    significant_change_text,
)

AUTO, INCREMENTAL, FULL = SyncMode.AUTO, SyncMode.INCREMENTAL, SyncMode.FULL
NOW = datetime(2025, 8, 20, 2, 30, tzinfo=UTC)
FIRST = SyncPast()


def past(success: float = 24, full: float | None = 48, failure: str | None = None) -> SyncPast:
    """A past with a published day; ages in hours."""
    last_full = None if full is None else NOW - timedelta(hours=full)
    return SyncPast(date(2025, 8, 19), NOW - timedelta(hours=success), last_full, failure)


LATER, OLD, FAILED = past(), past(full=169), past(failure="no network")


@pytest.mark.parametrize(
    ("before", "rules", "override", "mode", "reason"),
    [
        (FIRST, SyncRules(), None, FULL, "first_run"),
        (FIRST, SyncRules(INCREMENTAL), None, FULL, "first_run"),
        (FIRST, SyncRules(), INCREMENTAL, FULL, "first_run"),
        (FIRST, SyncRules(FULL), None, FULL, "explicit"),
        (replace(FIRST, failure="no network"), SyncRules(), None, FULL, "first_run"),
        (LATER, SyncRules(), None, INCREMENTAL, "recent"),
        (LATER, SyncRules(), AUTO, INCREMENTAL, "recent"),
        (LATER, SyncRules(), FULL, FULL, "explicit"),
        (LATER, SyncRules(FULL), AUTO, FULL, "explicit"),
        (LATER, SyncRules(FULL), INCREMENTAL, INCREMENTAL, "explicit"),
        (LATER, SyncRules(INCREMENTAL), FULL, FULL, "explicit"),
        (LATER, SyncRules(INCREMENTAL), None, INCREMENTAL, "explicit"),
        (LATER, SyncRules(force_full_sync=True), INCREMENTAL, FULL, "forced"),
        (FIRST, SyncRules(force_full_sync=True), None, FULL, "forced"),
        (FAILED, SyncRules(), None, FULL, "last_failed"),
        (FAILED, SyncRules(), INCREMENTAL, INCREMENTAL, "explicit"),
        (FAILED, SyncRules(INCREMENTAL), None, INCREMENTAL, "explicit"),
        (past(full=169, failure="x"), SyncRules(), None, FULL, "last_failed"),
        (OLD, SyncRules(), None, FULL, "threshold"),
        (OLD, SyncRules(INCREMENTAL), None, INCREMENTAL, "explicit"),
        (past(full=None), SyncRules(), None, FULL, "threshold"),
        (past(full=168), SyncRules(), None, INCREMENTAL, "recent"),
        (past(success=1, full=72.1), SyncRules(full_sync_threshold_hours=72), None, FULL, "threshold"),
    ],
)
def test_the_first_rule_that_applies_decides(before, rules, override, mode, reason):
    plan = plan_sync(before, rules, NOW, override)
    assert (plan.mode, plan.reason) == (mode, reason)


def test_force_given_for_one_run_is_stronger_than_everything():
    plan = plan_sync(LATER, SyncRules(INCREMENTAL), NOW, INCREMENTAL, force=True)
    assert (plan.mode, plan.reason) == (FULL, "forced")
    assert "for this run" in plan.reason_text


def test_the_three_profiles_of_the_handbook_come_out_of_configuration_alone():
    daily = SyncRules(AUTO, incremental_window_hours=48, full_sync_threshold_hours=168)
    assert [plan_sync(past(full=age), daily, NOW).mode for age in (24, 200)] == [INCREMENTAL, FULL]
    frequent = SyncRules(INCREMENTAL, incremental_window_hours=24, full_sync_threshold_hours=72)
    assert plan_sync(past(success=6, full=100), frequent, NOW).mode is INCREMENTAL
    comprehensive = SyncRules(FULL)
    assert plan_sync(LATER, comprehensive, NOW).mode is FULL


def test_an_incremental_sync_without_anything_to_build_on_says_why_it_is_full():
    text = plan_sync(FIRST, SyncRules(), NOW, INCREMENTAL).reason_text
    assert text.startswith("Performing full sync: no day has been published yet, so there is nothing")
    assert plan_sync(FIRST, SyncRules(), NOW).reason_text == (
        "Performing full sync: no day has been published yet"
    )


def test_an_incremental_sync_says_when_the_last_one_was_and_on_which_day_it_builds():
    text = plan_sync(past(success=12), SyncRules(), NOW).reason_text
    assert text.startswith("Performing incremental sync (last sync: 12.0h ago)")
    assert "2025-08-19" in text


def test_the_log_says_what_was_determined_why_and_from_which_time_on():
    lines = plan_sync(past(success=12), SyncRules(), NOW).log_lines()
    assert lines[0].startswith("Determining sync mode")
    assert lines[1].startswith("Performing incremental sync (last sync: 12.0h ago)")
    assert lines[2] == "Filtering models modified after 2025-08-18T02:30:00+00:00"
    assert len(plan_sync(FAILED, SyncRules(), NOW).log_lines()) == 2


def test_a_failure_and_an_overdue_full_sync_are_told_with_their_figures():
    assert "no network" in plan_sync(FAILED, SyncRules(), NOW).reason_text
    assert "last full sync 169.0h ago (threshold 168h)" in plan_sync(OLD, SyncRules(), NOW).reason_text


@given(
    success=st.floats(0, 2000, allow_nan=False),
    configured=st.integers(1, 720),
)
def test_the_window_always_reaches_back_beyond_the_last_success(success, configured):
    plan = plan_sync(past(success=success), SyncRules(INCREMENTAL, incremental_window_hours=configured), NOW)
    assert plan.window_hours >= configured
    assert plan.window_start == NOW - timedelta(hours=plan.window_hours)
    assert plan.window_start <= NOW - timedelta(hours=success)
    widened = success + 1 > configured
    assert bool(plan.notes) == widened
    if not widened:
        assert plan.window_hours == configured
    else:
        assert "widened" in plan.notes[0]
        assert plan.window_hours <= success + 1.2


def test_a_window_walk_is_chosen_by_configuration_and_only_for_incremental_syncs():
    assert plan_sync(LATER, SyncRules(), NOW).kind is WalkKind.CENSUS
    assert plan_sync(LATER, SyncRules(census=False), NOW).kind is WalkKind.WINDOW
    assert plan_sync(OLD, SyncRules(census=False), NOW).kind is WalkKind.FULL


@pytest.mark.parametrize(
    ("published", "listed", "significant"),
    [
        (100, 110, True),
        (100, 109, False),
        (100, 90, True),
        (100, 91, False),
        (1000, 1099, False),
        (101, 111, False),
        (70, 77, True),
        (30, 33, True),
        (100, 100, False),
        (0, 10, False),
    ],
)
def test_a_tenth_reached_is_significant_and_less_is_not(published, listed, significant):
    assert is_significant(listed, published, 0.1) is significant


@given(
    published=st.integers(1, 10**6),
    listed=st.integers(0, 10**6),
    threshold=st.sampled_from(["0.05", "0.08", "0.1", "0.2", "1.0"]),
)
def test_significance_agrees_with_exact_arithmetic(published, listed, threshold):
    exact = Fraction(abs(listed - published), published) >= Fraction(threshold)
    assert is_significant(listed, published, float(threshold)) is exact


def test_the_wordings_of_the_handbook_are_kept():
    assert significant_change_text(120, 100) == (
        "Significant change detected: 20.0% change in model count (100 → 120)"
    )
    assert in_window_text(150, 1000, 48) == "Incremental sync: 150/1000 models within 48h window"
    assert processing_all_text(1000) == "Full sync: processing all 1000 models"


def test_a_plan_is_never_auto_always_says_why_and_needs_the_clock_only_where_it_counts():
    pasts = (FIRST, LATER, OLD, FAILED)
    for before, mode, force, override in product(pasts, SyncMode, (False, True), (None, *SyncMode)):
        plan = plan_sync(before, SyncRules(mode, force), NOW, override)
        assert plan.mode in (INCREMENTAL, FULL)
        assert re.match(rf"Performing {plan.mode.value} sync\b", plan.reason_text)
        assert (plan.window_start is None) == (plan.mode is FULL)
        timeless = plan_without_clock(before, SyncRules(mode, force), override)
        assert timeless in (None, plan)
        if timeless is None:
            assert plan.reason in ("explicit", "recent", "threshold")
