"""`describe` for whole columns of paths: the regular majority in Arrow, the rest one by one.

What belongs here: telling regular paths from others, cheaply and safely: whatever could make `describe` say
something else than "a model with the label at the end of its name" sends a path to `describe`. What does not:
any rule about names of its own (`paths.py`, `quantization.py`).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue.paths import describe
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
    rf"{_ANY_LABEL}{_BINDING}{_LABEL}[-0-9A-Z_of]*\.gguf$",
    # Words that may mean another role or an importance matrix, anywhere; no shards; names beyond ASCII.
    r"(?i)-of-00000|imat|non?[-_]i1|mm[-_]?proj|(?:vision|audio|image|modal)[-_]?(?:proj|enc|tower)|draft"
    r"|dflash|dspark|eagle|speculator|medusa|nextn|mtp|control.vector"
    r"|(?:lora|adapter).*(?:16|32|q8_0)[-0-9a-z_]*\.gguf$|[^\x00-\x7f]",
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


def _describe_chunk(paths: pa.StringArray) -> pa.RecordBatch:
    found = pc.extract_regex(paths, _REGULAR)
    labels = _canonical_labels(pc.struct_field(found, "label"))
    risky = pc.or_(*(pc.match_substring_regex(paths, risk) for risk in _RISKS))
    regular = pc.and_(pc.is_valid(labels), pc.invert(risky.fill_null(True)))
    slow = pc.invert(regular)
    maybe = pc.match_substring_regex(paths.filter(slow), _MAYBE_RELATED).fill_null(False)
    slow = pc.replace_with_mask(slow, slow, maybe)
    described = _describe_one_by_one(paths.filter(slow))

    def column(name: str, fast: pa.Array) -> pa.Array:
        return pc.replace_with_mask(fast, slow, described[name])

    i1 = pc.and_(regular, pc.match_substring_regex(paths, _I1).fill_null(False))
    index = pc.if_else(regular, _integers(found, "index"), pa.scalar(None, pa.int32()))
    count = pc.if_else(regular, _integers(found, "count"), pa.scalar(None, pa.int32()))
    no_text = pa.scalar(None, pa.string())
    columns = [
        column("related", regular),
        column("role", pc.if_else(regular, "model", "other")),
        column("quantization", pc.if_else(regular, labels, no_text)),
        column("quantization_source", pc.if_else(regular, "file name", no_text)),
        column("imatrix", pc.if_else(i1, True, pa.scalar(None, pa.bool_()))),
        column("shard_set", _shard_sets(paths, index)),
        column("shard_index", index),
        column("shard_count", count),
        _spread(described["flags"], slow),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=PATH_COLUMNS)


def _canonical_labels(spellings: pa.StringArray) -> pa.StringArray:
    encoded = spellings.dictionary_encode()
    canonical = pa.array([canonical_label(text) for text in encoded.dictionary.to_pylist()], pa.string())
    return canonical.take(encoded.indices)


def _integers(found: pa.StructArray, name: str) -> pa.Int32Array:
    """Read a captured group as numbers; a group that took no part in the match is empty text, so null."""
    text = pc.struct_field(found, name)
    return pc.if_else(pc.equal(text, ""), None, text).cast(pa.int32())


def _shard_sets(paths: pa.StringArray, index: pa.Int32Array) -> pa.StringArray:
    sharded = index.is_valid()
    sets = pc.replace_substring_regex(paths.filter(sharded), _SHARD_NUMBER, r"\2")
    return pc.replace_with_mask(pa.nulls(len(paths), pa.string()), sharded, sets)


def _describe_one_by_one(paths: pa.StringArray) -> dict[str, pa.Array]:
    """Describe paths with `describe`, equal ones and the shards of one set only once.

    Of five digits in the place of a shard number `describe` takes nothing but the number; where the announced
    count is zero they are no shard number.
    """
    sharded = pc.and_not(pc.match_substring_regex(paths, _SHARD_NUMBER), pc.ends_with(paths, _NO_COUNT))
    shards = paths.filter(sharded)
    numbers = pc.struct_field(pc.extract_regex(shards, _SHARD_NUMBER), "index").cast(pa.int32())
    first = pc.replace_substring_regex(shards, _SHARD_NUMBER, r"-00001\2")
    distinct = pc.replace_with_mask(paths, sharded, first).dictionary_encode()
    facts = [describe(path) for path in distinct.dictionary.to_pylist()]
    columns = {
        field.name: pa.array([getattr(fact, field.name) for fact in facts], field.type).take(distinct.indices)
        for field in PATH_COLUMNS
    }
    columns["shard_index"] = pc.replace_with_mask(columns["shard_index"], sharded, numbers)
    return columns


def _spread(lists: pa.ListArray, mask: pa.BooleanArray) -> pa.ListArray:
    """Put lists, in order, where the mask is true, and empty ones elsewhere."""
    lengths = np.zeros(len(mask) + 1, dtype=np.int32)
    lengths[1:][mask.to_numpy(zero_copy_only=False)] = pc.list_value_length(lists)
    return pa.ListArray.from_arrays(pa.array(np.cumsum(lengths, dtype=np.int32)), lists.flatten())
