"""Of older days one a week keeps its files; the others are rebuilt to the same bytes, or stay whole."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.store import candidates, thinned, thinning
from gguf_assets.store.layout import Layout
from gguf_assets.store.store import Store
from gguf_assets.store.thinned import ThinnedNote, left_out, stored_note, thinned_note
from gguf_assets.store.thinning import (
    KeptWhole,
    LeftOut,
    rebuild,
    rebuild_what_needs,
    thin,
    thinned_days,
    whole_days,
)
from gguf_assets_tests.calling import digests
from gguf_assets_tests.store.histories import MONDAY, publish_history
from gguf_assets_tests.store.processes import outcomes_of_dying

COUNT = 16


def day(number: int) -> date:
    return MONDAY + timedelta(days=number)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("history")
    publish_history(Layout(folder / "data", folder / "state"), COUNT)
    return folder


@pytest.fixture
def store(history: Path, tmp_path: Path) -> Store:
    """Sixteen days from a Monday on, sixteen being the last one published."""
    shutil.copytree(history / "data", tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "candidate")
    return Store(Layout(tmp_path / "data", tmp_path / "state"))


@pytest.fixture
def original(store: Store) -> dict[str, str]:
    return digests(store.layout.published)


def files_of(store: Store) -> list[date]:
    return [one for one in store.published.days() if store.published.file("files", one).exists()]


# Which days


def test_one_day_a_week_and_the_younger_ones_keep_their_files() -> None:
    days = [day(number) for number in range(40)]
    baselines = dict(zip(days[1:], days, strict=False))
    whole = whole_days(days, baselines, day(40), 10)
    # Mondays; the ten last days, and what the first of them was built on.
    assert whole == {day(n) for n in (0, 7, 14, 21, 28, 29, *range(30, 40))}


def test_weeks_are_those_of_the_calendar_and_begin_with_their_first_published_day() -> None:
    days = [date(2025, 12, 27), date(2025, 12, 31), date(2026, 1, 2), date(2026, 1, 6), date(2026, 1, 7)]
    assert whole_days(days, {}, date(2026, 3, 1), 30) == {days[0], days[1], days[3], days[4]}


def test_the_newest_day_and_what_it_was_built_on_stay_however_old_they_are() -> None:
    days = [day(0), day(1), day(2), day(3)]
    assert whole_days(days, {day(3): day(2)}, day(4000), 30) == {day(0), day(2), day(3)}


def test_older_days_are_left_out_and_nothing_else_changes(store: Store, original: dict[str, str]) -> None:
    done = list(thin(store, day(COUNT), 5))
    expected = [day(n) for n in (1, 2, 3, 4, 5, 6, 8, 9)]
    assert [one.day for one in done if isinstance(one, LeftOut)] == expected == thinned_days(store.layout)
    assert files_of(store) == [day(n) for n in (0, 7, *range(10, COUNT))]
    now = digests(store.layout.published)
    gone = {f"files/date={one}/part-0.parquet" for one in expected}
    assert {name: now[name] for name in original.keys() - gone} == {
        name: original[name] for name in original.keys() - gone
    }
    assert {name.split("/")[0] for name in now.keys() - original.keys()} == {"thinned"}
    assert not list(store.layout.published.glob("files/date=2025-08-05*"))
    assert not store.layout.rebuilt_dir.exists()
    assert list(thin(store, day(COUNT), 5)) == []


def test_a_dry_run_names_the_same_days_and_writes_nothing(store: Store) -> None:
    before = digests(store.layout.data)
    announced = list(thin(store, day(COUNT), 5, dry_run=True))
    assert digests(store.layout.data) == before
    assert not store.layout.state.exists()
    done = list(thin(store, day(COUNT), 5))
    assert [(one.day, one.base, one.bytes) for one in announced if isinstance(one, LeftOut)] == [
        (one.day, one.base, one.bytes) for one in done if isinstance(one, LeftOut)
    ]


# Rebuilding


def test_every_thinned_day_is_rebuilt_to_the_same_bytes(store: Store, original: dict[str, str]) -> None:
    done = list(thin(store, day(COUNT), 1))
    # Full walks at every fifth day tell names anew, which no change tells: such rows are kept.
    assert sum(one.kept_rows for one in done if isinstance(one, LeftOut)) > 0
    for one in thinned_days(store.layout):
        rebuild(store, one)
    assert digests(store.layout.published) == original
    for one in store.published.days():
        store.published.verify(one)


@pytest.mark.parametrize("seed", range(4))
def test_other_histories_come_back_as_well(tmp_path: Path, seed: int) -> None:
    store = Store(Layout(tmp_path / "data", tmp_path / "state"))
    publish_history(store.layout, 9, seed=seed + 100, plain=seed == 0)
    original = digests(store.layout.published)
    done = list(thin(store, day(400), 1))
    assert len(done) == 6
    for one in [d.day for d in done if isinstance(d, LeftOut)]:
        rebuild(store, one)
    assert digests(store.layout.published) == original


def test_a_reader_of_a_thinned_day_gets_its_rows_and_leaves_it_thinned(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {one: pq.read_table(store.published.file("files", one)) for one in store.published.days()}
    assert list(thin(store, day(COUNT), 5))
    published = digests(store.layout.published)
    for one in thinned_days(store.layout):
        batches = list(store.published_tables(one).files(["hub_id", "path", "sha256"]))
        assert [row for batch in batches for row in batch.to_pylist()] == rows[one].select(
            ["hub_id", "path", "sha256"]
        ).to_pylist()
        assert store.published_tables(one).model_columns(["hub_id"]).num_rows
    assert digests(store.layout.published) == published
    # Each is rebuilt once for all its readers, and forgotten by the next thinning.
    assert len(list(store.layout.rebuilt_dir.iterdir())) == len(thinned_days(store.layout))
    monkeypatch.setattr(thinned, "write_rebuilt", None)
    assert list(store.published_tables(day(1)).files())
    assert list(thin(store, day(COUNT), 5)) == []
    assert not store.layout.rebuilt_dir.exists()


def test_a_rebuilt_day_is_thinned_again_later(store: Store) -> None:
    first = list(thin(store, day(COUNT), 5))
    rebuild(store, day(3))
    assert thinned_note(store.layout, day(3)) is None
    assert stored_note(store.layout, day(3)) is None
    assert [one.day for one in thin(store, day(COUNT), 5)] == [day(3)]
    assert thinned_days(store.layout) == [one.day for one in first]


def test_a_day_is_rebuilt_without_its_note_where_nothing_had_to_be_kept(
    store: Store, original: dict[str, str]
) -> None:
    easy = [one for one in thin(store, day(COUNT), 5) if isinstance(one, LeftOut) and not one.kept_rows]
    assert easy
    store.layout.thinned_note(easy[0].day).unlink()
    rebuild(store, easy[0].day)
    name = f"files/date={easy[0].day}/part-0.parquet"
    assert digests(store.layout.published)[name] == original[name]


def test_a_thinned_day_counts_as_sound_only_with_everything_it_is_rebuilt_from(store: Store) -> None:
    done = [one for one in thin(store, day(COUNT), 1) if isinstance(one, LeftOut)]
    manifests = {one.day: store.published.manifest(one.day) for one in done}
    assert all(left_out(store.layout, manifest) for manifest in manifests.values() if manifest)
    assert not left_out(store.layout, store.published.manifest(day(0)))  # type: ignore[arg-type]
    kept = next(one for one in done if one.kept_rows)
    store.layout.thinned_rows(kept.day).write_bytes(b"PAR1")
    with pytest.raises(PermanentError, match="is damaged"):
        left_out(store.layout, manifests[kept.day])  # type: ignore[arg-type]
    store.published.file("files", day(0)).unlink()
    with pytest.raises(PermanentError, match=f"{day(1)} is rebuilt from it"):
        left_out(store.layout, manifests[day(1)])  # type: ignore[arg-type]


# What cannot be rebuilt stays whole, or says why


def test_a_day_made_by_a_reader_that_read_names_otherwise_is_kept_whole(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digests(store.layout.published)
    _read_names_otherwise(monkeypatch)
    done = list(thin(store, day(COUNT), 5))
    assert {type(one) for one in done} == {KeptWhole}
    assert all("another version of the program" in one.reason for one in done if isinstance(one, KeptWhole))
    assert digests(store.layout.published) == before


def test_a_thinned_day_that_a_newer_program_reads_otherwise_names_the_versions(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(thin(store, day(COUNT), 5))
    published = digests(store.layout.published)
    with monkeypatch.context() as newer:
        newer.setattr(thinned, "__version__", "9.9.9")
        _read_names_otherwise(newer)
        with pytest.raises(PermanentError) as error:
            rebuild(store, day(1))
        assert error.value.category == ErrorCategory.DATA
        assert "gguf-assets 9.9.9 reads other facts" in error.value.message
        assert f"pip install gguf-assets=={thinned.__version__}" not in str(error.value)
        assert f"gguf-assets restore --date {day(1)}" in str(error.value)
        with pytest.raises(PermanentError, match=r"9\.9\.9"):
            list(store.published_tables(day(1)).files())
    assert digests(store.layout.published) == published
    rebuild(store, day(1))  # with the old one it still comes out


def test_another_parquet_writer_is_named_and_readers_get_the_rows_all_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(thin(store, day(COUNT), 5))
    monkeypatch.setattr(
        thinned, "file_metadata", lambda name, m: {**candidates.file_metadata(name, m), "x": "y"}
    )
    with pytest.raises(PermanentError, match="writes other bytes than"):
        rebuild(store, day(1))
    assert sum(batch.num_rows for batch in store.published_tables(day(1)).files(["path"])) > 0
    rebuilt_whole = [one for one in thin(store, day(COUNT), 2) if isinstance(one, LeftOut)]
    assert rebuilt_whole == []


def test_a_base_that_was_published_anew_is_noticed(store: Store) -> None:
    list(thin(store, day(COUNT), 5))
    path = store.layout.published_manifest(day(1))
    manifest = json.loads(path.read_bytes())
    manifest["files"]["models"]["row_digest"] = "0" * 64
    path.write_text(json.dumps(manifest))
    with pytest.raises(PermanentError, match=f"{day(1)} has changed since {day(2)} was built on it"):
        rebuild(store, day(3))


def test_days_are_put_back_before_one_they_are_rebuilt_from_is_replaced(
    store: Store, history: Path, original: dict[str, str]
) -> None:
    list(thin(store, day(COUNT), 5))
    candidate = Store(Layout(history / "data", history / "state")).candidates.manifest(day(1))
    assert rebuild_what_needs(store, candidate) == []  # the same rows
    other = candidate.from_json(json.loads(json.dumps(candidate.to_json(), default=_plain)))
    changed = {**other.files, "models": _with_digest(other.files["models"])}
    assert rebuild_what_needs(store, _replaced(other, changed)) == [day(n) for n in (2, 3, 4, 5, 6)]
    now = digests(store.layout.published)
    assert all(original[name] == digest for name, digest in now.items() if name in original)
    assert thinned_days(store.layout) == [day(n) for n in (1, 8, 9)]


def test_too_many_changes_or_too_many_rows_to_be_kept_leave_a_day_whole(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thinning, "MOST_CHANGES", 3)
    monkeypatch.setattr(thinning, "MOST_KEPT", 0.0)
    done = list(thin(store, day(COUNT), 5))
    whole = [one.reason for one in done if isinstance(one, KeptWhole)]
    assert whole
    assert all("more than 3" in reason or "more than 0%" in reason for reason in whole)
    for one in done:
        assert store.published.file("files", one.day).exists() is isinstance(one, KeptWhole)


# Interrupted


@pytest.mark.slow
def test_a_kill_at_any_moment_loses_nothing_and_the_next_run_completes(tmp_path: Path) -> None:
    store = Store(Layout(tmp_path / "data", tmp_path / "state"))
    publish_history(store.layout, 5, full=(0, 2))  # the names that the third day tells are in no change
    published, spare = store.layout.published, tmp_path / "spare"
    original = digests(published)
    published.rename(spare)

    def prepare() -> None:
        shutil.rmtree(published, ignore_errors=True)
        shutil.copytree(spare, published)

    def work() -> None:
        assert [one.day for one in thin(store, day(90), 1) if isinstance(one, LeftOut)] == [day(1), day(2)]

    moments, kept = 0, 0
    for moment in outcomes_of_dying(work, prepare):
        moments += 1
        now = digests(published)
        for name in original.keys() & now.keys():
            assert now[name] == original[name], (moment, name)
        for name in original.keys() - now.keys():
            one = date.fromisoformat(name.removeprefix("files/date=")[:10])
            assert left_out(store.layout, store.published.manifest(one)), moment  # type: ignore[arg-type]
        if moments % 5 == 0:  # the way on takes longer than the death
            list(thin(store, day(90), 1))
            assert thinned_days(store.layout) == [day(1), day(2)], moment
            kept += sum(
                note is not None and note.kept is not None for note in map(_note(store), (day(1), day(2)))
            )
            for one in (day(1), day(2)):
                rebuild(store, one)
            assert digests(published) == original, moment
            assert not list(store.layout.rebuilt_dir.glob("*.unchecked"))
    assert moments > 50
    assert kept


def test_a_full_disk_leaves_the_day_whole_and_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = digests(store.layout.published)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("gguf_assets.store.datasets.pq.ParquetWriter.write_table", full)
    with pytest.raises(PermanentError, match="No space left on device") as error:
        list(thin(store, day(COUNT), 5))
    assert error.value.category == ErrorCategory.STORAGE
    assert digests(store.layout.published) == before
    monkeypatch.undo()
    list(thin(store, day(COUNT), 5))
    thin_now = digests(store.layout.published)
    monkeypatch.setattr("gguf_assets.store.datasets.pq.ParquetWriter.write_table", full)
    with pytest.raises(PermanentError, match="No space left on device"):
        rebuild(store, day(1))
    assert digests(store.layout.published) == thin_now
    assert not list(store.layout.data.rglob("*.tmp"))


def _note(store: Store) -> Callable[[date], ThinnedNote | None]:
    return lambda one: stored_note(store.layout, one)


def _read_names_otherwise(patch: pytest.MonkeyPatch) -> None:
    from gguf_assets.catalogue import file_rows

    describe = file_rows.describe_paths

    def otherwise(paths: object) -> object:
        import pyarrow as pa
        import pyarrow.compute as pc

        facts = describe(paths)
        place = facts.schema.get_field_index("quantization")
        labels = pc.if_else(pc.equal(facts["quantization"], "Q4_K_M"), "Q4_K_X", facts["quantization"])
        return facts.set_column(
            place, facts.schema.field(place), pa.chunked_array(labels.chunks, pa.string())
        )

    patch.setattr(file_rows, "describe_paths", otherwise)


def _plain(value: object) -> object:
    return vars(value) if hasattr(value, "__dataclass_fields__") else str(value)


def _with_digest(info: object) -> object:
    from dataclasses import replace

    return replace(info, row_digest="0" * 64)  # type: ignore[type-var]


def _replaced(manifest: object, files: object) -> object:
    from dataclasses import replace

    return replace(manifest, files=files)  # type: ignore[type-var]
