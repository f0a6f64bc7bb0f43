import errno
import hashlib
import os
import shutil

import orjson
import pyarrow.parquet as pq
import pytest

from gguf_assets.atomic import write_json
from gguf_assets.catalogue.schema import DATASETS
from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.store.candidates import Candidates
from gguf_assets.store.datasets import matches
from gguf_assets.store.layout import Layout
from gguf_assets.store.manifests import Verdict
from gguf_assets.store.publish import Published, publish, recover
from gguf_assets_tests.store.days import DAY, NEXT, candidate
from gguf_assets_tests.store.processes import contents, outcomes_of_dying

OLD = {"a": "o/a"}
NEW = {"a": "o/a", "b": "o/b"}


def visible(layout):
    """What a reader that globs sees: model names by folder."""
    return {
        path.parent.name: pq.ParquetFile(path).read()["model_id"].to_pylist()
        for path in sorted(layout.published.glob("models/date=*/part-0.parquet"))
    }


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def assert_at_rest(layout):
    """No leftovers, every file as its manifest says, and `latest.json` right."""
    names = contents(layout.published)
    assert not [name for name in names if "/." in name or name.startswith(".") or name == "journal.json"]
    published = Published(layout)
    for day in published.days():
        published.verify(day)
    latest = orjson.loads(layout.latest.read_bytes())
    assert latest["date"] == str(published.latest_day())
    manifest = (layout.published / latest["manifest"]).read_bytes()
    assert latest["sha256"] == hashlib.sha256(manifest).hexdigest()


def test_a_candidate_becomes_what_readers_see(layout):
    outcome = publish(layout, candidate(layout, DAY, OLD))
    assert not outcome.unchanged
    assert visible(layout) == {"date=2025-08-10": ["o/a"]}
    manifest = Published(layout).manifest(DAY)
    assert manifest == outcome.manifest
    assert set(manifest.files) == set(DATASETS)
    assert (manifest.rows["models"], manifest.rows["files"]) == (1, 0)
    assert (manifest.mode, manifest.reason, manifest.baseline) == ("full", "first_run", None)
    assert_at_rest(layout)


def test_published_is_a_file_of_its_own_name_not_of_the_candidates(layout):
    publish(layout, candidate(layout, DAY, OLD))
    candidate(layout, DAY, NEW, verdict=None)
    assert visible(layout) == {"date=2025-08-10": ["o/a"]}
    shutil.rmtree(layout.candidate)
    Published(layout).verify(DAY)


def test_publishing_the_same_again_touches_nothing_and_says_so(layout):
    publish(layout, candidate(layout, DAY, OLD))
    publish(layout, candidate(layout, NEXT, NEW))
    for day, names in ((DAY, OLD), (NEXT, NEW)):
        again = candidate(layout, day, names)
        before = times(layout.published)
        assert publish(layout, again).unchanged
        assert times(layout.published) == before


def test_only_what_changed_is_replaced(layout):
    publish(layout, candidate(layout, DAY, OLD))
    before = layout.published_file("files", DAY).stat().st_mtime_ns
    assert not publish(layout, candidate(layout, DAY, NEW)).unchanged
    assert visible(layout) == {"date=2025-08-10": ["o/a", "o/b"]}
    assert layout.published_file("files", DAY).stat().st_mtime_ns == before
    assert_at_rest(layout)


def test_a_damaged_published_file_is_mended(layout):
    publish(layout, candidate(layout, DAY, OLD))
    layout.published_file("models", DAY).unlink()
    layout.published_file("models", DAY).write_bytes(b"damaged")
    assert not publish(layout, candidate(layout, DAY, OLD)).unchanged
    assert_at_rest(layout)


def test_a_lost_latest_is_written_again(layout):
    publish(layout, candidate(layout, DAY, OLD))
    layout.latest.unlink()
    assert not publish(layout, candidate(layout, DAY, OLD)).unchanged
    assert_at_rest(layout)


def test_an_earlier_day_does_not_become_the_latest(layout):
    publish(layout, candidate(layout, NEXT, NEW))
    publish(layout, candidate(layout, DAY, OLD))
    assert orjson.loads(layout.latest.read_bytes())["date"] == str(NEXT)
    published = Published(layout)
    assert published.days() == [DAY, NEXT]
    assert published.latest_day() == NEXT
    assert published.latest_before(DAY) is None
    assert published.latest_before(NEXT).day == DAY


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.unlink(), "the file is missing"),
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), "its size or SHA-256"),
    ],
)
def test_a_candidate_file_that_is_not_the_recorded_one_is_refused(layout, spoil, says):
    publish(layout, candidate(layout, DAY, OLD))
    new = candidate(layout, DAY, NEW)
    spoil(layout.candidate_file("health", DAY))
    before = contents(layout.published)
    with pytest.raises(PermanentError, match=says):
        publish(layout, new)
    assert contents(layout.published) == before


