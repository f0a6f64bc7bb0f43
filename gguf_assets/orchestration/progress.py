"""Telling how far a long step is: the command line hands in a bar, the UI gets log lines."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Where a step reports how far it is."""

    def step(self, name: str, done: int, total: int | None) -> None:
        """Take the present state of a step; `total` is None while nobody knows it."""

    def note(self, text: str) -> None:
        """Take a sentence about what was decided or found out."""


class NoProgress:
    """Reports nothing."""

    def step(self, name: str, done: int, total: int | None) -> None:
        """Ignore the report."""

    def note(self, text: str) -> None:
        """Ignore the sentence."""


class Reporter:
    """Passes every report on, and a log line now and then.

    Args:
        progress: who watches.
        log: takes the log lines.
        seconds: between two log lines.
        tracked: whether long steps tell how far they are at all.
    """

    def __init__(
        self, progress: Progress, log: Callable[[str], None], seconds: float, *, tracked: bool
    ) -> None:
        self._progress = progress
        self._log = log
        self._seconds = seconds
        self._tracked = tracked
        self._next = time.monotonic() + seconds

    def say(self, text: str) -> None:
        """Pass a sentence on to whoever watches; the log has it already."""
        self._progress.note(text)

    def step(self, name: str, done: int, total: int | None) -> None:
        """Report the present state of a step."""
        if not self._tracked:
            return
        self._progress.step(name, done, total)
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._seconds
            self._log(f"{name}: {done:,}" + ("" if total is None else f" of {total:,}"))
