"""Days as the options of commands name them."""

from __future__ import annotations

from datetime import date

from gguf_assets.errors import ErrorCategory, Refused


def chosen_day(text: str | None, option: str = "--date") -> date | None:
    """Return the day an option names; None where it was left out.

    Raises:
        Refused: it is no date.
    """
    if text is None:
        return None
    try:
        return date.fromisoformat(text) if len(text) == len("YYYY-MM-DD") else _no_date(text, option)
    except ValueError:
        return _no_date(text, option)


def _no_date(text: str, option: str) -> date:
    raise Refused(
        f"{option} {text!r} is no date: it must look like 2026-01-31 (YYYY-MM-DD)",
        category=ErrorCategory.CONFIGURATION,
        remedy="Leave it out for the Hub's present day.",
    )
