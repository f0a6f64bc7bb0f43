"""No secret survives masking, whatever it is wrapped in, and nothing else is lost."""

from __future__ import annotations

import io
import json
import logging
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gguf_assets.masking import MASK, MaskingFilter, mask, register_secret

TOKEN = "hf_" + "Ab1" * 11
PLANTED = "s3cr&t/päss \"wörd'"


@pytest.fixture(autouse=True)
def planted() -> None:
    register_secret(PLANTED)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"token {TOKEN} refused", "token *** refused"),
        (f"x{TOKEN}!", "x***!"),
        ("Authorization: Bearer abc.def-123", "Authorization: ***"),
        ("{'authorization': 'Bearer abc', 'accept': '*/*'}", "{'authorization': '***', 'accept': '*/*'}"),
        ('{"Authorization": "Basic dXNlcjpwdw=="}', '{"Authorization": "***"}'),
        ("sent Bearer eyJhbGciOi.x_y/z= to", "sent Bearer *** to"),
        ("postgresql://gguf:pw@db.example.org/usage", "postgresql://***@db.example.org/usage"),
        ("https://user:p@ss@huggingface.co/api", "https://***@huggingface.co/api"),
        ("POST https://hooks.slack.com/services/T0/B0/xyz failed", "POST https://hooks.slack.com/*** failed"),
        ("https://discord.com/api/webhooks/123/abc", "https://discord.com/api/webhooks/***"),
        ("https://acme.webhook.office.com/webhookb2/a@b/x", "https://acme.webhook.office.com/***"),
        (
            "https://cdn.example.org/f?a=1&Signature=abc~&b=2",
            "https://cdn.example.org/f?a=1&Signature=***&b=2",
        ),
        ("?token=abc", "?token=***"),
    ],
)
def test_what_is_shaped_like_a_secret_is_masked(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hf_token",
        "bartowski/half_ABCDEFGHIJKLMNOPQRSTUVWX-GGUF",
        "https://huggingface.co/api/models?filter=gguf&cursor=abc",
        "https://huggingface.co/a/b/resolve/main/x.gguf, mail a@b.org",
        "2,214 models @ 1.2 requests per second",
    ],
)
def test_ordinary_texts_stay_as_they_are(text: str) -> None:
    assert mask(text) == text


@pytest.mark.parametrize(
    "spelling",
    [
        PLANTED,
        quote(PLANTED, safe=""),
        json.dumps(PLANTED),
        json.dumps({"k": PLANTED}),
        repr(PLANTED),
        repr([PLANTED]),
    ],
)
def test_a_registered_secret_is_found_in_every_spelling(spelling: str) -> None:
    masked = mask(f"before {spelling} after")
    assert "wörd" not in masked
    assert "s3cr" not in masked
    assert masked.startswith("before ") and masked.endswith(" after")


def test_a_secret_that_begins_with_another_leaves_no_tail() -> None:
    register_secret("opensesame")
    register_secret("opensesame-and-more")
    assert mask("opensesame-and-more, opensesame") == "***, ***"


@pytest.mark.parametrize("value", ["", " ", "abc", "12345"])
def test_values_too_short_to_be_secrets_do_not_blot_out_everything(value: str) -> None:
    register_secret(value)
    assert mask("abc 12345 and spaces") == "abc 12345 and spaces"


@given(st.text(), st.text())
def test_masking_never_fails_and_a_registered_secret_never_survives(before: str, after: str) -> None:
    masked = mask(f"{before}{PLANTED}{after}{TOKEN}")
    assert PLANTED not in masked
    assert TOKEN not in masked
    assert mask(masked) == masked


def test_what_is_no_text_is_not_shown() -> None:
    assert mask(b"bytes") == MASK  # type: ignore[arg-type]


@pytest.fixture
def log() -> tuple[logging.Logger, io.StringIO]:
    logger, stream = logging.Logger("masked"), io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(MaskingFilter())
    logger.addHandler(handler)
    return logger, stream


def test_log_records_are_masked_with_their_arguments(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = log
    logger.warning("sent %s with %d headers", {"authorization": f"Bearer {TOKEN}"}, 3)
    assert stream.getvalue() == "sent {'authorization': '***'} with 3 headers\n"


def test_log_records_are_masked_with_exception_cause_and_stack(
    log: tuple[logging.Logger, io.StringIO],
) -> None:
    logger, stream = log
    try:
        try:
            raise ValueError(PLANTED)
        except ValueError as error:
            raise RuntimeError(f"failed with {TOKEN}") from error
    except RuntimeError:
        logger.exception("oh", stack_info=True)
    text = stream.getvalue()
    assert "RuntimeError: failed with ***" in text
    assert "ValueError: ***" in text
    assert TOKEN not in text and "wörd" not in text


def test_another_handler_cannot_show_the_exception_unmasked() -> None:
    try:
        raise ValueError(TOKEN)
    except ValueError as error:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "oh", None, (ValueError, error, None))
    assert MaskingFilter().filter(record)
    assert TOKEN not in logging.Formatter().format(record)
    assert record.exc_info is None


class _Unprintable:
    def __str__(self) -> str:
        raise ValueError(TOKEN)


@pytest.mark.parametrize(
    ("message", "arguments"), [("%d", (TOKEN,)), ("%s", (_Unprintable(),)), ("%s %s", (TOKEN,))]
)
def test_a_record_that_cannot_be_formatted_neither_fails_nor_shows_its_arguments(
    log: tuple[logging.Logger, io.StringIO],
    message: str,
    arguments: tuple[object, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    logger, stream = log
    logger.error(message, *arguments)
    assert stream.getvalue().startswith("(a text that could not be formatted")
    assert TOKEN not in stream.getvalue() + capsys.readouterr().err
