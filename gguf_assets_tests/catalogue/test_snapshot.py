"""A day built from captures and baseline is what the rules say, however the walk was cut up."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_assets.catalogue import ordering
from gguf_assets.catalogue.paths import describe
from gguf_assets.catalogue.schema import FILES, MODELS
from gguf_assets_tests.catalogue.days import (
    FIRST_DAY,
    Answer,
    Day,
    answer,
    build,
    census,
    day_number,
    hub_id,
    noon,
    pages,
    recorded_answers,
    recorded_days,
    recorded_listing,
    recorded_rows,
    row,
    sha,
    sha256,
)
from gguf_assets_tests.catalogue.worlds import Catalogue, HubDay, hub_days, next_day

EARLIEST = datetime.min.replace(tzinfo=UTC)


@pytest.fixture(autouse=True)
def chunk_size(monkeypatch):
    """Return a function that sets how many models are handled at once."""
    return lambda models: monkeypatch.setattr(ordering, "CHUNK_MODELS", models)


def check_against(expected: Catalogue, day: Day) -> None:
    """Compare a built day, column by column, with what the naive rules say."""
    order = sorted(expected, key=lambda identity: identity)
    order.sort(key=lambda identity: expected[identity].created_at or EARLIEST, reverse=True)
    assert day.models_table["hub_id"].to_pylist() == order
    expected_files = []
    for got in day.models_table.to_pylist():
        known = expected[got["hub_id"]]
        for name in vars(known).keys() - {"files"}:
            assert got[name] == getattr(known, name), (got["hub_id"], name)
        assert got["counters_observed_at"] == known.observed_at
        files = known.files or {}
        gguf = [size for path, (size, _) in files.items() if path.endswith(".gguf")]
        assert got["gguf_files"] == (None if known.files is None else len(gguf))
        assert got["gguf_bytes"] == (sum(gguf) if known.details_known else None)
        labels = {f.quantization for f in map(describe, files) if f.role == "model" and f.quantization}
        assert got["quantizations"] == (None if known.files is None else sorted(labels))
        assert got["parameter_count"] == (7_000_000_000 if known.architecture else None)
        for path in sorted(files, key=str.encode):
            expected_files.append(
                (got["hub_id"], known.model_id, known.sha, known.details_sha, path, *files[path])
            )
    columns = ("hub_id", "model_id", "sha", "details_sha", "path", "size_bytes", "sha256")
    got_files = list(zip(*(day.files_table[name].to_pylist() for name in columns), strict=True))
    assert got_files == expected_files
    day.models_table.validate(full=True)
    day.files_table.validate(full=True)


def check_figures(expected: Catalogue, day: Day) -> None:
    figures = day.figures
    listed = [known for known in expected.values() if known.presence == "listed"]
    assert (figures.listed, figures.unconfirmed) == (len(listed), len(expected) - len(listed))
    assert figures.models == day.models_table.num_rows == len(expected)
    assert figures.files == day.files_table.num_rows
    assert figures.details_known == sum(known.details_known for known in expected.values())
    stalled = [known.counters_stalled for known in expected.values() if known.counters_stalled is not None]
    assert (figures.counters_compared, figures.counters_moved) == (len(stalled), stalled.count(False))


@given(
    st.lists(hub_days(), min_size=2, max_size=4),
    st.sampled_from([1, 2, 3, 100]),
    st.integers(1, 7),
    st.integers(0, 2**32),
)
@settings(max_examples=50, deadline=None)
def test_every_day_of_a_chain_is_what_the_rules_say(hub: list[HubDay], chunk: int, page_size: int, seed: int):
    chance = random.Random(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordering, "CHUNK_MODELS", chunk)
        day: Day | None = None
        expected: Catalogue | None = None
        for number, shown in enumerate(hub):
            listing, answers = shown.listing(), shown.answers()
            if chance.random() < 0.3:  # the Hub lists some rows twice
                listing += chance.choices(listing, k=2) if listing else []
            if chance.random() < 0.5:
                chance.shuffle(listing)
            chance.shuffle(answers)
            expected = next_day(expected, shown, day_number(number))
            day = build(pages(listing, page_size), answers, day)
            check_against(expected, day)
            check_figures(expected, day)


@pytest.mark.parametrize(
    ("changed", "stalled"),
    [
        ({}, True),
        ({"downloads": 9}, False),
        ({"downloadsAllTime": 101}, False),
        ({"likes": 2}, False),
        ({"likes": None}, False),
        ({"trendingScore": 5, "sha": sha("other"), "id": "owner/renamed"}, True),
    ],
)
def test_counters_stand_still_when_all_three_are_those_of_the_baseline(changed, stalled):
    day = build([row(1, **changed), row(2)], baseline=build([row(1)]))
    rows = day.model_rows()
    assert (rows[hub_id(1)]["counters_stalled"], rows[hub_id(2)]["counters_stalled"]) == (stalled, None)
    assert (day.figures.counters_compared, day.figures.counters_moved) == (1, int(not stalled))


def test_counters_unknown_on_both_days_are_equal_and_a_first_day_compares_none():
    unknown = row(1, downloadsAllTime=None)
    first = build([unknown])
    assert first.model_rows()[hub_id(1)]["counters_stalled"] is None
    assert (first.figures.counters_compared, first.figures.counters_moved) == (0, 0)
    assert build([unknown], baseline=first).model_rows()[hub_id(1)]["counters_stalled"] is True


def many_rows() -> list[dict[str, Any]]:
    """Return 40 rows in order, with ties and undated rows."""
    rows = [
        row(number, createdAt=f"2025-07-{28 - number // 3:02}T00:00:00.000Z", downloads=number)
        for number in range(1, 37)
    ]
    return rows + [row(number, createdAt=None) for number in range(37, 41)]


@given(
    page_size=st.integers(1, 45),
    chunk=st.integers(1, 45),
    seed=st.none() | st.integers(),
    doubles=st.lists(st.integers(0, 39), max_size=4),
)
@settings(max_examples=25, deadline=None)
def test_pages_chunks_order_and_doubles_leave_the_tables_alone(page_size, chunk, seed, doubles):
    rows = many_rows()
    baseline = build(rows[1:-1], recorded_like_answers(rows[1:10]))
    wanted = build(rows, recorded_like_answers(rows[10:20]), baseline)
    walked = rows + [rows[place] for place in doubles]
    if seed is not None:
        random.Random(seed).shuffle(walked)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordering, "CHUNK_MODELS", chunk)
        got = build(pages(walked, page_size), recorded_like_answers(rows[10:20]), baseline)
    assert got.same_tables(wanted)
    assert got.figures.duplicates == len(doubles)
    assert [f.rule for f in got.figures.findings] == ["listed_twice"] * len(doubles)


def recorded_like_answers(rows: list[dict[str, Any]]) -> list[Answer]:
    return [
        answer(
            listed, {file["rfilename"]: (1000 + n, sha256(n)) for n, file in enumerate(listed["siblings"])}
        )
        for listed in rows
    ]


def test_a_sound_walk_is_gone_through_once_and_a_disordered_one_twice(chunk_size):
    chunk_size(5)
    rows = many_rows()
    day = build(pages(rows, 3))
    assert day.attempts == 1
    assert build(pages(rows, 3), baseline=day).attempts == 1
    assert build(pages(rows[::-1], 3), baseline=day).attempts == 2


def test_of_a_row_listed_twice_the_first_counts():
    day = build([row(1, downloads=3), row(1, downloads=8), row(2)])
    assert day.models_table["downloads"].to_pylist() == [3, 10]
    assert day.figures.duplicates == 1


def test_a_creation_time_that_changed_moves_the_row_and_keeps_its_facts(chunk_size):
    chunk_size(1)
    rows = [row(n) for n in range(1, 8)]
    first = build(rows, recorded_like_answers(rows))
    moved = [*rows[:6], row(7, createdAt="2025-08-09T00:00:00.000Z", downloads=30)]
    second = build(moved, baseline=first)
    assert second.models_table["hub_id"].to_pylist() == [hub_id(n) for n in (7, 1, 2, 3, 4, 5, 6)]
    got = second.model_rows()[hub_id(7)]
    assert (got["presence"], got["downloads_delta"], got["details_sha"]) == ("listed", 20, rows[6]["sha"])
    assert (got["first_seen"], got["baseline_date"]) == (FIRST_DAY, FIRST_DAY)
    assert second.files_of(hub_id(7)) == first.files_of(hub_id(7)) != {}


def test_an_unreadable_creation_time_is_taken_from_the_baseline(chunk_size):
    chunk_size(1)
    rows = [row(n) for n in range(1, 6)]
    first = build(rows)
    second = build([*rows[:1], *rows[2:], row(2, createdAt="no time")], baseline=first)
    for name in ("hub_id", "created_at", "presence"):
        assert second.models_table[name].equals(first.models_table[name])
    assert [f.rule for f in second.figures.findings] == ["malformed"]


def test_an_absent_model_stays_unconfirmed_with_its_last_values():
    first = build([row(1), row(2)], recorded_like_answers([row(2)]))
    second = build([row(1)], baseline=first)
    was, now = (day.model_rows()[hub_id(2)] for day in (first, second))
    assert now == was | {
        "snapshot_date": day_number(1),
        "baseline_date": FIRST_DAY,
        "presence": "unconfirmed",
    }
    assert now["observed_at"] == noon(FIRST_DAY)
    assert second.files_of(hub_id(2)) == first.files_of(hub_id(2))
    back = build([row(1), row(2, downloads=15)], baseline=second).model_rows()[hub_id(2)]
    assert (back["presence"], back["first_seen"], back["downloads_delta"]) == ("listed", FIRST_DAY, 5)


@pytest.mark.parametrize("chunk", [1, 2, 100])
@pytest.mark.parametrize("successor", [0, 5])
@pytest.mark.parametrize("name", ["owner/Model-3-GGUF", "OWNER/model-3-gguf"])
@pytest.mark.parametrize("renamed", [False, True])
def test_a_name_belongs_to_one_repository(chunk_size, chunk, successor, name, renamed):
    """Whether the successor is newer or older than the absent one, created or renamed."""
    chunk_size(chunk)
    rows = [row(n) for n in (1, 2, 3, 4)]
    first = build([*rows, row(successor, id="owner/old-name")] if renamed else rows)
    walk = [rows[0], rows[1], rows[3], row(successor, id=name)]
    second = build(sorted(walk, key=lambda listed: listed["_id"]), baseline=first)
    assert hub_id(3) not in second.model_rows()
    assert second.model_rows()[hub_id(successor)]["model_id"] == name
    assert (second.figures.taken_over, second.figures.unconfirmed) == (1, 0)
    assert second.attempts == 1 or successor > 3, "a newer successor is known in time"
    assert {identity for identity, _ in second.file_rows()} == set(second.model_rows())


def test_two_models_that_swap_their_names_both_stay():
    first = build([row(1, id="a/one"), row(2, id="a/two")])
    second = build([row(1, id="a/two"), row(2, id="a/one")], baseline=first)
    assert second.models_table["presence"].to_pylist() == ["listed", "listed"]
    assert second.figures.taken_over == 0


def test_details_at_an_equal_sha_are_carried_in_full_and_census_alike():
    files = {"b.Q4_K_M.gguf": (10, sha256("b")), "a.txt": (1, None), "ä.Q8_0.gguf": (20, sha256("ä"))}
    first = build([row(1)], [answer(row(1), files, gguf={"total": 80, "context_length": 4096})])
    related = {path: facts for path, facts in files.items() if path != "a.txt"}
    for listing in ([row(1)], census([row(1)])):
        second = build(listing, baseline=first)
        got = second.model_rows()[hub_id(1)]
        assert second.files_of(hub_id(1)) == related
        assert (got["gguf_files"], got["gguf_bytes"], got["details_sha"]) == (2, 30, sha(1))
        assert (got["parameter_count"], got["context_length"]) == (80, 4096)


def test_a_new_commit_drops_sizes_hashes_and_header_facts():
    first = build([row(1)], [answer(row(1), {"model-1.Q4_K_M.gguf": (10, sha256(1))}, gguf={"total": 80})])
    for listing in ([row(1, sha=sha("new"))], census([row(1, sha=sha("new"))])):
        second = build(listing, baseline=first)
        got = second.model_rows()[hub_id(1)]
        assert second.files_of(hub_id(1)) == {"model-1.Q4_K_M.gguf": (None, None)}
        assert (got["details_sha"], got["gguf_files"], got["gguf_bytes"]) == (sha(1), 1, None)
        assert (got["parameter_count"], got["last_changed"]) == (None, day_number(1))


def test_back_at_an_earlier_commit_the_details_are_unknown_until_they_are_asked_for_again():
    """The baseline holds the details of its own commit only; `details_sha` alone does not bring them back."""
    details = answer(row(1), {"model-1.Q4_K_M.gguf": (10, sha256(1))})
    first = build([row(1)], [details])
    second = build([row(1, sha=sha("new"))], baseline=first)
    third = build([row(1)], baseline=second)
    assert third.model_rows()[hub_id(1)]["details_sha"] is None
    assert third.model_rows()[hub_id(1)]["gguf_bytes"] is None
    assert third.files_of(hub_id(1)) == {"model-1.Q4_K_M.gguf": (None, None)}
    assert build([row(1)], [details], second).files_of(hub_id(1)) == first.files_of(hub_id(1))


def test_a_census_tells_no_file_names_of_a_new_model():
    first = build([row(1)])
    second = build(census([row(1), row(2)]), baseline=first)
    got = second.model_rows()
    assert [got[hub_id(n)]["gguf_files"] for n in (1, 2)] == [1, None]
    assert [got[hub_id(n)]["quantizations"] for n in (1, 2)] == [["Q4_K_M"], None]
    assert {identity for identity, _ in second.file_rows()} == {hub_id(1)}


def test_a_repository_without_gguf_files_has_none_rather_than_unknown():
    got = build([row(1, siblings=[])], [answer(row(2), {"README.md": (5, None)})]).model_rows()
    assert (got[hub_id(1)]["gguf_files"], got[hub_id(1)]["gguf_bytes"]) == (0, None)
    known = build([row(2)], [answer(row(2), {"README.md": (5, None)})]).model_rows()
    assert (known[hub_id(2)]["gguf_files"], known[hub_id(2)]["gguf_bytes"]) == (0, 0)
    assert known[hub_id(2)]["quantizations"] == []


def test_an_answer_for_another_commit_says_nothing():
    got = build([row(1)], [answer(row(1, sha=sha("other")), {"model.Q8_0.gguf": (1, None)})])
    assert got.model_rows()[hub_id(1)]["details_sha"] is None
    assert got.files_of(hub_id(1)) == {"model-1.Q4_K_M.gguf": (None, None)}


def test_counters_that_fell_or_are_unknown_give_falling_or_unknown_deltas():
    first = build([row(1, downloads=10), row(2, downloads=None), row(3)])
    second = build([row(1, downloads=4), row(2), row(3, downloads=-1), row(4)], baseline=first)
    assert second.models_table["downloads_delta"].to_pylist() == [-6, None, None, None]
    assert second.models_table["likes_delta"].to_pylist() == [0, 0, 0, None]
    assert first.models_table["downloads_delta"].null_count == 3


def test_what_the_tags_say_and_the_owner_stand_in_the_row():
    tags = ["gguf", "en", "license:apache-2.0", "base_model:a/b", "base_model:finetune:a/b"]
    day = build([row(1, tags=tags), row(2, id="gpt2", tags=None)])
    one, two = day.models_table.to_pylist()
    wanted = {"owner": "owner", "license": "apache-2.0", "languages": ["en"], "base_models": ["a/b"]}
    assert wanted | {"base_relation": "finetune", "tags": tags, "discovered_by": ["gguf"]} == {
        name: one[name] for name in (*wanted, "base_relation", "tags", "discovered_by")
    }
    assert [two[name] for name in (*wanted, "base_relation", "tags")] == [None] * 6


def test_an_empty_walk_gives_empty_tables_on_a_first_day_and_unconfirmed_models_later():
    empty = build([])
    assert empty.models_table.equals(MODELS.empty()) and empty.files_table.equals(FILES.empty())
    later = build([], baseline=build([row(1), row(2)]))
    assert later.models_table["presence"].to_pylist() == ["unconfirmed", "unconfirmed"]
    assert later.figures.listed == 0


def test_what_pages_and_answers_lack_is_counted_and_found():
    broken = [
        row(1),
        {"id": "a/b"},
        5,
        row(2, tags=["other"], siblings=[]),
        row(3, likes="x", lastModified=None),
    ]
    refused = Answer(hub_id(1), row(1)["id"], sha(1), status=404)
    day = build(broken, [refused])
    figures = day.figures
    assert (figures.listed, figures.quarantined, figures.not_gguf, figures.undated) == (2, 2, 1, 1)
    assert sorted(f.rule for f in figures.findings) == ["hub_id_invalid", "row_not_an_object", "wrong_type"]
    assert figures.quantizations == {"Q4_K_M": 2}


# --- the recorded days


def changed_since(rows: list[dict[str, Any]], yesterday: list[dict[str, Any]]) -> list[dict[str, Any]]:
    known = {listed["_id"]: listed["sha"] for listed in yesterday}
    return [listed for listed in rows if known.get(listed["_id"]) != listed["sha"]]


@pytest.mark.recording
def test_recorded_days_come_out_alike_in_full_and_by_census_with_the_recorded_sizes(recording, chunk_size):
    chunk_size(200)
    baseline: Day | None = None
    yesterday: list[dict[str, Any]] = []
    days: list[date] = recorded_days(recording)
    assert len(days) == 8
    for day in days:
        rows = recorded_rows(recording, day)
        listing, answers = recorded_listing(rows), recorded_answers(changed_since(rows, yesterday))
        full = build(pages(listing, 100), answers, baseline, day=day)
        light = build(pages(census(listing), 333), answers[::-1], baseline, day=day)
        assert full.same_tables(light)
        assert full.figures.details_known == full.figures.models == len(rows)
        recorded = {
            (listed["_id"], file["path"]): (file["size"], file["lfs"])
            for listed in rows
            for file in listed["files"]
            if file["path"].lower().endswith(".gguf")
        }
        columns = (full.files_table[name].to_pylist() for name in ("hub_id", "path", "size_bytes", "sha256"))
        got = {(i, path): facts for i, path, *facts in zip(*columns, strict=True)}
        gguf = {key: tuple(facts) for key, facts in got.items() if key[1].lower().endswith(".gguf")}
        assert gguf == recorded
        assert pa.compute.sum(full.models_table["gguf_bytes"]).as_py() == sum(s for s, _ in recorded.values())
        baseline, yesterday = full, rows
