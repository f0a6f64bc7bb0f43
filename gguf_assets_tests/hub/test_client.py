"""Requests over real HTTP: retries, waiting, what is refused and what the Hub's answers become."""

from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gguf_assets.errors import ErrorCategory, PermanentError, TransientError
from gguf_assets.hub.client import HubClient
from gguf_assets.hub.details import DetailTarget, fetch_detail
from gguf_assets.hub.walk import walk
from gguf_assets.orchestration.resources import open_hub, request_limits
from gguf_assets.settings.load import LoadedSettings, load_settings
from gguf_assets_tests.calling import Catalogue
from gguf_assets_tests.hub.scripted import DATE, FakeTime, Reply, Request, ScriptedHub, limits
from gguf_assets_tests.hubs import hub_of, repository

TOKEN = "hf_secretSecretSecretSecret"
GOOD = Reply.json([{"id": "a/b"}])
QUOTA = "ratelimit"


@pytest.fixture
def fake() -> FakeTime:
    return FakeTime()


def client_of(hub: ScriptedHub, fake: FakeTime, *, token: str | None = None, **changes) -> HubClient:
    return HubClient(hub.url, token=token, limits=limits(**changes), **fake.hooks)


def failure_of(hub: ScriptedHub, fake: FakeTime, error: type[Exception] = TransientError, **rest):
    with client_of(hub, fake, **rest) as client, pytest.raises(error) as caught:
        client.get("/api/models")
    return caught.value, client


def test_an_answer_carries_body_date_and_the_next_page_unchecked(fake):
    link = ("Link", '<http://elsewhere/api/models?cursor=x>; rel="next"')
    with ScriptedHub([Reply.json([1], headers=(link,))]) as hub, client_of(hub, fake) as client:
        answer = client.get("/api/models?filter=gguf")
    assert (answer.status, answer.content, answer.requests) == (200, b"[1]", 1)
    assert answer.date == datetime(2025, 8, 10, 12, tzinfo=UTC)
    assert answer.next_url == "http://elsewhere/api/models?cursor=x"
    assert hub.paths == ["/api/models?filter=gguf"]


def test_the_hubs_clock_costs_one_counted_request(fake):
    with ScriptedHub([GOOD]) as hub, client_of(hub, fake) as client:
        assert client.now() == datetime(2025, 8, 10, 12, tzinfo=UTC)
        assert client.requests == 1


def test_a_client_sends_nothing_more_after_its_time_limit(fake):
    now = [0.0]
    with ScriptedHub([GOOD]) as hub:
        client = HubClient(
            hub.url,
            token=None,
            limits=limits(),
            time_limit_seconds=6 * 3600,
            monotonic=lambda: now[0],
            **fake.hooks,
        )
        with client:
            now[0] = 6 * 3600.0
            assert client.get("/api/models").status == 200
            now[0] += 1
            with pytest.raises(PermanentError, match="Stopped after 6 h") as caught:
                client.get("/api/models")
        assert caught.value.category is ErrorCategory.TIMEOUT
        assert "WORKFLOW_TIMEOUT_HOURS" in (caught.value.remedy or "")
        assert len(hub.requests) == 1


