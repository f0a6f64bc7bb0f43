from __future__ import annotations

import io
import logging
import re
import subprocess
import sys

import pytest
from pydantic import SecretStr

from gguf_assets.alerts.alert import ChannelError, Severity
from gguf_assets.alerts.building import Addresses, build_channels
from gguf_assets.alerts.channels.actions import ActionsChannel, actions_channel, error_line
from gguf_assets.alerts.channels.log import LogChannel
from gguf_assets.alerts.wording import inert, markdown, masked, one_line, plain, subject
from gguf_assets_tests.alerts.telling import an_alert


@pytest.mark.parametrize(
    ("severity", "over", "level"),
    [
        (Severity.SUCCESS, False, "INFO"),
        (Severity.WARNING, False, "WARNING"),
        (Severity.FAILURE, False, "ERROR"),
        (Severity.CRITICAL, False, "CRITICAL"),
        (Severity.CRITICAL, True, "INFO"),
    ],
)
def test_a_line_in_the_log_at_the_level_of_its_severity(severity, over, level, caplog):
    caplog.set_level(logging.INFO)
    LogChannel(logging.getLogger("gguf_assets.alerts")).send(an_alert(severity=severity), over=over)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("gguf_assets.alerts", level)
    assert record.getMessage() == (
        f"{'Over: ' if over else ''}The sync of 2026-03-01 failed: The Hub answered 503 five times. "
        "(Day: 2026-03-01, Requests: 17)\n    What to do: Run `gguf-assets sync` again."
    )


def test_a_text_forges_no_line_in_the_log(caplog):
    alert = an_alert(text="one\n2026-03-01 ERROR another", remedy="a\nb", facts={"x": "y\r\nz %s"})
    LogChannel(logging.getLogger("gguf_assets.alerts")).send(alert, over=False)
    lines = caplog.records[0].getMessage().split("\n")
    assert len(lines) == 2
    assert lines[0].endswith("one 2026-03-01 ERROR another (x: y z %s)")
    assert lines[1] == "    What to do: a b"


def test_a_workflow_is_annotated_and_its_summary_written(tmp_path):
    summary, stream = tmp_path / "summary.md", io.StringIO()
    summary.write_text("# Before\n")
    environ = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    channel = actions_channel(environ, stream)
    assert channel is not None
    alert = an_alert(title="50% of a: b, c", text="one\r\ntwo 100%", remedy=None, facts={}, url=None)
    channel.send(alert, over=False)
    channel.send(
        an_alert(severity=Severity.WARNING, title="w", text="x", remedy=None, facts={}, url=None), over=False
    )
    channel.send(
        an_alert(severity=Severity.SUCCESS, title="w", text="x", remedy=None, facts={}, url=None), over=True
    )
    assert stream.getvalue().splitlines() == [
        "::error title=50%25 of a%3A b%2C c::one%0Atwo 100%25",
        "::warning title=w::x",
        "::notice title=Over%3A w::x",
    ]
    assert summary.read_text() == (
        "# Before\n### 50% of a: b, c\n\nfailure: one\ntwo 100%\n\n"
        "### w\n\nwarning: x\n\n### Over: w\n\nover: x\n\n"
    )


def test_elsewhere_there_is_no_workflow():
    assert actions_channel({}, io.StringIO()) is None
    assert actions_channel({"GITHUB_ACTIONS": "false"}, io.StringIO()) is None


def test_a_workflow_without_a_summary():
    stream = io.StringIO()
    channel = actions_channel({"GITHUB_ACTIONS": "true"}, stream)
    assert channel is not None
    channel.send(an_alert(), over=False)
    assert stream.getvalue().count("\n") == 1


def test_a_summary_that_cannot_be_written_is_an_error_of_the_channel_and_annotates_nothing(tmp_path):
    stream = io.StringIO()
    channel = ActionsChannel(stream, tmp_path / "nowhere" / "summary.md")
    with pytest.raises(ChannelError, match="No such file or directory"):
        channel.send(an_alert(), over=False)
    assert stream.getvalue() == ""


def test_a_closed_stream_is_an_error_of_the_channel():
    stream = io.StringIO()
    stream.close()
    with pytest.raises(ChannelError, match="could not be written"):
        ActionsChannel(stream, None).send(an_alert(), over=False)


def test_an_annotation_on_its_own():
    assert error_line("a: b", "c\n::set-env::d, 5%") == "::error title=a%3A b::c ::set-env::d, 5%25"


