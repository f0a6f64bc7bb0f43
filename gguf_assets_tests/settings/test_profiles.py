"""The shipped profiles: production is the code's defaults, the others say only what differs."""

from __future__ import annotations

from importlib import resources
from typing import Any

import pytest

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


def test_the_high_volume_profile_is_production_with_more_of_everything(config: ConfigFolder) -> None:
    said = {".".join(path): value for path, value in profile("high-volume").items()}
    assert said == {
        "environment": "production",
        "rate_limiting.requests_per_second": 2.0,
        "rate_limiting.requests_per_hour": 7000,
        "rate_limiting.max_concurrent_requests": 100,
        "monitoring.progress_report_interval_seconds": 300,
        "performance.memory_limit_mb": 8192,
        "performance.chunk_size": 500,
    }
    same = [path for path, value in profile("high-volume").items() if defaults()[path] == value]
    assert same == [("environment",)]
    config.write(shipped_profile(SYNC_DOCUMENT, "high-volume"))
    loaded = config.load()
    dumped = flat(loaded.settings.model_dump(mode="json"))
    assert {path: dumped[path] for path in profile("high-volume")} == profile("high-volume")
    assert [notice.keys[0] for notice in loaded.advice] == [
        "rate_limiting.requests_per_second",
        "rate_limiting.requests_per_hour",
    ]


@pytest.mark.parametrize(
    ("name", "advised"),
    [
        ("development", ["rate_limiting.requests_per_second"]),  # 0.5 a second, 1,000 an hour
        ("staging", ["rate_limiting.requests_per_second"]),  # 1.0 a second, 3,000 an hour
        ("production", []),
        ("testing", []),
    ],
)
def test_profiles_are_advised_of_little(config: ConfigFolder, name: str, advised: list[str]) -> None:
    shipped = config.load({"SYNC_ENVIRONMENT": name})
    assert [notice.keys[0] for notice in shipped.advice] == advised
    config.write(shipped_profile(SYNC_DOCUMENT, name))
    assert config.load().advice == shipped.advice, "the same where the profile was copied"


def test_profiles_are_shipped_with_the_package() -> None:
    folder = resources.files("gguf_assets.settings") / "profiles"
    assert {file.name for file in folder.iterdir()} == {
        f"sync-config-{name}.yaml" for name in (*ENVIRONMENTS, "high-volume")
    }
    for file in folder.iterdir():
        first = file.read_text(encoding="utf-8").splitlines()[0]
        assert first.startswith("# "), "a word on what it is for"
