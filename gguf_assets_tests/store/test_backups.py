"""Backups: links, manifests, numbers, retention, and disks that refuse."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_assets.atomic import json_bytes
from gguf_assets.errors import ErrorCategory, PermanentError, Refused
from gguf_assets.store.backing_up import make_backup
from gguf_assets.store.backups import backups_in, find_backup, preferred, prune_backups
from gguf_assets.store.history import SyncHistory
from gguf_assets.store.layout import Layout
from gguf_assets.store.lock import WriterLock
from gguf_assets.store.publish import publish
from gguf_assets_tests.store.days import DAY, NEXT, NOON, candidate
from gguf_assets_tests.store.processes import contents, outcomes_of_dying

OLD, NEW = {"a": "o/a"}, {"a": "o/a", "b": "o/b"}


@pytest.fixture
def published(layout: Layout) -> Layout:
    """A store with one published day, a history and a configuration."""
    publish(layout, candidate(layout, DAY, OLD))
    history = SyncHistory(layout)
    history.started("one", DAY, NOON)
    history.finished("one", published=True, hub_time=NOON)
    layout.last_sync_file.write_text("{}\n")
    layout.config_dir.mkdir(parents=True)
    (layout.config_dir / "sync-config.yaml").write_text("environment: production  # mine\n")
    (layout.config_dir / "backups").mkdir()
    (layout.config_dir / "backups" / "x.yaml").write_text("environment: testing\n")
    return layout


def make(layout: Layout, now: datetime = NOON, **options):
    with WriterLock(layout).held(command="test"):
        return make_backup(layout, "asked for", now, **options)


def visible(folder: Path) -> dict[str, bytes]:
    return {path: content for path, content in contents(folder).items() if not path.startswith(".")}


def test_a_backup_holds_what_is_published_history_and_configuration(published):
    before = contents(published.published)
    made = make(published)
    assert made.new
    assert made.backup.path == published.data / "backups" / "backup-0001-20250810T120000Z"
    there = contents(made.backup.path)
    manifest = orjson.loads(there.pop("manifest.json"))
    assert {path.removeprefix("published/") for path in there if path.startswith("published/")} == set(before)
    assert all(there[f"published/{path}"] == content for path, content in before.items())
    assert there["history/syncs.jsonl"] == published.history_file.read_bytes()
    assert there["last_sync_metadata.json"] == b"{}\n"
    assert there["config/sync-config.yaml"] == b"environment: production  # mine\n"
    assert there["config/backups/x.yaml"] == b"environment: testing\n"
    assert {path: entry[1] for path, entry in manifest["files"].items()} == {
        path: hashlib.sha256(content).hexdigest() for path, content in there.items()
    }
    assert {path: entry[0] for path, entry in manifest["files"].items()} == {
        path: len(content) for path, content in there.items()
    }
    assert (manifest["days"], manifest["created_at"], manifest["problems"]) == (
        ["2025-08-10"],
        "2025-08-10T12:00:00+00:00",
        [],
    )


def test_published_files_are_linked_and_the_rest_is_private(published):
    made = make(published)
    inside = made.backup.file("published/models/date=2025-08-10/part-0.parquet")
    assert inside.samefile(published.published_file("models", DAY))
    assert not made.backup.file("history/syncs.jsonl").samefile(published.history_file)
    assert made.backup.file("config").stat().st_mode & 0o777 == 0o700
    for path in ("config/sync-config.yaml", "config/backups/x.yaml", "manifest.json"):
        assert made.backup.file(path).stat().st_mode & 0o777 == 0o600, path


def test_a_later_publishing_changes_nothing_in_a_backup(published):
    """Published files are replaced and never edited: otherwise a link would change with them."""
    before = contents(make(published).backup.path)
    publish(published, candidate(published, DAY, NEW))
    publish(published, candidate(published, NEXT, NEW))
    SyncHistory(published).started("two", NEXT, NOON)
    assert contents(backups_in(published.backups_dir)[0].path) == before


def test_nothing_published_is_nothing_to_back_up(layout):
    assert make(layout).backup is None
    assert not layout.backups_dir.exists()


def test_what_has_not_changed_is_not_backed_up_again(published):
    first = make(published)
    again = make(published, NOON + timedelta(days=1))
    assert (again.new, again.backup) == (False, first.backup)
    publish(published, candidate(published, NEXT, NEW))
    assert make(published).backup.number == 2
    (published.config_dir / "sync-config.yaml").write_text("environment: staging\n")
    assert make(published).backup.number == 3


def test_one_writer_backs_up_what_was_there_before_it_began(published):
    with WriterLock(published).held(command="rederive"):
        first = make_backup(published, "before publishing", NOON, once_a_writer=True)
        publish(published, candidate(published, NEXT, NEW))
        again = make_backup(published, "before publishing", NOON, once_a_writer=True)
    assert first.new
    assert not again.new
    time.sleep(1.1)  # the note of the lock counts seconds
    with WriterLock(published).held(command="rederive"):
        assert make_backup(published, "before publishing", NOON, once_a_writer=True).new


def test_unchanged_files_are_not_read_again_and_new_ones_are_not_either(published, monkeypatch):
    """Digests come from the manifests of the days and from the newest backup; what is small is read once."""
    from gguf_assets.store import backing_up

    read = []
    real = backing_up.sha256_of
    monkeypatch.setattr(backing_up, "sha256_of", lambda path: read.append(path.name) or real(path))
    make(published)
    assert sorted(read) == ["date=2025-08-10.json", "latest.json"]
    read.clear()
    publish(published, candidate(published, NEXT, NEW))
    make(published)
    assert sorted(read) == ["date=2025-08-11.json", "latest.json"]


def test_a_running_sync_is_no_failed_one_in_a_backup(published):
    SyncHistory(published).started("running", NEXT, NOON)
    before = published.history_file.read_bytes()
    made = make(published)
    copied = made.backup.file("history/syncs.jsonl").read_bytes()
    assert copied == b"".join(line for line in before.splitlines(keepends=True) if b"running" not in line)
    assert b'"one"' in copied


def test_names_count_up_whatever_the_clock_does(published):
    times = [NOON, NOON, NOON - timedelta(days=400), NOON + timedelta(days=4000)]
    names = {}
    for number, now in enumerate(times):
        publish(published, candidate(published, NEXT, {"a": f"o/{number}"}))
        names[number] = make(published, now).backup
    found = backups_in(published.backups_dir)
    assert [backup.number for backup in found] == [1, 2, 3, 4]
    assert [backup.created_at for backup in found] == times
    assert preferred(found)[0] == names[3]
    assert find_backup(published.backups_dir, "3") == find_backup(published.backups_dir, "backup-0003")
    with pytest.raises(Refused, match="backup-0002-20250810T120000Z") as refused:
        find_backup(published.backups_dir, "nonsense")
    assert "restore --backup" in refused.value.remedy


@given(st.lists(st.integers(0, 100), min_size=1, max_size=12), st.integers(0, 60))
@settings(max_examples=50, deadline=None)
def test_retention_removes_what_is_too_old_and_never_the_newest(ages, days):
    now = datetime(2025, 8, 10, 12, tzinfo=UTC)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, age in enumerate(ages, start=1):
            at = (now - timedelta(days=age)).strftime("%Y%m%dT%H%M%SZ")
            (folder / f"backup-{number:04d}-{at}").mkdir()
        (folder / "mine").mkdir()
        removed = {path.name[:11] for path in prune_backups(folder, days, now)}
        expected = {f"backup-{number:04d}" for number, age in enumerate(ages[:-1], start=1) if age > days}
        assert removed == expected
        assert {path.name[:11] for path in folder.iterdir()} == {
            "mine",
            *(f"backup-{number:04d}" for number in range(1, len(ages) + 1)),
        } - expected


def test_retention_keeps_the_newest_that_a_restore_would_choose(published):
    first = make(published).backup
    published.published_file("models", DAY).unlink()
    published.published_file("models", DAY).write_bytes(b"other")
    second = make(published, NOON + timedelta(days=90)).backup
    assert second.manifest().problems
    assert prune_backups(published.backups_dir, 30, NOON + timedelta(days=91)) == []
    assert [backup.name for backup in backups_in(published.backups_dir)] == [first.name, second.name]


def test_retention_of_a_folder_that_is_not_there_and_of_a_negative_number(tmp_path):
    assert prune_backups(tmp_path / "none", 30, NOON) == []
    with pytest.raises(Refused, match="-1 days"):
        prune_backups(tmp_path, -1, NOON)


def test_a_backup_on_another_disk_is_copied_once(published):
    here = published.data.stat().st_dev
    places = [Path(place) for place in ("/dev/shm", "/var/tmp", "/tmp", Path.cwd())]
    elsewhere = next((place for place in places if place.is_dir() and place.stat().st_dev != here), None)
    if elsewhere is None:
        pytest.skip("this system has no second file system")
    with tempfile.TemporaryDirectory(dir=elsewhere) as name:
        layout = replace(published, backups=Path(name) / "backups")
        first = make(layout)
        size = sum(path.stat().st_size for path in layout.published.rglob("*") if path.is_file())
        assert first.copied_bytes >= size
        for path, content in contents(layout.published).items():
            assert first.backup.file(f"published/{path}").read_bytes() == content
        publish(layout, candidate(layout, NEXT, NEW))
        second = make(layout)
        part = "published/models/date=2025-08-10/part-0.parquet"
        assert second.backup.file(part).samefile(first.backup.file(part))
        day = sum(path.stat().st_size for path in layout.published.rglob("date=2025-08-11*/*"))
        assert day < second.copied_bytes < size + day


def test_symbolic_links_are_not_followed_and_are_named(published, tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("nobody's business")
    (published.published / "outside").symlink_to(secret)
    (published.published / "models" / "date=2025-08-10" / "link.parquet").symlink_to(secret / "key")
    (published.config_dir / "key.yaml").symlink_to(secret / "key")
    made = make(published)
    assert {Path(path).name for path in made.left_out} == {"outside", "link.parquet", "key.yaml"}
    assert not made.problems
    assert not any(b"nobody's business" in content for content in contents(made.backup.path).values())
    assert not any(path.is_symlink() for path in made.backup.path.rglob("*"))


def test_a_folder_inside_what_is_backed_up_is_refused(published):
    for folder in (published.published / "backups", published.captures, published.data, published.config_dir):
        with pytest.raises(PermanentError, match=r"storage\.backup_directory") as refused:
            make(replace(published, backups=folder))
        assert refused.value.category is ErrorCategory.CONFIGURATION


def test_a_file_in_the_way_is_named_and_nothing_is_left(published):
    published.backups_dir.write_text("in the way")
    with pytest.raises(PermanentError, match="backups") as refused:
        make(published)
    assert refused.value.category is ErrorCategory.STORAGE
    assert published.backups_dir.read_text() == "in the way"


@pytest.mark.parametrize("call", ["link", "fsync", "mkdir"])
def test_a_disk_that_is_full_leaves_no_half_backup(published, monkeypatch, call):
    kept = make(published).backup
    publish(published, candidate(published, NEXT, NEW))
    before = contents(published.backups_dir)

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, call, full)
        from gguf_assets.store import backing_up

        patched.setattr(backing_up, "recover", lambda _layout: None)
        with pytest.raises(PermanentError, match="No space left on device") as refused:
            make_backup(published, "asked for", NOON)
    assert refused.value.category is ErrorCategory.STORAGE
    assert "Free some space" in refused.value.remedy
    assert contents(published.backups_dir) == before
    assert preferred(backups_in(published.backups_dir))[0] == kept


def test_whoever_is_killed_while_making_a_backup_leaves_none_or_a_whole_one(published, tmp_path):
    origin = tmp_path / "origin"
    shutil.copytree(published.data, origin)
    moved = replace(published, data=tmp_path / "work", state=tmp_path / "state", config=published.config_dir)

    def prepare() -> None:
        shutil.rmtree(moved.data, ignore_errors=True)
        shutil.copytree(origin, moved.data)

    deaths = 0
    for death in outcomes_of_dying(lambda: make_backup(moved, "asked for", NOON) and None, prepare):
        deaths += 1
        for backup in backups_in(moved.backups_dir):
            for path, entry in backup.manifest().files.items():
                assert backup.is_whole(path, entry), (death, path)
        made = make_backup(moved, "asked for", NOON)
        assert made.backup.number == 1, death
        assert [path.name for path in moved.backups_dir.iterdir()] == [made.backup.name], death
    assert deaths > 40


def test_whoever_is_killed_while_removing_backups_leaves_whole_ones(published, tmp_path):
    for number in range(3):
        publish(published, candidate(published, NEXT, {"a": f"o/{number}"}))
        make(published)
    origin = tmp_path / "origin"
    shutil.copytree(published.backups_dir, origin)
    folder, later = tmp_path / "backups", NOON + timedelta(days=100)

    def prepare() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(origin, folder)

    for death in outcomes_of_dying(lambda: prune_backups(folder, 1, later) and None, prepare):
        for backup in backups_in(folder):
            for path, entry in backup.manifest().files.items():
                assert backup.is_whole(path, entry), (death, path)
        prune_backups(folder, 1, later)
        assert [path.name for path in folder.iterdir()] == ["backup-0003-20250810T120000Z"], death


def test_a_manifest_that_leads_out_of_the_backup_is_damaged(published):
    backup = make(published).backup
    path = backup.file("manifest.json")
    content = orjson.loads(path.read_bytes())
    content["files"]["../../outside"] = next(iter(content["files"].values()))
    path.write_bytes(json_bytes(content))
    with pytest.raises(PermanentError, match="leads out of the backup"):
        backup.manifest()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"format": 1}', b'{"format": "x"}'])
def test_a_manifest_that_is_none_is_named(published, content):
    backup = make(published).backup
    backup.file("manifest.json").write_bytes(content)
    with pytest.raises(PermanentError, match=r"manifest\.json is damaged"):
        backup.manifest()
    assert make(published).backup.number == 2, "another one is made"


def test_a_newer_format_is_refused(published):
    backup = make(published).backup
    path = backup.file("manifest.json")
    path.write_bytes(json_bytes(orjson.loads(path.read_bytes()) | {"format": 2, "product_version": "9.9"}))
    with pytest.raises(Refused, match=r"gguf_assets 9\.9"):
        backup.manifest()


def test_captures_are_in_a_backup_only_when_asked_for(published):
    folder = published.run_dir(date(2025, 8, 10), 1)
    folder.mkdir(parents=True)
    (folder / "listing-00001.json.zst").write_bytes(b"page")
    assert not make(published).backup.manifest().part("captures")
    made = make(published, captures=True)
    assert made.new
    assert list(made.backup.manifest().part("captures")) == [
        "captures/date=2025-08-10/run=01/listing-00001.json.zst"
    ]
