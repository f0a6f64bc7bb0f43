"""The page about validation says what is declared, and names every rule once."""

from __future__ import annotations

import re
from pathlib import Path

from gguf_assets.catalogue.fixes import FIXES
from gguf_assets.quality.handbook import rules_document
from gguf_assets.quality.reading_rules import READING_RULES
from gguf_assets.quality.rules import RULES

PAGE = Path(__file__).parents[2] / "docs" / "validation.md"


def test_the_page_is_the_one_that_make_docs_writes():
    assert PAGE.read_text() == rules_document(), "run: make docs"


def test_every_rule_has_one_line_in_the_table_of_its_group():
    group, named = "", {}
    for line in PAGE.read_text().splitlines():
        if heading := re.match(r"## (\w+): ", line):
            group = heading[1]
        elif row := re.match(r"\| `(\w+)` \| (\w+) \|", line):
            assert row[1] not in named
            named[row[1]] = (group, row[2])
    declared = {**RULES, **READING_RULES}
    assert named == {name: (rule.group, rule.severity) for name, rule in declared.items()}
    assert named.keys() >= FIXES.keys()
