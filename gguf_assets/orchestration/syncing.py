"""Running jobs from the command line: in this process, in the same Dagster instance as the UI.

Here: a sync of one day and deriving days again. Not here: what a run's events say about a failure
(`run_failures`), telling people (`alerts_of_sync`), parsing of options and printing (`cli`).
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

import dagster as dg

from gguf_assets.catalogue.schema import SCHEMA_VERSION
from gguf_assets.catalogue.sync_plan import SyncMode
from gguf_assets.errors import ErrorCategory, GgufAssetsError, Refused
from gguf_assets.hub.client import HubClient
from gguf_assets.masking import mask
from gguf_assets.orchestration.alerts_of_sync import Heard
from gguf_assets.orchestration.build import build_defs
from gguf_assets.orchestration.capturing import (
    CaptureRequest,
    needs_walk,
    refuse_dry_run,
    refuse_past,
)
from gguf_assets.orchestration.config import checked_overrides, detail_limit, overrides_config
from gguf_assets.orchestration.dry_run import is_concluded
from gguf_assets.orchestration.executors import chosen_executor
from gguf_assets.orchestration.instance import instance_errors, open_instance
from gguf_assets.orchestration.partitions import first_day, refuse_outside
from gguf_assets.orchestration.progress import Progress
from gguf_assets.orchestration.recording import recorded
from gguf_assets.orchestration.reporting import record_failure
from gguf_assets.orchestration.resources import layout_of, open_hub
from gguf_assets.orchestration.run_failures import failure_of, was_interrupted
from gguf_assets.orchestration.runs import (
    FAILED_BEFORE,
    HUB_NOW,
    REQUESTS_BEFORE,
    TRIGGER,
    end_dead_syncs,
    process_tags,
    reap_dead_runs,
)
from gguf_assets.settings.load import LoadedSettings, load_settings
from gguf_assets.store.history import INTERRUPTED
from gguf_assets.store.lock import WriterLock
from gguf_assets.store.manifests import PublishedManifest
from gguf_assets.store.publish import recover
from gguf_assets.store.store import Store


@dataclass(frozen=True)
class SyncOutcome:
    """How a sync ended.

    Attributes:
        day: the day.
        mode, reason: the mode it ran in and the code of the reason.
        figures: models, added, updated, removed, renamed, completeness, requests, detail_requests,
            duration_seconds.
        published: whether the day is published.
        walked: false when the day was published already and nothing had to be done.
        reaped: runs of dead processes that were reported as failed first.
        failed_checks: why the day would not have been published where failing days are kept back; the JSON
            holds them only if there are any.
    """

    day: date
    mode: str
    reason: str
    figures: Mapping[str, Any]
    published: bool
    walked: bool
    reaped: list[str] = field(default_factory=list)
    failed_checks: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the keys of `gguf-assets sync --json`."""
        counted = ("models", "added", "updated", "removed", "renamed", "completeness", "requests")
        return {
            "date": self.day.isoformat(),
            "mode": self.mode,
            "reason": self.reason,
            **{key: self.figures[key] for key in counted},
            "detail_requests": self.figures["detail_requests"],
            "published": self.published,
            "duration_seconds": self.figures["duration_seconds"],
            **({"failed_checks": list(self.failed_checks)} if self.failed_checks else {}),
        }


@dataclass(frozen=True)
class Workplace:
    """What every command that writes stands on; made by `writing`.

    Attributes:
        loaded: the settings.
        store: the store, held for writing.
        instance: the Dagster instance.
        reaped: runs of dead processes that were reported as failed.
        found_dead: a sentence about every sync that died, now recorded as failed.
    """

    loaded: LoadedSettings
    store: Store
    instance: dg.DagsterInstance
    reaped: list[str]
    found_dead: list[str]


@contextmanager
def writing(
    environ: Mapping[str, str], command: str, overrides: Mapping[str, str] | None = None
) -> Iterator[Workplace]:
    """Hold the store for writing: lock taken, interrupted publishing completed, dead runs reaped.

    Raises:
        Refused: settings, executor or first day are not valid, or another process is writing.
        PermanentError: the disk refused.
    """
    loaded = load_settings(environ, overrides=checked_overrides(overrides or {}))
    chosen_executor(environ)
    first_day(environ, None, None)
    layout = layout_of(loaded)
    with recorded(loaded, layout, command), WriterLock(layout).held(command=command):
        recover(layout)
        with instance_errors(layout.dagster_home), open_instance(layout.dagster_home) as instance:
            store, reaped = Store(layout), reap_dead_runs(instance)
            yield Workplace(loaded, store, instance, reaped, end_dead_syncs(instance, store.history))


