"""What two configurations say differently."""

from __future__ import annotations

from typing import Any

from gguf_assets.settings.difference import Change, differences, needs_reload, snapshot
from gguf_assets.settings.model import SyncConfiguration


def _settings(**values: Any) -> SyncConfiguration:
    return SyncConfiguration.model_validate(values)


def test_changes_are_shown_as_people_write_them_in_the_order_of_declaration() -> None:
    new = _settings(
        monitoring={"alert_channels": ["log"]},
        rate_limiting={"requests_per_second": 0.5},
        debug_mode=True,
        environment="staging",
    )
    changes = [
        Change("environment", "production", "staging"),
        Change("debug_mode", "false", "true"),
        Change("rate_limiting.requests_per_second", "1.2", "0.5"),
        Change("monitoring.alert_channels", "[log, github]", "[log]"),
    ]
    assert differences(SyncConfiguration(), new) == changes
    assert differences(None, new) == changes
    assert differences(new, new) == []
    assert differences(new, SyncConfiguration()) == [Change(c.key, c.new, c.old) for c in changes]


def test_free_settings_come_and_go_by_name() -> None:
    old = _settings(custom_settings={"a": 1, "b": "x", "c": {"d": [1]}})
    new = _settings(custom_settings={"a": "1", "c": {"d": [2]}, "é": None})
    assert differences(old, new) == [
        Change("custom_settings.a", "1", '"1"'),
        Change("custom_settings.c", '{"d": [1]}', '{"d": [2]}'),
        Change("custom_settings.é", None, "null"),
        Change("custom_settings.b", "x", None),
    ]


def test_a_secret_that_changes_is_seen_and_not_shown() -> None:
    hooks = ["https://hooks.example.org/aaaaaaaa", "https://hooks.example.org/bbbbbbbb"]
    old, new = (_settings(notifications={"webhook_urls": [hook]}) for hook in hooks)
    assert differences(old, new) == [Change("notifications.webhook_urls", "***", "***")]
    assert differences(None, old) == [Change("notifications.webhook_urls", "[]", "***")]
    old, new = (
        _settings(custom_settings={"api_token": word, "nested": [{"password": word, "name": "n"}]})
        for word in ("secret-one", "secret-two")
    )
    assert differences(old, new) == [
        Change("custom_settings.api_token", '"***"', '"***"'),
        Change(
            "custom_settings.nested",
            '[{"name": "n", "password": "***"}]',
            '[{"name": "n", "password": "***"}]',
        ),
    ]
    assert "secret-" not in repr(snapshot(new))


def test_what_needs_a_reload_is_named() -> None:
    new = _settings(sync_behavior={"schedule_time": "03:00", "mode": "full"}, log_level="DEBUG")
    assert needs_reload(differences(None, new)) == ["sync_behavior.schedule_time"]
