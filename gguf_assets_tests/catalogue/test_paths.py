from __future__ import annotations

import gzip
import json
import time
from dataclasses import fields
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gguf_assets.catalogue import paths_table, schema
from gguf_assets.catalogue.paths import PathFacts, describe
from gguf_assets.catalogue.paths_table import PATH_COLUMNS, describe_paths


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("Model-8B.Q4_K_M.gguf", "model"),
        ("gguf/sub/Model.GGUF", "model"),
        ("mmproj-model-f16.gguf", "mmproj"),
        ("Model-VL-7B.mmproj-Q8_0.gguf", "mmproj"),
        ("OmniAudio-2.6B-mmprojector-fp16.gguf", "mmproj"),
        ("qwen2-audio-projector.gguf", "mmproj"),
        ("qwen2vl-vision.gguf", "mmproj"),
        ("mmproj/model-f16.gguf", "mmproj"),
        ("GemmaECG-Vision-F16.gguf", "model"),
        ("Llama-3.2-11B-Vision-Instruct.Q4_K_M.gguf", "model"),
        ("imatrix.dat", "imatrix"),
        ("sub/Model.imatrix", "imatrix"),
        ("imatrix_unsloth.gguf_file", "imatrix"),
        ("Q3-Nilcall-32B-v0.1.imatrix.gguf", "imatrix"),
        ("GLM-4.5-DRAFT-0.6B.imatrix.gguf", "imatrix"),
        ("Qwen3-30B-A3B-Q8_0-imatrix.gguf", "imatrix"),
        ("gpt-oss-uncensored-bf16-imatrix.gguf", "imatrix"),
        ("Model-Q4_K_M-imatrix.gguf", "model"),
        ("Model-imatrix-Q4_K_M.gguf", "model"),
        ("phi-3-mini-LoRA-f16.gguf", "lora"),
        ("diet-adapter.f16.gguf", "lora"),
        ("oss20blora.gguf", "lora"),
        ("llama-adapter-q8_0.gguf", "lora"),
        ("R3-Qwen2.5-7B-LoRA-14k.Q4_K_M.gguf", "model"),
        ("R3-Qwen2.5-7B-LoRA-14k.f16.gguf", "model"),
        ("gemma-3n-E2B-lora-8-v1-merged-f16.gguf", "model"),
        ("explorative-f16.gguf", "model"),
        ("DeepSeek-R1-DRAFT-0.6B-128k-Q4_0.gguf", "draft"),
        ("mtp-gemma-4-31B-it.gguf", "draft"),
        ("dflash-Qwen3-8B.gguf", "draft"),
        ("Qwen3-8B-EAGLE3-f16.gguf", "draft"),
        ("Qwen3.6-27B-MTP-Q4_K_M.gguf", "model"),
        ("Eagle2-9B-Q4_K_M.gguf", "model"),
        ("35b-beta-long/beta-long:35b-character_focus__debias.gguf", "control_vector"),
        ("mistral-large:123b-language__ornate.gguf", "control_vector"),
        ("models/ggml-vocab-llama-bpe.gguf", "vocab"),
        ("models/ggml-vocab-llama-bpe.gguf.inp", "other"),
        ("Model-Q8_0-00001-of-00003.gguf.sig", "other"),
    ],
)
def test_the_role_is_read_from_the_name(path: str, role: str) -> None:
    facts = describe(path)
    assert facts.related
    assert facts.role == role
    assert role in schema.ROLES


