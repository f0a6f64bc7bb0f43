"""The commands backup and verify, and what a sync does where backups are switched off or cannot be made."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from gguf_assets.demo.server import LoopbackHub
from gguf_assets.store.backups import backups_in
from gguf_assets.store.layout import Layout
from gguf_assets.store.publish import publish
from gguf_assets.store.verifying import verify_store
from gguf_assets_tests.backed_up import spoil, with_storage_commands
from gguf_assets_tests.calling import Catalogue, assert_clear, digests
from gguf_assets_tests.hubs import hub_of, repository
from gguf_assets_tests.store.days import candidate
from gguf_assets_tests.test_bad_disk import SmallDisk, small_disk

FIRST, SECOND = date(2025, 8, 10), date(2025, 8, 11)
REPOSITORIES = [repository(f"owner/model-{number:02d}") for number in range(8)]
OFF = {"GGUF_SYNC__STORAGE__ENABLE_BACKUPS": "false"}

with_storage_commands()


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    with hub_of({FIRST: REPOSITORIES, SECOND: REPOSITORIES}) as hub:
        yield hub


@pytest.fixture(scope="module")
def first_day(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """A catalogue whose first day is published, and no backup was made."""
    hub.set_day(FIRST)
    catalogue = Catalogue(tmp_path_factory.mktemp("first"), hub)
    assert catalogue.sync(**OFF).code == 0
    assert not (catalogue.data / "backups").exists()
    return catalogue


@pytest.fixture
def catalogue(first_day: Catalogue, tmp_path: Path) -> Catalogue:
    """A copy of it on the second day."""
    first_day.hub.set_day(SECOND)
    return first_day.copy(tmp_path)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk of its own for backups."""
    with small_disk(tmp_path) as disk:
        yield disk


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(data=tmp_path / "data", state=tmp_path / "state")


def findings(catalogue: Catalogue, *arguments: str) -> list[dict]:
    ended = catalogue.call("verify", "--json", *arguments)
    found = ended.json["findings"]
    assert ended.code == (1 if found else 0), ended
    return found


def heal(catalogue: Catalogue, finding: dict) -> None:
    """Do what the finding says, word for word, and find nothing any more."""
    command = finding["remedy"].split(", or ")[0].split()
    assert command[0] == "gguf-assets", finding
    ended = catalogue.call(*command[1:], *(["--yes"] if command[1] == "restore" else []))
    assert ended.code == 0, ended
    assert findings(catalogue) == []


def test_published_data_are_backed_up_before_they_are_replaced_and_after(catalogue):
    assert catalogue.sync().code == 0
    before, after = backups_in(catalogue.data / "backups")
    assert before.manifest().occasion == "before publishing"
    assert list(before.manifest().days) == [FIRST]
    assert after.manifest().occasion == f"after the sync of {SECOND}"
    assert list(after.manifest().days) == [FIRST, SECOND]
    assert b'"finished"' in after.file("history/syncs.jsonl").read_bytes().splitlines()[-1]
    assert str(SECOND).encode() not in before.file("history/syncs.jsonl").read_bytes()


def test_without_backups_a_sync_makes_none(catalogue):
    assert catalogue.sync(**OFF).code == 0
    assert not (catalogue.data / "backups").exists()


def test_backups_lie_where_the_setting_says_and_old_ones_go(catalogue, tmp_path):
    folder = tmp_path / "elsewhere"
    old = folder / "backup-0001-20240101T000000Z"
    old.mkdir(parents=True)
    (old / "manifest.json").write_text("{}")
    where = {"GGUF_SYNC__STORAGE__BACKUP_DIRECTORY": str(folder)}
    assert catalogue.sync(**where, GGUF_SYNC__STORAGE__BACKUP_RETENTION_DAYS="600").code == 0
    assert len(backups_in(folder)) == 3
    assert not (catalogue.data / "backups").exists()
    assert catalogue.call("backup", **where, GGUF_SYNC__STORAGE__BACKUP_RETENTION_DAYS="500").code == 0
    assert [backup.number for backup in backups_in(folder)] == [2, 3]


def test_a_backup_that_cannot_be_made_stops_publishing_and_says_how_to_go_on(catalogue):
    place = catalogue.data / "backups"
    place.write_text("in the way")
    before = catalogue.published()
    ended = catalogue.sync()
    assert_clear(
        ended,
        1,
        f"{SECOND} was not published: what is published could not be backed up first",
        str(place),
        "storage.enable_backups=false",
    )
    assert (catalogue.last.state, catalogue.last.category) == ("failed", "storage")
    assert catalogue.published() == before
    assert catalogue.sync("--set", "storage.enable_backups=false").code == 0
    assert catalogue.store.published.days() == [FIRST, SECOND]


