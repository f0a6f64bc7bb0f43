"""Near the limit of memory work gets smaller, above it a sync stops; the bytes of a day do not tell."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from unittest import mock

import psutil
import pyarrow as pa
import pytest

from gguf_assets.demo.server import LoopbackHub
from gguf_assets.demo.state import Repository
from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.orchestration import memory, reading
from gguf_assets.orchestration.memory import MemoryWatch, in_units, memory_short, present_mb
from gguf_assets.orchestration.reading import WatchedDay
from gguf_assets.orchestration.threads import Behind, ahead
from gguf_assets.settings.load import load_settings
from gguf_assets.store.layout import Layout
from gguf_assets_tests.calling import Catalogue, assert_clear
from gguf_assets_tests.hubs import gguf, hub_of, plain, repository

FIRST = date(2025, 8, 10)
SECOND = FIRST + timedelta(1)
MODELS = 6
PERFORMANCE = "GGUF_SYNC__PERFORMANCE__"
LIMIT = PERFORMANCE + "MEMORY_LIMIT_MB"
CHUNK = PERFORMANCE + "CHUNK_SIZE"
STREAMING = PERFORMANCE + "ENABLE_STREAMING_PROCESSING"
CONCURRENCY = "GGUF_SYNC__RATE_LIMITING__MAX_CONCURRENT_REQUESTS"


def models(day: int) -> list[Repository]:
    """Six models; on the second day two of them have another commit and one more file."""
    made = []
    for number in range(MODELS):
        files = [plain("README.md"), gguf(f"m{number}.Q4_K_M.gguf")]
        changed = day == 2 and number < 2
        files += [gguf(f"m{number}.Q8_0.gguf", 7_000_000_000)] if changed else []
        sha = f"{number + 100 * changed:040x}"
        made.append(repository(f"owner/m{number}", files=files, sha=sha, downloads=100 - number))
    return made


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    with hub_of({FIRST: models(1), SECOND: models(2)}, tick=0) as hub:
        yield hub


@pytest.fixture(scope="module")
def first_day(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    hub.set_day(FIRST)
    catalogue = Catalogue(tmp_path_factory.mktemp("first"), hub)
    assert catalogue.sync().code == 0
    return catalogue


@pytest.fixture(scope="module")
def second_day(first_day: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digests of both days, undisturbed and with the settings as they are."""
    return synced(first_day, tmp_path_factory.mktemp("second"))


def synced(first_day: Catalogue, home: Path, **environ: str) -> dict[str, str]:
    """Sync the second day in a copy and return the digests of what readers see."""
    first_day.hub.set_day(SECOND)
    catalogue = first_day.copy(home, **environ)
    ended = catalogue.sync()
    assert ended.code == 0, ended
    return catalogue.published()


class Held:
    """Memory that holds what a test says, and a clock that goes on by two seconds a look."""

    def __init__(self, *readings: float) -> None:
        self.readings, self.looks, self.released = list(readings), 0, 0
        self.now = 0.0

    def present(self) -> float:
        self.looks += 1
        return self.readings[min(self.looks, len(self.readings)) - 1]

    def release(self) -> None:
        self.released += 1

    def clock(self) -> float:
        self.now += 2.0
        return self.now

    def watch(self, limit: float = 1000.0) -> MemoryWatch:
        return MemoryWatch(limit, present=self.present, release=self.release, clock=self.clock)


# Measuring


def test_the_memory_measured_is_that_of_this_process() -> None:
    told = psutil.Process().memory_info().rss / 2**20
    assert present_mb() == pytest.approx(told, rel=0.05)
    block = bytearray(os.urandom(1) * (80 * 2**20))
    assert present_mb() > told + 60
    del block


def test_where_the_system_does_not_tell_the_most_so_far_counts(tmp_path: Path) -> None:
    with mock.patch.object(memory, "_STATM", tmp_path / "none"):
        assert present_mb() >= psutil.Process().memory_info().rss / 2**20 * 0.95


def test_memory_is_short_above_nine_tenths_of_the_limit_in_force(tmp_path: Path) -> None:
    present = psutil.Process().memory_info().rss / 2**20
    variables = {"HOME": str(tmp_path), "SYNC_ENVIRONMENT": "testing", "GGUF_ASSETS_DATA_DIR": str(tmp_path)}
    verdicts = [
        memory_short(load_settings({**variables, LIMIT: str(int(present * share))}))()
        for share in (1.05, 1.5)
    ]
    assert verdicts == [True, False]


