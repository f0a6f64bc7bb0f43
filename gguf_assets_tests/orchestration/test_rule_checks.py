"""One check for every group of rules: when it is green, yellow or red, and which rows it shows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import dagster as dg
import pytest

from gguf_assets.catalogue.findings import Finding, findings_table
from gguf_assets.catalogue.fixes import FIXES
from gguf_assets.orchestration.rule_checks import SPECS, Found, group_results
from gguf_assets.quality.reading_rules import READING_RULES
from gguf_assets.quality.rules import RULES, ValidationResult

DAY = date(2025, 8, 10)
ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
HOSTILE = "\x1b[31m<b>[x](javascript:y)\n" + "a" * 5000
FIX = next(iter(FIXES))


def finding(rule: str, number: int = 1, **fields: Any) -> Finding:
    severity = {**RULES, **READING_RULES}[rule].severity
    return Finding(rule, severity, f"{rule} is broken", model_id=f"owner/model-{number}", **fields)


def checks(
    *issues: Finding,
    read: tuple[Finding, ...] = (),
    skipped: Mapping[str, str] | None = None,
    off: Mapping[str, str] | None = None,
    not_checked: tuple[str, ...] = (),
    waived: bool = False,
) -> dict[str, dg.AssetCheckResult]:
    """The checks of a day on which these rules were broken, skipped or not checked, and all others kept."""
    counts = {name: sum(found.rule == name for found in issues) for name in RULES}
    off, skipped = off or {}, {**(skipped or {}), **{n: why for n, why in (off or {}).items() if n in RULES}}
    checked: dict[str, Any] = {name: "failed" if counts[name] else "passed" for name in RULES}
    checked |= dict.fromkeys(skipped, "skipped") | dict.fromkeys(not_checked, "not checked")
    result = ValidationResult(
        findings_table(issues, DAY),
        counts,
        checked,
        [name for name in RULES if counts[name] and RULES[name].severity == "error"],
        unfinished="all files" if not_checked else None,
        why_skipped=skipped,
    )
    found = Found(result, findings_table(read, DAY), off)
    return {str(check.check_name): check for check in group_results(found, waived=waived)}


def rows(check: dg.AssetCheckResult) -> list[dict[str, Any]]:
    table = check.metadata["findings"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [column.name for column in table.schema.columns] == list(table.records[0].data)
    return [dict(record.data) for record in table.records]


def test_every_rule_is_in_one_check_and_every_check_names_its_rules():
    described = {spec.name: spec.description or "" for spec in SPECS}
    assert list(described) == [
        "structure",
        "paths",
        "dates",
        "counters",
        "files",
        "labels",
        "contents",
        "day",
        "reading",
    ]
    for name, rule in {**RULES, **READING_RULES}.items():
        assert name in described[rule.group]
        assert isinstance(checks()[rule.group].metadata[name].value, int), "the same keys every day"
    blocking = {spec.name for spec in SPECS if spec.blocking}
    assert blocking == {"structure", "paths", "files"}


def test_a_day_without_findings_is_green():
    for name, check in checks().items():
        assert check.passed, name
        assert " kept" in (check.description or "")
        assert "findings" not in check.metadata


@pytest.mark.parametrize("name", RULES)
def test_a_broken_rule_turns_its_check_and_no_other(name: str):
    rule = RULES[name]
    found = checks(finding(name), finding(name, 2))
    assert [group for group, check in found.items() if not check.passed] == [rule.group]
    check = found[rule.group]
    assert check.severity == (ERROR if rule.severity == "error" else WARN)
    assert check.description == f"broken: {name} (2)"
    assert check.metadata[name].value == 2
    assert [(row["rule"], row["severity"], row["model"]) for row in rows(check)] == [
        (name, rule.severity, "owner/model-1"),
        (name, rule.severity, "owner/model-2"),
    ]


def test_a_red_check_is_yellow_where_days_are_published_nevertheless():
    check = checks(finding("file_parent"), waived=True)["structure"]
    assert (check.passed, check.severity) == (False, WARN)
    assert "published nevertheless" in (check.description or "")


def test_what_had_nothing_to_look_at_is_named_and_leaves_the_check_green():
    why = {"counters_rolled_back": "no baseline", "counters_stalled": "no baseline"}
    check = checks(skipped=why)["counters"]
    assert check.passed
    assert check.description == ("1 rule kept; skipped: counters_rolled_back, counters_stalled (no baseline)")
    assert check.metadata["not_applied"].value == why


def test_what_somebody_switched_off_never_looks_like_passed():
    off = {"empty_file": "switched off by validation.disabled_rules"}
    check = checks(off=off)["files"]
    assert (check.passed, check.severity) == (False, WARN)
    assert "skipped: empty_file (switched off by validation.disabled_rules)" in (check.description or "")
    assert checks(off=off)["labels"].passed, "the others are not concerned"


def test_a_group_of_which_nothing_was_applied_reads_skipped():
    day = {name: "no baseline" for name, rule in RULES.items() if rule.group == "day"}
    check = checks(skipped=day)["day"]
    assert (check.passed, check.severity) == (False, WARN)
    assert (check.description or "").startswith("skipped: ")
    assert check.metadata["skipped"].value is True


def test_what_time_did_not_allow_is_red_for_nothing_is_published():
    found = checks(not_checked=("label_size_mismatch", "file_parent"))
    for group, name in (("labels", "label_size_mismatch"), ("structure", "file_parent")):
        check = found[group]
        assert (check.passed, check.severity) == (False, ERROR)
        said = check.description or ""
        assert "time was up (validation.validation_timeout_seconds) before all files were checked" in said
        assert said.endswith(f"so not checked: {name}")


def test_a_fixed_value_is_listed_and_leaves_the_check_green():
    fixed = finding(FIX, value='likes="7"', fixed_to="likes=7")
    check = checks(read=(fixed, fixed))["reading"]
    assert check.passed
    values = len(READING_RULES) - len(FIXES)
    assert check.description == f"{values} rules kept; 2 fixes made"
    assert check.metadata["fixed"].value == 2
    assert rows(check)[0]["fixed to"] == "likes=7"


def test_a_row_that_was_set_aside_warns_whatever_its_severity():
    read = next(name for name, rule in READING_RULES.items() if rule.severity == "error")
    check = checks(read=(finding(read), finding(FIX)))["reading"]
    assert (check.passed, check.severity) == (False, WARN)
    assert (check.description or "").startswith(f"broken: {read} (1); 1 fix made")


def test_fixes_that_are_switched_off_do_not_look_like_passed():
    off = dict.fromkeys(FIXES, "switched off by validation.enable_automatic_fixes")
    check = checks(off=off)["reading"]
    assert (check.passed, check.severity) == (False, WARN)
    assert "(switched off by validation.enable_automatic_fixes)" in (check.description or "")


def test_ten_rows_are_shown_and_every_broken_rule_has_some():
    many = [finding("shard_set_incomplete", number) for number in range(5000)]
    check = checks(*many, finding("empty_file"))["files"]
    shown = rows(check)
    assert len(shown) == 10
    assert {row["rule"] for row in shown} == {"shard_set_incomplete", "empty_file"}
    assert check.metadata["shard_set_incomplete"].value == 5000


def test_texts_of_strangers_are_one_line_printable_and_short():
    check = checks(finding("empty_file", path=HOSTILE, value=HOSTILE))["files"]
    (row,) = rows(check)
    for name in ("path", "value"):
        assert row[name].isprintable()
        assert len(row[name]) <= 200
