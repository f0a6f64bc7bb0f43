"""The errors of the product: what went wrong, of which category, and what to do next.

Every room raises these; `orchestration/` turns them into Dagster failures and the command line into
`Error: …` lines. What belongs here: the types and their classification. What does not: wording of single
errors (it stands where they are raised) and retrying (`hub/`).
"""

from __future__ import annotations

from enum import StrEnum


class ErrorCategory(StrEnum):
    """What kind of thing failed; stored with failed syncs and shown in the UI."""

    NETWORK = "network"
    TIMEOUT = "timeout"
    RATE_LIMIT = "rate_limit"
    AUTHENTICATION = "authentication"
    PERMISSION = "permission"
    API = "api"
    DATA = "data"
    STORAGE = "storage"
    CONFIGURATION = "configuration"
    REFUSED = "refused"
    SYSTEM = "system"


class GgufAssetsError(Exception):
    """An error that is meant to be read by a user.

    Args:
        message: names the thing, its value and what is allowed; never contains a secret.
        category: what kind of thing failed.
        remedy: the next command or step to try, shown on a line of its own.
    """

    permanent = True

    def __init__(self, message: str, *, category: ErrorCategory, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.category = category
        self.remedy = remedy

    def __str__(self) -> str:
        return self.message if self.remedy is None else f"{self.message}\n{self.remedy}"


class PermanentError(GgufAssetsError):
    """Trying again without changing something cannot help."""


class ForeignAddressError(PermanentError):
    """Somebody pointed to an address that nothing may be sent to, and nothing was (category `api`)."""

    def __init__(self, message: str, *, remedy: str) -> None:
        super().__init__(message, category=ErrorCategory.API, remedy=remedy)


class TransientError(GgufAssetsError):
    """The same call may succeed later; raised only after the retries of `hub/` are used up."""

    permanent = False


class Refused(PermanentError):
    """The request was refused before anything was started: no sync, no trace in the history."""

    def __init__(
        self, message: str, *, category: ErrorCategory = ErrorCategory.REFUSED, remedy: str | None = None
    ) -> None:
        super().__init__(message, category=category, remedy=remedy)
