"""Telling people: what happened is gathered, judged by `alert_conditions` and handed to the channels.

The command line and Dagster's sensors both call it; a run is told once, whoever comes first. Nothing here
raises or takes longer than `PATIENCE_SECONDS`: telling never changes how a sync ends. What does not belong
here: when somebody is told again (`alerts/notifier`) and how a channel works (`alerts/channels`).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from gguf_assets.alerts.alert import Channel, Severity, Told
from gguf_assets.masking import mask
from gguf_assets.orchestration.alert_conditions import (
    SYNC_FAILED,
    End,
    Kind,
    Note,
    Raise,
    Step,
    configuration_step,
    freshness_steps,
    sync_steps,
)
from gguf_assets.orchestration.alert_facts import facts_of_run, facts_of_sync, syncs_so_far
from gguf_assets.orchestration.alert_memory import AlertMemory
from gguf_assets.settings.channel_rules import (
    ALERTS,
    NOTIFICATIONS,
    REFERENCE,
    channels_in_use,
    missing_variables,
    named_channels,
)
from gguf_assets.settings.load import LoadedSettings
from gguf_assets.settings.secret_variables import (
    GITHUB_TOKEN,
    SMTP_URL,
    WEBHOOK_SECRET,
    secret_variable,
    webhook_addresses,
)
from gguf_assets.store.freshness import Freshness, stored_freshness
from gguf_assets.store.history import DIED, SyncRecord
from gguf_assets.store.layout import Layout
from gguf_assets.store.store import Store

if TYPE_CHECKING:
    from gguf_assets.alerts.building import Addresses
    from gguf_assets.orchestration.alert_conditions import SyncOutcomeFacts

PATIENCE_SECONDS = 20.0
"""Longest time that all telling about one event takes."""

_CONDITIONS = "conditions.json"
_KEYS = {Kind.ALERT: ALERTS, Kind.NOTIFICATION: NOTIFICATIONS}
_log = logging.getLogger(__name__)


def anybody_is_told(loaded: LoadedSettings) -> bool:
    """Return whether any channel is in use; where none is, nothing below does anything."""
    return bool(channels_in_use(loaded.settings))


def tell_about_run(
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    loaded: LoadedSettings,
    store: Store,
    *,
    environ: Mapping[str, str] | None = None,
) -> list[Told]:
    """Tell how a run has ended, with its checks and how fresh the catalogue is since, unless it is told.

    Problems of channels are also written to the run's event log.

    Args:
        instance: knows the run's events.
        run: the run, which has ended.
        loaded: the settings.
        store: its history tells whether the run was a sync.
        environ: environment variables with addresses and secrets; those of the process when None.
    """
    if not anybody_is_told(loaded):
        return []
    try:
        facts = facts_of_run(instance, run, store)
        told = tell_about_sync(facts, loaded, store, environ=environ) if facts is not None else []
        _report(instance, run, told)
        return told
    except Exception as error:  # noqa: BLE001 (telling must not hurt what it is about)
        return _gave_up(error)


def tell_about_sync(
    facts: SyncOutcomeFacts | None,
    loaded: LoadedSettings,
    store: Store,
    *,
    environ: Mapping[str, str] | None = None,
) -> list[Told]:
    """Tell how a sync has ended, and of the one before it if that died and nobody was told.

    Args:
        facts: the sync; None to tell only of a dead one.
        loaded: the settings.
        store: knows the other syncs.
        environ: environment variables; those of the process when None.
    """
    if not anybody_is_told(loaded):
        return []
    try:
        now = datetime.now(UTC)
        teller = _Teller(loaded, os.environ if environ is None else environ, store.layout)
        syncs = syncs_so_far(store)
        told: list[Told] = []
        for one in (_died_before(syncs, facts), facts):
            if one is not None and teller.memory.claim(one.sync.sync_id, now):
                told += teller.tell(sync_steps(one), now)
        # A sync that has just succeeded is fresh by the Hub's clock, whatever this machine's says.
        seen = None if facts is None else facts.sync.finished_at
        return told + _tell_freshness(teller, stored_freshness(store.layout, syncs), now, seen)
    except Exception as error:  # noqa: BLE001 (telling must not hurt what it is about)
        return _gave_up(error)


def tell_about_freshness(
    freshness: Freshness,
    loaded: LoadedSettings,
    layout: Layout,
    now: datetime,
    *,
    environ: Mapping[str, str] | None = None,
) -> list[Told]:
    """Tell that the catalogue has become stale, has been so for too long, or is fresh again; each once.

    Args:
        freshness: how fresh it is.
        loaded: the settings.
        layout: where it is remembered what was told.
        now: the time.
        environ: environment variables; those of the process when None.
    """
    if not anybody_is_told(loaded):
        return []
    try:
        teller = _Teller(loaded, os.environ if environ is None else environ, layout)
        return _tell_freshness(teller, freshness, now)
    except Exception as error:  # noqa: BLE001 (telling must not hurt what it is about)
        return _gave_up(error)


def tell_about_configuration(
    loaded: LoadedSettings,
    layout: Layout,
    environ: Mapping[str, str],
    *,
    invalid: str | None = None,
    changed: str | None = None,
) -> list[Told]:
    """Tell that the configuration is invalid, was changed, or is valid again when neither is given.

    Args:
        loaded: the settings in force; those it was last valid with where it is invalid.
        layout: where it is remembered what was told.
        environ: environment variables with addresses and secrets.
        invalid: names the problems.
        changed: names the changes.
    """
    if not anybody_is_told(loaded):
        return []
    try:
        step = configuration_step(invalid=invalid, changed=changed)
        return _Teller(loaded, environ, layout).tell([step], datetime.now(UTC))
    except Exception as error:  # noqa: BLE001 (telling must not hurt what it is about)
        return _gave_up(error)


def unreached_channels(loaded: LoadedSettings, layout: Layout) -> dict[str, str]:
    """Return the channels by which nobody was reached when they were used last, and why; writes nothing."""
    if not anybody_is_told(loaded):
        return {}
    from gguf_assets.alerts.state import StateFile

    try:
        broken = StateFile(layout.alerts_dir / _CONDITIONS, patience_seconds=0).read().channels
    except Exception as error:  # noqa: BLE001 (the status is shown all the same)
        return {"alerts": mask(f"what was told cannot be read ({type(error).__name__})")}
    return AlertMemory(layout.alerts_dir).left_out() | {
        name: mask(f"since {problem.since:%Y-%m-%d %H:%M} UTC: {problem.reason}")
        for name, problem in broken.items()
    }


def addresses_of(loaded: LoadedSettings, environ: Mapping[str, str]) -> Addresses:
    """Return where the channels lead; every secret among them is hidden in all texts from now on."""
    from gguf_assets.alerts.building import Addresses

    settings = loaded.settings
    signing = settings.security.enable_request_signing
    return Addresses(
        webhook_urls=webhook_addresses(environ, settings.notifications.webhook_urls),
        webhook_secret=secret_variable(environ, WEBHOOK_SECRET) if signing else None,
        smtp_url=secret_variable(environ, SMTP_URL),
        email_recipients=tuple(settings.notifications.email_recipients),
        github_token=secret_variable(environ, GITHUB_TOKEN),
        github_repository=environ.get("GITHUB_REPOSITORY", "").strip() or None,
        github_api_url=environ.get("GITHUB_API_URL", "").strip() or None,
    )


class _Teller:
    """Tells the steps of one event, within `PATIENCE_SECONDS` altogether."""

    def __init__(self, loaded: LoadedSettings, environ: Mapping[str, str], layout: Layout) -> None:
        self.memory = AlertMemory(layout.alerts_dir)
        self.left_out: dict[str, str] = {}
        self._loaded, self._environ = loaded, environ
        self._state_file = layout.alerts_dir / _CONDITIONS
        self._until = time.monotonic() + PATIENCE_SECONDS
        self._built: tuple[dict[str, list[Channel]], Told | None] | None = None

    def tell(self, steps: Iterable[Step], now: datetime) -> list[Told]:
        """Tell; the first answer names channels that are newly left out, if any are."""
        told: list[Told] = []
        for step in steps:
            if _KEYS[step.kind] not in named_channels(self._loaded.settings):
                continue  # its kind is switched off
            channels, left_out = self._channels()
            if left_out is not None:
                told.append(left_out)
                self._built = channels, None
            told.append(self._tell(step, channels, now))
        return told

    def _tell(self, step: Step, channels: Mapping[str, list[Channel]], now: datetime) -> Told:
        from gguf_assets.alerts.notifier import Notifier

        settings, left = self._loaded.settings, self._until - time.monotonic()
        if left <= 0:
            return Told(suppressed=f"telling has taken {PATIENCE_SECONDS:g} s already")
        switches = settings.notifications
        condition = step.condition if isinstance(step, End) else step.alert.condition
        notifier = Notifier(
            _of_step(step, named_channels(settings), channels),
            self._state_file,
            cooldown=timedelta(seconds=switches.cooldown_seconds),
            switches={
                Severity.SUCCESS: switches.enable_success_notifications,
                Severity.FAILURE: switches.enable_failure_notifications,
                Severity.WARNING: switches.enable_warning_notifications,
                Severity.CRITICAL: switches.enable_critical_notifications,
            },
            threshold=switches.failure_threshold if condition == SYNC_FAILED else 1,
            patience_seconds=left,
        )
        if isinstance(step, Raise):
            return notifier.raise_alert(step.alert, now)
        if isinstance(step, Note):
            return notifier.note(step.alert, now)
        return notifier.end_condition(step.condition, now, text=step.text)

    def _channels(self) -> tuple[dict[str, list[Channel]], Told | None]:
        """Return the channels by the name in the settings, and those that are left out since now."""
        if self._built is not None:
            return self._built
        from gguf_assets.alerts.building import build_channels

        settings = self._loaded.settings
        addresses = addresses_of(self._loaded, self._environ)
        lacking: dict[str, str] = {}
        for missing in missing_variables(settings, self._environ):
            # One of several webhooks may lack its address; a missing secret stops all of them.
            if missing.channel == "webhook" and missing.variable != WEBHOOK_SECRET:
                lacking[f"webhook {REFERENCE}{missing.variable}"] = missing.text
            else:
                lacking.setdefault(missing.channel, missing.text)
        built: dict[str, list[Channel]] = {}
        for name in channels_in_use(settings):
            if name in lacking:
                continue
            built[name], left_out = build_channels([name], addresses)
            if not any(key.startswith(name) for key in lacking):
                lacking |= left_out
        self.left_out = {name: mask(why) for name, why in lacking.items()}
        for name, why in (new := self.memory.newly_left_out(self.left_out)).items():
            _log.warning("Nobody is told by the channel %s: %s", name, why)
        self._built = built, Told(failed=new) if new else None
        return self._built


def _of_step(
    step: Step, named: Mapping[str, tuple[str, ...]], channels: Mapping[str, list[Channel]]
) -> list[Channel]:
    """Return where a step goes: to the channels of its kind, and to all where it is critical or over."""
    everywhere = isinstance(step, End) or step.alert.severity is Severity.CRITICAL
    keys = named if everywhere else (_KEYS[step.kind],)
    names = dict.fromkeys(name for key in keys for name in named[key])
    return [channel for name in names for channel in channels.get(name, [])]


def _tell_freshness(
    teller: _Teller, freshness: Freshness, now: datetime, seen: datetime | None = None
) -> list[Told]:
    """Tell how fresh the catalogue is, seen from another time than now if one is given."""
    seen = seen or now
    if not teller.memory.freshness_is_news(freshness.state(seen), now):
        return []
    told = teller.tell(freshness_steps(freshness, seen), now)
    if any(one.failed.keys() - teller.left_out.keys() for one in told):
        teller.memory.forget_freshness()
    return told


def _died_before(syncs: list[SyncRecord], facts: SyncOutcomeFacts | None) -> SyncOutcomeFacts | None:
    """Return the sync before another one, or the last one, where it died, told or not."""
    ids = [sync.sync_id for sync in syncs]
    end = len(syncs) if facts is None or facts.sync.sync_id not in ids else ids.index(facts.sync.sync_id)
    before = syncs[end - 1] if end else None
    return facts_of_sync(before) if before is not None and before.error_message == DIED else None


def _report(instance: dg.DagsterInstance, run: dg.DagsterRun, told: Iterable[Told]) -> None:
    """Write problems of channels to the event log of the run that was told of."""
    problems = {name: why for one in told for name, why in one.failed.items()}
    if problems:
        said = "; ".join(f"{name}: {why}" for name, why in problems.items())
        instance.report_engine_event(mask(f"Not everybody could be told of this run. {said}"), run)


def _gave_up(error: Exception) -> list[Told]:
    text = mask(f"{type(error).__name__}: {error}")
    _log.warning("Nobody could be told: %s", text)
    return [Told(failed={"alerting": text})]
