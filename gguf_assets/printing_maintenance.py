"""How what was removed and thinned looks on the command line. No facts are found here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from gguf_assets.orchestration.maintenance import Maintained


def print_maintained(done: Maintained) -> None:
    """Print what a maintenance did, or would do."""
    from gguf_assets.orchestration.maintenance import in_words

    console = Console(soft_wrap=True, highlight=False)
    verb = "Would remove" if done.dry_run else "Removed"
    for removal in done.removals:
        console.print(f"{verb} {removal.kind} {removal.name} ({removal.bytes:,} bytes)", markup=False)
    for path in done.backups:
        console.print(f"{verb} backup {path.name}", markup=False)
    verb = "Would leave out" if done.dry_run else "Left out"
    for day in done.left_out:
        kept = f", {day.kept_rows:,} rows kept" if day.kept_rows else ""
        console.print(
            f"{verb} the files of {day.day} ({day.bytes:,} bytes), rebuilt from {day.base}{kept}",
            markup=False,
        )
    for whole in done.kept_whole:
        console.print(f"The files of {whole.day} stay whole: {whole.reason}", markup=False)
    console.print(in_words(done), markup=False)


def maintained_as_json(done: Maintained) -> dict[str, Any]:
    """Return the same for machines."""
    return {**done.figures(), "dry_run": done.dry_run, **done.facts()}
