"""What a day is derived from: which capture, how much of it, and which baseline.

Here: the choice, by the rules of the design. Not here: the derivation (`assets/catalogue`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa

from gguf_assets.catalogue.absence import Absences, judge_absences
from gguf_assets.catalogue.extras import Extras, gather_extras
from gguf_assets.catalogue.parse import parse_listing_page
from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.settings.load import LoadedSettings
from gguf_assets.store.capture import Capture
from gguf_assets.store.datasets import read_table
from gguf_assets.store.manifests import BaselineRef, CaptureRef, PublishedManifest
from gguf_assets.store.store import Store


@dataclass(frozen=True)
class Source:
    """What one derivation starts from.

    Attributes:
        capture: the capture.
        details_files: how many of its files of detail answers count.
        baseline: the published day it builds on, None on the first.
    """

    capture: Capture
    details_files: int
    baseline: PublishedManifest | None

    def capture_ref(self) -> CaptureRef:
        """Return the capture as the manifest names it."""
        plan = self.capture.plan
        return CaptureRef(
            self.capture.run,
            self.capture.pages_stored,
            self.details_files,
            plan.kind,
            plan.mode,
            plan.reason,
        )

    def baseline_ref(self) -> BaselineRef | None:
        """Return the baseline as the manifest names it."""
        return None if self.baseline is None else self.baseline.as_baseline()


def source_of(store: Store, day: date, run_id: str, *, as_published: bool) -> Source:
    """Choose what to derive a day from.

    A published day stays with the capture and the details its manifest names, until a later walk replaces
    them: details appended since are for the days to come.

    Args:
        store: where it lies.
        day: the partition.
        run_id: the run; a capture that this run began or took up counts before all others.
        as_published: keep the baseline that the day's manifest names, where the day is published.

    Raises:
        PermanentError: the day has no complete capture, or its baseline is gone.
    """
    capture = capture_of_run(store, day, run_id)
    published = store.published.manifest(day)
    details_files = capture.details_files
    if published is not None and published.capture.run == capture.run:
        details_files = published.capture.details_files
    if as_published and published is not None:
        named = published.baseline
        return Source(capture, details_files, None if named is None else _published(store, day, named.date))
    return Source(capture, details_files, store.published.latest_before(day))


def capture_of_run(store: Store, day: date, run_id: str) -> Capture:
    """Return the capture a run works on: its own, else the published one, else the last complete one.

    Raises:
        PermanentError: the day has no complete capture.
    """
    own = [sync.capture_run for sync in store.history.syncs() if sync.sync_id == run_id]
    if own and own[-1] is not None:
        return store.captures.open(day, own[-1])
    published = store.published.manifest(day)
    if published is not None and published.capture.run in store.captures.runs(day):
        return store.captures.open(day, published.capture.run)
    capture = store.captures.latest_complete(day)
    if capture is None:
        removed = published is not None and not store.captures.runs(day)
        raise PermanentError(
            f"{day} has no complete capture to be derived from"
            + (f": {_REMOVED}; the day stays published" if removed else ""),
            category=ErrorCategory.DATA,
            remedy="`gguf-assets status` lists the days that can be rebuilt; a present day is captured by: "
            "gguf-assets sync",
        )
    return capture


_REMOVED = "it was removed when it was older than storage.capture_retention_days, or not in a restored backup"


def absences_of(capture: Capture, *, fix: bool) -> Absences:
    """Return what the capture's answers about absent models prove; `fix` as `parse_listing_page` has it."""
    entry = capture.absence
    if entry is None:
        return Absences()
    return judge_absences(capture.iter_absences(), trusted=entry.trusted, anonymous=entry.anonymous, fix=fix)


def extras_of(store: Store, source: Source, absences: Absences, *, merged: bool, fix: bool) -> Extras:
    """Return what is there besides the walk: seen by the capture's other routes, or found by name.

    Args:
        store: where it lies.
        source: what is derived.
        absences: what the answers about absent models prove.
        merged: whether a model names every route that saw it, or the first one alone.
        fix: whether values are mended as `parse_listing_page` does it.
    """
    capture = source.capture
    routes = {
        route: [
            parse_listing_page(name, content, fix=fix) for name, content in capture.iter_route_pages(route)
        ]
        for route in capture.routes
    }
    baseline = source.baseline

    def created() -> pa.Table:
        assert baseline is not None
        return store.published_tables(baseline.day).model_columns(["hub_id", "created_at"])

    return gather_extras(routes, absences.there, None if baseline is None else created, merged=merged)


def first_seen_of(store: Store, source: Source) -> dict[str, date]:
    """Return when the models that are gone up to the baseline were first seen, by identity."""
    if source.baseline is None:
        return {}
    tombstones = read_table(store.published.file("tombstones", source.baseline.day), ["hub_id", "first_seen"])
    rows = zip(*(tombstones[name].to_pylist() for name in ("hub_id", "first_seen")), strict=True)
    return {hub_id: day for hub_id, day in rows if day is not None}


def derivation_settings(loaded: LoadedSettings) -> Mapping[str, Any]:
    """Return the settings that shape a day, as plain JSON values; recorded in its manifest.

    Thresholds that only colour a check are not among them. Keys have come over time: a day whose manifest
    lacks one was made under its default.
    """
    settings = loaded.settings
    validation = settings.validation
    return {
        "enable_deduplication": settings.sync_behavior.enable_deduplication,
        "enable_data_compression": settings.performance.enable_data_compression,
        "enable_schema_validation": validation.enable_schema_validation,
        "enable_file_verification": validation.enable_file_verification,
        "enable_completeness_checking": validation.enable_completeness_checking,
        "min_completeness_score": validation.min_completeness_score,
        "enable_quality_scoring": validation.enable_quality_scoring,
        "enable_automatic_fixes": validation.enable_automatic_fixes,
        "disabled_rules": sorted(validation.disabled_rules),
        "quality_scoring": settings.quality_scoring.model_dump(),
    }


def _published(store: Store, day: date, baseline: date) -> PublishedManifest:
    manifest = store.published.manifest(baseline)
    if manifest is None:
        raise PermanentError(
            f"{day} was built on {baseline}, which is not published any more",
            category=ErrorCategory.DATA,
            remedy="Build it on the day before it instead: "
            f"gguf-assets rederive --from {baseline} --to {day} --replace",
        )
    return manifest
