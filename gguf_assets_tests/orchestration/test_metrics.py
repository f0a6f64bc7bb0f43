"""Figures of syncs in the history and the UI, and as Prometheus reads them; the Hub they are of is known.

Three syncs: a first day, a second one that fails because the Hub refuses its listing, and that day again.
"""

from __future__ import annotations

import os
import re
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import psutil
import pytest
import typer
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from gguf_assets.cli.metrics import metrics
from gguf_assets.demo.faults import Fault, FaultKind
from gguf_assets.demo.quota import Quota
from gguf_assets.orchestration.instance import open_instance
from gguf_assets.orchestration.metrics import metrics_text
from gguf_assets.store.layout import Layout
from gguf_assets.store.lock import WriterLock
from gguf_assets.store.store import Store
from gguf_assets_tests.calling import Catalogue, digests
from gguf_assets_tests.hubs import hub_of, repository
from gguf_assets_tests.running import environment

FIRST = date(2025, 8, 10)
SECOND = FIRST + timedelta(1)
QUOTA = 1_000
OLD, NEW = [f"owner/m{number}" for number in range(4)], "owner/new"
SYNC_FIGURES = {
    "tries_failed",
    "error_rate",
    "success_rate",
    "rate_limit_hits",
    "waited_seconds",
    "quota_remaining",
    "quota_limit",
    "peak_rss_mb",
    "cpu_seconds",
}
"""What the contract of the figures names."""


