import sys

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gguf_assets.jsontext import parse_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_a_text_that_orjson_reads_is_read_the_same_beside_one_that_it_does_not(value):
    text = orjson.dumps(value)
    assert parse_json(text) == orjson.loads(text)
    assert parse_json(b'["\\ud800", ' + text + b"]") == ["\ufffd", orjson.loads(text)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'"\\ud83e\\udd16"', "🤖"),
        (b'"\\udd16\\ud83e"', "\ufffd\ufffd"),
        (b'{"\\ud800": 1}', {"\ufffd": 1}),
        (b"[1e999, -1e999]", [sys.float_info.max, -sys.float_info.max]),
        (b"1" * 400, sys.float_info.max),
        (b"1" + b"0" * 5000, sys.float_info.max),
        (b'["\\ud800", 18446744073709551615, -9223372036854775808, 18446744073709551616]',
         ["\ufffd", 2**64 - 1, -(2**63), 2.0**64]),
    ],
)  # fmt: skip
def test_what_json_allows_and_few_can_hold_becomes_the_nearest_value(text, value):
    assert parse_json(text) == value


@pytest.mark.parametrize(
    "text",
    [b"", b"<html>", b'["\\ud800"', b"[NaN]", b"[Infinity]", b'["\xff"]', b"[1,]", b'["\\ud800"]x',
     b"[" * 100_000, '["\\ud800"]'.encode("utf-16")],
)  # fmt: skip
def test_what_is_no_json_is_an_error(text):
    with pytest.raises(ValueError):
        parse_json(text)
