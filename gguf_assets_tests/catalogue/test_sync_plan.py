"""The mode of a sync: the first rule that applies wins, and the reason says which."""

from __future__ import annotations

from datetime import date
from itertools import product

import pytest

from gguf_assets.catalogue.sync_plan import SyncMode, SyncPast, SyncRules, plan_sync

AUTO, INCREMENTAL, FULL = SyncMode.AUTO, SyncMode.INCREMENTAL, SyncMode.FULL
FIRST, LATER = SyncPast(), SyncPast(date(2025, 8, 10))


@pytest.mark.parametrize(
    ("past", "rules", "override", "mode", "reason"),
    [
        (FIRST, SyncRules(), None, FULL, "first_run"),
        (FIRST, SyncRules(INCREMENTAL), None, FULL, "first_run"),
        (FIRST, SyncRules(), INCREMENTAL, FULL, "first_run"),
        (FIRST, SyncRules(FULL), None, FULL, "explicit"),
        (LATER, SyncRules(), None, INCREMENTAL, "recent"),
        (LATER, SyncRules(), AUTO, INCREMENTAL, "recent"),
        (LATER, SyncRules(), FULL, FULL, "explicit"),
        (LATER, SyncRules(FULL), AUTO, FULL, "explicit"),
        (LATER, SyncRules(FULL), INCREMENTAL, INCREMENTAL, "explicit"),
        (LATER, SyncRules(INCREMENTAL), FULL, FULL, "explicit"),
        (LATER, SyncRules(INCREMENTAL), None, INCREMENTAL, "explicit"),
        (LATER, SyncRules(force_full_sync=True), INCREMENTAL, FULL, "forced"),
        (FIRST, SyncRules(force_full_sync=True), None, FULL, "forced"),
    ],
)
def test_the_first_rule_that_applies_decides(past, rules, override, mode, reason):
    plan = plan_sync(past, rules, override)
    assert (plan.mode, plan.reason) == (mode, reason)


def test_an_incremental_sync_without_anything_to_build_on_says_why_it_is_full():
    text = plan_sync(FIRST, SyncRules(), INCREMENTAL).reason_text
    assert text.startswith("Full sync: no day has been published yet, so there is nothing")
    assert plan_sync(FIRST, SyncRules()).reason_text == "Full sync: no day has been published yet"


def test_an_incremental_sync_names_the_day_it_builds_on():
    assert "2025-08-10" in plan_sync(LATER, SyncRules()).reason_text


def test_a_plan_is_never_auto_and_always_says_why():
    for past, mode, force, override in product((FIRST, LATER), SyncMode, (False, True), (None, *SyncMode)):
        plan = plan_sync(past, SyncRules(mode, force), override)
        assert plan.mode in (INCREMENTAL, FULL)
        assert plan.reason_text.lower().startswith(plan.mode.value)
