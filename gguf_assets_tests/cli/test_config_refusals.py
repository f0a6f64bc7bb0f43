"""What the commands of the configuration refuse, in which words, and that nothing else happens then."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from gguf_assets_tests.calling import assert_clear
from gguf_assets_tests.cli.homes import Home

TOKEN = "hf_" + "Qz7" * 11
FIVE = f"""\
environment: staging
huggingface_token: {TOKEN}
rate_limiting:
  requests_per_second: 0
  max_concurrent_requests: -1
  max_retrys: 3
validation:
  min_completeness_score: 1.5
"""
PRODUCTION = "environment: production\n"
COMMANDS = [
    ("deploy", "staging"),
    ("create", "development"),
    ("validate",),
    ("list",),
    ("compare", "staging", "production"),
    ("backup",),
    ("restore", "sync-config_backup_20260101_000000.yaml"),
    ("show",),
    ("env",),
    ("schema",),
    ("preflight", "staging"),
]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_five_problems_are_reported_in_one_go_with_range_place_and_hint(home):
    file = home.write("sync-config-staging.yaml", FIVE)
    home.write("sync-config-production.yaml", PRODUCTION)
    ended = home.config("validate")
    assert ended.code == 1
    first, *blocks = ended.stdout.split("Error: ")
    where = f"  in file {file}, line "
    assert sorted(blocks) == sorted([
        "Configuration validation failed: Requests per second must be positive\n"
        f"  rate_limiting.requests_per_second = 0\n{where}4\n  allowed: a positive number\n",
        "Configuration validation failed: Max concurrent requests must be positive\n"
        f"  rate_limiting.max_concurrent_requests = -1\n{where}5\n  allowed: a positive whole number\n",
        "Configuration validation failed: Min completeness score must be between 0 and 1\n"
        f"  validation.min_completeness_score = 1.5\n{where}8\n  allowed: a number between 0 and 1\n",
        "Configuration validation failed: Unknown key rate_limiting.max_retrys\n"
        f"  rate_limiting.max_retrys\n{where}6\n  hint: did you mean rate_limiting.max_retries?\n",
        "Configuration validation failed: Huggingface token must stay null here: secrets come from "
        f"environment variables, never from a file or an option\n  huggingface_token = ***\n{where}2\n",
    ])  # fmt: skip
    verdicts = [line.split() for line in first.splitlines()]
    assert verdicts == [
        ["sync-config-production.yaml", "valid", "production"],
        ["sync-config-staging.yaml", "invalid", "staging", "5", "problems"],
    ]
    assert TOKEN not in ended.stdout + ended.stderr


def test_every_problem_of_a_refused_deployment_has_its_documented_line(home):
    home.write("sync-config-staging.yaml", FIVE)
    before = home.files()
    ended = home.config("deploy", "staging")
    assert_clear(ended, 2)
    lines = [line for line in ended.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 5
    assert "Error: Configuration validation failed: Min completeness score must be between 0 and 1" in lines
    assert TOKEN not in ended.stderr
    assert home.files() == before


def test_an_unknown_environment_is_refused_in_the_documented_two_lines(home):
    for command in ("deploy", "preflight", "create"):
        ended = home.config(command, "prod")
        assert ended.code == 2
        assert ended.stderr.splitlines() == [
            "Error: Invalid environment: prod",
            "Valid environments: development, staging, production, testing",
        ]
    assert home.files() == {}


def test_an_environment_without_a_file_is_refused_with_the_command_that_makes_it(home):
    for environment in ("development", "production"):
        ended = home.config("deploy", environment)
        assert ended.code == 2
        path = home.folder / f"sync-config-{environment}.yaml"
        assert ended.stderr.splitlines()[0] == f"Error: Environment configuration not found: {path}"
        assert f"gguf-assets config create {environment}" in ended.stderr


def test_a_sync_without_a_token_in_production_is_refused_in_the_documented_words(home):
    home.write("sync-config-production.yaml", PRODUCTION)
    home.done("deploy", "production", "--force")
    ended = home.call("sync", HF_ENDPOINT="https://huggingface.co")
    assert ended.code == 2
    assert ended.stderr.splitlines()[0] == "Error: Hugging Face token is required"


def test_unknown_backups_and_files_are_refused_with_those_that_there_are(home):
    home.write("sync-config-staging.yaml", "environment: staging\n")
    home.done("deploy", "staging")
    home.done("backup")
    assert_clear(home.config("restore", "nothing"), 2, *home.backups())
    assert_clear(home.config("validate", "nothing"), 2, "sync-config-staging.yaml")
    assert_clear(home.config("compare", "staging", "nothing"), 2, "sync-config-staging.yaml")
    assert_clear(home.config("deploy", "staging", "--source", str(home.path)), 2, "folder")


@pytest.mark.parametrize("name", ["", "..", "a\x00b", "é" * 300, "../../etc/passwd"])
def test_odd_names_are_refused_clearly_and_change_nothing(home, name):
    commands = (
        ["create"],
        ["restore"],
        ["validate"],
        ["compare", "staging"],
        ["deploy", "staging", "--source"],
    )
    for command in commands:
        ended = home.config(*command, name)
        assert ended.code in (1, 2), (command, ended)
        said = ended.stdout if command == ["validate"] and not ended.stderr else ended.stderr
        assert "Error: " in said, (command, ended)
        assert "Traceback" not in ended.stderr and "Unexpected" not in ended.stderr, (command, ended)
    assert home.files() == {}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_json_is_one_object_on_the_last_line_whether_it_works_or_not(home, command):
    refused = home.config(*command, "--json", GGUF_ASSETS_CONFIG_DIR=str(home.path / "missing"))
    for name in ("sync-config-staging", "sync-config", "backups/sync-config_backup_20260101_000000"):
        home.write(f"{name}.yaml", "environment: staging\n")
    worked = home.config(*command, "--json")
    for ended in (refused, worked):
        (line,) = ended.stdout.splitlines()
        assert isinstance(json.loads(line), dict)
    assert worked.code in (0, 1) and "error" not in worked.json
    if command[0] not in ("env", "schema"):
        assert refused.code == 2 and "GGUF_ASSETS_CONFIG_DIR" in refused.json["error"]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_no_command_shows_a_secret(home, command):
    hook = "https://hooks.example.org/services/T0/s3cr3tpath"
    home.write("sync-config-production.yaml", FIVE.replace("staging", "production"))
    for name in ("sync-config-staging.yaml", "sync-config.yaml"):
        home.write(name, f"environment: staging\nnotifications:\n  webhook_urls: ['{hook}']\n")
    home.write("backups/sync-config_backup_20260101_000000.yaml", "environment: staging\n")
    further = {"HF_TOKEN": TOKEN[::-1], "GGUF_SYNC__NOTIFICATIONS__WEBHOOK_URLS": f"{hook}x"}
    for arguments in (command, (*command, "--json")):
        ended = home.config(*arguments, **further)
        for secret in (TOKEN, TOKEN[::-1], "s3cr3tpath"):
            assert secret not in ended.stdout + ended.stderr
    trail = home.data / "logs" / "audit.jsonl"
    assert not trail.exists() or "s3cr3tpath" not in trail.read_text()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_every_command_teaches_by_an_example(home, command):
    shown = home.config(command[0], "--help")
    assert shown.code == 0
    assert f"Example: gguf-assets config {command[0]}" in " ".join(shown.stdout.split())


def test_the_group_alone_shows_its_help(home):
    shown = home.config()
    for command, *_ in COMMANDS:
        assert f" {command} " in shown.stdout
    assert home.files() == {}


def test_answers_decide(home):
    home.write("sync-config-production.yaml", PRODUCTION)
    for answer in ("n\n", "\n", ""):
        ended = home.answered(answer, "deploy", "production")
        assert ended.code == 1 and ended.stderr.endswith("Nothing was changed.\n")
        assert not home.active.exists()
    assert home.answered("y\n", "deploy", "production").code == 0
    assert home.active.read_text() == PRODUCTION
    # What is in force already is not asked about, what is refused anyway neither.
    again = home.answered("", "deploy", "production")
    assert again.code == 0 and "Nothing to do" in again.stdout
    home.write("sync-config-production.yaml", PRODUCTION + "log_level: loud\n")
    assert "[y/N]" not in home.answered("y\n", "deploy", "production").stderr

    before = home.files()
    assert home.answered("n\n", "create", "production").code == 1
    assert home.files() == before
    assert home.answered("y\n", "create", "production").code == 0
    assert "log_level: INFO" in (home.folder / "sync-config-production.yaml").read_text()


def test_a_real_terminal_asks_and_no_terminal_refuses(home):
    home.write("sync-config-production.yaml", PRODUCTION)
    command = [sys.executable, "-m", "gguf_assets.cli", "config", "deploy", "production"]
    options = {"env": home.environ, "cwd": home.path, "timeout": 120}
    silent = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, **options)
    assert silent.returncode == 2 and "there is no terminal" in silent.stderr
    assert not home.active.exists()
    ours, theirs = pty.openpty()
    try:
        os.write(ours, b"y\n")
        asked = subprocess.run(command, stdin=theirs, capture_output=True, text=True, **options)
    finally:
        os.close(ours)
        os.close(theirs)
    assert asked.returncode == 0, asked
    assert "Deploy sync-config-production.yaml to production? [y/N]" in asked.stderr
    assert home.active.read_text() == PRODUCTION


def test_what_the_list_says_of_an_active_file_that_was_edited(home):
    home.write("sync-config-staging.yaml", "environment: staging\n")
    home.done("deploy", "staging")
    home.write("sync-config.yaml", "environment: staging\nlog_level: DEBUG\n")
    ended = home.done("list")
    assert "sync-config.yaml was edited since it was deployed" in ended.stderr
    assert "sync-config.yaml equals no profile" in ended.stderr
    assert home.done("list", "--json").json["edited"]


def test_an_empty_folder_is_said_and_the_shipped_profiles_are_checked(home):
    ended = home.done("validate")
    assert ended.stdout.startswith(f"There is no configuration file in {home.folder}")
    for name in ("development", "high-volume", "production", "staging", "testing"):
        assert f"sync-config-{name}.yaml" in ended.stdout
    assert "There is no configuration file yet" in home.done("list").stdout
    assert home.files() == {}


def test_validate_needs_no_valid_variable(home):
    file = home.write("sync-config-staging.yaml", "environment: staging\n")
    assert home.config("validate", str(file), SYNC_MODE="fulll", SYNC_ENVIRONMENT="prod").code == 0


def test_old_backups_are_removed_by_the_retention_in_force(home):
    home.write("sync-config-staging.yaml", "environment: staging\nstorage:\n  backup_retention_days: 3\n")
    home.done("deploy", "staging")
    folder = home.folder / "backups"
    folder.mkdir()
    (folder / "sync-config_backup_20260101_000000.yaml").write_text("environment: staging\n")
    ended = home.done("backup", "--prune", "--json").json
    assert ended["retention_days"] == 3
    assert [Path(path).name for path in ended["removed"]] == ["sync-config_backup_20260101_000000.yaml"]
    assert len(home.backups()) == 1
