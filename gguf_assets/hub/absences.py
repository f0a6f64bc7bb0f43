"""Asking by name after models that nothing listed: are they gone, or is the listing holed?

One request a model, with a control in between: a listed repository that has to answer, or else no answer
proves anything (a revoked token and a sick Hub make everything look gone). What belongs here: asking. What
does not: whom to ask after, and what the answers prove (`catalogue/absence`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlencode

from gguf_assets.errors import TransientError
from gguf_assets.hub.asking import FAILURES_IN_A_ROW
from gguf_assets.hub.client import HubClient
from gguf_assets.hub.details import ABOUT_ONE, NAME, expect_model_info
from gguf_assets.hub.errors import is_unreachable
from gguf_assets.hub.walk import FULL_FIELDS
from gguf_assets.jsontext import parse_json

GATED = 403
"""Status of an answer that says the repository is there, but not for everybody."""

CONTROL_EVERY = 50
"""Models asked after between two looks at the control."""

_EXPAND = urlencode([("expand", field) for field in FULL_FIELDS])


@dataclass(frozen=True)
class NamedModel:
    """A repository by its identity and the name it was last known under."""

    hub_id: str
    model_id: str


class AbsenceSink(Protocol):
    """Where answers go."""

    @property
    def asked(self) -> int:
        """Models asked after so far, by earlier runs as well."""

    def has_answer(self, hub_id: str) -> bool:
        """Whether the model was answered before."""

    def store_answer(
        self, *, hub_id: str, model_id: str, status: int, info: bytes | None, requests: int
    ) -> None:
        """Keep an answer: the HTTP status, and the raw JSON of the model info with status 200."""

    def finish(self, *, control: list[str], trusted: bool, requests: int) -> None:
        """End the asking."""


def ask_after(
    client: HubClient,
    absent: Iterable[NamedModel],
    sink: AbsenceSink,
    *,
    control: Sequence[NamedModel],
    limit: int,
    until: datetime | None = None,
    on_answer: Callable[[int], None] = lambda asked: None,
) -> None:
    """Ask after absent models in their order, until the limit, and end the asking.

    An answer that says "not there" is kept when a control has answered after it, too: whoever goes on after a
    death takes what was kept for confirmed.

    Args:
        client: the Hub.
        absent: models of the baseline that nothing listed; those that the sink has an answer for are passed
            over.
        sink: where answers go.
        control: listed repositories; the first that answers as itself is the control from then on.
        limit: most models asked after in one capture.
        until: answers from this time of the Hub on are about another day: nobody is asked after any more.
        on_answer: called after every answer with the number of models asked after so far.

    Raises:
        TransientError: the Hub was out of reach several times in a row.
        PermanentError: the token was refused, or the disk.
    """
    before, asked, since_control, in_a_row = client.requests, sink.asked, 0, 0
    open_models = [model for model in absent if not sink.has_answer(model.hub_id)]
    if not open_models and not asked:
        sink.finish(control=[], trusted=True, requests=0)
        return
    unconfirmed: list[dict[str, Any]] = []
    controls = _Controls(client, control)
    trusted = controls.answer()
    late = until is not None and controls.date is not None and controls.date >= until
    for model in open_models:
        if not trusted or late or asked >= limit:
            break
        try:
            said = _ask(client, model.model_id)
        except TransientError as error:
            in_a_row += 1
            if in_a_row >= FAILURES_IN_A_ROW:
                if is_unreachable(error):
                    raise
                break
            continue
        in_a_row = 0
        if until is not None and said.date is not None and said.date >= until:
            break
        since_control += 1
        asked += said.requests > 0
        answer: dict[str, Any] = {
            **vars(model),
            "status": said.status,
            "info": said.info,
            "requests": said.requests,
        }
        if said.status == 200:
            sink.store_answer(**answer)
        else:
            unconfirmed.append(answer)
        on_answer(asked)
        if since_control == CONTROL_EVERY:
            trusted, since_control = controls.answer(), 0
            if trusted:
                _keep(sink, unconfirmed)
    if since_control:
        trusted = controls.answer() and trusted
        if trusted:
            _keep(sink, unconfirmed)
    sink.finish(control=controls.asked, trusted=trusted, requests=client.requests - before)


def _keep(sink: AbsenceSink, answers: list[dict[str, Any]]) -> None:
    for answer in answers:
        sink.store_answer(**answer)
    answers.clear()


class _Controls:
    """Asks listed repositories for themselves."""

    def __init__(self, client: HubClient, candidates: Sequence[NamedModel]) -> None:
        self._client = client
        self._candidates = list(candidates)
        self.asked: list[str] = []
        self.date: datetime | None = None

    def answer(self) -> bool:
        """Return whether a listed repository answers as itself; one that does not is never asked again.

        Then `date` is the Hub's clock.

        Raises:
            TransientError: the Hub is out of reach.
        """
        while self._candidates:
            control = self._candidates[0]
            if control.model_id not in self.asked:
                self.asked.append(control.model_id)
            try:
                said = _ask(self._client, control.model_id)
            except TransientError as error:
                if is_unreachable(error):
                    raise  # not this repository: whoever goes on later finds a Hub that answers
                said = _Said(0)
            if said.status == 200 and said.info is not None and _identity(said.info) == control.hub_id:
                self.date = said.date
                return True
            # One repository may have gone since it was listed; several in a row have not.
            self._candidates.pop(0)
        return False


class _Said(NamedTuple):
    """What the Hub said about one name: the HTTP status, with 200 the model info, and its clock."""

    status: int
    info: bytes | None = None
    requests: int = 0
    date: datetime | None = None


def _ask(client: HubClient, name: str) -> _Said:
    """Ask for a repository by name; one that is none is never sent.

    Raises:
        TransientError, PermanentError: as `HubClient.get`.
    """
    if NAME.fullmatch(name) is None:
        return _Said(400)
    got = client.get(f"/api/models/{name}?{_EXPAND}", allow_status=ABOUT_ONE, check=expect_model_info)
    if got.status == 200:
        return _Said(200, got.content, got.requests, got.date)
    gated = got.headers.get("x-error-code") == "GatedRepo"
    return _Said(GATED if gated else got.status, None, got.requests, got.date)


def _identity(info: bytes) -> Any:
    return parse_json(info).get("_id")
