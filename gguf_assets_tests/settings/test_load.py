"""Which value wins, where it came from, and which folders, endpoint and file follow."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gguf_assets.config import ConfigurationManager
from gguf_assets.orchestration.resources import SettingsResource
from gguf_assets.settings.load import LoadedSettings, load_settings
from gguf_assets_tests.settings.configs import ConfigFolder
from gguf_assets_tests.settings.generated import KEYS, NAMED, generic, nested, one_value

RETRIES = "rate_limiting.max_retries"


def test_later_layers_win_and_every_value_names_its_layer(config: ConfigFolder) -> None:
    path = config.write("rate_limiting: {max_retries: 1}\n")
    environ = {"MAX_RETRIES": "2"}
    cases = (
        (config.load(), 1, f"file {path}"),
        (config.load(environ), 2, "environment variable MAX_RETRIES"),
        (config.load(environ, rate_limiting__max_retries=3), 3, "command line"),
        (config.load(environ, rate_limiting__max_retries="3"), 3, "command line"),
        (config.load(environ, rate_limiting__max_retries=None), 2, "environment variable MAX_RETRIES"),
    )
    for loaded, value, origin in cases:
        assert loaded.settings.rate_limiting.max_retries == value
        assert loaded.origins[RETRIES] == origin
    path.write_text("log_level: DEBUG\n")
    loaded = config.load()
    assert loaded.settings.rate_limiting.max_retries == 5
    assert loaded.origins[RETRIES] == "default"


def test_an_explicit_zero_is_not_taken_for_unset(config: ConfigFolder) -> None:
    assert config.load({"MAX_RETRIES": "0"}).settings.rate_limiting.max_retries == 0
    assert config.load(rate_limiting__max_retries=0).settings.rate_limiting.max_retries == 0


@pytest.mark.parametrize(
    ("variable", "text", "section", "key", "value"),
    [
        ("SYNC_MODE", "full", "sync_behavior", "mode", "full"),
        ("FORCE_FULL_SYNC", "YES", "sync_behavior", "force_full_sync", True),
        ("FORCE_FULL_SYNC", "1", "sync_behavior", "force_full_sync", True),
        ("INCREMENTAL_WINDOW_HOURS", "24", "sync_behavior", "incremental_window_hours", 24),
        ("FULL_SYNC_THRESHOLD_HOURS", "72", "sync_behavior", "full_sync_threshold_hours", 72),
        ("MAX_CONCURRENCY", "10", "rate_limiting", "max_concurrent_requests", 10),
        ("REQUESTS_PER_SECOND", "0.5", "rate_limiting", "requests_per_second", 0.5),
        ("REQUESTS_PER_SECOND", "1", "rate_limiting", "requests_per_second", 1.0),
        ("REQUESTS_PER_HOUR", " 800 ", "rate_limiting", "requests_per_hour", 800),
        ("MAX_RETRIES", "3", "rate_limiting", "max_retries", 3),
        ("TIMEOUT_SECONDS", "60", "rate_limiting", "timeout_seconds", 60),
        ("ENABLE_DETAILED_LOGGING", "off", "monitoring", "enable_detailed_logging", False),
        ("ENABLE_PERFORMANCE_METRICS", "no", "monitoring", "enable_performance_metrics", False),
        ("PROGRESS_REPORT_INTERVAL", "300", "monitoring", "progress_report_interval_seconds", 300),
        ("WORKFLOW_TIMEOUT_HOURS", "4", None, "workflow_timeout_hours", 4),
        ("LOG_LEVEL", "debug", None, "log_level", "DEBUG"),
        ("DEBUG_MODE", "on", None, "debug_mode", True),
        ("DRY_RUN", "true", None, "dry_run", True),
        ("API_BASE_URL", "https://huggingface.co/", None, "api_base_url", "https://huggingface.co"),
        ("HF_ENDPOINT", "http://127.0.0.1:8123", None, "api_base_url", "http://127.0.0.1:8123"),
        ("GGUF_SYNC__VALIDATION__MIN_COMPLETENESS_SCORE", "0", "validation", "min_completeness_score", 0.0),
        (
            "GGUF_SYNC__MONITORING__ALERT_CHANNELS",
            "log, email",
            "monitoring",
            "alert_channels",
            ("log", "email"),
        ),
        ("GGUF_SYNC__MONITORING__ALERT_CHANNELS", '["log"]', "monitoring", "alert_channels", ("log",)),
        ("GGUF_SYNC__NOTIFICATIONS__EMAIL_RECIPIENTS", "[]", "notifications", "email_recipients", ()),
        ("GGUF_SYNC__DEBUG_MODE", "true", None, "debug_mode", True),
        ("GGUF_SYNC__SYNC_BEHAVIOR__SCHEDULE_TIME", "12:30", "sync_behavior", "schedule_time", "12:30"),
    ],
)
def test_environment_variables_set_their_key(
    config: ConfigFolder, variable: str, text: str, section: str | None, key: str, value: object
) -> None:
    loaded = config.load({variable: text})
    holder = loaded.settings if section is None else getattr(loaded.settings, section)
    assert getattr(holder, key) == value
    assert type(getattr(holder, key)) is type(value)
    assert (
        loaded.origins[key if section is None else f"{section}.{key}"] == f"environment variable {variable}"
    )


def test_an_empty_variable_counts_as_unset(config: ConfigFolder) -> None:
    names = (
        "SYNC_ENVIRONMENT",
        "SYNC_MODE",
        "MAX_RETRIES",
        "HF_ENDPOINT",
        "HF_TOKEN",
        "GGUF_ASSETS_DATA_DIR",
    )
    loaded = config.load(
        {name: empty for name in names for empty in ("", "  ")} | {"GGUF_SYNC__LOG_LEVEL": ""}
    )
    assert not [origin for origin in loaded.origins.values() if origin.startswith("environment variable")]
    assert loaded.token is None


def test_the_well_known_variable_wins_over_the_others_of_a_key(config: ConfigFolder) -> None:
    generic = {"GGUF_SYNC__API_BASE_URL": "http://localhost:1"}
    named = generic | {"API_BASE_URL": "http://localhost:2"}
    assert config.load(generic).endpoint == "http://localhost:1"
    assert config.load(named).endpoint == "http://localhost:2"
    assert config.load(named | {"HF_ENDPOINT": "http://localhost:3"}).endpoint == "http://localhost:3"


def test_custom_settings_are_kept_as_they_are_from_every_layer(config: ConfigFolder) -> None:
    config.write("custom_settings: {enable_experimental_features: true, deep: {a: [1, x]}, n: 1}\n")
    loaded = config.load({"GGUF_SYNC__CUSTOM_SETTINGS__N": "2", "GGUF_SYNC__CUSTOM_SETTINGS__WORD": "blue"})
    assert loaded.settings.custom_settings == {
        "enable_experimental_features": True,
        "deep": {"a": [1, "x"]},
        "n": 2,
        "word": "blue",
    }
    assert loaded.origins["custom_settings.word"] == "environment variable GGUF_SYNC__CUSTOM_SETTINGS__WORD"


def test_without_a_file_the_shipped_profile_of_the_environment_applies(config: ConfigFolder) -> None:
    for name in ("development", "staging", "production", "testing"):
        loaded = config.load({"SYNC_ENVIRONMENT": name})
        assert loaded.settings.environment == name
        assert loaded.file is None
        assert loaded.source.startswith(f"shipped profile {name} (")
        assert str(config.path) in loaded.source
    assert config.load().settings.environment == "production"
    development = config.load({"SYNC_ENVIRONMENT": "development"})
    assert development.origins["log_level"] == "shipped profile development"
    assert config.load(environment="staging").settings.environment == "staging"


def test_the_active_file_comes_before_the_environment_s_file_before_the_profile(config: ConfigFolder) -> None:
    named = config.write("environment: staging\nlog_level: ERROR\n", "sync-config-staging.yaml")
    loaded = config.load({"SYNC_ENVIRONMENT": "staging"})
    assert (loaded.file, loaded.settings.log_level) == (named, "ERROR")
    # What the file leaves out has the code's default, not the profile's value.
    assert loaded.settings.rate_limiting.max_concurrent_requests == 50
    active = config.write("environment: development\nlog_level: WARNING\n")
    loaded = config.load()
    assert (loaded.file, loaded.settings.log_level) == (active, "WARNING")
    assert loaded.settings.environment == "development"
    assert loaded.source == f"file {active}"


def test_the_environment_chosen_holds_where_the_file_names_none(config: ConfigFolder) -> None:
    config.write("log_level: WARNING\n")
    loaded = config.load({"SYNC_ENVIRONMENT": "development"})
    assert (loaded.settings.environment, loaded.settings.log_level) == ("development", "WARNING")


def test_folders_follow_from_data_and_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load_settings({})
    assert (loaded.data_dir, loaded.state_dir) == (tmp_path / "data", tmp_path / "data")
    assert loaded.config_dir == tmp_path / "data" / "config"
    loaded = load_settings({"GGUF_ASSETS_DATA_DIR": "elsewhere"})
    assert (loaded.data_dir, loaded.state_dir) == (tmp_path / "elsewhere", tmp_path / "elsewhere")
    assert loaded.config_dir == tmp_path / "elsewhere" / "config"
    assert loaded.origins["storage.data_directory"] == "environment variable GGUF_ASSETS_DATA_DIR"
    loaded = load_settings({"GGUF_ASSETS_DATA_DIR": "a", "GGUF_ASSETS_STATE_DIR": str(tmp_path / "b")})
    assert (loaded.data_dir, loaded.state_dir) == (tmp_path / "a", tmp_path / "b")
    assert loaded.config_dir == tmp_path / "b" / "config"
    loaded = load_settings({"GGUF_ASSETS_DATA_DIR": "a"}, overrides={"storage.data_directory": "c"})
    assert loaded.data_dir == tmp_path / "c"
    assert not list(tmp_path.iterdir()), "loading settings creates nothing"


def test_a_data_folder_named_by_the_file_moves_data_and_state_but_not_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = ConfigFolder(tmp_path / "data" / "config")
    config.write("storage: {data_directory: /srv/gguf}\n")
    loaded = load_settings({})
    assert (loaded.data_dir, loaded.state_dir) == (Path("/srv/gguf"), Path("/srv/gguf"))
    assert loaded.config_dir == config.path


@pytest.mark.parametrize(
    ("text", "below_data"),
    [
        ("data/last.json", "last.json"),
        ("last.json", "last.json"),
        ("meta/data/last.json", "meta/data/last.json"),
    ],
)
def test_the_last_sync_file_lies_below_the_data_folder_wherever_that_is(
    config: ConfigFolder, tmp_path: Path, text: str, below_data: str
) -> None:
    loaded = config.load({"GGUF_ASSETS_DATA_DIR": "d"}, sync_behavior__last_sync_file=text)
    assert loaded.last_sync_file == tmp_path / "d" / below_data
    inside = tmp_path / "d" / "x.json"
    loaded = config.load({"GGUF_ASSETS_DATA_DIR": "d"}, sync_behavior__last_sync_file=str(inside))
    assert loaded.last_sync_file == inside


@pytest.mark.parametrize(
    "url", ["http://localhost:8765", "http://127.9.9.9", "http://[::1]:8765", "https://LOCALHOST"]
)
@pytest.mark.parametrize("environment", ["development", "staging", "production", "testing"])
def test_a_loopback_endpoint_is_allowed_everywhere(config: ConfigFolder, url: str, environment: str) -> None:
    loaded = config.load({"HF_ENDPOINT": url, "SYNC_ENVIRONMENT": environment, "REQUESTS_PER_SECOND": "500"})
    assert loaded.is_loopback
    assert loaded.endpoint == url.lower()


def test_no_other_host_is_taken_for_loopback(config: ConfigFolder) -> None:
    assert not config.load().is_loopback
    for url in ("https://localhost.huggingface.co", "https://hub.huggingface.co:8443/"):
        assert not config.load({"HF_ENDPOINT": url}).is_loopback


def test_a_rate_is_explicit_when_somebody_set_it_and_not_by_a_shipped_profile(config: ConfigFolder) -> None:
    assert not config.load().explicit_rate
    assert not config.load({"SYNC_ENVIRONMENT": "development"}).explicit_rate
    assert config.load({"REQUESTS_PER_SECOND": "1.2"}).explicit_rate
    assert config.load(rate_limiting__requests_per_second=1.2).explicit_rate
    config.write("rate_limiting: {requests_per_second: 1.2}\n")
    assert config.load().explicit_rate


def test_loading_settings_imports_neither_dagster_nor_pandas() -> None:
    code = (
        "import sys; from gguf_assets.settings import limits, load, token; load.load_settings({});"
        "print([name for name in ('dagster', 'pandas', 'pyarrow', 'huggingface_hub') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


_FILE, _GENERIC, _NAMED, _OVERRIDE = range(4)


def _texts(value: Any) -> str:
    """Return a value as a variable holds it."""
    return json.dumps(value) if isinstance(value, (list, bool)) else str(value)


@st.composite
def _layered(draw: st.DrawFn) -> tuple[str, dict[int, Any]]:
    """Draw a key and, for some of the layers from the weakest to the strongest, the value it sets."""
    key = draw(st.sampled_from([key for key in KEYS if key not in ("huggingface_token", "custom_settings")]))
    layers = [_FILE, _GENERIC, *([_NAMED] if key in NAMED else []), _OVERRIDE]
    chosen = draw(st.lists(st.sampled_from(layers), unique=True))
    if key == "environment":  # file and choice must agree
        name = draw(one_value(key))
        return key, dict.fromkeys(chosen, name)
    return key, {layer: draw(one_value(key)) for layer in chosen}


def _by_load(config: ConfigFolder, environ: dict[str, str], overrides: dict[str, Any]) -> tuple[Any, Any]:
    loaded = load_settings({"GGUF_ASSETS_CONFIG_DIR": str(config.path)} | environ, overrides=overrides)
    return loaded.settings, loaded.origins


def _by_manager(config: ConfigFolder, environ: dict[str, str], overrides: dict[str, Any]) -> tuple[Any, Any]:
    manager = ConfigurationManager(config.path / "sync-config.yaml", environ=environ, overrides=overrides)
    return manager.load_configuration(), manager.origins()


def _by_resource(config: ConfigFolder, environ: dict[str, str], overrides: dict[str, Any]) -> tuple[Any, Any]:
    texts = {key: _texts(value) for key, value in overrides.items()}
    with pytest.MonkeyPatch.context() as patched:
        for name, text in {"GGUF_ASSETS_CONFIG_DIR": str(config.path), **environ}.items():
            patched.setenv(name, text)
        resource = SettingsResource(overrides=texts)
        with resource.yield_for_execution(dg.build_init_resource_context()) as loaded:
            assert isinstance(loaded, LoadedSettings)
            return loaded.settings, loaded.origins


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layered=_layered(), entry=st.sampled_from([_by_load, _by_manager, _by_resource]))
def test_the_strongest_layer_that_sets_a_key_wins_at_every_entry_point(
    config: ConfigFolder, layered: tuple[str, dict[int, Any]], entry: Callable[..., tuple[Any, Any]]
) -> None:
    key, values = layered
    file: dict[str, Any] = {} if key == "environment" else {"environment": "development"}
    path = config.write(
        json.dumps(nested(file | ({key: values[_FILE]} if _FILE in values else {})) or {"dry_run": False})
    )
    environ = {
        variable: _texts(values[layer])
        for layer, variable in ((_GENERIC, generic(key)), (_NAMED, NAMED.get(key, "")))
        if layer in values
    }
    overrides = {key: values[_OVERRIDE]} if _OVERRIDE in values else {}
    if key == "notifications.webhook_urls" and overrides and entry is _by_resource:
        entry = _by_load  # run configurations are stored and shown, so the resource takes no secrets
    tree, origins = entry(config, environ, overrides)
    value: Any = tree
    for name in key.split("."):
        value = getattr(value, name)
    if not values:
        assert origins[key] == "default"
        return
    winner = max(values)
    meant = values[winner]
    if isinstance(meant, str) and winner != _FILE:
        meant = meant.strip()  # white space around a variable or an option is no part of it
    assert (list(value) if isinstance(value, tuple) else value) == meant
    assert (
        origins[key]
        == {
            _FILE: f"file {path}",
            _GENERIC: f"environment variable {generic(key)}",
            _NAMED: f"environment variable {NAMED.get(key)}",
            _OVERRIDE: "command line",
        }[winner]
    )
    others = {other: origin for other, origin in origins.items() if other != key and origin != "default"}
    assert set(others.values()) <= {f"file {path}"}
