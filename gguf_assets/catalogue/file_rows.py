"""The rows of `files` for a chunk of models, and what they add up to for each model.

Path facts (role, quantization, shard) are read anew from the path every day, so a better reader improves
every row; sizes and hashes are facts of a commit and come in as they are known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue.details import UNSAFE_PATH
from gguf_assets.catalogue.findings import Finding, shown
from gguf_assets.catalogue.paths_table import describe_paths
from gguf_assets.catalogue.quantization_bits import keeps_own_bits, label_fits_size, stated_parameters
from gguf_assets.catalogue.schema import STRINGS

RAW = pa.schema(
    [("row", pa.int64()), ("path", pa.string()), ("size_bytes", pa.int64()), ("sha256", pa.string())]
)
"""File entries as they come in: `row` is the position of the model in the chunk."""


@dataclass(frozen=True)
class FileRows:
    """Files of a chunk of n models.

    Attributes:
        rows: position of each file's model in the chunk, ascending.
        columns: the file columns of `files` that do not repeat the model's.
        gguf_files: n counts of files ending in `.gguf`.
        gguf_bytes: n sums of their sizes in bytes; null where a size is unknown.
        quantizations: n sorted lists of the labels of files with role `model`.
        findings: paths that were left out.
    """

    rows: np.ndarray
    columns: dict[str, pa.Array]
    gguf_files: pa.Array
    gguf_bytes: pa.Array
    quantizations: pa.Array
    findings: tuple[Finding, ...]


def assemble(raw: pa.Table, models: pa.Table) -> FileRows:
    """Describe, order and add up file entries.

    Args:
        raw: entries, schema `RAW`, GGUF-related or not, in any order.
        models: the n models, in order, with hub_id, model_id, parameter_count, architecture, base_models.
    """
    facts = describe_paths(raw["path"])
    raw, facts = raw.filter(facts["related"]), facts.filter(facts["related"]).drop_columns(["related"])
    unsafe = pc.match_substring_regex(raw["path"], UNSAFE_PATH)
    findings = _unsafe_findings(raw.filter(unsafe), models)
    if findings:
        raw, facts = raw.filter(pc.invert(unsafe)), facts.filter(pc.invert(unsafe))
    order = _order(raw)
    if order is not None:
        raw, facts = raw.take(order), facts.take(order)
    raw, facts = raw.combine_chunks(), facts.combine_chunks()
    count = models.num_rows
    rows = np.asarray(raw["row"], dtype=np.int64)
    columns = {name: _single(facts[name]) for name in facts.column_names}
    columns |= {name: _single(raw[name]) for name in ("path", "size_bytes", "sha256")}
    columns |= _shard_sets(rows, columns)
    known_bytes = pc.if_else(
        pc.is_null(columns["shard_set"]), columns["size_bytes"], columns["shard_set_bytes"]
    )
    is_model = pc.equal(columns["role"], "model")
    columns["bits_per_weight"] = _bits_per_weight(rows, known_bytes, is_model, models)
    columns["memory_bytes_estimate"] = pc.if_else(is_model, _with_overhead(known_bytes), None)
    columns["flags"] = _flags(rows, columns, known_bytes, is_model, models)
    gguf = np.asarray(_end_in_gguf(columns["path"]))
    return FileRows(
        rows,
        columns,
        pa.array(np.bincount(rows[gguf], minlength=count)),
        _sums(rows[gguf], columns["size_bytes"].filter(pa.array(gguf)), count),
        _labels(rows, columns["quantization"], is_model, count),
        findings,
    )


def _single(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _end_in_gguf(paths: pa.Array) -> pa.Array:
    """Return which paths end in `.gguf`, whatever the case; the usual case first, as it is much cheaper."""
    lower = pc.ends_with(paths, ".gguf")
    rest = pc.invert(lower)
    return pc.replace_with_mask(lower, rest, pc.ends_with(paths.filter(rest), ".gguf", ignore_case=True))


def _unsafe_findings(raw: pa.Table, models: pa.Table) -> tuple[Finding, ...]:
    owners = models.take(raw["row"])
    return tuple(
        Finding(
            "unsafe_path",
            "warning",
            "the path could leave its folder; left out",
            hub_id=hub_id,
            model_id=model_id,
            path=shown(path),
            value=shown(path),
        )
        for hub_id, model_id, path in zip(
            owners["hub_id"].to_pylist(), owners["model_id"].to_pylist(), raw["path"].to_pylist(), strict=True
        )
    )


def _order(raw: pa.Table) -> pa.Array | None:
    """Return the order by model and path without doubles, or None when the rows already are so.

    Most listings and all baselines have their paths in order, so only the models that have not are sorted.
    """
    rows, paths = np.asarray(raw["row"]), _single(raw["path"])
    order = None
    if (np.diff(rows) < 0).any():
        order = np.argsort(rows, kind="stable")
        rows, paths = rows[order], paths.take(pa.array(order))
    same_model = rows[1:] == rows[:-1]
    unsorted = same_model & ~np.asarray(pc.less(paths[:-1], paths[1:]))
    if not unsorted.any():
        return None if order is None else pa.array(order)
    if order is None:
        order = np.arange(len(rows))
    concerned = np.zeros(rows[-1] + 1, dtype=bool)
    concerned[rows[1:][unsorted]] = True
    places = np.flatnonzero(concerned[rows])
    part = pa.table({"row": rows[places], "path": paths.take(pa.array(places))})
    sorted_part = pc.sort_indices(part, sort_keys=[("row", "ascending"), ("path", "ascending")])
    source = np.arange(len(rows))
    source[places] = places[np.asarray(sorted_part)]
    paths = paths.take(pa.array(source))
    double = same_model & np.asarray(pc.equal(paths[:-1], paths[1:]))
    return pa.array(order[source][np.concatenate(([True], ~double))])


def _sums(rows: np.ndarray, sizes: pa.Array, count: int) -> pa.Array:
    """Return the sum of sizes of each row, null where any is unknown."""
    totals = np.zeros(count, dtype=np.int64)
    np.add.at(totals, rows, np.asarray(pc.fill_null(sizes, 0)))
    unknown = np.zeros(count, dtype=bool)
    unknown[rows[np.asarray(pc.is_null(sizes))]] = True
    return pa.array(totals, mask=unknown)


def _labels(rows: np.ndarray, labels: pa.Array, is_model: pa.Array, count: int) -> pa.Array:
    """Return for every model the sorted distinct labels of its model files."""
    mask = pc.and_(is_model, pc.is_valid(labels))
    chosen, owners = labels.filter(mask), rows[np.asarray(mask)]
    alphabet = pc.unique(chosen)
    alphabet = alphabet.take(pc.sort_indices(alphabet))
    borne = np.zeros((count, len(alphabet)), dtype=bool)
    borne[owners, np.asarray(pc.index_in(chosen, value_set=alphabet))] = True
    owners, codes = np.nonzero(borne)
    offsets = np.searchsorted(owners, np.arange(count + 1)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), alphabet.take(pa.array(codes)))


def _shard_sets(rows: np.ndarray, columns: dict[str, pa.Array]) -> dict[str, pa.Array]:
    """Judge each shard set: complete when every announced number is there.

    Its bytes are known when all sizes are, and when no number is there twice or beyond the announced ones.
    """
    count = len(rows)
    members = np.flatnonzero(np.asarray(pc.is_valid(columns["shard_set"])))
    complete = np.zeros(count, dtype=bool)
    totals = np.zeros(count, dtype=np.int64)
    no_verdict, no_total = np.ones(count, dtype=bool), np.ones(count, dtype=bool)
    if len(members):
        names = columns["shard_set"].take(pa.array(members)).dictionary_encode()
        keys = rows[members] * len(names.dictionary) + np.asarray(names.indices)
        _, sets = np.unique(keys, return_inverse=True)
        number = int(sets.max()) + 1

        def of_members(name: str) -> np.ndarray:
            values = columns[name].take(pa.array(members)).cast(pa.int64())
            return np.asarray(pc.fill_null(values, -1))

        announced = np.full(number, -1, dtype=np.int64)
        np.maximum.at(announced, sets, of_members("shard_count"))
        index = of_members("shard_index")
        valid = (index >= 1) & (index <= announced[sets])
        distinct = np.unique(np.column_stack((sets[valid], index[valid])), axis=0)
        found = np.bincount(distinct[:, 0], minlength=number)
        whole = found == announced
        sizes = of_members("size_bytes")
        bytes_known = np.ones(number, dtype=bool)
        bytes_known[sets[sizes < 0]] = False
        total = np.zeros(number, dtype=np.int64)
        np.add.at(total, sets, np.maximum(sizes, 0))
        complete[members] = whole[sets]
        no_verdict[members] = (announced < 1)[sets]
        totals[members] = total[sets]
        no_surplus = np.bincount(sets, minlength=number) == announced
        no_total[members] = ~(whole & bytes_known & no_surplus)[sets]
    return {
        "shard_set_complete": pa.array(complete, mask=no_verdict),
        "shard_set_bytes": pa.array(totals, mask=no_total),
    }


def _bits_per_weight(rows: np.ndarray, known: pa.Array, is_model: pa.Array, models: pa.Table) -> pa.Array:
    """8 x bytes / parameters, for model files whose bytes and parameters are known; three decimals."""
    parameters = _single(models["parameter_count"]).take(pa.array(rows))
    usable = pc.and_(is_model, pc.greater(parameters, 0))
    bits = pc.divide(pc.multiply(known.cast(pa.float64()), 8.0), parameters.cast(pa.float64()))
    return pc.round(pc.if_else(usable, bits, None), 3)


def _with_overhead(weights: pa.Array) -> pa.Array:
    """Return 1.2 x bytes, rounded up: weights and a fifth on top (EleutherAI, Transformer Math 101)."""
    return pc.add(weights, pc.divide(pc.add(weights, 4), 5))


def _flags(
    rows: np.ndarray, columns: dict[str, pa.Array], known: pa.Array, is_model: pa.Array, models: pa.Table
) -> pa.Array:
    """Add what only the size shows to the remarks on the name: `empty` and `label_size_mismatch`."""
    empty = pc.equal(columns["size_bytes"], 0)
    mismatch = _mismatches(rows, columns["quantization"], known, is_model, models)
    if not pc.any(pc.or_(pc.fill_null(empty, False), mismatch)).as_py():
        return columns["flags"]
    lists = columns["flags"].to_pylist()
    for flag, mask in (("empty", empty), ("label_size_mismatch", mismatch)):
        for position in pc.indices_nonzero(mask).to_pylist():
            lists[position] = [*lists[position], flag]
    return pa.array(lists, STRINGS)


def _mismatches(
    rows: np.ndarray, labels: pa.Array, known: pa.Array, is_model: pa.Array, models: pa.Table
) -> pa.Array:
    """Return which model files carry a label that their size contradicts."""
    judged = pc.and_(is_model, pc.and_(pc.is_valid(labels), pc.is_valid(known)))
    positions = np.flatnonzero(np.asarray(judged) & ~keeps_own_bits(models)[rows])
    wrong = np.zeros(len(rows), dtype=bool)
    if len(positions):
        counts = models["parameter_count"].to_pylist()
        names = models["model_id"].to_pylist()
        parameters: dict[int, int | None] = {}
        for row in np.unique(rows[positions]).tolist():
            parameters[row] = counts[row] if counts[row] else stated_parameters(names[row])
        index = pa.array(positions)
        for position, label, size in zip(
            positions.tolist(), labels.take(index).to_pylist(), known.take(index).to_pylist(), strict=True
        ):
            wrong[position] = label_fits_size(label, size, parameters[int(rows[position])]) is False
    return pa.array(wrong)
