"""Which file of a document applies: the active one, the environment's, or the shipped profile.

What belongs here: finding and reading files, saying plainly why one cannot be read. What does not: what they
say (`layers`), and writing, deploying or comparing them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

from gguf_assets.settings.fields import local_folder
from gguf_assets.settings.layers import Document, Entry, Layer, file_layer, unreadable_layer
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
    """

    path: Path | None
    layer: Layer
    source: str


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
        layer = _read(document, path)
        if layer is not None:
            asked = (
                chosen.origin
                if chosen is not None
                else None
                if path is active
                else f"file's name {named.name}"
            )
            if asked is not None:
                _check_agreement(layer, environment, asked)
            return FoundFile(path, layer, f"file {path}")
    content = shipped_profile(document, environment)
    return FoundFile(
        None,
        file_layer(document.model, content, f"{PROFILE}{environment}", lines=False),
        f"{PROFILE}{environment} (there is neither {active.name} nor {named.name} in {config_dir})",
    )


def shipped_profile(document: Document[Any], environment: str) -> bytes:
    """Return the text of the profile that is shipped for an environment."""
    name = document.environment_file.format(environment=environment)
    return (resources.files("gguf_assets.settings") / "profiles" / name).read_bytes()


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


def _read(document: Document[Any], path: Path) -> Layer | None:
    """Return what a file says; None if there is no such file."""
    origin = f"file {path}"
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            kind = "folder" if path.is_dir() else "device or pipe"
            return unreadable_layer(f"{FAILED}The {origin} cannot be used: it is a {kind}")
        return file_layer(document.model, path.read_bytes(), origin)
    except (FileNotFoundError, NotADirectoryError):
        if not path.is_symlink():
            return None
        return unreadable_layer(f"{FAILED}The {origin} cannot be read: it is a link that leads nowhere")
    except OSError as error:
        return unreadable_layer(f"{FAILED}The {origin} cannot be read: {error.strerror or error}")


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
