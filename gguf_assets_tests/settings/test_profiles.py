"""The shipped profiles: production is the code's defaults, the others say only what differs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yaml import safe_dump

from gguf_assets.settings.files import shipped_profile
from gguf_assets.settings.keys import Path, keys_of
from gguf_assets.settings.load import SYNC_DOCUMENT
from gguf_assets.settings.model import ENVIRONMENTS, SyncConfiguration
from gguf_assets.settings.yaml_file import parse_yaml
from gguf_assets_tests.settings.configs import ConfigFolder


def flat(tree: dict[str, Any], parent: Path = ()) -> dict[Path, Any]:
    """Return a tree as values by key."""
    keys = keys_of(SyncConfiguration)
    values: dict[Path, Any] = {}
    for name, value in tree.items():
        path = (*parent, name)
        values |= {path: value} if path in keys else flat(value, path)
    return values


def defaults() -> dict[Path, Any]:
    """Return the code's defaults by key, tuples as the lists of a file."""
    return flat(SyncConfiguration().model_dump(mode="json"))


def profile(name: str) -> dict[Path, Any]:
    """Return what a shipped profile says by key."""
    return flat(parse_yaml(shipped_profile(SYNC_DOCUMENT, name)).values)


def test_production_equals_the_defaults_key_for_key() -> None:
    assert profile("production") == defaults()
    assert list(profile("production")) == list(keys_of(SyncConfiguration))


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_profile_is_valid_and_names_its_environment(config: ConfigFolder, name: str) -> None:
    assert profile(name)[("environment",)] == name
    loaded = config.load({"SYNC_ENVIRONMENT": name})
    dumped = flat(loaded.settings.model_dump(mode="json"))
    assert {path: dumped[path] for path in profile(name)} == profile(name)


@pytest.mark.parametrize("name", [name for name in ENVIRONMENTS if name != "production"])
def test_other_profiles_hold_only_keys_that_differ(name: str) -> None:
    same = {path: value for path, value in profile(name).items() if defaults()[path] == value}
    assert not same


def test_testing_differs_from_production_in_endpoint_and_alerts_alone() -> None:
    assert {".".join(path): value for path, value in profile("testing").items()} == {
        "environment": "testing",
        "api_base_url": "http://127.0.0.1:8765",
        "security.allowed_domains": ["localhost", "127.0.0.1"],
        "error_handling.enable_notifications": False,
        "monitoring.enable_alerts": False,
    }


@pytest.mark.parametrize(
    ("name", "rate", "concurrency", "score", "retries", "interval"),
    [
        ("development", 0.5, 10, 0.8, 3, 300),
        ("staging", 1.0, 30, 0.92, 4, 600),
        ("production", 1.2, 50, 0.95, 5, 900),
        ("testing", 1.2, 50, 0.95, 5, 900),
    ],
)
def test_profiles_hold_the_documented_values(
    config: ConfigFolder, name: str, rate: float, concurrency: int, score: float, retries: int, interval: int
) -> None:
    tree = config.load({"SYNC_ENVIRONMENT": name}).settings
    assert tree.rate_limiting.requests_per_second == rate
    assert tree.rate_limiting.max_concurrent_requests == concurrency
    assert tree.rate_limiting.max_retries == retries
    assert tree.validation.min_completeness_score == score
    assert tree.monitoring.progress_report_interval_seconds == interval


def test_every_key_is_described_with_a_word_on_what_is_allowed() -> None:
    for path, key in keys_of(SyncConfiguration).items():
        assert key.field.description, path
        assert key.allowed, path


_CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "log_level": st.sampled_from(["DEBUG", "ERROR"]),
        "debug_mode": st.booleans(),
        "rate_limiting": st.fixed_dictionaries(
            {},
            optional={
                "requests_per_second": st.floats(0.001, 2.0),
                "requests_per_hour": st.integers(1, 100_000),
                "max_retries": st.integers(0, 20),
                "backoff_base": st.floats(1, 10) | st.integers(1, 10),
                "backoff_jitter": st.booleans(),
            },
        ),
        "sync_behavior": st.fixed_dictionaries(
            {},
            optional={
                "mode": st.sampled_from(["auto", "incremental", "full"]),
                "schedule_time": st.times().map(lambda time: f"{time:%H:%M}"),
                "significant_change_threshold": st.floats(0, 1, exclude_min=True),
            },
        ),
        "monitoring": st.fixed_dictionaries(
            {}, optional={"alert_channels": st.lists(st.sampled_from(["log", "github", "webhook", "email"]))}
        ),
        "custom_settings": st.dictionaries(
            st.text("abc_0n", min_size=1),
            st.recursive(
                st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text("ab:- 0'\n"),
                lambda inner: st.lists(inner, max_size=3),
                max_leaves=5,
            ),
        ),
    },
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(changes=_CHANGES)
def test_a_valid_tree_survives_the_way_through_a_file(config: ConfigFolder, changes: dict[str, Any]) -> None:
    path = config.write(
        safe_dump({"environment": "production"} | changes, allow_unicode=True, default_flow_style=None)
    )
    first = config.load().settings
    path.write_text(safe_dump(first.model_dump(mode="json")))
    assert config.load().settings == first
    dumped = flat(first.model_dump(mode="json"))
    assert {key: dumped[key] for key in flat(changes)} == flat(changes)
