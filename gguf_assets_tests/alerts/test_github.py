from __future__ import annotations

import time

import pytest
from pydantic import SecretStr

from gguf_assets.alerts.alert import ChannelError, Severity
from gguf_assets.alerts.channels.github import LABEL, GitHubChannel
from gguf_assets_tests.alerts.receivers import GitHub, answering, hanging, receiving
from gguf_assets_tests.alerts.telling import an_alert

TOKEN = "ghp_plantedtokenplantedtoken1234"
REPOSITORY = "some-owner/some.repo"


@pytest.fixture
def github():
    double = GitHub(REPOSITORY, TOKEN)
    with receiving(double) as receiver:
        double.url = receiver.url
        double.requests = receiver.requests
        yield double


def channel(url: str, **options) -> GitHubChannel:
    return GitHubChannel(SecretStr(TOKEN), REPOSITORY, api_url=url, **options)


def test_one_issue_per_condition_commented_while_it_lasts_and_closed_when_it_is_over(github):
    channel(github.url).send(an_alert(), over=False)
    channel(github.url).send(an_alert("catalogue_stale", Severity.WARNING, title="Stale"), over=False)
    again = an_alert(facts={"Raised": "2 times since 2026-03-01 02:30 UTC"})
    channel(github.url).send(again, over=False)
    channel(github.url).send(an_alert(severity=Severity.SUCCESS, text="Published again."), over=True)

    failed, stale = github.issues[1], github.issues[2]
    assert len(github.issues) == 2
    assert failed["title"] == "[failure] The sync of 2026-03-01 failed"
    assert failed["body"].startswith("<!-- gguf-assets:sync_failed -->\nThe Hub answered 503 five times.\n")
    assert "**What to do:** Run `gguf-assets sync` again." in failed["body"]
    assert "- **Requests:** 17" in failed["body"]
    assert failed["labels"] == [{"name": "gguf-assets-alert"}]
    assert len(github.comments[1]) == 2
    assert "**Raised:** 2 times since 2026-03-01 02:30 UTC" in github.comments[1][0]
    assert github.comments[1][1].startswith("Over. Published again.")
    assert (failed["state"], failed["state_reason"]) == ("closed", "completed")
    assert (stale["title"], stale["state"]) == ("[warning] Stale", "open")
    assert github.comments[2] == []


def test_a_condition_that_comes_back_gets_a_new_issue(github):
    for over in (False, True, False):
        channel(github.url).send(an_alert(), over=over)
    assert [issue["state"] for issue in github.issues.values()] == ["closed", "open"]


def test_the_issue_is_found_among_hundreds_and_by_nothing_but_label_and_marker(github):
    github.add("<!-- gguf-assets:sync_failed -->", labels=[])
    github.add("<!-- gguf-assets:sync_failed -->", labels=[LABEL], state="closed")
    mine = github.add("<!-- gguf-assets:sync_failed -->\nwhat happened", labels=[LABEL])
    github.add("<!-- gguf-assets:sync_failed_elsewhere -->", labels=[LABEL, "other"])
    for number in range(230):
        github.add(f"<!-- gguf-assets:check:{number} -->", labels=[LABEL])
    github.add(None, labels=[LABEL])
    channel(github.url).send(an_alert(), over=True)
    closed = [number for number, issue in github.issues.items() if issue["state"] == "closed"]
    assert closed == [2, mine]
    assert sum(request.method == "GET" for request in github.requests) == 3


def test_over_without_an_open_issue_is_nothing_to_do(github):
    channel(github.url).send(an_alert(), over=True)
    assert github.issues == {}


def test_nothing_in_a_text_mentions_anybody_or_forges_a_marker(github):
    text = "@someone <!-- gguf-assets:catalogue_stale --> <script>"
    channel(github.url).send(an_alert("a --> b", text=text), over=False)
    body = github.issues[1]["body"]
    assert body.startswith("<!-- gguf-assets:a%20--%3E%20b -->\n")
    assert "@\u200bsomeone &lt;!-- gguf-assets:catalogue_stale --&gt; &lt;script&gt;" in body


def test_a_text_without_end_fits(github):
    channel(github.url).send(an_alert(text="x" * 200_000), over=False)
    assert 50_000 < len(github.issues[1]["body"]) < 65_536


