"""What a client of the Hub tells about itself: what was sent, what failed, how long it waited.

What belongs here: reading counters. What does not: counting (`traffic`) and adapting (`adaptive`).
"""

from __future__ import annotations

from gguf_assets.errors import ErrorCategory
from gguf_assets.hub.adaptive import Adaptation
from gguf_assets.hub.errors import TRY_CATEGORIES
from gguf_assets.hub.traffic import Traffic


class Figures:
    """The figures of one client, since it was opened last.

    Args:
        traffic: what was counted.
        adaptation: what was adapted.
    """

    def __init__(self, traffic: Traffic, adaptation: Adaptation) -> None:
        self._traffic = traffic
        self._adaptation = adaptation

    @property
    def requests(self) -> int:
        """Requests that went to the wire, retries and redirect hops included."""
        return self._traffic.requests

    @property
    def own_requests(self) -> int:
        """Those of them that this thread has sent."""
        return self._traffic.own_requests

    @property
    def requests_left(self) -> int | None:
        """Requests that this run may still send; None for any number."""
        return self._traffic.left

    @property
    def retries(self) -> int:
        """Tries after a first one that failed."""
        return self._traffic.retries

    @property
    def rate_limit_hits(self) -> int:
        """Answers that asked to slow down."""
        return self._traffic.rate_limit_hits

    @property
    def waited_seconds(self) -> float:
        """Seconds for which requests were held back by rates and quotas or paused between two tries.

        Those that waited at the same time are added up, so it may exceed the time that has passed.
        """
        return self._traffic.waited

    @property
    def concurrency(self) -> int:
        """Requests that may be under way together at present."""
        return self._adaptation.concurrency

    @property
    def max_concurrency(self) -> int:
        """Most requests that may ever be under way together."""
        return self._adaptation.maximum

    @property
    def failed_tries(self) -> dict[ErrorCategory, int]:
        """Tries that failed, by what they failed with: every one of `TRY_CATEGORIES`, 0 where none did."""
        return {category: self._traffic.failed[category] for category in TRY_CATEGORIES}
