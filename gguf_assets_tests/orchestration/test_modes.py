"""Every reason for a mode, by the real job in a real instance: in the history, in the metadata, in the log.

The wording of the log is the ledger's (§9); its figures are worked out here from what the Hub holds. All ages
are by the Hub's clock: this machine's, which is elsewhere, plays no part.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from gguf_assets.demo.faults import Fault
from gguf_assets.demo.server import LoopbackHub
from gguf_assets.demo.state import Repository
from gguf_assets_tests.calling import Catalogue
from gguf_assets_tests.hubs import hub_of, repository
from gguf_assets_tests.orchestration.player import Player, Ran, launchpad, playing

FIRST = date(2025, 8, 10)
NOON = datetime.combine(FIRST, time(12), UTC)
DAYS = [FIRST + timedelta(days=number) for number in range(10)]
MODELS = 10

AGES = [1, 30, 47, 48, 49, 100, 1000, 2000, 3000]
"""Hours before the sync at which the first models were modified."""

OLDER = 500
"""The same for all further models but the tenth, which has no date."""


def modified(day: date, count: int = MODELS) -> list[Repository]:
    """So many models, last modified so many hours before noon of a day."""
    noon = datetime.combine(day, time(12), UTC)
    ages = [*AGES, *[OLDER] * (count - len(AGES))][:count]
    dates: list[str | None] = [f"{noon - timedelta(hours=age):%Y-%m-%dT%H:%M:%S.000Z}" for age in ages]
    dates[9:10] = [None] * (count > 9)
    return [repository(f"owner/model-{n:03d}", last_modified=dates[n]) for n in range(count)]


IN_WINDOW = sum(age <= 48 for age in AGES) + 1
"""Of these, those within 48 hours, and the undated one."""


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    days: dict[date, Sequence[Repository]] = {day: modified(day) for day in DAYS}
    with hub_of(days, day=FIRST, tick=0) as hub:
        yield hub


@pytest.fixture(scope="module")
def first_day(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """A catalogue whose first day is published, by a full sync at noon."""
    catalogue = Catalogue(tmp_path_factory.mktemp("first"), hub, MAX_RETRIES="0")
    hub.set_day(FIRST)
    assert catalogue.sync().code == 0
    return catalogue


@pytest.fixture
def catalogue(first_day: Catalogue, tmp_path: Path) -> Catalogue:
    """A copy of it."""
    return first_day.copy(tmp_path, MAX_RETRIES="0")


def sync_at(player: Player, moment: datetime, job: str = "daily_sync", **options: Any) -> Ran:
    """Sync the day of a moment of the Hub's clock, with options of the Launchpad."""
    player.catalogue.hub.set_day(moment.date(), moment.time())
    return player.run(job, moment.date(), launchpad(**options) if options else None)


def after(hours: float) -> datetime:
    """So many hours after the full sync of the first day."""
    return NOON + timedelta(hours=hours)


def assert_chosen(ran: Ran, mode: str, reason: str, *said: str) -> None:
    """Assert mode and reason wherever they are told, and that the log says these lines in this order."""
    assert ran.success, ran.lines
    assert ran.choice == (mode, reason)
    assert ran.record is not None
    assert ran.record.published
    assert (ran.listing["mode"], ran.listing["reason_code"]) == (mode, reason)
    lines = iter(ran.lines)
    for text in ("Determining sync mode…", *said):
        assert any(line == text for line in lines), f"{text!r} is not in, or not in its place in, {ran.lines}"
    report = "\n".join(ran.lines[-1:])
    assert report.splitlines()[:2] == ["SYNC MODE REPORT", f"Sync Mode: {mode.upper()}"]
    assert re.search(r"^Duration: \d+\.\d seconds$", report, re.MULTILINE)
    assert re.search(r"^Models Processed: \d+$", report, re.MULTILINE)
    if mode == "incremental":
        assert re.search(
            r"^Incremental Changes:\n  Added: \d+\n  Updated: \d+\n  Removed: \d+\n  Window: [\d.]+ hours$",
            report,
            re.MULTILINE,
        )


def test_the_first_sync_is_full(hub: LoopbackHub, tmp_path: Path) -> None:
    with playing(Catalogue(tmp_path, hub, GGUF_ASSETS_START_DATE=str(FIRST))) as player:
        ran = sync_at(player, NOON)
    assert_chosen(
        ran,
        "full",
        "first_run",
        "Performing full sync: no day has been published yet",
        f"Full sync: processing all {MODELS} models",
    )
    assert f"Models Processed: {MODELS}" in ran.lines[-1]


