"""When a sync backs up what is published: before it is changed, and when the sync has ended well.

The first is a condition of publishing, the second makes sure that the day just published is in a backup too,
with a history in which the sync has ended. What does not belong here: how a backup is made (`store/`).
"""

from __future__ import annotations

from datetime import UTC, date, datetime

from gguf_assets.errors import GgufAssetsError, PermanentError
from gguf_assets.settings.load import LoadedSettings
from gguf_assets.store.backing_up import Made, make_backup
from gguf_assets.store.backups import prune_backups
from gguf_assets.store.store import Store


def back_up_before_publishing(store: Store, loaded: LoadedSettings, day: date) -> Made | None:
    """Back up what is published before a day is; None where backups are switched off.

    One backup is made for all days that the same process publishes: it holds what was there before it began.

    Raises:
        PermanentError: it could not be made, so nothing may be published.
    """
    if not loaded.settings.storage.enable_backups:
        return None
    try:
        return make_backup(store.layout, "before publishing", hub_time(store), once_a_writer=True)
    except GgufAssetsError as error:
        raise PermanentError(
            f"{day} was not published: what is published could not be backed up first. {error.message}",
            category=error.category,
            remedy=f"{error.remedy or ''} To publish without backups: gguf-assets sync --set "
            "storage.enable_backups=false".strip(),
        ) from error


def back_up_after_sync(store: Store, loaded: LoadedSettings, day: date) -> tuple[Made | None, str | None]:
    """Back up what a sync has published and remove backups that are too old.

    Returns:
        What was made, None where backups are switched off or failed, and why it failed: the day is published
        all the same, and backed up before anything else is.
    """
    if not loaded.settings.storage.enable_backups:
        return None, None
    now = hub_time(store)
    try:
        made = make_backup(store.layout, f"after the sync of {day}", now)
        if made.new:
            days, present = loaded.settings.storage.backup_retention_days, datetime.now(UTC)
            prune_backups(store.layout.backups_dir, days, min(now, present))
    except GgufAssetsError as error:
        return None, f"{day} is published, but could not be backed up: {error}"
    return made, None


def hub_time(store: Store) -> datetime:
    """Return the latest time the store has seen on the Hub's clock; this machine's where it has seen none."""
    return store.newest_hub_time() or datetime.now(UTC)
