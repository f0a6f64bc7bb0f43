"""The walk over the listing: page after page, each handed on before the next one is asked for.

What belongs here: the fields asked for, following the Hub's links and refusing pages that cannot be
trusted. What does not: where pages are kept (a `PageSink`) and what their rows mean (`catalogue/`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import urlencode

from gguf_assets.hub.client import HubAnswer, HubClient
from gguf_assets.hub.errors import FailedTryError
from gguf_assets.hub.pages import PageCheck

CENSUS_FIELDS = (
    "sha",
    "createdAt",
    "lastModified",
    "downloads",
    "downloadsAllTime",
    "likes",
    "trendingScore",
    "gated",
    "private",
    "disabled",
    "library_name",
    "pipeline_tag",
    "tags",
)
"""`expand` values of a census: what exists, at which commit, and the counters."""

FULL_FIELDS = (*CENSUS_FIELDS, "siblings")
"""`expand` values of a full walk: the census and all file names."""

PAGE_SIZE = 1000
BY_CREATION, BY_MODIFICATION = "createdAt", "lastModified"
"""Sort keys of the listing, both descending."""


class PageSink(Protocol):
    """Where the pages of one walk go."""

    @property
    def next_link(self) -> str | None:
        """Path and query of the next page to fetch; None before the first page and after the last."""

    @property
    def pages_stored(self) -> int:
        """Pages kept so far, by earlier calls as well."""

    def store_page(
        self, content: bytes, *, rows: int, next_link: str | None, date: datetime, requests: int
    ) -> None:
        """Keep a page; once this returns it is never fetched again.

        Args:
            content: the body as it came.
            rows: rows in it.
            next_link: path and query of the page after it; None for the last one.
            date: the Hub's clock in the answer.
            requests: requests of this call of `walk` so far, this page's included.
        """


def first_page_path(fields: Sequence[str], *, sort: str = BY_CREATION) -> str:
    """Return path and query of the first page: all GGUF models, those with the latest dates first.

    Args:
        fields: `expand` values.
        sort: `BY_CREATION`, an immutable key, for a walk over all; `BY_MODIFICATION` for one over a window.
    """
    query = [("filter", "gguf"), ("sort", sort), ("limit", str(PAGE_SIZE))]
    return "/api/models?" + urlencode([*query, *(("expand", field) for field in fields)])


def walk(
    client: HubClient,
    sink: PageSink,
    *,
    fields: Sequence[str],
    until: datetime | None = None,
    first_page: HubAnswer | None = None,
    on_page: Callable[[int, int], None] | None = None,
) -> None:
    """Walk the listing to its end, from where the sink stands.

    A walk that was interrupted goes on at the page after the last stored one; one that has ended is left
    alone.

    Args:
        client: the Hub.
        sink: where pages go and where the walk stands.
        fields: `expand` values, `FULL_FIELDS` or `CENSUS_FIELDS`.
        until: walk by modification, and only to the page that reaches back to this time; None for all models.
        first_page: the answer to the first page's path if it was already asked for.
        on_page: called after every stored page with the pages stored so far and the rows of this one.

    Raises:
        TransientError: a page stayed broken, empty or out of reach; what was stored stays.
        PermanentError: the Hub linked to another origin, or refused (see `HubClient.get`).
    """
    path = sink.next_link
    if path is None:
        if sink.pages_stored > 0:
            return
        path = first_page_path(fields, sort=BY_CREATION if until is None else BY_MODIFICATION)
    else:
        first_page = None
    followed: set[str] = set()
    requests = 0
    while path is not None:
        followed.add(path)
        page = _ListingCheck(client.endpoint, followed, first=sink.pages_stored == 0, until=until)
        if first_page is not None:
            answer, first_page = _checked(client, path, first_page, page), None
        else:
            answer = client.get(path, check=page)
        requests += answer.requests
        sink.store_page(
            answer.content, rows=page.rows, next_link=page.next_link, date=answer.date, requests=requests
        )
        if on_page is not None:
            on_page(sink.pages_stored, page.rows)
        path = page.next_link


def _checked(client: HubClient, path: str, answer: HubAnswer, page: _ListingCheck) -> HubAnswer:
    """Return a page that was asked for before, or ask for it again if it cannot be used."""
    try:
        page(answer)
    except FailedTryError:
        return client.get(path, check=page)
    return answer


class _ListingCheck(PageCheck):
    """Judges pages of the listing, of which empty ones are suspicious: the Hub is never empty.

    An empty last page is asked for once more: a Hub whose pages come out even ends so, a faulty one may.
    """

    def __init__(
        self, endpoint: str, followed: set[str], *, first: bool, until: datetime | None = None
    ) -> None:
        super().__init__(endpoint, followed)
        self._first = first
        self._until = until
        self._asked_again = False

    def __call__(self, answer: HubAnswer) -> None:
        super().__call__(answer)
        if self.rows == 0 and self._first:
            raise FailedTryError("answered with an empty listing")
        if self.rows == 0 and self.next_link is None and not self._asked_again:
            self._asked_again = True
            raise FailedTryError("ended the listing with an empty page")
        if self._until is not None and self._reaches(self._until):
            self.next_link = None
        self.items = []  # a page's objects are many, and nobody else looks at them

    def _reaches(self, edge: datetime) -> bool:
        """Whether the page's last readable date lies before a time: later pages are older still."""
        for row in reversed(self.items):
            modified = row.get("lastModified") if isinstance(row, dict) else None
            if not isinstance(modified, str):
                continue
            try:
                moment = datetime.fromisoformat(modified)
            except ValueError:
                continue
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) < edge
        return False
