import hashlib
import os
import shutil
from dataclasses import replace
from datetime import timedelta

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.store import capture as capture_module
from gguf_assets.store.captures import Captures
from gguf_assets.store.layout import Layout
from gguf_assets_tests.store.days import DAY, NEXT, NOON, PLAN, finished_capture
from gguf_assets_tests.store.processes import contents, outcomes_of_dying

PAGES = [b'[{"_id": "1"}]', b'[ {"_id":"2"} ]\n', '[{"_id": "ü"}]'.encode()]
ANSWERS = [
    {"hub_id": f"{n:024x}", "model_id": f"owner/name-{n}", "sha": f"{n:040x}", "status": 200, "requests": 1}
    for n in range(7)
]


def go_on(capture, kill_after=None):
    """Do what walk and details do, from where the capture stands; stop after so many stored things."""
    done = 0
    for number in range(capture.pages_stored, len(PAGES)):
        if done == kill_after:
            return
        link = f"/api/models?cursor={number + 1}" if number + 1 < len(PAGES) else None
        date = NOON + timedelta(seconds=number)
        requests = number + 1 - go_on.first_page
        capture.store_page(PAGES[number], rows=1, next_link=link, date=date, requests=requests)
        done += 1
    capture.finish_listing()
    for number, answer in enumerate(ANSWERS):
        if capture.has_answer(answer["hub_id"], answer["sha"]):
            continue
        if done == kill_after:
            return
        capture.store_answer(**answer, info=info_of(number), tree=tree_of(number))
        done += 1
    capture.finish_details()


go_on.first_page = 0


def info_of(number):
    return None if number == 3 else f'{{\n "n": {number}, "text": "\\u2028 ü \\"" }}'.encode()


def tree_of(number):
    return (b"[\r\n]", b'[{"path":"a b"}]') if number == 2 else ()


def resume(layout, run=1):
    capture = Captures(layout).open(DAY, run)
    go_on.first_page = capture.pages_stored
    return capture


def stored(capture):
    return list(capture.iter_pages()), list(capture.iter_answers())


@pytest.fixture(autouse=True)
def two_answers_a_file(monkeypatch):
    monkeypatch.setattr(capture_module, "ANSWERS_PER_FILE", 2)
    go_on.first_page = 0


def test_everything_comes_back_byte_for_byte_in_stored_order(layout):
    capture = Captures(layout).begin(DAY, PLAN)
    go_on(capture)
    for opened in (capture, Captures(layout).open(DAY, 1)):
        assert [content for _, content in opened.iter_pages()] == PAGES
        assert [name for name, _ in opened.iter_pages()] == [f"listing-0000{n}.json.zst" for n in (1, 2, 3)]
        answers = list(opened.iter_answers())
        assert [answer.hub_id for answer in answers] == [answer["hub_id"] for answer in ANSWERS]
        assert [answer.info for answer in answers] == [info_of(n) for n in range(7)]
        assert [answer.tree for answer in answers] == [tree_of(n) for n in range(7)]
        assert opened.complete
        assert opened.plan == PLAN
        assert (opened.requests, opened.detail_requests, opened.details_files, opened.rows) == (3, 7, 4, 3)
        assert (opened.observed_at, opened.last_hub_date) == (NOON, NOON + timedelta(seconds=2))
    assert [answer.hub_id for answer in capture.iter_answers(files=1)] == [a["hub_id"] for a in ANSWERS[:2]]


@given(kills=st.lists(st.integers(0, 10), max_size=4))
@settings(max_examples=25, deadline=None)
def test_stopped_and_resumed_anywhere_a_capture_is_the_same(tmp_path_factory, kills):
    whole = Layout(tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("state"))
    broken = Layout(tmp_path_factory.mktemp("broken"), tmp_path_factory.mktemp("state"))
    go_on.first_page = 0
    go_on(Captures(whole).begin(DAY, PLAN))
    go_on(Captures(broken).begin(DAY, PLAN), kill_after=kills[0] if kills else 0)
    for kill in kills[1:]:
        go_on(resume(broken), kill_after=kill)
    go_on(resume(broken))
    assert contents(whole.data) == contents(broken.data)
    assert contents(broken.state) == {}


