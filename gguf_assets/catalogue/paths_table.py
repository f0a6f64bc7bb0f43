"""`describe` for whole columns of paths: the regular majority in Arrow, the rest one by one.

What belongs here: telling regular paths from others, cheaply and safely: whatever could make `describe` say
something else than "a model with the label at the end of its name" sends a path to `describe`. What does not:
any rule about names of its own (`paths.py`, `quantization.py`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue.paths import UNRELATED, PathFacts, describe
from gguf_assets.catalogue.quantization import TENSORS, canonical_label

PATH_COLUMNS = pa.schema(
    [
        pa.field("related", pa.bool_(), nullable=False),
        pa.field("role", pa.string(), nullable=False),
        pa.field("quantization", pa.string()),
        pa.field("quantization_source", pa.string()),
        pa.field("imatrix", pa.bool_()),
        pa.field("shard_set", pa.string()),
        pa.field("shard_index", pa.int32()),
        pa.field("shard_count", pa.int32()),
        pa.field("flags", pa.list_(pa.string()), nullable=False),
    ]
)
"""The columns of `describe_paths`: the fields of `PathFacts`."""

# RE2 finds a match bound to the end by reading backwards, which is why nothing in front of it is captured.
_LABEL = (
    r"(?:[uU][dD][-_])?(?:[iI]?[qQ][1-8](?:_[A-Za-z0-9]{1,3}){1,4}|[bB]?[fF][pP]?(?:16|32)|MXFP4_MOE|mxfp4)"
)
_SHARD = r"(?:-SPECIAL_TENSOR)?(?:-(?P<index>[0-9]{5})-of-(?P<count>[0-9]{5}))?"
_REGULAR = rf"(?:^|[^A-Za-z0-9])(?P<label>{_LABEL}){_SHARD}\.gguf$"
_ANY_LABEL = r"(?:[qQ][1-8]|[fFpPtT](?:16|32)|[pP][48]|[tT][48]|[iI][28]_|[tT][qQ][12])"
# What a label may follow so closely that the two must be weighed. Only a dot parts them: `bf16.Q4_K_M`,
# `bf16.i1-Q4_K_M`, unless a tensor's name stands before it.
_BINDING = rf"(?:-|[^/]*(?:_|[^1]-|[^iI]1-|[A-Za-z0-9][iI]1-|(?i:{TENSORS})\.))"
_RISKS = (
    # Another label before the one at the end of the file name.
    rf"{_ANY_LABEL}{_BINDING}{_LABEL}[-0-9A-Z_of]*\.gguf$"
    # Words that may mean another role or an importance matrix, anywhere; no shards; names beyond ASCII.
    r"|(?i:-of-00000|imat|non?[-_]i1|mm[-_]?proj|(?:vision|audio|image|modal)[-_]?(?:proj|enc|tower)|draft"
    r"|dflash|dspark|eagle|speculator|medusa|nextn|mtp|control.vector"
    r"|(?:lora|adapter).*(?:16|32|q8_0)[-0-9a-z_]*\.gguf$|[^\x00-\x7f])"
)
_I1 = r"(?:^|[^A-Za-z0-9])[iI]1[^A-Za-z0-9]"
_MAYBE_RELATED = r"(?i)gguf|imat"
_SHARD_NUMBER = r"-(?P<index>[0-9]{5})(?P<rest>-of-[0-9]{5}\.gguf)$"
_NO_COUNT = "-of-00000.gguf"


def describe_paths(paths: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Describe every path: row for row what `describe` says.

    Args:
        paths: strings; a null is described as a path that is not GGUF-related.

    Returns:
        A table with the columns of `PATH_COLUMNS`, as long as `paths`.
    """
    chunks = paths.chunks if isinstance(paths, pa.ChunkedArray) else [paths]
    batches = [_describe_chunk(chunk.cast(pa.string())) for chunk in chunks]
    return pa.Table.from_batches(batches, schema=PATH_COLUMNS)


