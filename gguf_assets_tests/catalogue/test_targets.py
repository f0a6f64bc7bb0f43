"""Whose details are asked for: each commit once, what is new before left-overs, popular before others."""

from __future__ import annotations

import orjson
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_assets.catalogue.heads import distinct_heads, parse_heads
from gguf_assets.catalogue.targets import KNOWN, TARGETS, detail_targets
from gguf_assets_tests.catalogue.days import answer, build, hub_id, row, sha

HEADS = pa.schema(
    [("hub_id", pa.string()), ("model_id", pa.string()), ("sha", pa.string()), ("downloads", pa.int64())]
)
KNOWN_SCHEMA = pa.schema([(n, pa.int64() if n == "gguf_files" else pa.string()) for n in KNOWN])


def heads_of(rows, size=1000):
    """The heads of a walk over these rows, `size` a page."""
    bodies = [orjson.dumps(rows[i : i + size]) for i in range(0, len(rows), size)]
    return distinct_heads(parse_heads("page", body) for body in bodies)


commits = st.none() | st.sampled_from(["one", "two"])
heads = st.lists(
    st.tuples(st.integers(1, 9), commits, st.none() | st.integers(0, 3)),
    unique_by=lambda head: head[0],
    max_size=6,
)
known = st.none() | st.lists(
    st.tuples(st.integers(1, 9), commits, commits, st.sampled_from([None, 0, 3])),
    unique_by=lambda k: k[0],
    max_size=6,
)


def wanted(heads: list, known: list | None) -> list[int]:
    """Say who is asked, one model after the other."""
    baseline = {number: rest for number, *rest in known or []}
    ranked = []
    for number, commit, downloads in heads:
        had, details, files = baseline.get(number, (None, None, None))
        if commit is None or had == details == commit:
            continue
        ranked.append((had == commit and files is not None, downloads is None, -(downloads or 0), number))
    return [number for *_, number in sorted(ranked)]


@given(heads, known)
@settings(max_examples=150)
def test_targets_are_those_not_known_at_their_sha_in_the_order_of_use(listed, before):
    table = pa.Table.from_pylist(
        [{"hub_id": hub_id(n), "model_id": f"a/{n}", "sha": c, "downloads": d} for n, c, d in listed], HEADS
    )
    baseline = before and pa.Table.from_pylist(
        [{"hub_id": hub_id(n), "sha": c, "details_sha": d, "gguf_files": f} for n, c, d, f in before],
        KNOWN_SCHEMA,
    )
    targets = detail_targets(table, baseline or (None if before is None else KNOWN_SCHEMA.empty_table()))
    assert targets.schema == TARGETS
    assert [int(text, 16) for text in targets["hub_id"].to_pylist()] == wanted(listed, before)


def test_the_heads_of_a_walk_are_its_models_each_once():
    rows = [
        row(1, downloads=3),
        row(2),
        row(1, downloads=9),
        row(3, tags=["other"], siblings=[]),
        {"id": "a/b"},
    ]
    got = heads_of(rows, 2)
    assert got.select(["hub_id", "model_id", "sha", "downloads"]).to_pylist() == [
        {"hub_id": hub_id(1), "model_id": row(1)["id"], "sha": sha(1), "downloads": 3},
        {"hub_id": hub_id(2), "model_id": row(2)["id"], "sha": sha(2), "downloads": 10},
    ]
    assert distinct_heads([]).num_rows == 0


def test_what_was_answered_is_not_asked_again_and_a_commit_that_came_back_is():
    files = {"model-1.Q4_K_M.gguf": (5, None)}

    def asked(listing, baseline):
        targets = detail_targets(heads_of(listing), baseline.models_table.select(list(KNOWN)))
        return targets["hub_id"].to_pylist()

    first = build([row(1), row(2)], [answer(row(1), files)])
    assert asked([row(1), row(2)], first) == [hub_id(2)]
    second = build([row(1, sha=sha("new"))], baseline=first)
    assert asked([row(1)], second) == [hub_id(1)]
    assert build([row(1)], [answer(row(1), files)], second).files_of(hub_id(1)) == files
