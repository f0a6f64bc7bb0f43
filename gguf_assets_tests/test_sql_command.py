"""`gguf-assets sql` on a synced day, and the export for web pages that the sync leaves."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pandas as pd
import pytest

from gguf_assets.catalogue.schema import DATASETS
from gguf_assets_tests import hubs
from gguf_assets_tests.calling import Catalogue, assert_clear, launch, runner
from gguf_assets_tests.hubs import hub_of, repository


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalogue]:
    """One synced day of two models, one of them named to play tricks on a terminal."""
    repositories = [
        repository("o/plain", downloads=7, tags=["gguf", "license:mit"]),
        repository("o/other", downloads=5, tags=["gguf", "license:[red]\x1b[2Jx"]),
    ]
    with hub_of(repositories) as hub:
        made = Catalogue(tmp_path_factory.mktemp("catalogue"), hub)
        assert made.sync("--details", "all").code == 0
        yield made


def test_a_sync_leaves_the_export_of_the_day_and_its_size_in_the_metadata(catalogue: Catalogue) -> None:
    path = catalogue.data / "published" / "latest" / "models.json.gz"
    export = json.loads(gzip.decompress(path.read_bytes()))
    latest = json.loads((catalogue.data / "published" / "latest.json").read_bytes())
    assert (export["date"], export["manifest"]["sha256"]) == (latest["date"], latest["sha256"])
    assert {row["model_id"]: row["downloads"] for row in export["models"]} == {"o/plain": 7, "o/other": 5}
    assert all(row["health_grade"] for row in export["models"])
    path.unlink()
    result = launch(catalogue, hubs.DAY, "published_catalogue")
    metadata = result.asset_materializations_for_node("published_catalogue")[0].metadata
    assert metadata["export_bytes"].value == path.stat().st_size
    assert metadata["export_written"].value is True
    assert metadata["unchanged"].value is True


def test_answers_as_a_table_as_csv_and_as_json(catalogue: Catalogue, tmp_path: Path) -> None:
    before = catalogue.published()
    query = "select model_id, downloads, license, quantizations, date from latest_models order by downloads"
    ended = catalogue.call("sql", query, "--limit", "1")
    assert ended.code == 0
    (row,) = (line.split("│") for line in ended.stdout.splitlines() if "o/other" in line)
    assert [cell.strip() for cell in row[1:4]] == ["o/other", "5", "[red]\\x1b[2Jx"], "shown, not obeyed"
    assert "o/plain" not in ended.stdout
    assert "… and 1 more" in ended.stderr

    ended = catalogue.call("sql", "--csv", query)
    read = pd.read_csv(io.StringIO(ended.stdout))
    assert read["downloads"].tolist() == [5, 7]
    assert json.loads(read["quantizations"][0]) == ["Q4_K_M"]
    assert read["date"].tolist() == [str(hubs.DAY)] * 2

    ended = catalogue.call("sql", "--json", f"{query} desc", "--limit", "1")
    assert ended.json == {
        "columns": ["model_id", "downloads", "license", "quantizations", "date"],
        "rows": [
            {
                "model_id": "o/plain",
                "downloads": 7,
                "license": "mit",
                "quantizations": ["Q4_K_M"],
                "date": str(hubs.DAY),
            }
        ],
        "count": 1,
        "more": 1,
    }
    values = (
        "select null as n, null as n, 1.5::decimal as d, sum(downloads) as s, time '12:30' as t from models"
    )
    assert catalogue.call("sql", "--json", values).json["rows"] == [
        {"n": None, "n_1": None, "d": 1.5, "s": 12, "t": "12:30:00"}
    ]
    assert catalogue.published() == before


def test_a_table_is_bounded_unless_told_otherwise(catalogue: Catalogue) -> None:
    query = "select i as number from range(200) as r(i)"
    ended = catalogue.call("sql", query)
    assert sum("│" in line for line in ended.stdout.splitlines()) == 50
    assert "… and 150 more: --limit N shows more, --csv all." in ended.stderr
    assert len(catalogue.call("sql", "--csv", query).stdout.splitlines()) == 201
    assert len(catalogue.call("sql", "--json", query).json["rows"]) == 200


def test_the_query_may_come_on_stdin_and_without_one_the_views_are_listed(catalogue: Catalogue) -> None:
    from gguf_assets.cli import app

    with mock.patch.dict(os.environ, catalogue.environ, clear=True):
        ended = runner().invoke(app, ["sql", "-", "--csv"], input="select count(*) as n from models")
    assert (ended.exit_code, ended.stdout) == (0, "n\n2\n")
    listed = catalogue.call("sql").stdout
    for name, dataset in DATASETS.items():
        assert f"{name}: {dataset.grain}\n" in listed
    assert "latest_models" in listed
    assert "downloads BIGINT" in listed
    views = {view["name"]: view for view in catalogue.call("sql", "--json").json["views"]}
    assert views["latest_health"]["columns"][-1] == {"name": "date", "type": "DATE"}
    assert len(views) == 2 * len(DATASETS)


def test_errors_name_the_next_step(catalogue: Catalogue, tmp_path: Path) -> None:
    assert_clear(catalogue.call("sql", "select downlods from models"), 2, '"downloads"', "lists the views")
    assert_clear(catalogue.call("sql", "drop view models"), 2, "not DROP")
    assert_clear(catalogue.call("sql", "--csv"), 2, "none was given")
    assert_clear(catalogue.call("sql", "--csv", "--json", "select 1"), 2, "--json was given, too")
    empty = {"GGUF_ASSETS_DATA_DIR": str(tmp_path / "empty")}
    ended = catalogue.call("sql", "--json", "select 1", **empty)
    assert_clear(ended, 2, "No day is published yet", "gguf-assets sync")
    assert ended.json["error"] == "No day is published yet"
