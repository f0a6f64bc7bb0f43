"""Full syncs look at the Hub from further sides; window walks look at a part of it: what each may claim.

Expected are the repositories of the Hub that satisfy a route's query, and pages cut here from their order.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import dagster as dg
import orjson
import pyarrow as pa
import pytest

from gguf_assets.catalogue.heads import parse_heads
from gguf_assets.catalogue.parse import parse_listing_page, says_gguf
from gguf_assets.demo.clock import at
from gguf_assets.demo.edits import Edit
from gguf_assets.demo.faults import Fault, FaultKind
from gguf_assets.demo.server import LoopbackHub
from gguf_assets.demo.state import Repository
from gguf_assets_tests.calling import Catalogue, assert_clear, checks_of
from gguf_assets_tests.dying import Death, run_forked
from gguf_assets_tests.hubs import hub_of, plain, repository

DAYS = [date(2025, 8, 10) + timedelta(days=number) for number in range(5)]
FIRST, SECOND, THIRD, FOURTH, _ = DAYS
WARN = dg.AssetCheckSeverity.WARN
ROUTE_QUERIES = ("search", "author", "apps")


def named(number: int, **fields: Any) -> Repository:
    """A model that all routes find; a higher number is older."""
    created = f"2025-06-01T10:{59 - number // 60:02d}:{59 - number % 60:02d}.000Z"
    return repository(f"owner/m{number:02d}-GGUF", created_at=created, **fields)


LISTED = [named(n) for n in range(40)]
UNTAGGED = {"tags": ("region:us",), "library_name": None}
HIDDEN = repository("shy/hidden-GGUF", created_at="2025-06-01T10:59:40.500Z", downloads=3, **UNTAGGED)
"""A GGUF model without the tag: the listing lacks it, its name and its file betray it."""
LATE = replace(
    HIDDEN, model_id="shy/late-GGUF", hub_id="6870" + "0" * 20, created_at="2025-08-11T10:00:00.000Z"
)
NO_MODEL = repository("owner/about-gguf", files=[plain("README.md")], **UNTAGGED)
"""Called so, and none: rule 10."""


def figures(check: dg.AssetCheckEvaluation) -> dict[str, Any]:
    return {key: value.value for key, value in check.metadata.items()}


def queries(hub: LoopbackHub) -> list[dict[str, str]]:
    """The listing requests of the log."""
    targets = (urlsplit(request.target) for request in hub.requests)
    found = [dict(parse_qsl(target.query)) for target in targets if target.path == "/api/models"]
    return [query for query in found if query.get("limit") != "1"]


def routes_asked(hub: LoopbackHub) -> list[str]:
    return [key for query in queries(hub) for key in ROUTE_QUERIES if key in query]


def by_name(hub: LoopbackHub) -> list[str]:
    """Names that were asked for, details aside."""
    paths = [request.target.partition("?")[0].split("/")[3:] for request in hub.requests]
    return ["/".join(path) for path in paths if len(path) == 2]


# Further discovery routes


@pytest.fixture(scope="module")
def routed_hub() -> Iterator[LoopbackHub]:
    everything = [*LISTED, HIDDEN, NO_MODEL]
    days: dict[date, Sequence[Repository]] = {
        FIRST: everything,
        SECOND: everything,
        THIRD: [LATE, *everything],
        FOURTH: [LATE, *everything],
    }
    with hub_of(days, day=FIRST, tick=0) as hub:
        yield hub


@pytest.fixture(scope="module")
def first_day(routed_hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    catalogue = Catalogue(tmp_path_factory.mktemp("first"), routed_hub, MAX_RETRIES="0")
    routed_hub.set_day(FIRST)
    assert catalogue.sync().code == 0
    return catalogue


@pytest.fixture
def catalogue(first_day: Catalogue, tmp_path: Path) -> Catalogue:
    """A copy of it, on the second day."""
    first_day.hub.set_day(SECOND)
    return first_day.copy(tmp_path, MAX_RETRIES="0")


def test_a_first_sync_knows_what_only_other_routes_saw_and_has_no_count_of_it(first_day: Catalogue) -> None:
    models = first_day.models(FIRST)
    assert set(models) == {row.model_id for row in (*LISTED, HIDDEN)}
    assert models[HIDDEN.model_id]["details_sha"] == HIDDEN.sha
    check = checks_of(first_day)["discovery_routes"]
    assert (check.passed, check.severity) == (False, WARN)
    manifest = first_day.store.published.manifest(FIRST)
    assert manifest is not None
    assert manifest.judged["coverage"] is None
    assert manifest.judged["parts"]["seen_by_other_routes"] == 1


def test_what_the_listing_lacks_and_a_route_sees_lowers_the_coverage_and_warns(catalogue: Catalogue) -> None:
    assert catalogue.sync("--mode", "full").code == 0
    assert routes_asked(catalogue.hub) == ["search", "author", "apps"]
    assert by_name(catalogue.hub) == [], "who is seen by a route is not absent"

    models = catalogue.models(SECOND)
    hidden = models.pop(HIDDEN.model_id)
    assert (hidden["presence"], hidden["discovered_by"]) == ("put back", ["search", "apps"])
    assert hidden["details_sha"] == HIDDEN.sha
    assert {tuple(row["discovered_by"]) for row in models.values()} == {
        ("gguf", "search", "publishers", "apps")
    }
    assert {row["presence"] for row in models.values()} == {"listed"}
    assert catalogue.rows("changes", SECOND) == []
    order = [row["created_at"] for row in catalogue.rows("models", SECOND)]
    assert order == sorted(order, reverse=True)

    manifest = catalogue.store.published.manifest(SECOND)
    assert manifest is not None
    assert manifest.completeness == pytest.approx(40 / 41)
    parts = manifest.judged["parts"]
    assert (parts["listed"], parts["put_back"], parts["seen_by_other_routes"]) == (40, 0, 1)
    checks = checks_of(catalogue)
    check = checks["discovery_routes"]
    assert (check.passed, check.severity) == (False, WARN)
    assert (
        check.description
        == "models seen by search: 41, publishers: 40, apps: 41; 1 of them the listing lacks"
    )
    assert figures(check) == {
        "only_elsewhere": 1,
        "broken_off": 0,
        "seen_by_search": 41,
        "seen_by_publishers": 40,
        "seen_by_apps": 41,
    }
    assert checks["completeness"].passed

    before = catalogue.published()
    catalogue.hub.clear_requests()
    assert catalogue.call("rederive", "--from", str(SECOND), "--to", str(SECOND)).code == 0
    assert (catalogue.published(), catalogue.hub.requests) == (before, [])


def test_a_row_of_a_route_that_is_no_gguf_model_is_counted_nowhere(first_day: Catalogue) -> None:
    capture = first_day.store.captures.latest(FIRST)
    assert capture is not None
    (search,) = capture.iter_route_pages("search")
    assert NO_MODEL.model_id in search[1].decode()
    manifest = first_day.store.published.manifest(FIRST)
    assert manifest is not None
    assert (manifest.figures["not_gguf"], manifest.figures["models"]) == (0, 41)
    assert manifest.rows["issues"] == 0
    for dataset in ("models", "files", "issues", "health"):
        assert NO_MODEL.hub_id not in {row["hub_id"] for row in first_day.rows(dataset, FIRST)}
    assert not any(NO_MODEL.model_id in request.target for request in first_day.hub.requests)


def test_a_new_model_that_only_a_route_sees_is_added_with_its_files(catalogue: Catalogue) -> None:
    catalogue.hub.set_day(THIRD)
    assert catalogue.sync("--mode", "full").code == 0
    assert [(row["change"], row["model_id"]) for row in catalogue.rows("changes", THIRD)] == [
        ("added", LATE.model_id)
    ]
    row = catalogue.models(THIRD)[LATE.model_id]
    assert (row["details_sha"], row["gguf_files"]) == (LATE.sha, 1)
    assert row["first_seen"] == THIRD


def test_routes_switched_off_are_not_asked_and_the_check_says_so(catalogue: Catalogue) -> None:
    switch = {"GGUF_SYNC__SYNC_BEHAVIOR__ENABLE_MULTI_STRATEGY_DISCOVERY": "false"}
    assert catalogue.sync("--mode", "full", **switch).code == 0
    assert routes_asked(catalogue.hub) == []
    assert HIDDEN.model_id in by_name(catalogue.hub), "nothing lists it, so it is asked for"
    models = catalogue.models(SECOND)
    assert (models.pop(HIDDEN.model_id)["discovered_by"]) == ["name"]
    assert {tuple(row["discovered_by"]) for row in models.values()} == {("gguf",)}
    check = checks_of(catalogue)["discovery_routes"]
    assert (check.passed, check.severity) == (False, WARN)
    assert check.description == "skipped: sync_behavior.enable_multi_strategy_discovery is off"


def test_an_incremental_sync_walks_no_further_route(catalogue: Catalogue) -> None:
    assert catalogue.sync("--mode", "incremental").code == 0
    assert routes_asked(catalogue.hub) == []
    check = checks_of(catalogue)["discovery_routes"]
    assert check.description == "not walked: the sync was incremental"


@pytest.mark.parametrize(
    ("fault", "name", "said"),
    [
        (Fault(FaultKind.STATUS, path="search=gguf", status=400), "search", "400"),
        (Fault(FaultKind.GARBAGE, path="apps="), "apps", "JSON"),
    ],
    ids=["search", "apps"],
)
def test_a_failing_route_is_reported_and_the_others_go_on(
    fault: Fault, name: str, said: str, catalogue: Catalogue
) -> None:
    assert catalogue.sync("--mode", "full", fault=fault).code == 0
    assert routes_asked(catalogue.hub) == ["search", "author", "apps"]
    check = checks_of(catalogue)["discovery_routes"]
    assert (check.passed, check.severity) == (False, WARN)
    assert f"broken off: {name} (" in (check.description or "")
    assert said in (check.description or "")
    assert figures(check)["broken_off"] == 1
    expected = {route for route in ("search", "apps") if route != name}
    assert set(catalogue.models(SECOND)[HIDDEN.model_id]["discovered_by"]) == expected


def test_routes_that_agree_with_the_listing_pass(tmp_path: Path) -> None:
    with hub_of({FIRST: [*LISTED, NO_MODEL]}, tick=0) as hub:
        catalogue = Catalogue(tmp_path, hub)
        assert catalogue.sync().code == 0
        check = checks_of(catalogue)["discovery_routes"]
    assert check.passed
    assert check.description == "models seen by search: 40, publishers: 40, apps: 40"


def test_routes_left_for_another_day_do_not_bring_its_models(catalogue: Catalogue) -> None:
    """What a route shows two days later is no part of the day that was walked before."""
    refused = Fault(FaultKind.STATUS, path="search=gguf", status=401)
    assert catalogue.sync("--mode", "full", fault=refused).code == 1
    catalogue.hub.set_day(FOURTH)
    assert catalogue.sync("--date", str(SECOND)).code == 0
    assert LATE.model_id not in catalogue.models(SECOND)
    assert "search (not finished in time" in (checks_of(catalogue)["discovery_routes"].description or "")


def test_heads_of_a_route_are_those_rows_that_say_they_are_gguf() -> None:
    tags: list[Any] = [["gguf"], ["x"], [], None, "gguf", ["gguf", 3], 5]
    siblings: list[Any] = [None, [], [{"rfilename": "a/B.GGUF"}], [{"rfilename": "b.bin"}], "x", [None]]
    rows = [
        {"_id": f"{i:024x}", "id": f"o/m{i}", "tags": tag, "siblings": files}
        for i, (tag, files) in enumerate((tag, files) for tag in tags for files in siblings)
    ]
    body = orjson.dumps(rows)
    models = parse_listing_page("page", body).models
    expected = models.filter(says_gguf(models))["hub_id"].to_pylist()
    assert parse_heads("page", body, filtered=False)["hub_id"].to_pylist() == expected


# The window walk

PAGE_SIZE = 10
WINDOW = {"GGUF_SYNC__SYNC_BEHAVIOR__CENSUS": "false"}
GROWTH = 7
"""Downloads that every model gains from a day to the next."""


def stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.000Z}"


def modified(number: int) -> str:
    """Twelve models were modified in the week before the first day, two a day; the others long ago."""
    week = datetime.combine(FIRST, time(9), UTC) - timedelta(hours=12 * number)
    return stamp(week) if number < 12 else f"2025-07-01T00:{59 - number:02d}:00.000Z"


NEW = repository("new/model", created_at="2025-08-11T08:00:00.000Z", last_modified="2025-08-11T08:30:00.000Z")
TOUCHED, CREPT, REMOVED = 30, 31, 35
"""One gets a new commit, one a commit that does not show in its date, one goes."""


def windowed(number: int) -> Repository:
    return named(number, last_modified=modified(number), downloads=1000 + number)


def window_days() -> dict[date, Sequence[Repository]]:
    days: dict[date, Sequence[Repository]] = {FIRST: [windowed(n) for n in range(40)]}
    for number, day in enumerate(DAYS[1:], start=1):
        grown = [replace(row, downloads=row.downloads + GROWTH * number) for row in days[FIRST]]
        days[day] = [NEW, *grown]
    return days


def window_edits(hub: LoopbackHub) -> None:
    """What happens on the second day."""
    hub.edit(
        Edit("touch", windowed(TOUCHED).model_id, day=SECOND, last_modified="2025-08-11T07:00:00.000Z"),
        Edit("touch", windowed(CREPT).model_id, day=SECOND),
        Edit("remove", windowed(REMOVED).model_id, day=SECOND),
    )


@pytest.fixture(scope="module")
def window_hub() -> Iterator[LoopbackHub]:
    with hub_of(window_days(), day=FIRST, tick=0, page_size=PAGE_SIZE) as hub:
        window_edits(hub)
        yield hub


@pytest.fixture(scope="module")
def before_window(window_hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    catalogue = Catalogue(tmp_path_factory.mktemp("before"), window_hub)
    window_hub.set_day(FIRST)
    assert catalogue.sync().code == 0
    return catalogue


@pytest.fixture
def in_window(before_window: Catalogue, tmp_path: Path) -> Catalogue:
    """A catalogue whose first day is published, and which syncs the second by window."""
    before_window.hub.set_day(SECOND)
    return before_window.copy(tmp_path, **WINDOW)


@pytest.fixture(scope="module")
def window(before_window: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """A catalogue after the window walk of the second day, whose requests are in the Hub's log."""
    catalogue = before_window.copy(tmp_path_factory.mktemp("window"), **WINDOW)
    catalogue.hub.set_day(SECOND)
    assert catalogue.sync("--date", str(SECOND)).code == 0
    catalogue.requests = list(catalogue.hub.requests)  # type: ignore[attr-defined]
    return catalogue


