"""How many requests go out together, and how fast: less when Hub or memory is short, more while all is quiet.

Doubling until something is in the way for the first time, then halving, and growing in tenths of the maximum,
never above what is configured. `Pace` is pure: it is told what happened and says what changed. `Adaptation`
keeps one for all threads and logs every change. What does not belong here: holding requests back (`limits`)
and having several under way (`asking`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

_logger = logging.getLogger(__name__)

FIRST_CONCURRENCY = 4
"""Requests under way at the beginning, before the Hub has shown what it bears."""

LOWEST_RATE = 0.1
"""Share of the configured rate below which it is not lowered: a Hub that wants less says so by its quota."""

_RATE_STEP = 0.1
_RATE_ROUND = 20
"""Undisturbed answers after which the rate is raised by a step."""


@dataclass(frozen=True)
class Change:
    """Something that was adapted.

    Attributes:
        what: `concurrency`, requests under way at most; `rate`, the share of the configured rate.
        old: its value before.
        new: its value from now on.
        why: completes the sentence "… because ".
    """

    what: str
    old: float
    new: float
    why: str


@dataclass
class Pace:
    """What is adapted, for one thread.

    Attributes:
        maximum: most requests under way, as configured; at least 1.
        has_rate: whether a rate per second is configured that could be lowered.
        concurrency: requests that may be under way together now, from 1 to `maximum`.
        rate: share of the configured rate that is used now, from `LOWEST_RATE` to 1.
        cuts: how often something was lowered; a try notes it at its beginning, so that what was under way at
            a cut does not cause another.
    """

    maximum: int
    has_rate: bool = True
    concurrency: int = field(init=False)
    rate: float = field(init=False, default=1.0)
    cuts: int = field(init=False, default=0)
    _halved: bool = field(init=False, default=False)
    _quiet: int = field(init=False, default=0)
    _quiet_for_rate: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.concurrency = min(FIRST_CONCURRENCY, self.maximum)

    def answered(self, *, together: bool, memory_short: Callable[[], bool] = lambda: False) -> list[Change]:
        """Take note of an undisturbed answer.

        Args:
            together: whether it came while others were or could have been under way; the concurrency does
                not grow by requests that were alone anyway.
            memory_short: asked once for as many answers as may be under way together.
        """
        changes = []
        if self.rate < 1.0:
            self._quiet_for_rate += 1
            if self._quiet_for_rate >= _RATE_ROUND:
                self._quiet_for_rate = 0
                new = min(1.0, round(self.rate + _RATE_STEP, 6))
                changes.append(self._set_rate(new, f"{_RATE_ROUND} requests were answered undisturbed"))
        if together:
            self._quiet += 1
            if self._quiet >= self.concurrency:
                quiet, self._quiet = self._quiet, 0
                if memory_short():
                    changes += self._halve("memory is short")
                elif self.concurrency < self.maximum:
                    why = f"{quiet} requests were answered undisturbed"
                    changes.append(self._set_concurrency(min(self.maximum, self._grown()), why))
        return changes

    def disturbed(self, why: str, *, began: int, slow_down: bool) -> list[Change]:
        """Take note of an answer that asks for less, or that did not come in time.

        Args:
            why: what happened.
            began: value of `cuts` when that try began.
            slow_down: whether the rate is lowered too: the Hub said that there are too many requests.
        """
        self._quiet = self._quiet_for_rate = 0
        if began < self.cuts:
            return []  # it was sent before the last cut, which has answered it already
        changes = self._halve(why)
        if slow_down and self.has_rate and self.rate > LOWEST_RATE:
            changes.append(self._set_rate(max(LOWEST_RATE, self.rate / 2), why))
        self.cuts += bool(changes)
        return changes

    def _grown(self) -> int:
        return self.concurrency + max(1, self.maximum // 10) if self._halved else 2 * self.concurrency

    def _halve(self, why: str) -> list[Change]:
        self._halved = True
        if self.concurrency == 1:
            return []
        return [self._set_concurrency(self.concurrency // 2, why)]

    def _set_concurrency(self, new: int, why: str) -> Change:
        old, self.concurrency = self.concurrency, new
        return Change("concurrency", old, new, why)

    def _set_rate(self, new: float, why: str) -> Change:
        old, self.rate = self.rate, new
        return Change("rate", old, new, why)


class Adaptation:
    """The pace of one client, for all its threads.

    Args:
        maximum: most requests under way, as configured.
        has_rate: whether a rate per second is configured.
        enabled: off, the configured maxima are used constantly.
        set_rate: told the share of the configured rate that is used from now on.
        memory_short: says whether memory is short.
    """

    def __init__(
        self,
        maximum: int,
        *,
        has_rate: bool,
        enabled: bool,
        set_rate: Callable[[float], None],
        memory_short: Callable[[], bool] = lambda: False,
    ) -> None:
        self._maximum = max(1, maximum)
        self._enabled = enabled
        self._pace = Pace(self._maximum, has_rate)
        self._set_rate = set_rate
        self._memory_short = memory_short
        self._lock = threading.Lock()

    @property
    def concurrency(self) -> int:
        """Requests that may be under way together now."""
        return self._pace.concurrency if self._enabled else self._maximum

    @property
    def maximum(self) -> int:
        """Most requests that may ever be under way together."""
        return self._maximum

    @property
    def cuts(self) -> int:
        """To be noted at the beginning of a try."""
        return self._pace.cuts

    def answered(self, *, together: bool) -> None:
        """Take note of an undisturbed answer; `together` as `Pace.answered` has it."""
        if self._enabled:
            with self._lock:
                self._tell(self._pace.answered(together=together, memory_short=self._memory_short))

    def disturbed(self, why: str, *, began: int, slow_down: bool) -> None:
        """Take note of an answer that asks for less; the arguments of `Pace.disturbed`."""
        if self._enabled:
            with self._lock:
                self._tell(self._pace.disturbed(why, began=began, slow_down=slow_down))

    def _tell(self, changes: list[Change]) -> None:
        for change in changes:
            if change.what == "rate":
                self._set_rate(change.new)
                _logger.info(
                    "Rate of requests: %.0f %% → %.0f %% of the configured one, because %s",
                    100 * change.old,
                    100 * change.new,
                    change.why,
                )
            else:
                _logger.info(
                    "Requests under way together: %d → %d (at most %d), because %s",
                    change.old,
                    change.new,
                    self._maximum,
                    change.why,
                )
