"""Noticing changes that no command made, each once."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from gguf_assets.atomic import write_atomically
from gguf_assets.errors import PermanentError
from gguf_assets.settings.audit import Actor
from gguf_assets.settings.difference import Change
from gguf_assets.settings.tracking import note_configuration, seen_file
from gguf_assets_tests.settings.trees import PRODUCTION, STAGING, Tree, mode

_NO_NOTE = '{"sha256": "1", "environment": "staging", "source": "", "at": "", "values": 1, "hidden": {}}'
NOTICED = Actor("me@here", "gguf-assets sync")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def _note(tree: Tree, **options: Any) -> list[Change] | None:
    environ = options.pop("environ", {})
    tree.later(seconds=1)
    return note_configuration(tree.load(**environ), options.get("trail", tree.trail), NOTICED, tree.now)


def _recorded(tree: Tree) -> list[tuple[str, list[str]]]:
    return [(entry["event"], sorted(entry["changes"])) for entry in tree.trail.entries()]


def test_a_configuration_is_noted_once_and_every_edit_once(tree: Tree) -> None:
    tree.write("sync-config.yaml", STAGING)
    assert _note(tree) == [
        Change("environment", "production", "staging"),
        Change("log_level", "INFO", "DEBUG"),
    ]
    assert _note(tree) is None
    tree.write("sync-config.yaml", STAGING.replace(b"DEBUG", b"ERROR"))
    assert _note(tree) == [Change("log_level", "DEBUG", "ERROR")]
    assert _note(tree) is None
    assert _recorded(tree) == [("first_seen", ["environment", "log_level"]), ("edited", ["log_level"])]
    entry = tree.trail.entries()[-1]
    assert (entry["who"], entry["command"], entry["file"], entry["environment"]) == (
        "me@here",
        "gguf-assets sync",
        str(tree.tree.active),
        "staging",
    )
    assert entry["changes"]["log_level"] == {"old": "DEBUG", "new": "ERROR"}
    assert mode(seen_file(tree.state)) == 0o600


def test_a_comment_is_an_edit_without_changes(tree: Tree) -> None:
    tree.write("sync-config.yaml", STAGING)
    _note(tree)
    tree.write("sync-config.yaml", STAGING + b"# a comment\n")
    assert _note(tree) == []
    assert _recorded(tree)[-1] == ("edited", [])


def test_variables_are_no_edit_and_the_shipped_profile_counts_too(tree: Tree) -> None:
    tree.tree.folder.mkdir()
    assert _note(tree) == []
    assert _note(tree, environ={"LOG_LEVEL": "ERROR", "MAX_RETRIES": "0"}) is None
    assert _recorded(tree) == [("first_seen", [])]
    changes = _note(tree, environ={"SYNC_ENVIRONMENT": "staging"})
    assert changes is not None and Change("environment", "production", "staging") in changes


def test_a_deployment_is_not_recorded_a_second_time(tree: Tree) -> None:
    tree.write("sync-config-staging.yaml", STAGING)
    source = tree.write("sync-config-production.yaml", PRODUCTION)
    tree.deploy("staging")
    changes = _note(tree)
    assert changes is not None and [change.key for change in changes] == ["environment", "log_level"]
    backup = tree.deploy("production").backup
    assert _note(tree) is not None
    assert backup is not None
    tree.restore(backup.name)
    tree.deploy("staging", source=source, force=True)
    assert _note(tree) is not None
    assert _note(tree) is None
    assert tree.events() == ["deploy", "deploy", "restore", "deploy"]


def test_of_a_deployment_and_an_edit_after_it_only_the_edit_is_new(tree: Tree) -> None:
    tree.write("sync-config-staging.yaml", STAGING)
    tree.write("sync-config-production.yaml", PRODUCTION)
    tree.deploy("staging")
    _note(tree)
    tree.later(seconds=1)
    tree.deploy("production")
    tree.write("sync-config.yaml", PRODUCTION.replace(b"7", b"8"))
    changes = _note(tree)
    assert changes is not None
    assert [change.key for change in changes] == ["environment", "log_level", "rate_limiting.max_retries"]
    assert _recorded(tree)[-1] == ("edited", ["rate_limiting.max_retries"])
    assert tree.trail.entries()[-1]["changes"] == {"rate_limiting.max_retries": {"old": "7", "new": "8"}}
    # From here on the edit is what is known.
    tree.write("sync-config.yaml", PRODUCTION.replace(b"7", b"9"))
    assert _note(tree) == [Change("rate_limiting.max_retries", "8", "9")]


def test_an_edit_of_a_file_deployed_by_force_shows_that_it_counts_for_itself_again(tree: Tree) -> None:
    tree.deploy("staging", source=tree.write("v2.yaml", PRODUCTION), force=True)
    _note(tree)
    tree.write("sync-config.yaml", PRODUCTION + b"# edited\n")
    assert _note(tree) == [Change("environment", "staging", "production")]


def test_a_deployment_that_died_before_it_was_recorded_is_recorded_now(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.write("sync-config-staging.yaml", STAGING)
    tree.write("sync-config-production.yaml", PRODUCTION)
    tree.deploy("staging")
    _note(tree)

    def dies(*args: Any, **facts: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(type(tree.trail), "append", dies)
        tree.deploy("production")
    assert tree.events() == ["deploy"]
    _note(tree)
    assert _recorded(tree)[-1] == ("edited", ["environment", "log_level", "rate_limiting.max_retries"])


def test_switched_off_nothing_is_recorded_but_the_switching_is(tree: Tree) -> None:
    off = b"security: {enable_audit_logging: false}\n"
    tree.write("sync-config.yaml", STAGING + off)
    _note(tree)
    assert tree.events() == []
    tree.write("sync-config.yaml", STAGING)
    _note(tree)
    tree.write("sync-config.yaml", STAGING + off)
    _note(tree)
    tree.write("sync-config.yaml", PRODUCTION + off)
    assert _note(tree) is not None
    tree.write("sync-config.yaml", PRODUCTION)
    assert _note(tree, trail=None) is not None
    assert _recorded(tree) == [("edited", ["security.enable_audit_logging"])] * 2


def test_a_secret_edited_by_hand_is_noticed_and_shown_nowhere(tree: Tree) -> None:
    for word in ("aaaaaaaa", "bbbbbbbb"):
        hook = f"https://chat.example.org/{word}"
        tree.write("sync-config.yaml", f"notifications: {{webhook_urls: ['{hook}']}}\n")
        changes = _note(tree)
    assert changes == [Change("notifications.webhook_urls", "***", "***")]
    for path in tree.state.rglob("*"):
        assert path.is_dir() or b"bbbbbbbb" not in path.read_bytes()


def test_a_file_that_only_variables_make_valid_keeps_what_was_known(tree: Tree) -> None:
    tree.write("sync-config.yaml", STAGING)
    _note(tree)
    tree.write("sync-config.yaml", STAGING + b"rate_limiting: {max_retries: -1}\n")
    assert _note(tree, environ={"MAX_RETRIES": "3"}) == []
    tree.write("sync-config.yaml", STAGING + b"rate_limiting: {max_retries: 4}\n")
    assert _note(tree) == [Change("rate_limiting.max_retries", "5", "4")]


def test_a_state_folder_that_cannot_be_used_is_a_warning(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tree.write("sync-config.yaml", STAGING)
    with caplog.at_level(logging.WARNING):
        tree.state.write_text("in the way")
        assert note_configuration(tree.load(), tree.trail, NOTICED, tree.now) is None
        tree.state.unlink()

        def full(path: Path, data: bytes, *, mode: int | None = None) -> None:
            write_atomically(path / "below" / "nothing", data, mode=mode)

        monkeypatch.setattr("gguf_assets.settings.tracking.write_atomically", full)
        seen_file(tree.state).parent.mkdir()
        seen_file(tree.state).touch()
        assert _note(tree) is None
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert all("could not be noted: Cannot" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"sha256": 1}', "null", _NO_NOTE])
def test_a_damaged_note_is_written_anew(tree: Tree, damage: str) -> None:
    tree.write("sync-config.yaml", STAGING)
    _note(tree)
    seen_file(tree.state).write_text(damage)
    assert _note(tree) is not None
    assert _note(tree) is None


def test_of_several_at_once_one_records(tree: Tree) -> None:
    tree.write("sync-config.yaml", STAGING)
    loaded, found = tree.load(), []

    def noting() -> None:
        found.append(note_configuration(loaded, tree.trail, NOTICED, tree.now))

    threads = [threading.Thread(target=noting) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one is None for one in found) == [False, True, True, True]
    assert tree.events() == ["first_seen"]


def test_other_errors_of_a_trail_never_fail_a_sync(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.write("sync-config.yaml", STAGING)
    tree.trail.path.mkdir(parents=True)
    assert _note(tree) is None
    with pytest.raises(PermanentError):
        tree.trail.ensure_writable()
