"""A whole full sync against the peer: `HfApi.list_models` with the same fields into pandas into one Parquet.

    python -m benchmarks.full_day [--repositories N] [--repeat N] [--second-day] [--json]

A generated Hub runs in a process of its own and has made every page before anything is timed. Sync and peer
then run in turn, each in a fresh process; the times are wall times from start to exit. What the quality of
the stored day costs is measured after them, part by part (`benchmarks.quality`).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import quality
from benchmarks.processes import FailedProcessError, Hub, environment, generated_hub, run

AIM_RATIO, AIM_BYTES = 1.0, 600_000_000
_MB = 1_000_000


@dataclass(frozen=True)
class Sync:
    """One measured sync.

    Attributes:
        seconds: wall time from start to exit.
        cpu_seconds: time on a core, that of all threads added up.
        peak_bytes: most resident memory.
        models: rows of the published `models`.
        requests: requests the Hub saw.
        pages: pages of the listing.
        stages: step to seconds, in order, and `process and Dagster` for all that is no step.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    models: int
    requests: int
    pages: int
    stages: dict[str, float]


@dataclass(frozen=True)
class Peer:
    """One measured run of the peer; `requests` as the Hub saw them."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    models: int
    requests: int


@dataclass(frozen=True)
class Result:
    """The medians of all rounds; `ratio` is sync by peer, `second_day` the quiet incremental day after it.

    `quality` has the parts of the last round's stored day, each done once more.
    """

    repositories: int
    rounds: int
    sync: Sync
    peer: Peer
    quality: dict[str, quality.Part]
    second_day: Sync | None

    @property
    def ratio(self) -> float:
        """Wall time of the sync by that of the peer."""
        return self.sync.seconds / self.peer.seconds

    def as_json(self) -> dict[str, Any]:
        """Return everything as one JSON object."""
        return {**asdict(self), "ratio": self.ratio, "aim_ratio": AIM_RATIO, "aim_bytes": AIM_BYTES}


def measure(
    repositories: int, rounds: int, *, second_day: bool = False, say: Callable[[str], None] = lambda _: None
) -> Result:
    """Run the benchmark.

    Args:
        repositories: size of the generated Hub on its first day.
        rounds: how often both run; the medians are returned.
        second_day: also sync the day after, incrementally, on top of the last full sync.
        say: told what is going on.

    Raises:
        FailedProcessError: a process failed, or the sync published nothing.
    """
    syncs: list[Sync] = []
    peers: list[Peer] = []
    later: Sync | None = None
    with tempfile.TemporaryDirectory(prefix="gguf-assets-bench-") as folder:
        home = Path(folder)
        say(f"Generating a Hub of {repositories:,} repositories …")
        with generated_hub(repositories, 1 + second_day, home) as hub:
            say("Letting it make its pages …")
            pages = hub.warm("full")
            for number in range(1, rounds + 1):
                data = home / f"data-{number}"
                say(f"Round {number} of {rounds}: full sync …")
                syncs.append(_sync(hub, data, hub.days[0], "full", pages))
                say(f"Round {number} of {rounds}: the peer …")
                peers.append(_peer(hub, home))
            say("Quality of the stored day, part by part …")
            parts = quality.measure(home / f"data-{rounds}", _environment(hub, home / f"data-{rounds}"))
            if second_day:
                say(f"Letting it live on to {hub.days[1]} …")
                hub.show(hub.days[1])
                pages = hub.warm("census")
                say("Incremental sync …")
                later = _sync(hub, home / f"data-{rounds}", hub.days[1], "incremental", pages)
    return Result(repositories, rounds, _median_sync(syncs), _median_peer(peers), parts, later)


def _environment(hub: Hub, data: Path) -> dict[str, str]:
    return environment(
        data.parent, HF_ENDPOINT=hub.url, GGUF_ASSETS_DATA_DIR=str(data), SYNC_ENVIRONMENT="testing"
    )


def _sync(hub: Hub, data: Path, day: str, mode: str, pages: int) -> Sync:
    environ = _environment(hub, data)
    options = ["--date", day, "--mode", mode, "--details", "none", "--json"]
    hub.requests()
    cost = run(["gguf_assets.cli", "sync", *options], environ)
    requests = hub.requests()
    outcome = json.loads(cost.last_line)
    if not outcome["published"]:
        raise FailedProcessError(f"The sync published nothing: {cost.last_line}")
    stages: dict[str, float] = json.loads(run(["benchmarks.stages", str(data)], environ).last_line)
    stages["process and Dagster"] = cost.seconds - sum(stages.values())
    return Sync(cost.seconds, cost.cpu_seconds, cost.peak_bytes, outcome["models"], requests, pages, stages)


def _peer(hub: Hub, home: Path) -> Peer:
    hub.requests()
    cost = run(["benchmarks.peer", hub.url, str(home / "peer.parquet")], environment(home))
    return Peer(cost.seconds, cost.cpu_seconds, cost.peak_bytes, int(cost.last_line), hub.requests())


def _median_sync(syncs: list[Sync]) -> Sync:
    last = syncs[-1]
    return Sync(
        statistics.median(sync.seconds for sync in syncs),
        statistics.median(sync.cpu_seconds for sync in syncs),
        max(sync.peak_bytes for sync in syncs),
        last.models,
        max(sync.requests for sync in syncs),
        last.pages,
        {stage: statistics.median(sync.stages[stage] for sync in syncs) for stage in last.stages},
    )


def _median_peer(peers: list[Peer]) -> Peer:
    return Peer(
        statistics.median(peer.seconds for peer in peers),
        statistics.median(peer.cpu_seconds for peer in peers),
        max(peer.peak_bytes for peer in peers),
        peers[-1].models,
        max(peer.requests for peer in peers),
    )


def as_text(result: Result) -> str:
    """Return the result as tables for a terminal."""
    sync, peer = result.sync, result.peer
    lines = [
        f"{result.repositories:,} repositories, {result.rounds} round(s): median of wall times, worst peak",
        "",
        f"{'':<34}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}{'models':>10}{'requests':>10}",
        _line("full sync, published", sync),
        _line("peer: list_models, pandas, Parquet", peer),
        "",
        f"ratio {result.ratio:.2f} (aim: at most {AIM_RATIO:.2f}) · "
        f"peak {sync.peak_bytes / _MB:,.0f} MB (aim: at most {AIM_BYTES / _MB:,.0f}) · "
        f"{sync.requests} requests for {sync.pages} pages",
        "",
        *_stages("full sync", sync),
        "",
        f"{'quality of the stored day':<34}{'s':>9}{'share':>9}{'peak MB':>9}",
        *(
            f"{name:<34}{part.seconds:>9.2f}{part.seconds / sync.seconds:>9.0%}{part.peak_bytes / _MB:>9,.0f}"
            for name, part in result.quality.items()
        ),
    ]
    if result.second_day is not None:
        later = result.second_day
        lines += [
            "",
            _line("second day, incremental", later),
            "",
            f"against the full day: {later.seconds / sync.seconds:.2f} of its time · "
            f"{later.peak_bytes / sync.peak_bytes:.2f} of its memory · "
            f"{later.requests} requests, {later.pages} of them pages, against {sync.requests}",
            "",
            *_stages("second day", later),
        ]
    return "\n".join(lines)


def _line(name: str, measured: Sync | Peer) -> str:
    return (
        f"{name:<34}{measured.seconds:>9.2f}{measured.cpu_seconds:>9.2f}{measured.peak_bytes / _MB:>9,.0f}"
        f"{measured.models:>10,}{measured.requests:>10,}"
    )


def _stages(name: str, sync: Sync) -> list[str]:
    return [
        f"{'stage of the ' + name:<34}{'s':>9}{'share':>9}",
        *(f"{stage:<34}{took:>9.2f}{took / sync.seconds:>9.0%}" for stage, took in sync.stages.items()),
    ]


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark from the command line and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.full_day",
        description="A whole full sync without details against huggingface_hub + pandas, on a generated Hub.",
    )
    parser.add_argument("--repositories", type=_positive, default=200_000, help="size of the Hub (200000)")
    parser.add_argument("--repeat", type=_positive, default=1, metavar="N", help="rounds; medians count (1)")
    parser.add_argument("--second-day", action="store_true", help="also an incremental sync of the next day")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    options = parser.parse_args(arguments)

    def say(text: str) -> None:
        if not options.json:
            print(text, file=sys.stderr, flush=True)

    try:
        result = measure(options.repositories, options.repeat, second_day=options.second_day, say=say)
    except FailedProcessError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result.as_json()) if options.json else as_text(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
