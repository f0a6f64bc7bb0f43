"""One asset check for every group of rules: what was broken, what was left out and why, and some of the rows.

When a check is green, yellow or red:

- green: no rule of the group found anything. A rule that had nothing to look at (no baseline on the first
  day, no header read) is named and leaves the check green: nothing is wrong, and nobody has to act.
- yellow: a rule found something that does not stop publishing, or somebody switched a rule off. What is
  switched off stays yellow every day: it must never look like passed. So does a group of which nothing was
  applied at all.
- red: a rule found something that stops publishing, or time was up before everything was checked.

A value that was repaired is no finding against the day: fixes are counted and listed, and the check stays
green. Rows that reading set aside are out of the day already, so they warn; how many there are is weighed by
the completeness. Not here: judging (`quality/`), and the checks that are about no rules (`checks`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, zip_longest
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue.findings import VALUE_LENGTH
from gguf_assets.catalogue.fixes import FIXES
from gguf_assets.orchestration.checks import ASSET, NEVERTHELESS, blocking_severity
from gguf_assets.quality.findings import GROUPS, Group, Rule
from gguf_assets.quality.markdown import readable
from gguf_assets.quality.reading_rules import READING_RULES
from gguf_assets.quality.rules import RULES, ValidationResult

READING: Group = "reading"
STOPPING = frozenset(rule.group for rule in RULES.values() if rule.severity == "error")
"""Groups with a rule that stops publishing."""

SAMPLED = 10
"""Rows that a check shows."""

TIME_LIMIT = "validation.validation_timeout_seconds"

_COLUMNS = {
    "rule": "Name of the rule; gguf-assets rules says what it means.",
    "severity": "error, warning or info.",
    "model": "Repository.",
    "path": "File, or place in the Hub's answer.",
    "value": "What was found, shortened.",
    "message": "What is wrong.",
    "fixed to": "What the value was repaired to; empty where it was not.",
}


def rules_of(group: Group) -> dict[str, Rule]:
    """Return the rules of a group by name, gravest first."""
    return READING_RULES if group == READING else {n: r for n, r in RULES.items() if r.group == group}


SPECS = [
    dg.AssetCheckSpec(
        group,
        asset=ASSET,
        blocking=group in STOPPING,
        description=f"{GROUPS[group]}: {', '.join(rules_of(group))}.",
    )
    for group in GROUPS
]


@dataclass(frozen=True)
class Found:
    """What is known of all rules on a day, from the validation and from reading the Hub's answers.

    Attributes:
        result: what the validation found.
        set_aside: findings of the reading, with the schema of `issues`.
        off: the rules that somebody switched off, and by which setting.
    """

    result: ValidationResult
    set_aside: pa.Table
    off: Mapping[str, str]

    @cached_property
    def counts(self) -> dict[str, int]:
        """Return the findings of every rule, zero included."""
        entries = pc.value_counts(self.set_aside["rule"]).to_pylist()
        read = Counter({entry["values"]: entry["counts"] for entry in entries})
        return {**self.result.counts, **{name: read[name] for name in (*READING_RULES, *read)}}

    @property
    def fixed(self) -> int:
        """How many repairs were made in reading."""
        return sum(self.counts[name] for name in FIXES)

    @cached_property
    def why_skipped(self) -> dict[str, str]:
        """Return why rules were not applied, by rule; what is switched off is so for no other reason."""
        return {**self.result.why_skipped, **self.off}


def group_results(found: Found, *, waived: bool = False) -> list[dg.AssetCheckResult]:
    """Return the verdict on every group of rules.

    Args:
        found: what is known of the rules.
        waived: whether the day is published whatever the verdict is; red checks are then yellow.
    """
    return [_group_result(group, found, waived=waived) for group in GROUPS]


def _group_result(group: Group, found: Found, *, waived: bool) -> dg.AssetCheckResult:
    rules, result = rules_of(group), found.result
    counts, skipped = found.counts, found.why_skipped
    broken = {name: counts[name] for name in rules if counts[name] and name not in FIXES}
    unchecked = [name for name in result.named("not checked") if name in rules]
    left_out = {name: skipped[name] for name in rules if name in skipped and name not in broken}
    kept = [name for name in rules if name not in {*broken, *unchecked, *left_out, *FIXES}]
    stopping = bool(unchecked) or any(name in broken for name in result.blocking)
    parts = []
    if broken:
        parts.append(f"broken: {_counted(broken)}")
    elif kept:
        parts.append(_number(len(kept), "rule kept", "rules kept"))
    if group == READING:
        parts.append(_number(found.fixed, "fix made", "fixes made"))
    if left_out:
        parts.append(f"skipped: {_reasons(left_out)}")
    if unchecked:
        parts.append(
            f"time was up ({TIME_LIMIT}) before {result.unfinished} were checked, so not checked: "
            + ", ".join(unchecked)
        )
    if stopping and waived:
        parts.append(NEVERTHELESS)
    return dg.AssetCheckResult(
        check_name=group,
        passed=bool(kept) and not broken and not unchecked and not any(n in found.off for n in left_out),
        severity=blocking_severity(waived) if stopping else dg.AssetCheckSeverity.WARN,
        description="; ".join(parts),
        metadata=_metadata(group, found, left_out, applied=bool(kept or broken or unchecked)),
    )


def _metadata(group: Group, found: Found, left_out: Mapping[str, str], *, applied: bool) -> dict[str, Any]:
    rules = rules_of(group)
    metadata: dict[str, Any] = {name: found.counts[name] for name in rules}
    if group == READING:
        metadata["fixed"] = found.fixed
    if left_out:
        metadata["not_applied"] = dg.MetadataValue.json(dict(left_out))
    if not applied:
        metadata["skipped"] = True
    rows = list(sample(found.set_aside if group == READING else found.result.issues, rules))
    if rows:
        columns = [dg.TableColumn(name, "string", description=text) for name, text in _COLUMNS.items()]
        metadata["findings"] = dg.MetadataValue.table(
            [dg.TableRecord(row) for row in rows], schema=dg.TableSchema(columns=columns)
        )
    return metadata


def sample(issues: pa.Table, rules: Iterable[str], most: int = SAMPLED) -> Iterator[dict[str, str]]:
    """Yield some rows of these rules as they are shown: of each rule one in turn, in the order of the rules.

    Args:
        issues: findings, with the schema of `issues`.
        rules: names.
        most: rows in all.
    """
    of_each = [issues.filter(pc.equal(issues["rule"], rule)).slice(0, most).to_pylist() for rule in rules]
    in_turn = (row for rows in zip_longest(*of_each) for row in rows if row is not None)
    for row in islice(in_turn, most):
        yield {
            "rule": row["rule"],
            "severity": row["severity"],
            "model": _cell(row["model_id"] or row["hub_id"]),
            "path": _cell(row["path"]),
            "value": _cell(row["value"]),
            "message": _cell(row["message"]),
            "fixed to": _cell(row["fixed_to"]),
        }


def _cell(text: str | None) -> str:
    """Return a stranger's text for a cell."""
    return readable(text or "", VALUE_LENGTH)


def _number(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in counts.items())


def _reasons(left_out: Mapping[str, str]) -> str:
    by_reason: dict[str, list[str]] = defaultdict(list)
    for name, why in left_out.items():
        by_reason[why].append(name)
    return ", ".join(f"{', '.join(names)} ({why})" for why, names in by_reason.items())
