"""The Hub of a benchmark, in a process of its own, so that its work and memory are nobody else's.

    python -m benchmarks.hub REPOSITORIES DAYS

Prints one JSON line when it answers (`url`, its `days`, per kind of walk the `walks` path of the first
page, and the `routes` that a full sync asks besides), then serves until it is ended by a signal.
"""

from __future__ import annotations

import sys
from collections import Counter

import orjson

from gguf_assets.demo.generate import GeneratedHub
from gguf_assets.demo.server import LoopbackHub, serve
from gguf_assets.hub.routes import MOST_PAGES, route_links
from gguf_assets.hub.walk import CENSUS_FIELDS, FULL_FIELDS, first_page_path


def main(repositories: int, days: int) -> None:
    """Serve the first of the generated days."""
    source = GeneratedHub(repositories=repositories, days=days)
    owners = Counter(repository.owner for repository in source.on(source.days[0]).repositories)
    largest = sorted(owners, key=lambda owner: (-owners[owner], owner))
    routes = [(link, MOST_PAGES[name]) for name, links in route_links(largest).items() for link in links]
    walks = {"full": first_page_path(FULL_FIELDS), "census": first_page_path(CENSUS_FIELDS)}

    def announce(hub: LoopbackHub) -> None:
        print(
            orjson.dumps({"url": hub.url, "days": source.days, "walks": walks, "routes": routes}).decode(),
            flush=True,
        )

    serve(source, day=source.days[0], port=0, announce=announce)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
