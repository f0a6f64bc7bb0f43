"""The checklist before a deployment: all that a program can check, with a remedy where something is missing.

What belongs here: looking at a file, the folder it goes to and the environment variables. What does not:
deploying (`deployment`), asking the Hub (the doctor does), and how the list looks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gguf_assets.settings.channel_rules import (
    REFERENCE,
    channels_in_use,
    missing_variables,
    without_address,
)
from gguf_assets.settings.checking import CheckedFile, check_file, too_open
from gguf_assets.settings.difference import differences, needs_reload
from gguf_assets.settings.fields import is_loopback
from gguf_assets.settings.layers import environment_layer
from gguf_assets.settings.load import SYNC_DOCUMENT
from gguf_assets.settings.model import SyncConfiguration
from gguf_assets.settings.rules import PRODUCTION
from gguf_assets.settings.token import TOKEN_ENVIRONMENTS
from gguf_assets.settings.tree import ConfigTree

State = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class CheckedItem:
    """One line of the checklist; a `note` is a warning and does not fail."""

    topic: str
    state: State
    text: str
    remedy: str | None = None


def preflight(
    tree: ConfigTree, environment: str, source: Path, environ: Mapping[str, str]
) -> list[CheckedItem]:
    """Return the checklist for deploying a file as an environment's configuration.

    Args:
        tree: the configuration folder it would go to.
        environment: the environment it is meant for.
        source: the file; need not exist.
        environ: the environment variables with which it would run.
    """
    if not source.exists():
        remedy = f"gguf-assets config create {environment}"
        return [
            CheckedItem("file", "problem", f"Environment configuration not found: {source}", remedy),
            *_folder(tree),
        ]
    checked = check_file(source)
    found = [*_file(checked), *_environment(checked, environment), *_folder(tree), *_rollback(tree)]
    found += _modes(checked)
    if checked.settings is not None:
        found += _token(checked.settings, environ)
        found += _alerts(checked.settings, environ)
        found += _reload(tree, checked.settings)
    return found


def as_json(found: list[CheckedItem], environment: str, source: Path) -> dict[str, Any]:
    """Return the checklist as plain JSON values."""
    return {
        "ready": all(item.state != "problem" for item in found),
        "environment": environment,
        "file": str(source),
        "items": [vars(item) for item in found],
    }


def _file(checked: CheckedFile) -> Iterator[CheckedItem]:
    path = checked.path
    literal = [problem for problem in checked.problems if problem.key == "huggingface_token"]
    if checked.valid:
        yield CheckedItem("file", "ok", f"{path} is valid")
    else:
        count = f"{len(checked.problems)} problem{'s' * (len(checked.problems) != 1)}"
        yield CheckedItem(
            "file", "problem", f"{path} has {count}", f"gguf-assets config validate {path} names them"
        )
    if literal:
        yield CheckedItem(
            "secrets",
            "problem",
            f"the token stands in the file ({literal[0].origin})",
            "Make it null, set HUGGINGFACE_TOKEN instead, and revoke the token: it may have been seen",
        )
    if checked.settings is None:
        return
    hooks = checked.settings.notifications.webhook_urls
    open_hooks = [hook for hook in hooks if not hook.startswith(REFERENCE)]
    if open_hooks:
        yield CheckedItem(
            "secrets",
            "note",
            f"{len(open_hooks)} webhook address{'es' * (len(open_hooks) != 1)} in the file: whoever reads it "
            "can post there",
            "Write env:NAME there and set the variable NAME",
        )
    elif not literal:
        yield CheckedItem("secrets", "ok", "no secret stands in the file")
    elsewhere = {*too_open(checked), *without_address(checked.settings)}  # these fail, and not only warn
    for advice in checked.advice:
        if advice in elsewhere:
            continue
        yield CheckedItem("warning", "note", f"{advice.keys[0]}: {advice.text}", advice.hint)


def _environment(checked: CheckedFile, environment: str) -> Iterator[CheckedItem]:
    if not checked.readable:
        return
    if checked.meant_for == environment:
        yield CheckedItem("environment", "ok", f"the file is for {environment}")
    else:
        yield CheckedItem(
            "environment",
            "problem",
            f"the file {checked.claim}, and not for {environment}",
            f"Correct its key environment; to try it all the same: gguf-assets config deploy {environment} "
            f"--source {checked.path} --force",
        )


def _folder(tree: ConfigTree) -> Iterator[CheckedItem]:
    existing = next(path for path in (tree.folder, *tree.folder.parents) if os.path.lexists(path))
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        yield CheckedItem("folder", "ok", f"{tree.folder} can be written to")
    else:
        remedy = f"Check the permissions of {existing}"
        yield CheckedItem("folder", "problem", f"{tree.folder} cannot be written to", remedy)


def _rollback(tree: ConfigTree) -> Iterator[CheckedItem]:
    backups = len(tree.backup_files())
    kept = f"{backups} backup{'s' * (backups != 1)} in {tree.backups}"
    if tree.active.exists():
        yield CheckedItem("rollback", "ok", f"deploying backs up the active file first; {kept}")
    else:
        yield CheckedItem(
            "rollback",
            "note",
            f"there is no active file to go back to, the shipped profile is in force; {kept}",
            f"To go back to the shipped profile later, remove {tree.active}",
        )


def _modes(checked: CheckedFile) -> Iterator[CheckedItem]:
    if checked.counts_for != PRODUCTION:
        return
    open_ones = list(too_open(checked))
    if not open_ones:
        yield CheckedItem("permissions", "ok", "nobody else may read or change file and folder")
    for advice in open_ones:
        yield CheckedItem("permissions", "problem", advice.text, advice.hint)


def _token(settings: SyncConfiguration, environ: Mapping[str, str]) -> Iterator[CheckedItem]:
    if settings.environment not in TOKEN_ENVIRONMENTS:
        yield CheckedItem("token", "ok", f"none is needed in {settings.environment}")
    elif not settings.security.enable_token_validation or is_loopback(settings.api_base_url):
        yield CheckedItem("token", "ok", "none is needed with these settings")
    elif secrets := environment_layer(SYNC_DOCUMENT, environ).secrets:
        yield CheckedItem("token", "ok", f"from {next(iter(secrets.values())).origin}")
    else:
        yield CheckedItem(
            "token",
            "problem",
            "Hugging Face token is required",
            f"Set HUGGINGFACE_TOKEN (or HF_TOKEN) where {settings.environment} runs",
        )


def _alerts(settings: SyncConfiguration, environ: Mapping[str, str]) -> Iterator[CheckedItem]:
    channels = channels_in_use(settings)
    if not channels:
        yield CheckedItem("alerts", "note", "alerts and notifications are off: nobody is told of a failure")
        return
    found: list[CheckedItem] = [
        CheckedItem("alerts", "problem", advice.text, advice.hint) for advice in without_address(settings)
    ]
    for missing in missing_variables(settings, environ):
        state: State = "note" if missing.optional else "problem"
        found.append(CheckedItem("alerts", state, missing.text, missing.remedy))
    yield from found or [CheckedItem("alerts", "ok", f"channels: {', '.join(channels)}")]


def _reload(tree: ConfigTree, settings: SyncConfiguration) -> Iterator[CheckedItem]:
    active = check_file(tree.active).settings if tree.active.exists() else None
    changes = differences(active, settings) if active is not None else []
    keys = needs_reload(changes)
    if keys:
        yield CheckedItem(
            "automation",
            "note",
            f"takes effect only when the code location is loaded anew: {', '.join(keys)}",
            "After the deployment: Deployment → Reload in the Dagster UI, or start gguf-assets dev anew",
        )
    elif active is not None:
        yield CheckedItem("automation", "ok", "no changed key needs a reload of the code location")
