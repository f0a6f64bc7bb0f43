"""What is allowed and probably not meant: said in words that can be acted on, and never in the way."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gguf_assets.settings.document import Advice
from gguf_assets_tests.settings.configs import ConfigFolder
from gguf_assets_tests.settings.generated import nested


def advice(config: ConfigFolder, values: dict[str, Any], **layers: Any) -> dict[str, Advice]:
    """Return what a file with these values is advised of, by the first key concerned."""
    config.write(json.dumps(nested({"environment": "production"} | values)))
    found = config.load(**layers).advice
    by_key = {notice.keys[0]: notice for notice in found}
    assert len(by_key) == len(found), "one notice for each thing to change"
    return by_key


# What the file says: the key to change, words of the text, words of the hint, and what ends it.
CASES: list[tuple[dict[str, Any], str, str, str, dict[str, Any]]] = [
    (
        {"rate_limiting.requests_per_second": 2.0},
        "rate_limiting.requests_per_second",
        "2 requests a second are 7,200 an hour, and requests_per_hour allows 5,000: the lower rate binds",
        "set requests_per_second to at most 1.3888",
        {"rate_limiting.requests_per_second": 1.3888},
    ),
    (
        {"rate_limiting.requests_per_hour": 1},
        "rate_limiting.requests_per_second",
        "1.2 requests a second are 4,320 an hour, and requests_per_hour allows 1",
        "at most 0.0002",
        {"rate_limiting.requests_per_second": 0.0002},
    ),
    (
        {"rate_limiting.requests_per_hour": 5001},
        "rate_limiting.requests_per_hour",
        "the Hub grants 5,000 requests an hour with a token and 1,000 without one; beyond that it answers "
        "429",
        "set requests_per_hour to at most 5000",
        {"rate_limiting.requests_per_hour": 5000},
    ),
    (
        {"sync_behavior.force_full_sync": True},
        "sync_behavior.force_full_sync",
        "every sync is full, whatever else says otherwise, as long as this stands in the file",
        "remove it; for one sync: gguf-assets sync --force",
        {"sync_behavior.force_full_sync": False},
    ),
    (
        {"dry_run": True},
        "dry_run",
        "no sync publishes anything as long as this stands in the file",
        "remove it; for one sync: gguf-assets sync --dry-run",
        {"dry_run": False},
    ),
    (
        {"sync_behavior.mode": "incremental"},
        "sync_behavior.mode",
        "with mode incremental in the file of production, no full sync ever comes of itself: not by age, "
        "not after a failure, not after a significant change",
        "set mode to auto; for one sync: gguf-assets sync --mode incremental",
        {"sync_behavior.mode": "auto"},
    ),
    (
        {"environment": "staging", "sync_behavior.mode": "full"},
        "sync_behavior.mode",
        "with mode full in the file of staging, every sync walks everything",
        "set mode to auto",
        {"sync_behavior.mode": "auto"},
    ),
    (
        {"sync_behavior.incremental_window_hours": 169},
        "sync_behavior.incremental_window_hours",
        "incremental syncs look 169 hours back, and after 168 hours a sync is full anyway",
        "set incremental_window_hours to at most 168",
        {"sync_behavior.incremental_window_hours": 168},
    ),
    (
        {"sync_behavior.full_sync_threshold_hours": 23, "sync_behavior.incremental_window_hours": 12},
        "sync_behavior.full_sync_threshold_hours",
        "a full sync is due 23 hours after the last one, so with one sync a day every one is full",
        "set full_sync_threshold_hours to more than 24; 168 is a week",
        {"sync_behavior.full_sync_threshold_hours": 25},
    ),
    (
        {"sync_behavior.schedule_time": "23:30", "sync_behavior.late_capture_hours": 0},
        "sync_behavior.schedule_time",
        "a sync that starts at 23:30 can be finished for 0.5 hours, until late_capture_hours (0) after "
        "midnight, "
        "and workflow_timeout_hours gives it 6",
        "set schedule_time earlier, or late_capture_hours higher",
        {"sync_behavior.late_capture_hours": 6},
    ),
    (
        {"error_handling.max_recovery_attempts": 0},
        "error_handling.max_recovery_attempts",
        "syncing again after a failure is switched on, and allowed 0 times a day",
        "set max_recovery_attempts to at least 1, or enable_error_recovery to false",
        {"error_handling.enable_error_recovery": False},
    ),
    (
        {"performance.cache_ttl_hours": 0},
        "performance.cache_ttl_hours",
        "caching is switched on, and an answer is used for 0 hours: none is used twice",
        "set cache_ttl_hours to at least 1, or enable_caching to false",
        {"performance.enable_caching": False},
    ),
    (
        {"monitoring.alert_channels": []},
        "monitoring.alert_channels",
        "monitoring.enable_alerts is true, and there is no channel to tell anybody by",
        "name one: log",
        {"monitoring.enable_alerts": False},
    ),
    (
        {"notifications.notification_channels": []},
        "notifications.notification_channels",
        "error_handling.enable_notifications is true, and there is no channel",
        "name one: log",
        {"notifications.notification_channels": ["log"]},
    ),
    (
        {"monitoring.alert_channels": ["webhook"]},
        "notifications.webhook_urls",
        "monitoring.alert_channels names webhook, and notifications.webhook_urls is empty: nobody is "
        "reached that way",
        "fill notifications.webhook_urls, or take webhook out of the channels",
        {"notifications.webhook_urls": ["env:HOOK"]},
    ),
    (
        {"monitoring.alert_channels": ["email"], "notifications.notification_channels": ["email"]},
        "notifications.email_recipients",
        "monitoring.alert_channels and notifications.notification_channels name email, and "
        "notifications.email_recipients is empty",
        "fill notifications.email_recipients",
        {"notifications.email_recipients": ["who@example.org"]},
    ),
    (
        {"notifications.email_recipients": ["who@example.org"]},
        "notifications.email_recipients",
        "notifications.email_recipients holds addresses, and no channel in use is email: nobody is "
        "reached that way",
        "add email to monitoring.alert_channels or notifications.notification_channels, or empty",
        {"notifications.notification_channels": ["email"]},
    ),
    (
        {"security.enable_request_signing": True},
        "security.enable_request_signing",
        "outgoing webhooks would be signed, and none is sent: there is nothing to sign",
        "set up the channel webhook with webhook_urls, or set enable_request_signing to false",
        {"notifications.webhook_urls": ["env:HOOK"], "monitoring.alert_channels": ["webhook"]},
    ),
    (
        {"validation.enable_completeness_checking": False},
        "validation.enable_completeness_checking",
        "in production a day is published however much of it is missing",
        "set enable_completeness_checking to true",
        {"environment": "staging"},
    ),
    (
        {"validation.enable_schema_validation": False},
        "validation.enable_schema_validation",
        "in production tables are published without being checked against their schema",
        "set enable_schema_validation to true",
        {"environment": "staging"},
    ),
    (
        {"security.enable_token_validation": False},
        "security.enable_token_validation",
        "in production a sync without a token starts, at the limits of anonymous callers",
        "set enable_token_validation to true",
        {"environment": "staging"},
    ),
    (
        {"security.enable_audit_logging": False},
        "security.enable_audit_logging",
        "in production changes of the configuration are not recorded",
        "set enable_audit_logging to true",
        {"environment": "staging"},
    ),
    (
        {"security.enable_rate_limit_protection": False},
        "security.enable_rate_limit_protection",
        "in production nothing keeps requests below the limits; the Hub answers 429",
        "set enable_rate_limit_protection to true",
        {"environment": "staging"},
    ),
    (
        {"storage.enable_backups": False},
        "storage.enable_backups",
        "in production published data is replaced without a backup",
        "set enable_backups to true",
        {"environment": "staging"},
    ),
    (
        {"validation.min_completeness_score": 0.4},
        "validation.min_completeness_score",
        "in production a day is published of which 60% may be missing",
        "set min_completeness_score to 0.95",
        {"validation.min_completeness_score": 0.5},
    ),
    (
        {"debug_mode": True},
        "debug_mode",
        "in production debug mode fills the log and shows tracebacks",
        "set debug_mode to false",
        {"environment": "staging"},
    ),
]


@pytest.mark.parametrize(("values", "key", "text", "hint", "remedy"), CASES)
def test_it_is_said_once_and_following_it_ends_it(
    config: ConfigFolder, values: dict[str, Any], key: str, text: str, hint: str, remedy: dict[str, Any]
) -> None:
    assert not advice(config, {}), "nothing is wrong with the defaults"
    found = advice(config, values)
    assert set(found) == {key}
    assert text in found[key].text
    assert hint in found[key].hint
    assert not advice(config, values | remedy)


def test_what_is_meant_for_one_sync_is_fine_from_a_variable_and_an_option(config: ConfigFolder) -> None:
    variables = {"FORCE_FULL_SYNC": "true", "DRY_RUN": "true", "SYNC_MODE": "incremental"}
    assert not advice(config, {}, environ=variables)
    assert not advice(
        config, {}, sync_behavior__force_full_sync="true", dry_run="true", sync_behavior__mode="full"
    )
    # The file says it, and a variable does for the moment.
    forced = {"sync_behavior.force_full_sync": True}
    assert not advice(config, forced, environ={"FORCE_FULL_SYNC": "false"})


@pytest.mark.parametrize("environment", ["development", "testing"])
@pytest.mark.parametrize("mode", ["incremental", "full"])
def test_an_explicit_mode_is_fine_where_somebody_watches(
    config: ConfigFolder, environment: str, mode: str
) -> None:
    assert not advice(config, {"environment": environment, "sync_behavior.mode": mode})


def test_rates_are_free_on_a_loopback_endpoint(config: ConfigFolder) -> None:
    values = {"rate_limiting.requests_per_second": 500, "rate_limiting.requests_per_hour": 100_000}
    assert not advice(config, values | {"api_base_url": "http://127.0.0.1:8765"})


def test_channels_of_what_is_switched_off_do_not_count(config: ConfigFolder) -> None:
    values = {
        "monitoring.enable_alerts": False,
        "monitoring.alert_channels": ["webhook"],
        "error_handling.enable_notifications": False,
        "notifications.notification_channels": ["email"],
    }
    assert not advice(config, values)
    found = advice(config, values | {"notifications.webhook_urls": ["env:HOOK"]})
    assert set(found) == {"notifications.webhook_urls"}


def test_a_score_means_nothing_where_none_is_computed(config: ConfigFolder) -> None:
    values = {
        "validation.enable_completeness_checking": False,
        "validation.min_completeness_score": 0.1,
    }
    assert set(advice(config, values)) == {"validation.enable_completeness_checking"}


def test_no_advice_shows_an_address(config: ConfigFolder) -> None:
    hook = "https://hooks.example.org/services/hidden-part-77"
    found = advice(config, {"notifications.webhook_urls": [hook], "monitoring.alert_channels": ["log"]})
    assert "hidden-part-77" not in repr(found)
