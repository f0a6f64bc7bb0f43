"""How far a long step is: lines, figures and bars by a clock handed in, and observations of whole syncs."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import dagster as dg
import pytest
from rich.console import Console

from gguf_assets.demo.quota import Quota
from gguf_assets.demo.server import LoopbackHub
from gguf_assets.errors import ErrorCategory
from gguf_assets.hub.limits import QuotaState
from gguf_assets.orchestration import progress
from gguf_assets.orchestration.backlog import BacklogConfig
from gguf_assets.orchestration.build import build_defs
from gguf_assets.orchestration.instance import open_instance
from gguf_assets.orchestration.memory import MemoryWatch
from gguf_assets.orchestration.progress import NoProgress, Reporter, Standing
from gguf_assets.printing import ProgressBars
from gguf_assets_tests.calling import Catalogue
from gguf_assets_tests.hubs import DAY, hub_of, repository

KEYS = {
    "step",
    "done",
    "total",
    "rate_per_second",
    "eta_seconds",
    "tries_failed",
    "requests",
    "quota_remaining",
    "memory_mb",
}
INTERVAL = "GGUF_SYNC__MONITORING__PROGRESS_REPORT_INTERVAL_SECONDS"
TRACKING = "GGUF_SYNC__MONITORING__ENABLE_PROGRESS_TRACKING"
QUOTA = 1_000


@dataclass
class FakeTraffic:
    requests: int = 0
    failed_tries: Mapping[ErrorCategory, int] = field(default_factory=dict)
    quota: QuotaState | None = None


class Watched:
    """A reporter with a clock, and everything that it told."""

    def __init__(self, seconds: float = 10.0, *, tracked: bool = True, **options: Any) -> None:
        self.now, self.lines, self.bars = 0.0, list[str](), mock.create_autospec(NoProgress, instance=True)
        self.observed: list[Standing] = []
        options.setdefault("observe", self.observed.append)
        self.report = Reporter(
            self.bars, self.lines.append, seconds, tracked=tracked, clock=lambda: self.now, **options
        )

    def steps(self, name: str, *states: tuple[float, int], total: int | None = None) -> None:
        """Report so much done at such times."""
        for self.now, done in states:
            self.report.step(name, done, total)


# What is told, and when


def test_a_line_and_an_observation_come_at_every_interval_with_rate_and_time_left() -> None:
    traffic = FakeTraffic(120, {ErrorCategory.NETWORK: 2, ErrorCategory.API: 1}, QuotaState(500, 380, 60.0))
    memory = MemoryWatch(2048.0, present=lambda: 312.4)
    watched = Watched(traffic=traffic, memory=memory)
    # Two a second from 100 on, which a killed run had done: 20 more at second 10 of 160 in all.
    watched.steps("file details", (0, 100), (4, 108), (10, 120), (12, 124), (19, 138), (20, 140), total=160)
    assert watched.lines == [
        "file details: 120 of 160; 2.00 a second, about 20 s left; 120 requests, 3 failed tries, quota 380; "
        "312 MB of memory",
        "file details: 140 of 160; 2.00 a second, about 10 s left; 120 requests, 3 failed tries, quota 380; "
        "312 MB of memory",
    ]
    assert [standing.metadata() for standing in watched.observed][1] == {
        "step": "file details",
        "done": 140,
        "total": 160,
        "rate_per_second": 2.0,
        "eta_seconds": 10.0,
        "tries_failed": 3,
        "requests": 120,
        "quota_remaining": 380,
        "memory_mb": 312.4,
    }


def test_what_nobody_knows_is_null_under_the_same_keys() -> None:
    watched = Watched()
    watched.steps("listing pages", (10, 1))
    assert watched.lines == ["listing pages: 1"]
    (standing,) = watched.observed
    assert standing.metadata().keys() == KEYS
    assert {key for key, value in standing.metadata().items() if value is not None} == {"step", "done"}


def test_a_step_that_is_done_has_no_time_left_and_one_without_a_total_has_none_known() -> None:
    watched = Watched(traffic=FakeTraffic())
    watched.steps("a", (0, 0), (10, 5), total=5)
    watched.steps("b", (11, 0), (20, 9))
    assert [(it.rate, it.eta_seconds) for it in watched.observed] == [(0.5, 0.0), (1.0, None)]


def test_the_rate_is_that_of_the_step_and_not_of_the_one_before() -> None:
    watched = Watched()
    watched.steps("listing pages", (0, 1), (5, 501))
    watched.steps("file details", (6, 1), (16, 11), total=31)
    assert [(it.step, it.rate, it.eta_seconds) for it in watched.observed] == [("file details", 1.0, 20.0)]


def test_bars_are_told_of_every_step_and_what_is_left_of_the_quota() -> None:
    traffic = FakeTraffic(quota=QuotaState(None, 7, 1.0))
    watched = Watched(traffic=traffic)
    watched.steps("pages", (1, 1))
    traffic.quota = None
    watched.steps("pages", (2, 2))
    assert watched.bars.step.call_args_list == [
        mock.call("pages", 1, None, quota=7),
        mock.call("pages", 2, None, quota=None),
    ]


def test_without_tracking_nothing_is_told_to_anybody() -> None:
    watched = Watched(tracked=False)
    watched.steps("pages", (0, 1), (100, 2), (200, 3))
    assert (watched.lines, watched.observed, watched.bars.step.call_count) == ([], [], 0)


def test_without_tracking_memory_is_looked_at_all_the_same() -> None:
    looked = mock.create_autospec(MemoryWatch, instance=True)
    watched = Watched(tracked=False, memory=looked)
    watched.report.step_by_unit("pages", 1, None)
    looked.look.assert_called_once_with("pages")


def test_an_observation_that_cannot_be_stored_hurts_nobody_and_is_told_once_without_secrets() -> None:
    observe = mock.Mock(side_effect=OSError("disk full at https://user:hunter2secret@host/"))
    watched = Watched(observe=observe)
    watched.steps("pages", (10, 1), (20, 2), (30, 3))
    assert observe.call_count == 1
    told = [line for line in watched.lines if line.startswith("Progress is shown in the log alone: OSError")]
    assert len(told) == 1
    assert "hunter2secret" not in told[0]
    assert len(watched.lines) == 4


# Bars


def frame(width: int = 160, *, total: int | None = 160) -> str:
    """What a terminal shows of a step after ten seconds in which forty were done."""
    now, drawn = [0.0], io.StringIO()
    console = Console(file=drawn, force_terminal=True, width=width, color_system=None)
    bars = ProgressBars(console=console, clock=lambda: now[0])
    for second in range(11):
        now[0] = float(second)
        bars.step("file details", 4 * second, total, quota=1_380 - second)
    console.print(bars._bars.make_tasks_table(bars._bars.tasks))
    return drawn.getvalue()


def test_a_bar_shows_what_is_done_how_fast_how_long_it_takes_and_what_is_left_of_the_quota() -> None:
    shown = frame()
    for part in ("file details", "40/160", "4.0/s", "0:00:10", "0:00:30", "quota 1,370"):
        assert part in shown, (part, shown)


def test_a_bar_of_a_step_whose_size_nobody_knows_has_a_rate_and_no_end() -> None:
    shown = frame(total=None)
    for part in ("40/?", "4.0/s", "quota 1,370"):
        assert part in shown, (part, shown)


# Whole syncs


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    models = [repository(f"owner/m{number}") for number in range(5)]
    with hub_of(models, tick=0, page_size=2, quota=Quota(QUOTA)) as hub:
        yield hub


def in_steps_of(seconds: float) -> Any:
    """A clock that goes on by so much every time it is looked at."""
    ticks = itertools.count(0.0, seconds)
    return mock.patch.object(progress, "time", SimpleNamespace(monotonic=lambda: next(ticks)))


def observations(catalogue: Catalogue) -> list[tuple[str, str | None, dict[str, Any]]]:
    """Asset, partition and metadata of every observation of the last run."""
    with (
        mock.patch.dict("os.environ", catalogue.environ, clear=True),
        open_instance(catalogue.store.layout.dagster_home) as instance,
    ):
        run_id = instance.get_runs(limit=1)[0].run_id
        records = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_OBSERVATION)
    found = []
    for record in records:
        said = record.get_dagster_event().asset_observation_data.asset_observation
        metadata = {key: entry.value for key, entry in said.metadata.items()}
        if "step" in metadata:
            found.append((said.asset_key.to_user_string(), said.partition, metadata))
    return found


@pytest.fixture(scope="module")
def tracked(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """A sync whose every report is due."""
    catalogue = Catalogue(tmp_path_factory.mktemp("tracked"), hub, **{INTERVAL: "10"})
    with in_steps_of(10.0):
        ended = catalogue.sync("--details", "3")
    assert ended.code == 0, ended
    return catalogue


def test_a_sync_leaves_observations_of_its_walk_and_its_details_in_the_ui(tracked: Catalogue) -> None:
    found = observations(tracked)
    assert {(asset, partition) for asset, partition, _ in found} == {
        ("hub_listing", DAY.isoformat()),
        ("hub_details", DAY.isoformat()),
    }
    by_step: dict[str, list[dict[str, Any]]] = {}
    for _, _, metadata in found:
        assert metadata.keys() == KEYS
        by_step.setdefault(metadata["step"], []).append(metadata)
    assert [it["done"] for it in by_step["listing pages"]] == [1, 2, 3]
    details = by_step["file details"]
    assert [(it["done"], it["total"]) for it in details] == [(1, 3), (2, 3), (3, 3)]
    assert details[-1]["eta_seconds"] == 0
    requests = [it["requests"] for it in details]
    assert requests == sorted(requests)
    # Nothing but a clock request before the run has used the quota, too.
    assert QUOTA - len(tracked.hub.requests) - 1 <= details[-1]["quota_remaining"] <= QUOTA - requests[0]
    for it in details:
        assert (it["tries_failed"], it["memory_mb"] > 50) == (0, True)


def test_the_backlog_leaves_observations_of_the_day_it_completes(tracked: Catalogue) -> None:
    with (
        in_steps_of(10.0),
        mock.patch.dict("os.environ", tracked.environ, clear=True),
        open_instance(tracked.store.layout.dagster_home) as instance,
    ):
        result = (
            build_defs()
            .resolve_job_def("details_backlog")
            .execute_in_process(
                instance=instance,
                run_config=dg.RunConfig(ops={"ask_for_details": BacklogConfig(requests=10)}),
            )
        )
    assert result.success
    found = observations(tracked)
    assert [(asset, partition, it["done"], it["total"]) for asset, partition, it in found] == [
        ("hub_details", DAY.isoformat(), done, 2) for done in (1, 2)
    ]


def test_without_tracking_a_sync_leaves_none(hub: LoopbackHub, tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path, hub, **{INTERVAL: "10", TRACKING: "false"})
    with in_steps_of(10.0):
        assert catalogue.sync().code == 0
    assert observations(catalogue) == []


def test_a_sync_whose_observations_cannot_be_stored_publishes_the_same_day(
    tracked: Catalogue, hub: LoopbackHub, tmp_path: Path
) -> None:
    catalogue = Catalogue(tmp_path, hub, **{INTERVAL: "10"})
    broken = mock.patch.object(dg.AssetExecutionContext, "log_event", side_effect=OSError("no space left"))
    with in_steps_of(10.0), broken as log_event:
        ended = catalogue.sync("--details", "3")
    assert ended.code == 0, ended
    assert log_event.call_count == 2  # once in each of the two steps
    assert observations(catalogue) == []
    assert catalogue.published() == tracked.published()
