"""New configuration files: from a shipped profile, or from another file with its environment rewritten.

What belongs here: that, without touching anything but the one line. What does not: putting a file in force
(`deployment`).
"""

from __future__ import annotations

import codecs
import os
import re
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Final, cast

import yaml

from gguf_assets.errors import ErrorCategory, Refused
from gguf_assets.settings.audit import Actor, AuditTrail, timestamp
from gguf_assets.settings.checking import check_content
from gguf_assets.settings.deployed import sha256
from gguf_assets.settings.files import ENVIRONMENT, shipped_profile
from gguf_assets.settings.in_force import in_force, read_or_refuse, recording
from gguf_assets.settings.load import SYNC_DOCUMENT
from gguf_assets.settings.model import ENVIRONMENTS
from gguf_assets.settings.problems import InvalidSettings, Problem, unknown_environment
from gguf_assets.settings.tree import ConfigTree, file_not_found
from gguf_assets.settings.writing import changing, free_name, make_private, put
from gguf_assets.settings.yaml_file import FileProblem, parse_yaml

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_KEY: Final = ENVIRONMENT[0]


@dataclass(frozen=True)
class Created:
    """What creating a file did.

    Attributes:
        path: the new file.
        replaced: whether there was one before; a copy of it is kept.
        copy: that copy; None where there was none, or the same stood there already.
    """

    path: Path
    replaced: bool
    copy: Path | None = None


def shipped_profiles() -> list[str]:
    """Return the names of all shipped profiles: the environments, then the examples."""
    pattern = SYNC_DOCUMENT.environment_file.format(environment="(.+)")
    names = (file.name for file in (resources.files("gguf_assets.settings") / "profiles").iterdir())
    found = {match[1] for name in names if (match := re.fullmatch(pattern, name))}
    return [*ENVIRONMENTS, *sorted(found - set(ENVIRONMENTS))]


def create(
    tree: ConfigTree,
    name: str,
    *,
    base: Path | None = None,
    force: bool = False,
    trail: AuditTrail | None,
    actor: Actor,
    now: datetime,
) -> Created:
    """Write the file of an environment or profile.

    Args:
        tree: the configuration folder.
        name: an environment (`staging`), a variant of one (`staging-v2`), or a shipped profile
            (`high-volume`).
        base: the file to start from, of which only the environment is rewritten; the shipped profile when
            None.
        force: write it although there is one already, which is then copied into the backups under its own
            name, or although it is invalid.
        trail: where it is recorded; None for nowhere.
        actor: who does it.
        now: the time, with a time zone.

    Raises:
        InvalidSettings: the name is unknown, or the file would be invalid; with all problems.
        Refused: there is no base, or there is such a file already.
        PermanentError: the disk refused (category `storage`).
    """
    environment = _environment_of(name)
    if environment is None and name not in shipped_profiles():
        raise unknown_environment(name, ENVIRONMENTS)
    path = tree.file_of(name)
    content = shipped_profile(SYNC_DOCUMENT, environment or name) if base is None else _read(base)
    if base is not None and environment is not None:
        content = with_environment(content, environment, base)
    problems = check_content(path, content).problems
    if problems and not force:
        raise InvalidSettings(
            problems,
            remedy="Nothing was written. Start from another base, or write it as it is with --force.",
        )
    if os.path.lexists(path) and not force:
        raise _there_already(path)
    with changing(tree):
        # Somebody may have been faster.
        if os.path.lexists(path) and not force:
            raise _there_already(path)
        present = read_or_refuse(path) if path.exists() else None
        if present == content:
            return Created(path, replaced=False)
        current = in_force(tree)
        recorded = recording(trail, [None if current is None else current.checked])
        copy = None
        if present is not None:
            make_private(tree.backups)
            copy = free_name(tree, path.stem, now)
            put(copy, present)
        put(path, content)
        if recorded is not None:
            recorded.append(
                "create",
                actor,
                at=timestamp(now),
                file=str(path),
                environment=environment,
                source=f"shipped profile {environment or name}" if base is None else str(base),
                sha256=sha256(content),
                backup=None if copy is None else copy.name,
                problems=len(problems),
                changes={},
            )
    return Created(path, replaced=present is not None, copy=copy)


def with_environment(content: bytes, environment: str, path: Path) -> bytes:
    """Return the content of a configuration file with its environment rewritten, or put in if it has none.

    All other bytes stay as they are.

    Args:
        content: the bytes of a configuration file.
        environment: what it shall say.
        path: the file, for messages.

    Raises:
        InvalidSettings: it is no readable configuration file.
        Refused: the environment is written in such a way that it cannot be replaced.
    """
    try:
        before = parse_yaml(content).values
    except FileProblem as problem:
        raise InvalidSettings(
            [Problem(f"The file {path} cannot be used: {problem}")],
            remedy="Nothing was written. Correct it, or start from another file.",
        ) from None
    marks = codecs.BOM_UTF8 if content.startswith(codecs.BOM_UTF8) else b""
    text = content.removeprefix(marks).decode("utf-8")
    rewritten = marks + _rewritten(text, environment).encode("utf-8")
    try:
        after = parse_yaml(rewritten).values
    except FileProblem:
        after = {}
    if after != before | {_KEY: environment}:
        raise Refused(
            f"The key {_KEY} of {path} is written in such a way that it cannot be replaced",
            category=ErrorCategory.CONFIGURATION,
            remedy=f"Nothing was written. Write it as a line of its own, `{_KEY}: NAME`, then try again.",
        )
    return rewritten


def _rewritten(text: str, environment: str) -> str:
    root = cast("yaml.MappingNode", yaml.compose(text, Loader=yaml.SafeLoader))
    for key, value in root.value:
        if key.value == _KEY:
            start, end = value.start_mark.index, value.end_mark.index
            gap = " " if start == end else ""
            return f"{text[:start]}{gap}{environment}{text[end:]}"
    line = f"{_KEY}: {environment}"
    if root.flow_style:
        start = root.start_mark.index + 1
        return f"{text[:start]}{line}{', ' if root.value else ''}{text[start:]}"
    first = root.value[0][0].start_mark
    newline = "\r\n" if "\r\n" in text else "\n"
    return f"{text[: first.index]}{line}{newline}{' ' * first.column}{text[first.index :]}"


def _environment_of(name: str) -> str | None:
    """Return the environment that a name begins with; None if it is the name of none and of no variant."""
    environment = name.partition("-")[0]
    return environment if environment in ENVIRONMENTS and _NAME.fullmatch(name) else None


def _read(base: Path) -> bytes:
    content = read_or_refuse(base)
    if content is None:
        raise file_not_found(base)
    return content


def _there_already(path: Path) -> Refused:
    return Refused(
        f"There is a file {path} already",
        category=ErrorCategory.CONFIGURATION,
        remedy="Nothing was written. With --force it is replaced, and a copy of it is kept in the backups.",
    )
