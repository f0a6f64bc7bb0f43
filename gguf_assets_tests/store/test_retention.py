"""What is too old goes, by the Hub's clock; what a sync may still use never does."""

from __future__ import annotations

import errno
import os
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.store.layout import Layout
from gguf_assets.store.retention import Removal, expire, hub_day
from gguf_assets.store.store import Store
from gguf_assets_tests.calling import digests
from gguf_assets_tests.store.histories import MONDAY, capture_day, publish_history
from gguf_assets_tests.store.processes import outcomes_of_dying

COUNT = 10
FAR = datetime(2035, 1, 1, tzinfo=UTC)
LONG = {"capture_days": 36_500, "candidate_days": 3650}


def day(number: int) -> date:
    return MONDAY + timedelta(days=number)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("history")
    publish_history(Layout(folder / "data", folder / "state"), COUNT)
    return folder


@pytest.fixture
def store(history: Path, tmp_path: Path) -> Store:
    """Ten days from a Monday on, each with a capture and a candidate."""
    shutil.copytree(history, tmp_path, dirs_exist_ok=True)
    return Store(Layout(tmp_path / "data", tmp_path / "state"))


def candidates_of(store: Store) -> list[date]:
    return [one for one in map(day, range(-5, COUNT + 5)) if store.layout.candidate_manifest(one).exists()]


def removed(store: Store, now_day: date, **days: int) -> list[Removal]:
    return list(expire(store, now_day, **{**LONG, **days}))


# Captures


def test_captures_beyond_their_age_go_and_their_days_stay_published(store: Store) -> None:
    published = digests(store.layout.published)
    done = removed(store, day(COUNT), capture_days=4)
    assert [(one.kind, one.day, one.name) for one in done] == [
        ("capture", day(n), f"captures/date={day(n)}/run=01") for n in range(6)
    ]
    assert all(one.bytes > 0 for one in done)
    assert store.captures.days() == [day(n) for n in range(6, COUNT)]
    assert not list(store.layout.captures.glob(f"*{day(0)}*"))
    assert digests(store.layout.published) == published
    for one in store.published.days():
        store.published.verify(one)
    assert removed(store, day(COUNT), capture_days=4) == []


def test_what_the_newest_day_was_built_on_and_all_that_came_later_is_kept_at_any_age(store: Store) -> None:
    second = capture_day(store.layout, day(COUNT - 1), complete=False)  # walked again, not finished
    later = capture_day(store.layout, day(COUNT), complete=False)
    removed(store, day(5000), capture_days=1)
    assert store.captures.days() == [day(COUNT - 2), day(COUNT - 1), day(COUNT)]
    assert store.captures.runs(day(COUNT - 1)) == [1, second]
    assert store.captures.runs(day(COUNT)) == [later]


def test_the_newest_complete_capture_stays_also_where_the_days_after_it_were_published_without(
    store: Store,
) -> None:
    for number in range(3, COUNT):
        shutil.rmtree(store.layout.captures_of(day(number)))
    capture_day(store.layout, day(3), complete=False)
    removed(store, day(5000), capture_days=1)
    assert store.captures.days() == [day(2)]


def test_superseded_and_unfinished_captures_of_old_days_go_as_well(store: Store) -> None:
    for _ in range(2):
        capture_day(store.layout, day(1))
    capture_day(store.layout, day(2), complete=False)
    store.layout.run_dir(day(0), 2).mkdir()  # its process died before the manifest was written
    done = removed(store, day(COUNT), capture_days=COUNT - 4)
    assert sorted(one.name for one in done if one.kind == "capture") == sorted(
        f"captures/date={day(number)}/run=0{run}"
        for number, run in ((0, 1), (1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (3, 1))
    )
    assert [one.name for one in done if one.kind == "leftover"] == [f"captures/date={day(0)}/run=02"]
    assert store.captures.days()[0] == day(4)


def test_without_a_published_day_every_capture_may_still_be_needed(tmp_path: Path) -> None:
    store = Store(Layout(tmp_path / "data", tmp_path / "state"))
    for number in range(3):
        capture_day(store.layout, day(number))
    assert removed(store, day(5000), capture_days=1) == []
    assert removed(Store(Layout(tmp_path / "no", tmp_path / "state")), day(0), capture_days=1) == []


def test_a_capture_whose_manifest_is_damaged_goes_when_it_is_old_and_stops_nothing(store: Store) -> None:
    store.layout.capture_manifest(day(0), 1).write_text("{")
    store.layout.capture_manifest(day(COUNT - 1), 1).write_text("{")
    assert [one.day for one in removed(store, day(COUNT), capture_days=9)] == [day(0)]
    assert hub_day(store, FAR) == day(COUNT - 1)


def test_spools_of_captures_that_are_gone_are_removed_and_others_are_not(store: Store) -> None:
    spools = [store.layout.details_spool(day(n), 1) for n in (0, COUNT - 1)]
    orphan = store.layout.absences_spool(day(-30), 1)
    other = store.layout.spool_dir / "of-somebody-else.jsonl"
    for path in (*spools, orphan, other):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}\n")
    removed(store, day(COUNT), capture_days=9)
    assert [path.exists() for path in (*spools, orphan, other)] == [False, True, False, True]


