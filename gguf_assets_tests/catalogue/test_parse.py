"""Parsing a page of the listing: broken rows and values become findings, sound ones are untouched."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_assets.catalogue.parse import LISTED, ListedPage, parse_listing_page
from gguf_assets.catalogue.row_reader import COUNTER_LIMIT
from gguf_assets_tests.catalogue.days import hub_id, row

MISSING = object()


def parse(*rows: Any) -> ListedPage:
    return parse_listing_page("listing-00001", orjson.dumps(list(rows)))


def with_value(number: int, key: str, value: Any) -> dict[str, Any]:
    changed = row(number, **{key: value})
    if value is MISSING:
        del changed[key]
    return changed


def between_sound_rows(broken: Any) -> tuple[ListedPage, list[dict[str, Any]]]:
    """Parse a page of two sound rows with a broken one between; check that the sound ones are untouched."""
    page = parse(row(1), broken, row(3))
    rows = page.models.to_pylist()
    assert [rows[0], rows[-1]] == parse(row(1), row(3)).models.to_pylist()
    return page, rows[1:-1]


def test_a_sound_row_becomes_one_row_with_every_value():
    page = parse(row(7))
    assert page.models.schema == LISTED
    assert page.models.to_pylist() == [
        {
            "hub_id": hub_id(7),
            "model_id": "owner/Model-7-GGUF",
            "sha": row(7)["sha"],
            "created_at": datetime(2025, 8, 1, 11, 53, tzinfo=UTC),
            "last_modified": datetime(2025, 8, 2, tzinfo=UTC),
            "downloads": 10,
            "downloads_all_time": 100,
            "likes": 1,
            "trending_score": 0.0,
            "gated": "no",
            "private": False,
            "disabled": False,
            "library_name": "gguf",
            "pipeline_tag": "text-generation",
            "tags": ["gguf", "license:mit"],
            "siblings": ["README.md", "model-7.Q4_K_M.gguf"],
        }
    ]
    assert (page.findings, page.quarantined, page.not_gguf) == ((), 0, 0)


def test_an_empty_page_has_no_rows():
    assert parse().models.equals(LISTED.empty_table())


@pytest.mark.parametrize("content", [b"", b"<html>", b'{"error":"no"}', b"[1", b"null", b'"[]"'])
def test_what_is_no_json_array_is_refused(content):
    with pytest.raises(ValueError):
        parse_listing_page("listing-00001", content)


@pytest.mark.parametrize("item", [None, 1, "row", [], [["_id", "x"]], True, 1.5])
def test_a_row_that_is_no_object_is_set_aside(item):
    page, between = between_sound_rows(item)
    assert between == []
    (finding,) = page.findings
    assert (finding.rule, finding.severity, finding.hub_id) == ("row_not_an_object", "error", None)
    assert finding.path == "listing-00001 row 1"
    assert page.quarantined == 1


BAD_HUB_IDS = [MISSING, None, "", 5, ["a"], {}, True, "g" * 24, "A" * 24, "a" * 23, "a" * 25, "a" * 24 + "\n"]
BAD_NAMES = [
    MISSING, None, "", 5, [], {}, True, "/", "owner/", "/name", "a/b/c", "../etc/passwd", "owner/..",
    "owner/../other", "..", ".", "owner/.", "owner/.hidden", "-owner/name", "owner/na me", "owner\\name",
    "owner/name\n", "owner/naïve", "owner/" + "x" * 97, "o" * 97 + "/name", "owner/a..b", "C:/name", "a\x00b",
]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [("_id", value, "hub_id_invalid") for value in BAD_HUB_IDS]
    + [("id", value, "model_id_invalid") for value in BAD_NAMES],
)
def test_a_row_without_a_usable_identity_is_set_aside(key, value, rule):
    page, between = between_sound_rows(with_value(2, key, value))
    assert between == []
    (finding,) = page.findings
    assert (finding.rule, finding.severity, finding.path) == (rule, "error", "listing-00001 row 1")
    other = "model_id" if key == "_id" else "hub_id"
    assert getattr(finding, other) == (row(2)["id"] if key == "_id" else hub_id(2))
    assert (page.quarantined, page.not_gguf) == (1, 0)


@pytest.mark.parametrize(
    "name", ["gpt2", "a/b", "0x/1.5B-q4_0.gguf", "_a/_b", "owner/" + "x" * 96, "a/b-", "a/b--c"]
)
def test_the_names_the_hub_uses_are_taken(name):
    page = parse(row(1, id=name))
    assert page.models["model_id"].to_pylist() == [name]
    assert page.findings == ()


NOT_TEXT = [(value, "wrong_type") for value in (1, 1.5, True, ["x"], {"a": 1})]
NOT_COUNTER = [
    *((value, "wrong_type") for value in ("10", 1.5, 2.0, True, [1], {}, 1e30)),
    *((value, "out_of_range") for value in (-1, -(2**63), COUNTER_LIMIT + 1, 2**63, 2**64 - 1)),
]
NOT_BOOLEAN = [(value, "wrong_type") for value in (0, 1, "false", [], {}, 0.0)]
NOT_TIME = [
    *((value, "wrong_type") for value in (5, 1.5, True, ["2025-08-01T00:00:00.000Z"], {})),
    *(
        (value, "malformed")
        for value in ("", "yesterday", "2025-13-01T00:00:00.000Z", "2025-02-30T00:00:00Z",
                      "2025-08-01T25:00:00Z", "0000-01-01T00:00:00Z", "2025-08-01T00:00:00.000ZZ",
                      "9999-12-31T23:59:59-12:00")
    ),
    *((year + "-01-01T00:00:00.000Z", "out_of_range") for year in ("0001", "1970", "2200", "9999")),
]  # fmt: skip
BAD_VALUES = [
    *(("sha", value, rule) for value, rule in NOT_TEXT),
    *(("sha", value, "malformed") for value in ("", "main", "A" * 40, "a" * 39, "a" * 41, "a" * 40 + "\n")),
    *((key, value, rule) for key in ("createdAt", "lastModified") for value, rule in NOT_TIME),
    *((key, *bad) for key in ("downloads", "downloadsAllTime", "likes") for bad in NOT_COUNTER),
    *(("trendingScore", value, "wrong_type") for value in ("1", True, [], {})),
    *(("gated", value, "wrong_type") for value in (True, "yes", 1, 0, [], {}, "")),
    *((key, *bad) for key in ("private", "disabled") for bad in NOT_BOOLEAN),
    *((key, *bad) for key in ("library_name", "pipeline_tag") for bad in NOT_TEXT),
    *(("tags", value, "wrong_type") for value in ("gguf", "", {}, 5, True, [1], ["gguf", None], [["gguf"]])),
    *(("siblings", value, "wrong_type") for value in ("x", "", {}, 5, True, {"rfilename": "a.gguf"})),
]
COLUMN = {
    "createdAt": "created_at",
    "lastModified": "last_modified",
    "downloadsAllTime": "downloads_all_time",
    "trendingScore": "trending_score",
}


@pytest.mark.parametrize(("key", "value", "rule"), BAD_VALUES)
def test_a_bad_value_becomes_null_with_one_finding(key, value, rule):
    page, (between,) = between_sound_rows(row(2, **{key: value}))
    sound = parse(row(2)).models.to_pylist()[0]
    assert between == sound | {COLUMN.get(key, key): None}
    (finding,) = page.findings
    assert (finding.rule, finding.severity) == (rule, "warning")
    assert (finding.hub_id, finding.model_id) == (hub_id(2), row(2)["id"])
    assert finding.value is not None and finding.value.startswith(f"{key}=")
    assert page.quarantined == page.not_gguf == 0


@pytest.mark.parametrize("key", sorted(set(row(1)) - {"_id", "id"}))
@pytest.mark.parametrize("value", [None, MISSING])
def test_a_missing_value_is_unknown_and_no_finding(key, value):
    page, (between,) = between_sound_rows(with_value(2, key, value))
    assert between == parse(row(2)).models.to_pylist()[0] | {COLUMN.get(key, key): None}
    assert page.findings == ()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-08-10T12:00:00.000Z", datetime(2025, 8, 10, 12, tzinfo=UTC)),
        ("2025-08-10T12:00:00Z", datetime(2025, 8, 10, 12, tzinfo=UTC)),
        ("2025-08-10T12:00:00.123456Z", datetime(2025, 8, 10, 12, 0, 0, 123456, tzinfo=UTC)),
        ("2025-08-10T12:00:00.123456789Z", datetime(2025, 8, 10, 12, 0, 0, 123456, tzinfo=UTC)),
        ("2025-08-10T12:00:00", datetime(2025, 8, 10, 12, tzinfo=UTC)),
        ("2025-08-10", datetime(2025, 8, 10, tzinfo=UTC)),
        ("2025-08-10T12:00:00+02:00", datetime(2025, 8, 10, 10, tzinfo=UTC)),
        ("2025-08-10T01:00:00-0530", datetime(2025, 8, 10, 6, 30, tzinfo=UTC)),
    ],
)
def test_times_are_utc_and_naive_ones_count_as_utc(text, moment):
    page = parse(row(1, createdAt=text, lastModified=text), row(2))
    assert page.models["created_at"][0].as_py() == page.models["last_modified"][0].as_py() == moment
    assert page.findings == ()


@given(
    st.datetimes(datetime(2000, 1, 2), datetime(2199, 12, 30)),
    st.integers(-14 * 60, 14 * 60),
    st.sampled_from(["seconds", "milliseconds", "microseconds"]),
)
@settings(max_examples=60)
def test_any_time_with_any_offset_is_read(moment, minutes, precision):
    moment = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    text = moment.isoformat(timespec=precision)
    page = parse(row(1, createdAt=text))
    assert page.models["created_at"][0].as_py() == datetime.fromisoformat(text)
    assert page.findings == ()


@pytest.mark.parametrize(("value", "expected"), [(False, "no"), ("auto", "auto"), ("manual", "manual")])
def test_access_is_no_auto_or_manual(value, expected):
    page = parse(row(1), row(2, gated=value), row(3))
    assert page.models["gated"].to_pylist() == ["no", expected, "no"]
    assert page.findings == ()


@pytest.mark.parametrize(
    "entry", [None, 5, "a.gguf", [], {}, {"rfilename": None}, {"rfilename": 5}, {"path": "a"}]
)
def test_a_broken_sibling_is_left_out_and_the_others_stay(entry):
    siblings = [{"rfilename": "a.gguf"}, entry, {"rfilename": "b.gguf"}]
    page, (between,) = between_sound_rows(row(2, siblings=siblings))
    assert between["siblings"] == ["a.gguf", "b.gguf"]
    (finding,) = page.findings
    assert (finding.rule, finding.hub_id) == ("wrong_type", hub_id(2))


def test_a_row_with_several_bad_values_gives_a_finding_for_each():
    page, (between,) = between_sound_rows(row(2, sha=1, downloads="x", likes=-5, gated=True, tags="gguf"))
    assert [between[key] for key in ("sha", "downloads", "likes", "gated", "tags")] == [None] * 5
    assert Counter(f.rule for f in page.findings) == {"wrong_type": 4, "out_of_range": 1}


@pytest.mark.parametrize(
    ("tags", "siblings", "counted"),
    [
        (["gguf"], [], True),
        (["gguf"], None, True),
        (["pytorch"], [{"rfilename": "deep/Model.GGUF"}], True),
        (["pytorch"], [{"rfilename": "model.gguf.txt"}], False),
        (["GGUF-my-repo"], [], False),
        ([], None, False),
        (None, None, True),  # unreadable or absent tags make a row of the gguf listing nothing else
    ],
)
def test_a_gguf_model_has_the_tag_or_a_file(tags, siblings, counted):
    page, between = between_sound_rows(row(2, tags=tags, siblings=siblings))
    assert len(between) == page.models.num_rows - 2 == int(counted)
    assert page.not_gguf == int(not counted)
    assert page.findings == ()


def test_a_long_value_is_shortened_in_its_finding():
    (finding,) = parse(row(1, downloads="9" * 5000)).findings
    assert finding.value is not None and len(finding.value) <= 220 and finding.value.endswith("…")


def test_deep_nesting_is_no_obstacle():
    deep = b"[" * 900 + b"]" * 900
    rows = [b'{"_id":%b}' % deep, b'%b,"tags":%b,"likes":%b}' % (orjson.dumps(row(1))[:-1], deep, deep)]
    page = parse_listing_page("listing-00001", b"[%b]" % b",".join(rows))
    assert page.models.select(["tags", "likes"]).to_pylist() == [{"tags": None, "likes": None}]
    assert [f.rule for f in page.findings] == ["hub_id_invalid", "wrong_type", "wrong_type"]


def test_half_a_surrogate_pair_costs_one_value_at_most():
    broken = orjson.dumps(row(2, library_name="X")).replace(b'"X"', b'"\\ud800"')
    content = b"[%b,%b,%b]" % (orjson.dumps(row(1)), broken, b'{"_id":"\\ud800","id":"a/b"}')
    page = parse_listing_page("listing-00001", content)
    assert page.models.slice(0, 1).equals(parse(row(1)).models)
    assert page.models["library_name"].to_pylist() == ["gguf", "\ufffd"]
    assert [f.rule for f in page.findings] == ["hub_id_invalid"]


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(
        ["gguf", "auto", "a/b", "2025-08-10T12:00:00Z", "0000-01-01T00:00:00Z", "2025-08-10", "x.gguf"]
    )
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
siblings_of_all_kinds = st.lists(
    st.fixed_dictionaries({}, optional={"rfilename": scalars, "size": scalars}) | anything, max_size=3
)
rows_of_all_kinds = st.builds(
    lambda number, changed, dropped: {
        k: v for k, v in {**row(number), **changed}.items() if k not in dropped
    },
    st.integers(0, 5),
    st.dictionaries(st.sampled_from(sorted(row(1))), anything | siblings_of_all_kinds, max_size=3),
    st.sets(st.sampled_from(sorted(row(1))), max_size=2),
)


@given(st.lists(rows_of_all_kinds | anything, max_size=6))
@settings(max_examples=250, deadline=None)
def test_any_array_is_parsed_and_no_row_depends_on_its_neighbours(items):
    page = parse(*items)
    assert page.models.schema == LISTED
    page.models.validate(full=True)
    assert page.models.num_rows + page.quarantined + page.not_gguf == len(items)
    alone = [parse(item) for item in items]
    assert page.models.to_pylist() == [r for one in alone for r in one.models.to_pylist()]

    def without_place(pages: list[ListedPage]) -> Counter[Any]:
        return Counter(
            (f.rule, f.severity, f.message, f.hub_id, f.value) for one in pages for f in one.findings
        )

    assert without_place([page]) == without_place(alone)
    assert all(moment is None or moment.year >= 2000 for moment in page.models["created_at"].to_pylist())


def test_a_page_of_sound_rows_is_the_same_in_any_split():
    rows = [row(n, gated=["auto", False][n % 2], tags=["gguf", f"x{n}"]) for n in range(1, 9)]
    parts = [parse(*rows[:3]).models, parse(*rows[3:]).models]
    assert pa.concat_tables(parts).combine_chunks().equals(parse(*rows).models.combine_chunks())
