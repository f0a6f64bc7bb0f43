"""How the keys of a document are declared: the base of all sections, and what else there is to say of a key.

What belongs here: what every declaration uses. What does not: keys (`sections`, `model`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue

Unit = Literal[
    "seconds",
    "hours",
    "days",
    "MB",
    "requests",
    "requests per second",
    "requests per hour",
    "models",
    "files",
    "syncs",
]


def about(
    *,
    env: Sequence[str] = (),
    unit: Unit | None = None,
    reload: bool = False,
    secret: bool = False,
) -> dict[str, JsonValue]:
    """Return what else there is to say of a key.

    Args:
        env: environment variables that override it, in order of precedence.
        unit: what a number counts.
        reload: a change takes effect when the code location is loaded anew, not at the next sync.
        secret: its values are never shown.
    """
    facts: dict[str, JsonValue] = {
        "env": list(env),
        "unit": unit,
        "reload": reload,
        "secret": secret,
    }
    return {name: value for name, value in facts.items() if value}


class Section(BaseModel):
    """A part of a configuration document: unknown keys are errors, nothing can be changed once read."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True
    )
