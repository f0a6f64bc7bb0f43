"""The command line as a process of its own, which sees nothing of this machine but what a test gives it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 180.0
"""How long a test waits for something that takes a moment; a busy machine needs many of them."""


@dataclass(frozen=True)
class Ended:
    """A process that has ended; `code` is negative where a signal ended it."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The JSON object that `--json` prints as the last line."""
        return json.loads(self.stdout.splitlines()[-1])


def environment(home: Path, endpoint: str, **more: str) -> dict[str, str]:
    """Return a minimal environment: data in `home/data`, the loopback Hub, no token.

    Known details are not asked for again, so that a test counts the requests it causes, and one request is
    sent after the other, so that it knows which comes when.
    """
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "NO_PROXY": "127.0.0.1,localhost",
        "HF_ENDPOINT": endpoint,
        "SYNC_ENVIRONMENT": "testing",
        "GGUF_ASSETS_DATA_DIR": str(home / "data"),
        "GGUF_SYNC__VALIDATION__FILE_VERIFICATION_REQUESTS": "0",
        "MAX_CONCURRENCY": "1",
        # A process of the tests holds a thousand things beside the sync under test.
        "GGUF_SYNC__PERFORMANCE__MEMORY_LIMIT_MB": "8192",
        **more,
    }


def start(*arguments: str, environ: Mapping[str, str], **options: Any) -> subprocess.Popen[str]:
    """Start `gguf-assets ARGUMENTS` in the home of its environment and return at once."""
    return subprocess.Popen(
        [sys.executable, "-m", "gguf_assets.cli", *arguments],
        env=dict(environ),
        cwd=environ["HOME"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def ended(process: subprocess.Popen[str]) -> Ended:
    """Wait for a started process; one that does not end is killed and fails the test."""
    try:
        stdout, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Ended(process.returncode, stdout, stderr)


def run(*arguments: str, environ: Mapping[str, str]) -> Ended:
    """Run `gguf-assets ARGUMENTS` to its end."""
    return ended(start(*arguments, environ=environ))


def wait_until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """Return the first true value of a condition.

    Raises:
        AssertionError: it did not come true in time.
    """
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {seconds:.0f} s in vain for {what}"
        time.sleep(0.02)
    return value
