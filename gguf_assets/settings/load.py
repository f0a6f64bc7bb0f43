"""The settings in force: the sync configuration, and what follows from it for folders, endpoint and token.

Precedence: code default < file < environment variable < override (command line, Launchpad). The file is
`sync-config.yaml` in the configuration folder, else `sync-config-<environment>.yaml` there, else the shipped
profile of the environment; the environment is chosen by `SYNC_ENVIRONMENT`, by default production.

What belongs here: putting the layers of the sync configuration together. What does not: how layers become a
checked tree (`layers`), and what a sync makes of it (`limits`, `token`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from gguf_assets.settings.advice import sync_advice
from gguf_assets.settings.document import DEFAULT, Advice, Document, Entry, Layer
from gguf_assets.settings.fields import below, is_loopback, is_url, local_folder
from gguf_assets.settings.files import ENVIRONMENT, PROFILE, existing_folder, find_file, shipped_file
from gguf_assets.settings.layers import environment_layer, override_layer
from gguf_assets.settings.model import ENVIRONMENTS, SyncConfiguration
from gguf_assets.settings.problems import FAILED, InvalidSettings, Problem, unknown_environment
from gguf_assets.settings.resolving import resolve
from gguf_assets.settings.rules import PRODUCTION, sync_contradictions
from gguf_assets.settings.secret_variables import hide_secrets

SYNC_DOCUMENT: Final = Document(
    model=SyncConfiguration,
    active_file="sync-config.yaml",
    environment_file="sync-config-{environment}.yaml",
    prefix="GGUF_SYNC__",
    contradictions=sync_contradictions,
    advice=sync_advice,
)
STATE_VARIABLE: Final = "GGUF_ASSETS_STATE_DIR"
CONFIG_VARIABLE: Final = "GGUF_ASSETS_CONFIG_DIR"
_TOKEN: Final = ("huggingface_token",)
_DATA_DIRECTORY: Final = ("storage", "data_directory")
_FALLBACK: Final = "development"


@dataclass(frozen=True)
class LoadedSettings:
    """The settings of this process.

    Attributes:
        settings: the checked tree.
        origins: for every dotted key `default`, `shipped profile NAME`, `file PATH`, `environment variable
            NAME` or `command line`.
        places: the same, with the line where it is a file.
        advice: what is allowed and probably not meant.
        token: the Hub's token, from HUGGINGFACE_TOKEN, else HF_TOKEN.
        token_source: where the token came from.
        data_dir: the data folder, absolute.
        state_dir: folder on a local disk for locks, Dagster's instance and logs, absolute.
        config_dir: the configuration folder, absolute; need not exist.
        file: the file that applies; None when a shipped profile does.
        source: which file or profile applies, for people.
    """

    settings: SyncConfiguration
    origins: Mapping[str, str]
    places: Mapping[str, str]
    advice: tuple[Advice, ...]
    token: SecretStr | None
    token_source: str | None
    data_dir: Path
    state_dir: Path
    config_dir: Path
    file: Path | None
    source: str

    def is_explicit(self, key: str) -> bool:
        """Return whether a key was set by whoever runs this; defaults and shipped profiles do not count."""
        origin = self.origins[key]
        return origin != DEFAULT and not origin.startswith(PROFILE)

    @property
    def explicit_rate(self) -> bool:
        """Whether the requests per second were set explicitly."""
        return self.is_explicit("rate_limiting.requests_per_second")

    @property
    def endpoint(self) -> str:
        """Address of the Hub as scheme://host[:port]."""
        return self.settings.api_base_url

    @property
    def is_loopback(self) -> bool:
        """Whether the Hub is one on this machine."""
        return is_loopback(self.endpoint)

    @property
    def last_sync_file(self) -> Path:
        """File of the last sync's metadata, absolute, inside the data folder."""
        return below(self.data_dir, self.settings.sync_behavior.last_sync_file)


def load_settings(
    environ: Mapping[str, str], *, overrides: Mapping[str, Any] | None = None
) -> LoadedSettings:
    """Return the settings in force.

    Variables: those that the keys name (`model`), `GGUF_SYNC__<SECTION>__<KEY>` for any key, and
    `GGUF_ASSETS_STATE_DIR` (default: the data folder), `GGUF_ASSETS_CONFIG_DIR` (default: `config` in the
    state folder). `HF_ENDPOINT` wins over `API_BASE_URL`, `HUGGINGFACE_TOKEN` over `HF_TOKEN`, a named
    variable over the generic one. Empty variables count as unset.

    The configuration folder is known before its file is read: a `storage.data_directory` in the file moves
    data and state, but not the configuration.

    Args:
        environ: the environment variables, usually `os.environ`.
        overrides: values by dotted key from the command line or the Launchpad; None means not given.

    Raises:
        InvalidSettings: a `Refused` of category `configuration` with everything that is wrong.
    """
    variables = environment_layer(SYNC_DOCUMENT, environ)
    options = override_layer(SyncConfiguration, overrides or {})
    chosen = _top(ENVIRONMENT, options, variables)
    environment = PRODUCTION if chosen is None else _known_environment(chosen)
    token = variables.secrets.get(_TOKEN)
    if token is not None:
        _check_token(token, variables)
    config_dir, state = _folders(environ, options, variables)
    found = find_file(SYNC_DOCUMENT, config_dir, environment, chosen)
    resolved = resolve(SYNC_DOCUMENT, [found.layer, variables, options])
    hide_secrets(environ, resolved.settings.notifications.webhook_urls)
    data_dir = local_folder(resolved.settings.storage.data_directory)
    return LoadedSettings(
        settings=resolved.settings,
        origins=resolved.origins,
        places=resolved.places,
        advice=resolved.advice,
        token=None if token is None else SecretStr(token.value),
        token_source=None if token is None else token.origin,
        data_dir=data_dir,
        state_dir=data_dir if state is None else state,
        config_dir=config_dir,
        file=found.path,
        source=found.source,
    )


