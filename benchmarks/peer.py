"""The peer: what one would write without the product, huggingface_hub to pandas to one Parquet file.

    python -m benchmarks.peer ENDPOINT FILE

It asks for the same fields as a full walk and keeps them all. What it does not do: file table, quantization,
capture, comparison, validation, health, publishing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pandas as pd
from huggingface_hub import HfApi

from gguf_assets.hub.walk import FULL_FIELDS

_ATTRIBUTES = (
    "id",
    "sha",
    "created_at",
    "last_modified",
    "downloads",
    "downloads_all_time",
    "likes",
    "trending_score",
    "private",
    "disabled",
    "library_name",
    "pipeline_tag",
    "tags",
)


def main(endpoint: str, file: str) -> None:
    """List all models and write them as one file; print how many there are."""
    frame = pd.DataFrame(_rows(endpoint))
    frame.to_parquet(file)
    print(len(frame))


def _rows(endpoint: str) -> Iterator[dict[str, Any]]:
    models = HfApi(endpoint=endpoint).list_models(
        filter="gguf",
        sort="created_at",
        expand=list(FULL_FIELDS),  # type: ignore[arg-type]
    )
    for model in models:
        row = {name: getattr(model, name) for name in _ATTRIBUTES}
        # Parquet has no column of false, "auto" and "manual".
        row["gated"] = str(model.gated)
        row["siblings"] = [file.rfilename for file in model.siblings or ()]
        yield row


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
