"""The reference of all keys, and the handbook made from it."""

from __future__ import annotations

from pathlib import Path

import yaml

from gguf_assets.masking import register_secret
from gguf_assets.settings.handbook import handbook
from gguf_assets.settings.reference import reference, written
from gguf_assets_tests.settings.generated import KEYS, NAMED, generic

HANDBOOK = Path(__file__).parents[2] / "docs" / "configuration.md"
FACTS = {fact.name: fact for fact in reference()}


def test_every_key_is_described_with_its_variables():
    assert sorted(FACTS) == sorted(KEYS)
    for name, fact in FACTS.items():
        assert fact.description.endswith("."), name
        assert fact.variables[-1] == generic(name)
        if name in NAMED:
            assert NAMED[name] in fact.variables[:-1]
        else:
            assert len(fact.variables) == 1, name


def test_a_key_says_what_is_allowed_what_it_is_by_default_and_elsewhere():
    rate = FACTS["rate_limiting.requests_per_second"]
    assert (rate.default, rate.key.unit, rate.effect) == ("1.2", "requests per second", "next sync")
    assert rate.profiles == {"development": "0.5", "staging": "1.0", "production": "1.2", "testing": "1.2"}
    assert rate.differing == {"development": "0.5", "staging": "1.0"}
    assert FACTS["sync_behavior.mode"].allowed == "one of auto, incremental, full"
    assert FACTS["validation.min_completeness_score"].allowed == "a number between 0 and 1"
    assert FACTS["sync_behavior.schedule_time"].allowed == "a time of day HH:MM in UTC"
    assert FACTS["sync_behavior.schedule_time"].effect == "reload"
    assert FACTS["security.allowed_domains"].allowed == "a list of: host name"
    assert FACTS["monitoring.alert_channels"].default == "[log, github]"
    assert FACTS["huggingface_token"].allowed == "null in files"


def test_a_value_is_written_as_a_file_would_say_it_and_never_as_a_secret():
    register_secret("planted-secret")
    values = [
        True,
        None,
        3,
        0.5,
        "auto",
        "yes",
        "null",
        "12:30",
        "0 4 * * *",
        "",
        "a: b",
        "https://x.org/a",
        "é",
    ]
    for value in [*values, ["a", "b c"], {"a": [1]}]:
        assert yaml.safe_load(written(value)) == value, value
    assert "planted-secret" not in written({"x": ["planted-secret"]}) + written("a planted-secret")


def test_the_handbook_has_a_row_for_every_key_and_a_word_on_every_command():
    rows = [
        line.split("|")[1].strip().strip("`") for line in handbook().splitlines() if line.startswith("| `")
    ]
    for name in KEYS:
        assert name.rpartition(".")[2] in rows
    for variable in NAMED.values():
        assert variable in rows
    for command in ("deploy", "create", "validate", "list", "compare", "backup", "restore", "show", "env"):
        assert f"config {command}" in handbook()
    assert "{" not in handbook().replace("{}", "")


def test_the_handbook_in_the_repository_is_current():
    assert HANDBOOK.read_text(encoding="utf-8") == handbook(), (
        "docs/configuration.md is out of date: make docs"
    )
