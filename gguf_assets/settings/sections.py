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
        description="Most requests under way at the same time; at most 100 in production. With "
        "performance.enable_adaptive_parameters they begin at 4 and follow what the Hub bears.",
        json_schema_extra=about(env=("MAX_CONCURRENCY",), unit="requests"),
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
    max_requests_per_run: int = Field(
        default=20_000,
        ge=100,
        le=10_000_000,
        description="Most requests that one run sends, retries included. Details that find no room wait for "
        "the next run; a listing that finds none fails.",
        json_schema_extra=about(unit="requests"),
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
    enable_notifications: Switch = Field(default=True, description="Tell people about the outcome of runs.")
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
        description="Report progress during long work: as bars on a terminal, lines in the log and "
        "observations of hub_listing and hub_details.",
    )
    progress_report_interval_seconds: int = Field(
        default=900,
        ge=1,
        le=86_400,
        description="Seconds between two progress reports in the log and in the UI.",
        json_schema_extra=about(env=("PROGRESS_REPORT_INTERVAL",), unit="seconds"),
    )
    enable_performance_metrics: Switch = Field(
        default=True,
        description="Record durations in the metadata of assets, and of each sync success and error rate, "
        "rate limit hits, waits, quota, memory and CPU time.",
        json_schema_extra=about(env=("ENABLE_PERFORMANCE_METRICS",)),
    )
    enable_alerts: Switch = Field(
        default=True,
        description="Tell people of measured conditions: checks that warn or fail, a stale catalogue, a "
        "changed or invalid configuration.",
    )
    alert_channels: Listed[Channel] = Field(default=("log", "github"), description="Where alerts go.")
    enable_dashboard: Switch = Field(
        default=False,
        description="Write reports/dashboard.html after every sync: trends over all published days, for "
        "people without the Dagster UI. The page of each day is written either way.",
    )
    freshness_warning_hours: int = Field(
        default=26,
        ge=1,
        le=720,
        description="Hours after the last sync that succeeded, or the end of the newest day where that is "
        "earlier, from which the catalogue counts as stale.",
        json_schema_extra=about(unit="hours", reload=True),
    )
    freshness_failure_hours: int = Field(
        default=50,
        ge=1,
        le=720,
        description="Hours from which that is a failure; more than freshness_warning_hours.",
        json_schema_extra=about(unit="hours", reload=True),
    )


