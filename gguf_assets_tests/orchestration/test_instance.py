"""The one Dagster instance of a state folder."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg
import pytest
import yaml

import gguf_assets
from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.orchestration.coordinator import ReapingRunCoordinator
from gguf_assets.orchestration.instance import instance_settings, open_instance, prepare_home
from gguf_assets.orchestration.jobs import WRITES


@pytest.fixture(autouse=True)
def _no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the module sets is gone after the test."""
    monkeypatch.setenv("DAGSTER_HOME", "/unset")


def test_a_home_is_written_with_absolute_paths_that_mean_the_same_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    prepare_home(Path("state") / "dagster")
    home = tmp_path / "state" / "dagster"
    assert os.environ["DAGSTER_HOME"] == str(home)
    written = yaml.safe_load((home / "dagster.yaml").read_text())
    assert written == instance_settings(home)
    assert written["storage"]["sqlite"]["base_dir"] == str(home)

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with open_instance(home) as instance:
        instance.add_run(dg.DagsterRun(job_name="job", run_id="a" * 8))
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == []
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert [run.run_id for run in instance.get_runs()] == ["a" * 8]


def test_what_the_operator_wrote_into_it_stays(tmp_path: Path) -> None:
    prepare_home(tmp_path)
    path = tmp_path / "dagster.yaml"
    path.write_text(path.read_text().replace("max_concurrent_runs: 4", "max_concurrent_runs: 2"))
    with open_instance(tmp_path) as instance:
        assert instance.get_concurrency_config().run_queue_config.max_concurrent_runs == 2
    assert "max_concurrent_runs: 2" in path.read_text()


def test_writing_runs_queue_one_after_another_and_nothing_is_sent_home(tmp_path: Path) -> None:
    with open_instance(tmp_path) as instance:
        queue = instance.get_concurrency_config().run_queue_config
        assert queue.tag_concurrency_limits == [{"key": key, "limit": 1} for key in WRITES]
        assert isinstance(instance.run_coordinator, ReapingRunCoordinator)
        assert not instance.telemetry_enabled
        assert instance.run_monitoring_enabled
        # A killed run would keep its slot for ever.
        assert instance.event_log_storage.get_concurrency_keys() == set()
        assert instance.get_settings("run_retries") == {
            "enabled": True,
            "max_retries": 0,
            "retry_on_asset_or_op_failure": False,
        }


def test_a_bare_dagster_dev_in_the_checkout_has_the_same_settings_and_the_same_place() -> None:
    path = Path(gguf_assets.__file__).parent.parent / "dagster.yaml"
    if not path.exists():
        pytest.skip("not run from a checkout")
    assert yaml.safe_load(path.read_text()) == instance_settings(Path("data") / "dagster")


def test_a_home_that_cannot_be_written_is_an_error_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    with pytest.raises(PermanentError) as caught:
        prepare_home(tmp_path / "state" / "dagster")
    assert caught.value.category is ErrorCategory.STORAGE
