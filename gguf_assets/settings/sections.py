"""The sections of the sync configuration: every key with type, default, range, unit and variables.

The defaults are the production environment. Every key also has the variable `GGUF_SYNC__<SECTION>__<KEY>`;
`about(env=…)` names further ones, the first that is set wins. What belongs here: keys. Not here: those about
quality (`quality_sections`), rules between keys (`rules`, `advice`), reading them from somewhere (`load`).
"""

from __future__ import annotations

from pydantic import Field

from gguf_assets.settings.declaring import Section, about
from gguf_assets.settings.fields import (
    Channel,
    Cron,
    HostName,
    Listed,
    LocalPath,
    MailAddress,
    ModeName,
    Switch,
    TimeOfDay,
    WebhookTarget,
)


class RateLimiting(Section):
    """How fast and how persistently the Hub is asked."""

    requests_per_second: float = Field(
        default=1.2,
        gt=0,
        description="Most requests per second. At most 2.0 in production and 50 elsewhere; no upper bound on "
        "a loopback endpoint, where it binds only when set explicitly.",
        json_schema_extra=about(env=("REQUESTS_PER_SECOND",), unit="requests per second"),
    )
    requests_per_hour: int = Field(
        default=5000,
        ge=1,
        le=100_000,
        description="Most requests in any hour; the lower of both rates binds.",
        json_schema_extra=about(env=("REQUESTS_PER_HOUR",), unit="requests per hour"),
    )
    max_concurrent_requests: int = Field(
        default=50,
        ge=1,
        description="Most requests under way at the same time; at most 100 in production.",
        json_schema_extra=about(env=("MAX_CONCURRENCY",), unit="requests", later="adaptive limits"),
    )
    backoff_base: float = Field(
        default=2.0,
        ge=1.0,
        le=10.0,
        description="Base in seconds of the exponential pause between two tries; the pause itself where "
        "error_handling.enable_exponential_backoff is off.",
        json_schema_extra=about(unit="seconds"),
    )
    backoff_jitter: Switch = Field(
        default=True, description="Shorten the pauses at random, so that clients spread out."
    )
    max_retries: int = Field(
        default=5,
        ge=0,
        le=20,
        description="Further tries of a request that failed transiently.",
        json_schema_extra=about(env=("MAX_RETRIES",), unit="requests"),
    )
    timeout_seconds: int = Field(
        default=30,
        ge=1,
        le=600,
        description="Seconds for which the Hub may stay silent in one request.",
        json_schema_extra=about(env=("TIMEOUT_SECONDS",), unit="seconds"),
    )


class SyncBehavior(Section):
    """Which mode a sync runs in, what it looks at, and when."""

    mode: ModeName = Field(
        default="auto",
        description="auto decides by the history.",
        json_schema_extra=about(env=("SYNC_MODE",)),
    )
    incremental_window_hours: int = Field(
        default=48,
        ge=1,
        le=720,
        description="Hours back within which an incremental sync looks for modified models.",
        json_schema_extra=about(env=("INCREMENTAL_WINDOW_HOURS",), unit="hours"),
    )
    full_sync_threshold_hours: int = Field(
        default=168,
        ge=1,
        le=8760,
        description="Hours after the last successful full sync from which the next one is full.",
        json_schema_extra=about(env=("FULL_SYNC_THRESHOLD_HOURS",), unit="hours"),
    )
    significant_change_threshold: float = Field(
        default=0.1,
        gt=0,
        le=1.0,
        description="Relative change of the number of models from which a run turns full; reached counts.",
    )
    force_full_sync: Switch = Field(
        default=False,
        description="Full, whatever else says otherwise; in a file it forces every sync.",
        json_schema_extra=about(env=("FORCE_FULL_SYNC",)),
    )
    enable_multi_strategy_discovery: Switch = Field(
        default=True, description="Find models by further routes than the gguf tag on full syncs."
    )
    enable_deduplication: Switch = Field(
        default=True,
        description="A model that several discovery routes saw names them all; off: only the first of them, "
        "the listing before search, publishers and apps. It is one row either way.",
    )
    census: Switch = Field(
        default=True,
        description="Incremental syncs walk all models lightly; off: only the window, by modification.",
    )
    late_capture_hours: int = Field(
        default=6,
        ge=0,
        le=23,
        description="Hours into the next day until which a capture may be finished.",
        json_schema_extra=about(unit="hours"),
    )
    detail_requests_per_run: int = Field(
        default=2000,
        ge=0,
        le=1_000_000,
        description="Most requests for file details in one run.",
        json_schema_extra=about(unit="requests"),
    )
    schedule_time: TimeOfDay = Field(
        default="02:30",
        description="Time of day of the daily sync, HH:MM in UTC.",
        json_schema_extra=about(reload=True),
    )
    weekly_full_cron: Cron = Field(
        default="0 4 * * 0",
        description="When the weekly full sync runs, if switched on: cron in UTC.",
        json_schema_extra=about(reload=True),
    )
    last_sync_file: LocalPath = Field(
        default="data/last_sync_metadata.json",
        description="Metadata of the last sync; inside the data folder, for which a leading data/ stands.",
    )