def test_every_text_is_masked_and_bounded():
    secret = "hf_" + "q" * 34
    alert = an_alert(
        title=f"t {secret}",
        text=f"x {secret} " + "y" * 100_000,
        remedy=f"r {secret}",
        facts={f"n {secret}": f"v {secret}", **{str(i): "z" * 5000 for i in range(500)}},
        url=f"https://me:{secret}@example.org/?token={secret}",
    )
    for text, longest in (
        (plain(alert), 20_000),
        (markdown(alert), 60_000),
        (subject(alert, over=False), 200),
        (plain(an_alert(facts=alert.facts, url=alert.url)), 20_000),
    ):
        assert "q" * 10 not in text
        assert len(text) <= longest


def test_a_secret_that_only_its_name_gives_away_is_masked():
    alert = an_alert(facts={"Authorization": "plantedvalue"})
    assert "planted" not in plain(alert) + markdown(alert) + str(masked(alert))
    assert masked(alert).facts == {"Authorization": "***"}
    harmless = an_alert(facts={"Models": "3: a, b, c"})
    assert masked(harmless).facts == {"Models": "3: a, b, c"}


def test_a_secret_at_the_cut_leaves_no_half():
    assert "abcdefgh" not in one_line("x" * 180 + " https://me:abcdefghijklmnopqrstuvwxyz0123456789@host/")


def test_what_is_read_by_people_turns_no_direction_and_hides_no_escape():
    assert one_line("a\u202eb\x1b[2Jc\x00d\u2028e") == "a b [2Jc d e"
    assert inert("<a>&@b") == "&lt;a&gt;&amp;@\u200bb"


def addresses(**changed) -> Addresses:
    values = {
        "webhook_urls": (SecretStr("https://hooks.slack.com/services/one"),),
        "smtp_url": SecretStr("smtp://mail.example.org"),
        "email_recipients": ("ops@example.org",),
        "github_token": SecretStr("plantedtoken"),
        "github_repository": "owner/name",
    }
    return Addresses(**{**values, **changed})


def test_a_channel_for_each_name_once():
    names = ["log", "webhook", "log", "email", "github"]
    channels, left_out = build_channels(names, addresses())
    assert [channel.name for channel in channels] == ["log", "webhook hooks.slack.com", "email", "github"]
    assert left_out == {}
    assert [channel.name for channel in channels if channel.takes_notes] == [
        "log",
        "webhook hooks.slack.com",
        "email",
    ]


def test_what_is_not_used_is_not_imported():
    code = (
        "import sys; from gguf_assets.alerts.building import Addresses, build_channels;"
        "import gguf_assets.alerts.notifier;"
        "build_channels(['log', 'webhook', 'email', 'github'], Addresses());"
        "print(sorted({'github', 'httpx2', 'smtplib', 'dagster', 'requests'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == "[]\n"


def test_webhooks_of_one_host_have_names_of_their_own_and_one_address_counts_once():
    urls = tuple(SecretStr(f"https://hooks.slack.com/services/{name}") for name in ("a", "b", "a"))
    channels, _ = build_channels(["webhook"], addresses(webhook_urls=urls))
    assert [channel.name for channel in channels] == [
        "webhook hooks.slack.com",
        "webhook hooks.slack.com (2)",
    ]


@pytest.mark.parametrize(
    ("name", "missing", "why"),
    [
        ("webhook", {"webhook_urls": ()}, "no address is set"),
        ("email", {"smtp_url": None}, "GGUF_ASSETS_SMTP_URL"),
        ("email", {"smtp_url": SecretStr("plantedpassword")}, "smtp://host:port"),
        ("email", {"email_recipients": ()}, "nobody is set to get mail"),
        ("github", {"github_token": None}, "GITHUB_TOKEN"),
        ("github", {"github_repository": None}, "GITHUB_REPOSITORY"),
        ("github", {"github_repository": "planted"}, "owner/name"),
        ("github", {"github_api_url": "http://example.org/plantedpath"}, "no https address"),
    ],
)
def test_a_channel_without_what_it_needs_is_left_out_with_the_reason(name, missing, why):
    channels, left_out = build_channels(["log", name], addresses(**missing))
    assert [channel.name for channel in channels] == ["log"]
    assert set(left_out) == {name}
    assert re.search(re.escape(why), left_out[name])
    assert "plantedp" not in left_out[name]


def test_one_bad_webhook_leaves_the_others():
    urls = (SecretStr("http://example.org/plantedsecret"), SecretStr("https://example.org/x"))
    channels, left_out = build_channels(["webhook"], addresses(webhook_urls=urls))
    assert [channel.name for channel in channels] == ["webhook example.org"]
    assert list(left_out) == ["webhook 1"]
    assert "planted" not in left_out["webhook 1"]