@given(
    steps=st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=5),
    last=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_a_capture_may_hold_compressed_and_plain_files(tmp_path_factory, steps, last):
    folders = tmp_path_factory.mktemp("mixed"), tmp_path_factory.mktemp("state")
    packed, plain = Layout(*folders), Layout(*folders, compress_captures=False)
    go_on.first_page = 0
    Captures(packed).begin(DAY, PLAN)
    for kill, compressed in steps:
        go_on(resume(packed if compressed else plain), kill_after=kill)
    ended = packed if last else plain
    go_on(resume(ended))
    for layout in (packed, plain):
        pages, answers = stored(Captures(layout).open(DAY, 1))
        assert [content for _, content in pages] == PAGES
        assert [answer.info for answer in answers] == [info_of(n) for n in range(len(ANSWERS))]
        assert [answer.tree for answer in answers] == [tree_of(n) for n in range(len(ANSWERS))]
    manifest = orjson.loads(packed.capture_manifest(DAY, 1).read_bytes())
    entries = {entry["name"]: entry["sha256"] for entry in (*manifest["pages"], *manifest["details"])}
    files = {path.name: path.read_bytes() for path in packed.run_dir(DAY, 1).iterdir()}
    assert files.keys() - {"manifest.json"} == entries.keys()
    assert len({name.partition(".")[0] for name in entries}) == len(entries) == 3 + 4
    for name, sha256 in entries.items():
        assert hashlib.sha256(files[name]).hexdigest() == sha256
        if name.startswith("listing-") and name.endswith(".json"):
            assert files[name] in PAGES
        else:
            assert name.endswith(".jsonl") or files[name].startswith(b"\x28\xb5\x2f\xfd"), "zstd begins so"
    assert {name.endswith(".zst") for name in entries} <= {step[1] for step in steps} | {last}


@pytest.mark.slow
def test_killed_at_any_call_a_capture_goes_on_and_loses_at_most_what_was_in_flight(layout, tmp_path):
    go_on(Captures(layout).begin(DAY, PLAN))
    expected = stored(Captures(layout).open(DAY, 1))
    dying = Layout(tmp_path / "dying", tmp_path / "dying-state")

    def prepare():
        go_on.first_page = 0
        shutil.rmtree(dying.data, ignore_errors=True)
        Captures(dying).begin(DAY, PLAN)

    def work():
        go_on(Captures(dying).latest(DAY))

    for where in outcomes_of_dying(work, prepare):
        capture = resume(dying)
        fetched = capture.pages_stored
        go_on(capture)
        assert stored(Captures(dying).latest(DAY)) == expected, where
        assert capture.requests == len(PAGES), f"{where}, after {fetched} pages"
        assert capture.detail_requests == len(ANSWERS), where
        assert not [name for name in contents(dying.data) if name.endswith(".tmp")], where
        assert contents(dying.state) == {}, where


def test_an_answer_is_safe_as_soon_as_it_is_stored(layout):
    capture = Captures(layout).begin(DAY, PLAN)
    go_on(capture, kill_after=4)
    assert capture.details_files == 0
    assert resume(layout).has_answer(ANSWERS[0]["hub_id"], ANSWERS[0]["sha"])
    assert not resume(layout).has_answer(ANSWERS[0]["hub_id"], ANSWERS[1]["sha"])


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_torn_answer_is_asked_for_again(layout, cut):
    go_on(Captures(layout).begin(DAY, PLAN), kill_after=5)
    spool = layout.details_spool(DAY, 1)
    os.truncate(spool, spool.stat().st_size - cut)
    capture = resume(layout)
    assert capture.has_answer(ANSWERS[0]["hub_id"], ANSWERS[0]["sha"])
    assert not capture.has_answer(ANSWERS[1]["hub_id"], ANSWERS[1]["sha"])
    go_on(capture)
    assert [answer.hub_id for answer in capture.iter_answers()] == [answer["hub_id"] for answer in ANSWERS]


def test_the_same_answer_twice_is_stored_once(layout):
    capture = Captures(layout).begin(DAY, PLAN)
    go_on(capture, kill_after=3)
    for _ in range(5):
        capture.store_answer(**ANSWERS[0], info=None, tree=())
    capture.finish_details()
    assert len(list(capture.iter_answers())) == 1


def test_the_spool_of_another_capture_is_not_taken_for_ones_own(layout, tmp_path):
    go_on(Captures(layout).begin(DAY, PLAN), kill_after=4)
    fresh = Layout(tmp_path / "fresh", layout.state)
    capture = Captures(fresh).begin(DAY, PLAN)
    capture.store_page(b"[other]", rows=0, next_link=None, date=NOON, requests=1)
    capture.finish_listing()
    assert not capture.has_answer(ANSWERS[0]["hub_id"], ANSWERS[0]["sha"])
    capture.store_answer(**ANSWERS[1], info=None, tree=())
    capture.finish_details()
    assert [answer.hub_id for answer in capture.iter_answers()] == [ANSWERS[1]["hub_id"]]


def test_runs_of_a_day_are_counted_and_the_last_complete_one_is_found(layout):
    store = Captures(layout)
    assert (store.days(), store.runs(DAY), store.latest(DAY), store.latest_complete(DAY)) == (
        [],
        [],
        None,
        None,
    )
    first = finished_capture(layout)
    store.begin(DAY, PLAN)
    finished_capture(layout, NEXT)
    assert store.days() == [DAY, NEXT]
    assert store.runs(DAY) == [1, 2]
    assert store.latest(DAY).run == 2
    assert store.latest_complete(DAY).run == first.run == 1


