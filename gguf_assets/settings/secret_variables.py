"""Secrets that only environment variables hold, beside the Hub's token.

What belongs here: their names, and reading them so that no text ever shows them. What does not: using them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import unquote

from pydantic import SecretStr

from gguf_assets.masking import register_secret

SMTP_URL: Final = "GGUF_ASSETS_SMTP_URL"
"""Mail server: `smtp://user:password@host:port` (STARTTLS where offered) or `smtps://…`."""

WEBHOOK_SECRET: Final = "GGUF_ASSETS_WEBHOOK_SECRET"
"""Key with which webhooks are signed."""

GITHUB_TOKEN: Final = "GITHUB_TOKEN"
"""Token with which issues are opened in `GITHUB_REPOSITORY`."""

SHARED_LIMITS_URL: Final = "GGUF_ASSETS_SHARED_LIMITS_URL"
"""Where several machines share the request rates: `redis://…`, `rediss://…` or `postgresql://…`."""

_REFERENCE: Final = "env:"


def hide_secrets(environ: Mapping[str, str], webhooks: Iterable[str]) -> None:
    """Have every secret of the environment and every webhook's address hidden in every text from now on.

    Whoever repeats one, in a refusal or an exception, may do so before it is used here.

    Args:
        environ: the environment variables.
        webhooks: `notifications.webhook_urls`.
    """
    for name in (SMTP_URL, WEBHOOK_SECRET, GITHUB_TOKEN, SHARED_LIMITS_URL):
        secret_variable(environ, name)
    webhook_addresses(environ, webhooks)


def webhook_addresses(environ: Mapping[str, str], webhooks: Iterable[str]) -> tuple[SecretStr, ...]:
    """Return the addresses of webhooks, references `env:NAME` resolved and those that lead nowhere left out.

    They are hidden from now on, their paths beside the whole of them.
    """
    addresses = []
    for hook in webhooks:
        referred = hook.startswith(_REFERENCE)
        address = (environ.get(hook.removeprefix(_REFERENCE), "") if referred else hook).strip()
        if address:
            register_secret(address)
            register_secret(address.partition("://")[2].partition("/")[2])
            addresses.append(SecretStr(address))
    return tuple(addresses)


def secret_variable(environ: Mapping[str, str], name: str) -> SecretStr | None:
    """Return a secret and have it hidden in every text from now on; None where it is not set or empty.

    Of an address, its password is hidden beside the whole of it: messages of servers repeat parts.
    """
    value = environ.get(name, "").strip()
    if not value:
        return None
    register_secret(value)
    # Not parsed strictly: what is no correct address must be hidden, too.
    user_and_password = value.partition("://")[2].rpartition("@")[0]
    password = user_and_password.partition(":")[2]
    if password:
        register_secret(password)
        register_secret(unquote(password))
    return SecretStr(value)
