"""Putting a file in force and back: byte for byte, whole or not at all, and for the right environment."""

from __future__ import annotations

import codecs
import errno
import multiprocessing
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gguf_assets import atomic
from gguf_assets.errors import ErrorCategory, PermanentError, Refused
from gguf_assets.settings.problems import InvalidSettings
from gguf_assets_tests.settings.trees import PRODUCTION, STAGING, Tree, mode


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


# -- byte for byte ----------------------------------------------------------------------------------------

_COMMENT = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="\ufeff\ufffe\uffff\x85"),
    max_size=20,
)


_LEVELS = ["DEBUG", "info", '"ERROR"', "'WARNING'"]


@st.composite
def _files(draw: st.DrawFn) -> bytes:
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    lines = [
        f"# {draw(_COMMENT)}",
        "environment: staging",
        f"log_level: {draw(st.sampled_from(_LEVELS))}  # {draw(_COMMENT)}",
        "rate_limiting:",
        f"    max_retries: {draw(st.integers(0, 20))}",
        *draw(st.sampled_from([[], ["", "   "], ["custom_settings: {a: [1, 2]}"]])),
    ]
    text = newline.join(lines) + draw(st.sampled_from(["", newline, newline * 3]))
    return draw(st.sampled_from([b"", codecs.BOM_UTF8])) + text.encode()


@given(first=_files(), second=_files())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bytes_survive_deploying_and_restoring(
    tmp_path_factory: pytest.TempPathFactory, first: bytes, second: bytes
) -> None:
    tree = Tree(tmp_path_factory.mktemp("tree"))
    source = tree.write("sync-config-staging.yaml", first)
    tree.deploy("staging")
    assert tree.tree.active.read_bytes() == first == source.read_bytes()
    source.write_bytes(second)
    tree.later(seconds=5)
    done = tree.deploy("staging")
    assert tree.tree.active.read_bytes() == second
    assert done.identical == (first == second)
    if done.backup is not None:
        assert done.backup.read_bytes() == first
        tree.restore(done.backup.name)
        assert tree.tree.active.read_bytes() == first


def test_only_the_owner_may_use_what_is_written(tree: Tree) -> None:
    tree.write("sync-config-staging.yaml", STAGING)
    tree.write("sync-config-production.yaml", PRODUCTION).chmod(0o644)
    tree.tree.folder.chmod(0o755)
    tree.home.chmod(0o755)
    tree.deploy("staging")
    tree.deploy("production")
    assert mode(tree.tree.folder) == mode(tree.tree.backups) == 0o700
    private = [tree.tree.active, tree.tree.folder / "deployed.json", *tree.tree.backups.iterdir()]
    assert [mode(path) for path in private] == [0o600] * 3
    assert mode(tree.home) == 0o755
    assert mode(tree.tree.folder / "sync-config-production.yaml") == 0o644


def test_the_active_file_is_backed_up_first_and_no_backup_overwrites_another(tree: Tree) -> None:
    source = tree.write("sync-config-staging.yaml", STAGING)
    assert tree.deploy("staging").backup is None
    for number in range(3):
        source.write_bytes(STAGING + b"# %d\n" % number)
        tree.deploy("staging")
    assert tree.backups() == [
        "sync-config_backup_20260301_120000.yaml",
        "sync-config_backup_20260301_120001.yaml",
        "sync-config_backup_20260301_120002.yaml",
    ]
    contents = [path.read_bytes() for path in reversed(tree.tree.backup_files())]
    assert contents == [STAGING, STAGING + b"# 0\n", STAGING + b"# 1\n"]


def test_an_identical_file_changes_nothing(tree: Tree) -> None:
    tree.write("sync-config-staging.yaml", STAGING)
    tree.deploy("staging")
    before = {path: path.stat().st_mtime_ns for path in tree.home.rglob("*") if path.is_file()}
    tree.later(hours=1)
    done = tree.deploy("staging")
    assert (done.identical, done.backup, done.changes) == (True, None, [])
    assert {path: path.stat().st_mtime_ns for path in tree.home.rglob("*") if path.is_file()} == before


