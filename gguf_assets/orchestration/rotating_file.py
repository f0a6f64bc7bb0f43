"""A log file that several processes append to, put aside and compressed when it has grown.

What belongs here: writing lines, and a disk that refuses. What does not: which lines (`log_file`).
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import Final

from concurrent_log_handler import ConcurrentRotatingFileHandler

from gguf_assets.masking import MaskingFilter
from gguf_assets.orchestration.log_file import RUN_LINES
from gguf_assets.settings.verbosity import PACKAGE

BYTES: Final = 10_000_000
"""Size at which the file is put aside, compressed."""

KEPT: Final = 10
"""Files put aside that are kept."""

_PRIVATE: Final = 0o600


class RotatingFile(ConcurrentRotatingFileHandler):
    """Appends lines to the log file; a disk that refuses is said once, and hurts no run.

    Args:
        path: the file; its folder is made when the first line is written.
        locks: folder of the file through which processes take turns.
        level: the least severity that is written.
    """

    def __init__(self, path: Path, locks: Path, level: int) -> None:
        super().__init__(
            str(path),
            maxBytes=BYTES,
            backupCount=KEPT,
            encoding="utf-8",
            use_gzip=True,
            chmod=_PRIVATE,
            unicode_error_policy="replace",
            lock_file_directory=str(locks),
            keep_file_open=False,
        )
        self.setLevel(level)
        self.addFilter(MaskingFilter())
        self.setFormatter(_Formatter())
        self._path = path
        self._complained = False

    def emit(self, record: logging.LogRecord) -> None:
        """Append a record. Never raises."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self._complain(error)
            return
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (named by logging)
        """Say once that a line could not be written."""
        error = sys.exc_info()[1]
        self._complain(error or RuntimeError("unknown"))

    def _complain(self, error: BaseException) -> None:
        if self._complained:
            return
        self._complained = True
        reason = getattr(error, "strerror", None) or type(error).__name__
        logging.getLogger(PACKAGE).warning(
            "The log file %s cannot be written (%s); the run goes on without it", self._path, reason
        )


class _Formatter(logging.Formatter):
    """`2026-01-31T02:30:00.123Z WARNING hub.client: text`."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s.%(msecs)03dZ %(levelname)s %(source)s: %(message)s", "%Y-%m-%dT%H:%M:%S"
        )

    def format(self, record: logging.LogRecord) -> str:
        record.source = "run" if record.name == RUN_LINES else record.name.removeprefix(f"{PACKAGE}.")
        return super().format(record)
