"""The commands that change the configuration: deploy, create, backup, restore.

What belongs here: saying what would change, asking, calling, saying what came of it. What does not: changing
files (`settings/`), and the commands that only look (`config`).
"""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gguf_assets.cli.exits import Json, clear, print_json
from gguf_assets.cli.places import Places, ask, places

if TYPE_CHECKING:
    from gguf_assets.settings.audit import Actor
    from gguf_assets.settings.checking import CheckedFile
    from gguf_assets.settings.deployment import Deployed

_DEFAULT_RETENTION_DAYS = 30
Force = Annotated[bool, typer.Option("--force", help="Do not ask, and overrule what can be overruled.")]


@clear
def deploy(
    environment: Annotated[str, typer.Argument(help="development, staging, production or testing.")],
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="FILE", help="Another file than the environment's: name or path."),
    ] = None,
    no_validate: Annotated[
        bool, typer.Option("--no-validate", help="Deploy the file without checking it first.")
    ] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Make an environment's file the active one; the present one is backed up first.

    Says what changes, and asks before production is changed; scripts use --force.

    A file of another environment is refused without --force; with it, the file stays as it is and counts for
    this environment.

    Example: gguf-assets config deploy staging
    """
    from gguf_assets.printing_config import warn
    from gguf_assets.settings import deployment

    at, now = places(), datetime.now(UTC)
    file = at.tree.file_of(environment) if source is None else at.tree.find(source)
    command = _command(
        "deploy", environment, ("--source", source), no_validate and "--no-validate", force and "--force"
    )
    if no_validate:
        warn(f"{file} is not checked: a wrong value in it stops the next sync")
    chosen = None if source is None else file
    # What is refused anyway is not asked about.
    new = deployment.judge(at.tree, environment, source=chosen, validate=not no_validate, force=force)
    _announce(at, new, environment, "Deploy", None if force else f"{command} --force", quiet=as_json)
    done = deployment.deploy(
        at.tree,
        environment,
        source=chosen,
        validate=not no_validate,
        force=force,
        trail=at.trail,
        actor=_actor(command),
        now=now,
    )
    if as_json:
        print_json({"deployed": str(done.path), **_outcome(done)})
        return
    _say_outcome(done, "Deployed")


@clear
def create(
    name: Annotated[
        str,
        typer.Argument(
            metavar="ENVIRONMENT|PROFILE", help="staging, a variant such as staging-v2, or high-volume."
        ),
    ],
    base: Annotated[
        str | None,
        typer.Option("--base", metavar="FILE", help="The file to begin from: name or path."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite an existing file without asking.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a new configuration file to edit, from a shipped profile or from another file.

    Of another file everything is kept but its environment; what is overwritten is kept as a copy.

    Example: gguf-assets config create production-v2 --base sync-config-production.yaml
    """
    from gguf_assets.printing_config import say
    from gguf_assets.settings import deployment

    at, now = places(), datetime.now(UTC)
    command = _command("create", name, ("--base", base), force and "--force")
    target, overwrite = at.tree.file_of(name), force
    if not force and target.exists():
        ask(f"Overwrite {target}", f"{command} --force")
        overwrite = True
    done = deployment.create(
        at.tree,
        name,
        base=None if base is None else at.tree.find(base),
        force=overwrite,
        trail=at.trail,
        actor=_actor(command),
        now=now,
    )
    if as_json:
        copy = None if done.copy is None else str(done.copy)
        print_json({"created": str(done.path), "replaced": done.replaced, "copy": copy})
        return
    say(f"{'Replaced' if done.replaced else 'Created'} {done.path}")
    if done.copy is not None:
        say(f"What stood there is kept as {done.copy}")
    say(f"Edit it, then check it: gguf-assets config validate {done.path.name}")


