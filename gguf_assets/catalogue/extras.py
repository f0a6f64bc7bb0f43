"""Models that the walk did not list and that are there all the same: seen by another route, or asked for.

They are put into their places of the day's order, and every row learns which routes saw it. Pure. What does
not belong here: walking the routes (`hub/routes`), and what the merged rows mean (`merge`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue.heads import first_of_each
from gguf_assets.catalogue.ordering import created_keys, in_order
from gguf_assets.catalogue.parse import LISTED, ListedPage, says_gguf
from gguf_assets.catalogue.schema import STRINGS

LISTING_ROUTE = "gguf"
"""The discovery route of the walk itself: the Hub's `gguf` tag filter."""

NAME_ROUTE = "name"
"""The route of a model that was asked for by its name because nothing listed it."""

PLACED = pa.schema([*LISTED, pa.field("presence", pa.string()), pa.field("discovered_by", STRINGS)])
"""`LISTED` with where a row comes from."""


@dataclass(frozen=True)
class Extras:
    """Everything besides the walk, in the order of the day.

    Attributes:
        rows: rows of models that may not be in the walk, each once, in order; schema `LISTED`.
        seen_by: identities of the GGUF models that each route saw, by its name.
        merged: whether a row names every route that saw it, or the first one alone.
    """

    rows: pa.Table = field(default_factory=LISTED.empty_table)
    seen_by: Mapping[str, frozenset[str]] = field(default_factory=dict)
    merged: bool = True


def gather_extras(
    routes: Mapping[str, Iterable[ListedPage]],
    there: pa.Table,
    baseline_created: Callable[[], pa.Table] | None,
    *,
    merged: bool = True,
) -> Extras:
    """Bring together what the routes saw and what was found by name.

    Args:
        routes: parsed pages by route, in the order of the routes; the first row of a model counts.
        there: rows of models found by name, schema `LISTED`.
        baseline_created: gives hub_id and created_at of the baseline's models; None without a baseline.
        merged: whether a row names every route that saw it, or the first one alone.

    Returns:
        GGUF models only (rule 10).
    """
    tables: list[pa.Table] = []
    seen_by: dict[str, frozenset[str]] = {}
    for route, pages in routes.items():
        rows = [page.models.filter(says_gguf(page.models)) for page in pages]
        seen_by[route] = frozenset(hub_id for part in rows for hub_id in part["hub_id"].to_pylist())
        tables += rows
    if there.num_rows:
        seen_by[NAME_ROUTE] = frozenset(there["hub_id"].to_pylist())
        tables.append(there)
    everything = pa.concat_tables([LISTED.empty_table(), *tables]).combine_chunks()
    if baseline_created is not None and everything.num_rows:
        created, ids = baseline_created(), everything["hub_id"].combine_chunks()
        known = (
            created["created_at"]
            .combine_chunks()
            .take(pc.index_in(ids, value_set=created["hub_id"].combine_chunks()))
        )
        position = LISTED.get_field_index("created_at")
        # The baseline's time is the row's place in the order: it is immutable.
        everything = everything.set_column(
            position, LISTED.field(position), pc.coalesce(known, everything["created_at"].combine_chunks())
        )
    return Extras(in_order(first_of_each(everything).combine_chunks()), seen_by, merged)


class ExtraCursor:
    """Hands out the extras in step with the walk.

    Args:
        extras: everything besides the walk.
        left_out: identities that are in the walk after all, at another place of the order.
    """

    def __init__(self, extras: Extras, left_out: frozenset[str] = frozenset()) -> None:
        rows = extras.rows
        if left_out:
            rows = rows.filter(pc.invert(pc.is_in(rows["hub_id"], value_set=pa.array(sorted(left_out)))))
        self._seen_by = extras.seen_by
        self._named = None if extras.merged else 1
        self._rows = rows
        self._keys = -(created_keys(rows) + 1)
        self._next = 0
        self.used: set[str] = set()

    def join(self, listed: pa.Table, place: int) -> pa.Table:
        """Return a chunk of the walk with the extras that belong up to a place, in order; schema `PLACED`."""
        end = int(np.searchsorted(self._keys, -(place + 1), side="right"))
        extra = self._rows.slice(self._next, max(0, end - self._next))
        self._next = max(self._next, end)
        if extra.num_rows:
            extra = extra.filter(
                pc.invert(pc.is_in(extra["hub_id"], value_set=listed["hub_id"].combine_chunks()))
            )
        placed = self._placed(listed, "listed", [LISTING_ROUTE])
        if not extra.num_rows:
            return placed
        self.used.update(extra["hub_id"].to_pylist())
        return in_order(pa.concat_tables([placed, self._placed(extra, "put back", [])]).combine_chunks())

    def _placed(self, rows: pa.Table, presence: str, routes: list[str]) -> pa.Table:
        count = rows.num_rows
        if self._seen_by:
            lists = [
                (routes + [route for route, seen in self._seen_by.items() if hub_id in seen])[: self._named]
                for hub_id in rows["hub_id"].to_pylist()
            ]
            discovered = pa.array(lists, STRINGS)
        else:
            discovered = _repeated(routes, STRINGS, count)
        columns = {name: rows[name] for name in LISTED.names}
        columns |= {"presence": _repeated(presence, pa.string(), count), "discovered_by": discovered}
        return pa.table(columns, schema=PLACED)


def _repeated(value: object, kind: pa.DataType, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, kind), count) if count else pa.array([], kind)
