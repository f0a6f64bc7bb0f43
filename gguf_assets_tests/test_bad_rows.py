"""Broken rows among good ones are findings with rule and value; all other rows are published untouched.

What has one right reading is mended and listed with before and after; everything adds up to what was sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from gguf_assets.catalogue.fixes import FIXES, undo
from gguf_assets.demo import documents
from gguf_assets.demo.faults import Fault, FaultKind
from gguf_assets.demo.server import LoopbackHub
from gguf_assets.hub.walk import FULL_FIELDS
from gguf_assets_tests.calling import Catalogue, digests
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
    ("tags", "gguf, llama", "wrong_type"),
    ("tags", ["gguf", None], "wrong_type"),
    ("tags", {"gguf": True}, "wrong_type"),
    ("siblings", "README.md", "wrong_type"),
    ("siblings", {}, "wrong_type"),
]
MENDED: list[tuple[str, Any, Any, str]] = [
    # key, value, what is published, the fix
    ("sha", REPOSITORIES[0].sha.upper(), REPOSITORIES[0].sha, "upper_case"),
    ("lastModified", "", None, "empty_text"),
    ("downloads", "123", 123, "number_as_text"),
    ("likes", 12.0, 12, "whole_number_as_float"),
    ("private", "false", False, "boolean_as_text"),
    ("pipeline_tag", " text-generation", "text-generation", "space_around_text"),
    ("tags", "gguf", ["gguf"], "single_tag"),
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
    for key, value, _, _ in MENDED:
        rows[number][key] = value
        number += 1
    return rows


def changed(row: dict[str, Any], what: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {**row, **what}.items() if value is not ...}


BROKEN = len(UNIDENTIFIED) + len(UNUSABLE) + len(ENTRIES) + len(MENDED)
BROKEN_NAMES = {repository.model_id for repository in REPOSITORIES[:BROKEN]}


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


def test_every_value_with_one_right_reading_is_mended_and_listed(disturbed):
    issues = {row["model_id"]: row for row in disturbed.rows("issues", DAY)}
    models = disturbed.models(DAY)
    for number, (key, before, after, fix) in enumerate(MENDED, start=BROKEN - len(MENDED)):
        name = REPOSITORIES[number].model_id
        assert models[name][COLUMNS.get(key, key)] == after, key
        found = issues[name]
        assert (found["rule"], found["severity"]) == (fix, "info")
        assert undo(found["value"], found["fixed_to"]) == (key, before, after)


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


def a_10() -> tuple[list[Any], LoopbackHub, list[Fault]]:
    """Sixty rows, nine of the first ten broken each in its way; their Hub; what spoils it."""
    sizeless = [gguf(f"model-{n:02d}.Q4_K_M.gguf") for n in range(29)]
    files: dict[int, Any] = {5: [plain("README.md")], 6: [plain("README.md")], 7: sizeless}
    repositories = [repository(f"owner/bad-{n}", files=files.get(n)) for n in range(60)]
    rows: list[Any] = [documents.item(repository, FULL_FIELDS) for repository in repositories]
    del rows[1]["id"]
    rows[4] = rows[0] | {"_id": rows[0]["_id"].upper(), "id": "Owner/BAD-0", "downloads": 999}
    rows[6]["tags"] = ["pytorch"]
    rows[8]["downloads"] = "123"
    rows[9]["sha"] = rows[9]["sha"].upper()

    def spoil(info: dict[str, Any]) -> dict[str, Any]:
        for sibling in info["siblings"]:
            if info["id"] == "owner/bad-2":
                sibling["size"] = str(sibling["size"])
            elif info["id"] == "owner/bad-3":
                sibling["size"] = -sibling["size"]
            elif info["id"] == "owner/bad-7":
                sibling["size"] = sibling["lfs"]["size"] = None
        return info

    return (
        rows,
        hub_of(repositories),
        [page(rows), Fault(FaultKind.EDIT_ROW, "/revision/", count=None, edit=spoil)],
    )


def test_fixable_rows_are_fixed_unfixable_ones_set_aside_and_all_of_it_adds_up(tmp_path):
    rows, hub, faults = a_10()
    with hub:
        hub.faults[:] = faults
        catalogue = Catalogue(tmp_path, hub, **LISTING_ALONE)
        ended = catalogue.call("sync", "--json", "--details", "all")
        asked = [request.target for request in hub.requests if "/revision/" in request.target]
    assert ended.code == 0, ended
    issues, models = catalogue.rows("issues", DAY), catalogue.models(DAY)
    sent = {"README.md": 100, "bad-2.Q4_K_M.gguf": 4_000_000_000}
    fixed = {
        (row["rule"], row["model_id"], row["path"], *undo(row["value"], row["fixed_to"]))
        for row in issues
        if row["fixed_to"] is not None
    }
    upper, sha = rows[4]["_id"], rows[9]["sha"]
    assert fixed == {
        ("upper_case", "Owner/BAD-0", None, "_id", upper, upper.lower()),
        ("number_as_text", "owner/bad-8", None, "downloads", "123", 123),
        ("upper_case", "owner/bad-9", None, "sha", sha, sha.lower()),
        *(("number_as_text", "owner/bad-2", path, "size", str(n), n) for path, n in sent.items()),
    }
    others = {(row["rule"], row["model_id"]) for row in issues if row["rule"] not in FIXES}
    assert others >= {
        ("model_id_invalid", None),
        ("listed_twice", "Owner/BAD-0"),
        ("out_of_range", "owner/bad-3"),
        ("no_gguf_file", "owner/bad-5"),
        ("size_missing", "owner/bad-7"),
    }
    assert {name for _, name in others} <= {None, "Owner/BAD-0", "owner/bad-3", "owner/bad-5", "owner/bad-7"}
    assert set(models) == {f"owner/bad-{n}" for n in range(60)} - {
        "owner/bad-1",
        "owner/bad-4",
        "owner/bad-6",
    }
    assert (models["owner/bad-0"]["downloads"], models["owner/bad-8"]["downloads"]) == (10, 123)
    assert models["owner/bad-9"]["details_sha"] == models["owner/bad-9"]["sha"] == sha.lower()
    assert sum(sha.lower() in target for target in asked) == 1
    assert models["owner/bad-2"]["gguf_bytes"] == 4_000_000_000
    assert models["owner/bad-3"]["gguf_bytes"] is models["owner/bad-7"]["gguf_bytes"] is None
    assert adds_up(catalogue) == {"listed": 57, "quarantined": 1, "not_gguf": 1, "duplicates": 1}

    captured = digests(catalogue.data / "captures")
    off = {"GGUF_SYNC__VALIDATION__ENABLE_AUTOMATIC_FIXES": "false"}
    ended = catalogue.call("rederive", "--from", str(DAY), "--to", str(DAY), "--replace", **off)
    assert ended.code == 0, ended
    assert digests(catalogue.data / "captures") == captured
    unmended = catalogue.models(DAY)
    assert not [row for row in catalogue.rows("issues", DAY) if row["fixed_to"] or row["rule"] in FIXES]
    assert unmended["owner/bad-8"]["downloads"] is unmended["owner/bad-9"]["sha"] is None
    assert unmended["owner/bad-2"]["gguf_bytes"] is None
    assert adds_up(catalogue) == {"listed": 57, "quarantined": 2, "not_gguf": 1, "duplicates": 0}


def adds_up(catalogue: Catalogue) -> dict[str, int]:
    """What became of the rows of the pages, by the figures of the manifest, which leave none out."""
    manifest = catalogue.store.published.manifest(DAY)
    assert manifest is not None
    capture = catalogue.store.captures.open(DAY, manifest.capture.run)
    counts = {name: manifest.figures[name] for name in ("listed", "quarantined", "not_gguf", "duplicates")}
    assert sum(counts.values()) == capture.rows
    return counts
