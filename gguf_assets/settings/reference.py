"""The reference of a document: every key with all there is to know of it, for people and for editors.

What belongs here: facts read off the schema and the shipped profiles, values as they are written in a file.
What does not: how a table looks (`printing_config`), the JSON Schema (`json_schema`), the pages around the
reference (`handbook`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path as FilePath
from typing import Any, Final, get_args, get_origin

from gguf_assets.masking import MASK, mask
from gguf_assets.settings.fields import (
    BaseUrl,
    Cron,
    HostName,
    LocalPath,
    MailAddress,
    TimeOfDay,
    WebhookTarget,
)
from gguf_assets.settings.files import shipped_file
from gguf_assets.settings.keys import Key, dotted, keys_of, value_at
from gguf_assets.settings.load import SYNC_DOCUMENT
from gguf_assets.settings.model import ENVIRONMENTS, SyncConfiguration
from gguf_assets.settings.resolving import resolve

_PLAIN = re.compile(r"[A-Za-z_/][\w./@-]*(?::[\w./@-]+)*\Z", re.ASCII)
_WORDS_OF_YAML: Final = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})

_SEEN = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]"  # anything that is printed, about
_HOST = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_LOOPBACK = r"([Ll][Oo][Cc][Aa][Ll][Hh][Oo][Ss][Tt]|127\.[0-9.]+|\[[0-9A-Fa-f:.]+\])"
_CRON_NUMBERS = (
    r"[0-5]?[0-9]",
    r"([01]?[0-9]|2[0-3])",
    r"(0?[1-9]|[12][0-9]|3[01])",
    r"(0?[1-9]|1[0-2])",
    r"0?[0-7]",
)


def _cron_pattern() -> str:
    fields, between = [], r"\s+"
    for number in _CRON_NUMBERS:
        part = rf"(\*|{number}(-{number})?)(/[1-9][0-9]?)?"
        fields.append(rf"{part}(,{part})*")
    return rf"^\s*{between.join(fields)}\s*$"


@dataclass(frozen=True)
class Form:
    """How a text must look.

    Attributes:
        name: in words, singular.
        pattern: a regular expression of JSON Schema which accepts everything that the loader accepts.
    """

    name: str
    pattern: str


_FORMS: Final[tuple[tuple[Any, Form], ...]] = (
    (BaseUrl, Form("an address scheme://host[:port]", r"^[Hh][Tt][Tt][Pp][Ss]?://[^\s/?#@]+/*\??#?$")),
    (
        WebhookTarget,
        Form(
            "https address or env:NAME",
            r"^([Hh][Tt][Tt][Pp][Ss]://\S+|env:[A-Za-z_][A-Za-z0-9_]*"
            rf"|[Hh][Tt][Tt][Pp]://([^\s/?#@]*@)?{_LOOPBACK}(:[0-9]*)?([/?#]\S*)?)$",
        ),
    ),
    (HostName, Form("host name", rf"^({_HOST}(\.{_HOST})*|[0-9A-Fa-f:.]+(%[^%]+)?)$")),
    (MailAddress, Form("mail address", r"^[^\s@,;<>\x00-\x1f]+@[^\s@,;<>]+\.[^\s@,;<>]+$")),
    (TimeOfDay, Form("a time of day HH:MM in UTC", r"^([01][0-9]|2[0-3]):[0-5][0-9]$")),
    (Cron, Form("five cron fields of numbers, UTC", _cron_pattern())),
    (LocalPath, Form("a local path", rf"^(?![A-Za-z][A-Za-z0-9+.\-]*://)(?=.*\S){_SEEN}+$")),
)


@dataclass(frozen=True)
class KeyFacts:
    """All there is to know of a key.

    Attributes:
        key: the key itself.
        default: its default, as a file would say it.
        allowed: type and range, in words.
        profiles: its value in each environment without any file, as a file would say it.
        variables: all environment variables that set it, in order of precedence.
    """

    key: Key
    default: str
    allowed: str
    profiles: Mapping[str, str]
    variables: tuple[str, ...]

    @property
    def name(self) -> str:
        """The dotted key."""
        return dotted(self.key.path)

    @property
    def description(self) -> str:
        """What it does."""
        return self.key.field.description or ""

    @property
    def effect(self) -> str:
        """When a change takes effect (`next sync` or `reload` of the code location), or why it has none."""
        if self.key.free:
            return "kept, never interpreted"
        return "reload" if self.key.reload else "next sync"

    @property
    def differing(self) -> dict[str, str]:
        """The environments whose value is not the default."""
        return {name: value for name, value in self.profiles.items() if value != self.default}

    def as_json(self) -> dict[str, Any]:
        """Return the facts as plain JSON values."""
        return {
            "key": self.name,
            "allowed": self.allowed,
            "default": self.default,
            "unit": self.key.unit,
            "variables": list(self.variables),
            "effect": self.effect,
            "profiles": dict(self.profiles),
            "description": self.description,
        }


def reference() -> list[KeyFacts]:
    """Return all keys of the sync configuration, in the order of their declaration."""
    defaults = SyncConfiguration()
    profiles = {name: shipped_settings(name) for name in ENVIRONMENTS}
    return [
        KeyFacts(
            key,
            written(value_at(defaults, key.path)),
            allowed_of(key),
            {name: written(value_at(settings, key.path)) for name, settings in profiles.items()},
            variables_of(key),
        )
        for key in keys_of(SyncConfiguration).values()
    ]


def shipped_settings(environment: str) -> SyncConfiguration:
    """Return the settings of an environment where there is no file."""
    return resolve(SYNC_DOCUMENT, [shipped_file(SYNC_DOCUMENT, environment).layer]).settings


def shipped_files() -> list[FilePath]:
    """Return where the shipped profiles lie, by name."""
    folder = FilePath(str(resources.files("gguf_assets.settings") / "profiles"))
    return sorted(folder.glob("*.yaml"))


def variables_of(key: Key) -> tuple[str, ...]:
    """Return all environment variables that set a key, in order of precedence."""
    generic = SYNC_DOCUMENT.prefix + "__".join(key.path).upper()
    return (*key.variables, generic)


def form_of(key: Key) -> Form | None:
    """Return how the texts of a key, alone or in a list, must look; None where any will do."""
    annotation, metadata = key.field.annotation, key.field.metadata
    if get_origin(annotation) is tuple:
        item = get_args(annotation)[0]
        annotation, metadata = (
            get_args(item)[0] if get_args(item) else item,
            list(getattr(item, "__metadata__", [])),
        )
    for alias, form in _FORMS:
        if annotation is get_args(alias)[0] and alias.__metadata__[0] in metadata:
            return form
    return None


def allowed_of(key: Key) -> str:
    """Return what may stand at a key, in words."""
    form = form_of(key)
    if key.environment_only:
        return "null in files"
    if form is None:
        return key.allowed
    if get_origin(key.field.annotation) is tuple:
        return f"a list of: {form.name}"
    return form.name


def written(value: Any, key: Key | None = None) -> str:
    """Return a value as a file would say it on one line, without any secret."""
    if key is not None and key.secret and value:
        return MASK
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, str):
        masked = mask(str(value))
        plain = _PLAIN.match(masked) and masked.lower() not in _WORDS_OF_YAML
        return masked if plain else json.dumps(masked, ensure_ascii=False)
    if isinstance(value, Mapping):
        return mask(json.dumps(value, ensure_ascii=False, default=str))
    return (
        {True: "true", False: "false", None: "null"}[value]
        if isinstance(value, (bool, type(None)))
        else repr(value)
    )


def by_section(facts: list[KeyFacts]) -> Iterator[tuple[str, str, list[KeyFacts]]]:
    """Yield each section's name (empty for the top level), description and keys."""
    sections = dict.fromkeys(fact.key.path[:-1] for fact in facts)
    for section in sections:
        text = "The keys that belong to no section."
        if section:
            field = SyncConfiguration.model_fields[section[0]]
            assert field.annotation is not None
            text = (field.annotation.__doc__ or "").strip().partition("\n\n")[0]
        yield dotted(section), text, [fact for fact in facts if fact.key.path[:-1] == section]
