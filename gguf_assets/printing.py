"""How the command line looks: progress bars, tables and closing words. No facts are found here."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from gguf_assets.printing_freshness import freshness_lines

if TYPE_CHECKING:
    from gguf_assets.catalogue.expectation import Expectation
    from gguf_assets.orchestration.doctor import Examination
    from gguf_assets.orchestration.dry_run import DryRun
    from gguf_assets.orchestration.overview import NextSync, Overview
    from gguf_assets.orchestration.syncing import SyncOutcome
    from gguf_assets.store.history import SyncRecord

_NAMED_DAYS = 10
_MARKS = {"ok": "[green]✓[/]", "note": "[yellow]![/]", "problem": "[red]✗[/]"}


class _RateColumn(ProgressColumn):
    """How much is done in a second; nothing while nobody knows."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.1f}/s")


class ProgressBars:
    """Shows how far long steps are: bars on a terminal, nothing elsewhere.

    A bar tells what is done, of how much, how fast, since when, how long it will take, and what is left of
    the quota of the Hub.

    Args:
        quiet: show nothing at all.
        notes: print what is decided on the way.
        console: where bars are drawn; the process's stderr when None.
        clock: seconds of a clock that nobody sets; rich's own when None.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        notes: bool = True,
        console: Console | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._notes = notes and not quiet
        self._console = console or Console(stderr=True, soft_wrap=True)
        self._out = Console(soft_wrap=True, highlight=False)
        shown = not quiet and self._console.is_terminal
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            _RateColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[quota]}"),
            console=self._console,
            get_time=clock,
            transient=True,
            disable=not shown,
        )
        self._tasks: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def step(self, name: str, done: int, total: int | None, *, quota: int | None = None) -> None:
        """Show the present state of a step."""
        left = "" if quota is None else f"quota {quota:,}"
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total, quota=left)
        self._bars.update(self._tasks[name], completed=done, total=total, quota=left)  # type: ignore[arg-type]

    def note(self, text: str) -> None:
        """Print a sentence on what was decided, above the bars; nothing when quiet."""
        if self._notes:
            self.say(text)

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        self._out.print(text, markup=False)

    def told(self, outcome: SyncOutcome) -> SyncOutcome:
        """Print one line about a finished sync, and forget the bars of its steps."""
        self.say(one_line(outcome))
        for task in self._tasks.values():
            self._bars.remove_task(task)  # type: ignore[arg-type]
        self._tasks.clear()
        return outcome


def one_line(outcome: SyncOutcome) -> str:
    """Return the outcome of a sync in one line."""
    figures = outcome.figures
    changes = ", ".join(f"{figures[kind]:,} {kind}" for kind in ("added", "updated", "removed", "renamed"))
    return (
        f"{outcome.day}  {outcome.mode:<11}  {figures['models']:>7,} models  {changes}  "
        f"{figures['requests']:,} requests, {figures['duration_seconds']:.1f} s"
    )


def print_outcome(outcome: SyncOutcome) -> None:
    """Print how a sync ended."""
    console = Console(soft_wrap=True, highlight=False)
    for run_id in outcome.reaped:
        console.print(f"Run {run_id}: its process is gone, it is now shown as failed", markup=False)
    if not outcome.walked:
        console.print(
            f"{outcome.day} is already published ({outcome.figures['models']:,} models); nothing to do.\n"
            "To walk the Hub again: gguf-assets sync --refetch",
            markup=False,
        )
        return
    console.print(one_line(outcome), markup=False)
    for reason in outcome.failed_checks:
        console.print(f"Published although a check failed: {reason}", markup=False)
    score = outcome.figures["completeness"]
    console.print(
        f"Published, completeness {score:.4f}. Read it: gguf-assets report --date {outcome.day}", markup=False
    )


def print_dry_run(plan: DryRun) -> None:
    """Print what a sync would do."""
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"Dry run, nothing is written: {plan.because}", markup=False)
    console.print(f"{plan.day}: {plan.action.value}, {plan.mode} ({plan.reason})", markup=False)
    for line in (*(plan.log or (plan.reason_text,)), *plan.notes):
        console.print(f"  {line}", markup=False)
    if plan.expected.parts:
        table = Table("part", "expected requests", "at most", "estimated from", title="Estimates")
        for part in plan.expected.parts:
            table.add_row(
                part.name, _or_unknown(part.requests), _or_unknown(part.most, "no bound"), part.basis
            )
        console.print(table)
    console.print(_cost(plan.expected), markup=False)


def _cost(expected: Expectation) -> str:
    requests = expected.requests
    counted = f"unknown, at least {expected.at_least:,}" if requests is None else f"{requests:,}"
    took = "unknown" if expected.seconds is None else f"{expected.seconds:,.1f} s"
    return f"Expected requests: {counted}. Expected time: {took} ({expected.seconds_basis})."


def _or_unknown(figure: int | None, unknown: str = "unknown") -> str:
    return unknown if figure is None else f"{figure:,}"


def print_overview(facts: Overview, shown: int) -> None:
    """Print how things stand."""
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"Data in {facts.data}", markup=False)
    if facts.holder is not None:
        console.print(f"Writing at present: {facts.holder}", markup=False)
    for line in freshness_lines(facts):
        console.print(line, markup=False)
    if not facts.days:
        console.print(
            "No day is stored yet. Begin with: gguf-assets sync (or, without network: gguf-assets demo)"
        )
    else:
        console.print(_days_table(facts, shown))
    if facts.gaps:
        named = ", ".join(map(str, facts.gaps[-shown:]))
        count = f"{len(facts.gaps):,}, the last ones: " if len(facts.gaps) > shown else ""
        console.print(f"Gaps, days in between that are not published: {count}{named}", markup=False)
    if facts.rebuildable:
        named = _named_days(facts.rebuildable)
        console.print(f"Days that can be rebuilt from their captures: {named}", markup=False)
    for capture in facts.unfinished:
        missing = "details" if capture.listing_complete else "pages"
        then = "a sync of it goes on" if capture.can_go_on else "it cannot be gone on with any more"
        console.print(
            f"Unfinished: the capture of {capture.day} (run {capture.run:02d}) has {capture.pages:,} pages "
            f"and lacks {missing}; {then}",
            markup=False,
        )
    if facts.syncs:
        _print_syncs(console, facts.syncs[-shown:])
    _print_next(console, facts.next_sync)
    _print_automation(console, facts)


def _days_table(facts: Overview, shown: int) -> Table:
    table = Table("day", "capture", "published", "mode", "models", "completeness", title="Days")
    for day in facts.days[-shown:]:
        table.add_row(
            str(day.day),
            day.capture,
            "yes" if day.published else "no",
            day.mode or "",
            "" if day.models is None else f"{day.models:,}",
            "" if day.completeness is None else f"{day.completeness:.4f}",
        )
    return table


def _named_days(days: list[date]) -> str:
    """Return days as a range where none is missing, else their number and the last ones."""
    if len(days) > 1 and (days[-1] - days[0]).days == len(days) - 1:
        return f"{days[0]} to {days[-1]} ({len(days):,} days)"
    named = ", ".join(map(str, days[-_NAMED_DAYS:]))
    return f"{len(days):,} days, the last ones: {named}" if len(days) > _NAMED_DAYS else named


def _print_syncs(console: Console, syncs: list[SyncRecord]) -> None:
    table = Table(title="Syncs", show_lines=True)
    for column in ("day", "began (Hub's clock), by", "mode, reason", "requests, took", "state"):
        table.add_column(column, overflow="fold", min_width=len(column) if column == "state" else None)
    for sync in syncs:
        requests, took = (sync.figures.get(name) for name in ("requests", "duration_seconds"))
        cells = (
            str(sync.day or ""),
            f"{sync.hub_time:%Y-%m-%d %H:%M}\n{sync.trigger or ''}" if sync.hub_time else sync.trigger,
            f"{sync.mode or ''}\n{sync.reason or ''}",
            "" if requests is None or took is None else f"{requests:,}\n{took:,.1f} s",
            sync.state,
        )
        table.add_row(*(escape(cell or "") for cell in cells))
    console.print(table)
    for sync in syncs:
        if sync.error_message:
            console.print(f"{sync.state}: {sync.day or 'no day'}: {sync.error_message}", markup=False)


def _print_next(console: Console, following: NextSync) -> None:
    when = f"{following.clock:%Y-%m-%d %H:%M} UTC, {following.clock_source}"
    plan = following.plan
    if plan is None:
        console.print(f"Next sync ({when}): none is possible. {following.refusal}", markup=False)
        if following.remedy:
            console.print(f"    → {following.remedy}", markup=False)
        return
    console.print(f"Next sync ({when}): {plan.day}, {plan.action.value}, {plan.mode}", markup=False)
    for line in (plan.reason_text, *plan.notes, _cost(plan.expected)):
        console.print(f"    {line}", markup=False)


def _print_automation(console: Console, facts: Overview) -> None:
    if facts.automation is None:
        console.print(f"Schedules and sensors: unknown. {facts.automation_error}", markup=False)
        return
    table = Table("schedule or sensor", "is", "when", title="Automation (while Dagster's daemon runs)")
    for state in facts.automation:
        table.add_row(f"{state.kind} {state.name}", "on" if state.on else "off", state.when)
    console.print(table)


def print_examination(examination: Examination) -> None:
    """Print what the doctor found."""
    console = Console(soft_wrap=True, highlight=False)
    for line in examination.lines:
        console.print(_MARKS[line.state], f"{line.topic}:", end=" ")
        console.print(line.text, markup=False)
        if line.remedy:
            console.print(f"    → {line.remedy}", markup=False)
    console.print("Ready to sync." if examination.healthy else "Something is in the way, see above.")


def print_demo(folder: Path, outcomes: list[SyncOutcome]) -> None:
    """Print what the demo made and how to look at it."""
    console = Console(soft_wrap=True, highlight=False)
    total = {kind: sum(o.figures[kind] for o in outcomes) for kind in ("added", "updated", "renamed")}
    changed = ", ".join(f"{count:,} {kind}" for kind, count in total.items())
    published = folder / "published"
    console.print(
        f"\n{len(outcomes)} days are published: {changed}. What changed on the last one:\n"
        f"  GGUF_ASSETS_DATA_DIR={folder} gguf-assets report\n"
        f"\nThe Parquet lies in {published}. With pandas, all days at once:\n"
        f"  python -c \"import pandas as pd; print(pd.read_parquet('{published / 'models'}'))\"\n"
        f"with DuckDB:\n"
        f"  select date, count(*) from read_parquet('{published}/models/*/*.parquet', hive_partitioning=true)"
        f" group by date order by date\n"
        f"\nThe Dagster UI on these days:\n  GGUF_ASSETS_DATA_DIR={_shown(folder)} make dev",
        markup=False,
    )


def _shown(folder: Path) -> str:
    try:
        return os.path.relpath(folder)
    except ValueError:
        return str(folder)
