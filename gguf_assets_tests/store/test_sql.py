import os
import sys
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gguf_assets.catalogue.schema import DATASETS
from gguf_assets.errors import ErrorCategory, PermanentError, Refused, TransientError
from gguf_assets.store import sql
from gguf_assets.store.publish import publish
from gguf_assets.store.sql import open_database
from gguf_assets_tests.store.days import DAY, NEXT, candidate
from gguf_assets_tests.store.processes import contents

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def two_days(layout):
    publish(layout, candidate(layout, DAY, {"a": "o/a"}))
    publish(layout, candidate(layout, NEXT, {"a": "o/renamed", "b": "o/b"}))
    return layout


def ask(layout, query):
    with open_database(layout) as database:
        return [tuple(row.values()) for batch in database.query(query).batches() for row in batch.to_pylist()]


def test_views_of_all_days_and_of_the_latest_for_every_dataset(two_days):
    with open_database(two_days) as database:
        views = {view.name: view for view in database.views()}
    assert views.keys() == {*DATASETS, *(f"latest_{name}" for name in DATASETS)}
    for name, dataset in DATASETS.items():
        names = [column for column, _ in views[name].columns]
        assert names == [*dataset.arrow.names, "date"]
        assert views[f"latest_{name}"].columns == views[name].columns
        assert views[name].grain == dataset.grain
    types = dict(views["models"].columns)
    assert (types["date"], types["downloads"], types["tags"]) == ("DATE", "BIGINT", "VARCHAR[]")
    assert types["created_at"] == "TIMESTAMP WITH TIME ZONE"


def test_the_day_is_the_date_of_the_folder(two_days):
    rows = "select date, hub_id, model_id from models order by all"
    assert ask(two_days, rows) == [(DAY, "a", "o/a"), (NEXT, "a", "o/renamed"), (NEXT, "b", "o/b")]
    assert ask(two_days, f"select hub_id from models where date = '{DAY}'") == [("a",)]
    assert ask(two_days, "SELECT model_id FROM Latest_Models ORDER BY 1") == [("o/b",), ("o/renamed",)]
    assert ask(two_days, "select count(*) from latest_files") == [(0,)]


def test_latest_is_what_latest_json_names(two_days):
    publish(two_days, candidate(two_days, date(2025, 8, 9), {"c": "o/c"}))
    assert ask(two_days, "select distinct date from latest_models") == [(NEXT,)]
    one_day_ago = two_days.latest.read_text().replace(str(NEXT), str(DAY))
    two_days.latest.write_text(one_day_ago)
    assert ask(two_days, "select distinct date from latest_models") == [(DAY,)]
    two_days.latest.unlink()
    assert ask(two_days, "select distinct date from latest_models") == [(NEXT,)]


def test_a_day_without_a_file_and_a_dataset_without_any_are_views_all_the_same(two_days):
    two_days.published_file("models", DAY).unlink()
    for day in (DAY, NEXT):
        two_days.published_file("health", day).unlink()
    assert ask(two_days, "select distinct date from models") == [(NEXT,)]
    assert ask(two_days, "select count(*), count(score), min(date) from health") == [(0, 0, None)]
    assert ask(two_days, "select grade from latest_health") == []


def test_a_column_of_a_later_version_is_null_on_the_days_before_it(two_days):
    path = two_days.published_file("models", NEXT)
    table = pq.ParquetFile(path).read()
    pq.write_table(table.append_column("licence_text", pa.array(["x", "y"])), path)
    rows = "select date, licence_text, owner from models order by date, licence_text"
    assert ask(two_days, rows) == [(DAY, None, None), (NEXT, "x", None), (NEXT, "y", None)]
    path = two_days.published_file("models", DAY)
    pq.write_table(pq.ParquetFile(path).read().drop_columns(["likes"]), path)
    assert ask(two_days, "select count(likes), count(*) from models") == [(0, 3)]


@pytest.mark.parametrize(
    "query",
    [
        "pivot models on date using count(*)",
        "from models select count(*)",
        "with a as (select 1) select * from a",
        "describe models",
        "show tables",
        "summarize latest_models",
        "explain select * from models",
        "values (1);",
        "-- a remark\nselect 1",
    ],
)
def test_all_that_only_reads_is_a_query(two_days, query):
    assert ask(two_days, query)


