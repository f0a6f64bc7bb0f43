import datetime
import errno
import hashlib
import os
import struct
from itertools import pairwise
from unittest import mock

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gguf_assets.catalogue.schema import DATASETS, FILES, HEALTH, ROW_GROUP_ROWS
from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.store import datasets, digests
from gguf_assets.store.datasets import DatasetWriter, iter_batches, matches, read_table, verify, write_table
from gguf_assets.store.digests import row_digest
from gguf_assets_tests.store.processes import contents

SCHEMA = pa.schema(
    [
        pa.field("text", pa.string()),
        pa.field("number", pa.int64()),
        pa.field("small", pa.int32()),
        pa.field("share", pa.float64()),
        pa.field("yes", pa.bool_()),
        pa.field("at", pa.timestamp("us", tz="UTC")),
        pa.field("on", pa.date32()),
        pa.field("texts", pa.list_(pa.string())),
        pa.field("checks", pa.list_(pa.struct([("name", pa.string()), ("score", pa.int8())]))),
    ]
)
SHORT = st.text("aß\0", max_size=3)
VALUES = {
    "text": SHORT,
    "number": st.integers(-3, 3) | st.just(2**62),
    "small": st.integers(-3, 3),
    "share": st.sampled_from([0.0, 0.5, 1e300]),
    "yes": st.booleans(),
    "at": st.datetimes(timezones=st.just(datetime.UTC), max_value=datetime.datetime(2100, 1, 1)),
    "on": st.dates(),
    "texts": st.lists(st.none() | SHORT, max_size=3),
    "checks": st.lists(
        st.none()
        | st.fixed_dictionaries({"name": st.none() | SHORT, "score": st.none() | st.integers(0, 3)}),
        max_size=2,
    ),
}
ROWS = st.lists(
    st.fixed_dictionaries({name: st.none() | value for name, value in VALUES.items()}), max_size=20
)


def table_of(rows):
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def small_groups(rows=4):
    return mock.patch.multiple(datasets, ROW_GROUP_ROWS=rows), mock.patch.multiple(
        digests, ROW_GROUP_ROWS=rows
    )


@given(rows=ROWS, cuts=st.lists(st.integers(0, 20), max_size=6), offset=st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_any_batching_gives_the_same_bytes_and_digest(tmp_path_factory, rows, cuts, offset):
    folder = tmp_path_factory.mktemp("batching")
    # A slice of a longer table: its buffers start elsewhere.
    table = table_of(rows[:offset] + rows).slice(len(rows[:offset]))
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    first, second = small_groups()
    with first, second:
        whole = write_table(folder / "a", table_of(rows), SCHEMA)
        with DatasetWriter(folder / "b", SCHEMA) as writer:
            for start, end in pairwise(bounds):
                for batch in table.slice(start, end - start).to_batches():
                    writer.write(batch)
        assert row_digest(table) == whole.row_digest
    assert (folder / "a").read_bytes() == (folder / "b").read_bytes()
    assert (writer.info.rows, writer.info.sha256) == (len(rows), whole.sha256)
    assert writer.info.row_digest == whole.row_digest
    assert read_table(folder / "b").equals(table_of(rows))


@given(rows=ROWS.filter(len), data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_change_of_any_value_changes_the_digest(rows, data):
    index = data.draw(st.integers(0, len(rows) - 1))
    name = data.draw(st.sampled_from(sorted(VALUES)))
    other = data.draw(st.none() | VALUES[name])
    assume(other != rows[index][name])
    changed = [*rows[:index], {**rows[index], name: other}, *rows[index + 1 :]]
    assert row_digest(table_of(rows)) != row_digest(table_of(changed))


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.int64(), [[None], [0], [], [None, None], [0, None], [None, 0]]),
        (
            pa.string(),
            [[None], [""], ["", ""], ["a", "bc"], ["ab", "c"], ["abc"], [None, "abc"], ["abc", None]],
        ),
        (pa.bool_(), [[None], [False], [True]]),
        (
            pa.list_(pa.string()),
            [[None], [[]], [[None]], [[""]], [["a"], []], [[], ["a"]], [["a", "b"]], [["a"], ["b"]]],
        ),
        (pa.struct([("a", pa.int8())]), [[None], [{"a": None}], [{"a": 0}]]),
    ],
)
def test_null_zero_and_empty_are_different_rows(kind, values):
    tables = [pa.table({"a": pa.array(column, kind)}) for column in values]
    assert len({row_digest(table) for table in tables}) == len(values)


