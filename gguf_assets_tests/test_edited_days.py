"""Recorded days with edits made in the loopback Hub: `changes` says exactly what was done, with evidence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from gguf_assets.demo.edits import Edit
from gguf_assets.demo.faults import Fault, FaultKind
from gguf_assets.demo.recording import RecordedHub
from gguf_assets.demo.server import LoopbackHub
from gguf_assets.demo.state import HubState, Repository
from gguf_assets_tests.calling import Catalogue, digests

pytestmark = [pytest.mark.recording, pytest.mark.slow]

REMOVED, RENAMED, RECREATED, GATED, DROPPED = (3, 1, 1, 1, 1)


@dataclass(frozen=True)
class Edited:
    """A catalogue of two recorded days, the second with edits, and what was done to whom."""

    catalogue: Catalogue
    first: date
    second: date
    before: HubState
    after: HubState
    removed: list[Repository]
    renamed: Repository
    recreated: Repository
    gated: Repository
    dropped: Repository

    def changes(self) -> dict[str, list[dict[str, Any]]]:
        """The published changes of the second day by the identity they are about."""
        by_id: dict[str, list[dict[str, Any]]] = {}
        for row in self.catalogue.rows("changes", self.second):
            by_id.setdefault(row["hub_id"], []).append(row)
        return by_id


@pytest.fixture(scope="module", params=["auto", "full"])
def edited(
    request: pytest.FixtureRequest, recording: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Edited]:
    source = RecordedHub(recording)
    first, second = source.days[-2:]
    before, after = source.on(first), source.on(second)
    # Repositories that do nothing by themselves between the two days, from all over the listing.
    still = [
        r
        for r in sorted(before.repositories, key=lambda r: r.hub_id)
        if (now := after.by_hub_id.get(r.hub_id)) is not None and now.sha == r.sha and not r.gated
    ]
    chosen = still[:: len(still) // 7][:7]
    *removed, renamed, recreated, gated, dropped = chosen
    with LoopbackHub(source, day=first, tick=0) as hub:
        catalogue = Catalogue(tmp_path_factory.mktemp("edited"), hub)
        assert catalogue.sync("--details", "100").code == 0
        hub.set_day(second)
        hub.edit(
            *(Edit("remove", r.model_id, day=second) for r in removed),
            Edit("rename", renamed.model_id, day=second, new_name=f"{renamed.model_id}-v2"),
            Edit("recreate", recreated.model_id, day=second),
            Edit("gate", gated.model_id, day=second, gated="manual"),
        )
        # The default of 2,000 is more than recorded days need; the threshold would turn the day full.
        hole = Fault(FaultKind.DROP_ROW, path="sort=createdAt", hub_id=dropped.hub_id, count=None)
        calm = {"GGUF_SYNC__SYNC_BEHAVIOR__SIGNIFICANT_CHANGE_THRESHOLD": "1.0"}
        synced = catalogue.sync("--details", "100", "--mode", request.param, fault=hole, **calm)
        assert synced.code == 0, synced.stderr
        yield Edited(catalogue, first, second, before, after, removed, renamed, recreated, gated, dropped)


def test_changes_are_exactly_the_recordings_own_and_the_edits(edited: Edited) -> None:
    recreated_id = edited.catalogue.models(edited.second)[edited.recreated.model_id]["hub_id"]
    expected = {("removed", r.hub_id) for r in (*edited.removed, edited.recreated)}
    expected |= {("renamed", edited.renamed.hub_id), ("gated", edited.gated.hub_id)}
    expected.add(("recreated", recreated_id))
    was, now = edited.before.by_hub_id, edited.after.by_hub_id
    expected |= {("added", hub_id) for hub_id in now.keys() - was.keys()}
    expected |= {("updated", i) for i in now.keys() & was.keys() if now[i].sha != was[i].sha}
    found = {(row["change"], hub_id) for hub_id, rows in edited.changes().items() for row in rows}
    assert found == expected
    assert recreated_id != edited.recreated.hub_id


def test_every_change_names_its_evidence(edited: Edited) -> None:
    changes = edited.changes()
    for repository in edited.removed:
        (row,) = changes[repository.hub_id]
        assert (row["model_id"], row["evidence"]) == (repository.model_id, "deleted or private")
        assert row["previous_sha"] == repository.sha
    (row,) = changes[edited.renamed.hub_id]
    assert (row["previous_model_id"], row["model_id"]) == (
        edited.renamed.model_id,
        f"{edited.renamed.model_id}-v2",
    )
    (row,) = changes[edited.gated.hub_id]
    assert row["evidence"] == "gated: no -> manual"
    (row,) = changes[edited.recreated.hub_id]
    assert "name belongs to another repository" in row["evidence"]


def test_the_hole_is_put_back_and_counted_and_is_no_change(edited: Edited) -> None:
    assert edited.dropped.hub_id not in edited.changes()
    row = edited.catalogue.models(edited.second)[edited.dropped.model_id]
    assert (row["presence"], row["sha"]) == ("put back", edited.dropped.sha)
    manifest = edited.catalogue.store.published.manifest(edited.second)
    assert manifest is not None
    # On a full sync another route may have seen it, so that nobody had to ask.
    assert (manifest.figures["put_back"], manifest.figures["unconfirmed"]) == (1, 0)
    listed = manifest.rows["models"] - 1
    assert manifest.completeness == pytest.approx(listed / (listed + 1))


def test_who_is_gone_has_a_tombstone_and_nobody_else(edited: Edited) -> None:
    rows = {row["hub_id"]: row for row in edited.catalogue.rows("tombstones", edited.second)}
    assert rows.keys() == {r.hub_id for r in (*edited.removed, edited.recreated)}
    for repository in edited.removed:
        assert rows[repository.hub_id]["last_model_id"] == repository.model_id
        assert rows[repository.hub_id]["removed_on"] == edited.second
        assert rows[repository.hub_id]["first_seen"] == edited.first


def test_only_the_absent_were_asked_for_and_each_once(edited: Edited) -> None:
    store = edited.catalogue.store
    manifest = store.published.manifest(edited.second)
    assert manifest is not None
    capture = store.captures.open(edited.second, manifest.capture.run)
    asked = [answer.hub_id for answer in capture.iter_absences()]
    expected = {r.hub_id for r in edited.removed}
    assert len(asked) == len(set(asked))
    assert expected <= set(asked) <= expected | {edited.dropped.hub_id}
    assert capture.absence is not None
    assert capture.absence.trusted
    assert len(capture.absence.control) == 1


def test_the_day_is_derived_again_byte_for_byte_without_a_request(edited: Edited) -> None:
    before = digests(edited.catalogue.data / "published")
    edited.catalogue.hub.clear_requests()
    day = str(edited.second)
    ended = edited.catalogue.call("rederive", "--from", day, "--to", day, "--json")
    assert (ended.code, ended.json) == (0, {"days": {day: "identical"}, "requests": 0}), ended.stderr
    assert edited.catalogue.hub.requests == []
    assert digests(edited.catalogue.data / "published") == before
