"""What a run in this process says about its failure: its events as an error of the core.

What belongs here: reading events. What does not: running (`syncing`), making failures (`failures`).
"""

from __future__ import annotations

from datetime import date
from typing import Any

import dagster as dg

from gguf_assets.errors import ErrorCategory, GgufAssetsError, PermanentError, Refused
from gguf_assets.masking import mask
from gguf_assets.orchestration.configuration import VALID
from gguf_assets.orchestration.failures import CATEGORY, REMEDY


def was_interrupted(result: dg.ExecuteInProcessResult) -> bool:
    """Whether a signal ended a run: Dagster turns SIGINT and SIGTERM into the failure of a step.

    Between two steps it is the failure of the run.
    """
    interrupted = dg.DagsterExecutionInterruptedError.__name__
    errors = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    errors += [event.job_failure_data.error for event in result.all_events if event.is_job_failure]
    return any(error is not None and error.cls_name == interrupted for error in errors)


def failure_of(result: dg.ExecuteInProcessResult, day: date) -> GgufAssetsError:
    """Return the first failure of a run as an error of the core."""
    failed_checks = [
        check
        for check in result.get_asset_check_evaluations()
        if check.blocking and not check.passed and check.severity is dg.AssetCheckSeverity.ERROR
    ]
    if failed_checks:
        reasons = "; ".join(check.description or check.check_name for check in failed_checks)
        if failed_checks[0].check_name == VALID:
            return Refused(
                f"{day} was not synced: {reasons}",
                category=ErrorCategory.CONFIGURATION,
                remedy="Correct it where it is set, then run the same command again.",
            )
        return PermanentError(
            f"{day} was not published: {reasons}",
            category=ErrorCategory.DATA,
            remedy=f"The candidate can be looked at; published days are untouched. Walk again: "
            f"gguf-assets sync --date {day} --refetch",
        )
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data is not None:
                return _described(data.user_failure_data)
            error = data.error and (data.error.cause or data.error)
            return _unexpected(error.to_string() if error else "", result.run_id)
    for event in result.all_events:
        if event.is_job_failure and event.job_failure_data.error is not None:
            return _unexpected(event.job_failure_data.error.to_string(), result.run_id)
    return _unexpected("", result.run_id)


def _described(data: Any) -> GgufAssetsError:
    texts = {name: str(value.value) for name, value in data.metadata.items()}
    category = ErrorCategory(texts.get(CATEGORY, ErrorCategory.SYSTEM.value))
    kind = Refused if category is ErrorCategory.REFUSED else PermanentError
    return kind(data.description or "failed", category=category, remedy=texts.get(REMEDY))


def _unexpected(text: str, run_id: str) -> GgufAssetsError:
    lines = [line for line in mask(text).splitlines() if line.strip()]
    return PermanentError(
        "An unexpected error ended the run: " + (lines[0] if lines else "no reason was recorded"),
        category=ErrorCategory.SYSTEM,
        remedy=f"The whole trace stands in the event log of run {run_id}: gguf-assets dev",
    )
