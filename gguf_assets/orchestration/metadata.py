"""What the Dagster UI shows of a materialisation: always the same numeric keys, so that they plot."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pyarrow as pa

from gguf_assets.catalogue.schema import DATASETS, Dataset
from gguf_assets.quality.markdown import escaped, table
from gguf_assets.store.datasets import DatasetInfo

PREVIEW_ROWS = 5


def column_schema(dataset: Dataset) -> dg.TableSchema:
    """Return the declared columns as the UI shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=str(column.type),
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=column.nullable),
            )
            for column in dataset.columns
        ]
    )


def dataset_metadata(info: DatasetInfo, path: str, preview: pa.Table | None = None) -> dict[str, Any]:
    """Return the metadata of a written dataset: rows, bytes, digests, place and a small preview."""
    metadata: dict[str, Any] = {
        "dagster/partition_row_count": info.rows,
        "bytes": info.bytes,
        "sha256": info.sha256,
        "row_digest": info.row_digest,
        "path": dg.MetadataValue.path(path),
    }
    if preview is not None:
        metadata["preview"] = dg.MetadataValue.md(markdown_table(preview))
    return metadata


def definition_metadata(name: str) -> dict[str, Any]:
    """Return the metadata of an asset that is a dataset."""
    return {"dagster/column_schema": column_schema(DATASETS[name]), "dagster/storage_kind": "parquet"}


def markdown_table(rows: pa.Table) -> str:
    """Return the first rows as a Markdown table."""
    shown = rows.slice(0, PREVIEW_ROWS).to_pylist()
    cells = [["" if value is None else escaped(value) for value in row.values()] for row in shown]
    return "\n".join(table(rows.column_names, cells))
