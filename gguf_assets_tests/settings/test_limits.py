"""The limits and the token rule that follow from the settings."""

from __future__ import annotations

import logging

import pytest

from gguf_assets.errors import ErrorCategory, Refused
from gguf_assets.masking import mask
from gguf_assets.settings.limits import effective_limits
from gguf_assets.settings.token import require_token
from gguf_assets_tests.settings.configs import ConfigFolder

TOKEN = "hf_" + "Qq7" * 11
LOOPBACK = {"HF_ENDPOINT": "http://127.0.0.1:8765"}


def test_with_a_token_the_configured_limits_hold(config: ConfigFolder) -> None:
    limits = effective_limits(config.load({"HF_TOKEN": TOKEN}))
    assert (limits.requests_per_second, limits.requests_per_hour) == (1.2, 5000)
    assert limits.max_concurrent_requests == 50
    assert (limits.timeout_seconds, limits.max_retries) == (30.0, 5)
    assert (limits.backoff_base, limits.backoff_jitter) == (2.0, True)


def test_without_a_token_the_anonymous_limits_are_the_ceiling(config: ConfigFolder) -> None:
    limits = effective_limits(config.load())
    assert (limits.requests_per_second, limits.requests_per_hour) == (0.8, 800)
    assert limits.max_concurrent_requests == 20
    lower = {"REQUESTS_PER_SECOND": "0.5", "REQUESTS_PER_HOUR": "100", "MAX_CONCURRENCY": "3"}
    limits = effective_limits(config.load(lower))
    assert (limits.requests_per_second, limits.requests_per_hour) == (0.5, 100)
    assert limits.max_concurrent_requests == 3


def test_on_loopback_only_a_rate_that_was_set_binds(config: ConfigFolder) -> None:
    limits = effective_limits(config.load(LOOPBACK))
    assert (limits.requests_per_second, limits.requests_per_hour) == (None, None)
    assert limits.max_concurrent_requests == 50
    limits = effective_limits(config.load(LOOPBACK | {"REQUESTS_PER_SECOND": "500"}))
    assert (limits.requests_per_second, limits.requests_per_hour) == (500.0, None)
    limits = effective_limits(config.load(LOOPBACK | {"REQUESTS_PER_HOUR": "60"}))
    assert (limits.requests_per_second, limits.requests_per_hour) == (None, 60)
    limits = effective_limits(config.load({"SYNC_ENVIRONMENT": "testing"}))
    assert (limits.requests_per_second, limits.requests_per_hour) == (None, None)


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_staging_and_production_demand_a_token_and_say_how_to_do_without(
    config: ConfigFolder, environment: str
) -> None:
    loaded = config.load({"SYNC_ENVIRONMENT": environment})
    with pytest.raises(Refused) as caught:
        require_token(loaded)
    assert caught.value.message == "Hugging Face token is required"
    assert caught.value.category is ErrorCategory.AUTHENTICATION
    assert "SYNC_ENVIRONMENT=development gguf-assets sync" in (caught.value.remedy or "")
    with_token = config.load({"SYNC_ENVIRONMENT": environment, "HF_TOKEN": TOKEN})
    token = require_token(with_token)
    assert token is not None and token.get_secret_value() == TOKEN


def test_the_way_out_that_is_named_works_beside_an_active_file(config: ConfigFolder) -> None:
    config.write("environment: production\n")
    with pytest.raises(Refused) as caught:
        require_token(config.load())
    name, value = "GGUF_SYNC__SECURITY__ENABLE_TOKEN_VALIDATION", "false"
    assert f"{name}={value} gguf-assets sync" in (caught.value.remedy or "")
    assert require_token(config.load({name: value})) is None


@pytest.mark.parametrize(
    "environ",
    [
        {"SYNC_ENVIRONMENT": "development"},
        {"SYNC_ENVIRONMENT": "testing"},
        LOOPBACK,
        LOOPBACK | {"SYNC_ENVIRONMENT": "staging"},
        {"GGUF_SYNC__SECURITY__ENABLE_TOKEN_VALIDATION": "off"},
    ],
)
def test_elsewhere_a_sync_may_run_anonymously(config: ConfigFolder, environ: dict[str, str]) -> None:
    assert require_token(config.load(environ)) is None


def test_the_token_comes_from_its_variables_in_order(config: ConfigFolder) -> None:
    other = "hf_" + "Rr8" * 11
    loaded = config.load({"HF_TOKEN": other, "HUGGINGFACE_TOKEN": f" {TOKEN}\n"})
    assert loaded.token is not None and loaded.token.get_secret_value() == TOKEN
    assert loaded.token_source == "environment variable HUGGINGFACE_TOKEN"
    loaded = config.load({"HF_TOKEN": other})
    assert loaded.token is not None and loaded.token.get_secret_value() == other
    assert loaded.token_source == "environment variable HF_TOKEN"
    assert config.load().token_source is None


def test_the_token_is_nowhere_in_what_was_loaded(
    config: ConfigFolder, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "no-shape-of-a-token-42"
    with caplog.at_level(logging.DEBUG):
        loaded = config.load(
            {"HF_TOKEN": secret, "GGUF_SYNC__NOTIFICATIONS__WEBHOOK_URLS": "https://h.example/s3cret"}
        )
    assert secret not in repr(loaded) + loaded.settings.model_dump_json() + caplog.text
    assert mask(f"a {secret} b") == "a *** b"
    assert mask("to https://h.example/s3cret") == "to ***"


@pytest.mark.parametrize("text", ["hf_with space inside", "hf_tökèn-abcdef", "hf_line\nbreak-abc"])
def test_a_token_that_no_header_can_carry_is_refused_without_showing_it(
    config: ConfigFolder, text: str
) -> None:
    error = config.refused({"HF_TOKEN": text})
    assert "Huggingface token holds characters that no token has" in error.message
    assert "(environment variable HF_TOKEN)" in error.message
    assert text not in str(error)
