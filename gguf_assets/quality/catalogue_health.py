"""Health of the whole catalogue: what the scores of its models add up to.

    mean = sum of the scores / number of scored models, rounded to 3 digits
    status = green from a mean of 7.5, yellow from 4, else red; unknown where no model is scored

The limits are those of the grades B and D. Every model counts once, however often it is downloaded. Fed batch
by batch; kept are counts alone, so the figures are exact and do not depend on how the day was cut. What does
not belong here: the score of a model (`health`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue.schema import GRADES
from gguf_assets.quality.health import GRADE_FROM, effective_weights, grade_places

GREEN_FROM, YELLOW_FROM = GRADE_FROM[1], GRADE_FROM[3]
"""Smallest means of the two better states."""

_HUNDREDTHS = 1001
"""How many different scores there are: 0.00 to 10.00."""

_Counts = npt.NDArray[np.int64]


class CatalogueHealth:
    """Adds up the health of all models of a day.

    Args:
        weights: weight by check, as for `score_models`; a check of weight 0 has no figures.

    Raises:
        ValueError: a check is unknown.
    """

    def __init__(self, weights: Mapping[str, int] | None = None) -> None:
        self._weights = {name: weight for name, weight in effective_weights(weights).items() if weight}
        self._by_score: _Counts = np.zeros(_HUNDREDTHS, dtype=np.int64)
        self._by_check: _Counts = np.zeros((len(self._weights), 11), dtype=np.int64)

    def add(self, health: pa.RecordBatch) -> None:
        """Count the next batch of `health`; only `score` and `checks` are looked at."""
        scores = np.asarray(health["score"].drop_null())
        self._by_score += np.bincount(np.rint(scores * 100).astype(np.int64), minlength=_HUNDREDTHS)
        if not self._weights:
            return
        checks = pc.list_flatten(health["checks"])
        place = pc.index_in(pc.struct_field(checks, "name"), value_set=pa.array(self._weights))
        cells = np.asarray(place).astype(np.int64) * 11 + np.asarray(pc.struct_field(checks, "score"))
        self._by_check += np.bincount(cells, minlength=self._by_check.size).reshape(self._by_check.shape)

    @property
    def figures(self) -> dict[str, Any]:
        """The figures as the manifest keeps them, plain JSON values.

        `mean` and `median` (0 to 10, None where nothing is scored), `status`, `scored` (models), `grades`
        (models by grade), `scores` (models by the whole number below their score, 0 to 10), and for each
        check `mean`, `known` (models), `full` (of those, models with 10) and `weight`.
        """
        scored = int(self._by_score.sum())
        total = int((self._by_score * np.arange(_HUNDREDTHS)).sum())
        mean = round(total / 100 / scored, 3) if scored else None
        tens = np.add.reduceat(self._by_score, np.arange(0, _HUNDREDTHS, 100))
        return {
            "mean": mean,
            "median": self._median(scored),
            "status": status_of(mean),
            "scored": scored,
            "grades": self._grades(),
            "scores": [int(count) for count in tens],
            "checks": {
                name: _check_figures(self._by_check[place], weight)
                for place, (name, weight) in enumerate(self._weights.items())
            },
        }

    def _median(self, scored: int) -> float | None:
        """Return the middle score, of an even number the mean of the two in the middle."""
        if not scored:
            return None
        up_to = self._by_score.cumsum()
        low, high = (int(np.searchsorted(up_to, place + 1)) for place in ((scored - 1) // 2, scored // 2))
        return (low + high) / 200

    def _grades(self) -> dict[str, int]:
        places = grade_places(np.arange(_HUNDREDTHS) / 100)
        return {grade: int(self._by_score[places == place].sum()) for place, grade in enumerate(GRADES)}


def status_of(mean: float | None) -> str:
    """Return the state of a catalogue of this mean score: green, yellow, red or unknown."""
    if mean is None:
        return "unknown"
    return "green" if mean >= GREEN_FROM else "yellow" if mean >= YELLOW_FROM else "red"


def _check_figures(by_score: _Counts, weight: int) -> dict[str, Any]:
    known = int(by_score.sum())
    mean = round(int((by_score * np.arange(11)).sum()) / known, 3) if known else None
    return {"mean": mean, "known": known, "full": int(by_score[10]), "weight": weight}