def pages_to(hub: LoopbackHub, day: date, edge: datetime) -> list[list[str]]:
    """Names on the pages of the listing by date of modification, down to the one that reaches the edge."""
    rows = sorted(hub._edited.on(day).repositories, key=lambda r: r.hub_id)
    rows.sort(key=lambda r: r.last_modified, reverse=True)
    pages = [rows[i : i + PAGE_SIZE] for i in range(0, len(rows), PAGE_SIZE)]
    reached = next(n for n, page in enumerate(pages) if page[-1].last_modified < stamp(edge))
    return [[row.model_id for row in page] for page in pages[: reached + 1]]


def test_only_the_pages_down_to_the_edge_are_fetched_and_nobody_is_asked_after(window: Catalogue) -> None:
    edge = at(SECOND) - timedelta(hours=48)
    pages = pages_to(window.hub, SECOND, edge)
    assert len(pages) == 1, "two new dates, and the two a day since the edge"
    window.hub.requests[:] = window.requests  # type: ignore[attr-defined]
    assert [query["sort"] for query in queries(window.hub)] == ["lastModified"] * len(pages)
    assert by_name(window.hub) == []
    details = [r.target for r in window.hub.requests if "/revision/" in r.target]
    assert len(details) == 2
    clock = [r for r in window.hub.requests if r.target.endswith("?limit=1")]
    assert len(window.hub.requests) == len(clock) + len(pages) + len(details)


