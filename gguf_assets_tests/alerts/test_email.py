from __future__ import annotations

import base64
import email
import email.policy
import socket
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from pydantic import SecretStr

from gguf_assets.alerts.alert import ChannelError, Severity
from gguf_assets.alerts.channels.email import EmailChannel, MailServer
from gguf_assets_tests.alerts.receivers import certified
from gguf_assets_tests.alerts.telling import an_alert

PASSWORD = "planted:pass/word"


class Mailbox:
    """Keeps what arrives; refuses some recipients, and everything where `refusal` says how."""

    def __init__(self, refusal: str | None = None) -> None:
        self.refusal = refusal
        self.mails: list[tuple[str, list[str], email.message.EmailMessage]] = []
        self.logins: list[bytes] = []
        self.encrypted: list[bool] = []

    async def handle_RCPT(self, server, session, envelope, address, options):
        if "nobody" in address:
            return "550 5.1.1 No such user here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if self.refusal is not None:
            return self.refusal
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.encrypted.append(server.transport.get_extra_info("sslcontext") is not None)
        self.mails.append((envelope.mail_from, envelope.rcpt_tos, message))
        return "250 OK"


@contextmanager
def serving(mailbox: Mailbox, **options):
    controller = Controller(mailbox, hostname="127.0.0.1", port=0, **options)
    # Controller asks its own port for a sign of life, and port 0 is nobody's.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        controller.port = free.getsockname()[1]
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


def channel(url: str, *recipients: str, **options) -> EmailChannel:
    return EmailChannel(MailServer.of(SecretStr(url)), recipients or ("ops@example.org",), **options)


def test_a_mail_in_plain_text():
    with serving(mailbox := Mailbox()) as port:
        one = channel(f"smtp://127.0.0.1:{port}?from=alerts@example.org", "ops@example.org", "b@example.org")
        one.send(an_alert(), over=False)
    ((sender, recipients, message),) = mailbox.mails
    assert (sender, recipients) == ("alerts@example.org", ["ops@example.org", "b@example.org"])
    assert message["Subject"] == "[gguf-assets] failure: The sync of 2026-03-01 failed"
    assert message["From"] == "alerts@example.org"
    assert message["To"] == "ops@example.org, b@example.org"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"].strip().endswith("@example.org>")
    assert abs(message["Date"].datetime.timestamp() - time.time()) < 60
    assert message.get_content_type() == "text/plain"
    assert message.get_content().replace("\r\n", "\n") == (
        "The sync of 2026-03-01 failed\n\nThe Hub answered 503 five times.\n\n"
        "What to do: Run `gguf-assets sync` again.\n\nDay: 2026-03-01\nRequests: 17\n\n"
        "http://127.0.0.1:3000/runs/1\n"
    )


def test_over_is_in_the_subject():
    with serving(mailbox := Mailbox()) as port:
        channel(f"smtp://127.0.0.1:{port}").send(an_alert(severity=Severity.SUCCESS), over=True)
    assert mailbox.mails[0][2]["Subject"] == "[gguf-assets] over: The sync of 2026-03-01 failed"


def test_a_title_adds_no_header_and_letters_of_all_kinds_arrive():
    title = "failed\r\nBcc: everybody@example.org\r\n\r\nnew body ü 漢 \ud800"
    with serving(mailbox := Mailbox()) as port:
        channel(f"smtp://127.0.0.1:{port}").send(an_alert(title=title, text="ü 漢\n.\nQUIT"), over=False)
    ((_, recipients, message),) = mailbox.mails
    assert recipients == ["ops@example.org"]
    assert "Bcc" not in message
    assert message["Subject"] == "[gguf-assets] failure: failed Bcc: everybody@example.org new body ü 漢"
    assert "ü 漢\n.\nQUIT" in message.get_content().replace("\r\n", "\n")


def authenticator(server, session, envelope, mechanism, data):
    assert isinstance(data, LoginPassword)
    server.event_handler.logins.append(data.login)
    return AuthResult(success=data.password == PASSWORD.encode(), handled=False)


