"""From names of channels and addresses to channels.

What belongs here: which addresses a channel needs, and why one is left out without them. What does not: where
names and addresses are configured.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import SecretStr

from gguf_assets.alerts.alert import Channel, ChannelError
from gguf_assets.alerts.channels.log import LogChannel


@dataclass(frozen=True)
class Addresses:
    """Where alerts go, and with what they are let in.

    Attributes:
        webhook_urls: addresses of incoming webhooks.
        webhook_secret: key with which webhooks are signed.
        smtp_url: `smtp[s]://[user[:password]@]host[:port][?from=address]`.
        email_recipients: who gets mail.
        github_token: may write issues.
        github_repository: `owner/name`.
        github_api_url: None for github.com.
        log: the logger that the channel `log` writes to.
    """

    webhook_urls: tuple[SecretStr, ...] = ()
    webhook_secret: SecretStr | None = None
    smtp_url: SecretStr | None = None
    email_recipients: tuple[str, ...] = ()
    github_token: SecretStr | None = None
    github_repository: str | None = None
    github_api_url: str | None = None
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("gguf_assets.alerts"))


def build_channels(names: Sequence[str], addresses: Addresses) -> tuple[list[Channel], dict[str, str]]:
    """Make the channels of some names; the same name or address counts once.

    Args:
        names: of `log`, `webhook`, `email`, `github`.
        addresses: where they lead.

    Returns:
        The channels in the order of their names, and by name why one was left out.
    """
    channels: list[Channel] = []
    left_out: dict[str, str] = {}
    for name in dict.fromkeys(names):
        try:
            channels += _MAKERS[name](addresses, left_out)
        except ChannelError as error:
            left_out[name] = str(error)
    return channels, left_out


def _log(addresses: Addresses, left_out: dict[str, str]) -> list[Channel]:
    return [LogChannel(addresses.log)]


def _webhooks(addresses: Addresses, left_out: dict[str, str]) -> list[Channel]:
    if not addresses.webhook_urls:
        raise ChannelError("no address is set (notifications.webhook_urls)")
    from gguf_assets.alerts.channels.webhook import WebhookChannel

    channels: list[Channel] = []
    names: dict[str, int] = {}
    for number, url in enumerate(dict.fromkeys(addresses.webhook_urls), 1):
        try:
            channel = WebhookChannel(url, secret=addresses.webhook_secret)
        except ChannelError as error:
            left_out[f"webhook {number}"] = str(error)
            continue
        names[channel.name] = names.get(channel.name, 0) + 1
        if names[channel.name] > 1:
            channel.name = f"{channel.name} ({names[channel.name]})"
        channels.append(channel)
    return channels


def _email(addresses: Addresses, left_out: dict[str, str]) -> list[Channel]:
    if addresses.smtp_url is None:
        raise ChannelError("no mail server is set (GGUF_ASSETS_SMTP_URL)")
    recipients = tuple(dict.fromkeys(addresses.email_recipients))
    if not recipients:
        raise ChannelError("nobody is set to get mail (notifications.email_recipients)")
    from gguf_assets.alerts.channels.email import EmailChannel, MailServer

    return [EmailChannel(MailServer.of(addresses.smtp_url), recipients)]


def _github(addresses: Addresses, left_out: dict[str, str]) -> list[Channel]:
    if addresses.github_token is None:
        raise ChannelError("no token is set (GITHUB_TOKEN)")
    if not addresses.github_repository:
        raise ChannelError("no repository is set (GITHUB_REPOSITORY)")
    # PyGithub takes half a second to import.
    from gguf_assets.alerts.channels.github import PUBLIC_API, GitHubChannel

    api_url = addresses.github_api_url or PUBLIC_API
    return [GitHubChannel(addresses.github_token, addresses.github_repository, api_url=api_url)]


_MAKERS = {"log": _log, "webhook": _webhooks, "email": _email, "github": _github}
