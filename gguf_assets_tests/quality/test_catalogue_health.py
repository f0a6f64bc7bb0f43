"""Health of a whole catalogue and its worst models, against the same figures computed row by row here."""

from __future__ import annotations

import statistics
from collections import Counter
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_assets.catalogue.schema import GRADES
from gguf_assets.quality.catalogue_health import CatalogueHealth, status_of
from gguf_assets.quality.health_checks import HEALTH_CHECKS
from gguf_assets.quality.highlights import LostPoints, WorstModels

from .tables import DAY, batch, hub_id

NAMES = list(HEALTH_CHECKS)
LIMITS = {"A": 9.0, "B": 7.5, "C": 6.0, "D": 4.0, "F": 0.0}


def row(number: int, score: float | None, checks: dict[str, int] | None = None) -> dict[str, Any]:
    """A row of `health`; the score need not be that of the checks, which nobody recomputes."""
    grade = None if score is None else next(grade for grade, limit in LIMITS.items() if score >= limit)
    return {
        "snapshot_date": DAY,
        "hub_id": hub_id(number),
        "model_id": f"owner/Model-{number}",
        "score": score,
        "grade": grade,
        "checks": [
            {"name": name, "score": value, "weight": HEALTH_CHECKS[name].weight, "reason": f"{name}_{value}"}
            for name, value in (checks or {}).items()
        ],
        "unknown": [],
    }


def health(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    return batch("health", rows)


scores = st.none() | st.integers(0, 1000).map(lambda hundredths: hundredths / 100)
checks = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 10), max_size=4)
days = st.lists(st.tuples(scores, checks), max_size=30)


@given(days, st.integers(1, 9))
@settings(deadline=None, max_examples=80)
def test_the_figures_are_those_of_the_rows_however_they_are_cut(day, size):
    rows = [row(n, *values) for n, values in enumerate(day)]
    catalogue = CatalogueHealth()
    for start in range(0, len(rows), size):
        catalogue.add(health(rows[start : start + size]))
    known = [score for score, _ in day if score is not None]
    by_check = {name: [given[name] for _, given in day if name in given] for name in NAMES}
    got = catalogue.figures
    assert got["scored"] == len(known)
    if known:
        assert got["mean"] == pytest.approx(statistics.fmean(known), abs=0.0005001)
        assert got["median"] == pytest.approx(statistics.median(known), abs=1e-9)
    else:
        assert (got["mean"], got["median"], got["status"]) == (None, None, "unknown")
    grades = Counter(r["grade"] for r in rows if r["grade"])
    assert got["grades"] == {grade: grades[grade] for grade in GRADES}
    assert got["scores"] == [sum(int(score) == whole for score in known) for whole in range(11)]
    assert list(got["checks"]) == NAMES
    for name, values in by_check.items():
        figures = got["checks"][name]
        assert (figures["known"], figures["full"]) == (len(values), values.count(10))
        assert figures["weight"] == HEALTH_CHECKS[name].weight
        expected = statistics.fmean(values) if values else None
        assert figures["mean"] == (None if expected is None else pytest.approx(expected, abs=0.0005001))


@pytest.mark.parametrize(
    ("mean", "status"),
    [(None, "unknown"), (10.0, "green"), (7.5, "green"), (7.499, "yellow"), (4.0, "yellow"), (3.999, "red")],
)
def test_the_status_changes_at_the_documented_limits(mean, status):
    assert status_of(mean) == status


def test_a_check_that_is_left_out_has_no_figures():
    weights = {"listed": 0, "licensed": 7}
    catalogue = CatalogueHealth(weights)
    catalogue.add(health([row(1, 5.0, {"licensed": 10}), row(2, 5.0, {"licensed": 5})]))
    got = catalogue.figures["checks"]
    assert "listed" not in got
    assert got["licensed"] == {"mean": 7.5, "known": 2, "full": 1, "weight": 7}
    nothing = CatalogueHealth(dict.fromkeys(NAMES, 0))
    nothing.add(health([row(1, None)]))
    assert nothing.figures["checks"] == {}


@given(days, st.integers(1, 9), st.integers(1, 6))
@settings(deadline=None, max_examples=60)
def test_the_worst_models_are_the_lowest_scores_however_they_are_cut(day, size, shown):
    rows = [row(n, *values) for n, values in enumerate(day)]
    worst = WorstModels(shown)
    for start in range(0, len(rows), size):
        worst.add(health(rows[start : start + size]))
    scored = [r for r in rows if r["score"] is not None]
    expected = sorted(scored, key=lambda r: (r["score"], r["hub_id"]))[:shown]
    assert [(m.model_id, m.hub_id, m.score, m.grade) for m in worst.worst] == [
        (r["model_id"], r["hub_id"], r["score"], r["grade"]) for r in expected
    ]


def test_the_reasons_are_what_cost_points_and_the_most_costly_come_first():
    worst = WorstModels()
    checks = {"listed": 10, "labelled": 0, "described": 5, "licensed": 0, "model_file": 9}
    worst.add(health([row(1, 2.0, checks)]))
    (model,) = worst.worst
    assert model.reasons == (
        LostPoints("licensed", 0, "licensed_0", 4),
        LostPoints("labelled", 0, "labelled_0", 1),
        LostPoints("described", 5, "described_5", 2),
        LostPoints("model_file", 9, "model_file_9", 8),
    )


def test_a_day_without_models_has_no_worst_one():
    assert WorstModels().worst == []
