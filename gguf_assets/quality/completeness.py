"""Completeness of a day: coverage x fill, 0 to 1, with the parts it was computed from.

    coverage = listed / (listed + put back + unconfirmed + seen by another route only + quarantined)
    fill     = mean share of the required fields that listed models have

Listed are the models that the walk showed and that can be trusted; who is confirmed to be gone counts
nowhere. On a first run nothing says how many there should be: coverage is unknown, and the score is the fill
times the share of the listed rows that can be trusted. An empty listing, and a walk that did not end, score
0. File details are a second figure and no part of this: on a first run they are missing by necessity.

A walk over a window of modification says nothing about who is there: it stands under the coverage of the last
walk over all models (the last census), until that is too old.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue.extras import LISTING_ROUTE, NAME_ROUTE

REQUIRED_FIELDS = ("hub_id", "model_id", "sha", "created_at", "last_modified", "downloads", "likes")
"""Columns of `models` without which a listed model says too little."""


@dataclass(frozen=True)
class Completeness:
    """How complete a day is.

    Attributes:
        score: 0 to 1, what the gate compares.
        coverage: 0 to 1; None without an independent count.
        fill: 0 to 1.
        parts: the counts behind the figures, and the share present of each required field.
    """

    score: float
    coverage: float | None
    fill: float
    parts: dict[str, int | float | bool]


@dataclass(frozen=True)
class Census:
    """The last walk over all models before one over a window.

    Attributes:
        day: its day, as text.
        coverage: its coverage; None when it had no independent count.
        age_hours: how long before the walk over the window it was.
    """

    day: str
    coverage: float | None
    age_hours: float


@dataclass(frozen=True)
class Gate:
    """Whether a day may be published, and why, in words."""

    passed: bool
    text: str


class ListingCounts:
    """Counts, over the batches of `models`, what `measure` needs to know of the rows themselves.

    `put_back` are models found by name, `by_other_routes` those that only another discovery route saw,
    `seen_by` how many models each route saw.
    """

    def __init__(self) -> None:
        self.models = 0
        self.listed = 0
        self.put_back = 0
        self.by_other_routes = 0
        self.seen_by: Counter[str] = Counter()
        self.unconfirmed = 0
        self.details_known = 0
        self.filled = dict.fromkeys(REQUIRED_FIELDS, 0)

    def add(self, batch: pa.RecordBatch) -> None:
        """Count the next batch of `models`; the required fields are counted over listed rows only."""
        presence = batch["presence"]
        self.models += len(batch)
        back = batch.filter(pc.equal(presence, "put back"))
        elsewhere = sum(_only_elsewhere(routes or ()) for routes in back["discovered_by"].to_pylist())
        self.put_back += len(back) - elsewhere
        self.by_other_routes += elsewhere
        # An unconfirmed row is the last one seen: who saw it did so on an earlier day.
        seen = batch.filter(pc.not_equal(presence, "unconfirmed"))["discovered_by"]
        for entry in pc.value_counts(pc.list_flatten(seen)).to_pylist():
            self.seen_by[entry["values"]] += entry["counts"]
        self.unconfirmed += _count(pc.equal(presence, "unconfirmed"))
        self.details_known += _count(pc.equal(batch["details_sha"], batch["sha"]))
        is_listed = pc.equal(presence, "listed")
        self.listed += _count(is_listed)
        for field in REQUIRED_FIELDS:
            self.filled[field] += _count(pc.and_(is_listed, pc.is_valid(batch[field])))


def measure(
    *,
    listed: int,
    quarantined: int,
    absent_unconfirmed: int,
    put_back: int,
    seen_by_other_routes: int,
    baseline_known: bool,
    filled: Mapping[str, int],
    walk_ended: bool,
    census: Census | None = None,
) -> Completeness:
    """Compute the completeness of a day.

    Args:
        listed: models that the walk showed and that can be trusted.
        quarantined: rows of the walk that were set aside whole.
        absent_unconfirmed: models of the baseline that are not listed and not confirmed to be gone.
        put_back: models missing in the listing that answered when asked by name.
        seen_by_other_routes: models that only another discovery route saw.
        baseline_known: whether there is an earlier published day to compare with.
        filled: for each of `REQUIRED_FIELDS`, how many listed models have it.
        walk_ended: whether the walk ended at a page without a next link.
        census: for a walk over a window: the last walk over all models, whose coverage stands. Listed are
            then the models it and the window showed.

    Raises:
        ValueError: a count is negative, or `filled` does not fit the listed models.
    """
    counts = {
        "listed": listed,
        "quarantined": quarantined,
        "unconfirmed": absent_unconfirmed,
        "put_back": put_back,
        "seen_by_other_routes": seen_by_other_routes,
    }
    _require_possible(counts, filled)
    coverage: float | None = None
    covered = listed / (listed + quarantined) if listed else 0.0
    if baseline_known:
        coverage = covered = listed / sum(counts.values()) if listed else 0.0
    if census is not None:
        coverage = census.coverage
        covered = 1.0 if coverage is None else coverage
    fill = sum(filled.values()) / (len(REQUIRED_FIELDS) * listed) if listed else 0.0
    shares = {f"filled_{name}": filled[name] / listed if listed else 0.0 for name in REQUIRED_FIELDS}
    return Completeness(
        score=covered * fill if walk_ended else 0.0,
        coverage=coverage,
        fill=fill,
        parts={
            **counts,
            "walk_ended": walk_ended,
            **({} if census is None else {"census_age_hours": round(census.age_hours, 1)}),
            **shares,
        },
    )


def gate(completeness: Completeness, minimum: float, oldest_census_hours: float = math.inf) -> Gate:
    """Compare the score with the smallest one that may be published.

    Args:
        completeness: what `measure` returned.
        minimum: 0 to 1; a score equal to it passes.
        oldest_census_hours: age of the last census above which a walk over a window is not published.
    """
    passed = completeness.score >= minimum
    parts = completeness.parts
    age = parts.get("census_age_hours")
    if age is not None and age > oldest_census_hours:
        return Gate(
            False,
            f"completeness is not known: the last census is {age:g} h old, and a walk over a window stands "
            f"under it for {oldest_census_hours:g} h at most",
        )
    if not parts["walk_ended"]:
        reason = "the walk did not end"
    elif not parts["listed"]:
        reason = "the listing is empty"
    elif completeness.coverage is None:
        reason = f"no independent count of models, fill {as_text(completeness.fill)}"
    else:
        reason = f"coverage {as_text(completeness.coverage)}, fill {as_text(completeness.fill)}"
    if age is not None:
        reason += f", of a census {age:g} h old"
    relation = "reaches" if passed else "is below"
    return Gate(
        passed, f"completeness {as_text(completeness.score)} {relation} the minimum {minimum:g} ({reason})"
    )


def file_detail_coverage(known: int, models: int) -> float | None:
    """Return the share of models whose file details are known at their current sha; None without models."""
    return known / models if models else None


def as_text(share: float) -> str:
    """Return a share with four digits, cut and not rounded: 0.94999 must not read 0.95."""
    # The tiny addition keeps binary fractions such as 0.29 from losing their last digit.
    return f"{math.floor(share * 10_000 + 1e-7) / 10_000:.4f}"


def _count(mask: pa.Array) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _only_elsewhere(routes: Collection[str]) -> bool:
    """Whether a model that the listing lacks was seen by another discovery route, and not by its name."""
    return NAME_ROUTE not in routes and any(route != LISTING_ROUTE for route in routes)


def _require_possible(counts: Mapping[str, int], filled: Mapping[str, int]) -> None:
    for name, count in counts.items():
        if count < 0:
            raise ValueError(f"{name} is {count}; a count is 0 or more")
    if set(filled) != set(REQUIRED_FIELDS):
        raise ValueError(f"filled has {', '.join(sorted(filled))}; required are {', '.join(REQUIRED_FIELDS)}")
    for name, count in filled.items():
        if not 0 <= count <= counts["listed"]:
            raise ValueError(
                f"filled[{name!r}] is {count}; allowed is 0 to {counts['listed']}, the listed models"
            )