def sync_day(
    day: date | None,
    mode: SyncMode,
    details: str,
    *,
    force: bool = False,
    refetch: bool,
    progress: Progress,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, str] | None = None,
) -> SyncOutcome:
    """Sync one day.

    Args:
        day: the day; None for the Hub's present one, at the price of one request.
        mode: the mode asked for.
        details: `default`, `all`, `none` or a number of requests.
        force: full, whatever mode and history say.
        refetch: walk again although the day has a complete capture.
        progress: where long steps report.
        environ: environment variables; those of the process when None.
        overrides: settings of this sync alone, by dotted key; the run shows them in its run config.

    Raises:
        GgufAssetsError: the sync was refused, failed or did not publish; `Refused` when nothing was started.
    """
    environ = os.environ if environ is None else environ
    heard = Heard(environ)
    try:
        outcome = _sync_day(
            day,
            mode,
            details,
            force=force,
            refetch=refetch,
            progress=progress,
            environ=environ,
            overrides=overrides,
            heard=heard,
        )
    except BaseException as error:
        heard.tell(error)
        raise
    heard.tell(None)
    return outcome


def _sync_day(
    day: date | None,
    mode: SyncMode,
    details: str,
    *,
    force: bool,
    refetch: bool,
    progress: Progress,
    environ: Mapping[str, str],
    overrides: Mapping[str, str] | None,
    heard: Heard,
) -> SyncOutcome:
    """Sync one day, and let people be told of it afterwards; arguments and errors as above."""
    with writing(environ, "gguf-assets sync", overrides) as place:
        loaded, store = place.loaded, place.store
        heard.begins(loaded, store)
        for sentence in place.found_dead:
            progress.note(sentence)
        refuse_dry_run(loaded)
        limit = detail_limit(details, loaded.settings.sync_behavior.detail_requests_per_run)
        before, tags = 0, {TRIGGER: "command line"}
        with open_hub(loaded) as hub:
            if day is None:
                now = _hub_now(store, hub, heard)
                day, before = now.date(), hub.requests
                tags |= {REQUESTS_BEFORE: str(before), HUB_NOW: now.isoformat()}
                tags |= {FAILED_BEFORE: json.dumps(hub.failed_tries)}
        first = first_day(environ, store.earliest_day(), day if store.earliest_day() is None else None)
        refuse_outside(day, first, store.captures.complete_days())
        request = CaptureRequest(mode, refetch, limit, force)
        published = store.published.manifest(day)
        walk_again = needs_walk(store, day, request, loaded)
        if published is not None and not walk_again and is_concluded(store, published):
            return _nothing_to_do(published, before, place.reaped)
        if refetch or store.captures.latest(day) is None:
            refuse_past(store, day)
        options = {"mode": mode.value, "force": force, "refetch": refetch, "details": details}
        run_id = str(uuid.uuid4())  # known beforehand, so that people can be told however it ends
        with heard.run(place.instance, run_id):
            run_job(
                place,
                "daily_sync",
                day,
                {"hub_listing": {"config": options}},
                progress=progress,
                environ=environ,
                tags=tags,
                overrides=overrides,
                run_id=run_id,
            )
        sync = next((record for record in store.history.syncs() if record.sync_id == run_id), None)
        if sync is None:  # a past day was derived from its capture, which is no sync
            return _derived(store, day, before, place.reaped)
        manifest = store.published.manifest(day)
        return SyncOutcome(
            day,
            sync.mode or "",
            sync.reason or "",
            sync.figures,
            published=sync.published,
            walked=True,
            reaped=place.reaped,
            failed_checks=() if manifest is None else manifest.failed,
        )


def _hub_now(store: Store, hub: HubClient, heard: Heard) -> datetime:
    """Return the Hub's clock; a Hub that does not tell is a failed sync, like one that fails later."""
    try:
        return hub.now()
    except GgufAssetsError as error:
        sync_id = str(uuid.uuid4())
        store.history.started(sync_id, None, None)
        record_failure(store, sync_id, mask(error.message), error.category.value)
        heard.failed_before_its_run(sync_id, error)
        raise


def _derived(store: Store, day: date, requests: int, reaped: list[str]) -> SyncOutcome:
    """Return how the derivation of a past day ended, which the run has published."""
    manifest = store.published.manifest(day)
    assert manifest is not None, "a run that published nothing has failed"
    return replace(_nothing_to_do(manifest, requests, reaped), walked=True)


