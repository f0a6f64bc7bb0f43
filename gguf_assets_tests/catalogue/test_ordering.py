"""Walk and baseline come in one order, in chunks that depend on nothing but where they are cut."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_assets.catalogue import ordering
from gguf_assets.catalogue.ordering import (
    END,
    BaselineCursor,
    OrderedWalk,
    OutOfOrder,
    created_keys,
    in_order,
)
from gguf_assets.catalogue.schema import TIMESTAMP
from gguf_assets_tests.catalogue.days import hub_id, pages, row

MODEL_FIELDS = {"hub_id": pa.string(), "created_at": TIMESTAMP}
START = datetime(2025, 8, 1, tzinfo=UTC)
Key = tuple[int | None, int]

keys = st.tuples(st.none() | st.integers(0, 3), st.integers(0, 30))
key_lists = st.lists(keys, unique_by=lambda key: key[1], max_size=12)


def sorted_keys(unsorted: list[Key]) -> list[Key]:
    """Newest first, unknown last, then by identity."""
    return sorted(unsorted, key=lambda key: (key[0] is None, -(key[0] or 0), key[1]))


def table(of: list[Key]) -> pa.Table:
    columns = {
        "hub_id": [hub_id(number) for _, number in of],
        "created_at": [None if hour is None else START + timedelta(hours=hour) for hour, _ in of],
    }
    return pa.table({name: pa.array(columns[name], kind) for name, kind in MODEL_FIELDS.items()})


def listed(of: list[Key]) -> list[dict[str, Any]]:
    return [
        row(number, createdAt=None if hour is None else (START + timedelta(hours=hour)).isoformat())
        for hour, number in of
    ]


def numbers(of: pa.Table) -> list[int]:
    return [int(text, 16) for text in of["hub_id"].to_pylist()]


@given(key_lists)
@settings(max_examples=60)
def test_a_table_is_sorted_newest_first_unknown_last_then_by_identity(unsorted):
    wanted = [number for _, number in sorted_keys(unsorted)]
    assert numbers(in_order(table(unsorted))) == wanted
    chunked = pa.concat_tables([table(unsorted[:2]), table(unsorted[2:])])
    assert numbers(in_order(chunked)) == wanted


def test_a_sorted_table_is_handed_back_as_it_is():
    ordered = table([(2, 1), (2, 5), (1, 0), (None, 3)])
    assert in_order(ordered) is ordered


def test_an_unknown_time_before_a_known_one_is_out_of_order():
    assert numbers(in_order(table([(None, 1), (3, 2)]))) == [2, 1]


@given(key_lists, st.integers(1, 13), st.integers(1, 13), st.lists(st.integers(0, 11), max_size=3))
@settings(max_examples=80, deadline=None)
def test_chunks_are_the_whole_walk_in_order_and_split_no_time(walk, chunk, size, doubles):
    walk = sorted_keys(walk)
    again = [walk[place] for place in doubles if place < len(walk)]
    rows = listed(sorted(walk + again, key=lambda key: walk.index(key)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordering, "CHUNK_MODELS", chunk)
        walked = OrderedWalk(pages(rows, size)())
        chunks = list(walked.chunks())
    tables = [part for part, _ in chunks]
    assert numbers(pa.concat_tables(tables)) == [number for _, number in walk]
    assert [place for _, place in chunks][-1] == END
    for (part, place), (following, _) in pairwise(chunks):
        assert (created_keys(part) >= place).all() and (created_keys(following) < place).all()
    assert walked.duplicates == len(again)
    assert [f.rule for f in walked.findings] == ["listed_twice"] * len(again)


def test_a_walk_out_of_order_is_refused_unless_taken_as_a_whole(monkeypatch):
    for chunk in (1, 2, 100):
        monkeypatch.setattr(ordering, "CHUNK_MODELS", chunk)
        rows = listed([(3, 1), (1, 2), (2, 3)])
        with pytest.raises(OutOfOrder):
            list(OrderedWalk(pages(rows, 1)()).chunks())
        whole = [part for part, _ in OrderedWalk(pages(rows, 1)(), whole=True).chunks()]
        assert numbers(pa.concat_tables(whole)) == [1, 3, 2]


def test_chunks_are_bounded_even_for_a_walk_taken_as_a_whole(monkeypatch):
    monkeypatch.setattr(ordering, "CHUNK_MODELS", 4)
    rows = listed([(hour, hour) for hour in range(30)])
    parts = [part.num_rows for part, _ in OrderedWalk(pages(rows, 7)(), whole=True).chunks()]
    assert sum(parts) == 30 and max(parts) < 2 * 4


@given(key_lists, st.lists(st.none() | st.integers(-1, 4), max_size=4), st.integers(1, 4), st.integers(1, 5))
@settings(max_examples=80)
def test_the_baseline_is_read_up_to_each_place_with_the_files_of_its_models(keys, hours, batch, file_batch):
    keys = sorted_keys(keys)
    models = table(keys)
    owners = [number for _, number in keys for _ in range(number % 3)]
    files = pa.table(
        {"hub_id": pa.array([hub_id(n) for n in owners], pa.string()), "path": [f"{n}" for n in owners]}
    )
    cursor = BaselineCursor(
        models.to_batches(max_chunksize=batch), files.to_batches(max_chunksize=file_batch)
    )
    stops = sorted({-2 if hour is None else hour for hour in hours}, reverse=True)
    seen: list[int] = []
    places = [(stop, int((START + timedelta(hours=stop)).timestamp() * 1e6)) for stop in stops]
    for stop, place in [*places, (None, END)]:
        part, of_part = cursor.take_through(place)
        got = [] if part is None else numbers(part)
        wanted = [
            n for hour, n in keys if (stop is None or (hour is not None and hour >= stop)) and n not in seen
        ]
        assert got == wanted
        assert ([] if of_part is None else numbers(of_part)) == [n for n in got for _ in range(n % 3)]
        seen += got
    assert seen == [number for _, number in keys]
    assert cursor.take_through(END) == (None, None)


def test_displaced_models_and_their_files_are_left_out():
    models = table([(3, 1), (2, 2), (1, 3)])
    files = pa.table({"hub_id": [hub_id(n) for n in (1, 2, 2, 3)]})
    displaced = pa.array([hub_id(1), hub_id(2)])
    cursor = BaselineCursor(models.to_batches(), files.to_batches(), displaced)
    part, of_part = cursor.take_through(END)
    assert numbers(part) == numbers(of_part) == [3]
