"""What a sync configuration may say although it is probably not meant: warnings, never in the way.

What belongs here: pairs of values that defeat each other, and switches that are risky where they stand. What
does not: what makes a configuration invalid (`rules`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gguf_assets.settings.fields import is_loopback
from gguf_assets.settings.layers import Advice
from gguf_assets.settings.model import SyncConfiguration

_SECONDS = 3600
_QUOTA_WITH_TOKEN, _QUOTA_WITHOUT = 5000, 1000  # requests an hour that the Hub grants an account


def sync_advice(settings: SyncConfiguration, origins: Mapping[str, str]) -> Iterator[Advice]:
    """Yield what is allowed in a sync configuration and probably not meant.

    Args:
        settings: a valid configuration.
        origins: the layer that each dotted key comes from.
    """
    yield from _rates(settings)


def _rates(settings: SyncConfiguration) -> Iterator[Advice]:
    rates = settings.rate_limiting
    by_second = rates.requests_per_second * _SECONDS
    if by_second > rates.requests_per_hour and not is_loopback(settings.api_base_url):
        yield Advice(
            ("rate_limiting.requests_per_second", "rate_limiting.requests_per_hour"),
            f"{rates.requests_per_second:g} requests a second are {by_second:,.0f} an hour, and "
            f"requests_per_hour allows {rates.requests_per_hour:,}: the lower rate binds",
            f"set requests_per_second to at most {rates.requests_per_hour / _SECONDS:.2f}",
        )
    if rates.requests_per_hour > _QUOTA_WITH_TOKEN:
        yield Advice(
            ("rate_limiting.requests_per_hour",),
            f"the Hub grants {_QUOTA_WITH_TOKEN:,} requests an hour with a token and {_QUOTA_WITHOUT:,} "
            "without one; beyond that it answers 429",
            f"set requests_per_hour to at most {_QUOTA_WITH_TOKEN}",
        )
