"""Layers of a configuration and what holds in the end: code default < file < environment < command line.

What belongs here: turning each source into values by key, laying them over each other, checking the result.
Works for any document: a schema, the prefix of its variables, its rules. What does not: finding files
(`load`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from gguf_assets.masking import register_secret
from gguf_assets.settings.keys import Key, Path, dotted, find_key, keys_of, nearest, read_json, sections_of
from gguf_assets.settings.problems import FAILED, InvalidSettings, Problem, invalid_environment, shown
from gguf_assets.settings.yaml_file import FileProblem, parse_yaml

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


def file_layer(model: type[BaseModel], content: bytes, origin: str, *, lines: bool = True) -> Layer:
    """Return what a file says; `lines` of its keys are named where people can change them."""
    layer = Layer()
    try:
        parsed = parse_yaml(content)
    except FileProblem as problem:
        return unreadable_layer(f"{FAILED}The {origin} cannot be used: {problem}")
    _add_mapping(layer, model, (), parsed.values, Source(origin, parsed.lines if lines else {}))
    return layer


def unreadable_layer(headline: str) -> Layer:
    """Return a layer that says nothing but what is wrong with it."""
    return Layer(problems=[Problem(headline)], unreadable=True)


def environment_layer(document: Document[M], environ: Mapping[str, str]) -> Layer:
    """Return what environment variables say; empty ones count as unset.

    A key's named variables come before its generic one, in the order of its declaration.
    """
    layer = Layer()
    for name in sorted(environ):
        if name.startswith(document.prefix) and environ[name].strip():
            path = tuple(name.removeprefix(document.prefix).lower().split("__"))
            _add_text(layer, document, path, environ[name], name)
    for key in keys_of(document.model).values():
        for name in reversed(key.variables):
            if environ.get(name, "").strip():
                _add_text(layer, document, key.path, environ[name], name)
    return layer


def override_layer(model: type[BaseModel], overrides: Mapping[str, Any]) -> Layer:
    """Return what dotted keys given on the command line or in the Launchpad say; None means not given."""
    layer = Layer()
    for name, value in overrides.items():
        if value is None:
            continue
        path = tuple(name.split("."))
        key = find_key(model, path)
        if isinstance(value, str) and key is not None and key.path == path:
            value = key.read(value)
        _add(layer, model, path, value, Source(COMMAND_LINE))
    return layer


def resolve(document: Document[M], layers: Sequence[Layer]) -> Resolved[M]:
    """Lay layers over each other, the last one on top, and check the result.

    Raises:
        InvalidSettings: with all problems of all layers and of the result.
    """
    entries: dict[Path, Entry] = {}
    for layer in layers:
        entries.update(layer.entries)
    problems = [problem for layer in layers for problem in layer.problems]
    settings, wrong = _build(document.model, entries)
    problems += wrong.values()
    if not any(layer.unreadable for layer in layers):
        # Rules between keys are judged with the default in place of a value that is wrong by itself.
        blamed = {dotted(path) for path in wrong}
        problems += [
            _contradicted(document.model, rule, settings, entries)
            for rule in document.contradictions(settings)
            if blamed.isdisjoint(rule.keys)
        ]
    if problems:
        raise InvalidSettings(problems)
    origins = {dotted(path): DEFAULT for path in keys_of(document.model)}
    places = origins | {dotted(path): entry.where for path, entry in entries.items()}
    origins |= {dotted(path): entry.origin for path, entry in entries.items()}
    return Resolved(settings, origins, places, tuple(document.advice(settings, origins)))


def _add_mapping(
    layer: Layer, model: type[BaseModel], parent: Path, values: Mapping[str, Any], source: Source
) -> None:
    for name, value in values.items():
        _add(layer, model, (*parent, name), value, source)


def _add(layer: Layer, model: type[BaseModel], path: Path, value: Any, source: Source) -> None:
    key = find_key(model, path)
    if key is None and path in sections_of(model):
        if isinstance(value, Mapping):
            _add_mapping(layer, model, path, value, source)
        elif value is not None:
            layer.problems.append(_no_section(path, value, source.at(path)))
    elif key is None:
        layer.problems.append(_unknown(model, path, source.at(path)))
    elif key.free and key.path == path:
        if isinstance(value, Mapping):
            for name, item in value.items():
                inner = (*path, str(name))
                layer.entries[inner] = Entry(item, source.origin, source.at(inner))
        elif value is not None:
            layer.problems.append(_wrong(key, value, f"must be {key.kind}", source.at(path)))
    else:
        if key.secret:
            _register(value)
        layer.entries[path] = Entry(value, source.origin, source.at(path))


def _add_text(layer: Layer, document: Document[M], path: Path, text: str, variable: str) -> None:
    origin = f"environment variable {variable}"
    key = find_key(document.model, path)
    if key is not None and key.environment_only:
        _register(text)
        layer.secrets[path] = Entry(text.strip(), origin, origin)
    elif key is None:
        layer.problems.append(_unknown_variable(document, path, origin))
    elif key.free:
        _add(layer, document.model, path, read_json(text.strip()), Source(origin))
    else:
        _add(layer, document.model, path, key.read(text), Source(origin))


def _register(value: Any) -> None:
    for text in value if isinstance(value, (list, tuple)) else [value]:
        if isinstance(text, str) and not text.startswith("env:"):
            register_secret(text)


def _build(model: type[M], entries: Mapping[Path, Entry]) -> tuple[M, dict[Path, Problem]]:
    """Return the typed tree, with defaults in place of wrong values, and the problem of each of those."""
    try:
        return model.model_validate(_nested(entries)), {}
    except ValidationError as error:
        wrong: dict[Path, Problem] = {}
        for detail in error.errors():
            key = _blamed(model, detail["loc"])
            if key.path not in wrong:
                wrong[key.path] = _invalid(key, detail, entries[key.path].where)
        return model.model_validate(_nested({p: e for p, e in entries.items() if p not in wrong})), wrong


def _blamed(model: type[BaseModel], location: tuple[int | str, ...]) -> Key:
    keys = keys_of(model)
    path = tuple(str(part) for part in location)
    return next(keys[path[:length]] for length in range(len(path), 0, -1) if path[:length] in keys)


def _nested(entries: Mapping[Path, Entry]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, entry in entries.items():
        branch = tree
        for name in path[:-1]:
            branch = branch.setdefault(name, {})
        branch[path[-1]] = entry.value
    return tree


def _invalid(key: Key, detail: Any, origin: str) -> Problem:
    value = detail["input"]
    if detail["type"] == "value_error":
        return _wrong(key, value, str(detail["ctx"]["error"]), origin, allowed=None)
    if detail["type"].startswith(("greater_than", "less_than")):
        return _wrong(key, value, f"must be {key.bounds}", origin)
    if detail["type"] == "too_short":
        return _wrong(key, [], "must not be empty", origin, allowed=None)
    if key.path == ("environment",):
        return Problem(invalid_environment(value, key.choices), dotted(key.path), shown(value), origin=origin)
    return _wrong(key, value, f"must be {key.allowed}", origin)


_UNSET: Final = object()


def _wrong(key: Key, value: Any, text: str, origin: str, *, allowed: Any = _UNSET) -> Problem:
    return Problem(
        f"{FAILED}{key.label} {text}",
        dotted(key.path),
        shown(value, key),
        key.allowed if allowed is _UNSET else allowed,
        origin,
    )


def _contradicted(
    model: type[BaseModel], rule: Contradiction, settings: BaseModel, entries: Mapping[Path, Entry]
) -> Problem:
    path = tuple(rule.keys[0].split("."))
    value: Any = settings
    for name in path:
        value = getattr(value, name)
    entry = entries.get(path)
    key = keys_of(model)[path]
    return Problem(
        f"{FAILED}{rule.text}",
        rule.keys[0],
        shown(value, key),
        rule.allowed,
        DEFAULT if entry is None else entry.where,
    )


def _no_section(path: Path, value: Any, origin: str) -> Problem:
    return Problem(
        f"{FAILED}{dotted(path)} is a section and must hold keys", dotted(path), shown(value), None, origin
    )


def _unknown(model: type[BaseModel], path: Path, origin: str) -> Problem:
    near = nearest(model, path)
    name = shown(dotted(path))[1:-1]
    return Problem(
        f"{FAILED}Unknown key {name}",
        name,
        origin=origin,
        hint=None if near is None else f"did you mean {dotted(near)}?",
    )


def _unknown_variable(document: Document[M], path: Path, origin: str) -> Problem:
    if path in sections_of(document.model):
        hint: str | None = (
            f"a whole section cannot be set; use {document.prefix}{'__'.join(path).upper()}__<KEY>"
        )
    else:
        near = nearest(document.model, path)
        hint = None if near is None else f"did you mean {document.prefix}{'__'.join(near).upper()}?"
    return Problem(f"{FAILED}Unknown key {shown(dotted(path))[1:-1]}", None, origin=origin, hint=hint)
