"""The declaration of the datasets is sound, and the data dictionary is generated from it and current."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from gguf_assets.catalogue.findings import VALUE_LENGTH, Finding, findings_table, shown
from gguf_assets.catalogue.schema import DATASETS, FILES, ISSUES, MODELS, data_dictionary

ROOT = Path(__file__).parents[2]
DICTIONARY = ROOT / "docs" / "data.md"


def sections(text: str) -> dict[str, list[list[str]]]:
    """Return the table rows of each dataset's section."""
    found: dict[str, list[list[str]]] = {}
    for part in text.split("\n## ")[1:]:
        name, *lines = part.splitlines()
        rows = [line.strip("|").split(" | ") for line in lines if line.startswith("| `")]
        found[name] = [[cell.strip() for cell in row] for row in rows]
    return found


def test_the_dictionary_lists_every_column_of_every_dataset_once():
    listed = sections(data_dictionary())
    assert list(listed) == list(DATASETS)
    for name, dataset in DATASETS.items():
        assert [row[0].strip("`") for row in listed[name]] == dataset.arrow.names
        for row, column in zip(listed[name], dataset.columns, strict=True):
            assert row[1:3] == [str(column.type), "yes" if column.nullable else "no"]
            assert len(row) == 4 and row[3] == column.description


def test_the_dictionary_in_the_repository_is_current():
    written = subprocess.run(
        [sys.executable, "-m", "gguf_assets.catalogue.schema"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert written == data_dictionary()
    if not DICTIONARY.exists():
        pytest.skip("docs/data.md is not there yet: make docs")
    assert DICTIONARY.read_text(encoding="utf-8") == written, "docs/data.md is out of date: make docs"


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=list(DATASETS))
def test_a_dataset_is_declared_soundly(dataset):
    names = dataset.arrow.names
    assert len(set(names)) == len(names)
    assert set(dataset.key) <= set(names)
    assert "date" not in names, "the hive key must not be repeated as a column"
    assert dataset.empty().schema == dataset.arrow
    for column in dataset.columns:
        assert column.description.endswith(".")
        assert "|" not in column.description
        assert dataset.column(column.name) is column
        assert dataset.arrow.field(column.name).nullable == column.nullable
        if pa.types.is_timestamp(column.type):
            assert column.type == pa.timestamp("us", tz="UTC")
    with pytest.raises(KeyError, match="no column"):
        dataset.column("nothing")


def test_models_become_visible_last():
    assert list(DATASETS)[-1] == "models"


def test_files_repeat_the_identity_of_their_model():
    for name in ("snapshot_date", "hub_id", "model_id", "sha", "details_sha"):
        assert FILES.column(name) == MODELS.column(name)


def test_findings_become_rows_of_issues_in_their_order():
    findings = [
        Finding("b", "error", "no", path="p", value="v"),
        Finding("a", "info", "hm", hub_id="1", fixed_to="x"),
    ]
    table = findings_table(iter(findings), date(2025, 8, 10))
    assert table.schema == ISSUES.arrow
    assert table["rule"].to_pylist() == ["b", "a"]
    assert table.to_pylist()[1] == {
        "snapshot_date": date(2025, 8, 10), "hub_id": "1", "model_id": None, "path": None, "rule": "a",
        "severity": "info", "value": None, "message": "hm", "fixed_to": "x",
    }  # fmt: skip
    assert findings_table([], date(2025, 8, 10)).equals(ISSUES.empty())


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", "a"), (5, "5"), (None, "None"), (["a"], "['a']"), ("x" * 300, "x" * (VALUE_LENGTH - 1) + "…"),
     ("\ud800", "\\ud800")],
)  # fmt: skip
def test_offending_values_are_shown_short_and_printable(value, text):
    assert shown(value) == text
