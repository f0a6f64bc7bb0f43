"""The job `sync_plan`: what a sync would do now, shown in the UI; it materialises nothing and takes no lock.

Here: the Dagster side of the dry run. Not here: the answer itself (`dry_run`).
"""

import os
from datetime import date
from typing import Any

import dagster as dg
from pydantic import Field

from gguf_assets.catalogue.sync_plan import SyncMode
from gguf_assets.errors import ErrorCategory, Refused
from gguf_assets.orchestration.config import SyncConfig
from gguf_assets.orchestration.dry_run import DryRun, dry_run
from gguf_assets.orchestration.failures import clear_failures, usable
from gguf_assets.orchestration.logs import RunLog
from gguf_assets.quality.markdown import escaped, table
from gguf_assets.settings.load import LoadedSettings


class SyncPlanConfig(SyncConfig):
    """Options of the job: those of `hub_listing`, and the day."""

    date: str = Field(default="", description="The day, YYYY-MM-DD; the Hub's present one if left empty.")


@dg.op
def plan_next_sync(
    context: dg.OpExecutionContext, config: SyncPlanConfig, settings: dg.ResourceParam[LoadedSettings]
) -> None:
    """Say what a sync with these options would do now, and what it would probably cost."""
    with clear_failures():
        plan = dry_run(
            _day(config.date),
            SyncMode(config.mode.value),
            config.details,
            force=config.force,
            refetch=config.refetch,
            because="job sync_plan",
            environ=os.environ,
            loaded=usable(settings),
        )
    log = RunLog(context.log, settings)
    for line in (*plan.log, *plan.notes):
        log.say(line)
    context.add_output_metadata(plan_metadata(plan))


@dg.job(name="sync_plan")
def sync_plan_job() -> None:
    """A dry run: what a sync would do now, why, and what it would probably cost; nothing is written."""
    plan_next_sync()


def plan_metadata(plan: DryRun) -> dict[str, Any]:
    """Return the metadata of the job's output; figures that are unknown are left out."""
    expected = plan.expected
    metadata: dict[str, Any] = {
        "date": plan.day.isoformat(),
        "action": plan.action.value,
        "mode": plan.mode,
        "reason": plan.reason_text,
        "reason_code": plan.reason,
        "kind": plan.kind,
        "window_hours": plan.window_hours,
        "window_start": None if plan.window_start is None else plan.window_start.isoformat(),
        "expected_requests": expected.requests,
        "expected_requests_at_least": expected.at_least,
        "expected_seconds": expected.seconds,
        "expected_seconds_basis": expected.seconds_basis,
        "requests": plan.requests,
        "plan": dg.MetadataValue.md(plan_markdown(plan)),
    }
    return {name: value for name, value in metadata.items() if value is not None}


def plan_markdown(plan: DryRun) -> str:
    """Return the plan as Markdown: the decision, then the expected requests as a table."""
    expected = plan.expected
    rows = [
        (part.name, _shown(part.requests), _shown(part.most), escaped(part.basis)) for part in expected.parts
    ]
    total = (
        _shown(expected.requests)
        if expected.requests is not None
        else f"unknown, at least {expected.at_least:,}"
    )
    seconds = "unknown" if expected.seconds is None else f"{expected.seconds:,.0f} s"
    return "\n".join(
        [
            f"**{plan.day}: {plan.action.value}**, {plan.mode}. {escaped(plan.reason_text)}",
            "",
            *(f"- {escaped(note)}" for note in plan.notes),
            "",
            *table(
                ("part", "expected requests", "at most", "estimated from"), [*rows, ("all", total, "", "")]
            ),
            "",
            f"Expected time: {seconds} ({escaped(expected.seconds_basis)}).",
        ]
    )


def _shown(figure: int | None) -> str:
    return "unknown" if figure is None else f"{figure:,}"


def _day(text: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Refused(
            f"date={text!r} is no date of the form YYYY-MM-DD",
            category=ErrorCategory.CONFIGURATION,
            remedy="Leave it empty for the Hub's present day.",
        ) from None
