"""Syncs that are killed, at whatever moment, and run again: nothing is lost, nothing asked for twice."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, time
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest

from gguf_assets.demo.clock import at
from gguf_assets.demo.faults import Fault, FaultKind
from gguf_assets.demo.server import LoopbackHub
from gguf_assets.demo.state import Repository
from gguf_assets.orchestration.runs import PID
from gguf_assets.store.history import DIED
from gguf_assets.store.layout import Layout
from gguf_assets.store.store import Store
from gguf_assets_tests.calling import Catalogue, assert_clear, digests
from gguf_assets_tests.dying import Death, run_forked
from gguf_assets_tests.hubs import gguf, hub_of, repository
from gguf_assets_tests.running import ended, start, wait_until

FIRST, SECOND = date(2025, 8, 10), date(2025, 8, 11)
PAGE_SIZE = 4
PAGES, ROUTES, DETAILS = 6, 7, 24
"""Requests of the first day: 24 repositories, 4 a page; name search and the one publisher take a page
each, the apps five, their cap.
"""
SECOND_DAY = 7 + 3 + 10
"""Requests of the second: census, one absent model between two controls, details of eight changed and two
new models.
"""


def first_day() -> list[Repository]:
    created = [f"2025-06-{28 - n:02d}T10:00:00.000Z" for n in range(24)]
    return [repository(f"owner/model-{n:02d}", created_at=when) for n, when in enumerate(created)]


def second_day() -> list[Repository]:
    """Every third repository has new files, one is gone, two are new."""
    kept = first_day()[:-1]
    for n in range(0, len(kept), 3):
        files = (*kept[n].files, gguf(f"model-{n:02d}.Q8_0.gguf", 7_000_000_000))
        newer = repository(kept[n].model_id, files=files, sha=f"{n:040x}", created_at=kept[n].created_at)
        kept[n] = replace(newer, last_modified="2025-08-11T01:00:00.000Z")
    new = [repository(f"new/model-{n}", created_at=f"2025-08-11T0{n}:00:00.000Z") for n in range(2)]
    return [*reversed(new), *kept]


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    """Both days, the first one served; its clock stands still, so that equal syncs give equal bytes."""
    with _hub() as hub:
        yield hub


def _hub() -> LoopbackHub:
    return hub_of({FIRST: first_day(), SECOND: second_day()}, page_size=PAGE_SIZE, tick=0, day=FIRST)


@dataclass(frozen=True)
class Calm:
    """What uninterrupted syncs publish and send; `after_first` is the data between the two days."""

    after_first: Path
    published: dict[date, dict[str, str]]
    requests: dict[date, int]


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Calm]:
    with _hub() as hub:
        catalogue = Catalogue(tmp_path_factory.mktemp("calm"), hub)
        published, requests = {}, {}
        for day in (FIRST, SECOND):
            hub.set_day(day)
            assert catalogue.sync("--date", str(day)).code == 0
            published[day], requests[day] = catalogue.published(), len(hub.requests)
            if day == FIRST:
                after_first = catalogue.copy(tmp_path_factory.mktemp("first")).data
        assert requests == {FIRST: PAGES + ROUTES + DETAILS, SECOND: SECOND_DAY}
        yield Calm(after_first, published, requests)


def stalled_at(nth: int) -> Fault:
    """The Hub keeps silent on the n-th request; it counts all that arrive as `seen`."""
    return Fault(FaultKind.STALL, nth=nth, seconds=60)


def counting() -> Fault:
    """No fault at all: it only counts the requests that arrive, answered or not."""
    return Fault(FaultKind.STALL, nth=10**9)


def on_the_second_day(calm: Calm, hub: LoopbackHub, home: Path) -> Catalogue:
    """A catalogue of another Hub, with the first day published."""
    hub.set_day(SECOND)
    shutil.copytree(calm.after_first, home / "data")
    return Catalogue(home, hub)


def parquet(published: dict[str, str]) -> dict[str, str]:
    return {name: digest for name, digest in published.items() if name.endswith(".parquet")}


def dagster_runs(home: Path) -> list[tuple[dg.DagsterRunStatus, str | None, str]]:
    """Status, marked process and failure message of every run of an instance, oldest first."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        told = []
        for run in reversed(instance.get_runs()):
            failures = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
            messages = [entry.dagster_event.message for entry in failures if entry.dagster_event]
            told.append((run.status, run.tags.get(PID, "").partition(":")[0], " ".join(map(str, messages))))
        return told


