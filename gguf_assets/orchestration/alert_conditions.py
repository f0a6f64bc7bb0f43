"""What people are told of: the rules that make alerts of the end of a sync, of its checks and of freshness.

Notifications are about outcomes of runs, alerts about measured conditions; each kind has its own switch and
channels. What belongs here: decisions on plain values. What does not: gathering them (`alert_facts`) and
telling (`alerting`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gguf_assets.alerts.alert import Alert, Severity
from gguf_assets.catalogue.sync_plan import Reason
from gguf_assets.errors import ErrorCategory
from gguf_assets.orchestration.checks import COMPLETENESS
from gguf_assets.store.freshness import Freshness, FreshnessState
from gguf_assets.store.history import INTERRUPTED, SyncRecord

SYNC_FAILED, STALE, INVALID, CHANGED = (
    "sync_failed",
    "catalogue_stale",
    "configuration_invalid",
    "configuration_changed",
)
_NOT_TOLD = frozenset({ErrorCategory.REFUSED.value, ErrorCategory.CONFIGURATION.value})
_TITLES = {
    FreshnessState.STALE: "The published catalogue is stale",
    FreshnessState.FAILED: "The published catalogue has been stale for too long",
}


class Kind(StrEnum):
    """What something is told as: switch and channels differ."""

    ALERT = "alert"
    """A measured condition: `monitoring.enable_alerts`, `monitoring.alert_channels`."""
    NOTIFICATION = "notification"
    """The outcome of a run: `error_handling.enable_notifications`, `notifications.notification_channels`."""


@dataclass(frozen=True)
class Raise:
    """A condition holds."""

    kind: Kind
    alert: Alert


@dataclass(frozen=True)
class End:
    """A condition does not hold any more."""

    kind: Kind
    condition: str
    text: str


@dataclass(frozen=True)
class Note:
    """Something to be told once."""

    kind: Kind
    alert: Alert


Step = Raise | End | Note


@dataclass(frozen=True)
class CheckOutcome:
    """How an asset check ended.

    Attributes:
        name: the check.
        passed: whether it passed.
        error: whether a failure of it is an error, and not a warning.
        text: what it says.
    """

    name: str
    passed: bool
    error: bool
    text: str


@dataclass(frozen=True)
class SyncOutcomeFacts:
    """What is known of a sync that has ended.

    Attributes:
        sync: as the history tells it.
        checks: its checks, without those that were skipped.
        remedy: what to do about its failure.
        cancelled: whether somebody ended it on purpose.
        overtaken: whether a later sync has ended otherwise, so that this is no news any more.
    """

    sync: SyncRecord
    checks: Sequence[CheckOutcome] = ()
    remedy: str | None = None
    cancelled: bool = False
    overtaken: bool = False


def sync_steps(facts: SyncOutcomeFacts) -> Iterator[Step]:
    """Yield what is to be told of a sync that has ended; nothing of a refused or cancelled one."""
    sync = facts.sync
    cancelled = facts.cancelled or sync.error_message == INTERRUPTED
    if facts.overtaken or cancelled or sync.category in _NOT_TOLD or sync.state == "running":
        return
    named = "A sync" if sync.day is None else f"The sync of {sync.day}"
    about = {
        "Day": str(sync.day or "not known yet"),
        "Mode": f"{sync.mode or 'undecided'}{f' ({sync.reason})' if sync.reason else ''}",
        "Started by": sync.trigger or "unknown",
        "Run": sync.run_id or sync.sync_id,
    }
    if sync.state == "failed":
        yield Raise(
            Kind.NOTIFICATION,
            Alert(
                SYNC_FAILED,
                Severity.FAILURE,
                f"{named} failed ({sync.category})",
                sync.error_message or "No reason was recorded.",
                facts.remedy or "gguf-assets status; then sync again: gguf-assets sync",
                {"Category": sync.category or "system", **about},
            ),
        )
    else:
        done = f"{named} succeeded"
        yield End(Kind.NOTIFICATION, SYNC_FAILED, f"{done}.")
        figures = {
            name.replace("_", " ").capitalize(): f"{value:,}"
            for name in ("models", "added", "updated", "removed", "requests", "duration_seconds")
            if isinstance(value := sync.figures.get(name), int | float)
        }
        text = f"{done}: the day is published."
        yield Note(
            Kind.NOTIFICATION, Alert("sync_succeeded", Severity.SUCCESS, done, text, None, about | figures)
        )
    for check in facts.checks:
        # That nothing can be compared with a first day is no news.
        if check.error or check.name != COMPLETENESS or sync.reason != Reason.FIRST_RUN:
            yield _check_step(check, str(sync.day), about)


def _check_step(check: CheckOutcome, day: str, about: dict[str, str]) -> Step:
    condition = f"check:{check.name}"
    if check.passed:
        return End(Kind.ALERT, condition, f"{day}: {check.text or 'the check passed'}")
    severity = Severity.CRITICAL if check.error else Severity.WARNING
    return Raise(
        Kind.ALERT,
        Alert(
            condition,
            severity,
            f"Check {check.name} {'failed' if check.error else 'warns'} for {day}",
            check.text or "It says no more.",
            f"gguf-assets report --date {day}" if not check.error else "gguf-assets status",
            {"Check": check.name, **about},
        ),
    )


def freshness_steps(freshness: Freshness, now: datetime) -> Iterator[Step]:
    """Yield what is to be told of how fresh the catalogue is; nothing while it is empty."""
    state = freshness.state(now)
    if state is FreshnessState.FRESH:
        yield End(Kind.ALERT, STALE, f"Fresh again: {freshness.sentence(now)}.")
    elif state is not FreshnessState.EMPTY:
        severity = Severity.WARNING if state is FreshnessState.STALE else Severity.CRITICAL
        facts = {"Latest day": str(freshness.latest_day)}
        if freshness.last_success is not None:
            facts["Last success"] = f"{freshness.last_success:%Y-%m-%d %H:%M} UTC"
        since = freshness.stale_since(now)
        if since is not None:
            facts["Stale since"] = f"{since:%Y-%m-%d %H:%M} UTC"
        text = f"Published catalogue: {freshness.sentence(now)}. What is published can be read as before."
        alert = Alert(STALE, severity, _TITLES[state], text, freshness.remedy(now), facts)
        yield Raise(Kind.ALERT, alert)


def configuration_step(*, invalid: str | None = None, changed: str | None = None) -> Step:
    """Return what is to be told of the configuration: invalid, changed, or valid again when neither is given.

    Args:
        invalid: names the problems.
        changed: names the changes.
    """
    if invalid is not None:
        return Raise(
            Kind.ALERT,
            Alert(
                INVALID,
                Severity.CRITICAL,
                "The configuration is invalid",
                f"Every run is refused until it is valid: {invalid}",
                "What is wrong: gguf-assets config validate. To go back: gguf-assets config restore",
            ),
        )
    if changed is not None:
        title, remedy = "The configuration was changed", "What is in force: gguf-assets config show"
        return Note(Kind.ALERT, Alert(CHANGED, Severity.WARNING, title, f"{changed}.", remedy))
    return End(Kind.ALERT, INVALID, "The configuration is valid.")
