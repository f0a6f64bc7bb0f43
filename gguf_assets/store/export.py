"""The export for web pages: the models of the latest published day in one gzipped JSON object.

It opens with what the day is (format, sync mode, time, statistics), so a page may read the beginning alone,
and names the manifest it was made from, so that an old one is known as such. What belongs here: that file.
What does not: Parquet, and the publishing of a day (`publish.py`), of which this is no part.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.atomic import replacing, storage_errors
from gguf_assets.store.datasets import iter_batches, read_table
from gguf_assets.store.json_rows import json_rows
from gguf_assets.store.layout import Layout
from gguf_assets.store.manifests import PublishedManifest
from gguf_assets.store.publish import Published

FORMAT = 1
"""Counts up when a field of the export changes its meaning or goes."""

COLUMNS = tuple(
    "model_id hub_id created_at last_modified downloads downloads_delta downloads_all_time likes likes_delta "
    "gated disabled license languages pipeline_tag base_models base_relation architecture parameter_count "
    "context_length gguf_files gguf_bytes quantizations presence first_seen last_changed".split()
)
"""The columns of `models` in the export; `health_score` and `health_grade` follow them."""

_ROWS = 16_384
_LEVEL = 4
"""Measured at 200,000 models: level 6 saves an eighth of the bytes and takes a fifth more time."""

_GZIP = 31
"""Windows of 32 KiB in a gzip frame, which then has no file name and no time in it (zlib's manual)."""

_OPENING = b',"models":['
_OPENING_BYTES = 1 << 20


@dataclass(frozen=True)
class Export:
    """The export as it lies there.

    Attributes:
        bytes: its size.
        written: whether it was written just now, because it was missing or of another manifest.
    """

    bytes: int
    written: bool


def export_latest(
    layout: Layout, overlap: Callable[[Iterator[bytes]], Iterable[bytes]] = lambda texts: texts
) -> Export | None:
    """Write the export of the latest published day unless it is there; None where no day is published.

    The same manifest gives the same bytes (with the same zlib). Readers see the old file or the new one.

    Args:
        layout: where everything lies.
        overlap: given the parts of the text, which it may make ahead while earlier ones are compressed.

    Raises:
        PermanentError: the disk refused (category `storage`), or the published day is damaged (`data`).
    """
    published = Published(layout)
    day = published.latest_day()
    if day is None or (manifest := published.manifest(day)) is None:
        return None
    path, stored = layout.export_file, layout.published_manifest(day)
    with storage_errors(stored, "read"):
        digest = hashlib.sha256(stored.read_bytes()).hexdigest()
    written = exported_manifest(path) != digest
    if written:
        gzip = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        with replacing(path) as temporary, temporary.open("xb") as file:
            for text in overlap(_texts(published, manifest, digest)):
                file.write(gzip.compress(text))
            file.write(gzip.flush())
    with storage_errors(path, "read"):
        return Export(path.stat().st_size, written)


def exported_manifest(path: Path) -> str | None:
    """Return the SHA-256 of the manifest that an export was made from; None where there is none to be read.

    Raises:
        PermanentError: the disk refused (category `storage`).
    """
    with storage_errors(path, "read"):
        if not path.is_file():
            return None
        with path.open("rb") as file:
            beginning = file.read(_OPENING_BYTES)
    try:
        text = zlib.decompressobj(_GZIP).decompress(beginning, _OPENING_BYTES)
        header = orjson.loads(text.partition(_OPENING)[0] + b"}")
        return str(header["manifest"]["sha256"]) if header["format"] == FORMAT else None
    except (zlib.error, orjson.JSONDecodeError, KeyError, TypeError):
        return None


def _texts(published: Published, manifest: PublishedManifest, digest: str) -> Iterator[bytes]:
    """Yield the document in parts."""
    day = manifest.day
    path = published.file("models", day)
    known = read_table(path, ["hub_id", "observed_at"])
    health = read_table(published.file("health", day), ["hub_id", "score", "grade"]).combine_chunks()
    scores = health.take(pc.index_in(known["hub_id"], value_set=health["hub_id"]))
    header = _header(manifest, digest, pc.max(known["observed_at"]).as_py())
    yield orjson.dumps(header, option=orjson.OPT_UTC_Z)[:-1] + _OPENING
    done = 0
    for batch in iter_batches(path, COLUMNS, batch_rows=_ROWS):
        rows = json_rows(_row_columns(batch, scores.slice(done, batch.num_rows)))
        yield rows if done else rows[1:]
        done += batch.num_rows
    yield b"\n]}\n"


def _header(manifest: PublishedManifest, digest: str, observed_at: datetime | None) -> dict[str, Any]:
    figures = manifest.figures
    return {
        "format": FORMAT,
        "date": manifest.day,
        "sync_mode": manifest.mode,
        "reason": manifest.reason,
        # The Hub's clock when the listing was read; this machine's has no place in data.
        "last_sync_time": observed_at,
        "success": True,
        "failed_checks": list(manifest.failed),
        "statistics": {
            "models": manifest.rows["models"],
            "files": manifest.rows["files"],
            "changes": figures.get("changes", {}),
            "completeness": manifest.completeness,
            "file_detail_coverage": manifest.judged.get("file_detail_coverage"),
            "issues": manifest.rows["issues"],
            "health_grades": figures.get("grades", {}),
        },
        "generator": {"name": "gguf_assets", "version": manifest.pipeline_version},
        "schema_version": manifest.schema_version,
        "manifest": {"path": f"manifest/date={manifest.day}.json", "sha256": digest},
        "columns": [*COLUMNS, "health_score", "health_grade"],
    }


def _row_columns(batch: pa.RecordBatch, scores: pa.Table) -> pa.RecordBatch:
    """Return the columns of the export; a day of an older schema may lack some."""
    lacking = pa.nulls(batch.num_rows, pa.string())
    found = {name: batch[name] if name in batch.schema.names else lacking for name in COLUMNS}
    for name, column in (("health_score", scores["score"]), ("health_grade", scores["grade"])):
        found[name] = column.combine_chunks()
    return pa.RecordBatch.from_pydict(found)
