"""GGUF headers written for tests, from the specification, apart from the product's own writer and reader."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

UINT8, INT8, UINT16, INT16, UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY, UINT64, INT64, FLOAT64 = range(13)
_FORMATS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))


@dataclass
class Written:
    """A header; counts that are not given are those of what is in it.

    `keys` are (key, type, value), where the value of an array is (type of elements, values); `tensors` are
    (name, dimensions, type, offset).
    """

    keys: Sequence[tuple[str | bytes, int, Any]] = ()
    tensors: Sequence[tuple[str | bytes, Sequence[int], int, int]] = ()
    version: int = 3
    order: str = "<"
    magic: bytes = b"GGUF"
    tensor_count: int | None = None
    key_count: int | None = None
    tail: bytes = field(default=bytes(64))

    def to_bytes(self) -> bytes:
        """The header, then `tail` in place of the tensors' data."""
        tensors = len(self.tensors) if self.tensor_count is None else self.tensor_count
        keys = len(self.keys) if self.key_count is None else self.key_count
        out = self.magic + struct.pack(self.order + "IQQ", self.version, tensors, keys)
        for key, kind, value in self.keys:
            out += self.text(key) + struct.pack(self.order + "I", kind) + self._value(kind, value)
        for name, dimensions, kind, offset in self.tensors:
            out += self.text(name) + struct.pack(self.order + "I", len(dimensions))
            out += b"".join(struct.pack(self.order + "Q", size) for size in dimensions)
            out += struct.pack(self.order + "IQ", kind, offset)
        return out + self.tail

    def text(self, text: str | bytes) -> bytes:
        """A string as it stands in the file."""
        encoded = text.encode() if isinstance(text, str) else text
        return struct.pack(self.order + "Q", len(encoded)) + encoded

    def _value(self, kind: int, value: Any) -> bytes:
        if isinstance(value, bytes) and kind not in (STRING, ARRAY):
            return value
        if kind == STRING:
            return self.text(value)
        if kind == ARRAY:
            inner, values = value
            return struct.pack(self.order + "IQ", inner, len(values)) + b"".join(
                self._value(inner, entry) for entry in values
            )
        return struct.pack(self.order + _FORMATS[kind], value)


def model_header(**changed: Any) -> Written:
    """The header of a small sound model; keyword arguments replace parts of it."""
    keys = [
        ("general.architecture", STRING, "llama"),
        ("general.name", STRING, "Tiny"),
        ("general.size_label", STRING, "1.1K"),
        ("llama.context_length", UINT32, 4096),
        ("llama.block_count", UINT32, 2),
        ("general.file_type", UINT32, 15),
        ("llama.rope.freq_base", FLOAT32, 10_000.0),
        ("tokenizer.ggml.add_bos_token", BOOL, True),
        ("tokenizer.ggml.tokens", ARRAY, (STRING, ["<s>", "ü", ""])),
        ("tokenizer.ggml.scores", ARRAY, (FLOAT32, [0.5, -1.0])),
    ]
    tensors = [("token_embd.weight", (32, 33), 12, 0), ("output_norm.weight", (32,), 0, 32)]
    return Written(**{"keys": keys, "tensors": tensors, **changed})
