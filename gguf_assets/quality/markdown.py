"""Markdown out of values that strangers chose: escaped text, tables.

Repository names, paths, tags and header fields come from the Hub's users. None of them may become markup, an
image, a link under another text, or a further row of a table.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

TEXT_LENGTH = 120
"""Characters of a value that are shown."""

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
# What CommonMark itself never reads as markup inside a line; left alone so that names stay readable.
_HARMLESS = frozenset("/.,-%'?;=^$")


def readable(value: object, longest: int = TEXT_LENGTH) -> str:
    """Return a value as one line of readable text: no control and direction characters, long texts cut."""
    text = "".join(" " if unicodedata.category(c)[0] == "C" else c for c in str(value))
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 1] + "…"


def escaped(value: object) -> str:
    """Return a value as Markdown text that reads as itself, to stand inside a line or a table cell.

    Control and direction characters become spaces, long texts are cut, markup characters are escaped.
    """
    text = readable(value)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _PUNCTUATION.sub(_escape, text)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the lines of a table; cells must be escaped already, whole numbers get thousands separators."""
    lines = [_row(head), _row(["---"] * len(head))]
    return lines + [
        _row([f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row]) for row in rows
    ]


def _escape(match: re.Match[str]) -> str:
    mark = match[1]
    # The characters of an entity made above must stay as they are.
    return mark if mark in _HARMLESS or mark in "&;" else f"\\{mark}"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
