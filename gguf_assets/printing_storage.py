"""How backups, restores and what `verify` found look on the command line. No facts are found here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gguf_assets.errors import GgufAssetsError

if TYPE_CHECKING:
    from gguf_assets.store.backing_up import Made
    from gguf_assets.store.backups import Backup
    from gguf_assets.store.restoring import RestorePlan
    from gguf_assets.store.verified import Verified

_NAMED = 10


def print_made(made: Made, removed: Sequence[Path]) -> None:
    """Print what became of a backup."""
    console = _console()
    assert made.backup is not None
    if made.new:
        copied = f"{made.copied_bytes:,} bytes copied, the rest linked"
        console.print(f"{made.backup.path}: {made.files:,} files, {copied}", markup=False)
    else:
        console.print(f"Nothing has changed since {made.backup.path}", markup=False)
    for problem in made.problems:
        console.print(f"Found on the way: {problem}", markup=False)
    for path in made.left_out:
        console.print(f"Not backed up, for it is no regular file: {path}", markup=False)
    if made.problems:
        console.print("What heals it: gguf-assets verify")
    for folder in removed:
        console.print(f"Removed, too old: {folder}", markup=False)


def made_as_json(made: Made, removed: Sequence[Path]) -> dict[str, Any]:
    """Return the same for machines."""
    return {
        "backup": None if made.backup is None else made.backup.name,
        "folder": None if made.backup is None else str(made.backup.path),
        "new": made.new,
        "files": made.files,
        "copied_bytes": made.copied_bytes,
        "problems": list(made.problems),
        "left_out": list(made.left_out),
        "removed": [path.name for path in removed],
    }


def print_backups(folder: Path, backups: Sequence[Backup]) -> None:
    """Print the backups there are, the newest first."""
    console = _console()
    if not backups:
        console.print(f"There are no backups in {folder}. Make one: gguf-assets backup", markup=False)
        return
    table = Table(title=f"Backups in {folder}", title_justify="left")
    table.add_column("backup", no_wrap=True)
    for column in ("days", "occasion", "files"):
        table.add_column(column, overflow="fold")
    for row in backups_as_json(folder, backups)["backups"]:
        if "error" in row:
            table.add_row(row["backup"], "", f"[red]{escape(row['error'])}[/]", "")
            continue
        first, last = row["first_day"], row["last_day"]
        span = f"{first}" if first == last else f"{first} to {last} ({row['days']:,})"
        days = span if row["days"] else "none"
        occasion = escape(row["occasion"]) + (" [yellow](of a damaged store)[/]" if row["problems"] else "")
        table.add_row(row["backup"], days, occasion, f"{row['files']:,}")
    console.print(table)
    console.print("Put one back: gguf-assets restore --backup NAME; see first: add --dry-run")


def backups_as_json(folder: Path, backups: Sequence[Backup]) -> dict[str, Any]:
    """Return the backups there are, the newest first."""
    return {"folder": str(folder), "backups": [_backup_as_json(backup) for backup in reversed(backups)]}


def _backup_as_json(backup: Backup) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "backup": backup.name,
        "created_at": backup.created_at.isoformat().replace("+00:00", "Z"),
    }
    try:
        manifest = backup.manifest()
    except GgufAssetsError as error:
        return facts | {"error": error.message}
    return facts | {
        "occasion": manifest.occasion,
        "days": len(manifest.days),
        "first_day": min(manifest.days, default=None),
        "last_day": max(manifest.days, default=None),
        "files": len(manifest.files),
        "captures": bool(manifest.part("captures")),
        "product_version": manifest.product_version,
        "schema_version": manifest.schema_version,
        "data": manifest.data,
        "problems": list(manifest.problems),
        "left_out": list(manifest.left_out),
    }


def print_plan(plan: RestorePlan, *, done: bool, kept: Backup | None = None) -> None:
    """Print what a restore does, or has done."""
    console = _console()
    if plan.empty:
        console.print(f"Everything in {plan.backup.name} is there already; nothing to do.", markup=False)
    else:
        verb = "Put back" if done else "Would be put back"
        console.print(f"{verb} from {plan.backup.path}:", markup=False)
        if plan.days:
            console.print(f"  {_named(list(plan.days))}")
        if plan.rebuilt:
            console.print(f"  files of {_named(plan.rebuilt)}, rebuilt from file_changes")
        if plan.history is not None:
            console.print("  the history of syncs")
        for path in [*plan.configuration, *plan.others][:_NAMED]:
            console.print(f"  {path}", markup=False)
        if len(plan.configuration) + len(plan.others) > _NAMED:
            console.print(f"  … {len(plan.configuration) + len(plan.others) - _NAMED:,} more files")
        if plan.overwritten:
            console.print(f"Files replaced by others: {len(plan.overwritten):,}")
    if kept is not None:
        console.print(f"What was replaced is kept in {kept.path}", markup=False)
    if plan.kept:
        console.print(f"Not in the backup, and left as they are: {_named(plan.kept)}")
    if done and not plan.empty:
        console.print("Check it: gguf-assets verify")


def plan_as_json(plan: RestorePlan, *, done: bool, kept: Backup | None = None) -> dict[str, Any]:
    """Return the same for machines."""
    return {
        "backup": plan.backup.name,
        "restored": done and not plan.empty,
        "days": list(plan.days),
        "rebuilt": list(plan.rebuilt),
        "history": plan.history is not None,
        "configuration": list(plan.configuration),
        "other_files": list(plan.others),
        "overwritten": list(plan.overwritten),
        "replaced_kept_in": None if kept is None else kept.name,
        "left_as_they_are": list(plan.kept),
    }


def print_verified(verified: Verified) -> None:
    """Print what was checked and found."""
    console = _console()
    for finding in verified.findings:
        console.print(f"{finding.path}: {finding.what}", markup=False, style="red")
        console.print(f"  Heal it: {finding.remedy}", markup=False)
    for note in verified.notes:
        console.print(f"Note: {note}", markup=False)
    parts = [f"{len(verified.days):,} published days"]
    if verified.captures:
        parts.append(f"{verified.captures:,} captures")
    if verified.backups:
        parts.append(f"{verified.backups:,} backups")
    console.print(f"Checked {', '.join(parts)}: {verified.files:,} files, {verified.bytes:,} bytes read")
    if verified.thinned:
        compared = f", {len(verified.rebuilt):,} of them rebuilt and compared" if verified.rebuilt else ""
        console.print(f"files is left out and can be rebuilt on {len(verified.thinned):,} days{compared}")
    if verified.findings:
        console.print(f"{len(verified.findings):,} problems", style="red")
    else:
        console.print("Everything is as its manifest says." if verified.days else "Nothing is published.")


def verified_as_json(verified: Verified) -> dict[str, Any]:
    """Return the same for machines."""
    return {
        "ok": not verified.findings,
        "days": len(verified.days),
        "files": verified.files,
        "bytes": verified.bytes,
        "thinned": verified.thinned,
        "rebuilt": verified.rebuilt,
        "captures": verified.captures,
        "backups": verified.backups,
        "findings": [vars(finding) for finding in verified.findings],
        "notes": verified.notes,
    }


def _console() -> Console:
    return Console(soft_wrap=True, highlight=False)


def _named(days: Sequence[date]) -> str:
    shown = ", ".join(str(day) for day in days[:_NAMED])
    return shown + (f" … {days[-1]} ({len(days):,} days)" if len(days) > _NAMED else "")
