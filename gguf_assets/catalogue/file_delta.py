"""Which files of some models were added, removed, replaced or learned between two days.

Column-wise, because on a day on which many details become known millions of files are compared. Not here:
which models are compared and what a change of a model is (`delta`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue.schema import FILE_CHANGES

_ADDED, _REMOVED, _REPLACED, _LEARNED = range(len(FILE_CHANGES))


@dataclass(frozen=True)
class FileSums:
    """What the changed files of one model add up to.

    Attributes:
        added: number of paths that are new.
        removed: number of paths that are gone.
        replaced: number of paths with another content.
        bytes_delta: change of the bytes; None where a size is not known.
    """

    added: int
    removed: int
    replaced: int
    bytes_delta: int | None


@dataclass(frozen=True)
class FileDelta:
    """Changed files, in order of model and path.

    Attributes:
        rows: position of each file's model among those compared.
        columns: the columns of `file_changes` that do not repeat the model's.
        kinds: kind of each change, as index into `schema.FILE_CHANGES`.
    """

    rows: pa.Array
    columns: dict[str, pa.Array]
    kinds: np.ndarray

    def sums(self, count: int) -> list[FileSums]:
        """Return what the changes add up to for each of `count` models."""
        rows = np.asarray(self.rows, dtype=np.int64)
        numbers = [
            np.bincount(rows[self.kinds == kind], minlength=count).tolist()
            for kind in (_ADDED, _REMOVED, _REPLACED)
        ]
        unknown = np.zeros(count, dtype=bool)
        deltas = np.zeros(count, dtype=np.int64)
        for name, absent, sign in (("size_bytes", _REMOVED, 1), ("previous_size_bytes", _ADDED, -1)):
            sizes = self.columns[name]
            np.add.at(deltas, rows, sign * np.asarray(pc.fill_null(sizes, 0)))
            unknown[rows[np.asarray(pc.is_null(sizes)) & (self.kinds != absent)]] = True
        totals = pa.array(deltas, mask=unknown).to_pylist()
        return [FileSums(*values) for values in zip(*numbers, totals, strict=True)]


def compare_files(old: pa.Table, new: pa.Table, hub_ids: pa.Array, now_known: pa.Array) -> FileDelta:
    """Compare the files of two days.

    Args:
        old: hub_id, path, size_bytes and sha256 of the files of the earlier day.
        new: the same of the later day.
        hub_ids: the n models they belong to.
        now_known: n verdicts whether sizes and hashes are known on the later day; where they are not, a path
            that is still there says nothing.
    """
    rows, keys = _keys(old, new, hub_ids)
    partner = _partners(keys[0], keys[1])
    there = np.flatnonzero(partner >= 0)
    gone = np.ones(old.num_rows, dtype=bool)
    gone[partner[there]] = False
    other = _differ(old, partner[there], new, there) & np.asarray(now_known.take(pa.array(rows[1][there])))
    changed, added, removed = there[other], np.flatnonzero(partner < 0), np.flatnonzero(gone)
    old_at = _places(partner[changed], np.full(len(added), -1), removed)
    new_at = _places(changed, added, np.full(len(removed), -1))
    columns = {
        "path": pc.coalesce(_values(new, "path", new_at), _values(old, "path", old_at)),
        "previous_sha256": _values(old, "sha256", old_at),
        "sha256": _values(new, "sha256", new_at),
        "previous_size_bytes": _values(old, "size_bytes", old_at),
        "size_bytes": _values(new, "size_bytes", new_at),
    }
    unknown = pc.and_(pc.is_null(columns["previous_size_bytes"]), pc.is_null(columns["previous_sha256"]))
    kinds = np.where(np.asarray(unknown), _LEARNED, _REPLACED)
    kinds[len(changed) : len(changed) + len(added)] = _ADDED
    kinds[len(changed) + len(added) :] = _REMOVED
    columns["change"] = pa.array(FILE_CHANGES).take(pa.array(kinds))
    owners = np.concatenate((rows[1][changed], rows[1][added], rows[0][removed]))
    order = pc.sort_indices(
        pa.table({"row": owners, "path": columns["path"]}),
        sort_keys=[("row", "ascending"), ("path", "ascending")],
    )
    columns = {name: column.take(order) for name, column in columns.items()}
    return FileDelta(pa.array(owners).take(order), columns, kinds[np.asarray(order)])


def _keys(old: pa.Table, new: pa.Table, hub_ids: pa.Array) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the model of each file, and one number that stands for model and path; of both days."""
    rows = [np.asarray(pc.index_in(side["hub_id"], value_set=hub_ids), dtype=np.int64) for side in (old, new)]
    paths = pa.chunked_array([*old["path"].chunks, *new["path"].chunks], pa.string())
    encoded = paths.combine_chunks().dictionary_encode()
    keys = np.concatenate(rows) * max(len(encoded.dictionary), 1) + np.asarray(encoded.indices)
    return rows, [keys[: old.num_rows], keys[old.num_rows :]]


def _partners(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return for every new key the place of the same old one, -1 where there is none."""
    order = np.argsort(old)
    ordered = old[order]
    places = np.searchsorted(ordered, new)
    inside = places < len(old)
    found = np.zeros(len(new), dtype=bool)
    found[inside] = ordered[places[inside]] == new[inside]
    partners = np.full(len(new), -1)
    partners[found] = order[places[found]]
    return partners


def _differ(old: pa.Table, old_at: np.ndarray, new: pa.Table, new_at: np.ndarray) -> np.ndarray:
    """Return which pairs of files differ in size or hash; unknown differs from known."""
    differ = np.zeros(len(new_at), dtype=bool)
    for name in ("size_bytes", "sha256"):
        before, after = _values(old, name, pa.array(old_at)), _values(new, name, pa.array(new_at))
        one_unknown = pc.xor(pc.is_null(before), pc.is_null(after))
        differ |= np.asarray(pc.coalesce(pc.not_equal(before, after), one_unknown))
    return differ


def _places(*parts: np.ndarray) -> pa.Array:
    """Return row numbers, null for -1."""
    places = np.concatenate(parts)
    return pa.array(places, mask=places < 0)


def _values(table: pa.Table, name: str, places: pa.Array) -> pa.Array:
    return table[name].combine_chunks().take(places)
