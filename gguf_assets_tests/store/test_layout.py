from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gguf_assets.store.layout import Layout, day_folder, parse_day, parse_run, run_folder

LAYOUT = Layout(data=Path("data"), state=Path("state"))
DAY = date(2025, 8, 9)


def test_paths_are_those_the_design_names():
    assert LAYOUT.run_dir(DAY, 3) == Path("data/captures/date=2025-08-09/run=03")
    assert LAYOUT.candidate_file("files", DAY) == Path("data/candidate/files/date=2025-08-09/part-0.parquet")
    assert LAYOUT.candidate_manifest(DAY) == Path("data/candidate/manifest/date=2025-08-09.json")
    assert LAYOUT.published_file("models", DAY) == Path(
        "data/published/models/date=2025-08-09/part-0.parquet"
    )
    assert LAYOUT.published_manifest(DAY) == Path("data/published/manifest/date=2025-08-09.json")
    assert LAYOUT.latest == Path("data/published/latest.json")
    assert LAYOUT.journal == Path("data/published/journal.json")
    assert LAYOUT.report_file(DAY) == Path("data/reports/date=2025-08-09/report.md")
    assert LAYOUT.history_file == Path("data/history/syncs.jsonl")
    assert LAYOUT.last_sync_file == Path("data/last_sync_metadata.json")


def test_what_must_be_local_lies_in_the_state_folder():
    local = (LAYOUT.lock_file, LAYOUT.spool_dir, LAYOUT.dagster_home, LAYOUT.config_dir, LAYOUT.logs_dir)
    assert all(path.is_relative_to("state") for path in (*local, LAYOUT.limits_dir))


def test_reports_may_lie_elsewhere():
    layout = Layout(Path("data"), Path("state"), reports=Path("/srv/told"))
    assert layout.report_file(DAY) == Path("/srv/told/date=2025-08-09/report.md")


def test_configuration_and_last_sync_file_may_lie_elsewhere():
    layout = Layout(Path("data"), Path("state"), config=Path("/etc/gguf"), last_sync=Path("data/last.json"))
    assert layout.config_dir == Path("/etc/gguf")
    assert layout.last_sync_file == Path("data/last.json")


@given(st.dates())
def test_a_day_is_read_back_from_its_folder_name(day):
    assert parse_day(day_folder(day)) == day


@given(st.integers(min_value=1, max_value=10_000))
def test_a_run_is_read_back_from_its_folder_name(run):
    assert parse_run(run_folder(run)) == run


@pytest.mark.parametrize("name", ["2025-08-09", "date=20250809", "date=2025-02-30", "date=", ".DS_Store"])
def test_other_names_are_no_day(name):
    assert parse_day(name) is None


@pytest.mark.parametrize("name", ["01", "run=1", "run=", "run=x", "run=-1", "run=²"])
def test_other_names_are_no_run(name):
    assert parse_run(name) is None
