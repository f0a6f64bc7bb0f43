"""The checks: what they say, which of them stop publishing, and that nobody gets past them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import orjson
import pytest

from gguf_assets.demo import documents
from gguf_assets.demo.faults import Fault, FaultKind
from gguf_assets.demo.server import LoopbackHub
from gguf_assets.hub.walk import FULL_FIELDS
from gguf_assets.orchestration.checks import details_result
from gguf_assets.settings.load import load_settings
from gguf_assets.store.datasets import read_table
from gguf_assets_tests.calling import Catalogue, assert_clear, checks_of, failure_text, launch
from gguf_assets_tests.hubs import hub_of, repository

FIRST, SECOND = date(2025, 8, 10), date(2025, 8, 11)
REPOSITORIES = [repository(f"owner/model-{number:03d}") for number in range(40)]
ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    with hub_of({FIRST: REPOSITORIES, SECOND: REPOSITORIES}) as hub:
        yield hub


@pytest.fixture(scope="module")
def first_day(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    hub.set_day(FIRST)
    catalogue = Catalogue(tmp_path_factory.mktemp("first"), hub)
    assert catalogue.sync("--details", "none").code == 0
    return catalogue


@pytest.fixture
def catalogue(first_day: Catalogue, tmp_path: Path) -> Catalogue:
    """A catalogue whose first day is published, on the second one."""
    first_day.hub.set_day(SECOND)
    return first_day.copy(tmp_path)


def listing(count: int, *, broken: int = 0) -> Fault:
    """The Hub lists the first so many repositories, and the first of these without an identity."""
    rows = [documents.item(repository, FULL_FIELDS) for repository in REPOSITORIES[:count]]
    for row in rows[:broken]:
        del row["_id"]
    headers = {"content-type": "application/json"}
    return Fault(FaultKind.GARBAGE, "sort=createdAt", body=orjson.dumps(rows), headers=headers, count=None)


def test_half_of_the_rows_broken_on_a_first_day_is_refused_with_score_and_threshold(hub, tmp_path):
    hub.set_day(FIRST)
    catalogue = Catalogue(tmp_path, hub)
    ended = catalogue.sync("--json", "--details", "none", fault=listing(40, broken=20))
    text = "2025-08-10 was not published: completeness 0.5000 is below the minimum 0.95"
    assert_clear(ended, 1, text, "gguf-assets sync --date 2025-08-10 --refetch")
    assert ended.json == {
        "error": ended.stderr.splitlines()[0].removeprefix("Error: "),
        "remedy": ended.stderr.splitlines()[1],
        "category": "data",
        "published": False,
    }
    assert catalogue.published() == {}
    assert (catalogue.last.state, catalogue.last.category) == ("failed", "data")
    assert text in (catalogue.last.error_message or "")
    assert text in catalogue.last_sync_file["error_message"]
    assert catalogue.store.candidates.manifest(FIRST).figures["quarantined"] == 20
    assert catalogue.sync("--details", "none").code == 0, "the next undisturbed sync walks again"
    assert catalogue.store.published.days() == [FIRST]


def test_the_checks_of_a_first_day_warn_that_nothing_can_be_compared(first_day):
    checks = checks_of(first_day)
    yellow = {name: check.description or "" for name, check in checks.items() if not check.passed}
    assert {checks[name].severity for name in yellow} == {WARN}
    assert yellow.keys() == {"completeness", "file_detail_coverage", "counters", "day"}
    assert yellow["completeness"].startswith("No independent count: ")
    assert yellow["file_detail_coverage"].startswith("file details known for 0 of 40 models: 0.0000 is below")
    assert yellow["day"].startswith("skipped: partial_day")
    assert yellow["counters"].startswith("skipped: "), "the Hub names no downloads of all time here"
    assert (checks["contents"].description or "").startswith("1 rule kept; skipped: ")


@pytest.mark.parametrize(("minimum", "passed"), [("0.75", True), ("0.7501", False), ("0", True)])
def test_file_details_are_measured_by_the_minimum_of_the_settings_and_never_block(minimum, passed):
    settings = load_settings({"GGUF_SYNC__VALIDATION__MIN_FILE_DETAIL_COVERAGE": minimum}).settings
    check = details_result(30, 40, settings.validation.min_file_detail_coverage)
    assert (check.passed, check.severity) == (passed, WARN)
    said = f"file details known for 30 of 40 models: 0.7500 {'reaches' if passed else 'is below'} {minimum} "
    assert (check.description or "").startswith(said)
    assert check.metadata["share"].value == 0.75


def test_a_listing_cut_to_60_percent_is_refused_and_changes_nothing(catalogue):
    before = catalogue.published()
    ended = catalogue.sync("--details", "none", fault=listing(24), SYNC_ENVIRONMENT="production")
    assert_clear(ended, 1, "2025-08-11 was not published: completeness 0.6000 is below the minimum 0.95")
    assert catalogue.published() == before
    completeness = checks_of(catalogue)["completeness"]
    assert (completeness.passed, completeness.severity, completeness.blocking) == (False, ERROR, True)
    parts = {name: entry.value for name, entry in completeness.metadata.items()}
    assert {name: parts[name] for name in ("coverage", "score", "fill", "minimum")} == {
        "coverage": pytest.approx(0.6),
        "score": pytest.approx(0.6),
        "fill": 1.0,
        "minimum": 0.95,
    }
    # The sixteen that the listing lacks were seen by another route.
    assert (parts["listed"], parts["seen_by_other_routes"]) == (24, 16)
    assert parts["put_back"] == parts["unconfirmed"] == parts["quarantined"] == 0
    changes = read_table(catalogue.store.layout.candidate_file("changes", SECOND))
    assert changes["change"].to_pylist() == [], "nobody is marked removed"
    assert read_table(catalogue.store.layout.candidate_file("tombstones", SECOND)).num_rows == 0
    syncs = catalogue.call("status", "--json").json["syncs"]
    assert [sync["state"] for sync in syncs].count("failed") == 1

    alone = launch(catalogue, SECOND, "published_catalogue")
    assert not alone.success
    assert "completeness 0.6000 is below the minimum 0.95" in failure_text(alone)
    assert catalogue.published() == before

    ended = catalogue.sync("--json", "--details", "none")
    assert ended.code == 0, ended
    assert ended.json["completeness"] == 1.0


def test_a_listing_cut_to_85_percent_is_enough_for_development_only(catalogue):
    ended = catalogue.sync("--details", "none", fault=listing(34), SYNC_ENVIRONMENT="production")
    assert_clear(ended, 1, "completeness 0.8500 is below the minimum 0.95")
    catalogue.hub.clear_requests()
    ended = catalogue.sync("--json", SYNC_ENVIRONMENT="development")
    assert ended.code == 0, ended
    assert ended.json["completeness"] == pytest.approx(0.85)
    assert len(catalogue.hub.requests) == 1, "other settings judge what is stored; only the clock is asked"
    models = catalogue.models(SECOND).values()
    assert [row["presence"] for row in models].count("put back") == 6, "each was asked for, and is there"
    assert not any(row["change"] == "removed" for row in catalogue.rows("changes", SECOND))


def test_a_refused_second_look_at_a_published_day_is_not_looked_at_for_ever(catalogue):
    """It is walked again by the next sync, as the first one of a day is; nothing published has changed."""
    catalogue.environ["SYNC_ENVIRONMENT"] = "production"
    assert catalogue.sync("--details", "none").code == 0
    before = catalogue.published()
    refused = catalogue.sync("--refetch", "--details", "none", fault=listing(34))
    assert_clear(refused, 1, "completeness 0.8500 is below the minimum 0.95")
    assert catalogue.published() == before
    ended = catalogue.sync("--details", "none", "--json")
    assert (ended.code, ended.json["completeness"]) == (0, 1.0), ended
    assert catalogue.last.state == "finished"
    again = catalogue.sync("--details", "none")
    assert again.code == 0
    assert len(catalogue.hub.requests) == 1, "only the clock is asked: the day is published and concluded"


def test_a_check_that_is_switched_off_reads_skipped_and_lets_the_day_pass(catalogue):
    off = {"GGUF_SYNC__VALIDATION__ENABLE_COMPLETENESS_CHECKING": "false"}
    ended = catalogue.sync("--json", "--details", "none", fault=listing(24), **off)
    assert ended.code == 0, ended
    completeness = checks_of(catalogue)["completeness"]
    assert (completeness.passed, completeness.severity) == (False, WARN)
    assert (completeness.description or "").startswith(
        "skipped: validation.enable_completeness_checking is off; completeness 0.6000 is below the minimum"
    )


def test_a_threshold_that_was_raised_since_the_judgement_holds_in_published_catalogue(catalogue):
    lenient = {"GGUF_SYNC__VALIDATION__MIN_COMPLETENESS_SCORE": "0.8"}
    assert catalogue.sync("--details", "none", fault=listing(34), **lenient).code == 0
    before = catalogue.published()
    assert catalogue.store.published.manifest(SECOND) is not None
    catalogue.environ["SYNC_ENVIRONMENT"] = "production"
    alone = launch(catalogue, SECOND, "published_catalogue")
    assert not alone.success
    assert "completeness 0.8500 is below the minimum 0.95 in force now" in failure_text(alone)
    assert catalogue.published() == before

    catalogue.environ |= lenient
    assert launch(catalogue, SECOND, "published_catalogue").success
    assert catalogue.published() == before


def test_an_unjudged_candidate_is_not_published(catalogue):
    assert catalogue.sync("--details", "none", fault=listing(24)).code == 1
    before = catalogue.published()
    assert launch(catalogue, SECOND, "catalogue_models", "catalogue_files").success
    alone = launch(catalogue, SECOND, "published_catalogue")
    assert not alone.success
    assert "not written yet" in failure_text(alone)
    assert catalogue.published() == before