def test_the_window_finds_what_is_new_or_has_another_sha(window: Catalogue) -> None:
    changed = {(row["change"], row["model_id"]) for row in window.rows("changes", SECOND)}
    assert changed == {("added", NEW.model_id), ("updated", windowed(TOUCHED).model_id)}
    models = window.models(SECOND)
    for name in (NEW.model_id, windowed(TOUCHED).model_id):
        assert models[name]["details_sha"] == models[name]["sha"]
        found = [row for row in window.rows("files", SECOND) if row["model_id"] == name]
        assert {row["path"] for row in found if row["size_bytes"]} >= {row["path"] for row in found}
        assert len(found) > 0
    assert models[NEW.model_id]["gguf_files"] == 1


def test_the_others_stay_as_they_were_with_the_counters_of_then(window: Catalogue) -> None:
    ((page,), before) = pages_to(window.hub, SECOND, at(SECOND) - timedelta(hours=48)), window.models(FIRST)
    models = window.models(SECOND)
    assert set(models) == {*before, NEW.model_id}, "who is gone is not known"
    told = {"snapshot_date", "baseline_date", "downloads_delta", "likes_delta", "counters_stalled"}
    for name, row in models.items():
        assert row["snapshot_date"] == SECOND
        assert row["presence"] == "listed"
        if name in page:
            assert row["counters_observed_at"] == at(SECOND)
            assert row["downloads_delta"] == (None if name == NEW.model_id else GROWTH)
            continue
        assert (row["downloads_delta"], row["likes_delta"]) == (None, None)
        assert row["counters_observed_at"] == at(FIRST)
        same = {key: value for key, value in row.items() if key not in told}
        assert same == {key: value for key, value in before[name].items() if key not in told}
    kept = [row for row in window.rows("files", SECOND) if row["model_id"] not in page]
    old = [row for row in window.rows("files", FIRST) if row["model_id"] not in page]
    assert [row | {"snapshot_date": FIRST} for row in kept] == old
    figures = window.store.published.manifest(SECOND).figures  # type: ignore[union-attr]
    assert (figures["listed"], figures["carried"], figures["unconfirmed"]) == (10, 31, 0)


