"""Quotas that the Hub announces, as pure state: what is left of them, and how long the next request waits.

What belongs here: reading the `RateLimit` headers and `Retry-After`, counting down between two answers. All
times are seconds of one clock, that of the store which the state is kept in. What does not: keeping the state
(`limit_stores`, `shared_limits`) and waiting (`limits`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from typing import Final

from gguf_assets.hub.errors import retry_after_seconds

API: Final = "api"
RESOLVERS: Final = "resolvers"

LONGEST_WINDOW: Final = 3600
"""Seconds; the Hub's own are minutes, and no header may hold a sync for days."""

_KNOWN_SECONDS = 300.0  # for so long an answer without a quota is taken to mean that there is none
_PROBE_SECONDS = 5.0  # so long others wait for the first answer at most
_LOOK_AGAIN = 0.05
_CLOCK_SLACK = 1.0
_ROUNDING = 1.5  # what two answers about one window may differ by, told in whole seconds


@dataclass(frozen=True)
class Announcement:
    """What one answer says about one quota.

    Attributes:
        bucket: which requests it is about: `api`, `resolvers`, `pages`.
        remaining: requests left in the window.
        resets_in: seconds until the window begins anew, in whole seconds as the Hub says them.
        limit: requests per window; None when the Hub did not say.
        window: length of the window in seconds; None when the Hub did not say.
    """

    bucket: str
    remaining: int
    resets_in: float
    limit: int | None = None
    window: float | None = None


def announcement(headers: Mapping[str, str]) -> Announcement | None:
    """Return the quota that an answer announces; None where it announces none."""
    from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]

    info = parse_ratelimit_headers(headers)
    if info is None:
        return None
    reset = float(min(info.reset_in_seconds, LONGEST_WINDOW))
    if not info.limit or not info.window_seconds:
        return Announcement(info.resource_type, info.remaining, reset)
    window = float(min(info.window_seconds, LONGEST_WINDOW))
    return Announcement(info.resource_type, info.remaining, reset, info.limit, window)


def demanded_pause(headers: Mapping[str, str]) -> float:
    """Return the seconds for which an answer asks to send nothing; 0 for none.

    A pause of more than an hour is not kept: a client gives up on it, and no later one shall hang on it.
    """
    seconds = retry_after_seconds(headers) or 0.0
    return seconds if seconds <= LONGEST_WINDOW else 0.0


def bucket_of(path: str) -> str:
    """Return the quota that a request for this path at the Hub counts against."""
    return RESOLVERS if "/resolve/" in path else API


def quota_key(endpoint: str, token: str | None) -> str:
    """Return the name under which clients share what they know: the Hub's quotas are per account or address.

    It holds no part of the token, only a digest of 64 bits.
    """
    digest = blake2b((token or "").encode(), key=endpoint.encode()[:64], digest_size=8).hexdigest()
    return f"{'token' if token else 'anonymous'}-{digest}"


