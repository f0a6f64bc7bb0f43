"""Who is told what, and when: one alert per condition, a cool-down, a note when it is over.

A condition is told once it was raised often enough in a row, told again at growing distances while it lasts,
and taken back where it was told. What does not belong here: how channels work (`channels/`) and what counts
as a condition (whoever raises it).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from gguf_assets.alerts.alert import STATE_FILE, Alert, Channel, Severity, Told
from gguf_assets.alerts.delivery import Delivery, deliver
from gguf_assets.alerts.state import AlertState, ChannelProblem, Condition, StateFile
from gguf_assets.alerts.wording import masked
from gguf_assets.masking import mask

LONGEST_COOLDOWN: Final = timedelta(hours=20)
"""The distance of reminders grows up to this; below a day, so that what fails daily is told daily."""

WARNINGS_AGAIN: Final = timedelta(days=7)
"""A warning that lasts is told again after this: what is yellow for weeks must not be told every day."""

_logger = logging.getLogger("gguf_assets.alerts")


@dataclass(frozen=True)
class _Moment:
    """When something is told, until when (monotonic seconds), and what is remembered then."""

    now: datetime
    deadline: float
    state: AlertState


class Notifier:
    """Tells people, and never hurts whoever asks for it: every problem is in the answer, none is raised.

    Args:
        channels: where to tell; their names differ.
        state_file: where is remembered what was told; shared by processes, lost without harm.
        cooldown: for how long the same condition is not told again; doubles with each reminder.
        switches: which severities are told; one that is not named is.
        threshold: raises in a row from which a condition is told.
        patience_seconds: how long telling may take; half of it is for waiting for another process.
        pause: waits so many seconds between two tries of a channel.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        state_file: Path,
        *,
        cooldown: timedelta,
        switches: Mapping[Severity, bool],
        threshold: int = 1,
        patience_seconds: float = 25.0,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._channels = tuple(channels)
        self._state = StateFile(state_file, patience_seconds=patience_seconds / 2)
        self._cooldown = cooldown
        self._switches = switches
        self._threshold = threshold
        self._patience = patience_seconds
        self._pause = pause

    def raise_alert(self, alert: Alert, now: datetime) -> Told:
        """Say that a condition holds; whoever should know is told.

        A condition that is worse than what was told of it is told at once. A channel that could not be
        reached gets it after the cool-down, also where the others are not yet reminded.

        Args:
            alert: the condition as it is now.
            now: when.
        """
        safe = masked(alert)
        return self._guarded(now, lambda moment: self._raise(safe, moment))

    def end_condition(self, condition: str, now: datetime, *, text: str) -> Told:
        """Say that a condition is over; the channels that were told get one note, whatever the switches.

        A channel that could not be reached gets the note when this is called again after the cool-down.

        Args:
            condition: as it was raised.
            now: when.
            text: what is well again.
        """
        return self._guarded(now, lambda moment: self._end(mask(condition), mask(text), moment))

    def note(self, alert: Alert, now: datetime) -> Told:
        """Tell something once, without a condition that lasts; only channels that take notes get it.

        Args:
            alert: what to tell.
            now: when.
        """
        safe = masked(alert)
        return self._guarded(now, lambda moment: self._note(safe, moment))

    def channel_problems(self) -> Mapping[str, ChannelProblem]:
        """Return, by name, the channels of this notifier that did not work when they were used last."""
        try:
            known = self._state.read().channels
        except Exception as error:  # noqa: BLE001 - whoever only wants to report must not fail
            _logger.warning("The state of the alerts cannot be read (%s).", type(error).__name__)
            return {}
        return {channel.name: known[channel.name] for channel in self._channels if channel.name in known}

    def _guarded(self, now: datetime, work: Callable[[_Moment], Told]) -> Told:
        deadline = time.monotonic() + self._patience
        try:
            told, trouble = self._state.change(lambda state: work(_Moment(_in_utc(now), deadline, state)))
        except Exception as error:  # noqa: BLE001 - an alert must not hurt what it is about
            told, trouble = Told(), f"failed unexpectedly ({type(error).__name__})"
        if trouble is None:
            return told
        _logger.warning("The state of the alerts could not be kept: %s", trouble)
        return replace(told, failed={**told.failed, STATE_FILE: trouble})

    def _raise(self, alert: Alert, moment: _Moment) -> Told:
        now, state = moment.now, moment.state
        self._forget(state, now)
        condition = state.conditions.setdefault(alert.condition, Condition())
        condition.not_after(now)
        if condition.count == 0:
            condition.since = now
            condition.times_told = 0
            condition.interval_seconds = self._first_interval(alert.severity)
        condition.count += 1
        condition.title, condition.url = alert.title, alert.url
        silent = self._silent(alert.severity)
        if silent is None and condition.count < self._threshold:
            silent = f"raised {condition.count} of {self._threshold} times in a row"
        if silent is not None:
            return Told(suppressed=silent)
        if condition.worst is not None and alert.severity.rank > condition.worst.rank:
            # Worse than anybody knows: told at once, and its reminders begin anew.
            condition.interval_seconds, condition.times_told = self._first_interval(alert.severity), 0
            targets, whole = self._channels, True
        else:
            targets, whole = self._due(condition, now)
        if not targets:
            return Told(suppressed=_waiting(condition, now))
        delivery = self._deliver(targets, _counted(alert, condition), moment)
        self._remember(condition, alert.severity, delivery, now, whole=whole)
        return _told(delivery)

    def _due(self, condition: Condition, now: datetime) -> tuple[tuple[Channel, ...], bool]:
        """Return who is told now, and whether that is everybody."""
        if _since(condition.tried_at, now) < self._cooldown:
            return (), False
        if _since(condition.told_at, now) >= timedelta(seconds=condition.interval_seconds):
            return self._channels, True
        return tuple(channel for channel in self._channels if channel.name not in condition.told), False

    def _first_interval(self, severity: Severity) -> float:
        """Return the seconds after which a condition that lasts is told for the second time."""
        first = max(self._cooldown, WARNINGS_AGAIN) if severity is Severity.WARNING else self._cooldown
        return first.total_seconds()

    def _remember(
        self, condition: Condition, severity: Severity, delivery: Delivery, now: datetime, *, whole: bool
    ) -> None:
        recent = condition.times_told > 0 or _since(condition.tried_at, now) < self._cooldown
        worst = condition.worst if recent else None
        condition.worst = severity if worst is None else max(worst, severity, key=lambda each: each.rank)
        condition.tried_at = now
        condition.told = sorted({*condition.told, *delivery.sent})
        if whole and delivery.sent:
            if condition.times_told > 0:
                longest = max(LONGEST_COOLDOWN.total_seconds(), self._first_interval(severity))
                condition.interval_seconds = min(2 * condition.interval_seconds, longest)
            condition.told_at = now
            condition.times_told += 1

    def _end(self, key: str, text: str, moment: _Moment) -> Told:
        now, state = moment.now, moment.state
        self._forget(state, now)
        condition = state.conditions.get(key)
        if condition is None or (condition.count == 0 and not condition.told):
            return Told(suppressed="nobody was told")
        condition.not_after(now)
        lasted, condition.count = condition.count > 0, 0
        if not lasted and _since(condition.tried_at, now) < self._cooldown:
            return Told(suppressed=_waiting(condition, now))
        targets = [channel for channel in self._channels if channel.name in condition.told]
        if not targets:
            condition.told = []
            return Told(suppressed="nobody was told")
        facts = _lasting(condition, now)
        condition.since = None
        over = Alert(key, Severity.SUCCESS, condition.title, text, None, facts, condition.url)
        delivery = self._deliver(targets, over, moment, over=True)
        condition.told = sorted(delivery.failed)
        condition.tried_at = now if delivery.failed else condition.tried_at
        return _told(delivery)

    def _note(self, alert: Alert, moment: _Moment) -> Told:
        silent = self._silent(alert.severity)
        if silent is not None:
            return Told(suppressed=silent)
        targets = [channel for channel in self._channels if channel.takes_notes]
        if not targets:
            return Told(suppressed="no channel takes notes")
        return _told(self._deliver(targets, alert, moment))

    def _silent(self, severity: Severity) -> str | None:
        if not self._channels:
            return "no channel is set up"
        return None if self._switches.get(severity, True) else f"`{severity}` is switched off"

    def _deliver(
        self, targets: Sequence[Channel], alert: Alert, moment: _Moment, *, over: bool = False
    ) -> Delivery:
        now, state = moment.now, moment.state
        left = moment.deadline - time.monotonic()
        delivery = deliver(targets, alert, over=over, patience_seconds=left, pause=self._pause)
        for name in delivery.sent:
            state.channels.pop(name, None)
        for name, reason in delivery.failed.items():
            _logger.warning("The channel %s did not take an alert: %s", name, reason)
            before = state.channels.get(name)
            state.channels[name] = ChannelProblem(reason, now if before is None else min(before.since, now))
        return delivery

    def _forget(self, state: AlertState, now: datetime) -> None:
        """Drop conditions that are over everywhere and whose cool-down has passed."""
        for key, condition in list(state.conditions.items()):
            done = condition.count == 0 and not condition.told
            if done and _since(condition.tried_at, now) >= self._cooldown:
                del state.conditions[key]


def _told(delivery: Delivery) -> Told:
    return Told(sent=tuple(delivery.sent), failed=dict(delivery.failed))


def _counted(alert: Alert, condition: Condition) -> Alert:
    if condition.count == 1 or condition.since is None:
        return alert
    times = f"{condition.count} times since {condition.since:%Y-%m-%d %H:%M} UTC"
    return replace(alert, facts={**alert.facts, "Raised": times})


def _lasting(condition: Condition, now: datetime) -> dict[str, str]:
    if condition.since is None:
        return {}
    return {"From": f"{condition.since:%Y-%m-%d %H:%M} UTC", "To": f"{now:%Y-%m-%d %H:%M} UTC"}


def _waiting(condition: Condition, now: datetime) -> str:
    if condition.told_at is None:
        return f"tried {_since(condition.tried_at, now).total_seconds():.0f} s ago"
    return f"told {_since(condition.told_at, now).total_seconds():.0f} s ago"


def _since(moment: datetime | None, now: datetime) -> timedelta:
    """How long ago something was; a moment that never was lies infinitely far back."""
    return timedelta.max if moment is None else now - moment


def _in_utc(now: datetime) -> datetime:
    return now.replace(tzinfo=UTC) if now.tzinfo is None else now.astimezone(UTC)
