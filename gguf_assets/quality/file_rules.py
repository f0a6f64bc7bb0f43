"""Rules over the rows of `files`: parents, keys, order, paths, sizes, shard sets and labels.

Each batch is looked at once, in Arrow; across batches one entry a model, the incomplete shard sets and the
files of the last model are kept. Files follow the order of their models, which is what makes this possible
and is itself a rule.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.quality.findings import Findings, Rule
from gguf_assets.quality.model_rules import check_day, last_row, list_contains, with_previous

FILE_PARENT = Rule(
    "file_parent",
    "error",
    "Every file belongs to a model of the same day.",
    "A file without its model is lost in every join.",
    "structure",
    "docs/data.md: `files` has the models of the same day",
    switchable=False,
)
FILE_UNIQUE = Rule(
    "file_unique",
    "error",
    "A path stands once in a repository.",
    "A second row doubles the bytes of the model. Proven by the order; skipped where that is broken.",
    "structure",
    "docs/data.md: key of `files`",
    switchable=False,
)
FILE_ORDER = Rule(
    "file_order",
    "error",
    "Files are in the order of their models, then by `path`.",
    "The next day is merged against this one as two sorted streams.",
    "structure",
    "docs/data.md: row order",
    switchable=False,
)
FILE_PATH = Rule(
    "file_path",
    "error",
    "A path stays inside its repository: not empty, not absolute, no drive, no `..` part, no NUL.",
    "Readers join paths to folders of their own; such a path would lead them elsewhere.",
    "paths",
    "https://cwe.mitre.org/data/definitions/22.html",
    switchable=False,
)
FILE_FACTS_CURRENT = Rule(
    "file_facts_current",
    "error",
    "`size_bytes` and `sha256` are null unless `details_sha` equals `sha`.",
    "Size and checksum of another commit would be taken for those of today.",
    "files",
    "docs/data.md: `size_bytes`, `sha256`",
)
SHARD_SET_INCOMPLETE = Rule(
    "shard_set_incomplete",
    "warning",
    "All shards that a file name announces are there; one finding for each set.",
    "A model cannot be loaded when a shard is missing.",
    "files",
    "https://github.com/ggml-org/ggml/blob/master/docs/gguf.md: shards",
)
EMPTY_FILE = Rule(
    "empty_file",
    "warning",
    "No file is empty.",
    "An upload that failed leaves an empty file behind.",
    "files",
    "https://github.com/ggml-org/ggml/blob/master/docs/gguf.md: a file begins with its header",
)
LABEL_SIZE_MISMATCH = Rule(
    "label_size_mismatch",
    "info",
    "Size, quantization label and parameter count of a file fit together: bits per weight are possible ones.",
    "A failed conversion often gives every label the same file; else label or count mislead who chooses it.",
    "labels",
    "gguf_assets/catalogue/quantization_bits.py: bits per weight of published files",
)

SAME_BYTES_UNDER_TWO_LABELS = Rule(
    "same_bytes_under_two_labels",
    "warning",
    "Model files of a repository with different quantization labels differ in content; one finding for each "
    "content.",
    "A failed conversion leaves the same file behind for every label: all labels but one are wrong. A label "
    "that begins another one (`Q4_K`, `Q4_K_M`) does not contradict it.",
    "labels",
    "GGUF specification: general.file_type; met at tensorblock/tarun7r_Finance-Llama-8B-GGUF, 12 labels",
)

VERIFIED = (
    FILE_FACTS_CURRENT,
    SHARD_SET_INCOMPLETE,
    EMPTY_FILE,
    SAME_BYTES_UNDER_TWO_LABELS,
    LABEL_SIZE_MISMATCH,
)
"""The rules about what is known of files: sizes, checksums, shard sets. The others hold a day together."""

UNSAFE_PATH = r"^$|^[/\\]|^[A-Za-z]:[/\\]|(?:^|[/\\])\.\.(?:[/\\]|$)|\x00"
"""What a path must not match (RE2)."""

_RUN = ("hub_id", "model_id")
_SET = ("hub_id", "model_id", "shard_set")
_LABELLED = ("hub_id", "model_id", "path", "quantization", "sha256")


class FileRules:
    """Judges the files of one day, batch after batch in the order of the file.

    Args:
        day: the day of the candidate.
        findings: receives what is found.
    """

    def __init__(self, day: date, findings: Findings) -> None:
        self._day = day
        self._findings = findings
        self._last: pa.RecordBatch | None = None
        self._runs: list[pa.RecordBatch] = []
        self._broken_sets: list[pa.Table] = []
        self._labelled: pa.RecordBatch | None = None

    @property
    def lacking(self) -> dict[str, str]:
        """Rule name to what it lacked, for the rules that had nothing to compare."""
        if self._labelled is not None:
            return {}
        return {SAME_BYTES_UNDER_TWO_LABELS.name: "no model file has a label and a known SHA-256"}

    def add(self, batch: pa.RecordBatch) -> None:
        """Judge the next batch of `files`."""
        if not len(batch):
            return
        check_day(self._day, batch, self._findings)
        self._check_keys(batch)
        self._check_facts(batch)
        self._collect_incomplete(batch)
        if self._findings.wants(SAME_BYTES_UNDER_TWO_LABELS):
            self._check_labels(batch)

    def finish(self, models: pa.ChunkedArray) -> None:
        """Judge what only the whole day shows.

        Args:
            models: `hub_id` of the day's models, in file order.
        """
        self._check_models(models)
        if self._labelled is not None:
            self._compare_labels(self._labelled)
        if self._broken_sets:
            sets = _distinct(pa.concat_tables(self._broken_sets)).combine_chunks().to_batches()[0]
            self._findings.add_rows(
                SHARD_SET_INCOMPLETE,
                sets,
                pa.array(np.arange(len(sets))),
                values=sets["shard_set"],
                message="Shards that the file names announce are missing.",
            )

    def _check_keys(self, batch: pa.RecordBatch) -> None:
        unsafe = pc.match_substring_regex(batch["path"], UNSAFE_PATH)
        self._findings.add_masked(
            FILE_PATH, batch, unsafe, value="path", message="The path would lead out of its repository."
        )
        keys = [pc.fill_null(batch[name], "") for name in ("hub_id", "path")]
        current = pa.RecordBatch.from_arrays(keys, ["hub_id", "path"])
        before = with_previous(current, self._last)
        same_model = pc.equal(current["hub_id"], before["hub_id"])
        twice = pc.and_(same_model, pc.equal(current["path"], before["path"]))
        disorder = pc.and_(same_model, pc.less(current["path"], before["path"]))
        starts = pc.invert(same_model)
        if self._last is None:
            # The first row of all has no forerunner: it starts a model and repeats nothing.
            first = pa.array([True] + [False] * (len(batch) - 1))
            starts, twice = pc.or_(starts, first), pc.and_not(twice, first)
        self._findings.add_masked(
            FILE_UNIQUE,
            batch,
            twice,
            value="path",
            message="The path stands twice in its repository.",
        )
        self._findings.add_masked(
            FILE_ORDER, batch, disorder, value="path", message="The row belongs above the row before it."
        )
        self._runs.append(pa.RecordBatch.from_arrays([batch[n] for n in _RUN], list(_RUN)).filter(starts))
        self._last = last_row(current)

    def _check_facts(self, batch: pa.RecordBatch) -> None:
        known = pc.or_(pc.is_valid(batch["size_bytes"]), pc.is_valid(batch["sha256"]))
        current = pc.fill_null(pc.equal(batch["details_sha"], batch["sha"]), False)
        self._findings.add_masked(
            FILE_FACTS_CURRENT,
            batch,
            pc.and_not(known, current),
            value="details_sha",
            message="Size or SHA-256 is given, although the details are not those of `sha`.",
        )
        self._findings.add_masked(
            EMPTY_FILE, batch, pc.equal(batch["size_bytes"], 0), message="The file has no content."
        )
        self._findings.add_masked(
            LABEL_SIZE_MISMATCH,
            batch,
            list_contains(batch["flags"], "label_size_mismatch"),
            value="quantization",
            message="Size, label and the parameters that header or name state do not fit together.",
        )

    def _collect_incomplete(self, batch: pa.RecordBatch) -> None:
        incomplete = pc.indices_nonzero(pc.equal(batch["shard_set_complete"], False))
        if len(incomplete):
            shards = pa.table([batch[n].take(incomplete) for n in _SET], list(_SET))
            self._broken_sets.append(_distinct(shards))

    def _check_labels(self, batch: pa.RecordBatch) -> None:
        """Compare the contents of each repository; the last one of a batch waits for the next batch."""
        known = pc.and_(pc.is_valid(batch["sha256"]), pc.is_valid(batch["quantization"]))
        mask = pc.and_(known, pc.equal(batch["role"], "model"))
        columns = [batch[name].filter(mask) for name in _LABELLED]
        columns[0] = pc.fill_null(columns[0], "")
        if not len(columns[0]):
            return
        parts = [pa.RecordBatch.from_arrays(columns, list(_LABELLED))]
        if self._labelled is not None:
            parts.insert(0, self._labelled)
        rows = pa.Table.from_batches(parts).combine_chunks().to_batches()[0]
        others = np.flatnonzero(np.asarray(pc.not_equal(rows["hub_id"], rows["hub_id"][-1])))
        start = int(others[-1]) + 1 if len(others) else 0
        if start:
            self._compare_labels(rows.slice(0, start))
        # Copied, so that it does not keep the batch in memory.
        self._labelled = rows.take(pa.array(np.arange(start, len(rows))))

    def _compare_labels(self, rows: pa.RecordBatch) -> None:
        """Find contents that stand under labels which contradict each other, in whole repositories."""
        contents = np.asarray(rows["sha256"].dictionary_encode().indices)
        repeated = np.flatnonzero(np.bincount(contents)[contents] > 1)
        if not len(repeated):
            return
        ids = rows["hub_id"]
        run = np.concatenate(([0], np.cumsum(np.asarray(pc.not_equal(ids[1:], ids[:-1])))))
        labels: dict[tuple[int, int], list[str]] = {}
        first: dict[tuple[int, int], int] = {}
        names = rows["quantization"].take(pa.array(repeated)).to_pylist()
        for place, label in zip(repeated.tolist(), names, strict=True):
            key = (int(run[place]), int(contents[place]))
            labels.setdefault(key, []).append(label)
            first.setdefault(key, place)
        broken = [key for key, found in labels.items() if _contradict(found)]
        if broken:
            self._findings.add_rows(
                SAME_BYTES_UNDER_TWO_LABELS,
                rows.take(pa.array([first[key] for key in broken])),
                pa.array(np.arange(len(broken))),
                values=pa.array([", ".join(dict.fromkeys(labels[key])) for key in broken]),
                message="The same content stands under several quantization labels; this is its first file.",
            )

    def _check_models(self, models: pa.ChunkedArray) -> None:
        if not self._runs:
            return
        runs = pa.Table.from_batches(self._runs).combine_chunks().to_batches()[0]
        place = pc.index_in(runs["hub_id"], value_set=models)
        self._findings.add_masked(
            FILE_PARENT, runs, pc.is_null(place), message="No model of the day has this `hub_id`."
        )
        owned = np.flatnonzero(np.asarray(pc.is_valid(place)))
        broken = _seen_before(np.asarray(pc.fill_null(runs["hub_id"], "").dictionary_encode().indices))
        broken[owned[1:]] |= np.diff(np.asarray(place.drop_null(), dtype=np.int64)) < 0
        self._findings.add_masked(
            FILE_ORDER, runs, pa.array(broken), message="The files of this model belong further up."
        )


def _seen_before(codes: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Return where a code stands again; codes count up in the order of their first appearance."""
    seen = np.maximum.accumulate(codes)
    return np.concatenate(([False], codes[1:] <= seen[:-1]))


def _contradict(labels: list[str]) -> bool:
    """Return whether labels name different quantizations: none is merely the beginning of the longest."""
    plain = {label.removeprefix("UD-") for label in labels}
    longest = max(plain, key=len)
    return any(not longest.startswith(label) for label in plain)


def _distinct(shards: pa.Table) -> pa.Table:
    """Return the distinct shard sets in the order of their first appearance."""
    return shards.group_by(list(_SET), use_threads=False).aggregate([])
