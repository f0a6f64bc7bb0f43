"""The header of a GGUF file: bytes in, facts out.

Files are written by strangers, some of them to crash whoever reads them. So nothing is allocated for a count
that a header merely claims, every length is held against the bytes that are there, and the work is bounded by
the bytes given. What does not belong here: getting the bytes (`headers`), what the facts mean (`quality/`).

Layout and keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal, NoReturn

from gguf_assets.hub.gguf_format import ARRAY, BOOL, FILE_TYPES, NUMBERS, STRING, TYPES

MAGIC = b"GGUF"

MOST_TENSORS = 65_536
"""Tensors that a header may announce; the largest models have some thousands."""

MOST_KEYS = 65_536
"""Keys that a header may announce; models have some dozens."""

_LONGEST_KEY = 65_535
_LONGEST_TENSOR_NAME = 64
_MOST_DIMENSIONS = 4
_LONGEST_TEXT = 100
"""Characters of a text that is taken over."""

_LONGEST_REASON = 200

_INT64_MAX = 2**63 - 1


class HeaderError(Exception):
    """A header cannot be read.

    Attributes:
        reason: why, in words; at most 200 printable characters.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason[:_LONGEST_REASON]
        super().__init__(self.reason)


@dataclass(frozen=True)
class GgufHeader:
    """What a header says; None for what it does not say, or says beyond the bytes that were given.

    Attributes:
        version: of the format, 2 or 3.
        byte_order: of all numbers.
        tensor_count, key_count: as announced.
        architecture: `general.architecture`.
        file_type: name of `general.file_type` as a label, e.g. `Q4_K_M`; None for a number without a name.
        size_label: `general.size_label`, e.g. `8B`.
        context_length: tokens, `<architecture>.context_length`.
        block_count: `<architecture>.block_count`.
        split_index, split_count: `split.no` (from 0) and `split.count` of a file that is one of several.
        parameter_count: elements of all tensors, where all of them were read and the file is the only one.
        truncated: whether the bytes ended before the header did.
    """

    version: int
    byte_order: Literal["little", "big"]
    tensor_count: int
    key_count: int
    architecture: str | None = None
    file_type: str | None = None
    size_label: str | None = None
    context_length: int | None = None
    block_count: int | None = None
    split_index: int | None = None
    split_count: int | None = None
    parameter_count: int | None = None
    truncated: bool = False


def read_header(head: bytes, file_bytes: int | None = None) -> GgufHeader:
    """Read the header of a GGUF file.

    Args:
        head: the beginning of the file, all of it if it is short.
        file_bytes: size of the whole file; None while unknown.

    Raises:
        HeaderError: it is no header of GGUF version 2 or 3, or one that no sound program writes.
    """
    cursor = _Cursor(head, file_bytes)
    version, order = _version(cursor)
    cursor.order = "<" if order == "little" else ">"
    try:
        tensors, keys = cursor.number("Q"), cursor.number("Q")
    except _CutOffError:
        raise HeaderError(f"the {len(head):,} bytes that were read end before its counts") from None
    _bound("tensors", tensors, MOST_TENSORS, cursor, least=24)
    _bound("keys", keys, MOST_KEYS, cursor, least=13)
    facts = _Facts()
    parameters, truncated = None, False
    try:
        _read_keys(cursor, keys, facts)
        parameters = _read_tensors(cursor, tensors, facts.alignment)
    except _CutOffError:
        truncated = True
    return GgufHeader(
        version=version,
        byte_order=order,
        tensor_count=tensors,
        key_count=keys,
        architecture=facts.architecture,
        file_type=FILE_TYPES.get(facts.numbers.get("general.file_type", -1)),
        size_label=facts.size_label,
        context_length=facts.of_architecture("context_length"),
        block_count=facts.of_architecture("block_count"),
        split_index=facts.numbers.get("split.no"),
        split_count=facts.numbers.get("split.count"),
        parameter_count=parameters if facts.numbers.get("split.count", 1) <= 1 else None,
        truncated=truncated,
    )


class _CutOffError(Exception):
    """The bytes given end here; the file does not."""


