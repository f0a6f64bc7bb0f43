"""Small days: captures, candidates and published days made of few rows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa

from gguf_assets.catalogue.schema import DATASETS
from gguf_assets.store.candidates import Candidates
from gguf_assets.store.capture import Capture
from gguf_assets.store.capture_manifest import CapturePlan
from gguf_assets.store.captures import Captures
from gguf_assets.store.layout import Layout
from gguf_assets.store.manifests import CandidateManifest, CaptureRef, Verdict
from gguf_assets.store.publish import Published

DAY = date(2025, 8, 10)
NEXT = DAY + timedelta(days=1)
NOON = datetime(2025, 8, 10, 12, tzinfo=UTC)
PLAN = CapturePlan(
    endpoint="http://127.0.0.1:8000",
    kind="full",
    mode="full",
    reason="first_run",
    reason_text="no published day yet",
    fields=("sha", "siblings"),
)
PUBLISHABLE = Verdict(publishable=True)


def finished_capture(layout: Layout, day: date = DAY) -> Capture:
    capture = Captures(layout).begin(day, PLAN)
    capture.store_page(b"[]", rows=0, next_link=None, date=NOON, requests=1)
    capture.finish_listing()
    capture.finish_details()
    return capture


def models(day: date, names: Mapping[str, str]) -> pa.Table:
    """Return rows of `models` from hub_id: model_id."""
    rows = [
        {"snapshot_date": day, "hub_id": hub_id, "model_id": name, "presence": "listed"}
        for hub_id, name in names.items()
    ]
    return pa.Table.from_pylist(rows, schema=DATASETS["models"].arrow)


def candidate(
    layout: Layout,
    day: date,
    names: Mapping[str, str],
    *,
    verdict: Verdict | None = PUBLISHABLE,
) -> CandidateManifest:
    """Write a candidate of all datasets, empty but for `models`, and judge it."""
    store = Candidates(layout)
    before = Published(layout).latest_before(day)
    store.begin(
        day,
        capture=CaptureRef(1, 1, 0, "full", "full", "first_run"),
        baseline=None if before is None else before.as_baseline(),
        derivation={"removal_confirm_limit": 500},
        pipeline_version="0.1.0",
    )
    for name, dataset in DATASETS.items():
        with store.writer(name, day) as writer:
            writer.write(models(day, names) if name == "models" else dataset.empty())
        store.record(day, {name: writer.info})
    if verdict is not None:
        store.record_verdict(day, verdict, judged=list(DATASETS))
    return store.manifest(day)
