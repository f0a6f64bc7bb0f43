from __future__ import annotations

import hashlib
import hmac
import http.server
import json
import logging
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from gguf_assets.alerts.alert import ChannelError, Severity
from gguf_assets.alerts.channels.webhook import WebhookChannel
from gguf_assets_tests.alerts.receivers import answering, certified, dripping, hanging, receiving
from gguf_assets_tests.alerts.telling import an_alert

PATH = "/services/T0PLANTED/B0PLANTED/plantedwebhooksecret"


def channel(url: str, **options: object) -> WebhookChannel:
    return WebhookChannel(SecretStr(url + PATH), **options)  # type: ignore[arg-type]


def test_posts_a_text_for_people_and_the_alert_for_machines():
    with receiving(answering(200)) as receiver:
        channel(receiver.url).send(an_alert(), over=False)
    (request,) = receiver.requests
    assert (request.method, request.path) == ("POST", PATH)
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("gguf_assets")
    assert "x-gguf-assets-signature" not in request.headers
    assert request.document == {
        "text": "[gguf-assets] failure: The sync of 2026-03-01 failed\n"
        "The Hub answered 503 five times.\n\n"
        "What to do: Run `gguf-assets sync` again.\n\n"
        "Day: 2026-03-01\nRequests: 17\n\n"
        "http://127.0.0.1:3000/runs/1",
        "gguf_assets": {
            "version": 1,
            "condition": "sync_failed",
            "severity": "failure",
            "state": "firing",
            "title": "The sync of 2026-03-01 failed",
            "message": "The Hub answered 503 five times.\n\nWhat to do: Run `gguf-assets sync` again.\n\n"
            "Day: 2026-03-01\nRequests: 17\n\nhttp://127.0.0.1:3000/runs/1",
            "remedy": "Run `gguf-assets sync` again.",
            "facts": {"Day": "2026-03-01", "Requests": "17"},
            "url": "http://127.0.0.1:3000/runs/1",
        },
    }


def test_says_that_a_condition_is_over_and_what_is_a_note():
    with receiving(answering(204, b"")) as receiver:
        channel(receiver.url).send(an_alert(severity=Severity.SUCCESS), over=True)
        channel(receiver.url).send(an_alert(severity=Severity.SUCCESS), over=False)
    over, note = (request.document for request in receiver.requests)
    assert over["gguf_assets"]["state"] == "resolved"
    assert over["text"].startswith("[gguf-assets] over: The sync")
    assert note["gguf_assets"]["state"] == "note"


def test_slack_gets_nothing_but_the_text():
    slack = WebhookChannel(SecretStr("https://hooks.slack.com" + PATH))
    assert set(slack._document(an_alert(), over=False)) == {"text"}
    assert slack.name == "webhook hooks.slack.com"


def test_a_chat_mentions_nobody_and_gets_no_markup_and_no_endless_text():
    with receiving(answering(200)) as receiver:
        channel(receiver.url).send(an_alert(text="<!channel> & @here <b>\x1b[31m" + "x" * 9000), over=False)
    text = receiver.requests[0].document["text"]
    assert "&lt;!channel&gt; &amp; @\u200bhere &lt;b&gt; [31mxxx" in text
    assert len(text) == 3000
    assert text.endswith("…")


def test_signs_the_timestamp_and_the_body():
    with receiving(answering(200)) as receiver:
        channel(receiver.url, secret=SecretStr("planted signing key")).send(an_alert(), over=False)
    (request,) = receiver.requests
    timestamp = request.headers["x-gguf-assets-timestamp"]
    assert abs(int(timestamp) - time.time()) < 60
    expected = hmac.new(b"planted signing key", timestamp.encode() + b"." + request.body, hashlib.sha256)
    assert request.headers["x-gguf-assets-signature"] == f"sha256={expected.hexdigest()}"
    assert b"planted signing key" not in request.body


def test_the_example_of_the_documentation_accepts_what_is_genuine_and_nothing_else():
    document = Path(__file__).parents[2] / "docs" / "alerts.md"
    code = document.read_text().split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(compile(code, "docs/alerts.md", "exec"), names)
    with receiving(answering(200)) as receiver:
        channel(receiver.url, secret=SecretStr("s3cret")).send(an_alert(), over=False)
    (request,) = receiver.requests
    headers = {
        name: request.headers[name.lower()] for name in ("X-Gguf-Assets-Timestamp", "X-Gguf-Assets-Signature")
    }
    assert names["is_genuine"](b"s3cret", headers, request.body)
    assert not names["is_genuine"](b"s3creT", headers, request.body)
    assert not names["is_genuine"](b"s3cret", headers, request.body + b" ")
    assert not names["is_genuine"](b"s3cret", {**headers, "X-Gguf-Assets-Timestamp": "1"}, request.body)


