"""A sync that dies, or whose disk refuses, at any change of its files: no half day, and the next ends well.

One boundary of each family is taken; with GGUF_ASSETS_ALL_BOUNDARIES=1 every one of the sync, which takes
minutes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from errno import EACCES, EIO, ENOSPC, EROFS

import pytest

from gguf_assets_tests.boundaries import SECOND, Stage, chosen, stage
from gguf_assets_tests.dying import Death, Order, Refusal
from gguf_assets_tests.running import Ended
from gguf_assets_tests.watching import CHANGES

pytestmark = pytest.mark.slow

COVERED = (
    "replace data/captures/date=D/run=N/listing-N.json.zst",
    "replace data/captures/date=D/run=N/details-N.jsonl.zst",
    "replace data/captures/date=D/run=N/absences-N.jsonl.zst",
    "replace data/captures/date=D/run=N/manifest.json",
    "open data/spool/details-D-run=N.jsonl",
    "unlink data/spool/details-D-run=N.jsonl",
    "open data/spool/absences-D-run=N.jsonl",
    "open data/candidate/*/date=D/part-N.parquet",
    "replace data/candidate/*/date=D/part-N.parquet",
    "replace data/candidate/manifest/date=D.json",
    "link data/published/*/date=D/part-N.parquet.staged",
    "replace data/published/*/date=D/part-N.parquet",
    "replace data/published/journal.json",
    "unlink data/published/journal.json",
    "replace data/published/manifest/date=D.json",
    "replace data/published/latest.json",
    "replace data/published/latest/models.json.gz",
    "open data/history/syncs.jsonl",
    "replace data/last_sync_metadata.json",
    "replace data/freshness.json",
    "replace data/reports/date=D/report.md",
)
"""Kinds of changes that there have to be, at least."""


@pytest.fixture(scope="module")
def play() -> Iterator[Stage]:
    with stage() as made:
        yield made


def told(ended: Ended) -> None:
    """A run that failed says so in words, with a next step."""
    assert ended.code == 1, ended
    assert "Traceback" not in ended.stdout + ended.stderr
    assert "nexpected" not in ended.stderr, ended
    lines = ended.stderr.strip().splitlines()
    assert any(line.startswith("Error: ") for line in lines[:-1]), ended


def test_the_boundaries_cover_everything_that_a_sync_writes(play: Stage) -> None:
    seen = {f"{boundary.kind} {boundary.family}" for boundary in play.boundaries}
    assert seen >= set(COVERED), (set(COVERED) - seen, sorted(seen))
    assert len(play.boundaries) > 100
    parts = {boundary.path.split("/")[1] for boundary in play.boundaries}
    assert {"captures", "candidate", "published", "history", "reports", "spool", "locks", "backups"} <= parts


def test_a_sync_killed_at_any_boundary_leaves_whole_files_and_is_completed_by_the_next(play: Stage) -> None:
    every = chosen(play.boundaries)
    for place, boundary in enumerate(every):
        for after in (False, True) if len(every) == len(play.boundaries) else (place % 2 == 0,):
            death = Death(boundary.path, boundary.nth, after)
            with play.catalogue() as catalogue, named(death):
                died = play.sync(catalogue, death=death)
                assert died.code == -9, died
                play.assert_readers_see_whole_files(catalogue)
                play.assert_completes(catalogue)


@pytest.mark.parametrize("errno", [ENOSPC, EIO], ids=["full", "broken"])
def test_a_disk_that_refuses_at_any_boundary_is_named_and_the_next_sync_completes(
    play: Stage, errno: int
) -> None:
    every = [one for one in chosen(play.boundaries) if errno == ENOSPC or "published" in one.path]
    # Without the wish for all, every other one: whoever is killed at each of them is tried above.
    for boundary in every if len(every) == len(play.boundaries) else every[::2]:
        refusal = Refusal(errno, boundary.path, boundary.nth, lasting=True, kinds=CHANGES)
        with play.catalogue() as catalogue, named(refusal):
            ended = play.sync(catalogue, refusal=refusal)
            if ended.code:
                told(ended)
            else:
                assert catalogue.store.published.latest_day() == SECOND, ended
            play.assert_readers_see_whole_files(catalogue)
            play.assert_completes(catalogue)


@pytest.mark.parametrize(
    ("folder", "errno"),
    [
        ("captures/", EROFS),
        ("spool/", EACCES),
        ("candidate/", EROFS),
        ("published/", EACCES),
        ("reports/", EROFS),
        ("history/", EACCES),
        ("locks/", EROFS),
        ("data/", EACCES),
        ("data/", EROFS),
    ],
)
def test_a_folder_that_cannot_be_written_is_named_and_costs_nothing(
    play: Stage, folder: str, errno: int
) -> None:
    with play.catalogue() as catalogue:
        before = catalogue.published()
        place = f"{catalogue.home}/data/{'' if folder == 'data/' else folder}"
        ended = play.sync(catalogue, refusal=Refusal(errno, place, lasting=True))
        told(ended)
        assert f"{catalogue.home}/data" in ended.stderr, "the path is named"
        assert os.strerror(errno) in ended.stderr
        assert "Make it writable for this user" in ended.stderr
        if folder != "reports/":
            assert catalogue.published() == before
        play.assert_completes(catalogue)


def test_two_syncs_at_once_are_one_sync_and_a_refusal(play: Stage) -> None:
    with play.catalogue() as catalogue:
        both = play.nursery.run(*(Order(("sync",), catalogue.environ) for _ in range(2)))
        assert sorted(ended.code for ended in both) == [0, 2], both
        (refused,) = (ended for ended in both if ended.code == 2)
        assert "Another process" in refused.stderr
        syncs = [sync for sync in catalogue.store.history.syncs() if sync.day == SECOND]
        assert [sync.state for sync in syncs] == ["finished"]
        play.assert_completes(catalogue)


def test_of_two_syncs_at_once_the_other_goes_on_when_one_is_killed(play: Stage) -> None:
    with play.catalogue() as catalogue:
        killed = Order(("sync",), catalogue.environ, death=Death("captures/date=2025-08-11", 3))
        ended = play.nursery.run(killed, Order(("sync",), catalogue.environ))
        assert {one.code for one in ended} <= {-9, 0, 2}, ended
        play.assert_readers_see_whole_files(catalogue)
        play.assert_completes(catalogue)


class named:
    """Says where a sync was disturbed when what follows fails."""

    def __init__(self, disturbance: object) -> None:
        self.disturbance = disturbance

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None:
            error.add_note(f"disturbed: {self.disturbance}")
