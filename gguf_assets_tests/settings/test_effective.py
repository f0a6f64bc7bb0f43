"""The settings in force key by key: value, layer, and what stays hidden."""

from __future__ import annotations

from gguf_assets.settings.effective import effective
from gguf_assets.settings.keys import find_key
from gguf_assets.settings.model import SyncConfiguration
from gguf_assets.settings.reference import written
from gguf_assets_tests.settings.generated import CUSTOM, KEYS


def lines(config, text="", **environ):
    """Return the lines of what is in force by dotted key."""
    config.write(f"environment: staging\n{text}")
    return {".".join(line.path): line for line in effective(config.load(environ)).lines}


def test_every_key_has_a_line_with_its_value_and_layer(config):
    found = lines(config, "log_level: DEBUG\n", MAX_RETRIES="3")
    assert list(found) and set(found) == set(KEYS)
    file = f"file {config.path / 'sync-config.yaml'}"
    level, tries, census = (
        found[k] for k in ("log_level", "rate_limiting.max_retries", "sync_behavior.census")
    )
    assert (level.value, level.origin, level.place, level.changed) == ("DEBUG", file, f"{file}, line 2", True)
    assert (tries.value, tries.origin, tries.changed) == ("3", "environment variable MAX_RETRIES", True)
    assert (census.value, census.origin, census.changed) == ("true", "default", False)


def test_a_token_is_there_and_hidden(config):
    assert lines(config)["huggingface_token"].value == "null"
    line = lines(config, HF_TOKEN="abcdefgh-planted")["huggingface_token"]
    assert (line.value, line.origin, line.changed) == ("***", "environment variable HF_TOKEN", True)


def test_values_of_secret_keys_are_hidden_whatever_they_look_like():
    key = find_key(SyncConfiguration, ("notifications", "webhook_urls"))
    assert written(["https://example.org/looks-like-nothing"], key) == "***"
    assert written([], key) == "[]"


def test_the_free_map_has_a_line_for_each_of_its_keys(config):
    found = lines(config, "custom_settings:\n  beta: true\n  names: [a, b]\n  my_password: abc\n")
    assert found["custom_settings.my_password"].value == '"***"'
    assert CUSTOM not in found
    assert found["custom_settings.beta"].value == "true"
    assert found["custom_settings.names"].value == "[a, b]"
    assert found["custom_settings.names"].place.endswith("line 4")


def test_where_masking_is_off_webhook_addresses_are_shown_and_the_token_is_not(config):
    webhook, token = "https://hooks.example.org/T00/secret", "hf_" + "Zz9" * 11
    text = (
        "environment: development\nsecurity: {mask_sensitive_data: %s}\n"
        f"notifications: {{webhook_urls: ['{webhook}']}}\n"
    )
    for masked, shown in (("true", "***"), ("false", f'["{webhook}"]')):
        config.write(text % masked)
        lines = {line.path[-1]: line.value for line in effective(config.load({"HF_TOKEN": token})).lines}
        assert lines["webhook_urls"] == shown
        assert lines["huggingface_token"] == "***"
