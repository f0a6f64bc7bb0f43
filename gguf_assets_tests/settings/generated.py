"""Every key of the sync configuration with what it may hold and what it may not, written down by hand.

Nothing here is read from the schema: ranges and words stand here a second time, on purpose.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Strategy = st.SearchStrategy[Any]

WHOLE: dict[str, tuple[int, int | None]] = {
    "workflow_timeout_hours": (1, 24),
    "rate_limiting.requests_per_hour": (1, 100_000),
    "rate_limiting.max_concurrent_requests": (1, None),
    "rate_limiting.max_retries": (0, 20),
    "rate_limiting.timeout_seconds": (1, 600),
    "sync_behavior.incremental_window_hours": (1, 720),
    "sync_behavior.full_sync_threshold_hours": (1, 8760),
    "sync_behavior.late_capture_hours": (0, 23),
    "sync_behavior.detail_requests_per_run": (0, 1_000_000),
    "validation.validation_timeout_seconds": (1, 3600),
    "validation.removal_confirm_limit": (0, 100_000),
    "validation.file_verification_requests": (0, 100_000),
    "validation.header_sample": (0, 1000),
    **{
        f"quality_scoring.weight_{check}": (0, 100)
        for check in (
            "listed",
            "reachable",
            "model_file",
            "shards_complete",
            "files_not_empty",
            "labels_plausible",
            "labelled",
            "verifiable",
            "licensed",
            "base_model",
            "described",
        )
    },
    "error_handling.max_recovery_attempts": (0, 10),
    "error_handling.recovery_delay_seconds": (0, 3600),
    "monitoring.progress_report_interval_seconds": (1, 86_400),
    "performance.cache_ttl_hours": (0, 720),
    "performance.memory_limit_mb": (128, 1_048_576),
    "performance.chunk_size": (1, 10_000),
    "storage.backup_retention_days": (1, 3650),
    "storage.capture_retention_days": (1, 36_500),
    "storage.candidate_retention_days": (1, 3650),
    "storage.files_full_days": (1, 36_500),
    "rate_limiting.max_requests_per_run": (100, 10_000_000),
    "monitoring.freshness_warning_hours": (1, 720),
    "monitoring.freshness_failure_hours": (1, 720),
    "notifications.cooldown_seconds": (0, 86_400),
    "notifications.failure_threshold": (1, 100),
}
"""Whole numbers, least and most."""

BESIDE_DEFAULTS = {
    "monitoring.freshness_warning_hours": (1, 49),
    "monitoring.freshness_failure_hours": (27, 720),
}
"""Of two keys of which one must be more than the other, what each may be while the other has its default."""

# Key, least, most, whether the least itself is allowed.
NUMBERS: dict[str, tuple[float, float | None, bool]] = {
    "rate_limiting.requests_per_second": (0.0, None, False),
    "rate_limiting.backoff_base": (1.0, 10.0, True),
    "sync_behavior.significant_change_threshold": (0.0, 1.0, False),
    "validation.min_completeness_score": (0.0, 1.0, True),
    "validation.min_file_detail_coverage": (0.0, 1.0, True),
}

SWITCHES = [
    "debug_mode",
    "dry_run",
    "enable_github_actions_integration",
    "rate_limiting.backoff_jitter",
    "sync_behavior.force_full_sync",
    "sync_behavior.enable_multi_strategy_discovery",
    "sync_behavior.enable_deduplication",
    "sync_behavior.census",
    "validation.enable_schema_validation",
    "validation.enable_file_verification",
    "validation.enable_completeness_checking",
    "validation.enable_quality_scoring",
    "validation.enable_automatic_fixes",
    "error_handling.enable_error_recovery",
    "error_handling.enable_exponential_backoff",
    "error_handling.enable_categorized_errors",
    "error_handling.enable_notifications",
    "error_handling.preserve_data_on_failure",
    "monitoring.enable_detailed_logging",
    "monitoring.enable_progress_tracking",
    "monitoring.enable_performance_metrics",
    "monitoring.enable_alerts",
    "monitoring.enable_dashboard",
    "performance.enable_streaming_processing",
    "performance.enable_data_compression",
    "performance.enable_caching",
    "performance.enable_parallel_processing",
    "performance.enable_adaptive_parameters",
    "storage.enable_backups",
    "storage.enable_compression",
    "notifications.enable_success_notifications",
    "notifications.enable_failure_notifications",
    "notifications.enable_warning_notifications",
    "notifications.enable_critical_notifications",
    "security.enable_token_validation",
    "security.enable_rate_limit_protection",
    "security.enable_request_signing",
    "security.enable_audit_logging",
    "security.mask_sensitive_data",
]

WORDS: dict[str, list[str]] = {
    "environment": ["development", "staging", "production", "testing"],
    "log_level": ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
    "sync_behavior.mode": ["auto", "incremental", "full"],
}

CHANNELS = ["log", "github", "webhook", "email"]
WORD_LISTS: dict[str, list[str]] = {
    "monitoring.alert_channels": CHANNELS,
    "notifications.notification_channels": CHANNELS,
    "validation.disabled_rules": ["empty_file", "no_gguf_file", "partial_day", "schema"],
}
LISTS = [
    *WORD_LISTS,
    "notifications.webhook_urls",
    "notifications.email_recipients",
    "security.allowed_domains",
]
FOLDERS = [
    "storage.data_directory",
    "storage.backup_directory",
    "storage.reports_directory",
    "storage.logs_directory",
]
TEXTS = [
    "api_base_url",
    "sync_behavior.schedule_time",
    "sync_behavior.weekly_full_cron",
    "sync_behavior.last_sync_file",
    *FOLDERS,
]
TOKEN, CUSTOM = "huggingface_token", "custom_settings"

KEYS = [*WHOLE, *NUMBERS, *SWITCHES, *WORDS, *LISTS, *TEXTS, TOKEN, CUSTOM]

NAMED = {
    "environment": "SYNC_ENVIRONMENT",
    "log_level": "LOG_LEVEL",
    "debug_mode": "DEBUG_MODE",
    "dry_run": "DRY_RUN",
    "huggingface_token": "HUGGINGFACE_TOKEN",
    "api_base_url": "API_BASE_URL",
    "workflow_timeout_hours": "WORKFLOW_TIMEOUT_HOURS",
    "rate_limiting.requests_per_second": "REQUESTS_PER_SECOND",
    "rate_limiting.requests_per_hour": "REQUESTS_PER_HOUR",
    "rate_limiting.max_concurrent_requests": "MAX_CONCURRENCY",
    "rate_limiting.max_retries": "MAX_RETRIES",
    "rate_limiting.timeout_seconds": "TIMEOUT_SECONDS",
    "sync_behavior.mode": "SYNC_MODE",
    "sync_behavior.incremental_window_hours": "INCREMENTAL_WINDOW_HOURS",
    "sync_behavior.full_sync_threshold_hours": "FULL_SYNC_THRESHOLD_HOURS",
    "sync_behavior.force_full_sync": "FORCE_FULL_SYNC",
    "monitoring.enable_detailed_logging": "ENABLE_DETAILED_LOGGING",
    "monitoring.progress_report_interval_seconds": "PROGRESS_REPORT_INTERVAL",
    "monitoring.enable_performance_metrics": "ENABLE_PERFORMANCE_METRICS",
    "storage.data_directory": "GGUF_ASSETS_DATA_DIR",
}
"""The variable that sets a key beside the generic one."""


def generic(key: str) -> str:
    """Return the variable that every key has."""
    return "GGUF_SYNC__" + key.upper().replace(".", "__")


def nested(values: dict[str, Any]) -> dict[str, Any]:
    """Return values by dotted key as a tree."""
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        branch = tree
        for section in sections:
            branch = branch.setdefault(section, {})
        branch[name] = value
    return tree


_HOSTS = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?(\.[a-z]{1,6}){0,2}", fullmatch=True)
_NAMES = st.from_regex(r"[A-Za-z0-9 _.:#'\"é-]{1,12}", fullmatch=True).filter(str.strip)
_MAILS = st.from_regex(r"[a-zA-Z0-9._+'-]{1,8}@[a-z]{1,8}\.[a-z]{2,3}", fullmatch=True)
_WEBHOOKS = st.one_of(
    st.builds("https://{}/{}".format, _HOSTS, st.from_regex(r"[A-Za-z0-9/?=&%:#-]{0,10}", fullmatch=True)),
    st.builds("env:{}".format, st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True)),
    st.just("http://127.0.0.1:9/hook"),
)
_PART = st.sampled_from(["*", "*/5", "1", "1-2", "1,2", "3-4/2"])
_ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _ANY_TEXT
    | st.sampled_from(
        [
            "1e5",
            "12:30",
            "2025-01-01",
            "010",
            "yes",
            "~",
            "null",
            ".nan",
            "- a",
            "a: b",
            "a #b",
            "0x1f",
            "1_000",
            "<<",
            "=",
        ]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_ANY_TEXT, inner, max_size=3),
    max_leaves=6,
)


def _folder(names: Strategy) -> Strategy:
    return st.lists(names, min_size=1, max_size=3).map("/".join).filter(lambda path: ".." not in path)


def one_value(key: str) -> Strategy:
    """Return what a key may hold in a development configuration on the Hub, as a file would hold it."""
    if key in BESIDE_DEFAULTS:
        return st.integers(*BESIDE_DEFAULTS[key])
    if key in WHOLE:
        least, most = WHOLE[key]
        return st.integers(least, 10**6 if most is None else most)
    if key == "rate_limiting.requests_per_second":
        return st.floats(0, 50, exclude_min=True) | st.integers(1, 50)
    if key in NUMBERS:
        low, high, including = NUMBERS[key]
        return st.floats(low, high, exclude_min=not including) | st.just(1)
    if key in SWITCHES:
        return st.booleans()
    if key in WORDS:
        return st.sampled_from(WORDS[key])
    if key in WORD_LISTS:
        return st.lists(st.sampled_from(WORD_LISTS[key]), max_size=4)
    if key in FOLDERS:
        return _folder(_NAMES)
    return {
        "notifications.webhook_urls": st.lists(_WEBHOOKS, max_size=3),
        "notifications.email_recipients": st.lists(_MAILS, max_size=3),
        "security.allowed_domains": st.lists(_HOSTS, max_size=3).map(
            lambda hosts: [*hosts, "huggingface.co"]
        ),
        "api_base_url": st.sampled_from(
            [
                "https://huggingface.co",
                "https://a.huggingface.co:8443",
                "http://127.0.0.1:8765",
                "http://[::1]:1",
            ]
        ),
        "sync_behavior.schedule_time": st.times().map(lambda time: f"{time:%H:%M}"),
        "sync_behavior.weekly_full_cron": st.lists(_PART, min_size=5, max_size=5).map(" ".join),
        "sync_behavior.last_sync_file": st.builds(
            "data/{}.json".format, st.from_regex(r"[a-z0-9 ]{1,6}", fullmatch=True)
        ),
        TOKEN: st.none(),
        CUSTOM: st.dictionaries(_ANY_TEXT, _PLAIN, max_size=3),
    }[key]


@st.composite
def valid_values(draw: st.DrawFn, *, every: bool = False) -> dict[str, Any]:
    """Draw values by dotted key that are valid together: for every key, or for some."""
    chosen = KEYS if every else [key for key in KEYS if draw(st.integers(0, 9)) < 3]
    values = {key: draw(one_value(key)) for key in chosen}
    warning, failure = "monitoring.freshness_warning_hours", "monitoring.freshness_failure_hours"
    if values.get(warning, 26) >= values.get(failure, 50):
        values |= {warning: min(values.get(warning, 26), 719), failure: 720}
    if values.get("environment", "production") == "production":
        limits = {
            "rate_limiting.requests_per_second": 2.0,
            "rate_limiting.max_concurrent_requests": 100,
        }
        for key, most in limits.items():
            if key in values:
                values[key] = min(values[key], most)
        for key in ("error_handling.preserve_data_on_failure", "security.mask_sensitive_data"):
            if key in values:
                values[key] = True
    return values
