"""A valid tree survives the way into a file and back, whatever it holds, and the file is always the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gguf_assets.settings.dumping import to_yaml
from gguf_assets.settings.layers import file_layer
from gguf_assets.settings.load import SYNC_DOCUMENT
from gguf_assets.settings.model import SyncConfiguration
from gguf_assets.settings.resolving import resolve
from gguf_assets_tests.settings.configs import ConfigFolder
from gguf_assets_tests.settings.generated import KEYS, nested, valid_values

QUICK = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)


def typed(values: dict[str, Any]) -> SyncConfiguration:
    """Return values by key as a tree, without any layer."""
    return SyncConfiguration.model_validate(nested(values))


def read(text: str) -> SyncConfiguration:
    """Return what a file's text says."""
    return resolve(SYNC_DOCUMENT, [file_layer(SyncConfiguration, text.encode(), "file x")]).settings


def at(tree: SyncConfiguration, key: str) -> Any:
    """Return the value of a key as a file would hold it."""
    value: Any = tree
    for name in key.split("."):
        value = getattr(value, name)
    return list(value) if isinstance(value, tuple) else value


@QUICK
@given(values=st.one_of(valid_values(), valid_values(every=True)))
def test_a_valid_tree_survives_the_way_through_a_file(config: ConfigFolder, values: dict[str, Any]) -> None:
    tree = typed(values)
    config.write(to_yaml(tree))
    loaded = config.load({"GGUF_ASSETS_STATE_DIR": str(config.path)})
    assert loaded.settings == tree
    assert {key: at(loaded.settings, key) for key in values} == values
    assert to_yaml(loaded.settings) == to_yaml(tree)


@settings(QUICK, max_examples=15)
@given(values=valid_values())
def test_a_file_of_another_writer_means_what_it_says(values: dict[str, Any]) -> None:
    values.pop("custom_settings", None)  # JSON writes some texts in ways that YAML does not read
    loaded = read(json.dumps(nested(values) or {"dry_run": False}))
    assert {key: at(loaded, key) for key in values} == values


@settings(QUICK, max_examples=15)
@given(values=valid_values())
def test_comments_change_nothing(values: dict[str, Any]) -> None:
    tree = typed(values)
    text = to_yaml(tree, comments=True)
    assert read(text) == tree
    lines = text.splitlines()
    assert "\n".join(line for line in lines if not line.lstrip().startswith("#")) + "\n" == to_yaml(tree)


@pytest.mark.parametrize(
    "value",
    [
        "1e5",
        "12:30",
        "010",
        "2025-01-01",
        "yes",
        "~",
        "",
        " ",
        "a\nb",
        "\x00\x85\u2028\ufeff",
        "😀",
        "- a",
        "a: b",
        "#",
        "é" * 200,
        "x " * 200,
        2**64 - 1,
        -(2**63),
        1e17,
        1e-7,
        -0.0,
        5e-324,
        [],
        {},
        [[]],
        {"": {"": []}},
    ],
)
def test_what_other_readers_of_yaml_stumble_over_survives(value: Any) -> None:
    tree = SyncConfiguration(custom_settings={"x": value, str(value): [value, {"deep": value}]})
    custom = read(to_yaml(tree)).custom_settings
    assert custom == tree.custom_settings
    assert type(custom["x"]) is type(value)


def test_another_reader_of_yaml_reads_the_same() -> None:
    texts = ["12:30", "2025-01-01", "010", "yes", "1_000", "0x1f", "~", "on", "=", "<<", "1e5", ".5e3", "é"]
    tree = SyncConfiguration(custom_settings={"texts": texts, "numbers": [1, 1.5, 10**19, 1e20]})
    assert yaml.safe_load(to_yaml(tree)) == tree.model_dump(mode="json")


def test_a_file_holds_every_key_in_the_order_of_declaration_with_lists_on_one_line() -> None:
    tree = typed(
        {
            "environment": "staging",
            "monitoring.alert_channels": ["log"],
            "custom_settings": {"b": 1, "a": {"d": 1, "c": [1]}},
        }
    )
    text = to_yaml(tree)
    assert text.startswith("environment: staging\nlog_level: INFO\n")
    assert "\n\nrate_limiting:\n  requests_per_second: 1.2\n  requests_per_hour: 5000\n" in text
    assert "\n  alert_channels: [log]\n" in text
    assert text.endswith("\n\ncustom_settings:\n  a:\n    c:\n    - 1\n    d: 1\n  b: 1\n")
    written = yaml.safe_load(text)
    flat = [
        key if name is None else f"{key}.{name}"
        for key, value in written.items()
        for name in (value if isinstance(value, dict) and key != "custom_settings" else [None])
    ]
    assert sorted(flat) == sorted(KEYS)
    assert flat == [".".join(path) for path in _declared(SyncConfiguration)], (
        "the order of the classes, section by section"
    )


def _declared(model: Any, parent: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, field in model.model_fields.items():
        inner = getattr(field.annotation, "model_fields", None)
        found += [(*parent, name)] if inner is None else _declared(field.annotation, (name,))
    return found


def test_equal_trees_give_equal_files() -> None:
    one = SyncConfiguration(custom_settings={"a": 1, "b": {"c": 2, "d": 3}})
    other = SyncConfiguration(custom_settings={"b": {"d": 3, "c": 2}, "a": 1})
    assert to_yaml(one) == to_yaml(other)


def test_the_token_is_never_written_and_references_stay_references(config: ConfigFolder) -> None:
    token = "hf_" + "Qq7" * 11
    config.write("notifications: {webhook_urls: ['env:HOOK', 'https://hooks.example.org/abc']}\n")
    loaded = config.load({"HF_TOKEN": token, "HOOK": "https://hooks.example.org/hidden88"})
    text = to_yaml(loaded.settings, comments=True)
    assert "\nhuggingface_token: null\n" in text
    assert token not in text
    assert "hidden88" not in text
    assert "\n  webhook_urls: ['env:HOOK', 'https://hooks.example.org/abc']\n" in text.replace('"', "'")


@pytest.mark.parametrize("value", [b"bytes", object(), {1, 2}, float("nan"), {1: 2}, 2**64])
def test_what_no_file_can_say_is_not_written(value: object) -> None:
    with pytest.raises(ValueError, match="custom_settings holds what no file can say"):
        to_yaml(SyncConfiguration(custom_settings={"x": value}))


@settings(QUICK, max_examples=15)
@example(pieces=["custom_settings: {a: [1, 2.50, 0x1f, 12:30]}"])
@given(
    pieces=st.lists(
        st.sampled_from(
            [
                "environment: staging",
                "log_level: debug",
                "debug_mode: 'yes'",
                "rate_limiting: {requests_per_second: 1, max_retries: +07}",
                "sync_behavior: {weekly_full_cron: '0  4 * *  0', schedule_time: 12:30}",
                "security: {allowed_domains: [HuggingFace.co]}",
                "api_base_url: https://HUGGINGFACE.co/",
                "custom_settings: {b: 1e3, a: [~, !!int '7', 'x']}",
                "monitoring:",
                "# a comment",
            ]
        ),
        min_size=1,
        unique=True,
    )
)
def test_a_file_written_by_hand_becomes_a_fixed_point(pieces: list[str]) -> None:
    tree = read("\n".join([*pieces, "dry_run: 0", ""]))
    once = to_yaml(tree)
    assert read(once) == tree
    assert to_yaml(read(once)) == once
