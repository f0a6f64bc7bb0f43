"""The daily partitions: UTC days by the Hub's clock, today included.

The first day is GGUF_ASSETS_START_DATE, else the earliest day in the store, else the day being synced. The
last one is today by this machine's clock, since Dagster knows no other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime

import dagster as dg

from gguf_assets.errors import ErrorCategory, Refused

START_VARIABLE = "GGUF_ASSETS_START_DATE"


def machine_today() -> date:
    """Return today by this machine's clock, in UTC."""
    return datetime.now(UTC).date()


def first_day(environ: Mapping[str, str], earliest_stored: date | None, syncing: date | None) -> date:
    """Return the first partition.

    Raises:
        Refused: the environment variable is no date.
    """
    named = environ.get(START_VARIABLE)
    if named:
        try:
            return date.fromisoformat(named)
        except ValueError:
            raise Refused(
                f"{START_VARIABLE}={named!r} is no date of the form YYYY-MM-DD",
                category=ErrorCategory.CONFIGURATION,
                remedy=f"Unset it, or set it like {START_VARIABLE}=2026-01-01.",
            ) from None
    return min((day for day in (earliest_stored, syncing) if day is not None), default=machine_today())


def catalogue_days(start: date) -> dg.DailyPartitionsDefinition:
    """Return the partitions from a first day up to and including today."""
    return dg.DailyPartitionsDefinition(start_date=start.isoformat(), end_offset=1)


def refuse_outside(day: date, start: date, rebuildable: Sequence[date]) -> None:
    """Refuse a day that is no partition, by name, before Dagster sees it.

    Args:
        day: the day asked for.
        start: the first partition.
        rebuildable: days that can be derived from their captures, to be named.

    Raises:
        Refused: the day lies before the first or after the last partition.
    """
    today = machine_today()
    if day > today:
        raise Refused(
            f"{day} is in the future: the last day is {today} by this machine's clock (UTC)",
            remedy="Leave out --date to sync the Hub's present day. If the Hub has reached "
            f"{day}, set the clock of this machine.",
        )
    if day < start:
        raise Refused(
            f"{day} lies before the first day of the catalogue, {start}; the Hub shows only the present, so "
            f"earlier days cannot be captured any more. {what_can_be_rebuilt(rebuildable)}",
            remedy=f"{OTHER_DAYS} · an earlier first day, where {START_VARIABLE} has set it: "
            f"{START_VARIABLE}={day}",
        )


OTHER_DAYS = (
    "Sync the present day: gguf-assets sync · rebuild a stored one: gguf-assets rederive --from D --to D"
)
"""What can be done instead about a day that the Hub does not show any more."""


def what_can_be_rebuilt(days: Sequence[date]) -> str:
    """Return a sentence that names the last of the days that can be derived from their captures."""
    if not days:
        return "No day is stored yet."
    shown = ", ".join(day.isoformat() for day in days[-10:])
    return f"Days that can be rebuilt from their captures: {'… ' if len(days) > 10 else ''}{shown}."
