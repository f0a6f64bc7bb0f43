from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gguf_assets.quality.completeness import (
    REQUIRED_FIELDS,
    ListingCounts,
    as_text,
    file_detail_coverage,
    gate,
    measure,
)

from .tables import model, models


def measured(listed=100, **given):
    values = {
        "quarantined": 0,
        "absent_unconfirmed": 0,
        "put_back": 0,
        "seen_by_other_routes": 0,
        "baseline_known": True,
        "filled": dict.fromkeys(REQUIRED_FIELDS, listed),
        "walk_ended": True,
    }
    return measure(listed=listed, **(values | given))


def test_a_whole_day_scores_one():
    assert measured().score == 1.0
    assert measured(baseline_known=False).score == 1.0


def test_a_listing_cut_to_sixty_percent_fails_in_production_and_at_eighty_five_passes_in_development():
    assert not gate(measured(listed=600, absent_unconfirmed=400), 0.95).passed
    assert measured(listed=600, absent_unconfirmed=400).score == pytest.approx(0.6)
    assert gate(measured(listed=850, absent_unconfirmed=150), 0.8).passed
    assert not gate(measured(listed=850, absent_unconfirmed=150), 0.95).passed


@pytest.mark.parametrize("part", ["quarantined", "absent_unconfirmed", "put_back", "seen_by_other_routes"])
def test_what_the_listing_did_not_show_counts_in_the_denominator_only(part):
    completeness = measured(listed=75, **{part: 25})
    assert completeness.coverage == 0.75
    assert completeness.fill == 1.0
    assert completeness.score == 0.75


def test_a_required_field_that_half_the_models_lack_costs_a_fourteenth():
    filled = dict.fromkeys(REQUIRED_FIELDS, 100) | {"last_modified": 50}
    completeness = measured(filled=filled)
    assert completeness.fill == pytest.approx(1 - 0.5 / 7)
    assert completeness.parts["filled_last_modified"] == 0.5
    assert completeness.score == completeness.fill


def test_a_first_run_has_no_coverage_and_is_judged_by_fill_and_quarantine():
    completeness = measured(listed=90, quarantined=10, baseline_known=False)
    assert completeness.coverage is None
    assert completeness.score == pytest.approx(0.9)
    assert "no independent count" in gate(completeness, 0.95).text


@pytest.mark.parametrize("baseline_known", [True, False])
@pytest.mark.parametrize("quarantined", [0, 5])
def test_an_empty_listing_scores_zero(baseline_known, quarantined):
    completeness = measured(listed=0, baseline_known=baseline_known, quarantined=quarantined)
    assert (completeness.score, completeness.fill) == (0.0, 0.0)
    assert "the listing is empty" in gate(completeness, 0.8).text


def test_a_walk_that_did_not_end_scores_zero():
    completeness = measured(walk_ended=False)
    assert completeness.score == 0.0
    assert "the walk did not end" in gate(completeness, 0.8).text


def test_a_score_equal_to_the_minimum_passes_and_the_text_never_rounds_up():
    assert gate(measured(listed=95, absent_unconfirmed=5), 0.95).passed
    below = gate(measured(listed=94_999, absent_unconfirmed=5_001), 0.95)
    assert not below.passed
    assert below.text == ("completeness 0.9499 is below the minimum 0.95 (coverage 0.9499, fill 1.0000)")


def test_shares_are_shown_without_binary_noise():
    assert [as_text(x) for x in (0.29, 0.57, 1.0, 0.0, 0.99999)] == [
        "0.2900",
        "0.5700",
        "1.0000",
        "0.0000",
        "0.9999",
    ]


counts = st.integers(0, 10_000)


@given(st.data(), counts, counts, counts, counts, counts, st.booleans(), st.booleans())
def test_the_figures_stay_between_zero_and_one(
    data, listed, quarantined, absent, put_back, other, known, ended
):
    filled = {field: data.draw(st.integers(0, listed)) for field in REQUIRED_FIELDS}
    completeness = measure(
        listed=listed,
        quarantined=quarantined,
        absent_unconfirmed=absent,
        put_back=put_back,
        seen_by_other_routes=other,
        baseline_known=known,
        filled=filled,
        walk_ended=ended,
    )
    assert 0 <= completeness.score <= completeness.fill <= 1
    assert completeness.coverage is None or 0 <= completeness.coverage <= 1
    assert gate(completeness, 0.0).passed


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"put_back": -1}, "put_back is -1"),
        ({"filled": {"sha": 1}}, "filled has sha; required are"),
        ({"filled": dict.fromkeys(REQUIRED_FIELDS, 101)}, "is 101; allowed is 0 to 100"),
    ],
)
def test_impossible_counts_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        measured(**wrong)


def test_file_detail_coverage_is_unknown_without_models():
    assert file_detail_coverage(1, 4) == 0.25
    assert file_detail_coverage(0, 0) is None


def test_counts_over_batches_look_at_the_required_fields_of_listed_rows_only():
    counts = ListingCounts()
    counts.add(models(model(4), model(3, last_modified=None, details_sha=None)))
    counts.add(models(model(2, presence="unconfirmed"), model(1, presence="put back", sha=None, likes=None)))
    assert (counts.models, counts.listed, counts.put_back, counts.unconfirmed) == (4, 2, 1, 1)
    assert counts.details_known == 2
    assert counts.filled == dict.fromkeys(REQUIRED_FIELDS, 2) | {"last_modified": 1}


def test_counts_without_any_batch_are_those_of_an_empty_listing():
    counts = ListingCounts()
    assert measured(listed=counts.listed, filled=counts.filled).score == 0.0