class Performance(Section):
    """How much of the machine is used."""

    enable_streaming_processing: Switch = Field(
        default=True,
        description="Read the tables of a day in batches while a day is derived; off: each at once, which "
        "takes more memory and gives the same bytes.",
    )
    enable_data_compression: Switch = Field(
        default=True, description="Compress Parquet (zstd); off: other bytes, the same rows."
    )
    enable_caching: Switch = Field(
        default=True,
        description="Take over from other captures what the Hub said of a repository at a commit; off: "
        "asked anew, within the budget, also what details_backlog has learned. A forced full sync takes "
        "over nothing.",
    )
    cache_ttl_hours: int = Field(
        default=24,
        ge=0,
        le=720,
        description="Hours for which a model is not asked for again whose details the Hub refused; 0: "
        "always asked again. Details that it told are facts and have no age.",
        json_schema_extra=about(unit="hours"),
    )
    memory_limit_mb: int = Field(
        default=2048,
        ge=128,
        le=1_048_576,
        description="Memory of the process in MB. Above nine tenths of it less is done at once, above it "
        "the run stops; the same command then goes on. A small catalogue takes 250 MB.",
        json_schema_extra=about(unit="MB"),
    )
    enable_parallel_processing: Switch = Field(
        default=True,
        description="Overlap reading, merging and writing of a day by threads, and have several requests "
        "under way; off: strictly one after another, with the same result.",
    )
    chunk_size: int = Field(
        default=100,
        ge=1,
        le=10_000,
        description="Models whose details are asked for between two looks at memory; fewer while it is "
        "short. Never the shape of a file.",
        json_schema_extra=about(unit="models"),
    )
    enable_adaptive_parameters: Switch = Field(
        default=True,
        description="Adapt rate and concurrency to observed throttling, below the configured maxima.",
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
        description="Backups of published data, history and configuration; best on another disk. Each "
        "catalogue needs a folder of its own.",
    )
    reports_directory: LocalPath = Field(default="reports", description="Reports of the days.")
    logs_directory: LocalPath = Field(
        default="logs",
        description="Folder of the rotating log file update_models.log; relative to the state folder.",
    )
    enable_backups: Switch = Field(
        default=True,
        description="Back up published data before it is replaced and after each sync; without the first "
        "nothing is published.",
    )
    backup_retention_days: int = Field(
        default=30,
        ge=1,
        le=3650,
        description="Days for which backups are kept.",
        json_schema_extra=about(unit="days"),
    )
    capture_retention_days: int = Field(
        default=180,
        ge=1,
        le=36_500,
        description="Days for which captures are kept, never the newest complete one nor what the next sync "
        "uses; a day without its capture stays published and can no longer be derived again.",
        json_schema_extra=about(unit="days"),
    )
    candidate_retention_days: int = Field(
        default=7,
        ge=1,
        le=3650,
        description="Days for which candidates of published days are kept, never the newest one.",
        json_schema_extra=about(unit="days"),
    )
    files_full_days: int = Field(
        default=30,
        ge=1,
        le=36_500,
        description="Days for which `files` is kept for every day; of older ones one a week is kept, and "
        "the others are rebuilt exactly from `file_changes`.",
        json_schema_extra=about(unit="days"),
    )
    enable_compression: Switch = Field(
        default=True,
        description="Compress captures (zstd) as they are written; both kinds can be read.",
    )


class Notifications(Section):
    """Who is told about the outcome of runs."""

    enable_success_notifications: Switch = Field(default=False, description="Tell about successful syncs.")
    enable_failure_notifications: Switch = Field(default=True, description="Tell about failed syncs.")
    enable_warning_notifications: Switch = Field(default=True, description="Tell about warnings.")
    enable_critical_notifications: Switch = Field(default=True, description="Tell about critical conditions.")
    notification_channels: Listed[Channel] = Field(default=("log",), description="Where notifications go.")
    webhook_urls: Listed[WebhookTarget] = Field(
        default=(),
        description="Webhook addresses (https), or references env:NAME to variables that hold them.",
        json_schema_extra=about(secret=True),
    )
    email_recipients: Listed[MailAddress] = Field(default=(), description="Who gets mail.")
    cooldown_seconds: int = Field(
        default=300,
        ge=0,
        le=86_400,
        description="Seconds for which the same condition is not told again; while it lasts, the distance "
        "to the next reminder doubles each time.",
        json_schema_extra=about(unit="seconds"),
    )
    failure_threshold: int = Field(
        default=1,
        ge=1,
        le=100,
        description="Failed syncs in a row from which somebody is told.",
        json_schema_extra=about(unit="syncs"),
    )


class Security(Section):
    """Which hosts are contacted, what is demanded and what is hidden."""

    enable_token_validation: Switch = Field(
        default=True,
        description="Demand a token for syncs in staging and production, except on loopback, and have the "
        "Hub check it before the first request.",
    )
    enable_rate_limit_protection: Switch = Field(
        default=True,
        description="Keep below the configured rates and, without a token, below those of anonymous callers; "
        "off: neither binds. What the Hub announces (RateLimit headers, Retry-After) always binds.",
    )
    enable_request_signing: Switch = Field(
        default=False,
        description="Sign outgoing webhooks with GGUF_ASSETS_WEBHOOK_SECRET (HMAC-SHA256); the Hub knows no "
        "signed requests.",
    )
    enable_audit_logging: Switch = Field(
        default=True,
        description="Record changes of the configuration and security events: refused tokens, denied "
        "permissions, foreign addresses, removals by retention.",
    )
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
