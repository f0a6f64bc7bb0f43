"""Work overlapped by threads comes out as that of the plain loop; without threads it is the plain loop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from unittest import mock

import pytest

from gguf_assets.orchestration.threads import Behind, ahead

COUNTS = [0, 1, 3]


def numbers(end: int, broken_at: int | None = None) -> Iterator[int]:
    for number in range(end):
        if number == broken_at:
            raise ValueError(f"broken at {number}")
        yield number


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("end", [0, 1, 7])
def test_items_come_in_order(count: int, end: int) -> None:
    assert list(ahead(numbers(end), count)) == list(range(end))


@pytest.mark.parametrize("count", COUNTS)
def test_an_error_comes_after_the_items_before_it(count: int) -> None:
    items = ahead(numbers(7, broken_at=2), count)
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(ValueError, match="broken at 2"):
        next(items)


@pytest.mark.parametrize("count", COUNTS)
def test_calls_are_done_in_order_and_all_before_the_block_ends(count: int) -> None:
    done: list[int] = []
    with Behind(count) as behind:
        for number in range(7):
            behind.do(done.append, number)
    assert done == list(range(7))


@pytest.mark.parametrize("count", COUNTS)
def test_after_an_error_nothing_is_done_and_it_is_raised(count: int) -> None:
    done: list[int] = []

    def do(number: int) -> None:
        if number == 2:
            raise ValueError("broken at 2")
        done.append(number)

    with pytest.raises(ValueError, match="broken at 2"), Behind(count) as behind:
        for number in range(7):
            behind.do(do, number)
    assert done == [0, 1]


def test_a_count_of_none_starts_no_thread_and_does_each_thing_when_it_is_asked_for() -> None:
    order: list[str] = []

    def made() -> Iterator[int]:
        for number in range(2):
            order.append(f"made {number}")
            yield number

    refused = AssertionError("a thread was started")
    with mock.patch.object(threading.Thread, "start", side_effect=refused), Behind(0) as behind:
        for item in ahead(made(), 0):
            behind.do(order.append, f"done {item}")
            order.append(f"asked {item}")
    assert order == ["made 0", "done 0", "asked 0", "made 1", "done 1", "asked 1"]
