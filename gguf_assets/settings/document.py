"""What a configuration document is, and the values by key that its layers hold.

What belongs here: the shapes that `layers` fills and `resolving` lays over each other, for any document: a
schema, the prefix of its variables, its rules. What does not: doing either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel

from gguf_assets.settings.keys import Path
from gguf_assets.settings.problems import Problem

DEFAULT: Final = "default"
COMMAND_LINE: Final = "command line"

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Contradiction:
    """Values that are not allowed together: `keys[0]` is to blame, the others made it so."""

    keys: tuple[str, ...]
    text: str
    allowed: str


@dataclass(frozen=True)
class Advice:
    """Values that are allowed and probably not meant: shown, and never in the way.

    Attributes:
        keys: the dotted keys concerned; the first is the one to change.
        text: what they lead to.
        hint: what to do about it.
    """

    keys: tuple[str, ...]
    text: str
    hint: str


@dataclass(frozen=True)
class Document(Generic[M]):
    """A configuration document.

    Attributes:
        model: its schema; a top-level key `environment` chooses among environments.
        active_file: name of the file in force.
        environment_file: name of an environment's file, with `{environment}` in it.
        prefix: how the generic variables begin, before `SECTION__KEY`.
        contradictions: the rules between keys.
        advice: what is allowed and probably not meant, given the settings and the origins of all keys.
    """

    model: type[M]
    active_file: str
    environment_file: str
    prefix: str
    contradictions: Callable[[M], Iterable[Contradiction]]
    advice: Callable[[M, Mapping[str, str]], Iterable[Advice]] = lambda settings, origins: ()


@dataclass(frozen=True)
class Source:
    """Where values come from: a layer's name and, in a file, the lines of its keys."""

    origin: str
    lines: Mapping[Path, int] = field(default_factory=dict)

    def at(self, path: Path) -> str:
        """Return where a key stands, for people."""
        line = self.lines.get(path)
        return self.origin if line is None else f"{self.origin}, line {line}"


@dataclass(frozen=True)
class Entry:
    """A value and where it came from: the layer, and for people the line in its file, too."""

    value: Any
    origin: str
    where: str


@dataclass
class Layer:
    """What one source says.

    Attributes:
        entries: values by key.
        secrets: values of keys that never stand in the tree.
        problems: what is wrong with the source itself.
        unreadable: nothing is known of what the source says.
    """

    entries: dict[Path, Entry] = field(default_factory=dict)
    secrets: dict[Path, Entry] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    unreadable: bool = False


@dataclass(frozen=True)
class Resolved(Generic[M]):
    """A valid configuration.

    Attributes:
        settings: the checked tree.
        origins: the layer of every dotted key.
        places: the same, with the line where the layer is a file.
        advice: what is allowed and probably not meant.
    """

    settings: M
    origins: Mapping[str, str]
    places: Mapping[str, str]
    advice: tuple[Advice, ...]
