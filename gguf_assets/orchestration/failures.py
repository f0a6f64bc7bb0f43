"""Errors of the core become Dagster failures: permanent ones are not retried, texts carry no secret.

Also here: what stands in for a resource that must not be used, so that the steps say why and not Dagster.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn, TypeVar

import dagster as dg

from gguf_assets.errors import GgufAssetsError
from gguf_assets.masking import mask
from gguf_assets.orchestration.log_file import RUN_LINES
from gguf_assets.orchestration.security_events import note_security_event

CATEGORY, REMEDY = "category", "remedy"

T = TypeVar("T")


@contextmanager
def clear_failures() -> Iterator[None]:
    """Turn errors of the core that leave the block into `dagster.Failure`."""
    try:
        yield
    except GgufAssetsError as error:
        note_security_event(error)
        failure = as_failure(error)
        logging.getLogger(RUN_LINES).log(logging.ERROR, "%s (%s)", failure.description, error.category)
        # Dagster stores the text of the cause as well.
        error.message, error.remedy = failure.description or "", None
        raise failure from error


def as_failure(error: GgufAssetsError) -> dg.Failure:
    """Return the Dagster failure for an error of the core."""
    metadata: dict[str, str] = {CATEGORY: error.category.value}
    if error.remedy is not None:
        metadata[REMEDY] = mask(error.remedy)
    return dg.Failure(mask(error.message), metadata=metadata, allow_retries=not error.permanent)


class Unavailable:
    """Stands in for a resource that must not be used: whatever is asked of it raises the failure.

    Dagster makes the resources of all steps before the first of them runs. An error there would end a run
    before the step that shows what is wrong with the configuration.

    Attributes:
        reason: why it must not be used.
    """

    def __init__(self, reason: GgufAssetsError) -> None:
        self.reason = reason

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):  # asked by Python and Dagster, not by a step
            raise AttributeError(name)
        raise as_failure(self.reason)


def usable(resource: T) -> T:
    """Return a resource as it is.

    Raises:
        dagster.Failure: it is `Unavailable`.
    """
    if isinstance(resource, Unavailable):
        raise as_failure(resource.reason)
    return resource
