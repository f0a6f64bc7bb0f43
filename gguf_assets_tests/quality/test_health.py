from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_assets.catalogue.schema import HEALTH
from gguf_assets.quality.file_facts import FileFacts
from gguf_assets.quality.health import explain, score_models
from gguf_assets.quality.health_checks import HEALTH_CHECKS

from .tables import file, files, model, models


def scored(model_row, *file_rows, in_batches_of=100):
    facts = FileFacts()
    for start in range(0, len(file_rows), in_batches_of):
        facts.add(files(*file_rows[start : start + in_batches_of]))
    batch = score_models(models(model_row), facts)
    batch.validate(full=True)
    assert batch.schema.equals(HEALTH.arrow)
    return batch.to_pylist()[0]


def outcome(row, check):
    """(score, reason) of a check, or None where it is unknown."""
    found = [(c["score"], c["reason"]) for c in row["checks"] if c["name"] == check]
    assert len(found) + row["unknown"].count(check) == 1
    return found[0] if found else None


def test_a_model_that_wants_nothing_scores_ten():
    row = scored(model(), file())
    assert (row["score"], row["grade"], row["unknown"]) == (10.0, "A", [])
    assert [check["name"] for check in row["checks"]] == list(HEALTH_CHECKS)
    assert {check["score"] for check in row["checks"]} == {10}


@pytest.mark.parametrize(
    ("check", "changed", "expected"),
    [
        ("listed", {"presence": "put back"}, (10, "put_back")),
        ("listed", {"presence": "unconfirmed"}, (0, "absent")),
        ("reachable", {"gated": "auto"}, (8, "gated_auto")),
        ("reachable", {"gated": "manual"}, (5, "gated_manual")),
        ("reachable", {"disabled": True}, (0, "disabled")),
        ("reachable", {"private": True, "gated": None}, (0, "private")),
        ("reachable", {"gated": None}, None),
        ("model_file", {"gguf_files": None}, None),
        ("shards_complete", {"gguf_files": None}, None),
        ("licensed", {"license": None}, (0, "license_missing")),
        ("licensed", {"license": "other"}, (5, "license_other")),
        ("licensed", {"license": None, "tags": None}, None),
        ("base_model", {"base_relation": None}, (8, "base_stated")),
        ("base_model", {"base_models": []}, (0, "base_missing")),
        ("base_model", {"tags": None}, None),
        ("described", {"library_name": None}, (5, "partly_described")),
        ("described", {"library_name": None, "pipeline_tag": None}, (0, "not_described")),
        ("described", {"tags": None}, None),
    ],
)
def test_facts_of_the_model_decide_a_check(check, changed, expected):
    assert outcome(scored(model(**changed), file()), check) == expected


unknown_details = {"size_bytes": None, "sha256": None, "details_sha": None}


@pytest.mark.parametrize(
    ("check", "rows", "expected"),
    [
        ("model_file", [file(role="lora")], (5, "companions_only")),
        ("model_file", [file(path="a.dat", role="imatrix"), file()], (10, "model_file")),
        ("shards_complete", [file(shard_set_complete=True)], (10, "sets_complete")),
        (
            "shards_complete",
            [file(path=str(n), shard_set_complete=n > 0) for n in range(3)],
            (6, "sets_incomplete"),
        ),
        ("files_not_empty", [file(size_bytes=0)], (0, "empty_files")),
        ("files_not_empty", [file(path=str(n), size_bytes=n) for n in range(20)], (9, "empty_files")),
        ("files_not_empty", [file(**unknown_details)], None),
        (
            "labels_plausible",
            [file(flags=["label_size_mismatch"]), file(path="b")],
            (5, "label_size_mismatch"),
        ),
        ("labels_plausible", [file(quantization=None)], None),
        ("labels_plausible", [file(**unknown_details)], None),
        ("labelled", [file(quantization=None), file(path="b"), file(path="c")], (6, "labels_missing")),
        ("labelled", [file(role="mmproj")], None),
        ("verifiable", [file(sha256=None)], (0, "checksums_missing")),
        ("verifiable", [file(role="imatrix", sha256=None), file(path="b")], (10, "checksums_known")),
        ("verifiable", [file(**unknown_details)], None),
    ],
)
def test_facts_of_the_files_decide_a_check(check, rows, expected):
    assert outcome(scored(model(), *rows), check) == expected


