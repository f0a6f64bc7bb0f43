"""What goes over the wire, counted: for the whole client, for each thread, and against the budget of a run.

Several requests may be under way together, so what one answer cost is what its own thread has sent. What does
not belong here: sending (`transport`) and how fast (`limits`).
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from gguf_assets.errors import ErrorCategory
from gguf_assets.hub.errors import AbandonedError, budget_spent


class Turn(Protocol):
    """What one thread is asking for while others ask for something else."""

    @property
    def abandoned(self) -> threading.Event:
        """Set when nobody waits for the outcome any more."""

    def before_request(self) -> None:
        """Be told before every request, retries and hops included; raises to have it not sent."""


class _Own(threading.local):
    """What one thread did."""

    def __init__(self) -> None:
        self.requests = 0
        self.waited = 0.0
        self.turn: Turn | None = None


class Traffic:
    """Counters of one client; outlives the transports, which huggingface_hub rebuilds.

    Args:
        most: most requests of this client; None for any number.

    Attributes:
        requests: requests sent, retries and redirect hops included.
        rate_limit_hits: answers that asked to slow down (429, or 503 with `Retry-After`).
        retries: tries after a first one.
        waited: seconds for which requests were held back by the rates or paused between two tries; those that
            waited at the same time are added up.
        failed: tries that failed, by category.
        closed: set when the client was closed, after which nothing is sent.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._taken = 0  # places in the budget: requests sent, and those held back by the rates
        self._calls = 0
        self._lock = threading.Lock()
        self._own = _Own()
        self.requests = 0
        self.rate_limit_hits = 0
        self.retries = 0
        self.waited = 0.0
        self.failed: Counter[ErrorCategory] = Counter()
        self.closed = threading.Event()

    @property
    def own_requests(self) -> int:
        """Requests sent by this thread."""
        return self._own.requests

    @property
    def own_waited(self) -> float:
        """Seconds for which this thread waited."""
        return self._own.waited

    @property
    def turn(self) -> Turn | None:
        """What this thread asks for while others ask for something else; None where it asks alone."""
        return self._own.turn

    @property
    def left(self) -> int | None:
        """Requests that the budget of the run has left; None for any number."""
        return None if self._most is None else self._most - self._taken

    def take_place(self) -> None:
        """Take a place in the budget for a request that is to be sent.

        Raises:
            BudgetError: the budget is spent.
            AbandonedError: nobody waits for it any more.
        """
        self.refuse_abandoned()
        if self._own.turn is not None:
            self._own.turn.before_request()
        with self._lock:
            if self._most is not None and self._taken >= self._most:
                raise budget_spent(self._most)
            self._taken += 1

    def give_back(self) -> None:
        """Give back the place of a request that was not sent."""
        with self._lock:
            self._taken -= 1

    def sent(self) -> None:
        """Count a request whose place was taken."""
        self._own.requests += 1
        with self._lock:
            self.requests += 1

    def unsent(self) -> None:
        """Take back what `sent` and `take_place` counted: nothing reached the wire."""
        self._own.requests -= 1
        with self._lock:
            self.requests -= 1
            self._taken -= 1

    def slowed_down(self) -> None:
        """Count an answer that asked to slow down."""
        with self._lock:
            self.rate_limit_hits += 1

    def retried(self) -> None:
        """Count a try after a first one."""
        with self._lock:
            self.retries += 1

    def failed_with(self, category: ErrorCategory) -> None:
        """Count a try that failed."""
        with self._lock:
            self.failed[category] += 1

    def has_waited(self, seconds: float) -> None:
        """Count a wait."""
        self._own.waited += seconds
        with self._lock:
            self.waited += seconds

    def rest(self, seconds: float) -> None:
        """Wait, but no longer than anybody waits for the outcome."""
        turn = self._own.turn
        (self.closed if turn is None else turn.abandoned).wait(seconds)

    def refuse_abandoned(self) -> None:
        """Refuse to go on with what nobody waits for.

        Raises:
            AbandonedError: nobody does.
        """
        turn = self._own.turn
        if self.closed.is_set() or (turn is not None and turn.abandoned.is_set()):
            raise AbandonedError

    @contextmanager
    def on_behalf_of(self, turn: Turn) -> Iterator[None]:
        """Have this thread ask for one thing while others ask for something else."""
        self._own.turn = turn
        try:
            yield
        finally:
            self._own.turn = None

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Count this thread among those that are asking."""
        with self._lock:
            self._calls += 1
        try:
            yield
        finally:
            with self._lock:
                self._calls -= 1

    def wait_for_calls(self, seconds: float) -> None:
        """Wait until nobody is asking, but not for longer than so many seconds."""
        end = time.monotonic() + seconds
        while self._calls and time.monotonic() < end:
            time.sleep(0.01)