class ErrorHandling(Section):
    """What happens after a failure."""

    enable_error_recovery: Switch = Field(
        default=True, description="Sync again after a failure that may pass (failed_sync_repair_sensor)."
    )
    enable_exponential_backoff: Switch = Field(
        default=True,
        description="Let the pauses between tries grow; off: rate_limiting.backoff_base seconds each time. "
        "What the Hub asks to wait counts either way.",
    )
    enable_categorized_errors: Switch = Field(
        default=True,
        description="Count failed tries of requests by category (network, timeout, rate_limit, …) in the "
        "figures of a sync; off: all in one number.",
    )
    enable_notifications: Switch = Field(
        default=True,
        description="Tell people about the outcome of runs.",
        json_schema_extra=about(later="alerts"),
    )
    max_recovery_attempts: int = Field(default=3, ge=0, le=10, description="Most such syncs in a UTC day.")
    recovery_delay_seconds: int = Field(
        default=60,
        ge=0,
        le=3600,
        description="Seconds after a failure before it is tried again.",
        json_schema_extra=about(unit="seconds"),
    )
    preserve_data_on_failure: Switch = Field(
        default=True,
        description="A day that fails its checks is not published, and what was published stays; must be on "
        "in production. Off: it is published nevertheless, and says so; never an empty listing, a walk that "
        "did not end, or a day whose validation did not.",
    )


class Monitoring(Section):
    """What can be watched while and after a sync runs."""

    enable_detailed_logging: Switch = Field(
        default=True,
        description="Log every stage; off: only decisions, warnings and results.",
        json_schema_extra=about(env=("ENABLE_DETAILED_LOGGING",)),
    )
    enable_progress_tracking: Switch = Field(
        default=True,
        description="Report progress during long work: as bars on a terminal, and as lines in the log.",
    )
    progress_report_interval_seconds: int = Field(
        default=900,
        ge=1,
        le=86_400,
        description="Seconds between two progress reports in the log.",
        json_schema_extra=about(env=("PROGRESS_REPORT_INTERVAL",), unit="seconds"),
    )
    enable_performance_metrics: Switch = Field(
        default=True,
        description="Record durations in the metadata of assets, and memory (peak_rss_mb) and CPU time "
        "(cpu_seconds) of the process that ends the sync.",
        json_schema_extra=about(env=("ENABLE_PERFORMANCE_METRICS",)),
    )
    enable_alerts: Switch = Field(
        default=True,
        description="Raise alerts on measured conditions.",
        json_schema_extra=about(later="alerts"),
    )
    alert_channels: Listed[Channel] = Field(
        default=("log", "github"), description="Where alerts go.", json_schema_extra=about(later="alerts")
    )
    enable_dashboard: Switch = Field(
        default=False,
        description="Write reports/dashboard.html after every sync: trends over all published days, for "
        "people without the Dagster UI. The page of each day is written either way.",
    )


