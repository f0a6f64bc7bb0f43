"""The log file of all runs, `LOGS/update_models.log`, which rotates and which several processes write.

It holds what the package logs while a run has it open, the lines of the runs themselves and why they failed,
without secrets. Dagster's own logs stay where they are. What belongs here: the file. What does not: what is
logged (everybody) and how much of it (`settings/verbosity`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from gguf_assets.settings.load import LoadedSettings
from gguf_assets.settings.verbosity import PACKAGE, run_level
from gguf_assets.store.layout import Layout

RUN_LINES: Final = "gguf_assets_run"
"""Logger of the lines of runs. Not below the package's, whose records Dagster puts into its event log too."""

# Without a file their lines go nowhere: Dagster has them.
logging.getLogger(RUN_LINES).addHandler(logging.NullHandler())
logging.getLogger(RUN_LINES).propagate = False


@contextmanager
def log_file(loaded: LoadedSettings, layout: Layout) -> Iterator[None]:
    """Have the package and the runs write to the log file until the block ends; inner blocks change nothing.

    Args:
        loaded: the settings; the level comes from there.
        layout: where the file lies.
    """
    # It costs a fifth of a second to load.
    from gguf_assets.orchestration.rotating_file import RotatingFile

    path = layout.run_log
    package, runs = logging.getLogger(PACKAGE), logging.getLogger(RUN_LINES)
    if any(isinstance(handler, RotatingFile) for handler in runs.handlers):
        yield
        return
    try:
        handler = RotatingFile(path, layout.locks_dir, run_level(loaded))
    except OSError as error:
        package.warning("The log file %s cannot be written (%s); the run goes on without it", path, error)
        yield
        return
    runs.setLevel(handler.level)
    for logger in (package, runs):
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in (package, runs):
            logger.removeHandler(handler)
        handler.close()
