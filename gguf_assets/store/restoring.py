"""Putting a backup back: all published days, history and configuration, or one day.

Everything is checked before anything is changed, what would be overwritten is backed up first, and each day
is published whole or not at all. Days that the backup lacks stay, and so do history and configuration where
they are. What does not belong here: making backups (`backing_up.py`), and asking people (`cli/`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

from gguf_assets.atomic import replacing, storage_errors, write_atomically
from gguf_assets.catalogue.schema import SCHEMA_VERSION
from gguf_assets.errors import PermanentError, Refused
from gguf_assets.store.backing_up import Report, make_backup, no_report, placed
from gguf_assets.store.backup_contents import THINNED, Look, manifest_day, published_manifest, target_of
from gguf_assets.store.backup_sources import walked
from gguf_assets.store.backups import (
    BEFORE_RESTORE,
    CONFIG,
    HISTORY,
    LAST_SYNC,
    PUBLISHED,
    Backup,
    BackupManifest,
    backups_in,
    dataset_of,
    find_backup,
    manifest_path,
    preferred,
)
from gguf_assets.store.export import export_latest
from gguf_assets.store.layout import Layout
from gguf_assets.store.publish import Published, publish_files, recover
from gguf_assets.store.store import Store
from gguf_assets.store.thinned import forget
from gguf_assets.store.thinning import rebuild, rebuild_what_needs

_PRIVATE_FILE, _PRIVATE_FOLDER = 0o600, 0o700


@dataclass(frozen=True)
class RestorePlan:
    """What a restore does; everything in it has been checked.

    Attributes:
        backup: the backup.
        manifest: what it holds.
        days: the days that change, each with its manifest, in order.
        sources: of those days, the files to be put in place by dataset.
        rebuilt: days of which `files` is rebuilt from the changes of files.
        others: further files that are missing, by their path in the backup.
        configuration: files of the configuration that are put in place, by their path in the backup.
        history: the whole history as it will be; None when it stays.
        overwritten: paths in the backup whose present files are replaced by others.
        present: digests of the present files that were read, by path in the backup.
        kept: published days that the backup does not hold; they stay.
    """

    backup: Backup
    manifest: BackupManifest
    days: Mapping[date, Mapping[str, Any]] = field(default_factory=dict)
    sources: Mapping[date, Mapping[str, Path]] = field(default_factory=dict)
    rebuilt: tuple[date, ...] = ()
    others: Mapping[str, Path] = field(default_factory=dict)
    configuration: Mapping[str, Path] = field(default_factory=dict)
    history: bytes | None = None
    overwritten: tuple[str, ...] = ()
    present: Mapping[str, str] = field(default_factory=dict)
    kept: tuple[date, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether all of it is there already."""
        return not (self.days or self.rebuilt or self.others or self.configuration) and self.history is None


def choose_backup(layout: Layout, name: str | None, day: date | None) -> tuple[Backup, BackupManifest]:
    """Return the backup to restore: the one named, or the newest that was made of a sound store.

    Raises:
        Refused: there is none, none holds the day, or a newer program made it.
        PermanentError: its manifest is damaged (category `data`), or cannot be read (`storage`).
    """
    folder = layout.backups_dir
    if name is not None:
        backup = find_backup(folder, name)
        chosen = backup, backup.manifest()
    else:
        backups = backups_in(folder)
        if not backups:
            raise Refused(
                f"There are no backups in {folder}",
                remedy="If they lie elsewhere, name the folder: gguf-assets restore --folder DIR",
            )
        found = preferred(backups, day)
        if found is None and day is None:
            backups[-1].manifest()  # says what is wrong with it
        if found is None:
            raise Refused(
                f"No backup in {folder} holds {day}",
                remedy="See which days there are: gguf-assets restore --list",
            )
        chosen = found
    backup, manifest = chosen
    if manifest.schema_version > SCHEMA_VERSION:
        raise Refused(
            f"{backup.name} was made by gguf_assets {manifest.product_version} with schema version "
            f"{manifest.schema_version}; this program knows {SCHEMA_VERSION}",
            remedy="Install that version, then restore.",
        )
    if day is not None and day not in manifest.days:
        raise Refused(
            f"{backup.name} does not hold {day}",
            remedy="See which days there are: gguf-assets restore --list",
        )
    return chosen


