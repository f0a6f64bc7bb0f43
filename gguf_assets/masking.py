"""Secrets out of every text: what a log line, an error or a report must pass through before anybody sees it.

What belongs here: recognising secrets, by having been told them or by their shape. What does not: deciding
where secrets come from (`settings/`) and which texts are written (everybody else).
"""

from __future__ import annotations

import json
import logging
import re
import threading
import traceback
from collections.abc import Callable
from typing import Final
from urllib.parse import quote, quote_plus

MASK: Final = "***"
_SHORTEST = 6  # a shorter secret would blot out half of every text

_SECRET_PARAMETERS = (
    r"token|access_token|refresh_token|api_?key|key|secret|client_secret|password|passwd|"
    r"sig|signature|x-amz-signature|x-amz-security-token|x-amz-credential"
)
_VALUE = r"[^\s\"'<>&,;)}\]]+"
_PATTERNS: Final[tuple[tuple[re.Pattern[str], str], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (r"hf_(?:[a-z]{2,12}_)?[A-Za-z0-9]{20,}", MASK),
        # Both quote characters may be escaped: headers are often seen inside JSON or a repr.
        (rf"(authorization\\?[\"']?\s*[:=]\s*\\?[\"']?)(?:(?:basic|bearer|token)\s+)?{_VALUE}", rf"\1{MASK}"),
        (r"(\bbearer\s+)[\w.~+/=*-]+", rf"\1{MASK}"),
        (r"(?<=://)[^\s/?#\"'<>]+@", f"{MASK}@"),
        # A password that was not encoded may hold a slash.
        (r"(?<=://)[^\s/?#\"'<>:]*:(?!\d{1,5}(?:[/?#]|$))[^\s\"'<>@]*@", f"{MASK}@"),
        (r"(?<=://)(hooks\.[^\s/?#\"'<>]+|[^\s/?#\"'<>]*webhook[^\s/?#\"'<>]*)/[^\s\"'<>]+", rf"\1/{MASK}"),
        (r"(?<=://)([^\s?#\"'<>]*/(?:webhooks?|hooks)/)[^\s\"'<>]+", rf"\1{MASK}"),
        (rf"([?&](?:{_SECRET_PARAMETERS})=){_VALUE}", rf"\1{MASK}"),
    )
)


class _Registry:
    """The secrets of this process in all the spellings in which they may turn up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spellings: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, value: str) -> None:
        if len(value) < _SHORTEST:
            return
        spellings = {
            value,
            quote(value, safe="", errors="replace"),
            quote_plus(value, errors="replace"),
            json.dumps(value)[1:-1],
            repr(value)[1:-1],
        }
        with self._lock:
            if spellings <= self._spellings:
                return
            self._spellings |= spellings
            # The longest first: a secret that begins with another one must not leave its tail behind.
            ordered = sorted(self._spellings, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, ordered)))

    def hide(self, text: str) -> str:
        pattern = self._pattern
        return text if pattern is None else pattern.sub(MASK, text)


_registry = _Registry()


def register_secret(value: str) -> None:
    """Have a value replaced by `***` in every text from now on, however it is escaped there.

    Values shorter than six characters are ignored. Surrounding white space is not part of a secret.
    """
    _registry.add(value.strip())


def mask(text: str) -> str:
    """Return the text without secrets: registered ones, and what is shaped like one.

    Recognised by shape: tokens of the Hub (`hf_…`), `Authorization` headers, `Bearer …`, credentials and
    secret parameters in URLs, the paths of webhook URLs. Never raises.
    """
    try:
        hidden = _registry.hide(text)
        for pattern, replacement in _PATTERNS:
            hidden = pattern.sub(replacement, hidden)
        return hidden
    except Exception:  # noqa: BLE001 - whatever could not be searched must not be shown
        return MASK


class MaskingFilter(logging.Filter):
    """Masks log records: message with its arguments, exception and stack. Lets every record through.

    Add it to handlers; a filter on a logger does not see the records of the loggers below it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the texts of a record by masked ones. Never raises."""
        record.msg = _safely(lambda: mask(record.getMessage()))
        record.args = None
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            if not record.exc_text:
                record.exc_text = _safely(lambda: "".join(traceback.format_exception(error)).rstrip("\n"))
            # A handler that formats the exception itself would show it unmasked.
            record.exc_info = None
        if record.exc_text:
            record.exc_text = mask(record.exc_text)
        if record.stack_info:
            record.stack_info = mask(record.stack_info)
        return True


def _safely(text: Callable[[], str]) -> str:
    try:
        return text()
    except Exception as error:  # noqa: BLE001 - logging must not fail, and arguments may hold the secret
        return f"(a text that could not be formatted: {type(error).__name__})"
