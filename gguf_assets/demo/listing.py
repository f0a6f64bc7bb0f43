"""`GET /api/models`: which repositories are listed, in which order, and where the next page begins.

The cursor is a keyset on (sort key, `_id`) evaluated against the Hub as it stands when the page is asked
for, so nothing is remembered between pages and a walk over a moving sort misses and repeats rows, as on the
real Hub.
"""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

import orjson

from gguf_assets.demo import documents
from gguf_assets.demo.answers import Answer, as_json, bad_request
from gguf_assets.demo.state import HubState, Repository

HUB_PAGE_SIZE = 1000
CACHED_PAGES = 512
GGUF_APPS = frozenset({"llama.cpp", "ollama", "lmstudio", "jan", "koboldcpp"})
"""Values of `apps` that a repository with a GGUF file satisfies."""

Parameters = list[tuple[str, str]]


def _milliseconds(stamp: str) -> int:
    moment = datetime.fromisoformat(stamp.replace("Z", "+00:00"))
    return round(moment.astimezone(UTC).timestamp() * 1000)


SORT_KEYS: dict[str, Callable[[Repository], float]] = {
    "createdAt": lambda r: _milliseconds(r.created_at),
    "lastModified": lambda r: _milliseconds(r.last_modified),
    "trendingScore": lambda r: r.trending_score or 0,
    "downloads": lambda r: r.downloads,
    "likes": lambda r: r.likes,
}
"""What the listing can be sorted by: always descending, ties by `_id` ascending."""


@dataclass(frozen=True)
class Query:
    """What a listing request asks for, apart from the page."""

    filters: frozenset[str]
    apps: frozenset[str]
    search: str | None
    author: str | None
    gated: str | None
    pipeline_tag: str | None
    sort: str

    def matches(self, repository: Repository) -> bool:
        """Return whether the repository belongs to the listing; private ones never do."""
        if repository.private:
            return False
        if not self.filters <= {*repository.tags, repository.library_name, repository.pipeline_tag}:
            return False
        if self.author is not None and repository.owner != self.author:
            return False
        if self.search is not None and self.search.lower() not in repository.model_id.lower():
            return False
        if self.gated is not None and bool(repository.gated) != (self.gated == "true"):
            return False
        if self.pipeline_tag is not None and repository.pipeline_tag != self.pipeline_tag:
            return False
        return not self.apps or (self.apps <= GGUF_APPS and _has_gguf_file(repository))


class Listing:
    """The listings of one day of a Hub; orders and pages are made once and kept."""

    def __init__(self, state: HubState) -> None:
        self._state = state
        # One cache a state: it goes when the state goes.
        self._order = lru_cache(maxsize=32)(self._ordered)
        self._page = lru_cache(maxsize=CACHED_PAGES)(self._made_page)

    def answer(self, parameters: Parameters, address: str, page_size: int) -> Answer:
        """Return the page that the parameters of the request ask for.

        Args:
            parameters: the decoded query, in order.
            address: scheme, host and path that the Link to the next page starts with.
            page_size: most items a page may have.
        """
        given = dict(parameters)
        expand = [value for key, value in parameters if key in ("expand", "expand[]")]
        if refused := [value for value in expand if value not in documents.EXPANDABLE_IN_LISTING]:
            return invalid_expand(refused[0], documents.EXPANDABLE_IN_LISTING)
        sort = given.get("sort", "trendingScore")
        if sort not in SORT_KEYS:
            return bad_request(f"Invalid sort parameter: {sort}. Allowed: {', '.join(SORT_KEYS)}")
        try:
            limit = int(given.get("limit", HUB_PAGE_SIZE))
            after = decode_cursor(given["cursor"], sort) if "cursor" in given else None
        except ValueError as error:
            return bad_request(f"Invalid limit or cursor: {error}")
        if limit < 1:
            return bad_request(f"Invalid limit: {limit}, it must be at least 1")

        query = Query(
            filters=frozenset(value for key, value in parameters if key == "filter"),
            apps=frozenset(value for key, value in parameters if key == "apps"),
            search=given.get("search"),
            author=given.get("author"),
            gated=given.get("gated"),
            pipeline_tag=given.get("pipeline_tag"),
            sort=sort,
        )
        body, cursor = self._page(query, _fields(expand, given), after, min(limit, page_size))
        answer = as_json(body)
        if cursor is not None:
            kept = [(key, value) for key, value in parameters if key != "cursor"]
            answer.headers["link"] = f'<{address}?{urlencode([*kept, ("cursor", cursor)])}>; rel="next"'
        return answer

    def _ordered(self, query: Query) -> tuple[list[tuple[float, str]], list[Repository]]:
        key = SORT_KEYS[query.sort]
        rows = [(-key(r), r.hub_id, r) for r in self._state.repositories if query.matches(r)]
        rows.sort(key=lambda row: row[:2])
        return [(negated, hub_id) for negated, hub_id, _ in rows], [r for _, _, r in rows]

    def _made_page(
        self, query: Query, fields: tuple[str, ...], after: tuple[float, str] | None, size: int
    ) -> tuple[bytes, str | None]:
        keys, repositories = self._order(query)
        start = 0 if after is None else bisect_right(keys, (-after[0], after[1]))
        stop = start + size
        body = orjson.dumps([documents.item(r, fields) for r in repositories[start:stop]])
        if stop >= len(keys):
            return body, None
        return body, encode_cursor(query.sort, -keys[stop - 1][0], keys[stop - 1][1])


def invalid_expand(value: str, allowed: tuple[str, ...]) -> Answer:
    """Return the 400 for a value of `expand` that is not allowed here."""
    return bad_request(f'Invalid option for "expand": "{value}". Expected one of {"|".join(allowed)}')


def encode_cursor(sort: str, key: float, hub_id: str) -> str:
    """Return the cursor behind the row with this key: base64 JSON of a keyset condition, as the Hub's."""
    value: Any = _stamp(key) if sort in ("createdAt", "lastModified") else key
    condition = {"$or": [{sort: value, "_id": {"$gt": hub_id}}, {sort: {"$lt": value}}]}
    return base64.b64encode(orjson.dumps(condition)).decode()


def decode_cursor(cursor: str, sort: str) -> tuple[float, str]:
    """Return (sort key, `_id`) of the row that the page begins after; a foreign cursor is a `ValueError`."""
    try:
        tie = orjson.loads(base64.b64decode(cursor, validate=True))["$or"][0]
        value, hub_id = tie[sort], tie["_id"]["$gt"]
        return (_milliseconds(value) if isinstance(value, str) else float(value)), str(hub_id)
    except (binascii.Error, KeyError, IndexError, TypeError) as error:
        raise ValueError(f"{cursor} is no cursor of a listing sorted by {sort}") from error


def _stamp(milliseconds: float) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(expand: list[str], given: dict[str, str]) -> tuple[str, ...]:
    if expand:
        return tuple(sorted(set(expand)))
    fields = documents.FULL_ITEM if given.get("full") == "true" else documents.DEFAULT_ITEM
    extra = [
        name for name, key in (("config", "config"), ("cardData", "cardData")) if given.get(key) == "true"
    ]
    return (*fields, *extra)


def _has_gguf_file(repository: Repository) -> bool:
    return any(path.lower().endswith(".gguf") for path in repository.file_set.paths())
