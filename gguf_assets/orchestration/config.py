"""What can be chosen in the Launchpad and on the command line for one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

import dagster as dg
from pydantic import Field

from gguf_assets.catalogue.sync_plan import SyncMode
from gguf_assets.errors import ErrorCategory, Refused
from gguf_assets.masking import mask
from gguf_assets.settings.document import COMMAND_LINE
from gguf_assets.settings.keys import find_key
from gguf_assets.settings.model import SyncConfiguration
from gguf_assets.settings.problems import FAILED, InvalidSettings, Problem, shown

DEFAULT_DETAILS = "default"
"""The `details` option that leaves the number of requests to the settings."""


class ModeChoice(Enum):
    """How a run may be asked for."""

    # Dagster shows an enumeration by the names of its members, so they are spelled like the values.
    auto = SyncMode.AUTO.value
    incremental = SyncMode.INCREMENTAL.value
    full = SyncMode.FULL.value


class SyncConfig(dg.Config):
    """Options of `hub_listing`; everything after it reads the plan from the capture."""

    mode: ModeChoice = Field(
        default=ModeChoice.auto,
        description="auto: the settings decide · full: all fields, everything processed again · "
        "incremental: a light census, details of what changed",
    )
    force: bool = Field(
        default=False,
        description="Full, whatever mode and history say; stronger than every other option and setting.",
    )
    refetch: bool = Field(
        default=False, description="Walk the Hub again although the day has a complete capture."
    )
    details: str = Field(
        default=DEFAULT_DETAILS,
        description="Detail requests of this run: default (the setting "
        "sync_behavior.detail_requests_per_run), all, none, or a number.",
    )


class PublishConfig(dg.Config):
    """Options of `published_catalogue`."""

    replace: bool = Field(
        default=False,
        description="Replace a frozen day by other content; later days must then be derived again.",
    )


def detail_limit(text: str, default: int) -> int | None:
    """Return the request limit that a `details` option means; None for all.

    Raises:
        Refused: it is neither a number nor one of the words.
    """
    words = {DEFAULT_DETAILS: default, "none": 0, "all": None}
    if text in words:
        return words[text]
    if text.isascii() and text.isdecimal():
        return int(text)
    raise Refused(
        f"details={text!r} is not allowed: use all, none or a number of requests from 0",
        remedy="For example: gguf-assets sync --details 500",
    )


def parsed_overrides(texts: Sequence[str]) -> dict[str, str]:
    """Return the settings that `--set KEY=VALUE` asks for, by dotted key.

    Raises:
        Refused: a text is not of that form, or a key is given two values.
    """
    overrides: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key:
            raise _malformed(f"--set {shown(text)} is not of the form KEY=VALUE")
        if overrides.get(key, value) != value:
            raise _malformed(f"--set gives {mask(key)} two values")
        overrides[key] = value
    return overrides


def checked_overrides(overrides: Mapping[str, str]) -> Mapping[str, str]:
    """Return overrides as they are, unless they hold a secret: run configurations are stored and shown.

    Raises:
        InvalidSettings: a secret is among them.
    """
    problems = [
        Problem(
            f"{FAILED}{name} is a secret, and what is set for one run is stored and shown with it",
            name,
            shown(value, key),
            origin=COMMAND_LINE,
            hint="set it in an environment variable",
        )
        for name, value in overrides.items()
        if (key := find_key(SyncConfiguration, tuple(name.split(".")))) is not None
        and key.secret
        and not value.strip().startswith("env:")
    ]
    if problems:
        raise InvalidSettings(problems)
    return overrides


def overrides_config(overrides: Mapping[str, str]) -> dict[str, Any]:
    """Return the run config that sets settings for one run; empty when there are none."""
    if not overrides:
        return {}
    return {"resources": {"settings": {"config": {"overrides": dict(overrides)}}}}


def overrides_in(run_config: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings that a run config sets for its run."""
    inner: Any = run_config
    for name in ("resources", "settings", "config", "overrides"):
        inner = inner.get(name) if isinstance(inner, Mapping) else None
    return dict(inner) if isinstance(inner, Mapping) else {}


def _malformed(text: str) -> Refused:
    return Refused(
        text,
        category=ErrorCategory.CONFIGURATION,
        remedy="For example: gguf-assets sync --set sync_behavior.detail_requests_per_run=500. All keys: "
        "gguf-assets config schema",
    )
