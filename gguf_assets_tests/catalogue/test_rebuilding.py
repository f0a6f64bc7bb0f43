"""A day's files rebuilt from an earlier day and the changes since are the rows that were there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_assets.catalogue.rebuilding import (
    CHANGED,
    DETAILS,
    FACTS,
    KEPT,
    Rebuilding,
    Step,
    differing,
    displaced,
    unknown_of,
)
from gguf_assets.catalogue.schema import FILE_CHANGES_DATASET, FILES
from gguf_assets.store.digests import row_digest
from gguf_assets_tests.catalogue.days import (
    Day,
    answer,
    build,
    census,
    delta,
    pages,
    recorded_answers,
    recorded_days,
    recorded_listing,
    recorded_rows,
    row,
    sha256,
)
from gguf_assets_tests.catalogue.worlds import HubDay, hub_days

Q4, Q8, MMPROJ = "model.Q4_K_M.gguf", "model.Q8_0.gguf", "mmproj-model-f16.gguf"


def rebuilt(days: Sequence[Day], changes: Sequence[pa.Table], kept: pa.Table | None = None) -> pa.Table:
    """Rebuild the files of the last day from those of the first; `changes` are those of the days after it."""
    first, last = days[0], days[-1]
    steps = [
        Step(table.select(CHANGED), unknown_of(day.models_table.select(DETAILS)))
        for day, table in zip(days[1:], changes, strict=True)
    ]
    order = ["hub_id", "created_at"]
    moved = displaced(first.models_table.select(order), last.models_table.select(order))
    in_hand = first.files_table.select(FACTS).filter(pc.is_in(first.files_table["hub_id"], value_set=moved))
    hub_ids = last.models_table["hub_id"].combine_chunks()
    rows = Rebuilding(hub_ids, steps, first.files(list(FACTS)), moved, in_hand, kept)
    parts = [files for _, files in rows.tables(last.models())]
    return pa.concat_tables([FILES.empty(), *parts]).combine_chunks()


def changes_of(days: Sequence[Day], full: Sequence[bool]) -> list[pa.Table]:
    """Return `file_changes` of every day, as the catalogue finds them."""
    found, tombstones = [FILE_CHANGES_DATASET.empty()], None
    for old, new, walked in zip(days, days[1:], full[1:], strict=False):
        day = delta(old, new, tombstones, names_walked=walked)
        found.append(day.file_changes)
        tombstones = day.tombstones
    return found


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Day], list[HubDay]]:
    """Some days in a row, and what the Hub showed; models that are not listed stay, or are proven gone."""
    shown = draw(st.lists(hub_days(), min_size=2, max_size=4))
    days: list[Day] = []
    for hub in shown:
        day = build(hub.listing(), hub.answers(), days[-1] if days else None)
        absent = [r["hub_id"] for r in day.models_table.to_pylist() if r["presence"] == "unconfirmed"]
        days.append(day.without(draw(st.sets(st.sampled_from(absent))) if absent else set()))
    return days, shown


@settings(max_examples=40)
@given(histories())
def test_every_day_comes_out_of_every_earlier_one_but_for_names_that_no_change_tells(
    history: tuple[list[Day], list[HubDay]],
) -> None:
    days, shown = history
    changes = changes_of(days, [hub.full for hub in shown])
    for end, day in enumerate(days):
        for start in range(end):
            span = days[start : end + 1]
            attempt = rebuilt(span, changes[start + 1 : end + 1])
            kept = differing(day.models_table, attempt, day.files_table)
            # A full walk tells names of commits whose details are unknown; if as many are .gguf as before,
            # nothing says that the model has changed.
            untold = {
                row["hub_id"]
                for later, hub in zip(days[start + 1 : end + 1], shown[start + 1 : end + 1], strict=True)
                for row in later.models_table.to_pylist()
                if (hub.full and row["details_sha"] != row["sha"]) or row["sha"] is None
            }
            assert set(kept["hub_id"].to_pylist()) <= untold
            assert rebuilt(span, changes[start + 1 : end + 1], kept).equals(day.files_table)


@settings(max_examples=20)
@given(histories())
def test_nothing_needs_to_be_kept_where_the_walks_carry_no_file_names(
    history: tuple[list[Day], list[HubDay]],
) -> None:
    shown = [
        HubDay(hub.repositories, hub.answering, full=number == 0) for number, hub in enumerate(history[1])
    ]
    days: list[Day] = []
    for hub in shown:
        days.append(build(hub.listing(), hub.answers(), days[-1] if days else None))
    changes = changes_of(days, [hub.full for hub in shown])
    for end, day in enumerate(days):
        for start in range(end):
            assert rebuilt(days[start : end + 1], changes[start + 1 : end + 1]).equals(day.files_table)


def test_what_was_forgotten_and_learned_again_has_the_size_it_had_last() -> None:
    old, new = row(1), row(1, sha="b" * 40)
    first = build([old], [answer(old, {Q4: (100, sha256("a")), Q8: (200, sha256("b"))})])
    second = build(census([new]), (), first)  # another commit, nothing known of it
    third = build(census([new]), [answer(new, {Q4: (100, sha256("a")), Q8: (None, None)})], second)
    days = [first, second, third]
    changes = changes_of(days, [True, False, False])
    files = rebuilt(days, changes[1:]).select(["path", "size_bytes"]).to_pylist()
    assert files == [{"path": Q4, "size_bytes": 100}, {"path": Q8, "size_bytes": None}]
    assert rebuilt(days[:2], changes[1:2]).select(["path", "size_bytes"]).to_pylist() == [
        {"path": Q4, "size_bytes": None},
        {"path": Q8, "size_bytes": None},
    ]


def test_rows_that_no_change_tells_are_kept_and_nothing_else() -> None:
    def named(number: int, *paths: str, **changed: object) -> dict[str, object]:
        return row(number, siblings=[{"rfilename": path} for path in paths], **changed)

    first = build([named(1, Q4), named(2, Q4)])
    # The same number of .gguf files under other names, at the same commit: no column of `models` changes.
    second = build([named(1, Q8), named(2, Q4)], (), first)
    changes = changes_of([first, second], [True, True])
    assert changes[1].num_rows == 0
    kept = differing(second.models_table, rebuilt([first, second], changes[1:]), second.files_table)
    assert kept.select(["hub_id", "path"]).to_pylist() == [{"hub_id": f"{1:024x}", "path": Q8}]
    assert rebuilt([first, second], changes[1:], kept).equals(second.files_table)


def test_a_model_without_files_is_kept_as_one_row_without_a_path() -> None:
    day = build([row(1), row(2)])
    bare = day.files_table.filter(pc.equal(day.files_table["hub_id"], f"{2:024x}"))
    kept = differing(day.models_table, day.files_table, bare)
    assert kept.schema == KEPT
    assert kept.select(["hub_id", "path"]).to_pylist() == [{"hub_id": f"{1:024x}", "path": None}]
    assert rebuilt([day, day], [FILE_CHANGES_DATASET.empty()], kept).equals(bare)


def test_a_model_whose_creation_time_changed_keeps_its_files_at_its_new_place() -> None:
    files = {Q4: (100, sha256("a")), MMPROJ: (5, sha256("m"))}
    rows = [row(1), row(2), row(3)]
    first = build(rows, [answer(r, files) for r in rows])
    moved = [row(3, createdAt="2025-08-09T00:00:00.000Z"), row(1), row(2)]
    second = build(census(moved), (), first)
    assert second.models_table["hub_id"].to_pylist() == [f"{n:024x}" for n in (3, 1, 2)]
    changes = changes_of([first, second], [True, False])
    assert rebuilt([first, second], changes[1:]).equals(second.files_table)


@pytest.mark.recording
def test_recorded_days_come_out_of_every_earlier_one_with_the_same_digest(recording: Path) -> None:
    days: list[Day] = []
    yesterday: dict[str, object] = {}
    for number, day in enumerate(recorded_days(recording)[:5]):
        rows = recorded_rows(recording, day)
        changed = [r for r in rows if yesterday.get(r["_id"]) != r["sha"]]
        listing = recorded_listing(rows)
        walked = listing if number in (0, 3) else census(listing)
        # A third of the details does not come on the day.
        answers = [a for a in recorded_answers(changed) if int(a.hub_id, 16) % 3]
        days.append(build(pages(walked), answers, days[-1] if days else None, day=day))
        yesterday = {r["_id"]: r["sha"] for r in rows}
    changes = changes_of(days, [number in (0, 3) for number in range(len(days))])
    for end, day in enumerate(days):
        for start in range(end):
            span = changes[start + 1 : end + 1]
            attempt = rebuilt(days[start : end + 1], span)
            kept = differing(day.models_table, attempt, day.files_table)
            assert kept.num_rows < 0.01 * day.files_table.num_rows
            files = attempt if not kept.num_rows else rebuilt(days[start : end + 1], span, kept)
            assert row_digest(files) == row_digest(day.files_table)
