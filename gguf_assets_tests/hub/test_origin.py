"""Which addresses may be spoken to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.hub.origin import check_endpoint, origin_of, path_on

HUB = "https://huggingface.co"


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("https://huggingface.co", "https://huggingface.co"),
        ("https://huggingface.co/", "https://huggingface.co"),
        ("http://127.0.0.1:8765/", "http://127.0.0.1:8765"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_an_endpoint_loses_its_trailing_slash(endpoint, expected):
    assert check_endpoint(endpoint, ()) == expected


@pytest.mark.parametrize(
    "endpoint",
    ["", "huggingface.co", "ftp://x", "http://", "https://u:secret@x", "https://x/y", "https://x?y", "http://x:p",
     "http://[::1", "http://x:99999999"],
)  # fmt: skip
def test_what_is_no_endpoint_is_refused_without_showing_credentials(endpoint):
    with pytest.raises(PermanentError) as caught:
        check_endpoint(endpoint, ())
    assert caught.value.category is ErrorCategory.CONFIGURATION
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("endpoint", "allowed"),
    [
        ("https://huggingface.co", True),
        ("https://api.huggingface.co", True),
        ("https://HuggingFace.co", True),
        ("https://evilhuggingface.co", False),
        ("https://huggingface.co.evil.example", False),
        ("http://localhost:1", True),
        ("http://127.0.0.2:1", True),
        ("http://[::1]:1", True),
        ("http://10.0.0.1", False),
    ],
)
def test_allowed_domains_admit_themselves_their_sub_domains_and_loopback(endpoint, allowed):
    if allowed:
        check_endpoint(endpoint, ["huggingface.co"])
    else:
        with pytest.raises(PermanentError, match="allowed domains"):
            check_endpoint(endpoint, ["huggingface.co"])


@pytest.mark.parametrize(
    "url",
    [f"{HUB}/api/models?cursor=e%3D&limit=1000", "https://huggingface.co:443/api/models?cursor=e%3D&limit=1000"],
)  # fmt: skip
def test_a_link_on_the_same_origin_gives_its_path_and_query(url):
    assert path_on(HUB, url) == "/api/models?cursor=e%3D&limit=1000"


@pytest.mark.parametrize(
    "url",
    ["/api/models?cursor=x", "//huggingface.co/x", "http://huggingface.co/x", "https://huggingface.co:8443/x",
     "https://huggingface.co@evil.example/x", "https://evil.example/huggingface.co", "https://huggingface.co.evil/x",
     "javascript:alert(1)", "", "https://a@huggingface.co/x"],
)  # fmt: skip
def test_relative_and_foreign_links_are_refused(url):
    with pytest.raises(PermanentError) as caught:
        path_on(HUB, url)
    assert caught.value.category is ErrorCategory.API
    assert HUB in caught.value.message


@given(st.text())
def test_no_text_breaks_the_judgement(text):
    for url in (text, f"https://{text}", f"https://huggingface.co{text}"):
        origin_of(url)
        try:
            path = path_on(HUB, url)
        except PermanentError as error:
            assert error.message.isprintable()
        else:
            assert path.startswith("/")
            assert origin_of(url) == ("https", "huggingface.co", 443)
