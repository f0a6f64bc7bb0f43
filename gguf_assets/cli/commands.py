"""The commands that sync, show and serve; those of the configuration are in `config`.

Heavy modules are imported by the command that needs them.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

from gguf_assets import __version__
from gguf_assets.cli.analysis import sql
from gguf_assets.cli.config import config_app
from gguf_assets.cli.days import chosen_day
from gguf_assets.cli.exits import FAILED, Json, clear, print_json, show_tracebacks
from gguf_assets.cli.maintenance import maintain
from gguf_assets.cli.metrics import metrics
from gguf_assets.cli.quality import rules
from gguf_assets.cli.reports import report
from gguf_assets.cli.storage import backup, restore, verify
from gguf_assets.cli.terminal import how_much_is_shown, open_terminal
from gguf_assets.errors import ErrorCategory, Refused

app = typer.Typer(
    name="gguf-assets",
    help="One trustworthy picture a day of all GGUF models on the Hugging Face Hub, as Parquet.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
hub_app = typer.Typer(no_args_is_help=True, help="The loopback Hub: recorded or generated days, no network.")
app.add_typer(hub_app, name="hub")
app.add_typer(config_app, name="config")


def main() -> None:
    """Run the command line."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # Pages of JSON are millions of small objects in no cycles: looking for some took a fifth of a sync.
    gc.set_threshold(100_000, 20, 20)
    warnings.filterwarnings("ignore", module=r"dagster.*")
    open_terminal()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app()


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gguf-assets {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error, and each request to the Hub.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and stop.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """One trustworthy picture a day of all GGUF models on the Hugging Face Hub, as Parquet."""
    show_tracebacks(how_much_is_shown(os.environ, debug=debug), refusals=debug)


@app.command()
@clear
def sync(
    day: Annotated[
        str | None,
        typer.Option("--date", metavar="DAY", help="The day (UTC); the Hub's present one if left out."),
    ] = None,
    mode: Annotated[str, typer.Option(help="auto (the settings decide), incremental or full.")] = "auto",
    details: Annotated[
        str,
        typer.Option(help="Detail requests of this run: a number, all or none; the setting if left out."),
    ] = "default",
    refetch: Annotated[
        bool, typer.Option("--refetch", help="Walk again although the day has a complete capture.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Full, whatever mode, settings and history say.")
    ] = False,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done and what it would cost; write nothing.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A setting for this sync alone, stronger than variables and file, e.g. "
            "sync_behavior.mode=full; may be given several times.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Capture, derive, judge and publish one day, in this process.

    An interrupted sync goes on where it stopped; a published, unchanged day costs nothing. A dry run asks the
    Hub at most for its clock; the setting dry_run (DRY_RUN=true) makes every sync one.
    """
    from gguf_assets.catalogue.sync_plan import SyncMode
    from gguf_assets.printing import ProgressBars, print_dry_run, print_outcome

    if mode not in tuple(SyncMode):
        raise Refused(
            f"--mode {mode!r} is not allowed: use {', '.join(SyncMode)}",
            category=ErrorCategory.CONFIGURATION,
            remedy="gguf-assets sync --mode full",
        )
    chosen, asked = chosen_day(day), SyncMode(mode)
    from gguf_assets.orchestration.config import checked_overrides, parsed_overrides
    from gguf_assets.orchestration.dry_run import ASKED_FOR, dry_run, dry_run_setting
    from gguf_assets.settings.load import load_settings

    overrides = checked_overrides(parsed_overrides(settings or []))
    loaded = load_settings(os.environ, overrides=overrides)
    because = ASKED_FOR if dry else dry_run_setting(loaded)
    if because is not None:
        plan = dry_run(chosen, asked, details, force=force, refetch=refetch, because=because, loaded=loaded)
        if as_json:
            print_json(plan.as_json())
        else:
            print_dry_run(plan)
        return
    from gguf_assets.orchestration.syncing import sync_day

    with ProgressBars(quiet=as_json) as progress:
        outcome = sync_day(
            chosen, asked, details, force=force, refetch=refetch, progress=progress, overrides=overrides
        )
    if as_json:
        print_json(outcome.as_json())
    else:
        print_outcome(outcome)
    if not outcome.published:
        raise typer.Exit(FAILED)


@app.command()
@clear
def rederive(
    first: Annotated[
        str | None, typer.Option("--from", metavar="DAY", help="First day; the first stored one if left out.")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="DAY", help="Last day; the last stored one if left out.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Also change frozen days, and derive every later day again.")
    ] = False,
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Rewrite the days whose schema is older than the present one.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Derive days again from their captures; no request is sent.

    One day keeps the baseline its manifest names; of several days each builds on the one before it.
    """
    from gguf_assets.printing import ProgressBars

    days = chosen_day(first, "--from"), chosen_day(last, "--to")
    if None not in days and days[0] > days[1]:  # type: ignore[operator]
        raise Refused(
            f"--from {days[0]} lies after --to {days[1]}",
            category=ErrorCategory.CONFIGURATION,
            remedy=f"gguf-assets rederive --from {days[1]} --to {days[0]}",
        )
    from gguf_assets.orchestration.syncing import rederive_days

    done: dict[str, str] = {}
    with ProgressBars(quiet=as_json) as progress:
        for day, changed in rederive_days(*days, replace=replace, upgrade=upgrade, progress=progress):
            done[day.isoformat()] = "changed" if changed else "identical"
            if not as_json:
                progress.say(f"{day}  {done[day.isoformat()]}")
    if as_json:
        print_json({"days": done, "requests": 0})
    elif not done:
        typer.echo("Nothing to do: no stored day is in the range." if not upgrade else "Nothing to upgrade.")


@app.command()
@clear
def status(
    as_json: Json = False,
    shown: Annotated[int, typer.Option("--last", min=1, help="How many syncs and days to show.")] = 10,
) -> None:
    """Show the last syncs, the days and their state, what the next sync will do, and which schedules are on.

    The Hub is not asked, and nothing is written.
    """
    from gguf_assets.orchestration.overview import overview
    from gguf_assets.printing import print_overview

    facts = overview(os.environ)
    if as_json:
        print_json(facts.as_json())
    else:
        print_overview(facts, shown)


app.command()(report)
app.command()(rules)
app.command()(sql)
for command in (backup, restore, verify, maintain, metrics):
    app.command()(command)


@app.command()
@clear
def doctor(as_json: Json = False) -> None:
    """Say what is in force, what is missing and what to do; asks the Hub for its clock once."""
    from gguf_assets.orchestration.doctor import examine
    from gguf_assets.printing import print_examination

    examination = examine(os.environ)
    if as_json:
        print_json(examination.as_json())
    else:
        print_examination(examination)
    if not examination.healthy:
        raise typer.Exit(FAILED)


@app.command()
@clear
def dev(
    port: Annotated[int, typer.Option(help="Port of the UI.")] = 3000,
    host: Annotated[str, typer.Option(help="Address of the UI.")] = "127.0.0.1",
) -> None:
    """Open the Dagster UI on the same instance and data as the command line."""
    from gguf_assets.orchestration.development import start_ui

    start_ui(os.environ, host, port, typer.echo)


@app.command()
@clear
def demo(
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Where to put the data; made anew every time.")
    ] = None,
    repositories: Annotated[int, typer.Option(min=1, help="Repositories on the first day.")] = 300,
    days: Annotated[int, typer.Option(min=1, max=60, help="Days to live through.")] = 5,
    seed: Annotated[int, typer.Option(help="Another seed is another Hub.")] = 0,
) -> None:
    """Run several days against a generated Hub, in a fresh folder, and say what to look at."""
    from gguf_assets.orchestration.demonstration import DEMO_FOLDER, demonstrate
    from gguf_assets.printing import ProgressBars, print_demo

    target = DEMO_FOLDER if folder is None else folder
    with ProgressBars(notes=False) as progress:
        tour = demonstrate(target, repositories, days, seed, progress)
        outcomes = [progress.told(outcome) for outcome in tour]
    print_demo(target, outcomes)


@hub_app.command("serve")
@clear
def hub_serve(
    recording: Annotated[Path, typer.Option(help="Folder with YYYY-MM-DD.jsonl.gz files.")],
    day: Annotated[
        str | None, typer.Option(metavar="DAY", help="Day to serve; the last one if left out.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8765,
) -> None:
    """Serve recorded days on this machine, speaking the Hub's protocol, until interrupted."""
    from gguf_assets.demo.recording import RecordedHub
    from gguf_assets.demo.server import LoopbackHub, serve

    source = RecordedHub(recording)

    def announce(hub: LoopbackHub) -> None:
        typer.echo(f"Serving {hub.clock.now().date()} of {len(source.days)} recorded days at {hub.url}")
        typer.echo(f"Use it:       HF_ENDPOINT={hub.url} gguf-assets sync")
        typer.echo(
            f'Another day:  curl -X POST {hub.url}/_loopback/day -d \'{{"day": "{source.days[-1]}"}}\''
        )
        typer.echo(
            f"An edit:      curl -X POST {hub.url}/_loopback/edits "
            '-d \'[{"kind": "remove", "model_id": "owner/name"}]\''
        )
        sys.stdout.flush()

    serve(source, day=chosen_day(day, "--day"), port=port, announce=announce)


@hub_app.command("generate")
@clear
def hub_generate(
    folder: Annotated[Path, typer.Argument(help="Folder to write YYYY-MM-DD.jsonl.gz files to.")],
    repositories: Annotated[int, typer.Option(min=1, help="Repositories on the first day.")] = 300,
    days: Annotated[int, typer.Option(min=1, help="Number of days.")] = 5,
    seed: Annotated[int, typer.Option(help="Another seed is another Hub.")] = 0,
    last_day: Annotated[str | None, typer.Option(metavar="DAY", help="Last day; today if left out.")] = None,
) -> None:
    """Write a believable Hub that changes day by day, in the format that `hub serve` serves."""
    from gguf_assets.demo.generate import GeneratedHub, write_generated

    hub = GeneratedHub(
        seed=seed, repositories=repositories, days=days, last_day=chosen_day(last_day, "--last-day")
    )
    for path in write_generated(hub, folder, on_day=lambda path: typer.echo(f"wrote {path}")):
        if path.suffix == ".json":
            typer.echo(f"wrote {path} (what truly happened from day to day)")
    typer.echo(f"Serve it: gguf-assets hub serve --recording {folder} --day {hub.days[0]}")