def plan_restore(
    layout: Layout,
    chosen: tuple[Backup, BackupManifest],
    *,
    day: date | None = None,
    configuration: bool = False,
    report: Report = no_report,
) -> RestorePlan:
    """Compare a backup with what is there and check all that would be put in place; nothing is changed.

    Args:
        layout: where everything lies.
        chosen: the backup and its manifest.
        day: that published day alone; the whole backup when None.
        configuration: also replace a configuration that is there; without one it is put back in any case.
        report: told how far it is.

    Raises:
        PermanentError: a file is damaged in this backup and whole in no other (category `data`), or the disk
            refused (`storage`).
    """
    backup, manifest = chosen
    look = Look(layout, backup, manifest, day)
    days: dict[date, Mapping[str, Any]] = {}
    sources: dict[date, Mapping[str, Path]] = {}
    rebuilt: list[date] = []
    others: dict[str, Path] = {}
    wanted = [day] if day is not None else list(manifest.days)
    for done, one in enumerate(wanted):
        report("check", done, len(wanted))
        content, files, thinned = look.day(one, alone=day is not None)
        if look.differs(manifest_path(one)) or files or look.is_misnamed(one):
            days[one], sources[one] = content, files
        if thinned and day is not None:
            rebuilt.append(one)
            others |= look.thinned(one)
    report("check", len(wanted), len(wanted))
    settings: dict[str, Path] = {}
    history = None
    if day is None:
        handled = {HISTORY, f"{PUBLISHED}/latest.json"}
        for path in manifest.files:
            part = path.partition("/")[0]
            if path in handled or dataset_of(path) or manifest_day(path) or look.needs_no_note(path):
                continue
            if part != CONFIG and not look.target(path).exists():
                others[path] = look.whole(path)
        present = [path for path, _ in walked(layout.config_dir)]
        if configuration or not present:
            settings = {path: look.whole(path) for path in manifest.part(CONFIG) if look.differs(path)}
        history = _merged_history(layout, look.whole(HISTORY)) if HISTORY in manifest.files else None
    return RestorePlan(
        backup,
        manifest,
        days,
        sources,
        tuple(rebuilt),
        others,
        settings,
        history,
        tuple(sorted(look.overwritten)),
        look.present,
        () if day is not None else tuple(d for d in Published(layout).days() if d not in manifest.days),
    )


def restore(layout: Layout, plan: RestorePlan, now: datetime, *, report: Report = no_report) -> Backup | None:
    """Do what a plan says; to be called by the holder of the writer's lock under which it was made.

    A restore that was killed is completed by running it again.

    Args:
        layout: where everything lies.
        plan: what to do.
        now: the time by which the backup of what is overwritten is named.
        report: told how far it is.

    Returns:
        The backup of what was overwritten; None when nothing was.

    Raises:
        GgufAssetsError: the disk refused, or a day of which `files` was thinned could not be rebuilt.
    """
    recover(layout)
    kept = None
    if plan.overwritten:
        kept = make_backup(layout, BEFORE_RESTORE, now, known=plan.present).backup
    for path, source in plan.others.items():
        target = target_of(layout, path)
        with replacing(target) as temporary:
            placed(source, temporary, copy=path == LAST_SYNC)
    for done, (day, content) in enumerate(plan.days.items()):
        report("restore", done, len(plan.days))
        _keep_what_needs(layout, content)
        publish_files(layout, content, plan.sources[day])
        if THINNED in plan.sources[day]:
            forget(layout, day)
    report("restore", len(plan.days), len(plan.days))
    for day in plan.rebuilt:
        rebuild(Store(layout), day)
    for path, source in plan.configuration.items():
        target = target_of(layout, path)
        with storage_errors(target, "write"):
            # Parents that are made on the way are not private by themselves.
            layout.config_dir.mkdir(parents=True, exist_ok=True, mode=_PRIVATE_FOLDER)
            target.parent.mkdir(parents=True, exist_ok=True, mode=_PRIVATE_FOLDER)
            settings = source.read_bytes()
        write_atomically(target, settings, mode=_PRIVATE_FILE)
    if plan.history is not None:
        write_atomically(layout.history_file, plan.history)
    export_latest(layout)
    return kept


def _keep_what_needs(layout: Layout, content: Mapping[str, Any]) -> None:
    """Put the `files` of the days back that are rebuilt from a day which gets other rows now."""
    manifest = published_manifest(content, layout.published_manifest(date.fromisoformat(content["day"])))
    try:
        present = Published(layout).manifest(manifest.day)
    except PermanentError:
        return  # damaged, so nothing can be rebuilt from the day as it is
    if present is not None and present.digest != manifest.digest:
        rebuild_what_needs(Store(layout), manifest)


def _merged_history(layout: Layout, stored: Path) -> bytes | None:
    """Return the history of a backup followed by what has happened since; None when nothing is missing."""
    with storage_errors(stored, "read"):
        earlier = stored.read_bytes().splitlines(keepends=True)
    path = layout.history_file
    with storage_errors(path, "read"):
        present = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    if set(earlier) <= set(present):
        return None
    return b"".join([*earlier, *(line for line in present if line not in set(earlier))])
