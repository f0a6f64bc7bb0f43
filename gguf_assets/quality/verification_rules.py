"""Rules over what was asked again: file facts at an equal commit, and what the headers of files say.

Here: comparing evidence with the candidate's rows. Not here: which models are asked again
(`catalogue/verification`), asking them and reading headers (`hub/`), and where evidence is kept (`store/`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.quality.findings import Findings, Rule
from gguf_assets.quality.markdown import escaped, table

FILE_FACTS_CONFIRMED = Rule(
    "file_facts_confirmed",
    "warning",
    "Asked again at the same commit, the Hub names the files, sizes and sha256 that the catalogue has.",
    "A commit does not change: a difference is a damaged catalogue or a Hub that contradicts itself.",
    "files",
    "https://git-scm.com/book/en/v2/Git-Internals-Git-Objects: a commit names its whole tree by hash",
)
HEADER_UNREADABLE = Rule(
    "header_unreadable",
    "warning",
    "A file with the role of a model begins with a GGUF header that can be read.",
    "Programs refuse to load such a file, and some crash over it.",
    "files",
    "GGUF specification, versions 2 and 3",
)
HEADER_LABEL_MISMATCH = Rule(
    "header_label_mismatch",
    "info",
    "general.file_type of the header and the quantization in the file's name belong together.",
    "One of them misleads whoever chooses the file.",
    "labels",
    "GGUF specification: general.file_type",
)
HEADER_ARCHITECTURE_MISMATCH = Rule(
    "header_architecture_mismatch",
    "info",
    "general.architecture of a model's header is the architecture that the Hub states for the repository.",
    "Repositories with several architectures hold more than one model.",
    "contents",
    "GGUF specification: general.architecture; the Hub's model info, field gguf",
)
OF_HEADERS = (HEADER_UNREADABLE, HEADER_LABEL_MISMATCH, HEADER_ARCHITECTURE_MISMATCH)
"""The rules that look at headers of files, which are read only where that is switched on."""

HEADERS_SHOWN = 50
"""Headers that the table of a run lists; the rest is counted."""

FACTS = pa.schema(
    [
        pa.field("hub_id", pa.string()),
        pa.field("sha", pa.string()),
        pa.field("path", pa.string()),
        pa.field("size_bytes", pa.int64()),
        pa.field("sha256", pa.string()),
    ]
)
"""Columns of `Evidence.facts`: the GGUF-related files of models as the Hub named them again at a commit; one
row without a path for a model that has none."""

_HERE = pa.schema([field for field in FACTS if field.name != "sha"])
"""What is kept of the candidate's files."""

_MISSING = "Asked again at the same commit, the Hub does not name this file."
_ADDITIONAL = "Asked again at the same commit, the Hub names this file, which the catalogue does not have."
_DIFFERENT = "Asked again at the same commit, the Hub says another size or sha256."
_UNREADABLE = "The file does not begin with a GGUF header that can be read."
_OTHER_LABEL = "The header says another quantization than the name."
_OTHER_ARCHITECTURE = "The header says another architecture than the Hub says of the repository."


@dataclass(frozen=True)
class HeaderSaid:
    """What the beginning of one file said; None where it did not say it.

    Attributes:
        hub_id, sha, path: the file, at the commit it was read at.
        error: why the header cannot be read; None when it was read.
        architecture: `general.architecture`.
        label: `general.file_type` as a quantization label, e.g. `Q4_K_M`; None for a number without a name.
        model_id: name of the repository, to be shown.
        parameter_count: elements of all tensors, where all of them were read.
        size_label: `general.size_label`, e.g. `8B`.
        context_length: tokens.
        block_count: number of blocks.
        tensor_count: number of tensors as announced.
        version: of the format.
        byte_order: `little` or `big`.
        truncated: whether the header went on beyond what was read.
    """

    hub_id: str
    sha: str
    path: str
    error: str | None = None
    architecture: str | None = None
    label: str | None = None
    model_id: str = ""
    parameter_count: int | None = None
    size_label: str | None = None
    context_length: int | None = None
    block_count: int | None = None
    tensor_count: int | None = None
    version: int | None = None
    byte_order: str | None = None
    truncated: bool = False


@dataclass(frozen=True)
class Evidence:
    """What a capture holds beside the listing that a day can be compared with.

    Attributes:
        facts: files of models that were asked again, columns as `FACTS`.
        headers: what the headers said that were read.
    """

    facts: pa.Table
    headers: Sequence[HeaderSaid] = ()


