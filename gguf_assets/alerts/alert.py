"""What is told and how it went: alerts, their severity, channels, and the outcome of telling.

What belongs here: the words of this room as types. What does not: how an alert reads (`wording`), when it is
told (`notifier`) and where it goes (`channels/`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from gguf_assets.masking import mask


class Severity(StrEnum):
    """How much an alert matters; each has a switch."""

    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Position from harmless (0) to worst (3)."""
        return list(Severity).index(self)


@dataclass(frozen=True)
class Alert:
    """Something that people should know.

    Attributes:
        condition: stable key of what lasts, such as `sync_failed` or `check:completeness`.
        severity: how much it matters.
        title: one line.
        text: what happened, in sentences.
        remedy: what to do about it, None where nothing has to be done.
        facts: names and values shown as a list.
        url: where to read on.
    """

    condition: str
    severity: Severity
    title: str
    text: str
    remedy: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    url: str | None = None


@dataclass(frozen=True)
class Told:
    """What became of an alert.

    Attributes:
        sent: the channels that took it.
        failed: the channels that did not, and why; `STATE_FILE` when the state could not be kept.
        suppressed: why nobody was asked to take it, None when somebody was.
    """

    sent: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    suppressed: str | None = None


STATE_FILE: Final = "state file"
"""The name under which `Told.failed` says that the state of the alerts could not be kept."""


class ChannelError(Exception):
    """A channel did not take an alert. The message names the place and the reason, and is safe to show."""

    def __init__(self, message: str) -> None:
        super().__init__(mask(message))


class Channel(Protocol):
    """A way to reach people.

    Attributes:
        name: unique among the channels of a notifier, stable between runs, and no secret.
        takes_notes: whether one-off notes go there, too, or only conditions that last.
    """

    name: str
    takes_notes: bool

    def send(self, alert: Alert, *, over: bool) -> None:
        """Tell an alert, or that its condition is over.

        Args:
            alert: what to tell.
            over: the condition that was told before is over.

        Raises:
            ChannelError: it was not taken.
        """
