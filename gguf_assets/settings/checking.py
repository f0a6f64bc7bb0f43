"""Judging one configuration file by itself: over the code's defaults, without variables, token or network.

What belongs here: everything that can be said about a file without running anything. What does not: which
file applies (`files`), and what is in force (`load`).
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gguf_assets.errors import PermanentError
from gguf_assets.settings.deployed import record_of
from gguf_assets.settings.document import Advice, Layer
from gguf_assets.settings.files import ENVIRONMENT, Unreadable, count_for, read_content
from gguf_assets.settings.layers import file_layer
from gguf_assets.settings.load import SYNC_DOCUMENT
from gguf_assets.settings.model import ENVIRONMENTS, SyncConfiguration
from gguf_assets.settings.problems import FAILED, InvalidSettings, Problem
from gguf_assets.settings.resolving import resolve
from gguf_assets.settings.rules import PRODUCTION

_NAMED: Final = re.compile(SYNC_DOCUMENT.environment_file.format(environment=f"({'|'.join(ENVIRONMENTS)})"))


@dataclass(frozen=True)
class CheckedFile:
    """A file and the verdict on it.

    Attributes:
        path: where it lies.
        content: its bytes; empty where it cannot be read.
        environment: what it says; None where it names none or cannot be read.
        settings: the checked tree; None where the file is invalid.
        problems: everything that is wrong with it.
        advice: what is allowed and probably not meant.
        deployed_as: the environment it counts for, where it was deployed as another one than it says.
        readable: it is there and holds a mapping, so that what it says is known.
    """

    path: Path
    content: bytes
    environment: str | None
    settings: SyncConfiguration | None
    problems: tuple[Problem, ...]
    advice: tuple[Advice, ...]
    deployed_as: str | None = None
    readable: bool = True

    @property
    def valid(self) -> bool:
        """Whether it may be used."""
        return not self.problems

    @property
    def meant_for(self) -> str:
        """The environment that it says, or means by saying none."""
        return self.environment or PRODUCTION

    @property
    def claim(self) -> str:
        """The same as the rest of a sentence."""
        if self.environment is None:
            return f"names no environment, which means {PRODUCTION}"
        return f"is for {self.environment}"

    @property
    def counts_for(self) -> str:
        """The environment it counts for: as deployed, else the one it is meant for."""
        return self.deployed_as or self.meant_for


def check_file(path: Path) -> CheckedFile:
    """Return the verdict on a file as it lies there; whatever is wrong with it is a problem in the verdict.

    An active file that was deployed as another environment than it says is judged for that one.
    """
    try:
        content = read_content(path)
    except Unreadable as problem:
        return _unusable(path, str(problem))
    if content is None:
        return _unusable(path, f"{FAILED}The file {path} does not exist")
    deployed_as, problems = None, list[Problem]()
    if path.name == SYNC_DOCUMENT.active_file:
        try:
            record = record_of(path.parent, path.name, content)
            deployed_as = None if record is None else record.environment
        except PermanentError as error:
            problems.append(Problem(f"{FAILED}{error.message}", hint=error.remedy))
    checked = check_content(path, content, deployed_as=deployed_as)
    problems += _name(checked)
    return replace(
        checked,
        settings=None if problems else checked.settings,
        problems=(*checked.problems, *problems),
        advice=(*checked.advice, *too_open(checked)),
    )


def check_content(path: Path, content: bytes, *, deployed_as: str | None = None) -> CheckedFile:
    """Return the verdict on what stands in a file, whatever its name and permissions.

    Args:
        path: the file, for messages.
        content: its bytes.
        deployed_as: the environment it is to count for; None for the one that it says.
    """
    layer = file_layer(SYNC_DOCUMENT.model, content, f"file {path}")
    environment = _environment(layer)
    counts = deployed_as is not None and not layer.unreadable and count_for(layer, deployed_as, path)
    advice: tuple[Advice, ...] = ()
    try:
        resolved = resolve(SYNC_DOCUMENT, [layer])
    except InvalidSettings as error:
        settings, problems = None, error.problems
    else:
        settings, problems, advice = resolved.settings, (), resolved.advice
    return CheckedFile(
        path,
        content,
        environment,
        settings,
        problems,
        advice,
        deployed_as if counts else None,
        readable=not layer.unreadable,
    )


def _unusable(path: Path, headline: str) -> CheckedFile:
    return CheckedFile(path, b"", None, None, (Problem(headline),), (), readable=False)


def _environment(layer: Layer) -> str | None:
    entry = layer.entries.get(ENVIRONMENT)
    return entry.value if entry is not None and isinstance(entry.value, str) else None


def _name(checked: CheckedFile) -> Iterator[Problem]:
    """Yield the problem of a file whose name promises another environment: it would not be loaded."""
    named = _NAMED.fullmatch(checked.path.name)
    if named is None or checked.environment in (None, named[1]) or checked.environment not in ENVIRONMENTS:
        return
    yield Problem(
        f"{FAILED}Environment must be the same everywhere: {checked.environment} in the file {checked.path}, "
        f"{named[1]} by its name",
        "environment",
        hint="give the file another name, or correct the line",
    )


def too_open(checked: CheckedFile) -> Iterator[Advice]:
    """Yield what is too open about a production file and its folder."""
    if not checked.readable or checked.counts_for != PRODUCTION:
        return
    folder = checked.path.parent
    for place, kind, mode in ((checked.path, "file", 0o600), (folder, "folder", 0o700)):
        try:
            present = stat.S_IMODE(place.stat().st_mode)
        except OSError:
            continue  # gone since it was read
        if present & ~mode & 0o777:
            yield Advice(
                ("environment",),
                f"others may use the {kind} {place} of a production configuration (mode {present:03o})",
                f"chmod {mode:o} {place}",
            )
