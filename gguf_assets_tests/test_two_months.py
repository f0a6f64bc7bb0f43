"""Two months with schedule and sensors: every mode is explained, no event of the Hub is lost, none invented.

What is expected is computed here and in `simulation` from the Hub and the past outcomes alone.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from itertools import pairwise

import pytest

from gguf_assets_tests.simulation import (
    AFTERNOON,
    LOOKS,
    SCENARIO,
    SCHEDULE,
    SENSORS,
    Account,
    Story,
    Sync,
    accounts,
    live_two_months,
)

pytestmark = pytest.mark.slow

THRESHOLD = timedelta(hours=168)
"""Age of the last full sync above which the next one is full (ledger SYNC-03)."""


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return live_two_months(tmp_path_factory.mktemp("two-months"))


@pytest.fixture(scope="module")
def told(story: Story) -> list[Account]:
    return accounts(story)


def day_of(story: Story, number: int) -> list[Sync]:
    """The syncs of a day of the simulation."""
    return [sync for sync in story.syncs if sync.day == story.days[number]]


def recorded_choice(sync: Sync) -> tuple[str | None, str | None]:
    """The mode and the reason that the history tells."""
    assert sync.record is not None
    return sync.record.mode, sync.record.reason


def expected_choices(story: Story) -> list[tuple[Sync, tuple[str, str]]]:
    """What each sync has to choose by the rules of DESIGN §5, from how the syncs before it ended."""
    choices: list[tuple[Sync, tuple[str, str]]] = []
    succeeded, last_full = True, None
    published: dict[date, int] = {}
    chosen: dict[date, tuple[str, str]] = {}
    begun: dict[date, tuple[str, str]] = {}
    for sync in story.syncs:
        if sync.success and not sync.requests:
            # What is stored was used again: nothing was chosen, and no failure was made good.
            choices.append((sync, chosen[sync.day]))
            continue
        before = [published[day] for day in sorted(published) if day < sync.day]
        if sync.full_asked:
            choice = ("full", "explicit")
        elif sync.day in begun:
            # Going on with a walk that broke off is the same sync (rule 6).
            choice = begun[sync.day]
        elif not before:
            choice = ("full", "first_run")
        elif not succeeded:
            choice = ("full", "last_failed")
        elif last_full is None or sync.moment - last_full > THRESHOLD:
            choice = ("full", "threshold")
        elif not sync.trouble and abs(sync.listed - before[-1]) * 10 >= before[-1]:
            choice = ("full", "significant_change")
        else:
            choice = ("incremental", "recent")
        choices.append((sync, choice))
        succeeded = not sync.trouble
        if sync.trouble == "breaking":
            begun[sync.day] = choice
        if succeeded:
            published[sync.day], chosen[sync.day] = sync.listed, choice
            last_full = sync.moment if choice[0] == "full" else last_full
    return choices


def test_every_published_day_says_exactly_what_changed_since_the_one_before(story: Story) -> None:
    published = [sync for sync in story.syncs if sync.recorded is not None]
    assert {sync.day for sync in published} == set(story.published)
    for sync in published:
        assert sync.recorded == sync.due, sync.moment
        assert sync.baseline == sync.due_baseline
    assert story.published == {day: sync.due for day, sync in story.last_published().items()}


def test_no_event_of_the_hub_is_lost_and_none_is_invented(story: Story, told: list[Account]) -> None:
    assert [account.lost for account in told if account.lost] == []
    assert [(account.day, account.invented) for account in told if account.invented] == []
    entries = [(entry.happened, entry.event) for account in told for entry in account.events]
    assert entries == story.log
    assert len(entries) > 1500
    assert {event.change for _, event in entries} == {
        *("added", "updated", "removed", "renamed", "recreated", "restored"),
        *("gated", "ungated", "disabled", "enabled"),
    }


def test_an_event_is_superseded_only_while_nobody_looked(story: Story, told: list[Account]) -> None:
    """Within a day a model has one event, so nothing can hide where the last look was a day ago."""
    looks = [sync.moment for _, sync in sorted(story.last_published().items())]
    superseded = {True: 0, False: 0}
    for (before, look), account in zip(pairwise(looks), told[1:], strict=True):
        after_a_gap = look.date() - before.date() > timedelta(days=1) or before.time() < look.time()
        superseded[after_a_gap] += sum(entry.by is not None for entry in account.events)
    assert superseded[False] == 0
    assert superseded[True] > 5


def test_every_sync_has_the_mode_and_the_reason_that_the_past_demands(story: Story) -> None:
    for sync, choice in expected_choices(story):
        # While the Hub's clock is out of reach nothing can be decided.
        undecided = sync.trouble in ("refusing", "stopped")
        assert recorded_choice(sync) == ((None, None) if undecided else choice), (sync.moment, sync.cause)
    assert {recorded_choice(sync) for sync in story.syncs if sync.success} == {
        ("incremental", "recent"),
        *(
            ("full", why)
            for why in ("first_run", "last_failed", "threshold", "significant_change", "explicit")
        ),
    }


def test_the_history_holds_these_syncs_and_no_others(story: Story) -> None:
    assert story.history == [sync.record for sync in story.syncs]
    for sync in story.syncs:
        assert sync.record is not None
        assert sync.day == sync.moment.date()
        if sync.success:
            assert (sync.record.state, sync.record.published) == ("finished", True)
            assert sync.record.figures["requests"] == sync.requests
            assert sync.record.hub_time == sync.moment or not sync.requests


def test_a_tick_that_was_missed_asks_for_nothing_and_says_why(story: Story) -> None:
    off = SCENARIO.off
    back = [day for number, day in enumerate(story.days) if number - 1 in off and number not in off]
    skipped = [(moment, why) for moment, name, why in story.skipped if name == SCHEDULE]
    assert [(moment.date(), moment.time()) for moment, _ in skipped] == [(day, time(0, 10)) for day in back]
    for moment, why in skipped:
        assert f"{moment.date() - timedelta(days=1)} is over" in why


def test_a_day_on_which_the_hub_fails_is_recorded_as_failed(story: Story) -> None:
    troubled = [sync for sync in story.syncs if sync.trouble]
    assert {sync.trouble for sync in troubled} == {"refusing", "breaking", "stopped"}
    assert [sync for sync in story.syncs if not sync.success] == troubled
    for sync in troubled:
        assert sync.record is not None
        assert (sync.record.state, sync.record.published) == ("failed", False)
        assert sync.record.category == ("network" if sync.trouble == "stopped" else "api")
        assert ("answered 503" in str(sync.record.error_message)) == (sync.trouble != "stopped")


def test_a_full_sync_was_due_on_one_of_the_failed_days(story: Story) -> None:
    fulls = [sync.moment for sync, (mode, _) in expected_choices(story) if mode == "full" and sync.success]
    due = [
        number
        for number in sorted(SCENARIO.refusing)
        if (last := day_of(story, number)[-1].moment) - max(m for m in fulls if m < last) > THRESHOLD
    ]
    assert due[0] == 13


def test_after_a_failure_the_next_sync_is_full(story: Story) -> None:
    looks = [sync for sync in story.syncs if sync.requests or not sync.success]
    recovered = [after for before, after in pairwise(looks) if not before.success and after.success]
    assert [sync.day for sync in recovered] == [story.days[n] for n in (6, 14, 25, 34, 36, 47)]
    assert {recorded_choice(sync) for sync in recovered} == {("full", "last_failed")}


def test_the_jump_turns_an_incremental_sync_into_a_full_one(story: Story) -> None:
    first = day_of(story, SCENARIO.jump)[0]
    before = day_of(story, SCENARIO.jump - 1)[-1]
    assert first.listed == round(1.12 * before.listed)
    changed = ("full", "significant_change")
    assert [sync for sync in story.syncs if recorded_choice(sync) == changed] == [first]


def test_days_without_a_sync_are_gaps_and_the_next_day_builds_on_the_day_before_them(story: Story) -> None:
    failed = SCENARIO.refusing | SCENARIO.breaking | SCENARIO.stopped
    present = [day for number, day in enumerate(story.days) if number not in SCENARIO.off | failed]
    assert sorted(story.published) == present
    last = story.last_published()
    assert last[present[0]].baseline is None
    for before, day in pairwise(present):
        assert last[day].baseline == before
    assert story.days[39] in present
    assert last[story.days[47]].baseline == story.days[39]


def test_the_last_look_at_a_day_is_the_one_that_is_published(story: Story) -> None:
    for number in SCENARIO.twice:
        looks = [sync for sync in day_of(story, number) if sync.success and sync.requests]
        assert looks[0].moment.time() < AFTERNOON <= looks[-1].moment.time()
        assert story.published[story.days[number]] == looks[-1].due != looks[0].due


def test_a_full_sync_that_is_due_is_done_the_same_day_and_asked_for_once(story: Story) -> None:
    asked = [moment.date() for moment, sensor, _ in story.requested if sensor == SENSORS[0]]
    assert asked
    assert len(asked) == len(set(asked))
    fulls = [sync.moment for sync in story.syncs if sync.success and recorded_choice(sync)[0] == "full"]
    for day in story.published:
        evening = datetime.combine(day, LOOKS[-1], story.syncs[0].moment.tzinfo)
        assert evening - max(moment for moment in fulls if moment <= evening) <= THRESHOLD