def test_it_is_measured_once_a_second() -> None:
    held, now = Held(100.0), [0.0]
    watch = MemoryWatch(1000.0, present=held.present, release=held.release, clock=lambda: now[0])
    for tenth in range(25):
        now[0] = tenth / 10
        assert not watch.short()
    assert held.looks == 3


def test_near_the_limit_what_is_not_needed_is_given_back_before_anything_is_concluded() -> None:
    held = Held(950.0, 400.0)
    watch = held.watch()
    assert not watch.short()
    assert (held.looks, held.released) == (2, 1)


def test_that_memory_gets_short_and_is_enough_again_is_logged_once_each(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "gguf_assets")
    held = Held(100.0, 950.0, 950.0, 960.0, 960.0, 100.0, 100.0)
    watch = held.watch()
    assert [watch.short() for _ in range(5)] == [False, True, True, False, False]
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert [level for level, _ in told] == ["WARNING", "INFO"]
    assert told[0][1] == (
        "Memory is near its limit: less is done at once (950 MB held, performance.memory_limit_mb allows "
        "1,000)"
    )


def test_above_the_limit_it_says_what_is_held_allowed_and_to_be_done() -> None:
    held = Held(1234.0)
    with pytest.raises(PermanentError) as caught:
        held.watch().look("models merged")
    assert caught.value.category is ErrorCategory.SYSTEM
    for part in ("models merged", "1,234 MB", "performance.memory_limit_mb", "1,000"):
        assert part in caught.value.message
    assert "Raise performance.memory_limit_mb" in str(caught.value.remedy)
    Held(999.0).watch().look("models merged")


# Smaller work


def test_units_halve_while_memory_is_short_and_are_whole_again_after() -> None:
    """Units of 8; memory is short from the 8th item on, and no longer after the 13th."""
    handed: list[int] = []
    looked: list[int] = []

    def present() -> float:
        looked.append(len(handed))
        return 950.0 if 8 <= len(handed) < 14 else 100.0

    watch = MemoryWatch(1000.0, present=present, release=lambda: None, clock=Held().clock)
    for item in in_units(range(19), 8, watch, "details"):
        handed.append(item)
    assert handed == list(range(19))
    assert sorted(set(looked)) == [0, 8, 8 + 4, 8 + 4 + 2]


def test_while_memory_is_short_no_item_is_made_ahead() -> None:
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(6):
            made.append(number)
            yield number

    assert list(ahead(numbers(), 2, lambda: True)) == list(range(6))
    made.clear()
    items = ahead(numbers(), 2, lambda: True)
    for number in range(3):
        assert next(items) == number
        assert made == list(range(number + 1))
    items.close()


def test_while_memory_is_short_only_one_call_waits() -> None:
    done: list[int] = []
    with Behind(3, lambda: True) as behind:
        for number in range(5):
            behind.do(done.append, number)
            assert len(done) >= number
    assert done == list(range(5))


def test_batches_are_smaller_while_memory_is_short(first_day: Catalogue) -> None:
    models, files = (first_day.store.published.file(name, FIRST) for name in ("models", "files"))
    rows = []
    with mock.patch.object(reading, "ROW_GROUP_ROWS", 16):
        for held in (Held(100.0), Held(950.0)):
            day = WatchedDay(models, lambda: files, whole=False, watch=held.watch())
            rows.append([batch.num_rows for batch in day.models(["hub_id"])])
    assert rows == [[6], [2, 2, 2]]


# The end


def test_above_the_limit_a_sync_stops_and_the_next_one_goes_on_to_the_same_bytes(
    first_day: Catalogue, second_day: dict[str, str], tmp_path: Path
) -> None:
    """No process of this product fits in 128 MB."""
    first_day.hub.set_day(SECOND)
    catalogue = first_day.copy(tmp_path)
    before = catalogue.published()
    ended = catalogue.sync(**{LIMIT: "128"})
    assert_clear(ended, 1, "Memory is used up", "performance.memory_limit_mb allows 128")
    assert (catalogue.last.state, catalogue.last.category) == ("failed", "system")
    assert catalogue.published() == before
    assert not list(catalogue.data.rglob("*.tmp"))
    assert catalogue.sync().code == 0
    assert catalogue.published() == second_day


