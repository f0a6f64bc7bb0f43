"""Models that the walk lacks take their places in the day's order, and every row learns who saw it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import orjson
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from gguf_assets.catalogue.extras import ExtraCursor, Extras, gather_extras
from gguf_assets.catalogue.ordering import OrderedWalk, created_keys
from gguf_assets.catalogue.parse import LISTED, parse_listing_page
from gguf_assets_tests.catalogue.days import build, hub_id, row

START = datetime(2025, 6, 1, tzinfo=UTC)


def created(number, hour):
    return row(number, createdAt=None if hour is None else (START + timedelta(hours=hour)).isoformat())


def page(rows):
    return parse_listing_page("page", orjson.dumps(rows))


def gathered(**routes):
    there = routes.pop("there", [])
    return gather_extras({route: [page(rows)] for route, rows in routes.items()}, page(there).models, None)


def test_only_gguf_models_count_and_the_first_row_of_a_model_does():
    extras = gathered(
        search=[row(1, downloads=1), row(2, tags=["x"], siblings=[]), row(3, tags=None, siblings=[])],
        apps=[row(1, downloads=9), row(4)],
    )
    assert sorted(extras.rows["hub_id"].to_pylist()) == [hub_id(1), hub_id(4)]
    assert extras.rows.filter(pa.compute.equal(extras.rows["hub_id"], hub_id(1)))[
        "downloads"
    ].to_pylist() == [1]
    assert extras.seen_by == {"search": {hub_id(1)}, "apps": {hub_id(1), hub_id(4)}}


def test_the_baseline_knows_the_place_of_a_row_better_than_the_row_itself():
    known = pa.table(
        {"hub_id": [hub_id(1)], "created_at": pa.array([START], LISTED.field("created_at").type)}
    )
    extras = gather_extras(
        {"search": [page([created(1, 99), created(2, 5)])]}, LISTED.empty_table(), lambda: known
    )
    assert dict(zip(*(extras.rows[n].to_pylist() for n in ("hub_id", "created_at")), strict=True)) == {
        hub_id(1): START,
        hub_id(2): START + timedelta(hours=5),
    }


hours = st.none() | st.integers(0, 5)


@given(
    walked=st.dictionaries(st.integers(1, 12), hours, max_size=8),
    routes=st.lists(st.dictionaries(st.integers(1, 12), hours, max_size=6), max_size=3),
    size=st.integers(1, 4),
    merged=st.booleans(),
)
def test_walk_and_extras_together_are_every_model_once_in_the_order_of_the_day(walked, routes, size, merged):
    # Creation times are immutable: whoever sees a model sees the same one.
    known = {number: hour for day in [*reversed(routes), walked] for number, hour in day.items()}
    order = sorted(walked, key=lambda n: hub_id(n))
    order.sort(key=lambda n: -1 if known[n] is None else known[n], reverse=True)
    rows = [created(number, known[number]) for number in order]
    pages = [page(rows[i : i + size]) for i in range(0, len(rows), size)]
    extras = gather_extras(
        {f"route{i}": [page([created(n, known[n]) for n in seen])] for i, seen in enumerate(routes)},
        LISTED.empty_table(),
        None,
        merged=merged,
    )
    cursor, walk = ExtraCursor(extras), OrderedWalk(pages)
    chunks = [cursor.join(listed, place) for listed, place in walk.chunks()]
    got = pa.concat_tables(chunks)
    assert sorted(got["hub_id"].to_pylist()) == sorted(hub_id(number) for number in known)
    keys = list(zip((-(created_keys(got) + 1)).tolist(), got["hub_id"].to_pylist(), strict=True))
    assert [key for key, _ in keys] == sorted(key for key, _ in keys)
    for entry in got.select(["hub_id", "presence", "discovered_by"]).to_pylist():
        number = next(n for n in known if hub_id(n) == entry["hub_id"])
        seen = [f"route{i}" for i, day in enumerate(routes) if number in day]
        assert entry["presence"] == ("listed" if number in walked else "put back")
        everybody = (["gguf"] if number in walked else []) + seen
        assert entry["discovered_by"] == (everybody if merged else everybody[:1])
    assert cursor.used == {hub_id(number) for number in known if number not in walked}
    assert walk.seen(cursor.used) == frozenset()


def test_an_extra_that_the_walk_lists_at_another_place_is_told_and_can_be_left_out():
    extras = gathered(search=[created(1, 9)])
    walk, cursor = OrderedWalk([page([created(2, 5), created(1, 3)])]), ExtraCursor(extras)
    for listed, place in walk.chunks():
        cursor.join(listed.slice(0, 1), place)
    assert walk.seen(cursor.used) == {hub_id(1)}
    assert ExtraCursor(extras, frozenset({hub_id(1)})).join(LISTED.empty_table(), -(2**63)).num_rows == 0


def test_whether_counters_stood_still_is_said_of_listed_models_alone():
    baseline = build([row(1), row(2), row(3)])
    day = build([row(1)], baseline=baseline, extras=gathered(search=[row(2)]))
    assert {
        row["hub_id"]: (row["presence"], row["counters_stalled"]) for row in day.model_rows().values()
    } == {
        hub_id(1): ("listed", True),
        hub_id(2): ("put back", None),
        hub_id(3): ("unconfirmed", None),
    }
    assert (day.figures.counters_compared, day.figures.counters_moved) == (1, 0)


def test_without_extras_nothing_but_the_listing_has_seen_a_row():
    joined = ExtraCursor(Extras()).join(page([row(1)]).models, -(2**63))
    assert joined.select(["presence", "discovered_by"]).to_pylist() == [
        {"presence": "listed", "discovered_by": ["gguf"]}
    ]
