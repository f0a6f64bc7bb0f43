from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from typing import get_args

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_assets.catalogue.schema import ISSUES
from gguf_assets.errors import PermanentError
from gguf_assets.quality.findings import LISTED_PER_MESSAGE, Group
from gguf_assets.quality.rules import RULES, Validation, ValidationResult
from gguf_assets.settings.quality_sections import RuleName
from gguf_assets_tests.quality.sound_day import BROKEN, EMPTY, LATE, SOUND, DayToJudge, before
from gguf_assets_tests.quality.tables import DAY, OBSERVED, file, files, hub_id, model, models


def judge(model_rows, file_rows, **options) -> ValidationResult:
    """Judge rows alone, without history, baseline or evidence."""
    rows = DayToJudge(tuple(model_rows), tuple(file_rows), earlier=None, facts=(), headers=())
    return rows.judged(with_history=False, **options)


def fired(result: ValidationResult) -> dict[str, int]:
    return {rule: count for rule, count in result.counts.items() if count}


def test_a_sound_day_passes_every_rule_without_a_finding():
    result = SOUND.judged()
    assert result.checked == dict.fromkeys(RULES, "passed")
    assert result.why_skipped == {}
    assert result.issues.equals(ISSUES.empty())
    assert result.blocking == []


def test_an_empty_day_passes_but_for_the_rules_that_have_nothing_to_compare():
    result = EMPTY.judged()
    assert result.why_skipped == {
        "counters_possible": "no model states both counters",
        "counters_rolled_back": "no model has `downloads_all_time` on both days",
        "file_facts_confirmed": "no file facts were asked for again",
        "same_bytes_under_two_labels": "no model file has a label and a known SHA-256",
        "header_unreadable": "no header was read",
        "header_label_mismatch": "no header was read",
        "header_architecture_mismatch": "no header was read",
    }
    assert set(result.named("passed")) == set(RULES) - set(result.why_skipped)


def test_each_rule_has_a_day_broken_for_it():
    assert list(BROKEN) == list(RULES)


@pytest.mark.parametrize("batch_rows", [1, 2, 65_536])
@pytest.mark.parametrize("rule", BROKEN)
def test_each_rule_fires_on_a_day_broken_for_it_and_no_other_rule_does(rule, batch_rows):
    day, count = BROKEN[rule]
    # The schema rule is slow on single rows, and looks at nothing but single values.
    whole = batch_rows == 65_536 or rule == "schema"
    result = day.judged(batch_rows=batch_rows, schema=whole)
    assert fired(result) == {rule: count}
    assert result.checked[rule] == "failed"
    assert result.blocking == ([rule] if RULES[rule].severity == "error" else [])
    assert result.issues["rule"].to_pylist() == [rule] * count
    assert result.issues["severity"].to_pylist() == [RULES[rule].severity] * count
    whole_day = rule in ("counters_stalled", "partial_day", "stalled_day")
    assert (None in result.issues["hub_id"].to_pylist()) == whole_day


@pytest.mark.parametrize("rule", [rule for rule in BROKEN if RULES[rule].switchable])
def test_a_rule_that_is_switched_off_reads_skipped_and_finds_nothing_though_its_day_is_broken(rule):
    result = BROKEN[rule][0].judged(off=[rule])
    assert result.checked[rule] == "skipped"
    assert result.why_skipped[rule] == "a test"
    assert fired(result) == {}
    assert result.issues.num_rows == 0
    assert result.publishable


def test_the_settings_name_the_switchable_rules_in_the_order_of_the_registry():
    assert get_args(RuleName) == tuple(name for name, rule in RULES.items() if rule.switchable)


@pytest.mark.parametrize(
    ("off", "named"), [(["file_order"], "file_order"), (["empty_file", "no_such"], "no_such")]
)
def test_a_name_that_cannot_be_switched_off_is_refused(off, named):
    with pytest.raises(ValueError, match=f"switched off: {named}; these can be: schema, file_facts_current,"):
        Validation(DAY, off=dict.fromkeys(off, "a test"))


def test_the_registry_goes_from_the_gravest_rule_to_the_least():
    gravity = [("error", "warning", "info").index(rule.severity) for rule in RULES.values()]
    assert gravity == sorted(gravity)
    assert all(rule.name == name for name, rule in RULES.items())


def test_each_rule_says_what_must_hold_why_and_where_that_comes_from():
    for rule in RULES.values():
        assert rule.what.endswith(".")
        assert rule.reason.endswith(".")
        assert rule.reference
        assert rule.group in set(get_args(Group)) - {"reading"}


def test_what_a_first_day_lacks_is_skipped_and_said():
    first = replace(
        SOUND,
        earlier=None,
        today=before(0, changed=None, counters_compared=0, counters_moved=0),
        recent=(),
        file_changes=(),
    )
    assert first.judged().why_skipped == {
        "counters_rolled_back": "no baseline",
        "counters_stalled": "no baseline",
        "partial_day": "fewer than 3 published days before it",
        "stalled_day": "no baseline",
        "replaced_in_place": "no baseline",
    }


