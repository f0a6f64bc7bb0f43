"""What stands out on a day: the biggest movers, new labels and architectures, the least healthy models.

Filled batch by batch from `models` and `health`, keeping only what is shown. How it is worded stands in
`report`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

MOVERS_SHOWN = 10
"""Models kept in each direction."""

WORST_SHOWN = 10
"""Least healthy models kept."""

_MOVER = ("model_id", "hub_id", "downloads", "downloads_delta")


@dataclass(frozen=True)
class Mover:
    """A model whose downloads of the last 30 days moved most.

    Attributes:
        model_id: name on the day.
        downloads: downloads of the last 30 days; None when unknown.
        delta: change against the baseline.
    """

    model_id: str
    downloads: int | None
    delta: int


class Movers:
    """Keeps the models with the largest rise and fall of `downloads`; ties go by `hub_id`."""

    def __init__(self, shown: int = MOVERS_SHOWN) -> None:
        self._shown = shown
        self._rising: pa.Table | None = None
        self._falling: pa.Table | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        """Look at the next batch of `models`."""
        rows = pa.table({name: batch[name] for name in _MOVER})
        self._rising = self._best(self._rising, rows, pc.greater(rows["downloads_delta"], 0), "descending")
        self._falling = self._best(self._falling, rows, pc.less(rows["downloads_delta"], 0), "ascending")

    @property
    def rising(self) -> list[Mover]:
        """The largest rises, largest first."""
        return _movers(self._rising)

    @property
    def falling(self) -> list[Mover]:
        """The largest falls, largest first; the counter is a 30-day window, so falling is normal."""
        return _movers(self._falling)

    def _best(self, held: pa.Table | None, rows: pa.Table, moved: pa.ChunkedArray, order: str) -> pa.Table:
        moving = rows.filter(moved)
        together = moving if held is None else pa.concat_tables([held, moving])
        keys = [("downloads_delta", order), ("hub_id", "ascending")]
        best = pc.select_k_unstable(together, k=min(self._shown, together.num_rows), sort_keys=keys)
        return together.take(best)


@dataclass
class Vocabulary:
    """The distinct architectures and quantizations of a day."""

    architectures: set[str] = field(default_factory=set)
    quantizations: set[str] = field(default_factory=set)

    def add(self, batch: pa.RecordBatch) -> None:
        """Look at the next batch of `models`; only `architecture` and `quantizations` are read."""
        self.architectures.update(pc.unique(batch["architecture"].drop_null()).to_pylist())
        self.quantizations.update(pc.unique(pc.list_flatten(batch["quantizations"]).drop_null()).to_pylist())


@dataclass(frozen=True)
class LostPoints:
    """A health check of a model that is below 10.

    Attributes:
        check: name of the check.
        score: 0 to 9.
        reason: code of the reason.
        weight: weight of the check.
    """

    check: str
    score: int
    reason: str
    weight: int


@dataclass(frozen=True)
class WorstModel:
    """One of the least healthy models.

    Attributes:
        model_id: name on the day.
        hub_id: identity.
        score: 0 to 10.
        grade: A to F.
        reasons: what cost it points, the most costly first.
    """

    model_id: str
    hub_id: str
    score: float
    grade: str
    reasons: tuple[LostPoints, ...]


class WorstModels:
    """Keeps the models with the lowest health scores; ties go by `hub_id`, who has no score is left out."""

    def __init__(self, shown: int = WORST_SHOWN) -> None:
        self._shown = shown
        self._held: pa.Table | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        """Look at the next batch of `health`."""
        rows = pa.table({name: batch[name] for name in ("model_id", "hub_id", "score", "grade", "checks")})
        scored = rows.filter(pc.is_valid(rows["score"]))
        lowest = scored.take(self._lowest(scored))
        together = lowest if self._held is None else pa.concat_tables([self._held, lowest])
        self._held = together.take(self._lowest(together))

    @property
    def worst(self) -> list[WorstModel]:
        """The least healthy models, worst first."""
        return [
            WorstModel(row["model_id"], row["hub_id"], row["score"], row["grade"], _lost(row["checks"]))
            for row in ([] if self._held is None else self._held.to_pylist())
        ]

    def _lowest(self, rows: pa.Table) -> pa.Array:
        keys = [("score", "ascending"), ("hub_id", "ascending")]
        return pc.select_k_unstable(rows, k=min(self._shown, rows.num_rows), sort_keys=keys)


def _lost(checks: list[dict[str, Any]]) -> tuple[LostPoints, ...]:
    lost = [LostPoints(c["name"], c["score"], c["reason"], c["weight"]) for c in checks if c["score"] < 10]
    return tuple(sorted(lost, key=lambda part: -part.weight * (10 - part.score)))


def _movers(table: pa.Table | None) -> list[Mover]:
    rows = [] if table is None else table.to_pylist()
    return [Mover(row["model_id"], row["downloads"], row["downloads_delta"]) for row in rows]
