"""What judging, scoring, telling and exporting a stored day cost, each in a process of its own.

    python -m benchmarks.quality PART DATA_FOLDER

does one part again for the last published day and prints the seconds it took. The peak of the process is then
that of the part: beside it lies only what every process has loaded, which the part `start` tells.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import run

PARTS = ("start", "validation", "health", "reports", "export")


@dataclass(frozen=True)
class Part:
    """One measured part.

    Attributes:
        seconds: wall time of the part alone, what it imports included.
        peak_bytes: most resident memory of its process.
    """

    seconds: float
    peak_bytes: int


def measure(data: Path, environ: Mapping[str, str]) -> dict[str, Part]:
    """Do every part over a stored day.

    Raises:
        FailedProcessError: one failed.
    """
    costs = {part: run(["benchmarks.quality", part, str(data)], environ) for part in PARTS}
    return {part: Part(float(cost.last_line), cost.peak_bytes) for part, cost in costs.items()}


def main(part: str, folder: str) -> None:
    """Do one part and print how long it took."""
    from gguf_assets.orchestration.judging import judge
    from gguf_assets.orchestration.report_facts import facts_of, highlights_of
    from gguf_assets.orchestration.report_pages import write_pages
    from gguf_assets.orchestration.scoring import score_day
    from gguf_assets.orchestration.threads import ahead
    from gguf_assets.settings.load import load_settings
    from gguf_assets.store.export import export_latest
    from gguf_assets.store.layout import Layout
    from gguf_assets.store.store import Store

    settings = load_settings(os.environ)
    store = Store(Layout(data=Path(folder), state=Path(folder)))
    day = store.published.latest_day()
    manifest = None if day is None else store.published.manifest(day)
    if day is None or manifest is None:
        raise SystemExit(f"Nothing is published in {folder}")
    began = time.perf_counter()
    match part:
        case "start":
            pass
        case "validation":
            judge(store, settings, day)
        case "health":
            score_day(store, settings, day)
        case "reports":
            from gguf_assets.quality.report import day_report

            capture = store.captures.open(day, manifest.capture.run)
            facts, highlights = facts_of(manifest, capture, {}), highlights_of(store, manifest)
            day_report(facts, highlights)
            write_pages(store, settings, facts, highlights)
        case "export":
            store.layout.export_file.unlink()
            export_latest(store.layout, overlap=lambda texts: ahead(texts, 2))
        case _:
            raise SystemExit(f"There is no part {part!r}: use one of {', '.join(PARTS)}")
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main(*sys.argv[1:])
