"""How the command line looks: progress bars, tables and closing words. No facts are found here."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

if TYPE_CHECKING:
    from gguf_assets.orchestration.doctor import Examination
    from gguf_assets.orchestration.overview import Overview
    from gguf_assets.orchestration.syncing import SyncOutcome

_MARKS = {"ok": "[green]✓[/]", "note": "[yellow]![/]", "problem": "[red]✗[/]"}


class ProgressBars:
    """Shows how far long steps are: bars on a terminal, nothing elsewhere.

    Args:
        quiet: show nothing at all.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, soft_wrap=True)
        self._out = Console(soft_wrap=True, highlight=False)
        shown = not quiet and self._console.is_terminal
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
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

    def step(self, name: str, done: int, total: int | None) -> None:
        """Show the present state of a step."""
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total)
        self._bars.update(self._tasks[name], completed=done, total=total)  # type: ignore[arg-type]

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
    score = outcome.figures["completeness"]
    console.print(
        f"Published, completeness {score:.4f}. Read it: gguf-assets report --date {outcome.day}", markup=False
    )


def print_overview(facts: Overview, shown: int) -> None:
    """Print what the store holds."""
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"Data in {facts.data}", markup=False)
    if facts.holder is not None:
        console.print(f"Writing at present: {facts.holder}", markup=False)
    if not facts.days:
        console.print(
            "No day is stored yet. Begin with: gguf-assets sync (or, without network: gguf-assets demo)"
        )
    else:
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
        console.print(table)
    if facts.gaps:
        named = ", ".join(map(str, facts.gaps[-shown:]))
        console.print(f"Days in between that are not published: {named}", markup=False)
    if facts.syncs:
        table = Table("day", "started (Hub's clock)", "mode", "reason", "state", "why", title="Syncs")
        for sync in facts.syncs[-shown:]:
            table.add_row(
                str(sync.day or ""),
                f"{sync.hub_time:%Y-%m-%d %H:%M}" if sync.hub_time else "",
                sync.mode or "",
                sync.reason or "",
                sync.state,
                sync.error_message or "",
            )
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
