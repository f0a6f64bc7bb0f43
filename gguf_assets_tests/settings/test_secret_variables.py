"""Secrets that only environment variables hold: read once, shown nowhere."""

from __future__ import annotations

from uuid import uuid4

import pytest

from gguf_assets.masking import mask
from gguf_assets.settings.secret_variables import (
    GITHUB_TOKEN,
    SHARED_LIMITS_URL,
    SMTP_URL,
    WEBHOOK_SECRET,
    secret_variable,
)


@pytest.mark.parametrize("name", [SMTP_URL, WEBHOOK_SECRET, GITHUB_TOKEN, SHARED_LIMITS_URL])
def test_a_secret_is_read_and_hidden_from_then_on(name):
    value = f"x{uuid4().hex}"
    secret = secret_variable({name: f" {value}\n"}, name)
    assert secret is not None and secret.get_secret_value() == value
    assert value not in repr(secret) + str(secret)
    assert mask(f"a {value} b") == "a *** b"


@pytest.mark.parametrize("environ", [{}, {SMTP_URL: ""}, {SMTP_URL: "  \n"}])
def test_nothing_is_none(environ):
    assert secret_variable(environ, SMTP_URL) is None


@pytest.mark.parametrize("written", ["{}", "{}@more", "{}/more", "{}%40x"])
def test_the_password_of_an_address_is_hidden_by_itself(written):
    """Servers repeat it in their messages without the rest of the address."""
    password = written.format(f"Pw{uuid4().hex}")
    secret_variable({SHARED_LIMITS_URL: f"redis://user:{password}@host:6379/0"}, SHARED_LIMITS_URL)
    assert mask(f"invalid password {password} for user") == "invalid password *** for user"
    assert mask(f"not {password.replace('%40', '@')} again") == "not *** again"
    assert mask("user at host:6379") == "user at host:6379"
