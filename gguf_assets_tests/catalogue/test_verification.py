"""Whose turn it is: everybody's once in a round, whoever comes and goes, by nothing but the identity."""

from __future__ import annotations

from datetime import date, timedelta

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from gguf_assets.catalogue.verification import (
    FILE_COLUMNS,
    files_to_look_into,
    known_models,
    models_to_look_into,
    models_to_verify,
)

DAY = date(2025, 8, 10)


def identity(number: int) -> str:
    return f"{number:024x}"


def models(numbers, *, gated: str = "no") -> pa.Table:
    """Models as `known_models` gives them."""
    rows = [
        {"hub_id": identity(n), "model_id": f"o/{n}", "sha": f"{n:040x}", "gated": gated} for n in numbers
    ]
    schema = pa.schema([(name, pa.string()) for name in ("hub_id", "model_id", "sha", "gated")])
    return pa.Table.from_pylist(rows, schema=schema)


def numbers_of(targets: pa.Table) -> list[int]:
    return [int(hub_id, 16) for hub_id in targets["hub_id"].to_pylist()]


NUMBERS = st.lists(st.integers(0, 60), unique=True, max_size=40)


@given(NUMBERS, st.none() | st.integers(0, 60), st.integers(0, 50))
def test_the_choice_is_that_of_a_sorted_ring(numbers, after, limit):
    """Independently: sort, cut after the last one, begin anew, take the first."""
    ring = sorted(numbers)
    expected = [n for n in ring if after is None or n > after]
    expected += [n for n in ring if n not in expected]
    chosen = models_to_verify(models(numbers), None if after is None else identity(after), limit)
    assert numbers_of(chosen) == expected[:limit]


@given(NUMBERS.filter(bool), st.integers(1, 7))
def test_a_round_reaches_everybody_once(numbers, limit):
    seen: list[int] = []
    after = None
    while len(seen) < len(numbers):
        chosen = numbers_of(models_to_verify(models(numbers), after, limit))
        seen += chosen
        after = identity(chosen[-1])
    assert sorted(seen[: len(numbers)]) == sorted(numbers)


@given(st.lists(NUMBERS, min_size=12, max_size=12), st.integers(5, 9))
def test_who_stays_is_reached_whoever_comes_and_goes(days, limit):
    """30 stays all the time; thirteen days of five pass over all 61 there can be."""
    after, reached = None, False
    for numbers in [*days, [30]]:
        chosen = numbers_of(models_to_verify(models({*numbers, 30}), after, limit))
        reached |= 30 in chosen
        after = identity(chosen[-1])
    assert reached


def test_known_are_those_at_the_commit_that_their_details_are_of():
    rows = [
        # number, sha, details_sha
        (1, "a", "a"),  # listed as it was
        (2, "a", "a"),  # another commit today
        (3, "a", None),  # details never known
        (4, "b", "a"),  # details of an earlier commit
        (5, "a", "a"),  # not listed
        (6, "a", "a"),  # listed without a sha
    ]
    known = pa.table(
        {
            "hub_id": [identity(n) for n, _, _ in rows],
            "model_id": [f"o/{n}" for n, _, _ in rows],
            "sha": [sha for _, sha, _ in rows],
            "details_sha": [details for _, _, details in rows],
            "gated": ["no"] * len(rows),
        }
    )
    heads = pa.table(
        {
            "hub_id": [identity(n) for n in (6, 4, 3, 2, 1)],
            "model_id": ["o/6", "o/4", "o/3", "o/2", "o/renamed"],
            "sha": [None, "b", "a", "c", "a"],
        },
        schema=pa.schema([(name, pa.string()) for name in ("hub_id", "model_id", "sha")]),
    )
    all_walked = known_models(heads, known, walked_all=True)
    assert all_walked.to_pylist() == [
        {"hub_id": identity(1), "model_id": "o/renamed", "sha": "a", "gated": "no"}
    ]
    windowed = known_models(heads, known, walked_all=False)
    assert [
        (n, name) for n, name in zip(numbers_of(windowed), windowed["model_id"].to_pylist(), strict=True)
    ] == [
        (1, "o/renamed"),
        (5, "o/5"),
    ]


def test_into_gated_models_nobody_looks():
    both = pa.concat_tables([models([1, 3]), models([2], gated="auto"), models([4], gated="manual")])
    assert numbers_of(models_to_look_into(both, None, 10)) == [1, 3]


def files(*rows) -> pa.Table:
    """Files as (number of the model, path, role, size, shard set, shard index)."""
    types = (pa.string(), pa.string(), pa.string(), pa.int64(), pa.string(), pa.int32())
    columns = [[identity(row[0]), *row[1:]] for row in rows]
    schema = pa.schema(list(zip(FILE_COLUMNS, types, strict=True)))
    return pa.Table.from_pylist([dict(zip(FILE_COLUMNS, row, strict=True)) for row in columns], schema=schema)


def test_one_file_of_each_model_that_begins_with_a_header():
    found = files(
        (1, "b.gguf", "model", 5, None, None),
        (1, "a.gguf", "model", 5, None, None),
        (1, "empty.gguf", "model", 0, None, None),
        (1, "unknown.gguf", "model", None, None, None),
        (1, "mmproj.gguf", "mmproj", 5, None, None),
        (2, "x-00002-of-00002.gguf", "model", 5, "x-of-00002.gguf", 2),
        (2, "x-00001-of-00002.gguf", "model", 5, "x-of-00002.gguf", 1),
        (3, "lora.gguf", "lora", 5, None, None),
        (4, "y.gguf", "model", 5, None, None),
    )
    turn = models_to_verify(models([1, 2, 3, 4]), identity(1), 10)
    chosen = files_to_look_into(turn, found, DAY, 10).to_pylist()
    assert [row["path"] for row in chosen[:2]] == ["x-00001-of-00002.gguf", "y.gguf"]
    assert [row["path"] for row in files_to_look_into(turn, found, DAY, 1).to_pylist()] == [
        "x-00001-of-00002.gguf"
    ]
    # Day by day it is another one of model 1.
    days = [files_to_look_into(turn, found, DAY + timedelta(days=n), 10)["path"][2].as_py() for n in range(3)]
    assert set(days) == {"a.gguf", "b.gguf"} and days[0] == days[2]
