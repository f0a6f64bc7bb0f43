"""What the published days say of models that are missed, replaced, renamed, closed, opened or back again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from gguf_assets.demo.faults import Fault, FaultKind
from gguf_assets.demo.server import LoopbackHub
from gguf_assets_tests.calling import Catalogue, assert_clear, failure_text, launch
from gguf_assets_tests.hubs import hub_of, repository

DAYS = FIRST, SECOND, THIRD = date(2025, 8, 10), date(2025, 8, 11), date(2025, 8, 12)
QUIET = [repository(f"owner/quiet-{number:02d}") for number in range(40)]
MISSED = repository("owner/missed")
OLD = repository("owner/replaced", hub_id="a" * 24, sha="a" * 40)
NEW = repository("owner/replaced", hub_id="b" * 24, sha="b" * 40, created_at="2025-08-11T08:00:00.000Z")
AGAIN = replace(OLD, model_id="owner/back-again")
FORMER = repository("owner/former-name")
RENAMED = replace(FORMER, model_id="newowner/present-name")
OPEN, CLOSED = repository("owner/closing"), repository("owner/opening", gated="manual")
WORKING, BLOCKED = repository("owner/failing"), repository("owner/mended", disabled=True)
BEFORE = [*QUIET, MISSED, OLD, FORMER, OPEN, CLOSED, WORKING, BLOCKED]
AFTER = [
    *QUIET,
    MISSED,
    NEW,
    RENAMED,
    replace(OPEN, gated="auto"),
    replace(CLOSED, gated=False),
    replace(WORKING, disabled=True),
    replace(BLOCKED, disabled=False),
]


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    with hub_of({FIRST: BEFORE, SECOND: AFTER, THIRD: [*AFTER, AGAIN]}) as hub:
        yield hub


@pytest.fixture(scope="module")
def catalogue(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """Three published days; on the second one the listing misses a repository."""
    catalogue = Catalogue(tmp_path_factory.mktemp("days"), hub)
    for day in DAYS:
        hub.set_day(day)
        hole = Fault(FaultKind.DROP_ROW, "sort=createdAt", hub_id=MISSED.hub_id)
        ended = catalogue.sync("--json", fault=hole if day == SECOND else None)
        assert ended.code == 0, ended
    return catalogue


@pytest.fixture(scope="module")
def second(catalogue: Catalogue) -> dict[str, list[dict[str, Any]]]:
    """The changes of the second day by identity."""
    changes: dict[str, list[dict[str, Any]]] = {}
    for row in catalogue.rows("changes", SECOND):
        changes.setdefault(row["hub_id"], []).append(row)
    return changes


def test_a_model_that_the_listing_misses_is_asked_for_and_put_back(catalogue, second):
    assert MISSED.hub_id not in second
    row = catalogue.models(SECOND)["owner/missed"]
    assert (row["presence"], row["discovered_by"]) == ("put back", ["name"])
    assert row["downloads"] == MISSED.downloads
    assert row["counters_observed_at"].date() == SECOND, "it was looked at when it was asked for"
    assert catalogue.store.published.manifest(SECOND).figures["put_back"] == 1
    paths = [file["path"] for file in catalogue.rows("files", SECOND) if file["model_id"] == "owner/missed"]
    assert paths == ["missed.Q4_K_M.gguf"]
    assert MISSED.hub_id not in {row["hub_id"] for row in catalogue.rows("tombstones", SECOND)}
    completeness = catalogue.store.published.manifest(SECOND).completeness
    assert completeness == pytest.approx(46 / 47)


def test_a_model_that_is_listed_again_is_no_change(catalogue):
    row = catalogue.models(THIRD)["owner/missed"]
    assert row["presence"] == "listed"
    assert row["first_seen"] == FIRST
    assert MISSED.hub_id not in {change["hub_id"] for change in catalogue.rows("changes", THIRD)}


def test_a_repository_made_anew_under_a_name_removes_the_old_one_with_evidence(catalogue, second):
    (removed,), (made,) = second[OLD.hub_id], second[NEW.hub_id]
    assert (removed["change"], removed["model_id"]) == ("removed", "owner/replaced")
    assert removed["evidence"]
    assert (made["change"], made["model_id"], made["sha"]) == ("recreated", "owner/replaced", NEW.sha)
    assert OLD.hub_id in made["evidence"]
    assert catalogue.models(SECOND)["owner/replaced"]["hub_id"] == NEW.hub_id
    (tombstone,) = catalogue.rows("tombstones", SECOND)
    assert tombstone == {
        "hub_id": OLD.hub_id,
        "last_model_id": "owner/replaced",
        "last_sha": OLD.sha,
        "first_seen": FIRST,
        "removed_on": SECOND,
        "evidence": removed["evidence"],
    }


def test_a_removed_model_that_comes_back_is_restored_and_has_no_tombstone(catalogue):
    (back,) = catalogue.rows("changes", THIRD)
    assert (back["change"], back["hub_id"], back["model_id"]) == ("restored", OLD.hub_id, "owner/back-again")
    assert str(SECOND) in back["evidence"]
    assert catalogue.rows("tombstones", THIRD) == []


def test_a_new_name_of_a_repository_is_a_renaming(catalogue, second):
    (row,) = second[FORMER.hub_id]
    assert row["change"] == "renamed"
    assert (row["previous_model_id"], row["model_id"]) == ("owner/former-name", "newowner/present-name")
    models = catalogue.models(SECOND)
    assert "owner/former-name" not in models
    assert models["newowner/present-name"]["first_seen"] == FIRST
    assert models["newowner/present-name"]["owner"] == "newowner"


@pytest.mark.parametrize(
    ("name", "change", "field", "value"),
    [
        ("owner/closing", "gated", "gated", "auto"),
        ("owner/opening", "ungated", "gated", "no"),
        ("owner/failing", "disabled", "disabled", True),
        ("owner/mended", "enabled", "disabled", False),
    ],
)
def test_a_model_that_is_closed_or_opened_says_so(catalogue, second, name, change, field, value):
    model = catalogue.models(SECOND)[name]
    (row,) = second[model["hub_id"]]
    assert row["change"] == change
    assert row["changed_fields"] == [field]
    assert row["evidence"]
    assert model[field] == value


def test_nothing_else_changed(catalogue, second):
    changed = [row["change"] for rows in second.values() for row in rows]
    kinds = ["removed", "recreated", "renamed", "gated", "ungated", "disabled", "enabled"]
    assert sorted(changed) == sorted(kinds)
    assert catalogue.rows("changes", FIRST) == []


def test_the_published_catalogue_launched_alone_publishes_the_same_again(catalogue):
    before = catalogue.published()
    assert launch(catalogue, THIRD, "published_catalogue").success
    assert catalogue.published() == before


def test_a_day_without_a_candidate_is_not_published(catalogue, tmp_path):
    copy = catalogue.copy(tmp_path)
    copy.store.layout.candidate_manifest(SECOND).unlink()
    result = launch(copy, SECOND, "published_catalogue")
    assert not result.success
    assert "2025-08-11 has no candidate" in failure_text(result)
    assert copy.published() == catalogue.published()


def test_a_frozen_day_is_changed_only_when_asked_to(catalogue, tmp_path):
    copy = catalogue.copy(tmp_path)
    before = copy.published()
    other = {"GGUF_SYNC__VALIDATION__ENABLE_QUALITY_SCORING": "false"}
    ended = copy.call("rederive", "--from", "2025-08-11", "--to", "2025-08-11", **other)
    assert_clear(ended, 1, "2025-08-11 is frozen and would change in health", "--replace")
    assert copy.published() == before
    ended = copy.call("rederive", "--from", "2025-08-11", "--to", "2025-08-11")
    assert ended.code == 0, ended
    assert ended.stdout.split() == ["2025-08-11", "identical"]
    assert copy.published() == before
