"""Rules between the settings of the sync: what is right by itself and still not allowed together.

What belongs here: contradictions that make a configuration invalid. What does not: ranges of single settings
(`model`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from gguf_assets.settings.document import Contradiction
from gguf_assets.settings.fields import below, is_loopback, local_folder
from gguf_assets.settings.model import SyncConfiguration

PRODUCTION: Final = "production"
PLAIN_HTTP: Final = frozenset({"development", "testing"})
_RATE_IN_PRODUCTION, _RATE_ELSEWHERE, _CONCURRENCY_IN_PRODUCTION = 2.0, 50.0, 100


def sync_contradictions(settings: SyncConfiguration) -> Iterator[Contradiction]:
    """Yield everything in a sync configuration that contradicts something else in it."""
    yield from _rates(settings)
    yield from _endpoint(settings)
    if settings.environment == PRODUCTION:
        yield from _production(settings)
    watched = settings.monitoring
    if watched.freshness_failure_hours <= watched.freshness_warning_hours:
        yield Contradiction(
            ("monitoring.freshness_failure_hours", "monitoring.freshness_warning_hours"),
            "Freshness failure hours must be more than freshness warning hours",
            f"a whole number above {watched.freshness_warning_hours}",
        )
    data_folder = local_folder(settings.storage.data_directory)
    last_sync = below(data_folder, settings.sync_behavior.last_sync_file)
    if ".." in last_sync.parts or data_folder not in last_sync.parents:
        yield Contradiction(
            ("sync_behavior.last_sync_file", "storage.data_directory"),
            "Last sync file must lie inside the data directory",
            "a path below storage.data_directory, without ..",
        )


def _rates(settings: SyncConfiguration) -> Iterator[Contradiction]:
    production = settings.environment == PRODUCTION
    rate, bound = (
        settings.rate_limiting.requests_per_second,
        _RATE_IN_PRODUCTION if production else _RATE_ELSEWHERE,
    )
    if rate > bound and not is_loopback(settings.api_base_url):
        yield Contradiction(
            ("rate_limiting.requests_per_second", "environment", "api_base_url"),
            f"Requests per second must be at most {bound:.1f} in {settings.environment}",
            f"above 0 and at most {bound:.1f}; no upper bound on a loopback endpoint",
        )
    if production and settings.rate_limiting.max_concurrent_requests > _CONCURRENCY_IN_PRODUCTION:
        yield Contradiction(
            ("rate_limiting.max_concurrent_requests", "environment"),
            f"Max concurrent requests must be at most {_CONCURRENCY_IN_PRODUCTION} in production",
            f"a whole number between 1 and {_CONCURRENCY_IN_PRODUCTION}",
        )


def _endpoint(settings: SyncConfiguration) -> Iterator[Contradiction]:
    endpoint = urlsplit(settings.api_base_url)
    if is_loopback(settings.api_base_url):
        return
    if endpoint.scheme != "https" and settings.environment not in PLAIN_HTTP:
        yield Contradiction(
            ("api_base_url", "environment"),
            f"Api base url must use https in {settings.environment}",
            "https://…; http only on a loopback endpoint, in development and in testing",
        )
    host = endpoint.hostname or ""
    domains = settings.security.allowed_domains
    if not any(host == domain or host.endswith(f".{domain}") for domain in domains):
        yield Contradiction(
            ("api_base_url", "security.allowed_domains"),
            "Api base url must lie within the allowed domains",
            f"{', '.join(domains)} with sub-domains (security.allowed_domains), or a loopback endpoint",
        )


def _production(settings: SyncConfiguration) -> Iterator[Contradiction]:
    if not settings.error_handling.preserve_data_on_failure:
        yield Contradiction(
            ("error_handling.preserve_data_on_failure", "environment"),
            "Preserve data on failure must be true in production",
            "true",
        )
    if not settings.security.mask_sensitive_data:
        yield Contradiction(
            ("security.mask_sensitive_data", "environment"),
            "Mask sensitive data must be true in production",
            "true",
        )