def test_the_signature_is_as_openssl_computes_it():
    with receiving(answering(200)) as receiver:
        channel(receiver.url, secret=SecretStr("key"), clock=lambda: 1767225600.9).send(
            an_alert(), over=False
        )
    (request,) = receiver.requests
    assert request.headers["x-gguf-assets-timestamp"] == "1767225600"
    output = subprocess.run(
        ["openssl", "dgst", "-sha256", "-hmac", "key", "-r"],
        input=b"1767225600." + request.body,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout.decode()
    assert request.headers["x-gguf-assets-signature"] == f"sha256={output.split()[0]}"


@pytest.mark.parametrize("status", [400, 403, 404, 410, 429, 500, 503])
def test_a_refusal_says_status_and_reason(status):
    with (
        receiving(answering(status, b"invalid_payload")) as receiver,
        pytest.raises(ChannelError, match=rf"^{receiver.url} answered {status}: invalid_payload$"),
    ):
        channel(receiver.url).send(an_alert(), over=False)
    assert len(receiver.requests) == 1


def test_a_refusal_that_repeats_the_address_gives_nothing_away():
    body = f"no hook at {PATH}, T0PLANTED, plantedwebhooksecret, key {'k3y-planted'}".encode()
    with receiving(answering(404, body)) as receiver, pytest.raises(ChannelError) as caught:
        channel(receiver.url, secret=SecretStr("k3y-planted")).send(an_alert(), over=False)
    assert "planted" not in str(caught.value).lower()
    assert str(caught.value) == f"{receiver.url} answered 404: no hook at ***, ***, ***, key ***"


def test_a_redirect_is_not_followed():
    with receiving(answering(200)) as other:
        redirect = answering(307, b"", Location=f"{other.url}/elsewhere")
        with receiving(redirect) as receiver, pytest.raises(ChannelError, match="redirects are not followed"):
            channel(receiver.url).send(an_alert(), over=False)
    assert other.requests == []


def test_a_receiver_that_hangs_costs_the_timeout():
    began = time.monotonic()
    with receiving(hanging) as receiver, pytest.raises(ChannelError, match=r"did not answer within 0\.3 s"):
        channel(receiver.url, timeout_seconds=0.3).send(an_alert(), over=False)
    assert time.monotonic() - began < 5


def test_a_receiver_that_drips_costs_the_timeout_and_counts_as_told():
    began = time.monotonic()
    with receiving(dripping) as receiver:
        channel(receiver.url, timeout_seconds=0.3).send(an_alert(), over=False)
        assert time.monotonic() - began < 5


def test_an_endless_refusal_is_read_in_part():
    with receiving(answering(500, b"x" * 5_000_000)) as receiver, pytest.raises(ChannelError) as caught:
        channel(receiver.url).send(an_alert(), over=False)
    assert len(str(caught.value)) < 300


def test_nobody_there():
    with receiving(answering(200)) as receiver:
        pass
    with pytest.raises(ChannelError, match=rf"^{receiver.url} cannot be reached: Connection refused$"):
        channel(receiver.url).send(an_alert(), over=False)


def test_what_is_no_http_is_named_so():
    import socketserver

    class Babbling(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(100_000)
            self.request.sendall(b"220 mail.example.org ESMTP\r\n")

    with socketserver.TCPServer(("127.0.0.1", 0), Babbling) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        with pytest.raises(ChannelError, match="it speaks no proper HTTP"):
            channel(url).send(an_alert(), over=False)


def test_a_certificate_of_nobody_is_refused(tmp_path):
    context, _ = certified(tmp_path)
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    server.handle_error = lambda *arguments: None  # type: ignore[method-assign]
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.handle_request, daemon=True).start()
    try:
        with pytest.raises(ChannelError, match="its certificate was refused"):
            channel(f"https://localhost:{server.server_port}", timeout_seconds=5).send(an_alert(), over=False)
    finally:
        server.server_close()


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/plantedsecret",
        "ftp://127.0.0.1/plantedsecret",
        "plantedsecret",
        "https:///plantedsecret",
        "https://[::1/plantedsecret",
        "https://example.org:port/plantedsecret",
        "",
    ],
)
def test_what_is_no_safe_address_is_refused_without_showing_it(url):
    with pytest.raises(ChannelError, match="no https address") as caught:
        WebhookChannel(SecretStr(url))
    assert "planted" not in str(caught.value)


def test_half_characters_and_deep_secrets_do_not_stop_an_alert():
    with receiving(answering(200)) as receiver:
        alert = an_alert(text="\ud800 hf_" + "a" * 30, facts={"Authorization": "plantedlogin"})
        channel(receiver.url).send(alert, over=False)
    assert "a" * 20 not in json.dumps(receiver.requests[0].document)
    assert b"planted" not in receiver.requests[0].body


def test_the_address_is_in_no_log_at_whatever_level(caplog):
    caplog.set_level(logging.DEBUG)
    with receiving(answering(200)) as receiver:
        channel(receiver.url).send(an_alert(), over=False)
    assert caplog.records
    assert "planted" not in caplog.text.lower()


def test_user_and_password_in_the_address_are_sent_as_such():
    with receiving(answering(403, b"me plantedpw")) as receiver, pytest.raises(ChannelError) as caught:
        url = receiver.url.replace("http://", "http://me:planted%70w@")
        WebhookChannel(SecretStr(f"{url}/x")).send(an_alert(), over=False)
    assert receiver.requests[0].headers["authorization"] == "Basic bWU6cGxhbnRlZHB3"
    assert str(caught.value) == f"{receiver.url} answered 403: me ***"


def test_other_machines_are_reached_through_the_proxy_of_the_environment(monkeypatch):
    with receiving(answering(502, b"no tunnel")) as proxy:
        monkeypatch.setenv("https_proxy", f"http://user:plantedproxy@{proxy.url.removeprefix('http://')}")
        with pytest.raises(ChannelError, match=r"^https://hooks\.slack\.com cannot be reached") as caught:
            WebhookChannel(SecretStr("https://hooks.slack.com" + PATH)).send(an_alert(), over=False)
    assert [request.method for request in proxy.requests] == ["CONNECT"]
    assert "planted" not in str(caught.value)


def test_a_proxy_that_is_none_is_named_without_its_password(monkeypatch):
    monkeypatch.setenv("https_proxy", "gopher://user:plantedproxy@host")
    with pytest.raises(
        ChannelError, match="the proxy that the environment names for https is unusable"
    ) as caught:
        WebhookChannel(SecretStr("https://hooks.slack.com" + PATH)).send(an_alert(), over=False)
    assert "planted" not in str(caught.value)
