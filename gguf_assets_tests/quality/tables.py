"""Small tables of the catalogue for these tests: a sound row, changed where a test needs it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa

from gguf_assets.catalogue.schema import DATASETS

DAY = date(2025, 8, 17)
OBSERVED = datetime(2025, 8, 17, 2, 30, tzinfo=UTC)


def hub_id(number: int) -> str:
    return f"{number:024x}"


def sha(number: int) -> str:
    return f"{number:040x}"


def model(number: int = 1, **changed: Any) -> dict[str, Any]:
    """A sound model; higher numbers were created later, so they come first in a day."""
    row = {
        "snapshot_date": DAY,
        "hub_id": hub_id(number),
        "model_id": f"owner/Model-{number}-GGUF",
        "owner": "owner",
        "sha": sha(number),
        "created_at": datetime(2025, 8, 1, tzinfo=UTC) + timedelta(minutes=number),
        "last_modified": datetime(2025, 8, 2, tzinfo=UTC),
        "downloads": 10 * number,
        "downloads_delta": 0,
        "likes": 1,
        "gated": "no",
        "private": False,
        "disabled": False,
        "library_name": "gguf",
        "pipeline_tag": "text-generation",
        "license": "apache-2.0",
        "base_models": ["base/Model"],
        "base_relation": "quantized",
        "tags": ["gguf", "license:apache-2.0"],
        "gguf_files": 1,
        "quantizations": ["Q4_K_M"],
        "details_sha": sha(number),
        "presence": "listed",
        "observed_at": OBSERVED,
    }
    return row | changed


def file(number: int = 1, path: str = "model.Q4_K_M.gguf", **changed: Any) -> dict[str, Any]:
    """A sound file of the model with this number."""
    row = {
        "snapshot_date": DAY,
        "hub_id": hub_id(number),
        "model_id": f"owner/Model-{number}-GGUF",
        "sha": sha(number),
        "details_sha": sha(number),
        "path": path,
        "role": "model",
        "quantization": "Q4_K_M",
        "quantization_source": "file name",
        "size_bytes": 4_000_000_000,
        "sha256": f"{number:064x}",
        "flags": [],
    }
    return row | changed


def batch(dataset: str, rows: list[dict[str, Any]]) -> pa.RecordBatch:
    schema = DATASETS[dataset].arrow
    # Without the declared nullability, so that a test can put a null where none is allowed.
    columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema.names)


def models(*rows: dict[str, Any]) -> pa.RecordBatch:
    return batch("models", list(rows))


def files(*rows: dict[str, Any]) -> pa.RecordBatch:
    return batch("files", list(rows))
