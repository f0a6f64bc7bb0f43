"""What a run says in its own log and in the log file: from which severity on, and how much of its stages."""

from __future__ import annotations

import logging

from gguf_assets.orchestration.log_file import RUN_LINES
from gguf_assets.settings.load import LoadedSettings
from gguf_assets.settings.verbosity import follow_settings, run_level


class RunLog:
    """The log of a step as the settings want it; to be made at the begin of the step.

    Dagster gives all loggers the level of the instance when a run starts, so it is set here, after that.

    Args:
        log: Dagster's log of the step; it and the loggers of the package get the level of the settings.
        loaded: the settings.
    """

    def __init__(self, log: logging.Logger, loaded: LoadedSettings) -> None:
        follow_settings(loaded)
        log.setLevel(run_level(loaded))
        self._log = log
        self._file = logging.getLogger(RUN_LINES)
        self._detailed = loaded.settings.monitoring.enable_detailed_logging

    def say(self, text: str) -> None:
        """Log a decision or a result."""
        self._log.info(text)
        self._file.info(text)

    def warn(self, text: str) -> None:
        """Log what went wrong and did not end the run."""
        self._log.warning(text)
        self._file.warning(text)

    def stage(self, text: str, decided: str | None = None) -> None:
        """Log how a stage goes or went; without detailed logging only what of it is a decision, if any."""
        if self._detailed:
            self.say(text)
        elif decided is not None:
            self.say(decided)
