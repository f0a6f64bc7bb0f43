"""The reader of GGUF headers against an independent writer, real kinds of broken files, and hostile ones."""

from __future__ import annotations

import time
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_assets.hub.gguf_format import FILE_TYPES
from gguf_assets.hub.gguf_header import GgufHeader, HeaderError, read_header
from gguf_assets_tests.fuzzing import fuzz_header
from gguf_assets_tests.gguf_files import (
    ARRAY,
    BOOL,
    FLOAT32,
    INT8,
    INT32,
    STRING,
    UINT8,
    UINT16,
    UINT32,
    UINT64,
    Written,
    model_header,
)

BIG = 5_000_000_000


def reason(head: bytes, file_bytes: int | None = BIG) -> str:
    with pytest.raises(HeaderError) as caught:
        read_header(head, file_bytes)
    assert 0 < len(caught.value.reason) <= 200
    assert caught.value.reason.isprintable()
    return caught.value.reason


@pytest.mark.parametrize(("version", "order"), [(2, "<"), (3, "<"), (3, ">")])
def test_what_a_model_says(version: int, order: str) -> None:
    written = model_header(version=version, order=order)
    assert read_header(written.to_bytes(), len(written.to_bytes())) == GgufHeader(
        version=version,
        byte_order="little" if order == "<" else "big",
        tensor_count=2,
        key_count=10,
        architecture="llama",
        file_type="Q4_K_M",
        size_label="1.1K",
        context_length=4096,
        block_count=2,
        parameter_count=32 * 33 + 32,
    )


def test_keys_of_another_architecture_and_of_other_types_say_nothing() -> None:
    keys = [
        ("qwen2.context_length", UINT32, 1),
        ("general.file_type", FLOAT32, 2.0),
        ("llama.context_length", FLOAT32, 4096.0),
        ("llama.block_count", ARRAY, (UINT32, [1, 2])),
        ("general.architecture", STRING, "llama"),
    ]
    header = read_header(Written(keys).to_bytes(), BIG)
    assert (header.architecture, header.context_length) == ("llama", None)
    assert (header.block_count, header.file_type) == (None, None)
    assert header.parameter_count == 0


@pytest.mark.parametrize(
    ("number", "label"), [(0, "F32"), (15, "Q4_K_M"), (38, "MXFP4_MOE"), (1024, None), (4, None)]
)
def test_file_types_have_the_names_of_the_enumeration(number: int, label: str | None) -> None:
    keys = [("general.file_type", UINT32, number)]
    assert read_header(Written(keys).to_bytes(), BIG).file_type == label


def test_a_shard_counts_no_parameters() -> None:
    keys = [("split.no", UINT16, 0), ("split.count", UINT16, 3), ("split.tensors.count", INT32, 291)]
    header = read_header(model_header(keys=keys).to_bytes(), BIG)
    assert (header.split_index, header.split_count, header.parameter_count) == (0, 3, None)


def test_cut_off_anywhere_it_gives_what_came_first() -> None:
    whole = model_header(tail=b"").to_bytes()
    full = read_header(whole, BIG)
    for end in range(24, len(whole)):
        part = read_header(whole[:end], BIG)
        assert part.truncated and part.parameter_count is None
        for name in ("architecture", "file_type", "context_length", "size_label"):
            assert getattr(part, name) in (None, getattr(full, name))
        # The same bytes as a whole file are a file that broke off.
        assert "the file" in reason(whole[:end], end) or "left" in reason(whole[:end], end)
    for end in range(24):
        reason(whole[:end], BIG)


SMALL = st.integers(0, 255)
VALUES = st.one_of(
    st.tuples(st.just(UINT8), SMALL),
    st.tuples(st.just(INT8), st.integers(-128, 127)),
    st.tuples(st.just(UINT64), st.integers(0, 2**64 - 1)),
    st.tuples(st.just(BOOL), st.booleans()),
    st.tuples(st.just(STRING), st.text(max_size=20)),
    st.tuples(st.just(ARRAY), st.tuples(st.just(STRING), st.lists(st.text(max_size=5), max_size=5))),
    st.tuples(st.just(ARRAY), st.tuples(st.just(UINT16), st.lists(SMALL, max_size=5))),
)


