"""A small catalogue of several published days, made by the catalogue's own functions."""

from __future__ import annotations

import random
from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta

from gguf_assets.catalogue.schema import DATASETS
from gguf_assets.store.candidates import Candidates
from gguf_assets.store.capture_manifest import CapturePlan
from gguf_assets.store.captures import Captures
from gguf_assets.store.datasets import PLAIN_WRITER
from gguf_assets.store.layout import Layout
from gguf_assets.store.manifests import CaptureRef, Verdict
from gguf_assets.store.publish import Published, publish
from gguf_assets_tests.catalogue.days import Day, build, delta
from gguf_assets_tests.catalogue.worlds import HubDay, Repository

MONDAY = date(2025, 8, 4)
PLAN = CapturePlan(
    endpoint="http://127.0.0.1:8000",
    kind="full",
    mode="full",
    reason="first_run",
    reason_text="no published day yet",
    fields=("sha", "siblings"),
)


def publish_history(
    layout: Layout,
    count: int,
    *,
    first: date = MONDAY,
    seed: int = 0,
    plain: bool = False,
    full: Collection[int] = (0, 5, 10, 15),
) -> list[date]:
    """Publish `count` days in a row, each from a complete capture of that day; return them.

    Days in `full` are walked with file names.
    """
    chance = random.Random(seed)
    repositories = [_repository(number, chance) for number in range(1, 31)]
    last: Day | None = None
    tombstones = None
    days = [first + timedelta(days=number) for number in range(count)]
    for number, day in enumerate(days):
        shown = _shown(repositories, chance, full=number in full)
        new = build(shown.listing(), shown.answers(), last, day=day)
        absent = sorted(r["hub_id"] for r in new.models_table.to_pylist() if r["presence"] == "unconfirmed")
        new = new.without(set(chance.sample(absent, len(absent) // 2)))
        found = None if last is None else delta(last, new, tombstones, names_walked=shown.full)
        tables = {"models": new.models_table, "files": new.files_table}
        if found is not None:
            tombstones = found.tombstones
            tables |= {"changes": found.changes, "file_changes": found.file_changes, "tombstones": tombstones}
        capture_day(layout, day)
        _publish(layout, day, tables, plain=plain)
        last = new
    return days


def capture_day(layout: Layout, day: date, *, pages: int = 1, complete: bool = True) -> int:
    """Store a capture of a day, walked at its noon; return its run."""
    capture = Captures(layout).begin(day, PLAN)
    for page in range(pages):
        link = None if page + 1 == pages else f"/api/models?cursor={page}"
        noon = datetime.combine(day, time(12), UTC)
        capture.store_page(b"[]", rows=0, next_link=link, date=noon, requests=1)
    if complete:
        capture.finish_listing()
        capture.finish_details()
    return capture.run


def _publish(layout: Layout, day: date, tables: dict, *, plain: bool) -> None:
    candidates, before = Candidates(layout), Published(layout).latest_before(day)
    manifest = candidates.begin(
        day,
        capture=CaptureRef(1, 1, 0, "full", "full", "first_run"),
        baseline=None if before is None else before.as_baseline(),
        derivation={},
        pipeline_version="0.1.0",
        compress=not plain,
    )
    assert (manifest.writer == PLAIN_WRITER) is plain
    for name, dataset in DATASETS.items():
        with candidates.writer(name, day) as writer:
            writer.write(tables.get(name, dataset.empty()))
        candidates.record(day, {name: writer.info})
    candidates.record_verdict(day, Verdict(publishable=True), judged=list(DATASETS))
    publish(layout, candidates.manifest(day))


def _repository(number: int, chance: random.Random) -> Repository:
    return Repository(number, f"owner/model-{number}-7B-GGUF", number, chance.choice("abc"), 1)


def _shown(repositories: list[Repository], chance: random.Random, *, full: bool) -> HubDay:
    """Let a day pass: some get other commits, names or creation times, and some are not listed."""
    for place, repository in enumerate(repositories):
        change = chance.random()
        if change < 0.3:
            repositories[place] = _with(repository, commit=chance.choice("abcd"))
        elif change < 0.35:
            repositories[place] = _with(repository, name=f"owner/renamed-{chance.randrange(10**9)}-GGUF")
        elif change < 0.38:
            repositories[place] = _with(repository, created=chance.randrange(40))
    listed = tuple(r for r in repositories if chance.random() < 0.95)
    return HubDay(listed, frozenset(r.number for r in listed if chance.random() < 0.2), full)


def _with(repository: Repository, **changed: object) -> Repository:
    return Repository(**{**vars(repository), **changed})
