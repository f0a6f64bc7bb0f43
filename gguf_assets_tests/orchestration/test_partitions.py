"""The days of the catalogue: where they begin, that today is one, and what is refused by name."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import pytest
import time_machine

from gguf_assets.errors import ErrorCategory, Refused
from gguf_assets.orchestration.partitions import (
    START_VARIABLE,
    catalogue_days,
    first_day,
    machine_today,
    refuse_outside,
)

TODAY = date(2025, 8, 10)
NOON = datetime(2025, 8, 10, 12, tzinfo=timezone(timedelta()))


@pytest.fixture
def noon():
    with time_machine.travel(NOON, tick=False):
        yield


@pytest.mark.parametrize(
    ("variable", "stored", "syncing", "first"),
    [
        (None, None, None, TODAY),
        ("", None, None, TODAY),
        (None, None, date(2025, 8, 3), date(2025, 8, 3)),
        (None, date(2025, 8, 1), None, date(2025, 8, 1)),
        (None, date(2025, 8, 1), date(2025, 8, 3), date(2025, 8, 1)),
        (None, date(2025, 8, 5), date(2025, 8, 3), date(2025, 8, 3)),
        ("2025-08-04", date(2025, 8, 1), date(2025, 8, 3), date(2025, 8, 4)),
    ],
)
def test_the_first_day_is_the_variable_else_the_earliest_known_else_today(
    noon, variable, stored, syncing, first
):
    environ = {} if variable is None else {START_VARIABLE: variable}
    assert first_day(environ, stored, syncing) == first


@pytest.mark.parametrize("text", ["yesterday", "2025-02-30", "10.08.2025"])
def test_a_first_day_that_is_no_date_is_refused_with_the_variable_and_its_value(text):
    with pytest.raises(Refused) as caught:
        first_day({START_VARIABLE: text}, None, None)
    assert START_VARIABLE in caught.value.message
    assert repr(text) in caught.value.message
    assert caught.value.category is ErrorCategory.CONFIGURATION


def test_today_is_the_last_partition(noon):
    days = catalogue_days(date(2025, 8, 8))
    assert days.get_partition_keys() == ["2025-08-08", "2025-08-09", "2025-08-10"]


def test_today_is_a_utc_day_wherever_the_machine_stands():
    evening_in_the_west = datetime(2025, 8, 9, 20, 30, tzinfo=timezone(timedelta(hours=-5)))
    with time_machine.travel(evening_in_the_west, tick=False):
        assert machine_today() == date(2025, 8, 10)
        assert catalogue_days(date(2025, 8, 9)).get_last_partition_key() == "2025-08-10"


def test_days_from_the_first_to_today_are_taken(noon):
    for day in (date(2025, 8, 1), date(2025, 8, 9), TODAY):
        refuse_outside(day, date(2025, 8, 1), [])


def test_a_future_day_is_refused_by_name(noon):
    with pytest.raises(Refused, match="2025-08-11 is in the future: the last day is 2025-08-10"):
        refuse_outside(date(2025, 8, 11), date(2025, 8, 1), [])


def test_a_day_before_the_first_is_refused_with_the_reason_and_the_days_there_are(noon):
    with pytest.raises(Refused) as caught:
        refuse_outside(date(2025, 7, 31), date(2025, 8, 1), [date(2025, 8, 2), date(2025, 8, 4)])
    assert "2025-07-31 lies before the first day of the catalogue, 2025-08-01" in caught.value.message
    assert "only the present" in caught.value.message
    assert "2025-08-02, 2025-08-04" in caught.value.message
    assert f"{START_VARIABLE}=2025-07-31" in (caught.value.remedy or "")
