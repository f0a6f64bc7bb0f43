"""The commands `gguf-assets config …`: what is configured, whether it is right, and what may be configured.

What belongs here: the commands that only look, and the group. Those that change something are in
`config_changes`; how results look is in `printing_config`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from gguf_assets.cli import config_changes
from gguf_assets.cli.exits import FAILED, Json, clear, print_json
from gguf_assets.cli.places import places
from gguf_assets.errors import ErrorCategory, Refused

if TYPE_CHECKING:
    from gguf_assets.settings.model import SyncConfiguration
    from gguf_assets.settings.tree import ConfigTree

config_app = typer.Typer(
    no_args_is_help=True,
    help="The configuration: deploy, create, check, compare and restore files; see what is in force and why.",
)
config_app.command()(config_changes.deploy)
config_app.command()(config_changes.create)


@config_app.command()
@clear
def validate(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILES]...", help="Names or paths; all files of the folder if left out."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check configuration files, and name every problem of every file at once.

    Needs no token and no network, and looks at no environment variable.

    Exit code 1 if a file is invalid.

    Example: gguf-assets config validate
    """
    from gguf_assets.printing_config import print_verdicts, say, verdicts_as_json
    from gguf_assets.settings.checking import check_file
    from gguf_assets.settings.reference import shipped_files

    tree = places().tree
    paths = [tree.find(name) for name in files] if files else tree.files()
    if not paths:
        paths = shipped_files()
        if not as_json:
            say(f"There is no configuration file in {tree.folder}; these are the shipped profiles:")
    checked = [check_file(path) for path in paths]
    if as_json:
        print_json(verdicts_as_json(checked))
    else:
        print_verdicts(checked)
    if not all(file.valid for file in checked):
        raise typer.Exit(FAILED)


@config_app.command("list")
@clear
def list_files(as_json: Json = False) -> None:
    """List the configuration files: what they say, which one is active and how it came there.

    Example: gguf-assets config list
    """
    from gguf_assets.printing_config import print_inventory
    from gguf_assets.settings.inventory import inventory

    at = places()
    in_force = "nothing, for the settings are invalid; gguf-assets config show names the problems"
    if at.loaded is not None:
        in_force = f"{at.loaded.source.partition(' (')[0]}, environment {at.loaded.settings.environment}"
    found = inventory(at.tree, in_force)
    if as_json:
        print_json(found.as_json())
    else:
        print_inventory(found)


