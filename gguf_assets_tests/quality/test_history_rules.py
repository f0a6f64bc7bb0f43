"""The rules over a day beside the days before it, each against a plain computation."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gguf_assets.catalogue.schema import FILE_CHANGES_DATASET
from gguf_assets.quality.findings import Findings
from gguf_assets.quality.history_rules import (
    LEAST_RECENT_DAYS,
    RECENT_DAYS,
    DayFigures,
    HistoryRules,
)
from gguf_assets.quality.rules import RULES
from gguf_assets_tests.quality.sound_day import SOUND, before, replaced
from gguf_assets_tests.quality.tables import DAY

NOTHING = FILE_CHANGES_DATASET.empty()


def judged(today: DayFigures, recent: list[DayFigures]) -> dict[str, str]:
    """What became of the rules: the message of the finding, why it is skipped, or nothing."""
    findings = Findings(today.day)
    lacking = HistoryRules(findings).judge(today, recent, NOTHING)
    found = {row["rule"]: row["message"] for row in findings.table(RULES.values()).to_pylist()}
    assert not found.keys() & lacking.keys()
    return lacking | found


def days(count: int, **changed) -> list[DayFigures]:
    return [before(n, **changed) for n in range(1, count + 1)]


@st.composite
def histories(draw: st.DrawFn) -> tuple[DayFigures, list[DayFigures]]:
    def day(ago: int) -> DayFigures:
        compared = draw(st.sampled_from([0, 1, 99, 100, 1000]))
        return DayFigures(
            DAY - timedelta(days=ago),
            draw(st.sampled_from([None, 0, 80, 89, 90, 91, 100, 110])),
            draw(st.sampled_from([None, 0, 0, 3])),
            compared,
            draw(st.sampled_from([0, 1, 9, 10, 11, compared])) if compared else 0,
        )

    ago = draw(st.lists(st.integers(1, 40), unique=True, max_size=20))
    return day(0), [day(n) for n in ago]


@given(histories())
def test_the_day_rules_agree_with_a_plain_computation(history: tuple[DayFigures, list[DayFigures]]) -> None:
    today, recent = history
    last = sorted(recent, key=lambda one: one.day, reverse=True)[:14]
    listed = [one.listed for one in last if one.listed is not None]
    changed = [one.changed for one in last if one.changed is not None]
    expected = {
        "partial_day": today.listed is None or len(listed) < 3 or 10 * today.listed < 9 * median(listed),
        "stalled_day": today.changed is None
        or len(changed) < 3
        or (today.changed == 0 and median(changed) > 0),
        "counters_stalled": today.counters_compared < 100
        or not last
        or last[0].counters_compared < 100
        or all(100 * one.counters_moved < one.counters_compared for one in (today, last[0])),
        "replaced_in_place": today.changed is None,
    }
    assert judged(today, recent).keys() == {name for name, unwell in expected.items() if unwell}


def test_a_single_day_without_a_moved_counter_is_legal_and_a_second_one_is_one_finding() -> None:
    still = before(0, counters_moved=1)
    assert judged(still, days(3)) == {}
    assert judged(still, [before(1, counters_moved=2), *days(3)[1:]]) == {}
    assert judged(still, [before(1, counters_moved=1), *days(3)[1:]]) == {
        "counters_stalled": "The Hub's counters stand still: those of 1 of 200 models moved, and on "
        "2025-08-16 those of 1 of 200."
    }


def test_only_the_published_day_before_counts_for_the_counters_wherever_it_is_in_the_list() -> None:
    still = before(0, counters_moved=0)
    assert judged(still, [before(9, counters_moved=0), *days(3)]) == {}
    assert list(judged(still, [*days(4)[1:], before(1, counters_moved=0)])) == ["counters_stalled"]


def test_a_day_with_too_few_counters_compared_says_so() -> None:
    few = {"counters_compared": 99, "counters_moved": 0}
    too_few = "the counters of fewer than 100 models were compared"
    assert judged(before(0, **few), days(3)) == {"counters_stalled": too_few}
    day_before = {"counters_stalled": f"{too_few} on the published day before"}
    assert judged(before(0), [before(1, **few), *days(3)[1:]]) == day_before


@pytest.mark.parametrize(("listed", "partial"), [(1000, False), (900, False), (899, True), (0, True)])
def test_a_day_with_less_than_nine_tenths_of_the_median_is_partial(listed: int, partial: bool) -> None:
    recent = [before(n, listed=count) for n, count in enumerate((5000, 1000, 1), start=1)]
    text = f"{listed:,} models were listed; the median of the last 3 published days is 1,000."
    assert judged(before(0, listed=listed), recent) == ({"partial_day": text} if partial else {})


def test_only_the_latest_two_weeks_count() -> None:
    recent = [*days(RECENT_DAYS), *(before(n, listed=10**6) for n in range(15, 60))]
    assert judged(before(0), recent) == {}


def test_days_after_the_one_judged_do_not_count_when_it_is_derived_again() -> None:
    assert judged(before(0), [*days(3), *(before(-n, listed=10**6) for n in range(1, 9))]) == {}


@pytest.mark.parametrize("count", range(LEAST_RECENT_DAYS))
def test_a_median_takes_three_days(count: int) -> None:
    why = dict.fromkeys(("partial_day", "stalled_day"), "fewer than 3 published days before it")
    skipped = judged(before(0, listed=0, changed=0), days(count))
    assert {name: skipped[name] for name in why} == why


def test_a_walk_over_a_window_lists_few_models_and_is_no_partial_day() -> None:
    assert judged(before(0, listed=None), days(3)) == {"partial_day": "the walk was none over all models"}


def test_nothing_changed_is_a_finding_only_where_something_usually_does() -> None:
    quiet = before(0, changed=0)
    assert list(judged(quiet, days(3))) == ["stalled_day"]
    assert judged(quiet, days(3, changed=0)) == {}
    assert judged(before(0, changed=1), days(3)) == {}


def test_a_replaced_file_is_named_with_both_hashes_and_unknown_ones_are_none() -> None:
    one, other = f"{1:064x}", f"{2:064x}"
    changes = (
        replaced("a", previous_sha256=one, sha256=other),
        replaced("b", previous_sha256=one, sha256=one),
        replaced("c", previous_sha256=None, sha256=other),
        replaced("d", previous_sha256=one, sha256=None),
        replaced("e", previous_sha256=one, sha256=other, change="learned"),
        replaced("f", previous_sha256=other, sha256=one),
    )
    issues = replace(SOUND, file_changes=changes).judged(schema=False).issues.to_pylist()
    assert [(row["path"], row["value"]) for row in issues] == [
        ("a", f"{one} -> {other}"),
        ("f", f"{other} -> {one}"),
    ]
    assert {(row["model_id"], row["snapshot_date"]) for row in issues} == {
        ("owner/Model-4-GGUF", date(2025, 8, 17))
    }