@pytest.mark.parametrize(
    "path",
    [
        "README.md",
        "gguf/README.md",
        "convert_hf_to_gguf.py",
        "ggml-model-q4_0.bin",
        "animation.dat",
        "imatrix-with-rp-ex.txt",
        "Model-GGUF.Q4_K_M.safetensors",
        "example_gguf.png",
        "gguf_debug",
        "Q8_0-GGUF.md",
        "Q4_K_M_gguf_notes.txt",
        "model-gguf_q4_0.log",
        "",
        "a/b/",
    ],
)
def test_other_files_are_not_gguf_related(path: str) -> None:
    assert describe(path) == PathFacts()


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("Mistral-7B-GGUF_F16", "F16"),
        ("Model.q4_k_m.gguf.tmp", "Q4_K_M"),
        ("Model-Q4_K_M.gguf?download=true", "Q4_K_M"),
        ("Model.Q8_0.gguf_file", "Q8_0"),
    ],
)
def test_unusual_extensions_are_still_gguf(path: str, label: str) -> None:
    facts = describe(path)
    assert (facts.related, facts.role, facts.quantization) == (True, "model", label)


@pytest.mark.parametrize(
    ("path", "shard_set", "index", "count", "flags"),
    [
        ("a/b-00002-of-00005.gguf", "a/b-of-00005.gguf", 2, 5, ()),
        (
            "M-IQ1_M_R4-SPECIAL_TENSOR-00001-of-01087.gguf",
            "M-IQ1_M_R4-SPECIAL_TENSOR-of-01087.gguf",
            1,
            1087,
            (),
        ),
        ("M-Q6_K.gguf-00001-of-00002.gguf", "M-Q6_K.gguf-of-00002.gguf", 1, 2, ()),
        ("M.i1-IQ2_XXS.gguf.part1of2", "M.i1-IQ2_XXS.gguf.partof2", 1, 2, ("part",)),
        ("M.Q6_K.gguf.part?of3", "M.Q6_K.gguf.partof3", None, 3, ("part",)),
        ("M.Q6_K.gguf-split-b", "M.Q6_K.gguf-split-", 2, None, ("part",)),
        ("M.Q6_K.gguf.part-ab", "M.Q6_K.gguf.part-", 2, None, ("part",)),
        ("M.Q8_02.gguf", "M.Q8_0.gguf", 2, None, ("part",)),
        ("F32/M-14B-F32-00003.gguf", "F32/M-14B-F32.gguf", 3, None, ("part",)),
        ("M.Q4_K_M.part1of2.gguf", "M.Q4_K_M.partof2.gguf", 1, 2, ("part",)),
        ("M-Q4_K_M.gguf", None, None, None, ()),
        ("checkpoint-00500.gguf", None, None, None, ()),
        ("run_3-00500.gguf", None, None, None, ()),
        ("Gemma-3-1B-Q8_0-001.gguf", None, None, None, ()),
        ("M-00001-of-00000.gguf", None, None, None, ()),
    ],
)
def test_shards_and_pieces_name_their_set(
    path: str, shard_set: str | None, index: int | None, count: int | None, flags: tuple[str, ...]
) -> None:
    facts = describe(path)
    assert (facts.shard_set, facts.shard_index, facts.shard_count) == (shard_set, index, count)
    assert facts.flags == flags
    assert facts.role == "model"


def test_a_shard_has_the_label_of_its_set() -> None:
    for path in (
        "M-Q6_K.gguf-00001-of-00002.gguf",
        "M.Q6_K.gguf.part1of2",
        "M.Q6_K.gguf-split-a",
        "M-Q6_K-00001.gguf",
        "Q6_K/M-00001-of-00002.gguf",
        "Q6_K-GGUF/Q6_K-GGUF-00001-of-00024.gguf",
        "M-Q6_K-split.gguf-00001-of-00008.gguf",
    ):
        assert describe(path).quantization == "Q6_K", path
    assert describe("M.Q8_01.gguf").quantization == "Q8_0"