def test_equal_bytes_under_another_name_or_type_are_other_rows():
    column = pa.array([1, 2], pa.int64())
    tables = [
        pa.table({"a": column}),
        pa.table({"b": column}),
        pa.table({"a": column.cast(pa.timestamp("us"))}),
    ]
    assert len({row_digest(table) for table in tables}) == 3


def test_what_lies_under_a_null_does_not_show():
    hidden = pa.Array.from_buffers(
        pa.int64(), 2, [pa.py_buffer(b"\x01"), pa.py_buffer(struct.pack("<2q", 5, 7))], null_count=1
    )
    assert row_digest(pa.table({"a": hidden})) == row_digest(pa.table({"a": pa.array([5, None], pa.int64())}))


def test_the_digest_is_the_declared_one():
    """Computed here value by value for one small table, from the words of `RowDigest`."""
    table = pa.table({"n": pa.array([1, None, 3], pa.int32()), "s": pa.array(["a", "", "bc"])})
    expected = hashlib.sha256()
    for part in (b"n:int32", b"s:string"):
        expected.update(struct.pack("<q", len(part)) + part)
    valid, numbers = bytes([0b101]), struct.pack("<2i", 1, 3)
    expected.update(struct.pack("<q", 3) + struct.pack("<q", 1) + valid + struct.pack("<q", 8) + numbers)
    lengths, text = struct.pack("<3i", 1, 0, 2), b"abc"
    expected.update(struct.pack("<q", 3) + struct.pack("<q", 0))
    expected.update(struct.pack("<q", 12) + lengths + struct.pack("<q", 3) + text)
    assert row_digest(table) == expected.hexdigest()


def test_row_groups_have_the_declared_size_whatever_the_batches(tmp_path):
    rows = 2 * ROW_GROUP_ROWS + 100
    table = pa.table({"number": pa.array(range(rows), pa.int64())})
    path = tmp_path / "file.parquet"
    with DatasetWriter(path, table.schema) as writer:
        for batch in table.to_batches(max_chunksize=50_000):
            writer.write(batch)
    metadata = pq.ParquetFile(path).metadata
    sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert sizes == [ROW_GROUP_ROWS, ROW_GROUP_ROWS, 100]
    assert metadata.row_group(0).column(0).compression == "ZSTD"
    assert writer.info.row_digest == row_digest(table)


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=list(DATASETS))
def test_every_dataset_may_be_empty(tmp_path, dataset):
    info = write_table(tmp_path / "part-0.parquet", dataset.empty(), dataset.arrow)
    assert info.rows == 0
    assert read_table(tmp_path / "part-0.parquet").equals(dataset.empty())


def test_every_declared_type_has_a_digest():
    nothing_known = [pa.table({c.name: pa.nulls(3, c.type) for c in d.columns}) for d in DATASETS.values()]
    assert len({row_digest(table) for table in nothing_known}) == len(nothing_known)
    check = {"name": "licence", "score": 10, "weight": 2, "reason": "stated"}
    rows = [{"snapshot_date": datetime.date(2025, 8, 10), "hub_id": "a", "model_id": "b", "checks": [check]}]
    assert row_digest(pa.Table.from_pylist(rows, schema=HEALTH.arrow))


def test_info_says_what_lies_on_disk(tmp_path):
    path = tmp_path / "published" / "files" / "date=2025-08-10" / "part-0.parquet"
    info = write_table(path, FILES.empty(), FILES.arrow, metadata={"b": "2", "a": "1"})
    assert info.name == "files/date=2025-08-10/part-0.parquet"
    assert info.bytes == path.stat().st_size
    assert info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert pq.ParquetFile(path).schema_arrow.metadata == {b"a": b"1", b"b": b"2"}
    verify(path, info)