@pytest.mark.parametrize(
    ("trouble", "said"),
    [("full", "No space left on device"), ("read-only", "Read-only file system")],
)
def test_a_disk_of_backups_that_refuses_stops_publishing_and_nothing_is_half_there(
    catalogue, disk, trouble, said
):
    folder = disk.path / "backups"
    where = {"GGUF_SYNC__STORAGE__BACKUP_DIRECTORY": str(folder)}
    assert catalogue.call("backup", **where).code == 0
    [whole] = backups_in(folder)
    assert digests(whole.path / "published") == catalogue.published()
    spoil(catalogue.store.layout.export_file)  # so that there is something new to be copied
    before = catalogue.published()
    remount = [*disk.enter(), "mount", "-o", "remount,ro", str(disk.inside)]
    if trouble == "full":
        disk.fill()
    else:
        subprocess.run(remount, check=True)
    assert_clear(catalogue.sync(**where), 1, said, f"{SECOND} was not published", "enable_backups=false")
    assert catalogue.last.category == "storage"
    assert catalogue.published() == before
    assert [path.name for path in folder.iterdir()] == [whole.name]
    if trouble == "full":
        disk.free()
    else:
        subprocess.run([word.replace(",ro", ",rw") for word in remount], check=True)
    assert catalogue.sync(**where).code == 0
    assert catalogue.call("verify", "--backups", **where).code == 0


def test_a_backup_that_cannot_be_made_afterwards_fails_no_published_day(catalogue, monkeypatch):
    from gguf_assets.orchestration import backing_up

    def refused(*_args, **_options):
        raise backing_up.PermanentError("the disk refused", category="storage")

    monkeypatch.setattr(backing_up, "prune_backups", refused)
    assert catalogue.sync().code == 0
    assert catalogue.last.published


def test_the_command_backs_up_and_says_when_nothing_has_changed(catalogue):
    ended = catalogue.call("backup")
    assert ended.code == 0, ended
    assert "backup-0001-" in ended.stdout
    assert "the rest linked" in ended.stdout
    ended = catalogue.call("backup", "--json")
    assert (ended.code, ended.json["new"], ended.json["removed"]) == (0, False, [])
    ended = catalogue.call("backup", "--captures", "--json")
    assert (ended.code, ended.json["new"]) == (0, True)
    assert backups_in(catalogue.data / "backups")[-1].manifest().part("captures")


def test_captures_come_back_from_a_backup_that_has_them(catalogue):
    before = digests(catalogue.data / "captures")
    assert catalogue.call("backup", "--captures").code == 0
    shutil.rmtree(catalogue.data / "captures")
    assert catalogue.call("restore").code == 0
    assert digests(catalogue.data / "captures") == before
    assert catalogue.call("rederive").code == 0


def test_nothing_published_is_nothing_to_back_up(tmp_path, hub):
    assert_clear(Catalogue(tmp_path, hub).call("backup"), 2, "Nothing is published", "gguf-assets sync")


def test_a_whole_catalogue_is_found_whole_and_nothing_is_written(catalogue):
    catalogue.call("backup")
    before = digests(catalogue.data)
    ended = catalogue.call("verify", "--deep", "--captures", "--backups")
    assert ended.code == 0, ended
    assert "Everything is as its manifest says" in ended.stdout
    assert digests(catalogue.data) == before
    assert catalogue.call("verify", "--date", str(FIRST)).code == 0
    assert_clear(catalogue.call("verify", "--date", str(SECOND)), 2, f"{SECOND} is not published")
    assert_clear(catalogue.call("verify", "--date", str(FIRST), "--to", str(FIRST)), 2, "cannot be combined")
    assert_clear(catalogue.call("verify", "--from", str(SECOND), "--to", str(FIRST)), 2, "lies after")


@pytest.mark.parametrize("dataset", ["models", "files", "health"])
@pytest.mark.parametrize("damage", ["flipped", "missing", "shorter"])
def test_a_damaged_file_is_named_with_what_heals_it(catalogue, dataset, damage):
    path = catalogue.store.layout.published_file(dataset, FIRST)
    before = catalogue.published()
    if damage == "flipped":
        spoil(path)
        what = "its SHA-256 is"
    elif damage == "missing":
        path.unlink()
        what = "the file is missing"
    else:
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content[:-1])
        what = f"it has {len(content) - 1:,} bytes instead of {len(content):,}"
    [finding] = findings(catalogue)
    assert finding["path"] == str(path)
    assert what in finding["what"]
    assert finding["remedy"] == f"gguf-assets rederive --from {FIRST} --to {FIRST}", "there is no backup"
    heal(catalogue, finding)
    assert catalogue.published() == before


