"""Counters that contradict each other or yesterday, and contents that stand under several labels."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_assets_tests.quality.sound_day import SOUND, DayToJudge
from gguf_assets_tests.quality.tables import file, hub_id, model


def counted(counters: list[tuple[int | None, int | None, int | None]]) -> DayToJudge:
    """Models with the downloads of 30 days, of all time, and of all time on the baseline day."""
    numbers = range(len(counters), 0, -1)
    rows = tuple(
        model(n, downloads=recent, downloads_all_time=total)
        for n, (recent, total, _) in zip(numbers, counters, strict=True)
    )
    earlier = {hub_id(n): was for n, (_, _, was) in zip(numbers, counters, strict=True)}
    return replace(SOUND, models=rows, files=(), earlier=earlier, facts=(), headers=())


def found(day: DayToJudge, rule: str, **options) -> list[dict]:
    issues = day.judged(schema=False, **options).issues.to_pylist()
    return [row for row in issues if row["rule"] == rule]


number = st.one_of(st.none(), st.integers(0, 3))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(number, number, number), max_size=10), st.integers(1, 4))
def test_counters_are_compared_where_both_are_known(counters, batch_rows):
    result = counted(counters).judged(schema=False, batch_rows=batch_rows)
    for rule, pairs in {
        "counters_possible": [(total, recent) for recent, total, _ in counters],
        "counters_rolled_back": [(total, was) for _, total, was in counters],
    }.items():
        known = [(part, whole) for part, whole in pairs if part is not None and whole is not None]
        broken = sum(part < whole for part, whole in known)
        assert result.counts[rule] == broken
        assert result.checked[rule] == ("failed" if broken else "passed" if known else "skipped")


@pytest.mark.parametrize(
    ("size", "broken", "findings"), [(10, 10, 10), (11, 11, 1), (2000, 20, 20), (2000, 21, 1)]
)
@pytest.mark.parametrize(
    ("rule", "wrong", "text"),
    [
        (
            "counters_possible",
            (9, 5, 5),
            "The downloads of the last 30 days are more than those of all time.",
        ),
        ("counters_rolled_back", (1, 5, 9), "The downloads of all time are fewer than on the baseline day."),
    ],
)
def test_what_concerns_more_than_one_in_a_hundred_models_is_one_finding(
    rule, wrong, text, size, broken, findings
):
    issues = found(counted([wrong] * broken + [(1, 5, 5)] * (size - broken)), rule)
    assert len(issues) == findings
    if findings == 1:
        assert issues[0]["hub_id"] is None
        assert issues[0]["value"] == str(broken)
        assert issues[0]["message"] == (
            f"{text} This holds for {broken:,} of {size:,} models: the Hub has miscounted."
        )
    else:
        assert {row["message"] for row in issues} == {text}
        assert {row["value"] for row in issues} == {"9" if rule == "counters_possible" else "5"}


def test_a_model_that_the_baseline_has_not_can_have_lost_nothing():
    day = replace(counted([(1, 5, 9), (1, 5, 5)]), earlier={hub_id(1): 5, hub_id(7): 99})
    assert found(day, "counters_rolled_back") == []


def labelled(*contents: tuple[int, str, str | None, int | None]) -> DayToJudge:
    """Model files: number of the model, path, label, content."""
    numbers = sorted({n for n, *_ in contents}, reverse=True)
    rows = tuple(
        file(n, path, quantization=label, sha256=None if content is None else f"{content:064x}")
        for n, path, label, content in contents
    )
    return replace(SOUND, models=tuple(model(n) for n in numbers), files=rows, facts=(), headers=())


RULE = "same_bytes_under_two_labels"


@pytest.mark.parametrize("batch_rows", [1, 2, 3, 65_536])
def test_one_content_under_several_labels_is_one_finding_a_repository(batch_rows):
    day = labelled(
        (5, "a.gguf", "Q2_K", 1),
        (5, "b.gguf", "Q3_K_M", 1),
        (5, "c.gguf", "Q8_0", 2),
        (5, "d.gguf", "Q3_K_M", 1),
        (5, "e.gguf", "Q6_K", 1),
        (4, "a.gguf", "Q2_K", 3),
        (4, "b.gguf", "Q4_0", 4),
        (4, "copy/a.gguf", "Q2_K", 3),
        (4, "z.gguf", "Q5_0", 4),
        (3, "a.gguf", "Q5_0", 1),
    )
    issues = found(day, RULE, batch_rows=batch_rows)
    assert [(row["model_id"], row["path"], row["value"]) for row in issues] == [
        ("owner/Model-5-GGUF", "a.gguf", "Q2_K, Q3_K_M, Q6_K"),
        ("owner/Model-4-GGUF", "b.gguf", "Q4_0, Q5_0"),
    ]


def test_a_repository_with_one_file_for_many_labels_has_a_bounded_value():
    labels = [f"Q{n}_K_{size}" for n in range(2, 9) for size in ("XXS", "XS", "S", "M", "L", "XL")]
    day = labelled(*((4, f"{label}.gguf", label, 1) for label in sorted(labels)))
    [issue] = found(day, RULE)
    assert len(issue["value"]) == 200


@pytest.mark.parametrize(
    "labels", [("Q4_K", "Q4_K_M"), ("UD-Q4_K_XL", "Q4_K_XL"), ("Q8", "Q8_0", "Q8_0"), ("Q4_0", None)]
)
def test_a_label_that_begins_the_other_does_not_contradict_it(labels):
    assert found(labelled(*((4, f"{n}.gguf", label, 1) for n, label in enumerate(labels))), RULE) == []


@pytest.mark.parametrize("labels", [("Q4_K", "Q4_K_M", "Q4_K_S"), ("F16", "BF16"), ("Q4_0", "Q4_1")])
def test_labels_for_different_quantizations_contradict(labels):
    assert len(found(labelled(*((4, f"{n}.gguf", label, 1) for n, label in enumerate(labels))), RULE)) == 1


def test_other_roles_and_unknown_contents_are_not_compared():
    day = labelled((4, "a.gguf", "Q2_K", None), (4, "b.gguf", "Q8_0", None), (4, "c.gguf", None, 1))
    other = tuple(file(4, path, role="mmproj", quantization=path) for path in ("d.gguf", "e.gguf"))
    result = replace(day, files=(*day.files, *other)).judged(schema=False)
    assert result.checked[RULE] == "skipped"


label = st.sampled_from(["Q2_K", "Q4_0", "Q8_0", None])
content = st.one_of(st.none(), st.integers(0, 2))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 3), label, content), max_size=14), st.integers(1, 4))
def test_the_contents_found_are_those_of_a_plain_grouping(drawn, batch_rows):
    ordered = sorted(drawn, key=lambda entry: -entry[0])
    day = labelled(*((n, f"{place:02}", name, what) for place, (n, name, what) in enumerate(ordered)))
    groups = defaultdict(set)
    for n, name, what in drawn:
        if name is not None and what is not None:
            groups[n, what].add(name)
    expected = sum(len(names) > 1 for names in groups.values())
    result = day.judged(schema=False, batch_rows=batch_rows)
    assert result.counts[RULE] == expected
    assert result.checked[RULE] == ("failed" if expected else "passed" if groups else "skipped")
