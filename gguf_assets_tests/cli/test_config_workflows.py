"""The workflows of the handbook through the real command line: development, staging, production, and back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gguf_assets.settings.files import shipped_profile
from gguf_assets.settings.load import SYNC_DOCUMENT
from gguf_assets_tests.calling import assert_clear
from gguf_assets_tests.cli.homes import Home
from gguf_assets_tests.hubs import hub_of, repository

BACKUP = re.compile(r"sync-config_backup_\d{8}_\d{6}\.yaml")
HEADER = """\
# ---------------------------------------------
# Date: 2026-02-01   Approved by: the operator
# ---------------------------------------------
"""
STAGING = f"{HEADER}environment: staging   # for trying things\nsync_behavior:\n    mode:   auto\n"
PRODUCTION = f"{HEADER}environment: production\nrate_limiting: {{max_retries: 7}}  # one line, on purpose\n"
GREEN = f"{HEADER}environment: production\nrate_limiting:\n  max_retries: 9\n"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_development(tmp_path):
    with hub_of([repository("owner/a")]) as hub:
        home = Home(tmp_path, hub.url)
        home.done("create", "development")
        home.done("deploy", "development")
        assert home.active.read_bytes() == shipped_profile(SYNC_DOCUMENT, "development")
        dry = home.call("sync", "--dry-run", "--json")
        assert dry.code == 0, dry
        assert home.done("validate", "--json").json["valid"]
    assert home.settings()["environment"] == "development"
    assert not (home.data / "captures").exists()


def test_staging_is_deployed_and_compared_with_production(home):
    home.write("sync-config-staging.yaml", STAGING)
    assert home.done("deploy", "staging").stdout.splitlines()[-1] == "Verify:       gguf-assets config list"
    ended = home.config("compare", "staging", "production", "--json")
    assert ended.code == 1
    assert ended.json["differences"] == {"environment": {"a": "staging", "b": "production"}}
    assert ended.json["b"] == "production (shipped profile)"
    assert home.config("compare", "staging", "production", "--exit-zero").code == 0
    assert home.config("compare", "active", "staging").code == 0


def test_production_is_validated_backed_up_deployed_and_listed(home):
    home.write("sync-config-staging.yaml", STAGING)
    home.write("sync-config-production.yaml", PRODUCTION)
    home.done("deploy", "staging")
    home.done("validate")
    kept = home.done("backup", "--json").json["backup"]
    assert BACKUP.fullmatch(Path(kept).name)
    before = home.files()
    refused = home.config("deploy", "production")
    assert_clear(
        refused,
        2,
        "Deploy sync-config-production.yaml to production",
        "gguf-assets config deploy production --force",
    )
    assert home.files() == before
    deployed = home.done("deploy", "production", "--force")
    for words in (
        "rate_limiting.max_retries  5 → 7",
        "Takes effect: at the next sync",
        "except environment",
        "Go back:      gguf-assets config restore sync-config_backup_",
    ):
        assert words in deployed.stdout
    listed = home.done("list", "--json").json
    active, *others = listed["files"]
    assert (active["name"], active["environment"], active["active"]) == (
        "sync-config.yaml",
        "production",
        True,
    )
    assert [file["name"] for file in others] == ["sync-config-production.yaml", "sync-config-staging.yaml"]
    assert listed["backups"] == 2 and listed["newest_backup"] == home.backups()[-1]
    assert listed["deployed"]["source"] == str(home.folder / "sync-config-production.yaml")
    assert not listed["edited"] and listed["warnings"] == []
    assert home.active.read_text() == PRODUCTION


def test_a_backup_restored_by_its_bare_name_brings_back_bytes_and_settings(home):
    home.write("sync-config-staging.yaml", STAGING)
    home.write("sync-config-production.yaml", PRODUCTION)
    home.done("deploy", "staging")
    staging = home.settings()
    home.done("deploy", "production", "--force")
    (name,) = home.backups()
    assert (home.folder / "backups" / name).read_text() == STAGING
    restored = home.done("restore", name)
    assert "Restored" in restored.stdout and "staging" in restored.stdout
    assert home.active.read_text() == STAGING
    assert home.settings() == staging
    assert [entry["event"] for entry in home.trail()] == ["deploy", "deploy", "restore"]
    commands = [entry["command"] for entry in home.trail()]
    assert commands == [
        "gguf-assets config deploy staging",
        "gguf-assets config deploy production --force",
        f"gguf-assets config restore {name}",
    ]


def test_blue_green(home):
    home.write("sync-config-staging.yaml", STAGING)
    home.write("sync-config-production.yaml", PRODUCTION)
    home.write("sync-config-production-v2.yaml", GREEN)
    home.done("deploy", "production", "--force")
    # Try the new one on staging: refused as it is, tried with --force, its bytes untouched.
    tried = ("deploy", "staging", "--source", "sync-config-production-v2.yaml")
    assert_clear(home.config(*tried), 2, "is for production, and the target is staging", "--force")
    home.done(*tried, "--force")
    assert home.active.read_text() == GREEN
    assert (home.settings()["environment"], home.settings()["rate_limiting.max_retries"]) == ("staging", "9")
    assert home.done("list", "--json").json["files"][0]["deployed_as"] == "staging"
    # Then production, and back.
    home.done("backup")
    home.done("deploy", "production", "--source", "sync-config-production-v2.yaml", "--force")
    assert (home.settings()["environment"], home.settings()["rate_limiting.max_retries"]) == (
        "production",
        "9",
    )
    first = home.backups()[0]
    assert_clear(home.config("restore", first), 2, "Restore", f"gguf-assets config restore {first} --force")
    home.done("restore", first, "--force")
    assert home.active.read_text() == PRODUCTION
    assert home.settings()["rate_limiting.max_retries"] == "7"


def test_rollback_from_settings_that_stop_every_sync(tmp_path):
    with hub_of([repository("owner/a")]) as hub:
        home = Home(tmp_path, hub.url)
        home.write("sync-config-staging.yaml", STAGING)
        home.done("deploy", "staging")
        home.write("sync-config-staging.yaml", STAGING + "rate_limiting: {max_retries: many}\n")
        assert_clear(
            home.config("deploy", "staging"), 2, "Max retries must be a whole number between 0", "line 7"
        )
        warned = home.done("deploy", "staging", "--no-validate")
        assert "Warning: " in warned.stderr and "is not checked" in warned.stderr
        assert home.trail()[-1]["command"] == "gguf-assets config deploy staging --no-validate"
        assert home.call("sync", "--dry-run").code == 2
        listed = home.done("list", "--json").json
        assert not listed["files"][0]["valid"] and listed["in_force"].startswith("nothing")
        home.done("restore", listed["newest_backup"])
        assert home.done("validate", "active", "--json").json["valid"]
        assert home.call("sync", "--dry-run", "--json").code == 0
        assert home.active.read_text() == STAGING


def test_a_broken_active_file_can_be_replaced_by_every_command_that_does(home):
    home.write("sync-config-staging.yaml", STAGING)
    home.write("sync-config.yaml", "environment: [\n")
    assert home.config("validate").code == 1
    assert home.config("list").code == 0
    assert home.config("show").code == 2
    assert home.done("backup", "--prune", "--json").json["retention_days"] == 30
    deployed = home.done("deploy", "staging")
    assert "What changes cannot be said: the active file" in deployed.stdout
    (*_, newest) = home.backups()
    assert (home.folder / "backups" / newest).read_text() == "environment: [\n"
    assert home.settings()["environment"] == "staging"


def test_file_variable_and_command_line_in_rising_order_with_their_origins(home):
    home.write("sync-config-staging.yaml", "environment: staging\nsync_behavior:\n  mode: incremental\n")
    home.done("deploy", "staging")

    def mode(**environ: str) -> dict[str, str]:
        return home.done("show", "--json", **environ).json["settings"]["sync_behavior.mode"]

    place = f"file {home.active}"
    assert mode() == {"value": "incremental", "origin": place, "place": f"{place}, line 3"}
    variable = "environment variable SYNC_MODE"
    assert mode(SYNC_MODE="full") == {"value": "full", "origin": variable, "place": variable}
    printed = home.done("show", "--origins", SYNC_MODE="full").stdout.splitlines()
    assert any(re.fullmatch(r"  mode: full +# environment variable SYNC_MODE", line) for line in printed)
    assert any(re.fullmatch(r"  census: true +# default", line) for line in printed)
    wrong = home.config("show", SYNC_MODE="fulll")
    assert_clear(wrong, 2, "Mode must be one of auto, incremental, full", "'fulll'", "SYNC_MODE")


def test_the_command_line_is_stronger_than_variable_and_file(tmp_path):
    with hub_of([repository("owner/a")]) as hub:
        home = Home(tmp_path, hub.url)
        home.write("sync-config-staging.yaml", "environment: staging\nsync_behavior:\n  mode: full\n")
        home.done("deploy", "staging")
        ended = home.call("sync", "--dry-run", "--json", "--mode", "incremental", SYNC_MODE="full")
        assert ended.code == 0, ended
        # Without any published day even an explicit incremental is full, and says that it was asked for.
        assert ended.json["reason"] == "first_run"
        refused = home.call("sync", "--dry-run", SYNC_MODE="fulll")
        assert_clear(refused, 2, "Mode must be one of auto, incremental, full")