def _nothing_to_do(manifest: PublishedManifest, requests: int, reaped: list[str]) -> SyncOutcome:
    changes = manifest.figures.get("changes", {})
    figures = {
        "models": manifest.rows["models"],
        **{kind: changes.get(kind, 0) for kind in ("added", "updated", "removed", "renamed")},
        "completeness": manifest.completeness,
        "requests": requests,
        "detail_requests": 0,
        "duration_seconds": 0.0,
    }
    return SyncOutcome(
        manifest.day,
        manifest.mode,
        manifest.reason,
        figures,
        published=True,
        walked=False,
        reaped=reaped,
        failed_checks=manifest.failed,
    )


def rederive_days(
    first: date | None,
    last: date | None,
    *,
    replace: bool,
    upgrade: bool,
    progress: Progress,
    environ: Mapping[str, str] | None = None,
) -> Iterator[tuple[date, bool]]:
    """Derive days again from their captures, in order; no request is sent.

    One day keeps the baseline its manifest names. Of several days each builds on the one before it, and so
    does every later day once one has been replaced.

    Args:
        first: first day of the range; the first stored one when None.
        last: last day, included; the last stored one when None.
        replace: also change frozen days; every later day is then derived again as well.
        upgrade: take the days whose schema is older than the present one, and replace them.
        progress: where long steps report.
        environ: environment variables; those of the process when None.

    Yields:
        Each day when it is done, and whether its published content changed.

    Raises:
        Refused: there is no such day.
        GgufAssetsError: a day could not be derived; days before it are done.
    """
    environ = os.environ if environ is None else environ
    with writing(environ, "gguf-assets rederive") as place:
        store = place.store
        days = _days_to_derive(store, first, last, replace=replace, upgrade=upgrade)
        replace = replace or upgrade
        for day in days:
            before = store.published.manifest(day)
            config: dict[str, Any] = {
                "catalogue_tables": {"config": {"as_published": len(days) == 1}},
                "published_catalogue": {"config": {"replace": replace}},
            }
            run_job(place, "rederive", day, config, progress=progress, environ=environ)
            after = store.published.manifest(day)
            yield day, before is None or after is None or before.files != after.files


def _days_to_derive(
    store: Store, first: date | None, last: date | None, *, replace: bool, upgrade: bool
) -> list[date]:
    complete = [day for day in store.captures.days() if store.captures.latest_complete(day) is not None]
    if upgrade:
        manifests = (store.published.manifest(day) for day in complete)
        older = [m.day for m in manifests if m is not None and m.schema_version < SCHEMA_VERSION]
        complete = [day for day in complete if older and day >= older[0]]
    chosen = [
        day
        for day in complete
        if (first is None or day >= first) and (last is None or day <= last or replace)
    ]
    for named in (first, last):
        if named is not None and named not in complete and not upgrade:
            known = ", ".join(day.isoformat() for day in complete[-10:]) or "none"
            raise Refused(
                f"{named} has no complete capture, and the Hub shows only the present, so it cannot be "
                f"rebuilt. Days that can: {known}",
                remedy="`gguf-assets status` lists all days. Captures are kept for "
                "storage.capture_retention_days; a day that is published stays so.",
            )
    return chosen


def run_job(
    place: Workplace,
    job: str,
    day: date,
    ops: Mapping[str, Any],
    *,
    progress: Progress,
    environ: Mapping[str, str],
    tags: Mapping[str, str] | None = None,
    overrides: Mapping[str, str] | None = None,
    run_id: str | None = None,
) -> str:
    """Run a job for a day in this process and return the run's id; a new one when None.

    Raises:
        GgufAssetsError: the run failed; the text is that of the first failure.
        KeyboardInterrupt: it was interrupted; a sync that had begun is noted as failed.
    """
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    defs = build_defs(environ=environ, overrides=overrides, syncing=day, resources={"progress": progress})
    result = defs.resolve_job_def(job).execute_in_process(
        partition_key=day.isoformat(),
        run_id=run_id,
        instance=place.instance,
        tags={**process_tags(), **(tags or {})},
        run_config={"ops": dict(ops), **overrides_config(overrides or {}), **quiet},
        raise_on_error=False,
    )
    if was_interrupted(result):
        record_failure(place.store, result.run_id, INTERRUPTED, ErrorCategory.SYSTEM.value)
        raise KeyboardInterrupt
    if not result.success:
        raise failure_of(result, day)
    return str(result.run_id)