class VerificationRules:
    """Compares evidence with the candidate: all batches of models, all of files, then `finish`.

    Compared is what is known at the same commit alone; unknown on either side is no disagreement.
    """

    def __init__(self, findings: Findings, evidence: Evidence) -> None:
        self._findings = findings
        self._facts = evidence.facts.combine_chunks()
        self._headers = {(said.hub_id, said.path): said for said in evidence.headers}
        self._asked = pc.unique(self._facts["hub_id"])
        self._read = pa.array(sorted({hub_id for hub_id, _ in self._headers}), pa.string())
        self._models: list[pa.RecordBatch] = []
        self._files: list[pa.RecordBatch] = []
        self._looked_into: list[dict[str, Any]] = []
        self._looked_at: set[str] = set()

    @property
    def looked_at(self) -> frozenset[str]:
        """Names of the rules that had something to look at, once the day is finished."""
        return frozenset(self._looked_at)

    def models(self, batch: pa.RecordBatch) -> None:
        """Take the next batch of `models`."""
        wanted = pc.or_(self._of(batch, self._asked), self._of(batch, self._read))
        self._models.append(
            batch.select(["hub_id", "model_id", "sha", "details_sha", "architecture"]).filter(wanted)
        )

    def files(self, batch: pa.RecordBatch) -> None:
        """Take the next batch of `files`."""
        asked = self._of(batch, self._asked)
        self._files.append(batch.select(_HERE.names).cast(_HERE).filter(asked))
        read = batch.select(["hub_id", "path", "role", "quantization", "flags"]).filter(
            self._of(batch, self._read)
        )
        self._looked_into += [
            row for row in read.to_pylist() if (row["hub_id"], row["path"]) in self._headers
        ]

    def finish(self) -> None:
        """Compare. To be called once."""
        if not self._models:
            return
        models = pa.Table.from_batches(self._models)
        known = models.filter(pc.fill_null(pc.equal(models["details_sha"], models["sha"]), False))
        known = known.combine_chunks()
        self._confirm(known)
        self._compare_headers({row["hub_id"]: row for row in known.to_pylist()})

    @staticmethod
    def _of(batch: pa.RecordBatch, hub_ids: pa.Array) -> pa.Array:
        return pc.is_in(batch["hub_id"], value_set=hub_ids)

    def _confirm(self, known: pa.Table) -> None:
        """Compare names, sizes and digests of the files of models that were asked again."""
        asked = self._facts.select(["hub_id", "sha"]).group_by(["hub_id", "sha"]).aggregate([])
        models = known.join(asked, ["hub_id", "sha"], join_type="inner").combine_chunks()
        ids = models["hub_id"].combine_chunks()
        if not len(ids):
            return
        self._looked_at.add(FILE_FACTS_CONFIRMED.name)
        here = pa.Table.from_batches(self._files, _HERE)
        here = here.filter(pc.is_in(here["hub_id"], value_set=ids))
        there = self._facts.filter(
            pc.and_(pc.is_in(self._facts["hub_id"], value_set=ids), pc.is_valid(self._facts["path"]))
        ).drop_columns(["sha"])
        both = _marked(here, "here").join(
            _marked(there, "there"), ["hub_id", "path"], join_type="full outer", right_suffix="_again"
        )
        both = both.sort_by([("hub_id", "ascending"), ("path", "ascending")]).combine_chunks()
        rows = pc.index_in(both["hub_id"].combine_chunks(), value_set=ids)
        names = models["model_id"].combine_chunks().take(rows)
        batch = pa.RecordBatch.from_arrays(
            [both["hub_id"].combine_chunks(), names, both["path"].combine_chunks()],
            names=["hub_id", "model_id", "path"],
        )
        values = pc.binary_join_element_wise(_said(both, ""), _said(both, "_again"), "; ")
        for message, broken in (
            (_MISSING, pc.is_null(both["there"])),
            (_ADDITIONAL, pc.is_null(both["here"])),
            (_DIFFERENT, pc.or_(_differ(both, "size_bytes"), _differ(both, "sha256"))),
        ):
            where = pc.indices_nonzero(broken)
            if len(where):
                self._findings.add_rows(FILE_FACTS_CONFIRMED, batch, where, values=values, message=message)

    def _compare_headers(self, models: dict[str, dict[str, Any]]) -> None:
        """Compare what headers said with the rows of their files and models."""
        for file in self._looked_into:
            said, model = self._headers[file["hub_id"], file["path"]], models.get(file["hub_id"])
            if model is None or model["sha"] != said.sha or file["role"] != "model":
                continue
            self._looked_at.add(HEADER_UNREADABLE.name)
            if said.error is not None:
                self._add(HEADER_UNREADABLE, file, model, said.error, _UNREADABLE)
                continue
            named = None if "mixed" in (file["flags"] or ()) else label_family(file["quantization"])
            inside = label_family(said.label)
            if named is not None and inside is not None:
                self._looked_at.add(HEADER_LABEL_MISMATCH.name)
                if named != inside:
                    value = f"name: {file['quantization']}; header: {said.label}"
                    self._add(HEADER_LABEL_MISMATCH, file, model, value, _OTHER_LABEL)
            if said.architecture is not None and model["architecture"] is not None:
                self._looked_at.add(HEADER_ARCHITECTURE_MISMATCH.name)
                if said.architecture != model["architecture"]:
                    value = f"Hub: {model['architecture']}; header: {said.architecture}"
                    self._add(HEADER_ARCHITECTURE_MISMATCH, file, model, value, _OTHER_ARCHITECTURE)

    def _add(self, rule: Rule, file: dict[str, Any], model: dict[str, Any], value: str, message: str) -> None:
        names = {"hub_id": file["hub_id"], "model_id": model["model_id"], "path": file["path"]}
        batch = pa.RecordBatch.from_pylist([names])
        self._findings.add_rows(rule, batch, pa.array([0]), values=pa.array([value]), message=message)