def test_pandas_reads_the_hive_folders_of_several_days(tmp_path):
    for day in ("2025-08-10", "2025-08-11"):
        row = {
            "snapshot_date": datetime.date.fromisoformat(day),
            "hub_id": "a" * 24,
            "model_id": "o/n",
            "checks": [],
        }
        table = pa.Table.from_pylist([row], schema=HEALTH.arrow)
        write_table(tmp_path / "health" / f"date={day}" / "part-0.parquet", table, HEALTH.arrow)
    frame = pd.read_parquet(tmp_path / "health")
    assert list(frame["date"].astype(str)) == ["2025-08-10", "2025-08-11"]


def test_a_block_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.parquet"
    write_table(path, table_of([]), SCHEMA)
    before = contents(tmp_path)
    with pytest.raises(ConnectionError), DatasetWriter(path, SCHEMA) as writer:
        writer.write(table_of([{"number": 1}]))
        raise ConnectionError  # an OSError that is not the disk's
    assert contents(tmp_path) == before
    with pytest.raises(ValueError, match="not finished"):
        _ = writer.info


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"b": [1]}),
        pa.table({"a": ["x"]}),
        pa.table({"a": pa.array([None], pa.int64())}),
        pa.table({"a": [2**40]}),
    ],
    ids=["other column", "other type", "null where none may be", "too large"],
)
def test_rows_that_do_not_fit_are_refused(tmp_path, table):
    schema = pa.schema([pa.field("a", pa.int32(), nullable=False)])
    with (
        pytest.raises(PermanentError, match="do not fit") as caught,
        DatasetWriter(tmp_path / "f", schema) as writer,
    ):
        writer.write(table)
    assert caught.value.category is ErrorCategory.DATA
    assert contents(tmp_path) == {}


def test_a_full_disk_is_said_and_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file.parquet"
    write_table(path, table_of([]), SCHEMA)
    before = contents(tmp_path)

    def refuse(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(PermanentError, match=f"Cannot write {path}: No space left on device"):
        write_table(path, table_of([{"number": 1}]), SCHEMA)
    assert contents(tmp_path) == before


def test_damage_is_found(tmp_path):
    path = tmp_path / "file.parquet"
    info = write_table(path, table_of([{"number": 1}]), SCHEMA)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert not matches(path, info)
    with pytest.raises(PermanentError, match=r"damaged: its size or SHA-256") as caught:
        verify(path, info)
    assert caught.value.category is ErrorCategory.DATA
    with pytest.raises(PermanentError, match="damaged"):
        list(iter_batches(path))
    with pytest.raises(PermanentError, match="damaged"):
        read_table(path)
    path.unlink()
    with pytest.raises(PermanentError, match="the file is missing"):
        verify(path, info)
    with pytest.raises(PermanentError, match="the file is missing"):
        read_table(path)


def test_damage_inside_a_file_is_named_with_the_way_to_mend_it(tmp_path):
    path = tmp_path / "date=2025-08-10" / "part-0.parquet"
    write_table(path, table_of([{"number": n, "text": str(n)} for n in range(1000)]), SCHEMA)
    content = path.read_bytes()
    path.write_bytes(content[:4] + bytes(200) + content[204:])
    for read in (lambda: list(iter_batches(path)), lambda: read_table(path)):
        with pytest.raises(PermanentError, match="damaged") as caught:
            read()
        assert caught.value.category is ErrorCategory.DATA
        assert "gguf-assets rederive --from 2025-08-10 --to 2025-08-10" in (caught.value.remedy or "")


def test_batches_and_columns_are_read_in_order(tmp_path):
    path = tmp_path / "date=2025-08-10" / "part-0.parquet"
    write_table(path, table_of([{"number": n, "text": str(n)} for n in range(10)]), SCHEMA)
    batches = list(iter_batches(path, ["number"], batch_rows=4))
    assert [batch.num_rows for batch in batches] == [4, 4, 2]
    assert pa.Table.from_batches(batches)["number"].to_pylist() == list(range(10))
    assert read_table(path).column_names == SCHEMA.names
    assert read_table(path, ["text"]).column_names == ["text"]