@dataclass(frozen=True)
class Window:
    """One quota between two resets, counted down with every request that is let go.

    Attributes:
        remaining: requests left, those let go since the last answer taken off.
        began: when this window was first known.
        resets_at: when the next one begins, as early as any answer said.
        spread_from: the last request; from there the last ones are spread evenly over the rest.
        limit: requests per window; None when the Hub did not say.
        length: seconds; None when the Hub did not say.
        unanswered: requests let go and not answered yet.
        guessed: whether it is taken for granted after the end of the one before, and no answer confirmed it.
    """

    remaining: int
    began: float
    resets_at: float
    spread_from: float
    limit: int | None = None
    length: float | None = None
    unanswered: int = 0
    guessed: bool = False

    @property
    def over_at(self) -> float:
        """When it is surely over: the Hub may round the seconds down, so one is added."""
        return self.resets_at + 1

    def wait(self, now: float) -> float:
        """Return the seconds until the next request may go out."""
        if self.remaining <= 0:
            return max(0.0, self.over_at - now)
        few = 10 if self.limit is None else max(1, self.limit // 10)
        if self.remaining > few or now >= self.resets_at:
            return 0.0
        step = (self.resets_at - self.spread_from) / (self.remaining + 1)
        return max(0.0, self.spread_from + step - now)

    def taken(self, now: float) -> Window:
        """Return it after a request was let go."""
        return replace(
            self, remaining=max(0, self.remaining - 1), spread_from=now, unanswered=self.unanswered + 1
        )

    def next(self, now: float) -> Window | None:
        """Return the window after this one, full as far as anybody knows; None when its limit is unknown."""
        if self.limit is None or self.length is None:
            return None
        return Window(self.limit, now, now + self.length, now, self.limit, self.length, guessed=True)

    def told(self, said: Announcement, sent: float, now: float) -> Window:
        """Return it after an answer to a request sent then, which may have been under way for long."""
        unanswered = max(0, self.unanswered - 1)
        later = sent + said.resets_in > self.resets_at + max((said.window or 0.0) / 2, _ROUNDING)
        if later or (sent >= self.resets_at and said.resets_in >= 1):
            # It has begun anew before we thought; what is under way may not be in the answer's number.
            remaining = max(0, said.remaining - unanswered)
            return replace(_new_window(said, sent, now), remaining=remaining, unanswered=unanswered)
        late = sent < self.began or (not self.guessed and now + said.resets_in + 2 < self.resets_at)
        if late:
            return replace(self, unanswered=unanswered)  # it tells of the window before
        return replace(
            self,
            remaining=min(self.remaining, said.remaining),
            resets_at=min(self.resets_at, now + said.resets_in),
            limit=said.limit or self.limit,
            length=said.window or self.length,
            unanswered=unanswered,
            guessed=False,
        )


def _new_window(said: Announcement, sent: float, now: float) -> Window:
    return Window(said.remaining, sent, now + said.resets_in, now, said.limit, said.window)


@dataclass(frozen=True)
class QuotaBook:
    """All that is known of the quotas of one account at one Hub.

    Until the first answer, one request at a time is let go, so that many requesters do not spend unseen what
    they do not know.

    Attributes:
        windows: the quotas by bucket.
        paused_until: nothing is sent before; the Hub demanded it.
        known_until: until then it is known that nothing is announced.
        probe: who asks for the first answer; empty for nobody.
        probe_until: until then others wait for that.
        noted: when it was last changed.
    """

    windows: Mapping[str, Window] = field(default_factory=dict)
    paused_until: float = 0.0
    known_until: float = 0.0
    probe: str = ""
    probe_until: float = 0.0
    noted: float = 0.0

    def at(self, now: float) -> QuotaBook:
        """Return it with windows that are over renewed or dropped; empty when the clock was set back."""
        if now < self.noted - _CLOCK_SLACK:
            return QuotaBook()
        if all(now < window.over_at for window in self.windows.values()):
            return self
        renewed = {
            name: window if now < window.over_at else window.next(now)
            for name, window in self.windows.items()
        }
        return replace(self, windows={name: window for name, window in renewed.items() if window})

    def wait(self, now: float, bucket: str | None, who: str) -> float:
        """Return the seconds until a request may go out; None as the bucket: any of them holds it back."""
        waits = [0.0, self.paused_until - now]
        waits += [w.wait(now) for name, w in self.windows.items() if bucket in (None, name)]
        if not self._known(now) and self.probe not in ("", who) and now < self.probe_until:
            waits.append(min(_LOOK_AGAIN, self.probe_until - now))
        return max(waits)

    def taken(self, now: float, bucket: str, who: str) -> QuotaBook:
        """Return it after a request was let go."""
        if not self._known(now):
            return replace(self, probe=who, probe_until=now + _PROBE_SECONDS, noted=now)
        window = self.windows.get(bucket)
        if window is None:
            return self
        return replace(self, windows={**self.windows, bucket: window.taken(now)}, noted=now)

    def told(self, said: Announcement | None, pause: float, sent: float, now: float) -> QuotaBook:
        """Return it after an answer to a request sent then: its quota if any, and the pause it demands."""
        windows, known_until = self.windows, self.known_until
        if said is not None:
            window = windows.get(said.bucket)
            told = _new_window(said, sent, now) if window is None else window.told(said, sent, now)
            windows = {**windows, said.bucket: told}
        elif not windows:
            known_until = now + _KNOWN_SECONDS
        paused_until = max(self.paused_until, now + pause) if pause > 0 else self.paused_until
        return QuotaBook(windows, paused_until, known_until, noted=now)

    def teaches(self, said: Announcement | None, pause: float, now: float) -> bool:
        """Return whether such an answer changes anything."""
        return said is not None or pause > 0 or not self._known(now)

    def _known(self, now: float) -> bool:
        return bool(self.windows) or now < self.known_until

    def dump(self) -> str:
        """Return it as text to be stored."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def load(cls, text: str | bytes | None) -> QuotaBook:
        """Return what was stored; an empty one for what cannot be read, which is worth minutes at most."""
        if not text:
            return cls()
        try:
            stored = json.loads(text)
            windows = {str(name): Window(**window) for name, window in stored.pop("windows").items()}
            book = cls(windows=windows, **stored)
            book.wait(book.noted, None, "")
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls()
        return book
