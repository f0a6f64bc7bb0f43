"""How fresh the catalogue is: by the history alone, and as `freshness.json` holds it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gguf_assets.errors import ErrorCategory
from gguf_assets.masking import register_secret
from gguf_assets.store.freshness import Freshness, FreshnessState, freshness_of
from gguf_assets.store.history import DIED, SyncHistory, SyncRecord
from gguf_assets.store.layout import Layout

DAY = date(2025, 8, 10)
HALF_PAST_TWO = datetime(2025, 8, 10, 2, 30, tzinfo=UTC)
State = FreshnessState


def done(day: date, at: datetime, *, published: bool = True) -> SyncRecord:
    return SyncRecord(
        f"ok-{day}", day, at, "full", "first", None, 1, state="finished", finished_at=at, published=published
    )


def failed(category: str = "network", message: str = "no route") -> SyncRecord:
    return SyncRecord(
        "bad", None, None, None, None, None, None, state="failed", category=category, error_message=message
    )


def of(*syncs: SyncRecord, latest: date | None = DAY) -> Freshness:
    return freshness_of(syncs, latest, stale_hours=26, failed_hours=50)


def after(**span: float) -> datetime:
    return HALF_PAST_TWO + timedelta(**span)


@pytest.mark.parametrize(
    ("hours", "state", "since"),
    [
        (0, State.FRESH, None),
        (25.99, State.FRESH, None),
        (26, State.STALE, after(hours=26)),
        (49.99, State.STALE, after(hours=26)),
        (50, State.FAILED, after(hours=26)),
        (5000, State.FAILED, after(hours=26)),
        (-5, State.FRESH, None),
    ],
)
def test_the_state_turns_at_the_hours(hours, state, since):
    known = of(done(DAY, HALF_PAST_TWO))
    assert known.state(after(hours=hours)) is state
    assert known.stale_since(after(hours=hours)) == since
    assert (known.remedy(after(hours=hours)) is None) == (state is State.FRESH)


def test_an_empty_catalogue_is_neither_fresh_nor_stale():
    known = of(failed(), latest=None)
    assert known.state(after(hours=99)) is State.EMPTY
    assert known.stale_since(after(hours=99)) is None
    assert known.sentence(HALF_PAST_TWO) == (
        "nothing is published yet; the last sync failed (network): no route"
    )


def test_only_syncs_that_published_count_and_a_failed_one_after_them_is_named():
    known = of(done(DAY, HALF_PAST_TWO), done(DAY, after(hours=9), published=False), failed())
    assert known.last_success == HALF_PAST_TWO
    assert known.last_failure is not None and known.last_failure.category == "network"
    assert known.sentence(after(hours=27)) == (
        "2025-08-10, last success 27.0 h ago, stale since 2025-08-11 04:30 UTC; the last sync failed "
        "(network): no route"
    )
    assert of(failed(), done(DAY, HALF_PAST_TWO)).last_failure is None, "a success is after it"


def test_a_sync_under_way_changes_nothing():
    running = SyncRecord("now", DAY + timedelta(days=1), after(hours=24), None, None, None, None)
    assert of(done(DAY, HALF_PAST_TWO), running) == of(done(DAY, HALF_PAST_TWO))
    assert of(failed(), running, latest=None).last_failure is not None


def test_a_sync_that_mends_an_old_day_makes_nothing_fresh():
    late = of(done(DAY, HALF_PAST_TWO), done(DAY - timedelta(days=3), after(days=4)))
    end_of_day = datetime(2025, 8, 11, tzinfo=UTC)
    assert late.stale_after == end_of_day + timedelta(hours=26)
    assert late.state(after(days=4)) is State.FAILED


def test_published_days_without_a_history_count_by_their_day():
    restored = of()
    assert restored.last_success is None
    assert restored.stale_after == datetime(2025, 8, 12, 2, tzinfo=UTC)
    assert "no success on record" in restored.sentence(HALF_PAST_TWO)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 2000)), max_size=8),
    st.integers(1, 100),
    st.integers(1, 100),
    st.lists(st.integers(-100, 4000), min_size=2, max_size=2),
)
def test_time_alone_never_makes_it_fresher_and_a_failure_never_does(ends, stale, more, hours):
    syncs = [done(DAY, after(hours=hour)) if ok else failed() for ok, hour in ends]
    known = freshness_of(syncs, DAY, stale_hours=stale, failed_hours=stale + more)
    order = list(State)
    earlier, later = (order.index(known.state(after(hours=hour))) for hour in sorted(hours))
    assert earlier <= later
    with_failure = freshness_of([*syncs, failed()], DAY, stale_hours=stale, failed_hours=stale + more)
    assert (with_failure.stale_after, with_failure.failed_after) == (known.stale_after, known.failed_after)


class TestTheFile:
    """`data/freshness.json`, written by whoever ends a sync."""

    def content(self, layout: Layout) -> dict:
        return orjson.loads(layout.freshness_file.read_bytes())

    def publish(self, layout: Layout, day: date) -> None:
        layout.published_manifest(day).parent.mkdir(parents=True, exist_ok=True)
        layout.published_manifest(day).write_text("{}")

    def test_a_success_a_failure_and_a_sync_that_died(self, layout):
        history = SyncHistory(layout)
        history.started("one", DAY, HALF_PAST_TWO)
        assert not layout.freshness_file.exists(), "a sync under way says nothing"
        self.publish(layout, DAY)
        history.finished("one", published=True, hub_time=HALF_PAST_TWO)
        told = self.content(layout)
        assert told == {
            "latest_day": "2025-08-10",
            "last_success": "2025-08-10T02:30:00+00:00",
            "stale_after": "2025-08-11T04:30:00+00:00",
            "failed_after": "2025-08-12T04:30:00+00:00",
            "stale_since": None,
            "state": "fresh",
            "state_at": "2025-08-10T02:30:00+00:00",
            "reason": None,
            "last_failure": None,
        }
        history.started("two", None, None)
        register_secret("planted-s3cret")
        message = "no answer to planted-s3cret"
        history.failed("two", message, ErrorCategory.NETWORK, hub_time=HALF_PAST_TWO + timedelta(days=1.5))
        told = self.content(layout)
        assert (told["state"], told["stale_since"]) == ("stale", "2025-08-11T04:30:00+00:00")
        assert told["reason"] == "last sync failed (network): no answer to ***"
        assert told["last_failure"] == {
            "day": None, "category": "network", "message": "no answer to ***"
        }  # fmt: skip
        assert told["last_success"] == "2025-08-10T02:30:00+00:00"
        history.started("three", DAY, HALF_PAST_TWO)
        history.end_dead(alive=())
        assert self.content(layout)["reason"] == f"last sync failed (system): {DIED}"

    def test_the_hours_are_those_of_the_layout(self, tmp_path):
        layout = Layout(tmp_path, tmp_path, stale_hours=1, failed_hours=2)
        self.publish(layout, DAY)
        history = SyncHistory(layout)
        history.started("one", DAY, HALF_PAST_TWO)
        history.finished("one", published=True, hub_time=HALF_PAST_TWO)
        told = self.content(layout)
        assert told["stale_after"] == "2025-08-10T03:30:00+00:00"
        assert told["failed_after"] == "2025-08-10T04:30:00+00:00"

    def test_a_file_that_cannot_be_written_fails_no_sync(self, layout, caplog):
        history = SyncHistory(layout)
        history.started("one", DAY, HALF_PAST_TWO)
        layout.freshness_file.mkdir()
        history.finished("one", published=True, hub_time=HALF_PAST_TWO)
        assert history.syncs()[0].state == "finished"
        assert "How fresh the catalogue is could not be noted" in caplog.text
