"""Which origin may be spoken to: the configured endpoint's scheme, host and port, and no other.

What belongs here: judging endpoints, links and request URLs by their text. What does not: sending anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from gguf_assets.errors import ErrorCategory, ForeignAddressError, PermanentError
from gguf_assets.loopback import is_loopback

_DEFAULT_PORTS = {"http": 80, "https": 443}
_ENDPOINT_REMEDY = "Set HF_ENDPOINT (api_base_url) to the address of the Hub, e.g. https://huggingface.co."

_CONTENT_DOMAIN = "hf.co"
"""Where the Hub keeps the contents of large files: its own CDN."""

Origin = tuple[str, str, int]
"""Scheme, host and port, lower case, the port never left out."""


def origin_of(url: str) -> Origin | None:
    """Return the origin of an absolute http(s) URL; None for anything else, credentials in it included."""
    parts = _split(url)
    if parts is None or parts.hostname is None or parts.username is not None or parts.password is not None:
        return None
    try:
        port = parts.port
    except ValueError:
        return None
    default = _DEFAULT_PORTS.get(parts.scheme)
    return None if default is None else (parts.scheme, parts.hostname, default if port is None else port)


def show_origin(url: str) -> str:
    """Return `scheme://host:port` of a URL for messages: no credentials, path or control characters."""
    parts = _split(url)
    if parts is None or not parts.netloc:
        return "no absolute address"
    host = parts.netloc.rpartition("@")[2]
    name, colon, port = host.rpartition(":")
    if colon and not port.isdecimal() and not host.endswith("]"):
        host = name  # no port: it may be the beginning of a password with a slash in it
    return "".join(char if char.isprintable() else "?" for char in f"{parts.scheme}://{host}")[:200]


def check_endpoint(endpoint: str, allowed_domains: Sequence[str]) -> str:
    """Return the endpoint as `scheme://host[:port]`, without a trailing slash.

    Args:
        endpoint: address of the Hub.
        allowed_domains: domains that may be contacted, their sub-domains included; empty for any. A
            loopback endpoint is always allowed.

    Raises:
        PermanentError: it is no such address, or its host is not allowed (category `configuration`).
    """
    origin = origin_of(endpoint)
    parts = _split(endpoint)
    if origin is None or parts is None or parts.path.strip("/") or parts.query or parts.fragment:
        raise PermanentError(
            f"The Hub's endpoint must be scheme://host[:port] with http or https and no credentials, "
            f"path or query; configured is {show_origin(endpoint)}",
            category=ErrorCategory.CONFIGURATION,
            remedy=_ENDPOINT_REMEDY,
        )
    host = origin[1]
    if allowed_domains and not is_loopback(host) and not any(_within(host, name) for name in allowed_domains):
        raise PermanentError(
            f"The Hub's host {host} is not among the allowed domains ({', '.join(allowed_domains)})",
            category=ErrorCategory.CONFIGURATION,
            remedy="Add it to security.allowed_domains, or correct HF_ENDPOINT (api_base_url).",
        )
    return f"{parts.scheme}://{parts.netloc}"


def path_on(endpoint: str, url: str) -> str:
    """Return path and query of an absolute URL that the Hub named, e.g. in `Link`.

    Raises:
        PermanentError: it is relative or leads to another origin (category `api`).
    """
    origin = origin_of(url)
    if origin is None or origin != origin_of(endpoint):
        raise foreign_origin(endpoint, url)
    parts = urlsplit(url)
    path = parts.path or "/"
    return f"{path}?{parts.query}" if parts.query else path


def holds_content(endpoint: str, url: str, allowed_domains: Sequence[str]) -> bool:
    """Return whether the contents of the endpoint's files may be fetched from there, without the token.

    That is the Hub's CDN, and the allowed domains, over https; for a loopback endpoint this machine alone.
    """
    own, origin = origin_of(endpoint), origin_of(url)
    if own is None or origin is None:
        return False
    if is_loopback(own[1]):
        return is_loopback(origin[1])
    return origin[0] == "https" and any(
        _within(origin[1], name) for name in (*allowed_domains, _CONTENT_DOMAIN)
    )


def foreign_origin(endpoint: str, url: str) -> ForeignAddressError:
    """Return the error for a link or redirect that leaves the endpoint's origin."""
    return ForeignAddressError(
        f"The Hub at {endpoint} pointed to {show_origin(url)}, which is another origin; only "
        f"{endpoint} is allowed, so nothing was sent there",
        remedy="If the Hub has moved, set HF_ENDPOINT (api_base_url) to its new address; behind a mirror, "
        "make it name itself in its links.",
    )


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:
        return None


def _within(host: str, domain: str) -> bool:
    name = domain.strip().lower().lstrip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))