def assert_nothing_half_written(catalogue: Catalogue, calm: Calm, day: date) -> None:
    """Whatever a reader finds is whole: each file is that of a finished day, the latest day is complete."""
    visible = {
        name: digest
        for name, digest in catalogue.published().items()
        if not any(part.startswith(".") for part in Path(name).parts)
    }
    visible.pop("journal.json", None)
    latest, export = visible.pop("latest.json", None), visible.pop("latest/models.json.gz", None)
    assert visible.items() <= calm.published[day].items()
    published = catalogue.store.published.days()
    if latest is not None:
        assert latest in {calm.published[known]["latest.json"] for known in published}
    if export is not None:
        assert export in {calm.published[known]["latest/models.json.gz"] for known in published}
    for known in published:
        catalogue.store.published.verify(known)
    for name in visible:
        if name.endswith(".parquet"):
            pq.read_metadata(catalogue.data / "published" / name)


def assert_goes_on(catalogue: Catalogue, calm: Calm, day: date, arrived: Fault, *, more: int = 1) -> None:
    """The next sync publishes what an undisturbed one does, sends what is missing, and tells of the dead."""
    resumed = catalogue.call("sync", "--date", str(day), "--json")
    assert resumed.code == 0, resumed
    assert resumed.json["published"]
    assert parquet(catalogue.published()) == parquet(calm.published[day])
    catalogue.store.published.verify(day)
    assert calm.requests[day] <= arrived.seen <= calm.requests[day] + more

    runs = dagster_runs(catalogue.data / "dagster")
    dead = [run for run in runs if run[0] is dg.DagsterRunStatus.FAILURE]
    assert runs[-1][0] is dg.DagsterRunStatus.SUCCESS
    assert len(dead) == 1
    assert all(f"The process of this run ({pid}) is gone" in message for _, pid, message in dead)

    *before, last = [sync for sync in catalogue.store.history.syncs() if sync.day == day]
    assert (last.state, last.published) == ("finished", True)
    assert [(sync.state, sync.error_message) for sync in before] in ([], [("failed", DIED)])
    assert catalogue.last_sync_file["success"] is True
    assert catalogue.call("report", "--date", str(day)).code == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "nth", [4, PAGES + 3, PAGES + ROUTES + 12], ids=["mid-walk", "mid-routes", "mid-details"]
)
def test_a_sync_killed_while_it_waits_for_the_hub_goes_on_where_it_stopped(
    nth: int, calm: Calm, hub: LoopbackHub, tmp_path: Path
) -> None:
    catalogue, fault = Catalogue(tmp_path, hub), stalled_at(nth)
    hub.faults.append(fault)
    process = start("sync", "--date", str(FIRST), "--json", environ=catalogue.environ)
    wait_until(lambda: fault.hits, "the request at which the Hub keeps silent")
    process.send_signal(signal.SIGKILL)
    assert ended(process).code == -signal.SIGKILL
    assert catalogue.published() == {}
    assert catalogue.last.state == "failed"

    assert_goes_on(catalogue, calm, FIRST, fault)
    assert fault.seen == calm.requests[FIRST] + 1, "the request without an answer is sent again, no other"
    assert dagster_runs(catalogue.data / "dagster")[0][1] == str(process.pid)


@pytest.mark.slow
@pytest.mark.parametrize(
    "death",
    [
        Death("run=01/manifest.json", after=True),
        Death("listing-00001", after=True),
        Death("details-00001.jsonl.zst", after=True),
    ],
    ids=str,
)
def test_a_first_sync_killed_while_it_captures_goes_on(
    death: Death, calm: Calm, hub: LoopbackHub, tmp_path: Path
) -> None:
    catalogue, arrived = Catalogue(tmp_path, hub), counting()
    hub.faults.append(arrived)
    assert run_forked("sync", environ=catalogue.environ, death=death).code == -signal.SIGKILL
    assert catalogue.published() == {}
    # The one request more is that for the Hub's date, and the page that was not yet stored.
    assert_goes_on(catalogue, calm, FIRST, arrived, more=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "death",
    [
        Death("listing-00003", after=True),
        Death("spool/absences", after=True),
        Death("absences-00001", after=True),
        Death("spool/details", 5),
        Death("candidate/manifest/date=2025-08-11"),
        Death("candidate/models/date=2025-08-11/part-0", after=True),
        Death("candidate/health/date=2025-08-11/part-0"),
        Death("published/files/date=2025-08-11/.part-0.parquet.staged", 2, after=True),
        Death("published/journal.json"),
        Death("published/journal.json", after=True),
        Death("published/models/date=2025-08-11/part-0"),
        Death("published/manifest/date=2025-08-11", after=True),
        Death("published/journal.json", 2),
        Death("report.md"),
        Death("last_sync_metadata.json", after=True),
    ],
    ids=str,
)
def test_a_sync_killed_at_a_change_of_its_files_goes_on(
    death: Death, calm: Calm, hub: LoopbackHub, tmp_path: Path
) -> None:
    catalogue, arrived = on_the_second_day(calm, hub, tmp_path), counting()
    hub.faults.append(arrived)
    died = run_forked("sync", "--date", str(SECOND), environ=catalogue.environ, death=death)
    assert died.code == -signal.SIGKILL, died
    assert_nothing_half_written(catalogue, calm, SECOND)
    # A model that is not there counts as gone only when a control has answered after it: all three again.
    assert_goes_on(catalogue, calm, SECOND, arrived, more=3 if "spool/absences" in death.path else 1)
    assert catalogue.published() == calm.published[SECOND], "the manifests, too"


