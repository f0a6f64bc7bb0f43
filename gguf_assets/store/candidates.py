"""Candidates: a day as it would look when published, written before it is judged.

What belongs here: candidate files and the manifest that says what they are made from and what was found.
What does not: judging them (`quality/`) and making them visible (`publish.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from filelock import FileLock

from gguf_assets.atomic import damaged, read_json, storage_errors, write_json
from gguf_assets.catalogue.schema import DATASETS, SCHEMA_VERSION
from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.store.datasets import PLAIN_WRITER, WRITER, DatasetInfo, DatasetWriter
from gguf_assets.store.layout import Layout
from gguf_assets.store.manifests import (
    BaselineRef,
    CandidateManifest,
    CaptureRef,
    PublishedManifest,
    Verdict,
    with_file,
)


def file_metadata(dataset: str, manifest: CandidateManifest | PublishedManifest) -> dict[str, str]:
    """Return the key-value metadata that say what a file of a day is made from."""
    baseline = manifest.baseline
    return {
        "gguf_assets.dataset": dataset,
        "gguf_assets.day": manifest.day.isoformat(),
        "gguf_assets.mode": manifest.capture.mode,
        "gguf_assets.reason": manifest.capture.reason,
        "gguf_assets.baseline": "" if baseline is None else baseline.date.isoformat(),
        "gguf_assets.schema_version": str(manifest.schema_version),
        "gguf_assets.pipeline_version": manifest.pipeline_version,
    }


class Candidates:
    """The candidates of a store, one per day.

    Steps of one run may record at the same time, also from several processes.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def begin(
        self,
        day: date,
        *,
        capture: CaptureRef,
        baseline: BaselineRef | None,
        derivation: Mapping[str, Any],
        pipeline_version: str,
        compress: bool = True,
    ) -> CandidateManifest:
        """Start a day's candidate anew; files of an earlier one stay until they are written again.

        Args:
            day: the day.
            capture: the capture it is made from.
            baseline: the published day before it; None without one.
            derivation: the settings that shape it, as plain JSON values.
            pipeline_version: version of the program.
            compress: whether its files are compressed; other bytes, the same rows.

        Raises:
            PermanentError: the disk refused (category `storage`).
        """
        manifest = CandidateManifest(
            day=day,
            capture=capture,
            baseline=baseline,
            derivation=dict(derivation),
            schema_version=SCHEMA_VERSION,
            pipeline_version=pipeline_version,
            writer=WRITER if compress else PLAIN_WRITER,
        )
        write_json(self._layout.candidate_manifest(day), manifest.to_json())
        return manifest

    def manifest(self, day: date) -> CandidateManifest:
        """Return the manifest of a day's candidate.

        Raises:
            PermanentError: there is none, or it is damaged (category `data`).
        """
        path = self._layout.candidate_manifest(day)
        content = read_json(path)
        remedy = f"Derive it again from the stored capture: gguf-assets rederive --from {day} --to {day}"
        if content is None:
            raise PermanentError(
                f"{day} has no candidate: {path} is missing", category=ErrorCategory.DATA, remedy=remedy
            )
        try:
            return CandidateManifest.from_json(content)
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(path, f"it is no candidate manifest ({error!r})", remedy) from error

    def writer(self, dataset: str, day: date) -> DatasetWriter:
        """Return a writer of a day's candidate file with the declared columns.

        The key-value metadata of the file say what it is made from. Hand `writer.info` to `record`.
        """
        manifest = self.manifest(day)
        path = self._layout.candidate_file(dataset, day)
        compress = manifest.writer != PLAIN_WRITER
        metadata = file_metadata(dataset, manifest)
        return DatasetWriter(path, DATASETS[dataset].arrow, metadata=metadata, compress=compress)

    def record(
        self,
        day: date,
        files: Mapping[str, DatasetInfo] | None = None,
        figures: Mapping[str, Any] | None = None,
    ) -> CandidateManifest:
        """Add written files, by dataset, and figures to a day's candidate; the last of a name counts.

        Raises:
            PermanentError: there is no candidate (category `data`) or the disk refused (category `storage`).
        """

        def change(manifest: CandidateManifest) -> CandidateManifest:
            for dataset, info in (files or {}).items():
                manifest = with_file(manifest, dataset, info)
            return replace(manifest, figures=dict(sorted({**manifest.figures, **(figures or {})}.items())))

        return self._change(day, change)

    def record_verdict(self, day: date, verdict: Verdict, judged: Collection[str]) -> CandidateManifest:
        """Store the verdict on a day's candidate with the digests of the datasets it judged.

        Raises:
            PermanentError: there is no candidate, or a judged dataset is not recorded (category `data`).
        """

        def change(manifest: CandidateManifest) -> CandidateManifest:
            missing = sorted(set(judged) - set(manifest.files))
            if missing:
                raise PermanentError(
                    f"The candidate of {day} cannot be judged: {', '.join(missing)} not written yet",
                    category=ErrorCategory.DATA,
                    remedy=f"Derive the day again: gguf-assets rederive --from {day} --to {day}",
                )
            digests = {dataset: manifest.files[dataset].sha256 for dataset in sorted(judged)}
            return replace(manifest, verdict=replace(verdict, files=digests))

        return self._change(day, change)

    def _change(
        self, day: date, change: Callable[[CandidateManifest], CandidateManifest]
    ) -> CandidateManifest:
        """Replace a manifest by what `change` makes of it, one process at a time."""
        lock = self._layout.candidate_lock_file
        with storage_errors(lock, "lock"):
            lock.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(lock, timeout=60, fallback_to_soft=False):
                manifest = change(self.manifest(day))
                write_json(self._layout.candidate_manifest(day), manifest.to_json())
        return manifest
