"""Evidence against the rows of a day: disagreement is found, and what is not known is none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from gguf_assets.quality.findings import Findings
from gguf_assets.quality.verification_rules import (
    FACTS,
    FILE_FACTS_CONFIRMED,
    HEADER_ARCHITECTURE_MISMATCH,
    HEADER_LABEL_MISMATCH,
    HEADER_UNREADABLE,
    Evidence,
    HeaderSaid,
    VerificationRules,
    headers_table,
    label_family,
)
from gguf_assets_tests.quality.tables import DAY, batch, file, hub_id, model, sha

RULES = (FILE_FACTS_CONFIRMED, HEADER_UNREADABLE, HEADER_LABEL_MISMATCH, HEADER_ARCHITECTURE_MISMATCH)
MODELS = [model(3, architecture="llama"), model(2), model(1)]
FILES = [file(3, "a.gguf"), file(3, "b.gguf"), file(2, "c.gguf"), file(1, "d.gguf")]
CONFIRMED = [{name: row[name] for name in FACTS.names} for row in FILES if row["hub_id"] != hub_id(1)]
SAID = HeaderSaid(hub_id(3), sha(3), "a.gguf", architecture="llama", label="Q4_K_M")


def judged(
    facts: list[dict[str, Any]] = CONFIRMED,
    *headers: HeaderSaid,
    models: list[dict[str, Any]] = MODELS,
    files: list[dict[str, Any]] = FILES,
) -> tuple[list[tuple[Any, ...]], frozenset[str]]:
    """The findings as (rule, name of the model, path, value), and the rules that looked at something."""
    findings = Findings(DAY)
    rules = VerificationRules(findings, Evidence(pa.Table.from_pylist(facts, schema=FACTS), headers))
    for start in range(0, len(models), 2):
        rules.models(batch("models", models[start : start + 2]))
    for start in range(0, len(files), 3):
        rules.files(batch("files", files[start : start + 3]))
    rules.finish()
    rows = findings.table(RULES).to_pylist()
    return [(r["rule"], r["model_id"], r["path"], r["value"]) for r in rows], rules.looked_at


def changed(index: int, **values: Any) -> list[dict[str, Any]]:
    return [row | values if n == index else row for n, row in enumerate(CONFIRMED)]


def test_equal_facts_confirm_and_nothing_to_compare_is_no_look():
    assert judged() == ([], {"file_facts_confirmed"})
    assert judged([]) == ([], frozenset())
    assert judged(models=[], files=[]) == ([], frozenset())


def test_another_size_or_digest_is_named_with_both():
    found, _ = judged(changed(0, size_bytes=7))
    digest = f"{3:064x}"
    assert found == [
        (
            "file_facts_confirmed",
            "owner/Model-3-GGUF",
            "a.gguf",
            f"catalogue: 4000000000 {digest}; Hub: 7 {digest}",
        )
    ]
    assert len(found[0][3]) <= 200, "fits whole into a finding"
    found, _ = judged(changed(2, sha256="f" * 64))
    assert [(path, f"Hub: 4000000000 {'f' * 64}" in value) for _, _, path, value in found] == [
        ("c.gguf", True)
    ]


def test_missing_and_further_files_are_named():
    further = {**CONFIRMED[0], "path": "new.gguf"}
    found, _ = judged([*CONFIRMED[1:], further])
    assert [(path, value.split("; ")) for _, _, path, value in found] == [
        ("a.gguf", [f"catalogue: 4000000000 {3:064x}", "Hub: no such file"]),
        ("new.gguf", ["catalogue: no such file", f"Hub: 4000000000 {3:064x}"]),
    ]


def test_a_repository_that_has_no_files_any_more_misses_all_of_them():
    bare = [{"hub_id": hub_id(3), "sha": sha(3)}]
    assert [path for _, _, path, _ in judged(bare)[0]] == ["a.gguf", "b.gguf"]


@pytest.mark.parametrize("known", [{"size_bytes": None}, {"sha256": None}])
def test_unknown_on_either_side_is_no_disagreement(known):
    assert judged(changed(0, **known))[0] == []
    files = [FILES[0] | known, *FILES[1:]]
    assert judged(files=files)[0] == []


@pytest.mark.parametrize("other", [{"sha": sha(9)}, {"details_sha": sha(9)}, {"details_sha": None}])
def test_at_another_commit_nothing_is_compared(other):
    models = [MODELS[0] | other, *MODELS[1:]]
    assert judged(changed(0, size_bytes=7), replace(SAID, label="F16"), models=models)[0] == []
    only_that = [row for row in CONFIRMED if row["hub_id"] == hub_id(3)]
    assert judged(only_that, SAID, models=models)[1] == frozenset()


def test_an_unreadable_header_says_why():
    found, looked_at = judged([], replace(SAID, error="it is no GGUF file", architecture=None, label=None))
    assert found == [("header_unreadable", "owner/Model-3-GGUF", "a.gguf", "it is no GGUF file")]
    assert looked_at == {"header_unreadable"}


def test_a_header_may_contradict_name_and_repository():
    found, looked_at = judged([], replace(SAID, label="Q8_0", architecture="qwen2"))
    assert [(rule, value) for rule, _, _, value in found] == [
        ("header_label_mismatch", "name: Q4_K_M; header: Q8_0"),
        ("header_architecture_mismatch", "Hub: llama; header: qwen2"),
    ]
    assert looked_at == {"header_unreadable", "header_label_mismatch", "header_architecture_mismatch"}
    assert judged([], SAID) == ([], looked_at)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"role": "mmproj"}, {"architecture": "clip", "label": "F16"}),
        ({"role": "lora"}, {"error": "broken"}),
        ({"quantization": None}, {"label": "F16"}),
        ({"flags": ["mixed"]}, {"label": "F16"}),
        ({"quantization": "UD-Q4_K_XL"}, {"label": "Q4_K_M"}),
        ({}, {"label": None, "architecture": None}),
    ],
)
def test_no_contradiction_where_there_is_nothing_to_contradict(row, said):
    files = [FILES[0] | row, *FILES[1:]]
    assert judged([], replace(SAID, **said), files=files)[0] == []


SAME = [
    ("Q4_K_M", "Q4_K_S"),
    ("Q4_K", "Q4_K_M"),
    ("Q3_K_L", "Q3_K_M"),
    ("IQ3_XXS", "IQ3_S"),
    ("Q4_0_4_4", "Q4_0"),
    ("F16", "F16"),
]
OTHER = [
    ("Q4_K_M", "Q8_0"),
    ("Q4_0", "Q4_K_M"),
    ("F16", "BF16"),
    ("F32", "F16"),
    ("IQ2_M", "Q2_K"),
    ("IQ2_M", "IQ3_M"),
    ("Q4_0", "Q4_1"),
    ("TQ1_0", "TQ2_0"),
]
OPEN = [
    "UD-Q4_K_M", "Q4_K_L", "Q2_K_L", "Q6_K_L", "Q3_K_XL", "Q4_K_XL", "MXFP4_MOE", "MXFP4", "NVFP4", "Q8",
    "Q4", "BF16_Q8_0", "IQ4_KS", "IQ2_KT", "Q4_K_M_R4", "Q8_K_XL", "FP8", "I2_S", "", None, "Q1_0", "Q8_1",
]  # fmt: skip


def test_labels_are_compared_by_the_type_of_most_weights():
    assert all(label_family(a) == label_family(b) is not None for a, b in SAME)
    assert all(None is not label_family(a) != label_family(b) is not None for a, b in OTHER)
    assert [label for label in OPEN if label_family(label) is not None] == []


def test_every_number_of_the_enumeration_has_a_family_or_is_left_open():
    from gguf_assets.hub.gguf_format import FILE_TYPES

    left = {label for label in FILE_TYPES.values() if label_family(label) is None}
    assert left == {"MXFP4_MOE", "NVFP4", "Q1_0", "Q2_0"}


def test_the_table_shows_names_of_strangers_as_text():
    evil = HeaderSaid(
        hub_id(1),
        sha(1),
        "a|b\n![x](http://evil)<script>.gguf",
        model_id="o/*m*",
        error="no `GGUF` | file",
    )
    text = headers_table([replace(SAID, model_id="o/m", parameter_count=7_000, tensor_count=2), evil])
    lines = text.splitlines()
    assert len(lines) == 4
    assert "| o/m | a.gguf | llama | 7,000 |  | Q4" in lines[2]
    assert "![" not in lines[3] and "<script>" not in lines[3] and "a\\|b" in lines[3]
    assert "12 further headers were read." in headers_table([SAID] * 62)
