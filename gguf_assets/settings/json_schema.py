"""The JSON Schema of a configuration file, with which an editor completes and checks it.

It accepts whatever the loader accepts, and refuses unknown keys, wrong types and values out of range; rules
between keys are the loader's. What belongs here: the schema as plain JSON values. What does not: judging
files.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any, Final, get_args, get_origin

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import BaseModel

from gguf_assets.settings.fields import LogLevel, Switch
from gguf_assets.settings.keys import Key, keys_of
from gguf_assets.settings.reference import form_of, variables_of

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_SWITCH: Final = ("true", "false", "yes", "no", "on", "off", "0", "1")


def json_schema(model: type[BaseModel], title: str) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the files of a document."""
    return {"$schema": _DRAFT, "title": title, **_mapping(model, ())}


def _mapping(
    model: type[BaseModel], parent: tuple[str, ...], top: type[BaseModel] | None = None
) -> dict[str, Any]:
    top = top or model
    properties: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        annotation, path = field.annotation, (*parent, name)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            section = _mapping(annotation, path, top)
            # A section of which nothing is set may be left empty.
            properties[name] = {**section, "type": ["object", "null"]}
        else:
            properties[name] = _key(keys_of(top)[path])
    return {
        "description": " ".join((model.__doc__ or "").split()),
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def _key(key: Key) -> dict[str, Any]:
    schema: dict[str, Any] = {"description": _described(key), **_value(key)}
    default = key.field.get_default(call_default_factory=True)
    plain = default.value if isinstance(default, Enum) else default
    schema["default"] = list(plain) if isinstance(plain, tuple) else plain
    return schema


def _described(key: Key) -> str:
    facts = [key.field.description or ""]
    if key.unit is not None:
        facts.append(f"Unit: {key.unit}.")
    facts.append(f"Variables: {', '.join(variables_of(key))}.")
    if key.reload:
        facts.append("Takes effect at a reload of the code location.")
    return " ".join(facts)


def _value(key: Key) -> dict[str, Any]:
    annotation, metadata = key.field.annotation, key.field.metadata
    if key.environment_only:
        return {"type": "null"}
    if key.free:
        return {"type": ["object", "null"]}
    if get_origin(annotation) is tuple:
        items: dict[str, Any] = {"enum": list(key.choices)} if key.choices else _text(key)
        least = [limit.min_length for limit in metadata if isinstance(limit, MinLen)]
        return {"type": "array", "items": items, **({"minItems": least[0]} if least else {})}
    if key.choices:
        return _choice(key)
    if annotation is bool and Switch.__metadata__[0] in metadata:  # type: ignore[attr-defined]
        words = {"type": "string", "pattern": rf"^\s*({_in_any_case(_SWITCH)})\s*$"}
        return {"anyOf": [{"type": "boolean"}, {"enum": [0, 1]}, words]}
    if annotation in (int, float):
        return {"type": "integer" if annotation is int else "number", **_range(metadata)}
    return _text(key)


def _choice(key: Key) -> dict[str, Any]:
    choices = list(key.choices)
    if get_args(LogLevel)[1] not in key.field.metadata:
        return {"enum": choices}
    return {"anyOf": [{"enum": choices}, {"type": "string", "pattern": f"^({_in_any_case(choices)})$"}]}


def _in_any_case(words: Iterable[str]) -> str:
    """Return an expression for these words in capitals, small letters or both: JSON Schema has no flags."""
    letters = ("".join(f"[{letter.upper()}{letter.lower()}]" for letter in word) for word in words)
    return "|".join(letters)


def _range(metadata: list[Any]) -> dict[str, float]:
    names = {Ge: ("minimum", "ge"), Gt: ("exclusiveMinimum", "gt"), Le: ("maximum", "le")}
    return {
        names[type(limit)][0]: getattr(limit, names[type(limit)][1])
        for limit in metadata
        if type(limit) in names
    }


def _text(key: Key) -> dict[str, Any]:
    form = form_of(key)
    return {"type": "string"} if form is None else {"type": "string", "pattern": form.pattern}