def test_user_and_password_are_percent_decoded_and_the_user_is_the_sender():
    options = {"authenticator": authenticator, "auth_require_tls": False, "auth_required": True}
    with serving(mailbox := Mailbox(), **options) as port:
        url = f"smtp://some%40example.org:planted%3Apass%2Fword@127.0.0.1:{port}"
        channel(url).send(an_alert(), over=False)
    assert mailbox.logins == [b"some@example.org"]
    assert mailbox.mails[0][0] == "some@example.org"


def test_a_wrong_password_is_named_and_not_shown(caplog):
    options = {"authenticator": authenticator, "auth_require_tls": False, "auth_required": True}
    with serving(Mailbox(), **options) as port, pytest.raises(ChannelError) as caught:
        channel(f"smtp://me:plantedwrong@127.0.0.1:{port}").send(an_alert(), over=False)
    place = f"smtp://127.0.0.1:{port}"
    assert str(caught.value).startswith(f"{place} refused the user or the password (535 ")
    assert "planted" not in str(caught.value) + caplog.text


def test_a_server_that_repeats_the_password_gives_nothing_away():
    server = MailServer.of(SecretStr("smtp://me:short@127.0.0.1:25"))
    one = EmailChannel(server, ["ops@example.org"])
    said = [b"no: short", base64.b64encode(b"short"), base64.b64encode(b"\0me\0short")]
    assert one._without_secrets(b" ".join(said)) == "no: *** *** ***"


@pytest.mark.parametrize("refusal", ["554 5.7.1 Looks like spam", "452 4.2.2 Mailbox full"])
def test_a_refused_mail_says_why(refusal):
    with serving(Mailbox(refusal)) as port, pytest.raises(ChannelError, match=refusal.split(" ", 1)[0]):
        channel(f"smtp://127.0.0.1:{port}").send(an_alert(), over=False)


def test_recipients_that_are_refused_do_not_cost_the_others_their_mail(caplog):
    with serving(mailbox := Mailbox()) as port:
        one = channel(f"smtp://127.0.0.1:{port}", "nobody@example.org", "ops@example.org")
        one.send(an_alert(), over=False)
        with pytest.raises(
            ChannelError, match=r"takes no mail for nobody@example\.org \(550 5\.1\.1 No such"
        ):
            channel(f"smtp://127.0.0.1:{port}", "nobody@example.org").send(an_alert(), over=False)
    assert [recipients for _, recipients, _ in mailbox.mails] == [["ops@example.org"]]
    assert "takes no mail for nobody@example.org (550" in caplog.text


def test_nobody_there():
    with serving(Mailbox()) as port:
        pass
    with pytest.raises(
        ChannelError, match=rf"^smtp://127\.0\.0\.1:{port} cannot be reached: Connection refused"
    ):
        channel(f"smtp://127.0.0.1:{port}").send(an_alert(), over=False)


def test_a_name_that_nobody_has():
    with pytest.raises(ChannelError, match="cannot be reached"):
        channel("smtp://mail.invalid").send(an_alert(), over=False)


@contextmanager
def listening(behaviour):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                behaviour(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(5)


def test_a_server_that_hangs_costs_the_timeout():
    over = threading.Event()
    began = time.monotonic()
    with (
        listening(lambda connection: over.wait(20)) as port,
        pytest.raises(ChannelError, match=r"did not answer within 0\.3 s"),
    ):
        try:
            channel(f"smtp://127.0.0.1:{port}", timeout_seconds=0.3).send(an_alert(), over=False)
        finally:
            over.set()
    assert time.monotonic() - began < 5


def test_a_server_that_hangs_up():
    with (
        listening(lambda connection: None) as port,
        pytest.raises(ChannelError, match=r"closed the connection|cannot be reached"),
    ):
        channel(f"smtp://127.0.0.1:{port}").send(an_alert(), over=False)


def test_what_is_no_mail_server():
    answer = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    with (
        listening(lambda connection: connection.sendall(answer)) as port,
        pytest.raises(ChannelError, match=rf"smtp://127\.0\.0\.1:{port}"),
    ):
        channel(f"smtp://127.0.0.1:{port}").send(an_alert(), over=False)


pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """A server's context and a file with the certificate that vouches for `localhost`."""
    context, certificate = certified(tmp_path_factory.mktemp("tls"))
    return SimpleNamespace(context=context, certificate=certificate)


def test_tls_from_the_first_byte_with_a_certificate_that_is_trusted(tls, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.certificate))
    with serving(mailbox := Mailbox(), ssl_context=tls.context) as port:
        channel(f"smtps://localhost:{port}").send(an_alert(), over=False)
    assert mailbox.encrypted == [True]


