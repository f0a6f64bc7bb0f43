"""What a sync will probably cost: the arithmetic, against naive counts."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gguf_assets.catalogue.expectation import (
    Expectation,
    Part,
    allowed_within,
    details_expected,
    listing_pages,
    middle,
    seconds_within,
    with_controls,
)


def paced(requests: int, per_second: float | None, per_hour: int | None) -> float:
    """When the request after so many others may go out, played through one by one."""
    now, pause, window = 0.0, 1 / per_second if per_second else 0.0, deque[float]()
    for _ in range(requests):
        if per_hour is not None and len(window) == per_hour:
            now = max(now, window.popleft() + 3600)
        window.append(now)
        now += pause
    return now


@given(
    requests=st.integers(0, 500),
    per_second=st.none() | st.sampled_from([0.01, 0.05, 0.5, 2.0]),
    per_hour=st.none() | st.integers(1, 200),
)
def test_the_time_is_that_of_requests_sent_as_early_as_both_rates_allow(requests, per_second, per_hour):
    found = seconds_within(requests, per_second, per_hour)
    if per_second is None and per_hour is None:
        assert found is None
    else:
        assert found == pytest.approx(paced(requests, per_second, per_hour), rel=1e-9, abs=1e-6)


@given(most=st.integers(0, 300), every=st.integers(1, 60))
def test_a_control_is_asked_for_before_after_and_in_between(most, every):
    naive, since = 1, 0
    for _ in range(most):
        if since == every:
            naive, since = naive + 1, 0
        naive, since = naive + 1, since + 1
    assert with_controls(most, every) == (naive + 1 if most else 0)


@pytest.mark.parametrize(
    ("rows", "pages"), [(None, None), (0, 1), (1, 1), (1000, 1), (1001, 2), (200_000, 200), (0.4, 1)]
)
def test_pages_of_a_listing(rows, pages):
    assert listing_pages(rows, 1000) == pages


@pytest.mark.parametrize(
    ("allowed", "changed", "backlog", "expected"),
    [
        (2000, None, None, 2000),  # a first run: what it may ask for
        (None, None, None, None),
        (2000, None, 100, None),  # nobody knows how many more there are
        (2000, None, 2000, 2000),  # enough are waiting, whatever else changed
        (2000, 150.4, 100, 250),
        (200, 150.0, 100, 200),
        (None, 150.0, 100, 250),
        (0, None, 0, 0),
        (10, 0.0, 0, 0),
    ],
)
def test_details_are_the_backlog_and_what_changed_within_what_is_allowed(allowed, changed, backlog, expected):
    assert details_expected(allowed, changed, backlog) == expected


def test_unknown_parts_make_the_whole_unknown_and_not_smaller():
    known, unknown = Part("clock", 1, ""), Part("listing", None, "")
    assert (
        Expectation((known, unknown), None, "").requests,
        Expectation((known, unknown), None, "").at_least,
    ) == (
        None,
        1,
    )
    assert Expectation((known, Part("listing", 0, "")), None, "").requests == 1
    assert Expectation((), None, "").requests == 0
    assert (middle([]), middle([5, 1, 3]), middle([1, 2])) == (None, 3, 1.5)


def test_what_can_be_asked_for_in_half_an_hour():
    assert allowed_within(1800, None, None) is None
    assert allowed_within(1800, 1.2, 5000) == 2160
    assert allowed_within(1800, 0.8, 800) == 800
    assert allowed_within(1800, None, 50) == 50