def test_the_day_stands_under_the_last_census_and_says_how_old_it_is(window: Catalogue) -> None:
    first, second = (window.store.published.manifest(day) for day in (FIRST, SECOND))
    assert first is not None
    assert second is not None
    assert second.capture.kind == "window"
    assert first.judged["census"]["observed_at"] == second.judged["census"]["observed_at"]
    assert second.judged["census"]["date"] == str(FIRST)
    assert second.judged["parts"]["census_age_hours"] == 24.0
    assert "of a census 24 h old" in second.judged["gate"]
    assert "census" in window.call("report", "--date", str(SECOND)).stdout.lower()


def test_a_window_day_is_derived_again_byte_for_byte_without_a_request(window: Catalogue) -> None:
    before = window.published()
    window.hub.clear_requests()
    assert window.call("rederive", "--from", str(SECOND), "--to", str(SECOND)).code == 0
    assert (window.published(), window.hub.requests) == (before, [])


@pytest.mark.slow
def test_a_census_too_old_stops_publishing_until_a_full_sync_heals_it(in_window: Catalogue) -> None:
    hub, short = in_window.hub, {"GGUF_SYNC__SYNC_BEHAVIOR__FULL_SYNC_THRESHOLD_HOURS": "30"}
    explicit = ("--mode", "incremental")
    assert in_window.sync(*explicit, **short).code == 0
    hub.set_day(THIRD)
    refused = in_window.sync(*explicit, **short)
    assert_clear(refused, 1, "completeness is not known: the last census is 48 h old", "30 h at most")
    assert in_window.store.published.days() == [FIRST, SECOND]
    hub.set_day(FOURTH)
    assert in_window.sync(**short).code == 0
    assert in_window.last.mode == "full"
    assert in_window.store.published.days() == [FIRST, SECOND, FOURTH]
    healed = in_window.store.published.manifest(FOURTH)
    assert healed is not None
    assert healed.judged["census"]["date"] == str(FOURTH)
    changed = {(row["change"], row["model_id"]) for row in in_window.rows("changes", FOURTH)}
    assert changed == {
        ("removed", windowed(REMOVED).model_id),
        ("updated", windowed(CREPT).model_id),
    }


