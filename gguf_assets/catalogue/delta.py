"""The delta of a day: what changed between the baseline and the snapshot, by model and by file.

Identity is `hub_id`; content changed means `sha` changed (rules 2 and 3), counters and tags are no content.
Compared columns are held in memory, whole rows only of models that changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue.schema import CHANGES_DATASET, FILE_CHANGES_DATASET, TOMBSTONES

CONTENT = (
    "model_id",
    "sha",
    "created_at",
    "gated",
    "private",
    "disabled",
    "library_name",
    "pipeline_tag",
    "license",
    "languages",
    "base_models",
    "base_relation",
    "architecture",
    "parameter_count",
    "context_length",
    "gguf_files",
    "gguf_bytes",
    "quantizations",
)
"""Columns of `models` that are content and appear in `changed_fields`."""

COMPARED = ("hub_id", "model_id", "sha", "details_sha", "gated", "disabled", "first_seen")
"""Columns of `models` that decide which models changed."""

FILE_COLUMNS = ("hub_id", "path", "size_bytes", "sha256")

_SLICE = 4_000
"""Models compared at once; bounds memory and has no influence on the rows."""

TAKEN_OVER = "the name belongs to another repository now"
_OPEN, _RESTRICTED = "no", ("auto", "manual")


@dataclass(frozen=True)
class DayTables:
    """One side of the comparison.

    Attributes:
        models: the columns `COMPARED` of all models of the day, in order.
        rows: returns whole rows of `models` (at least `CONTENT`) for the given identities.
        files: returns the columns `FILE_COLUMNS` of the files of the given identities.
    """

    models: pa.Table
    rows: Callable[[pa.Array], pa.Table]
    files: Callable[[pa.Array], pa.Table]


@dataclass(frozen=True)
class Delta:
    """The three tables that say what changed; schemas `changes`, `file_changes` and `tombstones`."""

    changes: pa.Table
    file_changes: pa.Table
    tombstones: pa.Table

    def counts(self) -> dict[str, int]:
        """Return the number of models for every kind of change that occurred."""
        return {
            entry["values"]: entry["counts"] for entry in pc.value_counts(self.changes["change"]).to_pylist()
        }


def first_day_delta() -> Delta:
    """Return the delta of the first published day: there is nothing it could be compared with."""
    return Delta(CHANGES_DATASET.empty(), FILE_CHANGES_DATASET.empty(), TOMBSTONES.empty())


def compare_days(
    day: date,
    baseline_day: date,
    old: DayTables,
    new: DayTables,
    tombstones: pa.Table,
    *,
    names_walked: bool,
    evidence: Mapping[str, str] | None = None,
) -> Delta:
    """Compare a snapshot with its baseline.

    Args:
        day: the day of the snapshot.
        baseline_day: the day of the baseline.
        old: the baseline.
        new: the snapshot.
        tombstones: models known to be gone up to the baseline, schema `tombstones`.
        names_walked: whether the listing carried file names (full), so that names are known without details.
        evidence: what proves that a model is gone, by hub_id.

    Returns:
        The changes, in the order of the snapshot, removals last.
    """
    moved, removed = _changed_ids(old.models, new.models)
    gone = {row["hub_id"]: row for row in tombstones.to_pylist()}
    names_gone = {
        row["last_model_id"].lower(): row["hub_id"] for row in [*gone.values(), *removed.to_pylist()]
    }
    judge = _Judge(day, baseline_day, gone, names_gone, evidence or {}, names_walked)
    changes, file_changes = [CHANGES_DATASET.empty()], [FILE_CHANGES_DATASET.empty()]
    everyone = pa.concat_arrays([moved, _one(removed["hub_id"])])
    for start in range(0, len(everyone), _SLICE):
        models, files = judge.compare(everyone.slice(start, _SLICE), old, new)
        changes.append(models)
        file_changes.append(files)
    return Delta(
        pa.concat_tables(changes),
        pa.concat_tables(file_changes),
        _tombstones(day, tombstones, removed, new.models, evidence or {}),
    )


class _Judge:
    """Judges models slice by slice, so that a day on which much changed is never held as a whole."""

    def __init__(
        self,
        day: date,
        baseline_day: date,
        gone: Mapping[str, dict[str, Any]],
        names_gone: Mapping[str, str],
        evidence: Mapping[str, str],
        names_walked: bool,
    ) -> None:
        self._days = {"snapshot_date": day, "baseline_date": baseline_day}
        self._gone = gone
        self._names_gone = names_gone
        self._evidence = evidence
        self._names_walked = names_walked

    def compare(self, hub_ids: pa.Array, old: DayTables, new: DayTables) -> tuple[pa.Table, pa.Table]:
        """Return the rows of `changes` and `file_changes` of the given models, in their order."""
        before = {row["hub_id"]: row for row in old.rows(hub_ids).to_pylist()}
        after = {row["hub_id"]: row for row in new.rows(hub_ids).to_pylist()}
        changed_files = _file_changes(old.files(hub_ids), new.files(hub_ids))
        changes: list[dict[str, Any]] = []
        files: list[dict[str, Any]] = []
        for hub_id in hub_ids.to_pylist():
            was, now = before.get(hub_id), after.get(hub_id)
            own_files = changed_files.get(hub_id, [])
            row = {
                **self._days,
                "hub_id": hub_id,
                "model_id": (now or was or {})["model_id"],
                "previous_model_id": _previous_name(was, now),
                "changed_fields": _changed_fields(was, now),
                "previous_sha": was and was["sha"],
                "sha": now and now["sha"],
                **_file_sums(was, now, own_files, self._names_walked),
            }
            for kind, proof in _kinds(hub_id, was, now, self._gone, self._names_gone, self._evidence):
                changes.append({**row, "change": kind, "evidence": proof})
            files += [{**self._days, "model_id": row["model_id"], **file} for file in own_files]
        return (
            pa.Table.from_pylist(changes, schema=CHANGES_DATASET.arrow),
            pa.Table.from_pylist(files, schema=FILE_CHANGES_DATASET.arrow),
        )


def _changed_ids(old: pa.Table, new: pa.Table) -> tuple[pa.Array, pa.Table]:
    """Return who may have changed by the compared columns, and the rows of who is not there any more."""
    rows = pc.index_in(new["hub_id"], value_set=_one(old["hub_id"]))
    before = old.take(_one(rows))
    changed = pc.is_null(rows)
    for name in ("model_id", "sha", "details_sha", "gated", "disabled"):
        same = pc.equal(before[name], new[name])
        both_unknown = pc.and_(pc.is_null(before[name]), pc.is_null(new[name]))
        changed = pc.or_(changed, pc.invert(pc.or_(pc.fill_null(same, False), both_unknown)))
    removed = old.filter(pc.invert(pc.is_in(old["hub_id"], value_set=_one(new["hub_id"]))))
    return _one(new["hub_id"].filter(changed)), removed.rename_columns({"model_id": "last_model_id"})


def _one(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _kinds(
    hub_id: str,
    was: dict[str, Any] | None,
    now: dict[str, Any] | None,
    gone: Mapping[str, dict[str, Any]],
    names_gone: Mapping[str, str],
    evidence: Mapping[str, str],
) -> list[tuple[str, str]]:
    """Return the kinds of change of one model, each with what proves it."""
    if now is None:
        return [("removed", evidence.get(hub_id, TAKEN_OVER))]
    if was is None:
        if hub_id in gone:
            return [("restored", f"listed again; gone since {gone[hub_id]['removed_on']}")]
        former = names_gone.get(now["model_id"].lower())
        if former is not None:
            return [("recreated", f"same name as {former}, other _id")]
        return [("added", "listed, not in the baseline")]
    kinds = []
    if was["sha"] is not None and now["sha"] is not None and was["sha"] != now["sha"]:
        kinds.append(("updated", "sha changed"))
    if was["model_id"] != now["model_id"]:
        kinds.append(("renamed", "same _id, other name"))
    if was["gated"] == _OPEN and now["gated"] in _RESTRICTED:
        kinds.append(("gated", f"gated: no -> {now['gated']}"))
    if was["gated"] in _RESTRICTED and now["gated"] == _OPEN:
        kinds.append(("ungated", f"gated: {was['gated']} -> no"))
    if was["disabled"] is False and now["disabled"] is True:
        kinds.append(("disabled", "disabled: false -> true"))
    if was["disabled"] is True and now["disabled"] is False:
        kinds.append(("enabled", "disabled: true -> false"))
    return kinds


def _previous_name(was: dict[str, Any] | None, now: dict[str, Any] | None) -> str | None:
    if was is None or now is None or was["model_id"] == now["model_id"]:
        return None
    name: str = was["model_id"]
    return name


def _changed_fields(was: dict[str, Any] | None, now: dict[str, Any] | None) -> list[str] | None:
    if was is None or now is None:
        return None
    return [name for name in CONTENT if was[name] != now[name]]


def _file_changes(old: pa.Table, new: pa.Table) -> dict[str, list[dict[str, Any]]]:
    """Return the changed files of each model, in order of their path."""
    sides = [{(f["hub_id"], f["path"]): f for f in table.to_pylist()} for table in (old, new)]
    changes: dict[str, list[dict[str, Any]]] = {}
    nothing = {"size_bytes": None, "sha256": None}
    for key in sorted(sides[0].keys() | sides[1].keys()):
        was, now = sides[0].get(key), sides[1].get(key)
        kind = _file_change(was, now)
        if kind is not None:
            changes.setdefault(key[0], []).append(
                {
                    "hub_id": key[0],
                    "path": key[1],
                    "change": kind,
                    "previous_sha256": (was or nothing)["sha256"],
                    "sha256": (now or nothing)["sha256"],
                    "previous_size_bytes": (was or nothing)["size_bytes"],
                    "size_bytes": (now or nothing)["size_bytes"],
                }
            )
    return changes


def _file_change(was: dict[str, Any] | None, now: dict[str, Any] | None) -> str | None:
    """Return the kind of change of one path, None when nothing new is known of it."""
    if was is None:
        return "added"
    if now is None:
        return "removed"
    if now["size_bytes"] is None or (was["size_bytes"], was["sha256"]) == (now["size_bytes"], now["sha256"]):
        return None
    return "learned" if was["size_bytes"] is None else "replaced"


def _file_sums(
    was: dict[str, Any] | None, now: dict[str, Any] | None, files: list[dict[str, Any]], names_walked: bool
) -> dict[str, int | None]:
    """Return the file counts of one model; null where one side is not known."""

    def sizes_known(side: dict[str, Any] | None) -> bool:
        return side is None or (side["sha"] is not None and side["details_sha"] == side["sha"])

    names = names_walked or now is None or sizes_known(now)
    sizes = sizes_known(was) and sizes_known(now)

    def count(kind: str) -> int:
        return sum(file["change"] == kind for file in files)

    return {
        "files_added": count("added") if names else None,
        "files_removed": count("removed") if names else None,
        "files_replaced": count("replaced") if sizes else None,
        "bytes_delta": sum((f["size_bytes"] or 0) - (f["previous_size_bytes"] or 0) for f in files)
        if sizes
        else None,
    }


def _tombstones(
    day: date, tombstones: pa.Table, removed: pa.Table, models: pa.Table, evidence: Mapping[str, str]
) -> pa.Table:
    """Return who is gone up to this day: who came back leaves, who was removed joins."""
    kept = tombstones.filter(pc.invert(pc.is_in(tombstones["hub_id"], value_set=_one(models["hub_id"]))))
    joined = [
        {
            "hub_id": row["hub_id"],
            "last_model_id": row["last_model_id"],
            "last_sha": row["sha"],
            "first_seen": row["first_seen"],
            "removed_on": day,
            "evidence": evidence.get(row["hub_id"], TAKEN_OVER),
        }
        for row in removed.to_pylist()
    ]
    return pa.concat_tables([kept, pa.Table.from_pylist(joined, schema=TOMBSTONES.arrow)])
