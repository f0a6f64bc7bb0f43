"""Alerts posted as JSON to an incoming webhook: Slack, what is compatible with it, or one's own receiver.

Slack does not say what it does with keys it does not know, so its hosts get `text` alone; everybody else gets
the alert for machines, too, under `gguf_assets`. What does not belong here: the Hub's rules for hosts; who
sets an address decides where alerts go.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ssl
import time
import urllib.request
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import httpx2
import orjson
from pydantic import SecretStr

from gguf_assets.alerts.alert import Alert, ChannelError
from gguf_assets.alerts.channels.places import Place, place_of
from gguf_assets.alerts.wording import chat, facts_of, one_line, plain, state
from gguf_assets.loopback import is_loopback
from gguf_assets.masking import MASK, register_secret

TIMESTAMP_HEADER: Final = "X-Gguf-Assets-Timestamp"
SIGNATURE_HEADER: Final = "X-Gguf-Assets-Signature"

_SLACK_HOSTS = ("hooks.slack.com", "hooks.slack-gov.com")
_TIMEOUT_SECONDS = 10.0
_MOST_BYTES_READ = 4096
_SHORTEST_SECRET_PART = 6


class WebhookChannel:
    """Posts alerts to one address.

    Args:
        url: the address; its path and query are a secret.
        secret: key with which bodies are signed; not signed without one.
        name: unique name; `webhook` and the host by default.
        timeout_seconds: bound of connecting, of sending, and of the whole answer.
        clock: seconds since 1970, for the signature.

    Raises:
        ChannelError: alerts must not be posted to such an address.
    """

    takes_notes = True

    def __init__(
        self,
        url: SecretStr,
        *,
        secret: SecretStr | None = None,
        name: str | None = None,
        timeout_seconds: float = _TIMEOUT_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._url = url
        self._secret = secret
        self._timeout = timeout_seconds
        self._clock = clock
        place = _checked(url.get_secret_value())
        self.host, self._place = place.host, f"{place.scheme}://{place.netloc}"
        register_secret(url.get_secret_value())
        self.name = name or f"webhook {self.host}"

    def send(self, alert: Alert, *, over: bool) -> None:
        """Post an alert.

        Raises:
            ChannelError: the receiver cannot be reached, is too slow or answers with anything but success.
        """
        body = orjson.dumps(self._document(alert, over=over))
        try:
            status, answer = self._post(body)
        except httpx2.TimeoutException as error:
            raise ChannelError(f"{self._place} did not answer within {self._timeout:g} s") from error
        except httpx2.TransportError as error:
            raise ChannelError(f"{self._place} cannot be reached: {_reason(error)}") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            raise ChannelError(f"{self._place} was not asked ({type(error).__name__})") from error
        if 300 <= status < 400:
            raise ChannelError(f"{self._place} answered {status}: redirects are not followed")
        if not 200 <= status < 300:
            said = self._without_secrets(answer)
            raise ChannelError(f"{self._place} answered {status}{f': {said}' if said else ''}")

    def _document(self, alert: Alert, *, over: bool) -> dict[str, Any]:
        text = chat(alert, over=over)
        if self.host in _SLACK_HOSTS:
            return {"text": text}
        return {
            "text": text,
            "gguf_assets": {
                "version": 1,
                "condition": one_line(alert.condition),
                "severity": alert.severity.value,
                "state": state(alert, over=over),
                "title": one_line(alert.title),
                "message": plain(alert),
                "remedy": None if alert.remedy is None else one_line(alert.remedy, 2000),
                "facts": dict(facts_of(alert)),
                "url": None if alert.url is None else one_line(alert.url, 2000),
            },
        }

    def _post(self, body: bytes) -> tuple[int, bytes]:
        """Return the status of the answer, and its body where that is short."""
        deadline = time.monotonic() + self._timeout
        request = httpx2.Request(
            "POST",
            self._url.get_secret_value(),
            content=body,
            headers={**_HEADERS, **self._login(), **self._signature(body)},
            extensions={"timeout": httpx2.Timeout(self._timeout).as_dict()},
        )
        # Not a client: it writes the whole address into the log of every process that shows INFO.
        with _wire(request.url.scheme, self.host) as transport:
            response = transport.handle_request(request)
            answer = b""
            try:
                for chunk in response.iter_raw():
                    answer += chunk
                    if len(answer) > _MOST_BYTES_READ or time.monotonic() > deadline:
                        return response.status_code, b""
            finally:
                response.close()
            return response.status_code, answer

    def _login(self) -> dict[str, str]:
        """Return the header for a user and a password in the address."""
        parts = urlsplit(self._url.get_secret_value())
        if parts.username is None:
            return {}
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}

    def _signature(self, body: bytes) -> dict[str, str]:
        if self._secret is None:
            return {}
        timestamp = str(int(self._clock()))
        key = self._secret.get_secret_value().encode()
        digest = hmac.new(key, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        return {TIMESTAMP_HEADER: timestamp, SIGNATURE_HEADER: f"sha256={digest}"}

    def _without_secrets(self, answer: bytes) -> str:
        """Return how a receiver explains itself, without the address it may have repeated."""
        text = answer.decode("utf-8", "replace")
        for part in self._secret_parts():
            text = text.replace(part, MASK)
        return one_line(text, 200)

    def _secret_parts(self) -> list[str]:
        parts = urlsplit(self._url.get_secret_value())
        whole = [self._url.get_secret_value(), f"{parts.path}?{parts.query}", parts.path, parts.query]
        pieces = [
            *parts.path.split("/"),
            parts.password or "",
            *(pair.partition("=")[2] for pair in parts.query.split("&")),
        ]
        secrets = [*whole, *pieces]
        if self._secret is not None:
            secrets.append(self._secret.get_secret_value())
        spellings = {spelling for part in secrets for spelling in (part, unquote(part))}
        return sorted(
            (part for part in spellings if len(part) >= _SHORTEST_SECRET_PART), key=len, reverse=True
        )


_HEADERS = {
    "Content-Type": "application/json",
    "User-Agent": "gguf_assets alerts",
    "Accept-Encoding": "identity",
}


def _wire(scheme: str, host: str) -> httpx2.HTTPTransport:
    """Return what owns the socket, behind the proxy that the environment names for other machines.

    Raises:
        ChannelError: the address of the proxy is unusable.
    """
    proxies = {} if is_loopback(host) or urllib.request.proxy_bypass(host) else urllib.request.getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if proxy is None:
        return httpx2.HTTPTransport(verify=scheme == "https")
    try:
        return httpx2.HTTPTransport(proxy=proxy if "://" in proxy else f"http://{proxy}")
    except (ValueError, ImportError, httpx2.InvalidURL):
        # Its text may hold a password: neither shown nor chained.
        raise ChannelError(f"the proxy that the environment names for {scheme} is unusable") from None


def _checked(url: str) -> Place:
    """Return where an address leads.

    Raises:
        ChannelError: it is no https address (http on this machine).
    """
    place = place_of(url)
    if place is None or not place.is_safe:
        where = "" if place is None else f" ({place.scheme}://{place.host})"
        raise ChannelError(f"the address{where} is no https address; http is for this machine only")
    return place


def _reason(error: httpx2.TransportError) -> str:
    """Return in words why nothing came back; the error's own text may hold the address."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate was refused ({cause.verify_message})"
        if isinstance(cause, ssl.SSLError):
            return "no TLS connection came about"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return "the connection broke" if isinstance(error, httpx2.NetworkError) else "it speaks no proper HTTP"
