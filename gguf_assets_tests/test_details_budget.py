"""Details under a budget: who is asked for and when, what is unknown meanwhile, how the rest comes in."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import date, time
from pathlib import Path
from unittest import mock
from urllib.parse import unquote

import dagster as dg
import pytest

from gguf_assets.demo.faults import Fault, FaultKind
from gguf_assets.demo.server import LoopbackHub
from gguf_assets.demo.state import Repository
from gguf_assets.orchestration.backlog import BacklogConfig
from gguf_assets.orchestration.build import build_defs
from gguf_assets.orchestration.instance import open_instance
from gguf_assets_tests.calling import Catalogue
from gguf_assets_tests.hubs import gguf, hub_of, plain, repository

FIRST, SECOND, THIRD = date(2025, 8, 10), date(2025, 8, 11), date(2025, 8, 12)
POPULAR = [f"owner/model-{number}" for number in range(8)]
"""Names of the models of the first day, most downloads first."""

NEW, BIG_SIZE = "owner/newcomer", 7_000_000_000


def models(*changed: str, new: bool = False) -> Sequence[Repository]:
    """The models of a day; the changed ones have another commit and one more file."""
    repositories = []
    for number, name in enumerate(POPULAR):
        files = [plain("README.md"), gguf(f"{name[6:]}.Q4_K_M.gguf")]
        sha = f"{number:040x}"
        if name in changed:
            files.append(gguf(f"{name[6:]}.Q8_0.gguf", BIG_SIZE))
            sha = f"{number + 100:040x}"
        downloads = 1_000 - 100 * number
        repositories.append(repository(name, files=files, sha=sha, downloads=downloads))
    return [*repositories, repository(NEW, downloads=1)] if new else repositories


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    changed = POPULAR[:2]
    days = {FIRST: models(), SECOND: models(*changed, new=True), THIRD: models(*changed, new=True)}
    with hub_of(days, day=FIRST, tick=0) as hub:
        yield hub


@pytest.fixture(scope="module")
def first_day(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """A catalogue whose first day is published with the details of five models."""
    catalogue = Catalogue(tmp_path_factory.mktemp("first"), hub)
    hub.set_day(FIRST)
    assert synced(catalogue, "--details", "5") == POPULAR[:5]
    return catalogue


@pytest.fixture
def catalogue(first_day: Catalogue, tmp_path: Path) -> Catalogue:
    """A copy of it, still on the first day."""
    first_day.hub.set_day(FIRST)
    return first_day.copy(tmp_path)


def asked(hub: LoopbackHub) -> list[str]:
    """The models whose details the Hub was asked for, in order."""
    targets = [unquote(request.target) for request in hub.requests if "/revision/" in request.target]
    return [target.removeprefix("/api/models/").partition("/revision/")[0] for target in targets]


def synced(catalogue: Catalogue, *arguments: str) -> list[str]:
    """Sync the Hub's day and return the models whose details were asked for, in order."""
    ended = catalogue.sync("--json", *arguments)
    assert ended.code == 0, ended
    names = asked(catalogue.hub)
    assert ended.json["detail_requests"] == len(names)
    assert ended.json["requests"] == len(catalogue.hub.requests)
    return names


def files_of(catalogue: Catalogue, day: date, name: str) -> dict[str, tuple[int | None, str | None]]:
    """Paths of the GGUF files of a model with size and checksum."""
    return {
        row["path"]: (row["size_bytes"], row["sha256"])
        for row in catalogue.rows("files", day)
        if row["model_id"] == name
    }


def coverage_checks(catalogue: Catalogue) -> list[tuple[str, bool, dg.AssetCheckSeverity, str]]:
    """The verdicts of the check on file details, and how many it says are known, by day."""
    verdicts = []
    with mock.patch.dict(os.environ), open_instance(catalogue.store.layout.dagster_home) as instance:
        for run in instance.get_runs():
            for record in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
                check = record.get_dagster_event().asset_check_evaluation_data
                if check.check_name == "file_detail_coverage":
                    known = (check.description or "").partition(":")[0]
                    verdict = check.passed, check.severity, known
                    verdicts.append((run.tags["dagster/partition"], *verdict))
    return sorted(verdicts)


