"""Which environment variables are set, which of several counts, and which are misspelt."""

from __future__ import annotations

import pytest

from gguf_assets.settings.environment_variables import BESIDE_THE_KEYS, strangers, variables
from gguf_assets_tests.settings.generated import KEYS, NAMED, generic

TOKEN = "hf_" + "Qz7" * 11


def listed(config, **environ):
    """Return all variables of an environment by name."""
    return {one.name: one for one in variables({"GGUF_ASSETS_CONFIG_DIR": str(config.path), **environ})}


def test_every_variable_with_a_name_of_its_own_is_listed_though_unset(config):
    found = listed(config)
    assert set(found) == {*NAMED.values(), "HF_TOKEN", "HF_ENDPOINT", *BESIDE_THE_KEYS}
    assert {name for name, one in found.items() if one.state != "unset"} == {"GGUF_ASSETS_CONFIG_DIR"}
    assert found["SYNC_MODE"].key == "sync_behavior.mode"


def test_the_variables_of_other_rooms_are_called_what_those_rooms_call_them():
    from gguf_assets.orchestration import executors, partitions

    assert {executors.VARIABLE, partitions.START_VARIABLE} <= set(BESIDE_THE_KEYS)


def test_of_several_the_first_that_is_set_counts(config):
    found = listed(config, MAX_RETRIES="3", GGUF_SYNC__RATE_LIMITING__MAX_RETRIES="4", SYNC_MODE=" ")
    assert (found["MAX_RETRIES"].state, found["MAX_RETRIES"].value) == ("counts", "3")
    other = found["GGUF_SYNC__RATE_LIMITING__MAX_RETRIES"]
    assert (other.state, other.note) == ("overruled", "by MAX_RETRIES")
    assert (found["SYNC_MODE"].state, found["SYNC_MODE"].value) == ("unset", None)
    loaded = config.load({"MAX_RETRIES": "3", generic("rate_limiting.max_retries"): "4"})
    assert loaded.settings.rate_limiting.max_retries == 3


def test_a_secret_is_never_shown(config):
    hook = {generic("notifications.webhook_urls"): "https://example.org/s3cr3t"}
    found = listed(config, HF_TOKEN=TOKEN, HUGGINGFACE_TOKEN=TOKEN[::-1], **hook)
    assert TOKEN not in repr(found) and TOKEN[::-1] not in repr(found) and "s3cr3t" not in repr(found)
    assert (found["HUGGINGFACE_TOKEN"].state, found["HUGGINGFACE_TOKEN"].value) == ("counts", "***")
    assert (found["HF_TOKEN"].state, found["HF_TOKEN"].note) == ("overruled", "by HUGGINGFACE_TOKEN")


def test_a_variable_whose_value_is_wrong_says_why(config):
    found = listed(config, SYNC_MODE="fulll", SYNC_ENVIRONMENT="staging")
    assert found["SYNC_MODE"].state == "invalid"
    assert found["SYNC_MODE"].note == "Mode must be one of auto, incremental, full"
    assert found["SYNC_ENVIRONMENT"].state == "counts"


def test_the_parts_of_the_free_map_are_listed_where_they_are_set(config):
    found = listed(config, GGUF_SYNC__CUSTOM_SETTINGS__BETA="1")
    assert found["GGUF_SYNC__CUSTOM_SETTINGS__BETA"].key == "custom_settings"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("SYNC_MOD", "did you mean SYNC_MODE?"),
        ("GGUF_SYNC__RATE_LIMITNG__MAX_RETRIES", "did you mean GGUF_SYNC__RATE_LIMITING__MAX_RETRIES?"),
        ("GGUF_ASSETS_DATADIR", "did you mean GGUF_ASSETS_DATA_DIR?"),
        ("REQUEST_PER_SECOND", "did you mean REQUESTS_PER_SECOND?"),
        ("HF_TOKENS", "did you mean HF_TOKEN?"),
        ("SYNC_SOMETHING_ELSE_ALTOGETHER", "no such variable: the names that there are stand in this list"),
    ],
)
def test_a_variable_that_looks_like_ours_is_pointed_out(name, hint):
    assert [(one.name, one.hint) for one in strangers({name: "x", "PATH": "/bin"})] == [(name, hint)]


def test_what_belongs_to_others_is_left_alone():
    others = [
        "PATH",
        "HF_HOME",
        "HF_HUB_OFFLINE",
        "HF_HUB_DISABLE_TELEMETRY",
        "HF_DATASETS_CACHE",
        "LOG_FILE",
    ]
    ours = [*NAMED.values(), *map(generic, KEYS), *BESIDE_THE_KEYS, "GGUF_SYNC__CUSTOM_SETTINGS__X"]
    assert strangers(dict.fromkeys([*others, *ours, "GGUF_ASSETS_HUB_RECORDING"], "x")) == []