# -- what is refused --------------------------------------------------------------------------------------


def test_an_unknown_environment_is_refused_in_two_lines(tree: Tree) -> None:
    with pytest.raises(InvalidSettings) as caught:
        tree.deploy("prod")
    assert str(caught.value) == (
        "Invalid environment: prod\nValid environments: development, staging, production, testing"
    )


def test_a_missing_file_is_named_as_it_was_looked_up_with_the_command_that_makes_it(tree: Tree) -> None:
    with pytest.raises(Refused) as caught:
        tree.deploy("development")
    path = tree.tree.folder / "sync-config-development.yaml"
    assert caught.value.message == f"Environment configuration not found: {path}"
    assert "gguf-assets config create development" in str(caught.value.remedy)
    assert not tree.tree.folder.exists()
    with pytest.raises(Refused, match=r"Configuration file not found: elsewhere/x\.yaml"):
        tree.deploy("development", source=Path("elsewhere/x.yaml"))


def test_all_problems_of_a_file_are_reported_and_nothing_is_deployed(tree: Tree) -> None:
    tree.write("sync-config.yaml", PRODUCTION)
    tree.write(
        "sync-config-staging.yaml",
        "environment: staging\nmax_retrys: 1\nvalidation: {min_completeness_score: 1.5}\n",
    )
    with pytest.raises(InvalidSettings) as caught:
        tree.deploy("staging")
    assert len(caught.value.problems) == 2
    assert "Configuration validation failed: Min completeness score must be between 0 and 1" in str(
        caught.value
    )
    assert tree.tree.active.read_bytes() == PRODUCTION
    assert (tree.backups(), tree.events()) == ([], [])


@pytest.mark.parametrize("content", [b"environment: staging\nmax_retrys: 1\n", b"a: [", b"\xff\xfe\x00"])
def test_without_validation_bytes_are_deployed_as_they_are_and_the_trail_says_so(
    tree: Tree, content: bytes
) -> None:
    tree.write("sync-config-staging.yaml", content)
    tree.deploy("staging", validate=False)
    assert tree.tree.active.read_bytes() == content
    entry = tree.trail.entries()[-1]
    assert (entry["event"], entry["validated"], entry["problems"], entry["changes"]) == (
        "deploy",
        False,
        1,
        {},
    )
    # Out of it again, and back into it only by force.
    tree.write("sync-config-production.yaml", PRODUCTION)
    backup = tree.deploy("production").backup
    assert backup is not None and backup.read_bytes() == content
    with pytest.raises(InvalidSettings):
        tree.restore(backup.name)
    assert tree.tree.active.read_bytes() == PRODUCTION
    tree.restore(backup.name, force=True)
    assert tree.tree.active.read_bytes() == content


def test_what_is_no_file_is_refused_even_without_validation(tree: Tree) -> None:
    (tree.tree.folder / "folder.yaml").mkdir(parents=True)
    (tree.tree.folder / "link.yaml").symlink_to("nowhere")
    os.mkfifo(tree.tree.folder / "pipe.yaml")
    for name, reason in (("folder", "folder"), ("link", "leads nowhere"), ("pipe", "pipe")):
        with pytest.raises(InvalidSettings, match=reason):
            tree.deploy("staging", source=tree.tree.folder / f"{name}.yaml", validate=False, force=True)


# -- environments -----------------------------------------------------------------------------------------


def test_a_file_of_another_environment_is_refused_naming_both(tree: Tree) -> None:
    source = tree.write("sync-config-production-v2.yaml", PRODUCTION)
    with pytest.raises(InvalidSettings) as caught:
        tree.deploy("staging", source=source)
    assert f"The file {source} is for production, and the target is staging" in str(caught.value)
    assert "--force" in str(caught.value.remedy)
    nothing = tree.write("plain.yaml", "log_level: DEBUG\n")
    with pytest.raises(InvalidSettings, match="names no environment, which means production"):
        tree.deploy("staging", source=nothing)
    tree.deploy("production", source=nothing)


