"""What a failed try means: worth another one, or an error that no retry cures.

What belongs here: turning statuses, headers and transport exceptions into `FailedTryError` or the product's
`PermanentError` and `TransientError`, with their wording. What does not: the retry loop (`client`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import orjson

from gguf_assets.errors import ErrorCategory, GgufAssetsError, PermanentError, TransientError
from gguf_assets.hub.origin import origin_of
from gguf_assets.loopback import is_loopback

if TYPE_CHECKING:
    import httpx2

INVALID_CREDENTIALS = "invalid credentials"
"""In the message of a 401 that is about the token, not about one repository."""

TRY_CATEGORIES = (
    ErrorCategory.NETWORK,
    ErrorCategory.TIMEOUT,
    ErrorCategory.RATE_LIMIT,
    ErrorCategory.API,
    ErrorCategory.AUTHENTICATION,
    ErrorCategory.PERMISSION,
)
"""What a try can fail with; whatever keeps a request from being sent at all is no try."""

_IMF_FIXDATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} "
    r"\d{2}:\d{2}:\d{2} GMT"
)


class FailedTryError(Exception):
    """One try failed in a way that another one may not. Raised by checks of answers, never leaves `hub/`.

    Args:
        what: completes the sentence "The Hub at … ".
        category: what kind of failure it was.
        wait: seconds that the Hub asked to wait before the next try; None if it did not ask.
        reached: whether the request got to the Hub at all.
        status: HTTP status that said so; None where it was something else.
    """

    def __init__(
        self,
        what: str,
        *,
        category: ErrorCategory = ErrorCategory.API,
        wait: float | None = None,
        reached: bool = True,
        status: int | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.category = category
        self.wait = wait
        self.reached = reached
        self.status = status


class AbandonedError(Exception):
    """Nobody waits for the outcome any more, so nothing more is sent. Never leaves `hub/`."""


class BudgetError(PermanentError):
    """The requests that a run may send, or that a phase of it may, are used up."""


def failed_on_the_way(error: httpx2.RequestError, timeout_seconds: float) -> FailedTryError:
    """Return what an exception of the transport means."""
    import httpx2

    if isinstance(error, httpx2.ConnectTimeout):
        what = f"cannot be reached (no connection within {timeout_seconds:g} s)"
        return FailedTryError(what, category=ErrorCategory.TIMEOUT, reached=False)
    if isinstance(error, httpx2.TimeoutException):
        what = f"did not answer in time (silent for {timeout_seconds:g} s, or the answer did not end)"
        return FailedTryError(what, category=ErrorCategory.TIMEOUT)
    if isinstance(error, httpx2.ConnectError | httpx2.ProxyError):
        what = f"cannot be reached ({_reason(error)})"
        return FailedTryError(what, category=ErrorCategory.NETWORK, reached=False)
    if isinstance(error, httpx2.DecodingError):
        return FailedTryError(f"sent a body that cannot be decoded ({_reason(error)})")
    if isinstance(error, httpx2.TooManyRedirects):
        return FailedTryError("redirected without end")
    return FailedTryError(f"broke off the answer ({_reason(error)})", category=ErrorCategory.NETWORK)


def transient_status(status: int, headers: Mapping[str, str], message: str) -> FailedTryError | None:
    """Return what a status means that another try may cure; None for all other statuses."""
    if status == 429:
        category = ErrorCategory.RATE_LIMIT
    elif status == 408:
        category = ErrorCategory.TIMEOUT
    elif status >= 500:
        category = ErrorCategory.API
    else:
        return None
    return FailedTryError(
        f"answered {status}{_bracketed(message)}",
        category=category,
        wait=retry_after_seconds(headers),
        status=status,
    )


def permanent_status(endpoint: str, path: str, status: int, message: str, *, token: bool) -> PermanentError:
    """Return the error for a status that no other try cures."""
    asked = f"The Hub at {endpoint} answered {status}{_bracketed(message)} to {_short(path)}"
    if status == 401 and token:
        return PermanentError(
            f"{asked}: it does not accept the token",
            category=ErrorCategory.AUTHENTICATION,
            remedy=f"Set HF_TOKEN to a valid token ({endpoint}/settings/tokens), or run without one: "
            "SYNC_ENVIRONMENT=development.",
        )
    if status == 401:
        return PermanentError(
            f"{asked}: it asks for a token, and none is configured",
            category=ErrorCategory.AUTHENTICATION,
            remedy=f"Set HF_TOKEN to a token of {endpoint}/settings/tokens.",
        )
    if status == 403:
        return PermanentError(
            f"{asked}: the token is not permitted to read this" if token else asked,
            category=ErrorCategory.PERMISSION,
            remedy="Give the token read access to public repositories, or set HF_TOKEN to another one.",
        )
    return PermanentError(
        asked,
        category=ErrorCategory.API,
        remedy="Check that HF_ENDPOINT names a Hugging Face Hub: gguf-assets doctor",
    )


def gave_up(endpoint: str, path: str, failure: FailedTryError, tries: int) -> TransientError:
    """Return the error for a request whose tries are used up."""
    times = "once" if tries == 1 else f"{tries} times"
    about = f" when asked for {_short(path)}" if failure.reached else ""
    origin = origin_of(endpoint)
    if not failure.reached and origin is not None and is_loopback(origin[1]):
        remedy = "Start the loopback Hub (gguf-assets hub serve), or unset HF_ENDPOINT to use the real one."
    elif not failure.reached:
        remedy = "Check the network, the proxy and HF_ENDPOINT, then run the same command again."
    elif failure.category is ErrorCategory.RATE_LIMIT:
        remedy = "Wait for the quota to renew or lower rate_limiting, then run the same command again."
    else:
        remedy = "Run the same command again later; what was stored so far is kept."
    return TransientError(
        f"The Hub at {endpoint} {failure.what}{about}, tried {times}",
        category=failure.category,
        remedy=remedy,
    )


def budget_spent(most: int) -> BudgetError:
    """Return the error for a request beyond the budget of a run."""
    return BudgetError(
        f"This run has sent the {most:,} requests that it may (rate_limiting.max_requests_per_run)",
        category=ErrorCategory.RATE_LIMIT,
        remedy="What was stored so far is kept: run the same command again, or raise "
        "rate_limiting.max_requests_per_run.",
    )


def is_unreachable(error: GgufAssetsError) -> bool:
    """Return whether the network or the Hub's silence was the reason, so that others would fail alike."""
    return error.category in (ErrorCategory.NETWORK, ErrorCategory.TIMEOUT)


