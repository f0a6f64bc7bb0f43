"""What a day is compared with when it is judged: the days it stands on, by what their manifests say."""

from __future__ import annotations

from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from gguf_assets.orchestration.judging import day_figures, recent_days
from gguf_assets.quality.history_rules import DayFigures
from gguf_assets.store.manifests import BaselineRef, CandidateManifest, CaptureRef, PublishedManifest

DAY = date(2025, 8, 20)


def candidate(day: date, baseline: date | None, kind: str = "full", **figures: Any) -> CandidateManifest:
    return CandidateManifest(
        day=day,
        capture=CaptureRef(1, 1, 0, kind, "full", "first_run"),
        baseline=None if baseline is None else BaselineRef(baseline, "0" * 64),
        derivation={},
        schema_version=1,
        pipeline_version="1",
        writer="parquet",
        figures=figures,
    )


def test_a_day_derived_again_meets_the_days_it_stood_on_and_no_others() -> None:
    every_other = [DAY - timedelta(days=2 * back) for back in range(1, 31)]
    stored = {
        day: PublishedManifest.of(candidate(day, day - timedelta(days=2) if day != every_other[-1] else None))
        for day in every_other
    }
    stored[DAY - timedelta(days=1)] = PublishedManifest.of(candidate(DAY - timedelta(days=1), None))
    store: Any = SimpleNamespace(published=SimpleNamespace(manifest=stored.get))
    met = [manifest.day for manifest in recent_days(store, candidate(DAY, every_other[0]))]
    assert met == every_other[:14], (
        "fourteen of them, newest first; what was published in between does not count"
    )
    assert [m.day for m in recent_days(store, candidate(DAY, every_other[-2]))] == every_other[-2:]
    assert list(recent_days(store, candidate(DAY, None))) == []
    del stored[every_other[1]]
    assert [m.day for m in recent_days(store, candidate(DAY, every_other[0]))] == every_other[:1]


@pytest.mark.parametrize(("kind", "listed"), [("full", 40), ("census", 40), ("window", None)])
def test_the_figures_of_a_day_are_those_of_its_manifest(kind: str, listed: int | None) -> None:
    yesterday = DAY - timedelta(days=1)
    manifest = candidate(
        DAY,
        yesterday,
        kind,
        listed=40,
        changes={"added": 2, "updated": 3},
        counters_compared=38,
        counters_moved=7,
    )
    expected = DayFigures(DAY, listed=listed, changed=5, counters_compared=38, counters_moved=7)
    assert day_figures(manifest) == day_figures(PublishedManifest.of(manifest)) == expected


def test_a_first_day_and_one_published_before_counters_were_compared_say_that_nothing_is_known() -> None:
    manifest = candidate(DAY, None, listed=40, changes={"added": 0})
    assert day_figures(manifest) == DayFigures(DAY, 40, changed=None, counters_compared=0, counters_moved=0)
