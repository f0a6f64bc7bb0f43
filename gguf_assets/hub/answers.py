"""Answers of the Hub that passed all checks, and the check that most of them have to pass.

What does not belong here: asking (`client`), and what single kinds of answers have to look like.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gguf_assets.hub.errors import FailedTryError
from gguf_assets.jsontext import parse_json


@dataclass(frozen=True)
class HubAnswer:
    """An answer that passed all checks.

    Attributes:
        url: address that answered, after redirects.
        status: HTTP status, 200 or one that the caller allowed.
        headers: header fields, names in lower case.
        content: the body.
        date: the Hub's clock (the one `Date` header), UTC.
        next_url: address of the next page as the Hub named it (`Link`, rel "next"), unchecked; None on the
            last page.
        requests: requests that it took, retries and redirect hops included; those of others that were under
            way at the same time are not.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    content: bytes
    date: datetime
    next_url: str | None = None
    requests: int = 1


AnswerCheck = Callable[[HubAnswer], object]
"""Raises `FailedTryError` for an answer of status 200 that cannot be used; it is then asked for again."""


def expect_json(answer: HubAnswer) -> Any:
    """Return the body as JSON.

    Raises:
        FailedTryError: it is none.
    """
    try:
        return parse_json(answer.content)
    except ValueError as error:
        kind = answer.headers.get("content-type", "")
        if "html" in kind or answer.content.lstrip()[:1] == b"<":
            raise FailedTryError("answered with HTML instead of JSON") from None
        raise FailedTryError(f"answered with a body that is no JSON ({error})") from None
