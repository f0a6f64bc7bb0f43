"""Telling how far a long step is: a bar for the command line, and now and then a log line and an observation.

What belongs here: what is told, and when. What does not: how a bar looks (`printing`) and counting requests
(`hub/`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from gguf_assets.errors import ErrorCategory
from gguf_assets.hub.limits import QuotaState
from gguf_assets.masking import mask
from gguf_assets.orchestration.memory import MemoryWatch, in_units

_T = TypeVar("_T")


class Progress(Protocol):
    """Where a step reports how far it is."""

    def step(self, name: str, done: int, total: int | None, *, quota: int | None = None) -> None:
        """Take the present state of a step.

        Args:
            name: the step.
            done: what is done.
            total: of how much; None while nobody knows it.
            quota: requests that the Hub still allows in its window; None where it has not said.
        """

    def note(self, text: str) -> None:
        """Take a sentence about what was decided or found out."""


class NoProgress:
    """Reports nothing."""

    def step(self, name: str, done: int, total: int | None, *, quota: int | None = None) -> None:
        """Ignore the report."""

    def note(self, text: str) -> None:
        """Ignore the sentence."""


class Traffic(Protocol):
    """What the Hub's client tells of its requests."""

    @property
    def requests(self) -> int:
        """Requests so far."""

    @property
    def failed_tries(self) -> Mapping[ErrorCategory, int]:
        """Tries that failed so far, by what they failed with."""

    @property
    def quota(self) -> QuotaState | None:
        """What is known of the quota that the Hub announced."""


@dataclass(frozen=True)
class Standing:
    """How far a step is at a moment; what nobody knows is None.

    Attributes:
        step: its name.
        done: what is done.
        total: of how much.
        rate: done per second since the step's first report.
        eta_seconds: until it is done at that rate.
        requests: requests so far.
        failed_tries: tries that failed so far.
        quota_remaining: requests that the Hub still allows in its window.
        memory_mb: memory that this process holds.
    """

    step: str
    done: int
    total: int | None
    rate: float | None
    eta_seconds: float | None
    requests: int | None
    failed_tries: int | None
    quota_remaining: int | None
    memory_mb: float | None

    def line(self) -> str:
        """Return it as a line of the log."""
        pace = [] if self.rate is None else [f"{self.rate:,.2f} a second"]
        pace += [] if self.eta_seconds is None else [f"about {self.eta_seconds:,.0f} s left"]
        sent = [] if self.requests is None else [f"{self.requests:,} requests"]
        sent += [f"{self.failed_tries:,} failed tries"] if self.failed_tries else []
        sent += [] if self.quota_remaining is None else [f"quota {self.quota_remaining:,}"]
        held = [] if self.memory_mb is None else [f"{self.memory_mb:,.0f} MB of memory"]
        total = "" if self.total is None else f" of {self.total:,}"
        parts = [
            f"{self.step}: {self.done:,}{total}",
            *(", ".join(part) for part in (pace, sent, held) if part),
        ]
        return "; ".join(parts)

    def metadata(self) -> dict[str, Any]:
        """Return it as metadata of an observation, which always has the same keys."""
        return {
            "step": self.step,
            "done": self.done,
            "total": self.total,
            "rate_per_second": None if self.rate is None else round(self.rate, 3),
            "eta_seconds": None if self.eta_seconds is None else round(self.eta_seconds, 1),
            "tries_failed": self.failed_tries,
            "requests": self.requests,
            "quota_remaining": self.quota_remaining,
            "memory_mb": None if self.memory_mb is None else round(self.memory_mb, 1),
        }


class Reporter:
    """Passes every report on; a log line and an observation now and then.

    Args:
        progress: who watches.
        log: takes the log lines.
        seconds: between two log lines.
        tracked: whether long steps tell how far they are at all.
        traffic: the Hub's client; None where a step sends no requests.
        memory: looks at the memory of this process; None where nobody does.
        observe: takes what a log line tells as figures; that it fails hurts nobody.
        clock: seconds of a clock that nobody sets; `time.monotonic` when None.
    """

    def __init__(
        self,
        progress: Progress,
        log: Callable[[str], None],
        seconds: float,
        *,
        tracked: bool,
        traffic: Traffic | None = None,
        memory: MemoryWatch | None = None,
        observe: Callable[[Standing], None] | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._progress = progress
        self._log = log
        self._seconds = seconds
        self._tracked = tracked
        self._traffic = traffic
        self._memory = memory
        self._observe = observe
        self._clock = clock or time.monotonic
        self._next = self._clock() + seconds
        self._begun: dict[str, tuple[float, int]] = {}

    def say(self, text: str) -> None:
        """Pass a sentence on to whoever watches; the log has it already."""
        self._progress.note(text)

    def step(self, name: str, done: int, total: int | None) -> None:
        """Report the present state of a step."""
        if not self._tracked:
            return
        quota = None if self._traffic is None else self._traffic.quota
        self._progress.step(name, done, total, quota=None if quota is None else quota.remaining)
        now = self._clock()
        self._begun.setdefault(name, (now, done))
        if now >= self._next:
            self._next = now + self._seconds
            standing = self._standing(name, done, total, now)
            self._log(standing.line())
            self._store(standing)

    def step_by_unit(self, name: str, done: int, total: int | None) -> None:
        """Report the state of a step after a whole unit of work, and look at memory.

        Raises:
            PermanentError: it has passed its limit (category `system`).
        """
        self.step(name, done, total)
        if self._memory is not None:
            self._memory.look(name)

    def units(self, items: Iterable[_T], size: int, name: str) -> Iterable[_T]:
        """Return items that are worked on in units of so many, with a look at memory before each unit.

        Raises:
            PermanentError: while they are gone through, as `memory.in_units`.
        """
        return items if self._memory is None else in_units(items, size, self._memory, name)

    def _standing(self, name: str, done: int, total: int | None, now: float) -> Standing:
        began, done_then = self._begun[name]
        rate = (done - done_then) / (now - began) if now > began and done > done_then else None
        left = None if total is None else max(0, total - done)
        quota = None if self._traffic is None else self._traffic.quota
        return Standing(
            name,
            done,
            total,
            rate,
            eta_seconds=None if rate is None or left is None else left / rate,
            requests=None if self._traffic is None else self._traffic.requests,
            failed_tries=None if self._traffic is None else sum(self._traffic.failed_tries.values()),
            quota_remaining=None if quota is None else quota.remaining,
            memory_mb=None if self._memory is None else self._memory.present_mb,
        )

    def _store(self, standing: Standing) -> None:
        if self._observe is None:
            return
        try:
            self._observe(standing)
        except Exception as error:  # noqa: BLE001 (whatever keeps it from being stored, the work goes on)
            self._observe = None
            self._log(mask(f"Progress is shown in the log alone: {type(error).__name__}: {error}"))