def maybe_related(paths: pa.Array | pa.ChunkedArray) -> pa.BooleanArray:
    """Return which paths may be GGUF-related: no other is, which is much cheaper than to describe them."""
    paths = paths.combine_chunks() if isinstance(paths, pa.ChunkedArray) else paths
    usual = pc.ends_with(paths, ".gguf").fill_null(False)
    rest = pc.invert(usual)
    return pc.replace_with_mask(usual, rest, _match(paths.filter(rest), _MAYBE_RELATED))


def _describe_chunk(paths: pa.StringArray) -> pa.RecordBatch:
    found = pc.extract_regex(paths, _REGULAR)
    spellings = pc.struct_field(found, "label").dictionary_encode()
    labels = [canonical_label(text) for text in spellings.dictionary.to_pylist()]
    is_label = pa.array([label is not None for label in labels], pa.bool_()).take(spellings.indices)
    regular = pc.and_not(is_label.fill_null(False), _match(paths, _RISKS))
    slow = pc.and_not(maybe_related(paths), regular)
    distinct, numbered, numbers = _alike(paths.filter(slow))

    # Few descriptions fit many paths: `entries` holds each once, and `place` says which one is whose.
    usual = [UNRELATED, *(facts for label in labels for facts in _regular_facts(label))]
    entries = _columns([*usual, *map(describe, distinct.dictionary.to_pylist())])
    place = np.zeros(len(paths), dtype=np.int64)
    with_i1 = np.asarray(_match(paths.filter(regular), _I1))
    place[np.asarray(regular)] = 1 + 2 * np.asarray(spellings.indices.filter(regular)) + with_i1
    place[np.asarray(slow)] = len(usual) + np.asarray(distinct.indices)
    columns = {name: values.take(pa.array(place)) for name, values in entries.items()}

    shards = pc.and_(regular, pc.fill_null(pc.not_equal(pc.struct_field(found, "index"), ""), False))
    of_shards = {
        "shard_set": pc.replace_substring_regex(paths.filter(shards), _SHARD_NUMBER, r"\2"),
        "shard_index": pc.struct_field(found, "index").filter(shards).cast(pa.int32()),
        "shard_count": pc.struct_field(found, "count").filter(shards).cast(pa.int32()),
    }
    place[np.asarray(shards)] = len(entries["related"]) + np.arange(len(of_shards["shard_set"]))
    columns |= {
        name: pa.concat_arrays([entries[name], values]).take(pa.array(place))
        for name, values in of_shards.items()
    }
    at = np.zeros(len(paths), dtype=bool)
    at[np.asarray(slow)] = np.asarray(numbered)
    columns["shard_index"] = pc.replace_with_mask(columns["shard_index"], pa.array(at), numbers)
    return pa.RecordBatch.from_arrays([columns[name] for name in PATH_COLUMNS.names], schema=PATH_COLUMNS)


def _regular_facts(label: str | None) -> tuple[PathFacts, PathFacts]:
    """Return what a regular path with this label says, without and with `i1` in it."""
    facts = PathFacts(related=True, role="model", quantization=label, quantization_source="file name")
    return facts, replace(facts, imatrix=True)


def _columns(facts: list[PathFacts]) -> dict[str, pa.Array]:
    return {
        field.name: pa.array([getattr(entry, field.name) for entry in facts], field.type)
        for field in PATH_COLUMNS
    }


def _alike(paths: pa.StringArray) -> tuple[pa.DictionaryArray, pa.BooleanArray, pa.Int32Array]:
    """Return the paths with the shards of one set made equal, which of them are shards, and their numbers.

    Of five digits in the place of a shard number `describe` takes nothing but the number; where the announced
    count is zero they are no shard number.
    """
    numbered = pc.and_not(pc.match_substring_regex(paths, _SHARD_NUMBER), pc.ends_with(paths, _NO_COUNT))
    shards = paths.filter(numbered)
    numbers = pc.struct_field(pc.extract_regex(shards, _SHARD_NUMBER), "index").cast(pa.int32())
    first = pc.replace_substring_regex(shards, _SHARD_NUMBER, r"-00001\2")
    return pc.replace_with_mask(paths, numbered, first).dictionary_encode(), numbered, numbers


def _match(paths: pa.StringArray, pattern: str) -> pa.BooleanArray:
    return pc.match_substring_regex(paths, pattern).fill_null(False)