class Performance(Section):
    """How much of the machine is used."""

    enable_streaming_processing: Switch = Field(
        default=True,
        description="Handle catalogues in bounded memory.",
        json_schema_extra=about(later="memory limits"),
    )
    enable_data_compression: Switch = Field(
        default=True, description="Compress Parquet (zstd); off: other bytes, the same rows."
    )
    enable_caching: Switch = Field(
        default=True,
        description="Reuse answers of the Hub within their time to live.",
        json_schema_extra=about(later="caching"),
    )
    cache_ttl_hours: int = Field(
        default=24,
        ge=0,
        le=720,
        description="Hours for which a cached answer is used.",
        json_schema_extra=about(unit="hours", later="caching"),
    )
    memory_limit_mb: int = Field(
        default=2048,
        ge=128,
        le=1_048_576,
        description="Memory in MB near which work gets smaller, then stops.",
        json_schema_extra=about(unit="MB", later="memory limits"),
    )
    enable_parallel_processing: Switch = Field(
        default=True,
        description="Overlap reading, merging and writing of a day by threads; off: strictly one after "
        "another, with the same result.",
    )
    chunk_size: int = Field(
        default=100,
        ge=1,
        le=10_000,
        description="Models per unit of work; never the shape of a file.",
        json_schema_extra=about(unit="models", later="memory limits"),
    )
    enable_adaptive_parameters: Switch = Field(
        default=True,
        description="Adapt rate and concurrency to observed throttling, below the configured maxima.",
        json_schema_extra=about(later="adaptive limits"),
    )


class Storage(Section):
    """Where data lies. Relative folders other than the data folder itself lie below it."""

    data_directory: LocalPath = Field(
        default="data",
        description="The data folder; relative to the working directory.",
        json_schema_extra=about(env=("GGUF_ASSETS_DATA_DIR",), reload=True),
    )
    backup_directory: LocalPath = Field(
        default="data/backups",
        description="Backups of published data.",
        json_schema_extra=about(later="backups of data"),
    )
    reports_directory: LocalPath = Field(default="reports", description="Reports of the days.")
    logs_directory: LocalPath = Field(
        default="logs", description="Log files.", json_schema_extra=about(later="log files")
    )
    enable_backups: Switch = Field(
        default=True,
        description="Back up published data before it is replaced.",
        json_schema_extra=about(later="backups of data"),
    )
    backup_retention_days: int = Field(
        default=30,
        ge=1,
        le=3650,
        description="Days for which backups are kept.",
        json_schema_extra=about(unit="days"),
    )
    enable_compression: Switch = Field(
        default=True,
        description="Compress captures (zstd) and backups as they are written; both kinds can be read.",
    )


class Notifications(Section):
    """Who is told about the outcome of runs."""

    enable_success_notifications: Switch = Field(
        default=False, description="Tell about successful syncs.", json_schema_extra=about(later="alerts")
    )
    enable_failure_notifications: Switch = Field(
        default=True, description="Tell about failed syncs.", json_schema_extra=about(later="alerts")
    )
    enable_warning_notifications: Switch = Field(
        default=True, description="Tell about warnings.", json_schema_extra=about(later="alerts")
    )
    enable_critical_notifications: Switch = Field(
        default=True, description="Tell about critical conditions.", json_schema_extra=about(later="alerts")
    )
    notification_channels: Listed[Channel] = Field(
        default=("log",), description="Where notifications go.", json_schema_extra=about(later="alerts")
    )
    webhook_urls: Listed[WebhookTarget] = Field(
        default=(),
        description="Webhook addresses (https), or references env:NAME to variables that hold them.",
        json_schema_extra=about(secret=True, later="alerts"),
    )
    email_recipients: Listed[MailAddress] = Field(
        default=(), description="Who gets mail.", json_schema_extra=about(later="alerts")
    )


class Security(Section):
    """Which hosts are contacted, what is demanded and what is hidden."""

    enable_token_validation: Switch = Field(
        default=True, description="Demand a token for syncs in staging and production, except on loopback."
    )
    enable_rate_limit_protection: Switch = Field(
        default=True,
        description="Keep below the configured rates and, without a token, below those of anonymous callers; "
        "off: neither binds. What the Hub announces (RateLimit headers, Retry-After) always binds.",
    )
    enable_request_signing: Switch = Field(
        default=False,
        description="Sign outgoing webhooks; the Hub knows no signed requests.",
        json_schema_extra=about(later="alerts"),
    )
    enable_audit_logging: Switch = Field(default=True, description="Record changes of the configuration.")
    mask_sensitive_data: Switch = Field(
        default=True,
        description="Hide secret values in `config show`; off, it shows webhook addresses in full. "
        "The token is never shown, and nothing else ever shows a secret. Must be on in production.",
    )
    allowed_domains: Listed[HostName] = Field(
        default=("huggingface.co",),
        min_length=1,
        description="Hosts that may be contacted, with their sub-domains. A loopback endpoint always may.",
    )
