"""The commands that keep what is published safe: backup, restore, verify; how they look is in
`printing_storage`.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gguf_assets.cli.days import chosen_day
from gguf_assets.cli.exits import FAILED, Json, clear, print_json
from gguf_assets.cli.places import ask
from gguf_assets.errors import ErrorCategory, Refused

if TYPE_CHECKING:
    from gguf_assets.store.layout import Layout

Folder = Annotated[
    Path | None,
    typer.Option(
        "--folder", metavar="DIR", help="Folder of the backups; storage.backup_directory if left out."
    ),
]


@clear
def backup(
    captures: Annotated[
        bool, typer.Option("--captures", help="Also the answers of the Hub, from which days can be derived.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Back up published days, history and configuration now; syncs do it by themselves.

    What has not changed is linked and takes no space, on another disk it is copied once. Where nothing has
    changed since the newest backup, none is made.
    """
    from gguf_assets.orchestration.backing_up import hub_time
    from gguf_assets.printing import ProgressBars
    from gguf_assets.printing_storage import made_as_json, print_made
    from gguf_assets.settings.load import load_settings
    from gguf_assets.store.backing_up import make_backup
    from gguf_assets.store.backups import prune_backups
    from gguf_assets.store.lock import WriterLock
    from gguf_assets.store.store import Store

    loaded, layout, now = load_settings(os.environ), _layout(None), datetime.now(UTC)
    with ProgressBars(quiet=as_json) as progress, WriterLock(layout).held(command="gguf-assets backup"):
        made = make_backup(layout, "asked for", now, captures=captures, report=progress.step)
        if made.backup is None:
            raise Refused(
                f"Nothing is published in {layout.data}, so there is nothing to back up",
                remedy="gguf-assets sync",
            )
        # A clock that has jumped ahead removes nothing: the Hub has not seen that time yet.
        days, seen = loaded.settings.storage.backup_retention_days, hub_time(Store(layout))
        removed = prune_backups(layout.backups_dir, days, min(now, seen))
    if as_json:
        print_json(made_as_json(made, removed))
    else:
        print_made(made, removed)


@clear
def restore(
    name: Annotated[
        str | None,
        typer.Option("--backup", metavar="NAME", help="Name or number; the newest sound one if left out."),
    ] = None,
    day: Annotated[
        str | None, typer.Option("--date", metavar="DAY", help="That published day alone.")
    ] = None,
    configuration: Annotated[
        bool, typer.Option("--config", help="Also replace a configuration that is there.")
    ] = False,
    folder: Folder = None,
    listed: Annotated[bool, typer.Option("--list", help="List the backups and stop.")] = False,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Check everything and say what would change; write nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before files are replaced.")] = False,
    as_json: Json = False,
) -> None:
    """Put a backup back: what is missing, and what differs; days it does not hold stay.

    Every file is checked first, what is replaced is backed up, and each day appears whole. History is put
    back too, and the configuration where there is none.

    Example: gguf-assets restore --date 2026-01-31
    """
    from gguf_assets.printing import ProgressBars
    from gguf_assets.printing_storage import backups_as_json, plan_as_json, print_backups, print_plan
    from gguf_assets.settings.tree import ConfigTree
    from gguf_assets.settings.writing import changing
    from gguf_assets.store.backups import backups_in
    from gguf_assets.store.lock import WriterLock
    from gguf_assets.store.publish import recover
    from gguf_assets.store.restoring import choose_backup, plan_restore
    from gguf_assets.store.restoring import restore as put_back

    only, layout = chosen_day(day), _layout(folder)
    if listed:
        found = backups_in(layout.backups_dir)
        if as_json:
            print_json(backups_as_json(layout.backups_dir, found))
        else:
            print_backups(layout.backups_dir, found)
        return
    if configuration and only is not None:
        raise Refused(
            "--config and --date cannot be combined: a day has no configuration",
            category=ErrorCategory.CONFIGURATION,
            remedy="gguf-assets restore --config",
        )
    kept = None
    with ExitStack() as stack:
        if not dry:
            stack.enter_context(WriterLock(layout).held(command="gguf-assets restore"))
            recover(layout)
        chosen = choose_backup(layout, name, only)
        with ProgressBars(quiet=as_json) as progress:
            plan = plan_restore(layout, chosen, day=only, configuration=configuration, report=progress.step)
        if not dry and not plan.empty:
            if plan.overwritten and not yes:
                if not as_json:
                    print_plan(plan, done=False)
                ask(f"Replace {len(plan.overwritten):,} files", "the same command with --yes")
            if plan.configuration:
                stack.enter_context(changing(ConfigTree(layout.config_dir)))
            with ProgressBars(quiet=as_json) as progress:
                kept = put_back(layout, plan, datetime.now(UTC), report=progress.step)
    if as_json:
        print_json(plan_as_json(plan, done=not dry, kept=kept))
    else:
        print_plan(plan, done=not dry, kept=kept)


@clear
def verify(
    day: Annotated[
        str | None, typer.Option("--date", metavar="DAY", help="That published day alone.")
    ] = None,
    first: Annotated[
        str | None, typer.Option("--from", metavar="DAY", help="First day; the first one if left out.")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="DAY", help="Last day; the last one if left out.")
    ] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also rebuild thinned days aside, and compare them by digest.")
    ] = False,
    captures: Annotated[
        bool, typer.Option("--captures", help="Also check every page the Hub has sent against its digest.")
    ] = False,
    backups: Annotated[
        bool, typer.Option("--backups", help="Also check every file of every backup.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check every published file against its manifest, and say how to heal what is wrong.

    Nothing is written and no lock is taken, so it may run at any time, also while a sync runs. Exit code 1
    when something is wrong.
    """
    from gguf_assets.printing import ProgressBars
    from gguf_assets.printing_storage import print_verified, verified_as_json
    from gguf_assets.store.verifying import verify_store

    one, begin, end = chosen_day(day), chosen_day(first, "--from"), chosen_day(last, "--to")
    if one is not None and (begin or end):
        raise Refused(
            "--date cannot be combined with --from or --to",
            category=ErrorCategory.CONFIGURATION,
            remedy=f"gguf-assets verify --date {one}",
        )
    if begin is not None and end is not None and begin > end:
        raise Refused(
            f"--from {begin} lies after --to {end}",
            category=ErrorCategory.CONFIGURATION,
            remedy=f"gguf-assets verify --from {end} --to {begin}",
        )
    layout = _layout(None)
    with ProgressBars(quiet=as_json) as progress:
        verified = verify_store(
            layout,
            one or begin,
            one or end,
            deep=deep,
            captures=captures,
            backups=backups,
            report=progress.step,
        )
    if as_json:
        print_json(verified_as_json(verified))
    else:
        print_verified(verified)
    if verified.findings:
        raise typer.Exit(FAILED)


def _layout(folder: Path | None) -> Layout:
    from gguf_assets.orchestration.resources import layout_of
    from gguf_assets.settings.load import load_settings

    layout = layout_of(load_settings(os.environ))
    return layout if folder is None else replace(layout, backups=folder)
