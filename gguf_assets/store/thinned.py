"""Days whose `files` are left out, and how they are rebuilt: exactly, or not at all.

A note says from which days the rows come, and what has to come out. What belongs here: notes, rebuilding into
a file, and finding the file that a reader of such a day opens. What does not: which days are thinned
(`thinning.py`) and how rows are rebuilt (`catalogue/rebuilding`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets import __version__
from gguf_assets.atomic import damaged, read_json, replacing, storage_errors
from gguf_assets.catalogue.rebuilding import (
    CHANGED,
    DETAILS,
    FACTS,
    KEPT,
    MODEL_COLUMNS,
    Rebuilding,
    Step,
    displaced,
    unknown_of,
)
from gguf_assets.catalogue.schema import FILES
from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.store.candidates import file_metadata
from gguf_assets.store.datasets import (
    PLAIN_WRITER,
    WRITER,
    DatasetInfo,
    DatasetWriter,
    iter_batches,
    matches,
    read_table,
    verify,
)
from gguf_assets.store.layout import Layout
from gguf_assets.store.manifests import PublishedManifest

if TYPE_CHECKING:
    from gguf_assets.store.publish import Published

FORMAT: Final = 1
_SOURCES: Final = ("models", "file_changes")


@dataclass(frozen=True)
class ThinnedNote:
    """What is known of a day whose `files` are left out.

    Attributes:
        day: the day.
        base: the earlier published day from whose `files` its own are rebuilt.
        files: the file that was left out, as the day's manifest has it.
        built_from: row digests by dataset of every day from the base to the day itself, by date.
        kept: the rows that do not come out and so are kept; None where all do.
        program: version of the program that tried it.
    """

    day: date
    base: date
    files: DatasetInfo
    built_from: Mapping[str, Mapping[str, str]]
    kept: DatasetInfo | None
    program: str

    def to_json(self) -> dict[str, Any]:
        """Return the document that is stored."""
        return {"format": FORMAT, **vars(self)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ThinnedNote:
        """Return the note that a stored document describes.

        Raises:
            KeyError, TypeError, ValueError: it is no such document.
        """
        values = dict(content)
        if (version := values.pop("format")) != FORMAT:
            raise ValueError(f"format {version} is not the supported {FORMAT}")
        values["day"], values["base"] = (date.fromisoformat(values[name]) for name in ("day", "base"))
        values["files"] = DatasetInfo.from_json(values["files"])
        values["kept"] = None if values["kept"] is None else DatasetInfo.from_json(values["kept"])
        return cls(**values)


def stored_note(layout: Layout, day: date) -> ThinnedNote | None:
    """Return the note on a day, whether or not its `files` are there; None without one.

    Raises:
        PermanentError: the note is damaged (category `data`) or cannot be read (category `storage`).
    """
    path = layout.thinned_note(day)
    remedy = f"Put it back from a backup: gguf-assets restore --date {day}"
    content = read_json(path, remedy)
    if content is None:
        return None
    try:
        return ThinnedNote.from_json(content)
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(path, f"it is no note on a thinned day ({error!r})", remedy) from error


def thinned_note(layout: Layout, day: date) -> ThinnedNote | None:
    """Return the note on a day whose `files` are left out; None where they are there or got lost.

    Raises:
        PermanentError: as `stored_note`.
    """
    return None if layout.published_file("files", day).exists() else stored_note(layout, day)


def left_out(layout: Layout, manifest: PublishedManifest) -> bool:
    """Whether the `files` of a published day were left out on purpose and are what its manifest says.

    Raises:
        PermanentError: as `stored_note`; also where what they are rebuilt from is missing (category `data`).
    """
    note = thinned_note(layout, manifest.day)
    if note is None or note.files != manifest.files["files"]:
        return False
    if not layout.published_file("files", note.base).is_file():
        raise damaged(
            layout.published_file("files", note.base),
            f"the file is missing, and {manifest.day} is rebuilt from it",
            f"Put it back from a backup: gguf-assets restore --date {note.base}",
        )
    if note.kept is not None:
        verify(layout.thinned_rows(manifest.day), note.kept, _from_backup(manifest.day))
    return True


def chain_from(layout: Layout, published: Published, base: date, day: date) -> list[PublishedManifest]:
    """Return the manifests from a base to a day, each the baseline of the next.

    Raises:
        PermanentError: a day was built on another one, or its baseline has changed since (category `data`).
    """
    chain = [_manifest(layout, published, day)]
    while (later := chain[0]).day != base:
        named = later.baseline
        if named is None or named.date < base:
            raise _not_rebuilt(day, f"{later.day} was not built on {base} or a day after it", None)
        before = _manifest(layout, published, named.date)
        if before.digest != named.digest:
            raise _not_rebuilt(day, f"{named.date} has changed since {later.day} was built on it", None)
        chain.insert(0, before)
    return chain


def sources_of(chain: Sequence[PublishedManifest]) -> dict[str, dict[str, str]]:
    """Return the row digests of everything that a day is rebuilt from, by date and dataset."""
    digests = {
        manifest.day.isoformat(): {name: manifest.files[name].row_digest for name in _SOURCES}
        for manifest in chain
    }
    digests[chain[0].day.isoformat()]["files"] = chain[0].files["files"].row_digest
    return digests


def rebuilding(layout: Layout, chain: Sequence[PublishedManifest], kept: pa.Table | None) -> Rebuilding:
    """Return what rebuilds the last day of a chain from the `files` of its first one.

    Raises:
        PermanentError: a file is missing or damaged (category `data`) or cannot be read (`storage`).
    """
    base, day = chain[0].day, chain[-1].day

    def read(dataset: str, of: date, columns: Sequence[str]) -> pa.Table:
        return read_table(layout.published_file(dataset, of), columns)

    steps = [
        Step(
            read("file_changes", later.day, CHANGED),
            unknown_of(read("models", later.day, DETAILS)),
        )
        for later in chain[1:]
    ]
    order = ("hub_id", "created_at")
    models = read("models", day, order)
    moved = displaced(read("models", base, order), models)

    def earlier() -> Iterable[pa.RecordBatch]:
        return iter_batches(layout.published_file("files", base), FACTS)

    schema = pa.schema([FILES.arrow.field(name) for name in FACTS])
    parts = [b.filter(pc.is_in(b["hub_id"], value_set=moved)) for b in (earlier() if len(moved) else ())]
    in_hand = pa.Table.from_batches(parts, schema)
    return Rebuilding(models["hub_id"].combine_chunks(), steps, earlier(), moved, in_hand, kept)


def write_rebuilt(
    layout: Layout, chain: Sequence[PublishedManifest], kept: pa.Table | None, path: Path
) -> DatasetInfo:
    """Write the rebuilt `files` of the last day of a chain to a file, as they were written at first.

    Raises:
        PermanentError: as `rebuilding`.
    """
    manifest = chain[-1]
    rows = rebuilding(layout, chain, kept)
    models = iter_batches(layout.published_file("models", manifest.day), MODEL_COLUMNS)
    compress = not manifest.writer.endswith(PLAIN_WRITER.removeprefix(WRITER))
    metadata = file_metadata("files", manifest)
    with DatasetWriter(path, FILES.arrow, metadata=metadata, compress=compress) as writer:
        for _, files in rows.tables(models):
            writer.write(files)
    return writer.info


def put_back(layout: Layout, published: Published, day: date) -> None:
    """Rebuild the `files` of a thinned day byte for byte and put them back; nothing where they are there.

    Raises:
        PermanentError: the day cannot be rebuilt exactly (category `data`), or the disk refused (category
            `storage`).
    """
    manifest, target = _manifest(layout, published, day), layout.published_file("files", day)
    if not matches(target, manifest.files["files"]):
        rebuilt = _rebuilt(layout, published, manifest)
        if not matches(rebuilt, manifest.files["files"]):
            raise _not_rebuilt(
                day,
                f"the rows come out, but {WRITER} writes other bytes than {manifest.writer}, "
                "which the day was published with",
                f"Install that version, then run the same command again. {_from_backup(day)}",
            )
        with replacing(target) as temporary:
            shutil.copyfile(rebuilt, temporary)
        with storage_errors(rebuilt, "remove"):
            rebuilt.unlink(missing_ok=True)
    forget(layout, day)


def readable_files(layout: Layout, published: Published, day: date) -> Path:
    """Return a file with the published `files` of a day: its own, or a rebuilt one with the same rows.

    Raises:
        PermanentError: the day is thinned and cannot be rebuilt (category `data`), or the disk refused.
    """
    path = published.file("files", day)
    if path.exists() or stored_note(layout, day) is None:
        return path
    return _rebuilt(layout, published, _manifest(layout, published, day))


def forget(layout: Layout, day: date) -> None:
    """Remove the note on a day whose `files` are there, and the rows kept with it.

    Raises:
        PermanentError: the disk refused (category `storage`).
    """
    note, rows = layout.thinned_note(day), layout.thinned_rows(day)
    with storage_errors(note, "remove"):
        note.unlink(missing_ok=True)
        rows.unlink(missing_ok=True)
        for folder in (rows.parent, layout.thinned):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _rebuilt(layout: Layout, published: Published, manifest: PublishedManifest) -> Path:
    """Return a local file with exactly the rows of a thinned day; made once, until the next maintenance."""
    day, wanted = manifest.day, manifest.files["files"]
    path = layout.rebuilt_dir / f"{day}-{wanted.row_digest}.parquet"
    if path.is_file():
        return path
    unchecked = path.with_suffix(f".{os.getpid()}.unchecked")
    note = stored_note(layout, day)
    if note is None or note.files != wanted:  # restored without it, or lost: the digests decide all the same
        note, base = None, _nearest_base(layout, published, manifest)
    else:
        base = note.base
    chain = chain_from(layout, published, base, day)
    if note is not None and sources_of(chain) != note.built_from:
        raise _not_rebuilt(day, "a day it is rebuilt from has been published anew since", None)
    kept = None
    if note is not None and note.kept is not None:
        verify(layout.thinned_rows(day), note.kept, _from_backup(day))
        kept = read_table(layout.thinned_rows(day), KEPT.names)
    info = write_rebuilt(layout, chain, kept, unchecked)
    with storage_errors(path, "write"):
        if info.row_digest != wanted.row_digest:
            unchecked.unlink()
            raise _not_rebuilt(day, *_why_other_rows(manifest, note))
        unchecked.replace(path)
    return path


def _nearest_base(layout: Layout, published: Published, manifest: PublishedManifest) -> date:
    """Return the nearest day before with `files`, that a day was built on over others."""
    earlier: PublishedManifest | None = manifest
    while earlier is not None and earlier.baseline is not None:
        if layout.published_file("files", earlier.baseline.date).is_file():
            return earlier.baseline.date
        earlier = published.manifest(earlier.baseline.date)
    path = layout.published_file("files", manifest.day)
    raise damaged(
        path, "the file is missing, and so are those it could be rebuilt from", _from_backup(manifest.day)
    )


def _why_other_rows(manifest: PublishedManifest, note: ThinnedNote | None) -> tuple[str, str | None]:
    if note is None:
        return f"no note says how, and other rows come out than its manifest says ({__version__})", None
    if note.program == __version__:
        return "other rows come out than its manifest says", None
    return (
        f"gguf-assets {__version__} reads other facts from names and sizes of files than {note.program}, "
        f"which had rebuilt the day exactly (it was made with {manifest.pipeline_version})",
        f"Rebuild it with that version (pip install gguf-assets=={note.program}). "
        f"{_from_backup(manifest.day)}",
    )


def _manifest(layout: Layout, published: Published, day: date) -> PublishedManifest:
    manifest = published.manifest(day)
    if manifest is None:
        raise damaged(layout.published_manifest(day), "the day is not published")
    return manifest


def _from_backup(day: date) -> str:
    return f"Put it back from a backup: gguf-assets restore --date {day}"


def _not_rebuilt(day: date, why: str, remedy: str | None) -> PermanentError:
    return PermanentError(
        f"The files of {day} cannot be rebuilt: {why}",
        category=ErrorCategory.DATA,
        remedy=remedy or _from_backup(day),
    )