def test_a_capture_that_died_before_its_manifest_is_none_but_keeps_its_number(layout):
    layout.run_dir(DAY, 1).mkdir(parents=True)
    assert Captures(layout).runs(DAY) == []
    assert Captures(layout).begin(DAY, PLAN).run == 2


def test_a_complete_capture_takes_nothing_more_unless_opened_for_appending(layout):
    finished_capture(layout)
    capture = Captures(layout).open(DAY, 1)
    before = contents(layout.data)
    with pytest.raises(PermanentError, match="its listing has ended"):
        capture.store_page(b"[]", rows=0, next_link=None, date=NOON, requests=1)
    with pytest.raises(PermanentError, match="its details have ended"):
        capture.store_answer(**ANSWERS[0], info=None, tree=())
    capture.finish_listing()
    capture.finish_details()
    assert contents(layout.data) == before


def test_appended_details_come_after_those_that_were_there(layout):
    capture = Captures(layout).begin(DAY, PLAN)
    go_on(capture)
    used, answers = capture.details_files, list(capture.iter_answers())
    appending = Captures(layout).open(DAY, 1, append=True)
    assert appending.has_answer(ANSWERS[0]["hub_id"], ANSWERS[0]["sha"])
    appending.store_answer(
        hub_id="new", model_id="o/new", sha="s", status=404, info=None, tree=(), requests=1
    )
    del appending  # killed: what was appended is in the spool, the capture is as complete as before
    assert Captures(layout).open(DAY, 1).complete
    again = Captures(layout).open(DAY, 1, append=True)
    assert again.has_answer("new", "s")
    again.finish_details(stopped="budget", failed=2, requests=6)
    opened = Captures(layout).open(DAY, 1)
    assert list(opened.iter_answers(files=used)) == answers
    assert [answer.hub_id for answer in opened.iter_answers()][len(answers) :] == ["new"]
    assert (opened.complete, opened.details_stopped, opened.details_failed) == (True, "budget", 2)
    assert opened.detail_requests == 7 + 1 + 6


def test_requests_of_failed_repositories_are_counted(layout):
    capture = Captures(layout).begin(DAY, PLAN)
    go_on(capture, kill_after=5)
    capture.finish_details(stopped="deadline", failed=1, requests=2 + 6)
    assert Captures(layout).open(DAY, 1).detail_requests == 8


def test_a_listing_is_not_finished_before_its_last_page(layout):
    capture = Captures(layout).begin(DAY, PLAN)
    with pytest.raises(PermanentError, match="has not ended after 0 pages"):
        capture.finish_listing()
    capture.store_page(b"[]", rows=0, next_link="/next", date=NOON, requests=1)
    with pytest.raises(PermanentError, match="has not ended after 1 pages") as caught:
        capture.finish_listing()
    assert f"gguf-assets sync --date {DAY}" in caught.value.remedy
    with pytest.raises(PermanentError, match="its listing goes on"):
        capture.store_answer(**ANSWERS[0], info=None, tree=())
    with pytest.raises(PermanentError, match="its listing goes on"):
        capture.finish_details()


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("name", ["listing-00002.json", "details-00001.jsonl"])
@pytest.mark.parametrize("damage", ["changed", "cut", "gone"])
def test_a_damaged_file_is_named_with_what_to_do(layout, name, damage, compressed):
    layout = replace(layout, compress_captures=compressed)
    name += ".zst" if compressed else ""
    capture = Captures(layout).begin(DAY, PLAN)
    go_on(capture)
    path = layout.run_dir(DAY, 1) / name
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:-1] if damage == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(PermanentError, match=rf"{name} is damaged") as caught:
        stored(capture)
    assert caught.value.category is ErrorCategory.DATA
    assert "gguf-assets sync --refetch" in caught.value.remedy


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"format": 99}'])
def test_a_damaged_manifest_is_named(layout, content):
    finished_capture(layout)
    layout.capture_manifest(DAY, 1).write_bytes(content)
    with pytest.raises(PermanentError, match=r"manifest\.json is damaged"):
        Captures(layout).latest(DAY)


def test_a_capture_that_is_not_there_is_named(layout):
    with pytest.raises(PermanentError, match=f"{DAY} has no capture 7"):
        Captures(layout).open(DAY, 7)


def test_the_manifest_can_be_read_by_other_programs(layout):
    finished_capture(layout)
    manifest = orjson.loads(layout.capture_manifest(DAY, 1).read_bytes())
    assert manifest["day"] == "2025-08-10"
    assert manifest["plan"]["endpoint"] == PLAN.endpoint
    assert manifest["pages"][0]["date"] == "2025-08-10T12:00:00+00:00"
    assert (manifest["next_link"], manifest["listing_complete"]) == (None, True)
