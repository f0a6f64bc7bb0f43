"""What a sync configuration may say although it is probably not meant: warnings, never in the way.

What belongs here: pairs of values that defeat each other, and switches that are risky where they stand. What
does not: what makes a configuration invalid (`rules`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Final

from gguf_assets.settings.channel_rules import channel_advice, without_address
from gguf_assets.settings.document import Advice
from gguf_assets.settings.fields import is_loopback
from gguf_assets.settings.files import PROFILE
from gguf_assets.settings.keys import value_at
from gguf_assets.settings.model import SyncConfiguration
from gguf_assets.settings.rules import PRODUCTION

_SECONDS = 3600
_QUOTA_WITH_TOKEN, _QUOTA_WITHOUT = 5000, 1000  # requests an hour that the Hub grants an account
_DAY_HOURS = 24
_LOW_SCORE = 0.5
_UNATTENDED = frozenset({"staging", PRODUCTION})  # environments whose syncs nobody watches
_MODE, _FORCE, _DRY_RUN = "sync_behavior.mode", "sync_behavior.force_full_sync", "dry_run"

_GUARDS: Final = {
    "validation.enable_completeness_checking": "a day is published however much of it is missing",
    "validation.enable_schema_validation": "tables are published without being checked against their schema",
    "security.enable_token_validation": "a sync without a token starts, at the limits of anonymous callers",
    "security.enable_audit_logging": "changes of the configuration are not recorded",
    "security.enable_rate_limit_protection": "nothing keeps requests below the limits; the Hub answers 429",
    "storage.enable_backups": "published data is replaced without a backup",
}
"""Switches that production should not be without, and what happens when they are off."""


def sync_advice(settings: SyncConfiguration, origins: Mapping[str, str]) -> Iterator[Advice]:
    """Yield what is allowed in a sync configuration and probably not meant.

    Args:
        settings: a valid configuration.
        origins: the layer that each dotted key comes from.
    """
    yield from _rates(settings)
    yield from _for_ever(settings, origins)
    yield from _hours(settings)
    yield from _nothing_to_do(settings)
    yield from without_address(settings)
    yield from channel_advice(settings)
    if settings.environment == PRODUCTION:
        yield from _production(settings)


def _rates(settings: SyncConfiguration) -> Iterator[Advice]:
    rates = settings.rate_limiting
    if is_loopback(settings.api_base_url):
        return
    by_second = rates.requests_per_second * _SECONDS
    if by_second > rates.requests_per_hour:
        yield Advice(
            ("rate_limiting.requests_per_second", "rate_limiting.requests_per_hour"),
            f"{rates.requests_per_second:g} requests a second are {by_second:,.0f} an hour, and "
            f"requests_per_hour allows {rates.requests_per_hour:,}: the lower rate binds",
            f"set requests_per_second to at most {_below(rates.requests_per_hour / _SECONDS)}",
        )
    if rates.requests_per_hour > _QUOTA_WITH_TOKEN:
        yield Advice(
            ("rate_limiting.requests_per_hour",),
            f"the Hub grants {_QUOTA_WITH_TOKEN:,} requests an hour with a token and {_QUOTA_WITHOUT:,} "
            "without one; beyond that it answers 429",
            f"set requests_per_hour to at most {_QUOTA_WITH_TOKEN}",
        )


def _for_ever(settings: SyncConfiguration, origins: Mapping[str, str]) -> Iterator[Advice]:
    """Yield what is meant for one sync and stands in a file, where it holds for all."""
    behavior = settings.sync_behavior
    if behavior.force_full_sync and _in_file(origins[_FORCE]):
        yield Advice(
            (_FORCE,),
            "every sync is full, whatever else says otherwise, as long as this stands in the file",
            "remove it; for one sync: gguf-assets sync --force",
        )
    if settings.dry_run and _in_file(origins[_DRY_RUN]):
        yield Advice(
            (_DRY_RUN,),
            "no sync publishes anything as long as this stands in the file",
            "remove it; for one sync: gguf-assets sync --dry-run",
        )
    if behavior.mode == "auto" or settings.environment not in _UNATTENDED:
        return
    if _in_file(origins[_MODE]):
        text = {
            "incremental": "no full sync ever comes of itself: not by age, not after a failure, not after a "
            "significant change",
            "full": "every sync walks everything, although most days an incremental one would do",
        }[behavior.mode]
        yield Advice(
            (_MODE, "environment"),
            f"with mode {behavior.mode} in the file of {settings.environment}, {text}",
            f"set mode to auto; for one sync: gguf-assets sync --mode {behavior.mode}",
        )


def _hours(settings: SyncConfiguration) -> Iterator[Advice]:
    behavior = settings.sync_behavior
    window, threshold = behavior.incremental_window_hours, behavior.full_sync_threshold_hours
    if window > threshold:
        yield Advice(
            ("sync_behavior.incremental_window_hours", "sync_behavior.full_sync_threshold_hours"),
            f"incremental syncs look {window} hours back, and after {threshold} hours a sync is full anyway",
            f"set incremental_window_hours to at most {threshold}",
        )
    if threshold < _DAY_HOURS and behavior.mode == "auto":
        yield Advice(
            ("sync_behavior.full_sync_threshold_hours",),
            f"a full sync is due {threshold} hours after the last one, so with one sync a day every one is "
            "full",
            "set full_sync_threshold_hours to more than 24; 168 is a week",
        )
    hour, minute = map(int, behavior.schedule_time.split(":"))
    late = behavior.late_capture_hours
    left = _DAY_HOURS - hour - minute / 60 + late
    if left < settings.workflow_timeout_hours:
        yield Advice(
            ("sync_behavior.schedule_time", "sync_behavior.late_capture_hours", "workflow_timeout_hours"),
            f"a sync that starts at {behavior.schedule_time} can be finished for {left:.3g} hours, until "
            f"late_capture_hours ({late}) after midnight, and workflow_timeout_hours gives it "
            f"{settings.workflow_timeout_hours}",
            "set schedule_time earlier, or late_capture_hours higher",
        )


def _nothing_to_do(settings: SyncConfiguration) -> Iterator[Advice]:
    errors, performance = settings.error_handling, settings.performance
    if errors.enable_error_recovery and errors.max_recovery_attempts == 0:
        yield Advice(
            ("error_handling.max_recovery_attempts", "error_handling.enable_error_recovery"),
            "syncing again after a failure is switched on, and allowed 0 times a day",
            "set max_recovery_attempts to at least 1, or enable_error_recovery to false",
        )
    if performance.enable_caching and performance.cache_ttl_hours == 0:
        yield Advice(
            ("performance.cache_ttl_hours", "performance.enable_caching"),
            "caching is switched on, and an answer is used for 0 hours: none is used twice",
            "set cache_ttl_hours to at least 1, or enable_caching to false",
        )


def _production(settings: SyncConfiguration) -> Iterator[Advice]:
    for key, consequence in _GUARDS.items():
        path = tuple(key.split("."))
        if not value_at(settings, path):
            yield Advice((key, "environment"), f"in production {consequence}", f"set {path[-1]} to true")
    validation = settings.validation
    if validation.enable_completeness_checking and validation.min_completeness_score < _LOW_SCORE:
        yield Advice(
            ("validation.min_completeness_score", "environment"),
            f"in production a day is published of which {1 - validation.min_completeness_score:.0%} may be "
            "missing",
            "set min_completeness_score to 0.95",
        )
    if settings.debug_mode:
        yield Advice(
            ("debug_mode", "environment"),
            "in production debug mode fills the log and shows tracebacks",
            "set debug_mode to false",
        )


def _in_file(origin: str) -> bool:
    return origin.startswith(("file ", PROFILE))


def _below(rate: float) -> str:
    """Return a rate rounded down, so that following the advice ends it."""
    return f"{math.floor(rate * 10_000) / 10_000:g}"