def test_without_history_and_evidence_their_rules_read_skipped():
    why = judge(SOUND.models, SOUND.files).why_skipped
    assert why == {
        "counters_rolled_back": "no baseline",
        "counters_stalled": "the days before it were not looked at",
        "partial_day": "the days before it were not looked at",
        "stalled_day": "the days before it were not looked at",
        "file_facts_confirmed": "no file facts were asked for again",
        "header_unreadable": "no header was read",
        "header_label_mismatch": "no header was read",
        "header_architecture_mismatch": "no header was read",
        "replaced_in_place": "the days before it were not looked at",
    }


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


def after(looks):
    """A deadline that is up at the so manyth look."""
    left = iter(range(looks))
    return lambda: next(left, None) is None


OF_MODELS = {"model_order", "created_after_modified", "date_in_future", "dates_in_order", "no_gguf_file"}
OF_ROWS = OF_MODELS | {
    "schema",
    "snapshot_date",
    "file_path",
    "file_facts_current",
    "empty_file",
    "label_size_mismatch",
}
OF_HISTORY = {"counters_stalled", "partial_day", "stalled_day", "replaced_in_place"}
WHOLE_DAY = "repeated keys, parents, shard sets and counters"


@pytest.mark.parametrize(
    ("looks", "left_out", "passed"),
    [
        (0, "models from row 1 on and all files", set()),
        (1, "models from row 3 on and all files", set()),
        (2, "files from row 1 on", OF_MODELS),
        (4, "files from row 5 on", OF_MODELS),
        (5, f"the days before, {WHOLE_DAY}", OF_ROWS),
        (6, WHOLE_DAY, OF_ROWS | OF_HISTORY),
        (7, None, set(RULES)),
    ],
)
def test_when_time_is_up_the_rest_is_not_checked_and_never_passed(looks, left_out, passed):
    # Two batches of models, three of files, the days before, and the day as a whole.
    result = SOUND.judged(batch_rows=2, deadline=after(looks))
    assert result.unfinished == left_out
    assert set(result.named("passed")) == passed
    assert set(result.named("not checked")) == set(RULES) - passed
    assert result.publishable == (left_out is None)
    assert result.blocking == []


@pytest.mark.parametrize("looks", [1, 3, 4, 5])
@pytest.mark.parametrize("rule", BROKEN)
def test_what_was_found_before_time_was_up_counts(rule, looks):
    day, count = BROKEN[rule]
    result = day.judged(batch_rows=3, deadline=after(looks), schema=rule == "schema")
    found = fired(result)
    assert set(found) <= {rule}
    assert found.get(rule, 0) <= count
    assert result.checked[rule] in ("failed", "not checked")
    assert (result.checked[rule] == "failed") == bool(found)
    assert result.issues.num_rows == found.get(rule, 0)
    assert not (result.publishable and RULES[rule].severity == "error")


@pytest.mark.parametrize("looks", range(7))
def test_what_is_known_to_be_lacking_is_skipped_whenever_time_is_up(looks):
    first = replace(SOUND, earlier=None, facts=(), headers=())
    result = first.judged(batch_rows=2, deadline=after(looks), schema=False, with_history=False)
    assert {"schema", "counters_rolled_back", "file_facts_confirmed", "header_unreadable"} <= set(
        result.named("skipped")
    )
    assert not OF_HISTORY & set(result.named("passed"))
    assert set(result.named("skipped")) == set(result.why_skipped)
    assert result.publishable == (looks == 6)


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
            "created_at": st.sampled_from([None, OBSERVED, LATE]),
            "model_id": st.sampled_from(["a/b", "A/b", None]),
            "hub_id": st.sampled_from(["", "zz", None]),
            "presence": st.sampled_from(["unconfirmed", None]),
            "gguf_files": st.just(0),
            "first_seen": st.sampled_from([None, DAY, DAY + timedelta(days=1)]),
            "last_changed": st.sampled_from([None, DAY]),
            "downloads_all_time": st.sampled_from([None, 0, 20]),
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
            "quantization": st.sampled_from([None, "Q8_0", "Q4_K"]),
            "role": st.just("mmproj"),
        },
    ),
)


@settings(deadline=None, max_examples=40)
@given(st.lists(faulty_model, max_size=8), st.lists(faulty_file, max_size=12), st.integers(1, 5))
def test_the_verdict_does_not_depend_on_how_the_rows_are_batched(model_rows, file_rows, batch_rows):
    # The schema rule looks at single values and would only make this slow.
    whole = judge(model_rows, file_rows, schema=False)
    cut = judge(model_rows, file_rows, batch_rows=batch_rows, schema=False)
    assert cut.counts == whole.counts
    assert cut.checked == whole.checked
    assert sorted(map(repr, cut.issues.to_pylist())) == sorted(map(repr, whole.issues.to_pylist()))


@settings(deadline=None, max_examples=40)
@given(st.lists(faulty_model, max_size=8), st.lists(faulty_file, max_size=12))
def test_order_and_keys_agree_with_a_plain_sort(model_rows, file_rows):
    result = judge(model_rows, file_rows, schema=False)

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
