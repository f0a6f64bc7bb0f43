"""The names that programs import: they answer as documented, and as the product itself does."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, fields
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from gguf_assets.config import ConfigurationManager, Environment, InvalidSettings, SyncConfiguration
from gguf_assets.settings.files import shipped_profile
from gguf_assets.settings.load import SYNC_DOCUMENT
from gguf_assets.store.layout import Layout
from gguf_assets.store.lock import WriterLock
from gguf_assets.store.publish import publish
from gguf_assets.store.store import Store
from gguf_assets.sync import SyncConfig, SyncMetadata, SyncMode, SyncModeManager
from gguf_assets_tests.store.days import candidate

DAY = date(2025, 8, 10)
SEEN = datetime(2025, 8, 10, 12, tzinfo=UTC)
DOCS = Path(__file__).parents[1] / "docs" / "python.md"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "data", tmp_path / "data")


@pytest.fixture
def environ(layout: Layout) -> dict[str, str]:
    return {"GGUF_ASSETS_DATA_DIR": str(layout.data)}


def synced(layout: Layout, *, failed: str | None = None, mode: str = "full") -> None:
    """Publish a day, synced at SEEN; then, if told, let another sync fail."""
    store = Store(layout)
    publish(layout, candidate(layout, DAY, {"1": "a/one"}))
    store.history.started("first", DAY, SEEN, mode=mode, reason="first_run")
    store.history.finished("first", published=True, hub_time=SEEN)
    if failed is not None:
        store.history.started("second", DAY, SEEN, mode="incremental", reason="recent")
        store.history.failed("second", failed, "network")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables of a store with one good sync; only to be read."""
    data = tmp_path_factory.mktemp("good") / "data"
    synced(Layout(data, data))
    return {"GGUF_ASSETS_DATA_DIR": str(data)}


# --- gguf_assets.config