def stopped_after(first_day: Catalogue, home: Path, chunk: int) -> tuple[int, Catalogue]:
    """Sync the first day anew while memory passes the limit once details are asked for; count the answers.

    Requests are sent one at a time, so that what was asked for has been answered when memory is looked at.
    """
    first_day.hub.set_day(FIRST)
    catalogue = Catalogue(home, first_day.hub, **{CHUNK: str(chunk), CONCURRENCY: "1"})
    sent = lambda: sum("/revision/" in request.target for request in first_day.hub.requests)  # noqa: E731
    held = mock.Mock(side_effect=lambda: 9_999.0 if sent() else 100.0)
    watch = lambda loaded: MemoryWatch(2048.0, present=held, clock=Held().clock)  # noqa: E731
    with mock.patch("gguf_assets.orchestration.assets.capture.watch_of", watch):
        ended = catalogue.sync()
    assert_clear(ended, 1, "Memory is used up (file details)")
    return sent(), catalogue


@pytest.mark.parametrize("chunk", [2, 4])
def test_memory_is_looked_at_after_every_chunk_of_models(
    first_day: Catalogue, tmp_path: Path, chunk: int
) -> None:
    asked, catalogue = stopped_after(first_day, tmp_path, chunk)
    assert asked == chunk
    # What was answered stays, and is not asked for again.
    assert catalogue.sync().code == 0
    assert sum("/revision/" in request.target for request in first_day.hub.requests) == MODELS - chunk
    assert catalogue.models(FIRST).keys() == {f"owner/m{number}" for number in range(MODELS)}


def test_a_candidate_that_memory_stops_leaves_no_table(first_day: Catalogue, tmp_path: Path) -> None:
    first_day.hub.set_day(SECOND)
    catalogue = first_day.copy(tmp_path)
    before = catalogue.published()
    full = MemoryWatch(2048.0, present=lambda: 9_999.0)

    def step(self: object, name: str, done: int, total: int | None) -> None:
        if name == "models merged":
            full.look(name)

    with mock.patch("gguf_assets.orchestration.progress.Reporter.step_by_unit", step):
        ended = catalogue.sync()
    assert_clear(ended, 1, "Memory is used up (models merged)")
    layout = Layout(catalogue.data, catalogue.data)
    assert not layout.candidate_file("models", SECOND).exists()
    assert catalogue.published() == before


# The bytes


@pytest.mark.parametrize(
    "settings",
    [
        {STREAMING: "false", CHUNK: "1"},
        {LIMIT: "1000000", CHUNK: "10000", PERFORMANCE + "ENABLE_PARALLEL_PROCESSING": "false"},
    ],
    ids=["whole", "large"],
)
def test_the_bytes_of_a_day_depend_on_none_of_these_settings(
    first_day: Catalogue, second_day: dict[str, str], tmp_path: Path, settings: dict[str, str]
) -> None:
    assert synced(first_day, tmp_path, **settings) == second_day


def test_a_sync_near_the_limit_takes_smaller_steps_to_the_same_bytes(
    first_day: Catalogue, second_day: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Memory is short all the time, and even a table of six rows is read in several batches."""
    watch = MemoryWatch(1000.0, present=lambda: 950.0, release=lambda: None)
    few = mock.patch.object(reading, "ROW_GROUP_ROWS", 16)
    with mock.patch.object(memory, "_watch", lambda _: watch), few:
        assert synced(first_day, tmp_path) == second_day
    assert "Memory is near its limit" in caplog.text


def test_without_streaming_tables_are_read_whole(first_day: Catalogue) -> None:
    store, watch = first_day.store, Held(100.0).watch()
    with mock.patch.object(reading, "ROW_GROUP_ROWS", 2):
        days = [
            WatchedDay.of(
                store.published_tables(FIRST), load_settings({**first_day.environ, STREAMING: on}), watch
            )
            for on in ("true", "false")
        ]
        batches, whole = ([*day.models()] for day in days)
    assert [batch.num_rows for batch in batches] == [2, 2, 2]
    assert [batch.num_rows for batch in whole] == [MODELS]
    assert pa.Table.from_batches(batches).equals(pa.Table.from_batches(whole))
    ids = pa.array([repository("owner/m1").hub_id, repository("owner/m4").hub_id])
    assert days[0].models_of(ids).equals(days[1].models_of(ids))
    assert days[0].files_of(ids, ["hub_id", "path"]).equals(days[1].files_of(ids, ["hub_id", "path"]))