class _Cursor:
    """A place in the bytes; every step is checked before it is taken."""

    def __init__(self, head: bytes, file_bytes: int | None) -> None:
        self._head = head
        self._view = memoryview(head)
        self.file_bytes = file_bytes
        self.order: Literal["<", ">"] = "<"
        self.position = 0

    @property
    def left_in_file(self) -> int | None:
        """Bytes of the file from here on; None while its size is unknown."""
        return None if self.file_bytes is None else self.file_bytes - self.position

    def take(self, count: int, what: str) -> memoryview:
        """Return the next bytes.

        Raises:
            HeaderError: the file has not so many.
            _CutOffError: the file has them, the bytes given have not.
        """
        self.require(count, what)
        start, end = self.position, self.position + count
        if end > len(self._head):
            raise _CutOffError
        self.position = end
        return self._view[start:end]

    def require(self, count: int, what: str) -> None:
        """Make sure that the file has so many more bytes, as far as its size is known.

        Raises:
            HeaderError: it has not.
        """
        left = self.left_in_file
        if left is not None and count > left:
            raise HeaderError(
                f"{what} at byte {self.position:,} would take {count:,} bytes; {left:,} are left"
            )

    def number(self, kind: str, what: str = "a number") -> int:
        """Return the next number of a `struct` type; floats are cut."""
        form = struct.Struct(self.order + kind)
        value: int = form.unpack(self.take(form.size, what))[0]
        return value

    def string(self, what: str, longest: int | None = None) -> memoryview:
        """Return the bytes of the next string.

        Raises:
            HeaderError: it is longer than the file, or than allowed.
            _CutOffError: it goes on beyond the bytes given.
        """
        length = self.number("Q", f"the length of {what}")
        if longest is not None and length > longest:
            raise HeaderError(f"{what} is {length:,} bytes long; at most {longest:,} are allowed")
        return self.take(length, what)


class _Facts:
    """The values that are kept while the keys are read: numbers by key, and two texts."""

    def __init__(self) -> None:
        self.architecture: str | None = None
        self.size_label: str | None = None
        self.alignment = 32
        self.numbers: dict[str, int] = {}

    def of_architecture(self, name: str) -> int | None:
        """Return `<architecture>.<name>`."""
        return None if self.architecture is None else self.numbers.get(f"{self.architecture}.{name}")


def _version(cursor: _Cursor) -> tuple[int, Literal["little", "big"]]:
    """Return version and byte order, which the version number shows.

    Raises:
        HeaderError: the file is no GGUF, or of a version that is not read.
    """
    try:
        magic = bytes(cursor.take(4, "the magic number"))
    except _CutOffError:
        raise HeaderError("fewer than 4 bytes were read") from None
    if magic != MAGIC:
        raise HeaderError(f"it begins with {magic!r} instead of {MAGIC!r}: it is no GGUF file")
    try:
        number = bytes(cursor.take(4, "the version"))
    except _CutOffError:
        raise HeaderError("the bytes that were read end before its version") from None
    little, big = int.from_bytes(number, "little"), int.from_bytes(number, "big")
    if little in (2, 3):
        return little, "little"
    if little == 1 or big == 1:
        raise HeaderError("it is GGUF version 1, which programs have ceased to read")
    if big == 3:
        return big, "big"
    if big == 2:
        raise HeaderError("it is big-endian GGUF version 2; big-endian files came with version 3")
    raise HeaderError(f"it says GGUF version {little:,}; 2 and 3 are known")


def _bound(what: str, count: int, most: int, cursor: _Cursor, *, least: int) -> None:
    """Refuse a count that is too high to be meant, or for the file; `least` is the bytes each one takes."""
    if count > most:
        raise HeaderError(f"it announces {count:,} {what}; more than {most:,} are taken for an attack")
    left = cursor.left_in_file
    if left is not None and count * least > left:
        raise HeaderError(f"it announces {count:,} {what}, for which the file's {left:,} bytes are too few")


def _read_keys(cursor: _Cursor, count: int, facts: _Facts) -> None:
    seen: set[bytes] = set()
    for number in range(1, count + 1):
        key = bytes(cursor.string(f"key {number:,}", _LONGEST_KEY))
        if not key:
            raise HeaderError(f"key {number:,} is empty")
        if key in seen:
            raise HeaderError(f"the key {_shown(key)} stands there twice")
        seen.add(key)
        _read_value(cursor, key, facts)


def _read_value(cursor: _Cursor, key: bytes, facts: _Facts) -> None:
    """Read one value, and keep it if it is wanted."""
    kind = cursor.number("I", "the type of a value")
    if kind == STRING:
        _keep_text(key, cursor.string(f"the value of {_shown(key)}"), facts)
    elif kind == ARRAY:
        _refuse_type(key, kind, facts)
        _skip_array(cursor, key)
    elif kind in NUMBERS:
        value = cursor.number(NUMBERS[kind], "a value")
        if kind == BOOL and value > 1:
            raise HeaderError(f"{_shown(key)} is a bool of the value {value}")
        _keep_number(key, kind, value, facts)
    else:
        _unknown_type(kind, key)


def _keep_text(key: bytes, value: memoryview, facts: _Facts) -> None:
    if key == b"general.architecture":
        facts.architecture = _text(key, value)
    elif key == b"general.size_label":
        facts.size_label = _text(key, value)
    else:
        _refuse_type(key, STRING, facts)


