"""Details of repositories: one answer each, whatever the Hub says, under a budget."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest

from gguf_assets.errors import ErrorCategory, PermanentError, TransientError
from gguf_assets.hub.client import HubClient
from gguf_assets.hub.details import DetailsSummary, DetailTarget, fetch_details
from gguf_assets_tests.hub.scripted import FakeTime, Reply, Request, ScriptedHub, limits

SHA = "5" * 40


def target(number: int, **changes) -> DetailTarget:
    values = {"hub_id": f"{number:024x}", "model_id": f"owner/m{number}-GGUF", "sha": SHA, **changes}
    return DetailTarget(**values)


def info(number: int, siblings: object = ({"rfilename": "m.gguf", "size": 5},), **changes) -> dict:
    return {
        "_id": f"{number:024x}",
        "id": f"owner/m{number}-GGUF",
        "sha": SHA,
        "siblings": siblings,
        **changes,
    }


def number_of(request: Request) -> int:
    return int(request.path.split("/m")[2].split("-")[0])


@dataclass
class Answers:
    """A sink in memory."""

    stored: dict[tuple[str, str], dict] = field(default_factory=dict)

    def has_answer(self, hub_id, sha):
        return (hub_id, sha) in self.stored

    def store_answer(self, *, hub_id, model_id, sha, status, info, tree, requests):
        self.stored[hub_id, sha] = {"status": status, "info": info, "tree": tree, "requests": requests}

    @property
    def answers(self) -> list[dict]:
        return list(self.stored.values())


def usual(request: Request) -> Reply:
    return Reply.json(info(number_of(request)))


def fetched(hub: ScriptedHub, targets, sink: Answers | None = None, *, max_retries=1, **rest):
    sink = Answers() if sink is None else sink
    rest = {"limit": None, "deadline": lambda: False, **rest}
    with HubClient(hub.url, token=None, limits=limits(max_retries=max_retries), **FakeTime().hooks) as client:
        summary = fetch_details(client, targets, sink, **rest)
        assert summary.requests == client.requests
    return summary, sink


def one_answer(reply: Reply, wanted: DetailTarget | None = None) -> dict:
    with ScriptedHub([reply]) as hub:
        _, sink = fetched(hub, [wanted or target(1)])
    return sink.answers[0]


def test_a_repository_is_asked_for_at_its_commit_with_sizes_and_hashes():
    with ScriptedHub(answer=usual) as hub:
        summary, sink = fetched(hub, [target(1), target(2)])
    assert hub.paths == [f"/api/models/owner/m{n}-GGUF/revision/{SHA}?blobs=true" for n in (1, 2)]
    assert summary == DetailsSummary(answered=2, failed=0, requests=2, stopped_reason="done")
    assert [json.loads(answer["info"])["id"] for answer in sink.answers] == ["owner/m1-GGUF", "owner/m2-GGUF"]
    assert [answer["tree"] for answer in sink.answers] == [(), ()]


@pytest.mark.parametrize(
    "siblings", [None, [], [{"rfilename": f"{n}.gguf"} for n in range(1000)], "nonsense"]
)
def test_siblings_that_cannot_be_trusted_are_replaced_by_all_pages_of_the_tree(siblings):
    pages = [b'[{"type":"file","path":"a.gguf"}]', b'[{"type":"file","path":"b.gguf"}]']

    def answer(request: Request) -> Reply:
        if "/revision/" in request.path:
            return Reply.json(info(1, siblings))
        if "cursor" in request.path:
            return Reply(pages[1])
        link = f"{hub.url}/api/models/owner/m1-GGUF/tree/{SHA}?recursive=true&expand=false&cursor=x"
        return Reply(pages[0], headers=(("Link", f'<{link}>; rel="next"'),))

    with ScriptedHub(answer=answer) as hub:
        summary, sink = fetched(hub, [target(1)])
    assert hub.paths[1] == f"/api/models/owner/m1-GGUF/tree/{SHA}?recursive=true&expand=false"
    assert sink.answers[0]["tree"] == tuple(pages)
    assert sink.answers[0]["requests"] == summary.requests == 3


def test_999_siblings_are_trusted():
    siblings = [{"rfilename": f"{n}.gguf"} for n in range(999)]
    assert one_answer(Reply.json(info(1, siblings)))["requests"] == 1


def test_a_repository_without_any_file_is_an_answer():
    def answer(request: Request) -> Reply:
        return Reply.json(info(1, [])) if "/revision/" in request.path else Reply(b"{}", status=404)

    with ScriptedHub(answer=answer) as hub:
        _, sink = fetched(hub, [target(1)])
    assert sink.answers[0]["status"] == 200
    assert sink.answers[0]["tree"] == ()


def test_a_tree_that_cannot_be_had_leaves_no_half_answer():
    def answer(request: Request) -> Reply:
        return Reply.json(info(1, None)) if "/revision/" in request.path else Reply(b"{}", status=403)

    with ScriptedHub(answer=answer) as hub:
        _, sink = fetched(hub, [target(1)])
    assert sink.answers == [{"status": 403, "info": None, "tree": (), "requests": 2}]


def test_a_tree_that_links_to_another_origin_ends_the_run():
    def answer(request: Request) -> Reply:
        if "/revision/" in request.path:
            return Reply.json(info(1, None))
        return Reply(headers=(("Link", '<http://elsewhere.example/tree>; rel="next"'),))

    with ScriptedHub(answer=answer) as hub, pytest.raises(PermanentError, match="another origin"):
        fetched(hub, [target(1)])


@pytest.mark.parametrize("status", [401, 403, 404, 410, 451])
def test_what_the_hub_says_about_one_repository_does_not_end_the_run(status):
    def answer(request: Request) -> Reply:
        return Reply(b"{}", status=status) if number_of(request) == 1 else usual(request)

    with ScriptedHub(answer=answer) as hub:
        summary, sink = fetched(hub, [target(1), target(2)])
    assert [answer["status"] for answer in sink.answers] == [status, 200]
    assert sink.answers[0]["info"] is None
    assert summary.answered == 2
    assert summary.requests == 2


def test_a_refused_token_ends_the_run():
    refused = Reply(
        b"{}", status=401, headers=(("X-Error-Message", "Invalid credentials in Authorization header"),)
    )
    with ScriptedHub([refused]) as hub, pytest.raises(PermanentError) as caught:
        fetched(hub, [target(1), target(2)])
    assert caught.value.category is ErrorCategory.AUTHENTICATION


def test_another_repository_under_the_same_name_is_no_answer_about_the_old_one():
    got = one_answer(Reply.json(info(7)), target(1))
    assert (got["status"], got["info"]) == (409, None)


def test_a_renamed_repository_is_followed():
    def answer(request: Request) -> Reply:
        if "m1-" in request.path:
            return Reply(status=307, headers=(("Location", request.path.replace("m1-", "m9-")),))
        return Reply.json(info(1, id="owner/m9-GGUF"))

    with ScriptedHub(answer=answer) as hub:
        summary, sink = fetched(hub, [target(1)])
    assert json.loads(sink.answers[0]["info"])["id"] == "owner/m9-GGUF"
    assert summary.requests == sink.answers[0]["requests"] == 2


@pytest.mark.parametrize(
    "wanted",
    [
        target(1, model_id="../../etc"),
        target(1, model_id="a/b/c"),
        target(1, model_id="a/b?x=1"),
        target(1, model_id="a/b#x"),
        target(1, model_id="a/..b"),
        target(1, model_id="a b/c"),
        target(1, model_id="a/b\r\nX: y"),
        target(1, model_id=""),
        target(1, sha="main"),
        target(1, sha="../" + "5" * 37),
    ],
)
def test_a_name_or_commit_that_is_none_is_never_asked_for(wanted):
    with ScriptedHub(answer=usual) as hub:
        summary, sink = fetched(hub, [wanted])
        assert hub.requests == []
    assert sink.answers == [{"status": 400, "info": None, "tree": (), "requests": 0}]
    assert summary.requests == 0


@pytest.mark.parametrize(
    "broken",
    [
        Reply.json([]),
        Reply.json({"id": "owner/m1-GGUF"}),
        Reply.json(info(1, sha="6" * 40)),
        Reply(b"<html></html>", content_type="text/html"),
        Reply(status=500),
    ],
    ids=["list", "no identity", "another commit", "html", "500"],
)
def test_a_repository_whose_answers_stay_broken_is_left_for_another_time(broken):
    def answer(request: Request) -> Reply:
        return broken if number_of(request) == 1 else usual(request)

    with ScriptedHub(answer=answer) as hub:
        summary, sink = fetched(hub, [target(1), target(2)])
    assert summary == DetailsSummary(answered=1, failed=1, requests=3, stopped_reason="done")
    assert not sink.has_answer(target(1).hub_id, SHA)


def test_a_hub_that_stays_silent_for_one_repository_after_the_other_ends_the_run():
    with ScriptedHub([Reply(reset=True)]) as hub:
        with pytest.raises(TransientError) as caught:
            fetched(hub, [target(n) for n in range(20)])
        assert len(hub.requests) == 5 * 2
    assert caught.value.category is ErrorCategory.NETWORK


def test_a_hub_that_keeps_answering_with_errors_is_left_alone_but_the_run_goes_on():
    with ScriptedHub([Reply(status=500)]) as hub:
        summary, _ = fetched(hub, [target(n) for n in range(20)])
    assert summary == DetailsSummary(answered=0, failed=5, requests=10, stopped_reason="failing")


def test_failures_between_successes_do_not_end_the_run():
    def answer(request: Request) -> Reply:
        return Reply(status=500) if number_of(request) % 2 else usual(request)

    with ScriptedHub(answer=answer) as hub:
        summary, _ = fetched(hub, [target(n) for n in range(20)], max_retries=0)
    assert (summary.answered, summary.failed, summary.stopped_reason) == (10, 10, "done")


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_the_budget_of_requests_is_kept(limit):
    with ScriptedHub(answer=usual) as hub:
        summary, _ = fetched(hub, [target(n) for n in range(10)], limit=limit)
        assert len(hub.requests) == limit
    assert summary == DetailsSummary(limit, 0, limit, "budget")


def test_a_budget_that_suffices_ends_with_done():
    with ScriptedHub(answer=usual) as hub:
        summary, _ = fetched(hub, [target(n) for n in range(3)], limit=3)
    assert summary.stopped_reason == "done"


def test_the_deadline_is_asked_before_every_repository():
    left = iter([False, False, True])
    with ScriptedHub(answer=usual) as hub:
        summary, _ = fetched(hub, [target(n) for n in range(10)], deadline=left.__next__)
    assert (summary.answered, summary.stopped_reason) == (2, "deadline")


def test_the_deadline_is_kept_while_the_hourly_rate_holds_requests_back():
    fake = FakeTime()
    end = fake.now + 1800
    bounds = limits(requests_per_hour=10)
    with (
        ScriptedHub(answer=usual) as hub,
        HubClient(hub.url, token=None, limits=bounds, **fake.hooks) as client,
    ):
        targets = [target(n) for n in range(20)]
        sink = Answers()
        summary = fetch_details(client, targets, sink, limit=None, deadline=lambda: fake.now >= end)
        assert (summary.answered, summary.stopped_reason) == (10, "deadline")
        assert fake.now - end <= 10
        summary = fetch_details(client, targets, sink, limit=None, deadline=lambda: False)
        assert (summary.answered, summary.stopped_reason) == (10, "done")
        assert fake.now - end >= 1790


def test_a_killed_run_goes_on_with_what_is_missing():
    class KilledError(BaseException):
        pass

    def kill(answer):
        if answer.hub_id == target(2).hub_id:
            raise KilledError

    targets = [target(n) for n in range(5)]
    with ScriptedHub(answer=usual) as hub:
        sink = Answers()
        with pytest.raises(KilledError):
            fetched(hub, targets, sink, on_answer=kill)
        hub.requests.clear()
        summary, _ = fetched(hub, targets, sink)
        assert [number_of(request) for request in hub.requests] == [3, 4]
    assert summary.answered == 2
    assert len(sink.answers) == 5