@clear
def backup(
    prune: Annotated[
        bool, typer.Option("--prune", help="Also remove backups older than storage.backup_retention_days.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Back up the active file.

    Example: gguf-assets config backup --prune
    """
    from gguf_assets.printing_config import say
    from gguf_assets.settings import deployment

    at, now = places(), datetime.now(UTC)
    actor = _actor(_command("backup", prune and "--prune"))
    kept = deployment.back_up(at.tree, trail=at.trail, actor=actor, now=now)
    days = _DEFAULT_RETENTION_DAYS if at.loaded is None else at.loaded.settings.storage.backup_retention_days
    removed = deployment.prune(at.tree, days, trail=at.trail, actor=actor, now=now) if prune else []
    if as_json:
        print_json({"backup": str(kept), "removed": [str(path) for path in removed], "retention_days": days})
        return
    say(f"Backed up {at.tree.active.name} as {kept}")
    say(f"To put it back: gguf-assets config restore {kept.name}")
    if prune:
        say(f"Removed {len(removed)} backup{'s' * (len(removed) != 1)} older than {days} days")
        for path in removed:
            say(f"  {path.name}")


@clear
def restore(
    name: Annotated[str, typer.Argument(help="The backup: its name, or a path.")],
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Put a backup back as the active file, after backing up the present one.

    The backup is checked first. Asks where the result is production; scripts use --force.

    Example: gguf-assets config restore sync-config_backup_20260131_120000.yaml
    """
    from gguf_assets.settings import deployment

    at, now = places(), datetime.now(UTC)
    command = _command("restore", name, force and "--force")
    new, environment = deployment.judge_backup(at.tree, name, force=force)
    _announce(at, new, environment, "Restore", None if force else f"{command} --force", quiet=as_json)
    done = deployment.restore(at.tree, name, force=force, trail=at.trail, actor=_actor(command), now=now)
    if as_json:
        print_json({"restored": str(done.path), **_outcome(done)})
        return
    _say_outcome(done, "Restored")


def _announce(
    at: Places, new: CheckedFile, environment: str, verb: str, forced: str | None, *, quiet: bool
) -> None:
    """Say what changes when a file becomes the active one, and ask if that is production's.

    Args:
        at: the configuration folder.
        new: the verdict on the file.
        environment: what it is to count for.
        verb: what is done with it.
        forced: the command that does not ask; None where that was given.
        quiet: only ask.
    """
    from gguf_assets.printing_config import print_advice, print_changes, say
    from gguf_assets.settings.difference import differences
    from gguf_assets.settings.in_force import in_force
    from gguf_assets.settings.rules import PRODUCTION

    current, name = in_force(at.tree), new.path.name
    if current is not None and (current.checked.content, current.environment) == (new.content, environment):
        return
    if current is not None:
        old, against = current.checked.settings, f"the active file {at.tree.active}"
    else:
        old, against = None if at.loaded is None else at.loaded.settings, "the settings in force"
    changes = [] if new.settings is None or old is None else differences(old, new.settings)
    if not quiet:
        if new.settings is None or old is None:
            say(f"What changes cannot be said: {name if new.settings is None else against} is invalid.")
        elif changes:
            say(f"What {name} changes, compared with {against}:")
            print_changes(changes)
        else:
            say(f"{name} changes no value, compared with {against}.")
    print_advice(new.advice)
    if environment == PRODUCTION and forced is not None:
        ask(f"{verb} {name} to {environment}", forced)


def _outcome(done: Deployed) -> dict[str, Any]:
    """Return what there is to know after a change, as plain JSON values."""
    from gguf_assets.settings.difference import needs_reload

    return {
        "source": str(done.source),
        "environment": done.environment,
        "identical": done.identical,
        "backup": None if done.backup is None else str(done.backup),
        "changes": {change.key: {"old": change.old, "new": change.new} for change in done.changes},
        "reload": needs_reload(done.changes),
    }


def _say_outcome(done: Deployed, verb: str) -> None:
    """Say what was done, when it takes effect, how to go back, and how to see what is in force."""
    from gguf_assets.printing_config import say
    from gguf_assets.settings.difference import needs_reload

    if done.identical:
        say(f"Nothing to do: {done.path} is {done.source.name} already, as {done.environment}.")
        return
    say(f"{verb} {done.source.name} as {done.path}, for {done.environment}")
    say("Takes effect: at the next sync")
    if keys := needs_reload(done.changes):
        say(f"  except {', '.join(keys)}: when the code location is reloaded")
        say("  (in the Dagster UI: Deployment → Reload; or start gguf-assets dev anew)")
    if done.backup is None:
        say("Backup:       none, there was no active file")
    else:
        say(f"Backup:       {done.backup}")
        say(f"Go back:      gguf-assets config restore {done.backup.name}")
    say("Verify:       gguf-assets config list")


def _command(*parts: str | tuple[str, str | None] | bool) -> str:
    """Return a command as it was called; what was not given is left out."""
    words = ["gguf-assets", "config"]
    for part in parts:
        if isinstance(part, str):
            words.append(part)
        elif isinstance(part, tuple) and part[1] is not None:
            words += [part[0], part[1]]
    return shlex.join(words)


def _actor(command: str) -> Actor:
    from gguf_assets.settings.audit import present_actor

    return present_actor(command)
