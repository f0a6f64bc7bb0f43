"""Files are verified without being touched: what is known is asked for again, in rotation.

Here: how much a run asks again, and what a capture then holds as evidence. Not here: whose turn it is
(`catalogue/verification`), asking (`hub/`), keeping (`store/`), and judging (`quality/verification_rules`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue.details import read_details
from gguf_assets.catalogue.sync_plan import WalkKind
from gguf_assets.catalogue.verification import (
    FILE_COLUMNS,
    KNOWN_FACTS,
    files_to_look_into,
    known_models,
    models_to_look_into,
    models_to_verify,
)
from gguf_assets.errors import TransientError
from gguf_assets.hub.client import HubClient
from gguf_assets.hub.details import DetailsSummary, DetailTarget, fetch_details
from gguf_assets.hub.gguf_header import HeaderError, read_header
from gguf_assets.hub.headers import HeadsSummary, HeadTarget, read_heads
from gguf_assets.orchestration.progress import Reporter
from gguf_assets.quality.verification_rules import FACTS, Evidence, HeaderSaid, headers_table
from gguf_assets.settings.load import LoadedSettings
from gguf_assets.store.capture import Capture
from gguf_assets.store.capture_manifest import HeadEntry, VerificationEntry
from gguf_assets.store.manifests import PublishedManifest
from gguf_assets.store.store import Store
from gguf_assets.store.verification import Verification


@dataclass(frozen=True)
class AskAgain:
    """How much of what is known a run may ask for again.

    Attributes:
        requests: most requests for details.
        headers: most files whose beginnings are read.
    """

    requests: int
    headers: int


def allowed_again(settings: LoadedSettings, detail_limit: int | None) -> AskAgain:
    """Return how much the settings allow, in a run that may send so many detail requests; None for any."""
    validation = settings.settings.validation
    if not validation.enable_file_verification or detail_limit == 0:
        return AskAgain(0, 0)
    return AskAgain(validation.file_verification_requests, validation.header_sample)


def verify_files(
    store: Store,
    hub: HubClient,
    capture: Capture,
    allowed: AskAgain,
    heads: Callable[[], pa.Table],
    *,
    left: int | None,
    deadline: Callable[[], bool],
    report: Reporter,
) -> int:
    """Ask again for what is known, and note in the capture how far the turn has come.

    Args:
        store: where the baseline lies.
        hub: the Hub.
        capture: the capture, its details asked for.
        allowed: how much may be asked again.
        heads: the heads of the day's listing; called only where something is asked.
        left: detail requests that the run has left; None for any number.
        deadline: says when time is up.
        report: where progress is told.

    Returns:
        The requests sent, those for beginnings of files that were stored excepted.

    Raises:
        PermanentError: the Hub refuses the token, or the disk refused.
    """
    baseline = store.published.latest_before(capture.day)
    before = _last_turn(store, baseline)
    sink = capture.open_verification(before.last, before.heads_last)
    entry, stored = sink.entry, _head_requests(sink)
    requests = allowed.requests - sink.requests
    requests = max(0, requests if left is None else min(requests, left))
    details, reads = DetailsSummary(0, 0, 0, "budget"), HeadsSummary()
    last, heads_last = entry.last, None
    if baseline is not None and (requests or allowed.headers):
        tables = store.published_tables(baseline.day)
        walked_all = capture.plan.kind != WalkKind.WINDOW
        known = known_models(heads(), tables.model_columns(list(KNOWN_FACTS)), walked_all=walked_all)
        targets = _targets(DetailTarget, models_to_verify(known, entry.after, allowed.requests))
        if requests:
            details = _ask_again(hub, sink, targets, requests, deadline, report)
        last = next((t.hub_id for t in reversed(targets) if sink.has_answer(t.hub_id, t.sha)), last)
        if allowed.headers:
            models = models_to_look_into(known, entry.heads_after, allowed.headers)
            files = tables.files_of(models["hub_id"].combine_chunks(), list(FILE_COLUMNS))
            chosen = files_to_look_into(models, files, capture.day, allowed.headers)
            reads = read_heads(hub, _targets(HeadTarget, chosen), sink, deadline=deadline)
            if reads.stopped_reason == "done" and chosen.num_rows < allowed.headers and models.num_rows:
                heads_last = models["hub_id"][-1].as_py()  # too few of them have such a file: go on after all
    stopped = details.stopped_reason if details.stopped_reason != "done" else reads.stopped_reason
    sink.finish(last=last, heads_last=heads_last, failed=details.failed + reads.failed, stopped=stopped)
    return details.requests + reads.requests - (_head_requests(sink) - stored)


def _last_turn(store: Store, baseline: PublishedManifest | None) -> VerificationEntry:
    """Return how far the turn had come on the last published day; its beginning where that is not known."""
    if baseline is None or baseline.capture.run not in store.captures.runs(baseline.day):
        return VerificationEntry()
    return store.captures.open(baseline.day, baseline.capture.run).verification or VerificationEntry()


def _ask_again(
    hub: HubClient,
    sink: Verification,
    targets: Sequence[DetailTarget],
    limit: int,
    deadline: Callable[[], bool],
    report: Reporter,
) -> DetailsSummary:
    """Ask for details that are known; that the Hub is out of reach ends it, and fails no day."""
    before, done = hub.requests, 0

    def answered(_: object) -> None:
        nonlocal done
        done += 1
        report.step_by_unit("files verified", done, len(targets))

    try:
        return fetch_details(hub, targets, sink, limit=limit, deadline=deadline, on_answer=answered)
    except TransientError:
        return DetailsSummary(done, 0, hub.requests - before, "failing")


def _targets(kind: Callable[..., Any], table: pa.Table) -> list[Any]:
    return [kind(**row) for row in table.to_pylist()]


def _head_requests(sink: Verification) -> int:
    return sum(head.requests for head in sink.entry.heads)


def evidence_of(capture: Capture, details_files: int) -> Evidence | None:
    """Return what a capture holds that its day can be compared with; None where nothing was asked again.

    Args:
        capture: the capture.
        details_files: how many of its files of detail answers count.

    Raises:
        PermanentError: a file of the capture is missing or damaged (category `data`).
    """
    entry = capture.verification
    if entry is None or not (entry.answered or entry.heads):
        return None
    facts = _facts(capture, details_files) if entry.answered else FACTS.empty_table()
    return Evidence(facts, tuple(headers_of(capture.iter_heads())))


def _facts(capture: Capture, details_files: int) -> pa.Table:
    """Return the files that the answers name, and one row without a path for a model without any."""
    details = read_details(capture.iter_verifying(details_files), fix=True)
    models = details.models.select(["hub_id", "sha"]).combine_chunks()
    owners = pc.index_in(details.files["hub_id"], value_set=models["hub_id"].combine_chunks())
    files = details.files.append_column("sha", models["sha"].combine_chunks().take(owners.combine_chunks()))
    bare = models.filter(pc.invert(pc.is_in(models["hub_id"], value_set=files["hub_id"].combine_chunks())))
    parts = [files.select(FACTS.names).cast(FACTS), bare]
    return pa.concat_tables(parts, promote_options="default").select(FACTS.names)


def headers_of(heads: Iterable[tuple[HeadEntry, bytes | None]]) -> Iterable[HeaderSaid]:
    """Yield what the stored beginnings of files say; files that could not be had are left out."""
    for head, content in heads:
        if content is None:
            continue
        said = HeaderSaid(head.hub_id, head.sha, head.path, model_id=head.model_id)
        try:
            header = read_header(content, head.file_bytes)
        except HeaderError as error:
            yield replace(said, error=error.reason)
            continue
        yield replace(
            said,
            architecture=header.architecture,
            label=header.file_type,
            parameter_count=header.parameter_count,
            size_label=header.size_label,
            context_length=header.context_length,
            block_count=header.block_count,
            tensor_count=header.tensor_count,
            version=header.version,
            byte_order=header.byte_order,
            truncated=header.truncated,
        )


def verification_metadata(capture: Capture) -> dict[str, Any]:
    """Return what `hub_details` shows of the asking again; the same keys on every day.

    Raises:
        PermanentError: a file of the capture is missing or damaged (category `data`).
    """
    entry = capture.verification or VerificationEntry()
    read = sum(head.name is not None for head in entry.heads)
    return {
        "verified": entry.answered,
        "verification_refused": entry.refused,
        "verification_failed": entry.failed,
        "verification_requests": entry.requests,
        "verification_stopped": entry.stopped or "",
        "headers_read": read,
        "headers_skipped": len(entry.heads) - read,
        "headers": dg.MetadataValue.md(headers_table(tuple(headers_of(capture.iter_heads())))),
    }