def test_a_baseline_that_changed_since_is_refused(layout):
    publish(layout, candidate(layout, DAY, OLD))
    waiting = candidate(layout, NEXT, NEW)
    publish(layout, candidate(layout, DAY, NEW))
    before = contents(layout.published)
    with pytest.raises(PermanentError, match="its baseline has changed since") as caught:
        publish(layout, waiting)
    assert f"gguf-assets rederive --from {NEXT} --to {NEXT}" in caught.value.remedy
    assert contents(layout.published) == before


def test_a_baseline_that_came_or_went_since_is_refused(layout, tmp_path):
    waiting = candidate(layout, NEXT, NEW)
    publish(layout, candidate(layout, DAY, OLD))
    with pytest.raises(PermanentError, match=f"compared with no earlier day, the latest before it is {DAY}"):
        publish(layout, waiting)
    based = candidate(layout, NEXT, NEW)
    shutil.rmtree(layout.published)
    with pytest.raises(PermanentError, match="there is none any more"):
        publish(layout, based)


def test_another_parquet_writer_with_the_same_rows_leaves_the_baseline_the_same(layout):
    first = publish(layout, candidate(layout, DAY, OLD)).manifest
    content = orjson.loads(layout.published_manifest(DAY).read_bytes())
    content["writer"] = "pyarrow 99"
    content["files"]["models"]["sha256"] = "0" * 64
    write_json(layout.published_manifest(DAY), content)
    assert Published(layout).manifest(DAY).as_baseline() == first.as_baseline()


@pytest.mark.parametrize(
    ("verdict", "says"),
    [
        (None, "it has not been judged"),
        (Verdict(publishable=False, reasons=("completeness 0.5 < 0.95",)), "completeness 0.5 < 0.95"),
    ],
)
def test_without_a_verdict_that_allows_it_nothing_is_published(layout, verdict, says):
    with pytest.raises(PermanentError, match=says) as caught:
        publish(layout, candidate(layout, DAY, OLD, verdict=verdict))
    assert caught.value.category is ErrorCategory.DATA
    assert caught.value.remedy
    assert Published(layout).days() == []


FAILED = Verdict(publishable=False, reasons=("completeness 0.5 < 0.95",), waivable=True)


def test_what_the_verdict_refuses_is_published_only_by_whoever_waives_it_and_says_so(layout):
    publish(layout, candidate(layout, DAY, OLD))
    refused = candidate(layout, DAY, NEW, verdict=FAILED)
    with pytest.raises(PermanentError, match=r"completeness 0\.5 < 0\.95"):
        publish(layout, refused)
    assert visible(layout) == {"date=2025-08-10": ["o/a"]}
    outcome = publish(layout, refused, despite_verdict=True)
    assert visible(layout) == {"date=2025-08-10": ["o/a", "o/b"]}
    assert outcome.manifest == Published(layout).manifest(DAY)
    assert outcome.manifest.failed == ("completeness 0.5 < 0.95",)
    assert_at_rest(layout)
    good = publish(layout, candidate(layout, DAY, NEW), despite_verdict=True)
    assert not good.unchanged, "its manifest no longer says that it failed"
    assert good.manifest.failed == ()


@pytest.mark.parametrize(
    "verdict",
    [None, Verdict(publishable=False, reasons=("the listing is empty",)), Verdict(False, ("time was up",))],
)
def test_what_cannot_be_waived_is_not_published_whoever_asks(layout, verdict):
    with pytest.raises(PermanentError, match="was not published"):
        publish(layout, candidate(layout, DAY, OLD, verdict=verdict), despite_verdict=True)
    assert Published(layout).days() == []


def test_a_candidate_judged_before_verdicts_could_be_waived_cannot_be(layout):
    refused = candidate(layout, DAY, OLD, verdict=FAILED)
    content = orjson.loads(layout.candidate_manifest(DAY).read_bytes())
    del content["verdict"]["waivable"]
    write_json(layout.candidate_manifest(DAY), content)
    assert refused.verdict.waivable
    with pytest.raises(PermanentError, match="was not published"):
        publish(layout, Candidates(layout).manifest(DAY), despite_verdict=True)


def test_what_changed_after_it_was_judged_is_not_published(layout):
    candidate(layout, DAY, OLD)
    with Candidates(layout).writer("health", DAY) as writer:
        row = {"snapshot_date": DAY, "hub_id": "a", "model_id": "o/a", "score": 1.0}
        writer.write(DATASETS["health"].empty().from_pylist([row], schema=DATASETS["health"].arrow))
    changed = Candidates(layout).record(DAY, {"health": writer.info})
    with pytest.raises(PermanentError, match="health changed after having been judged"):
        publish(layout, changed)


def test_a_candidate_without_all_datasets_is_not_published(layout):
    complete = candidate(layout, DAY, OLD)
    partial = type(complete)(**{**vars(complete), "files": {"models": complete.files["models"]}})
    with pytest.raises(
        PermanentError, match="files, changes, file_changes, health, issues, tombstones not written"
    ):
        publish(layout, partial)


def test_where_there_are_no_hard_links_files_are_copied(layout, monkeypatch):
    def refuse(source, target):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", refuse)
    publish(layout, candidate(layout, DAY, OLD))
    assert layout.published_file("models", DAY).stat().st_nlink == 1
    assert_at_rest(layout)