@pytest.mark.slow
def test_a_wider_window_needs_more_pages_and_goes_on_after_a_kill(
    in_window: Catalogue, before_window: Catalogue, tmp_path: Path
) -> None:
    hours = {"GGUF_SYNC__SYNC_BEHAVIOR__INCREMENTAL_WINDOW_HOURS": "168"}
    calm = before_window.copy(tmp_path / "calm", **WINDOW, **hours)
    assert calm.sync("--date", str(SECOND)).code == 0
    pages = pages_to(calm.hub, SECOND, at(SECOND) - timedelta(hours=168))
    assert len(pages) == len(queries(calm.hub)) == 2
    walked = {row["model_id"] for row in calm.rows("models", SECOND) if row["observed_at"] == at(SECOND)}
    assert walked == {name for page in pages for name in page}

    death, environ = Death("listing-00002"), {**in_window.environ, **hours}
    assert run_forked("sync", "--date", str(SECOND), environ=environ, death=death).code == -signal.SIGKILL
    in_window.hub.clear_requests()
    assert in_window.call("sync", "--date", str(SECOND), **hours).code == 0
    assert in_window.published() == calm.published()
    assert len(queries(in_window.hub)) == 1, "the first page was stored"


def tables(catalogue: Catalogue, day: date, aside: Sequence[str] = ()) -> list[pa.Table]:
    found = []
    for dataset in ("models", "files"):
        rows = pa.Table.from_pylist(catalogue.rows(dataset, day))
        found.append(rows.drop_columns([name for name in aside if name in rows.column_names]))
    return found


