from __future__ import annotations

import subprocess
import sys
from datetime import date, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_assets.catalogue.schema import ISSUES
from gguf_assets.errors import PermanentError
from gguf_assets.quality.findings import LISTED_PER_MESSAGE
from gguf_assets.quality.rules import RULES, Validation, ValidationResult

from .tables import DAY, OBSERVED, file, files, hub_id, model, models, sha

GOOD_MODELS = [
    model(4),
    model(3),
    model(1, created_at=None),
    model(2, created_at=None, presence="unconfirmed"),
]
GOOD_FILES = [
    file(4, "a.gguf"),
    file(4, "b-00001-of-00002.gguf", shard_set="b-of-00002.gguf", shard_index=1, shard_count=2),
    file(4, "b.gguf", shard_set_complete=True),
    file(3, "a.gguf"),
    file(2, "sub/ü b:c.gguf", size_bytes=None, sha256=None, details_sha=None, sha=None),
]


def judge(model_rows, file_rows, **options) -> ValidationResult:
    validation = Validation(DAY, **options)
    validation.models(models(*model_rows))
    validation.files(files(*file_rows))
    return validation.finish()


def edited(rows, index, **changed):
    return [row | changed if place == index else row for place, row in enumerate(rows)]


def fired(result: ValidationResult) -> dict[str, int]:
    return {rule: count for rule, count in result.counts.items() if count}


late = OBSERVED + timedelta(days=1, microseconds=1)

# rule -> (models, files, number of findings); each breaks this rule and no other.
BROKEN = {
    "schema": (edited(GOOD_MODELS, 0, downloads=-1), GOOD_FILES, 1),
    "snapshot_date": (edited(GOOD_MODELS, 1, snapshot_date=date(2025, 8, 16)), GOOD_FILES, 1),
    "model_unique_id": ([GOOD_MODELS[0], model(4, model_id="owner/other"), *GOOD_MODELS[1:]], GOOD_FILES, 2),
    "model_unique_name": (edited(GOOD_MODELS, 1, model_id="OWNER/model-4-gguf"), GOOD_FILES, 2),
    "model_order": ([GOOD_MODELS[0], GOOD_MODELS[2], GOOD_MODELS[1], GOOD_MODELS[3]], GOOD_FILES[:3], 1),
    "file_parent": (GOOD_MODELS, [*GOOD_FILES, file(9, "a.gguf"), file(9, "b.gguf")], 1),
    "file_unique": (GOOD_MODELS, [GOOD_FILES[0], *GOOD_FILES], 1),
    "file_order": (GOOD_MODELS, [*GOOD_FILES[3:4], *GOOD_FILES[:3]], 1),
    "file_path": (GOOD_MODELS, edited(GOOD_FILES, 3, path="../a.gguf"), 1),
    "file_facts_current": (GOOD_MODELS, edited(GOOD_FILES, 0, details_sha=sha(99)), 1),
    "created_after_modified": (edited(GOOD_MODELS, 0, created_at=OBSERVED), GOOD_FILES, 1),
    "date_in_future": (edited(GOOD_MODELS, 2, last_modified=late), GOOD_FILES, 1),
    "shard_set_incomplete": (
        GOOD_MODELS,
        [
            *GOOD_FILES[:3],
            *[file(3, f"b{n}", shard_set="b-of-3", shard_set_complete=False) for n in (1, 3)],
        ],
        1,
    ),
    "empty_file": (GOOD_MODELS, edited(GOOD_FILES, 1, size_bytes=0), 1),
    "label_size_mismatch": (GOOD_MODELS, edited(GOOD_FILES, 1, flags=["part", "label_size_mismatch"]), 1),
    "no_gguf_file": (edited(GOOD_MODELS, 1, gguf_files=0), GOOD_FILES, 1),
}


def test_a_sound_day_passes_every_rule_without_a_finding():
    result = judge(GOOD_MODELS, GOOD_FILES)
    assert result.checked == dict.fromkeys(RULES, "passed")
    assert result.issues.equals(ISSUES.empty())
    assert result.blocking == []


