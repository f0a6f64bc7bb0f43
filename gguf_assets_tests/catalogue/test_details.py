"""Detail answers: facts are kept, what cannot be true becomes unknown, a broken answer is no empty one."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_assets.catalogue.details import (
    DETAIL_FILES,
    DETAIL_MODELS,
    FILE_SIZE_LIMIT,
    UNSAFE_PATH,
    Details,
    is_unsafe,
    known_at,
    read_details,
)
from gguf_assets_tests.catalogue.days import Answer, answer, build, hub_id, row, sha, sha256

DIGEST = sha256("x")
UNSAFE = ["/x.gguf", "../x.gguf", "a/../../x.gguf", "a/..", "C:/x.gguf", "c:\\x.gguf", "a\\..\\x.gguf",
          "\\x.gguf", "x\x00.gguf", ".."]  # fmt: skip
SAFE = ["x.gguf", "a/b/x.gguf", "..x.gguf", "a..b/x.gguf", "a/...gguf", "x..", "a b:c.gguf", "ab:/x.gguf"]


def sibling(path: Any = "model.Q4_K_M.gguf", size: Any = 10, digest: Any = DIGEST) -> dict[str, Any]:
    return {"rfilename": path, "size": size, "lfs": {"sha256": digest, "size": 10, "pointerSize": 1}}


def answer_with(siblings: Any, tree: tuple[bytes, ...] = (), **info: Any) -> Answer:
    body = {"_id": hub_id(1), "sha": sha(1), "siblings": siblings, **info}
    return Answer(hub_id(1), row(1)["id"], sha(1), info=orjson.dumps(body), tree=tree)


def files(details: Details) -> list[tuple[Any, ...]]:
    return [(f["path"], f["size_bytes"], f["sha256"]) for f in details.files.to_pylist()]


def test_siblings_give_the_sizes_and_hashes_of_gguf_related_files():
    siblings = [
        sibling(),
        sibling("README.md", 5),
        {"rfilename": "small.gguf", "size": 7},
        sibling("imatrix.dat", 8),
    ]
    details = read_details([answer_with(siblings)])
    assert (details.models.schema, details.files.schema) == (DETAIL_MODELS, DETAIL_FILES)
    assert files(details) == [
        ("model.Q4_K_M.gguf", 10, DIGEST), ("small.gguf", 7, None), ("imatrix.dat", 8, DIGEST)
    ]  # fmt: skip
    assert (details.findings, details.refused) == ((), 0)


def test_the_tree_counts_where_it_was_asked_for():
    pages = (
        [{"type": "directory", "oid": "x", "size": 0, "path": "a.gguf"},
         {"type": "file", "oid": "x", "size": 9, "path": "a/m.Q8_0.gguf", "lfs": {"oid": DIGEST, "size": 9}}],
        [{"type": "file", "oid": "x", "size": 3, "path": "n.gguf"}],
    )  # fmt: skip
    details = read_details([answer_with([sibling("gone.gguf")], tuple(map(orjson.dumps, pages)))])
    assert files(details) == [("a/m.Q8_0.gguf", 9, DIGEST), ("n.gguf", 3, None)]


def test_a_missing_size_is_that_of_the_lfs_pointer():
    assert files(read_details([answer_with([sibling(size=None)])])) == [("model.Q4_K_M.gguf", 10, DIGEST)]
    assert files(read_details([answer_with([{"rfilename": "m.gguf"}])])) == [("m.gguf", None, None)]


@pytest.mark.parametrize("size", [-1, 1.5, "10", True, [], FILE_SIZE_LIMIT + 1, 2**63])
def test_an_impossible_size_is_unknown(size):
    details = read_details([answer_with([sibling(size=size), sibling("b.gguf")])])
    assert files(details) == [("model.Q4_K_M.gguf", None, DIGEST), ("b.gguf", 10, DIGEST)]
    (finding,) = details.findings
    assert (finding.rule, finding.hub_id, finding.path) == ("out_of_range", hub_id(1), "model.Q4_K_M.gguf")


@pytest.mark.parametrize("digest", ["", "x" * 64, DIGEST[:-1], DIGEST.upper(), DIGEST + "\n", 5, [DIGEST]])
def test_an_impossible_hash_is_unknown(digest):
    details = read_details([answer_with([sibling(digest=digest)])])
    assert files(details) == [("model.Q4_K_M.gguf", 10, None)]
    assert [f.rule for f in details.findings] == ["malformed"]


@pytest.mark.parametrize(
    "entry", [None, 5, "a.gguf", [], {}, {"rfilename": None}, {"rfilename": ""}, {"rfilename": 5}]
)
def test_an_entry_without_a_name_is_left_out(entry):
    details = read_details([answer_with([entry, sibling()])])
    assert files(details) == [("model.Q4_K_M.gguf", 10, DIGEST)]
    assert [f.rule for f in details.findings] == ["wrong_type"]


@pytest.mark.parametrize("path", UNSAFE)
def test_a_path_that_could_leave_its_folder_is_left_out(path):
    details = read_details([answer_with([sibling(path), sibling()])])
    assert files(details) == [("model.Q4_K_M.gguf", 10, DIGEST)]
    (finding,) = details.findings
    assert (finding.rule, finding.path, finding.severity) == ("unsafe_path", path, "warning")


@pytest.mark.parametrize("path", SAFE)
def test_an_odd_but_safe_path_is_kept(path):
    assert not is_unsafe(path)


@given(st.text(alphabet="./\\\n:aC\x00", max_size=6))
@settings(max_examples=150)
def test_paths_are_judged_alike_one_by_one_and_in_columns(path):
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = path.replace("\\", "/").split("/")
    plain = ".." in parts or path[:1] in ("/", "\\") or "\x00" in path
    drive = path[:1].isalpha() and path[1:2] == ":" and path[2:3] in ("/", "\\") and path[2:3] != ""
    assert is_unsafe(path) == (plain or drive)
    assert pc.match_substring_regex(pa.array([path]), UNSAFE_PATH)[0].as_py() == is_unsafe(path)


def test_a_path_listed_twice_counts_once():
    details = read_details([answer_with([sibling(size=1), sibling(size=2)])])
    assert files(details) == [("model.Q4_K_M.gguf", 1, DIGEST)]


def test_what_the_header_says_is_taken():
    details = read_details(
        [answer_with([], gguf={"total": 8_030_000_000, "architecture": "llama", "context_length": 131072})]
    )
    assert details.models.to_pylist() == [
        {"hub_id": hub_id(1), "sha": sha(1), "architecture": "llama", "parameter_count": 8_030_000_000,
         "context_length": 131072}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("header", "rules"),
    [
        (None, []),
        ([], []),
        ({}, []),
        ({"total": -1, "context_length": 2**62}, ["out_of_range", "out_of_range"]),
        ({"total": "8B", "architecture": 5}, ["out_of_range"]),
        ({"architecture": "x" * 101}, []),
    ],
)
def test_an_impossible_header_is_unknown(header, rules):
    details = read_details([answer_with([], gguf=header)])
    (model,) = details.models.to_pylist()
    assert [model[name] for name in ("architecture", "parameter_count", "context_length")] == [None] * 3
    assert [f.rule for f in details.findings] == rules


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 451])
def test_an_error_status_is_refused_and_says_nothing(status):
    details = read_details([Answer(hub_id(1), "a/b", sha(1), status), answer(row(2), {})])
    assert (details.refused, details.models["hub_id"].to_pylist()) == (1, [hub_id(2)])


BROKEN = [
    Answer(hub_id(1), row(1)["id"], sha(1), info=b""),
    Answer(hub_id(1), row(1)["id"], sha(1), info=b"<html>"),
    Answer(hub_id(1), row(1)["id"], sha(1), info=b"[]"),
    Answer(hub_id(1), row(1)["id"], sha(1), info=b"{}"),
    answer_with(None),
    answer_with({}),
    answer_with("x"),
    answer_with([], _id=hub_id(2)),
    answer_with([], sha=sha(2)),
    answer_with([], tree=(b"[", b"[]")),
    answer_with([], tree=(b"{}",)),
    answer_with([], tree=(b"[]", b'{"error":"x"}')),
]


@pytest.mark.parametrize("broken", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_answer_leaves_the_details_unknown_and_is_no_empty_list(broken):
    details = read_details([broken])
    assert (details.models.num_rows, details.files.num_rows, details.refused) == (0, 0, 1)
    assert [(f.rule, f.hub_id) for f in details.findings] == [("details_unusable", hub_id(1))]
    got = build([row(1)], [broken])
    assert got.model_rows()[hub_id(1)]["details_sha"] is None
    assert got.files_of(hub_id(1)) == {"model-1.Q4_K_M.gguf": (None, None)}


def test_after_a_broken_answer_a_sound_one_of_the_same_repository_counts():
    details = read_details([BROKEN[1], answer_with([sibling()]), answer_with([sibling(size=99)])])
    assert files(details) == [("model.Q4_K_M.gguf", 10, DIGEST)]


def test_no_answers_give_empty_tables():
    details = read_details([])
    assert details.models.equals(DETAIL_MODELS.empty_table())
    assert details.files.equals(DETAIL_FILES.empty_table())


KEYS = ["rfilename", "size", "lfs", "sha256", "oid", "path", "type", "total", "architecture"]
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4)
    | st.sampled_from(["m.gguf", DIGEST, "file"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=8,
)


@given(st.lists(st.tuples(json_values, json_values, st.lists(json_values, max_size=2)), max_size=4))
@settings(max_examples=120, deadline=None)
def test_no_answer_breaks_the_reading(bodies):
    answers = []
    for number, (siblings, header, tree) in enumerate(bodies):
        info = orjson.dumps({"siblings": siblings, "gguf": header} if number % 2 else header)
        pages = tuple(map(orjson.dumps, tree))
        answers.append(Answer(hub_id(number), "a/b", sha(number), info=info, tree=pages))
    details = read_details(answers)
    details.models.validate(full=True)
    details.files.validate(full=True)
    assert details.models.num_rows + details.refused == len(bodies)


@given(st.permutations(range(6)), st.lists(st.integers(0, 5), max_size=6))
@settings(max_examples=30)
def test_the_files_of_each_model_are_found(order, asked):
    import numpy as np

    listed = {n: row(n) for n in range(6)}
    content = {n: {f"{n}-{i}.gguf": (i, None) for i in range(n % 4)} for n in range(6)}
    details = read_details([answer(listed[n], content[n]) for n in order])
    owners, table = details.files_of(np.array([order.index(n) for n in asked], dtype=np.int64))
    paths = table["path"].to_pylist()
    for place, number in enumerate(asked):
        assert [p for p, owner in zip(paths, owners, strict=True) if owner == place] == list(content[number])


def test_an_answer_is_known_at_its_own_commit_only():
    import pyarrow as pa

    models = read_details([answer(row(1), {}), answer(row(2), {})]).models
    ids = pa.array([hub_id(2), hub_id(1), hub_id(3), hub_id(1)])
    shas = pa.array([sha(2), sha("other"), sha(3), None])
    assert known_at(models, ids, shas).to_pylist() == [1, None, None, None]
