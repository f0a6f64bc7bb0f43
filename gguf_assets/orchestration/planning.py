"""What the next sync will do: settings and stored history introduced to the one decision, `plan_sync`.

Every entry point asks here. What belongs here: filling `SyncRules` and `SyncPast`, and what a sync will
probably cost. What does not: the decision itself (`catalogue/sync_plan`) and carrying it out (`capturing`).
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time

from gguf_assets.catalogue.sync_plan import SyncMode, SyncPast, SyncRules
from gguf_assets.errors import PermanentError
from gguf_assets.settings.load import LoadedSettings
from gguf_assets.store.history import SyncMetadata, SyncRecord
from gguf_assets.store.store import Store


def sync_rules(loaded: LoadedSettings) -> SyncRules:
    """Return what the settings say about the choice of the mode."""
    behavior = loaded.settings.sync_behavior
    return SyncRules(
        mode=SyncMode(behavior.mode),
        force_full_sync=behavior.force_full_sync,
        incremental_window_hours=behavior.incremental_window_hours,
        full_sync_threshold_hours=behavior.full_sync_threshold_hours,
        significant_change_threshold=behavior.significant_change_threshold,
        census=behavior.census,
        multi_strategy_discovery=behavior.enable_multi_strategy_discovery,
    )


def sync_past(store: Store, day: date, *, running: str | None = None) -> SyncPast:
    """Return what the store knows of the syncs before one of a day.

    The history decides; the metadata of the last sync say what it does not (a history that was lost, a
    failure recorded by another program), published manifests when the last full sync was.

    Args:
        store: where it lies.
        day: the day to be synced.
        running: identity of the sync under way, which counts as none.
    """
    ended = [sync for sync in store.history.syncs(running=running) if sync.state != "running"]
    good = [sync for sync in ended if sync.state == "finished" and sync.published]
    # The newest look at the Hub counts: a day may be finished long after others.
    looks = [sync.hub_time for sync in good if sync.hub_time is not None]
    fulls = [sync.hub_time for sync in good if sync.hub_time is not None and sync.mode == SyncMode.FULL]
    baseline = store.published.latest_before(day)
    metadata, failure = _last_sync(store)
    if ended and ended[-1].state == "failed":
        failure = _why(ended[-1])
    last_success = max(looks, default=None)
    if last_success is None and metadata is not None and metadata.success:
        last_success = _time(metadata.last_sync_time)
    return SyncPast(
        baseline_day=None if baseline is None else baseline.day,
        last_success=last_success,
        last_full=max(fulls) if fulls else _last_full_published(store, day),
        failure=failure,
    )


def _why(failed: SyncRecord) -> str:
    day = "" if failed.day is None else f"{failed.day}: "
    return day + (failed.error_message or "no reason was recorded")


def _last_sync(store: Store) -> tuple[SyncMetadata | None, str | None]:
    """Return the metadata of the last sync, and why it failed if they say so."""
    try:
        metadata = store.history.last_sync()
    except PermanentError as error:
        # It is no more than a mirror; a full sync, which needs no past, puts it right.
        return None, f"its metadata cannot be read: {error.message}"
    if metadata is None or metadata.success:
        return metadata, None
    return metadata, metadata.error_message or "no reason was recorded"


def _time(text: str | None) -> datetime | None:
    try:
        moment = None if text is None else datetime.fromisoformat(text)
    except (ValueError, TypeError):
        return None
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _last_full_published(store: Store, day: date) -> datetime | None:
    """Return noon of the last published day before one that a full sync made; None without any."""
    for published in reversed(store.published.days()):
        if published >= day:
            continue
        manifest = store.published.manifest(published)
        if manifest is not None and manifest.mode == SyncMode.FULL:
            return datetime.combine(published, time(12), UTC)
    return None
