"""Answers asked for again and beginnings of files: kept apart from what a day is made of, and never lost."""

from __future__ import annotations

import json
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_assets.errors import PermanentError
from gguf_assets.store import capture as capture_module
from gguf_assets.store.capture import Capture
from gguf_assets.store.captures import Captures
from gguf_assets.store.layout import Layout
from gguf_assets_tests.store.days import DAY, NOON, PLAN, finished_capture
from gguf_assets_tests.store.processes import contents, outcomes_of_dying

HEAD = b"GGUF\x03\0\0\0\xff\n" * 20
DETAILS, AGAIN, HEADS = 3, 3, 3


@pytest.fixture(autouse=True)
def two_answers_a_file(monkeypatch):
    monkeypatch.setattr(capture_module, "ANSWERS_PER_FILE", 2)


def answer(number: int) -> dict:
    status = 404 if number % 3 == 0 else 200
    return {
        "hub_id": f"{number:024x}",
        "model_id": f"o/{number}",
        "sha": f"{number:040x}",
        "status": status,
        "info": b'{"x": "\\u2028"}' if status == 200 else None,
        "tree": (),
        "requests": 1,
    }


def head(number: int) -> dict:
    """The second file is gated."""
    return {
        "hub_id": f"{number:024x}",
        "model_id": f"o/{number}",
        "sha": f"{number:040x}",
        "path": f"ü/{number}.gguf",
        "status": 403 if number == 2 else 206,
        "content": None if number == 2 else HEAD,
        "file_bytes": None if number == 2 else 10**9,
        "requests": 2,
    }


def begun(layout: Layout) -> Capture:
    capture = Captures(layout).begin(DAY, PLAN)
    capture.store_page(b"[]", rows=0, next_link=None, date=NOON, requests=1)
    capture.finish_listing()
    return capture


def go_on(layout: Layout, budget: int = 10**6) -> None:
    """Do what is left of details, asking again and reading, or so many steps of it."""
    capture = Captures(layout).latest(DAY)
    assert capture is not None
    if capture.details_complete:
        return
    spent = 0
    for number in range(1, DETAILS + 1):
        if not capture.has_answer(answer(number)["hub_id"], answer(number)["sha"]):
            if not budget:
                return
            budget -= 1
            capture.store_answer(**answer(number))
            spent += 1
    sink = capture.open_verification("a", "b")
    for number in range(11, 11 + AGAIN):
        if not sink.has_answer(answer(number)["hub_id"], answer(number)["sha"]):
            if not budget:
                return
            budget -= 1
            sink.store_answer(**answer(number))
            spent += 1
    for number in range(1, HEADS + 1):
        if not sink.has_head(head(number)["hub_id"], head(number)["sha"], head(number)["path"]):
            if not budget:
                return
            budget -= 1
            sink.store_head(**head(number))
    sink.finish(last=f"{13:024x}", heads_last=None, failed=1, stopped="done")
    capture.finish_details(requests=spent + 5)


def assert_whole(layout: Layout) -> None:
    """Assert that the capture holds everything once."""
    capture = Captures(layout).latest(DAY)
    assert capture is not None and capture.complete
    told = [{key: getattr(a, key) for key in answer(1)} for a in capture.iter_answers()]
    assert told == [answer(number) for number in range(1, DETAILS + 1)]
    again = [{key: getattr(a, key) for key in answer(1)} for a in capture.iter_verifying()]
    assert again == [answer(number) for number in range(11, 11 + AGAIN)]
    entry = capture.verification
    assert entry is not None
    assert (entry.after, entry.last, entry.heads_after) == ("a", f"{13:024x}", "b")
    assert (entry.answered, entry.refused, entry.requests) == (2, 1, AGAIN)
    assert (entry.failed, entry.stopped) == (1, "done")
    assert entry.heads_last == head(HEADS)["hub_id"]
    kept = [(h.path, h.status, h.file_bytes, content) for h, content in capture.iter_heads()]
    expected = [head(number) for number in range(1, HEADS + 1)]
    assert kept == [(h["path"], h["status"], h["file_bytes"], h["content"]) for h in expected]
    assert capture.detail_requests == DETAILS + AGAIN + 2 * HEADS + 5
    assert capture.verification_requests == AGAIN


def test_all_come_back_byte_for_byte_and_apart(layout):
    begun(layout)
    go_on(layout)
    assert_whole(layout)


@given(kills=st.lists(st.integers(0, 9), max_size=4))
@settings(max_examples=25)
def test_stopped_and_resumed_anywhere_nothing_is_lost_or_counted_twice(tmp_path_factory, kills):
    layout = Layout(tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("state"))
    begun(layout)
    for kill in kills:
        go_on(layout, kill)
    go_on(layout)
    assert_whole(layout)


@pytest.mark.slow
def test_killed_at_any_call_it_goes_on(tmp_path):
    dying = Layout(tmp_path / "data", tmp_path / "state")

    def prepare():
        for folder in (dying.data, dying.state):
            shutil.rmtree(folder, ignore_errors=True)
        begun(dying)

    deaths = 0
    for _ in outcomes_of_dying(lambda: go_on(dying), prepare):
        deaths += 1
        go_on(dying)
        assert_whole(dying)
    assert deaths > 20


def test_the_turn_that_an_earlier_run_began_with_stays(layout):
    capture = begun(layout)
    capture.open_verification("a", None)
    again = Captures(layout).latest(DAY).open_verification("z", "z")
    assert (again.entry.after, again.entry.last, again.entry.heads_after) == ("a", "a", None)


def test_an_older_capture_has_no_verification_and_loads(layout):
    finished_capture(layout)
    path = layout.capture_manifest(DAY, 1)
    document = json.loads(path.read_bytes())
    del document["verification"]
    path.write_text(json.dumps(document))
    capture = Captures(layout).open(DAY, 1)
    assert capture.verification is None
    assert (list(capture.iter_heads()), list(capture.iter_verifying())) == ([], [])
    assert (capture.detail_requests, capture.verification_requests) == (0, 0)


def test_answers_stored_before_there_was_a_mark_are_details(layout):
    capture = begun(layout)
    capture.store_answer(**answer(1))
    spool = next(layout.spool_dir.iterdir())
    assert b'"verifies":false' in spool.read_bytes()
    spool.write_bytes(spool.read_bytes().replace(b',"verifies":false', b""))
    again = Captures(layout).latest(DAY)
    again.finish_details()
    assert [a.model_id for a in again.iter_answers()] == ["o/1"]


def test_a_damaged_beginning_is_told_and_nothing_is_added_at_the_end(layout):
    begun(layout)
    go_on(layout)
    file = next(path for path in contents(layout.data) if "head-00001" in str(path))
    (layout.data / file).write_bytes(b"GGUF")
    capture = Captures(layout).latest(DAY)
    with pytest.raises(PermanentError, match="SHA-256"):
        list(capture.iter_heads())
    with pytest.raises(PermanentError, match="its details have ended"):
        capture.open_verification(None, None)