# Candidates


def test_candidates_of_published_days_beyond_their_age_go_and_never_the_newest(store: Store) -> None:
    shutil.copytree(
        store.layout.candidate_file("models", day(0)).parent,
        store.layout.candidate_file("models", day(-1)).parent,
    )
    store.layout.candidate_manifest(day(-1)).write_bytes(store.layout.candidate_manifest(day(0)).read_bytes())
    published = digests(store.layout.published)
    done = removed(store, day(COUNT), candidate_days=3)
    assert [(one.kind, one.day) for one in done] == [("candidate", day(n)) for n in range(7)]
    # The day before the first one was never published: what was refused may be looked at.
    assert candidates_of(store) == [day(n) for n in (-1, 7, 8, 9)]
    assert not list(store.layout.candidate.glob(f"*/date={day(0)}*"))
    assert removed(store, day(5000), candidate_days=1)
    assert candidates_of(store) == [day(-1), day(9)]
    assert digests(store.layout.published) == published


def test_bytes_count_only_where_the_disk_gets_them_back(store: Store) -> None:
    published = store.layout.published_file("models", day(0))
    candidate = store.layout.candidate_file("models", day(0))
    everything = sum(
        path.stat().st_size
        for path in store.layout.candidate.rglob("*")
        if f"{day(0)}" in str(path) and path.is_file()
    )
    candidate.unlink()
    os.link(published, candidate)
    done = removed(store, day(COUNT), candidate_days=COUNT - 1)
    assert [one.day for one in done] == [day(0)]
    assert done[0].bytes == everything - published.stat().st_size


# The clock


def test_a_machine_clock_in_2035_removes_nothing(store: Store) -> None:
    before = digests(store.layout.data)
    now_day = hub_day(store, FAR)
    assert now_day == day(COUNT - 1)
    assert list(expire(store, now_day, capture_days=180, candidate_days=30)) == []
    assert digests(store.layout.data) == before


def test_a_machine_clock_in_the_past_removes_nothing_either(store: Store) -> None:
    now_day = hub_day(store, datetime(2001, 1, 1, tzinfo=UTC))
    assert now_day == date(2001, 1, 1)
    assert list(expire(store, now_day, capture_days=1, candidate_days=1)) == []


def test_an_empty_store_has_no_day(tmp_path: Path) -> None:
    assert hub_day(Store(Layout(tmp_path, tmp_path)), FAR) is None


# Interrupted


def test_a_dry_run_removes_nothing_and_names_what_a_run_removes(store: Store) -> None:
    before = digests(store.layout.data)
    days = {"capture_days": 4, "candidate_days": 2}
    announced = list(expire(store, day(COUNT), **days, dry_run=True))
    assert digests(store.layout.data) == before
    assert announced == list(expire(store, day(COUNT), **days))
    assert {one.kind for one in announced} == {"capture", "candidate"}


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_no_half_capture_and_the_next_run_completes(tmp_path: Path) -> None:
    store = Store(Layout(tmp_path / "data", tmp_path / "state"))
    publish_history(store.layout, 3)
    spare = tmp_path / "spare"
    store.layout.data.rename(spare)
    whole = digests(spare)

    def prepare() -> None:
        shutil.rmtree(store.layout.data, ignore_errors=True)
        shutil.copytree(spare, store.layout.data)

    def work() -> None:
        assert list(expire(store, day(90), capture_days=30, candidate_days=7))

    moments = 0
    for moment in outcomes_of_dying(work, prepare):
        moments += 1
        for one in store.captures.days():  # what is seen is whole
            capture = store.captures.open(one, 1)
            assert [len(content) for _, content in capture.iter_pages()] == [2], moment
        for one in candidates_of(store):
            for name, info in store.candidates.manifest(one).files.items():
                assert store.layout.candidate_file(name, one).stat().st_size == info.bytes, moment
        list(expire(store, day(90), capture_days=30, candidate_days=7))
        left = digests(store.layout.data)
        gone = whole.keys() - left.keys()
        assert {name: whole[name] for name in left} == left, moment
        expected = (f"captures/date={day(0)}/", f"date={day(0)}", f"date={day(1)}")
        assert gone == {
            name
            for name in whole
            if name.startswith(expected[0])
            or (name.startswith("candidate/") and any(e in name for e in expected[1:]))
        }, moment
        assert not list(store.layout.data.rglob(".*")), moment
    assert moments > 20


def test_a_disk_that_refuses_is_told_and_what_went_before_is_known(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, done = os.rename, []

    def refusing(source: object, target: object, **rest: object) -> None:
        if f"{day(2)}" in str(source):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(source))
        real(source, target, **rest)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "rename", refusing)
    with pytest.raises(PermanentError, match="Read-only file system") as error:
        done.extend(expire(store, day(COUNT), **{**LONG, "capture_days": 4}))
    assert error.value.category == ErrorCategory.STORAGE
    assert [one.day for one in done] == [day(0), day(1)]
    assert store.captures.days() == [day(n) for n in range(2, COUNT)]