@st.composite
def headers(draw: Any) -> tuple[Written, dict[str, Any]]:
    """A header in any order of its keys, and what is to be read from it."""
    architecture = draw(st.from_regex(r"[a-z0-9]{1,12}", fullmatch=True))
    number, label = draw(st.sampled_from(sorted(FILE_TYPES.items())))
    context, blocks = draw(st.integers(0, 2**32 - 1)), draw(st.integers(0, 2**16 - 1))
    known = [
        ("general.architecture", STRING, architecture),
        ("general.file_type", UINT32, number),
        (f"{architecture}.context_length", UINT64, context),
        (f"{architecture}.block_count", UINT16, blocks),
    ]
    others = draw(st.dictionaries(st.from_regex(r"x\.[a-z_.]{1,20}", fullmatch=True), VALUES, max_size=6))
    keys = draw(st.permutations(known + [(key, kind, value) for key, (kind, value) in others.items()]))
    shapes = draw(st.lists(st.lists(st.integers(1, 9), max_size=4), max_size=5))
    tensors = [(f"t{n}", shape, 0, 32 * n) for n, shape in enumerate(shapes)]
    elements = 0
    for shape in shapes:
        product = 1
        for size in shape:
            product *= size
        elements += product
    written = Written(keys, tensors, order=draw(st.sampled_from("<>")), tail=bytes(1000))
    expected = {
        "architecture": architecture,
        "file_type": label,
        "context_length": context,
        "block_count": blocks,
        "tensor_count": len(shapes),
        "key_count": len(keys),
        "parameter_count": elements,
    }
    return written, expected


@given(headers())
def test_what_is_written_is_read(case: tuple[Written, dict[str, Any]]) -> None:
    written, expected = case
    content = written.to_bytes()
    header = read_header(content, len(content))
    assert {name: getattr(header, name) for name in expected} == expected
    assert not header.truncated


@given(st.binary(max_size=400), st.booleans())
def test_no_bytes_do_any_harm(content: bytes, magic: bool) -> None:
    fuzz_header(b"GGUF\x03\0\0\0" + content if magic else content)


