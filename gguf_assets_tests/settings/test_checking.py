"""The verdict on one file by itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from gguf_assets.settings.checking import check_file
from gguf_assets_tests.settings.trees import PRODUCTION, STAGING, Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def _problems(path: Path) -> str:
    checked = check_file(path)
    assert not checked.valid and checked.settings is None
    return "\n".join(map(str, checked.problems))


def test_a_valid_file_is_judged_without_variables(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "nonsense")
    monkeypatch.setenv("SYNC_ENVIRONMENT", "production")
    path = tree.write("sync-config-staging.yaml", STAGING)
    checked = check_file(path)
    assert checked.valid and checked.settings is not None
    assert (checked.path, checked.content, checked.environment) == (path, STAGING, "staging")
    assert (checked.settings.environment, checked.settings.log_level) == ("staging", "DEBUG")


def test_a_file_that_names_no_environment_counts_for_production(tree: Tree) -> None:
    checked = check_file(tree.write("x.yaml", "log_level: INFO\n"))
    assert (checked.environment, checked.counts_for) == (None, "production")


def test_everything_that_is_wrong_is_reported_at_once_without_the_token(tree: Tree) -> None:
    token = "hf_" + "a" * 30
    path = tree.write(
        "sync-config-staging.yaml",
        "environment: staging\n"
        "rate_limiting:\n  requests_per_second: 0\n  max_concurrent_requests: -1\n  max_retrys: 3\n"
        "validation:\n  min_completeness_score: 1.5\n"
        f"huggingface_token: {token}\n",
    )
    said = _problems(path)
    assert len(check_file(path).problems) == 5
    assert "Configuration validation failed: Min completeness score must be between 0 and 1" in said
    assert "did you mean rate_limiting.max_retries?" in said
    assert all(f"line {line}" in said for line in (3, 4, 5, 7, 8))
    assert token not in said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: [", "broken YAML"),
        (b"environment: staging\nenvironment: staging\n", "stands twice, in lines 1 and 2"),
        (b"environment: \xe9\n", "not encoded in UTF-8 (line 1)"),
        ("environment: staging\n".encode("utf-16"), "not encoded in UTF-8"),
        (b"", "it is empty"),
        (b"- a\n", "no mapping"),
    ],
)
def test_what_is_no_configuration_is_said_plainly(tree: Tree, content: bytes, words: str) -> None:
    path = tree.write("sync-config-staging.yaml", content)
    assert words in _problems(path)
    checked = check_file(path)
    assert (checked.readable, checked.environment, checked.content) == (False, None, content)


def test_what_is_no_file_is_said_plainly(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tree.tree.folder
    (folder / "sync-config-folder.yaml").mkdir(parents=True)
    (folder / "sync-config-link.yaml").symlink_to("nowhere")
    os.mkfifo(folder / "sync-config-pipe.yaml")
    assert "it is a folder" in _problems(folder / "sync-config-folder.yaml")
    assert "a link that leads nowhere" in _problems(folder / "sync-config-link.yaml")
    assert "device or pipe" in _problems(folder / "sync-config-pipe.yaml")
    assert "does not exist" in _problems(folder / "sync-config-nothing.yaml")
    path = tree.write("sync-config-staging.yaml", STAGING)
    assert "does not exist" in _problems(path / "below-a-file.yaml")

    def denied(self: Path) -> Any:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", denied)
    assert "Permission denied" in _problems(path)


def test_a_name_and_a_content_of_different_environments_contradict_each_other(tree: Tree) -> None:
    said = _problems(tree.write("sync-config-staging.yaml", PRODUCTION))
    assert "Environment must be the same everywhere: production in the file" in said
    assert "staging by its name" in said
    assert check_file(tree.write("sync-config-staging-v2.yaml", PRODUCTION)).valid
    assert check_file(tree.write("sync-config.yaml", PRODUCTION)).valid
    assert check_file(tree.write("sync-config-staging.yaml", "log_level: INFO\n")).valid


def _permissions(path: Path) -> list[str]:
    return [advice.hint for advice in check_file(path).advice if "mode" in advice.text]


def test_a_production_file_that_others_may_use_gets_advice(tree: Tree) -> None:
    path = tree.write("sync-config-production.yaml", PRODUCTION)
    tree.tree.folder.chmod(0o750)
    path.chmod(0o644)
    assert _permissions(path) == [f"chmod 600 {path}", f"chmod 700 {tree.tree.folder}"]
    path.chmod(0o600)
    assert _permissions(path) == [f"chmod 700 {tree.tree.folder}"]
    tree.tree.folder.chmod(0o700)
    assert _permissions(path) == []
    path.chmod(0o400)
    assert _permissions(path) == []
    path.chmod(0o644)
    path.write_text("max_retrys: 1\n")  # invalid, and production by default
    assert _permissions(path) == [f"chmod 600 {path}"]
    path.write_bytes(STAGING)
    assert _permissions(path) == []


def test_advice_on_the_values_comes_along(tree: Tree) -> None:
    path = tree.write(
        "sync-config-staging.yaml", "environment: staging\nrate_limiting: {requests_per_hour: 9000}\n"
    )
    (advice,) = check_file(path).advice
    assert advice.keys == ("rate_limiting.requests_per_hour",)


def test_the_active_file_is_judged_for_what_it_was_deployed_as(tree: Tree) -> None:
    fast = b"environment: production\nrate_limiting: {requests_per_second: 10}\n"
    source = tree.write("sync-config-production-v2.yaml", fast)
    tree.deploy("staging", source=source, force=True)
    checked = check_file(tree.tree.active)
    assert checked.valid and checked.settings is not None
    assert (checked.environment, checked.deployed_as, checked.settings.environment) == (
        "production",
        "staging",
        "staging",
    )
    assert checked.counts_for == "staging"
    assert "at most 2.0 in production" in _problems(source)
    tree.write("deployed.json", "nonsense")
    assert "deployed.json is damaged" in _problems(tree.tree.active)
