"""Which files there are, what a name means, and which backups are too old."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gguf_assets.errors import PermanentError, Refused
from gguf_assets.settings.tree import ConfigTree, taken_at
from gguf_assets_tests.settings.trees import PRODUCTION, STAGING, START, Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_a_missing_folder_holds_nothing(tree: Tree) -> None:
    assert (tree.tree.files(), tree.tree.backup_files(), tree.prune(1)) == ([], [], [])
    assert not tree.tree.folder.exists()


def test_files_come_with_the_active_one_first_and_the_others_by_name(tree: Tree) -> None:
    for name in ("sync-config-staging.yaml", "sync-config.yaml", "sync-config-high-volume.yaml"):
        tree.write(name, STAGING)
    for name in ("other.yaml", "sync-config.yaml.bak", ".sync-config.yaml.1-1.tmp", "deployed.json"):
        tree.write(name, STAGING)
    (tree.tree.folder / "sync-config-broken.yaml").symlink_to("nowhere")
    assert [path.name for path in tree.tree.files()] == [
        "sync-config.yaml",
        "sync-config-broken.yaml",
        "sync-config-high-volume.yaml",
        "sync-config-staging.yaml",
    ]


def test_names_mean_files_of_the_folder_and_paths_themselves(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tree.tree.folder
    names = ("sync-config.yaml", "sync-config-staging.yaml", "sync-config-high-volume.yaml", "mine.yaml")
    for name in names:
        tree.write(name, STAGING)
    backup = tree.back_up()
    elsewhere = tree.home / "elsewhere.yaml"
    elsewhere.write_bytes(STAGING)
    monkeypatch.chdir(tree.home)
    for name, path in {
        "active": tree.tree.active,
        "staging": folder / "sync-config-staging.yaml",
        "high-volume": folder / "sync-config-high-volume.yaml",
        "sync-config-high-volume": folder / "sync-config-high-volume.yaml",
        "sync-config-high-volume.yaml": folder / "sync-config-high-volume.yaml",
        "mine.yaml": folder / "mine.yaml",
        "mine": folder / "mine.yaml",
        backup.name: backup,
        backup.stem: backup,
        str(elsewhere): elsewhere,
        "./elsewhere.yaml": Path("./elsewhere.yaml"),
    }.items():
        assert tree.tree.find(name) == path, name


def test_what_is_not_there_is_refused_with_what_is(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refused) as caught:
        tree.tree.find("active")
    assert "There is no active configuration" in caught.value.message and "none" in caught.value.message
    assert "gguf-assets config create" in str(caught.value.remedy)
    tree.write("sync-config-staging.yaml", STAGING)
    tree.write("sync-config-production-v2.yaml", STAGING)
    (tree.home / "mine.yaml").write_bytes(STAGING)
    monkeypatch.chdir(tree.home)
    for name in (
        "mine.yaml",
        "stagin",
        "",
        ".",
        "..",
        "backups",
        "./nothing.yaml",
        "/nothing/at.all",
        "~nobody/x",
    ):
        with pytest.raises(Refused) as caught:
            tree.tree.find(name)
        assert "sync-config-staging.yaml" in caught.value.message
        assert "sync-config-production-v2.yaml" in caught.value.message
    with pytest.raises(Refused) as caught:
        tree.tree.find("testing")
    path = tree.tree.folder / "sync-config-testing.yaml"
    assert caught.value.message == f"Environment configuration not found: {path}"
    assert str(caught.value.remedy) == "Create it: gguf-assets config create testing"


def test_a_folder_that_cannot_be_read_is_said(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> list[str]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.listdir", denied)
    with pytest.raises(PermanentError, match=r"Cannot read .*config: Permission denied"):
        tree.tree.files()


# -- backups ----------------------------------------------------------------------------------------------


def _backup(days: float) -> str:
    return f"sync-config_backup_{START - timedelta(days=days):%Y%m%d_%H%M%S}.yaml"


def test_backups_come_with_the_newest_first(tree: Tree) -> None:
    for name in (_backup(2), _backup(0), _backup(1), "sync-config_backup_mine.yaml", "other.yaml"):
        tree.write(f"backups/{name}", STAGING)
    names = [path.name for path in tree.tree.backup_files()]
    assert names == [_backup(0), _backup(1), _backup(2), "sync-config_backup_mine.yaml"]


def test_old_backups_are_removed_by_the_time_in_their_names_and_the_newest_stays(tree: Tree) -> None:
    kept = ["sync-config_backup_mine.yaml", "sync-config-staging_backup_20200101_000000.yaml", "notes.txt"]
    kept += ["sync-config_backup_20209999_000000.yaml", "sync-config_backup_20200101_000000.yaml.gz"]
    for name in (*kept, _backup(29.9), _backup(30), _backup(30.1), _backup(400)):
        tree.write(f"backups/{name}", STAGING)
    tree.write(f"backups/{_backup(400)}".replace(".yaml", ".json"), "{}")
    removed = tree.prune(30)
    assert [path.name for path in removed] == [_backup(30.1), _backup(400)]
    assert tree.backups() == sorted([*kept, _backup(29.9), _backup(30)])
    entry = tree.trail.entries()[-1]
    assert (entry["event"], entry["removed"]) == ("prune", [_backup(30.1), _backup(400)])
    tree.later(days=1000)
    assert [path.name for path in tree.prune(30)] == [_backup(30)]
    assert tree.prune(0) == tree.prune(10**12) == []
    assert tree.events() == ["prune", "prune"]
    with pytest.raises(Refused, match="-1 days"):
        tree.prune(-1)


@given(
    moments=st.lists(
        st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
        min_size=1,
        max_size=6,
    ),
    days=st.integers(0, 10_000),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pruning_removes_exactly_what_is_older_but_never_the_newest(
    tmp_path_factory: pytest.TempPathFactory, moments: list[datetime], days: int
) -> None:
    tree = Tree(tmp_path_factory.mktemp("tree"))
    tree.now = datetime(2100, 1, 1, tzinfo=UTC)
    times = {moment.replace(microsecond=0) for moment in moments}
    for moment in times:
        tree.write(f"backups/sync-config_backup_{moment:%Y%m%d_%H%M%S}.yaml", STAGING)
    tree.prune(days, trail=None)
    expected = {moment for moment in times if (tree.now - moment).total_seconds() <= days * 86_400} | {
        max(times)
    }
    assert {taken_at(path) for path in tree.tree.backup_files()} == expected


def test_a_backup_is_taken_in_utc_byte_for_byte(tree: Tree) -> None:
    with pytest.raises(Refused, match=r"There is no active configuration to back up(.|\n)*config deploy"):
        tree.back_up()
    tree.write("sync-config.yaml", b"\xef\xbb\xbfenvironment: staging # \xc3\xa9\r\n")
    tree.now = datetime.fromisoformat("2026-03-01T01:30:00+05:00")
    path = tree.back_up()
    assert path == tree.tree.backups / "sync-config_backup_20260228_203000.yaml"
    assert path.read_bytes() == tree.tree.active.read_bytes()
    entry = tree.trail.entries()[-1]
    assert (entry["event"], entry["file"], entry["environment"]) == ("backup", str(path), "staging")


def test_a_broken_active_file_is_backed_up_as_it_is(tree: Tree) -> None:
    tree.write("sync-config.yaml", b"a: [\xff")
    assert tree.back_up().read_bytes() == b"a: [\xff"


def test_a_relative_folder_stays_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tree = ConfigTree(Path("config"))
    with pytest.raises(Refused) as caught:
        tree.find("development")
    assert caught.value.message == "Environment configuration not found: config/sync-config-development.yaml"
    Path("config").mkdir()
    Path("config/sync-config-production.yaml").write_bytes(PRODUCTION)
    assert tree.find("production") == Path("config/sync-config-production.yaml")
