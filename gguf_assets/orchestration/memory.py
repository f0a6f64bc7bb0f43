"""How much memory this process holds, and what follows near the limit: less work at once, then an end.

What belongs here: measuring, and the verdict by `performance.memory_limit_mb`. What does not: which work
gets smaller (that of `threads`, `reading`, the details phase and the Hub's client, each of which asks here).
"""

from __future__ import annotations

import gc
import logging
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TypeVar

from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.settings.load import LoadedSettings

NEAR = 0.9
"""Share of the limit from which memory counts as short."""

_logger = logging.getLogger(__name__)
_READ_AGAIN_SECONDS = 1.0
_STATM = Path("/proc/self/statm")
_T = TypeVar("_T")


def present_mb() -> float:
    """Return the memory that this process holds, in MB; where the system does not tell, its most so far."""
    try:
        pages = int(_STATM.read_bytes().split()[1])
    except (OSError, IndexError, ValueError):
        return peak_mb()
    return pages * resource.getpagesize() / 2**20


def peak_mb() -> float:
    """Return the most memory that this process ever held, in MB."""
    per_mb = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / per_mb


def give_back() -> None:
    """Return to the system what is kept for later use."""
    import pyarrow as pa

    gc.collect()
    pa.default_memory_pool().release_unused()


class MemoryWatch:
    """Looks at the memory of this process, at most once a second, from any thread.

    That it gets near the limit, or is no longer, is logged.

    Args:
        limit_mb: most memory, in MB.
        present: measures, in MB.
        release: gives back what is not needed; called near the limit before anything is concluded.
        clock: seconds of a clock that nobody sets; `time.monotonic` when None.
    """

    def __init__(
        self,
        limit_mb: float,
        *,
        present: Callable[[], float] = present_mb,
        release: Callable[[], None] = give_back,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._limit = limit_mb
        self._present = present
        self._release = release
        self._clock = clock or time.monotonic
        self._read_at: float | None = None
        self._reading = 0.0
        self._was_short = False
        self._lock = threading.Lock()

    @property
    def present_mb(self) -> float:
        """Memory in MB, as measured within the last second."""
        with self._lock:
            now = self._clock()
            if self._read_at is None or not 0 <= now - self._read_at < _READ_AGAIN_SECONDS:
                self._measure()
                self._read_at = now
            return self._reading

    def _measure(self) -> None:
        self._reading = self._present()
        if self._reading > NEAR * self._limit:
            self._release()
            self._reading = self._present()
        short = self._reading > NEAR * self._limit
        if short != self._was_short:
            self._was_short = short
            verdict = "is near its limit: less is done at once" if short else "is no longer near its limit"
            _logger.log(
                logging.WARNING if short else logging.INFO,
                "Memory %s (%s MB held, performance.memory_limit_mb allows %s)",
                verdict,
                f"{self._reading:,.0f}",
                f"{self._limit:,.0f}",
            )

    def short(self) -> bool:
        """Whether memory is near its limit, or above it."""
        return self.present_mb > NEAR * self._limit

    def look(self, step: str) -> None:
        """Go on as long as the limit is kept.

        Args:
            step: what is being done, for the message.

        Raises:
            PermanentError: the process holds more than the limit (category `system`).
        """
        present = self.present_mb
        if present > self._limit:
            raise PermanentError(
                f"Memory is used up ({step}): this process holds {present:,.0f} MB, and "
                f"performance.memory_limit_mb allows {self._limit:,.0f}",
                category=ErrorCategory.SYSTEM,
                remedy="Raise performance.memory_limit_mb if the machine has more, or let less be done at "
                "once: lower rate_limiting.max_concurrent_requests, set "
                "performance.enable_parallel_processing: false. What was stored stays; the same command goes "
                "on where it stopped.",
            )


def watch_of(loaded: LoadedSettings) -> MemoryWatch:
    """Return what looks at memory by the limit in force; one for the whole process."""
    return _watch(float(loaded.settings.performance.memory_limit_mb))


@cache
def _watch(limit_mb: float) -> MemoryWatch:
    return MemoryWatch(limit_mb)


def memory_short(loaded: LoadedSettings) -> Callable[[], bool]:
    """Return what says whether memory is near the limit in force; cheap, measured once a second."""
    return watch_of(loaded).short


def in_units(items: Iterable[_T], size: int, watch: MemoryWatch, step: str) -> Iterator[_T]:
    """Yield items in order, looking at memory before each so many; while it is short, half as many each time.

    Raises:
        PermanentError: the limit is passed; all items handed out before were done with (category `system`).
    """
    unit, left = size, 0
    for item in items:
        if not left:
            watch.look(step)
            unit = max(1, unit // 2) if watch.short() else size
            left = unit
        yield item
        left -= 1
