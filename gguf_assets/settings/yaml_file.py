"""Reading a configuration file as YAML, so that a slip of the pen is said and never guessed at.

What belongs here: bytes to plain values, with YAML's traps closed: duplicate keys, numbers in base 60 or 8,
dates, aliases. What does not: what keys mean (`keys`, `layers`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from gguf_assets.settings.problems import shown

_LARGEST = 1_000_000  # bytes; a configuration has some thousand
_DEEPEST = 60  # levels; a configuration has a few


class FileProblem(Exception):
    """A file that holds no usable mapping; the text says why, without the file's name."""


class _PlainLoader(yaml.SafeLoader):
    """YAML with decimal numbers only and without dates: 12:30, 010 and 2025-01-01 are no traps."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._level = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event: yaml.AliasEvent = self.get_event()  # type: ignore[no-untyped-call]
            raise FileProblem(
                f"line {_line(event.start_mark)} uses an alias (*{event.anchor}), which is not supported"
            )
        if self._level == _DEEPEST:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise FileProblem(f"it is nested too deeply in line {_line(mark)}")
        self._level += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self._level -= 1
        return node

    def construct_plain_int(self, node: yaml.ScalarNode) -> int:
        return int(self.construct_scalar(node))

    def construct_plain_float(self, node: yaml.ScalarNode) -> float:
        return float(self.construct_scalar(node).lstrip("+").replace(".inf", "inf").replace(".nan", "nan"))


def _line(mark: Any) -> int:
    return int(mark.line) + 1


_PlainLoader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0].rpartition(":")[2] in ("bool", "null")]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"[-+]?[0-9]{1,18}\Z"), list("-+0123456789")
)
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"(?:[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan)\Z"),
    list("-+.0123456789"),
)
_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.construct_plain_int)
_PlainLoader.add_constructor("tag:yaml.org,2002:float", _PlainLoader.construct_plain_float)

RESOLVERS = _PlainLoader.yaml_implicit_resolvers
"""By first character: which plain texts are no text; whoever writes files needs them, too."""


@dataclass(frozen=True)
class ParsedFile:
    """What a file says.

    Attributes:
        values: the mapping it holds.
        lines: the line, from 1, of every key, by its sections and name.
    """

    values: dict[str, Any]
    lines: Mapping[tuple[str, ...], int]


def parse_yaml(content: bytes) -> ParsedFile:
    """Return the mapping that a file's content holds, and where its keys stand.

    Raises:
        FileProblem: no UTF-8, no YAML, duplicate keys, aliases, tags, keys that are no text, no mapping.
    """
    if len(content) > _LARGEST:
        raise FileProblem(f"it is {len(content)} bytes long, which no configuration is")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise FileProblem(f"it is not encoded in UTF-8 (line {line})") from None
    try:
        loader = _PlainLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                raise FileProblem("it is empty")
            if not isinstance(node, yaml.MappingNode):
                raise FileProblem("it holds no mapping of keys to values")
            _check_keys(node)
            lines = dict(_lines(node, ()))
            return ParsedFile(dict(loader.construct_document(node)), lines)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        # The snippet of the library's own text may show a secret of the file.
        where = "" if error.problem_mark is None else f" in line {_line(error.problem_mark)}"
        raise FileProblem(f"it is broken YAML{where}: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise FileProblem(f"it is broken YAML: {getattr(error, 'reason', 'it cannot be read')}") from None
    except (ValueError, OverflowError, AttributeError, TypeError):
        raise FileProblem("it is broken YAML: a value does not fit its tag") from None


def _check_keys(node: yaml.Node) -> None:
    for mapping in _mappings(node):
        lines: dict[str, int] = {}
        for key, _ in mapping.value:
            line = _line(key.start_mark)
            if key.tag != "tag:yaml.org,2002:str":
                raise FileProblem(f"the key in line {line} is no plain text; put it in quotes")
            if key.value in lines:
                name = shown(key.value)[1:-1]
                raise FileProblem(f"the key {name} stands twice, in lines {lines[key.value]} and {line}")
            lines[key.value] = line


def _lines(node: yaml.MappingNode, parent: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    for key, value in node.value:
        path = (*parent, key.value)
        yield path, _line(key.start_mark)
        if isinstance(value, yaml.MappingNode):
            yield from _lines(value, path)


def _mappings(node: yaml.Node) -> Iterator[yaml.MappingNode]:
    if isinstance(node, yaml.MappingNode):
        yield node
        for _, value in node.value:
            yield from _mappings(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _mappings(item)
