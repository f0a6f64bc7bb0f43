"""Digests of rows and of files.

A row digest speaks of values alone: not of the Parquet writer, its version, compression, nor of how the
rows came in batches. What does not belong here: files of Parquet (`datasets.py`).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.atomic import storage_errors
from gguf_assets.catalogue.schema import ROW_GROUP_ROWS


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal.

    Raises:
        PermanentError: the file cannot be read (category `storage`).
    """
    with storage_errors(path, "read"), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class RowDigest:
    """SHA-256 over the values of a table, fed in slices of `ROW_GROUP_ROWS` rows, the last one shorter.

    Per slice and column stand the number of values, which of them are null, and the values that are not:
    numbers as little-endian bytes, texts as lengths and bytes, lists and structs by their parts.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._hash = hashlib.sha256()
        self._rows = 0
        for field in schema:
            self._add(f"{field.name}:{field.type}".encode())

    def update(self, table: pa.Table) -> None:
        """Add the next slice.

        Raises:
            ValueError: the slice is longer than `ROW_GROUP_ROWS`, or follows one that was shorter.
            TypeError: a column has a type of which no canonical bytes are declared.
        """
        if table.num_rows > ROW_GROUP_ROWS or self._rows % ROW_GROUP_ROWS:
            raise ValueError(
                f"slices of {ROW_GROUP_ROWS} rows are expected, only the last one may be shorter"
            )
        self._rows += table.num_rows
        for column in table.columns:
            self._add_array(pa.concat_arrays(column.chunks) if column.num_chunks != 1 else column.chunk(0))

    def hexdigest(self) -> str:
        """Return the digest of everything added so far, in hexadecimal."""
        return self._hash.hexdigest()

    def _add(self, data: bytes | memoryview | pa.Buffer) -> None:
        view = memoryview(data)
        self._hash.update(view.nbytes.to_bytes(8, "little"))
        self._hash.update(view)

    def _add_array(self, array: pa.Array) -> None:
        self._hash.update(len(array).to_bytes(8, "little"))
        if array.null_count:
            valid = array.is_valid().to_numpy(zero_copy_only=False)
            self._add(np.packbits(valid, bitorder="little").tobytes())
            array = array.drop_null()
        else:
            self._add(b"")
        self._add_values(array)

    def _add_values(self, array: pa.Array) -> None:
        """Add the values of an array without nulls; it may be a slice, so offsets are honoured everywhere."""
        kind = array.type
        if pa.types.is_string(kind) or pa.types.is_binary(kind):
            self._add(_fixed_width_bytes(pc.binary_length(array)))
            self._add(_text_bytes(array))
        elif pa.types.is_list(kind):
            self._add(_fixed_width_bytes(pc.list_value_length(array)))
            self._add_array(array.flatten())
        elif pa.types.is_struct(kind):
            for child in array.flatten():
                self._add_array(child)
        elif pa.types.is_boolean(kind):
            self._add(_fixed_width_bytes(array.cast(pa.uint8())))
        elif pa.types.is_primitive(kind):
            self._add(_fixed_width_bytes(array))
        else:
            raise TypeError(f"no canonical bytes are declared for values of type {kind}")


def row_digest(table: pa.Table) -> str:
    """Return the row digest of a whole table, in hexadecimal."""
    digest = RowDigest(table.schema)
    for start in range(0, table.num_rows, ROW_GROUP_ROWS):
        digest.update(table.slice(start, ROW_GROUP_ROWS))
    return digest.hexdigest()


def _fixed_width_bytes(array: pa.Array) -> pa.Buffer | bytes:
    values = array.buffers()[1]
    if values is None:
        return b""
    width = array.type.bit_width // 8
    return values.slice(array.offset * width, len(array) * width)


def _text_bytes(array: pa.Array) -> pa.Buffer | bytes:
    _, offsets, values = array.buffers()
    if values is None or not len(array):
        return b""
    bounds = np.frombuffer(offsets, dtype=np.int32)
    start, end = int(bounds[array.offset]), int(bounds[array.offset + len(array)])
    return values.slice(start, end - start)
