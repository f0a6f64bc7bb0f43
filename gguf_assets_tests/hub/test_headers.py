"""Beginnings of files over real HTTP: bounded reads, redirects without the token, what cannot be had."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx2
import pytest

from gguf_assets.errors import ErrorCategory, PermanentError, TransientError
from gguf_assets.hub.client import HubClient
from gguf_assets.hub.headers import HEAD_BYTES, FileHead, HeadTarget, read_head, read_heads
from gguf_assets.hub.limits import RateLimiter
from gguf_assets.hub.origin import holds_content
from gguf_assets.hub.transport import FILE_CONTENT, HubTransport, Traffic
from gguf_assets_tests.hub.scripted import DATE, FakeTime, Reply, ScriptedHub, limits
from gguf_assets_tests.hubs import gguf, hub_of, repository

TOKEN = "hf_secretSecretSecretSecret"
SHA = "a" * 40
TARGET = HeadTarget("0" * 24, "owner/model", SHA, "sub dir/ü#1.Q4_K_M.gguf")
ADDRESS = f"/owner/model/resolve/{SHA}/sub%20dir/%C3%BC%231.Q4_K_M.gguf"
OCTETS = "application/octet-stream"


@pytest.fixture
def fake() -> FakeTime:
    return FakeTime()


def client_of(hub: ScriptedHub, fake: FakeTime, *, token: str | None = TOKEN, **changes) -> HubClient:
    return HubClient(hub.url, token=token, limits=limits(**changes), **fake.hooks)


def part(body: bytes, total: int | str, **rest) -> Reply:
    """An answer to a range read from the beginning."""
    said = ("Content-Range", f"bytes 0-{len(body) - 1}/{total}")
    return Reply(body, 206, (said,), content_type=OCTETS, **rest)


def read(replies: list[Reply], fake: FakeTime, **changes) -> tuple[FileHead, ScriptedHub, HubClient]:
    with ScriptedHub(replies) as hub, client_of(hub, fake, **changes) as client:
        return read_head(client, TARGET), hub, client


def test_one_range_is_asked_for_with_the_token_and_counted(fake):
    body = b"GGUF" * (HEAD_BYTES // 4)
    head, hub, client = read([part(body, 5_000_000_000)], fake)
    assert head == FileHead(206, body, 5_000_000_000, 1)
    assert client.requests == len(hub.requests) == 1
    request = hub.requests[0]
    assert request.path == ADDRESS
    assert request.headers["range"] == "bytes=0-262143"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["authorization"] == f"Bearer {TOKEN}"


def test_a_file_shorter_than_the_range_is_read_whole(fake):
    assert read([part(b"GGUF", 4)], fake)[0] == FileHead(206, b"GGUF", 4, 1)
    assert read([part(b"GGUF", "*")], fake)[0] == FileHead(206, b"GGUF", None, 1)
    assert read([Reply(b"GGUF", content_type=OCTETS)], fake)[0] == FileHead(200, b"GGUF", 4, 1)


@dataclass
class EndlessHub:
    """Ignores every range and sends a file of 100 GB, as fast as it is taken; counts what it got rid of."""

    sent: int = 0
    closed: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    @contextmanager
    def running(self) -> Iterator[EndlessHub]:
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=self._serve, args=(listener,), daemon=True)
        thread.start()
        yield self
        listener.close()
        thread.join(timeout=5)

    def _serve(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            fields = (f"Date: {DATE}", f"Content-Type: {OCTETS}", f"Content-Length: {10**11}", "", "")
            connection.sendall("\r\n".join(("HTTP/1.1 200 OK", *fields)).encode())
            try:
                while self.sent < 10**11:
                    self.sent += connection.send(b"GGUF" * 16_384)
            except OSError:
                self.closed.set()


def test_a_server_that_ignores_the_range_is_cut_off(fake):
    with (
        EndlessHub().running() as hub,
        HubClient(hub.url, token=None, limits=limits(), **fake.hooks) as client,
    ):
        head = read_head(client, TARGET)
        assert (head.status, len(head.content), head.file_bytes) == (200, HEAD_BYTES, 10**11)
        assert hub.closed.wait(5), "the connection is closed, not drained"
        assert hub.sent < 32 * HEAD_BYTES, "what the socket's buffers hold, at most"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_to_another_origin_of_files_it_goes_without_the_token(fake, status):
    with ScriptedHub([part(b"GGUF", 4)]) as cdn:
        there = (("Location", f"{cdn.url}/xet/abc?Signature=s"), ("Set-Cookie", "session=secret; Path=/"))
        with ScriptedHub([Reply(b"", status, there)]) as hub, client_of(hub, fake) as client:
            assert read_head(client, TARGET) == FileHead(206, b"GGUF", 4, 2)
            assert client.requests == 2
    assert cdn.paths == ["/xet/abc?Signature=s"]
    sent = cdn.requests[0].headers
    assert not {"authorization", "cookie"} & sent.keys()
    assert sent["range"] == "bytes=0-262143"
    assert TOKEN not in str(sent)


def test_a_renamed_repository_is_followed_on_the_endpoint_with_the_token(fake):
    moved = Reply(b"", 307, (("Location", f"/owner/new/resolve/{SHA}/x.gguf"),))
    head, hub, _ = read([moved, part(b"GGUF", 4)], fake)
    assert head.requests == 2
    assert [r.headers["authorization"] for r in hub.requests] == [f"Bearer {TOKEN}"] * 2


@pytest.mark.parametrize(
    "location",
    [
        "http://example.com/x",
        "https://cdn.hf.co/x",  # a Hub on this machine keeps its files on this machine
        "http://user:pass@127.0.0.1/x",
        "ftp://127.0.0.1/x",
        "file:///etc/passwd",
        "http://[",
        "http://169.254.169.254/latest/meta-data",
    ],
)
def test_elsewhere_nothing_is_sent(fake, location):
    with ScriptedHub([Reply(b"", 302, (("Location", location),))]) as hub, client_of(hub, fake) as client:
        with pytest.raises(PermanentError) as caught:
            read_head(client, TARGET)
        assert client.requests == len(hub.requests) == 1
    assert caught.value.category is ErrorCategory.API
    assert "pass" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://cdn-lfs.hf.co/x", True),
        ("https://us.aws.cdn.hf.co/x", True),
        ("https://files.example.org/x", True),
        ("http://cdn-lfs.hf.co/x", False),
        ("https://hf.co.evil.com/x", False),
        ("https://evilhf.co/x", False),
        ("https://127.0.0.1/x", False),
        ("https://localhost/x", False),
        ("https://user@cdn.hf.co/x", False),
    ],
)
def test_the_real_hubs_files_lie_on_its_cdn_and_the_allowed_domains(url, allowed):
    assert holds_content("https://huggingface.co", url, ["huggingface.co", "example.org"]) is allowed


@pytest.mark.parametrize(
    ("url", "headers", "extensions"),
    [
        ("https://cdn.hf.co/x", {"authorization": f"Bearer {TOKEN}"}, {FILE_CONTENT: True}),
        ("https://cdn.hf.co/x", {}, {}),
        ("https://example.com/x", {}, {FILE_CONTENT: True}),
    ],
)
def test_the_transport_itself_lets_nothing_else_through(fake, url, headers, extensions):
    def fail(request: httpx2.Request) -> httpx2.Response:
        raise AssertionError(f"sent to {request.url}")

    inner = httpx2.MockTransport(fail)
    transport = HubTransport(
        inner,
        endpoint="https://huggingface.co",
        limiter=RateLimiter(limits(), file=None, sleep=fake.sleep, clock=fake.clock),
        timeout_seconds=5,
        traffic=Traffic(),
        wire=lambda _: inner,
    )
    with pytest.raises(PermanentError):
        transport.handle_request(httpx2.Request("GET", url, headers=headers, extensions=extensions))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 416, 451])
def test_a_file_that_cannot_be_had_is_no_error(fake, status):
    head, hub, _ = read([Reply(b"{}", status)], fake)
    assert head == FileHead(status, None, None, 1)
    assert len(hub.requests) == 1


def test_a_refused_token_is_an_error_that_does_not_tell_it(fake):
    said = (("X-Error-Message", f"Invalid credentials in Authorization header {TOKEN}"),)
    with (
        ScriptedHub([Reply(b"", 401, said)]) as hub,
        client_of(hub, fake) as client,
        pytest.raises(PermanentError) as caught,
    ):
        read_head(client, TARGET)
    assert caught.value.category is ErrorCategory.AUTHENTICATION
    assert TOKEN not in str(caught.value)


BROKEN = [
    Reply(b"", 500),
    Reply(b"", 429, (("Retry-After", "3"),)),
    Reply(reset=True),
    Reply(b"<html>", content_type="text/html"),
    Reply(b"GGUF", headers=(("Content-Encoding", "gzip"),), content_type=OCTETS),
    part(b"GGUF", 5_000_000_000),
    Reply(b"GGUF", 206, (("Content-Range", "bytes 4-7/8"),), content_type=OCTETS),
    Reply(b"GGUF", 206, content_type=OCTETS),
    part(b"GGUF" * 100, 400, cut_after=80),
    Reply(b"", 204),
    Reply(b"", 304),
]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda reply: f"{reply.status}-{len(reply.body)}")
def test_another_try_may_help(fake, broken):
    head, hub, client = read([broken, part(b"GGUF", 4)], fake)
    assert head.content == b"GGUF"
    assert client.requests == len(hub.requests) == 2
    assert len(fake.slept) >= 1


def test_redirects_without_end_fail(fake):
    again = Reply(b"", 302, (("Location", ADDRESS),))
    with ScriptedHub([again]) as hub, client_of(hub, fake, max_retries=0) as client:
        with pytest.raises(TransientError, match="redirected more than 5 times"):
            read_head(client, TARGET)
        assert client.requests == 6


@pytest.mark.parametrize(
    "changes",
    [
        {"path": "../x.gguf"},
        {"path": "/x.gguf"},
        {"path": "a//x.gguf"},
        {"path": "\ud800.gguf"},
        {"model_id": "a/b/c"},
        {"model_id": "../x"},
        {"sha": "main"},
    ],
)
def test_names_that_are_none_are_never_sent(fake, changes):
    target = HeadTarget(**{**vars(TARGET), **changes})
    with ScriptedHub([part(b"GGUF", 4)]) as hub, client_of(hub, fake) as client:
        assert read_head(client, target) == FileHead(400)
    assert hub.requests == []


class Kept:
    """A sink that keeps what it gets."""

    def __init__(self, *known: HeadTarget) -> None:
        self.heads: dict[str, int] = {}
        self._known = {(target.hub_id, target.sha, target.path) for target in known}

    def has_head(self, hub_id: str, sha: str, path: str) -> bool:
        return (hub_id, sha, path) in self._known

    def store_head(self, *, path: str, status: int, **_: object) -> None:
        self.heads[path] = status


def targets(count: int) -> list[HeadTarget]:
    return [HeadTarget("0" * 24, "owner/model", SHA, f"{number}.gguf") for number in range(count)]


def test_files_are_read_in_turn_until_time_is_up_and_known_ones_passed_over(fake):
    answers = {"1": Reply(b"", 403), "3": Reply(b"", 500)}

    def answer(request):
        return answers.get(request.path.rpartition("/")[2].removesuffix(".gguf"), part(b"GGUF", 4))

    all_of_them = targets(9)
    sink = Kept(all_of_them[0])
    with ScriptedHub(answer=answer) as hub, client_of(hub, fake, max_retries=0) as client:
        summary = read_heads(client, all_of_them, sink, deadline=lambda: len(sink.heads) == 4)
    assert sink.heads == {"1.gguf": 403, "2.gguf": 206, "4.gguf": 206, "5.gguf": 206}
    assert (summary.read, summary.skipped, summary.failed, summary.requests) == (3, 1, 1, 5)
    assert summary.stopped_reason == "deadline"


def test_a_hub_that_keeps_failing_is_left_alone(fake):
    with ScriptedHub([Reply(b"", 500)]) as hub, client_of(hub, fake, max_retries=0) as client:
        summary = read_heads(client, targets(20), Kept(), deadline=lambda: False)
    assert (summary.failed, summary.stopped_reason, len(hub.requests)) == (5, "failing", 5)


def test_from_the_loopback_hub_a_sound_header_comes(fake):
    from gguf_assets.hub.gguf_header import read_header

    facts = {"architecture": "qwen3", "context_length": 40_960, "total": 7_000_000}
    there = repository("owner/model", files=[gguf("a/x.Q5_K_S.gguf"), gguf("tiny.gguf", 12)], gguf=facts)
    with hub_of([there]) as hub, HubClient(hub.url, token=None, limits=limits(), **fake.hooks) as client:
        head = read_head(client, HeadTarget(there.hub_id, "owner/model", there.sha, "a/x.Q5_K_S.gguf"))
        header = read_header(head.content, head.file_bytes)
        tiny = read_head(client, HeadTarget(there.hub_id, "owner/model", there.sha, "tiny.gguf"))
    assert (head.status, head.file_bytes, len(head.content)) == (206, 4_000_000_000, HEAD_BYTES)
    said = (header.architecture, header.context_length, header.parameter_count, header.file_type)
    assert said == ("qwen3", 40_960, 7_000_000, "Q5_K_S")
    assert (len(tiny.content), tiny.file_bytes) == (12, 12)
