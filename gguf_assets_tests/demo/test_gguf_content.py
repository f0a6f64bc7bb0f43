"""The beginnings of model files on the loopback Hub: headers that say what names and repositories say."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest

from gguf_assets.demo import content, files
from gguf_assets.demo.gguf_content import header_of
from gguf_assets.demo.state import HubFile, Repository
from gguf_assets.hub.gguf_header import read_header
from gguf_assets_tests.gguf_files import STRING, UINT32, Written
from gguf_assets_tests.hubs import gguf, repository

FACTS = {"architecture": "qwen3moe", "context_length": 262_144, "total": 30_000_000_000}


def served(there: Repository, file: HubFile, byte_range: str | None = None) -> bytes:
    answer = files.resolve(there, file.path, byte_range)
    assert answer.status == (200 if byte_range is None else 206)
    return b"".join(answer.stream or ())


def test_the_header_is_that_of_the_specification():
    head = header_of("x/y-Q4_K_M-00002-of-00003.gguf", FACTS, "owner/Name")
    assert head[:8] == b"GGUF" + struct.pack("<I", 3)
    written = Written()
    for key, kind, value in (
        ("general.architecture", STRING, "qwen3moe"),
        ("general.name", STRING, "Name"),
        ("qwen3moe.context_length", UINT32, 262_144),
        ("general.file_type", UINT32, 15),
        ("split.no", UINT32, 1),
        ("split.count", UINT32, 3),
    ):
        whole = Written([(key, kind, value)], tail=b"").to_bytes()
        assert whole[len(written.to_bytes()) - len(written.tail) :] in head, key


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("m.Q8_0.gguf", "Q8_0"),
        ("m-q5_k_s.gguf", "Q5_K_S"),
        ("m-FP16.gguf", "F16"),
        ("m.UD-IQ2_XXS.gguf", "IQ2_XXS"),
        ("m-Q6_K_L.gguf", "Q6_K"),
        ("m.gguf", None),
    ],
)
def test_a_readers_view_of_it(name, label):
    header = read_header(header_of(name, FACTS, "o/n") + bytes(1000), 10**9)
    said = (header.architecture, header.context_length, header.parameter_count, header.file_type)
    assert said == ("qwen3moe", 262_144, 30_000_000_000, label)


def test_large_models_begin_with_it_wherever_a_range_begins():
    file = gguf("x.Q4_K_M.gguf", content.TRUE_CONTENT_LIMIT + 1)
    there = repository("owner/model", files=[file], gguf=FACTS)
    head = header_of(file.path, FACTS, there.model_id)
    whole = served(there, file)
    assert len(whole) == file.size
    assert whole[: len(head)] == head
    assert whole[len(head) :] == content.content(file.key, file.size)[len(head) :]
    cuts = [0, 1, 100, len(head) - 1, len(head), len(head) + 1, 65_536, file.size]
    parts = [served(there, file, f"bytes={start}-{stop - 1}") for start, stop in pairwise(cuts)]
    assert b"".join(parts) == whole


@pytest.mark.parametrize(("path", "size"), [("x.gguf", content.TRUE_CONTENT_LIMIT), ("imatrix.dat", 10**7)])
def test_small_files_and_others_are_what_their_checksum_is_of(path, size):
    file = gguf(path, size)
    there = repository("owner/model", files=[file], gguf=FACTS)
    assert served(there, file, "bytes=0-99") == content.content(file.key, 100)
