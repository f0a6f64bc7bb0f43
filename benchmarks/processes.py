"""Fresh processes and what they cost: wall time from start to exit, and the peak of their memory.

Imports nothing but the standard library: the system counts the memory of the process that starts another
one into the peak of the other, so the one that measures has to stay small.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parent.parent
_KEPT = ("PATH", "LANG", "TMPDIR", "VIRTUAL_ENV")


class FailedProcessError(Exception):
    """A process of the benchmark ended with an error; the text holds the end of what it said."""


@dataclass(frozen=True)
class Cost:
    """What a process cost.

    Attributes:
        seconds: wall time from start to exit.
        cpu_seconds: time of all its threads on a core, in the system's own work included.
        peak_bytes: most resident memory, shared libraries included.
        last_line: last line of its standard output.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    last_line: str


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return a minimal environment: no token, no proxy, no settings of the caller."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {
        **kept,
        "HOME": str(home),
        "PYTHONPATH": str(_ROOT),
        "NO_PROXY": "127.0.0.1,localhost",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        **more,
    }


def run(arguments: list[str], environ: Mapping[str, str]) -> Cost:
    """Run `python -m …` to its end and measure it.

    Raises:
        FailedProcessError: it ended with another exit code than 0.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        process = subprocess.Popen(_python(arguments), env=environ, stdout=output, stderr=errors, cwd=_ROOT)
        # Unlike getrusage(RUSAGE_CHILDREN) this tells the peak of this very process.
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        lines = output.read().decode().splitlines()
        if process.returncode != 0:
            said = "\n".join([*lines, *errors.read().decode().splitlines()][-20:])
            raise FailedProcessError(f"{' '.join(arguments)} ended with {process.returncode}:\n{said}")
    # Linux counts in kibibytes, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    cpu_seconds = usage.ru_utime + usage.ru_stime
    return Cost(seconds, cpu_seconds, usage.ru_maxrss * unit, lines[-1] if lines else "")


@dataclass(frozen=True)
class Hub:
    """A running Hub.

    Attributes:
        url: its endpoint.
        days: the days it can show, as texts.
        walks: kind of walk to path and query of its first page.
        routes: path and query of the first pages of the further routes, each with its most pages.
    """

    url: str
    days: list[str]
    walks: Mapping[str, str]
    routes: list[tuple[str, int]]

    def show(self, day: str) -> None:
        """Move the Hub to noon of a day."""
        self._control("POST", "/day", {"day": day})

    def warm(self, walk: str) -> int:
        """Walk once, so that the Hub has made every page; return the number of pages of the listing.

        A full sync also samples further routes, which are asked for as well.
        """
        for route, most_pages in self.routes if walk == "full" else ():
            self._pages(route, 1 if "author=" in route else most_pages)
        return self._pages(self.walks[walk], None)

    def _pages(self, path: str, most: int | None) -> int:
        link: str | None = self.url + path
        pages = 0
        while link is not None and (most is None or pages < most):
            with urllib.request.urlopen(link, timeout=600) as answer:
                answer.read()
                named = answer.headers.get("link")
            link = None if named is None else named.partition("<")[2].partition(">")[0]
            pages += 1
        return pages

    def requests(self) -> int:
        """Return how many requests arrived since this was asked last."""
        count = len(self._control("GET", "/requests"))
        self._control("DELETE", "/requests")
        return count

    def _control(self, method: str, path: str, content: Any = None) -> Any:
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(f"{self.url}/_loopback{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.load(answer)


@contextmanager
def generated_hub(repositories: int, days: int, home: Path) -> Iterator[Hub]:
    """Serve a generated Hub from another process.

    Raises:
        FailedProcessError: it did not come up.
    """
    arguments = ["benchmarks.hub", str(repositories), str(days)]
    process = subprocess.Popen(
        _python(arguments), env=environment(home), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, cwd=_ROOT
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise FailedProcessError(f"The generated Hub ended with {process.wait()} before it answered")
        yield Hub(**json.loads(line))
    finally:
        process.terminate()
        process.communicate()


def _python(arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", *arguments]
