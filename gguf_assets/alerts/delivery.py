"""Handing an alert to channels: all at once, each tried twice, none for longer than a given time.

What belongs here: that a channel which hangs, fails or is broken costs seconds and hurts nobody. What does
not: what is told when (`notifier`), and how a channel works (`channels/`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gguf_assets.alerts.alert import Alert, Channel, ChannelError
from gguf_assets.masking import mask

_TRIES = 2
_BETWEEN_TRIES_SECONDS = 0.5


@dataclass
class Delivery:
    """How it went.

    Attributes:
        sent: names of the channels that took the alert, in their order.
        failed: by name, why the others did not.
    """

    sent: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def deliver(
    channels: Sequence[Channel],
    alert: Alert,
    *,
    over: bool,
    patience_seconds: float,
    pause: Callable[[float], None] = time.sleep,
) -> Delivery:
    """Send an alert through channels. Whatever they do, this ends in time and raises nothing.

    Args:
        channels: where to.
        alert: what to tell.
        over: the condition that was told before is over.
        patience_seconds: how long all of it may take.
        pause: waits so many seconds between the tries.
    """
    deadline = time.monotonic() + patience_seconds
    attempts = [_Attempt(channel, alert, over=over, pause=pause) for channel in channels]
    for attempt in attempts:
        attempt.start()
    delivery = Delivery()
    for attempt in attempts:
        reason = attempt.outcome(deadline, patience_seconds)
        if reason is None:
            delivery.sent.append(attempt.channel.name)
        else:
            delivery.failed[attempt.channel.name] = reason
    return delivery


class _Attempt(threading.Thread):
    """A daemon: a channel that never comes back must not hold the process at its end."""

    def __init__(self, channel: Channel, alert: Alert, *, over: bool, pause: Callable[[float], None]) -> None:
        super().__init__(name=f"alert to {channel.name}", daemon=True)
        self.channel = channel
        self._alert = alert
        self._over = over
        self._pause = pause
        self._reason: str | None = None
        self._given_up = threading.Event()

    def run(self) -> None:
        for number in range(1, _TRIES + 1):
            self._reason = self._try()
            if self._reason is None or self._given_up.is_set():
                return
            if number < _TRIES:
                self._pause(_BETWEEN_TRIES_SECONDS)

    def outcome(self, deadline: float, patience_seconds: float) -> str | None:
        """Return why the channel did not take the alert, None when it did."""
        self.join(max(0.0, deadline - time.monotonic()))
        if self.is_alive():
            self._given_up.set()
            # What the first try said is worth more than that the second one is still under way.
            return self._reason or f"did not finish within {patience_seconds:.1f} s"
        return self._reason

    def _try(self) -> str | None:
        try:
            self.channel.send(self._alert, over=self._over)
        except ChannelError as error:
            return mask(str(error))
        except Exception as error:  # noqa: BLE001 - a fault in a channel is a channel that does not work
            return f"failed unexpectedly ({type(error).__name__})"
        return None
