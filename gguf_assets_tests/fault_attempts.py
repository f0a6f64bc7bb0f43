"""Random faults of a run: the Hub's, the disk's, deaths, clocks; for the fault sequences.

What belongs here: what may befall a run, and choosing it. What does not: playing it (`fault_sequences`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from errno import EACCES, EIO, ENOSPC, EROFS
from random import Random
from signal import SIGINT, SIGKILL
from typing import Any

import orjson

from gguf_assets.demo.faults import ROW_FAULTS, Fault, FaultKind
from gguf_assets_tests.dying import Death, Refusal
from gguf_assets_tests.fault_worlds import World

PAGES, DETAILS = "sort=createdAt", "/api/models/"
PLACES = (
    "captures/",
    "spool/",
    "candidate/",
    "published/",
    "history/",
    "reports/",
    "last_sync_metadata",
    "locks/",
    "/data/",
)
"""Parts of paths at whose changes processes die and disks refuse."""

HOSTILE: tuple[dict[str, Any], ...] = (
    {"_id": None},
    {"_id": 5},
    {"id": None},
    {"id": "../../etc/passwd"},
    {"id": 7},
    {"sha": "nonsense"},
    {"sha": None},
    {"tags": None},
    {"tags": "gguf"},
    {"downloads": -5},
    {"downloads": "many"},
    {"downloads": 10**30},
    {"likes": None},
    {"gated": {"a": 1}},
    {"createdAt": "yesterday"},
    {"lastModified": "2999-99-99"},
)
"""Merge patches of rows of the listing."""


@dataclass
class Noted(Fault):
    """A fault that notes which rows it took away or changed."""

    struck: set[str] = field(default_factory=set)

    def alter(self, body: bytes) -> bytes:
        """See `Fault`."""
        document = orjson.loads(body)
        altered = super().alter(body)
        rows = document if isinstance(document, list) else [document]
        left = orjson.loads(altered)
        left = left if isinstance(left, list) else [left]
        self.struck |= {row["_id"] for row in rows if row not in left}
        return altered


@dataclass
class Attempt:
    """A run and what befalls it."""

    arguments: tuple[str, ...] = ()
    faults: list[Fault] = field(default_factory=list)
    death: Death | None = None
    refusal: Refusal | None = None
    clock: datetime | None = None
    twice: bool = False
    down: bool = False
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def kinds(self) -> list[str]:
        """What befalls it, in a word each."""
        words = [f"{fault.kind}" for fault in self.faults]
        if self.death is not None:
            words.append("SIGKILL" if self.death.number == SIGKILL else "SIGINT")
        if self.refusal is not None:
            words.append({ENOSPC: "disk full", EIO: "disk broken"}.get(self.refusal.errno, "read-only"))
        told = (("clock", self.clock is not None), ("two at once", self.twice), ("Hub down", self.down))
        return words + [word for word, so in told if so]

    def __str__(self) -> str:
        faults = [
            f"{f.kind} {f.path!r} nth={f.nth} count={f.count} "
            f"{f.status if f.kind == FaultKind.STATUS else ''} {f.edit or ''} {f.hub_id or ''}".strip()
            for f in self.faults
        ]
        further = [self.death, self.refusal, self.clock and f"clock {self.clock}"]
        said = [*faults, *(str(one) for one in further if one)]
        said += [word for word, so in (("two at once", self.twice), ("Hub down", self.down)) if so]
        return f"sync {' '.join(self.arguments)}: {'; '.join(said) or 'calm'}"


def random_attempt(rng: Random, day: date, world: World) -> Attempt:
    """Make a run with one to three faults."""
    attempt = Attempt()
    attempt.arguments = rng.choice(
        [(), (), (), ("--details", "none"), ("--details", "2"), ("--mode", "full"), ("--refetch",)]
    )
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        match rng.choice("hub hub hub hub hub death death disk disk clock twice down interrupt".split()):
            case "hub":
                attempt.faults.append(_random_fault(rng, day, world))
            case "death":
                attempt.death = Death(rng.choice(PLACES), rng.randint(1, 12), rng.random() < 0.5)
            case "interrupt":
                attempt.death = Death(rng.choice(PLACES), rng.randint(1, 12), number=SIGINT)
            case "disk":
                errno = rng.choice((ENOSPC, ENOSPC, EIO, EROFS, EACCES))
                lasting = errno in (EROFS, EACCES) or rng.random() < 0.5
                attempt.refusal = Refusal(errno, rng.choice(PLACES), rng.randint(1, 25), lasting)
            case "clock":
                machine = datetime.now(UTC) + timedelta(days=rng.choice((-365, -30, -1, 1, 365)))
                attempt.clock = rng.choice((machine, datetime(2025, 8, 11, 3, tzinfo=UTC)))
            case "twice":
                attempt.twice = True
            case "down":
                attempt.down = True
    return attempt


def _random_fault(rng: Random, day: date, world: World) -> Fault:
    kind = rng.choice(list(FaultKind))
    path = PAGES if kind in ROW_FAULTS or kind is FaultKind.FOREIGN_LINK else rng.choice(("", PAGES, DETAILS))
    fault = Noted(kind, path, nth=rng.randint(1, 8), count=rng.choice((1, 1, 2, None)))
    hub_id = rng.choice(sorted(world.truth(day)))
    match kind:
        case FaultKind.STATUS:
            fault.status = rng.choice((429, 500, 502, 503, 504, 403, 401, 404))
            fault.headers = {"retry-after": "1"} if fault.status == 429 else {}
        case FaultKind.STALL:
            fault.seconds, fault.count = 1.3, 1
        case FaultKind.TRUNCATE:
            fault.length = rng.randint(0, 60)
        case FaultKind.GARBAGE:
            fault.body = rng.choice((fault.body, b"\x00\xff", b"[]", b"{}", b'[{"_id":', b"null"))
        case FaultKind.DROP_ROW | FaultKind.DOUBLE_ROW:
            fault.hub_id, fault.nth, fault.count = hub_id, 1, rng.choice((1, None))
        case FaultKind.EDIT_ROW:
            fault.hub_id, fault.nth, fault.count = hub_id, 1, rng.choice((1, None))
            fault.edit = rng.choice((*HOSTILE, {"downloads": 77}, {"gated": "manual"}))
    return fault
