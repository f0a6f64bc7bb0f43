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

from gguf_assets.catalogue.file_delta import FileSums, compare_files
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

_DECISIVE = ("model_id", "sha", "details_sha", "gated", "disabled", "gguf_files")
COMPARED = ("hub_id", *_DECISIVE, "first_seen")
"""Columns of `models` that decide which models changed (`first_seen` goes into tombstones)."""

FILE_COLUMNS = ("hub_id", "path", "size_bytes", "sha256")

_SLICE = 10_000
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
    judge = _Judge(
        day, baseline_day, _Gone(tombstones, removed, new.models), evidence or {}, names_walked=names_walked
    )
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


class _Gone:
    """The gone repositories that today's models may be returns or successors of.

    Args:
        tombstones: who was gone up to the baseline.
        removed: who is in the baseline and not in the snapshot; columns `COMPARED`, name as `last_model_id`.
        models: the snapshot.
    """

    def __init__(self, tombstones: pa.Table, removed: pa.Table, models: pa.Table) -> None:
        back = tombstones.filter(pc.is_in(tombstones["hub_id"], value_set=_one(models["hub_id"])))
        self.since: dict[str, date] = dict(
            zip(back["hub_id"].to_pylist(), back["removed_on"].to_pylist(), strict=True)
        )
        names_of_today = _one(pc.utf8_lower(models["model_id"]))
        self.by_name: dict[str, str] = {}
        for table in (tombstones, removed):  # the latest bearer of a name counts
            names = pc.utf8_lower(table["last_model_id"])
            borne = pc.is_in(names, value_set=names_of_today)
            ids = table["hub_id"].filter(borne).to_pylist()
            self.by_name.update(zip(names.filter(borne).to_pylist(), ids, strict=True))


class _Judge:
    """Judges models slice by slice, so that a day on which much changed is never held as a whole."""

    def __init__(
        self, day: date, baseline_day: date, gone: _Gone, evidence: Mapping[str, str], *, names_walked: bool
    ) -> None:
        self._days = {"snapshot_date": day, "baseline_date": baseline_day}
        self._gone = gone
        self._evidence = evidence
        self._names_walked = names_walked

    def compare(self, hub_ids: pa.Array, old: DayTables, new: DayTables) -> tuple[pa.Table, pa.Table]:
        """Return the rows of `changes` and `file_changes` of the given models, in their order."""
        before, after = (_by_id(side.rows(hub_ids)) for side in (old, new))
        ids = hub_ids.to_pylist()
        pairs = [(before.get(hub_id), after.get(hub_id)) for hub_id in ids]
        names = [(now or was or {})["model_id"] for was, now in pairs]
        now_known = pa.array([now is not None and _details_known(now) for _, now in pairs], pa.bool_())
        files = compare_files(old.files(hub_ids), new.files(hub_ids), hub_ids, now_known)
        sums = files.sums(len(ids))
        changes: list[dict[str, Any]] = []
        for position, (hub_id, (was, now)) in enumerate(zip(ids, pairs, strict=True)):
            row = {
                **self._days,
                "hub_id": hub_id,
                "model_id": names[position],
                "previous_model_id": _previous_name(was, now),
                "changed_fields": _changed_fields(was, now),
                "previous_sha": was and was["sha"],
                "sha": now and now["sha"],
                **_file_sums(was, now, sums[position], self._names_walked),
            }
            for kind, proof in _kinds(hub_id, was, now, self._gone, self._evidence):
                changes.append({**row, "change": kind, "evidence": proof})
        columns = {
            "snapshot_date": pa.repeat(pa.scalar(self._days["snapshot_date"], pa.date32()), len(files.rows)),
            "hub_id": hub_ids.take(files.rows),
            "model_id": pa.array(names, pa.string()).take(files.rows),
            **files.columns,
        }
        return (
            pa.Table.from_pylist(changes, schema=CHANGES_DATASET.arrow),
            pa.table(
                {name: columns[name] for name in FILE_CHANGES_DATASET.arrow.names},
                schema=FILE_CHANGES_DATASET.arrow,
            ),
        )


def _by_id(rows: pa.Table) -> dict[str, dict[str, Any]]:
    """Return what is needed of whole rows of `models`, by hub_id."""
    wanted = dict.fromkeys((*COMPARED, *CONTENT))
    return {row["hub_id"]: row for row in rows.select(list(wanted)).to_pylist()}


def _details_known(side: Mapping[str, Any]) -> bool:
    return side["sha"] is not None and side["details_sha"] == side["sha"]


def _changed_ids(old: pa.Table, new: pa.Table) -> tuple[pa.Array, pa.Table]:
    """Return who may have changed by the compared columns, and the rows of who is not there any more."""
    rows = pc.index_in(new["hub_id"], value_set=_one(old["hub_id"]))
    before = old.take(_one(rows))
    changed = pc.is_null(rows)
    for name in _DECISIVE:
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
    gone: _Gone,
    evidence: Mapping[str, str],
) -> list[tuple[str, str]]:
    """Return the kinds of change of one model, each with what proves it."""
    if now is None:
        return [("removed", evidence.get(hub_id, TAKEN_OVER))]
    if was is None:
        if hub_id in gone.since:
            return [("restored", f"listed again; gone since {gone.since[hub_id]}")]
        former = gone.by_name.get(now["model_id"].lower())
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


def _file_sums(
    was: dict[str, Any] | None, now: dict[str, Any] | None, sums: FileSums, names_walked: bool
) -> dict[str, int | None]:
    """Return the file counts of one model; null where one side is not known."""
    sizes = all(side is None or _details_known(side) for side in (was, now))
    names = all(side is None or side["gguf_files"] is not None for side in (was, now)) and (
        # A census carries the names of the former commit.
        names_walked or now is None or _details_known(now)
    )
    return {
        "files_added": sums.added if names else None,
        "files_removed": sums.removed if names else None,
        "files_replaced": sums.replaced if sizes else None,
        "bytes_delta": sums.bytes_delta if sizes else None,
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