@given(headers(), st.data())
@settings(max_examples=150)
def test_no_damage_to_a_sound_header_does_any_harm(case: tuple[Written, Any], data: st.DataObject) -> None:
    content = bytearray(case[0].to_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
        if not content:
            break
    fuzz_header(bytes(content))


HUGE = 2**63


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"", "fewer than 4 bytes|ends after 0|0 are left"),
        (b"GGUF", "version|left"),
        (b"GGML\x03\0\0\0", "no GGUF file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "no GGUF file"),
        (b"<!doctype html>", "no GGUF file"),
        (b"GGUF\x01\0\0\0" + bytes(16), "version 1"),
        (b"GGUF\x04\0\0\0" + bytes(16), "version 4"),
        (b"GGUF\0\0\0\x02" + bytes(16), "big-endian"),
        (Written(tensor_count=HUGE).to_bytes(), "tensors"),
        (Written(key_count=HUGE).to_bytes(), "keys"),
        (Written(tensor_count=70_000).to_bytes(), "65,536"),
        (Written([("k", ARRAY, (ARRAY, []))]).to_bytes(), "array of arrays"),
        (Written([("k", 13, b"")]).to_bytes(), "type 13"),
        (Written([("k", ARRAY, (99, []))]).to_bytes(), "type 99"),
        (Written([("k", BOOL, b"\x02")]).to_bytes(), "bool"),
        (Written([("k", ARRAY, (BOOL, [b"\x02"]))]).to_bytes(), "bool"),
        (Written([("k", UINT8, 1), ("k", UINT8, 1)]).to_bytes(), "twice"),
        (Written([("", UINT8, 1)]).to_bytes(), "empty"),
        (Written([("k" * 65_536, UINT8, 1)]).to_bytes(), "65,536 bytes long"),
        (
            Written([("general.architecture", UINT8, 1)]).to_bytes(),
            "general.architecture is of the type uint8",
        ),
        (Written([("general.architecture", STRING, "x" * 101)]).to_bytes(), "longer than 100"),
        (Written([("general.architecture", STRING, "a\nb")]).to_bytes(), "not printable"),
        (Written([("general.architecture", STRING, b"\xff")]).to_bytes(), "no UTF-8"),
        (Written([("general.alignment", UINT32, 0)]).to_bytes(), "alignment"),
        (Written([("general.alignment", UINT32, 24)]).to_bytes(), "alignment"),
        (Written(tensors=[("t", (1,), 0, 3)]).to_bytes(), "multiple of 32"),
        (Written(tensors=[("t", (1,) * 5, 0, 0)]).to_bytes(), "5 dimensions"),
        (Written(tensors=[("t", (2**62, 2**62), 0, 0)]).to_bytes(), "64 bits"),
        (Written(tensors=[("t", (2**62,), 0, 0), ("u", (2**62,), 0, 0)]).to_bytes(), "64 bits"),
        (Written(tensors=[("t", (1,), 0, 0)] * 2).to_bytes(), "twice"),
        (Written(tensors=[("t" * 65, (1,), 0, 0)]).to_bytes(), "65 bytes long"),
        (Written(tensors=[("t", (1,), 0, 2**40)]).to_bytes(), "the file ends"),
    ],
)
def test_what_no_sound_program_writes_is_refused_in_words(head: bytes, said: str) -> None:
    size = len(head) if len(head) < 8 else BIG
    assert any(part in reason(head, size) for part in said.split("|")), reason(head, size)


def test_dummies_and_failed_conversions_are_named() -> None:
    """The field notes' files of 12 bytes, and of 992 bytes that hold nothing but names of tensors."""
    assert "left" in reason(b"GGUF\x03\0\0\0" + bytes(4), 12)
    empty = model_header(tail=b"").to_bytes()
    assert "and the file ends at" in reason(empty, len(empty))


LENGTHS = (2**63, 2**64 - 1, 2**32, 10**9)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("file_bytes", [None, 10**12])
def test_no_claimed_length_costs_memory_or_time(length: int, file_bytes: int | None) -> None:
    claim = length.to_bytes(8, "little")
    start = Written(key_count=3, tail=b"").to_bytes()
    key = Written().text("k")
    hostile = [
        Written(tensor_count=length).to_bytes(),
        Written(key_count=length).to_bytes(),
        start + claim,
        start + key + STRING.to_bytes(4, "little") + claim,
        *(
            start + key + ARRAY.to_bytes(4, "little") + kind.to_bytes(4, "little") + claim + bytes(1000)
            for kind in (UINT8, BOOL, STRING, UINT64)
        ),
        Written(tensor_count=1, tail=b"").to_bytes() + claim,
    ]
    tracemalloc.start()
    began = time.process_time()
    for head in hostile:
        with suppress(HeaderError):
            assert read_header(head, file_bytes).truncated
    assert time.process_time() - began < 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_the_most_that_256_kib_can_hold_is_read_in_a_moment() -> None:
    """As many keys, and as many empty strings, as fit into what is read of a file."""
    keys = [(f"{number:04x}", UINT8, 0) for number in range(262_144 // 17 - 2)]
    strings = [("general.tokens", ARRAY, (STRING, [""] * (262_144 // 8 - 10)))]
    for written in (Written(keys, tail=b""), Written(strings, tail=b"")):
        head = written.to_bytes()
        assert 240_000 < len(head) <= 262_144
        tracemalloc.start()
        began = time.process_time()
        assert read_header(head, BIG).key_count == len(written.keys)
        took = time.process_time() - began
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (took < 3, peak < 16_000_000) == (True, True), (took, peak)
