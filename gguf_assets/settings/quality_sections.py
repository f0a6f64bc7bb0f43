"""What a day must pass, and how health is weighted: the sections of the configuration about quality.

Rules and checks are named here and declared in `quality/`, which a test compares. What belongs here: keys.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gguf_assets.settings.declaring import Section, about
from gguf_assets.settings.fields import Listed, Switch

RuleName = Literal[
    "schema",
    "file_facts_current",
    "model_unique_name",
    "created_after_modified",
    "date_in_future",
    "dates_in_order",
    "counters_possible",
    "counters_rolled_back",
    "counters_stalled",
    "partial_day",
    "stalled_day",
    "file_facts_confirmed",
    "shard_set_incomplete",
    "empty_file",
    "same_bytes_under_two_labels",
    "header_unreadable",
    "header_label_mismatch",
    "header_architecture_mismatch",
    "label_size_mismatch",
    "replaced_in_place",
    "no_gguf_file",
]
"""The rules that can be switched off; those that hold a day together cannot."""

Weight = Annotated[int, Field(ge=0, le=100)]


class Validation(Section):
    """What a day must pass before it is published."""

    enable_schema_validation: Switch = Field(
        default=True,
        description="Check every value of models and files against the limits its column declares; off: that "
        "rule reads skipped.",
    )
    enable_file_verification: Switch = Field(
        default=True,
        description="Check sizes, checksums and shard sets of files; off: those rules read skipped.",
    )
    enable_completeness_checking: Switch = Field(
        default=True,
        description="Publish a day only if it is complete enough; off: its completeness is a mere figure.",
    )
    min_completeness_score: float = Field(
        default=0.95, ge=0, le=1, description="Completeness (0 to 1) below which a day is not published."
    )
    enable_quality_scoring: Switch = Field(
        default=True, description="Compute health scores; off: the data set health has no rows."
    )
    enable_automatic_fixes: Switch = Field(
        default=True,
        description="Repair values of the Hub's answers that have one right reading; before and after stand "
        "in issues. Off: they are taken as unknown.",
    )
    validation_timeout_seconds: int = Field(
        default=300,
        ge=1,
        le=3600,
        description="Seconds after which the validation of a day stops; a day that was not validated to its "
        "end is not published.",
        json_schema_extra=about(unit="seconds"),
    )
    removal_confirm_limit: int = Field(
        default=500,
        ge=0,
        le=100_000,
        description="Most models a run asks for by name to prove that they are gone.",
        json_schema_extra=about(unit="models"),
    )
    disabled_rules: Listed[RuleName] = Field(
        default=(), description="Rules that are not applied: they read skipped. gguf-assets rules lists all."
    )
    min_file_detail_coverage: float = Field(
        default=0.9,
        ge=0,
        le=1,
        description="Share of models (0 to 1) whose file details are known below which a check warns; it "
        "never blocks.",
    )
    file_verification_requests: int = Field(
        default=100,
        ge=0,
        le=100_000,
        description="Most requests of a run that ask again for file details already known, rotating over the "
        "catalogue; only what detail_requests_per_run leaves over is spent.",
        json_schema_extra=about(unit="requests"),
    )
    header_sample: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="GGUF headers that a run reads, by one range request each: the Hub counts each as a "
        "download, so 0 unless wanted.",
        json_schema_extra=about(unit="files"),
    )


class QualityScoring(Section):
    """How much each check counts in the health score of a model; 0 leaves the check out."""

    weight_listed: Weight = Field(default=2, description="Weight of the check `listed`.")
    weight_reachable: Weight = Field(default=2, description="Weight of the check `reachable`.")
    weight_model_file: Weight = Field(default=8, description="Weight of the check `model_file`.")
    weight_shards_complete: Weight = Field(default=5, description="Weight of the check `shards_complete`.")
    weight_files_not_empty: Weight = Field(default=4, description="Weight of the check `files_not_empty`.")
    weight_labels_plausible: Weight = Field(default=3, description="Weight of the check `labels_plausible`.")
    weight_labelled: Weight = Field(default=1, description="Weight of the check `labelled`.")
    weight_verifiable: Weight = Field(default=2, description="Weight of the check `verifiable`.")
    weight_licensed: Weight = Field(default=4, description="Weight of the check `licensed`.")
    weight_base_model: Weight = Field(default=3, description="Weight of the check `base_model`.")
    weight_described: Weight = Field(default=2, description="Weight of the check `described`.")
