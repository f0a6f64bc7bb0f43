"""Asking for many things, one request or a few each: in order, several at the same time, under a budget.

Answers are handed on in the order of the targets and in the calling thread, so what is stored does not depend
on which came first. What does not belong here: what is asked for and what is kept (`details`, `headers`).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from queue import SimpleQueue
from types import TracebackType
from typing import Generic, Literal, Self, TypeVar

from gguf_assets.errors import TransientError
from gguf_assets.hub.client import HubClient
from gguf_assets.hub.errors import AbandonedError, BudgetError, is_unreachable
from gguf_assets.hub.room import Room

FAILURES_IN_A_ROW = 5
"""Targets out of reach one after another at which it is not they that are to blame."""

StopReason = Literal["done", "budget", "deadline", "failing"]

_NEAR = 1.0
"""Seconds for which a request may wait for its turn while others are under way already."""

_LOOK = 1.0
"""Seconds between two looks at whether another target may be begun."""

_LAST_ANSWERS = 1.0
"""Seconds for which threads are waited for when asking is broken off; none keeps the process alive."""

T = TypeVar("T")
A = TypeVar("A")


@dataclass(frozen=True)
class Questions(Generic[T, A]):
    """What is asked, and what becomes of it.

    Attributes:
        targets: in the order in which answers are handed on.
        known: whether a target was answered before; it is passed over without a request.
        ask: asks for one target; called in several threads at the same time.
        keep: takes an answer; called in the thread that asks, in the order of the targets.
    """

    targets: Iterable[T]
    known: Callable[[T], bool]
    ask: Callable[[T], A]
    keep: Callable[[T, A], None]


@dataclass(frozen=True)
class AskedSummary:
    """How it went.

    Attributes:
        answered: targets whose answers were kept.
        failed: targets whose answers stayed broken or out of reach.
        requests: requests sent, those of failed targets included.
        stopped_reason: `done`; `budget` (the request limit, or that of the run); `deadline`; `failing`
            (several targets in a row failed, so the rest was left).
        unreachable: the last failure, where the Hub was out of reach that often in a row.
    """

    answered: int
    failed: int
    requests: int
    stopped_reason: StopReason
    unreachable: TransientError | None = None


def ask_all(
    client: HubClient,
    questions: Questions[T, A],
    *,
    limit: int | None,
    deadline: Callable[[], bool],
) -> AskedSummary:
    """Ask for targets in their order, as many at the same time as the client has under way together.

    An interruption loses at most what was under way. With at most one under way no thread is started.

    Args:
        client: the Hub.
        questions: what is asked.
        limit: no target is begun from so many requests on; a target that then needs more than its first
            request is left, unless it is the first one that is still open. None for no limit.
        deadline: asked before every target and during long waits for the rate; true ends the asking.

    Raises:
        PermanentError: the Hub refuses the token or leads to another origin, or the disk refused; what was
            under way has ended then.
    """
    before = client.requests
    with _Asking(client, questions, _least(limit, client.requests_left), deadline) as asking:
        asking.run()
    return AskedSummary(
        asking.answered, asking.failed, client.requests - before, asking.stopped or "done", asking.unreachable
    )


def _least(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)


@dataclass(eq=False)
class _Call(Generic[T, A]):
    """One target under way: the `Turn` of the thread that asks for it."""

    target: T
    number: int
    room: Room
    abandoned: threading.Event
    done: threading.Event = field(default_factory=threading.Event)
    answer: A | None = None
    error: BaseException | None = None

    def before_request(self) -> None:
        self.room.take(self.number)


class _Asking(Generic[T, A]):
    """One pass over the targets."""

    def __init__(
        self, client: HubClient, questions: Questions[T, A], limit: int | None, deadline: Callable[[], bool]
    ) -> None:
        self._client = client
        self._questions = questions
        self._deadline = deadline
        self._room = Room(limit)
        self._open: Iterator[T] = (target for target in questions.targets if not questions.known(target))
        self._next: T | None = None
        self._under_way: deque[_Call[T, A]] = deque()
        self._begun = 0
        self._in_a_row = 0
        self._abandoned = threading.Event()
        self._refused = threading.Event()
        self._threads: list[threading.Thread] = []
        self._queue: SimpleQueue[_Call[T, A] | None] = SimpleQueue()
        self.answered = 0
        self.failed = 0
        self.stopped: StopReason | None = None
        self.unreachable: TransientError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._abandoned.set()
        for _ in self._threads:
            self._queue.put(None)
        if error is not None:
            for call in self._under_way:
                call.done.wait(_LAST_ANSWERS / max(1, len(self._under_way)))

    def run(self) -> None:
        """Ask until there is nothing more to ask for, then end what is under way.

        Raises:
            PermanentError: see `ask_all`.
        """
        refusal: BaseException | None = None
        while self._fill() or self._under_way:
            if not self._under_way[0].done.wait(_LOOK):
                continue
            refusal = self._settle(self._under_way.popleft()) or refusal
        if refusal is not None:
            raise refusal

    def _fill(self) -> bool:
        """Begin targets while there is room for more; return whether any is under way."""
        while self.stopped is None and not self._refused.is_set():
            if len(self._under_way) >= self._client.concurrency:
                break
            if self._next is None:
                self._next = next(self._open, None)
            if self._next is None:
                self.stopped = "done"
            elif not self._room.has_any():
                self.stopped = "budget"
            elif not self._under_way:
                if self._client.wait_for_turn(self._deadline):
                    self._begin()
                else:
                    self.stopped = "deadline"
            elif self._deadline():
                self.stopped = "deadline"
            elif self._client.turn_delay() > _NEAR:
                break  # what is under way is kept first, however long the next one has to wait
            else:
                self._begin()
        return bool(self._under_way)

    def _begin(self) -> None:
        target, self._next = self._next, None
        assert target is not None
        call = _Call[T, A](target, self._begun, self._room, self._abandoned)
        self._begun += 1
        self._room.begin(call.number)
        self._under_way.append(call)
        if self._client.max_concurrency == 1:
            self._ask(call)
            return
        if len(self._threads) < len(self._under_way):
            # The executors of the standard library keep a process alive until their last request has ended.
            thread = threading.Thread(target=self._work, name=f"hub-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._queue.put(call)

    def _work(self) -> None:
        while (call := self._queue.get()) is not None:
            self._ask(call)

    def _ask(self, call: _Call[T, A]) -> None:
        before = self._client.own_requests
        try:
            with self._client.on_behalf_of(call):
                call.answer = self._questions.ask(call.target)
        except BaseException as error:  # noqa: BLE001 — raised by the thread that asks, which a worker is not
            call.error = error
            if not isinstance(error, TransientError | BudgetError | AbandonedError):
                self._refused.set()
                self._abandoned.set()
        finally:
            self._room.end(call.number, self._client.own_requests - before)
            call.done.set()

    def _settle(self, call: _Call[T, A]) -> BaseException | None:
        """Hand on what came of a target; return what the whole asking is to end with, if anything."""
        error = call.error
        if error is None:
            self._in_a_row = 0
            if not self._questions.known(call.target):
                assert call.answer is not None
                self._questions.keep(call.target, call.answer)
                self.answered += 1
        elif isinstance(error, BudgetError):
            self.stopped = "budget" if self.stopped in (None, "done") else self.stopped
        elif isinstance(error, TransientError):
            self.failed += 1
            self._in_a_row += 1
            if self._in_a_row >= FAILURES_IN_A_ROW and self.stopped != "failing":
                self.stopped = "failing"
                self.unreachable = error if is_unreachable(error) else None
                self._abandoned.set()
        elif not isinstance(error, AbandonedError):
            return error
        return None
