"""What must never become a run: every problem is named with key, value, range and layer, all at once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gguf_assets.errors import ErrorCategory, Refused
from gguf_assets.settings.dumping import to_yaml
from gguf_assets.settings.keys import keys_of
from gguf_assets.settings.layers import file_layer
from gguf_assets.settings.load import SYNC_DOCUMENT, LoadedSettings, load_settings
from gguf_assets.settings.model import SyncConfiguration
from gguf_assets.settings.problems import InvalidSettings
from gguf_assets.settings.resolving import resolve
from gguf_assets_tests.settings.configs import ConfigFolder

FAILED = "Configuration validation failed: "
TOKEN = "hf_" + "Zz9" * 11


def test_an_invalid_environment_is_said_in_the_documented_two_lines(config: ConfigFolder) -> None:
    error = config.refused({"SYNC_ENVIRONMENT": "prod"})
    assert error.message == (
        "Invalid environment: prod\nValid environments: development, staging, production, testing"
    )
    assert isinstance(error, Refused)
    assert error.category is ErrorCategory.CONFIGURATION
    assert error.remedy is None
    assert config.refused(environment="prod").message == error.message
    config.write("environment: prod\n")
    assert config.refused().message.startswith(error.message + "\n  environment = 'prod' (file ")


def test_a_score_out_of_range_is_said_in_the_documented_words(config: ConfigFolder) -> None:
    path = config.write("validation:\n  min_completeness_score: 1.5\n")
    first, detail = config.refused().message.splitlines()
    assert first == "Configuration validation failed: Min completeness score must be between 0 and 1"
    assert detail.strip() == (
        f"validation.min_completeness_score = 1.5 (file {path}, line 2); allowed: a number between 0 and 1"
    )


def test_all_problems_of_all_layers_are_reported_together(config: ConfigFolder) -> None:
    path = config.write(
        "rate_limiting:\n  requests_per_second: 0\n  max_concurrent_requests: -1\n  max_retrys: 3\n"
        f"validation:\n  min_completeness_score: 1.5\nhuggingface_token: {TOKEN}\n"
        "error_handling: {preserve_data_on_failure: false}\n"
    )
    error = config.refused({"SYNC_MODE": "fulll"}, workflow_timeout_hours=25)
    found = {(problem.headline.removeprefix(FAILED), problem.origin) for problem in error.problems}
    assert found == {
        ("Unknown key rate_limiting.max_retrys", f"file {path}, line 4"),
        ("Requests per second must be positive", f"file {path}, line 2"),
        ("Max concurrent requests must be positive", f"file {path}, line 3"),
        ("Min completeness score must be between 0 and 1", f"file {path}, line 6"),
        (
            "Huggingface token must stay null here: secrets come from environment variables, never from a "
            "file or an option",
            f"file {path}, line 7",
        ),
        ("Preserve data on failure must be true in production", f"file {path}, line 8"),
        ("Mode must be one of auto, incremental, full", "environment variable SYNC_MODE"),
        ("Workflow timeout hours must be between 1 and 24", "command line"),
    }
    assert "did you mean rate_limiting.max_retries?" in error.message
    assert TOKEN not in str(error) + repr(error.problems)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("rate_limiting.requests_per_second", 0, "must be positive"),
        ("rate_limiting.requests_per_second", -0.1, "must be positive"),
        ("rate_limiting.requests_per_second", float("nan"), "must be a positive number"),
        ("rate_limiting.requests_per_second", True, "must be a positive number"),
        ("rate_limiting.requests_per_second", 2.1, "must be at most 2.0 in production"),
        ("rate_limiting.max_concurrent_requests", 0, "must be positive"),
        ("rate_limiting.max_concurrent_requests", 101, "must be at most 100 in production"),
        ("rate_limiting.max_retries", 21, "must be between 0 and 20"),
        ("rate_limiting.max_retries", 1.5, "must be a whole number between 0 and 20"),
        ("rate_limiting.max_retries", "many", "must be a whole number between 0 and 20"),
        ("rate_limiting.backoff_base", 0.9, "must be between 1 and 10"),
        ("rate_limiting.requests_per_hour", 100_001, "must be between 1 and 100000"),
        ("sync_behavior.significant_change_threshold", 0, "must be above 0 and at most 1"),
        ("sync_behavior.incremental_window_hours", 721, "must be between 1 and 720"),
        ("sync_behavior.schedule_time", "24:00", "must be a time of day"),
        ("sync_behavior.weekly_full_cron", "0 4 * *", "must be five cron fields"),
        ("sync_behavior.weekly_full_cron", "60 4 * * 0", "must be five cron fields"),
        ("sync_behavior.census", "maybe", "must be true or false"),
        ("sync_behavior.census", 2, "must be true or false"),
        ("sync_behavior.last_sync_file", "../outside.json", "must lie inside the data directory"),
        ("sync_behavior.last_sync_file", "/etc/outside.json", "must lie inside the data directory"),
        ("monitoring.alert_channels", ["log", "sms"], "must be a list of log, github, webhook, email"),
        ("monitoring.alert_channels", "sms", "must be a list of log, github, webhook, email"),
        ("notifications.email_recipients", ["nobody"], "must hold addresses"),
        ("notifications.webhook_urls", ["http://example.org/x"], "must hold https addresses"),
        ("performance.memory_limit_mb", 127, "must be between 128 and 1048576"),
        ("storage.data_directory", "s3://bucket/gguf", "only local folders are supported so far"),
        ("storage.backup_directory", "", "must be the path of a folder or file"),
        ("security.allowed_domains", [], "must not be empty"),
        ("security.allowed_domains", ["https://huggingface.co"], "must hold host names"),
        ("security.allowed_domains", ["example.org"], "must lie within the allowed domains"),
        ("security.mask_sensitive_data", False, "must be true in production"),
        ("error_handling.preserve_data_on_failure", False, "must be true in production"),
        ("api_base_url", "http://huggingface.co", "must use https in production"),
        ("api_base_url", "https://nothuggingface.co", "must lie within the allowed domains"),
        ("api_base_url", "huggingface.co", "must be scheme://host[:port]"),
        ("api_base_url", "https://user:pw@huggingface.co", "must be scheme://host[:port]"),
        ("api_base_url", "https://huggingface.co/mirror", "must be scheme://host[:port]"),
        ("api_base_url", "https://huggingface.co:99999", "must be scheme://host[:port]"),
        ("log_level", "LOUD", "must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL"),
        ("custom_settings", 5, "must be a mapping of keys to values"),
        ("huggingface_token", TOKEN, "must stay null here"),
    ],
)
def test_a_wrong_value_is_refused_by_name(config: ConfigFolder, key: str, value: object, words: str) -> None:
    error = config.refused(**{key.replace(".", "__"): value})
    (problem,) = error.problems
    assert words in problem.headline
    assert problem.origin in ("command line", "default", "shipped profile production")
    assert "pw" not in error.message


@pytest.mark.parametrize(
    ("environment", "rate", "allowed"),
    [
        ("production", "2.0", True),
        ("production", "2.01", False),
        ("staging", "50", True),
        ("staging", "50.1", False),
        ("development", "50.1", False),
    ],
)
def test_the_rate_is_bounded_by_the_environment(
    config: ConfigFolder, environment: str, rate: str, allowed: bool
) -> None:
    environ = {"SYNC_ENVIRONMENT": environment, "REQUESTS_PER_SECOND": rate}
    if allowed:
        assert config.load(environ).settings.rate_limiting.requests_per_second == float(rate)
    else:
        assert "Requests per second must be at most" in config.refused(environ).message


def test_plain_http_is_for_development_and_testing(config: ConfigFolder) -> None:
    environ = {"HF_ENDPOINT": "http://mirror.huggingface.co"}
    assert (
        config.load(environ | {"SYNC_ENVIRONMENT": "development"}).endpoint == "http://mirror.huggingface.co"
    )
    assert "must use https in staging" in config.refused(environ | {"SYNC_ENVIRONMENT": "staging"}).message


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("GGUF_SYNC__RATE_LIMITING__MAX_RETRYS", "did you mean GGUF_SYNC__RATE_LIMITING__MAX_RETRIES?"),
        ("GGUF_SYNC__RATE_LIMIT__MAX_RETRIES", "did you mean GGUF_SYNC__RATE_LIMITING__MAX_RETRIES?"),
        ("GGUF_SYNC__MAX_RETRIES", "did you mean GGUF_SYNC__RATE_LIMITING__MAX_RETRIES?"),
        ("GGUF_SYNC__RATE_LIMITING", "a whole section cannot be set"),
        ("GGUF_SYNC__", "Unknown key"),
    ],
)
def test_an_unknown_variable_is_refused_with_a_hint(config: ConfigFolder, variable: str, hint: str) -> None:
    error = config.refused({variable: "3"})
    assert hint in error.message
    assert f"(environment variable {variable})" in error.message


def test_file_and_variable_must_agree_on_the_environment(config: ConfigFolder) -> None:
    path = config.write("environment: staging\n")
    message = config.refused({"SYNC_ENVIRONMENT": "production"}).message
    assert f"staging in the file {path}" in message
    assert "production by the environment variable SYNC_ENVIRONMENT" in message
    assert config.load({"SYNC_ENVIRONMENT": "staging"}).settings.environment == "staging"
    path.unlink()
    config.write("environment: staging\n", "sync-config-production.yaml")
    assert "production by the file's name sync-config-production.yaml" in config.refused().message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"# only a comment\n", "it is empty"),
        (b"- a\n- b\n", "it holds no mapping"),
        (b"just words\n", "it holds no mapping"),
        (b"log_level: [INFO\n", "it is broken YAML in line 2"),
        (b"log_level: INFO\n\tdebug_mode: true\n", "it is broken YAML in line 2"),
        (b"log_level: INFO\nlog_level: DEBUG\n", "the key log_level stands twice, in lines 1 and 2"),
        (
            b"rate_limiting:\n  max_retries: 1\n  max_retries: 2\n",
            "the key max_retries stands twice, in lines 2 and 3",
        ),
        ("log_level: INFO # ä\n".encode("latin-1"), "it is not encoded in UTF-8 (line 1)"),
        ("log_level: INFO\n".encode("utf-16"), "it is not encoded in UTF-8"),
        (b"log_level: \x00INFO\n", "it is broken YAML"),
        (b"a: &x {b: 1}\nc: *x\n", "line 2 uses an alias (*x)"),
        (b"a: !!python/object:os.system x\n", "it is broken YAML in line 1"),
        (b"on: true\n", "the key in line 1 is no plain text"),
        (b"custom_settings: {1: x}\n", "the key in line 1 is no plain text"),
        (b"a: 1\n---\nb: 2\n", "it is broken YAML"),
        (b"[" * 5000, "it is"),
        (b"#" * 1_000_001, "bytes long"),
    ],
)
def test_a_file_that_cannot_be_used_is_said_plainly(config: ConfigFolder, content: bytes, words: str) -> None:
    path = config.write(content)
    (problem,) = config.refused().problems
    assert problem.headline.startswith(f"{FAILED}The file {path} cannot be used: ")
    assert words in problem.headline


def test_a_broken_file_does_not_print_what_stands_in_it(config: ConfigFolder) -> None:
    config.write("huggingface_token: 'opensesame99\nlog_level: [\n")
    assert "opensesame99" not in str(config.refused())
    config.write("huggingface_token: opensesame99\n")
    assert "opensesame99" not in str(config.refused())


def test_what_is_no_readable_file_is_said_plainly(
    config: ConfigFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = config.path / "sync-config.yaml"
    path.mkdir()
    assert f"The file {path} cannot be used: it is a folder" in config.refused().message
    path.rmdir()
    os.mkfifo(path)
    assert "it is a device or pipe" in config.refused().message
    path.unlink()
    path.symlink_to("nowhere.yaml")
    assert "it is a link that leads nowhere" in config.refused().message
    path.unlink()
    path.write_text("log_level: INFO\n")

    def forbidden(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", forbidden)
        assert f"The file {path} cannot be read: Permission denied" in config.refused().message


def test_problems_of_other_layers_are_reported_beside_a_broken_file(config: ConfigFolder) -> None:
    config.write("log_level: [\n")
    error = config.refused({"MAX_RETRIES": "99", "HF_ENDPOINT": "https://mirror.example.org"})
    # Whether the mirror is allowed stands in the file that cannot be read.
    assert [problem.key for problem in error.problems] == [None, "rate_limiting.max_retries"]


def test_an_empty_section_is_one_without_values(config: ConfigFolder) -> None:
    config.write("rate_limiting:\n  # nothing yet\nstorage: {}\n")
    assert config.load().settings == SyncConfiguration()
    config.write("rate_limiting: 5\n")
    assert "rate_limiting is a section and must hold keys" in config.refused().message


@pytest.mark.parametrize(
    ("text", "value"),
    [("010", 10), ("1_0", None), ("0x10", None), ("1e1", None), ("1:30", None), ("'10'", None), ("+7", 7)],
)
def test_numbers_in_files_are_decimal(config: ConfigFolder, text: str, value: int | None) -> None:
    config.write(f"rate_limiting: {{max_retries: {text}}}\n")
    if value is None:
        assert "Max retries must be a whole number" in config.refused().message
    else:
        assert config.load().settings.rate_limiting.max_retries == value


def test_a_time_of_day_needs_no_quotes_in_a_file(config: ConfigFolder) -> None:
    config.write("sync_behavior: {schedule_time: 12:30}\n")
    assert config.load().settings.sync_behavior.schedule_time == "12:30"


@pytest.mark.parametrize("variable", ["GGUF_ASSETS_CONFIG_DIR", "GGUF_ASSETS_STATE_DIR"])
def test_folder_variables_are_local(config: ConfigFolder, variable: str) -> None:
    assert f"{variable} must be a local path" in config.refused({variable: "s3://bucket/x"}).message


def test_a_configuration_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="GGUF_ASSETS_CONFIG_DIR must name an existing folder"):
        load_settings({"GGUF_ASSETS_CONFIG_DIR": str(tmp_path / "typo")})


@pytest.mark.parametrize("key", sorted(keys_of(SyncConfiguration)))
def test_null_stands_only_for_the_token(config: ConfigFolder, key: tuple[str, ...]) -> None:
    nested = "".join(f"{'  ' * depth}{name}:\n" for depth, name in enumerate(key))
    config.write(nested)
    if key in (("huggingface_token",), ("custom_settings",)):
        config.load()
    else:
        assert ".".join(key) in config.refused().message


_WRITTEN = st.one_of(
    st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))
)
_PIECES = st.lists(
    st.sampled_from(
        "rate_limiting:|max_retries:|environment:| production| 5|\n|  |[|]|{|}|- |&a|*a|!!int|!!timestamp"
        "|<<:|'|\"|>|? |: |null|~|.nan|é|\t|custom_settings: {a: |!!binary |!!set |!!omap |!!float |!x "
        "|\\ud800"
        "|%TAG ! !|--- |%YAML 9|99999999999999999999|1e999|'\\0'|\"\\0\"|storage: {data_directory: |~x".split(
            "|"
        )
    ),
    max_size=25,
).map(lambda pieces: "".join(pieces).encode())
_QUICK = settings(max_examples=70, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@_QUICK
@example(content=b":: !!timestamp")
@example(content=b"custom_settings: {a: !!timestamp 2020-01-01}")
@example(content=b'storage: {data_directory: "~\\0"}')
@example(content=b'notifications: {email_recipients: ["\\ud800@example.org"]}')
@given(content=st.one_of(_WRITTEN, _PIECES))
def test_no_file_content_leads_to_anything_but_settings_or_a_refusal(
    config: ConfigFolder, content: bytes
) -> None:
    config.write(content)
    _loads_or_refuses(config.load)


_VARIABLES = sorted({name for key in keys_of(SyncConfiguration).values() for name in key.variables})
_GENERIC = ["GGUF_SYNC__" + "__".join(path).upper() for path in keys_of(SyncConfiguration)]
_ANY = st.text(st.characters(exclude_categories=[]), max_size=30)  # NUL and surrogates included
_TEXTS = st.one_of(
    _ANY,
    st.sampled_from(
        [
            "[",
            "[1]",
            '{"a": {}}',
            "-1",
            "1e999",
            "NaN",
            "[NaN]",
            "9" * 400,
            "9" * 5000,
            "http://[",
            "http://[::1]:x",
            "~nobody",
            "~\0",
            "a\0b",
            "\ud800",
            "x" * 5000,
            "[" * 5000,
            '{"a":' * 5000,
            "/dev/null",
            "/dev/null/x",
        ]
    ),
)


@_QUICK
@example(environ={"GGUF_ASSETS_STATE_DIR": "~\0"})
@example(environ={"GGUF_SYNC__CUSTOM_SETTINGS__A": "1", "GGUF_SYNC__CUSTOM_SETTINGS__A__B": "2"})
@example(environ={"GGUF_SYNC__CUSTOM_SETTINGS" + "__A" * 3000: "1"})
@example(environ={"GGUF_SYNC__CUSTOM_SETTINGS__A": "[" * 60 + "]" * 60})
@given(
    environ=st.dictionaries(
        st.sampled_from(
            [
                *_VARIABLES,
                *_GENERIC,
                "GGUF_ASSETS_STATE_DIR",
                "GGUF_ASSETS_CONFIG_DIR",
                "GGUF_SYNC__CUSTOM_SETTINGS__A",
                "GGUF_SYNC__CUSTOM_SETTINGS__A__B",
            ]
        )
        | st.builds("GGUF_SYNC__{}".format, _ANY),
        _TEXTS,
        max_size=4,
    )
)
def test_no_variable_leads_to_anything_but_settings_or_a_refusal(
    config: ConfigFolder, environ: dict[str, str]
) -> None:
    config.write(b"custom_settings: {a: 5}\n")
    _loads_or_refuses(lambda: config.load(environ))


@_QUICK
@example(overrides={"rate_limiting": {1: 2}})
@example(overrides={"rate_limiting.max_retries": 10**5000})
@example(overrides={"debug_mode": 10**5000})
@example(overrides={"custom_settings.a": 10**5000})
@example(overrides={"storage.data_directory": "a\0b"})
@example(overrides={"custom_settings": {"a": b"bytes"}})
@example(overrides={"custom_settings.a": 1, "custom_settings.a.b": 2, "custom_settings": {"a": 3}})
@given(
    overrides=st.dictionaries(
        st.sampled_from([".".join(path) for path in keys_of(SyncConfiguration)])
        | st.sampled_from(["rate_limiting", "custom_settings.a", "custom_settings.a.b", "", "."])
        | _ANY,
        _TEXTS
        | st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=3) | _ANY,
            lambda inner: (
                st.lists(inner, max_size=2) | st.dictionaries(_ANY | st.integers(), inner, max_size=2)
            ),
            max_leaves=4,
        ),
        max_size=4,
    )
)
def test_no_override_leads_to_anything_but_settings_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, overrides: dict[str, Any]
) -> None:
    _loads_or_refuses(lambda: load_settings({}, overrides=overrides))


@pytest.mark.parametrize("opening, closing", [("[", "]"), ("{a: ", "}"), ("- ", "")])
@pytest.mark.parametrize("depth", [40, 60, 200, 400, 1200])
@pytest.mark.parametrize(
    "key", ["custom_settings: {x: ", "rate_limiting: {max_retries: ", "environment: {x: "]
)
def test_no_depth_of_a_file_is_too_deep_to_be_refused(
    config: ConfigFolder, key: str, depth: int, opening: str, closing: str
) -> None:
    config.write(key + opening * depth + "1" + closing * depth + "}\n")
    _loads_or_refuses(config.load)


def _loads_or_refuses(load: Callable[[], LoadedSettings]) -> None:
    """Check that there is a refusal that can be printed, or a tree that can be written and read again."""
    try:
        loaded = load()
    except InvalidSettings as error:
        assert error.problems
        assert all(problem.headline for problem in error.problems)
        assert str(error).encode("utf-8", "backslashreplace")
    else:
        text = to_yaml(loaded.settings).encode()
        again = resolve(SYNC_DOCUMENT, [file_layer(SyncConfiguration, text, "file again")])
        assert again.settings == loaded.settings
        json.dumps(loaded.settings.model_dump(mode="json"), allow_nan=False).encode()


_SECRET = "hf_" + "Ab3" * 11
_SHAPES = [
    "{}",
    "'{}'",
    "[{}]",
    "[[{}]]",
    "{{a: {}}}",
    "{{{}: 1}}",
    "!{} x",
    "&{} x",
    "*{}",
    "!!int {}",
    "x{}",
    "https://u:{}@huggingface.co",
    "{}: {}",
    "{}\n{}: 1\n{}: 2",
    '"\\q{}',
    "[{}",
    "|\n {}",
    "%{}",
    "@{}",
]


def _with_secret(shape: str) -> str:
    return shape.replace("{}", _SECRET).replace("{{", "{").replace("}}", "}")


@pytest.mark.parametrize("key", sorted({path[0] for path in keys_of(SyncConfiguration)} | {_SECRET, ""}))
def test_a_secret_anywhere_in_a_file_is_never_shown(config: ConfigFolder, key: str) -> None:
    for shape in _SHAPES:
        config.write(f"debug_mode: maybe\n{key}: {_with_secret(shape)}\n")
        _check_nothing_shown(config.refused())


def test_a_secret_at_any_key_of_a_section_is_never_shown(config: ConfigFolder) -> None:
    for section, name in (path for path in keys_of(SyncConfiguration) if len(path) > 1):
        for shape in ("{}", "[{}]", "{{a: {}}}", "http://example.org/{}"):
            config.write(f"debug_mode: maybe\n{section}:\n  {name}: {_with_secret(shape)}\n")
            _check_nothing_shown(config.refused())


def _check_nothing_shown(error: InvalidSettings) -> None:
    shown = str(error) + repr(error) + repr(error.args) + repr(error.problems)
    assert _SECRET[5:25] not in shown