@given(
    st.text(alphabet="abQ_4.-/", max_size=12),
    st.text(alphabet="abQ_4.-/", max_size=12),
    st.integers(1, 99_999),
    st.integers(1, 99_999),
    st.integers(1, 99_999),
)
def test_equal_sets_have_equal_text_and_distinct_sets_distinct_text(
    first: str, second: str, count: int, index: int, other: int
) -> None:
    def shard(stem: str, number: int, of: int) -> str | None:
        return describe(f"{stem}-{number:05}-of-{of:05}.gguf").shard_set

    assert shard(first, index, count) == shard(first, other, count) is not None
    assert (shard(first, index, count) == shard(second, index, count)) == (first == second)
    assert (shard(first, index, count) == shard(first, index, other)) == (count == other)


def test_a_folder_tells_the_label_when_the_file_does_not() -> None:
    facts = describe("Q4_K_M/model-00001-of-00003.gguf")
    assert (facts.quantization, facts.quantization_source) == ("Q4_K_M", "folder")
    facts = describe("BF16/model-Q4_K_M.gguf")
    assert (facts.quantization, facts.quantization_source) == ("Q4_K_M", "file name")
    assert describe("F16/Q8_0/model.gguf").quantization == "Q8_0"
    assert describe("Huihui-BF16-abliterated/model.gguf").quantization is None
    assert describe("Q3-Nilcall-32B/model.gguf").quantization is None


def test_roles_that_have_no_quantization_get_none() -> None:
    assert describe("Q8_0/imatrix.gguf").quantization is None
    assert describe("Q8_0/ggml-vocab-mpt.gguf").quantization is None
    assert describe("Model-Q8_0.gguf.sha256").quantization is None


@pytest.mark.parametrize(
    ("path", "imatrix"),
    [
        ("Model.i1-Q4_K_M.gguf", True),
        ("Model-Q4_K_M-imat.gguf", True),
        ("i1/Model.Q4_K_M.gguf", True),
        ("imatrix/Model.Q4_K_M.gguf", True),
        ("Model.Q4_K_M.gguf", None),
        ("Gemini1.Q4_K_M.gguf", None),
        ("animate.Q4_K_M.gguf", None),
        ("Model.imatrix.gguf", None),
    ],
)
def test_names_and_folders_tell_that_an_importance_matrix_was_used(path: str, imatrix: bool | None) -> None:
    assert describe(path).imatrix is imatrix


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=200))
@example("\ud800.gguf")
@example("Q4_K_M\n.gguf")
def test_any_text_can_be_described(path: str) -> None:
    facts = describe(path)
    assert facts.role in schema.ROLES
    assert facts.related or facts == PathFacts()


@pytest.mark.parametrize(
    "path",
    [
        "q4-" * 3_500 + ".gguf",
        "Q4_K_M-" * 1_500 + ".gguf",
        "q4" + "-1" * 5_000 + "x.gguf",
        "q4" + "-" * 10_000 + "x.gguf",
        ".gguf" * 2_000,
        ".ggufx" * 2_000,
        "vl-" * 3_300 + "vision.gguf",
        "a_" * 5_000 + "__debias.gguf",
        "bf16_" * 2_000 + "q8_0.gguf",
        "embd-q4_0-" * 1_000 + ".gguf",
        "q8_0/" * 2_000 + "x.gguf",
        "1" * 10_000 + "-of-" + "1" * 10_000 + ".gguf",
        "imat" * 2_500 + ".dat",
        "lora-" * 2_000 + "f16.gguf",
    ],
    ids=lambda path: path[:12],
)
def test_hostile_names_cost_no_more_than_their_length(path: str) -> None:
    start = time.process_time()
    describe(path)
    assert time.process_time() - start < 0.1


def rows(paths: list[str | None]) -> list[PathFacts]:
    table = describe_paths(pa.array(paths, pa.string()))
    assert table.schema == PATH_COLUMNS
    return [PathFacts(**{**row, "flags": tuple(row["flags"])}) for row in table.to_pylist()]


