"""Details of single repositories at a commit: sizes and hashes of files, and what the Hub read in them.

What belongs here: asking for one target, and for many under a budget. What does not: how many of them at the
same time (`asking`), which repositories are asked for, where answers are kept (a `DetailSink`) and what they
mean (`catalogue/`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from gguf_assets.hub.asking import Questions, StopReason, ask_all
from gguf_assets.hub.client import HubAnswer, HubClient, expect_json
from gguf_assets.hub.errors import FailedTryError
from gguf_assets.hub.pages import PageCheck

SIBLINGS_TRUSTED_BELOW = 1000
"""The Hub's siblings may be cut off in larger repositories (its own client stopped trusting them there)."""

RECREATED = 409
"""Status of an answer about another repository: the name has changed hands since the listing."""

MALFORMED = 400
"""Status of a target that was never asked for, its name or commit being none."""

ABOUT_ONE = frozenset({400, 401, 403, 404, 410, 451})
"""What the Hub may say about one repository without the run being wrong as a whole."""

NAME = re.compile(r"(?!.*\.\.)[\w.-]+(/[\w.-]+)?", re.ASCII)
SHA = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class DetailTarget:
    """A repository to ask for, at the commit that the listing named."""

    hub_id: str
    model_id: str
    sha: str


@dataclass(frozen=True)
class DetailAnswer:
    """What the Hub said about one target.

    Attributes:
        hub_id: identity of the repository (`_id`).
        model_id: name by which it was asked for.
        sha: commit at which it was asked for.
        status: HTTP status; `RECREATED` when the name now belongs to another repository.
        info: raw JSON of the model info; None unless the status is 200.
        tree: raw JSON pages of the file tree; empty when the siblings in `info` can be trusted.
        requests: requests that it took.
    """

    hub_id: str
    model_id: str
    sha: str
    status: int
    info: bytes | None
    tree: tuple[bytes, ...]
    requests: int


class DetailSink(Protocol):
    """Where answers go."""

    def has_answer(self, hub_id: str, sha: str) -> bool:
        """Whether the repository was answered at this commit before."""

    def store_answer(
        self,
        *,
        hub_id: str,
        model_id: str,
        sha: str,
        status: int,
        info: bytes | None,
        tree: tuple[bytes, ...],
        requests: int,
    ) -> None:
        """Keep an answer (the attributes of `DetailAnswer`)."""


@dataclass(frozen=True)
class DetailsSummary:
    """How a details phase went.

    Attributes:
        answered: targets answered by this call.
        failed: targets whose answers stayed broken or out of reach; asked for again another time.
        requests: requests sent by this call, those of failed targets included.
        stopped_reason: `done`; `budget` (request limit, that of the run included); `deadline`; `failing`
            (the Hub kept answering with errors, so the rest was left for later).
    """

    answered: int
    failed: int
    requests: int
    stopped_reason: StopReason


def fetch_details(
    client: HubClient,
    targets: Iterable[DetailTarget],
    sink: DetailSink,
    *,
    limit: int | None,
    deadline: Callable[[], bool],
    on_answer: Callable[[DetailAnswer], None] | None = None,
) -> DetailsSummary:
    """Ask for the targets, several at the same time, and hand the answers on in the order of the targets.

    Targets that the sink has an answer for are passed over without a request.

    Args:
        client: the Hub.
        targets: repositories, the most important ones first.
        sink: where answers go.
        limit: begin no target from so many requests on; None for no limit.
        deadline: asked before every target and during long waits for the rate; true stops the phase.
        on_answer: called after every stored answer, in the calling thread.

    Raises:
        TransientError: several targets in a row were out of reach: the network is down, not a repository.
        PermanentError: the Hub refuses the token or leads to another origin.
    """

    def keep(_: DetailTarget, answer: DetailAnswer) -> None:
        sink.store_answer(**vars(answer))
        if on_answer is not None:
            on_answer(answer)

    questions = Questions(
        targets,
        known=lambda target: sink.has_answer(target.hub_id, target.sha),
        ask=lambda target: fetch_detail(client, target),
        keep=keep,
    )
    asked = ask_all(client, questions, limit=limit, deadline=deadline)
    if asked.unreachable is not None:
        raise asked.unreachable
    return DetailsSummary(asked.answered, asked.failed, asked.requests, asked.stopped_reason)


def fetch_detail(client: HubClient, target: DetailTarget) -> DetailAnswer:
    """Ask for one repository at its commit.

    Raises:
        TransientError, PermanentError: as `HubClient.get`; what the Hub says about this one repository
            (gone, private, gated) is an answer, not an error.
    """
    if NAME.fullmatch(target.model_id) is None or SHA.fullmatch(target.sha) is None:
        return _answer(target, MALFORMED)
    check = _InfoCheck(target.sha)
    repository = f"/api/models/{target.model_id}"
    got = client.get(f"{repository}/revision/{target.sha}?blobs=true", allow_status=ABOUT_ONE, check=check)
    if got.status != 200:
        return _answer(target, got.status, requests=got.requests)
    if check.info["_id"] != target.hub_id:
        return _answer(target, RECREATED, requests=got.requests)
    siblings = check.info.get("siblings")
    if isinstance(siblings, list) and 0 < len(siblings) < SIBLINGS_TRUSTED_BELOW:
        return _answer(target, 200, got.content, requests=got.requests)
    tree_path = f"{repository}/tree/{target.sha}?recursive=true&expand=false"
    status, tree, requests = _fetch_tree(client, tree_path)
    requests += got.requests
    if status == 404 and siblings == []:
        return _answer(target, 200, got.content, requests=requests)  # a repository without any file
    if status != 200:
        return _answer(target, status, requests=requests)
    return _answer(target, 200, got.content, tree, requests)


def _fetch_tree(client: HubClient, path: str) -> tuple[int, tuple[bytes, ...], int]:
    """Return status, pages and requests of a file tree; all pages or none."""
    pages: list[bytes] = []
    requests = 0
    followed: set[str] = set()
    following: str | None = path
    while following is not None:
        followed.add(following)
        page = PageCheck(client.endpoint, followed)
        got = client.get(following, allow_status=ABOUT_ONE, check=page)
        requests += got.requests
        if got.status != 200:
            return got.status, (), requests
        pages.append(got.content)
        following = page.next_link
    return 200, tuple(pages), requests


def _answer(
    target: DetailTarget,
    status: int,
    info: bytes | None = None,
    tree: tuple[bytes, ...] = (),
    requests: int = 0,
) -> DetailAnswer:
    return DetailAnswer(target.hub_id, target.model_id, target.sha, status, info, tree, requests)


def expect_model_info(answer: HubAnswer) -> dict[str, Any]:
    """Return the body as a model info.

    Raises:
        FailedTryError: it is none.
    """
    info = expect_json(answer)
    if not isinstance(info, dict) or not isinstance(info.get("_id"), str):
        raise FailedTryError("answered with a model info that has no `_id`")
    return info


class _InfoCheck:
    """Judges an answer as a model info at a commit and keeps the one that passed as `info`."""

    def __init__(self, sha: str) -> None:
        self._sha = sha
        self.info: dict[str, Any] = {}

    def __call__(self, answer: HubAnswer) -> None:
        info = expect_model_info(answer)
        if info.get("sha") != self._sha:
            raise FailedTryError("answered with the model info of another commit")
        self.info = info
