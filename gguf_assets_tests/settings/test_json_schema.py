"""The JSON Schema of the file: it accepts what the loader accepts, and refuses what it can see is wrong."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gguf_assets.settings.json_schema import json_schema
from gguf_assets.settings.model import SyncConfiguration
from gguf_assets.settings.reference import shipped_files
from gguf_assets_tests.settings.generated import (
    CUSTOM,
    KEYS,
    SWITCHES,
    TOKEN,
    WHOLE,
    nested,
    valid_values,
)
from gguf_assets_tests.settings.test_single_faults import faults

SCHEMA = json_schema(SyncConfiguration, "a file")
# What no schema says: a range that runs backwards.
UNSEEN = {("sync_behavior.weekly_full_cron", "5-1 * * * *")}
NOTES = {"$schema", "title", "description", "default"}
KINDS: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "number": (int, float),
    "integer": int,
}


def is_kind(value: Any, kind: str) -> bool:
    """Return whether a value is of a type of JSON Schema."""
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, KINDS[kind])


def accepts(schema: dict[str, Any], value: Any) -> bool:
    """Judge a value by the keywords that the schema uses, and fail on any other keyword."""
    holds = True
    for word, wanted in schema.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        match word:
            case "type":
                ok = any(is_kind(value, kind) for kind in ([wanted] if isinstance(wanted, str) else wanted))
            case "enum":
                ok = any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in wanted)
            case "anyOf":
                ok = any(accepts(one, value) for one in wanted)
            case "pattern":
                ok = not isinstance(value, str) or re.search(wanted, value) is not None
            case "minimum":
                ok = not number or value >= wanted
            case "exclusiveMinimum":
                ok = not number or value > wanted
            case "maximum":
                ok = not number or value <= wanted
            case "properties":
                ok = not isinstance(value, dict) or all(
                    accepts(wanted[name], item) for name, item in value.items() if name in wanted
                )
            case "additionalProperties":
                assert wanted is False
                ok = not isinstance(value, dict) or set(value) <= set(schema["properties"])
            case "items":
                ok = not isinstance(value, list) or all(accepts(wanted, item) for item in value)
            case "minItems":
                ok = not isinstance(value, list) or len(value) >= wanted
            case _:
                assert word in NOTES, f"a keyword that this test does not know: {word}"
                ok = True
        holds = holds and ok
    return holds


def part(key: str) -> dict[str, Any]:
    """Return the schema of a key."""
    schema = SCHEMA
    for name in key.split("."):
        schema = schema["properties"][name]
    return schema


def test_the_schema_has_every_key_and_no_other():
    found = [
        name if "properties" not in schema else f"{name}.{inner}"
        for name, schema in SCHEMA["properties"].items()
        for inner in (schema.get("properties") or [None])
    ]
    assert sorted(found) == sorted(KEYS)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("path", shipped_files(), ids=lambda path: path.stem)
def test_it_accepts_the_shipped_profiles(path):
    assert accepts(SCHEMA, yaml.safe_load(path.read_text()))


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(values=st.one_of(valid_values(), valid_values(every=True)))
def test_it_accepts_whatever_the_loader_accepts(values):
    wrong = {key: value for key, value in values.items() if not accepts(part(key), value)}
    assert wrong == {}
    assert accepts(SCHEMA, nested(values))


def test_it_accepts_the_other_ways_of_writing_a_value():
    for word in ("true", "YES", "On", "1", " no ", 0, 1, "oFF", False):
        assert all(accepts(part(key), word) for key in SWITCHES), word
    assert accepts(part("log_level"), "debug")
    assert accepts(part("validation.min_completeness_score"), 1)
    assert accepts(part("notifications.webhook_urls"), ["env:HOOK", "HTTP://user@LocalHost:80/x"])
    assert accepts(part("api_base_url"), "HTTPS://Hub.example.org:8443/")
    assert accepts(part("security.allowed_domains"), ["10.0.0.1", "fe80::1%eth0", "a-b.example.org"])
    assert accepts(SCHEMA, {"rate_limiting": None, "custom_settings": None, "huggingface_token": None})
    assert accepts(SCHEMA, {"custom_settings": {"anything": {"at": ["all"]}}})


@pytest.mark.parametrize("key", KEYS)
def test_it_refuses_what_is_wrong_at_a_key(key):
    wrong = [
        value
        for value in faults(key)
        if not (isinstance(value, float) and not math.isfinite(value))  # JSON has none of these
    ]
    accepted = [value for value in wrong if accepts(part(key), value)]
    assert [value for value in accepted if (key, value) not in UNSEEN] == []


def test_it_refuses_unknown_keys_in_every_section_but_the_free_one():
    for key in KEYS:
        if key == CUSTOM:
            continue
        misspelt = nested({f"{key}x": 1})
        assert not accepts(SCHEMA, misspelt), key


def test_an_editor_is_told_what_a_key_means_and_where_else_it_is_set():
    described = part("rate_limiting.timeout_seconds")["description"]
    assert "Hub may stay silent" in described and "Unit: seconds." in described
    assert "TIMEOUT_SECONDS, GGUF_SYNC__RATE_LIMITING__TIMEOUT_SECONDS" in described
    assert part("rate_limiting.timeout_seconds")["default"] == 30
    assert "reload" in part("sync_behavior.schedule_time")["description"]
    assert part(TOKEN)["type"] == "null"
    assert {key: (part(key)["minimum"], part(key).get("maximum")) for key in WHOLE} == WHOLE