BROKEN = {
    "html": Reply(b"<html>busy</html>", content_type="text/html"),
    "garbage": Reply(b'[{"id": "a/b"'),
    "empty body": Reply(b""),
    "cut off": Reply(b"[" + b"1," * 5000 + b"1]", cut_after=100),
    "reset": Reply(reset=True),
    "no date": Reply(b"[]", dates=()),
    "two dates": Reply(b"[]", dates=(DATE, DATE)),
    "two dates in one header": Reply(b"[]", dates=(f"{DATE}, {DATE}",)),
    "a date that is none": Reply(b"[]", dates=("yesterday",)),
    "an impossible date": Reply(b"[]", dates=("Sun, 45 Aug 2025 12:00:00 GMT",)),
    "bad gzip": Reply(b"no gzip", headers=(("Content-Encoding", "gzip"),)),
    "no content": Reply(b"", status=204),
    **{str(status): Reply(b"{}", status=status) for status in (408, 429, 500, 502, 503, 504)},
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_answer_is_asked_for_again(fake, broken):
    with ScriptedHub([broken, broken, GOOD]) as hub, client_of(hub, fake) as client:
        answer = client.get("/api/models")
        assert answer.content == GOOD.body
        assert len(hub.requests) == client.requests == answer.requests == 3
        assert client.retries == 2
    assert fake.slept == [1.0, 2.0]


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_what_stays_broken_fails_after_the_last_retry(fake, broken):
    with ScriptedHub([broken]) as hub:
        error, client = failure_of(hub, fake, max_retries=2)
    assert len(hub.requests) == client.requests == 3
    assert not error.permanent
    assert hub.url in error.message
    assert "tried 3 times" in error.message
    assert error.remedy


def test_a_persistent_500_costs_one_request_and_every_retry(fake):
    with ScriptedHub([Reply.json({"error": "Internal Error"}, status=500)]) as hub:
        error, client = failure_of(hub, fake)
    assert len(hub.requests) == client.requests == 6
    assert fake.slept == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert error.category is ErrorCategory.API
    assert "500 (Internal Error) when asked for /api/models, tried 6 times" in error.message


def test_no_retries_means_one_request(fake):
    with ScriptedHub([Reply(status=500)]) as hub:
        error, _ = failure_of(hub, fake, max_retries=0)
    assert len(hub.requests) == 1
    assert "tried once" in error.message
    assert fake.slept == []


def test_jitter_shortens_pauses_by_at_most_half(fake):
    with ScriptedHub([Reply(status=500), Reply(status=500), GOOD]) as hub:
        hooks = {**fake.hooks, "random": iter([0.0, 0.5]).__next__}
        with HubClient(hub.url, token=None, limits=limits(backoff_jitter=True), **hooks) as client:
            client.get("/api/models")
    assert fake.slept == [0.5, 1.5]


def test_a_silent_hub_times_out(fake):
    with ScriptedHub([Reply(stall=3.0), GOOD]) as hub, client_of(hub, fake, timeout_seconds=0.2) as client:
        assert client.get("/api/models").requests == 2
    with ScriptedHub([Reply(stall=3.0)]) as hub:
        error, _ = failure_of(hub, fake, timeout_seconds=0.2, max_retries=1)
    assert error.category is ErrorCategory.TIMEOUT
    assert "silent for 0.2 s" in error.message


def test_a_dripping_hub_does_not_hold_a_request_for_ever(fake):
    with ScriptedHub([Reply(b"[" + b" " * 1000 + b"]", drip=0.02)]) as hub:
        error, _ = failure_of(hub, fake, timeout_seconds=0.05, max_retries=0)
    assert error.category is ErrorCategory.TIMEOUT


def test_an_unreachable_hub_is_named_with_the_tries(fake):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    client = HubClient(f"http://127.0.0.1:{port}", token=None, limits=limits(), **fake.hooks)
    with client, pytest.raises(TransientError) as caught:
        client.get("/api/models")
    assert caught.value.category is ErrorCategory.NETWORK
    assert (
        caught.value.message
        == f"The Hub at http://127.0.0.1:{port} cannot be reached (connection refused), tried 6 times"
    )
    assert "hub serve" in (caught.value.remedy or "")
    assert client.requests == 0  # nothing went to the wire


def test_a_used_up_quota_is_waited_for(fake):
    spent = Reply(status=429, headers=((QUOTA, '"api";r=0;t=1'),))
    with ScriptedHub([spent, GOOD]) as hub, client_of(hub, fake) as client:
        client.get("/api/models")
        assert client.rate_limit_hits == 1
    assert fake.slept == [2.0]  # t and the second that rounding takes


def test_a_quota_used_up_by_the_last_good_answer_holds_back_the_next_request(fake):
    last = Reply.json([1], headers=((QUOTA, '"api";r=0;t=40'),))
    with ScriptedHub([last, GOOD]) as hub, client_of(hub, fake) as client:
        client.get("/api/models")
        client.get("/api/models")
        assert client.rate_limit_hits == 0
    assert fake.slept == [41.0]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("value", ["7", "Sun, 10 Aug 2025 12:00:07 GMT"])
def test_retry_after_is_honoured_as_seconds_and_as_a_date_of_the_hubs_clock(fake, status, value):
    busy = Reply(status=status, headers=(("Retry-After", value),))
    with ScriptedHub([busy, GOOD]) as hub, client_of(hub, fake) as client:
        client.get("/api/models")
        assert client.rate_limit_hits == 1
    assert fake.slept == [7.0]


def test_a_hub_that_asks_to_wait_for_a_day_is_not_waited_for(fake):
    with ScriptedHub([Reply(status=429, headers=(("Retry-After", "86400"),))]) as hub:
        error, _ = failure_of(hub, fake)
    assert error.category is ErrorCategory.RATE_LIMIT
    assert fake.slept == []
    assert len(hub.requests) == 1


def test_configured_rates_space_requests_out_and_count_redirects_and_retries(fake):
    replies = [Reply(status=307, headers=(("Location", "/api/moved"),)), Reply(status=500), GOOD]
    with ScriptedHub(replies) as hub, client_of(hub, fake, requests_per_second=5.0) as client:
        begin = fake.now
        for _ in range(18):
            client.get("/api/models")
        assert client.requests == len(hub.requests) == 20
    assert 19 * 0.2 <= fake.now - begin < 19 * 0.21 + 1.0  # one pause of a second after the 500


@pytest.mark.parametrize("location", ["/api/models/new/name?blobs=true", "{url}/api/models/new/name"])
def test_a_redirect_on_the_same_origin_is_followed_with_the_token(fake, location):
    def answer(request):
        if "old" in request.path:
            return Reply(status=307, headers=(("Location", location.format(url=hub.url)),))
        return GOOD

    with ScriptedHub(answer=answer) as hub, client_of(hub, fake, token=TOKEN) as client:
        got = client.get("/api/models/old/name")
    assert got.requests == client.requests == 2
    assert "new/name" in got.url
    assert [request.headers["authorization"] for request in hub.requests] == [f"Bearer {TOKEN}"] * 2


def test_a_redirect_to_another_origin_is_refused_and_nothing_is_sent_there(fake):
    with ScriptedHub([GOOD]) as other:
        elsewhere = (("Location", f"{other.url}/api/models"),)
        with ScriptedHub([Reply(status=307, headers=elsewhere)]) as hub:
            error, client = failure_of(hub, fake, PermanentError, token=TOKEN)
    assert other.requests == []
    assert client.requests == len(hub.requests) == 1
    assert error.category is ErrorCategory.API
    assert other.url in error.message
    assert hub.url in error.message


@pytest.mark.parametrize(
    "location", ["ftp://127.0.0.1/x", "https://127.0.0.1/x", "http://user:pass@127.0.0.1/x", "http://[::1]/x"]
)
def test_a_redirect_to_another_scheme_host_or_user_is_refused(fake, location):
    with ScriptedHub([Reply(status=302, headers=(("Location", location),))]) as hub:
        error, _ = failure_of(hub, fake, PermanentError)
    assert len(hub.requests) == 1
    assert "pass" not in str(error)


def test_redirects_without_end_fail(fake):
    with ScriptedHub([Reply(status=307, headers=(("Location", "/api/models"),))]) as hub:
        error, client = failure_of(hub, fake, max_retries=0)
    assert "without end" in error.message
    assert client.requests == len(hub.requests) > 20


def test_without_a_token_none_is_sent_even_if_the_machine_has_one(tmp_path, fake):
    # huggingface_hub reads its token file's place at import, so this needs a process of its own.
    (tmp_path / "token").write_text(TOKEN)
    script = (
        "import sys; from gguf_assets_tests.hub.scripted import limits;"
        "from gguf_assets.hub.client import HubClient\n"
        "with HubClient(sys.argv[1], token=None, limits=limits()) as client: client.get('/api/models')"
    )
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_TOKEN": TOKEN}
    with ScriptedHub([GOOD]) as hub:
        subprocess.run([sys.executable, "-c", script, hub.url], env=environment, check=True)
    assert len(hub.requests) == 1  # and no telemetry probe
    assert "authorization" not in hub.requests[0].headers
    assert hub.requests[0].headers["user-agent"].startswith("gguf_assets/")


def error_answer(status: int, message: str, code: str | None = None) -> Reply:
    headers = (("X-Error-Message", message), *((("X-Error-Code", code),) if code else ()))
    return Reply.json({"error": message}, status=status, headers=headers)


@pytest.mark.parametrize(
    ("reply", "token", "category"),
    [
        (
            error_answer(401, "Invalid credentials in Authorization header"),
            TOKEN,
            ErrorCategory.AUTHENTICATION,
        ),
        (error_answer(401, "Invalid username or password."), None, ErrorCategory.AUTHENTICATION),
        (error_answer(403, "Forbidden"), TOKEN, ErrorCategory.PERMISSION),
        (error_answer(404, "Sorry, we can't find the page", "NotFound"), None, ErrorCategory.API),
        (error_answer(400, 'Invalid enum value "nonsense"'), None, ErrorCategory.API),
    ],
)
def test_other_client_errors_are_permanent_and_not_retried(fake, reply, token, category):
    with ScriptedHub([reply]) as hub:
        error, _ = failure_of(hub, fake, PermanentError, token=token)
    assert len(hub.requests) == 1
    assert error.category is category
    assert dict(reply.headers)["X-Error-Message"] in error.message
    assert error.remedy


def test_a_refused_token_says_how_to_run_without_one(fake):
    with ScriptedHub([error_answer(401, "Invalid credentials in Authorization header")]) as hub:
        error, _ = failure_of(hub, fake, PermanentError, token=TOKEN)
    assert "SYNC_ENVIRONMENT=development" in (error.remedy or "")


def test_allowed_statuses_are_answers(fake):
    with ScriptedHub([Reply(b"gone", status=404)]) as hub, client_of(hub, fake) as client:
        assert client.get("/api/models/a/b", allow_status=frozenset({404})).status == 404


def test_a_refused_token_is_an_error_even_where_401_is_allowed(fake):
    refused = error_answer(401, "Invalid credentials in Authorization header")
    with (
        ScriptedHub([refused]) as hub,
        client_of(hub, fake, token=TOKEN) as client,
        pytest.raises(PermanentError, match="does not accept the token"),
    ):
        client.get("/api/models/a/b", allow_status=frozenset({401}))


def test_the_token_is_in_no_text_even_if_the_hub_echoes_it(fake, caplog):
    caplog.set_level(logging.DEBUG)
    texts = []
    for status, error in ((500, TransientError), (403, PermanentError)):
        echo = Reply.json({"error": f"who is Bearer {TOKEN}?"}, status=status)
        with ScriptedHub([echo]) as hub:
            caught, client = failure_of(hub, fake, error, token=TOKEN, max_retries=1)
        texts += [str(caught), repr(caught), repr(client)]
    assert "***" in texts[0]
    assert TOKEN not in "\n".join([*texts, caplog.text])


@pytest.mark.parametrize("token", ["", "hf_abc\n", "hf abc", "hf_ä"])
def test_a_token_that_cannot_be_sent_is_refused_without_showing_it(token):
    with pytest.raises(PermanentError) as caught:
        HubClient("http://127.0.0.1:1", token=token, limits=limits())
    assert caught.value.category is ErrorCategory.AUTHENTICATION
    assert "abc" not in str(caught.value)


def test_what_a_hub_says_is_shown_on_one_short_line(fake):
    nasty = Reply.json({"error": "\x1b[31mred\r\nError: forged " + "x" * 1000}, status=400)
    with ScriptedHub([nasty]) as hub:
        error, _ = failure_of(hub, fake, PermanentError)
    assert re.search(r"[\x00-\x1f]", error.message) is None
    assert len(error.message) < 400


@pytest.mark.parametrize("body", [b"[]", b'"x"', b'{"error": 5}', b'{"error": ["a"]}', b"\xff\xfe", b""])
def test_odd_error_bodies_are_errors_like_any_other(fake, body):
    with ScriptedHub([Reply(body, status=400)]) as hub:
        failure_of(hub, fake, PermanentError)


def test_offline_mode_is_named(fake, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.is_offline_mode", lambda: True)
    with ScriptedHub([GOOD]) as hub:
        error, _ = failure_of(hub, fake, PermanentError)
    assert "HF_HUB_OFFLINE" in error.message


def test_no_telemetry_goes_out_even_if_huggingface_hub_was_there_first():
    script = (
        "import sys, huggingface_hub; from gguf_assets_tests.hub.scripted import limits;"
        "from gguf_assets.hub.client import HubClient\n"
        "with HubClient(sys.argv[1], token=None, limits=limits()) as client: client.get('/api/models')"
    )
    with ScriptedHub([GOOD]) as hub:
        environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_TELEMETRY": "0"}
        subprocess.run([sys.executable, "-c", script, hub.url], env=environment, check=True)
        assert hub.paths == ["/api/models"]


def test_one_client_at_a_time_and_another_after_it(fake):
    with ScriptedHub([GOOD]) as hub:
        with client_of(hub, fake), pytest.raises(RuntimeError, match="another HubClient"):
            client_of(hub, fake).__enter__()
        with client_of(hub, fake) as client:
            client.get("/api/models")
        with pytest.raises(RuntimeError, match="not open"):
            client.get("/api/models")


def test_two_threads_may_ask_at_once(fake):
    with ScriptedHub([GOOD]) as hub, client_of(hub, fake) as client:
        ask = [
            threading.Thread(target=lambda: [client.get("/api/models") for _ in range(20)]) for _ in range(2)
        ]
        for thread in ask:
            thread.start()
        for thread in ask:
            thread.join()
        assert client.requests == len(hub.requests) == 40


def test_the_rest_of_huggingface_hub_is_left_as_it_was(fake):
    from huggingface_hub import get_session

    with ScriptedHub([GOOD]) as hub:
        with client_of(hub, fake) as client:
            client.get("/api/models")
        assert get_session().get(f"{hub.url}/elsewhere").status_code == 200
        assert client.requests == 1


def test_a_proxy_is_used_unless_the_hub_is_on_loopback(fake, monkeypatch):
    def answer(request):
        return GOOD

    with ScriptedHub(answer=answer) as proxy, ScriptedHub([GOOD]) as hub:
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "")
        with client_of(hub, fake) as client:
            client.get("/api/models")
        assert proxy.requests == []
        with HubClient("http://hub.invalid", token=None, limits=limits(), **fake.hooks) as client:
            client.get("/api/models")
        assert proxy.paths == ["http://hub.invalid/api/models"]


def test_an_unusable_proxy_is_named_without_its_password(fake, monkeypatch):
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("http_proxy", "gopher://user:hushhush@proxy:1")
    client = HubClient("http://hub.invalid", token=None, limits=limits(), **fake.hooks)
    with client, pytest.raises(PermanentError) as caught:
        client.get("/api/models")
    assert caught.value.category is ErrorCategory.CONFIGURATION
    assert "hushhush" not in str(caught.value)


def test_importing_the_room_is_cheap_and_switches_telemetry_off():
    script = (
        "import os, sys; os.environ.pop('HF_HUB_DISABLE_TELEMETRY', None)\n"
        "import gguf_assets.hub, gguf_assets.hub.client, gguf_assets.hub.walk, gguf_assets.hub.details\n"
        "assert not {'httpx2', 'huggingface_hub', 'pyrate_limiter', 'dagster'} & set(sys.modules)\n"
        "from huggingface_hub import constants; assert constants.HF_HUB_DISABLE_TELEMETRY"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


# The token, checked once


def whoami(status: int = 200, body: object = None) -> Callable[[Request], Reply]:
    """A Hub with an answer of its own to the question whose token it is."""

    def answer(request: Request) -> Reply:
        if request.path != "/api/whoami-v2":
            return GOOD
        return Reply.json({"type": "user", "name": "somebody"} if body is None else body, status=status)

    return answer


def test_the_hub_says_whose_token_it_is(fake):
    with ScriptedHub(answer=whoami()) as hub, client_of(hub, fake, token=TOKEN) as client:
        assert client.validate_token() == "somebody"
        assert client.requests == 1
    assert hub.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_without_a_token_nobody_is_asked_whose_it_is(fake):
    with ScriptedHub(answer=whoami()) as hub, client_of(hub, fake) as client:
        assert client.validate_token() is None
    assert hub.requests == []


def test_a_token_that_the_hub_does_not_know_is_refused_without_another_try(fake):
    refused = whoami(401, {"error": "Invalid user token."})
    with ScriptedHub(answer=refused) as hub, client_of(hub, fake, token=TOKEN) as client:
        with pytest.raises(PermanentError, match="does not accept the token") as caught:
            client.validate_token()
        assert len(hub.requests) == 1
    assert caught.value.category is ErrorCategory.AUTHENTICATION
    assert "HF_TOKEN" in (caught.value.remedy or "")
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("status", [403, 404, 405])
@pytest.mark.parametrize("body", [{"error": "Sorry, we can't find the page"}, []])
def test_a_mirror_that_knows_nobody_is_no_error(fake, status, body):
    with ScriptedHub(answer=whoami(status, body)) as hub, client_of(hub, fake, token=TOKEN) as client:
        assert client.validate_token() is None
        assert len(hub.requests) == 1


@pytest.mark.parametrize("body", [[], {}, {"name": 5}, "somebody"])
def test_an_odd_answer_to_whose_token_it_is_is_no_error(fake, body):
    with ScriptedHub(answer=whoami(200, body)) as hub, client_of(hub, fake, token=TOKEN) as client:
        assert client.validate_token() is None


def test_the_check_of_the_token_is_tried_again_as_everything_is_or_as_often_as_asked(fake):
    with ScriptedHub([Reply(status=500), Reply.json({"name": "somebody"})]) as hub:
        with client_of(hub, fake, token=TOKEN) as client:
            assert client.validate_token() == "somebody"
        with client_of(hub, fake, token=TOKEN) as client:
            hub.answer = lambda _: Reply(status=500)
            hub.requests.clear()
            with pytest.raises(TransientError):
                client.validate_token(max_retries=0)
            assert len(hub.requests) == 1


def test_what_is_to_be_done_before_the_first_request_is_done_once_and_when_it_refuses_nothing_is_sent(fake):
    asked: list[str] = []

    def refuse(client: HubClient) -> None:
        asked.append("refused")
        raise PermanentError("not today", category=ErrorCategory.AUTHENTICATION)

    def allow(client: HubClient) -> None:
        asked.append(client.validate_token() or "")

    with ScriptedHub(answer=whoami()) as hub:
        for first in (refuse, allow):
            client = HubClient(hub.url, token=TOKEN, limits=limits(), before_first=first, **fake.hooks)
            with client:
                for _ in range(2):
                    if first is refuse:
                        with pytest.raises(PermanentError, match="not today"):
                            client.get("/api/models")
                    else:
                        assert client.get("/api/models").requests == 1
        assert hub.paths == ["/api/whoami-v2", "/api/models", "/api/models"]
    assert asked == ["refused", "refused", "somebody"]


def loaded_for(hub_url: str, home: Path, **variables: str) -> LoadedSettings:
    return load_settings(
        {
            "SYNC_ENVIRONMENT": "testing",
            "GGUF_ASSETS_DATA_DIR": str(home),
            "HF_ENDPOINT": hub_url,
            "HF_TOKEN": TOKEN,
            **variables,
        }
    )


def test_a_process_has_a_token_checked_once_and_only_where_that_is_wanted(tmp_path):
    with ScriptedHub(answer=whoami()) as hub:
        for _ in range(3):
            with open_hub(loaded_for(hub.url, tmp_path)) as client:
                client.get("/api/models")
                client.get("/api/models")
        assert hub.paths.count("/api/whoami-v2") == 1
        assert hub.paths.count("/api/models") == 6
    with ScriptedHub(answer=whoami()) as hub:
        off = loaded_for(hub.url, tmp_path, GGUF_SYNC__SECURITY__ENABLE_TOKEN_VALIDATION="false")
        with open_hub(off) as client:
            client.get("/api/models")
        with open_hub(loaded_for(hub.url, tmp_path, HF_TOKEN="")) as client:
            client.get("/api/models")
        with open_hub(loaded_for(hub.url, tmp_path)):
            pass  # nothing is asked, so nothing is checked
        assert hub.paths == ["/api/models", "/api/models"]


@pytest.mark.parametrize(
    "trouble", [Reply(status=500), Reply(reset=True), Reply(b"<html>"), Reply(status=429)]
)
def test_a_hub_that_cannot_tell_now_costs_one_request_and_the_sync_goes_on(tmp_path, trouble):
    def answer(request: Request) -> Reply:
        return trouble if "whoami" in request.path else GOOD

    with ScriptedHub(answer=answer) as hub, open_hub(loaded_for(hub.url, tmp_path)) as client:
        assert client.get("/api/models").requests == 1
        assert hub.paths == ["/api/whoami-v2", "/api/models"]


MAXIMUM, BUDGET = "MAX_CONCURRENCY", "GGUF_SYNC__RATE_LIMITING__MAX_REQUESTS_PER_RUN"
PARALLEL = "GGUF_SYNC__PERFORMANCE__ENABLE_PARALLEL_PROCESSING"
ADAPTIVE = "GGUF_SYNC__PERFORMANCE__ENABLE_ADAPTIVE_PARAMETERS"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({MAXIMUM: "7"}, (7, True, 20_000)),
        ({MAXIMUM: "7", PARALLEL: "false"}, (1, True, 20_000)),
        ({MAXIMUM: "30", ADAPTIVE: "false", BUDGET: "123"}, (30, False, 123)),
        (
            {
                MAXIMUM: "50",
                "HF_ENDPOINT": "https://huggingface.co",
                "HF_TOKEN": "",
                "SYNC_ENVIRONMENT": "development",
            },
            (20, True, 20_000),
        ),
    ],
    ids=["maximum", "not parallel", "not adaptive", "anonymous"],
)
def test_concurrency_adaptation_and_budget_come_from_the_settings(tmp_path, variables, expected):
    settings = loaded_for("http://127.0.0.1:1", tmp_path, **{ADAPTIVE: "true", PARALLEL: "true", **variables})
    found = request_limits(settings)
    assert (found.max_concurrent_requests, found.adaptive, found.max_requests_per_run) == expected
    client = open_hub(settings)
    assert client.max_concurrency == expected[0]
    assert client.concurrency == (min(4, expected[0]) if expected[1] else expected[0])


