"""The beginning of a model file: a GGUF header that says what the repository and the file's name say.

Written from the specification, apart from whoever reads headers. What belongs here: the bytes of a header.
What does not: the bytes after it (`content.py`) and which requests get them (`files.py`).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

_FILE_TYPES = {
    "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K_S": 11,
    "Q3_K_M": 12, "Q3_K_L": 13, "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18,
    "IQ2_XXS": 19, "IQ2_XS": 20, "Q2_K_S": 21, "IQ3_XS": 22, "IQ3_XXS": 23, "IQ1_S": 24, "IQ4_NL": 25,
    "IQ3_S": 26, "IQ3_M": 27, "IQ2_S": 28, "IQ2_M": 29, "IQ4_XS": 30, "IQ1_M": 31, "BF16": 32, "TQ1_0": 36,
    "TQ2_0": 37, "MXFP4_MOE": 38,
}  # fmt: skip
"""`general.file_type` by the label that names it (enumeration of the GGUF specification)."""

_NEAREST = {"Q2_K_L": "Q2_K", "Q3_K_XL": "Q3_K_L", "Q4_K_L": "Q4_K_M", "Q5_K_L": "Q5_K_M", "Q6_K_L": "Q6_K"}
"""What publishers of labels without a number write."""

_LABEL = re.compile(r"(?<![A-Z0-9])(?:B?F(?:16|32)|I?Q\d(?:_[A-Z0-9]+)+|TQ\d_0|MXFP4_MOE)(?![A-Z0-9])")
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.gguf\Z")
_UINT32, _STRING, _ARRAY = 4, 8, 9
_ALIGNMENT = 32
_VOCABULARY, _BLOCKS = 512, 4


@lru_cache(maxsize=256)
def header(path: str, architecture: str, name: str, context_length: int, parameters: int) -> bytes:
    """Return the header of a model file.

    Args:
        path: path of the file, whose name states quantization and shard.
        architecture: `general.architecture`.
        name: `general.name`.
        context_length: tokens.
        parameters: elements that all tensors have together, unless the file is a shard.
    """
    shard = _SHARD.search(path)
    entries = _general(path, architecture, name, context_length)
    if shard is not None:
        entries += [
            _entry("split.no", _UINT32, int(shard[1]) - 1),
            _entry("split.count", _UINT32, int(shard[2])),
        ]
    words = [f"<{number}>" for number in range(_VOCABULARY)]
    entries.append(_entry("tokenizer.ggml.tokens", _ARRAY, words))
    tensors = _tensors(parameters)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(entries))
    return head + b"".join(entries) + b"".join(tensors)


def header_of(path: str, facts: Mapping[str, Any] | None, model_id: str) -> bytes:
    """Return the header of a file, by what the Hub says of its repository (`gguf`); plain values without."""
    said = facts or {}
    return header(
        path,
        str(said.get("architecture") or "llama"),
        model_id.partition("/")[2],
        int(said.get("context_length") or 4096),
        int(said.get("total") or 1_000_000),
    )


def _general(path: str, architecture: str, name: str, context_length: int) -> list[bytes]:
    entries = [
        _entry("general.architecture", _STRING, architecture),
        _entry("general.type", _STRING, "model"),
        _entry("general.name", _STRING, name),
        _entry(f"{architecture}.context_length", _UINT32, min(context_length, 2**32 - 1)),
        _entry(f"{architecture}.block_count", _UINT32, _BLOCKS),
    ]
    labels = _LABEL.findall(path.rpartition("/")[2].upper().replace("FP16", "F16").replace("FP32", "F32"))
    for label in labels[-1:]:
        number = _FILE_TYPES.get(_NEAREST.get(label, label))
        if number is not None:
            entries.append(_entry("general.file_type", _UINT32, number))
    return entries


def _tensors(parameters: int) -> list[bytes]:
    """Return what is said of the tensors: some vectors, and the rest in one."""
    named = [
        (f"blk.{block}.attn_norm.weight", min(64, parameters // (2 * _BLOCKS))) for block in range(_BLOCKS)
    ]
    named.append(("token_embd.weight", parameters - sum(size for _, size in named)))
    # All begin near the start, so that no file is too small for them.
    return [
        _text(name) + struct.pack("<IQIQ", 1, size, 0, _ALIGNMENT * number)
        for number, (name, size) in enumerate(named)
    ]


def _entry(key: str, kind: int, value: int | str | list[str]) -> bytes:
    return _text(key) + struct.pack("<I", kind) + _value(value)


def _value(value: int | str | list[str]) -> bytes:
    if isinstance(value, int):
        return struct.pack("<I", value)
    if isinstance(value, str):
        return _text(value)
    return struct.pack("<IQ", _STRING, len(value)) + b"".join(map(_text, value))


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded
