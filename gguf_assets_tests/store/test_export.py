import errno
import gzip
import json
import math
import os
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gguf_assets.catalogue.schema import DATASETS
from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.store.candidates import Candidates
from gguf_assets.store.export import COLUMNS, export_latest, exported_manifest
from gguf_assets.store.json_rows import json_rows
from gguf_assets.store.manifests import Verdict
from gguf_assets.store.publish import Published, publish, recover
from gguf_assets_tests.store.days import DAY, NEXT, PUBLISHABLE, candidate
from gguf_assets_tests.store.processes import contents, outcomes_of_dying

ONE = {"a": "o/a"}
TWO = {"a": "o/a", "b": 'o/"b"\n\\ü'}


def document(layout):
    return json.loads(gzip.decompress(layout.export_file.read_bytes()))


def publish_day(layout, day, names):
    return publish(layout, candidate(layout, day, names)).manifest


def publish_rows(layout, day, models, health, verdict=PUBLISHABLE):
    """Publish a day with these rows of `models` and `health`."""
    candidate(layout, day, {}, verdict=None)
    store = Candidates(layout)
    for name, rows in (("models", models), ("health", health)):
        with store.writer(name, day) as writer:
            writer.write(pa.Table.from_pylist(rows, schema=DATASETS[name].arrow))
        store.record(day, {name: writer.info})
    store.record(day, figures={"changes": {"added": 2}, "grades": {"A": 1}})
    store.record_verdict(day, verdict, judged=list(DATASETS))
    return publish(layout, store.manifest(day), despite_verdict=True).manifest


def model(hub_id, **fields):
    row = {"snapshot_date": DAY, "hub_id": hub_id, "model_id": f"o/{hub_id}", "presence": "listed"}
    return row | fields


FULL = model(
    "a",
    created_at=datetime(2025, 6, 28, 1, 2, 3, 999_000, tzinfo=UTC),
    downloads=5,
    downloads_delta=-3,
    gated="auto",
    disabled=False,
    languages=["en", 'x"y'],
    base_models=[],
    quantizations=["Q4_K_M", "Q8_0"],
    first_seen=date(2025, 8, 9),
    tags=["not", "exported"],
    observed_at=datetime(2025, 8, 10, 12, tzinfo=UTC),
)


def health(hub_id, score, grade):
    return {"snapshot_date": DAY, "hub_id": hub_id, "model_id": "o/m", "score": score, "grade": grade}


def test_nothing_published_has_no_export(layout):
    assert export_latest(layout) is None
    assert not layout.export_file.exists()


def test_the_export_has_the_models_of_the_latest_day_in_their_order_and_says_what_the_day_is(layout):
    failed = Verdict(False, ("completeness 0.5 < 0.95",), waivable=True, completeness=0.5)
    rows = [FULL, model("c"), model("b")]
    manifest = publish_rows(layout, DAY, rows, [health("b", 7.5, "B"), health("a", 10.0, "A")], failed)
    export = export_latest(layout)
    assert (export.written, export.bytes) == (True, layout.export_file.stat().st_size)
    found = document(layout)
    models = found.pop("models")
    assert found.pop("manifest")["sha256"] == json.loads(layout.latest.read_bytes())["sha256"]
    assert found.pop("columns") == list(models[0])
    assert found == {
        "format": 1,
        "date": "2025-08-10",
        "sync_mode": "full",
        "reason": "first_run",
        "last_sync_time": "2025-08-10T12:00:00Z",
        "success": True,
        "failed_checks": ["completeness 0.5 < 0.95"],
        "statistics": {
            "models": 3,
            "files": 0,
            "changes": {"added": 2},
            "completeness": 0.5,
            "file_detail_coverage": None,
            "issues": 0,
            "health_grades": {"A": 1},
        },
        "generator": {"name": "gguf_assets", "version": manifest.pipeline_version},
        "schema_version": manifest.schema_version,
    }
    assert [(row["hub_id"], row["health_score"], row["health_grade"]) for row in models] == [
        ("a", 10.0, "A"),
        ("c", None, None),
        ("b", 7.5, "B"),
    ]
    known = {name: FULL[name] for name in COLUMNS if name in FULL}
    known |= {"created_at": "2025-06-28T01:02:03Z", "first_seen": "2025-08-09"}
    assert {name: models[0][name] for name in COLUMNS} == dict.fromkeys(COLUMNS) | known
    assert set(models[1].values()) == {"c", "o/c", "listed", None}


def test_the_file_names_no_time_and_no_file_and_equal_days_give_equal_bytes(layout):
    publish_day(layout, DAY, TWO)
    export_latest(layout)
    written = layout.export_file.read_bytes()
    assert written[:8] == bytes([0x1F, 0x8B, 8, 0, 0, 0, 0, 0]), "RFC 1952: no flags, no time"
    layout.export_file.unlink()
    export_latest(layout, overlap=lambda texts: iter(list(texts)))
    assert layout.export_file.read_bytes() == written


def test_more_rows_than_are_read_at_once_are_all_there(layout):
    names = {f"{number:024x}": f"o/m{number}" for number in range(40_000)}
    publish_day(layout, DAY, names)
    export_latest(layout)
    assert [(row["hub_id"], row["model_id"]) for row in document(layout)["models"]] == list(names.items())


def test_a_day_without_models_is_an_export_without_models(layout):
    publish_day(layout, DAY, {})
    export_latest(layout)
    assert document(layout)["models"] == []
    assert document(layout)["last_sync_time"] is None


def test_it_is_written_again_when_the_latest_day_is_another_and_left_alone_otherwise(layout):
    publish_day(layout, DAY, ONE)
    assert export_latest(layout).written
    before = layout.export_file.stat().st_mtime_ns
    assert not export_latest(layout).written
    publish_day(layout, NEXT, TWO)
    assert export_latest(layout).written
    assert (document(layout)["date"], len(document(layout)["models"])) == (str(NEXT), 2)
    publish_day(layout, NEXT, ONE)
    assert export_latest(layout).written
    assert len(document(layout)["models"]) == 1
    after = layout.export_file.stat().st_mtime_ns
    assert after > before
    publish_day(layout, DAY, TWO)
    assert not export_latest(layout).written, "an older day is not what it shows"
    assert layout.export_file.stat().st_mtime_ns == after


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"no gzip at all"),
        lambda path: path.write_bytes(gzip.compress(b'{"format":1')),
        lambda path: path.write_bytes(gzip.compress(b'{"format":0,"manifest":{"sha256":"0"},"models":[]}')),
        lambda path: path.write_bytes(gzip.compress(b'[1,"models":[]]')),
    ],
)
def test_a_missing_or_broken_export_is_written_again(layout, spoil):
    publish_day(layout, DAY, ONE)
    export_latest(layout)
    good = layout.export_file.read_bytes()
    spoil(layout.export_file)
    assert exported_manifest(layout.export_file) is None
    assert export_latest(layout).written
    assert layout.export_file.read_bytes() == good


def test_it_is_no_part_of_a_day_and_no_reader_of_days_finds_it(layout):
    manifest = publish_day(layout, DAY, ONE)
    export_latest(layout)
    assert not [path for path in layout.published.glob("*/date=*/*") if "models.json" in path.name]
    assert manifest.files.keys() == DATASETS.keys()
    Published(layout).verify(DAY)
    assert publish(layout, candidate(layout, DAY, ONE)).unchanged


def test_a_full_disk_is_said_and_leaves_the_day_and_the_old_export(layout, monkeypatch):
    publish_day(layout, DAY, ONE)
    export_latest(layout)
    publish_day(layout, NEXT, TWO)
    before = contents(layout.published)

    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(PermanentError, match=r"Cannot write .*models\.json\.gz: No space left") as caught:
        export_latest(layout)
    assert caught.value.category is ErrorCategory.STORAGE
    assert contents(layout.published) == before
    assert Published(layout).latest_day() == NEXT


@pytest.mark.slow
def test_killed_at_any_call_the_old_export_or_the_new_one_is_there_whole(layout):
    publish_day(layout, DAY, ONE)
    export_latest(layout)
    old = layout.export_file.read_bytes()
    publish_day(layout, NEXT, TWO)
    seen = set()
    for where in outcomes_of_dying(
        lambda: export_latest(layout), lambda: layout.export_file.write_bytes(old)
    ):
        days = {str(DAY): 1, str(NEXT): 2}
        found = document(layout)
        assert days[found["date"]] == len(found["models"]), where
        seen.add(found["date"])
        export_latest(layout)
        assert document(layout)["date"] == str(NEXT), where
    assert seen == {str(DAY), str(NEXT)}
    recover(layout)
    layout.export_file.unlink()
    export_latest(layout)
    assert [path.name for path in layout.export_file.parent.iterdir()] == ["models.json.gz"]


TEXT = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
KINDS = {
    "text": (pa.string(), TEXT),
    "list": (pa.list_(pa.string()), st.none() | st.lists(TEXT, max_size=3)),
    "int": (pa.int64(), st.none() | st.integers(-(2**63), 2**63 - 1)),
    "small": (pa.int8(), st.none() | st.integers(-128, 127)),
    "flag": (pa.bool_(), st.none() | st.booleans()),
    "float": (pa.float64(), st.none() | st.floats()),
    "day": (pa.date32(), st.none() | st.dates()),
    "time": (
        pa.timestamp("us", "UTC"),
        st.none() | st.datetimes(datetime(1900, 1, 1), timezones=st.just(UTC)),
    ),
}


def as_json(value):
    match value:
        case datetime():
            return f"{value:%Y-%m-%dT%H:%M:%S}Z"
        case date():
            return value.isoformat()
        case float() if not math.isfinite(value):
            return None
    return value


@given(st.lists(st.fixed_dictionaries({name: kind[1] for name, kind in KINDS.items()}), max_size=6))
def test_rows_as_json_are_the_rows(rows):
    schema = pa.schema([(name, kind[0]) for name, kind in KINDS.items()])
    batch = pa.RecordBatch.from_pylist(rows, schema)
    expected = [{name: as_json(value) for name, value in row.items()} for row in rows]
    assert json.loads(b"[" + json_rows(batch)[1:] + b"]") == expected
    half = batch.slice(len(rows) // 2)
    assert json.loads(b"[" + json_rows(half)[1:] + b"]") == expected[len(rows) // 2 :]


def test_a_column_of_another_type_has_no_json():
    with pytest.raises(TypeError, match="binary"):
        json_rows(pa.RecordBatch.from_pydict({"a": pa.array([b"x"])}))


def test_the_columns_of_the_export_are_columns_of_models(layout):
    assert set(COLUMNS) <= set(DATASETS["models"].arrow.names)
    publish_day(layout, DAY, ONE)
    old = pq.ParquetFile(layout.published_file("models", DAY)).read().drop_columns(["base_relation"])
    pq.write_table(old, layout.published_file("models", DAY))
    export_latest(layout)
    assert document(layout)["models"][0]["base_relation"] is None, "a day of an older schema"