WORDS = st.sampled_from(
    """
    Q4_K_M q4_k_m IQ4_XS Q8_0 Q8 q4km UD-Q4_K_XL UD_IQ2_M F16 fp16 bf16 BF16 f32 MXFP4_MOE mxfp4 MXFP4_MOE2
    Q4_0_4_4 IQ1_M_R4 Q4_HA HQ4_K TQ1_0 I2_S INT4 FP8 Q5_1 Q8q4 i1 imat imatrix no-i1 mmproj LoRA adapter
    draft embd MTP mtp eagle3 vocab control-vector output encoder vision merged SPECIAL_TENSOR Model 8B v2
    2507 abliterated GGUF gguf _for_pr 00001-of-00002 00001-of-00000 00003 7 part1of2
    __debias language 01 ü K
    """.split()
)
SEPARATORS = st.sampled_from(["-", "-", ".", "_", "/", "", " "])
ENDINGS = st.sampled_from(
    [".gguf"] * 9
    + "-00001-of-00002.gguf -SPECIAL_TENSOR-00001-of-01762.gguf .GGUF .gguf.part1of2 .gguf_file".split()
    + [".imatrix", ".dat", ".md", ".gguf.sig", "", "\n.gguf", ".gguf\n"]
)
NAMES = st.builds(
    lambda parts, end: "".join(text for pair in parts for text in pair) + end,
    st.lists(st.tuples(SEPARATORS, WORDS), max_size=7),
    ENDINGS,
)


@given(st.lists(NAMES | st.text(max_size=30), min_size=1, max_size=40))
def test_a_column_is_described_row_for_row_like_single_paths(paths: list[str]) -> None:
    assert rows(list(paths)) == [describe(path) for path in paths]


def test_empty_chunked_and_null_columns_are_described() -> None:
    assert rows([]) == []
    assert rows([None, "a-Q4_K_M.gguf"]) == [PathFacts(), describe("a-Q4_K_M.gguf")]
    chunked = pa.chunked_array([["a-Q4_K_M.gguf"], [], ["imatrix.dat", "x"]], pa.large_string())
    assert describe_paths(chunked)["role"].to_pylist() == ["model", "imatrix", "other"]


def test_the_columns_fit_the_files_dataset() -> None:
    assert PATH_COLUMNS.names == [field.name for field in fields(PathFacts)]
    for name in PATH_COLUMNS.names[1:]:
        assert PATH_COLUMNS.field(name).type == schema.FILES.column(name).type


def test_regular_names_do_not_take_the_slow_path(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> PathFacts:
        raise AssertionError(path)

    monkeypatch.setattr(paths_table, "describe", refuse)
    regular = [
        "Model-7B.Q4_K_M.gguf",
        "Model-7B.i1-IQ2_XXS.gguf",
        "Q8_0/Model-7B-Q8_0-00001-of-00003.gguf",
        "Model-7B-UD-Q4_K_XL.gguf",
        "model-7b-q4_0.gguf",
        "bf16-tuned.Q6_K.gguf",
        "UD-IQ2_M.gguf",
        "README.md",
        "config.json",
    ]
    table = describe_paths(pa.array(regular))
    assert table["quantization"].to_pylist() == [
        "Q4_K_M", "IQ2_XXS", "Q8_0", "UD-Q4_K_XL", "Q4_0", "Q6_K", "UD-IQ2_M", None, None
    ]  # fmt: skip


@pytest.mark.recording
def test_recorded_paths_are_described_alike_one_by_one_and_as_a_column(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gzip.open(max(recording.glob("*.jsonl.gz")), "rt") as lines:
        paths = [file["path"] for line in lines for file in json.loads(line)["files"]]
    slow: list[str] = []
    monkeypatch.setattr(paths_table, "describe", lambda path: (slow.append(path), describe(path))[1])
    facts = [describe(path) for path in paths]
    assert rows(paths) == facts
    assert len(slow) < 0.1 * sum(fact.related for fact in facts)
    labelled = sum(fact.quantization is not None for fact in facts if fact.role == "model")
    assert labelled > 0.99 * sum(fact.role == "model" for fact in facts)
