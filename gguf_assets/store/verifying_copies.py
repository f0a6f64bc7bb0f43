"""Checking what days can be brought back from: the files of captures and of backups.

What belongs here: that. What does not: what is published (`verifying.py`).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

import orjson

from gguf_assets.atomic import storage_errors
from gguf_assets.errors import GgufAssetsError, Refused
from gguf_assets.store.backing_up import Report
from gguf_assets.store.backups import backups_in
from gguf_assets.store.captures import Captures
from gguf_assets.store.digests import sha256_of
from gguf_assets.store.healing import named_digests
from gguf_assets.store.layout import MANIFEST_NAME, Layout
from gguf_assets.store.verified import Reading


def verify_captures(layout: Layout, reading: Reading, days: Collection[date] | None, report: Report) -> None:
    """Check every file that the manifests of captures name, of some days or of all."""
    stored = Captures(layout)
    wanted = [day for day in stored.days() if days is None or day in days]
    for done, day in enumerate(wanted):
        report("captures", done, len(wanted))
        for run in stored.runs(day):
            _verify_capture(layout, reading, day, run)
    report("captures", len(wanted), len(wanted))


def verify_backups(layout: Layout, reading: Reading, report: Report) -> None:
    """Check every file of every backup; one that several hold is read once."""
    found = backups_in(layout.backups_dir)
    for done, backup in enumerate(reversed(found)):
        report("backups", done, len(found))
        reading.verified.backups += 1
        away = (
            f"Other backups may hold it whole, and restore takes it from there; make a new one: "
            f"gguf-assets backup. To remove this one: rm -r {backup.path}"
        )
        try:
            manifest = backup.manifest()
        except Refused as error:
            reading.verified.notes.append(error.message)
            continue
        except GgufAssetsError as error:
            reading.note(backup.path / MANIFEST_NAME, error.message, away)
            continue
        for path, entry in manifest.files.items():
            file = backup.file(path)
            what = reading.difference(file, entry.bytes, entry.sha256)
            if what is not None:
                reading.note(file, what, away)
        for problem in manifest.problems:
            reading.verified.notes.append(f"{backup.name}: {problem}")
    report("backups", len(found), len(found))


def _verify_capture(layout: Layout, reading: Reading, day: date, run: int) -> None:
    path = layout.capture_manifest(day, run)
    reading.verified.captures += 1
    remedy = f"Put it back from a backup made with --captures, or remove the capture: rm -r {path.parent}"
    try:
        with storage_errors(path, "read"):
            content = orjson.loads(path.read_bytes())
        for name, digest in named_digests(content):
            file = path.parent / name
            if not file.is_file():
                reading.note(file, "the file is missing", remedy, day)
            elif (found := sha256_of(file)) != digest:
                reading.note(file, f"its SHA-256 is {found} instead of {digest}", remedy, day)
            else:
                reading.verified.files += 1
                reading.verified.bytes += file.stat().st_size
    except orjson.JSONDecodeError as error:
        reading.note(path, f"it is not JSON ({error})", remedy, day)
