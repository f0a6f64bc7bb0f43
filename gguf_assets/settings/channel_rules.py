"""Whether the channels that are named reach anybody: addresses in the settings, secrets in the environment.

What belongs here: the one wording of these rules, for the advice on a file, the checklist before a deployment
and the telling itself. What does not: telling (`alerts/`), and how an address has to look (`fields`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from gguf_assets.settings.document import Advice
from gguf_assets.settings.model import SyncConfiguration
from gguf_assets.settings.secret_variables import GITHUB_TOKEN, SMTP_URL, WEBHOOK_SECRET

REFERENCE: Final = "env:"
"""Begins a webhook address that stands in an environment variable."""

REPOSITORY: Final = "GITHUB_REPOSITORY"
"""Variable that names the repository of the issues: `owner/name`."""

ALERTS, NOTIFICATIONS = "monitoring.alert_channels", "notifications.notification_channels"
SWITCHES: Final = {ALERTS: "monitoring.enable_alerts", NOTIFICATIONS: "error_handling.enable_notifications"}
"""Keys that name channels, each with the switch of its kind."""


@dataclass(frozen=True)
class Missing:
    """An environment variable that a channel in use needs and does not have.

    Attributes:
        channel: the channel, which is left out without it.
        variable: the variable.
        text: what follows from that.
        remedy: what to do.
        optional: whether the channel is simply skipped, as `github` away from GitHub.
    """

    channel: str
    variable: str
    text: str
    remedy: str
    optional: bool = False


def named_channels(settings: SyncConfiguration) -> dict[str, tuple[str, ...]]:
    """Return the channels by the key that names them, without those of a kind that is switched off."""
    found = {
        ALERTS: (settings.monitoring.enable_alerts, settings.monitoring.alert_channels),
        NOTIFICATIONS: (
            settings.error_handling.enable_notifications,
            settings.notifications.notification_channels,
        ),
    }
    return {key: tuple(channels) for key, (on, channels) in found.items() if on}


def channels_in_use(settings: SyncConfiguration) -> list[str]:
    """Return the channels that something would be sent to, in the order in which they are named."""
    classes = settings.notifications
    told = (
        classes.enable_success_notifications
        or classes.enable_failure_notifications
        or classes.enable_warning_notifications
        or classes.enable_critical_notifications
    )
    named = named_channels(settings).values() if told else ()
    return list(dict.fromkeys(channel for channels in named for channel in channels))


def channel_advice(settings: SyncConfiguration) -> Iterator[Advice]:
    """Yield switches without a channel, and addresses without one."""
    used = named_channels(settings)
    for key, named in used.items():
        if not named:
            yield Advice(
                (key, SWITCHES[key]),
                f"{SWITCHES[key]} is true, and there is no channel to tell anybody by",
                "name one: log",
            )
    for channel, (key, known) in _addresses(settings).items():
        if known and not _users(used, channel):
            yield Advice(
                (key, *SWITCHES),
                f"{key} holds addresses, and no channel in use is {channel}: nobody is reached that way",
                f"add {channel} to {' or '.join(SWITCHES)}, or empty {key}",
            )
    signed = settings.notifications.webhook_urls and _users(used, "webhook")
    if settings.security.enable_request_signing and not signed:
        yield Advice(
            ("security.enable_request_signing", "notifications.webhook_urls"),
            "outgoing webhooks would be signed, and none is sent: there is nothing to sign",
            "set up the channel webhook with webhook_urls, or set enable_request_signing to false",
        )


def without_address(settings: SyncConfiguration) -> Iterator[Advice]:
    """Yield channels in use that have no address in the settings."""
    used = named_channels(settings)
    for channel, (key, known) in _addresses(settings).items():
        users = _users(used, channel)
        if users and not known:
            yield Advice(
                (key, *users),
                f"{' and '.join(users)} name{'s' if len(users) == 1 else ''} {channel}, and {key} is empty: "
                "nobody is reached that way",
                f"fill {key}, or take {channel} out of the channels",
            )


def missing_variables(settings: SyncConfiguration, environ: Mapping[str, str]) -> Iterator[Missing]:
    """Yield what channels in use lack in the environment, in the order of the channels."""
    channels = channels_in_use(settings)

    def unset(name: str) -> bool:
        return not environ.get(name, "").strip()

    if "webhook" in channels:
        for hook in settings.notifications.webhook_urls:
            name = hook.removeprefix(REFERENCE)
            if hook.startswith(REFERENCE) and unset(name):
                text = f"{hook} refers to a variable that is not set"
                yield Missing("webhook", name, text, f"export {name}=https://…")
        if settings.security.enable_request_signing and unset(WEBHOOK_SECRET):
            yield Missing(
                "webhook",
                WEBHOOK_SECRET,
                "security.enable_request_signing is on, and there is no secret to sign with: no webhook is "
                "sent",
                f"export {WEBHOOK_SECRET}=…, or set enable_request_signing to false",
            )
    if "email" in channels and unset(SMTP_URL):
        yield Missing(
            "email",
            SMTP_URL,
            "the channel email has no mail server: no mail is sent",
            f"export {SMTP_URL}=smtps://user:password@host:465",
        )
    for name, value in ((GITHUB_TOKEN, "…"), (REPOSITORY, "owner/name")):
        if "github" in channels and unset(name):
            yield Missing(
                "github",
                name,
                f"{name} is not set: the channel github is skipped",
                f"export {name}={value}, or take github out of the channels",
                optional=True,
            )


def _addresses(settings: SyncConfiguration) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return the key that holds the addresses of a channel, and what it holds."""
    known = settings.notifications
    return {
        "webhook": ("notifications.webhook_urls", tuple(known.webhook_urls)),
        "email": ("notifications.email_recipients", tuple(known.email_recipients)),
    }


def _users(used: Mapping[str, tuple[str, ...]], channel: str) -> list[str]:
    """Return the keys that name a channel."""
    return [key for key, named in used.items() if channel in named]