def test_a_full_sync_of_the_same_day_forgets_that_there_was_a_window(
    window: Catalogue, in_window: Catalogue, tmp_path: Path
) -> None:
    after = window.copy(tmp_path / "after")
    assert after.sync("--mode", "full").code == 0
    assert in_window.sync("--mode", "full").code == 0
    assert tables(after, SECOND) == tables(in_window, SECOND)
    assert after.rows("changes", SECOND) == in_window.rows("changes", SECOND)


OBSERVED = (
    "baseline_date",
    "downloads_delta",
    "likes_delta",
    "counters_stalled",
    "first_seen",
    "last_changed",
)
"""Columns that say when and by comparison with what a model was seen."""


@pytest.mark.slow
def test_after_a_window_a_full_sync_ends_where_it_ends_without(
    before_window: Catalogue, tmp_path: Path
) -> None:
    """Whatever happens: commits that show in the date and such that do not, renames, removals, gates."""
    chance = random.Random(0)
    with hub_of(window_days(), day=FIRST, tick=0, page_size=PAGE_SIZE) as hub:
        paths = [tmp_path / "with", tmp_path / "without"]
        homes = [before_window.copy(path).home for path in paths]
        with_window, without = Catalogue(homes[0], hub, **WINDOW), Catalogue(homes[1], hub)
        numbers = chance.sample(range(40), 16)
        for n, number in enumerate(numbers):
            name, day = windowed(number).model_id, chance.choice([SECOND, THIRD])
            stamped = f"{day}T0{n % 10}:00:00.000Z" if n % 3 == 0 else None
            kind = ["touch", "touch", "remove", "touch", "rename", "gate", "recreate", "ungguf"][n % 8]
            options = {"new_name": f"else/m{number}"} if kind == "rename" else {}
            if kind == "touch":
                options = {"last_modified": stamped} if stamped else {}
            hub.edit(Edit(kind, name, day=day, **options))
        calm = {"GGUF_SYNC__SYNC_BEHAVIOR__SIGNIFICANT_CHANGE_THRESHOLD": "1.0"}
        hub.set_day(SECOND)
        assert with_window.sync(**calm).code == 0
        hub.set_day(THIRD)
        for catalogue in (with_window, without):
            ended = catalogue.sync("--mode", "full", **calm)
            assert ended.code == 0, ended
    assert tables(with_window, THIRD, OBSERVED) == tables(without, THIRD, OBSERVED)
    assert {row["hub_id"] for row in with_window.rows("tombstones", THIRD)} == {
        row["hub_id"] for row in without.rows("tombstones", THIRD)
    }
