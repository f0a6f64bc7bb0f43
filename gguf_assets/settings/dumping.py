"""Writing a configuration as a YAML file that the loader reads back as the same tree.

What belongs here: values and comments as text. What does not: files (`files`), and showing a configuration to
people: what is written here is not masked.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from enum import Enum
from typing import Any

import yaml
from pydantic import BaseModel

from gguf_assets.settings.keys import DEEPEST, Key, Path, dotted, is_plain, keys_of
from gguf_assets.settings.yaml_file import RESOLVERS

_WIDTH = 100  # columns of a comment


class _Dumper(yaml.SafeDumper):
    """Writes what the loader reads, and texts so that no reader takes them for anything else."""

    yaml_implicit_resolvers = RESOLVERS

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        if not text.isprintable():
            style: str | None = '"'
        else:
            # To other readers of YAML, 12:30 is a number and 2025-01-01 a date.
            kind = _ELSEWHERE.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
            plain = kind == "tag:yaml.org,2002:str"
            style = None if plain else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", str(text), style)


_ELSEWHERE = yaml.resolver.Resolver()
_Dumper.add_representer(str, _Dumper.represent_text)


def to_yaml(settings: BaseModel, *, comments: bool = False) -> str:
    """Return a configuration as the text of a file: every key, in the order of declaration.

    Equal trees give equal texts; maps of free form are sorted by name. Secrets that come from variables are
    null; webhook addresses stand there as the tree has them (references `env:NAME` as references), so the
    text is for a file and not to be shown.

    Args:
        settings: the tree.
        comments: whether each key is preceded by what it means.

    Raises:
        ValueError: a map of free form holds what no file can say, such as bytes, nan or too many levels.
    """
    return "\n".join(_lines(settings, comments)) + "\n"


def _lines(settings: BaseModel, comments: bool) -> Iterator[str]:
    inside: Path = ()
    for path, key in keys_of(type(settings)).items():
        if path[:-1] != inside:
            inside = path[:-1]
            yield ""
            if comments and inside:
                yield from _comment((_at(settings, inside).__doc__ or "").partition("\n")[0], len(inside) - 1)
            if inside:
                yield f"{'  ' * (len(inside) - 1)}{inside[-1]}:"
        indent = "  " * len(inside)
        if comments:
            yield from _comment(_meaning(key), len(inside))
        value = _at(settings, path)
        if key.free and not is_plain(value, DEEPEST - len(path) - 1):
            raise ValueError(f"{dotted(path)} holds what no file can say")
        block = key.free and bool(value)
        text = _dumped({path[-1]: _plain(value)} if block else _plain(value), flow=not block)
        yield textwrap.indent(text, indent) if block else f"{indent}{path[-1]}: {text}"


def _dumped(value: Any, *, flow: bool) -> str:
    text: str = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=flow, allow_unicode=True, width=float("inf")
    )
    return text.removesuffix("\n").removesuffix("\n...")


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    return list(value) if isinstance(value, tuple) else value


def _at(settings: BaseModel, path: Path) -> Any:
    value: Any = settings
    for name in path:
        value = getattr(value, name)
    return value


def _meaning(key: Key) -> str:
    said = key.field.description or ""
    return f"{said} Allowed: {key.allowed}." if key.bounds or key.choices else said


def _comment(text: str, depth: int) -> Iterator[str]:
    indent = "  " * depth
    for line in textwrap.wrap(text, _WIDTH - len(indent)):
        yield f"{indent}# {line}"
