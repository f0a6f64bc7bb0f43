"""The data folder is destroyed, or a part of it, and comes back: the same days, and the next sync goes on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from gguf_assets.atomic import json_bytes
from gguf_assets.demo.server import LoopbackHub
from gguf_assets.store.backups import backups_in
from gguf_assets.store.lock import WriterLock
from gguf_assets.store.publish import Published
from gguf_assets.store.restoring import choose_backup, plan_restore, restore
from gguf_assets.store.thinning import thin
from gguf_assets_tests.backed_up import spoil, with_storage_commands
from gguf_assets_tests.calling import Catalogue, assert_clear, digests
from gguf_assets_tests.hubs import gguf, hub_of, plain, repository
from gguf_assets_tests.store.processes import outcomes_of_dying

FIRST = date(2025, 8, 10)
SECOND, THIRD, FOURTH, FIFTH = (FIRST + timedelta(days=days) for days in (1, 2, 3, 4))
STEADY = [repository(f"owner/model-{number:02d}") for number in range(40)]
CHANGED = repository(
    "owner/model-03", sha="f" * 40, files=(plain("README.md"), gguf("model-03.Q4_K_M.gguf", version=2))
)
DAYS = {
    FIRST: STEADY,
    SECOND: [*STEADY, repository("owner/new")],
    THIRD: [*(r for r in STEADY if r.model_id != "owner/model-03"), CHANGED, repository("owner/new")],
}
DAYS[FOURTH] = DAYS[FIFTH] = DAYS[THIRD]
NOW = datetime(2025, 8, 12, 12, tzinfo=UTC)

with_storage_commands()


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    with hub_of(DAYS, tick=0) as hub:
        yield hub


@pytest.fixture(scope="module")
def lived(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """Two days, published and backed up by their syncs."""
    catalogue = Catalogue(tmp_path_factory.mktemp("lived"), hub)
    config = catalogue.data / "config"
    config.mkdir(parents=True)
    (config / "sync-config.yaml").write_text("environment: testing  # mine\n")
    (config / "sync-config.yaml").chmod(0o600)
    for day in (FIRST, SECOND):
        hub.set_day(day)
        assert catalogue.sync().code == 0
    return catalogue


@pytest.fixture
def catalogue(lived: Catalogue, tmp_path: Path) -> Catalogue:
    """A copy of it on the second day."""
    lived.hub.set_day(SECOND)
    return lived.copy(tmp_path)


def destroy(catalogue: Catalogue, *, keep: str | None = None) -> None:
    """All of the data folder is gone, but for one folder in it."""
    for path in catalogue.data.iterdir():
        if path.name != keep:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if keep is None:
        catalogue.data.rmdir()


def goes_on(catalogue: Catalogue, expected: Catalogue) -> None:
    """The third day is incremental, and what comes of it is what comes of it without a disaster."""
    catalogue.hub.set_day(THIRD)
    ended = catalogue.sync("--json")
    assert ended.code == 0, ended
    assert (ended.json["mode"], ended.json["reason"]) == ("incremental", "recent")
    assert (ended.json["added"], ended.json["updated"], ended.json["removed"]) == (0, 1, 0)
    assert expected.sync().code == 0
    assert catalogue.published() == expected.published()
    assert catalogue.call("verify", "--deep", "--captures", "--backups").code == 0


def test_every_sync_leaves_a_backup_of_the_day_it_published(catalogue):
    backups = backups_in(catalogue.data / "backups")
    assert [backup.manifest().occasion for backup in backups] == [
        f"after the sync of {FIRST}",
        f"after the sync of {SECOND}",
    ]
    assert list(backups[-1].manifest().days) == [FIRST, SECOND]
    inside = digests(backups[-1].path / "published")
    assert inside == catalogue.published()


@pytest.mark.parametrize("elsewhere", [False, True], ids=["inside data", "in another folder"])
def test_after_the_data_folder_is_destroyed_the_same_days_come_back(
    catalogue, lived, tmp_path, tmp_path_factory, elsewhere
):
    undisturbed = lived.copy(tmp_path_factory.mktemp("undisturbed"))
    if elsewhere:
        catalogue.environ["GGUF_SYNC__STORAGE__BACKUP_DIRECTORY"] = str(tmp_path / "elsewhere")
        shutil.rmtree(catalogue.data / "backups")
        assert catalogue.call("backup").code == 0
    before = catalogue.published()
    history = (catalogue.data / "history" / "syncs.jsonl").read_bytes()
    config = catalogue.data / "config" / "sync-config.yaml"
    destroy(catalogue, keep=None if elsewhere else "backups")
    ended = catalogue.call("restore", "--json")
    assert ended.code == 0, ended
    assert ended.json["days"] == [str(FIRST), str(SECOND)]
    assert ended.json["replaced_kept_in"] is None
    assert catalogue.published() == before
    assert (catalogue.data / "history" / "syncs.jsonl").read_bytes() == history
    assert config.read_text() == "environment: testing  # mine\n"
    assert config.stat().st_mode & 0o777 == 0o600
    assert config.parent.stat().st_mode & 0o777 == 0o700
    for command in ("status", "doctor", "verify"):
        ended = catalogue.call(command)
        assert ended.code == 0, (command, ended)
    assert_clear(catalogue.call("rederive", "--from", str(FIRST)), 2, "has no complete capture")
    goes_on(catalogue, undisturbed)


def test_the_day_of_the_disaster_may_be_synced_again(catalogue):
    """Its capture is gone, so the Hub is walked again, incrementally, on the day before it."""
    destroy(catalogue, keep="backups")
    assert catalogue.call("restore").code == 0
    ended = catalogue.sync("--json")
    assert ended.code == 0, ended
    assert (ended.json["mode"], ended.json["models"], ended.json["added"]) == ("incremental", 41, 1)
    assert catalogue.call("rederive", "--from", str(SECOND), "--to", str(SECOND)).code == 0
    assert catalogue.call("verify", "--captures").code == 0


def test_what_is_there_already_is_left_alone(catalogue):
    before = digests(catalogue.data)
    ended = catalogue.call("restore")
    assert ended.code == 0, ended
    assert "nothing to do" in ended.stdout
    assert digests(catalogue.data) == before


def test_a_dry_run_says_what_would_come_back_and_writes_nothing(catalogue):
    destroy(catalogue, keep="backups")
    before = digests(catalogue.data)
    ended = catalogue.call("restore", "--dry-run")
    assert ended.code == 0, ended
    assert "Would be put back" in ended.stdout
    assert str(FIRST) in ended.stdout
    assert digests(catalogue.data) == before
    assert [path.name for path in catalogue.data.iterdir()] == ["backups"]


def test_one_day_comes_back_alone(catalogue):
    before = catalogue.published()
    for dataset in ("models", "files", "changes"):
        shutil.rmtree(catalogue.data / "published" / dataset / f"date={FIRST}", ignore_errors=True)
    (catalogue.data / "published" / "manifest" / f"date={FIRST}.json").unlink()
    (catalogue.data / "history" / "syncs.jsonl").unlink()
    ended = catalogue.call("restore", "--date", str(FIRST))
    assert ended.code == 0, ended
    assert catalogue.published() == before
    assert not (catalogue.data / "history" / "syncs.jsonl").exists()


def test_a_damaged_file_is_replaced_after_it_was_backed_up_and_somebody_agreed(catalogue):
    path = catalogue.store.layout.published_file("models", SECOND)
    before = catalogue.published()
    spoil(path)
    damaged = path.read_bytes()
    asked = catalogue.call("restore")
    assert_clear(asked, 2, "Replace 1 files", "--yes")
    assert path.read_bytes() == damaged
    ended = catalogue.call("restore", "--yes", "--json")
    assert ended.code == 0, ended
    assert ended.json["overwritten"] == [f"published/models/date={SECOND}/part-0.parquet"]
    assert catalogue.published() == before
    kept = next(b for b in backups_in(catalogue.data / "backups") if b.name == ended.json["replaced_kept_in"])
    assert kept.file(f"published/models/date={SECOND}/part-0.parquet").read_bytes() == damaged
    assert kept.manifest().occasion == "before a restore"
    # It is the newest one, and of damaged data: a restore does not choose it unless it is named.
    assert choose_backup(catalogue.store.layout, None, None)[0] != kept
    spoiled = catalogue.call("restore", "--backup", kept.name, "--yes")
    assert_clear(
        spoiled, 1, "is damaged: it is not what the manifest of its day says"
    ) if spoiled.code else None
    assert catalogue.published() == before


def test_a_damaged_backup_is_refused_and_an_older_one_is_named(catalogue):
    first, second = backups_in(catalogue.data / "backups")
    path = f"published/models/date={SECOND}/part-0.parquet"
    destroy(catalogue, keep="backups")
    spoil(second.file(path))
    ended = catalogue.call("restore")
    assert_clear(ended, 1, f"{second.file(path)} is damaged", f"restore --backup {first.name}")
    assert [p.name for p in catalogue.data.iterdir() if p.name not in ("backups", "locks")] == []
    assert catalogue.call("restore", "--backup", first.name).code == 0
    assert catalogue.store.published.days() == [FIRST]
    assert catalogue.call("verify").code == 0


def test_a_file_that_is_damaged_in_one_backup_is_taken_from_another(catalogue):
    before = catalogue.published()
    first, second = backups_in(catalogue.data / "backups")
    path = f"published/models/date={FIRST}/part-0.parquet"
    assert second.file(path).samefile(first.file(path)) or second.file(path).exists()
    destroy(catalogue, keep="backups")
    spoil(second.file(path))
    assert catalogue.call("restore").code == 0
    assert catalogue.published() == before


def test_a_byte_flipped_in_place_is_flipped_in_the_links_too_and_nothing_is_promised(catalogue):
    """Links guard against losing and replacing files; against a bad disk there is only another disk."""
    shutil.rmtree(catalogue.data / "backups")
    assert catalogue.call("backup").code == 0
    layout = catalogue.store.layout
    path = layout.published_file("models", SECOND)
    with path.open("r+b") as file:
        file.seek(200)
        byte = file.read(1)
        file.seek(200)
        file.write(bytes([byte[0] ^ 1]))
    ended = catalogue.call("verify", "--json")
    assert ended.code == 1
    [finding] = ended.json["findings"]
    assert finding["path"] == str(path)
    assert finding["remedy"] == f"gguf-assets rederive --from {SECOND} --to {SECOND}"
    assert_clear(catalogue.call("restore", "--date", str(SECOND), "--yes"), 1, "is damaged")
    assert catalogue.call("rederive", "--from", str(SECOND), "--to", str(SECOND)).code == 0
    assert catalogue.call("verify").code == 0


def test_a_newer_schema_is_refused(catalogue):
    newest = backups_in(catalogue.data / "backups")[-1]
    path = newest.file("manifest.json")
    content = orjson.loads(path.read_bytes()) | {"schema_version": 99, "product_version": "9.9"}
    path.write_bytes(json_bytes(content))
    destroy(catalogue, keep="backups")
    ended = catalogue.call("restore", "--backup", newest.name)
    assert_clear(ended, 2, "gguf_assets 9.9", "schema version 99", "Install that version")


def test_names_days_and_folders_that_are_not_there_are_named(catalogue, tmp_path):
    newest = backups_in(catalogue.data / "backups")[-1]
    assert_clear(catalogue.call("restore", "--backup", "nonsense"), 2, newest.name)
    assert_clear(catalogue.call("restore", "--date", "2020-01-01"), 2, "No backup in", "--list")
    assert_clear(catalogue.call("restore", "--folder", str(tmp_path / "none")), 2, "There are no backups in")
    assert_clear(catalogue.call("restore", "--config", "--date", str(FIRST)), 2, "cannot be combined")
    ended = catalogue.call("restore", "--list")
    assert ended.code == 0
    assert newest.name in ended.stdout.replace("\n", "")
    listed = catalogue.call("restore", "--list", "--json").json["backups"]
    assert [entry["backup"] for entry in listed] == [
        backup.name for backup in reversed(backups_in(catalogue.data / "backups"))
    ]


def test_a_configuration_that_is_there_is_replaced_only_when_asked_for(catalogue):
    config = catalogue.data / "config" / "sync-config.yaml"
    was = config.read_text()
    config.write_text("environment: testing  # changed since\n")
    shutil.rmtree(catalogue.data / "published" / "models")
    assert catalogue.call("restore").code == 0
    assert config.read_text() == "environment: testing  # changed since\n"
    ended = catalogue.call("restore", "--config", "--yes", "--json")
    assert ended.code == 0, ended
    assert config.read_text() == was
    kept = backups_in(catalogue.data / "backups")[-1]
    assert kept.file("config/sync-config.yaml").read_text() == "environment: testing  # changed since\n"


def test_days_that_a_backup_lacks_stay(catalogue):
    before = catalogue.published()
    first = backups_in(catalogue.data / "backups")[0]
    shutil.rmtree(catalogue.data / "published" / "models" / f"date={FIRST}")
    ended = catalogue.call("restore", "--backup", first.name, "--json")
    assert ended.code == 0, ended
    assert ended.json["left_as_they_are"] == [str(SECOND)]
    assert catalogue.published() == before
    assert catalogue.call("verify").code == 0


def test_a_thinned_day_comes_back_thinned_and_alone_it_comes_back_whole(catalogue):
    for day in (THIRD, FOURTH, FIFTH):
        catalogue.hub.set_day(day)
        assert catalogue.sync().code == 0
    layout = catalogue.store.layout
    files = layout.published_file("files", THIRD)
    whole = files.read_bytes()
    with WriterLock(layout).held(command="maintenance"):
        thinned = list(thin(catalogue.store, THIRD + timedelta(days=99), 30))
    assert not files.exists(), thinned
    ended = catalogue.call("verify", "--deep", "--json")
    assert (ended.code, ended.json["thinned"], ended.json["rebuilt"]) == (0, [str(THIRD)], [str(THIRD)])
    shutil.rmtree(catalogue.data / "backups")
    assert catalogue.call("backup").code == 0
    before = catalogue.published()
    destroy(catalogue, keep="backups")
    assert catalogue.call("restore").code == 0
    assert catalogue.published() == before
    assert catalogue.call("verify", "--deep").code == 0
    note = layout.thinned_note(THIRD)
    note.unlink()
    [finding] = catalogue.call("verify", "--json").json["findings"]
    assert finding["path"] == str(files)
    assert finding["remedy"].startswith(f"gguf-assets restore --date {THIRD}")
    ended = catalogue.call("restore", "--date", str(THIRD))
    assert ended.code == 0, ended
    assert files.read_bytes() == whole
    assert not note.exists()
    assert catalogue.call("restore").code == 0
    assert not note.exists(), "the day is whole, so its note would be of no use"
    assert catalogue.call("verify").code == 0


def test_what_was_synced_before_the_restore_stays_in_the_history(catalogue):
    destroy(catalogue, keep="backups")
    catalogue.hub.set_day(THIRD)
    assert catalogue.sync().code == 0
    assert catalogue.last.reason == "first_run"
    assert catalogue.call("restore", "--backup", "2", "--yes").code == 0
    assert [sync.day for sync in catalogue.store.history.syncs()] == [FIRST, SECOND, THIRD]
    assert catalogue.store.published.days() == [FIRST, SECOND, THIRD]
    assert catalogue.call("verify").code == 0


def test_somebody_else_who_writes_is_waited_for_by_name(catalogue):
    pid = os.fork()
    if pid == 0:
        with WriterLock(catalogue.store.layout).held(command="gguf-assets restore"):
            os.kill(os.getpid(), 19)  # SIGSTOP: it holds the lock until the test is done
        os._exit(0)
    os.waitpid(pid, os.WUNTRACED)
    try:
        for command in ("restore", "backup"):
            assert_clear(catalogue.call(command), 2, f"process {pid}", "gguf-assets restore")
        assert catalogue.call("restore", "--dry-run").code == 0
        assert catalogue.call("verify").code == 0
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    assert catalogue.call("restore").code == 0


@pytest.mark.slow
def test_whoever_is_killed_while_restoring_is_completed_by_the_next(catalogue, tmp_path):
    """Readers see each day whole or not at all, and the second try ends where the first would have."""
    before = catalogue.published()
    layout = replace(
        catalogue.store.layout,
        backups=catalogue.data / "backups",
        state=tmp_path / "state",
        data=tmp_path / "x",
    )

    def prepare() -> None:
        shutil.rmtree(layout.data, ignore_errors=True)
        shutil.rmtree(layout.state, ignore_errors=True)
        layout.data.mkdir()

    def put_back() -> None:
        restore(layout, plan_restore(layout, choose_backup(layout, None, None)), NOW)

    deaths = 0
    for death in outcomes_of_dying(put_back, prepare):
        deaths += 1
        for path in layout.published.glob("manifest/date=*.json"):
            day = date.fromisoformat(path.stem.removeprefix("date="))
            if not layout.journal.exists():
                Published(layout).verify(day)
        if deaths % 7 == 0:  # each takes a moment
            put_back()
            assert digests(layout.published) == before, death
    assert deaths > 50
