"""The rows of `files` of some models: shard sets, sums, labels, order, and paths that are left out."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_assets.catalogue.file_rows import RAW, FileRows, assemble
from gguf_assets.catalogue.paths import describe
from gguf_assets_tests.catalogue.days import answer, build, hub_id, row

Entry = tuple[int, str, int | None]
GIGA = 10**9


def put_together(
    entries: list[Entry],
    models: int = 3,
    parameters: dict[int, int] | None = None,
    architecture: str | None = None,
    base: str = "base/model",
) -> FileRows:
    raw = pa.table([*zip(*entries, strict=True)] or [[], [], []], names=["row", "path", "size_bytes"])
    raw = raw.append_column("sha256", pa.nulls(len(entries), pa.string())).cast(RAW)
    table = pa.table(
        {
            "hub_id": [hub_id(n) for n in range(models)],
            "model_id": [f"owner/model-{n}" for n in range(models)],
            "base_models": pa.array([[base]] * models, pa.list_(pa.string())),
            "architecture": pa.array([architecture] * models, pa.string()),
            "parameter_count": pa.array([(parameters or {}).get(n) for n in range(models)], pa.int64()),
        }
    )
    return assemble(raw, table)


def as_rows(files: FileRows) -> list[dict[str, Any]]:
    rows = pa.table(files.columns).to_pylist()
    return [{"row": owner, **values} for owner, values in zip(files.rows.tolist(), rows, strict=True)]


def shard(name: str, index: int, count: int, size: int | None = 10, owner: int = 0) -> Entry:
    return owner, f"{name}-{index:05}-of-{count:05}.gguf", size


def sets(entries: list[Entry]) -> list[tuple[bool | None, int | None]]:
    return [(r["shard_set_complete"], r["shard_set_bytes"]) for r in as_rows(put_together(entries))]


def test_a_complete_set_has_the_bytes_of_all_its_shards():
    assert sets([shard("m.Q8_0", n, 3, 10 * n) for n in (1, 2, 3)]) == [(True, 60)] * 3


def test_a_set_that_misses_a_shard_is_incomplete_and_has_no_bytes():
    assert sets([shard("m.Q8_0", n, 3) for n in (1, 3)]) == [(False, None)] * 2


def test_a_complete_set_with_an_unknown_size_has_no_bytes():
    assert sets([shard("m.Q8_0", 1, 2), shard("m.Q8_0", 2, 2, None)]) == [(True, None)] * 2


def test_a_number_that_is_there_twice_does_not_stand_for_a_missing_one():
    twice = [(0, "m-0001-of-00003.gguf", 10), (0, "m-00001-of-00003.gguf", 10), shard("m", 2, 3)]
    assert sets(twice) == [(False, None)] * 3


def test_a_set_with_a_number_twice_is_complete_but_has_no_one_size():
    twice = [(0, "m-0001-of-00002.gguf", 10), (0, "m-00001-of-00002.gguf", 10), shard("m", 2, 2)]
    assert sets(twice) == [(True, None)] * 3


def test_numbers_beyond_the_announced_ones_do_not_complete_a_set():
    assert sets([shard("m", n, 2) for n in (1, 3)]) == [(False, None)] * 2
    assert sets([shard("m", n, 2) for n in (0, 1)]) == [(False, None)] * 2
    assert sets([shard("m", n, 2) for n in (1, 2, 3)]) == [(True, None)] * 3


def test_equal_names_in_other_folders_models_or_counts_are_other_sets():
    entries = [shard("a/m", 1, 2), shard("b/m", 2, 2), shard("m", 1, 2, owner=1), shard("m", 2, 3, owner=1)]
    assert sets(entries) == [(False, None)] * 4
    both = [shard("m", n, 2, size, owner) for owner, size in ((0, 1), (1, 5)) for n in (1, 2)]
    assert sets(both) == [(True, 2)] * 2 + [(True, 10)] * 2
    halves = [shard("x", 1, 2), shard("x", 2, 2), shard("y", 1, 2), shard("x", 2, 2, owner=1)]
    assert sets(halves) == [(True, 20)] * 2 + [(False, None)] * 2


def test_a_set_that_announces_no_number_has_no_verdict():
    got = as_rows(put_together([(0, "model.gguf-split-a", 5), (0, "model.gguf-split-b", 5)]))
    assert [(r["shard_index"], r["shard_set_complete"], r["shard_set_bytes"]) for r in got] == [
        (1, None, None), (2, None, None)
    ]  # fmt: skip


def test_a_whole_file_belongs_to_no_set():
    (got,) = as_rows(put_together([(0, "m.Q4_0.gguf", 5)]))
    assert [got[name] for name in ("shard_set", "shard_set_complete", "shard_set_bytes")] == [None] * 3


def test_counts_and_bytes_are_those_of_gguf_files_and_unknown_where_a_size_is():
    entries = [
        (0, "a.GGUF", 1),
        (0, "imatrix.dat", 50),
        (0, "mmproj-f16.gguf", 2),
        (1, "b.gguf", 4),
        (1, "c.gguf", None),
    ]
    files = put_together(entries)
    assert files.gguf_files.to_pylist() == [2, 2, 0]
    assert files.gguf_bytes.to_pylist() == [3, None, 0]


def test_labels_are_those_of_model_files_sorted_and_once():
    names = [
        "m.Q8_0.gguf",
        "m.Q4_K_M.gguf",
        "n.q8_0.gguf",
        "mmproj-f16.gguf",
        "x.gguf",
        "Q2_K/y-00001-of-00001.gguf",
    ]
    files = put_together([(1, name, None) for name in names])
    assert files.quantizations.to_pylist() == [[], ["Q2_K", "Q4_K_M", "Q8_0"], []]


def test_paths_are_in_order_of_their_bytes_and_come_once():
    names = [
        "é.gguf",
        "z.gguf",
        "Z.gguf",
        "a/b.gguf",
        "a.gguf",
        "a-b.gguf",
        "z.gguf",
        "𝒂.gguf",
        "\uffee.gguf",
    ]
    files = put_together([(2, name, 1) for name in names] + [(0, "z.gguf", 1)])
    wanted = sorted(set(names), key=str.encode)
    assert files.columns["path"].to_pylist() == ["z.gguf", *wanted]
    assert files.rows.tolist() == [0, *[2] * len(wanted)]
    assert files.gguf_files.to_pylist() == [1, 0, len(wanted)]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["a", "b", "c/d", "ä", "B"])), max_size=20),
    st.booleans(),
)
@settings(max_examples=80)
def test_any_order_of_entries_gives_the_same_rows(keys, ordered):
    entries = [(owner, f"{name}.Q4_0.gguf", 7) for owner, name in keys]
    if ordered:
        entries.sort()
    got = put_together(entries, models=4)
    wanted = sorted(set(entries), key=lambda entry: (entry[0], entry[1].encode()))
    assert [(r["row"], r["path"], r["size_bytes"]) for r in as_rows(got)] == wanted
    random.Random(len(keys)).shuffle(entries)
    assert as_rows(put_together(entries, models=4)) == as_rows(got)


@pytest.mark.parametrize(
    "path", ["../x.gguf", "/etc/x.gguf", "a/../../x.gguf", "C:\\x.gguf", "a\\..\\b.gguf"]
)
def test_an_unsafe_path_is_left_out_with_a_finding(path):
    files = put_together([(1, path, 5), (1, "sound.gguf", 5), (1, "../not-related.txt", 5)])
    assert files.columns["path"].to_pylist() == ["sound.gguf"]
    (finding,) = files.findings
    assert (finding.rule, finding.hub_id, finding.model_id) == ("unsafe_path", hub_id(1), "owner/model-1")
    listed = build([row(1, siblings=[{"rfilename": path}, {"rfilename": "sound.gguf"}])])
    assert [f.rule for f in listed.figures.findings] == ["unsafe_path"]
    assert list(listed.files_of(hub_id(1))) == ["sound.gguf"]


def test_bits_per_weight_are_those_of_file_or_complete_set():
    entries = [
        (0, "m-7B.Q4_0.gguf", 4 * GIGA),
        shard("big.Q8_0", 1, 2, 4 * GIGA),
        shard("big.Q8_0", 2, 2, 3 * GIGA),
        shard("cut.Q8_0", 1, 2, 3 * GIGA),
        (0, "mmproj-f16.gguf", GIGA),
        (1, "m.Q4_0.gguf", 4 * GIGA),
    ]
    rows = as_rows(put_together(entries, parameters={0: 7 * GIGA, 1: 0}))
    got = {(r["row"], r["path"]): r["bits_per_weight"] for r in rows}
    assert got == {
        (0, "m-7B.Q4_0.gguf"): 4.571,
        (0, "big.Q8_0-00001-of-00002.gguf"): 8.0,
        (0, "big.Q8_0-00002-of-00002.gguf"): 8.0,
        (0, "cut.Q8_0-00001-of-00002.gguf"): None,
        (0, "mmproj-f16.gguf"): None,
        (1, "m.Q4_0.gguf"): None,
    }


def test_memory_is_estimated_for_models_as_the_weights_and_a_fifth_rounded_up():
    entries = [
        (0, "m.Q4_0.gguf", 4 * GIGA),
        (0, "odd.Q4_0.gguf", 1),
        (0, "none.Q4_0.gguf", 0),
        (0, "unknown.Q4_0.gguf", None),
        (0, "huge.Q4_0.gguf", 10**15 + 3),
        shard("big.Q8_0", 1, 2, 4 * GIGA),
        shard("big.Q8_0", 2, 2, 3 * GIGA),
        shard("cut.Q8_0", 1, 2, 3 * GIGA),
        (0, "mmproj-f16.gguf", GIGA),
        (0, "imatrix.dat", GIGA),
    ]
    got = {r["path"]: r["memory_bytes_estimate"] for r in as_rows(put_together(entries))}
    assert got == {
        "m.Q4_0.gguf": 4_800_000_000,
        "odd.Q4_0.gguf": 2,
        "none.Q4_0.gguf": 0,
        "unknown.Q4_0.gguf": None,
        "huge.Q4_0.gguf": 1_200_000_000_000_004,
        "big.Q8_0-00001-of-00002.gguf": 8_400_000_000,
        "big.Q8_0-00002-of-00002.gguf": 8_400_000_000,
        "cut.Q8_0-00001-of-00002.gguf": None,
        "mmproj-f16.gguf": None,
        "imatrix.dat": None,
    }


def test_flags_say_what_only_the_size_shows():
    entries = [
        (0, "a.Q4_K_M.gguf", 0),
        (0, "b.Q4_K_M.gguf", 30 * GIGA),
        (0, "c.Q4_K_M.gguf", 4 * GIGA),
        (1, "d.gguf", 0),
    ]
    rows = as_rows(put_together(entries, parameters={0: 7 * GIGA}))
    assert [r["flags"] for r in rows] == [
        ["empty", "label_size_mismatch"],
        ["label_size_mismatch"],
        [],
        ["empty"],
    ]


@pytest.mark.parametrize(
    ("architecture", "base", "judged"),
    [
        (None, "base/model", True),
        (None, "openai/GPT-OSS-20b", False),
        ("gpt-oss", "base/model", False),
        ("llama", "openai/gpt-oss-20b", True),
    ],
)
def test_where_the_weights_keep_their_own_bits_the_size_contradicts_no_label(architecture, base, judged):
    files = put_together(
        [(0, "b.Q2_K.gguf", 30 * GIGA)], 1, {0: 7 * GIGA}, architecture=architecture, base=base
    )
    assert as_rows(files)[0]["flags"] == (["label_size_mismatch"] if judged else [])


def test_the_facts_of_a_path_are_those_of_its_description():
    names = [
        "x/m.i1-Q4_K_M.gguf",
        "imatrix.dat",
        "lora-adapter.gguf",
        "m.gguf.part1of2",
        "BF16/m-00001-of-00002.gguf",
    ]
    for got in as_rows(put_together([(0, name, None) for name in names])):
        facts = describe(got["path"])
        for name in ("role", "quantization", "quantization_source", "imatrix", "shard_set", "shard_index"):
            assert got[name] == getattr(facts, name)


def test_no_entries_give_no_rows_and_sums_of_nothing():
    files = put_together([])
    assert len(files.rows) == 0
    assert (files.gguf_files.to_pylist(), files.gguf_bytes.to_pylist()) == ([0] * 3, [0] * 3)
    assert files.quantizations.to_pylist() == [[]] * 3


def test_duplicate_names_in_a_listing_count_once():
    listed = row(
        1, siblings=[{"rfilename": "m.Q4_0.gguf"}, {"rfilename": "a.gguf"}, {"rfilename": "m.Q4_0.gguf"}]
    )
    day = build([listed])
    assert list(day.files_of(hub_id(1))) == ["a.gguf", "m.Q4_0.gguf"]
    details = build([listed], [answer(listed, {"m.Q4_0.gguf": (3, None)})])
    assert details.files_of(hub_id(1)) == {"m.Q4_0.gguf": (3, None)}
