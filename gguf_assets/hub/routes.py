"""Further discovery routes: other ways to ask the Hub for GGUF models, to find what the tag filter lacks.

Each route is a few listing requests, capped: it samples the Hub from another side, it does not walk it whole.
What belongs here: which requests a route is made of, and walking them. What does not: what their rows mean
(`catalogue/extras`): most of them are listed anyway, and some are no GGUF models at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from urllib.parse import urlencode

from gguf_assets.errors import ErrorCategory, GgufAssetsError, PermanentError
from gguf_assets.hub.client import HubClient
from gguf_assets.hub.pages import PageCheck
from gguf_assets.hub.walk import FULL_FIELDS, PAGE_SIZE, PageSink

SEARCH, PUBLISHERS, APPS = "search", "publishers", "apps"
ROUTES = (SEARCH, PUBLISHERS, APPS)
"""The routes in the order in which they are walked and named."""

MOST_PAGES = {SEARCH: 5, PUBLISHERS: 10, APPS: 5}
"""Pages after which a route ends, whatever more there is."""

MOST_PUBLISHERS = 10
"""Publishers that are asked for their newest models, one page each."""

_FATAL = frozenset({ErrorCategory.AUTHENTICATION, ErrorCategory.STORAGE, ErrorCategory.TIMEOUT})
"""Permanent errors that are about the run as a whole, not about one route: token, disk, its time is up."""


class RouteSink(PageSink, Protocol):
    """Where the pages of one route go; its first page has a link already."""

    def end(self, *, requests: int, error: str | None = None) -> None:
        """End the route early: capped, or broken off by an error."""


def route_links(publishers: Sequence[str]) -> dict[str, list[str]]:
    """Return the first requests of every route, as paths and queries.

    Args:
        publishers: owners of the most models in the listing, the first `MOST_PUBLISHERS` count.
    """
    return {
        SEARCH: [_listing(search="gguf", sort="lastModified")],
        PUBLISHERS: [_listing(author=name, sort="createdAt") for name in publishers[:MOST_PUBLISHERS]],
        APPS: [_listing(apps="llama.cpp", sort="downloads")],
    }


def walk_route(client: HubClient, sink: RouteSink, *, most_pages: int, until: datetime | None = None) -> None:
    """Walk one route to its end or its cap; a route that fails ends there, and says why.

    Args:
        client: the Hub.
        sink: where its pages go and where it stands.
        most_pages: pages after which it ends.
        until: pages from this time of the Hub on belong to another day; None takes them all.

    Raises:
        PermanentError: the token was refused, the disk, or the time of a sync is up: no other request would
            fare better.
    """
    followed: set[str] = set()
    requests_before = client.requests
    while (link := sink.next_link) is not None:
        if sink.pages_stored >= most_pages:
            sink.end(requests=client.requests - requests_before)
            return
        followed.add(link)
        page = PageCheck(client.endpoint, followed)
        try:
            answer = client.get(link, check=page)
        except GgufAssetsError as error:
            if isinstance(error, PermanentError) and error.category in _FATAL:
                raise
            sink.end(requests=client.requests - requests_before, error=error.message)
            return
        if until is not None and answer.date >= until:
            late = f"not finished in time: the Hub's clock says {answer.date:%Y-%m-%d %H:%M} UTC"
            sink.end(requests=client.requests - requests_before, error=late)
            return
        # The newest page of a publisher is enough, and the next publisher is the next link.
        following = None if link.startswith(_AUTHOR) else page.next_link
        sink.store_page(
            answer.content,
            rows=page.rows,
            next_link=following,
            date=answer.date,
            requests=client.requests - requests_before,
        )


_LISTING = "/api/models?"
_AUTHOR = _LISTING + "author="


def _listing(**query: str) -> str:
    pairs = [*query.items(), ("limit", str(PAGE_SIZE)), *(("expand", field) for field in FULL_FIELDS)]
    return _LISTING + urlencode(pairs)
