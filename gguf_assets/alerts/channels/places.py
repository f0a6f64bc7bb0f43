"""Where a channel posts to: https addresses, plain http on this machine alone."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from gguf_assets.loopback import is_loopback


@dataclass(frozen=True)
class Place:
    """What may be shown of an address.

    Attributes:
        scheme, host: as they stand in the address.
        port: the port; None where the address names none.
    """

    scheme: str
    host: str
    port: int | None

    @property
    def netloc(self) -> str:
        """`host[:port]`."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return shown if self.port is None else f"{shown}:{self.port}"

    @property
    def is_safe(self) -> bool:
        """Whether what is posted there is read by nobody on the way."""
        return self.scheme == "https" or (self.scheme == "http" and is_loopback(self.host))


def place_of(url: str) -> Place | None:
    """Return where an address leads; None where it is none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    return Place(parts.scheme, host, port) if host else None
