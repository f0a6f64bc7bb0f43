"""Health of a model on the Hub: checks from 0 to 10, weighted, each with a reason code.

    score = sum(check x weight) / sum(weight), over the checks whose facts are known, rounded to 2 digits
    grade = A from 9, B from 7.5, C from 6, D from 4, else F

A check whose facts are unknown is left out and named in `unknown`; it neither helps nor harms. A check of
weight 0 is left out altogether. Nothing here
comes from downloads, likes or trending, and a model is not blamed for what the catalogue has not fetched yet.
Shares are rounded down, so 10 means that nothing is wanting. Age is no fault: some models are finished.
The checks themselves are declared in `health_checks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue.quantization_bits import keeps_own_bits
from gguf_assets.catalogue.schema import GRADES, HEALTH, HEALTH_CHECK
from gguf_assets.quality.file_facts import FileFacts
from gguf_assets.quality.health_checks import HEALTH_CHECKS

GRADE_FROM = (9.0, 7.5, 6.0, 4.0)
"""Smallest scores of the grades A to D."""

MODEL_COLUMNS = (
    "snapshot_date",
    "hub_id",
    "model_id",
    "presence",
    "gated",
    "private",
    "disabled",
    "library_name",
    "pipeline_tag",
    "license",
    "base_models",
    "base_relation",
    "tags",
    "architecture",
    "gguf_files",
)
"""The columns of `models` that are looked at."""

_REASONS = [reason for check in HEALTH_CHECKS.values() for reason in check.reasons]
_CODES = {reason: code for code, reason in enumerate(_REASONS)}

_Bools = npt.NDArray[np.bool_]
_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Outcome:
    """A check over n models: scores 0 to 10, codes of the reasons, and where the facts are known."""

    scores: _Ints
    reasons: _Ints
    known: _Bools


def effective_weights(weights: Mapping[str, int] | None = None) -> dict[str, int]:
    """Return the weight of every check, in their order: the given one, else the declared one.

    Raises:
        ValueError: a check is unknown, or a weight is not 0 to 100.
    """
    given = dict(weights or {})
    if unknown := sorted(given.keys() - HEALTH_CHECKS.keys()):
        raise ValueError(f"there are no health checks {', '.join(unknown)}")
    effective = {name: given.get(name, check.weight) for name, check in HEALTH_CHECKS.items()}
    if wrong := [name for name, weight in effective.items() if not 0 <= weight <= 100]:
        raise ValueError(f"the weights of {', '.join(wrong)} are not 0 to 100")
    return effective


def score_models(
    models: pa.RecordBatch, file_facts: FileFacts, weights: Mapping[str, int] | None = None
) -> pa.RecordBatch:
    """Score a batch of models.

    Args:
        models: rows of `models`, at least `MODEL_COLUMNS`.
        file_facts: what the day's `files` add up to, complete.
        weights: weight by check, 0 to 100, instead of the declared ones; 0 leaves the check out.

    Returns:
        One row for every model, with the schema of `health`.

    Raises:
        ValueError: as `effective_weights`.
    """
    weighted = {name: weight for name, weight in effective_weights(weights).items() if weight}
    judged = _judge(models, file_facts.of(models["hub_id"]))
    outcomes = [judged[name] for name in weighted]
    scores, reasons, known = (
        np.column_stack([np.empty((len(models), 0), dtype=kind), *(getattr(o, part) for o in outcomes)])
        for part, kind in (("scores", np.int64), ("reasons", np.int64), ("known", np.bool_))
    )
    names, weight_of = pa.array(weighted, pa.string()), np.array(list(weighted.values()), dtype=np.int64)
    total = (scores * weight_of * known).sum(axis=1)
    weight = (weight_of * known).sum(axis=1)
    # Hundredths as whole numbers, half rounded up: the same on every machine.
    score = np.floor_divide(total * 200 + weight, np.maximum(weight, 1) * 2) / 100
    unscored = weight == 0
    grade = grade_places(score)
    columns = {
        **{name: models[name] for name in ("snapshot_date", "hub_id", "model_id")},
        "score": pa.array(score, mask=unscored),
        "grade": pa.array(GRADES).take(pa.array(grade, mask=unscored)),
        "checks": _checks(names, scores, reasons, known, weight_of),
        "unknown": _lists(~known, names.take(pa.array(np.nonzero(~known)[1]))),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in HEALTH.arrow.names], schema=HEALTH.arrow)


def grade_places(scores: npt.NDArray[np.float64]) -> _Ints:
    """Return for each score the place of its grade in `GRADES`."""
    return np.searchsorted(-np.array(GRADE_FROM), -scores)


def explain() -> str:
    """Return the checks, their weights, reasons and remedies as a Markdown table."""
    total = sum(check.weight for check in HEALTH_CHECKS.values())
    lines = ["| check | weight | looks at | scores | remedy |", "| --- | --- | --- | --- | --- |"]
    for check in HEALTH_CHECKS.values():
        reasons = "<br>".join(f"`{code}`: {meaning}" for code, meaning in check.reasons.items())
        lines.append(
            f"| `{check.name}` | {check.weight} of {total} | {check.what} | {reasons} | {check.remedy} |"
        )
    return "\n".join(lines) + "\n"


def _judge(models: pa.RecordBatch, files: Mapping[str, _Ints]) -> dict[str, _Outcome]:
    """Return the outcome of every check by its name."""
    count = len(models)
    always = np.ones(count, dtype=bool)
    tagged = _valid(models["tags"])
    named = _valid(models["gguf_files"])
    gguf = np.asarray(pc.fill_null(models["gguf_files"], 0))
    return {
        "listed": _choose(
            always,
            [
                (_is(models["presence"], "listed"), 10, "listed"),
                (_is(models["presence"], "put back"), 10, "put_back"),
                (always, 0, "absent"),
            ],
        ),
        "reachable": _choose(
            _valid(models["gated"]) | _true(models["disabled"]) | _true(models["private"]),
            [
                (_true(models["disabled"]), 0, "disabled"),
                (_true(models["private"]), 0, "private"),
                (_is(models["gated"], "manual"), 5, "gated_manual"),
                (_is(models["gated"], "auto"), 8, "gated_auto"),
                (always, 10, "open"),
            ],
        ),
        "model_file": _choose(
            named,
            [
                (files["runnable_whole"] > 0, 10, "model_file"),
                (files["adapters_whole"] > 0, 10, "adapter"),
                (files["runnable"] + files["adapters"] > 0, 0, "nothing_whole"),
                ((gguf > 0) | (files["files"] > 0), 5, "companions_only"),
                (always, 0, "no_gguf_file"),
            ],
        ),
        "shards_complete": _share(
            named & (files["runnable"] + files["adapters"] > 0),
            files["sharded"] - files["sharded_incomplete"],
            files["sharded"],
            ("whole_files", "sets_complete", "sets_incomplete"),
        ),
        "files_not_empty": _share(
            files["sized"] > 0,
            files["sized"] - files["empty"],
            files["sized"],
            ("no_empty_file", "no_empty_file", "empty_files"),
        ),
        "labels_plausible": _share(
            (files["labelled_sized"] > 0) & ~keeps_own_bits(models),
            files["labelled_sized"] - files["mismatched"],
            files["labelled_sized"],
            ("labels_fit", "labels_fit", "label_size_mismatch"),
        ),
        "labelled": _share(
            files["model_files"] > 0,
            files["labelled"],
            files["model_files"],
            ("labels_stated", "labels_stated", "labels_missing"),
        ),
        "verifiable": _share(
            files["weights_sized"] > 0,
            files["weights_hashed"],
            files["weights_sized"],
            ("checksums_known", "checksums_known", "checksums_missing"),
        ),
        "licensed": _choose(
            tagged,
            [
                (_is(models["license"], "other") | _is(models["license"], "unknown"), 5, "license_other"),
                (_valid(models["license"]), 10, "license_stated"),
                (always, 0, "license_missing"),
            ],
        ),
        "base_model": _choose(
            tagged,
            [
                (_listed(models["base_models"]) & _valid(models["base_relation"]), 10, "base_and_relation"),
                (_listed(models["base_models"]), 8, "base_stated"),
                (always, 0, "base_missing"),
            ],
        ),
        "described": _choose(
            tagged,
            [
                (_valid(models["pipeline_tag"]) & _valid(models["library_name"]), 10, "task_and_library"),
                (_valid(models["pipeline_tag"]) | _valid(models["library_name"]), 5, "partly_described"),
                (always, 0, "not_described"),
            ],
        ),
    }


def _choose(known: _Bools, cases: list[tuple[_Bools, int, str]]) -> _Outcome:
    """Take for every model the first case that holds; the last one always does."""
    masks = [mask for mask, _, _ in cases]
    scores = np.select(masks, [np.int64(score) for _, score, _ in cases])
    reasons = np.select(masks, [np.int64(_CODES[reason]) for _, _, reason in cases])
    return _Outcome(scores, reasons, known)


def _share(known: _Bools, good: _Ints, of: _Ints, reasons: tuple[str, str, str]) -> _Outcome:
    """Score the share of the good, rounded down; reasons for: nothing to judge, all good, some not."""
    scores = np.where(of > 0, good * 10 // np.maximum(of, 1), 10)
    none, every, some = (_CODES[reason] for reason in reasons)
    return _Outcome(scores, np.select([of == 0, good >= of], [none, every], some), known)


def _checks(names: pa.Array, scores: _Ints, reasons: _Ints, known: _Bools, weights: _Ints) -> pa.ListArray:
    check = np.nonzero(known)[1]
    columns = [
        names.take(pa.array(check)),
        pa.array(scores[known].astype(np.int8)),
        pa.array(weights[check].astype(np.int8)),
        pa.array(_REASONS).take(pa.array(reasons[known])),
    ]
    return _lists(known, pa.StructArray.from_arrays(columns, fields=list(HEALTH_CHECK)))


def _lists(chosen: _Bools, values: pa.Array) -> pa.ListArray:
    """Group values, given row by row, into one list for each row of the mask they were chosen by."""
    offsets = np.concatenate(([0], chosen.sum(axis=1).cumsum())).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def _is(column: pa.Array, text: str) -> _Bools:
    return _true(pc.equal(column, text))


def _true(column: pa.Array) -> _Bools:
    return np.asarray(pc.fill_null(column, False))


def _valid(column: pa.Array) -> _Bools:
    return np.asarray(pc.is_valid(column))


def _listed(column: pa.Array) -> _Bools:
    return np.asarray(pc.fill_null(pc.list_value_length(column), 0)) > 0
