"""The score of a model, check by check and as a sum that this module computes anew."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_assets.catalogue.schema import HEALTH
from gguf_assets.quality.file_facts import FileFacts
from gguf_assets.quality.health import effective_weights, explain, score_models
from gguf_assets.quality.health_checks import HEALTH_CHECKS
from gguf_assets.settings.quality_sections import QualityScoring

from .tables import file, files, model, models

ROOT = Path(__file__).parents[2]


def scored(model_row, *file_rows, in_batches_of=100, weights=None):
    facts = FileFacts()
    for start in range(0, len(file_rows), in_batches_of):
        facts.add(files(*file_rows[start : start + in_batches_of]))
    batch = score_models(models(model_row), facts, weights)
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
        ("labels_plausible", {"architecture": "gpt-oss"}, None),
        ("labels_plausible", {"model_id": "owner/GPT-OSS-20b-GGUF"}, None),
        ("labels_plausible", {"base_models": ["other/x", "openai/gpt-oss-20b"]}, None),
        ("labels_plausible", {"model_id": "owner/gpt-oss-2", "architecture": "llama"}, (10, "labels_fit")),
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
        ("model_file", [file(role="imatrix"), file(path="b", role="mmproj")], (5, "companions_only")),
        ("model_file", [file(path="a.dat", role="imatrix"), file()], (10, "model_file")),
        ("model_file", [file(role="draft")], (10, "model_file")),
        ("model_file", [file(role="lora")], (10, "adapter")),
        ("model_file", [file(role="control_vector")], (10, "adapter")),
        ("model_file", [file(size_bytes=0), file(path="b", role="mmproj")], (0, "nothing_whole")),
        ("model_file", [file(size_bytes=64)], (0, "nothing_whole")),
        ("model_file", [file(size_bytes=65)], (10, "model_file")),
        ("model_file", [file(role="lora", size_bytes=18)], (0, "nothing_whole")),
        ("model_file", [file(shard_set_complete=False)], (0, "nothing_whole")),
        ("model_file", [file(shard_set_complete=False), file(path="b")], (10, "model_file")),
        ("model_file", [file(size_bytes=None)], (10, "model_file")),
        ("shards_complete", [file()], (10, "whole_files")),
        ("shards_complete", [file(role="imatrix")], None),
        ("shards_complete", [], None),
        ("shards_complete", [file(shard_set_complete=True)], (10, "sets_complete")),
        (
            "shards_complete",
            [file(path=str(n), shard_set_complete=n > 0) for n in range(3)],
            (6, "sets_incomplete"),
        ),
        ("files_not_empty", [file(size_bytes=0)], (0, "empty_files")),
        ("files_not_empty", [file(path=str(n), size_bytes=n + 64) for n in range(20)], (9, "empty_files")),
        ("files_not_empty", [file(role="mmproj", size_bytes=20)], (10, "no_empty_file")),
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
        ("verifiable", [file(role="lora", sha256=None), file(path="b")], (5, "checksums_missing")),
        ("verifiable", [file(role="imatrix")], None),
        ("verifiable", [file(**unknown_details)], None),
    ],
)
def test_facts_of_the_files_decide_a_check(check, rows, expected):
    assert outcome(scored(model(), *rows), check) == expected


def test_a_tagged_model_without_any_gguf_file_says_so():
    assert outcome(scored(model(gguf_files=0)), "model_file") == (0, "no_gguf_file")


@pytest.mark.parametrize("factor", [None, 0, 1000])
def test_popularity_changes_no_score(factor):
    names: tuple[str, ...] = ("downloads", "downloads_delta", "downloads_all_time", "likes", "likes_delta")
    counters = dict.fromkeys(names, 3)
    rows = [model(n, trending_score=float(n), **counters) for n in range(1, 9)]
    kinds: list[dict[str, object]] = [{}, {"size_bytes": 0}, {"sha256": None}, {"quantization": None}]
    facts = FileFacts()
    facts.add(files(*(file(n, **kinds[n % 4]) for n in range(1, 9))))
    names = (*names, "trending_score")
    changed = [row | {n: None if factor is None else row[n] * factor for n in names} for row in rows]
    assert score_models(models(*changed), facts).equals(score_models(models(*rows), facts))


def test_age_changes_nothing():
    assert scored(model(created_at=None, last_modified=None), file()) == scored(model(), file())


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


@given(st.lists(st.integers(1, 40), min_size=1, max_size=40), st.integers(1, 7), st.randoms())
@settings(deadline=None, max_examples=40)
def test_scores_are_the_same_however_the_day_is_cut(numbers, size, order):
    distinct = sorted(set(numbers))
    licences, access = [None, "mit", "other"], ["no", "auto"]
    rows = [model(n, license=licences[n % 3], gated=access[n % 2]) for n in distinct]
    parts = [
        file(n, path=f"{part}", size_bytes=[0, 70, None][(n + part) % 3])
        for n in distinct
        for part in range(n % 4)
    ]
    whole = FileFacts()
    whole.add(files(*parts))
    expected = score_models(models(*rows), whole)
    cut = FileFacts()
    for start in range(0, len(parts), size):
        cut.add(files(*parts[start : start + size]))
    batches = [score_models(models(*rows[start : start + size]), cut) for start in range(0, len(rows), size)]
    assert pa.Table.from_batches(batches).combine_chunks().to_batches()[0].equals(expected)
    order.shuffle(rows)
    again = {row["hub_id"]: row for row in score_models(models(*rows), cut).to_pylist()}
    assert list(again.values()) != [] and all(again[row["hub_id"]] == row for row in expected.to_pylist())


def lacking():
    """A model that lacks something in every check, half of it at least: its row and its files."""
    row = model(
        presence="unconfirmed",
        gated="manual",
        license=None,
        base_models=[],
        base_relation=None,
        pipeline_tag=None,
    )
    wrong = {"shard_set_complete": False, "sha256": None, "flags": ["label_size_mismatch"], "size_bytes": 10}
    return row, [file(**wrong), file(path="b", quantization=None, **wrong)]


@pytest.mark.parametrize("check", list(HEALTH_CHECKS))
def test_the_weight_of_every_check_changes_the_score_as_computed_here(check):
    row, parts = lacking()
    by_name = {c["name"]: c["score"] for c in scored(row, *parts)["checks"]}
    assert set(by_name) == set(HEALTH_CHECKS)
    assert by_name == {
        "listed": 0, "reachable": 5, "model_file": 0, "shards_complete": 0, "files_not_empty": 0,
        "labels_plausible": 0, "labelled": 5, "verifiable": 0, "licensed": 0, "base_model": 0, "described": 5,
    }  # fmt: skip
    scores = set()
    for weight in (0, 1, 100):
        section = QualityScoring(**{f"weight_{check}": weight})
        weights = {key.removeprefix("weight_"): value for key, value in section.model_dump().items()}
        got = scored(row, *parts, weights=weights)
        total = sum(Fraction(by_name[name]) * w for name, w in weights.items())
        mean = total / sum(weights.values())
        assert got["score"] == int(mean * 100 + Fraction(1, 2)) / 100
        assert {c["name"]: c["weight"] for c in got["checks"]} == {n: w for n, w in weights.items() if w}
        assert (check in {c["name"] for c in got["checks"]}) == (weight > 0)
        assert got["unknown"] == []
        scores.add(got["score"])
    assert len(scores) == 3


def test_a_check_of_weight_zero_is_not_unknown_either():
    got = scored(model(tags=None), weights={"licensed": 0, "described": 0})
    assert "base_model" in got["unknown"]
    assert not {"licensed", "described"} & {*got["unknown"], *(c["name"] for c in got["checks"])}


def test_without_any_weight_nothing_is_scored():
    got = scored(model(), file(), weights=dict.fromkeys(HEALTH_CHECKS, 0))
    assert (got["score"], got["grade"], got["checks"], got["unknown"]) == (None, None, [], [])


def test_the_defaults_of_the_settings_are_the_declared_weights():
    declared = {f"weight_{name}": check.weight for name, check in HEALTH_CHECKS.items()}
    assert QualityScoring().model_dump() == declared


@pytest.mark.parametrize("weights", [{"popular": 1}, {"listed": -1}, {"listed": 101}])
def test_weights_of_unknown_checks_and_impossible_ones_are_refused(weights):
    with pytest.raises(ValueError, match=r"popular|listed"):
        effective_weights(weights)


def test_the_document_in_the_repository_is_current():
    written = subprocess.run(
        [sys.executable, "-m", "gguf_assets.quality.health_document"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert (ROOT / "docs" / "health.md").read_text(encoding="utf-8") == written, "out of date: make docs"
    assert explain() in written


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
