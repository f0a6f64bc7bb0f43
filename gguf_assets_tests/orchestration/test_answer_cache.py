"""What the Hub refused to tell is not asked for again for so many hours, and facts never; by request counts.

Of five models the Hub refuses the details of two, on every day, so that asking again changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, time, timedelta
from pathlib import Path
from unittest import mock
from urllib.parse import unquote

import pytest
from dagster import AssetKey

from gguf_assets.demo.faults import Fault, FaultKind
from gguf_assets.demo.server import LoopbackHub
from gguf_assets.orchestration.instance import open_instance
from gguf_assets_tests.calling import Catalogue
from gguf_assets_tests.hubs import hub_of, repository

FIRST = date(2025, 8, 10)
SECOND, THIRD, RENAMED = (FIRST + timedelta(days) for days in (1, 2, 3))
TOLD = ["owner/told-1", "owner/told-2", "owner/told-3"]
REFUSED = {"owner/blocked": 403, "owner/lost": 404}
FOUND = replace(repository("owner/lost"), model_id="owner/found-again")
TTL = "GGUF_SYNC__PERFORMANCE__CACHE_TTL_HOURS"
CACHING = "GGUF_SYNC__PERFORMANCE__ENABLE_CACHING"


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    models = [repository(name) for name in (*TOLD, *REFUSED)]
    after = [FOUND, *(model for model in models if model.hub_id != FOUND.hub_id)]
    with hub_of({FIRST: models, SECOND: models, THIRD: models, RENAMED: after}, tick=0) as hub:
        yield hub


@pytest.fixture(scope="module")
def synced_first(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """The first day is published: three models are told of, two are refused."""
    catalogue = Catalogue(tmp_path_factory.mktemp("first"), hub)
    assert asked(catalogue, FIRST) == {*TOLD, *REFUSED}
    return catalogue


@pytest.fixture
def catalogue(synced_first: Catalogue, tmp_path: Path) -> Catalogue:
    return synced_first.copy(tmp_path)


def asked(catalogue: Catalogue, day: date, *arguments: str, at: time = time(12), **environ: str) -> set[str]:
    """Sync a day at a time of it and return the models whose details were asked for, each at most once."""
    hub = catalogue.hub
    hub.set_day(day, at)
    hub.faults[:] = [
        Fault(FaultKind.STATUS, f"/api/models/{name}/revision/", status=status, count=None)
        for name, status in REFUSED.items()
    ]
    hub.clear_requests()
    try:
        ended = catalogue.call("sync", *arguments, **environ)
    finally:
        hub.faults.clear()
    assert ended.code == 0, ended
    targets = [unquote(request.target) for request in hub.requests if "/revision/" in request.target]
    names = [target.removeprefix("/api/models/").partition("/revision/")[0] for target in targets]
    assert len(names) == len(set(names)), names
    return set(names)


def test_a_refusal_is_not_asked_for_again_within_its_hours_and_is_after_them(catalogue: Catalogue) -> None:
    """24 hours, and the capture of the first day began at noon."""
    assert asked(catalogue, SECOND, at=time(11, 59)) == set()
    assert asked(catalogue, SECOND, "--refetch", at=time(12)) == set(REFUSED)
    # From there on they count as asked for at noon of the second day.
    assert asked(catalogue, THIRD, at=time(11, 59)) == set()


def test_the_ui_says_how_many_answers_were_taken_over(catalogue: Catalogue) -> None:
    assert asked(catalogue, FIRST, "--refetch", at=time(12, 30)) == set()
    with (
        mock.patch.dict("os.environ", catalogue.environ, clear=True),
        open_instance(catalogue.store.layout.dagster_home) as instance,
    ):
        event = instance.get_latest_materialization_event(AssetKey("hub_details"))
    assert event is not None and event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    assert [metadata[name].value for name in ("taken_over", "asked")] == [len(TOLD) + len(REFUSED), 0]


def test_a_refusal_taken_over_grows_no_younger(catalogue: Catalogue) -> None:
    assert asked(catalogue, SECOND, at=time(11)) == set()
    assert asked(catalogue, THIRD, at=time(10)) == set(REFUSED)


@pytest.mark.parametrize(("hours", "expected"), [("48", set()), ("47", set(REFUSED))])
def test_more_hours_hold_across_days(catalogue: Catalogue, hours: str, expected: set[str]) -> None:
    assert asked(catalogue, SECOND, at=time(6), **{TTL: hours}) == set()
    assert asked(catalogue, THIRD, at=time(11, 30), **{TTL: hours}) == expected


def test_with_no_hours_refusals_are_asked_for_every_time(catalogue: Catalogue) -> None:
    assert asked(catalogue, SECOND, at=time(0, 1), **{TTL: "0"}) == set(REFUSED)


def test_what_was_told_of_another_walk_is_a_fact_without_age(catalogue: Catalogue) -> None:
    """The first day is walked again; the capture of its first walk tells of three models."""
    assert asked(catalogue, FIRST, "--refetch", at=time(12, 30), **{TTL: "0"}) == set(REFUSED)


def test_without_caching_everything_is_asked_for_anew(catalogue: Catalogue) -> None:
    off = {CACHING: "false"}
    assert asked(catalogue, FIRST, "--refetch", at=time(12, 30), **off) == {*TOLD, *REFUSED}
    # Facts of the baseline are carried all the same: they are no answers of the cache.
    assert asked(catalogue, SECOND, at=time(6), **off) == set(REFUSED)


def test_without_caching_the_budget_holds(catalogue: Catalogue) -> None:
    found = asked(catalogue, FIRST, "--refetch", "--details", "2", at=time(12, 30), **{CACHING: "false"})
    assert len(found) == 2


def test_a_forced_sync_takes_over_nothing(catalogue: Catalogue) -> None:
    force = {"FORCE_FULL_SYNC": "true"}
    assert asked(catalogue, FIRST, at=time(12, 30), **force) == {*TOLD, *REFUSED}


def test_a_refusal_of_another_hub_counts_for_nothing(synced_first: Catalogue, tmp_path: Path) -> None:
    models = [repository(name) for name in (*TOLD, *REFUSED)]
    with hub_of({SECOND: models}, tick=0) as mirror:
        moved = synced_first.copy(tmp_path)
        assert asked(Catalogue(moved.home, mirror), SECOND, at=time(6)) == set(REFUSED)


def test_a_refusal_counts_for_the_name_it_was_given_for(catalogue: Catalogue) -> None:
    """The repository was renamed without a new commit: by its new name the Hub tells of it."""
    assert asked(catalogue, RENAMED, **{TTL: "720"}) == {FOUND.model_id}
    assert catalogue.models(RENAMED)[FOUND.model_id]["details_sha"] == FOUND.sha


def test_a_day_says_the_same_whether_refusals_were_taken_over_or_asked_for(
    catalogue: Catalogue, synced_first: Catalogue, tmp_path: Path
) -> None:
    other = synced_first.copy(tmp_path / "other")
    assert asked(catalogue, SECOND, at=time(6)) == set()
    assert asked(other, SECOND, at=time(6), **{TTL: "0"}) == set(REFUSED)
    ours, theirs = (it.store.published.manifest(SECOND) for it in (catalogue, other))
    assert ours is not None and theirs is not None
    known = {name: model["details_sha"] is not None for name, model in catalogue.models(SECOND).items()}
    assert known == {**dict.fromkeys(TOLD, True), **dict.fromkeys(REFUSED, False)}
    assert {name: info.sha256 for name, info in ours.files.items()} == {
        name: info.sha256 for name, info in theirs.files.items()
    }
