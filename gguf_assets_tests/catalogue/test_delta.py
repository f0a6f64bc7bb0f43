"""The delta of a day: applied to yesterday it gives today; every kind of change is told with its proof."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_assets.catalogue import delta as delta_module
from gguf_assets.catalogue.delta import TAKEN_OVER, Delta, first_day_delta
from gguf_assets.catalogue.schema import CHANGES_DATASET, FILE_CHANGES_DATASET, TOMBSTONES
from gguf_assets_tests.catalogue.days import (
    FIRST_DAY,
    Day,
    Files,
    answer,
    build,
    census,
    day_number,
    delta,
    hub_id,
    pages,
    recorded_answers,
    recorded_days,
    recorded_listing,
    recorded_rows,
    row,
    sha,
    sha256,
)
from gguf_assets_tests.catalogue.worlds import HubDay, hub_days

Heads = dict[str, tuple[str, str | None]]


def heads(day: Day) -> Heads:
    return {identity: (values["model_id"], values["sha"]) for identity, values in day.model_rows().items()}


def known(day: Day) -> set[str]:
    """Return the models whose sizes and hashes are known."""
    rows = day.model_rows().items()
    return {identity for identity, r in rows if r["sha"] is not None and r["details_sha"] == r["sha"]}


def apply_changes(yesterday: Heads, changes: pa.Table) -> Heads:
    """Rebuild today's identities, names and commits from yesterday's."""
    today = dict(yesterday)
    for change in changes.to_pylist():
        identity, kind = change["hub_id"], change["change"]
        if kind == "removed":
            assert today.pop(identity) == (change["model_id"], change["previous_sha"])
        elif kind in ("added", "restored", "recreated"):
            assert identity not in yesterday
            today[identity] = (change["model_id"], change["sha"])
        elif kind == "renamed":
            assert yesterday[identity][0] == change["previous_model_id"]
            today[identity] = (change["model_id"], today[identity][1])
        elif kind == "updated":
            assert yesterday[identity][1] == change["previous_sha"]
            today[identity] = (today[identity][0], change["sha"])
    return today


def apply_file_changes(yesterday: Day, changes: pa.Table) -> dict[tuple[str, str], tuple[Any, Any]]:
    files = {key: (r["size_bytes"], r["sha256"]) for key, r in yesterday.file_rows().items()}
    for change in changes.to_pylist():
        key = (change["hub_id"], change["path"])
        before = files.get(key, (None, None))
        assert (change["previous_size_bytes"], change["previous_sha256"]) == before
        assert (key in files) == (change["change"] != "added")
        if change["change"] == "removed":
            del files[key]
        else:
            files[key] = (change["size_bytes"], change["sha256"])
    return files


def check_applies(old: Day, new: Day, change: Delta) -> None:
    """Check that yesterday and the delta give today, as far as either knows it."""
    rebuilt, today = apply_changes(heads(old), change.changes), heads(new)
    assert rebuilt.keys() == today.keys()
    for identity, (name, commit) in today.items():
        assert rebuilt[identity][0] == name
        unread = commit is None or (identity in heads(old) and heads(old)[identity][1] is None)
        assert unread or rebuilt[identity][1] == commit
    facts = {k: (r["size_bytes"], r["sha256"]) for k, r in new.file_rows().items() if k[0] in known(new)}
    files = apply_file_changes(old, change.file_changes)
    assert {key: value for key, value in files.items() if key[0] in known(new)} == facts


def check_order(old: Day, new: Day, change: Delta) -> None:
    places = {
        identity: place
        for place, identity in enumerate([*heads(new), *heads(old).keys() - heads(new).keys()])
    }
    still = [identity for identity in change.changes["hub_id"].to_pylist() if identity in heads(new)]
    assert still == sorted(still, key=lambda identity: places[identity])
    assert change.changes["change"].to_pylist()[len(still) :] == ["removed"] * (
        change.changes.num_rows - len(still)
    )
    keys = [
        (r["hub_id"], r["path"].encode())
        for r in change.file_changes.to_pylist()
        if r["hub_id"] in heads(new)
    ]
    assert keys == sorted(keys, key=lambda key: (places[key[0]], key[1]))
    for table, dataset in ((change.changes, CHANGES_DATASET), (change.file_changes, FILE_CHANGES_DATASET)):
        assert table.schema == dataset.arrow
        unique = table.select(list(dataset.key)).group_by(list(dataset.key)).aggregate([])
        assert unique.num_rows == table.num_rows


def check_figures(old: Day, new: Day, change: Delta) -> None:
    """Check the file counts of every change against the files of both days."""
    for r in change.changes.to_pylist():
        sides = [(day, r["hub_id"] in heads(day)) for day in (old, new)]
        was, now = (day.files_of(r["hub_id"]) for day, _ in sides)
        if all(not there or r["hub_id"] in known(day) for day, there in sides):
            assert r["files_added"] == len(now.keys() - was.keys())
            assert r["files_removed"] == len(was.keys() - now.keys())
            assert r["files_replaced"] == sum(was[path] != now[path] for path in was.keys() & now.keys())
            assert r["bytes_delta"] == sum(s for s, _ in now.values()) - sum(s for s, _ in was.values())
        else:
            assert r["files_replaced"] is None and r["bytes_delta"] is None


@given(st.lists(hub_days(), min_size=2, max_size=4), st.sampled_from([1, 2, 100]), st.integers(0, 2**32))
@settings(max_examples=70, deadline=None)
def test_yesterday_and_the_delta_give_today(hub: list[HubDay], slice_size: int, seed: int):
    chance = random.Random(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delta_module, "_SLICE", slice_size)
        old = build(hub[0].listing(), hub[0].answers())
        gone: dict[str, Any] = {}
        tombstones = TOMBSTONES.empty()
        for shown in hub[1:]:
            new = build(shown.listing(), shown.answers(), old)
            absent = [i for i, r in new.model_rows().items() if r["presence"] == "unconfirmed"]
            confirmed = {identity for identity in absent if chance.random() < 0.5}
            new = new.without(confirmed)
            proofs = dict.fromkeys(confirmed, "404 when asked by name")
            change = delta(old, new, tombstones, names_walked=shown.full, evidence=proofs)
            check_applies(old, new, change)
            check_order(old, new, change)
            check_figures(old, new, change)
            back = gone.keys() & heads(new).keys()
            kinds = list(
                zip(*(change.changes[name].to_pylist() for name in ("change", "hub_id")), strict=True)
            )
            assert {identity for kind, identity in kinds if kind == "restored"} == back
            for identity, (name, commit) in heads(old).items():
                if identity not in heads(new):
                    gone[identity] = (name, commit, new.date, proofs.get(identity, TAKEN_OVER))
            gone = {identity: value for identity, value in gone.items() if identity not in heads(new)}
            columns = ("last_model_id", "last_sha", "removed_on", "evidence")
            stones = {r["hub_id"]: tuple(r[name] for name in columns) for r in change.tombstones.to_pylist()}
            assert stones == gone
            assert change.tombstones.schema == TOMBSTONES.arrow
            old, tombstones = new, change.tombstones


def only(change: Delta) -> dict[str, Any]:
    (single,) = change.changes.to_pylist()
    return single


def with_files(files: Files, **changed: Any) -> Day:
    return build([row(1, **changed)], [answer(row(1, **changed), files)])


def updated(old_files: Files, new_files: Files) -> Delta:
    """Return the delta of a model that got a new commit, both sides known."""
    old = with_files(old_files)
    listed = row(1, sha=sha("new"))
    return delta(old, build([listed], [answer(listed, new_files)], old))


def test_a_first_day_has_no_changes():
    change = first_day_delta()
    assert (change.changes.num_rows, change.file_changes.num_rows, change.tombstones.num_rows) == (0, 0, 0)
    assert change.counts() == {}


def test_nothing_changed_is_a_legal_delta():
    day = build([row(1), row(2)])
    change = delta(day, build([row(1, downloads=99, tags=["gguf", "new"]), row(2, likes=5)], baseline=day))
    assert change.changes.num_rows == change.file_changes.num_rows == 0


def test_an_added_model_brings_all_its_files():
    day = build([row(1)])
    new = build([row(1), row(2)], [answer(row(2), {"a.gguf": (5, sha256(1)), "b.gguf": (6, None)})], day)
    got = only(delta(day, new))
    assert (got["change"], got["hub_id"], got["previous_sha"], got["sha"]) == (
        "added",
        hub_id(2),
        None,
        sha(2),
    )
    assert [got[n] for n in ("files_added", "files_removed", "files_replaced", "bytes_delta")] == [
        2,
        0,
        0,
        11,
    ]
    assert got["changed_fields"] is None and got["evidence"] == "listed, not in the baseline"
    assert (got["snapshot_date"], got["baseline_date"]) == (day_number(1), FIRST_DAY)


def test_a_removed_model_takes_its_files_along_and_leaves_a_tombstone():
    day = build([row(1), row(2)], [answer(row(2), {"a.gguf": (5, sha256(1))})])
    new = build([row(1)], baseline=day).without({hub_id(2)})
    change = delta(day, new, evidence={hub_id(2): "deleted or private"})
    got = only(change)
    assert (got["change"], got["evidence"], got["sha"]) == ("removed", "deleted or private", None)
    assert [got[n] for n in ("files_added", "files_removed", "files_replaced", "bytes_delta")] == [
        0,
        1,
        0,
        -5,
    ]
    assert change.file_changes.to_pylist() == [
        {"snapshot_date": day_number(1), "hub_id": hub_id(2), "model_id": row(2)["id"], "path": "a.gguf",
         "change": "removed", "previous_sha256": sha256(1), "sha256": None, "previous_size_bytes": 5,
         "size_bytes": None}
    ]  # fmt: skip
    assert change.tombstones.to_pylist() == [
        {"hub_id": hub_id(2), "last_model_id": row(2)["id"], "last_sha": sha(2), "first_seen": FIRST_DAY,
         "removed_on": day_number(1), "evidence": "deleted or private"}
    ]  # fmt: skip
    back = delta(new, build([row(1), row(2)], baseline=new), change.tombstones)
    assert (only(back)["change"], only(back)["evidence"]) == (
        "restored",
        f"listed again; gone since {day_number(1)}",
    )
    assert back.tombstones.num_rows == 0


def test_an_unconfirmed_model_is_not_removed():
    day = build([row(1), row(2)])
    change = delta(day, build([row(1)], baseline=day))
    assert change.changes.num_rows == change.tombstones.num_rows == 0


def test_files_that_came_went_and_changed_are_counted():
    same = ("same.gguf", (10, sha256("same")))
    change = updated(
        dict([same, ("old.gguf", (5, sha256("o"))), ("new content.gguf", (7, sha256("1")))]),
        dict([same, ("fresh.gguf", (20, sha256("f"))), ("new content.gguf", (7, sha256("2")))]),
    )
    got = only(change)
    assert (got["change"], got["previous_sha"], got["sha"]) == ("updated", sha(1), sha("new"))
    assert [got[n] for n in ("files_added", "files_removed", "files_replaced", "bytes_delta")] == [
        1,
        1,
        1,
        15,
    ]
    assert got["changed_fields"] == ["sha", "gguf_bytes"]
    kinds = {r["path"]: r["change"] for r in change.file_changes.to_pylist()}
    assert kinds == {"fresh.gguf": "added", "new content.gguf": "replaced", "old.gguf": "removed"}


def test_an_unknown_size_makes_the_change_of_bytes_unknown():
    got = only(updated({"a.gguf": (5, sha256(1))}, {"a.gguf": (5, sha256(1)), "b.gguf": (None, sha256(2))}))
    assert (got["files_added"], got["files_replaced"], got["bytes_delta"]) == (1, 0, None)
    change = updated({"a.gguf": (5, sha256(1))}, {"a.gguf": (None, sha256(2))})
    assert (only(change)["files_replaced"], only(change)["bytes_delta"]) == (1, None)


def test_a_new_commit_without_details_has_unknown_figures():
    old = with_files({"model-1.Q4_K_M.gguf": (5, sha256(1))})
    new = build([row(1, sha=sha("new"))], baseline=old)
    change = delta(old, new)
    got = only(change)
    assert change.file_changes.num_rows == 0, "a size that is not known any more is no change of the file"
    assert [got[n] for n in ("files_added", "files_removed", "files_replaced", "bytes_delta")] == [
        0,
        0,
        None,
        None,
    ]
    light = build(census([row(1, sha=sha("new"))]), baseline=old)
    got = only(delta(old, light, names_walked=False))
    assert [got[n] for n in ("files_added", "files_removed", "files_replaced", "bytes_delta")] == [None] * 4


def test_a_model_new_in_a_census_has_unknown_file_figures():
    old = build([row(1)])
    light = build(census([row(1), row(2)]), baseline=old)
    got = only(delta(old, light, names_walked=False))
    assert [got[n] for n in ("files_added", "files_removed", "files_replaced", "bytes_delta")] == [None] * 4
    later = build([row(1), row(2, sha=sha("new"))], baseline=light)
    assert only(delta(light, later))["files_added"] is None


def test_names_that_become_known_are_added_files_of_an_unchanged_model():
    old = build([row(1)])
    light = build(census([row(1), row(2)]), baseline=old)
    change = delta(light, build([row(1), row(2)], baseline=light))
    assert change.changes.num_rows == 0
    assert [(r["hub_id"], r["change"]) for r in change.file_changes.to_pylist()] == [(hub_id(2), "added")]


def test_details_that_become_known_are_learned_and_no_change_of_the_model():
    old = build([row(1)])
    new = build([row(1)], [answer(row(1), {"model-1.Q4_K_M.gguf": (5, sha256(1))})], old)
    change = delta(old, new)
    assert change.changes.num_rows == 0
    (learned,) = change.file_changes.to_pylist()
    assert (learned["change"], learned["previous_size_bytes"], learned["size_bytes"]) == ("learned", None, 5)


def test_a_rename_keeps_the_identity():
    old = build([row(1)])
    got = only(delta(old, build([row(1, id="owner/New-name")], baseline=old)))
    assert (got["change"], got["previous_model_id"], got["model_id"]) == (
        "renamed",
        row(1)["id"],
        "owner/New-name",
    )
    assert got["changed_fields"] == ["model_id"]


def test_a_name_with_a_new_identity_is_removed_and_recreated():
    old = build([row(2)])
    new = build([row(1, id=row(2)["id"].upper())], baseline=old)
    first, second = delta(old, new).changes.to_pylist()
    assert (first["change"], first["hub_id"]) == ("recreated", hub_id(1))
    assert first["evidence"] == f"same name as {hub_id(2)}, other _id"
    assert (second["change"], second["hub_id"], second["evidence"]) == ("removed", hub_id(2), TAKEN_OVER)


def test_a_name_that_was_gone_before_is_recreated_too():
    old = build([row(1), row(2)])
    gone = build([row(1)], baseline=old).without({hub_id(2)})
    stones = delta(old, gone).tombstones
    new = build([row(1), row(3, id=row(2)["id"])], baseline=gone)
    change = delta(gone, new, stones)
    assert only(change)["change"] == "recreated"
    assert change.tombstones["hub_id"].to_pylist() == [hub_id(2)]


STATES = [
    ({"gated": False}, {"gated": "auto"}, ["gated"]),
    ({"gated": False}, {"gated": "manual"}, ["gated"]),
    ({"gated": "manual"}, {"gated": False}, ["ungated"]),
    ({"gated": "auto"}, {"gated": "manual"}, []),
    ({"gated": None}, {"gated": "auto"}, []),
    ({"gated": "auto"}, {"gated": None}, []),
    ({"disabled": False}, {"disabled": True}, ["disabled"]),
    ({"disabled": True}, {"disabled": False}, ["enabled"]),
    ({"disabled": None}, {"disabled": True}, []),
    ({"sha": None}, {}, []),
    ({}, {"sha": None}, []),
    (
        {"gated": False, "disabled": True},
        {"gated": "auto", "disabled": False, "id": "a/b", "sha": sha(9)},
        ["updated", "renamed", "gated", "enabled"],
    ),
]


@pytest.mark.parametrize(("before", "after", "kinds"), STATES)
def test_states_of_a_model_that_is_there_change_by_themselves(before, after, kinds):
    old = build([row(1, **before)])
    change = delta(old, build([row(1, **after)], baseline=old))
    assert change.changes["change"].to_pylist() == kinds
    assert change.counts() == dict.fromkeys(kinds, 1)
    assert change.tombstones.num_rows == 0


@pytest.mark.recording
def test_the_recorded_changes_are_those_of_the_recording(recording):
    built: Day | None = None
    yesterday: list[dict[str, Any]] = []
    for day in recorded_days(recording)[:3]:
        rows = recorded_rows(recording, day)
        before = {r["_id"]: r["sha"] for r in yesterday}
        fresh = [r for r in rows if before.get(r["_id"]) != r["sha"]]
        new = build(pages(census(recorded_listing(rows))), recorded_answers(fresh), built, day=day)
        if built is not None:
            change = delta(built, new, names_walked=False)
            assert set(change.counts()) == {"added", "updated"}
            kinds = {
                kind: {r["hub_id"] for r in change.changes.to_pylist() if r["change"] == kind}
                for kind in ("added", "updated")
            }
            assert kinds["added"] == {r["_id"] for r in rows} - before.keys()
            assert kinds["updated"] == {r["_id"] for r in fresh if r["_id"] in before}
            files = apply_file_changes(built, change.file_changes)
            assert files == {k: (r["size_bytes"], r["sha256"]) for k, r in new.file_rows().items()}
        built, yesterday = new, rows
