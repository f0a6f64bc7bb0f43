"""An append-only file of JSON records that survives a kill at any moment.

One record is one line. A record is handed to the operating system before the call returns, so a killed
process loses at most the record in flight; a torn last line is dropped at the next opening. What does not
belong here: what the records mean and where they go afterwards (`captures.py`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson

from gguf_assets.atomic import storage_errors


class Spool:
    """The records of one owner, in the order they came; no file is held open between calls.

    Args:
        path: file of the spool; made by the first record.
        owner: text that names what the records belong to; what another owner left there is dropped.

    Raises:
        PermanentError: the disk refused (category `storage`).
    """

    def __init__(self, path: Path, owner: str) -> None:
        self._path = path
        self._header = _line({"spool_of": owner})
        with storage_errors(path, "read"):
            self.records = self._recover()

    def append(self, record: dict[str, Any]) -> None:
        """Add a record; it survives the end of this process once the call has returned.

        Raises:
            PermanentError: the disk refused (category `storage`); the record is not kept.
        """
        with storage_errors(self._path, "write"):
            if not self.records:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._path.write_bytes(self._header)
            append_whole(self._path, _line(record))
        self.records.append(record)

    def clear(self) -> None:
        """Drop all records and the file."""
        with storage_errors(self._path, "write"):
            self._path.unlink(missing_ok=True)
        self.records = []

    def _recover(self) -> list[dict[str, Any]]:
        content = self._path.read_bytes() if self._path.exists() else b""
        if not content.startswith(self._header):
            return []
        records = []
        sound = len(self._header)
        while (end := content.find(b"\n", sound)) >= 0:
            try:
                records.append(orjson.loads(content[sound:end]))
            except orjson.JSONDecodeError:
                break
            sound = end + 1
        if sound < len(content):
            os.truncate(self._path, sound)
        return records


def append_whole(path: Path, data: bytes, *, sync: bool = False) -> None:
    """Append to a file all of `data` or, when the disk refuses, nothing.

    Args:
        path: file to append to; made when missing, its folder is not.
        data: what to append.
        sync: also force it to the disk.

    Raises:
        OSError: the disk refused.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        end = os.fstat(descriptor).st_size
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
        except OSError:
            os.ftruncate(descriptor, end)
            raise
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _line(record: dict[str, Any]) -> bytes:
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
