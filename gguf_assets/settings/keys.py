"""The keys of a document's schema: what each may hold, in words, and which variables override it.

What belongs here: reading a pydantic model as a flat table of keys, and a variable's text as the type a key
has. What does not: judging values (pydantic does) and layers (`layers`).
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from math import isfinite
from types import NoneType
from typing import Any, Final, Literal, cast, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel
from pydantic.fields import FieldInfo

Path = tuple[str, ...]
"""A key as its sections and name, outermost first."""

DEEPEST: Final = 50
"""Levels that a map of free form may have."""

_LEAST, _MOST = -(2**63), 2**64 - 1  # what whole numbers others can read
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}\Z")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?\Z")


def dotted(path: Path) -> str:
    """Return a key as users write it."""
    return ".".join(path)


@dataclass(frozen=True)
class Key:
    """One setting of a schema.

    Attributes:
        path: its sections and name.
        field: its declaration.
        free: it is a map whose content is not interpreted.
        environment_only: a secret whose value never stands in the tree.
        secret: its values are never shown.
        variables: named environment variables that override it, in order of precedence.
        unit: what a number counts; None where it counts nothing.
        reload: a change takes effect when the code location is loaded anew; else at the next sync.
    """

    path: Path
    field: FieldInfo
    free: bool
    environment_only: bool
    secret: bool
    variables: tuple[str, ...]
    unit: str | None
    reload: bool

    @property
    def label(self) -> str:
        """The name as the subject of a sentence."""
        return self.path[-1].replace("_", " ").capitalize()

    @property
    def choices(self) -> tuple[str, ...]:
        """The words allowed, alone or in a list; empty where values are not words of a fixed set."""
        return _choices(self.field.annotation)

    @property
    def kind(self) -> str:
        """What values are, as in `must be …`."""
        kinds: dict[Any, str] = {
            bool: "true or false",
            int: "a whole number",
            float: "a number",
            dict: "a mapping of keys to values",
            tuple: "a list",
            NoneType: "null",
        }
        annotation = self.field.annotation
        if self.choices and get_origin(annotation) is not tuple:
            return "one of " + ", ".join(self.choices)
        return kinds.get(get_origin(annotation) or annotation, "text")

    @property
    def bounds(self) -> str | None:
        """The range of a number, as in `must be …`; None where there is none."""
        low = above = high = None
        for limit in self.field.metadata:
            if isinstance(limit, Ge):
                low = limit.ge
            elif isinstance(limit, Gt):
                above = limit.gt
            elif isinstance(limit, Le):
                high = limit.le
        if high is None and (above == 0 or low == 1):
            return "positive"
        if low is not None and high is not None:
            return f"between {low:.9g} and {high:.9g}"
        words = (("above", above), ("at least", low), ("at most", high))
        return " and ".join(f"{word} {limit:.9g}" for word, limit in words if limit is not None) or None

    @property
    def allowed(self) -> str:
        """What may stand here, in a few words."""
        if get_origin(self.field.annotation) is tuple and self.choices:
            return "a list of " + ", ".join(self.choices)
        if self.bounds is None:
            return self.kind
        return (
            self.kind.replace("a ", "a positive ", 1)
            if self.bounds == "positive"
            else f"{self.kind} {self.bounds}"
        )

    def read(self, text: str) -> Any:
        """Return what an environment variable's or option's text means here; the text itself if nothing."""
        annotation, stripped = self.field.annotation, text.strip()
        if annotation is int and _WHOLE.match(stripped):
            return int(stripped)
        if annotation is float and _NUMBER.match(stripped):
            return float(stripped)
        if get_origin(annotation) is tuple and not stripped.startswith("["):
            return [item for item in map(str.strip, stripped.split(",")) if item]
        if get_origin(annotation) in (tuple, dict):
            return read_json(stripped)
        return stripped


def read_json(text: str) -> Any:
    """Return what a JSON text means; the text itself if it is none."""
    try:
        return json.loads(text, parse_constant=_no_json)
    except (ValueError, RecursionError):
        return text


def _no_json(word: str) -> None:
    raise ValueError(f"{word} is a word and no number")


def is_plain(value: Any, deepest: int) -> bool:
    """Return whether a value can be said in JSON and YAML alike, within so many levels."""
    level = [value]
    for _ in range(deepest + 1):
        below: list[Any] = []
        for item in level:
            if isinstance(item, Mapping):
                below += [*item, *item.values()]
                if not all(isinstance(name, str) for name in item):
                    return False
            elif isinstance(item, list):
                below += item
            elif isinstance(item, str):
                if not _is_unicode(item):
                    return False
            elif isinstance(item, int):
                if not _LEAST <= item <= _MOST:
                    return False
            elif item is not None and not (isinstance(item, float) and isfinite(item)):
                return False
        if not below:
            return True
        level = below
    return False


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@lru_cache
def keys_of(model: type[BaseModel]) -> dict[Path, Key]:
    """Return all keys of a schema in the order of their declaration."""
    return {key.path: key for key in _keys(model, ())}


@lru_cache
def sections_of(model: type[BaseModel]) -> frozenset[Path]:
    """Return all sections of a schema."""
    return frozenset(path[:length] for path in keys_of(model) for length in range(1, len(path)))


def find_key(model: type[BaseModel], path: Path) -> Key | None:
    """Return the key that a path leads to, or the free map that it leads into."""
    keys = keys_of(model)
    return keys.get(path) or next(
        (key for length in range(1, len(path)) if (key := keys.get(path[:length])) is not None and key.free),
        None,
    )


def value_at(settings: BaseModel, path: Path) -> Any:
    """Return the value of a key."""
    value: Any = settings
    for name in path:
        value = getattr(value, name)
    return value


def nearest(model: type[BaseModel], path: Path) -> Path | None:
    """Return the key or section that was probably meant: among the neighbours first, then anywhere."""
    known = [*keys_of(model), *sorted(sections_of(model))]
    neighbours = [other for other in known if other[:-1] == path[:-1]]
    return _closest(path[-1], neighbours) or _closest(path[-1], known)


def _closest(name: str, paths: Iterable[Path]) -> Path | None:
    by_name = {path[-1]: path for path in reversed(list(paths))}
    found = difflib.get_close_matches(name.lower(), by_name, n=1, cutoff=0.75)
    return by_name[found[0]] if found else None


def _keys(model: type[BaseModel], parent: Path) -> Iterator[Key]:
    for name, field in model.model_fields.items():
        annotation, path = field.annotation, (*parent, name)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from _keys(annotation, path)
            continue
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        yield Key(
            path=path,
            field=field,
            free=get_origin(annotation) is dict,
            environment_only=annotation is NoneType,
            secret=bool(extra.get("secret")),
            variables=tuple(cast("list[str]", extra.get("env", []))),
            unit=cast("str | None", extra.get("unit")),
            reload=bool(extra.get("reload")),
        )


def _choices(annotation: Any) -> tuple[str, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if get_origin(annotation) is tuple:
        return _choices(get_args(annotation)[0])
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return tuple(member.value for member in annotation)
    return ()
