"""The manifests of candidates and of published days: what a day was made from, and every file of it.

What belongs here: the dataclasses, their JSON and digests. What does not: writing them (`candidates.py`,
`publish.py`) and anything that differs between two runs over the same captures: no clock, no run id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from gguf_assets.atomic import json_bytes
from gguf_assets.store.capture import Capture
from gguf_assets.store.datasets import DatasetInfo


@dataclass(frozen=True)
class CaptureRef:
    """The capture a day is made from, and how much of it.

    Attributes:
        run: number of the capture among those of the day.
        pages: pages of its listing.
        details_files: sealed files of detail answers that were used; later ones were appended since.
        kind: `full`, `census` or `window`.
        mode: `full` or `incremental`.
        reason: code of the reason for the mode.
    """

    run: int
    pages: int
    details_files: int
    kind: str
    mode: str
    reason: str

    @classmethod
    def of(cls, capture: Capture) -> CaptureRef:
        """Return the reference to a capture as it stands now."""
        plan = capture.plan
        return cls(
            capture.run, capture.pages_stored, capture.details_files, plan.kind, plan.mode, plan.reason
        )


@dataclass(frozen=True)
class BaselineRef:
    """The published day that a day was compared with.

    Attributes:
        date: that day.
        digest: `PublishedManifest.digest` of it at the time.
    """

    date: date
    digest: str


@dataclass(frozen=True)
class Verdict:
    """Whether a candidate may be published, by the checks that looked at its files.

    Attributes:
        publishable: whether it may.
        reasons: why not; empty when it may.
        waivable: whether it may be published all the same by whoever accepts what the checks found; never
            where nothing was listed, the walk did not end or the judgement was not finished.
        completeness: completeness score, 0 to 1; None while not judged.
        figures: further figures of the judgement.
        files: SHA-256 of the files that were judged, by dataset; filled in by the store.
    """

    publishable: bool
    reasons: tuple[str, ...] = ()
    waivable: bool = False
    completeness: float | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CandidateManifest:
    """What a candidate is made from, its files, its figures and the verdict on it.

    Attributes:
        day: the day.
        capture: the capture it is made from.
        baseline: the published day it was compared with; None on the first day.
        derivation: the settings that shaped it.
        schema_version: version of the schemas.
        pipeline_version: version of the program.
        writer: the Parquet writer and its version, and whether it did not compress.
        files: what is known of its files, by dataset.
        figures: figures about the day; pure functions of the captures and the settings.
        verdict: the verdict on it; None while not judged.
    """

    day: date
    capture: CaptureRef
    baseline: BaselineRef | None
    derivation: Mapping[str, Any]
    schema_version: int
    pipeline_version: str
    writer: str
    files: Mapping[str, DatasetInfo] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    verdict: Verdict | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the document that is stored, dataclasses and dates in it as they are."""
        return vars(self).copy()

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> CandidateManifest:
        """Return the manifest that a stored document describes.

        Raises:
            KeyError, TypeError, ValueError: it is no such document.
        """
        values = _from_json(content)
        if (verdict := values["verdict"]) is not None:
            values["verdict"] = Verdict(**{**verdict, "reasons": tuple(verdict["reasons"])})
        return cls(**values)


@dataclass(frozen=True)
class PublishedManifest:
    """A published day: every file with its digests, and what the day was made from.

    Attributes:
        day: the day.
        mode: `full` or `incremental`.
        reason: code of the reason for the mode.
        completeness: completeness score, 0 to 1; None when there was no independent count.
        rows: rows by dataset.
        judged: figures of the verdict under which it was published; where that refused it, `failed` has the
            reasons.
        capture, baseline, derivation, schema_version, pipeline_version, writer, files, figures: as in
            `CandidateManifest`.
    """

    day: date
    mode: str
    reason: str
    completeness: float | None
    rows: Mapping[str, int]
    judged: Mapping[str, Any]
    capture: CaptureRef
    baseline: BaselineRef | None
    derivation: Mapping[str, Any]
    schema_version: int
    pipeline_version: str
    writer: str
    files: Mapping[str, DatasetInfo]
    figures: Mapping[str, Any]

    @classmethod
    def of(cls, candidate: CandidateManifest) -> PublishedManifest:
        """Return the manifest under which a candidate is published."""
        values = candidate.to_json()
        verdict: Verdict | None = values.pop("verdict")
        judged = {} if verdict is None else dict(verdict.figures)
        if verdict is not None and not verdict.publishable:
            judged["failed"] = list(verdict.reasons)
        return cls(
            mode=candidate.capture.mode,
            reason=candidate.capture.reason,
            completeness=None if verdict is None else verdict.completeness,
            rows={dataset: info.rows for dataset, info in candidate.files.items()},
            judged=judged,
            **values,
        )

    @property
    def failed(self) -> tuple[str, ...]:
        """Why the checks refused the day, which was published nevertheless; empty where they did not."""
        return tuple(self.judged.get("failed", ()))

    @property
    def digest(self) -> str:
        """SHA-256 over what later days are derived from: the rows, not how Parquet was written."""
        rows = {dataset: info.row_digest for dataset, info in sorted(self.files.items())}
        return hashlib.sha256(json_bytes([self.day, self.schema_version, rows])).hexdigest()

    def as_baseline(self) -> BaselineRef:
        """Return the reference under which another day names this one as its baseline."""
        return BaselineRef(self.day, self.digest)

    def to_json(self) -> dict[str, Any]:
        """Return the document that is stored, dataclasses and dates in it as they are."""
        return vars(self).copy()

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> PublishedManifest:
        """Return the manifest that a stored document describes.

        Raises:
            KeyError, TypeError, ValueError: it is no such document.
        """
        return cls(**_from_json(content))


def with_file(manifest: CandidateManifest, dataset: str, info: DatasetInfo) -> CandidateManifest:
    """Return the manifest with a dataset added or replaced; equal sets of files give equal documents."""
    return replace(manifest, files=dict(sorted({**manifest.files, dataset: info}.items())))


def _from_json(content: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(content)
    values["day"] = date.fromisoformat(values["day"])
    values["capture"] = CaptureRef(**values["capture"])
    if (baseline := values["baseline"]) is not None:
        values["baseline"] = BaselineRef(date.fromisoformat(baseline["date"]), baseline["digest"])
    values["files"] = {dataset: DatasetInfo.from_json(info) for dataset, info in values["files"].items()}
    return values
