"""Whatever name the catalogue gives to a finding is declared as a rule of reading."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gguf_assets import catalogue
from gguf_assets.catalogue.details import read_details
from gguf_assets.catalogue.findings import Finding
from gguf_assets.catalogue.fixes import FIXES
from gguf_assets.catalogue.parse import parse_listing_page
from gguf_assets.quality.reading_rules import READING_RULES
from gguf_assets.quality.rules import RULES
from gguf_assets_tests.catalogue.days import Answer, answer, build, row, sha

SOURCES = sorted(Path(next(iter(catalogue.__path__))).glob("*.py"))
NAME_AT = {"Finding": 0, "_UnusableError": 0, "_note": 2, "add": 1, "_unless": 3}
"""Callable to the place of the rule's name among its arguments."""


def named_in(tree: ast.Module) -> Iterator[str]:
    """Yield the texts that stand where a rule's name is handed over or returned."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            place = NAME_AT.get(name)
            if place is not None and len(node.args) > place:
                yield from literal(node.args[place])
        # Verdicts that a caller makes findings of: rule, message and value.
        if isinstance(node, ast.FunctionDef) and node.name.endswith("_problem"):
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str) and is_name(part.value):
                    yield part.value


def literal(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def is_name(text: str) -> bool:
    return text.endswith(("_invalid", "_object"))


def test_every_name_in_the_sources_is_declared_and_none_is_declared_in_vain():
    names = {name for path in SOURCES for name in named_in(ast.parse(path.read_text()))}
    assert names == READING_RULES.keys() - FIXES.keys()


def test_the_rules_are_of_the_group_reading_and_none_can_be_switched_off():
    for name, rule in READING_RULES.items():
        assert (rule.name, rule.group, rule.switchable) == (name, "reading", False)
        assert rule.what.endswith(".")
        assert rule.reason.endswith(".")
        assert rule.reference
    assert FIXES.keys() <= READING_RULES.keys()
    assert {READING_RULES[name].severity for name in FIXES} == {"info"}
    assert not READING_RULES.keys() & RULES.keys()


def check(findings: tuple[Finding, ...] | list[Finding]) -> set[str]:
    """Check that findings are of declared rules and severities; return the rules."""
    for finding in findings:
        assert finding.severity == READING_RULES[finding.rule].severity
    return {finding.rule for finding in findings}


SOUND = row(1)
STRANGE = [
    None, 7, -1, 2**70, 1.5, True, "", "x", " x ", "5", "true", ["gguf"], [None], {}, {"rfilename": 3},
    [{"rfilename": "../a.gguf"}], [{"rfilename": 3}], "1969-01-01T00:00:00Z", "../a",
]  # fmt: skip


@given(st.sampled_from(sorted(SOUND)), st.sampled_from(STRANGE), st.booleans())
def test_whatever_is_wrong_with_a_row_is_found_under_a_declared_name(key, value, fix):
    # The standard library's JSON writes numbers beyond 64 bits, too.
    body = json.dumps([SOUND | {key: value}]).encode()
    check(parse_listing_page("listing-00001", body, fix=fix).findings)


def test_broken_rows_and_answers_bring_up_every_declared_name():
    rows = [
        7,
        row(1, _id="x"),
        row(2, id="a/../b"),
        row(3, downloads="many", likes=-1, sha="z", siblings=[{"rfilename": "../a.gguf"}]),
        row(4),
        row(4),
    ]
    broken = Answer(rows[4]["_id"], rows[4]["id"], sha(4), info=b"<html>")
    day = build(rows, [broken, answer(rows[3], {"../b.gguf": (1, None), "c.gguf": (None, None)})])
    assert check(day.figures.findings) == READING_RULES.keys() - FIXES.keys()


def test_every_fix_comes_under_its_declared_name():
    mendable = row(
        1,
        sha=sha(1).upper(),
        downloads="12",
        likes=3.0,
        private="true",
        tags="gguf",
        library_name=" gguf ",
        pipeline_tag="",
    )
    page = parse_listing_page("listing-00001", json.dumps([mendable]).encode(), fix=True)
    assert check(page.findings) == FIXES.keys()


@pytest.mark.parametrize(
    "body", [b"[]", b"{}", b"not json", b'{"siblings": [null]}', b'{"gguf": 5, "siblings": []}']
)
def test_broken_answers_are_found_under_declared_names(body):
    check(read_details([Answer("0" * 24, "a/b", "0" * 40, info=body)]).findings)