def test_a_certificate_of_nobody_is_refused(tls):
    with (
        serving(mailbox := Mailbox(), ssl_context=tls.context) as port,
        pytest.raises(ChannelError, match="its certificate was refused"),
    ):
        channel(f"smtps://localhost:{port}").send(an_alert(), over=False)
    assert mailbox.mails == []


@pytest.fixture
def far_away(monkeypatch):
    """Have this machine taken for another one."""
    monkeypatch.setattr(MailServer, "on_this_machine", False)


def test_starttls_is_used_where_it_is_offered(tls, far_away, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.certificate))
    with serving(mailbox := Mailbox(), tls_context=tls.context, authenticator=authenticator) as port:
        url = f"smtp://me:planted%3Apass%2Fword@localhost:{port}"
        channel(url).send(an_alert(), over=False)
    assert mailbox.encrypted == [True]
    assert mailbox.logins == [b"me"]


def test_starttls_with_a_certificate_of_nobody_is_refused(tls, far_away):
    with (
        serving(mailbox := Mailbox(), tls_context=tls.context) as port,
        pytest.raises(ChannelError, match="its certificate was refused"),
    ):
        channel(f"smtp://localhost:{port}").send(an_alert(), over=False)
    assert mailbox.mails == []


def test_a_password_is_not_sent_in_the_clear(far_away):
    options = {"authenticator": authenticator, "auth_require_tls": False}
    with (
        serving(mailbox := Mailbox(), **options) as port,
        pytest.raises(ChannelError, match="a password is not sent in the clear"),
    ):
        channel(f"smtp://me:plantedpassword@127.0.0.1:{port}").send(an_alert(), over=False)
    assert mailbox.logins == []


def test_mail_without_a_password_goes_to_a_server_without_starttls(far_away):
    with serving(mailbox := Mailbox()) as port:
        channel(f"smtp://127.0.0.1:{port}").send(an_alert(), over=False)
    assert mailbox.encrypted == [False]


@pytest.mark.parametrize(
    ("url", "port", "tls", "sender"),
    [
        ("smtp://mail.example.org", 25, False, None),
        ("smtp://a%40b.org:pw@mail.example.org", 587, False, "a@b.org"),
        ("smtps://apikey:pw@mail.example.org?from=alerts@b.org", 465, True, "alerts@b.org"),
        ("smtp://mail.example.org:2525", 2525, False, None),
    ],
)
def test_how_an_address_is_read(url, port, tls, sender):
    server = MailServer.of(SecretStr(url))
    assert (server.host, server.port, server.tls) == ("mail.example.org", port, tls)
    assert server.sender == (sender or f"gguf-assets@{socket.getfqdn()}")


@pytest.mark.parametrize(
    "url",
    [
        "mailto://me:plantedpw@example.org",
        "smtp://",
        "plantedpw",
        "",
        "smtp://me:plantedpw@host:port",
        "smtp://[x",
        "smtp://me:plantedpw@host?from=nobody",
        "smtp://me:plantedpw@host?from=a@b%0d%0aBcc:c@d",
    ],
)
def test_what_is_no_address_of_a_mail_server_is_refused_without_showing_it(url):
    with pytest.raises(ChannelError) as caught:
        MailServer.of(SecretStr(url))
    assert "planted" not in str(caught.value)