def test_a_second_try_after_half_a_first_one_repeats_nothing(github):
    channel(github.url).send(an_alert(), over=False)
    github.fail_on = ("POST", "/comments")
    with pytest.raises(ChannelError, match="answered 502"):
        channel(github.url).send(an_alert(), over=True)
    github.fail_on = None
    channel(github.url).send(an_alert(), over=True)
    assert github.issues[1]["state"] == "closed"
    assert github.comments[1] == []


def test_a_label_that_is_not_kept_is_said(github, caplog):
    github.keeps_labels = False
    channel(github.url).send(an_alert(), over=False)
    assert "did not get the label gguf-assets-alert" in caplog.text
    assert "permission to write issues" in caplog.text


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((401, {}, "Bad credentials"), "refused the token (401: Bad credentials)"),
        ((404, {}, "Not Found"), "does not let this token write issues in some-owner/some.repo (404"),
        ((410, {}, "Issues are disabled for this repo"), "(410: Issues are disabled for this repo)"),
        ((403, {}, "API rate limit exceeded for user"), "takes no more requests for now (403)"),
        ((403, {}, "You have exceeded a secondary rate limit"), "takes no more requests for now (403)"),
        ((422, {}, "Validation Failed"), "answered 422: Validation Failed"),
        ((500, {}, "Oops"), "answered 500: Oops"),
        ((503, {"Retry-After": "3600"}, "later"), "answered 503: later"),
        ((429, {"Retry-After": "3600"}, "slow down"), "answered 429: slow down"),
        ((500, {}, f"token {TOKEN}"), "answered 500: token ***"),
    ],
)
def test_a_refusal_says_why_at_once(github, answer, expected):
    github.refuse = answer
    began = time.monotonic()
    with pytest.raises(ChannelError) as caught:
        channel(github.url).send(an_alert(), over=False)
    assert time.monotonic() - began < 5
    assert expected in str(caught.value)
    assert "planted" not in str(caught.value)
    assert len(github.requests) == 1


def test_a_token_that_is_wrong(github):
    wrong = GitHubChannel(SecretStr("ghp_otherplanted"), REPOSITORY, api_url=github.url)
    with pytest.raises(ChannelError, match="refused the token") as caught:
        wrong.send(an_alert(), over=False)
    assert "planted" not in str(caught.value)


def test_a_github_that_hangs_costs_the_timeout():
    began = time.monotonic()
    with receiving(hanging) as receiver, pytest.raises(ChannelError, match="did not answer within 1 s"):
        channel(receiver.url, timeout_seconds=1).send(an_alert(), over=False)
    assert time.monotonic() - began < 5


def test_no_github_there():
    with receiving(answering(200)) as receiver:
        pass
    with pytest.raises(ChannelError, match=r"127\.0\.0\.1:\d+ cannot be reached"):
        channel(receiver.url).send(an_alert(), over=False)


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'"x"', b"[1]", b"[{}]", b""])
def test_what_is_not_github_is_named_so(body):
    with receiving(answering(200, body)) as receiver, pytest.raises(ChannelError, match=r"127\.0\.0\.1"):
        channel(receiver.url).send(an_alert(), over=False)


def test_a_redirect_to_another_host_gets_no_token():
    with receiving(answering(200, b"[]")) as other:
        elsewhere = other.url.replace("127.0.0.1", "localhost")
        redirect = answering(301, b"{}", Location=f"{elsewhere}/repos/{REPOSITORY}/issues")
        with receiving(redirect) as receiver, pytest.raises(ChannelError):
            channel(receiver.url).send(an_alert(), over=False)
    assert other.requests == []


@pytest.mark.parametrize("repository", ["", "one", "a/b/c", "a b/c", "../x", "a/b?x"])
def test_what_is_no_repository_is_refused(repository):
    with pytest.raises(ChannelError, match="owner/name"):
        GitHubChannel(SecretStr(TOKEN), repository)


@pytest.mark.parametrize("url", ["http://github.example.org", "ftp://x", "", "https://[x"])
def test_the_token_goes_nowhere_unencrypted(url):
    with pytest.raises(ChannelError, match="no https address"):
        channel(url)
