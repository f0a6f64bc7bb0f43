"""Alerts as plain text mail through an SMTP server.

By smtplib: what is needed beyond it (STARTTLS where it is offered, the reason of every refusal) is what the
libraries above it hide. What does not belong here: a mail server.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import smtplib
import socket
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.header import Header
from email.mime.text import MIMEText
from email.utils import formatdate, make_msgid
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import SecretStr

from gguf_assets.alerts.alert import Alert, ChannelError
from gguf_assets.alerts.wording import one_line, plain, subject
from gguf_assets.loopback import is_loopback
from gguf_assets.masking import MASK, register_secret

_TIMEOUT_SECONDS = 10.0
_logger = logging.getLogger("gguf_assets.alerts")


@dataclass(frozen=True)
class MailServer:
    """Where mail is handed in.

    Attributes:
        host: name or address.
        port: 465 with TLS from the first byte, 587 with a user, 25 without, where none is given.
        tls: TLS from the first byte (`smtps`); otherwise STARTTLS where it is offered.
        user: account, None for none.
        password: its password.
        sender: address that mail comes from.
    """

    host: str
    port: int
    tls: bool
    user: str | None
    password: SecretStr | None
    sender: str

    @property
    def place(self) -> str:
        """The server without credentials."""
        return f"{'smtps' if self.tls else 'smtp'}://{self.host}:{self.port}"

    @property
    def on_this_machine(self) -> bool:
        """Whether mail does not leave the machine on the way to the server."""
        return is_loopback(self.host)

    @classmethod
    def of(cls, url: SecretStr) -> MailServer:
        """Read `smtp[s]://[user[:password]@]host[:port][?from=address]`; user and password percent-encoded.

        Raises:
            ChannelError: it is no such URL.
        """
        try:
            parts = urlsplit(url.get_secret_value())
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port, parts = None, None, urlsplit("")
        if parts.scheme not in ("smtp", "smtps") or not host:
            raise ChannelError(
                "the mail server must be given as smtp://host:port or smtps://host:port, with "
                "user:password@ before the host where it asks for them"
            )
        user = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else None
        if password is not None:
            register_secret(password)
        tls = parts.scheme == "smtps"
        named = parse_qs(parts.query).get("from", [None])[0]
        own = user if user is not None and _is_address(user) else f"gguf-assets@{socket.getfqdn()}"
        if named is not None and not _is_address(named):
            raise ChannelError(f"from={one_line(named)} in the address of the mail server is no mail address")
        return cls(
            host=host,
            port=port or (465 if tls else 25 if user is None else 587),
            tls=tls,
            user=user,
            password=None if password is None else SecretStr(password),
            sender=named or own,
        )


class EmailChannel:
    """Sends one mail per alert to all recipients.

    Args:
        server: where mail is handed in.
        recipients: who gets it.
        timeout_seconds: bound of every single step.
    """

    name = "email"
    takes_notes = True

    def __init__(
        self, server: MailServer, recipients: Sequence[str], *, timeout_seconds: float = _TIMEOUT_SECONDS
    ) -> None:
        self._server = server
        self._recipients = tuple(recipients)
        self._timeout = timeout_seconds

    def send(self, alert: Alert, *, over: bool) -> None:
        """Send a mail. Recipients that the server refuses are logged while at least one is accepted.

        Raises:
            ChannelError: the server cannot be reached, or takes the mail for nobody.
        """
        message = self._message(alert, over=over)
        place = self._server.place
        try:
            with self._connected() as connection:
                refused = connection.send_message(message, self._server.sender, list(self._recipients))
        except smtplib.SMTPRecipientsRefused as error:
            raise ChannelError(f"{place} takes no mail for {self._refusals(error.recipients)}") from error
        except smtplib.SMTPAuthenticationError as error:
            raise ChannelError(f"{place} refused the user or the password ({self._answer(error)})") from error
        except smtplib.SMTPResponseException as error:
            raise ChannelError(f"{place} refused the mail ({self._answer(error)})") from error
        except smtplib.SMTPServerDisconnected as error:
            if isinstance(error.__context__, TimeoutError):
                raise ChannelError(self._too_slow()) from error
            raise ChannelError(f"{place} closed the connection") from error
        except smtplib.SMTPException as error:
            raise ChannelError(f"{place} cannot take the mail ({type(error).__name__})") from error
        except TimeoutError as error:
            raise ChannelError(self._too_slow()) from error
        except ssl.SSLCertVerificationError as error:
            reason = f"its certificate was refused ({error.verify_message})"
            raise ChannelError(f"{place} cannot be reached: {reason}") from error
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ChannelError(f"{place} cannot be reached: {reason}") from error
        if refused:
            _logger.warning("%s takes no mail for %s; the others get it.", place, self._refusals(refused))

    def _message(self, alert: Alert, *, over: bool) -> MIMEText:
        message = MIMEText(f"{one_line(alert.title)}\n\n{plain(alert)}\n", "plain", "utf-8")
        # Not EmailMessage: up to Python 3.11 it loses blanks between words that must be encoded.
        message["Subject"] = Header(subject(alert, over=over), "utf-8", header_name="Subject").encode()
        message["From"] = self._server.sender
        message["To"] = ", ".join(self._recipients)
        message["Date"] = formatdate()
        message["Message-ID"] = make_msgid(domain=self._server.sender.rpartition("@")[2])
        # No out-of-office notes in return.
        message["Auto-Submitted"] = "auto-generated"
        return message

    @contextlib.contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        server = self._server
        context = ssl.create_default_context()
        connection: smtplib.SMTP
        if server.tls:
            connection = smtplib.SMTP_SSL(server.host, server.port, timeout=self._timeout, context=context)
        else:
            connection = smtplib.SMTP(server.host, server.port, timeout=self._timeout)
        try:
            connection.ehlo_or_helo_if_needed()
            # A relay on this machine has nothing to hide and often a certificate for another name.
            encrypted = server.tls or server.on_this_machine
            if not encrypted and connection.has_extn("starttls"):
                connection.starttls(context=context)
                connection.ehlo()
                encrypted = True
            if server.user is not None and server.password is not None:
                if not encrypted:
                    raise ChannelError(
                        f"{server.place} offers no STARTTLS, and a password is not sent in the clear; "
                        "use smtps://, or no user"
                    )
                connection.login(server.user, server.password.get_secret_value())
            yield connection
            with contextlib.suppress(smtplib.SMTPException, OSError):
                connection.quit()
        finally:
            connection.close()

    def _too_slow(self) -> str:
        return f"{self._server.place} did not answer within {self._timeout:g} s"

    def _answer(self, error: smtplib.SMTPResponseException) -> str:
        return f"{error.smtp_code} {self._without_secrets(error.smtp_error)}".strip()

    def _refusals(self, refused: dict[str, tuple[int, bytes]]) -> str:
        return "; ".join(
            f"{one_line(who)} ({code} {self._without_secrets(said)})" for who, (code, said) in refused.items()
        )

    def _without_secrets(self, said: bytes | str) -> str:
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
        if self._server.password is not None:
            user, password = self._server.user or "", self._server.password.get_secret_value()
            for secret in (f"\0{user}\0{password}", password):
                text = text.replace(base64.b64encode(secret.encode()).decode(), MASK).replace(secret, MASK)
        return one_line(text)


def _is_address(text: str) -> bool:
    local, at, domain = text.rpartition("@")
    return bool(local and at and domain) and text.isprintable() and not set(text) & set(' ,;:<>"()[]\\')
