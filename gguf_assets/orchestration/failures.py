"""Errors of the core become Dagster failures: permanent ones are not retried, texts carry no secret."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from gguf_assets.errors import GgufAssetsError
from gguf_assets.masking import mask

CATEGORY, REMEDY = "category", "remedy"


@contextmanager
def clear_failures() -> Iterator[None]:
    """Turn errors of the core that leave the block into `dagster.Failure`."""
    try:
        yield
    except GgufAssetsError as error:
        failure = as_failure(error)
        # Dagster stores the text of the cause as well.
        error.message, error.remedy = failure.description or "", None
        raise failure from error


def as_failure(error: GgufAssetsError) -> dg.Failure:
    """Return the Dagster failure for an error of the core."""
    metadata: dict[str, str] = {CATEGORY: error.category.value}
    if error.remedy is not None:
        metadata[REMEDY] = mask(error.remedy)
    return dg.Failure(mask(error.message), metadata=metadata, allow_retries=not error.permanent)
