"""The raw files of a capture: stored atomically, read back only if they are what was stored.

A name that ends in `.zst` is that of a compressed file; a capture may hold both kinds. What belongs here:
compression and digest of one file. What does not: which files there are (the manifest).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa

from gguf_assets.atomic import damaged, storage_errors, write_atomically
from gguf_assets.errors import PermanentError
from gguf_assets.store.layout import COMPRESSED

_CODEC = pa.Codec("zstd", compression_level=3)


def store_raw(path: Path, content: bytes) -> str:
    """Store content, compressed if the name says so; return the SHA-256 of the stored file, in hexadecimal.

    Raises:
        PermanentError: the disk refused (category `storage`).
    """
    stored = _CODEC.compress(content, asbytes=True) if path.suffix == COMPRESSED else content
    write_atomically(path, stored)
    return hashlib.sha256(stored).hexdigest()


def load_raw(path: Path, sha256: str) -> bytes:
    """Return the content of a stored file.

    Raises:
        PermanentError: the file is missing or not the one with that SHA-256 (category `data`).
    """
    if not path.is_file():
        raise capture_damaged(path, "the file is missing")
    with storage_errors(path, "read"):
        stored = path.read_bytes()
    if hashlib.sha256(stored).hexdigest() != sha256:
        raise capture_damaged(path, f"its SHA-256 is not the recorded {sha256}")
    if path.suffix != COMPRESSED:
        return stored
    # pa.decompress would want to be told the size.
    with pa.CompressedInputStream(pa.BufferReader(stored), "zstd") as stream:
        content: bytes = stream.read()
    return content


def capture_damaged(path: Path, what: str) -> PermanentError:
    """Return the error for a damaged file of a capture."""
    return damaged(
        path,
        what,
        f"Put {path.name} back from a backup, or, while the Hub still shows that day, walk it again: "
        "gguf-assets sync --refetch",
    )