def test_without_details_the_first_day_has_all_names_and_no_size(hub, tmp_path):
    hub.set_day(FIRST)
    catalogue = Catalogue(tmp_path, hub)
    assert synced(catalogue, "--details", "none") == []
    for name in POPULAR:
        assert files_of(catalogue, FIRST, name) == {f"{name[6:]}.Q4_K_M.gguf": (None, None)}
        model = catalogue.models(FIRST)[name]
        assert (model["gguf_files"], model["gguf_bytes"], model["details_sha"]) == (1, None, None)
        assert model["quantizations"] == ["Q4_K_M"]
    assert coverage_checks(catalogue) == [
        (str(FIRST), False, dg.AssetCheckSeverity.WARN, "file details known for 0 of 8 models")
    ]


def test_a_first_day_beyond_the_budget_asks_for_the_popular_ones_and_warns(catalogue):
    for name, model in catalogue.models(FIRST).items():
        known = name in POPULAR[:5]
        assert model["details_sha"] == (model["sha"] if known else None)
        assert model["gguf_files"] == 1
        ((size, sha256),) = files_of(catalogue, FIRST, name).values()
        assert (size is not None, sha256 is not None) == (known, known)
    assert coverage_checks(catalogue) == [
        (str(FIRST), False, dg.AssetCheckSeverity.WARN, "file details known for 5 of 8 models")
    ]


def test_new_and_changed_models_come_first_and_the_next_day_continues_with_the_rest(catalogue):
    catalogue.hub.set_day(SECOND)
    assert synced(catalogue, "--mode", "incremental", "--details", "4") == [*POPULAR[:2], NEW, POPULAR[5]]
    catalogue.hub.set_day(THIRD)
    assert synced(catalogue, "--mode", "incremental", "--details", "all") == POPULAR[6:]
    assert [(day, passed, text) for day, passed, _, text in coverage_checks(catalogue)] == [
        (str(FIRST), False, "file details known for 5 of 8 models"),
        (str(SECOND), False, "file details known for 7 of 9 models"),
        (str(THIRD), True, "file details known for 9 of 9 models"),
    ]


def test_beyond_the_budget_of_a_census_names_stay_sizes_are_unknown_and_a_new_model_has_no_files(catalogue):
    catalogue.hub.set_day(SECOND)
    asked_first, beyond = POPULAR[:2]
    assert synced(catalogue, "--mode", "incremental", "--details", "1") == [asked_first]
    models = catalogue.models(SECOND)
    # Asked for: everything is known at the new commit.
    assert models[asked_first]["gguf_files"] == 2
    assert files_of(catalogue, SECOND, asked_first)[f"{asked_first[6:]}.Q8_0.gguf"][0] == BIG_SIZE
    # Changed and not asked for: the names last known stand, sizes and sums do not.
    was = catalogue.models(FIRST)[beyond]
    assert models[beyond]["sha"] != was["sha"]
    assert models[beyond]["details_sha"] == was["sha"]
    assert (models[beyond]["gguf_files"], models[beyond]["gguf_bytes"]) == (1, None)
    assert files_of(catalogue, SECOND, beyond) == {f"{beyond[6:]}.Q4_K_M.gguf": (None, None)}
    # New and not asked for: a census carries no names.
    assert files_of(catalogue, SECOND, NEW) == {}
    for column in ("gguf_files", "gguf_bytes", "quantizations", "details_sha"):
        assert models[NEW][column] is None
    changes = {(row["model_id"], row["change"]): row for row in catalogue.rows("changes", SECOND)}
    assert set(changes) == {(asked_first, "updated"), (beyond, "updated"), (NEW, "added")}
    assert changes[asked_first, "updated"]["files_added"] == 1
    for unknown in (changes[beyond, "updated"], changes[NEW, "added"]):
        counts = ("files_added", "files_removed", "files_replaced", "bytes_delta")
        assert {unknown[column] for column in counts} == {None}
    # The next day asks for the rest and knows them all.
    catalogue.hub.set_day(THIRD)
    assert synced(catalogue, "--mode", "incremental", "--details", "all") == [NEW, beyond, *POPULAR[5:]]
    assert files_of(catalogue, THIRD, beyond)[f"{beyond[6:]}.Q8_0.gguf"][0] == BIG_SIZE
    assert catalogue.models(THIRD)[NEW]["gguf_files"] == 1


