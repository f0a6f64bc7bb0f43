"""Overlapping of work that a core spends in Python with work that it spends in Arrow, by one thread each.

Order, errors and results are those of the plain loop, which it is where threads are switched off. What does
not belong here: what the work is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

_T = TypeVar("_T")


def _never() -> bool:
    return False


def ahead(items: Iterable[_T], count: int, short: Callable[[], bool] = _never) -> Iterator[_T]:
    """Yield items in order, up to `count` of them made ahead of time by another thread; with 0 by none.

    While memory is short, none is made before it is wanted.
    """
    if not count:
        yield from items
        return
    source, end = iter(items), object()
    with ThreadPoolExecutor(1, "ahead") as thread:
        made: deque[Future[Any]] = deque([thread.submit(next, source, end)])
        while (item := made.popleft().result()) is not end:
            while len(made) < count and not short():
                made.append(thread.submit(next, source, end))
            yield item
            if not made:
                made.append(thread.submit(next, source, end))


class Behind:
    """Does calls in order in another thread, at most `count` behind; a block that ends well waits for all.

    An error of a call is raised by a later call of `do` or at the end of the block; nothing is done after it.
    With a count of 0 there is no other thread: each call is done at once.

    Args:
        count: how many calls may wait to be done.
        short: says whether memory is short; while it is, only one waits.
    """

    def __init__(self, count: int, short: Callable[[], bool] = _never) -> None:
        self._count = count
        self._short = short
        self._thread = ThreadPoolExecutor(1, "behind") if count else None
        self._under_way: deque[Future[Any]] = deque()
        self._failed = False

    def do(self, call: Callable[..., Any], *arguments: Any) -> None:
        """Have something done; waits while too much is waiting to be done."""
        if self._thread is None:
            call(*arguments)
            return
        while self._under_way and len(self._under_way) >= (1 if self._short() else self._count):
            self._under_way.popleft().result()
        self._under_way.append(self._thread.submit(self._unless_failed, call, arguments))

    def _unless_failed(self, call: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        if self._failed:
            return
        try:
            call(*arguments)
        except BaseException:
            self._failed = True
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=error is not None)
        if error is None:
            for done in self._under_way:
                done.result()
