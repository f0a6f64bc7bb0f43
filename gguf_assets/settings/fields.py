"""Types of single settings: what a value may look like, with the words for what is allowed.

What belongs here: annotated types, each judging one value on its own. What does not: which setting has which
type (`model`) and rules between settings (`rules`).
"""

from __future__ import annotations

import ipaddress
import os
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Strict

from gguf_assets import loopback

_WORDS: Final = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}
_HOST = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*\Z"
)
_MAIL = re.compile(r"[^\s@,;<>]+@[^\s@,;<>]+\.[^\s@,;<>]+\Z")
_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*\Z")
_TIME = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]\Z")
_CRON_RANGES: Final = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_CRON_PART = re.compile(r"(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/([1-9]\d?))?\Z", re.ASCII)


def is_loopback(url: str) -> bool:
    """Return whether an address leads to this machine: localhost, 127.0.0.0/8 or ::1."""
    parts = _split(url)
    host = None if parts is None else parts.hostname
    return host is not None and loopback.is_loopback(host)


def is_url(text: str) -> bool:
    """Return whether a text begins like `scheme://`."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def local_folder(text: str) -> Path:
    """Return a folder as an absolute path; relative ones start at the working directory."""
    return _expanded(text).absolute()


def below(data_folder: Path, text: str) -> Path:
    """Return where a path of the settings leads.

    Relative ones lie below the data folder, for which a leading `data/` stands.
    """
    path = _expanded(text)
    if path.parts[:1] == ("data",):
        path = Path(*path.parts[1:])
    return data_folder / path


def _expanded(text: str) -> Path:
    try:
        # Unlike Path.expanduser, this leaves a ~user that nobody knows as it is.
        return Path(os.path.expanduser(text))  # noqa: PTH111
    except ValueError:  # no user is called like that
        return Path(text)


def _split(url: str) -> SplitResult | None:
    """Return the parts of an http(s) address with a host; None for anything else."""
    if not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if usable else None


def _switch(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, str)):
        return _WORDS.get(str(value).strip().lower(), value)
    return value


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _base_url(url: str) -> str:
    parts = _split(url)
    if (
        parts is None
        or parts.username is not None
        or parts.password is not None
        or parts.path.strip("/")
        or parts.query
        or parts.fragment
    ):
        raise ValueError(
            "must be scheme://host[:port] with http or https, without credentials, path or query"
        )
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _webhook(target: str) -> str:
    parts = _split(target)
    secure = parts is not None and (parts.scheme == "https" or is_loopback(target))
    if not secure and not _REFERENCE.match(target):
        raise ValueError("must hold https addresses (http only on this machine) or references env:NAME")
    return target


def _host(name: str) -> str:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        if not _HOST.match(name):
            raise ValueError(
                "must hold host names such as huggingface.co, without scheme, port or path"
            ) from None
    return name.lower()


def _mail(address: str) -> str:
    if not _MAIL.match(address) or not address.isprintable():
        raise ValueError("must hold addresses such as name@example.org")
    return address


def _time(text: str) -> str:
    if not _TIME.match(text):
        raise ValueError("must be a time of day in UTC between 00:00 and 23:59, written HH:MM")
    return text


def _cron(text: str) -> str:
    fields = text.split()
    if len(fields) != len(_CRON_RANGES) or not all(map(_is_cron_field, fields, _CRON_RANGES)):
        raise ValueError("must be five cron fields of numbers: minute hour day month weekday (0 is Sunday)")
    return " ".join(fields)


def _is_cron_field(field: str, bounds: tuple[int, int]) -> bool:
    for part in field.split(","):
        match = _CRON_PART.match(part)
        if match is None:
            return False
        first, last, _ = match.groups()
        if first is not None and not bounds[0] <= int(first) <= int(last or first) <= bounds[1]:
            return False
    return True


def _folder(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("must be the path of a folder or file")
    if is_url(text):
        raise ValueError(
            "must be a local path: only local folders are supported so far, no bucket and no URL"
        )
    return text


def _environment_only(value: Any) -> Any:
    if value is not None:
        raise ValueError(
            "must stay null here: secrets come from environment variables, never from a file or an option"
        )
    return value


class Environment(StrEnum):
    """What a configuration is for."""

    DEVELOPMENT = "development"
    STAGING = "staging"
    PRODUCTION = "production"
    TESTING = "testing"


_T = TypeVar("_T")

Switch = Annotated[bool, BeforeValidator(_switch)]
"""true/false, 1/0, yes/no, on/off."""

Listed = Annotated[tuple[_T, ...], BeforeValidator(_tuple)]
"""A list, kept as a tuple."""

EnvironmentName = Annotated[Environment, Strict(False)]
"""An environment, by its name."""
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)]
ModeName = Literal["auto", "incremental", "full"]
Channel = Literal["log", "github", "webhook", "email"]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
WebhookTarget = Annotated[str, AfterValidator(_webhook)]
HostName = Annotated[str, AfterValidator(_host)]
MailAddress = Annotated[str, AfterValidator(_mail)]
TimeOfDay = Annotated[str, AfterValidator(_time)]
Cron = Annotated[str, AfterValidator(_cron)]
LocalPath = Annotated[str, AfterValidator(_folder)]
EnvironmentOnly = Annotated[None, BeforeValidator(_environment_only)]
"""A secret: null in the tree, its value taken from an environment variable."""
