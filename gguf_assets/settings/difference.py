"""What two configurations say differently, key by key, without a secret in it.

What belongs here: the values of a configuration as people see them, and comparing them. What does not:
reading configurations (`checking`) and recording changes (`audit`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gguf_assets.masking import MASK
from gguf_assets.settings.keys import Key, dotted, keys_of, value_at
from gguf_assets.settings.model import SyncConfiguration
from gguf_assets.settings.reference import written

_SECRET_NAME: Final = re.compile(r"token|secret|passw|api_?key|credential", re.IGNORECASE)


@dataclass(frozen=True)
class Change:
    """One key and its two values.

    Attributes:
        key: the dotted key; below a free map the map's key and the name in it.
        old: the value before, as shown; None where the key was not there.
        new: the value after, as shown; None where the key is gone.
    """

    key: str
    old: str | None
    new: str | None


@dataclass(frozen=True)
class Snapshot:
    """All values of a configuration as they may be shown and kept.

    Attributes:
        values: the text of every dotted key, in the order of declaration, secrets masked.
        hidden: SHA-256 of the values that were masked, so that a change of one is seen.
    """

    values: Mapping[str, str]
    hidden: Mapping[str, str]


def snapshot(settings: SyncConfiguration) -> Snapshot:
    """Return all values of a configuration as they may be shown and kept."""
    values: dict[str, str] = {}
    hidden: dict[str, str] = {}
    for key, name, value in _items(settings):
        known = _without_secrets(name.rpartition(".")[2], value) if key.free else value
        values[name] = written(known, key)
        if MASK in values[name]:
            plain = json.dumps(value, sort_keys=True, default=str)
            hidden[name] = hashlib.sha256(plain.encode("ascii")).hexdigest()
    return Snapshot(values, hidden)


def differences(old: SyncConfiguration | None, new: SyncConfiguration) -> list[Change]:
    """Return what differs, in the order of declaration.

    Args:
        old: the configuration before; None for none, which means the code's defaults.
        new: the configuration after.
    """
    return changes_between(snapshot(SyncConfiguration() if old is None else old), snapshot(new))


def changes_between(old: Snapshot, new: Snapshot) -> list[Change]:
    """Return what differs, in the order of declaration, keys that are gone last."""
    names = [*new.values, *(name for name in old.values if name not in new.values)]
    return [
        Change(name, old.values.get(name), new.values.get(name))
        for name in names
        if old.values.get(name) != new.values.get(name) or old.hidden.get(name) != new.hidden.get(name)
    ]


def needs_reload(changes: Iterable[Change]) -> list[str]:
    """Return the changed keys that take effect only when the code location is loaded anew."""
    reloaded = {dotted(key.path) for key in keys_of(SyncConfiguration).values() if key.reload}
    return [change.key for change in changes if change.key in reloaded]


def _items(settings: SyncConfiguration) -> Iterator[tuple[Key, str, Any]]:
    for key in keys_of(SyncConfiguration).values():
        value = value_at(settings, key.path)
        if key.free:
            yield from ((key, f"{dotted(key.path)}.{name}", item) for name, item in sorted(value.items()))
        else:
            yield key, dotted(key.path), value


def _without_secrets(name: str, value: Any) -> Any:
    """Return a free value without what its name says is a secret; nothing else tells one there."""
    if isinstance(value, Mapping):
        return {str(inner): _without_secrets(str(inner), item) for inner, item in sorted(value.items())}
    if isinstance(value, list):
        return [_without_secrets(name, item) for item in value]
    return MASK if isinstance(value, str) and value and _SECRET_NAME.search(name) else value
