"""`docs/faults.md` names tests that exist, and enough of them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
DOCUMENT = HERE.parent / "docs" / "faults.md"
ROW = re.compile(
    r"^\| (?P<where>[^|]+) \| (?P<what>[^|]+) \| (?P<happens>[^|]+) \| `(?P<file>[^:`]+)::(?P<test>\w+)` \|$",
    re.M,
)


def test_every_fault_names_a_test_that_exists() -> None:
    rows = list(ROW.finditer(DOCUMENT.read_text()))
    lines = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| ")]
    assert len(rows) == sum("::" in line for line in lines), "a row is not understood"
    assert len(rows) >= 40
    defined: dict[str, set[str]] = {}
    for row in rows:
        if row["file"] not in defined:
            tree = ast.parse((HERE / row["file"]).read_text())
            defined[row["file"]] = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert row["test"] in defined[row["file"]], f"{row['file']} has no {row['test']}"
    assert len({(row["where"], row["what"], row["test"]) for row in rows}) == len(rows), (
        "a row is there twice"
    )
