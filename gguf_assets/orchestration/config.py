"""What can be chosen in the Launchpad and on the command line for one run."""

from __future__ import annotations

from enum import Enum

import dagster as dg
from pydantic import Field

from gguf_assets.catalogue.sync_plan import SyncMode
from gguf_assets.errors import Refused

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
