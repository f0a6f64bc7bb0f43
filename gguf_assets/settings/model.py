"""The sync configuration as a whole: the top-level keys, and the sections below them.

What belongs here: the root of the tree. What does not: the keys of the sections (`sections`).
"""

from __future__ import annotations

from typing import Any, get_args

from pydantic import Field

from gguf_assets.settings.fields import BaseUrl, EnvironmentName, EnvironmentOnly, LogLevel, Switch
from gguf_assets.settings.sections import (
    ErrorHandling,
    Monitoring,
    Notifications,
    Performance,
    RateLimiting,
    Section,
    Security,
    Storage,
    SyncBehavior,
    Validation,
    about,
)

ENVIRONMENTS: tuple[str, ...] = get_args(EnvironmentName)


class SyncConfiguration(Section):
    """The whole sync configuration (`sync-config.yaml`)."""

    environment: EnvironmentName = Field(
        default="production",
        description="Which of the environments this is.",
        json_schema_extra=about(env=("SYNC_ENVIRONMENT",), reload=True),
    )
    log_level: LogLevel = Field(
        default="INFO",
        description="Least severity that is logged.",
        json_schema_extra=about(env=("LOG_LEVEL",)),
    )
    debug_mode: Switch = Field(
        default=False,
        description="Log more, and show tracebacks, with secrets masked.",
        json_schema_extra=about(env=("DEBUG_MODE",)),
    )
    dry_run: Switch = Field(
        default=False,
        description="Show the plan and publish nothing.",
        json_schema_extra=about(env=("DRY_RUN",)),
    )
    huggingface_token: EnvironmentOnly = Field(
        default=None,
        description="Token of the Hub; null in files.",
        json_schema_extra=about(env=("HUGGINGFACE_TOKEN", "HF_TOKEN"), secret=True),
    )
    api_base_url: BaseUrl = Field(
        default="https://huggingface.co",
        description="Address of the Hub, scheme://host[:port]; https outside development and testing except "
        "on loopback; its host must be within security.allowed_domains.",
        json_schema_extra=about(env=("HF_ENDPOINT", "API_BASE_URL")),
    )
    workflow_timeout_hours: int = Field(
        default=6,
        ge=1,
        le=24,
        description="Hours after which a sync is stopped.",
        json_schema_extra=about(env=("WORKFLOW_TIMEOUT_HOURS",), unit="hours", reload=True),
    )
    enable_github_actions_integration: Switch = Field(
        default=True,
        description="Write annotations and a summary when run by GitHub Actions.",
        json_schema_extra=about(later="alerts"),
    )
    rate_limiting: RateLimiting = RateLimiting()
    sync_behavior: SyncBehavior = SyncBehavior()
    validation: Validation = Validation()
    error_handling: ErrorHandling = ErrorHandling()
    monitoring: Monitoring = Monitoring()
    performance: Performance = Performance()
    storage: Storage = Storage()
    notifications: Notifications = Notifications()
    security: Security = Security()
    custom_settings: dict[str, Any] = Field(
        default_factory=dict, description="Free form; kept and never interpreted."
    )
