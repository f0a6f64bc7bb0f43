"""Completing a walked listing: the switch to full, further discovery routes, asking after who is absent.

All of it comes before details are fetched, and all of it is stored in the capture, so that the day can be
derived again without the Hub. Not here: the walk (`walking`), and what the answers mean (`catalogue/`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue.absence import BASELINE_COLUMNS, absent_models
from gguf_assets.catalogue.heads import count_in_window, distinct_heads, parse_heads
from gguf_assets.catalogue.sync_plan import (
    SWITCHING,
    Reason,
    SyncMode,
    WalkKind,
    in_window_text,
    is_significant,
    processing_all_text,
    significant_change_text,
)
from gguf_assets.errors import PermanentError
from gguf_assets.hub.absences import NamedModel, ask_after
from gguf_assets.hub.routes import MOST_PAGES, MOST_PUBLISHERS, route_links, walk_route
from gguf_assets.hub.walk import FULL_FIELDS
from gguf_assets.orchestration.planning import sync_rules
from gguf_assets.orchestration.walking import Sync, end_of_capture, first_path, walk_new
from gguf_assets.store.answers import StoredAnswer
from gguf_assets.store.capture import Capture
from gguf_assets.store.gaps import AbsenceAnswers
from gguf_assets.store.manifests import PublishedManifest
from gguf_assets.store.store import Store

CONTROLS = 5
"""Listed repositories that may serve as the control, the most downloaded ones."""


@dataclass(frozen=True)
class Listing:
    """A capture whose walk has ended, and who is in it.

    Attributes:
        capture: the capture.
        heads: who is listed, schema `HEADS`.
        in_window: models modified within the window or without a date; all of them in a full sync.
        undated: models without a date of modification.
    """

    capture: Capture
    heads: pa.Table
    in_window: int
    undated: int

    @classmethod
    def of(cls, capture: Capture, *, fix: bool) -> Listing:
        """Read the heads of a capture's pages; `fix` as `parse_heads` has it."""
        heads = distinct_heads(parse_heads(name, content, fix=fix) for name, content in capture.iter_pages())
        start = capture.plan.window_start
        inside = heads.num_rows if start is None else count_in_window(heads, datetime.fromisoformat(start))
        return cls(capture, heads, inside, int(heads["last_modified"].null_count))


def turned_full_if_changed(sync: Sync, capture: Capture) -> Listing:
    """Walk again with all fields where the number of models changed too much for an incremental sync.

    Returns:
        The listing the run goes on with: that of the capture, or of a new one of the same day.

    Raises:
        TransientError, PermanentError: the Hub, the disk.
    """
    fix = sync.loaded.settings.validation.enable_automatic_fixes
    listing, plan = Listing.of(capture, fix=fix), capture.plan
    listed = listing.heads.num_rows
    if plan.mode == SyncMode.FULL:
        sync.log(processing_all_text(listed))
        return listing
    sync.log(in_window_text(listing.in_window, listed, plan.window_hours or 0))
    baseline = sync.store.published.latest_before(capture.day)
    rules = sync_rules(sync.loaded)
    if baseline is None or plan.kind == WalkKind.WINDOW or capture.details_complete:
        return listing
    published = baseline.rows["models"]
    if not is_significant(listed, published, rules.significant_change_threshold):
        return listing
    change = significant_change_text(listed, published)
    sync.log(change)
    if plan.reason == Reason.EXPLICIT:
        sync.log("The sync stays incremental, as asked for; a full one is advisable")
        return listing
    full = replace(
        plan,
        kind=WalkKind.FULL.value,
        mode=SyncMode.FULL.value,
        reason=Reason.SIGNIFICANT_CHANGE.value,
        reason_text=f"{SWITCHING}: {change}",
        fields=FULL_FIELDS,
        window_start=None,
        window_hours=None,
        routes=rules.multi_strategy_discovery,
    )
    first = sync.hub.get(first_path(full))
    if first.date.date() != capture.day:
        sync.log(f"The Hub has left {capture.day}: the sync stays incremental, a full one follows")
        return listing
    sync.log(SWITCHING)
    listing = Listing.of(walk_new(sync, capture.day, full, first), fix=fix)
    sync.log(processing_all_text(listing.heads.num_rows))
    return listing


def complete_listing(sync: Sync, listing: Listing) -> None:
    """Walk the further routes that belong to a listing, then ask after the models that nothing listed.

    What an earlier run did is not done again.

    Raises:
        TransientError, PermanentError: the Hub, the disk.
    """
    capture = listing.capture
    if capture.details_complete:
        return
    if capture.plan.routes:
        _walk_routes(sync, capture, listing.heads)
    baseline = sync.store.published.latest_before(capture.day)
    if baseline is None or capture.plan.kind == WalkKind.WINDOW:
        return
    if capture.absence is None or not capture.absence.done:
        _ask_after_absent(sync, capture, listing.heads, baseline)


