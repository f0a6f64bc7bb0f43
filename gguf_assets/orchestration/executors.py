"""Which executor runs the steps of a job: in process by default, another by GGUF_ASSETS_EXECUTOR.

One process a step costs some seconds a day and gains nothing while the steps follow one another; several
machines need one of the others.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping

import dagster as dg

from gguf_assets.errors import ErrorCategory, Refused

VARIABLE = "GGUF_ASSETS_EXECUTOR"


def chosen_executor(environ: Mapping[str, str]) -> dg.ExecutorDefinition:
    """Return the executor named in the environment.

    Raises:
        Refused: there is no executor of that name, or its extra is not installed.
    """
    name = environ.get(VARIABLE) or "in_process"
    if name == "in_process":
        return dg.in_process_executor
    if name == "multiprocess":
        return dg.multiprocess_executor
    if name == "celery":
        try:
            from dagster_celery import celery_executor
        except ImportError:
            raise Refused(
                f"{VARIABLE}=celery needs the extra `celery`, which is not installed",
                category=ErrorCategory.CONFIGURATION,
                remedy="pip install 'gguf_assets[celery]'",
            ) from None
        executor: dg.ExecutorDefinition = celery_executor
        return executor
    raise Refused(
        f"{VARIABLE}={name!r} is no executor: allowed are in_process, multiprocess, celery",
        category=ErrorCategory.CONFIGURATION,
        remedy=f"Unset {VARIABLE} for in_process.",
    )


def run_process(environ: Mapping[str, str]) -> int | None:
    """Return the process of a run, asked by a process of one of its steps; None when it is out of sight."""
    name = environ.get(VARIABLE) or "in_process"
    if name == "in_process":
        return os.getpid()
    parent = multiprocessing.parent_process()
    return parent.pid if name == "multiprocess" and parent is not None else None