def test_an_empty_day_passes():
    result = judge([], [])
    assert set(result.checked.values()) == {"passed"}


def test_each_rule_has_a_row_broken_for_it():
    assert set(BROKEN) == set(RULES)


@pytest.mark.parametrize("batch_rows", [1, 65_536])
@pytest.mark.parametrize("rule", BROKEN)
def test_each_rule_fires_on_a_row_broken_for_it_and_no_other_rule_does(rule, batch_rows):
    model_rows, file_rows, count = BROKEN[rule]
    result = judge(model_rows, file_rows, batch_rows=batch_rows)
    assert fired(result) == {rule: count}
    assert result.checked[rule] == "failed"
    assert result.blocking == ([rule] if RULES[rule].severity == "error" else [])
    assert result.issues["rule"].to_pylist() == [rule] * count
    assert result.issues["severity"].to_pylist() == [RULES[rule].severity] * count
    assert None not in result.issues["hub_id"].to_pylist()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("hub_id", "not hex", "`hub_id` of models must match [0-9a-f]{24}."),
        ("hub_id", hub_id(4) + "\n", "`hub_id` of models must match [0-9a-f]{24}."),
        ("sha", "A" * 40, "`sha` of models must match [0-9a-f]{40}."),
        ("presence", None, "`presence` of models must not be null."),
        ("presence", "gone", "`presence` of models must be one of listed, put back, unconfirmed."),
        ("gated", "yes", "`gated` of models must be one of no, auto, manual."),
        ("context_length", -5, "`context_length` of models must be at least 0."),
    ],
)
def test_a_value_beyond_the_declared_limits_is_named_with_column_and_limit(column, value, message):
    [issue] = judge([model(4, **{column: value})], []).issues.to_pylist()
    assert (issue["rule"], issue["value"], issue["message"]) == ("schema", value and str(value), message)


def test_all_failures_of_a_row_are_found_at_once():
    result = judge([model(4, downloads=-1, likes=-2, sha="x", gated="?")], [])
    assert sorted(result.issues["value"].to_pylist()) == ["-1", "-2", "?", "x"]


def test_the_limits_of_files_are_checked_too():
    result = judge([model(4)], [file(4, "a", role="none", sha256="0", shard_count=0)])
    assert result.counts["schema"] == 3


def test_the_schema_rule_reads_skipped_when_it_is_switched_off():
    result = judge([model(4, downloads=-1)], [], schema_validation=False)
    assert result.checked["schema"] == "skipped"
    assert result.blocking == []


VERIFIED = {"file_facts_current", "shard_set_incomplete", "empty_file", "label_size_mismatch"}


@pytest.mark.parametrize("rule", BROKEN)
def test_without_file_verification_its_rules_read_skipped_and_all_others_are_applied(rule):
    model_rows, file_rows, count = BROKEN[rule]
    result = judge(model_rows, file_rows, file_verification=False)
    unproven = {"file_unique"} if rule == "file_order" else set()
    assert set(result.named("skipped")) == VERIFIED | unproven
    assert fired(result) == ({} if rule in VERIFIED else {rule: count})
    assert result.issues.num_rows == (0 if rule in VERIFIED else count)
    assert result.publishable == (rule in VERIFIED or RULES[rule].severity != "error")


def after(looks):
    """A deadline that is up at the so manyth look."""
    left = iter(range(looks))
    return lambda: next(left, None) is None


OF_MODELS = {"model_order", "created_after_modified", "date_in_future", "no_gguf_file"}
OF_ROWS = OF_MODELS | {
    "schema",
    "snapshot_date",
    "file_path",
    "file_facts_current",
    "empty_file",
    "label_size_mismatch",
}