def test_a_full_disk_leaves_the_published_day_and_no_leftovers(layout, monkeypatch):
    publish(layout, candidate(layout, DAY, OLD))
    new = candidate(layout, DAY, NEW)
    before = contents(layout.published)

    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(shutil, "copyfile", refuse)
    with pytest.raises(PermanentError, match="No space left on device") as caught:
        publish(layout, new)
    assert caught.value.category is ErrorCategory.STORAGE
    assert contents(layout.published) == before


@pytest.fixture
def two_states(layout, tmp_path):
    """DAY is published as OLD, a judged candidate with NEW waits; and how to come back to that."""
    publish(layout, candidate(layout, DAY, OLD))
    new = candidate(layout, DAY, NEW)
    start = tmp_path / "start"
    shutil.copytree(layout.data, start)

    def start_again():
        shutil.rmtree(layout.data)
        shutil.copytree(start, layout.data)

    return new, start_again


@pytest.mark.slow
def test_killed_at_any_call_the_day_is_the_old_one_or_the_new_one(layout, two_states):
    new, start_again = two_states
    old = Published(layout).manifest(DAY)
    seen = set()
    for where in outcomes_of_dying(lambda: publish(layout, new), start_again):
        assert visible(layout)["date=2025-08-10"] in (["o/a"], ["o/a", "o/b"]), where
        for dataset in DATASETS:
            path = layout.published_file(dataset, DAY)
            assert matches(path, old.files[dataset]) or matches(path, new.files[dataset]), where
        interrupted = layout.journal.exists()
        assert recover(layout) == (DAY if interrupted else None), where
        assert_at_rest(layout)
        names = visible(layout)["date=2025-08-10"]
        assert Published(layout).manifest(DAY).files == (old.files if names == ["o/a"] else new.files), where
        assert not interrupted or names == ["o/a", "o/b"], where
        seen.add((interrupted, len(names)))
        before = contents(layout.published)
        assert recover(layout) is None
        assert contents(layout.published) == before, where
        assert publish(layout, new).unchanged == (names == ["o/a", "o/b"]), where
    assert seen == {(False, 1), (True, 2), (False, 2)}


@pytest.mark.slow
def test_a_first_publishing_killed_at_any_call_is_nothing_or_all(layout, tmp_path):
    new = candidate(layout, DAY, NEW)

    def start_again():
        shutil.rmtree(layout.published, ignore_errors=True)

    for where in outcomes_of_dying(lambda: publish(layout, new), start_again):
        assert visible(layout) in ({}, {"date=2025-08-10": ["o/a", "o/b"]}), where
        recover(layout)
        assert Published(layout).days() in ([], [DAY]), where
        assert bool(visible(layout)) == bool(Published(layout).days()), where
        if visible(layout):
            assert_at_rest(layout)
        else:
            assert contents(layout.published) == {}, where


@pytest.mark.slow
def test_a_recovery_may_be_killed_at_any_call_as_well(layout, two_states, tmp_path):
    new, start_again = two_states
    deaths = outcomes_of_dying(lambda: publish(layout, new), start_again)
    next(where for where in deaths if layout.journal.exists())
    deaths.close()
    interrupted = tmp_path / "interrupted"
    shutil.copytree(layout.data, interrupted)

    def interrupt_again():
        shutil.rmtree(layout.data)
        shutil.copytree(interrupted, layout.data)

    for where in outcomes_of_dying(lambda: recover(layout), interrupt_again):
        recover(layout)
        assert visible(layout) == {"date=2025-08-10": ["o/a", "o/b"]}, where
        assert_at_rest(layout)


def test_an_interrupted_publishing_is_completed_before_the_next_one(layout, two_states):
    new, start_again = two_states
    deaths = outcomes_of_dying(lambda: publish(layout, new), start_again)
    next(where for where in deaths if layout.journal.exists())
    deaths.close()
    third = candidate(layout, NEXT, OLD, verdict=Verdict(publishable=True))
    with pytest.raises(PermanentError, match="its baseline has changed since"):
        publish(layout, third)  # its baseline was the state before the interrupted publishing
    assert_at_rest(layout)
    publish(layout, candidate(layout, NEXT, OLD))
    assert visible(layout) == {"date=2025-08-10": ["o/a", "o/b"], "date=2025-08-11": ["o/a"]}


def test_a_journal_whose_staged_files_are_gone_is_named_with_what_to_do(layout, two_states):
    new, start_again = two_states
    deaths = outcomes_of_dying(lambda: publish(layout, new), start_again)
    next(where for where in deaths if layout.journal.exists())
    deaths.close()
    for staged in layout.published.rglob(".*.staged"):
        staged.unlink()
    with pytest.raises(PermanentError, match="staged copy is gone") as caught:
        recover(layout)
    assert str(layout.journal) in caught.value.remedy


def test_nothing_published_is_nothing_to_recover(tmp_path):
    layout = Layout(tmp_path / "nowhere", tmp_path / "state")
    assert recover(layout) is None
    assert not layout.data.exists()