def test_by_force_it_counts_for_the_target_until_it_is_edited(tree: Tree) -> None:
    source = tree.write("sync-config-production-v2.yaml", PRODUCTION)
    tree.deploy("staging", source=source, force=True)
    assert tree.tree.active.read_bytes() == PRODUCTION
    loaded = tree.load()
    assert loaded.settings.environment == "staging"
    said = f"deployment as staging (file {tree.tree.active} says production)"
    assert loaded.origins["environment"] == loaded.places["environment"] == said
    assert "deployed as staging" in loaded.source
    assert tree.load(SYNC_ENVIRONMENT="staging").settings.environment == "staging"
    with pytest.raises(
        InvalidSettings, match="Environment must be the same everywhere: staging in the deploy"
    ):
        tree.load(SYNC_ENVIRONMENT="production")
    tree.write("sync-config.yaml", PRODUCTION + b"# edited\n")
    assert tree.load().settings.environment == "production"


def test_rules_are_judged_for_the_target(tree: Tree) -> None:
    fast = "environment: development\nrate_limiting: {requests_per_second: 10}\n"
    source = tree.write("sync-config-development.yaml", fast)
    with pytest.raises(InvalidSettings, match=r"Requests per second must be at most 2\.0 in production"):
        tree.deploy("production", source=source, force=True)
    # The other way round: what production forbids may be tried on staging.
    fast = fast.replace("development", "production")
    tree.deploy("staging", source=tree.write("sync-config-production-v2.yaml", fast), force=True)
    assert tree.load().settings.rate_limiting.requests_per_second == 10


def test_force_hides_no_environment_that_does_not_exist(tree: Tree) -> None:
    source = tree.write("x.yaml", "environment: prod\n")
    with pytest.raises(InvalidSettings, match="Invalid environment: prod"):
        tree.deploy("staging", source=source, force=True)
    tree.deploy("staging", source=source, force=True, validate=False)
    with pytest.raises(InvalidSettings, match="Invalid environment: prod"):
        tree.load()


def test_the_same_bytes_may_move_on_to_another_environment_and_back(tree: Tree) -> None:
    source = tree.write("sync-config-production-v2.yaml", PRODUCTION)
    tree.deploy("staging", source=source, force=True)
    done = tree.deploy("production", source=source)
    assert not done.identical
    assert [(c.key, c.old, c.new) for c in done.changes] == [("environment", "staging", "production")]
    assert tree.in_force() == (PRODUCTION, "production")
    assert done.backup is not None
    back = tree.restore(done.backup.name)
    assert (back.environment, tree.in_force()) == ("staging", (PRODUCTION, "staging"))
    assert tree.restore(done.backup.stem).identical


def test_a_restored_backup_counts_for_what_it_did_also_by_path_and_after_other_deployments(
    tree: Tree,
) -> None:
    v2 = tree.write("sync-config-production-v2.yaml", PRODUCTION)
    tree.write("sync-config-staging.yaml", STAGING)
    tree.deploy("staging", source=v2, force=True)
    tried = tree.deploy("staging").backup
    assert tried is not None
    plain = tree.restore(str(tried)).backup
    assert tree.in_force() == (PRODUCTION, "staging")
    assert plain is not None
    tree.restore(plain.name)
    assert tree.in_force() == (STAGING, "staging")


def test_what_was_deployed_before_and_is_put_back_by_hand_counts_for_itself(tree: Tree) -> None:
    tree.write("sync-config-staging.yaml", STAGING)
    tree.deploy("staging", source=tree.write("v2.yaml", PRODUCTION), force=True)
    tree.deploy("staging")
    tree.write("sync-config.yaml", PRODUCTION)
    assert tree.in_force() == (PRODUCTION, "production")