def hub_date(values: list[str]) -> datetime:
    """Return the one usable `Date` header as UTC time.

    Raises:
        FailedTryError: there is none, there are several, or it is no HTTP date.
    """
    if len(values) != 1:
        raise FailedTryError(f"answered with {len(values) or 'no'} Date headers; exactly one is needed")
    date = _http_date(values[0])
    if date is None:
        raise FailedTryError(f"answered with an unusable Date header ({values[0][:40]!r})")
    return date


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that `Retry-After` asks for, as a number or as a date by the Hub's clock."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    until, now = _http_date(value), _http_date(headers.get("date", ""))
    return max(0.0, (until - now).total_seconds()) if until is not None and now is not None else None


def server_message(headers: Mapping[str, str], content: bytes) -> str:
    """Return what the Hub said about an error, on one printable line of any length; empty for nothing."""
    text = headers.get("x-error-message") or ""
    if not text:
        try:
            body: Any = orjson.loads(content)
        except orjson.JSONDecodeError:
            body = None
        error = body.get("error") if isinstance(body, dict) else None
        text = error if isinstance(error, str) else ""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _http_date(value: str) -> datetime | None:
    if _IMF_FIXDATE.fullmatch(value.strip()) is None:
        return None
    try:
        return parsedate_to_datetime(value).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _reason(error: Exception) -> str:
    text = str(error).strip()
    if "Connection refused" in text:
        return "connection refused"
    return re.sub(r"^\[Errno -?\d+\] ", "", text)[:200] or type(error).__name__


def _bracketed(message: str) -> str:
    return f" ({message})" if message else ""


def _short(path: str) -> str:
    return path if len(path) <= 120 else f"{path[:117]}…"