def test_only_what_can_work_is_offered(catalogue):
    layout = catalogue.store.layout
    path = layout.published_file("models", FIRST)
    assert catalogue.call("backup").code == 0
    whole = path.read_bytes()
    spoil(path)
    [finding] = findings(catalogue)
    assert finding["remedy"].startswith(f"gguf-assets restore --date {FIRST}, or gguf-assets rederive")
    shutil.rmtree(catalogue.data / "captures")
    [finding] = findings(catalogue)
    assert finding["remedy"] == f"gguf-assets restore --date {FIRST}"
    [backup] = backups_in(catalogue.data / "backups")
    spoil(backup.file(f"published/models/date={FIRST}/part-0.parquet"))
    [finding] = findings(catalogue)
    assert finding["remedy"].startswith("No backup holds it whole and no capture of the day is there")
    found = findings(catalogue, "--backups")
    assert [entry["path"] for entry in found][1:] == [
        str(backup.file(f"published/models/date={FIRST}/part-0.parquet"))
    ]
    backup.file(f"published/models/date={FIRST}/part-0.parquet").write_bytes(whole)
    [finding] = findings(catalogue)
    heal(catalogue, finding)


@pytest.mark.parametrize("content", [None, b"{", b"{}"], ids=["missing", "no JSON", "no manifest"])
def test_a_damaged_manifest_is_healed_from_a_backup(catalogue, content):
    assert catalogue.sync().code == 0
    before = catalogue.published()
    path = catalogue.store.layout.published_manifest(FIRST)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    found = findings(catalogue)
    assert {Path(finding["path"]).name for finding in found} <= {path.name, "part-0.parquet"}
    assert found[0]["remedy"].startswith(f"gguf-assets restore --date {FIRST}")
    heal(catalogue, found[0])
    assert catalogue.published() == before


@pytest.mark.parametrize("content", [None, b"{", b"{}", b'{"date": "2025-01-01", "sha256": ""}'])
@pytest.mark.parametrize("way", ["restore", "rederive"])
def test_a_latest_json_that_is_wrong_is_named_and_healed(catalogue, content, way):
    before = catalogue.published()
    if way == "restore":
        assert catalogue.call("backup").code == 0
        shutil.rmtree(catalogue.data / "captures")
    path = catalogue.store.layout.latest
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    [finding] = findings(catalogue)
    assert finding["path"] == str(path)
    assert finding["remedy"].startswith(f"gguf-assets {way}")
    heal(catalogue, finding)
    assert catalogue.published() == before


def test_what_readers_would_read_with_a_day_is_named(catalogue):
    layout = catalogue.store.layout
    extra = layout.published_file("models", FIRST).with_name("copy.parquet")
    shutil.copyfile(layout.published_file("models", FIRST), extra)
    unknown = layout.published_file("models", SECOND)
    unknown.parent.mkdir()
    shutil.copyfile(layout.published_file("models", FIRST), unknown)
    found = {finding["path"]: finding for finding in findings(catalogue)}
    assert set(found) == {str(extra), str(unknown)}
    for path in (extra, unknown):
        assert f"mv {path}" in found[str(path)]["remedy"]
        path.unlink()
    assert findings(catalogue) == []


def test_a_damaged_capture_is_named(catalogue):
    [page, *_] = sorted(catalogue.store.layout.run_dir(FIRST, 1).glob("listing-*"))
    spoil(page)
    assert findings(catalogue) == []
    [finding] = findings(catalogue, "--captures")
    assert finding["path"] == str(page)
    path = catalogue.store.layout.published_file("models", FIRST)
    spoil(path)
    [finding] = findings(catalogue)
    assert "rederive" not in finding["remedy"], "its capture is damaged, too"


def test_an_interrupted_publishing_is_named_and_completed(catalogue):
    (catalogue.store.layout.journal).write_text("{}")
    [finding] = findings(catalogue)
    assert finding["path"] == str(catalogue.store.layout.journal)


def test_days_that_are_being_published_are_no_findings(layout):
    """Somebody verifies again and again while somebody else publishes the same day again and again."""
    publish(layout, candidate(layout, FIRST, {"a": "o/a"}))
    over, found, looks = threading.Event(), [], 0

    def writer() -> None:
        for number in range(25):
            publish(layout, candidate(layout, FIRST, {"a": f"o/{number}"}))
        over.set()

    thread = threading.Thread(target=writer)
    thread.start()
    while not over.is_set():
        found += verify_store(layout).findings
        looks += 1
    thread.join()
    assert looks > 3
    assert found == []


def test_a_folder_without_anything_is_verified(tmp_path, hub):
    ended = Catalogue(tmp_path, hub).call("verify")
    assert (ended.code, "Nothing is published." in ended.stdout) == (0, True)
    assert not os.path.lexists(tmp_path / "data" / "published")
