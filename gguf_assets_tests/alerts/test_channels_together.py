"""A run fails, warns and succeeds, with all channels at once and some of them broken."""

from __future__ import annotations

import json
import logging
from datetime import timedelta

import pytest
from aiosmtpd.smtp import AuthResult
from pydantic import SecretStr

from gguf_assets.alerts.alert import Severity
from gguf_assets.alerts.building import Addresses, build_channels
from gguf_assets.alerts.notifier import Notifier
from gguf_assets_tests.alerts.receivers import GitHub, answering, receiving
from gguf_assets_tests.alerts.telling import an_alert, at
from gguf_assets_tests.alerts.test_email import Mailbox, serving

TOKEN = "ghp_plantedplantedplanted"
PASSWORD = "plantedpassword"
HOOK = "/services/planted/plantedhook"


@pytest.fixture
def github():
    double = GitHub("owner/name", TOKEN)
    with receiving(double) as receiver:
        double.url = receiver.url
        yield double


def test_each_class_obeys_its_switch_and_a_broken_webhook_hurts_nobody(github, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    switches = {Severity.SUCCESS: False, Severity.FAILURE: True, Severity.WARNING: True}
    with (
        receiving(answering(200)) as good,
        receiving(answering(500, f"no {HOOK}".encode())) as bad,
        serving(mailbox := Mailbox()) as port,
    ):
        addresses = Addresses(
            webhook_urls=(SecretStr(good.url + HOOK), SecretStr(bad.url + HOOK)),
            smtp_url=SecretStr(f"smtp://127.0.0.1:{port}"),
            email_recipients=("ops@example.org",),
            github_token=SecretStr(TOKEN),
            github_repository="owner/name",
            github_api_url=github.url,
        )
        channels, left_out = build_channels(["log", "webhook", "email", "github"], addresses)
        assert left_out == {}
        notifier = Notifier(
            channels, tmp_path / "alerts.json", cooldown=timedelta(seconds=300), switches=switches
        )
        everybody = ("log", "webhook 127.0.0.1", "email", "github")
        broken = {"webhook 127.0.0.1 (2)": f"{bad.url} answered 500: no ***"}

        failed = notifier.raise_alert(an_alert(), at(0))
        assert (failed.sent, failed.failed) == (everybody, broken)
        again = notifier.raise_alert(an_alert(), at(100))
        assert (again.sent, again.suppressed) == ((), "told 100 s ago")
        warned = notifier.raise_alert(an_alert("check:completeness", Severity.WARNING, title="Low"), at(110))
        assert (warned.sent, warned.failed) == (everybody, broken)
        over = notifier.end_condition("sync_failed", at(120), text="Published.")
        assert (over.sent, over.failed) == (everybody, {})
        succeeded = notifier.note(an_alert("sync_succeeded", Severity.SUCCESS), at(120))
        assert succeeded.suppressed == "`success` is switched off"

    assert [request.document["gguf_assets"]["state"] for request in good.requests] == [
        "firing",
        "firing",
        "resolved",
    ]
    assert len(bad.requests) == 4  # two alerts, each tried twice
    assert [mail["Subject"].split(":")[0] for _, _, mail in mailbox.mails] == [
        "[gguf-assets] failure",
        "[gguf-assets] warning",
        "[gguf-assets] over",
    ]
    states = [(issue["title"], issue["state"]) for issue in github.issues.values()]
    assert states == [("[failure] The sync of 2026-03-01 failed", "closed"), ("[warning] Low", "open")]
    problems = notifier.channel_problems()
    assert list(problems) == ["webhook 127.0.0.1 (2)"]
    assert problems["webhook 127.0.0.1 (2)"].since == at(0)
    assert sum(record.levelname == "ERROR" for record in caplog.records) == 1
    seen = f"{caplog.text} {(tmp_path / 'alerts.json').read_text()} {failed} {warned} {problems}"
    assert "planted" not in seen
    assert "ghp_" not in json.dumps([github.issues, github.comments])


def taking_all(server, session, envelope, mechanism, data):
    return AuthResult(success=True)


@pytest.mark.filterwarnings("ignore:Requiring AUTH")
def test_planted_secrets_appear_in_no_error_of_a_broken_channel(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.CRITICAL, logger="mail")  # the server's own
    refusal = f"{TOKEN} {PASSWORD}"
    github = GitHub("owner/name", "another")
    github.refuse = (500, {}, refusal)
    with (
        receiving(github) as hub,
        receiving(answering(400, f"{refusal} {HOOK}".encode())) as hook,
        serving(Mailbox(f"554 {PASSWORD}"), authenticator=taking_all, auth_require_tls=False) as port,
    ):
        addresses = Addresses(
            webhook_urls=(SecretStr(f"{hook.url}{HOOK}?token={PASSWORD}"),),
            webhook_secret=SecretStr(TOKEN),
            smtp_url=SecretStr(f"smtp://me%40example.org:{PASSWORD}@127.0.0.1:{port}"),
            email_recipients=("ops@example.org",),
            github_token=SecretStr(TOKEN),
            github_repository="owner/name",
            github_api_url=hub.url,
        )
        channels, _ = build_channels(["webhook", "email", "github"], addresses)
        notifier = Notifier(
            channels, tmp_path / "alerts.json", cooldown=timedelta(0), switches={}, pause=lambda seconds: None
        )
        told = notifier.raise_alert(an_alert(), at(0))
    assert set(told.failed) == {"webhook 127.0.0.1", "email", "github"}
    assert told.failed["email"].endswith("refused the mail (554 ***)")
    seen = f"{told} {notifier.channel_problems()} {caplog.text} {(tmp_path / 'alerts.json').read_text()}"
    assert "planted" not in seen
