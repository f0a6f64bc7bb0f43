"""One page of a paged list of the Hub: is it one, and where is the next?

What belongs here: what all paged lists have in common. What does not: the walk over a certain list.
"""

from __future__ import annotations

from typing import Any

from gguf_assets.hub.client import HubAnswer, expect_json
from gguf_assets.hub.errors import FailedTryError
from gguf_assets.hub.origin import path_on


class PageCheck:
    """Judges answers as the next page of a list and keeps what it learned of the one that passed.

    Args:
        endpoint: the one origin to which links may lead.
        followed: paths already asked for; a link back to one of them would go round for ever.

    Attributes:
        items: what the page lists.
        rows: how many that are.
        next_link: path and query of the page after it; None on the last one.
    """

    def __init__(self, endpoint: str, followed: set[str]) -> None:
        self._endpoint = endpoint
        self._followed = followed
        self.items: list[Any] = []
        self.rows = 0
        self.next_link: str | None = None

    def __call__(self, answer: HubAnswer) -> None:
        """Judge an answer.

        Raises:
            FailedTryError: it is no such page.
            PermanentError: it links to another origin (category `api`).
        """
        next_link = None if answer.next_url is None else path_on(self._endpoint, answer.next_url)
        rows = expect_json(answer)
        if not isinstance(rows, list):
            raise FailedTryError(f"answered with a JSON {type(rows).__name__} instead of a list")
        if next_link in self._followed:
            raise FailedTryError("linked back to a page that was already read")
        self.items, self.rows = rows, len(rows)
        self.next_link = next_link