def test_any_file_can_be_restored_by_its_path_whatever_lies_beside_it(tree: Tree) -> None:
    path = tree.write("elsewhere/mine.yaml", STAGING)
    tree.write("elsewhere/mine.json", '{"no": "note"}')
    assert tree.restore(str(path)).environment == "staging"
    tree.write("v2.yaml", PRODUCTION)
    tree.deploy("staging", source=tree.tree.folder / "v2.yaml", force=True)
    backup = tree.back_up()
    backup.with_suffix(".json").write_text("{")
    with pytest.raises(PermanentError, match=r"\.json is damaged"):
        tree.restore(backup.name)


def test_an_unknown_backup_lists_those_that_there_are(tree: Tree) -> None:
    tree.write("sync-config.yaml", STAGING)
    with pytest.raises(Refused, match=r"There is no backup 'yesterday'\. .*\n  none"):
        tree.restore("yesterday")
    names = [tree.back_up().name for _ in range(2)]
    with pytest.raises(Refused) as caught:
        tree.restore("sync-config.yaml")
    assert all(f"\n  {name}" in caught.value.message for name in names)
    # The copy of another file that `create --force` keeps is no backup of the active one.
    tree.create("staging")
    tree.later(days=1)
    copy = tree.create("staging", base=tree.tree.active, force=True).copy
    assert copy is not None and copy.exists()
    with pytest.raises(Refused, match="There is no backup"):
        tree.restore(copy.name)


def test_a_damaged_record_is_said_and_the_next_deployment_writes_it_anew(tree: Tree) -> None:
    source = tree.write("sync-config-production-v2.yaml", PRODUCTION)
    tree.deploy("staging", source=source, force=True)
    for damage in ("{", "[]", '{"deployments": [{"file": 1}]}'):
        tree.write("deployed.json", damage)
        with pytest.raises(InvalidSettings, match=r"deployed\.json is damaged(.|\n)*config deploy"):
            tree.load()
        tree.deploy("staging", source=source, force=True)
        assert tree.in_force() == (PRODUCTION, "staging")


# -- crashes, full disks, two at once ---------------------------------------------------------------------


class Killed(BaseException):
    """The process dies: nothing after this point may count on being run."""


def _killing(monkeypatch: pytest.MonkeyPatch, at: int, *, after: bool) -> None:
    """Die before or after the replacement number `at`, from 0."""
    replace, count = Path.replace, iter(range(1000))

    def dying(self: Path, target: Path) -> Any:
        dies = next(count) == at
        if dies and not after:
            raise Killed
        replace(self, target)
        if dies:
            raise Killed

    monkeypatch.setattr(Path, "replace", dying)


def _none(tree: Tree) -> None:
    tree.tree.folder.mkdir()


def _by_hand(tree: Tree) -> None:
    tree.write("sync-config.yaml", STAGING)


def _as_staging(tree: Tree) -> None:
    tree.deploy("staging", source=tree.write("v2.yaml", PRODUCTION), force=True)


V3 = PRODUCTION + b"# third\n"


def _plain(tree: Tree) -> None:
    tree.write("sync-config-testing.yaml", "environment: testing\n")
    tree.deploy("testing")


def _forced(tree: Tree) -> None:
    tree.deploy("staging", source=tree.write("v3.yaml", V3), force=True)


def _same_bytes(tree: Tree) -> None:
    tree.deploy("production", source=tree.write("v2.yaml", PRODUCTION))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("change", [_plain, _forced, _same_bytes])
@pytest.mark.parametrize("start", [_none, _by_hand, _as_staging])
def test_a_crash_at_any_write_leaves_the_old_or_the_new_and_never_a_mixture(
    tmp_path: Path, start: Callable[[Tree], None], change: Callable[[Tree], None], after: bool
) -> None:
    whole = Tree(tmp_path / "whole")
    whole.home.mkdir()
    start(whole)
    old = whole.in_force()
    change(whole)
    new = whole.in_force()
    assert old != new
    seen = set()
    for at in range(10):
        tree = Tree(tmp_path / str(at))
        tree.home.mkdir()
        start(tree)
        with pytest.MonkeyPatch.context() as patch:
            _killing(patch, at, after=after)
            try:
                change(tree)
            except Killed:
                dead = True
            else:
                dead = False
        now = tree.in_force()
        assert now in (old, new)
        seen.add(now)
        if not dead:
            break
        tree.later(seconds=1)
        change(tree)
        assert tree.in_force() == new
    assert not dead
    assert at >= 2 or start is _none or change is _same_bytes
    assert seen == {old, new}