@dataclass(frozen=True)
class Played:
    """The catalogue after three syncs, and what was counted at the Hub in the finished ones."""

    catalogue: Catalogue
    requests: int
    last_requests: int


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    days = {
        FIRST: [repository(name) for name in OLD],
        SECOND: [repository(name) for name in (*OLD, NEW)],
    }
    with hub_of(days, day=FIRST, tick=0, quota=Quota(QUOTA)) as hub:
        catalogue = Catalogue(tmp_path_factory.mktemp("played"), hub)
        # One try of the first sync is answered by a 500, another one asks to slow down.
        hub.faults[:] = [
            Fault(FaultKind.STATUS, "sort=createdAt", status=500),
            Fault(FaultKind.STATUS, "/revision/", status=429, headers={"retry-after": "0"}),
        ]
        assert catalogue.call("sync").code == 0
        first = len(hub.requests)
        hub.set_day(SECOND)
        assert (
            catalogue.sync(fault=Fault(FaultKind.STATUS, "sort=createdAt", status=403, count=None)).code == 1
        )
        assert catalogue.sync().code == 0
        last = len(hub.requests)
        yield Played(catalogue, first + last, last)


Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(text: str) -> Samples:
    """Every sample by name and labels, as Prometheus reads it."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def call_metrics(environ: dict[str, str], *arguments: str) -> Any:
    app = typer.Typer()
    app.command()(metrics)
    with mock.patch.dict(os.environ, environ, clear=True):
        return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def samples(played: Played) -> Samples:
    ended = call_metrics(played.catalogue.environ)
    assert ended.exit_code == 0, ended.output
    return parsed(ended.stdout)


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[(f"gguf_assets_{name}", frozenset(labels.items()))]


# Figures of a sync


def test_the_history_has_the_figures_of_every_finished_sync(played: Played) -> None:
    first, failed, last = played.catalogue.store.history.syncs()
    assert (first.state, failed.state, last.state) == ("finished", "failed", "finished")
    for sync in (first, last):
        assert sync.figures.keys() >= SYNC_FIGURES
        assert sync.figures["quota_limit"] == QUOTA
        assert sync.figures["waited_seconds"] >= 0
        assert sync.figures["peak_rss_mb"] == pytest.approx(_peak_mb(), rel=0.3)
        assert sync.figures["cpu_seconds"] > 0
    assert (first.figures["tries_failed"], first.figures["rate_limit_hits"]) == (2, 1)
    assert first.figures["error_rate"] == pytest.approx(
        2 / (played.requests - played.last_requests), abs=1e-6
    )
    assert (last.figures["tries_failed"], last.figures["error_rate"]) == (0, 0.0)
    # All three syncs have used the quota, and the failed one sent requests as well.
    assert last.figures["quota_remaining"] < first.figures["quota_remaining"] < QUOTA
    # This one included: the first alone, then two of three.
    assert (first.figures["success_rate"], last.figures["success_rate"]) == (
        1.0,
        pytest.approx(2 / 3, abs=1e-6),
    )


def _peak_mb() -> float:
    """The most memory of this process, as the system tells it elsewhere than the code under test asks."""
    told = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(told[1]) / 1024 if told else psutil.Process().memory_info().rss / 2**20


def test_the_report_shows_them_as_numbers_under_the_same_keys_every_day(played: Played) -> None:
    shown = [set(metadata) for metadata in _report_metadata(played.catalogue)]
    assert len(shown) == 2
    assert shown[0] == shown[1] >= SYNC_FIGURES | {"duration_seconds", "requests"}


def _report_metadata(catalogue: Catalogue) -> list[dict[str, float]]:
    with (
        mock.patch.dict(os.environ, catalogue.environ, clear=True),
        open_instance(catalogue.store.layout.dagster_home) as instance,
    ):
        records = instance.fetch_materializations(dg.AssetKey("sync_report"), limit=10).records
    made = [record.asset_materialization for record in records]
    return [
        {key: entry.value for key, entry in it.metadata.items() if isinstance(entry.value, int | float)}
        for it in made
        if it is not None
    ]


def test_without_performance_metrics_none_of_them_is_there(played: Played, tmp_path: Path) -> None:
    off = {"ENABLE_PERFORMANCE_METRICS": "false"}
    catalogue = played.catalogue.copy(tmp_path, **off)
    assert catalogue.sync("--refetch").code == 0
    assert catalogue.last.figures.keys() & SYNC_FIGURES == {"tries_failed"}
    assert "tries_failed_api" in catalogue.last.figures
    newest = _report_metadata(catalogue)[0]
    assert newest.keys() & (SYNC_FIGURES | {"duration_seconds"}) == {"tries_failed"}
    # What is not known is left out, and the numbers of earlier syncs stay.
    found = parsed(metrics_text(catalogue.store, datetime.now(UTC)).decode())
    assert ("gguf_assets_last_sync_peak_memory_bytes", frozenset()) not in found
    assert value(found, "rate_limit_hits_total") == 1
    assert value(found, "quota_limit_requests") == QUOTA


# As Prometheus reads them


def test_syncs_are_counted_by_state_and_category(samples: Samples) -> None:
    counted = {
        tuple(dict(labels)[key] for key in ("state", "category")): number
        for (name, labels), number in samples.items()
        if name == "gguf_assets_syncs_total"
    }
    assert {key: number for key, number in counted.items() if number} == {
        ("finished", ""): 2,
        ("failed", "permission"): 1,
    }
    # The others are there with 0, so that their first increase is one.
    assert len(counted) > 8
    assert value(samples, "sync_running") == 0
    assert value(samples, "last_sync_success") == 1
    assert value(samples, "sync_success_ratio") == pytest.approx(2 / 3)


def test_what_was_sent_adds_up_to_what_the_hub_was_asked(samples: Samples, played: Played) -> None:
    assert value(samples, "requests_total") == played.requests
    assert value(samples, "last_sync_requests") == played.last_requests
    assert value(samples, "rate_limit_hits_total") == 1
    assert value(samples, "failed_tries_total", category="api") == 1
    assert value(samples, "failed_tries_total", category="rate_limit") == 1
    assert value(samples, "failed_tries_total", category="network") == 0
    assert value(samples, "last_sync_error_ratio") == 0
    assert value(samples, "quota_limit_requests") == QUOTA
    assert 0 < value(samples, "quota_remaining_requests") < QUOTA - played.requests + 2
    assert value(samples, "waited_seconds_total") >= 0


def test_the_catalogue_is_told_as_the_hub_shows_it(samples: Samples, played: Played) -> None:
    """Five models with one GGUF file each; one of them is new since the day before."""
    assert value(samples, "models") == 5
    assert value(samples, "files") == 5
    assert value(samples, "published_days") == 2
    assert value(samples, "completeness_ratio") == 1
    scores = [row["score"] for row in played.catalogue.rows("health", SECOND)]
    assert value(samples, "health_score") == pytest.approx(sum(scores) / len(scores), abs=0.01)
    changes = {"added": 1, "updated": 0, "removed": 0, "renamed": 0}
    for change, number in changes.items():
        assert value(samples, "last_sync_models", change=change) == number
    began = datetime(SECOND.year, SECOND.month, SECOND.day, tzinfo=UTC).timestamp()
    assert value(samples, "last_published_day_timestamp_seconds") == began
    assert value(samples, "last_published_day_age_seconds") == pytest.approx(
        datetime.now(UTC).timestamp() - began, abs=300
    )


def test_times_memory_and_processor_are_in_base_units(samples: Samples, played: Played) -> None:
    noon = datetime(SECOND.year, SECOND.month, SECOND.day, 12, tzinfo=UTC).timestamp()
    assert value(samples, "last_sync_timestamp_seconds") == noon
    assert value(samples, "last_success_timestamp_seconds") == noon
    assert 0 < value(samples, "last_sync_duration_seconds") < 300
    assert 0 < value(samples, "last_sync_cpu_seconds") < 3_600
    assert 50 * 2**20 < value(samples, "last_sync_peak_memory_bytes") < 8 * 2**30


@pytest.mark.parametrize(("hours", "stale"), [(25.9, (0, 0)), (26, (1, 0)), (49.9, (1, 0)), (50, (1, 1))])
def test_the_catalogue_turns_stale_by_the_hours_since_the_last_success(
    played: Played, hours: float, stale: tuple[int, int]
) -> None:
    noon = datetime(SECOND.year, SECOND.month, SECOND.day, 12, tzinfo=UTC)
    found = parsed(metrics_text(played.catalogue.store, noon + timedelta(hours=hours)).decode())
    assert tuple(value(found, "stale", severity=name) for name in ("warning", "failure")) == stale
    since = [value(found, "stale_timestamp_seconds", severity=name) for name in ("warning", "failure")]
    assert since == [(noon + timedelta(hours=later)).timestamp() for later in (26, 50)]


def test_the_parts_of_the_data_folder_are_as_large_as_their_files(samples: Samples, played: Played) -> None:
    data = played.catalogue.data
    for part in ("published", "captures", "candidate"):
        size = sum(path.stat().st_size for path in (data / part).rglob("*") if path.is_file())
        assert size > 0
        assert value(samples, "data_bytes", part=part) == size


def test_hard_links_count_once_in_a_part(tmp_path: Path) -> None:
    store = Store(Layout(tmp_path, tmp_path))
    backups = store.layout.backups_dir
    backups.mkdir(parents=True)
    (backups / "one").write_bytes(b"x" * 1_000)
    (backups / "two").hardlink_to(backups / "one")
    (backups / "gone").symlink_to(backups / "nowhere")
    found = parsed(metrics_text(store, datetime.now(UTC)).decode())
    assert value(found, "data_bytes", part="backups") == pytest.approx(1_000, abs=200)


# The form


def test_every_metric_has_a_help_a_type_and_a_name_by_the_rules(played: Played) -> None:
    text = metrics_text(played.catalogue.store, datetime.now(UTC)).decode()
    families = list(text_string_to_metric_families(text))
    assert len(families) > 25
    assert len({family.name for family in families}) == len(families)
    for family in families:
        assert re.fullmatch(r"gguf_assets_[a-z][a-z_]*[a-z]", family.name), family.name
        assert family.documentation.endswith("."), family.name
        assert family.type in ("counter", "gauge")
        names = {sample.name for sample in family.samples}
        assert names <= {family.name + ("_total" if family.type == "counter" else "")}
        if family.type == "gauge":
            assert not family.name.endswith(("_total", "_count", "_sum", "_bucket", "_info"))
        # Base units alone.
        assert not re.search(r"_(ms|milliseconds|minutes|hours|mb|kb|percent)(_|$)", family.name), family.name


def test_an_empty_data_folder_gives_zeros_and_stays_empty(tmp_path: Path) -> None:
    ended = call_metrics(environment(tmp_path, "http://127.0.0.1:9"))
    assert ended.exit_code == 0, ended.output
    found = parsed(ended.stdout)
    assert value(found, "published_days") == 0
    assert value(found, "syncs_total", state="finished", category="") == 0
    assert value(found, "requests_total") == 0
    assert not [name for name, _ in found if "last" in name or "stale" in name or "models" in name]
    assert list(tmp_path.rglob("*")) == []


def test_it_asks_nobody_and_changes_nothing(played: Played) -> None:
    data, hub = played.catalogue.data, played.catalogue.hub
    before, asked = digests(data), len(hub.requests)
    assert call_metrics(played.catalogue.environ).exit_code == 0
    assert digests(data) == before
    assert len(hub.requests) == asked


def test_a_file_is_written_at_once_and_readable_for_the_exporter(played: Played, tmp_path: Path) -> None:
    target = tmp_path / "collector" / "gguf.prom"
    target.parent.mkdir()
    target.write_text("old")
    kept = os.open(target, os.O_RDONLY)
    try:
        ended = call_metrics(played.catalogue.environ, "--output", str(target))
        assert (ended.exit_code, ended.stdout) == (0, "")
        # Who had it open still reads the whole old one.
        assert os.read(kept, 10) == b"old"
    finally:
        os.close(kept)
    assert value(parsed(target.read_text()), "models") == 5
    assert stat.S_IMODE(target.stat().st_mode) & 0o444 == 0o444
    assert [path.name for path in target.parent.iterdir()] == ["gguf.prom"]


def test_a_file_that_cannot_be_written_is_an_error_with_a_next_step(played: Played, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = call_metrics(played.catalogue.environ, "--output", str(tmp_path / "file" / "gguf.prom"))
    assert ended.exit_code == 1
    assert ended.stderr.startswith("Error: ")
    assert "Traceback" not in ended.stderr


def test_a_sync_under_way_is_no_failed_one(played: Played, tmp_path: Path) -> None:
    catalogue = played.catalogue.copy(tmp_path)
    history, lock = catalogue.store.history, WriterLock(catalogue.store.layout)
    history.started("under way", SECOND + timedelta(1), datetime.now(UTC))
    lock.acquire(run_id="under way", command="a test")
    try:
        during = parsed(metrics_text(catalogue.store, datetime.now(UTC)).decode())
    finally:
        lock.release()
    after = parsed(metrics_text(catalogue.store, datetime.now(UTC)).decode())
    died = {"state": "failed", "category": "system"}
    assert (value(during, "sync_running"), value(during, "syncs_total", **died)) == (1, 0)
    assert (value(after, "sync_running"), value(after, "syncs_total", **died)) == (0, 1)


def test_it_can_be_read_while_a_sync_runs(played: Played, tmp_path: Path) -> None:
    catalogue = played.catalogue.copy(tmp_path)
    over, models = threading.Event(), set[float]()

    def read() -> None:
        while not over.is_set():
            models.add(value(parsed(metrics_text(catalogue.store, datetime.now(UTC)).decode()), "models"))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert catalogue.sync("--refetch").code == 0
    finally:
        over.set()
        reader.join()
    assert models == {5.0}