def _walk_routes(sync: Sync, capture: Capture, heads: pa.Table) -> None:
    owners = Counter(name.partition("/")[0] for name in heads["model_id"].to_pylist() if "/" in name)
    largest = sorted(owners.items(), key=lambda entry: (-entry[1], entry[0]))[:MOST_PUBLISHERS]
    links = route_links([owner for owner, _ in largest])
    for name, sink in capture.open_routes(links).items():
        walk_route(
            sync.hub, sink, most_pages=MOST_PAGES[name], until=end_of_capture(capture.day, sync.loaded)
        )
        if sink.entry.error is not None:
            sync.log(f"Discovery route {name} broke off: {sink.entry.error}")


def _ask_after_absent(sync: Sync, capture: Capture, heads: pa.Table, baseline: PublishedManifest) -> None:
    store, validation = sync.store, sync.loaded.settings.validation
    limit, fix = validation.removal_confirm_limit, validation.enable_automatic_fixes
    seen = pa.concat_tables([heads, *route_heads(capture, fix=fix)])
    known = store.published_tables(baseline.day).model_columns(list(BASELINE_COLUMNS))
    absent = absent_models(known, _one(seen["hub_id"]), _one(seen["model_id"]))
    sink = capture.open_absences(absent.num_rows, anonymous=sync.hub.anonymous)
    models = [
        NamedModel(*row) for row in zip(*(column.to_pylist() for column in absent.columns), strict=True)
    ]
    # Kept with the answers; a token given only now makes the 401s of an earlier run prove nothing.
    sink.entry.anonymous &= sync.hub.anonymous
    _adopt_verdicts(store, capture, sink, baseline, {model.hub_id for model in models}, fix=fix)
    ask_after(
        sync.hub,
        models,
        sink,
        control=_controls(heads),
        limit=limit,
        until=end_of_capture(capture.day, sync.loaded),
        on_answer=lambda asked: sync.step("absent models", asked, min(limit, absent.num_rows)),
    )
    if absent.num_rows:
        entry = sink.entry
        left = max(0, absent.num_rows - len(list(capture.iter_absences())))
        proof = "" if entry.trusted else "; the control did not answer, so no answer proves a removal"
        sync.log(f"{absent.num_rows} models are absent: {entry.asked} asked for by name, {left} left{proof}")


def route_heads(capture: Capture, *, fix: bool) -> list[pa.Table]:
    """Return the heads of what the further routes saw, page by page; `fix` as `parse_heads` has it."""
    return [
        parse_heads(name, content, filtered=False, fix=fix)
        for route in capture.routes
        for name, content in capture.iter_route_pages(route)
    ]


def _controls(heads: pa.Table) -> list[NamedModel]:
    keys = [("downloads", "descending"), ("hub_id", "ascending")]
    chosen = heads.take(pc.select_k_unstable(heads, min(CONTROLS, heads.num_rows), sort_keys=keys))
    return [NamedModel(row["hub_id"], row["model_id"]) for row in chosen.to_pylist()]


def _adopt_verdicts(
    store: Store,
    capture: Capture,
    sink: AbsenceAnswers,
    baseline: PublishedManifest,
    absent: set[str],
    *,
    fix: bool,
) -> None:
    """Take over what captures since the baseline have proven: answers are kept while the absence lasts."""
    proven: dict[str, StoredAnswer] = {}
    for day, run in _captures_since(store, baseline, capture):
        try:
            other = store.captures.open(day, run)
            proven = _proven_after(other, proven, anonymous=sink.entry.anonymous, fix=fix)
        except PermanentError:  # damaged: who was seen in it is not known, and asking again is cheap
            proven = {}
    for hub_id, answer in proven.items():
        if hub_id in absent:
            sink.store_answer(
                hub_id=hub_id, model_id=answer.model_id, status=answer.status, info=None, requests=0
            )


def _captures_since(
    store: Store, baseline: PublishedManifest, capture: Capture
) -> Iterator[tuple[date, int]]:
    """Yield day and run of the captures between the one the baseline was made of and this one, in order."""
    begin, end = (baseline.day, baseline.capture.run), (capture.day, capture.run)
    for day in store.captures.days():
        for run in store.captures.runs(day):
            if begin < (day, run) < end:
                yield day, run


def _proven_after(
    capture: Capture, proven: dict[str, StoredAnswer], *, anonymous: bool, fix: bool
) -> dict[str, StoredAnswer]:
    """Return who is proven to be gone after a capture, given who was before it and is not seen in it."""
    entry, answers = capture.absence, list(capture.iter_absences())
    there = {answer.hub_id for answer in answers if answer.status == 200}
    if proven:
        pages = (parse_heads(name, content, fix=fix) for name, content in capture.iter_pages())
        for heads in (*pages, *route_heads(capture, fix=fix)):
            there.update(heads["hub_id"].to_pylist())
    still = {hub_id: answer for hub_id, answer in proven.items() if hub_id not in there}
    if entry is None or not (entry.done and entry.trusted):
        return still
    proofs = (404, 401) if entry.anonymous and anonymous else (404,)
    return still | {answer.hub_id: answer for answer in answers if answer.status in proofs}


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()
