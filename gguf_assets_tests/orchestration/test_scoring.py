"""The health of a candidate as the settings weigh it: rows, figures of the manifest, what the UI shows."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gguf_assets.catalogue.schema import DATASETS
from gguf_assets.orchestration.scoring import Scored, score_day
from gguf_assets.quality.health_checks import HEALTH_CHECKS
from gguf_assets.settings.load import load_settings
from gguf_assets.settings.quality_sections import QualityScoring
from gguf_assets.store.layout import Layout
from gguf_assets.store.manifests import CaptureRef
from gguf_assets.store.store import Store
from gguf_assets_tests.quality.tables import DAY, file, hub_id, model

WRONG = {"shard_set_complete": False, "sha256": None, "flags": ["label_size_mismatch"], "size_bytes": 10}
BARE = {"license": None, "base_models": [], "base_relation": None, "pipeline_tag": None}
MODELS = [
    model(3),
    model(2, model_id="owner/a|b<script>*", presence="unconfirmed", gated="manual", **BARE),
    model(1, license="other", library_name=None),
]
FILES = [file(3), file(2, **WRONG), file(2, "z.gguf", quantization=None, **WRONG), file(1)]
SCORES = {
    # check: scores of the models 3, 2 and 1, read off the rows above
    "listed": (10, 0, 10), "reachable": (10, 5, 10), "model_file": (10, 0, 10),
    "shards_complete": (10, 0, 10), "files_not_empty": (10, 0, 10), "labels_plausible": (10, 0, 10),
    "labelled": (10, 5, 10), "verifiable": (10, 0, 10), "licensed": (10, 0, 5),
    "base_model": (10, 0, 10), "described": (10, 5, 5),
}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with a candidate of three models."""
    data = tmp_path_factory.mktemp("data")
    store = Store(Layout(data, data))
    capture = CaptureRef(1, 1, 0, "full", "full", "first_run")
    store.candidates.begin(DAY, capture=capture, baseline=None, derivation={}, pipeline_version="1")
    for name, rows in (("models", MODELS), ("files", FILES)):
        with store.candidates.writer(name, DAY) as writer:
            writer.write(pa.Table.from_pylist(rows, schema=DATASETS[name].arrow))
        store.candidates.record(DAY, {name: writer.info})
    return store


def scored(store: Store, tmp_path: Path, **changed: object) -> Scored:
    variables = {f"GGUF_SYNC__{key.upper()}": str(value) for key, value in changed.items()}
    environ = {"SYNC_ENVIRONMENT": "testing", "GGUF_ASSETS_DATA_DIR": str(tmp_path), **variables}
    return score_day(store, load_settings(environ), DAY)


def rows(store: Store) -> list[dict[str, Any]]:
    with pq.ParquetFile(store.layout.candidate_file("health", DAY)) as health:
        return health.read().to_pylist()


def expected(weights: dict[str, int], position: int) -> float:
    total = sum(SCORES[name][position] * weight for name, weight in weights.items())
    mean = Fraction(total, sum(weights.values()))
    return int(mean * 100 + Fraction(1, 2)) / 100


def test_every_weight_of_the_settings_changes_scores_as_computed_here(store: Store, tmp_path: Path) -> None:
    weights = {key.removeprefix("weight_"): weight for key, weight in QualityScoring().model_dump().items()}
    assert weights.keys() == SCORES.keys()
    scored(store, tmp_path)
    unchanged = [row["score"] for row in rows(store)]
    assert unchanged == [expected(weights, n) for n in range(3)]
    for check in weights:
        for weight in (0, 90):
            changed = weights | {check: weight}
            health = scored(store, tmp_path, **{f"quality_scoring__weight_{check}": weight})
            scores = [row["score"] for row in rows(store)]
            assert scores == [expected(changed, n) for n in range(3)] != unchanged, check
            listed = [{c["name"]: c["weight"] for c in row["checks"]} for row in rows(store)]
            assert listed == [{name: w for name, w in changed.items() if w}] * 3
            assert {name: c["weight"] for name, c in health.figures["checks"].items()} == listed[0]


def test_the_figures_stand_in_the_manifest_of_the_candidate(store: Store, tmp_path: Path) -> None:
    health = scored(store, tmp_path)
    figures = store.candidates.manifest(DAY).figures
    assert figures["health"] == health.figures
    assert figures["grades"] == health.figures["grades"] == {"A": 2, "B": 0, "C": 0, "D": 0, "F": 1}
    assert health.figures["median"] == sorted(row["score"] for row in rows(store))[1]
    assert health.figures["checks"]["licensed"] == {"mean": 5.0, "known": 3, "full": 1, "weight": 4}


def test_the_same_candidate_gives_the_same_bytes_again(store: Store, tmp_path: Path) -> None:
    assert scored(store, tmp_path).info == scored(store, tmp_path).info


def test_the_ui_shows_the_same_numbers_every_day_and_what_is_wanting(store: Store, tmp_path: Path) -> None:
    def numbers(metadata: dict[str, Any]) -> dict[str, Any]:
        plain = {key: value for key, value in metadata.items() if isinstance(value, int | float)}
        floats = {k: v.value for k, v in metadata.items() if isinstance(v, dg.FloatMetadataValue)}
        return plain | floats

    on = scored(store, tmp_path)
    off = scored(store, tmp_path, validation__enable_quality_scoring="false")
    assert numbers(on.metadata()).keys() == numbers(off.metadata()).keys()
    assert {f"mean_{check}" for check in HEALTH_CHECKS} | {"mean_score"} <= numbers(on.metadata()).keys()
    assert numbers(on.metadata())["mean_score"] == on.figures["mean"]
    assert (off.metadata()["status"], off.info.rows, off.worst) == ("unknown", 0, [])
    assert [worst.hub_id for worst in on.worst] == [hub_id(2), hub_id(1), hub_id(3)]
    table = on.metadata()["worst_models"].value
    line = next(line for line in table.splitlines() if "owner/a" in line)
    assert "<script" not in table and line.replace("\\|", "").count("|") == 5
    assert "`model_file`: every one is empty, too small to hold a tensor, or lacks shards. Upload" in line
