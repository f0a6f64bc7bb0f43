"""Alerts as log lines."""

from __future__ import annotations

import logging

from gguf_assets.alerts.alert import Alert, Severity
from gguf_assets.alerts.wording import heading, one_line

_LEVELS = {
    Severity.SUCCESS: logging.INFO,
    Severity.WARNING: logging.WARNING,
    Severity.FAILURE: logging.ERROR,
    Severity.CRITICAL: logging.CRITICAL,
}
_LONGEST_LINE = 2000


class LogChannel:
    """Writes one line per alert, and the remedy indented below it, at the level of its severity."""

    name = "log"
    takes_notes = True

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def send(self, alert: Alert, *, over: bool) -> None:
        """Log an alert, or at INFO that its condition is over."""
        facts = ", ".join(f"{name}: {value}" for name, value in alert.facts.items())
        details = f" ({facts})" if facts else ""
        line = one_line(f"{heading(alert, over=over)}: {alert.text}{details}", _LONGEST_LINE)
        remedy = f"\n    What to do: {one_line(alert.remedy, _LONGEST_LINE)}" if alert.remedy else ""
        self._logger.log(logging.INFO if over else _LEVELS[alert.severity], "%s%s", line, remedy)
