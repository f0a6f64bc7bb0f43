"""Asking by name after absent models: every answer between two looks at a control, and none proves too much.

What the answers prove is judged by `catalogue/absence`, whose own tests say what proves what; here it only
shows that a Hub that does not tell the truth removes nobody.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from gguf_assets.catalogue.absence import judge_absences
from gguf_assets.errors import ErrorCategory, PermanentError, TransientError
from gguf_assets.hub.absences import NamedModel, ask_after
from gguf_assets.hub.client import HubClient
from gguf_assets.hub.walk import FULL_FIELDS
from gguf_assets_tests.hub.scripted import FakeTime, Reply, Request, ScriptedHub, limits

GONE = Reply.json({"error": "Invalid username or password."}, status=401)
NOT_FOUND = Reply.json(
    {"error": "Repository not found"}, status=404, headers=(("X-Error-Code", "RepoNotFound"),)
)
REFUSED = Reply.json({"error": "Invalid credentials in Authorization header"}, status=401)
SICK = Reply(b"", status=503)
EXPAND = "&".join(f"expand={name}" for name in FULL_FIELDS)


@dataclass(frozen=True)
class Answer:
    """An answer as it was stored."""

    hub_id: str
    model_id: str
    status: int
    info: bytes | None
    requests: int


@dataclass
class Answers:
    """A sink in memory; `earlier` models were answered by earlier runs."""

    stored: list[Answer] = field(default_factory=list)
    earlier: list[Answer] = field(default_factory=list)
    ended: list[tuple[list[str], bool, int]] = field(default_factory=list)

    @property
    def asked(self) -> int:
        return sum(answer.requests > 0 for answer in (*self.earlier, *self.stored))

    def has_answer(self, hub_id):
        return hub_id in {answer.hub_id for answer in (*self.earlier, *self.stored)}

    def store_answer(self, *, hub_id, model_id, status, info, requests):
        self.stored.append(Answer(hub_id, model_id, status, info, requests))

    def finish(self, *, control, trusted, requests):
        self.ended.append((control, trusted, requests))

    @property
    def statuses(self) -> list[int]:
        return [answer.status for answer in self.stored]

    @property
    def trusted(self) -> bool:
        """The one verdict on the asking."""
        ((_, trusted, _),) = self.ended
        return trusted

    @property
    def gone(self) -> set[str]:
        """Who would be taken for removed."""
        ((_, trusted, _),) = self.ended
        return set(judge_absences(self.stored, trusted=trusted, anonymous=True).gone)


def named(name: str) -> NamedModel:
    """A model whose `_id` follows from its name."""
    return NamedModel(name.encode().hex().ljust(24, "0")[:24], name)


def model(number: int) -> NamedModel:
    return named(f"a/{number:04d}")


CONTROL = named("c/listed")
SPARE = named("c/other")


def info(of: NamedModel, **changes: object) -> Reply:
    """The info of a GGUF model."""
    return Reply.json({"_id": of.hub_id, "id": of.model_id, "tags": ["gguf"], "siblings": [], **changes})


def name_of(request: Request) -> str:
    return request.path.removeprefix("/api/models/").partition("?")[0]


def hub_with(special: Callable[[str, int], Reply | None] = lambda *_: None) -> ScriptedHub:
    """A Hub where only controls are there; `special` may answer the n-th request for a name otherwise."""
    counts: dict[str, int] = {}

    def answer(request: Request) -> Reply:
        name = name_of(request)
        counts[name] = counts.get(name, 0) + 1
        told = special(name, counts[name])
        if told is not None:
            return told
        return info(named(name)) if name.startswith("c/") else GONE

    return ScriptedHub(answer=answer)


def only(replies: dict[str, Reply]) -> ScriptedHub:
    """A Hub with such answers for some names."""
    return hub_with(lambda name, _: replies.get(name))


def ask(
    hub: ScriptedHub,
    absent: Iterable[NamedModel],
    sink: Answers | None = None,
    *,
    control: Iterable[NamedModel] = (CONTROL, SPARE),
    limit: int = 500,
    token: str | None = None,
    max_retries: int = 0,
    until: datetime | None = None,
    on_answer: Callable[[int], None] = lambda _: None,
) -> Answers:
    sink = Answers() if sink is None else sink
    client = HubClient(hub.url, token=token, limits=limits(max_retries=max_retries), **FakeTime().hooks)
    with client:
        ask_after(client, absent, sink, control=list(control), limit=limit, until=until, on_answer=on_answer)
        assert sink.ended[-1][2] == client.requests
    return sink


def asked_names(hub: ScriptedHub) -> list[str]:
    return [name_of(request) for request in hub.requests]


def test_nobody_absent_needs_no_request():
    with hub_with() as hub:
        sink = ask(hub, [])
        assert hub.requests == []
    assert sink.ended == [([], True, 0)]


def test_every_model_is_asked_for_by_name_with_all_fields_in_the_order_given():
    with hub_with() as hub:
        ask(hub, [model(2), model(1), named("old-name")])
        assert hub.paths == [
            f"/api/models/{name}?{EXPAND}"
            for name in ("c/listed", "a/0002", "a/0001", "old-name", "c/listed")
        ]


@pytest.mark.parametrize("count", [1, 49, 50, 51, 100, 101])
def test_a_control_answers_before_after_every_fifty_and_at_the_end(count):
    with hub_with() as hub:
        sink = ask(hub, [model(n) for n in range(count)])
        names = asked_names(hub)
    expected: list[str] = []
    for n in range(count):
        expected += [CONTROL.model_id] * (n % 50 == 0) + [model(n).model_id]
    assert names == [*expected, CONTROL.model_id]
    assert sink.ended == [([CONTROL.model_id], True, len(names))]
    assert sink.gone == {model(n).hub_id for n in range(count)}


@pytest.mark.parametrize(
    "said",
    [GONE, NOT_FOUND, SICK, info(SPARE), Reply(b"<html>"), Reply.json([]), Reply.json({"id": "c/listed"})],
    ids=["401", "404", "503", "another _id", "HTML", "a list", "no _id"],
)
def test_a_control_that_does_not_answer_as_itself_is_replaced_by_the_next(said):
    with only({CONTROL.model_id: said}) as hub:
        sink = ask(hub, [model(1)])
        assert asked_names(hub) == [CONTROL.model_id, SPARE.model_id, "a/0001", SPARE.model_id]
    assert sink.ended == [([CONTROL.model_id, SPARE.model_id], True, 4)]
    assert sink.gone == {model(1).hub_id}


def test_a_control_that_bears_another_name_by_now_is_the_same_repository():
    moved = Reply(b"", 307, headers=(("Location", "/api/models/c/moved"),))
    with only({CONTROL.model_id: moved, "c/moved": info(CONTROL, id="c/moved")}) as hub:
        sink = ask(hub, [model(1)])
    assert sink.ended == [([CONTROL.model_id], True, 5)], "each hop is a request"


def test_nobody_is_asked_after_while_no_control_answers():
    with hub_with(lambda *_: NOT_FOUND) as hub:
        sink = ask(hub, [model(1), model(2)])
        assert asked_names(hub) == [CONTROL.model_id, SPARE.model_id]
    assert sink.stored == []
    assert not sink.trusted


def test_without_a_control_nobody_is_asked_after():
    with hub_with() as hub:
        sink = ask(hub, [model(1)], control=())
        assert hub.requests == []
    assert sink.ended == [([], False, 0)]


@pytest.mark.parametrize(("last_good", "confirmed"), [(1, 0), (2, 50), (3, 100)])
def test_a_hub_that_stops_telling_the_truth_half_way_removes_nobody(last_good, confirmed):
    """All controls fail at the n-th look: what was said since the one before is not even kept."""
    with hub_with(lambda name, n: GONE if name.startswith("c/") and n > last_good else None) as hub:
        sink = ask(hub, [model(n) for n in range(110)], control=[CONTROL])
        assert len([name for name in asked_names(hub) if name[0] == "a"]) == min(confirmed + 50, 110)
    assert len(sink.stored) == confirmed
    assert not sink.trusted
    assert sink.gone == set()


@pytest.mark.parametrize("revoked_at", [1, 3, 60])
def test_a_token_revoked_on_the_way_is_an_error_and_nothing_is_recorded_as_gone(revoked_at):
    """Its answer to a model is the same as to anything else: it is about the token."""
    requests = 0

    def revoked(_name: str, _nth: int) -> Reply | None:
        nonlocal requests
        requests += 1
        return REFUSED if requests >= revoked_at else None

    sink = Answers()
    said = hub_with(lambda name, n: revoked(name, n) or (None if name.startswith("c/") else NOT_FOUND))
    with said as hub, pytest.raises(PermanentError) as caught:
        ask(hub, [model(n) for n in range(100)], sink, token="hf_x" * 8)
    assert caught.value.category is ErrorCategory.AUTHENTICATION
    assert sink.ended == [], "the asking goes on with a good token"
    assert set(sink.statuses) <= {404}
    assert len(sink.stored) == (50 if requests > 52 else 0)


def test_no_more_models_are_asked_after_than_the_limit_allows():
    with hub_with() as hub:
        sink = ask(hub, [model(n) for n in range(10)], limit=3)
        assert asked_names(hub) == [CONTROL.model_id, "a/0000", "a/0001", "a/0002", CONTROL.model_id]
    assert sink.trusted


def test_who_was_answered_before_is_passed_over_and_counts_against_the_limit():
    earlier = [Answer(model(n).hub_id, model(n).model_id, 404, None, 1) for n in (0, 2)]
    adopted = [Answer(model(4).hub_id, model(4).model_id, 404, None, 0)]
    sink = Answers(earlier=[*earlier, *adopted])
    with hub_with() as hub:
        ask(hub, [model(n) for n in range(10)], sink, limit=4)
        assert asked_names(hub) == [CONTROL.model_id, "a/0001", "a/0003", CONTROL.model_id]
    assert [answer.hub_id for answer in sink.stored] == [model(1).hub_id, model(3).hub_id]


def test_answers_of_a_killed_run_are_followed_by_a_control_even_when_nothing_is_left_to_ask():
    killed = Answers(earlier=[Answer(model(1).hub_id, model(1).model_id, 404, None, 1)])
    with hub_with() as hub:
        ask(hub, [model(1)], killed)
        assert asked_names(hub) == [CONTROL.model_id]
    assert killed.trusted
    killed = Answers(earlier=killed.earlier)
    with hub_with(lambda *_: GONE) as hub:
        ask(hub, [model(1)], killed)
    assert not killed.trusted


def test_answers_taken_over_from_elsewhere_need_no_control():
    sink = Answers(earlier=[Answer(model(1).hub_id, model(1).model_id, 404, None, 0)])
    with hub_with() as hub:
        ask(hub, [model(1)], sink)
        assert hub.requests == []
    assert sink.ended == [([], True, 0)]


def test_a_model_whose_answer_stays_broken_is_left_open_and_the_next_is_asked_after():
    with only({"a/0001": SICK, "a/0002": Reply(b"<html>oops</html>"), "a/0003": Reply(reset=True)}) as hub:
        sink = ask(hub, [model(n) for n in range(1, 6)], max_retries=1)
        names = asked_names(hub)
    assert [answer.hub_id for answer in sink.stored] == [model(4).hub_id, model(5).hub_id]
    assert all(names.count(f"a/000{n}") == 2 for n in (1, 2, 3))
    assert sink.trusted
    assert sink.gone == {model(4).hub_id, model(5).hub_id}


def test_after_five_failures_in_a_row_the_rest_is_left_for_another_day():
    broken = {model(n).model_id for n in (1, 2, 3, 4, 6, 7, 8, 9, 10)}
    with hub_with(lambda name, _: SICK if name in broken else None) as hub:
        sink = ask(hub, [model(n) for n in range(20)])
        names = asked_names(hub)
    assert names[-2:] == [model(10).model_id, CONTROL.model_id]
    assert [answer.hub_id for answer in sink.stored] == [model(0).hub_id, model(5).hub_id]
    assert sink.gone == {model(0).hub_id, model(5).hub_id}


def test_a_hub_out_of_reach_ends_the_sync_and_not_the_asking():
    sink = Answers()
    with hub_with(lambda name, _: Reply(reset=True) if name > "a/0001" and name[0] == "a" else None) as hub:
        with pytest.raises(TransientError):
            ask(hub, [model(n) for n in range(20)], sink)
        assert len(hub.requests) == 1 + 2 + 5
    assert sink.ended == []


def test_what_a_sick_hub_said_before_it_was_out_of_reach_is_asked_again():
    """It said 404 of everything, then nothing: no control has confirmed that, so it is no proof."""
    sink = Answers()

    def sick(name: str, _nth: int) -> Reply | None:
        if name[0] == "a":
            return NOT_FOUND if name <= "a/0003" else Reply(reset=True)
        return None

    absent = [model(n) for n in range(1, 10)]
    with hub_with(sick) as hub, pytest.raises(TransientError):
        ask(hub, absent, sink)
    with only({m.model_id: info(m) for m in absent}) as hub:
        ask(hub, absent, sink)
    assert sink.gone == set()


def test_a_redirect_is_followed_to_whoever_bears_the_name_now():
    def to(name: str) -> Reply:
        return Reply(b"moved", 307, headers=(("Location", f"/api/models/{name}?{EXPAND}"),))

    same, other = model(1), named("b/other")
    replies = {
        "a/0001": to("b/renamed"),
        "b/renamed": info(same, id="b/renamed"),
        "a/0002": to("b/other"),
        "b/other": info(other),
        "a/0003": to("b/gone"),
        "a/0004": to("a/0004"),
        "b/gone": GONE,
    }
    with only(replies) as hub:
        sink = ask(hub, [model(n) for n in range(1, 5)])
    told = [
        (answer.model_id, answer.status, answer.info and json.loads(answer.info)["_id"], answer.requests)
        for answer in sink.stored
    ]
    assert told == [
        ("a/0001", 200, same.hub_id, 2),
        ("a/0002", 200, other.hub_id, 2),
        ("a/0003", 401, None, 2),
    ], "one that redirects without end stays open"
    assert sink.gone == {model(2).hub_id, model(3).hub_id}


def test_a_redirect_to_another_origin_ends_the_sync():
    away = Reply(b"", 307, headers=(("Location", "http://elsewhere.invalid/api/models/a/0001"),))
    with only({"a/0001": away}) as hub, pytest.raises(PermanentError) as caught:
        ask(hub, [model(1)])
    assert "another origin" in caught.value.message


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_repository_is_there(status):
    gated = Reply.json({"error": "restricted"}, status=status, headers=(("X-Error-Code", "GatedRepo"),))
    with only({"a/0001": gated}) as hub:
        sink = ask(hub, [model(1)])
    assert sink.statuses == [403]
    assert sink.gone == set()


@pytest.mark.parametrize("status", [400, 403, 410, 451])
def test_what_is_neither_there_nor_missing_is_kept_as_it_was_said(status):
    with only({"a/0001": Reply.json({"error": "no"}, status=status)}) as hub:
        sink = ask(hub, [model(1)])
    assert sink.statuses == [status]
    assert sink.gone == set()


def test_a_status_that_no_repository_is_answered_with_ends_the_sync():
    with only({"a/0001": Reply.json({"error": "teapot"}, status=418)}) as hub, pytest.raises(PermanentError):
        ask(hub, [model(1)])


@pytest.mark.parametrize(
    "name", ["a/b/c", "a/..", "../x", "a/b?x=1", "a/b#c", "a b/c", "", "a/", "a/b%2f", "ä/b", "a/b\nc"]
)
def test_a_name_that_is_none_is_never_sent(name):
    with hub_with() as hub:
        sink = ask(hub, [NamedModel("0" * 24, name)])
        assert set(asked_names(hub)) == {CONTROL.model_id}
    assert [(answer.status, answer.requests) for answer in sink.stored] == [(400, 0)]
    assert sink.gone == set()


def test_a_death_between_two_controls_costs_what_was_not_confirmed_and_no_more():
    class Killed(BaseException):
        pass

    def kill(asked: int) -> None:
        if asked == 70:
            raise Killed

    absent, sink = [model(n) for n in range(80)], Answers()
    there = info(model(60))
    with only({"a/0060": there}) as hub:
        with pytest.raises(Killed):
            ask(hub, absent, sink, on_answer=kill)
        assert [a.hub_id for a in sink.stored] == [m.hub_id for m in (*absent[:50], model(60))]
        hub.requests.clear()
        ask(hub, absent, sink)
        again = [model(n).model_id for n in range(50, 80) if n != 60]
        assert asked_names(hub) == [CONTROL.model_id, *again, CONTROL.model_id]
    assert sink.gone == {m.hub_id for m in absent} - {model(60).hub_id}


NEXT_DAY = datetime(2025, 8, 11, 6, tzinfo=UTC)
LATE = ("Mon, 11 Aug 2025 06:00:00 GMT",)


def test_answers_of_another_day_are_not_taken():
    """What the Hub says from then on is true of then; what it said before stands."""
    with only({"a/0002": replace(GONE, dates=LATE), CONTROL.model_id: info(CONTROL)}) as hub:
        sink = ask(hub, [model(n) for n in range(1, 5)], until=NEXT_DAY)
        assert asked_names(hub) == [CONTROL.model_id, "a/0001", "a/0002", CONTROL.model_id]
    assert sink.gone == {model(1).hub_id}
    with only({CONTROL.model_id: replace(info(CONTROL), dates=LATE)}) as hub:
        sink = ask(hub, [model(1)], until=NEXT_DAY)
        assert asked_names(hub) == [CONTROL.model_id]
    assert sink.stored == []


def test_the_info_is_kept_byte_for_byte_and_every_answer_is_told():
    body = f'{{ "_id": "{model(1).hub_id}", "id":"a/0001",\n "tags": ["gguf", "\\u00fc"] }}'.encode()
    told: list[int] = []
    with only({"a/0001": Reply(body)}) as hub:
        sink = ask(hub, [model(1), model(2)], on_answer=told.append)
    assert [answer.info for answer in sink.stored] == [body, None]
    assert told == [1, 2]
