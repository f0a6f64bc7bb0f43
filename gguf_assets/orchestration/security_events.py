"""Security events in the audit trail: a token that was not accepted, a permission denied, a foreign address.

What belongs here: which errors are such events, and noting each of them once for a run. What does not: the
trail itself (`settings/audit`) and the events of the configuration, which are noted where they happen.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from gguf_assets.errors import ErrorCategory, ForeignAddressError, GgufAssetsError, Refused
from gguf_assets.settings.audit import AuditTrail, audit_file, present_actor
from gguf_assets.settings.load import LoadedSettings

_logger = logging.getLogger(__name__)
_BY_CATEGORY = {
    ErrorCategory.AUTHENTICATION: "authentication_failed",
    ErrorCategory.PERMISSION: "permission_denied",
}


@dataclass
class _Watch:
    """A run, or a command, whose security events are noted; `noted` holds what was."""

    trail: AuditTrail
    command: str
    endpoint: str
    noted: set[tuple[str, str]] = field(default_factory=set)


_watches: list[_Watch] = []


@contextmanager
def security_events(loaded: LoadedSettings, command: str) -> Iterator[None]:
    """Have security events noted until the block ends, unless `security.enable_audit_logging` is off.

    Args:
        loaded: the settings.
        command: what runs, as the trail tells it.
    """
    if not loaded.settings.security.enable_audit_logging:
        yield
        return
    watch = _Watch(AuditTrail(audit_file(loaded.state_dir)), command, loaded.endpoint)
    _watches.append(watch)
    try:
        yield
    except GgufAssetsError as error:
        note_security_event(error)
        raise
    finally:
        _watches.remove(watch)


def note_security_event(error: GgufAssetsError) -> None:
    """Note an error that is a security event, once for the innermost block. Never raises."""
    event = _event_of(error)
    if event is None or not _watches:
        return
    watch = _watches[-1]
    # A run's failure is raised again by the command that started it.
    if any((event, error.message) in other.noted for other in _watches):
        return
    for other in _watches:
        other.noted.add((event, error.message))
    try:
        watch.trail.append(
            event, present_actor(watch.command), endpoint=watch.endpoint, message=error.message
        )
    except GgufAssetsError as refused:
        _logger.warning("A security event (%s) could not be recorded: %s", event, refused.message)


def _event_of(error: GgufAssetsError) -> str | None:
    """Return the name of the event that an error is; a refusal is none, nothing was tried."""
    if isinstance(error, Refused):
        return None
    if isinstance(error, ForeignAddressError):
        return "foreign_address"
    return _BY_CATEGORY.get(error.category)
