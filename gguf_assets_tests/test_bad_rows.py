"""Broken rows among good ones are findings with rule and value; all other rows are published untouched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from gguf_assets.demo import documents
from gguf_assets.demo.faults import Fault, FaultKind
from gguf_assets.demo.server import LoopbackHub
from gguf_assets.hub.walk import FULL_FIELDS
from gguf_assets_tests.calling import Catalogue
from gguf_assets_tests.hubs import gguf, hub_of, plain, repository

DAY = date(2025, 8, 10)
PAGES = "sort=createdAt"
JSON = {"content-type": "application/json"}
REPOSITORIES = [repository(f"owner/model-{number:03d}") for number in range(700)]
LATE = "9999-12-31T23:59:59.000Z"

LISTING_ALONE = {"GGUF_SYNC__SYNC_BEHAVIOR__ENABLE_MULTI_STRATEGY_DISCOVERY": "false"}
"""No further routes: they would show the same repositories sound, and heal what is to be seen here."""

UNIDENTIFIED: list[tuple[Any, str, str | None]] = [
    # what the whole row is, or what is different in it; the rule it breaks; the value that is shown
    ({"_id": ...}, "hub_id_invalid", None),
    ({"_id": None}, "hub_id_invalid", None),
    ({"_id": 17}, "hub_id_invalid", "17"),
    ({"_id": "x" * 5000}, "hub_id_invalid", "x" * 199 + "…"),
    ({"id": ...}, "model_id_invalid", None),
    ({"id": ["owner/name"]}, "model_id_invalid", "['owner/name']"),
    ({"id": "../../etc/passwd.gguf"}, "model_id_invalid", "../../etc/passwd.gguf"),
    ({"id": "owner/.."}, "model_id_invalid", "owner/.."),
    ({"id": "owner/na\nme"}, "model_id_invalid", "owner/na\nme"),
    ({"id": "owner/模型‮🤖"}, "model_id_invalid", "owner/模型‮🤖"),
    ({"id": "owner/half-\ud83e"}, "model_id_invalid", "owner/half-\ufffd"),
    ("a text", "row_not_an_object", "a text"),
    (["a", "list"], "row_not_an_object", "['a', 'list']"),
    (None, "row_not_an_object", None),
]
UNUSABLE: list[tuple[str, Any, str]] = [
    # key, value, the rule it breaks; the value becomes null
    ("sha", "main", "malformed"),
    ("sha", 12, "wrong_type"),
    ("createdAt", 1754812800, "wrong_type"),
    ("createdAt", "yesterday", "malformed"),
    ("lastModified", {"$date": 5}, "wrong_type"),
    ("lastModified", "", "malformed"),
    ("lastModified", LATE, "out_of_range"),
    ("downloads", -5, "out_of_range"),
    ("downloads", 10**17, "out_of_range"),
    ("downloads", "many", "wrong_type"),
    ("downloads", 1.5, "wrong_type"),
    ("downloads", True, "wrong_type"),
    ("downloadsAllTime", -1, "out_of_range"),
    ("downloadsAllTime", [7], "wrong_type"),
    ("likes", -(2**62), "out_of_range"),
    ("likes", {}, "wrong_type"),
    ("trendingScore", "hot", "wrong_type"),
    ("trendingScore", True, "wrong_type"),
    ("gated", True, "wrong_type"),
    ("gated", "perhaps", "wrong_type"),
    ("private", "no", "wrong_type"),
    ("disabled", 0, "wrong_type"),
    ("library_name", 7, "wrong_type"),
    ("pipeline_tag", ["text-generation"], "wrong_type"),
    ("tags", "gguf", "wrong_type"),
    ("tags", ["gguf", None], "wrong_type"),
    ("tags", {"gguf": True}, "wrong_type"),
    ("siblings", "README.md", "wrong_type"),
    ("siblings", {}, "wrong_type"),
]
COLUMNS = {
    "createdAt": "created_at",
    "lastModified": "last_modified",
    "downloadsAllTime": "downloads_all_time",
    "trendingScore": "trending_score",
    "siblings": "gguf_files",
}
ENTRIES: list[tuple[Any, str, str]] = [
    # an entry of `siblings` beside a good one: it is left out
    ({"rfilename": None}, "wrong_type", "siblings={'rfilename': None}"),
    ({"rfilename": 5}, "wrong_type", "siblings={'rfilename': 5}"),
    ("text.gguf", "wrong_type", "siblings=text.gguf"),
    ({"rfilename": "../../etc/passwd.gguf"}, "unsafe_path", "../../etc/passwd.gguf"),
    ({"rfilename": "/etc/model.gguf"}, "unsafe_path", "/etc/model.gguf"),
    ({"rfilename": "C:\\model.gguf"}, "unsafe_path", "C:\\model.gguf"),
    ({"rfilename": "sub/../../model.gguf"}, "unsafe_path", "sub/../../model.gguf"),
]


def listed(number: int) -> dict[str, Any]:
    """The row of a repository in the listing."""
    return documents.item(REPOSITORIES[number], FULL_FIELDS)


def broken_listing() -> list[Any]:
    """All rows, the first ones broken: whole rows, then single values, then single file names."""
    rows: list[Any] = [listed(number) for number in range(len(REPOSITORIES))]
    number = 0
    for what, _, _ in UNIDENTIFIED:
        rows[number] = changed(rows[number], what) if isinstance(what, dict) else what
        number += 1
    for key, value, _ in UNUSABLE:
        rows[number][key] = value
        number += 1
    for entry, _, _ in ENTRIES:
        rows[number]["siblings"] = [entry, {"rfilename": "good.Q4_K_M.gguf"}]
        number += 1
    return rows


def changed(row: dict[str, Any], what: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {**row, **what}.items() if value is not ...}


BROKEN_NAMES = {
    repository.model_id for repository in REPOSITORIES[: len(UNIDENTIFIED) + len(UNUSABLE) + len(ENTRIES)]
}


def page(rows: list[Any]) -> Fault:
    """The listing is this one page, whatever the Hub has."""
    # Numbers beyond a double are spelled out: JSON allows them.
    body = json.dumps(rows).replace('"<absurd>"', "1e999")
    return Fault(FaultKind.GARBAGE, PAGES, body=body.encode(), headers=JSON, count=None)


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    with hub_of(REPOSITORIES) as hub:
        yield hub


@pytest.fixture(scope="module")
def undisturbed(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    catalogue = Catalogue(tmp_path_factory.mktemp("undisturbed"), hub, **LISTING_ALONE)
    assert catalogue.sync("--details", "none").code == 0
    return catalogue


@pytest.fixture(scope="module")
def disturbed(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """The catalogue of a day whose listing is full of broken rows: it is published all the same."""
    catalogue = Catalogue(tmp_path_factory.mktemp("disturbed"), hub, **LISTING_ALONE)
    ended = catalogue.sync("--json", "--details", "none", fault=page(broken_listing()))
    assert ended.code == 0, ended
    assert ended.json["published"] is True
    assert ended.json["models"] == len(REPOSITORIES) - len(UNIDENTIFIED)
    return catalogue


def test_every_row_without_a_usable_identity_is_a_finding(disturbed):
    issues = [row for row in disturbed.rows("issues", DAY) if row["severity"] == "error"]
    assert [(row["rule"], row["value"]) for row in issues] == [
        (rule, value) for _, rule, value in UNIDENTIFIED
    ]
    assert [row["path"] for row in issues] == [
        f"listing-00001.json.zst row {number}" for number in range(len(UNIDENTIFIED))
    ]
    names = disturbed.models(DAY).keys()
    assert not {repository.model_id for repository in REPOSITORIES[: len(UNIDENTIFIED)]} & names
    assert all(name.startswith("owner/model-") for name in names)


def test_every_unusable_value_is_a_finding_and_unknown(disturbed):
    issues = {(row["model_id"], row["rule"], row["value"]) for row in disturbed.rows("issues", DAY)}
    models = disturbed.models(DAY)
    for number, (key, value, rule) in enumerate(UNUSABLE, start=len(UNIDENTIFIED)):
        name = REPOSITORIES[number].model_id
        assert (name, rule, f"{key}={value}") in issues, (key, value)
        assert models[name][COLUMNS.get(key, key)] is None, (key, value)


def test_every_unusable_file_name_is_a_finding_and_left_out(disturbed):
    issues = {(row["model_id"], row["rule"], row["value"]) for row in disturbed.rows("issues", DAY)}
    files = disturbed.rows("files", DAY)
    for number, (_, rule, value) in enumerate(ENTRIES, start=len(UNIDENTIFIED) + len(UNUSABLE)):
        name = REPOSITORIES[number].model_id
        assert (name, rule, value) in issues, value
        assert [file["path"] for file in files if file["model_id"] == name] == ["good.Q4_K_M.gguf"], value
    assert not any(".." in file["path"] or file["path"].startswith("/") for file in files)


def test_no_other_finding_is_made_and_no_other_row_is_touched(disturbed, undisturbed):
    assert undisturbed.rows("issues", DAY) == []
    assert len(disturbed.rows("issues", DAY)) == len(BROKEN_NAMES)
    for dataset in ("models", "files", "health"):
        got, expected = (
            [without_clock(row) for row in catalogue.rows(dataset, DAY) if name_of(row) not in BROKEN_NAMES]
            for catalogue in (disturbed, undisturbed)
        )
        assert got == expected, dataset
        assert len(got) >= len(REPOSITORIES) - len(BROKEN_NAMES)


def name_of(row: dict[str, Any]) -> str:
    return row.get("model_id") or next(r.model_id for r in REPOSITORIES if r.hub_id == row["hub_id"])


def without_clock(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in ("observed_at", "counters_observed_at")}


def test_the_next_undisturbed_walk_has_all_of_them_again(disturbed):
    ended = disturbed.sync("--json", "--refetch", "--details", "none")
    assert ended.code == 0, ended
    assert disturbed.models(DAY).keys() == {repository.model_id for repository in REPOSITORIES}
    assert disturbed.rows("issues", DAY) == []


def test_text_and_numbers_that_json_allows_and_few_can_hold_cost_one_value(hub, tmp_path):
    rows = [listed(number) for number in range(60)]
    rows[0]["library_name"] = "half a pair \udc00, nothing \x00, backwards ‮, 🤖"
    rows[1]["downloads"] = "<absurd>"
    rows[2]["likes"] = 10**400
    rows[3]["tags"] = ["gguf", "license:\ud800"]
    catalogue = Catalogue(tmp_path, hub, **LISTING_ALONE)
    ended = catalogue.sync("--json", "--details", "none", fault=page(rows))
    assert ended.code == 0, ended
    models = catalogue.models(DAY)
    assert len(models) == 60
    assert models["owner/model-000"]["library_name"] == "half a pair \ufffd, nothing \x00, backwards ‮, 🤖"
    assert models["owner/model-001"]["downloads"] is models["owner/model-002"]["likes"] is None
    assert models["owner/model-003"]["license"] == "\ufffd"
    assert {row["model_id"] for row in catalogue.rows("issues", DAY)} == {
        "owner/model-001",
        "owner/model-002",
    }


def test_nine_broken_rows_among_hundreds_are_findings_on_a_later_day_too(hub, tmp_path):
    rows: list[Any] = [listed(number) for number in range(300)]
    for number in range(9):
        rows[number] = changed(rows[number], {"_id": ...})
    catalogue = Catalogue(tmp_path, hub, **LISTING_ALONE)
    assert (
        catalogue.sync("--details", "none", fault=page([listed(number) for number in range(300)])).code == 0
    )
    ended = catalogue.sync("--json", "--refetch", "--details", "none", fault=page(rows))
    assert ended.code == 0, ended
    assert ended.json["published"] is True
    assert [row["rule"] for row in catalogue.rows("issues", DAY)] == ["hub_id_invalid"] * 9


def test_a_row_that_comes_twice_counts_once(tmp_path):
    repositories = REPOSITORIES[:12]
    first, last = sorted(repositories, key=lambda repository: repository.hub_id)[::11]
    with hub_of(repositories, page_size=5) as hub:
        catalogue = Catalogue(tmp_path, hub, **LISTING_ALONE)
        twice = {"_id": first.hub_id, "id": "owner/other-name", "downloads": 99}
        hub.faults[:] = []
        ended = catalogue.sync(
            "--json",
            "--details",
            "none",
            fault=Fault(FaultKind.EDIT_ROW, PAGES, nth=3, hub_id=last.hub_id, edit=twice),
        )
        assert ended.code == 0, ended
        assert ended.json["models"] == 11
        assert catalogue.models(DAY)[first.model_id]["downloads"] == 10
        found = [(row["rule"], row["hub_id"], row["value"]) for row in catalogue.rows("issues", DAY)]
        assert found == [("listed_twice", first.hub_id, first.hub_id)]
        ended = catalogue.sync(
            "--json", "--refetch", "--details", "none", fault=Fault(FaultKind.DOUBLE_ROW, PAGES)
        )
        assert ended.code == 0, ended
        assert ended.json["models"] == 12
        found = [(row["rule"], row["hub_id"]) for row in catalogue.rows("issues", DAY)]
        assert found == [("listed_twice", first.hub_id)]


def test_two_repositories_of_one_name_are_a_finding_and_both_there(tmp_path):
    twin = repository("owner/Model-000", hub_id="f" * 24, created_at="2025-06-29T00:00:00.000Z")
    with hub_of([*REPOSITORIES[:9], twin]) as hub:
        catalogue = Catalogue(tmp_path, hub, **LISTING_ALONE)
        ended = catalogue.sync("--json", "--details", "none")
        assert ended.code == 0, ended
        assert ended.json["models"] == 10
        issues = catalogue.rows("issues", DAY)
    assert {(row["rule"], row["value"]) for row in issues} == {
        ("model_unique_name", "owner/Model-000"),
        ("model_unique_name", "owner/model-000"),
    }


SIZES: list[tuple[dict[str, Any], str, str]] = [
    ({"size": -1, "lfs": None}, "out_of_range", "-1"),
    ({"size": "4 GB"}, "out_of_range", "4 GB"),
    ({"size": 2**60}, "out_of_range", str(2**60)),
    ({"size": 1.5}, "out_of_range", "1.5"),
    ({"size": True}, "out_of_range", "True"),
    ({"lfs": {"sha256": "abc", "size": 7}}, "malformed", "abc"),
    ({"lfs": {"sha256": 5, "size": 7}}, "malformed", "5"),
    ({"rfilename": "../../outside.gguf"}, "unsafe_path", "../../outside.gguf"),
    ({"rfilename": None}, "wrong_type", ""),
]


def test_broken_details_are_findings_and_unknown(tmp_path):
    files = [plain("README.md"), gguf("model.Q4_K_M.gguf"), gguf("model.Q8_0.gguf")]
    repositories = [repository(f"owner/model-{number}", files=files) for number in range(len(SIZES) + 2)]
    edits = {r.model_id: patch for r, (patch, _, _) in zip(repositories, SIZES, strict=False)}

    def spoil(info: dict[str, Any]) -> dict[str, Any]:
        patch = edits.get(info["id"])
        if patch is not None:
            info["siblings"][1] = {**info["siblings"][1], **patch}
        elif info["id"] == repositories[-1].model_id:
            info["gguf"] = {"architecture": 7, "total": -1, "context_length": "long"}
        return info

    with hub_of(repositories) as hub:
        catalogue = Catalogue(tmp_path, hub, **LISTING_ALONE)
        fault = Fault(FaultKind.EDIT_ROW, "/revision/", count=None, edit=spoil)
        ended = catalogue.sync("--json", "--details", "all", fault=fault)
        assert ended.code == 0, ended
        assert ended.json["detail_requests"] == len(repositories)
        issues = catalogue.rows("issues", DAY)
        by_name: dict[str, list[dict[str, Any]]] = {}
        for row in catalogue.rows("files", DAY):
            by_name.setdefault(row["model_id"], []).append(row)
    for repository_, (_, rule, value) in zip(repositories, SIZES, strict=False):
        (issue,) = [row for row in issues if row["model_id"] == repository_.model_id]
        assert issue["rule"] == rule
        assert value in issue["value"]
        rows = {row["path"]: row for row in by_name[repository_.model_id]}
        assert rows["model.Q8_0.gguf"]["size_bytes"] == 4_000_000_000, "the other file is as it was"
        column = {"out_of_range": "size_bytes", "malformed": "sha256"}.get(rule)
        if column is None:
            assert rows.keys() == {"model.Q8_0.gguf"}
        else:
            assert rows["model.Q4_K_M.gguf"][column] is None
    last = [row["value"] for row in issues if row["model_id"] == repositories[-1].model_id]
    assert last == ["-1", "long"]
    whole = by_name[repositories[-2].model_id]
    assert all(row["size_bytes"] == 4_000_000_000 and row["sha256"] for row in whole)
