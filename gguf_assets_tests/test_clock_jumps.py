"""Clocks that jump: this machine's decides nothing about a day, the Hub's decides all, whatever it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
import time_machine

from gguf_assets.demo.clock import at
from gguf_assets.demo.faults import Fault, FaultKind
from gguf_assets_tests.boundaries import SECOND, Stage, data_of, stage, visible
from gguf_assets_tests.calling import Catalogue, assert_clear
from gguf_assets_tests.dying import Death

PAGES = "sort=createdAt"
THIRD = SECOND + timedelta(days=1)
YEAR = timedelta(days=365)


@pytest.fixture(scope="module")
def play() -> Iterator[Stage]:
    with stage() as made:
        yield made


@pytest.fixture
def catalogue(play: Stage) -> Iterator[Catalogue]:
    with play.catalogue() as made:
        yield made
        play.hub.faults.clear()


def when_page(nth: int, happens: Callable[[], object]) -> Fault:
    """Let something happen while the Hub makes the n-th page of the walk, before it is stamped and sent."""

    def edit(row: dict[str, Any]) -> dict[str, Any]:
        if not done:
            done.append(happens())
        return row

    done: list[object] = []
    return Fault(FaultKind.EDIT_ROW, PAGES, nth=nth, edit=edit)


def parquet(catalogue: Catalogue) -> dict[str, str]:
    return {name: digest for name, digest in visible(catalogue).items() if name.endswith(".parquet")}


def calm_parquet(play: Stage) -> dict[str, str]:
    return {name: digest for name, digest in play.seen.items() if name.endswith(".parquet")}


@pytest.mark.slow
@pytest.mark.parametrize("shift", [-YEAR, YEAR, timedelta(hours=-30), timedelta(hours=30)], ids=str)
def test_a_machine_whose_clock_is_wrong_publishes_the_same_bytes(
    play: Stage, catalogue: Catalogue, shift: timedelta
) -> None:
    ended = play.sync(catalogue, clock=datetime.now(UTC) + shift)
    assert ended.code == 0, ended
    assert data_of(catalogue) == play.calm
    assert catalogue.last.day == SECOND
    play.assert_completes(catalogue)


@pytest.mark.parametrize("shift", [-YEAR, YEAR], ids=["back", "forward"])
def test_a_machine_whose_clock_jumps_in_mid_walk_publishes_the_same_bytes(
    play: Stage, catalogue: Catalogue, shift: timedelta
) -> None:
    with time_machine.travel(datetime.now(UTC), tick=True) as traveller:
        jump = when_page(2, lambda: traveller.shift(shift))
        ended = catalogue.sync(fault=jump)
    assert jump.hits == 1
    assert ended.code == 0, ended
    assert data_of(catalogue) == play.calm
    assert catalogue.last.hub_time == at(SECOND)
    assert catalogue.last.figures["duration_seconds"] >= 0


def test_a_machine_whose_clock_is_before_the_hubs_day_is_refused_and_leaves_no_trace(
    play: Stage, catalogue: Catalogue
) -> None:
    before, syncs = visible(catalogue), catalogue.store.history.syncs()
    ended = play.sync(catalogue, clock=at(SECOND - timedelta(days=1), time(23, 50)))
    assert_clear(ended, 2, f"{SECOND} is in the future", "by this machine's clock")
    assert visible(catalogue) == before
    assert catalogue.store.history.syncs() == syncs
    play.assert_completes(catalogue)


@pytest.mark.slow
def test_a_run_that_died_under_a_clock_that_ran_ahead_is_gone_on_with(
    play: Stage, catalogue: Catalogue
) -> None:
    ahead = datetime.now(UTC) + YEAR
    died = play.sync(catalogue, clock=ahead, death=Death("candidate/models/", 1, after=True))
    assert died.code == -9
    play.assert_readers_see_whole_files(catalogue)
    play.assert_completes(catalogue)


def test_a_hub_whose_clock_goes_back_within_the_day_gives_the_same_bytes(
    play: Stage, catalogue: Catalogue
) -> None:
    back = when_page(2, lambda: play.hub.clock.set(at(SECOND, time(11))))
    ended = catalogue.sync(fault=back)
    assert ended.code == 0, ended
    assert back.hits == 1
    assert parquet(catalogue) == calm_parquet(play)


def test_midnight_passing_in_mid_walk_changes_no_row(play: Stage, catalogue: Catalogue) -> None:
    midnight = when_page(2, lambda: play.hub.clock.set(at(THIRD, time(0, 0, 1))))
    ended = catalogue.sync(fault=midnight)
    assert ended.code == 0, ended
    assert midnight.hits == 1
    assert parquet(catalogue) == calm_parquet(play)
    assert catalogue.store.published.latest_day() == SECOND
    assert catalogue.last.day == SECOND


def test_midnight_passing_between_pages_by_more_than_the_grace_publishes_nothing(
    play: Stage, catalogue: Catalogue
) -> None:
    before = visible(catalogue)
    late = when_page(2, lambda: play.hub.clock.set(at(THIRD, time(7))))
    ended = catalogue.sync(fault=late)
    assert_clear(ended, 1, "until 2025-08-12 06:00")
    assert visible(catalogue) == before
    assert catalogue.last.state == "failed"


def test_a_hub_whose_clock_falls_back_over_midnight_publishes_a_true_day_or_none(
    play: Stage, catalogue: Catalogue
) -> None:
    play.hub.set_day(SECOND, time(0, 10))
    before = visible(catalogue)
    fallen: date = SECOND - timedelta(days=1)
    back = when_page(2, lambda: play.hub.clock.set(at(fallen, time(23, 59))))
    ended = catalogue.sync(fault=back)
    assert back.hits == 1
    assert "Traceback" not in ended.stderr
    if ended.code:
        assert visible(catalogue) == before
    play.hub.set_day(SECOND)
    again = catalogue.sync()
    assert again.code == 0, again
    assert catalogue.store.published.days()[-1] == SECOND
    listed = {row["model_id"] for row in catalogue.rows("models", SECOND)}
    assert listed == {one.model_id for one in play.hub.source.on(SECOND).repositories}