def test_a_day_published_again_and_killed_half_way_is_completed_by_whoever_comes_next(
    calm: Calm, hub: LoopbackHub, tmp_path: Path
) -> None:
    catalogue = on_the_second_day(calm, hub, tmp_path)
    assert catalogue.sync().code == 0
    hub.faults.append(Fault(FaultKind.EDIT_ROW, path="sort=createdAt", count=None, edit={"downloads": 77}))
    death = Death("published/models/date=2025-08-11/part-0")
    died = run_forked("sync", "--refetch", environ=catalogue.environ, death=death)
    assert died.code == -signal.SIGKILL, died
    hub.faults.clear()

    assert catalogue.call("rederive", "--from", str(FIRST), "--to", str(FIRST)).code == 0
    catalogue.store.published.verify(SECOND)
    assert catalogue.store.published.manifest(SECOND).capture.run == 2
    listed = [row for row in catalogue.rows("models", SECOND) if row["presence"] == "listed"]
    assert {row["downloads"] for row in listed} == {77}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sync_says_so_and_can_be_resumed(
    number: signal.Signals, calm: Calm, hub: LoopbackHub, tmp_path: Path
) -> None:
    catalogue, fault = Catalogue(tmp_path, hub), stalled_at(PAGES + ROUTES + 3)
    hub.faults.append(fault)
    process = start("sync", "--date", str(FIRST), "--json", environ=catalogue.environ)
    wait_until(lambda: fault.hits, "the request at which the Hub keeps silent")
    process.send_signal(number)
    told = ended(process)
    assert told.code == 130
    assert told.stderr == "Interrupted. Nothing is lost: the same command goes on where it stopped.\n"
    assert told.json["published"] is False
    assert (catalogue.last.state, catalogue.last.error_message) == ("failed", "interrupted")
    assert catalogue.last_sync_file["success"] is False
    ((status, *_),) = dagster_runs(catalogue.data / "dagster")
    assert status is dg.DagsterRunStatus.FAILURE

    resumed = catalogue.call("sync", "--date", str(FIRST), "--json")
    assert resumed.code == 0, resumed
    assert catalogue.published() == calm.published[FIRST]
    assert fault.seen == calm.requests[FIRST] + 1


@pytest.mark.slow
def test_a_second_sync_is_refused_at_once_and_leaves_no_trace(
    calm: Calm, hub: LoopbackHub, tmp_path: Path
) -> None:
    catalogue = Catalogue(tmp_path, hub)
    # Half a second for every repository, until told otherwise: the first sync is long at work.
    slow = Fault(FaultKind.STALL, nth=PAGES + ROUTES + 2, count=None, seconds=0.5)
    hub.faults.append(slow)
    process = start("sync", "--date", str(FIRST), "--json", environ=catalogue.environ)
    wait_until(lambda: slow.hits, "the first sync to be under way")

    second = catalogue.call("sync", "--json")
    assert_clear(second, 2, f"process {process.pid}", "`gguf-assets sync`", f"kill {process.pid}")
    assert_clear(catalogue.call("rederive"), 2, f"process {process.pid}")
    status = catalogue.call("status", "--json").json
    assert (status["writing"]["pid"], status["writing"]["command"]) == (process.pid, "gguf-assets sync")
    assert [sync["state"] for sync in status["syncs"]] == ["running"]
    assert len(dagster_runs(catalogue.data / "dagster")) == 1
    assert process.poll() is None

    slow.count = slow.hits
    first = ended(process)
    assert first.code == 0, first
    assert catalogue.published() == calm.published[FIRST]
    assert len(hub.requests) == calm.requests[FIRST]
    assert [sync.state for sync in catalogue.store.history.syncs()] == ["finished"]


