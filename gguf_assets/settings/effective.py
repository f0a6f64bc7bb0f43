"""The settings of a process key by key, each with the layer that decided it: what `config show` shows.

What belongs here: a flat, masked view of loaded settings. What does not: loading them (`load`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gguf_assets.masking import MASK
from gguf_assets.settings.difference import snapshot
from gguf_assets.settings.document import Advice
from gguf_assets.settings.keys import Path, dotted, keys_of, value_at
from gguf_assets.settings.load import LoadedSettings
from gguf_assets.settings.model import SyncConfiguration
from gguf_assets.settings.reference import written


@dataclass(frozen=True)
class EffectiveKey:
    """One key as it is in force.

    Attributes:
        path: its sections and name.
        value: its value as a file would say it, masked (`security.mask_sensitive_data`).
        origin: the layer that decided it.
        place: the same, with the line where it is a file.
        changed: it has another value than the code's default.
    """

    path: Path
    value: str
    origin: str
    place: str
    changed: bool


@dataclass(frozen=True)
class Effective:
    """All keys as they are in force.

    Attributes:
        facts: which file applies and which folders are used, for people, by name.
        lines: the keys, in the order of their declaration.
        advice: what is allowed and probably not meant.
    """

    facts: Mapping[str, str]
    lines: tuple[EffectiveKey, ...]
    advice: tuple[Advice, ...]

    def as_json(self, *, changed: bool = False) -> dict[str, Any]:
        """Return all of it, or only the keys that are not as by default, as plain JSON values."""
        return {
            **{name.replace(" ", "_"): value for name, value in self.facts.items()},
            "settings": {
                dotted(line.path): {"value": line.value, "origin": line.origin, "place": line.place}
                for line in self.lines
                if line.changed or not changed
            },
            "warnings": [{"keys": list(a.keys), "text": a.text, "hint": a.hint} for a in self.advice],
        }


def effective(loaded: LoadedSettings) -> Effective:
    """Return the settings of a process key by key."""
    defaults, described = SyncConfiguration(), snapshot(loaded.settings)
    lines: list[EffectiveKey] = []
    for path, key in keys_of(SyncConfiguration).items():
        name = dotted(path)
        value, default = value_at(loaded.settings, path), value_at(defaults, path)
        if key.environment_only and loaded.token is not None:
            source = loaded.token_source or ""
            lines.append(EffectiveKey(path, MASK, source, source, changed=True))
            continue
        if key.free:
            for inner, content in value.items():
                part = (*path, str(inner))
                where = dotted(part)
                # What is a secret in there only its name tells.
                text = described.values[where] if where in described.hidden else written(content)
                lines.append(
                    EffectiveKey(part, text, loaded.origins[where], loaded.places[where], changed=True)
                )
            if value:
                continue
        shown = written(value, key)
        if key.secret and value and not loaded.settings.security.mask_sensitive_data:
            shown = json.dumps(value)
        lines.append(
            EffectiveKey(path, shown, loaded.origins[name], loaded.places[name], changed=value != default)
        )
    facts = {
        "environment": loaded.settings.environment,
        "applies": loaded.source,
        "configuration folder": str(loaded.config_dir),
        "data folder": str(loaded.data_dir),
        "state folder": str(loaded.state_dir),
    }
    return Effective(facts, tuple(lines), loaded.advice)