def test_a_tagged_model_without_any_gguf_file_says_so():
    assert outcome(scored(model(gguf_files=0)), "model_file") == (0, "no_gguf_file")


def test_popularity_and_age_change_nothing():
    plain = scored(model(), file())
    assert scored(model(downloads=10**9, likes=10**6, trending_score=99.0), file()) == plain
    assert scored(model(created_at=None, last_modified=None), file()) == plain


def test_files_of_other_models_change_nothing():
    assert scored(model(1), file(1), file(2, size_bytes=0)) == scored(model(1), file(1))


def test_a_model_whose_files_lie_in_several_batches_is_counted_once():
    rows = [file(2, "z"), *(file(1, f"{n}", size_bytes=n) for n in range(7)), file(3, "a")]
    assert scored(model(1), *rows, in_batches_of=3) == scored(model(1), *rows)


def test_unknown_checks_leave_the_score_to_the_known_ones():
    row = scored(model(license=None, tags=None, gated=None), file(**unknown_details))
    assert row["unknown"] == [
        "reachable",
        "files_not_empty",
        "labels_plausible",
        "verifiable",
        "licensed",
        "base_model",
        "described",
    ]
    assert (row["score"], row["grade"]) == (10.0, "A")


optional = {
    "presence": st.sampled_from(["listed", "put back", "unconfirmed"]),
    "gated": st.sampled_from([None, "no", "auto", "manual"]),
    "disabled": st.sampled_from([None, True]),
    "tags": st.none(),
    "license": st.sampled_from([None, "other"]),
    "base_models": st.none(),
    "pipeline_tag": st.none(),
    "gguf_files": st.sampled_from([None, 0, 3]),
}


@settings(deadline=None)
@given(st.fixed_dictionaries({}, optional=optional), st.lists(st.sampled_from([None, 0, 5]), max_size=4))
def test_score_and_grade_follow_the_documented_formula(changed, sizes):
    row = scored(model(**changed), *(file(path=str(n), size_bytes=size) for n, size in enumerate(sizes)))
    assert {check["name"] for check in row["checks"]} | set(row["unknown"]) == set(HEALTH_CHECKS)
    for check in row["checks"]:
        assert check["weight"] == HEALTH_CHECKS[check["name"]].weight
        assert check["reason"] in HEALTH_CHECKS[check["name"]].reasons
    weight = sum(check["weight"] for check in row["checks"])
    mean = Fraction(sum(check["score"] * check["weight"] for check in row["checks"]), weight)
    assert abs(Fraction(row["score"]) - mean) <= Fraction(1, 200) + Fraction(1, 10**9)
    assert round(row["score"], 2) == row["score"]
    limits = {"A": 9.0, "B": 7.5, "C": 6.0, "D": 4.0, "F": 0.0}
    assert row["grade"] == next(grade for grade, limit in limits.items() if row["score"] >= limit)


def test_the_reasons_say_the_scores_they_stand_for():
    for check, changed, code in [
        ("reachable", {"gated": "auto"}, "gated_auto"),
        ("licensed", {"license": "other"}, "license_other"),
        ("base_model", {"base_relation": None}, "base_stated"),
    ]:
        score, reason = outcome(scored(model(**changed), file()), check)
        assert reason == code
        assert HEALTH_CHECKS[check].reasons[code].startswith(f"{score}:")


def test_reason_codes_are_unique_over_all_checks():
    codes = [code for check in HEALTH_CHECKS.values() for code in check.reasons]
    assert len(codes) == len(set(codes))


def test_no_model_gives_no_row():
    assert score_models(models(), FileFacts()).num_rows == 0


def test_the_explanation_names_every_check_and_reason():
    text = explain()
    assert text.count("\n") == len(HEALTH_CHECKS) + 2
    for check in HEALTH_CHECKS.values():
        assert f"`{check.name}`" in text
        assert all(f"`{code}`" in text for code in check.reasons)
