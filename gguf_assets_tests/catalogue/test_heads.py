"""The heads of a page are the rows that the whole parser keeps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gguf_assets.catalogue.heads import HEADS, count_in_window, distinct_heads, parse_heads
from gguf_assets.catalogue.parse import parse_listing_page
from gguf_assets_tests.catalogue.days import row

EDGE = datetime(2025, 8, 10, 12, tzinfo=UTC)

odd = st.sampled_from(
    [None, 5, "text", "a/b", [], ["gguf"], ["x"], ["gguf", 3], [3], {}, True, -1, 2**63, 10**16]
)
siblings = st.sampled_from(
    [None, [], [{"rfilename": "a.GGUF"}], [{"rfilename": "b.bin"}], [{"rfilename": 4}], "x", [None]]
)


@st.composite
def rows(draw):
    broken = {
        key: draw(odd) for key in draw(st.sets(st.sampled_from(["_id", "id", "sha", "downloads", "tags"])))
    }
    changed = row(draw(st.integers(1, 5)), siblings=draw(siblings), **broken)
    return draw(st.sampled_from([changed] * 8 + [None, 3, "row", []]))


@given(page=st.lists(rows(), max_size=8))
def test_the_heads_agree_with_the_whole_rows(page):
    body = orjson.dumps(page)
    assert parse_heads("page", body).equals(parse_listing_page("page", body).models.select(HEADS.names))


def test_a_page_that_is_no_list_is_an_error():
    with pytest.raises(ValueError, match="no JSON array"):
        parse_heads("page", b"{}")


def test_models_in_the_window_are_those_modified_since_and_those_without_a_date():
    times = [EDGE + timedelta(hours=hours) for hours in (-1, 0, 5)]
    listed = [row(n, lastModified=time.isoformat()) for n, time in enumerate(times, start=1)]
    listed += [row(4, lastModified=None), row(5, lastModified="yesterday")]
    heads = distinct_heads([parse_heads("page", orjson.dumps(listed))])
    assert count_in_window(heads, EDGE) == 4