_FAMILIES = re.compile(
    r"""(?P<whole> F32 | B?F16 | Q[45]_[01] | Q8_0 | TQ[12]_0 )
      | (?P<k> Q[2-6]_K ) (?: _[SM] | (?<=Q3_K)_L )?
      | (?P<i> IQ[1-4] ) _ (?: XXS | XS | S | M | NL )
      | (?P<repacked> Q4_0 ) _ (?: 4_4 | 4_8 | 8_8 )""",
    re.VERBOSE,
)


def label_family(label: str | None) -> str | None:
    """Return the type that a label gives most weights, so that labels can be compared; None where it is open.

    `general.file_type` has no name for mixtures that publishers have made up since (`UD-…`, `…_XL`, `Q4_K_L`,
    row-interleaved types, MXFP4): their files carry the number of a type near to them, which is no fault. The
    sizes within a family (`Q4_K_S`, `Q4_K_M`) are mixtures of the same type as well.
    """
    match = _FAMILIES.fullmatch(label or "")
    return None if match is None else next(part for part in match.groups() if part)


def headers_table(headers: Sequence[HeaderSaid]) -> str:
    """Return what headers said as a Markdown table, the first of them; all text is escaped."""
    if not headers:
        return "No header was read."
    head = ["model", "file", "architecture", "parameters", "context", "file type", "tensors", "remark"]
    rows = []
    for said in headers[:HEADERS_SHOWN]:
        remarks = [said.error or ""]
        remarks += ["goes on beyond what was read"] * said.truncated
        remarks += ["big-endian"] * (said.byte_order == "big")
        parameters = said.size_label if said.parameter_count is None else said.parameter_count
        cells = [said.architecture, parameters, said.context_length, said.label, said.tensor_count]
        rows.append(
            [
                escaped(said.model_id),
                escaped(said.path),
                *(cell if isinstance(cell, int) else escaped(cell or "") for cell in cells),
                escaped("; ".join(remark for remark in remarks if remark)),
            ]
        )
    lines = table(head, rows)
    if more := len(headers) - HEADERS_SHOWN:
        lines += ["", f"{more:,} further headers were read."] if more > 0 else []
    return "\n".join(lines)


def _marked(files: pa.Table, name: str) -> pa.Table:
    """Return files with a column that is true, and null where a join finds no partner."""
    return files.append_column(name, pa.repeat(pa.scalar(True), files.num_rows))


def _said(both: pa.Table, side: str) -> pa.Array:
    """Return what one side says of each file: size and digest."""
    there = "there" if side else "here"
    size = pc.fill_null(both[f"size_bytes{side}"].combine_chunks().cast(pa.string()), "size unknown")
    digest = pc.fill_null(both[f"sha256{side}"].combine_chunks(), "sha256 unknown")
    text = pc.binary_join_element_wise("Hub:" if side else "catalogue:", size, digest, " ")
    none = "Hub: no such file" if side else "catalogue: no such file"
    return pc.if_else(pc.is_valid(both[there].combine_chunks()), text, none)


def _differ(both: pa.Table, column: str) -> pa.Array:
    """Return where both sides know a value and the two differ."""
    return pc.fill_null(pc.not_equal(both[column], both[f"{column}_again"]), False)
