"""Absent is not removed (rule 4), from the Hub to the published day: who is gone, who only looks like it.

Expected are the edits made to the Hub and the holes punched into its listing; requests are read in its log.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from gguf_assets.demo.clock import at
from gguf_assets.demo.edits import Edit
from gguf_assets.demo.faults import Fault, FaultKind
from gguf_assets.demo.server import LoopbackHub
from gguf_assets.demo.state import Repository
from gguf_assets.store.capture import Capture
from gguf_assets_tests.calling import Catalogue
from gguf_assets_tests.dying import Death, run_forked
from gguf_assets_tests.hubs import hub_of, repository
from gguf_assets_tests.running import Ended

DAYS = [date(2025, 8, 10) + timedelta(days=number) for number in range(5)]
FIRST, SECOND, THIRD, FOURTH, _ = DAYS
MODELS, PAGE_SIZE = 80, 40
TOKEN = "hf_" + "t" * 30

CALM = {"GGUF_SYNC__SYNC_BEHAVIOR__SIGNIFICANT_CHANGE_THRESHOLD": "1.0"}
"""A census stays one, whoever is absent: routes, which a full sync walks, would see the holes."""


def repositories() -> list[Repository]:
    """Models of which none is like another; a higher number is older and more popular."""
    return [
        repository(
            name(n), created_at=f"2025-06-01T10:00:{59 - n % 60:02d}.{999 - n:03d}Z", downloads=100 + n
        )
        for n in range(MODELS)
    ]


def name(number: int) -> str:
    return f"owner/m{number:02d}"


REPOSITORIES = {row.model_id: row for row in repositories()}


def hub_id(number: int) -> str:
    return REPOSITORIES[name(number)].hub_id


def hub_like(**options: Any) -> LoopbackHub:
    days = {day: list(REPOSITORIES.values()) for day in DAYS}
    return hub_of(days, day=FIRST, tick=0, page_size=PAGE_SIZE, **options)


@pytest.fixture(scope="module")
def served() -> Iterator[LoopbackHub]:
    with hub_like() as hub:
        yield hub


@pytest.fixture(scope="module")
def first_day(served: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """A catalogue whose first day is published with all details."""
    catalogue = Catalogue(tmp_path_factory.mktemp("first"), served)
    assert catalogue.sync().code == 0
    return catalogue


@pytest.fixture
def hub(served: LoopbackHub) -> Iterator[LoopbackHub]:
    """The Hub on the second day, without edits."""
    served.set_day(SECOND)
    yield served
    served.clear_edits()


@pytest.fixture
def catalogue(first_day: Catalogue, hub: LoopbackHub, tmp_path: Path) -> Catalogue:
    """A copy of the catalogue, which syncs the second day."""
    return first_day.copy(tmp_path, MAX_RETRIES="0", **CALM)


def holes(*numbers: int) -> list[Fault]:
    """These models are missing in the listing, and in nothing else."""
    return [
        Fault(FaultKind.DROP_ROW, path="filter=gguf", hub_id=hub_id(number), count=None) for number in numbers
    ]


@contextmanager
def faulty(hub: LoopbackHub, *faults: Fault) -> Iterator[None]:
    hub.faults[:] = faults
    try:
        yield
    finally:
        hub.faults.clear()


def synced(
    catalogue: Catalogue, *arguments: str, faults: Collection[Fault] = (), code: int = 0, **environ: str
) -> Ended:
    """Sync under faults; the Hub's log then holds this sync's requests."""
    catalogue.hub.clear_requests()
    with faulty(catalogue.hub, *faults):
        ended = catalogue.call("sync", *arguments, **environ)
    assert ended.code == code, ended
    return ended


def asked(hub: LoopbackHub) -> list[str]:
    """Names the Hub was asked for, details aside, in order."""
    targets = (re.fullmatch(r"/api/models/([^?]+/[^?/]+)\?expand=.*", r.target) for r in hub.requests)
    return [target[1] for target in targets if target]


def without_controls(catalogue: Catalogue, names: list[str], day: date) -> list[str]:
    """The names but for those of the control."""
    control = capture_of(catalogue, day).absence.control  # type: ignore[union-attr]
    return [asked_for for asked_for in names if asked_for not in control]


def capture_of(catalogue: Catalogue, day: date) -> Capture:
    capture = catalogue.store.captures.latest(day)
    assert capture is not None
    assert capture.absence is not None
    return capture


def changes(catalogue: Catalogue, day: date) -> set[tuple[str, str]]:
    """(change, name) of everything that changed on a day."""
    return {(row["change"], row["model_id"]) for row in catalogue.rows("changes", day)}


def presences(catalogue: Catalogue, day: date) -> dict[str, set[str]]:
    """Names by presence, but for the listed."""
    found: dict[str, set[str]] = {}
    for model_id, row in catalogue.models(day).items():
        if row["presence"] != "listed":
            found.setdefault(row["presence"], set()).add(model_id)
    return found


def removed(*numbers: int) -> set[tuple[str, str]]:
    return {("removed", name(number)) for number in numbers}


def files(catalogue: Catalogue, day: date, number: int) -> list[dict[str, Any]]:
    """Files of a model, but for the columns that are about the day and its name."""
    aside = ("snapshot_date", "model_id")
    rows = [row for row in catalogue.rows("files", day) if row["hub_id"] == hub_id(number)]
    return [{key: value for key, value in row.items() if key not in aside} for row in rows]


GONE, PRIVATE, UNGGUF, RENAMED, HOLE, TOUCHED = (1, 2, 3), 5, 6, 7, 8, 9


def much_happens(hub: LoopbackHub) -> list[Fault]:
    """Do all at once to a Hub that can make a model absent, on the day it shows; return the holes."""
    hub.edit(
        *(Edit("remove", name(number)) for number in GONE),
        Edit("private", name(PRIVATE)),
        Edit("ungguf", name(UNGGUF)),
        Edit("rename", name(RENAMED), new_name="else/where"),
        Edit("touch", name(TOUCHED)),
    )
    return holes(RENAMED, HOLE, TOUCHED)


ABSENT = (*GONE, PRIVATE, UNGGUF, RENAMED, HOLE, TOUCHED)


@pytest.fixture(scope="module", params=["anonymous", "bare 401", "token"])
def eventful(
    request: pytest.FixtureRequest, first_day: Catalogue, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Catalogue]:
    """A catalogue of a second day on which much happened; its Hub still has the requests of that sync."""
    options: dict[str, dict[str, Any]] = {
        "anonymous": {},
        "bare 401": {"bare_401": True},
        "token": {"token": TOKEN},
    }
    token = {"HF_TOKEN": TOKEN} if request.param == "token" else {}
    with hub_like(**options[request.param]) as hub:
        copied = first_day.copy(tmp_path_factory.mktemp("eventful"))
        catalogue = Catalogue(copied.home, hub, **CALM, **token)
        hub.set_day(SECOND)
        synced(catalogue, faults=much_happens(hub))
        assert {r.authorized for r in hub.requests} == {bool(token)}
        yield catalogue


def test_every_absent_model_is_told_from_the_others_with_evidence(eventful: Catalogue) -> None:
    assert changes(eventful, SECOND) == {
        *removed(*GONE, PRIVATE, UNGGUF),
        ("renamed", "else/where"),
        ("updated", name(TOUCHED)),
    }
    proofs = {row["model_id"]: row["evidence"] for row in eventful.rows("changes", SECOND)}
    assert {proofs[name(number)] for number in (*GONE, PRIVATE)} == {"deleted or private"}
    assert proofs[name(UNGGUF)] == "no longer gguf"
    (renamed,) = (row for row in eventful.rows("changes", SECOND) if row["change"] == "renamed")
    assert (renamed["hub_id"], renamed["previous_model_id"]) == (hub_id(RENAMED), name(RENAMED))


def test_who_is_there_is_put_back_with_its_files_and_details(eventful: Catalogue) -> None:
    assert presences(eventful, SECOND) == {"put back": {"else/where", name(HOLE), name(TOUCHED)}}
    before, after = eventful.models(FIRST), eventful.models(SECOND)
    for old, new in ((name(HOLE), name(HOLE)), (name(RENAMED), "else/where")):
        assert after[new]["discovered_by"] == ["name"]
        for column in ("hub_id", "sha", "details_sha", "gguf_files", "gguf_bytes", "quantizations"):
            assert after[new][column] == before[old][column]
        assert after[new]["details_sha"] == after[new]["sha"]
        assert (after[new]["first_seen"], after[new]["last_changed"]) == (FIRST, FIRST)
        assert after[new]["downloads_delta"] == 0, "its counters are those of today"
    for number in (HOLE, RENAMED):
        assert files(eventful, SECOND, number) == files(eventful, FIRST, number) != []
    assert {row["model_id"] for row in eventful.rows("files", SECOND)} == set(after)


def test_a_put_back_model_with_a_new_commit_gets_its_details(eventful: Catalogue) -> None:
    touched = eventful.hub._edited.on(SECOND).by_name[name(TOUCHED)]
    row = eventful.models(SECOND)[name(TOUCHED)]
    assert touched.sha != REPOSITORIES[name(TOUCHED)].sha
    assert row["sha"] == row["details_sha"] == touched.sha
    details = [r.target for r in eventful.hub.requests if "/revision/" in r.target]
    assert details == [f"/api/models/{name(TOUCHED)}/revision/{touched.sha}?blobs=true"]
    assert row["last_changed"] == SECOND


def test_each_absent_model_was_asked_after_once_between_two_looks_at_the_control(eventful: Catalogue) -> None:
    control = name(MODELS - 1)
    by_popularity = [name(number) for number in sorted(ABSENT, reverse=True)]
    renamed = by_popularity.index(name(RENAMED))
    by_popularity.insert(renamed + 1, "else/where")  # where the redirect leads
    assert asked(eventful.hub) == [control, *by_popularity, control]
    clock, pages, details = 1, 2, 1
    others = [request for request in eventful.hub.requests if "whoami" not in request.target]
    assert len(others) == clock + pages + len(ABSENT) + 3 + details
    entry = capture_of(eventful, SECOND).absence
    assert entry is not None
    assert (entry.absent, entry.asked, entry.control, entry.trusted) == (
        len(ABSENT),
        len(ABSENT),
        [control],
        True,
    )
    assert entry.requests == len(ABSENT) + 3


def test_put_back_models_count_in_the_denominator_and_the_gone_nowhere(eventful: Catalogue) -> None:
    manifest = eventful.store.published.manifest(SECOND)
    assert manifest is not None
    listed = MODELS - len(ABSENT)
    assert manifest.completeness == pytest.approx(listed / (listed + 3))
    assert {k: manifest.figures[k] for k in ("listed", "put_back", "unconfirmed", "gone")} == {
        "listed": listed,
        "put_back": 3,
        "unconfirmed": 0,
        "gone": 5,
    }


def test_the_gone_have_tombstones(eventful: Catalogue) -> None:
    stones = {row["last_model_id"]: row for row in eventful.rows("tombstones", SECOND)}
    assert set(stones) == {name(number) for number in (*GONE, PRIVATE, UNGGUF)}
    assert {(row["first_seen"], row["removed_on"]) for row in stones.values()} == {(FIRST, SECOND)}
    assert stones[name(UNGGUF)]["evidence"] == "no longer gguf"
    assert stones[name(1)]["last_sha"] == REPOSITORIES[name(1)].sha


def test_the_day_is_derived_again_byte_for_byte_without_a_request(eventful: Catalogue) -> None:
    before = eventful.published()
    eventful.hub.clear_requests()
    assert eventful.call("rederive", "--from", str(SECOND), "--to", str(SECOND)).code == 0
    assert eventful.published() == before
    assert eventful.hub.requests == []


@pytest.mark.slow
def test_two_a_run_are_proven_and_the_rest_follows_on_later_days(catalogue: Catalogue) -> None:
    hub, gone = catalogue.hub, [10, 11, 12, 13, 14]
    hub.edit(*(Edit("remove", name(number)) for number in gone))
    limit = {"GGUF_SYNC__VALIDATION__REMOVAL_CONFIRM_LIMIT": "2"}
    expected = {SECOND: [14, 13], THIRD: [12, 11], FOURTH: [10]}
    left = set(gone)
    for day, proven in expected.items():
        hub.set_day(day)
        synced(catalogue, **limit)
        assert without_controls(catalogue, asked(hub), day) == [name(number) for number in proven]
        left -= set(proven)
        assert changes(catalogue, day) == removed(*proven)
        assert presences(catalogue, day) == ({"unconfirmed": {name(n) for n in left}} if left else {})
        unknown = [row for row in catalogue.rows("models", day) if row["presence"] == "unconfirmed"]
        for row in unknown:
            assert row["counters_observed_at"] == at(FIRST)
            assert (row["downloads_delta"], row["likes_delta"]) == (None, None)
        published = catalogue.store.published.manifest(day)
        assert published is not None
        assert published.completeness == pytest.approx((MODELS - 5) / (MODELS - 5 + len(left)))
    assert len(catalogue.rows("tombstones", FOURTH)) == 5


def test_a_limit_of_none_asks_after_nobody(catalogue: Catalogue) -> None:
    catalogue.hub.edit(Edit("remove", name(1)))
    synced(catalogue, GGUF_SYNC__VALIDATION__REMOVAL_CONFIRM_LIMIT="0")
    assert name(1) not in asked(catalogue.hub)
    assert presences(catalogue, SECOND) == {"unconfirmed": {name(1)}}


def test_a_listing_cut_to_60_percent_removes_nobody_and_is_not_published(catalogue: Catalogue) -> None:
    cut = range(48, MODELS)
    ended = synced(catalogue, faults=holes(*cut), code=1, GGUF_SYNC__VALIDATION__REMOVAL_CONFIRM_LIMIT="20")
    assert "coverage 0.6000" in ended.stderr
    tables = catalogue.store.candidate_tables(SECOND)
    models = [row for batch in tables.models(["presence"]) for row in batch.to_pylist()]
    found = {p: sum(row["presence"] == p for row in models) for p in ("listed", "put back", "unconfirmed")}
    assert found == {"listed": 48, "put back": 20, "unconfirmed": 12}
    assert catalogue.store.candidates.manifest(SECOND).figures["changes"] == {}

    catalogue.hub.set_day(THIRD)
    synced(catalogue)
    assert (changes(catalogue, THIRD), presences(catalogue, THIRD)) == (set(), {})


def refusing_by_name(status: int, nth: int = 1) -> Fault:
    """The Hub answers so to every request for one repository, from the n-th on."""
    return Fault(FaultKind.STATUS, path="/api/models/owner", status=status, nth=nth, count=None)


def assert_nobody_removed(catalogue: Catalogue, *absent: int) -> None:
    """Assert that the absent of the second day are unconfirmed, because no control answered in the end."""
    assert (changes(catalogue, SECOND), catalogue.rows("tombstones", SECOND)) == (set(), [])
    assert presences(catalogue, SECOND) == {"unconfirmed": {name(number) for number in absent}}
    entry = capture_of(catalogue, SECOND).absence
    assert entry is not None
    assert not entry.trusted
    assert list(capture_of(catalogue, SECOND).iter_absences()) == []


def test_a_hub_that_says_404_to_everything_removes_nobody_until_it_is_well(catalogue: Catalogue) -> None:
    hub = catalogue.hub
    hub.edit(Edit("remove", name(10)), Edit("remove", name(11)))
    synced(catalogue, faults=[refusing_by_name(404)])
    assert asked(hub) == [name(number) for number in range(MODELS - 1, MODELS - 6, -1)], "five controls"
    assert_nobody_removed(catalogue, 10, 11)

    hub.set_day(THIRD)
    synced(catalogue)
    assert without_controls(catalogue, asked(hub), THIRD) == [name(11), name(10)]
    assert changes(catalogue, THIRD) == removed(10, 11)


def test_a_hub_that_stops_answering_for_who_is_there_removes_nobody(catalogue: Catalogue) -> None:
    catalogue.hub.edit(Edit("remove", name(10)), Edit("remove", name(11)))
    synced(catalogue, faults=[refusing_by_name(401, nth=3)])
    assert len(asked(catalogue.hub)) == 1 + 2 + 5
    assert_nobody_removed(catalogue, 10, 11)


REFUSED = {"GGUF_SYNC__VALIDATION__MIN_COMPLETENESS_SCORE": "1.0"}
"""With a hole in the listing no day reaches it."""


@pytest.mark.slow
def test_what_a_refused_day_has_proven_is_not_asked_again(catalogue: Catalogue) -> None:
    hub = catalogue.hub
    hub.edit(*(Edit("remove", name(number)) for number in (10, 11, 12)))
    synced(catalogue, faults=holes(HOLE), code=1, **REFUSED)
    hub.set_day(THIRD)
    hub.edit(Edit("remove", name(13)))
    synced(catalogue, "--mode", "incremental")
    assert without_controls(catalogue, asked(hub), THIRD) == [name(13)]
    assert changes(catalogue, THIRD) == removed(10, 11, 12, 13)
    entry = capture_of(catalogue, THIRD).absence
    assert entry is not None
    assert (entry.absent, entry.asked, entry.requests) == (4, 1, 3)

    hub.clear_requests()
    before = catalogue.published()
    (catalogue.store.layout.captures_of(SECOND) / "run=01" / "manifest.json").unlink()
    assert catalogue.call("rederive", "--from", str(THIRD), "--to", str(THIRD)).code == 0
    assert catalogue.published() == before, "the day's own capture has it all"
    assert hub.requests == []


def test_what_was_proven_without_a_token_is_asked_again_with_one(catalogue: Catalogue) -> None:
    """An anonymous 401 says "not there"; one with a token would not, so they are not mixed in one capture."""
    hub = catalogue.hub
    hub.edit(Edit("remove", name(10)))
    synced(catalogue, faults=holes(HOLE), code=1, **REFUSED)
    assert {answer.status for answer in capture_of(catalogue, SECOND).iter_absences()} == {200, 401}
    hub.set_day(THIRD)
    synced(catalogue, "--mode", "incremental", HF_TOKEN=TOKEN)
    assert without_controls(catalogue, asked(hub), THIRD) == [name(10)]
    assert changes(catalogue, THIRD) == removed(10)


@pytest.mark.slow
def test_a_proof_ends_with_the_absence(catalogue: Catalogue) -> None:
    """Proven to be gone on a refused day, listed on the next one, absent again: that is another absence."""
    hub = catalogue.hub
    hub.edit(Edit("private", name(PRIVATE)))
    synced(catalogue, faults=holes(HOLE), code=1, **REFUSED)
    hub.set_day(THIRD)
    hub.edit(Edit("public", name(PRIVATE)))
    synced(catalogue, faults=holes(HOLE), code=1, **REFUSED)
    hub.set_day(FOURTH)
    synced(catalogue, "--mode", "incremental", faults=holes(PRIVATE))
    assert name(PRIVATE) in asked(hub)
    assert (changes(catalogue, FOURTH), presences(catalogue, FOURTH)) == (
        set(),
        {"put back": {name(PRIVATE)}},
    )


@pytest.mark.slow
def test_a_proof_older_than_the_baseline_is_none(catalogue: Catalogue) -> None:
    """A day is published twice, first without a model and then with it; the next day lists it not."""
    hub = catalogue.hub
    hub.edit(Edit("private", name(PRIVATE)))
    synced(catalogue)
    assert changes(catalogue, SECOND) == removed(PRIVATE)
    hub.edit(Edit("public", name(PRIVATE)))
    synced(catalogue, "--refetch", "--mode", "incremental")
    assert changes(catalogue, SECOND) == set()
    hub.set_day(THIRD)
    synced(catalogue, faults=holes(PRIVATE))
    assert presences(catalogue, THIRD) == {"put back": {name(PRIVATE)}}


def test_who_comes_back_was_first_seen_long_ago(catalogue: Catalogue) -> None:
    hub = catalogue.hub
    hub.edit(Edit("private", name(PRIVATE)), Edit("remove", name(1)))
    synced(catalogue)
    hub.set_day(THIRD)
    hub.edit(Edit("public", name(PRIVATE)))
    synced(catalogue)
    (row,) = catalogue.rows("changes", THIRD)
    assert (row["change"], row["model_id"]) == ("restored", name(PRIVATE))
    assert row["evidence"] == f"listed again; gone since {SECOND}"
    back = catalogue.models(THIRD)[name(PRIVATE)]
    assert (back["first_seen"], back["presence"]) == (FIRST, "listed")
    assert back["details_sha"] == back["sha"], "asked for again: the baseline has no files of it"
    assert [row["last_model_id"] for row in catalogue.rows("tombstones", THIRD)] == [name(1)]


def test_a_name_that_another_repository_bears_needs_no_question(catalogue: Catalogue) -> None:
    catalogue.hub.edit(Edit("recreate", name(1)))
    synced(catalogue)
    assert asked(catalogue.hub) == []
    (gone,) = (row for row in catalogue.rows("changes", SECOND) if row["change"] == "removed")
    assert (gone["hub_id"], gone["evidence"]) == (hub_id(1), "the name belongs to another repository now")
    assert changes(catalogue, SECOND) == {*removed(1), ("recreated", name(1))}


def test_a_capture_left_before_the_asking_asks_nobody_once_the_hub_has_left_the_day(
    catalogue: Catalogue,
) -> None:
    """What the Hub says two days later is no news of the day: it stays unknown who is gone."""
    hub = catalogue.hub
    hub.edit(Edit("remove", name(1)))
    refused = Fault(FaultKind.STATUS, path="/api/models/owner", status=418, count=None)
    synced(catalogue, faults=[refused], code=1)
    hub.set_day(FOURTH, time(1))
    synced(catalogue, "--date", str(SECOND))
    assert name(1) not in asked(hub)
    assert (changes(catalogue, SECOND), presences(catalogue, SECOND)) == (set(), {"unconfirmed": {name(1)}})


@pytest.fixture(scope="module")
def undisturbed(
    served: LoopbackHub, first_day: Catalogue, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Catalogue]:
    """What a sync of the second day makes of much that happened when nothing kills it."""
    served.set_day(SECOND)
    catalogue = first_day.copy(tmp_path_factory.mktemp("undisturbed"), **CALM)
    synced(catalogue, "--date", str(SECOND), faults=much_happens(served))
    served.clear_edits()
    yield catalogue


@pytest.mark.slow
@pytest.mark.parametrize(
    "death",
    [
        Death("spool/absences", 4, after=True),
        Death("absences-00001"),
        Death("candidate/changes/date=2025-08-11"),
    ],
    ids=str,
)
def test_an_asking_that_is_killed_ends_as_one_that_is_not(
    death: Death, undisturbed: Catalogue, catalogue: Catalogue
) -> None:
    faults = much_happens(catalogue.hub)
    with faulty(catalogue.hub, *faults):
        died = run_forked("sync", "--date", str(SECOND), environ=catalogue.environ, death=death)
    assert died.code == -signal.SIGKILL, died
    capture = capture_of(catalogue, SECOND)
    kept = {answer.hub_id for answer in capture.iter_absences()}
    synced(catalogue, "--date", str(SECOND), faults=faults)
    assert catalogue.published() == undisturbed.published()
    again = {REPOSITORIES[told].hub_id for told in asked(catalogue.hub) if told in REPOSITORIES}
    assert not again & kept, "what was sealed is not asked again"
