"""Which file of a document applies: the active one, the environment's, or the shipped profile.

What belongs here: finding and reading files, saying plainly why one cannot be read. What does not: what they
say (`layers`), and writing, deploying or comparing them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Final

from gguf_assets.errors import PermanentError
from gguf_assets.settings.deployed import DeploymentRecord, read_records, record_in
from gguf_assets.settings.document import Document, Entry, Layer
from gguf_assets.settings.fields import local_folder
from gguf_assets.settings.layers import file_layer, unreadable_layer
from gguf_assets.settings.model import ENVIRONMENTS
from gguf_assets.settings.problems import FAILED, Problem

PROFILE: Final = "shipped profile "
ENVIRONMENT: Final = ("environment",)


@dataclass(frozen=True)
class FoundFile:
    """The file that applies.

    Attributes:
        path: where it lies; None for a shipped profile.
        layer: what it says.
        source: which one it is and why, for people.
        content: its bytes; empty where it cannot be read.
    """

    path: Path | None
    layer: Layer
    source: str
    content: bytes


class Unreadable(Exception):
    """A file that is there and cannot be read; the text is the whole sentence."""


def find_file(document: Document[Any], config_dir: Path, environment: str, chosen: Entry | None) -> FoundFile:
    """Return the file that applies, its problems included.

    Args:
        document: the document looked for.
        config_dir: the configuration folder; need not exist.
        environment: the environment whose file or profile applies where there is no active file.
        chosen: the layer that chose this environment, if any did; a file must agree with it.
    """
    active = config_dir / document.active_file
    named = config_dir / document.environment_file.format(environment=environment)
    for path in (active, named):
        found = _active(document, path) if path is active else _read(document, path)
        if found is not None:
            layer = found.layer
            asked = (
                chosen.origin
                if chosen is not None
                else None
                if path is active
                else f"file's name {named.name}"
            )
            if asked is not None:
                _check_agreement(layer, environment, asked)
            return found
    profile = shipped_file(document, environment)
    neither = f"there is neither {active.name} nor {named.name} in {config_dir}"
    return replace(profile, source=f"{profile.source} ({neither})")


def given_file(document: Document[Any], path: Path, chosen: Entry | None) -> FoundFile:
    """Return one file, its problems included; the active one as what it was deployed.

    Args:
        document: what the file holds.
        path: the file.
        chosen: the layer that chose an environment, if any did; the file must agree with it.
    """
    found = _active(document, path) if path.name == document.active_file else _read(document, path)
    if found is None:
        return FoundFile(
            path, unreadable_layer(f"Environment configuration not found: {path}"), f"file {path}", b""
        )
    if chosen is not None:
        _check_agreement(found.layer, chosen.value, chosen.origin)
    return found


def shipped_profile(document: Document[Any], environment: str) -> bytes:
    """Return the text of the profile that is shipped for an environment."""
    name = document.environment_file.format(environment=environment)
    return (resources.files("gguf_assets.settings") / "profiles" / name).read_bytes()


def shipped_file(document: Document[Any], environment: str) -> FoundFile:
    """Return the profile that is shipped for an environment."""
    content, source = shipped_profile(document, environment), f"{PROFILE}{environment}"
    return FoundFile(None, file_layer(document.model, content, source, lines=False), source, content)


def existing_folder(environ: Mapping[str, str], variable: str) -> Problem | None:
    """Return the problem of a variable that names no folder, None if it is unset or names one.

    Going on with a shipped profile would mean other settings than the ones asked for.
    """
    text = environ.get(variable, "").strip()
    if not text or os.path.isdir(local_folder(text)):  # noqa: PTH112 - Path.is_dir fails without permission
        return None
    return Problem(
        f"{FAILED}{variable} must name an existing folder",
        origin=f"environment variable {variable} = {text}",
        hint="create it, or unset the variable",
    )


def read_content(path: Path) -> bytes | None:
    """Return what stands in a file; None if there is no such file.

    Raises:
        Unreadable: it is there and cannot be read.
    """
    origin = f"file {path}"
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            kind = "folder" if path.is_dir() else "device or pipe"
            raise Unreadable(f"{FAILED}The {origin} cannot be used: it is a {kind}")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        if not path.is_symlink():
            return None
        raise Unreadable(f"{FAILED}The {origin} cannot be read: it is a link that leads nowhere") from None
    except OSError as error:
        raise Unreadable(f"{FAILED}The {origin} cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise Unreadable(f"{FAILED}The file {str(path)!r} cannot be read: no path looks like that") from None


def count_for(layer: Layer, environment: str, path: Path) -> bool:
    """Have a file count for the environment as which it was deployed; return whether it says another one.

    What is no environment at all stays as it is, and wrong.

    Args:
        layer: what the file says.
        environment: the environment as deployed.
        path: the file.
    """
    entry = layer.entries.get(ENVIRONMENT)
    says = "none" if entry is None else entry.value
    if entry is not None and (says == environment or says not in ENVIRONMENTS):
        return False
    origin = f"deployment as {environment} (file {path} says {says})"
    layer.entries[ENVIRONMENT] = Entry(environment, origin, origin)
    return True


def _read(document: Document[Any], path: Path) -> FoundFile | None:
    origin = f"file {path}"
    try:
        content = read_content(path)
    except Unreadable as problem:
        return FoundFile(path, unreadable_layer(str(problem)), origin, b"")
    if content is None:
        return None
    return FoundFile(path, file_layer(document.model, content, origin), origin, content)


def _active(document: Document[Any], path: Path) -> FoundFile | None:
    """Return the active file as what it was deployed; None if there is no such file."""
    before: list[DeploymentRecord] | None = None
    while True:
        found = _read(document, path)
        if found is None or found.layer.unreadable:
            return found
        try:
            records = read_records(path.parent)
        except PermanentError as error:
            # It may have been deployed as another environment than it says: nobody knows as which.
            found.layer.problems.append(Problem(f"{FAILED}{error.message}", hint=error.remedy))
            return found
        record = record_in(records, path.name, found.content)
        if record is not None or records == before:
            break  # where none speaks of it, none did while it was read: a deployment may have come and gone
        before = records
    if record is None or record.environment is None or not count_for(found.layer, record.environment, path):
        return found
    return replace(found, source=f"{found.source}, deployed as {record.environment}")


def _check_agreement(layer: Layer, environment: str, asked: str) -> None:
    said = layer.entries.get(ENVIRONMENT)
    if said is None or said.value == environment:
        return
    layer.problems.append(
        Problem(
            f"{FAILED}Environment must be the same everywhere: {said.value} in the {said.origin}, "
            f"{environment} by the {asked}",
            "environment",
            hint="unset SYNC_ENVIRONMENT, or use a file of that environment",
        )
    )
