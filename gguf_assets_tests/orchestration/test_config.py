"""What may be chosen for one run, on the command line and in the Launchpad."""

from __future__ import annotations

import dagster as dg
import pytest

from gguf_assets.catalogue.sync_plan import SyncMode
from gguf_assets.errors import Refused
from gguf_assets.orchestration.build import build_defs
from gguf_assets.orchestration.config import ModeChoice, PublishConfig, SyncConfig, detail_limit
from gguf_assets.orchestration.partitions import machine_today


@pytest.fixture(scope="module")
def defs(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    home = str(tmp_path_factory.mktemp("home"))
    return build_defs(environ={"GGUF_ASSETS_DATA_DIR": home, "GGUF_ASSETS_STATE_DIR": home})


@pytest.mark.parametrize(
    ("text", "limit"), [("default", 2000), ("none", 0), ("all", None), ("0", 0), ("17", 17), ("007", 7)]
)
def test_details_are_a_word_or_a_number_of_requests(text: str, limit: int | None) -> None:
    assert detail_limit(text, 2000) == limit


@pytest.mark.parametrize("text", ["", "ALL", "-1", "1.5", "1e3", " 5", "٣", "²", "many"])
def test_other_details_are_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(Refused) as caught:
        detail_limit(text, 2000)
    assert f"details={text!r} is not allowed: use all, none or a number" in caught.value.message


def test_the_launchpad_offers_the_modes_of_the_core_by_their_names() -> None:
    offered = {choice.name: choice.value for choice in ModeChoice}
    assert offered == {mode.value: mode.value for mode in SyncMode}


def test_nothing_chosen_means_what_the_settings_say() -> None:
    config = SyncConfig()
    assert (config.mode, config.refetch, config.details) == (ModeChoice.auto, False, "default")
    assert PublishConfig().replace is False


def run_config(**options: object) -> dict:
    return {"ops": {"hub_listing": {"config": options}}}


@pytest.mark.parametrize("mode", list(SyncMode))
def test_every_mode_can_be_launched(defs: dg.Definitions, mode: SyncMode) -> None:
    assert dg.validate_run_config(defs.resolve_job_def("daily_sync"), run_config(mode=mode.value))


@pytest.mark.parametrize("options", [{"mode": "complete"}, {"refetch": "yes"}, {"detail": "all"}])
def test_what_cannot_be_chosen_is_refused_before_a_run_begins(defs: dg.Definitions, options: dict) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError):
        dg.validate_run_config(defs.resolve_job_def("daily_sync"), run_config(**options))


def test_the_full_sync_job_asks_for_the_full_mode_and_deriving_keeps_the_named_baseline(
    defs: dg.Definitions,
) -> None:
    expected = {
        "full_sync": {"hub_listing": {"config": {"mode": "full"}}},
        "rederive": {"catalogue_tables": {"config": {"as_published": True}}},
    }
    for name, ops in expected.items():
        job = defs.resolve_job_def(name)
        assert job.partitioned_config is not None
        config = job.partitioned_config.get_run_config_for_partition_key(str(machine_today()))
        assert config["ops"] == ops
        assert dg.validate_run_config(job, config)
