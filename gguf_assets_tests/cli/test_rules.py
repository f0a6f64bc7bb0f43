"""`gguf-assets rules`: every rule, what the settings in force make of it, and which names they take."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from gguf_assets.catalogue.fixes import FIXES
from gguf_assets.orchestration.rule_switches import switched_off
from gguf_assets.quality.reading_rules import READING_RULES
from gguf_assets.quality.rules import RULES
from gguf_assets.settings.model import SyncConfiguration
from gguf_assets.settings.quality_sections import RuleName
from gguf_assets_tests.calling import assert_clear
from gguf_assets_tests.cli.homes import Home

NAMED = "GGUF_SYNC__VALIDATION__DISABLED_RULES"
HEADERS = {"header_unreadable", "header_label_mismatch", "header_architecture_mismatch"}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def listed(home: Home, **validation: str) -> dict[str, dict[str, Any]]:
    """The listed rules by name under these settings of the section `validation`."""
    ended = home.call(
        "rules", "--json", **{f"GGUF_SYNC__VALIDATION__{k.upper()}": v for k, v in validation.items()}
    )
    assert ended.code == 0, ended
    return {rule["name"]: rule for rule in ended.json["rules"]}


def test_every_rule_is_listed_with_what_it_promises_and_why(home: Home) -> None:
    rules = listed(home)
    assert rules.keys() == RULES.keys() | READING_RULES.keys()
    for rule in rules.values():
        assert all(rule[key] for key in ("group", "severity", "what", "reason", "reference")), rule["name"]
    groups = [rule["group"] for rule in rules.values()]
    assert list(dict.fromkeys(groups)) == sorted(set(groups), key=groups.index), "group by group"
    assert groups[-1] == "reading"


def test_a_rule_is_on_off_or_always_on_by_the_settings_in_force(home: Home) -> None:
    rules = listed(home, disabled_rules="empty_file", enable_automatic_fixes="false", header_sample="5")
    off = {name: rule["why"] for name, rule in rules.items() if rule["state"] == "off"}
    assert off == {
        "empty_file": "switched off by validation.disabled_rules",
        **dict.fromkeys(FIXES, "switched off by validation.enable_automatic_fixes"),
    }
    assert rules["no_gguf_file"]["state"] == rules["header_unreadable"]["state"] == "on"
    always = {name for name, rule in rules.items() if rule["state"] == "always"}
    assert always == (RULES.keys() | READING_RULES.keys()) - set(get_args(RuleName)) - FIXES.keys()

    rules = listed(home, file_verification_requests="0")
    off = {name: rule["why"] for name, rule in rules.items() if rule["state"] == "off"}
    assert off == {
        "file_facts_confirmed": "validation.file_verification_requests is 0",
        **dict.fromkeys(HEADERS, "validation.header_sample is 0"),
    }


@pytest.mark.parametrize("width", [60, 120])
def test_the_list_can_be_read_on_a_terminal(home: Home, width: int) -> None:
    ended = home.call("rules", COLUMNS=str(width))
    assert ended.code == 0, ended
    lines = ended.stdout.splitlines()
    table = [line for line in lines if line[:1] in "┏┃┡│├└"]
    assert max(map(len, table)) <= width
    cells = "".join(line.split("│")[1].strip() for line in table if line.startswith("│"))
    assert all(name in cells for name in RULES), "folded, and never cut"
    assert "validation.disabled_rules" in ended.stdout


@pytest.mark.parametrize("name", ["no_such_rule", "file_parent"])
def test_a_name_that_cannot_be_switched_off_is_refused_with_those_that_can(home: Home, name: str) -> None:
    ended = home.call("rules", **{NAMED: f"empty_file,{name}"})
    assert_clear(ended, 2, "Disabled rules", name)
    assert all(rule in ended.stderr for rule in get_args(RuleName))
    assert set(get_args(RuleName)) == {name for name, rule in RULES.items() if rule.switchable}


VERIFIED = {
    "file_facts_current",
    "file_facts_confirmed",
    "shard_set_incomplete",
    "empty_file",
    "same_bytes_under_two_labels",
    "label_size_mismatch",
}


@pytest.mark.parametrize(
    ("validation", "by", "off"),
    [
        ({}, "", set()),
        ({"enable_schema_validation": False}, "enable_schema_validation", {"schema"}),
        ({"enable_file_verification": False}, "enable_file_verification", VERIFIED),
        ({"enable_automatic_fixes": False}, "enable_automatic_fixes", set(FIXES)),
        (
            {"disabled_rules": ["empty_file", "partial_day"]},
            "disabled_rules",
            {"empty_file", "partial_day"},
        ),
    ],
)
def test_each_switch_switches_off_its_rules_and_says_so(
    validation: dict[str, Any], by: str, off: set[str]
) -> None:
    settings = SyncConfiguration.model_validate({"validation": validation}).validation
    assert switched_off(settings) == dict.fromkeys(off, f"switched off by validation.{by}")