@pytest.mark.parametrize(
    "query",
    [
        "copy (select 1) to '{data}/x.csv'",
        "with x as (copy (select 1) to '{data}/x.csv') select * from x",
        "with x as (copy (select 1) to '{data}/published/latest.json' (use_tmp_file false)) select * from x",
        "explain analyze copy (select 1) to '{data}/x.csv'",
        "export database '{data}/x'",
        "attach '{data}/x.db'",
        "create table x (a int)",
        "create view x as select 1",
        "drop view models",
        "insert into models values (1)",
        "update models set likes = 0",
        "delete from models",
        "install httpfs",
        "load httpfs",
        "set enable_external_access = true",
        "set allowed_directories = ['/']",
        "pragma database_list",
        "call pragma_version()",
        "select * from '{data}/published/latest.json'",
        "select * from read_text('/etc/passwd')",
        "select * from read_csv('/etc/passwd')",
        "select * from glob('{data}/**')",
        "select * from read_parquet('{data}/published/models/*/*.parquet')",
        "select * from read_csv('http://127.0.0.1:9/x.csv')",
        "select * from read_parquet('s3://bucket/x.parquet')",
        "select * from two_days",
        "select 1; select 2",
        "",
        "-- nothing",
    ],
)
def test_nothing_but_the_views_is_read_and_nothing_is_written(two_days, query, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(Refused) as caught:
        ask(two_days, query.format(data=two_days.data))
    assert caught.value.remedy == "`gguf-assets sql` without a query lists the views and their columns."
    assert contents(tmp_path) == before


def test_what_does_not_fit_into_memory_goes_to_a_temporary_folder_and_then_is_refused(
    two_days, monkeypatch, tmp_path
):
    monkeypatch.setattr(sql, "MEMORY_BYTES", 60_000_000)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    rows = "select count(*) from (select md5(i::varchar) as m from range(1500000) as r(i) order by m)"
    assert ask(two_days, f"{rows} where m > ''") == [(1_500_000,)]
    with pytest.raises(PermanentError, match="needs more memory than the 60 MB") as caught:
        ask(two_days, "select length(string_agg(md5(i::varchar), '')) from range(3000000) as r(i)")
    assert caught.value.category is ErrorCategory.SYSTEM
    assert not list(tmp_path.glob("gguf-assets-sql-*"))


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("select downlods from models", 'column "downlods" not found.*"downloads"'),
        ("select * from modls", 'Table with name modls does not exist! Did you mean "models"'),
        ("selct 1", 'The query is wrong: syntax error at or near "selct"\n`'),
        ("select cast(model_id as int) from models", "Could not convert string 'o/"),
    ],
)
def test_a_wrong_query_is_told_in_one_line_what_duckdb_suggests(two_days, query, says):
    with pytest.raises(Refused, match=says) as caught:
        ask(two_days, query)
    assert "\n" not in caught.value.message
    assert "LINE 1" not in caught.value.message


def test_a_broken_file_is_named_unless_its_day_was_published_anew_meanwhile(two_days):
    path = two_days.published_file("models", NEXT)
    with open_database(two_days) as database:
        path.unlink()
        path.write_bytes(b"PAR1 broken PAR1")
        with pytest.raises(PermanentError, match=rf"cannot be read: {path}: ") as caught:
            database.query("select * from models")
        assert not isinstance(caught.value, Refused)
        assert caught.value.category is ErrorCategory.DATA
        os.utime(two_days.published_manifest(NEXT), ns=(0, 0))
        with pytest.raises(TransientError, match="published anew while") as again:
            database.query("select * from models")
        assert again.value.remedy == "Run the query again."


def test_without_duckdb_it_is_said_how_to_install_it(two_days, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(Refused, match="DuckDB, which is not installed") as caught:
        ask(two_days, "select 1")
    assert "gguf_assets[analysis]" in caught.value.remedy


def test_before_the_first_day_the_next_command_is_named(layout):
    with pytest.raises(Refused, match="No day is published yet") as caught:
        ask(layout, "select 1")
    assert caught.value.remedy == "gguf-assets sync"
    assert not layout.data.exists()