def test_the_shared_limits_come_from_the_environment_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("GGUF_ASSETS_SHARED_LIMITS_URL", "gopher://limits:hushhush@127.0.0.1:1")
    with pytest.raises(PermanentError) as caught, open_hub(loaded_for("http://127.0.0.1:1", tmp_path)):
        pass
    assert caught.value.category is ErrorCategory.CONFIGURATION
    assert "hushhush" not in str(caught.value)


def test_a_refused_token_costs_a_whole_sync_at_most_three_requests(tmp_path):
    (tmp_path / "home").mkdir()
    with hub_of([repository("owner/one"), repository("owner/two")], token="hf_right" * 4, tick=0) as hub:
        catalogue = Catalogue(tmp_path / "home", hub, HF_TOKEN="hf_wrong" * 4)
        ended = catalogue.call("sync")
        asked = [request.target for request in hub.requests]
    assert ended.code != 0
    assert "does not accept the token" in ended.stderr
    assert 1 <= len(asked) <= 3
    assert "hf_wrong" not in ended.stdout + ended.stderr


# Nothing leaves the origin of the endpoint


ELSEWHERE = [
    "{other}/api/models",
    "//127.0.0.1:{port}/api/models",
    "http://localhost:{port}/api/models",
    "http://127.0.0.1:{own}@127.0.0.1:{port}/api/models",
    "http://user@127.0.0.1:{own}/api/models",
    "http://127.0.0.1:{own}\\@127.0.0.1:{port}/api/models",
    "http://127.0.0.1:{own}#@127.0.0.1:{port}/api/models@{other}/x",
    "https://127.0.0.1:{own}/api/models",
    "http://127.0.0.1.evil.example:{port}/api/models",
    "http://[::ffff:127.0.0.1]:{port}/api/models",
    "http://2130706433:{port}/api/models",
    "http://127.1:{port}/api/models",
    "http:///127.0.0.1:{port}/api/models",
    "http:127.0.0.1:{port}/api/models",
    "\\\\127.0.0.1:{port}/api/models",
]


