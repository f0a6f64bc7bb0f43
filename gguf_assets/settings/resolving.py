"""What holds in the end: code default < file < environment < command line, checked as a whole.

What belongs here: laying layers over each other, and turning what pydantic and the rules say against the
result into problems. What does not: reading the layers (`layers`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from gguf_assets.settings.document import DEFAULT, Contradiction, Document, Entry, Layer, M, Resolved
from gguf_assets.settings.keys import Key, Path, dotted, keys_of, value_at
from gguf_assets.settings.problems import (
    FAILED,
    InvalidSettings,
    Problem,
    invalid_environment,
    shown,
    wrong,
)


def resolve(document: Document[M], layers: Sequence[Layer]) -> Resolved[M]:
    """Lay layers over each other, the last one on top, and check the result.

    Raises:
        InvalidSettings: with all problems of all layers and of the result.
    """
    entries = _laid_over(layers)
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


def _laid_over(layers: Iterable[Layer]) -> dict[Path, Entry]:
    """Return what holds in the end, in order of precedence.

    Only in a map of free form can one key lie within another one; there the later layer wins, too.
    """
    entries: dict[Path, Entry] = {}
    for layer in layers:
        for path, entry in layer.entries.items():
            entries.pop(path, None)
            entries[path] = entry
    rank = {path: number for number, path in enumerate(entries)}
    lost: set[Path] = set()
    for path in entries:
        for above in (path[:length] for length in range(1, len(path))):
            if above in rank and rank[above] > rank[path]:
                lost.add(path)
            elif above in rank and not isinstance(entries[above].value, Mapping):
                lost.add(above)
    return {path: entry for path, entry in entries.items() if path not in lost}


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
            inner = branch.get(name)
            # What a map of free form holds belongs to its layer: a key within it goes into a copy.
            branch[name] = dict(inner) if isinstance(inner, Mapping) else {}
            branch = branch[name]
        branch[path[-1]] = entry.value
    return tree


def _invalid(key: Key, detail: Any, origin: str) -> Problem:
    value = detail["input"]
    if detail["type"] == "value_error":
        return wrong(key, value, str(detail["ctx"]["error"]), origin, allowed=None)
    if detail["type"].startswith(("greater_than", "less_than")):
        return wrong(key, value, f"must be {key.bounds}", origin)
    if detail["type"] == "too_short":
        return wrong(key, [], "must not be empty", origin, allowed=None)
    if key.path == ("environment",):
        return Problem(invalid_environment(value, key.choices), dotted(key.path), shown(value), origin=origin)
    return wrong(key, value, f"must be {key.allowed}", origin)


def _contradicted(
    model: type[BaseModel], rule: Contradiction, settings: BaseModel, entries: Mapping[Path, Entry]
) -> Problem:
    path = tuple(rule.keys[0].split("."))
    entry = entries.get(path)
    key = keys_of(model)[path]
    return Problem(
        f"{FAILED}{rule.text}",
        rule.keys[0],
        shown(value_at(settings, path), key),
        rule.allowed,
        DEFAULT if entry is None else entry.where,
    )