@pytest.mark.parametrize("name", ["development", "staging", "production", "testing", "high-volume"])
def test_every_shipped_profile_loads_and_is_valid(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"sync-config-{name}.yaml"
    path.write_bytes(shipped_profile(SYNC_DOCUMENT, name))
    manager = ConfigurationManager(str(path), environ={})
    config = manager.load_configuration()
    assert isinstance(config, SyncConfiguration)
    assert config.environment.value == {"high-volume": "production"}.get(name, name)
    assert config.environment is Environment(config.environment.value)
    assert 0 < config.rate_limiting.requests_per_second <= 2.0
    assert 0 < config.rate_limiting.max_concurrent_requests <= 100
    assert manager.validate_configuration()
    assert str(manager.validate_configuration()) == "valid"


def test_an_invalid_file_is_false_and_says_why(tmp_path: Path) -> None:
    token = "hf_" + "Kk8" * 11
    path = tmp_path / "sync-config-staging.yaml"
    path.write_text(
        f"environment: staging\nhuggingface_token: {token}\nvalidation: {{min_completeness_score: 1.5}}\n"
    )
    manager = ConfigurationManager(path, environ={})
    validity = manager.validate_configuration()
    assert not validity
    assert {(problem.key, problem.origin) for problem in validity.problems} == {
        ("huggingface_token", f"file {path}, line 2"),
        ("validation.min_completeness_score", f"file {path}, line 3"),
    }
    assert "Configuration validation failed: Min completeness score must be between 0 and 1" in str(validity)
    assert token not in str(validity) + repr(validity)
    with pytest.raises(InvalidSettings) as caught:
        manager.load_configuration()
    assert caught.value.problems == validity.problems
    path.write_text("environment: staging\n")
    assert manager.validate_configuration(), "every call reads the file again"


def test_a_file_that_is_not_there_is_said_in_the_documented_words(tmp_path: Path) -> None:
    path = tmp_path / "sync-config-development.yaml"
    validity = ConfigurationManager(path, environ={}).validate_configuration()
    assert str(validity) == f"Environment configuration not found: {path}"


def test_variables_of_the_process_count_and_must_agree_on_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text("environment: staging\n")
    monkeypatch.setenv("MAX_RETRIES", "7")
    manager = ConfigurationManager("x.yaml")
    monkeypatch.chdir("/")
    assert manager.load_configuration().rate_limiting.max_retries == 7
    monkeypatch.setenv("SYNC_ENVIRONMENT", "production")
    validity = manager.validate_configuration()
    assert "Environment must be the same everywhere: staging" in str(validity)
    assert ConfigurationManager(tmp_path / "x.yaml", environ={}).validate_configuration()


def test_the_environment_is_a_word_like_any_other() -> None:
    tree = SyncConfiguration.model_validate({"environment": "staging"})
    assert tree.environment == "staging"
    assert f"{tree.environment}" == "staging"
    assert json.loads(tree.model_dump_json())["environment"] == "staging"
    assert SyncConfiguration.model_validate_json(tree.model_dump_json()) == tree


# --- gguf_assets.sync


def test_sync_config_has_the_six_fields_with_their_defaults() -> None:
    assert asdict(SyncConfig()) == {
        "mode": "auto",
        "incremental_window_hours": 48,
        "full_sync_threshold_hours": 168,
        "force_full_sync": False,
        "last_sync_file": "data/last_sync_metadata.json",
        "significant_change_threshold": 0.1,
    }
    assert {mode.name: mode.value for mode in SyncMode} == {
        "AUTO": "auto",
        "INCREMENTAL": "incremental",
        "FULL": "full",
    }
    tree = SyncConfiguration.model_validate({"sync_behavior": {"mode": "full", "force_full_sync": True}})
    assert SyncConfig.of(tree) == SyncConfig(mode=SyncMode.FULL, force_full_sync=True)


def test_sync_metadata_has_nine_fields_and_survives_json(layout: Layout, environ: dict[str, str]) -> None:
    plain = SyncMetadata("2025-08-10T12:00:00+00:00", "full")
    assert asdict(plain) == {
        "last_sync_time": "2025-08-10T12:00:00+00:00",
        "sync_mode": "full",
        "total_models_processed": 0,
        "models_added": 0,
        "models_updated": 0,
        "models_removed": 0,
        "sync_duration": 0.0,
        "success": True,
        "error_message": None,
    }
    assert len(fields(SyncMetadata)) == 9
    failed = SyncMetadata("2025-08-10T12:00:00+00:00", "incremental", 5, 1, 2, 3, 4.5, False, "é")
    assert SyncMetadata(**json.loads(json.dumps(asdict(failed)))) == failed
    manager = SyncModeManager(environ=environ)
    assert manager.last_sync() is None
    Store(layout).history.write_last_sync(failed)
    assert manager.last_sync() == failed
    assert json.loads((layout.data / "last_sync_metadata.json").read_text()) == asdict(failed)


@pytest.mark.parametrize(
    ("config", "variables", "hours", "mode", "reason"),
    [
        (None, {}, 12, "incremental", "recent"),
        (None, {}, 168, "incremental", "recent"),
        (None, {}, 169, "full", "threshold"),
        (SyncConfig(full_sync_threshold_hours=11), {}, 12, "full", "threshold"),
        (SyncConfig(force_full_sync=True), {}, 12, "full", "forced"),
        (SyncConfig(mode=SyncMode.FULL), {}, 12, "full", "explicit"),
        (SyncConfig(mode=SyncMode.INCREMENTAL), {}, 999, "incremental", "explicit"),
        # Variables are stronger than what stands in for the file.
        (SyncConfig(mode=SyncMode.INCREMENTAL), {"SYNC_MODE": "full"}, 12, "full", "explicit"),
        (SyncConfig(), {"SYNC_MODE": "full"}, 12, "full", "explicit"),
        (SyncConfig(force_full_sync=True), {"FORCE_FULL_SYNC": "no"}, 12, "incremental", "recent"),
    ],
)
def test_the_mode_follows_from_settings_and_history(
    good: dict[str, str],
    config: SyncConfig | None,
    variables: dict[str, str],
    hours: int,
    mode: str,
    reason: str,
) -> None:
    now = SEEN + timedelta(hours=hours)
    manager = SyncModeManager(config, environ=good | variables)
    assert manager.determine_sync_mode(now) is SyncMode(mode)
    assert manager.plan(now).reason.value == reason


def test_the_first_sync_and_the_one_after_a_failure_are_full(
    layout: Layout, environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    manager = SyncModeManager(environ=environ)
    assert manager.determine_sync_mode() is SyncMode.FULL
    assert manager.plan().reason.value == "first_run"
    assert not layout.data.exists(), "nothing is written"
    synced(layout, failed="the Hub was out of reach")
    caplog.clear()
    with caplog.at_level(logging.INFO, "gguf_assets.sync"):
        assert manager.determine_sync_mode(SEEN + timedelta(hours=12)) is SyncMode.FULL
    assert caplog.messages[0] == "Determining sync mode…"
    assert "the Hub was out of reach" in caplog.messages[1]


def test_a_sync_under_way_is_no_failed_one(layout: Layout, environ: dict[str, str]) -> None:
    synced(layout)
    with WriterLock(layout).held(run_id="under-way", command="test"):
        Store(layout).history.started("under-way", DAY, SEEN, mode="incremental", reason="recent")
        plan = SyncModeManager(environ=environ).plan(SEEN + timedelta(hours=12))
    assert plan.reason.value == "recent"


def test_the_decision_is_logged_in_the_documented_words(
    good: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "gguf_assets.sync"):
        SyncModeManager(environ=good).determine_sync_mode(SEEN + timedelta(hours=12))
    assert caplog.messages[0] == "Determining sync mode…"
    assert caplog.messages[1].startswith("Performing incremental sync (last sync: 12.0h ago)")
    assert caplog.messages[2] == "Filtering models modified after 2025-08-09T00:00:00+00:00"


def test_models_in_the_window_and_undated_ones_are_kept_in_their_order(
    good: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    now = SEEN + timedelta(hours=12)
    edge = now - timedelta(hours=48)
    inside = [
        {"id": 1, "lastModified": edge.isoformat()},
        {"id": 2, "lastModified": "2025-08-10T23:59:59.000Z"},
        {"id": 3, "lastModified": "2025-08-09T00:00:00"},  # without a zone: UTC
        {"id": 4},
        {"id": 5, "lastModified": None},
        {"id": 6, "lastModified": "yesterday"},
        {"id": 7, "lastModified": 5},
        {"id": 8, "last_modified": now},
        SimpleNamespace(last_modified=edge + timedelta(seconds=1)),
        SimpleNamespace(last_modified=None),
    ]
    outside = [
        {"id": 11, "lastModified": (edge - timedelta(seconds=1)).isoformat()},
        {"id": 12, "lastModified": "2025-08-09T01:59:59+02:00"},
        {"id": 13, "lastModified": "2001-01-01T00:00:00Z"},
        SimpleNamespace(last_modified=edge - timedelta(seconds=1)),
    ]
    mixed = [model for pair in zip(inside, outside * 3, strict=False) for model in pair]
    manager = SyncModeManager(environ=good)
    with caplog.at_level(logging.INFO, "gguf_assets.sync"):
        kept = manager.filter_models_for_incremental_sync(mixed, now)
    assert kept == inside
    assert caplog.messages == [
        "Filtering models modified after 2025-08-09T00:00:00+00:00",
        "Incremental sync: 10/20 models within 48h window",
    ]
    assert manager.filter_models_for_incremental_sync([], now) == []


def test_the_window_covers_the_time_since_the_last_success(good: dict[str, str]) -> None:
    now = SEEN + timedelta(hours=100)
    model = {"lastModified": (now - timedelta(hours=100)).isoformat()}
    assert SyncModeManager(environ=good).filter_models_for_incremental_sync([model], now) == [model]


@pytest.mark.parametrize(
    ("now", "before", "significant"),
    [(120, 100, True), (110, 100, True), (109, 100, False), (90, 100, True), (91, 100, False), (5, 0, False)],
)
def test_a_significant_change_triggers_a_full_sync(
    environ: dict[str, str], caplog: pytest.LogCaptureFixture, now: int, before: int, significant: bool
) -> None:
    with caplog.at_level(logging.INFO, "gguf_assets.sync"):
        assert SyncModeManager(environ=environ).should_trigger_full_sync(now, before) is significant
    said = [
        f"Significant change detected: {abs(now - before):.1f}% change in model count ({before} → {now})",
        "Switching to full sync due to significant changes",
    ]
    assert caplog.messages == (said if significant else [])


def test_the_report_has_the_documented_lines(
    environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    manager = SyncModeManager(SyncConfig(incremental_window_hours=36), environ=environ)
    metadata = SyncMetadata("2025-08-10T12:00:00+00:00", "incremental", 150, 5, 143, 2, 12.34)
    with caplog.at_level(logging.INFO, "gguf_assets.sync"):
        manager.log_sync_mode_report(metadata)
    assert caplog.messages == [
        "SYNC MODE REPORT",
        "Sync Mode: INCREMENTAL",
        "Duration: 12.3 seconds",
        "Models Processed: 150",
        "Incremental Changes:",
        "  Added: 5",
        "  Updated: 143",
        "  Removed: 2",
        "  Window: 36 hours",
    ]
    caplog.clear()
    with caplog.at_level(logging.INFO, "gguf_assets.sync"):
        manager.log_sync_mode_report(SyncMetadata(None, "full", 1000, sync_duration=60))
    assert caplog.messages == [
        "SYNC MODE REPORT",
        "Sync Mode: FULL",
        "Duration: 60.0 seconds",
        "Models Processed: 1000",
    ]


def test_a_wrong_sync_config_is_refused_by_name(environ: dict[str, str]) -> None:
    wrong = SyncConfig(incremental_window_hours=0, last_sync_file="../outside.json")
    with pytest.raises(InvalidSettings) as caught:
        SyncModeManager(wrong, environ=environ)
    assert {problem.key for problem in caught.value.problems} == {
        "sync_behavior.incremental_window_hours",
        "sync_behavior.last_sync_file",
    }


def test_another_last_sync_file_is_read(layout: Layout, environ: dict[str, str]) -> None:
    path = layout.data / "meta" / "last.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"sync_mode": "full", "success": False, "error_message": "no route"}))
    manager = SyncModeManager(SyncConfig(last_sync_file="data/meta/last.json"), environ=environ)
    last = manager.last_sync()
    assert last is not None
    assert (last.success, last.error_message) == (False, "no route")


# --- both


def documented() -> Iterator[str]:
    return iter(re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL))


def test_the_documented_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "sync-config-staging.yaml"
    path.write_bytes(shipped_profile(SYNC_DOCUMENT, "staging"))
    configuration, mode = documented()
    exec(compile(configuration, "docs/python.md", "exec"), {})
    first, origin, *advice = capsys.readouterr().out.splitlines()
    assert (first, origin) == ("staging 1.0", f"file {path}")
    assert len(advice) == 1
    exec(compile(mode, "docs/python.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == [
        "full first_run",
        "['new/model', 'undated/model']",
        "True",
        "never synced",
    ]
    assert list(tmp_path.iterdir()) == [path], "nothing is written"


def test_the_names_load_no_dagster() -> None:
    code = (
        "import sys, gguf_assets.config, gguf_assets.sync;"
        "print([name for name in ('dagster', 'huggingface_hub') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