def test_the_first_sync_is_full_under_an_explicit_incremental_as_well_and_says_why(
    hub: LoopbackHub, tmp_path: Path
) -> None:
    with playing(
        Catalogue(tmp_path, hub, GGUF_ASSETS_START_DATE=str(FIRST)), SYNC_MODE="incremental"
    ) as player:
        ran = sync_at(player, NOON)
    assert_chosen(
        ran,
        "full",
        "first_run",
        "Performing full sync: no day has been published yet, so there is nothing an incremental sync could "
        "build on",
    )


def test_a_sync_soon_after_a_good_one_is_incremental(catalogue: Catalogue) -> None:
    with playing(catalogue) as player:
        ran = sync_at(player, after(24))
    assert_chosen(
        ran,
        "incremental",
        "recent",
        f"Performing incremental sync (last sync: 24.0h ago): built on {FIRST}",
        "Filtering models modified after 2025-08-09T12:00:00+00:00",
        f"Incremental sync: {IN_WINDOW}/{MODELS} models within 48h window",
    )
    figures = {key: ran.listing[key] for key in ("listed", "in_window", "undated", "window_hours")}
    assert figures == {"listed": MODELS, "in_window": IN_WINDOW, "undated": 1, "window_hours": 48.0}
    assert "  Window: 48 hours" in ran.lines[-1]


def test_twelve_hours_ago_is_said_as_the_ledger_says_it(catalogue: Catalogue) -> None:
    with playing(catalogue) as player:
        ran = sync_at(player, after(12))
    (said,) = [line for line in ran.lines if line.startswith("Performing")]
    assert said.startswith("Performing incremental sync (last sync: 12.0h ago)")
    assert ran.choice == ("incremental", "recent")


def test_the_window_covers_the_time_since_the_last_good_sync(catalogue: Catalogue) -> None:
    with playing(catalogue) as player:
        ran = sync_at(player, after(72))
    assert ran.choice == ("incremental", "recent")
    (cut,) = [line for line in ran.lines if line.startswith("Filtering models modified after ")]
    edge = datetime.fromisoformat(cut.removeprefix("Filtering models modified after "))
    assert after(72) - edge >= timedelta(hours=73), "an hour more than has passed"
    (widened,) = [line for line in ran.lines if line.startswith("Window widened from 48h to ")]
    assert "the last successful sync was 72.0h ago" in widened


def test_the_age_of_the_last_full_sync_counts_not_that_of_the_last_sync(catalogue: Catalogue) -> None:
    with playing(catalogue) as player:
        between = sync_at(player, after(144))
        assert between.choice == ("incremental", "recent")
        ran = sync_at(player, after(169))
        assert_chosen(
            ran,
            "full",
            "threshold",
            "Performing full sync: last full sync 169.0h ago (threshold 168h)",
            f"Full sync: processing all {MODELS} models",
        )
        assert sync_at(player, after(192)).choice == ("incremental", "recent")


def test_at_the_threshold_itself_a_sync_is_still_incremental(catalogue: Catalogue) -> None:
    with playing(catalogue) as player:
        assert sync_at(player, after(168)).choice == ("incremental", "recent")


def test_the_threshold_is_that_of_the_variable(catalogue: Catalogue) -> None:
    with playing(catalogue, FULL_SYNC_THRESHOLD_HOURS="23") as player:
        assert sync_at(player, after(24)).choice == ("full", "threshold")


def test_after_a_failure_the_next_sync_is_full(catalogue: Catalogue) -> None:
    with playing(catalogue) as player:
        catalogue.hub.faults[:] = [Fault("status", status=503, count=None)]
        try:
            failed = sync_at(player, after(24))
        finally:
            catalogue.hub.faults.clear()
        assert not failed.success
        assert failed.record is not None
        assert (failed.record.state, failed.record.published) == ("failed", False)
        assert catalogue.last_sync_file["success"] is False
        ran = sync_at(player, after(25))
    (said,) = [line for line in ran.lines if line.startswith("Performing")]
    assert said.startswith("Performing full sync: the last sync failed (")
    assert_chosen(ran, "full", "last_failed", said, f"Full sync: processing all {MODELS} models")
    assert catalogue.last_sync_file["success"] is True


CHOICES = [
    # environment, options in the Launchpad, mode, reason
    ({"SYNC_MODE": "full"}, {}, "full", "explicit"),
    ({"SYNC_MODE": "auto"}, {}, "incremental", "recent"),
    ({"SYNC_MODE": "incremental"}, {}, "incremental", "explicit"),
    ({"FORCE_FULL_SYNC": "true"}, {}, "full", "forced"),
    ({"FORCE_FULL_SYNC": "YES"}, {"mode": "incremental"}, "full", "forced"),
    ({}, {"force": True}, "full", "forced"),
    ({}, {"force": True, "mode": "incremental"}, "full", "forced"),
    ({}, {"mode": "full"}, "full", "explicit"),
    ({}, {"mode": "incremental"}, "incremental", "explicit"),
    ({"SYNC_MODE": "full"}, {"mode": "incremental"}, "incremental", "explicit"),
    ({"SYNC_MODE": "incremental"}, {"mode": "full"}, "full", "explicit"),
    ({"SYNC_MODE": "full"}, {"mode": "auto"}, "full", "explicit"),
]


