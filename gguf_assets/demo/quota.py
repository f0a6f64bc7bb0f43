"""The announced request quota: a fixed window per bucket, with the Hub's RateLimit headers and its 429."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from time import perf_counter

from gguf_assets.demo.answers import Answer, error


@dataclass
class Quota:
    """At most `requests` per fixed window of `window_seconds` (real time); `/resolve/` has its own bucket."""

    requests: int
    window_seconds: float = 300.0
    _windows: dict[str, tuple[float, int]] = field(default_factory=dict, repr=False)

    def count(self, target: str) -> tuple[dict[str, str], Answer | None]:
        """Count a request; return headers for its answer and, beyond the quota, the 429 to send instead."""
        bucket = "resolvers" if "/resolve/" in target else "api"
        now = perf_counter()
        began, used = self._windows.get(bucket, (now, 0))
        if now - began >= self.window_seconds:
            began, used = now, 0
        used += 1
        self._windows[bucket] = (began, used)
        resets_in = max(1, math.ceil(began + self.window_seconds - now))
        window = math.ceil(self.window_seconds)
        headers = {
            "ratelimit": f'"{bucket}";r={max(0, self.requests - used)};t={resets_in}',
            "ratelimit-policy": f'"fixed window";"{bucket}";q={self.requests};w={window}',
        }
        if used <= self.requests:
            return headers, None
        return headers, error(429, f"We had to rate limit you, retry in {resets_in} seconds.")
