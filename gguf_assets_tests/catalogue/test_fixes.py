"""Automatic fixes: what is mended, what is not, and that all of it can be undone from its findings."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_assets.catalogue.absence import NO_LONGER_GGUF, judge_absences
from gguf_assets.catalogue.details import read_details
from gguf_assets.catalogue.findings import VALUE_LENGTH, Finding
from gguf_assets.catalogue.fixes import FIXES, undo
from gguf_assets.catalogue.heads import HEADS, parse_heads
from gguf_assets.catalogue.parse import ListedPage, parse_listing_page, says_gguf
from gguf_assets_tests.catalogue.days import Answer, hub_id, row, sha, sha256

COLUMN = {
    "_id": "hub_id",
    "id": "model_id",
    "createdAt": "created_at",
    "lastModified": "last_modified",
    "downloadsAllTime": "downloads_all_time",
    "trendingScore": "trending_score",
}


def parse(*rows: Any, fix: bool = True) -> ListedPage:
    return parse_listing_page("listing-00001", orjson.dumps(list(rows)), fix=fix)


def as_json(value: Any) -> str:
    """Tell 1 from 1.0 and True, which are equal in Python."""
    return json.dumps(value, sort_keys=True)


def undone(findings: list[Finding]) -> dict[tuple[str | None, str], Any]:
    """Return the values as found, by path and field, from the texts of the findings alone."""
    values: dict[tuple[str | None, str], Any] = {}
    for finding in reversed(findings):
        assert finding.value is not None and finding.fixed_to is not None
        field, before, after = undo(finding.value, finding.fixed_to)
        place = (finding.path, field)
        assert place not in values or as_json(values[place]) == as_json(after)
        values[place] = before
    return values


MENDED: list[tuple[str, Any, Any, list[str]]] = [
    # key, value of the answer, the value a sound answer would have, the fixes in order
    ("_id", hub_id(10).upper(), hub_id(10), ["upper_case"]),
    ("_id", f" {hub_id(10)}\n", hub_id(10), ["space_around_text"]),
    ("id", " owner/Model-10-GGUF ", "owner/Model-10-GGUF", ["space_around_text"]),
    ("sha", sha(10).upper(), sha(10), ["upper_case"]),
    ("sha", f"\t{sha(10).upper()}", sha(10), ["space_around_text", "upper_case"]),
    ("sha", "", None, ["empty_text"]),
    ("createdAt", " 2025-08-01T11:50:00.000Z", "2025-08-01T11:50:00.000Z", ["space_around_text"]),
    ("lastModified", "", None, ["empty_text"]),
    ("downloads", "123", 123, ["number_as_text"]),
    ("downloads", " 123 ", 123, ["space_around_text", "number_as_text"]),
    ("downloads", 12.0, 12, ["whole_number_as_float"]),
    ("downloadsAllTime", "0", 0, ["number_as_text"]),
    ("likes", "", None, ["empty_text"]),
    ("trendingScore", "7", 7, ["number_as_text"]),
    ("gated", "false", False, ["boolean_as_text"]),
    ("gated", "Manual", "manual", ["upper_case"]),
    ("private", "True", True, ["upper_case", "boolean_as_text"]),
    ("disabled", "false", False, ["boolean_as_text"]),
    ("library_name", " gguf", "gguf", ["space_around_text"]),
    ("library_name", " ", None, ["space_around_text", "empty_text"]),
    ("pipeline_tag", "", None, ["empty_text"]),
    ("tags", "gguf", ["gguf"], ["single_tag"]),
]
AMBIGUOUS: list[tuple[str, Any]] = [
    *((key, value) for key in ("downloads", "likes") for value in (
        "1,234", "1.234", "1 234", "007", "-5", "+5", "1e3", "12.0", "0x10", "many", "١٢", "9" * 17, 1.5,
        -3.0, 2.0**60, True, [5], {"n": 5},
    )),
    *(("trendingScore", value) for value in ("1.5", "1,5", True)),
    *(("sha", value) for value in (sha(1)[:39], sha(1) + "0", "main", "sha1:" + sha(1), 12, "é" * 40)),
    *(("lastModified", value) for value in (1754812800, "yesterday", "10/08/2025", "2200-01-01T00:00:00Z")),
    *(("gated", value) for value in (True, "true", "yes", 0, "")),
    *((key, value) for key in ("private", "disabled") for value in ("no", "yes", 0, 1, "", "null")),
    *(("tags", value) for value in ("", "a,b", "a b", '["gguf"]', ["gguf", None], {"gguf": True})),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "sound", "rules"), MENDED)
def test_a_value_with_one_right_reading_is_mended_and_listed(key, value, sound, rules):
    page = parse(row(1), row(10, **{key: value}), row(30))
    assert page.models.equals(parse(row(1), row(10, **{key: sound}), row(30)).models)
    assert [f.rule for f in page.findings] == rules
    assert {(f.severity, f.hub_id, f.path) for f in page.findings} == {("info", hub_id(10), None)}
    assert {f.model_id for f in page.findings} == {"owner/Model-10-GGUF"}
    assert page.findings[0].value == f"{key}={json.dumps(value)}"
    assert page.findings[-1].fixed_to == f"{key}={json.dumps(sound)}"
    assert page.quarantined == page.not_gguf == 0
    assert {place: as_json(found) for place, found in undone(list(page.findings)).items()} == {
        (None, key): as_json(value)
    }


@pytest.mark.parametrize(("key", "value", "sound", "rules"), MENDED)
def test_switched_off_no_value_is_mended(key, value, sound, rules):
    page = parse(row(1), row(10, **{key: value}), row(30), fix=False)
    assert not {f.rule for f in page.findings} & set(FIXES)
    if key in ("_id", "id"):
        assert (page.models.num_rows, page.quarantined) == (2, 1)
    elif key in ("library_name", "pipeline_tag"):  # a text like any other
        assert (page.models[key][1].as_py(), page.findings) == (value, ())
    else:
        assert page.models[COLUMN.get(key, key)][1].as_py() is None
        (finding,) = page.findings
        assert (finding.severity, finding.fixed_to) == ("warning", None)


@pytest.mark.parametrize(("key", "value"), AMBIGUOUS)
def test_what_could_be_read_otherwise_is_unknown_as_without_fixes(key, value):
    rows = row(1), row(10, **{key: value}), row(30)
    mended, as_found = parse(*rows), parse(*rows, fix=False)
    assert mended.models.equals(as_found.models)
    assert mended.findings == as_found.findings
    assert len(mended.findings) == 1


def test_a_row_of_which_half_the_identity_can_be_mended_is_set_aside_as_found():
    page = parse(row(10, _id=hub_id(10).upper(), id="no/such/name"))
    assert [f.rule for f in page.findings] == ["hub_id_invalid"]
    assert (page.findings[0].hub_id, page.quarantined) == (hub_id(10).upper(), 1)


def test_a_value_too_long_to_be_undone_is_not_mended():
    space = " " * VALUE_LENGTH
    page = parse(row(10, downloads=space + "5", library_name=space + "gguf"))
    assert [f.rule for f in page.findings] == ["wrong_type"]
    assert page.models["downloads"][0].as_py() is None
    assert page.models["library_name"][0].as_py() == space + "gguf"


known = ["gguf", "true", "FALSE", "auto", "", " ", "5", "manual ", "\u2003x"]
texts = st.text(max_size=6) | st.sampled_from(known)
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
whole = st.integers(0, 10**12)
values = (
    st.none()
    | st.booleans()
    | numbers
    | texts
    | whole.map(str)
    | whole.map(float)
    | whole.map(lambda number: f" {number}\n")
    | st.integers(0, 99).map(lambda number: sha(number).upper())
    | st.integers(0, 2**96 - 1).map(lambda number: f"{number:024X} ")
    | st.lists(texts, max_size=2)
)
rows = st.dictionaries(st.sampled_from([*row(1), "sha", "downloads"]), values, max_size=5).map(
    lambda changed: row(7, **changed)
)


@given(st.lists(rows, min_size=1, max_size=4))
@settings(deadline=None, max_examples=120)
def test_whatever_is_mended_can_be_undone_from_the_findings_alone(page):
    for item in page:
        made = [finding for finding in parse(item).findings if finding.rule in FIXES]
        for (_, field), before in undone(made).items():
            assert as_json(before) == as_json(item[field])


@given(st.lists(rows, min_size=1, max_size=6))
@settings(deadline=None, max_examples=60)
def test_what_a_row_gives_does_not_depend_on_its_neighbours_and_fixes_only_add(page):
    together, alone = parse(*page), [parse(item) for item in page]
    assert together.models.to_pylist() == [r for one in alone for r in one.models.to_pylist()]
    told = Counter(without_place(finding) for finding in together.findings)
    assert told == Counter(without_place(finding) for one in alone for finding in one.findings)
    for item, mended in zip(page, alone, strict=True):
        before = parse(item, fix=False)
        if not any(f.rule in FIXES for f in mended.findings):
            assert mended.models.equals(before.models)
            assert mended.findings == before.findings


def without_place(finding: Finding) -> Finding:
    return replace(finding, path=None)


@given(st.lists(rows, max_size=6), st.booleans(), st.booleans())
@settings(deadline=None, max_examples=60)
def test_heads_and_rows_agree(page, fix, filtered):
    body = orjson.dumps(page)
    models = parse_listing_page("page", body, fix=fix).models
    if not filtered:
        models = models.filter(says_gguf(models))
    assert parse_heads("page", body, filtered=filtered, fix=fix).equals(models.select(HEADS.names))


@pytest.mark.parametrize("text", ["", "downloads", "a=1", "a=[1"])
def test_undoing_what_is_no_fix_is_an_error(text):
    with pytest.raises(ValueError):
        undo(text, "b=1")
    with pytest.raises(ValueError):
        undo("a=1", text + "x")


def test_every_fix_says_what_why_and_where():
    assert {name: fix.name for name, fix in FIXES.items()} == {name: name for name in FIXES}
    for fix in FIXES.values():
        assert fix.what and fix.reason.endswith(".") and fix.reference
    assert {rule for *_, rules in MENDED for rule in rules} == set(FIXES)


# Details


def answer(*siblings: dict[str, Any], tree: bool = False, **info: Any) -> Answer:
    body = {"_id": hub_id(1), "sha": sha(1), "siblings": list(siblings), **info}
    pages = (orjson.dumps(list(siblings)),) if tree else ()
    return Answer(hub_id(1), "owner/Model-1-GGUF", sha(1), info=orjson.dumps(body), tree=pages)


DIGEST = sha256("a")
FILES: list[tuple[dict[str, Any], tuple[int | None, str | None], dict[str, Any]]] = [
    # what is different in a file, size and hash afterwards, the values as found
    ({"size": "4000"}, (4000, DIGEST), {"size": "4000"}),
    ({"size": 4000.0}, (4000, DIGEST), {"size": 4000.0}),
    ({"size": ""}, (None, DIGEST), {"size": ""}),
    ({"size": None, "lfs": {"sha256": DIGEST, "size": " 12"}}, (12, DIGEST), {"lfs.size": " 12"}),
    ({"lfs": {"sha256": DIGEST.upper()}}, (10, DIGEST), {"lfs.sha256": DIGEST.upper()}),
    (
        {"size": "7", "lfs": {"sha256": f"{DIGEST.upper()} "}},
        (7, DIGEST),
        {"size": "7", "lfs.sha256": f"{DIGEST.upper()} "},
    ),
    ({"size": -1}, (None, DIGEST), {}),
    ({"size": "4 GB"}, (None, DIGEST), {}),
    ({"size": "-7"}, (None, DIGEST), {}),
    ({"size": True}, (None, DIGEST), {}),
    ({"lfs": {"sha256": DIGEST[:-1]}}, (10, None), {}),
]


@pytest.mark.parametrize(("different", "facts", "found"), FILES)
def test_sizes_and_hashes_of_files_are_mended(different, facts, found):
    broken = {"rfilename": "m.gguf", "size": 10, "lfs": {"sha256": DIGEST, "size": 10}} | different
    details = read_details([answer(broken)], fix=True)
    (file,) = details.files.to_pylist()
    assert (file["size_bytes"], file["sha256"]) == facts
    made = [finding for finding in details.findings if finding.rule in FIXES]
    assert undone(made) == {("m.gguf", field): value for field, value in found.items()}
    assert {(f.hub_id, f.model_id) for f in details.findings} == {(hub_id(1), "owner/Model-1-GGUF")}
    before = read_details([answer(broken)])
    assert not any(finding.rule in FIXES for finding in before.findings)
    assert [f for f in details.findings if f not in made] == ([] if found else list(before.findings))


def test_trees_and_headers_are_mended_too():
    entry = {"path": "m.gguf", "type": "file", "size": "5", "lfs": {"oid": DIGEST.upper()}}
    header = {"architecture": " llama", "total": "8000000000", "context_length": 4096.0}
    details = read_details([answer(entry, tree=True, gguf=header)], fix=True)
    assert details.files.to_pylist() == [
        {"hub_id": hub_id(1), "path": "m.gguf", "size_bytes": 5, "sha256": DIGEST}
    ]
    (model,) = details.models.to_pylist()
    assert (model["architecture"], model["parameter_count"], model["context_length"]) == (
        "llama",
        8_000_000_000,
        4096,
    )
    assert undone(list(details.findings)) == {
        ("m.gguf", "size"): "5",
        ("m.gguf", "lfs.oid"): DIGEST.upper(),
        (None, "gguf.architecture"): " llama",
        (None, "gguf.total"): "8000000000",
        (None, "gguf.context_length"): 4096.0,
    }


def test_files_without_a_size_are_one_finding_and_unknown():
    files = [{"rfilename": f"m-{n}.gguf", "lfs": {"sha256": sha256(n)}} for n in range(29)]
    details = read_details([answer(*files, {"rfilename": "README.md", "size": 5})], fix=True)
    assert details.files["size_bytes"].null_count == details.files.num_rows == 29
    (finding,) = details.findings
    assert (finding.rule, finding.value) == ("size_missing", "29 of 30 files")


# Absences


def test_an_identity_in_upper_case_is_no_other_repository():
    info = row(10, tags=["pytorch"], siblings=[], _id=hub_id(10).upper())
    answers = [Answer(hub_id(10), "owner/Model-10-GGUF", "", info=orjson.dumps(info))]
    found = judge_absences(answers, trusted=True, anonymous=True, fix=True)
    assert found.gone == {hub_id(10): NO_LONGER_GGUF}


def test_a_model_asked_for_by_name_is_there_with_its_values_mended():
    info = row(10, downloads="77")
    answers = [Answer(hub_id(10), "owner/Model-10-GGUF", "", info=orjson.dumps(info))]
    found = judge_absences(answers, trusted=True, anonymous=True, fix=True)
    assert found.there["downloads"].to_pylist() == [77]
    assert [finding.rule for finding in found.findings] == ["number_as_text"]
