"""The bytes of files nobody has: deterministic content of any size, readable at any position.

A recording knows names, sizes and checksums, never contents, so the loopback Hub serves pseudo-random bytes
of the right size. Their checksum is true only where a source chose its checksums from these very bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache

BLOCK_BYTES = 65_536
TRUE_CONTENT_LIMIT = 1 << 20
"""Up to this many bytes a checksum is computed from the content; beyond it would cost too much."""


@lru_cache(maxsize=64)
def _block(key: str, index: int) -> bytes:
    return hashlib.shake_128(f"{key}/{index}".encode()).digest(BLOCK_BYTES)


def blocks(key: str, start: int, stop: int) -> Iterator[bytes]:
    """Yield bytes `start` to `stop` (exclusive) of the content named `key`, one block at a time."""
    position = start
    while position < stop:
        index, offset = divmod(position, BLOCK_BYTES)
        chunk = _block(key, index)[offset : min(BLOCK_BYTES, offset + stop - position)]
        yield chunk
        position += len(chunk)


def content(key: str, size: int) -> bytes:
    """Return the first `size` bytes of the content named `key`."""
    return b"".join(blocks(key, 0, size))


def sha256_of(key: str, size: int) -> str:
    """Return the sha256 of a file: of its bytes up to `TRUE_CONTENT_LIMIT`, else invented."""
    if size <= TRUE_CONTENT_LIMIT:
        return hashlib.sha256(content(key, size)).hexdigest()
    return hashlib.sha256(f"{key}:{size}".encode()).hexdigest()


def lfs_pointer(sha256: str, size: int) -> bytes:
    """Return the pointer file that git keeps in place of an LFS file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def git_blob_id(data: bytes) -> str:
    """Return the git object id of a blob with these bytes."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@lru_cache(maxsize=4096)
def plain_blob_id(key: str, size: int) -> str:
    """Return the git object id of a plain (not LFS) file; invented beyond `TRUE_CONTENT_LIMIT`."""
    if size <= TRUE_CONTENT_LIMIT:
        return git_blob_id(content(key, size))
    return hashlib.sha1(f"{key}:{size}".encode(), usedforsecurity=False).hexdigest()
