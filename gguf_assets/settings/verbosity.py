"""How much is logged: what `log_level` and `debug_mode` mean for the log of a run and for the terminal.

What belongs here: the levels that follow from the settings, and giving them to the loggers of the package.
What does not: what is logged (everybody), and which lines of a run are details (`orchestration/logs`).
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Final

from gguf_assets.masking import MaskingFilter

if TYPE_CHECKING:
    from gguf_assets.settings.load import LoadedSettings

PACKAGE: Final = "gguf_assets"


class Terminal(logging.Handler):
    """Shows the log lines of the package on stderr, without secrets; warnings, until the settings are known.

    Attributes:
        everything: whether it shows all lines, whatever the settings say.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.everything = False
        self.addFilter(MaskingFilter())

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line to what is stderr at present."""
        try:
            sys.stderr.write(self.format(record) + "\n")
        except Exception:  # noqa: BLE001 - logging must not fail
            self.handleError(record)


def run_level(loaded: LoadedSettings) -> int:
    """Return the least severity that the log of a run takes: `log_level`, and DEBUG in debug mode."""
    if loaded.settings.debug_mode:
        return logging.DEBUG
    return logging.getLevelNamesMapping()[loaded.settings.log_level]


def terminal_level(loaded: LoadedSettings) -> int:
    """Return the least severity that the terminal shows.

    Warnings by default: a shipped profile fills the log of a run, not the screen. Only what was set
    explicitly shows more, or less.
    """
    if wants_tracebacks(loaded):
        return logging.DEBUG
    level = logging.getLevelNamesMapping()[loaded.settings.log_level]
    if not loaded.is_explicit("log_level"):
        return logging.WARNING
    return level if level == logging.DEBUG else max(level, logging.WARNING)


def wants_tracebacks(loaded: LoadedSettings) -> bool:
    """Return whether errors on the terminal come with their traceback: debug mode, set explicitly."""
    return loaded.settings.debug_mode and loaded.is_explicit("debug_mode")


def follow_settings(loaded: LoadedSettings) -> None:
    """Give the loggers of the package, and the terminal where there is one, the levels of the settings."""
    level = run_level(loaded)
    for terminal in _terminals():
        if not terminal.everything:
            terminal.setLevel(terminal_level(loaded))
        level = min(level, terminal.level)
    logging.getLogger(PACKAGE).setLevel(level)


def show_everything() -> None:
    """Let the terminal show all lines from now on, whatever the settings say."""
    for terminal in _terminals():
        terminal.everything = True
        terminal.setLevel(logging.DEBUG)
        logging.getLogger(PACKAGE).setLevel(logging.DEBUG)


def _terminals() -> list[Terminal]:
    handlers = logging.getLogger(PACKAGE).handlers
    return [handler for handler in handlers if isinstance(handler, Terminal)]
