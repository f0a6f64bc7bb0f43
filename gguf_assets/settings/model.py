"""The sync configuration as a whole: the top-level keys, and the sections below them.

What belongs here: the root of the tree. What does not: the keys of the sections (`sections`).
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from gguf_assets.settings.declaring import Section, about
from gguf_assets.settings.fields import (
    BaseUrl,
    Environment,
    EnvironmentName,
    EnvironmentOnly,
    LogLevel,
    Switch,
)
from gguf_assets.settings.quality_sections import QualityScoring, Validation
from gguf_assets.settings.sections import (
    ErrorHandling,
    Monitoring,
    Notifications,
    Performance,
    RateLimiting,
    Security,
    Storage,
    SyncBehavior,
)

ENVIRONMENTS: tuple[str, ...] = tuple(environment.value for environment in Environment)


class SyncConfiguration(Section):
    """The whole sync configuration (`sync-config.yaml`)."""

    environment: EnvironmentName = Field(
        default=Environment.PRODUCTION,
        description="Which of the environments this is.",
        json_schema_extra=about(env=("SYNC_ENVIRONMENT",), reload=True),
    )
    log_level: LogLevel = Field(
        default="INFO",
        description="Least severity in the log of a run; decisions and progress are INFO, each request to "
        "the Hub is DEBUG. The terminal shows warnings, and more or less only if this is set explicitly to "
        "DEBUG, ERROR or CRITICAL, not by a shipped profile.",
        json_schema_extra=about(env=("LOG_LEVEL",)),
    )
    debug_mode: Switch = Field(
        default=False,
        description="Log as with DEBUG, whatever log_level says; set explicitly, and not by a shipped "
        "profile, also on the terminal, with the traceback of an error. Secrets are masked.",
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
        description="In a workflow (GITHUB_ACTIONS=true) annotate failures and warnings and append the "
        "report to the step summary.",
    )
    rate_limiting: RateLimiting = RateLimiting()
    sync_behavior: SyncBehavior = SyncBehavior()
    validation: Validation = Validation()
    quality_scoring: QualityScoring = QualityScoring()
    error_handling: ErrorHandling = ErrorHandling()
    monitoring: Monitoring = Monitoring()
    performance: Performance = Performance()
    storage: Storage = Storage()
    notifications: Notifications = Notifications()
    security: Security = Security()
    custom_settings: dict[str, Any] = Field(
        default_factory=dict, description="Free form; kept and never interpreted."
    )
