"""What tags say, column-wise, equals a plain reading of one row after the other."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_assets.catalogue.schema import STRINGS
from gguf_assets.catalogue.tags import tag_columns

RELATIONS = ("quantized", "finetune", "adapter", "merge")
CODES = {"en", "de", "zh", "pt", "yue", "multilingual"}
WORDS = ["gguf", "xx", "english", "EN", "base_model", "license", "region:us", "dataset:a/b", "", "llama"]


def read_tags(tags: list[str] | None) -> dict[str, Any]:
    """Read the tags of one model."""
    found: dict[str, Any] = {"license": None, "languages": [], "base_models": [], "base_relation": None}
    if tags is None:
        return found | {"languages": None, "base_models": None}
    for tag in tags:
        if tag in CODES:
            found["languages"].append(tag)
        if tag.startswith("license:") and tag != "license:" and found["license"] is None:
            found["license"] = tag.partition(":")[2]
        if tag.startswith("base_model:"):
            relation, colon, base = tag.partition(":")[2].partition(":")
            if not colon or relation not in RELATIONS:
                relation, base = "", tag.partition(":")[2]
            if base:
                if base not in found["base_models"]:
                    found["base_models"].append(base)
                found["base_relation"] = found["base_relation"] or relation or None
    return found


names = st.sampled_from(["a/b", "a/c", "meta/Llä-3", "quantized", "other:x", ""])
tags = st.one_of(
    st.sampled_from([*WORDS, *sorted(CODES)]),
    st.builds("license:{}".format, st.sampled_from(["mit", "other", "", "a:b"])),
    st.builds("base_model:{}".format, names),
    st.builds("base_model:{}:{}".format, st.sampled_from([*RELATIONS, "unknown", ""]), names),
    st.text(max_size=6).filter(lambda text: len(text) > 3 or not text.isalpha()),
)


@given(st.lists(st.none() | st.lists(tags, max_size=8), max_size=8), st.integers(0, 3))
@settings(max_examples=150)
def test_tags_are_read_as_one_would_read_them_row_by_row(rows, start):
    columns = tag_columns(pa.array(rows, STRINGS).slice(start))
    got = pa.table(columns).to_pylist()
    assert got == [read_tags(row) for row in rows[start:]]
    assert {name: column.type for name, column in columns.items()} == {
        "license": pa.string(),
        "languages": STRINGS,
        "base_models": STRINGS,
        "base_relation": pa.string(),
    }


@pytest.mark.recording
def test_the_recorded_tags_are_read_alike(recording):
    from gguf_assets_tests.catalogue.days import recorded_days, recorded_rows

    rows = [row["tags"] for row in recorded_rows(recording, recorded_days(recording)[-1])]
    columns = pa.table(tag_columns(pa.array(rows, STRINGS)))
    for name in ("license", "base_models", "base_relation"):
        assert columns[name].to_pylist() == [read_tags(row)[name] for row in rows]
