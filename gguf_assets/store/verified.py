"""What checking has found, and the reading behind it: each file once, however many names it has.

What belongs here: that. What does not: which files are checked (`verifying.py`, `verifying_copies.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from gguf_assets.atomic import storage_errors
from gguf_assets.store.digests import sha256_of


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        path: the file.
        what: what is wrong with it.
        remedy: what heals it, or that nothing can.
        day: the published day it belongs to; None for none.
    """

    path: str
    what: str
    remedy: str
    day: date | None = None


@dataclass
class Verified:
    """What was checked and found.

    Attributes:
        days: published days that were checked.
        files: files that were read.
        bytes: bytes that were read.
        thinned: days whose `files` are left out on purpose.
        rebuilt: those of them that were rebuilt and compared.
        captures: captures that were checked.
        backups: backups that were checked.
        findings: what is wrong.
        notes: what is worth knowing and does no harm.
    """

    days: list[date] = field(default_factory=list)
    files: int = 0
    bytes: int = 0
    thinned: list[date] = field(default_factory=list)
    rebuilt: list[date] = field(default_factory=list)
    captures: int = 0
    backups: int = 0
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Reading:
    """Reads files and notes what is wrong; one that has several names is read once.

    Attributes:
        verified: what was checked and found so far.
    """

    def __init__(self) -> None:
        self._digests: dict[tuple[int, int, int, int], str] = {}
        self.verified = Verified()

    def difference(self, path: Path, size: int, sha256: str) -> str | None:
        """Return how a file differs from what it must be; None when it does not."""
        with storage_errors(path, "read"):
            if path.is_symlink() or not path.is_file():
                return "the file is missing" if not path.is_symlink() else "it is a symbolic link"
            facts = path.stat()
            if facts.st_size != size:
                return f"it has {facts.st_size:,} bytes instead of {size:,}"
            key = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)
            if key not in self._digests:
                self._digests[key] = sha256_of(path)
                self.verified.files += 1
                self.verified.bytes += size
            found = self._digests[key]
        return None if found == sha256 else f"its SHA-256 is {found} instead of {sha256}"

    def note(self, path: Path, what: str, remedy: str, day: date | None = None) -> None:
        """Note something that is wrong."""
        self.verified.findings.append(Finding(str(path), what, remedy, day))