def told(text: str, hub: ScriptedHub, other: ScriptedHub) -> str:
    own, port = (url.rpartition(":")[2] for url in (hub.url, other.url))
    return text.format(own=own, port=port, other=other.url)


@pytest.mark.parametrize("where", ELSEWHERE)
def test_wherever_a_redirect_points_another_server_hears_nothing(fake, where):
    def answer(request: Request) -> Reply:
        if request.path.startswith("/api/models/old"):
            return Reply(status=307, headers=(("Location", told(where, hub, other)),))
        return GOOD

    with ScriptedHub([GOOD]) as other, ScriptedHub(answer=answer) as hub:
        with client_of(hub, fake, token=TOKEN, max_retries=0) as client:
            try:
                answered = client.get("/api/models/old")
            except (PermanentError, TransientError) as error:
                assert TOKEN not in str(error)
            else:  # what is read as a path or a fragment of the endpoint's own
                assert answered.url.startswith((hub.url + "/", hub.url + "#"))
        assert other.requests == []


@pytest.mark.parametrize("where", ELSEWHERE)
@pytest.mark.parametrize("ask", ["walk", "tree"])
def test_wherever_a_link_points_another_server_hears_nothing(fake, where, ask):
    def answer(request: Request) -> Reply:
        if "/revision/" in request.path:
            return Reply.json({"_id": "0" * 24, "sha": "5" * 40})
        link = f'<{told(where, hub, other)}>; rel="next"'
        first = "cursor" not in request.path
        return Reply.json([{"_id": "1"}], headers=(("Link", link),) if first else ())

    class Pages:
        next_link, pages_stored = None, 0

        def store_page(self, *_: object, **__: object) -> None:
            self.pages_stored += 1

    with ScriptedHub([GOOD]) as other, ScriptedHub(answer=answer) as hub:
        with (
            client_of(hub, fake, token=TOKEN, max_retries=0) as client,
            suppress(PermanentError, TransientError),
        ):
            if ask == "walk":
                walk(client, Pages(), fields=["sha"])  # type: ignore[arg-type]
            else:
                fetch_detail(client, DetailTarget("0" * 24, "owner/model", "5" * 40))
        assert other.requests == []