def _keep_number(key: bytes, kind: int, value: int, facts: _Facts) -> None:
    _refuse_type(key, kind, facts, number=True)
    if key == b"general.alignment":
        if kind != 4 or value < 1 or value & (value - 1):
            raise HeaderError(f"general.alignment is {value:,} ({TYPES[kind]}) and no power of 2")
        facts.alignment = value
    elif key.endswith((b".context_length", b".block_count")) or key in _WANTED:
        whole = NUMBERS[kind] not in "fd" and kind != BOOL
        if whole and 0 <= value <= _INT64_MAX and len(key) <= 2 * _LONGEST_TEXT and key.isascii():
            facts.numbers[key.decode()] = value


_WANTED = frozenset({b"general.file_type", b"split.no", b"split.count"})
_TEXTS = frozenset({b"general.architecture", b"general.size_label"})


def _refuse_type(key: bytes, kind: int, facts: _Facts, *, number: bool = False) -> None:
    """Refuse a value of a type that its key cannot have: programs stop there, too."""
    if key in _TEXTS or (not number and (key in _WANTED or key == b"general.alignment")):
        raise HeaderError(f"{_shown(key)} is of the type {TYPES[kind]}")


def _skip_array(cursor: _Cursor, key: bytes) -> None:
    """Step over an array; strings one by one, which takes no more steps than there are bytes."""
    kind = cursor.number("I", "the type of an array")
    count = cursor.number("Q", "the length of an array")
    what = f"the array {_shown(key)} of {count:,} elements"
    if kind == ARRAY:
        raise HeaderError(f"{_shown(key)} is an array of arrays")
    if kind == STRING:
        cursor.require(8 * count, what)
        for _ in range(count):
            cursor.string(f"an element of {_shown(key)}")
    elif kind in NUMBERS:
        values = cursor.take(struct.calcsize("<" + NUMBERS[kind]) * count, what)
        if kind == BOOL and count and max(values) > 1:
            raise HeaderError(f"{_shown(key)} holds a bool that is neither 0 nor 1")
    else:
        _unknown_type(kind, key)


def _read_tensors(cursor: _Cursor, count: int, alignment: int) -> int:
    """Read what is said about the tensors and return how many elements they have together."""
    elements = last = 0
    seen: set[bytes] = set()
    for number in range(1, count + 1):
        name = bytes(cursor.string(f"the name of tensor {number:,}", _LONGEST_TENSOR_NAME))
        if name in seen:
            raise HeaderError(f"the tensor {_shown(name)} stands there twice")
        seen.add(name)
        elements += _elements(cursor, name)
        cursor.number("I", "the type of a tensor")
        offset = cursor.number("Q", "the offset of a tensor")
        if offset % alignment:
            raise HeaderError(f"the tensor {_shown(name)} lies at {offset:,}, no multiple of {alignment:,}")
        last = max(last, offset)
    start = -(-cursor.position // alignment) * alignment
    end = cursor.file_bytes
    if end is not None and elements and start + last >= end:
        raise HeaderError(f"a tensor begins at byte {start + last:,}, and the file ends at {end:,}")
    if elements > _INT64_MAX:
        raise HeaderError("its tensors have more elements than 64 bits can count")
    return elements


def _elements(cursor: _Cursor, name: bytes) -> int:
    dimensions = cursor.number("I", "the number of dimensions")
    if dimensions > _MOST_DIMENSIONS:
        raise HeaderError(f"the tensor {_shown(name)} has {dimensions:,} dimensions; 4 is the most")
    elements = 1
    for _ in range(dimensions):
        elements *= cursor.number("Q", "a dimension")
        if elements > _INT64_MAX:
            raise HeaderError(f"the tensor {_shown(name)} has more elements than 64 bits can count")
    return elements


def _text(key: bytes, value: memoryview) -> str:
    try:
        text = str(value, "utf-8") if len(value) <= 4 * _LONGEST_TEXT else ""
    except UnicodeDecodeError:
        raise HeaderError(f"{_shown(key)} is no UTF-8") from None
    if not text or len(text) > _LONGEST_TEXT or not text.isprintable():
        raise HeaderError(f"{_shown(key)} is empty, longer than {_LONGEST_TEXT} characters, or not printable")
    return text


def _unknown_type(kind: int, key: bytes) -> NoReturn:
    raise HeaderError(f"{_shown(key)} is of type {kind:,}, which does not exist")


def _shown(name: bytes) -> str:
    """Return a name that a stranger chose, shortened and printable."""
    text = name[:60].decode("utf-8", "replace")
    text = "".join(char if char.isprintable() else "?" for char in text)
    return text if len(name) <= 60 else f"{text}…"