@pytest.mark.parametrize(
    ("looks", "left_out", "passed"),
    [
        (0, "models from row 1 on and all files", set()),
        (1, "models from row 3 on and all files", set()),
        (2, "files from row 1 on", OF_MODELS),
        (4, "files from row 5 on", OF_MODELS),
        (5, "repeated keys, parents and shard sets", OF_ROWS),
        (6, None, set(RULES)),
    ],
)
def test_when_time_is_up_the_rest_is_not_checked_and_never_passed(looks, left_out, passed):
    # Two batches of models, three of files, and the day as a whole.
    result = judge(GOOD_MODELS, GOOD_FILES, batch_rows=2, deadline=after(looks))
    assert result.unfinished == left_out
    assert set(result.named("passed")) == passed
    assert set(result.named("not checked")) == set(RULES) - passed
    assert result.publishable == (left_out is None)
    assert result.blocking == []


@pytest.mark.parametrize("looks", range(7))
@pytest.mark.parametrize("rule", BROKEN)
def test_what_was_found_before_time_was_up_counts(rule, looks):
    model_rows, file_rows, count = BROKEN[rule]
    result = judge(model_rows, file_rows, batch_rows=3, deadline=after(looks))
    found = fired(result)
    assert set(found) <= {rule}
    assert found.get(rule, 0) <= count
    assert result.checked[rule] in ("failed", "not checked")
    assert (result.checked[rule] == "failed") == bool(found)
    assert result.issues.num_rows == found.get(rule, 0)
    assert not (result.publishable and RULES[rule].severity == "error")


def test_a_rule_that_is_switched_off_is_skipped_whenever_time_is_up():
    result = judge(GOOD_MODELS, GOOD_FILES, schema_validation=False, deadline=after(0))
    assert result.named("skipped") == ["schema"]
    assert not result.publishable


@pytest.mark.parametrize(
    "path", ["", "/a", "\\a", "C:\\a", "c:/a", "..", "a/..", "a/../b", "a\\..\\b", "a\0b"]
)
def test_a_path_that_leaves_its_repository_is_an_error(path):
    assert judge([model(4)], [file(4, path)]).blocking == ["file_path"]


@pytest.mark.parametrize(
    "path", ["a..b", "..a", "a/...gguf", "a:b.gguf", "模型 1.gguf", "a\\b", "a/b/c/d.gguf"]
)
def test_an_unusual_path_inside_its_repository_is_none(path):
    assert fired(judge([model(4)], [file(4, path)])) == {}


def test_an_unconfirmed_row_may_bear_a_name_that_another_repository_took():
    rows = [model(4), model(3, model_id="owner/MODEL-4-gguf", presence="unconfirmed")]
    assert fired(judge(rows, [])) == {}


def test_a_repeated_path_that_is_not_adjacent_breaks_the_order_and_leaves_uniqueness_unproven():
    result = judge([model(4)], [file(4, "a"), file(4, "b"), file(4, "a")])
    assert result.blocking == ["file_order"]
    assert result.checked["file_unique"] == "skipped"


def test_size_without_any_known_commit_is_an_error():
    assert judge([model(4)], [file(4, sha=None, details_sha=None)]).blocking == ["file_facts_current"]


def test_a_date_a_day_after_the_observation_is_allowed():
    limit = OBSERVED + timedelta(days=1)
    assert fired(judge([model(4, created_at=limit, last_modified=limit)], [])) == {}


def test_only_a_tagged_model_is_asked_for_its_gguf_file():
    rows = [
        model(4, gguf_files=0, tags=["transformers"]),
        model(3, gguf_files=0, tags=None),
        model(2, gguf_files=None),
    ]
    assert fired(judge(rows, [])) == {}


def test_a_fault_of_every_row_is_counted_exactly_and_listed_up_to_the_limit():
    count = LISTED_PER_MESSAGE + 7
    rows = [model(4, hub_id=hub_id(n), model_id=f"o/{n}", likes=-1) for n in range(count)]
    rows[-1]["downloads"] = -1
    result = judge(rows, [])
    assert result.counts["schema"] == count + 1
    assert result.issues.num_rows == LISTED_PER_MESSAGE + 1 + 1
    assert "`downloads` of models must be at least 0." in result.issues["message"].to_pylist()
    assert result.issues.to_pylist()[-1] | {"snapshot_date": None} == {
        "snapshot_date": None,
        "hub_id": None,
        "model_id": None,
        "path": None,
        "rule": "schema",
        "severity": "error",
        "value": "7",
        "message": "7 further findings of this rule are counted, but not listed.",
        "fixed_to": None,
    }