def config_folders(environ: Mapping[str, str]) -> tuple[Path, Path]:
    """Return the configuration folder and the state folder, also where no valid settings are in force.

    Commands that put a configuration right need them while it is wrong. Where the settings cannot be loaded,
    a data folder named by the file counts as far as it can be read.

    Raises:
        InvalidSettings: a variable names a folder that cannot be one.
    """
    variables = environment_layer(SYNC_DOCUMENT, environ)
    variables.problems.clear()  # only folders are asked for
    config_dir, state = _folders(environ, Layer(), variables)
    if variables.problems:
        raise InvalidSettings(variables.problems)
    return config_dir, state or _data_folder(variables, _whatever_file(variables, config_dir))


def fallback_settings(environ: Mapping[str, str]) -> LoadedSettings:
    """Return settings to show things with while those in force are invalid; nothing may run with them.

    They are the shipped profile of development, with the folders of variables and file as far as these can be
    read.

    Raises:
        InvalidSettings: a variable names a folder that cannot be one.
    """
    config_dir, state = config_folders(environ)
    variables = environment_layer(SYNC_DOCUMENT, environ)
    data_dir = _data_folder(variables, _whatever_file(variables, config_dir))
    folder = override_layer(SyncConfiguration, {".".join(_DATA_DIRECTORY): str(data_dir)})
    profile = shipped_file(SYNC_DOCUMENT, _FALLBACK)
    resolved = resolve(SYNC_DOCUMENT, [profile.layer, folder])
    return LoadedSettings(
        settings=resolved.settings,
        origins=resolved.origins,
        places=resolved.places,
        advice=resolved.advice,
        token=None,
        token_source=None,
        data_dir=data_dir,
        state_dir=state,
        config_dir=config_dir,
        file=None,
        source=f"{profile.source} (the settings in force are invalid)",
    )


def _whatever_file(variables: Layer, config_dir: Path) -> Layer:
    """Return what the file says that applies by the variables, as far as it can be read."""
    chosen = _top(ENVIRONMENT, variables)
    environment = chosen.value if chosen is not None and chosen.value in ENVIRONMENTS else PRODUCTION
    return find_file(SYNC_DOCUMENT, config_dir, environment, None).layer


def _top(path: tuple[str, ...], *layers: Layer) -> Entry | None:
    """Return what the first of these layers that says anything about a key says."""
    return next((layer.entries[path] for layer in layers if path in layer.entries), None)


def _known_environment(chosen: Entry) -> str:
    if chosen.value in ENVIRONMENTS:
        return str(chosen.value)
    # Nothing else can be judged before it is clear which file applies.
    raise unknown_environment(chosen.value, ENVIRONMENTS)


def _check_token(token: Entry, variables: Layer) -> None:
    text = token.value
    if text.isascii() and text.isprintable() and " " not in text:
        return
    variables.problems.append(
        Problem(
            f"{FAILED}Huggingface token holds characters that no token has",
            _TOKEN[0],
            origin=token.origin,
            hint="copy it anew from your settings on the Hub",
        )
    )


def _folders(environ: Mapping[str, str], options: Layer, variables: Layer) -> tuple[Path, Path | None]:
    """Return the configuration folder, and the state folder if a variable names it.

    What is wrong with their variables is added to the problems of the variables.
    """
    state = _folder(environ, STATE_VARIABLE, variables)
    config_dir = _folder(environ, CONFIG_VARIABLE, variables)
    missing = existing_folder(environ, CONFIG_VARIABLE)
    if missing is not None:
        variables.problems.append(missing)
    return config_dir or (state or _data_folder(options, variables)) / "config", state


def _folder(environ: Mapping[str, str], variable: str, variables: Layer) -> Path | None:
    text = environ.get(variable, "").strip()
    if text and is_url(text):
        variables.problems.append(
            Problem(
                f"{FAILED}{variable} must be a local path: it holds locks and databases",
                origin=f"environment variable {variable}",
            )
        )
        return None
    return local_folder(text) if text else None


def _data_folder(*layers: Layer) -> Path:
    """Return the data folder that the first of these layers names which says anything about it."""
    entry = _top(_DATA_DIRECTORY, *layers)
    text = entry.value if entry is not None and isinstance(entry.value, str) else None
    return local_folder(text or SyncConfiguration().storage.data_directory)