@pytest.mark.parametrize(
    ("endpoint", "allowed"),
    [
        ("https://huggingface.co", True),
        ("https://HuggingFace.co", True),
        ("https://mirror.huggingface.co", True),
        ("https://huggingface.co:8443", True),
        ("https://huggingface.co.evil.org", False),
        ("https://evil-huggingface.co", False),
        ("https://evil.org/huggingface.co", False),
        ("https://huggingface.co@evil.org", False),
        ("https://evil.org#huggingface.co", False),
        ("https://evil.org?huggingface.co", False),
        ("https://huggingface.co.", False),
        ("https://co", False),
        ("ftp://huggingface.co", False),
        ("http://127.0.0.1:5000", True),
        ("http://127.0.0.1.evil.org", False),
        ("http://localhost.evil.org", False),
    ],
)
def test_only_allowed_domains_and_this_machine_are_endpoints(endpoint, allowed):
    def make() -> HubClient:
        return HubClient(endpoint, token=TOKEN, limits=limits(), allowed_domains=["huggingface.co"])

    if allowed:
        assert make().endpoint.lower() == endpoint.lower()
        return
    with pytest.raises(PermanentError) as caught:
        make()
    assert caught.value.category is ErrorCategory.CONFIGURATION


def test_the_figures_of_a_client_are_there_before_during_and_after(fake):
    policy = ("RateLimit-Policy", '"fixed window";"api";q=500;w=300')
    quota = Reply.json([1], headers=((QUOTA, '"api";r=499;t=295'), policy))
    with ScriptedHub([quota]) as hub:
        client = client_of(hub, fake, max_concurrent_requests=7)
        assert (client.quota, client.concurrency, client.waited_seconds, client.requests) == (None, 7, 0.0, 0)
        with client:
            assert client.quota is None
            client.get("/api/models")
            state = client.quota
            assert state is not None
            assert (state.limit, state.remaining) == (500, 499)
            assert 290 < state.resets_in_seconds <= 296
        assert (client.quota, client.requests) == (None, 1)