def test_a_long_value_is_shortened():
    [issue] = judge([model(4, gated="x" * 5_000)], []).issues.to_pylist()
    assert len(issue["value"]) == 200


def test_a_batch_of_another_structure_is_refused_by_name():
    validation = Validation(DAY)
    with pytest.raises(PermanentError, match="missing or not declared are presence"):
        validation.models(models(model()).drop_columns(["presence"]))
    rows = files(file())
    place = rows.schema.get_field_index("size_bytes")
    with pytest.raises(PermanentError, match=r"Column size_bytes .* is string, declared is int64"):
        validation.files(rows.set_column(place, "size_bytes", rows["size_bytes"].cast(pa.string())))
    with pytest.raises(PermanentError, match="their order differs"):
        validation.models(models(model()).select(list(reversed(models().schema.names))))


faulty_model = st.builds(
    lambda number, changed: model(number) | changed,
    st.integers(0, 5),
    st.fixed_dictionaries(
        {},
        optional={
            "created_at": st.sampled_from([None, OBSERVED, late]),
            "model_id": st.sampled_from(["a/b", "A/b", None]),
            "hub_id": st.sampled_from(["", "zz", None]),
            "presence": st.sampled_from(["unconfirmed", None]),
            "gguf_files": st.just(0),
        },
    ),
)
faulty_file = st.builds(
    lambda number, path, changed: file(number, path) | changed,
    st.integers(0, 6),
    st.sampled_from(["a", "b", "../c", ""]),
    st.fixed_dictionaries(
        {},
        optional={
            "hub_id": st.none(),
            "size_bytes": st.sampled_from([None, 0, -1]),
            "sha": st.none(),
            "shard_set_complete": st.just(False),
            "flags": st.sampled_from([None, ["label_size_mismatch"]]),
        },
    ),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(faulty_model, max_size=8), st.lists(faulty_file, max_size=12), st.integers(1, 5))
def test_the_verdict_does_not_depend_on_how_the_rows_are_batched(model_rows, file_rows, batch_rows):
    # The schema rule looks at single values and would only make this slow.
    whole = judge(model_rows, file_rows, schema_validation=False)
    cut = judge(model_rows, file_rows, batch_rows=batch_rows, schema_validation=False)
    assert cut.counts == whole.counts
    assert cut.checked == whole.checked
    assert sorted(map(repr, cut.issues.to_pylist())) == sorted(map(repr, whole.issues.to_pylist()))


@settings(deadline=None, max_examples=60)
@given(st.lists(faulty_model, max_size=8), st.lists(faulty_file, max_size=12))
def test_order_and_keys_agree_with_a_plain_sort(model_rows, file_rows):
    result = judge(model_rows, file_rows, schema_validation=False)

    def place(row):
        created = row["created_at"] or datetime.min.replace(tzinfo=OBSERVED.tzinfo)
        return -(created - OBSERVED) // timedelta(microseconds=1), row["hub_id"] or ""

    assert (result.counts["model_order"] > 0) == (model_rows != sorted(model_rows, key=place))
    ids = [row["hub_id"] for row in model_rows if row["hub_id"] is not None]
    assert result.counts["model_unique_id"] == sum(ids.count(one) > 1 for one in ids)
    known = {row["hub_id"] for row in model_rows}
    orphans = [row for row in file_rows if row["hub_id"] not in known]
    assert (result.counts["file_parent"] > 0) == bool(orphans)
    keys = [(row["hub_id"] or "", row["path"]) for row in file_rows]
    if len(set(keys)) < len(keys):
        assert result.checked["file_unique"] != "passed"


def test_the_pure_rooms_load_neither_dagster_nor_pandas_before_they_are_used():
    code = (
        "import sys, gguf_assets.quality.rules, gguf_assets.quality.health, gguf_assets.quality.report\n"
        "sys.exit(', '.join({'dagster', 'pandas', 'pandera'} & set(sys.modules)) or 0)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