def killed_in_mid_walk(hub: LoopbackHub, home: Path) -> Catalogue:
    catalogue = Catalogue(home, hub)
    death = Death("listing-00003", after=True)
    assert run_forked("sync", "--date", str(FIRST), environ=catalogue.environ, death=death).code == -9
    return catalogue


def test_the_doctor_shows_a_killed_run_as_failed_without_waiting_for_the_next_sync(
    hub: LoopbackHub, tmp_path: Path
) -> None:
    catalogue = killed_in_mid_walk(hub, tmp_path)
    ((status, pid, _),) = dagster_runs(catalogue.data / "dagster")
    assert status is dg.DagsterRunStatus.STARTED
    assert "its process is gone, it is now shown as failed" in catalogue.call("doctor").stdout
    ((status, _, message),) = dagster_runs(catalogue.data / "dagster")
    assert status is dg.DagsterRunStatus.FAILURE
    assert f"({pid}) is gone" in message


def test_a_walk_begun_on_its_day_may_be_finished_in_the_small_hours_of_the_next(
    calm: Calm, hub: LoopbackHub, tmp_path: Path
) -> None:
    catalogue = killed_in_mid_walk(hub, tmp_path)
    hub.clock.set(at(SECOND, time(3)))
    finished = catalogue.call("sync", "--date", str(FIRST), "--json")
    assert finished.code == 0, finished
    assert parquet(catalogue.published()) == parquet(calm.published[FIRST])


def test_a_walk_that_was_not_finished_in_time_is_refused_and_the_present_day_goes_its_way(
    hub: LoopbackHub, tmp_path: Path
) -> None:
    catalogue = killed_in_mid_walk(hub, tmp_path)
    hub.set_day(SECOND, time(7))
    hub.clear_requests()
    late = catalogue.call("sync", "--date", str(FIRST))
    assert_clear(late, 1, "was not finished in time", "2025-08-11 07:00", "until 2025-08-11 06:00")
    assert len(hub.requests) == 1, "the Hub's clock has to be asked for"

    assert catalogue.call("sync").code == 0
    syncs = catalogue.store.history.syncs()
    hub.clear_requests()
    later = catalogue.call("sync", "--date", str(FIRST))
    assert_clear(later, 2, f"{FIRST} cannot be captured any more", "only the present", str(SECOND))
    assert hub.requests == [], "the history knows the time"
    assert catalogue.store.history.syncs() == syncs
    assert catalogue.store.published.days() == [SECOND]


def test_a_lost_dagster_home_changes_nothing_in_what_the_next_sync_does(
    calm: Calm, hub: LoopbackHub, tmp_path: Path
) -> None:
    catalogue = on_the_second_day(calm, hub, tmp_path)
    death = Death("listing-00003", after=True)
    assert run_forked("sync", environ=catalogue.environ, death=death).code == -9
    shutil.rmtree(catalogue.data / "dagster")

    resumed = catalogue.call("sync", "--date", str(SECOND), "--json")
    assert resumed.code == 0, resumed
    assert catalogue.published() == calm.published[SECOND]
    assert resumed.json["requests"] == calm.requests[SECOND] - 2, "two pages were stored"
    assert [sync.state for sync in catalogue.store.history.syncs()] == ["finished", "failed", "finished"]


def test_data_and_state_may_lie_apart(calm: Calm, hub: LoopbackHub, tmp_path: Path) -> None:
    state = tmp_path / "state"
    catalogue = Catalogue(tmp_path, hub, GGUF_ASSETS_STATE_DIR=str(state))
    death = Death("state/spool/details", 9)
    assert run_forked("sync", environ=catalogue.environ, death=death).code == -9
    assert catalogue.call("sync", "--date", str(FIRST)).code == 0
    assert catalogue.published() == calm.published[FIRST]
    assert Store(Layout(catalogue.data, state)).history.syncs() == catalogue.store.history.syncs()
    folders = {"captures", "candidate", "published", "reports", "history", "backups"}
    files = {"last_sync_metadata.json", "freshness.json"}
    assert {path.name for path in catalogue.data.iterdir()} == folders | files
    assert {"dagster", "locks", "spool"} <= {path.name for path in state.iterdir()}
    assert not any("part-0" in name for name in digests(state))