def test_in_full_mode_a_changed_model_beyond_the_budget_has_the_names_of_the_listing(catalogue):
    catalogue.hub.set_day(SECOND)
    assert synced(catalogue, "--mode", "full", "--details", "1") == [POPULAR[0]]
    beyond = POPULAR[1]
    assert files_of(catalogue, SECOND, beyond) == {
        f"{beyond[6:]}.Q4_K_M.gguf": (None, None),
        f"{beyond[6:]}.Q8_0.gguf": (None, None),
    }
    assert catalogue.models(SECOND)[NEW]["gguf_files"] == 1
    assert catalogue.models(SECOND)[POPULAR[2]]["gguf_bytes"] is not None


def work_off(catalogue: Catalogue, requests: int) -> dg.ExecuteInProcessResult:
    """Run the job `details_backlog` as the UI would, in this process."""
    catalogue.hub.clear_requests()
    with mock.patch.dict(os.environ, catalogue.environ, clear=True):
        job = build_defs().resolve_job_def("details_backlog")
        with open_instance(catalogue.store.layout.dagster_home) as instance:
            return job.execute_in_process(
                instance=instance,
                run_config=dg.RunConfig(ops={"ask_for_details": BacklogConfig(requests=requests)}),
                raise_on_error=False,
            )


def test_the_backlog_is_appended_and_used_from_the_next_day_on(catalogue):
    published = catalogue.published()
    stored = catalogue.store.captures.open(FIRST, 1).details_files
    assert work_off(catalogue, 2).success
    assert asked(catalogue.hub) == POPULAR[5:7]
    assert catalogue.store.captures.open(FIRST, 1).details_files == stored + 1
    # The day itself stays as it is, also when it is derived again.
    assert catalogue.published() == published
    catalogue.hub.clear_requests()
    again = catalogue.call("rederive", "--json")
    assert (again.code, again.json) == (0, {"days": {str(FIRST): "identical"}, "requests": 0}), again
    assert catalogue.call("sync", "--date", str(FIRST)).code == 0
    assert catalogue.hub.requests == []
    assert catalogue.published() == published
    # The next day knows what was learned and asks for the others only.
    catalogue.hub.set_day(SECOND)
    assert synced(catalogue, "--mode", "incremental", "--details", "all") == [*POPULAR[:2], NEW, POPULAR[7]]
    for name in POPULAR:
        assert all(size for size, _ in files_of(catalogue, SECOND, name).values())
    # And so do both days derived again.
    published = catalogue.published()
    again = catalogue.call("rederive", "--json")
    assert again.json["days"] == {str(FIRST): "identical", str(SECOND): "identical"}
    assert catalogue.published() == published


def test_another_walk_of_the_day_uses_the_backlog_without_asking(catalogue):
    assert work_off(catalogue, 100).success
    assert asked(catalogue.hub) == POPULAR[5:]
    assert synced(catalogue, "--refetch", "--details", "all") == []
    assert catalogue.store.published.manifest(FIRST).capture.run == 2
    assert all(model["gguf_bytes"] for model in catalogue.models(FIRST).values())
    published = catalogue.published()
    assert catalogue.call("rederive").code == 0
    assert catalogue.published() == published


def test_the_backlog_of_a_day_that_the_hub_has_left_for_good_stays_as_it_is(catalogue):
    captured = {path: path.read_bytes() for path in catalogue.data.glob("captures/**/*") if path.is_file()}
    catalogue.hub.set_day(SECOND, time(7))
    result = work_off(catalogue, 100)
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert f"{FIRST} is frozen" in failure.step_failure_data.user_failure_data.description
    assert asked(catalogue.hub) == []
    assert {path: path.read_bytes() for path in captured} == captured
    assert len(catalogue.store.history.syncs()) == 1


def test_the_backlog_of_an_empty_store_says_what_to_do(hub, tmp_path):
    result = work_off(Catalogue(tmp_path, hub), 1)
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "no published day" in failure.step_failure_data.user_failure_data.description
    assert hub.requests == []


def test_a_limit_given_when_an_interrupted_sync_goes_on_replaces_the_first_one(
    hub: LoopbackHub, tmp_path: Path
) -> None:
    hub.set_day(FIRST)
    catalogue = Catalogue(tmp_path, hub, MAX_RETRIES="0")
    down = Fault(FaultKind.RESET, path="/revision/", nth=3, count=None)
    assert catalogue.sync("--details", "all", "--json", fault=down).code == 1
    ended = catalogue.sync("--details", "3", "--json")
    assert ended.json["detail_requests"] == 1
    assert asked(hub) == POPULAR[2:3]
    assert [model["details_sha"] for model in catalogue.models(FIRST).values()].count(None) == 5