@config_app.command()
@clear
def compare(
    left: Annotated[str, typer.Argument(metavar="A", help="An environment, a profile, a path, or active.")],
    right: Annotated[str, typer.Argument(metavar="B", help="The same.")],
    exit_zero: Annotated[
        bool, typer.Option("--exit-zero", help="Exit with 0 although there are differences.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the keys in which two configurations differ, with both values.

    A key that a file leaves out has its default; an environment without a file, its shipped profile.

    Exit code 1 if there are differences.

    Example: gguf-assets config compare staging production
    """
    from gguf_assets.printing_config import print_comparison
    from gguf_assets.settings.difference import differences

    tree = places().tree
    (left_name, old), (right_name, new) = _compared(tree, left), _compared(tree, right)
    changes = differences(old, new)
    if as_json:
        values = {change.key: {"a": change.old, "b": change.new} for change in changes}
        print_json({"a": left_name, "b": right_name, "equal": not changes, "differences": values})
    else:
        print_comparison(left_name, right_name, changes)
    if changes and not exit_zero:
        raise typer.Exit(FAILED)


config_app.command()(config_changes.backup)
config_app.command()(config_changes.restore)


@config_app.command()
@clear
def show(
    origins: Annotated[
        bool, typer.Option("--origins", help="Also say which layer, and which line of a file, decided each.")
    ] = False,
    changed: Annotated[
        bool, typer.Option("--changed", help="Only the keys whose value is not the default.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the settings in force in this shell, which file applies, and the folders; secrets are masked.

    Example: gguf-assets config show --origins --changed
    """
    from gguf_assets.printing_config import print_effective
    from gguf_assets.settings.effective import effective
    from gguf_assets.settings.load import load_settings

    found = effective(load_settings(os.environ))
    if as_json:
        print_json(found.as_json(changed=changed))
    else:
        print_effective(found, origins=origins, changed=changed)


@config_app.command()
@clear
def env(as_json: Json = False) -> None:
    """List the environment variables: which are set, what they override, and which counts.

    Variables that look like one and are none are pointed out.

    Example: gguf-assets config env
    """
    from gguf_assets.printing_config import print_variables
    from gguf_assets.settings.environment_variables import as_json as listed
    from gguf_assets.settings.environment_variables import strangers, variables

    found, unknown = variables(os.environ), strangers(os.environ)
    if as_json:
        print_json(listed(found, unknown))
    else:
        print_variables(found, unknown)


@config_app.command()
@clear
def schema(
    form: Annotated[
        str,
        typer.Option("--format", metavar="table|json|markdown", help="json is a JSON Schema, for editors."),
    ] = "table",
    as_json: Json = False,
) -> None:
    """Print the reference: every key with range, default, variables, and each environment's value.

    Example: gguf-assets config schema --format json > data/config/sync-config.schema.json
    """
    from gguf_assets.printing_config import json_text, print_reference
    from gguf_assets.settings.handbook import handbook
    from gguf_assets.settings.json_schema import json_schema
    from gguf_assets.settings.model import SyncConfiguration
    from gguf_assets.settings.reference import by_section, reference

    if as_json:
        print_json({"keys": [fact.as_json() for fact in reference()]})
    elif form == "json":
        typer.echo(json_text(json_schema(SyncConfiguration, "gguf_assets: sync-config.yaml")))
    elif form == "markdown":
        typer.echo(handbook(), nl=False)
    elif form == "table":
        print_reference(by_section(reference()))
    else:
        raise Refused(
            f"--format {form!r} is not allowed: use table, json or markdown",
            category=ErrorCategory.CONFIGURATION,
            remedy="gguf-assets config schema --format table",
        )


@config_app.command()
@clear
def preflight(
    environment: Annotated[
        str | None,
        typer.Argument(help="The environment to deploy; the one in force if left out."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="FILE", help="Another file than the environment's: name or path."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Go through the checklist before a deployment, as far as a program can.

    Exit code 1 if something fails; warnings do not count.

    Example: gguf-assets config preflight production
    """
    from gguf_assets.printing_config import print_preflight
    from gguf_assets.settings.preflight import as_json as listed
    from gguf_assets.settings.preflight import preflight as go_through

    at = places()
    if environment is None:
        environment = "production" if at.loaded is None else str(at.loaded.settings.environment)
    _known(environment)
    file = at.tree.file_of(environment) if source is None else at.tree.find(source)
    found = go_through(at.tree, environment, file, os.environ)
    answer = listed(found, environment, file)
    if as_json:
        print_json(answer)
    else:
        print_preflight(found, environment, file)
    if not answer["ready"]:
        raise typer.Exit(FAILED)


def _known(environment: str) -> None:
    from gguf_assets.settings.model import ENVIRONMENTS
    from gguf_assets.settings.problems import unknown_environment

    if environment not in ENVIRONMENTS:
        raise unknown_environment(environment, ENVIRONMENTS)


def _compared(tree: ConfigTree, name: str) -> tuple[str, SyncConfiguration]:
    """Return a configuration's name for people, and its settings over the defaults."""
    from gguf_assets.settings.checking import check_file
    from gguf_assets.settings.model import ENVIRONMENTS
    from gguf_assets.settings.problems import InvalidSettings
    from gguf_assets.settings.reference import shipped_settings

    if name in ENVIRONMENTS and not os.path.lexists(tree.file_of(name)):
        return f"{name} (shipped profile)", shipped_settings(name)
    checked = check_file(tree.find(name))
    if checked.settings is None:
        raise InvalidSettings(checked.problems, remedy="Correct it, then compare again.")
    return name, checked.settings
