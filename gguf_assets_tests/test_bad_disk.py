"""Folders that cannot be written, disks that are full, files that are damaged: named, and no harm done."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from importlib import import_module
from pathlib import Path

import pytest

from gguf_assets.demo.faults import Fault, FaultKind
from gguf_assets.demo.server import LoopbackHub
from gguf_assets_tests.calling import Catalogue, assert_clear, failure_text, launch
from gguf_assets_tests.hubs import hub_of, repository
from gguf_assets_tests.running import Ended

FIRST, SECOND = date(2025, 8, 10), date(2025, 8, 11)
REPOSITORIES = [repository(f"owner/model-{number:02d}") for number in range(12)]
PAGES = "sort=createdAt"


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    with hub_of({FIRST: REPOSITORIES, SECOND: REPOSITORIES}) as hub:
        yield hub


@pytest.fixture(scope="module")
def first_day(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """A catalogue whose first day is published, details and all."""
    hub.set_day(FIRST)
    catalogue = Catalogue(tmp_path_factory.mktemp("first"), hub)
    assert catalogue.sync().code == 0
    return catalogue


@pytest.fixture
def catalogue(first_day: Catalogue, tmp_path: Path) -> Catalogue:
    """A copy of it on the second day."""
    first_day.hub.set_day(SECOND)
    return first_day.copy(tmp_path)


def visible(catalogue: Catalogue) -> dict[str, str]:
    """What readers see: names that begin with a dot are not read by anybody."""
    return {path: digest for path, digest in catalogue.published().items() if "/." not in path}


def assert_recovers(catalogue: Catalogue) -> None:
    """The next sync publishes the second day and leaves the first as it is."""
    before = visible(catalogue)
    ended = catalogue.sync("--json")
    assert ended.code == 0, ended
    before.pop("latest.json", None)
    before.pop("latest/models.json.gz", None)
    assert before.items() <= visible(catalogue).items()
    assert catalogue.store.published.latest_day() == SECOND
    catalogue.store.published.verify(SECOND)
    assert catalogue.last_sync_file["success"] is True


# Folders that cannot be written. Permissions do not bind root, so something is in the way instead.


@pytest.mark.parametrize("variable", ["GGUF_ASSETS_DATA_DIR", "GGUF_ASSETS_STATE_DIR"])
@pytest.mark.parametrize("below", ["", "sub/folder"])
def test_a_file_in_the_place_of_a_folder_is_named(catalogue, tmp_path, variable, below):
    file = tmp_path / "file"
    file.write_text("in the way")
    for command in (["sync"], ["rederive"]):
        ended = catalogue.call(*command, **{variable: str(file / below)})
        assert_clear(ended, 1, str(file / below), "name another folder (GGUF_ASSETS_DATA_DIR")
    doctor = catalogue.call("doctor", **{variable: str(file / below)})
    assert doctor.code == 1
    assert "cannot be written to" in doctor.stdout
    assert file.read_text() == "in the way"


@pytest.mark.parametrize("folder", ["/proc/1/gguf", "/sys/kernel/gguf"])
def test_a_folder_that_the_system_does_not_give_is_named(catalogue, folder):
    if not Path(folder).parent.is_dir():
        pytest.skip(f"this system has no {Path(folder).parent}")
    assert_clear(catalogue.sync(GGUF_ASSETS_DATA_DIR=folder), 1, folder)


def test_a_published_folder_that_is_a_file_stops_publishing_only(catalogue):
    place = catalogue.data / "published" / "models" / f"date={SECOND}"
    place.write_text("in the way")
    ended = catalogue.sync()
    assert_clear(ended, 1, str(place), "Move the file that is in the way")
    assert (catalogue.last.state, catalogue.last.category) == ("failed", "storage")
    assert str(place) in catalogue.last_sync_file["error_message"]
    assert catalogue.store.published.days() == [FIRST]
    place.unlink()
    catalogue.hub.clear_requests()
    assert_recovers(catalogue)
    assert len(catalogue.hub.requests) == 1, "the stored walk is used; only the clock is asked"


def test_a_capture_folder_that_is_a_file_is_a_failed_sync(catalogue):
    place = catalogue.data / "captures" / f"date={SECOND}"
    place.write_text("in the way")
    ended = catalogue.sync()
    assert_clear(ended, 1, str(place), "Move the file that is in the way")
    assert (catalogue.last.day, catalogue.last.state, catalogue.last.category) == (
        SECOND,
        "failed",
        "storage",
    )
    place.unlink()
    assert_recovers(catalogue)


# Disks that are full.


class SmallDisk:
    """A disk of a few megabytes in memory, in a mount namespace of its own; entered by way of /proc."""

    def __init__(self, place: Path, megabytes: int) -> None:
        script = f"mount -t tmpfs -o size={megabytes}m none '{place}' && echo ready && exec cat"
        self._holder = subprocess.Popen(
            ["unshare", "-rm", "sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._holder.stdout is not None
        self.mounted = self._holder.stdout.readline() == "ready\n"
        self.inside = place
        self.path = Path(f"/proc/{self._holder.pid}/root{place}")

    def fill(self) -> None:
        """Leave not a byte."""
        with (self.path / "filler").open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return

    def free(self) -> None:
        """Take back what filled it."""
        (self.path / "filler").unlink(missing_ok=True)

    def enter(self) -> list[str]:
        """Return the words that run a command within the namespace."""
        words = ["nsenter", "--target", str(self._holder.pid), "--mount", "--user", "--preserve-credentials"]
        return [*words, "--"]

    def close(self) -> None:
        self._holder.communicate()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path) as disk:
        yield disk


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """Mount a small disk below a folder; skips the test where the system does not let us."""
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        pytest.skip("no small disk: there is no unshare and nsenter here")
    place = folder / "disk"
    place.mkdir()
    disk = SmallDisk(place, megabytes=6)
    try:
        if not disk.mounted:
            pytest.skip("no small disk: this system does not let us mount one")
        yield disk
    finally:
        disk.close()


STAGES = [
    # module of orchestration.assets, what it calls when the disk gets full, what cannot be written then
    ("capture", "obtain_capture", "captures/date=2025-08-11/run=01/manifest.json"),
    ("catalogue", "derive_tables", "candidate/manifest/date=2025-08-11.json"),
    ("quality", "score_day", "candidate/health/date=2025-08-11/part-0.parquet"),
    ("publish", "publish", "published/journal.json"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("module", "step", "file"), STAGES, ids=[step for _, step, _ in STAGES])
def test_a_full_disk_is_named_and_the_next_sync_picks_up(
    first_day, disk, tmp_path, monkeypatch, module, step, file
):
    first_day.hub.set_day(SECOND)
    catalogue = first_day.copy(disk.path, GGUF_ASSETS_STATE_DIR=str(tmp_path / "state"))
    before = visible(catalogue)
    with monkeypatch.context() as patched:
        full_from(patched, disk, module, step)
        ended = catalogue.sync()
    assert_clear(ended, 1, f"{file}: No space left on device", "Free some space on that disk")
    assert visible(catalogue) == before
    assert catalogue.store.published.days() == [FIRST]
    disk.free()
    assert_recovers(catalogue)


def full_from(patched: pytest.MonkeyPatch, disk: SmallDisk, module: str, step: str) -> None:
    """Let the disk get full when this step begins."""
    place = import_module(f"gguf_assets.orchestration.assets.{module}")
    working = getattr(place, step)

    def on_a_full_disk(*arguments, **options):
        disk.fill()
        return working(*arguments, **options)

    patched.setattr(place, step, on_a_full_disk)


@pytest.mark.slow
def test_a_disk_that_is_full_after_publishing_leaves_a_whole_day_and_an_open_sync(
    first_day, disk, tmp_path, monkeypatch
):
    first_day.hub.set_day(SECOND)
    catalogue = first_day.copy(disk.path, GGUF_ASSETS_STATE_DIR=str(tmp_path / "state"))
    with monkeypatch.context() as patched:
        full_from(patched, disk, "publish", "report_sync")
        ended = catalogue.sync()
    assert_clear(ended, 1, "report.md: No space left on device")
    disk.free()
    catalogue.store.published.verify(SECOND)
    assert catalogue.last.state == "failed"
    published = visible(catalogue)
    assert catalogue.sync().code == 0
    assert visible(catalogue) == published
    assert catalogue.call("report", "--date", str(SECOND)).code == 0
    assert catalogue.last.state == "finished"
    assert catalogue.last_sync_file["success"] is True


@pytest.mark.slow
def test_a_full_disk_under_the_dagster_instance_is_named_too(hub, disk):
    hub.set_day(FIRST)
    catalogue = Catalogue(disk.inside, hub)

    def inside(*arguments: str) -> Ended:
        words = [*disk.enter(), sys.executable, "-m", "gguf_assets.cli", *arguments]
        done = subprocess.run(
            words, env=catalogue.environ, capture_output=True, text=True, timeout=60, check=False
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def fill_meanwhile(row: dict[str, object]) -> dict[str, object]:
        disk.fill()
        return row

    seen = Catalogue(disk.path, hub)
    assert inside("sync", "--details", "none").code == 0
    before = visible(seen)
    hub.set_day(SECOND)
    hub.faults[:] = [Fault(FaultKind.EDIT_ROW, PAGES, edit=fill_meanwhile)]
    for ended in (inside("sync"), inside("sync")):
        error = ended.stderr[ended.stderr.index("Error: ") :]
        assert_clear(Ended(ended.code, "", error), 1, "no space left on device", "Free some space")
    assert visible(seen) == before
    hub.faults.clear()
    disk.free()
    assert inside("sync", "--details", "none").code == 0
    assert seen.store.published.days() == [FIRST, SECOND]


@pytest.mark.slow
def test_a_limit_on_the_size_of_files_is_named_too(catalogue):
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))

    before = visible(catalogue)
    (catalogue.data / "history" / "syncs.jsonl").write_bytes(b"")
    done = subprocess.run(
        [sys.executable, "-m", "gguf_assets.cli", "sync"],
        env=catalogue.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=limited,
    )
    assert_clear(Ended(done.returncode, done.stdout, done.stderr), 1, str(catalogue.data))
    assert visible(catalogue) == before
    assert_recovers(catalogue)


# Files that are damaged.


def spoil(path: Path) -> None:
    """Something wrote over the beginning and the end of a file."""
    content = path.read_bytes()
    # Published files are the very files of their candidate: only this name is to be spoilt.
    path.unlink()
    path.write_bytes(b"\x00damage\x00" + content[8:-8] + b"\x00damage\x00")


@pytest.mark.parametrize(
    ("file", "remedy"),
    [
        (lambda layout: layout.published_manifest(FIRST), "Put the file back from a backup"),
        (lambda layout: layout.published_file("models", FIRST), "rederive --from 2025-08-10 --to 2025-08-10"),
        (lambda layout: layout.published_file("files", FIRST), "rederive --from 2025-08-10 --to 2025-08-10"),
        (lambda layout: layout.capture_manifest(FIRST, 1), "Put the file back from a backup"),
    ],
    ids=["manifest", "models", "files", "capture"],
)
def test_a_damaged_file_that_the_next_day_needs_is_named(catalogue, file: Callable[..., Path], remedy: str):
    path = file(catalogue.store.layout)
    whole = path.read_bytes()
    spoil(path)
    ended = catalogue.sync()
    assert_clear(ended, 1, f"{path} is damaged", remedy)
    assert catalogue.store.published.days() == [FIRST]
    doctor = catalogue.call("doctor")
    assert doctor.code == 1
    assert str(path) in doctor.stdout
    if "rederive" in remedy:
        assert catalogue.call("rederive", "--from", str(FIRST), "--to", str(FIRST)).code == 0
        assert path.read_bytes() == whole
    else:
        path.write_bytes(whole)
    assert catalogue.call("doctor").code == 0
    assert_recovers(catalogue)


@pytest.mark.parametrize("name", ["listing-00001.json.zst", "details-00001.jsonl.zst"])
def test_a_damaged_file_of_a_capture_is_named_and_walked_again(hub, tmp_path, monkeypatch, name):
    hub.set_day(FIRST)
    catalogue = Catalogue(tmp_path, hub)
    publishing = import_module("gguf_assets.orchestration.assets.publish")
    with monkeypatch.context() as patched:
        patched.setattr(publishing, "publish", interrupted)
        assert catalogue.sync().code == 1
    spoil(catalogue.store.layout.run_dir(FIRST, 1) / name)
    ended = catalogue.sync()
    assert_clear(ended, 1, f"captures/date=2025-08-10/run=01/{name} is damaged", "gguf-assets sync --refetch")
    assert (catalogue.last.state, catalogue.last.category) == ("failed", "data")
    ended = catalogue.sync("--json", "--refetch")
    assert ended.code == 0, ended
    assert ended.json["models"] == len(REPOSITORIES)


def interrupted(*_: object) -> None:
    raise OSError("interrupted")


def test_a_damaged_candidate_is_not_published(catalogue):
    candidate = catalogue.store.layout.candidate_file("files", FIRST)
    before = visible(catalogue)
    spoil(candidate)
    result = launch(catalogue, FIRST, "published_catalogue")
    assert not result.success
    assert f"{candidate} is damaged" in failure_text(result)
    assert visible(catalogue) == before
    assert catalogue.call("rederive", "--from", str(FIRST), "--to", str(FIRST)).code == 0
    assert launch(catalogue, FIRST, "published_catalogue").success
    assert visible(catalogue) == before
    spoil(catalogue.store.layout.candidate_manifest(FIRST))
    result = launch(catalogue, FIRST, "published_catalogue")
    assert not result.success
    assert "candidate/manifest/date=2025-08-10.json is damaged" in failure_text(result)
    assert_recovers(catalogue)


def test_a_damaged_line_of_the_history_counts_for_nothing_and_the_doctor_names_it(catalogue):
    history = catalogue.store.layout.history_file
    history.write_bytes(
        b'{"event":"started","sync_id":"x","day":"someday"}\n' + history.read_bytes() + b'{"ev'
    )
    assert_recovers(catalogue)
    doctor = catalogue.call("doctor")
    assert doctor.code == 0
    assert f"{history}: not readable, and left out: line 1, 4" in doctor.stdout
    assert [sync.state for sync in catalogue.store.history.syncs()] == ["finished", "finished"]


def test_a_damaged_journal_is_named_with_the_way_out(catalogue):
    catalogue.store.layout.journal.write_bytes(b"{half")
    ended = catalogue.sync()
    assert_clear(ended, 1, f"{catalogue.store.layout.journal} is damaged", "gguf-assets rederive")
    catalogue.store.layout.journal.unlink()
    assert catalogue.call("rederive").code == 0
    assert_recovers(catalogue)


@pytest.mark.parametrize("name", ["history/runs.db", "history/runs/index.db"])
def test_a_damaged_database_of_dagster_is_named_and_nothing_is_lost_with_it(catalogue, name):
    home = catalogue.store.layout.dagster_home
    assert catalogue.call("rederive", "--from", str(FIRST), "--to", str(FIRST)).code == 0
    (home / name).write_bytes(b"\x00damage" * 100)
    ended = catalogue.sync()
    assert_clear(ended, 1, f"The Dagster instance in {home} cannot be used", "Move that folder away")
    shutil.rmtree(home)
    assert_recovers(catalogue)


def test_a_broken_dagster_yaml_is_named(catalogue):
    path = catalogue.store.layout.dagster_home / "dagster.yaml"
    path.write_text("{{")
    assert_clear(catalogue.sync(), 2, f"{path} cannot be used", "Correct it, or move it away")
    path.unlink()
    assert_recovers(catalogue)


def test_what_lies_in_another_folder_of_the_same_name_is_left_alone(catalogue):
    """Files of other programs in the data folder neither stop a sync nor are touched by it."""
    strangers = [
        catalogue.data / "captures" / "notes.txt",
        catalogue.data / "captures" / "date=someday" / "x",
        catalogue.data / "published" / "manifest" / "README.json",
        catalogue.data / "published" / "models" / "README.md",
    ]
    for path in strangers:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    assert_recovers(catalogue)
    assert all(path.read_text() == "mine" for path in strangers)
    assert os.access(strangers[0], os.R_OK)
