import os

import pyarrow.parquet as pq
import pytest

from gguf_assets.catalogue.schema import DATASETS, SCHEMA_VERSION
from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.store.candidates import Candidates
from gguf_assets.store.datasets import WRITER, verify
from gguf_assets.store.manifests import CaptureRef, Verdict
from gguf_assets.store.publish import publish
from gguf_assets_tests.store.days import DAY, NEXT, candidate, finished_capture, models


def begin(layout, day=DAY):
    return Candidates(layout).begin(
        day,
        capture=CaptureRef.of(finished_capture(layout, day)),
        baseline=None,
        derivation={"removal_confirm_limit": 500},
        pipeline_version="0.1.0",
    )


def test_a_candidate_says_what_it_is_made_from(layout):
    manifest = begin(layout)
    assert manifest.capture == CaptureRef(1, 1, 0, "full", "full", "first_run")
    assert (manifest.schema_version, manifest.writer) == (SCHEMA_VERSION, WRITER)
    assert Candidates(layout).manifest(DAY) == manifest


def test_a_candidate_that_is_not_compressed_says_so_and_has_the_same_rows(layout):
    packed = candidate(layout, DAY, {"a": "o/a"})
    plain = Candidates(layout).begin(
        DAY,
        capture=packed.capture,
        baseline=None,
        derivation=packed.derivation,
        pipeline_version="0.1.0",
        compress=False,
    )
    assert plain.writer == f"{WRITER}, uncompressed"
    with Candidates(layout).writer("models", DAY) as writer:
        writer.write(models(DAY, {"a": "o/a"}))
    column = pq.ParquetFile(layout.candidate_file("models", DAY)).metadata.row_group(0).column(0)
    assert column.compression == "UNCOMPRESSED"
    assert writer.info.row_digest == packed.files["models"].row_digest
    assert writer.info.sha256 != packed.files["models"].sha256


def test_files_figures_and_verdict_come_back(layout):
    written = candidate(layout, DAY, {"a": "o/a"}, verdict=None)
    store = Candidates(layout)
    store.record(DAY, figures={"models": 1, "added": 0})
    store.record(DAY, figures={"added": 1})
    verdict = Verdict(publishable=False, reasons=("too few",), completeness=0.5, figures={"fill": 1.0})
    store.record_verdict(DAY, verdict, judged=["models", "files"])
    read = store.manifest(DAY)
    assert set(read.files) == set(DATASETS)
    assert read.files == written.files
    assert read.figures == {"added": 1, "models": 1}
    assert (read.verdict.publishable, read.verdict.reasons) == (False, ("too few",))
    assert (read.verdict.completeness, read.verdict.figures) == (0.5, {"fill": 1.0})
    assert read.verdict.files == {name: read.files[name].sha256 for name in ("files", "models")}
    for name, info in read.files.items():
        verify(layout.candidate_file(name, DAY), info)


def test_beginning_anew_forgets_what_was_recorded_and_keeps_files_until_rewritten(layout):
    candidate(layout, DAY, {"a": "o/a"})
    path = layout.candidate_file("models", DAY)
    before = path.read_bytes()
    manifest = begin(layout)
    assert (dict(manifest.files), manifest.verdict) == ({}, None)
    assert path.read_bytes() == before


def test_the_same_candidate_has_the_same_bytes_and_metadata_without_clock_or_run(layout):
    first = candidate(layout, DAY, {"a": "o/a"})
    manifest = layout.candidate_manifest(DAY).read_bytes()
    assert candidate(layout, DAY, {"a": "o/a"}) == first
    assert layout.candidate_manifest(DAY).read_bytes() == manifest
    metadata = pq.ParquetFile(layout.candidate_file("models", DAY)).schema_arrow.metadata
    assert metadata == {
        b"gguf_assets.baseline": b"",
        b"gguf_assets.dataset": b"models",
        b"gguf_assets.day": b"2025-08-10",
        b"gguf_assets.mode": b"full",
        b"gguf_assets.pipeline_version": b"0.1.0",
        b"gguf_assets.reason": b"first_run",
        b"gguf_assets.schema_version": str(SCHEMA_VERSION).encode(),
    }


def test_a_candidate_names_its_baseline(layout):
    published = publish(layout, candidate(layout, DAY, {"a": "o/a"})).manifest
    assert candidate(layout, NEXT, {"a": "o/a"}).baseline == published.as_baseline()
    metadata = pq.ParquetFile(layout.candidate_file("files", NEXT)).schema_arrow.metadata
    assert metadata[b"gguf_assets.baseline"] == b"2025-08-10"


def test_steps_in_several_processes_lose_nothing_of_each_other(layout):
    begin(layout)
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            for step in range(10):
                Candidates(layout).record(DAY, figures={f"{number}-{step}": step})
            os._exit(0)
        children.append(child)
    assert all(os.waitpid(child, 0)[1] == 0 for child in children)
    assert len(Candidates(layout).manifest(DAY).figures) == 40


def test_what_is_missing_is_named(layout):
    store = Candidates(layout)
    with pytest.raises(PermanentError, match=f"{DAY} has no candidate") as caught:
        store.manifest(DAY)
    assert f"gguf-assets rederive --from {DAY} --to {DAY}" in caught.value.remedy
    begin(layout)
    with pytest.raises(PermanentError, match="cannot be judged: models not written yet"):
        store.record_verdict(DAY, Verdict(publishable=True), judged=["models"])
    layout.candidate_manifest(DAY).write_bytes(b"{}")
    with pytest.raises(PermanentError, match="damaged") as caught:
        store.manifest(DAY)
    assert caught.value.category is ErrorCategory.DATA


def test_a_candidate_file_that_fails_leaves_the_one_before(layout):
    candidate(layout, DAY, {"a": "o/a"})
    before = layout.candidate_file("models", DAY).read_bytes()
    with pytest.raises(KeyError), Candidates(layout).writer("models", DAY) as writer:
        writer.write(models(DAY, {"b": "o/b"}))
        raise KeyError
    assert layout.candidate_file("models", DAY).read_bytes() == before
