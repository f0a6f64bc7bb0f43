"""Alerts and channels of the tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from gguf_assets.alerts.alert import Alert, ChannelError, Severity

START = datetime(2026, 3, 1, 2, 30, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def an_alert(condition: str = "sync_failed", severity: Severity = Severity.FAILURE, **more: Any) -> Alert:
    values: dict[str, Any] = {
        "title": "The sync of 2026-03-01 failed",
        "text": "The Hub answered 503 five times.",
        "remedy": "Run `gguf-assets sync` again.",
        "facts": {"Day": "2026-03-01", "Requests": "17"},
        "url": "http://127.0.0.1:3000/runs/1",
    }
    return Alert(condition, severity, **{**values, **more})


class Remembering:
    """Takes everything, or fails as long as `broken` says why."""

    def __init__(self, name: str = "a", *, takes_notes: bool = True) -> None:
        self.name = name
        self.takes_notes = takes_notes
        self.broken: str | None = None
        self.tries = 0
        self.got: list[tuple[Alert, bool]] = []

    def send(self, alert: Alert, *, over: bool) -> None:
        self.tries += 1
        if self.broken is not None:
            raise ChannelError(self.broken)
        self.got.append((alert, over))

    @property
    def titles(self) -> list[str]:
        return [f"over: {alert.title}" if over else alert.title for alert, over in self.got]