@pytest.mark.parametrize(("environ", "options", "mode", "reason"), CHOICES)
def test_launchpad_and_environment_choose(
    catalogue: Catalogue, environ: dict[str, str], options: dict[str, Any], mode: str, reason: str
) -> None:
    with playing(catalogue, **environ) as player:
        ran = sync_at(player, after(24), **options)
    said = {
        ("full", "explicit"): "Performing full sync: asked for",
        ("incremental", "explicit"): "Performing incremental sync (last sync: 24.0h ago): asked for",
        ("incremental", "recent"): f"Performing incremental sync (last sync: 24.0h ago): built on {FIRST}",
        ("full", "forced"): "Performing full sync: "
        + (
            "force was given for this run" if options.get("force") else "sync_behavior.force_full_sync is set"
        ),
    }
    assert_chosen(ran, mode, reason, said[mode, reason])


def test_an_explicit_incremental_holds_although_a_full_sync_is_due(catalogue: Catalogue) -> None:
    with playing(catalogue) as player:
        assert sync_at(player, after(169), mode="incremental").choice == ("incremental", "explicit")


def test_the_full_job_is_full_on_a_published_day_too(catalogue: Catalogue) -> None:
    with playing(catalogue) as player:
        assert sync_at(player, after(24)).choice == ("incremental", "recent")
        ran = sync_at(player, after(25), "full_sync")
    assert_chosen(ran, "full", "explicit", "Performing full sync: asked for")
    assert ran.listing["capture_run"] == 2, "it walked again"


SIZES = {100: [110, 90, 109, 91], 101: [111, 91]}
"""Models of the first day, and of the days after it."""


@pytest.fixture(scope="module", params=SIZES)
def counted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, Catalogue]]:
    """A catalogue of so many models, and the Hub whose number of models changes from then on."""
    before = request.param
    sizes = [before, *SIZES[before]]
    days = {day: modified(day, size) for day, size in zip(DAYS, sizes, strict=False)}
    with hub_of(days, day=FIRST, tick=0) as hub:
        catalogue = Catalogue(tmp_path_factory.mktemp("counted"), hub)
        assert catalogue.sync("--details", "none").code == 0
        yield before, catalogue


def test_a_tenth_more_or_fewer_models_turns_the_run_full_and_less_does_not(
    counted: tuple[int, Catalogue], tmp_path: Path
) -> None:
    before, first = counted
    for number, now in enumerate(SIZES[before], start=1):
        catalogue = first.copy(tmp_path / str(now))
        with playing(catalogue) as player:
            ran = sync_at(player, after(24 * number), details="none")
        hours = max(48, 24 * number + 1)  # the window covers the time since the last sync
        (line,) = [line for line in ran.lines if line.startswith("Incremental sync: ")]
        inside = sum(age <= hours for age in AGES) + 1
        assert line.startswith(f"Incremental sync: {inside}/{now} models within {hours}")
        opening = f"Performing incremental sync (last sync: {24 * number}.0h ago): built on {FIRST}"
        if abs(now - before) * 10 >= before:
            share = f"{abs(now - before) * 100 / before:.1f}"
            assert share == "10.0"
            assert_chosen(
                ran,
                "full",
                "significant_change",
                opening,
                line,
                f"Significant change detected: {share}% change in model count ({before} → {now})",
                "Switching to full sync due to significant changes",
                f"Full sync: processing all {now} models",
            )
            assert ran.listing["capture_run"] == 2, "the full walk replaces the census of the same run"
        else:
            assert_chosen(ran, "incremental", "recent", opening, line)
            assert not [line for line in ran.lines if "Significant" in line or "Switching" in line]


@pytest.mark.parametrize("counted", [100], indirect=True)
def test_under_an_explicit_incremental_a_significant_change_only_warns(
    counted: tuple[int, Catalogue], tmp_path: Path
) -> None:
    _, first = counted
    with playing(first.copy(tmp_path)) as player:
        ran = sync_at(player, after(24), details="none", mode="incremental")
    assert_chosen(
        ran,
        "incremental",
        "explicit",
        "Significant change detected: 10.0% change in model count (100 → 110)",
    )
    assert "Switching to full sync due to significant changes" not in ran.lines
