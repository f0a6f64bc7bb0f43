"""The sync configuration for programs: one file, with everything that overrides it, as a typed object.

What belongs here: names for other people's code, none of which this package uses itself. What does not: any
rule; layers, checks and keys are those of `settings`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gguf_assets.settings.document import Advice, Resolved
from gguf_assets.settings.fields import Environment, local_folder
from gguf_assets.settings.files import ENVIRONMENT, given_file
from gguf_assets.settings.layers import environment_layer, override_layer
from gguf_assets.settings.load import SYNC_DOCUMENT
from gguf_assets.settings.model import SyncConfiguration
from gguf_assets.settings.problems import InvalidSettings, Problem
from gguf_assets.settings.resolving import resolve

__all__ = [
    "Advice",
    "ConfigurationManager",
    "Environment",
    "InvalidSettings",
    "Problem",
    "SyncConfiguration",
    "Validity",
]

_NOTHING: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True)
class Validity:
    """Whether a configuration is valid; true in a condition when it is.

    Attributes:
        problems: everything that is wrong.
        advice: what is allowed and probably not meant; empty while there are problems.
    """

    problems: tuple[Problem, ...] = ()
    advice: tuple[Advice, ...] = ()

    def __bool__(self) -> bool:
        """Return whether nothing is wrong."""
        return not self.problems

    def __str__(self) -> str:
        """Return the problems as text, secrets masked; `valid` without any."""
        return "\n".join(map(str, self.problems)) or "valid"


class ConfigurationManager:
    """Loads and checks one configuration file: code default < file < environment variable < override.

    Neither a token nor the network is needed, and nothing is written.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        environ: Mapping[str, str] | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        """Remember what to load; nothing is read yet.

        Args:
            path: the file.
            environ: environment variables; those of the process when None, `{}` for the file alone.
            overrides: values by dotted key, stronger than variables; None as a value means not given.
        """
        self._path = local_folder(str(path))
        self._environ = environ
        self._overrides = overrides

    def load_configuration(self) -> SyncConfiguration:
        """Return the configuration as it is now; every call reads the file again.

        Raises:
            InvalidSettings: with everything that is wrong.
        """
        return self._resolved().settings

    def validate_configuration(self) -> Validity:
        """Return whether the configuration is valid, with all problems or all advice."""
        try:
            return Validity(advice=self._resolved().advice)
        except InvalidSettings as error:
            return Validity(problems=error.problems)

    def origins(self) -> Mapping[str, str]:
        """Return the layer that each dotted key comes from.

        Raises:
            InvalidSettings: with everything that is wrong.
        """
        return self._resolved().origins

    def _resolved(self) -> Resolved[SyncConfiguration]:
        environ = os.environ if self._environ is None else self._environ
        variables = environment_layer(SYNC_DOCUMENT, environ)
        options = override_layer(SyncConfiguration, self._overrides or _NOTHING)
        chosen = options.entries.get(ENVIRONMENT) or variables.entries.get(ENVIRONMENT)
        found = given_file(SYNC_DOCUMENT, self._path, chosen)
        return resolve(SYNC_DOCUMENT, [found.layer, variables, options])
