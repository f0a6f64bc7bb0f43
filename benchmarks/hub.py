"""The Hub of a benchmark, in a process of its own, so that its work and memory are nobody else's.

    python -m benchmarks.hub REPOSITORIES DAYS

Prints one JSON line when it answers (`url`, its `days`, and per kind of walk the `walks` path of the first
page), then serves until it is ended by a signal.
"""

from __future__ import annotations

import sys

import orjson

from gguf_assets.demo.generate import GeneratedHub
from gguf_assets.demo.server import LoopbackHub, serve
from gguf_assets.hub.walk import CENSUS_FIELDS, FULL_FIELDS, first_page_path


def main(repositories: int, days: int) -> None:
    """Serve the first of the generated days."""
    source = GeneratedHub(repositories=repositories, days=days)
    walks = {"full": first_page_path(FULL_FIELDS), "census": first_page_path(CENSUS_FIELDS)}

    def announce(hub: LoopbackHub) -> None:
        print(orjson.dumps({"url": hub.url, "days": source.days, "walks": walks}).decode(), flush=True)

    serve(source, day=source.days[0], port=0, announce=announce)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
