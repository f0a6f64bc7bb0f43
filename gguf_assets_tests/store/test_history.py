import os
from datetime import UTC, date, datetime, timedelta

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.store.history import DIED, SyncHistory, SyncMetadata
from gguf_assets.store.layout import Layout
from gguf_assets_tests.store.processes import outcomes_of_dying

DAY = date(2025, 8, 10)
NOON = datetime(2025, 8, 10, 12, tzinfo=UTC)


def test_a_sync_is_told_from_its_start_and_its_end(layout):
    history = SyncHistory(layout)
    history.started("s1", DAY, NOON, mode="incremental", reason="default", run_id="r1", capture_run=1)
    later = NOON + timedelta(minutes=5)
    history.finished("s1", published=True, hub_time=later, mode="full", figures={"models": 793})
    (sync,) = history.syncs()
    assert (sync.day, sync.hub_time, sync.finished_at) == (DAY, NOON, later)
    assert (sync.state, sync.published, sync.mode, sync.reason) == ("finished", True, "full", "default")
    assert (sync.run_id, sync.capture_run, sync.figures) == ("r1", 1, {"models": 793})
    assert sync.error_message is None


def test_a_start_without_an_end_is_a_failed_sync_unless_it_runs_now(layout):
    history = SyncHistory(layout)
    history.started("dead", DAY, NOON)
    history.started("running", DAY, NOON)
    dead, running = history.syncs(running="running")
    assert (dead.state, dead.error_message, dead.category) == ("failed", DIED, "system")
    assert (running.state, running.error_message) == ("running", None)


def test_an_unreachable_hub_is_a_failed_sync_without_a_time(layout):
    history = SyncHistory(layout)
    history.started("s1", None, None)
    history.failed("s1", "The Hub cannot be reached", ErrorCategory.NETWORK)
    (sync,) = history.syncs()
    assert (sync.state, sync.day, sync.hub_time, sync.category) == ("failed", None, None, "network")


def test_a_line_that_is_no_record_counts_for_nothing_and_is_told(layout):
    history = SyncHistory(layout)
    history.started("s1", DAY, NOON)
    with layout.history_file.open("ab") as file:
        file.write(b'{"event":"started","sync_id":"s2","day":"someday"}\n[]\n\n{"event":"finished","sync_')
    history.finished("s1", published=True, hub_time=NOON)
    assert [(sync.sync_id, sync.state) for sync in history.syncs()] == [("s1", "finished")]
    assert history.damaged_lines() == [2, 3, 5]


def test_a_second_start_adds_what_is_known_since(layout):
    history = SyncHistory(layout)
    history.started("s1", None, NOON, run_id="r1")
    history.started("s1", DAY, NOON + timedelta(hours=1), mode="full", reason="first_run")
    (sync,) = history.syncs()
    assert (sync.day, sync.hub_time, sync.mode, sync.run_id) == (DAY, NOON, "full", "r1")


def test_syncs_are_listed_oldest_first(layout):
    history = SyncHistory(layout)
    for name in ("b", "a", "c"):
        history.started(name, DAY, NOON)
    history.finished("b", published=False)
    assert [sync.sync_id for sync in history.syncs()] == ["b", "a", "c"]


def test_an_empty_store_has_no_history(layout):
    assert SyncHistory(layout).syncs() == []
    assert SyncHistory(layout).last_sync() is None


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_a_torn_line_costs_that_event_and_no_other(tmp_path_factory, data):
    layout = Layout(tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("state"))
    history = SyncHistory(layout)
    history.started("first", DAY, NOON)
    whole = layout.history_file.stat().st_size
    history.started("torn", DAY, NOON)
    os.truncate(layout.history_file, data.draw(st.integers(whole, layout.history_file.stat().st_size - 2)))
    history.started("third", DAY, NOON)
    assert [sync.sync_id for sync in history.syncs()] == ["first", "third"]


def test_killed_anywhere_the_history_keeps_what_it_had_and_takes_more(layout):
    history = SyncHistory(layout)

    def start_again():
        layout.history_file.unlink(missing_ok=True)
        history.started("first", DAY, NOON)

    for where in outcomes_of_dying(lambda: history.started("second", DAY, NOON), start_again):
        history.started("third", DAY, NOON)
        names = [sync.sync_id for sync in history.syncs()]
        assert names in (["first", "third"], ["first", "second", "third"]), where


def test_every_line_of_the_history_is_one_json_object(layout):
    history = SyncHistory(layout)
    history.started("s1", DAY, NOON)
    history.failed("s1", "two\nlines", ErrorCategory.DATA)
    lines = layout.history_file.read_bytes().splitlines()
    assert [orjson.loads(line)["event"] for line in lines] == ["started", "failed"]


def test_last_sync_metadata_has_the_nine_fields_and_comes_back(layout):
    metadata = SyncMetadata(last_sync_time=NOON.isoformat(), sync_mode="full", total_models_processed=793)
    history = SyncHistory(layout)
    history.write_last_sync(metadata)
    assert history.last_sync() == metadata
    assert orjson.loads((layout.data / "last_sync_metadata.json").read_bytes()) == {
        "last_sync_time": "2025-08-10T12:00:00+00:00",
        "sync_mode": "full",
        "total_models_processed": 793,
        "models_added": 0,
        "models_updated": 0,
        "models_removed": 0,
        "sync_duration": 0.0,
        "success": True,
        "error_message": None,
    }


def test_last_sync_metadata_of_another_version_is_read_as_far_as_known(layout):
    layout.data.mkdir()
    layout.last_sync_file.write_bytes(b'{"sync_mode": "full", "new_field": 1}')
    assert SyncHistory(layout).last_sync() == SyncMetadata(last_sync_time=None, sync_mode="full")


def test_a_full_disk_keeps_the_history_whole(layout, monkeypatch):
    history = SyncHistory(layout)
    history.started("s1", DAY, NOON)
    before = layout.history_file.read_bytes()
    write = os.write

    def half(descriptor, data):
        monkeypatch.setattr(os, "write", full)
        return write(descriptor, bytes(data)[:10])

    def full(descriptor, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(PermanentError, match="No space left"):
        history.started("s2", DAY, NOON)
    assert layout.history_file.read_bytes() == before
