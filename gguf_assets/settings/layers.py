"""Layers of a configuration: what a file, the environment variables and the command line say, by key.

What belongs here: turning each source into values by key, with what is wrong with the source itself. What
does not: laying layers over each other (`resolving`), and finding files (`files`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from gguf_assets.masking import register_secret
from gguf_assets.settings.document import COMMAND_LINE, Document, Entry, Layer, M, Source
from gguf_assets.settings.keys import (
    DEEPEST,
    Path,
    dotted,
    find_key,
    is_plain,
    keys_of,
    nearest,
    read_json,
    sections_of,
)
from gguf_assets.settings.problems import FAILED, Problem, shown, wrong
from gguf_assets.settings.yaml_file import FileProblem, parse_yaml


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


def _add_mapping(
    layer: Layer, model: type[BaseModel], parent: Path, values: Mapping[str, Any], source: Source
) -> None:
    for name, value in values.items():
        _add(layer, model, (*parent, str(name)), value, source)


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
                _add(layer, model, (*path, str(name)), item, source)
        elif value is not None:
            layer.problems.append(wrong(key, value, f"must be {key.kind}", source.at(path)))
    elif key.free and not is_plain({path[-1]: value}, DEEPEST - len(path)):
        layer.problems.append(
            wrong(
                key,
                value,
                "must hold nothing but text, numbers of 64 bits, true, false, null, lists and mappings",
                source.at(path),
                allowed=f"at most {DEEPEST} levels of those",
            )
        )
    else:
        if key.secret:
            _register(value)
        layer.entries[path] = Entry(value, source.origin, source.at(path))


def _add_text(layer: Layer, document: Document[M], path: Path, text: str, variable: str) -> None:
    # Names of variables need not be text.
    origin = f"environment variable {variable.encode('utf-8', 'backslashreplace').decode()}"
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