@pytest.mark.parametrize("start", [_by_hand, _as_staging])
def test_a_full_disk_is_said_plainly_and_the_old_file_stays_in_force(
    tmp_path: Path, start: Callable[[Tree], None]
) -> None:
    for at in range(10):
        tree = Tree(tmp_path / str(at))
        tree.home.mkdir()
        start(tree)
        old, count = tree.in_force(), iter(range(1000))

        def full(path: Path, count: Any = count, at: int = at) -> None:
            if next(count) == at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(atomic, "sync_file", full)
            try:
                _forced(tree)
            except PermanentError as error:
                assert "No space left on device" in str(error) and "Free some space" in str(error)
                assert tree.in_force() == old
            else:
                assert tree.in_force() == (V3, "staging")
        assert not list(tree.home.rglob("*.tmp"))
    assert at == 9


def test_a_folder_that_cannot_be_written_is_said_plainly(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tree.home / "staging.yaml"
    source.write_bytes(STAGING)
    tree.tree.folder.write_text("a file in the way")
    with pytest.raises(PermanentError, match=r"Cannot write .*config: "):
        tree.deploy("staging", source=source)
    tree.tree.folder.unlink()
    real = os.open

    def read_only(path: Any, flags: int, *args: Any, **options: Any) -> int:
        if str(path).startswith(str(tree.tree.folder)) and flags & os.O_CREAT:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return real(path, flags, *args, **options)

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(PermanentError, match="Read-only file system"):
        tree.deploy("staging", source=source)
    assert (tree.events(), tree.tree.files()) == ([], [])


def _deploy_in_process(home: str, environment: str, start: Any) -> None:
    tree = Tree(Path(home))
    start.wait()
    tree.deploy(environment)


def test_two_deployments_at_once_come_one_after_the_other(tree: Tree) -> None:
    tree.write("sync-config.yaml", "environment: testing\n")
    tree.write("sync-config-staging.yaml", STAGING)
    tree.write("sync-config-production.yaml", PRODUCTION)
    context = multiprocessing.get_context("fork")
    start = context.Event()
    processes = [
        context.Process(target=_deploy_in_process, args=(str(tree.home), name, start))
        for name in ("staging", "production")
    ]
    for process in processes:
        process.start()
    start.set()
    for process in processes:
        process.join(timeout=30)
    assert [process.exitcode for process in processes] == [0, 0]
    entries = tree.trail.entries()
    last = {"staging": (STAGING, "staging"), "production": (PRODUCTION, "production")}
    assert tree.in_force() == last[entries[-1]["environment"]]
    assert {entry["environment"] for entry in entries} == set(last)
    kept = [path.read_bytes() for path in reversed(tree.tree.backup_files())]
    assert kept == [b"environment: testing\n", last[entries[0]["environment"]][0]]


def test_who_loads_during_a_deployment_sees_the_old_or_the_new(tree: Tree) -> None:
    """Both files say production; one counts for staging, so any mixture would show as `production`."""
    sources = [tree.write(f"{n}.yaml", PRODUCTION + f"log_level: {n}\n".encode()) for n in ("ERROR", "DEBUG")]
    targets = dict(zip(("ERROR", "DEBUG"), ("staging", "testing"), strict=True))
    tree.deploy("staging", source=sources[0], force=True)
    done = threading.Event()

    def deploying() -> None:
        for number in range(12):
            name = ("DEBUG", "ERROR")[number % 2]
            tree.deploy(targets[name], source=tree.tree.folder / f"{name}.yaml", force=True)
        done.set()

    thread = threading.Thread(target=deploying)
    thread.start()
    seen = set()
    while not done.is_set():
        loaded = tree.load().settings
        seen.add((loaded.log_level, loaded.environment))
    thread.join()
    assert seen <= set(targets.items())


# -- the audit trail --------------------------------------------------------------------------------------


def test_a_deployment_is_recorded_with_who_what_and_every_changed_key(tree: Tree) -> None:
    tree.write("sync-config-staging.yaml", STAGING)
    tree.write("sync-config-production.yaml", PRODUCTION)
    tree.deploy("staging")
    tree.later(minutes=1)
    done = tree.deploy("production", force=True)
    assert done.backup is not None
    entry = tree.trail.entries()[-1]
    assert {
        name: entry[name] for name in ("at", "event", "who", "command", "file", "environment", "source")
    } == {
        "at": "2026-03-01T12:01:00.000000+00:00",
        "event": "deploy",
        "who": "somebody@somewhere",
        "command": "gguf-assets config …",
        "file": str(tree.tree.active),
        "environment": "production",
        "source": str(tree.tree.folder / "sync-config-production.yaml"),
    }
    assert (entry["backup"], entry["validated"], entry["forced"]) == (done.backup.name, True, True)
    assert entry["changes"] == {
        "environment": {"old": "staging", "new": "production"},
        "log_level": {"old": "DEBUG", "new": "INFO"},
        "rate_limiting.max_retries": {"old": "5", "new": "7"},
    }
    tree.restore(done.backup.name)
    tree.back_up()
    tree.create("development")
    assert tree.events() == ["deploy", "deploy", "restore", "backup", "create"]


def test_refusals_leave_no_entry(tree: Tree) -> None:
    source = tree.write("x.yaml", PRODUCTION)
    for attempt in (
        lambda: tree.deploy("staging", source=source),
        lambda: tree.deploy("prod"),
        lambda: tree.restore("nothing"),
        lambda: tree.back_up(),
        lambda: tree.create("prod"),
    ):
        with pytest.raises(Refused):
            attempt()
    assert not tree.trail.path.exists()


def test_switching_the_trail_off_is_recorded_and_then_nothing_is(tree: Tree) -> None:
    off = PRODUCTION + b"security: {enable_audit_logging: false}\n"
    for content in (PRODUCTION, off, off + b"log_level: DEBUG\n", PRODUCTION):
        tree.write("sync-config-production.yaml", content)
        tree.deploy("production")
    assert [sorted(entry["changes"]) for entry in tree.trail.entries()] == [
        ["rate_limiting.max_retries"],
        ["security.enable_audit_logging"],
        ["log_level", "security.enable_audit_logging"],
    ]
    tree.write("sync-config-production.yaml", STAGING)
    tree.deploy("production", force=True, trail=None)
    assert len(tree.trail.entries()) == 3


def test_what_cannot_be_recorded_is_not_done(tree: Tree) -> None:
    tree.write("sync-config.yaml", STAGING)
    source = tree.write("sync-config-production.yaml", PRODUCTION)
    tree.state.write_text("a file in the way")
    for attempt in (
        lambda: tree.deploy("production"),
        lambda: tree.back_up(),
        lambda: tree.create("testing"),
        lambda: tree.restore(str(source)),
    ):
        with pytest.raises(PermanentError, match=re.escape(str(tree.state))):
            attempt()
    assert tree.tree.active.read_bytes() == STAGING
    assert tree.backups() == []
    assert not tree.tree.file_of("testing").exists()


def test_a_change_that_could_not_be_recorded_after_all_is_said(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.write("sync-config-staging.yaml", STAGING)

    def full(*args: Any, **facts: Any) -> None:
        raise PermanentError(
            "Cannot write audit.jsonl: No space left", category=ErrorCategory.STORAGE, remedy="Free it."
        )

    monkeypatch.setattr(type(tree.trail), "append", full)
    with pytest.raises(
        PermanentError, match=r"sync-config\.yaml was replaced, but that could not be recorded"
    ):
        tree.deploy("staging")
    assert tree.in_force() == (STAGING, "staging")
