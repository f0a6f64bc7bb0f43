"""Settings that shape, judge and store a day do what their descriptions say.

One small catalogue is synced once; after that days are derived from its capture by the functions behind the
assets. Settings whose effect other modules show (modes, windows, sensors, schedules) are not repeated here.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import orjson
import pyarrow.parquet as pq
import pytest

from gguf_assets.catalogue.schema import DATASETS
from gguf_assets.catalogue.sync_plan import SyncMode, SyncRules
from gguf_assets.demo import documents
from gguf_assets.demo.faults import Fault, FaultKind
from gguf_assets.demo.server import LoopbackHub
from gguf_assets.errors import PermanentError
from gguf_assets.hub.walk import FULL_FIELDS
from gguf_assets.orchestration.assets.catalogue import derive_delta, derive_tables, write_delta
from gguf_assets.orchestration.capturing import CaptureRequest, needs_walk
from gguf_assets.orchestration.checks import COMPLETENESS
from gguf_assets.orchestration.derivation import derivation_settings, source_of
from gguf_assets.orchestration.instance import open_instance
from gguf_assets.orchestration.judging import Judgement, judge
from gguf_assets.orchestration.planning import sync_rules
from gguf_assets.orchestration.progress import Reporter
from gguf_assets.orchestration.resources import layout_of
from gguf_assets.orchestration.scoring import score_day
from gguf_assets.orchestration.walking import end_of_capture
from gguf_assets.settings.load import LoadedSettings, load_settings
from gguf_assets.store.manifests import CandidateManifest, Verdict
from gguf_assets.store.publish import publish
from gguf_assets.store.store import Store
from gguf_assets_tests.calling import Catalogue, assert_clear, call, checks_of, digests
from gguf_assets_tests.hubs import hub_of, repository

FIRST, SECOND = date(2025, 8, 10), date(2025, 8, 11)
LISTED = [repository(f"owner/model-{number:02d}-GGUF") for number in range(20)]
HIDDEN = repository("shy/hidden-GGUF", tags=("region:us",), library_name=None)
"""A GGUF model without the tag: the listing lacks it, its name and its file betray it."""
DETAILS = 3
WARN, ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR
FACTS_OF_FILES = {
    "files": {"file_facts_current", "shard_set_incomplete", "empty_file", "file_facts_confirmed"},
    "labels": {"same_bytes_under_two_labels", "label_size_mismatch"},
}
"""What `validation.enable_file_verification` switches, by check."""


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    everything = [*LISTED, HIDDEN]
    with hub_of({FIRST: everything, SECOND: everything}, tick=0) as hub:
        yield hub


@pytest.fixture(scope="module")
def first_day(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    hub.set_day(FIRST)
    budget = {"GGUF_SYNC__SYNC_BEHAVIOR__DETAIL_REQUESTS_PER_RUN": str(DETAILS)}
    catalogue = Catalogue(tmp_path_factory.mktemp("first"), hub, **budget)
    assert catalogue.sync().code == 0
    return catalogue


@pytest.fixture
def catalogue(first_day: Catalogue, tmp_path: Path) -> Catalogue:
    """A catalogue whose first day is published, on the second one."""
    first_day.hub.set_day(SECOND)
    return first_day.copy(tmp_path)


def settings_of(catalogue: Catalogue, **changed: str) -> LoadedSettings:
    """The settings of a catalogue with some keys changed: section__key=text."""
    variables = {f"GGUF_SYNC__{key.upper()}": text for key, text in changed.items()}
    return load_settings({**catalogue.environ, **variables})


def derived(catalogue: Catalogue, **changed: str) -> tuple[Store, CandidateManifest, Judgement]:
    """Derive and judge the first day again under changed settings."""
    loaded = settings_of(catalogue, **changed)
    store = Store(layout_of(loaded))
    source = source_of(store, FIRST, "no run", as_published=True)
    derive_tables(store, loaded, source, mock.create_autospec(Reporter, instance=True))
    write_delta(store, FIRST, derive_delta(store, loaded, FIRST))
    score_day(store, loaded, FIRST)
    judgement = judge(store, loaded, FIRST)
    return store, store.candidates.manifest(FIRST), judgement


def column(store: Store, name: str) -> dict[str, Any]:
    """A column of the candidate's models by name."""
    table = store.candidate_tables(FIRST).model_columns(["model_id", name])
    return dict(zip(*(table[key].to_pylist() for key in ("model_id", name)), strict=True))


def row_digests(manifest: Any) -> dict[str, str]:
    return {name: info.row_digest for name, info in manifest.files.items()}


def checks_in(judgement: Judgement) -> dict[str, dg.AssetCheckResult]:
    return {str(result.check_name): result for result in judgement.results}


def cut(count: int, *, broken: int = 0) -> Fault:
    """The Hub lists the first so many repositories, and the first of these without an identity."""
    rows = [documents.item(repository, FULL_FIELDS) for repository in LISTED[:count]]
    for row in rows[:broken]:
        del row["_id"]
    headers = {"content-type": "application/json"}
    return Fault(FaultKind.GARBAGE, "sort=createdAt", body=orjson.dumps(rows), headers=headers, count=None)


# What shapes a day


def test_without_deduplication_the_first_route_that_saw_a_model_counts_alone(catalogue: Catalogue) -> None:
    store, merged, _ = derived(catalogue)
    routes = column(store, "discovered_by")
    assert routes.pop(HIDDEN.model_id) == ["search", "apps"]
    assert {tuple(names) for names in routes.values()} == {("gguf", "search", "publishers", "apps")}

    store, first, judgement = derived(catalogue, sync_behavior__enable_deduplication="false")
    routes = column(store, "discovered_by")
    assert routes.pop(HIDDEN.model_id) == ["search"]
    assert {tuple(names) for names in routes.values()} == {("gguf",)}
    assert first.files["models"].rows == merged.files["models"].rows == len(LISTED) + 1
    assert (merged.derivation["enable_deduplication"], first.derivation["enable_deduplication"]) == (
        True,
        False,
    )
    different = {name for name in DATASETS if row_digests(first)[name] != row_digests(merged)[name]}
    assert different == {"models"}, "nothing else depends on it"
    told = checks_in(judgement)["discovery_routes"].description or ""
    assert told.startswith("models first seen by search: 1, publishers: 0, apps: 0")


def test_uncompressed_parquet_has_other_bytes_and_the_same_rows(catalogue: Catalogue) -> None:
    published = catalogue.store.published.manifest(FIRST)
    assert published is not None
    store, plain, _ = derived(catalogue, performance__enable_data_compression="false")
    for name in DATASETS:
        file = pq.ParquetFile(store.layout.candidate_file(name, FIRST)).metadata
        codecs = {
            file.row_group(group).column(position).compression
            for group in range(file.num_row_groups)
            for position in range(file.num_columns)
        }
        assert codecs <= {"UNCOMPRESSED"}
        assert bool(codecs) == bool(plain.files[name].rows)
    assert row_digests(plain) == row_digests(published)
    assert plain.files["models"].sha256 != published.files["models"].sha256
    assert plain.writer == f"{published.writer}, uncompressed"
    assert plain.derivation["enable_data_compression"] is False
    found = pq.ParquetFile(store.layout.candidate_findings(FIRST)).metadata
    assert found.num_rows == 0 or found.row_group(0).column(0).compression == "UNCOMPRESSED"

    _, again, _ = derived(catalogue)
    assert again.files == published.files, "compressed it is byte for byte what it was"


def test_without_parallel_processing_no_thread_is_started_and_the_bytes_are_the_same(
    catalogue: Catalogue,
) -> None:
    published = catalogue.store.published.manifest(FIRST)
    assert published is not None
    started: list[str] = []
    start = threading.Thread.start

    def noted(thread: threading.Thread) -> None:
        started.append(thread.name.partition("_")[0])
        start(thread)

    with mock.patch.object(threading.Thread, "start", noted):
        _, sequential, _ = derived(catalogue, performance__enable_parallel_processing="false")
        assert started == []
        _, parallel, _ = derived(catalogue)
        assert set(started) == {"ahead", "behind"}, "otherwise this test would show nothing"
    assert sequential.files == parallel.files == published.files


def test_without_quality_scoring_there_are_no_health_scores(catalogue: Catalogue) -> None:
    _, scored, _ = derived(catalogue)
    _, unscored, _ = derived(catalogue, validation__enable_quality_scoring="false")
    assert scored.files["health"].rows == scored.files["models"].rows == len(LISTED) + 1
    assert unscored.files["health"].rows == 0


def test_a_day_published_before_a_setting_was_recorded_is_derived_again_byte_for_byte(
    catalogue: Catalogue,
) -> None:
    path = catalogue.store.layout.published_manifest(FIRST)
    older = orjson.loads(path.read_bytes())
    for key in ("enable_deduplication", "enable_data_compression", "enable_file_verification"):
        del older["derivation"][key]
    path.write_bytes(orjson.dumps(older))
    files = {name: digests(catalogue.data / "published" / name) for name in DATASETS}
    baseline = catalogue.store.published.latest_before(SECOND)
    ended = catalogue.call("rederive", "--from", str(FIRST), "--to", str(FIRST))
    assert ended.code == 0, ended
    assert f"{FIRST}  identical" in ended.stdout
    assert {name: digests(catalogue.data / "published" / name) for name in DATASETS} == files
    again = catalogue.store.published.latest_before(SECOND)
    assert again is not None
    assert baseline is not None
    assert again.as_baseline() == baseline.as_baseline(), "later days built on it stay valid"


# What judges a day


def test_what_development_does_not_verify_reads_skipped(catalogue: Catalogue) -> None:
    catalogue.environ["SYNC_ENVIRONMENT"] = "development"
    _, manifest, judgement = derived(catalogue)
    assert manifest.derivation["enable_file_verification"] is False
    assert judgement.verdict.publishable
    assert switched_off(judgement) == FACTS_OF_FILES["files"] | FACTS_OF_FILES["labels"]
    checks = checks_in(judgement)
    for name, skipped in FACTS_OF_FILES.items():
        assert (checks[name].passed, checks[name].severity) == (False, WARN)
        told = (checks[name].description or "").partition("skipped: ")[2]
        named, _, why = told.partition(" (")
        assert set(named.split(", ")) == skipped
        assert why.startswith("switched off by validation.enable_file_verification)")


def switched_off(judgement: Judgement) -> set[str]:
    """The rules that were not applied because a setting says so."""
    why = judgement.verdict.figures["why_skipped"]
    return {rule for rule, text in why.items() if text.startswith("switched off by validation.")}


def test_without_schema_validation_the_rule_reads_skipped(catalogue: Catalogue) -> None:
    _, _, on = derived(catalogue)
    assert switched_off(on) == set()
    assert checks_in(on)["structure"].passed
    _, _, off = derived(catalogue, validation__enable_schema_validation="false")
    assert switched_off(off) == {"schema"}
    assert not checks_in(off)["structure"].passed


def test_a_disabled_rule_reads_skipped_and_stands_in_the_manifest(catalogue: Catalogue) -> None:
    store, on, judged = derived(catalogue)
    assert "no_gguf_file" not in judged.verdict.figures["skipped"]
    names = "no_gguf_file,empty_file"
    _, off, judgement = derived(catalogue, validation__disabled_rules=names)
    assert switched_off(judgement) == {"no_gguf_file", "empty_file"}
    assert judgement.verdict.publishable
    check = checks_in(judgement)["contents"]
    assert (check.passed, check.severity) == (False, WARN)
    assert "no_gguf_file (switched off by validation.disabled_rules)" in (check.description or "")
    assert (on.derivation["disabled_rules"], off.derivation["disabled_rules"]) == (
        [],
        ["empty_file", "no_gguf_file"],
    )
    assert store.candidates.manifest(FIRST).derivation == derivation_settings(
        settings_of(catalogue, validation__disabled_rules=names)
    ), "what is read back is what the settings say: a refused day is not taken for another one"


def test_what_shapes_rows_is_part_of_what_a_day_is_made_from_as_plain_values(catalogue: Catalogue) -> None:
    changed = settings_of(
        catalogue,
        validation__enable_automatic_fixes="false",
        quality_scoring__weight_licensed="9",
        validation__disabled_rules="schema,empty_file",
    )
    shaped, usual = derivation_settings(changed), derivation_settings(settings_of(catalogue))
    assert {key for key in usual if shaped[key] != usual[key]} == {
        "enable_automatic_fixes",
        "quality_scoring",
        "disabled_rules",
    }
    assert shaped["quality_scoring"] == {**usual["quality_scoring"], "weight_licensed": 9}
    assert shaped["disabled_rules"] == ["empty_file", "schema"], "their order says nothing"
    assert orjson.loads(orjson.dumps(shaped)) == shaped


def test_what_only_colours_a_check_is_no_part_of_what_a_day_is_made_from(catalogue: Catalogue) -> None:
    _, strict, judged = derived(catalogue, validation__min_file_detail_coverage="0.5")
    _, lenient, accepted = derived(catalogue, validation__min_file_detail_coverage="0.1")
    known = f"file details known for {DETAILS} of {len(LISTED) + 1} models: 0.1428 "
    for judgement, passed, said in (
        (judged, False, "is below 0.5"),
        (accepted, True, "reaches 0.1"),
    ):
        check = checks_in(judgement)["file_detail_coverage"]
        assert (check.passed, check.severity) == (passed, WARN)
        assert check.description == f"{known}{said} (validation.min_file_detail_coverage)"
        assert judgement.verdict.publishable, "it never blocks"
    assert strict.derivation == lenient.derivation
    assert strict.files == lenient.files


class Clock:
    """Stands still for so many looks, then a day has gone by."""

    def __init__(self, looks: int) -> None:
        self._looks = looks

    def __call__(self) -> float:
        self._looks -= 1
        return 0.0 if self._looks >= 0 else 86_400.0


@pytest.mark.parametrize("preserve", ["true", "false"])
@pytest.mark.parametrize(
    ("looks", "left_out"),
    [
        (1, "models from row 1 on and all files"),
        (2, "files from row 1 on"),
        (3, "the days before, repeated keys, parents, shard sets and counters"),
        (4, "repeated keys, parents, shard sets and counters"),
    ],
)
def test_a_validation_that_runs_out_of_time_publishes_nothing(
    catalogue: Catalogue, looks: int, left_out: str, preserve: str
) -> None:
    store = catalogue.store
    loaded = settings_of(
        catalogue,
        validation__validation_timeout_seconds="7",
        error_handling__preserve_data_on_failure=preserve,
    )
    before = catalogue.published()
    judgement = judge(store, loaded, FIRST, Clock(looks))
    reason = (
        "the validation was stopped after 7 s (validation.validation_timeout_seconds), before "
        f"{left_out} were checked"
    )
    assert (judgement.verdict.publishable, judgement.verdict.reasons) == (False, (reason,))
    check = checks_in(judgement)["structure"]
    assert (check.passed, check.severity) == (False, ERROR), "an unfinished judgement is none"
    said = check.description or ""
    assert f"time was up (validation.validation_timeout_seconds) before {left_out} were checked" in said
    assert "file_parent" in said.partition(", so not checked: ")[2]
    assert not checks_in(judgement)["files"].passed
    assert "file_parent" in judgement.verdict.figures["not_checked"]
    with pytest.raises(PermanentError, match="the validation was stopped after 7 s"):
        publish(store.layout, store.candidates.manifest(FIRST), despite_verdict=preserve == "false")
    assert catalogue.published() == before

    assert judge(store, loaded, FIRST, Clock(5)).verdict.publishable, "time enough: nothing was left out"


def test_a_capture_is_not_fetched_again_because_its_validation_ran_out_of_time(catalogue: Catalogue) -> None:
    store, request = catalogue.store, CaptureRequest(SyncMode.AUTO, refetch=False, detail_limit=None)
    shutil.rmtree(store.layout.published)
    loaded = settings_of(catalogue, validation__validation_timeout_seconds="7")
    assert not judge(store, loaded, FIRST, Clock(2)).verdict.publishable
    assert not needs_walk(store, FIRST, request, loaded)
    # What was judged unfit as a whole is no better when it is judged once more.
    store.candidates.record_verdict(FIRST, Verdict(publishable=False, reasons=("unfit",)), ())
    assert needs_walk(store, FIRST, request, settings_of(catalogue))


def published_metadata_of(catalogue: Catalogue) -> dict[str, Any]:
    """Metadata of the last materialisation of `published_catalogue`."""
    with (
        mock.patch.dict(os.environ, catalogue.environ, clear=True),
        open_instance(catalogue.store.layout.dagster_home) as instance,
    ):
        event = instance.get_latest_materialization_event(dg.AssetKey("published_catalogue"))
    assert event is not None
    assert event.asset_materialization is not None
    return {key: value.value for key, value in event.asset_materialization.metadata.items()}


def test_where_failing_days_are_published_too_the_day_says_that_it_failed(catalogue: Catalogue) -> None:
    assert published_metadata_of(catalogue)["failed_checks"] == 0
    off = {"GGUF_SYNC__ERROR_HANDLING__PRESERVE_DATA_ON_FAILURE": "false"}
    nobody = {"GGUF_SYNC__VALIDATION__REMOVAL_CONFIRM_LIMIT": "0"}
    calm = {"GGUF_SYNC__SYNC_BEHAVIOR__SIGNIFICANT_CHANGE_THRESHOLD": "1.0"}
    ended = catalogue.sync("--details", "none", fault=cut(12), **off, **nobody, **calm)
    assert ended.code == 0, ended
    assert "Published although a check failed: completeness 0.5714 is below the minimum 0.95" in ended.stdout

    # 12 of the 21 models of the day before are listed, nobody was asked after the others.
    text = "completeness 0.5714 is below the minimum 0.95"
    check = checks_of(catalogue)[COMPLETENESS]
    assert (check.passed, check.severity, check.blocking) == (False, WARN, True)
    assert (check.description or "").startswith(text)
    assert (check.description or "").endswith("error_handling.preserve_data_on_failure is off")
    candidate, manifest = (
        part.manifest(SECOND) for part in (catalogue.store.candidates, catalogue.store.published)
    )
    assert manifest is not None
    assert candidate.verdict is not None
    assert not candidate.verdict.publishable
    assert manifest.completeness == pytest.approx(12 / 21)
    (reason,) = manifest.failed
    assert reason.startswith(text)
    metadata = published_metadata_of(catalogue)
    assert metadata["failed_checks"] == 1
    assert metadata["verdict"].startswith("failed, and published nevertheless")
    assert text in metadata["verdict"]

    told = catalogue.call("report").stdout
    assert f"**Published although its checks failed**: {reason}." in told

    before = catalogue.published()
    with pytest.raises(PermanentError, match=r"completeness 0\.5714 is below"):
        publish(catalogue.store.layout, candidate)
    assert catalogue.published() == before


def test_an_unusable_listing_is_never_published(hub: LoopbackHub, catalogue: Catalogue) -> None:
    off = {"GGUF_SYNC__ERROR_HANDLING__PRESERVE_DATA_ON_FAILURE": "false"}
    before = catalogue.published()
    ended = catalogue.sync("--details", "none", fault=cut(20, broken=20), **off)
    assert_clear(ended, 1, "completeness 0.0000 is below the minimum 0.95 (the listing is empty")
    assert catalogue.published() == before


# Where and how things are stored


@pytest.fixture(scope="module")
def elsewhere(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Path]:
    """The first day synced under a file that moves everything and compresses no capture."""
    home = tmp_path_factory.mktemp("elsewhere")
    config = home / "config"
    config.mkdir()
    (config / "sync-config.yaml").write_text(
        f"environment: testing\n"
        f"sync_behavior:\n  detail_requests_per_run: {DETAILS}\n  last_sync_file: data/kept/last.json\n"
        f"storage:\n  data_directory: {home}/moved\n  reports_directory: {home}/told\n"
        "  enable_compression: false\n"
    )
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "NO_PROXY": "127.0.0.1,localhost",
        "HF_ENDPOINT": hub.url,
        "GGUF_ASSETS_CONFIG_DIR": str(config),
        "SYNC_ENVIRONMENT": "testing",
    }
    hub.set_day(FIRST)
    ended = call("sync", environ=environ)
    assert ended.code == 0, ended
    return environ, home


def test_uncompressed_captures_are_plain_json_and_give_the_same_day(
    elsewhere: tuple[dict[str, str], Path], first_day: Catalogue
) -> None:
    environ, _ = elsewhere
    store = Store(layout_of(load_settings(environ)))
    capture = store.captures.open(FIRST, 1)
    folder = store.layout.run_dir(FIRST, 1)
    names = sorted(path.name for path in folder.iterdir())
    assert names == [
        "details-00001.jsonl",
        "listing-00001.json",
        "manifest.json",
        "route-apps-00001.json",
        "route-publishers-00001.json",
        "route-search-00001.json",
    ]
    assert len(orjson.loads((folder / "listing-00001.json").read_bytes())) == len(LISTED)
    lines = (folder / "details-00001.jsonl").read_bytes().splitlines()
    assert len([orjson.loads(line) for line in lines]) == DETAILS
    for page in capture.pages:
        assert hashlib.sha256((folder / page.name).read_bytes()).hexdigest() == page.sha256

    compressed = first_day.store.captures.open(FIRST, 1)
    assert {path.suffix for path in first_day.store.layout.run_dir(FIRST, 1).iterdir()} == {".zst", ".json"}
    assert [content for _, content in capture.iter_pages()] == [c for _, c in compressed.iter_pages()]
    one, other = (s.published.manifest(FIRST) for s in (store, first_day.store))
    assert one is not None
    assert other is not None
    assert one.files == other.files, "how a capture is stored shows nowhere in the day"


def test_data_reports_and_last_sync_lie_where_the_settings_say(
    elsewhere: tuple[dict[str, str], Path],
) -> None:
    environ, home = elsewhere
    assert (home / f"moved/published/models/date={FIRST}/part-0.parquet").is_file()
    assert orjson.loads((home / "moved/kept/last.json").read_bytes())["success"] is True
    assert not (home / "moved/last_sync_metadata.json").exists()
    report = home / f"told/date={FIRST}/report.md"
    assert not (home / "moved/reports").exists()
    shown = call("report", environ=environ)
    assert (shown.code, shown.stdout.strip()) == (0, report.read_text().strip())
    again = call("sync", "--json", environ=environ)
    assert (again.code, again.json["duration_seconds"]) == (0, 0.0), "the report is found: nothing to do"


@pytest.mark.parametrize(
    ("setting", "place"),
    [
        ("", "data/reports"),
        ("reports", "data/reports"),
        ("data/reports", "data/reports"),
        ("kept/of days", "data/kept/of days"),
        ("/srv/told", "/srv/told"),
    ],
)
def test_a_relative_folder_of_reports_lies_below_the_data(tmp_path: Path, setting: str, place: str) -> None:
    environ = {
        "GGUF_ASSETS_DATA_DIR": str(tmp_path / "data"),
        "GGUF_SYNC__STORAGE__REPORTS_DIRECTORY": setting,
    }
    assert layout_of(load_settings(environ)).report_file(FIRST) == (
        tmp_path / place / "date=2025-08-10/report.md"
    )


def test_a_run_asks_for_as_many_details_as_the_settings_allow(first_day: Catalogue) -> None:
    capture = first_day.store.captures.open(FIRST, 1)
    assert (capture.plan.detail_limit, capture.detail_requests) == (DETAILS, DETAILS)
    assert capture.details_stopped == "budget"
    known = [row["details_sha"] for row in first_day.rows("models", FIRST) if row["details_sha"]]
    assert len(known) == DETAILS


@pytest.mark.parametrize(("hours", "end"), [(0, 0), (6, 6), (23, 23)])
def test_a_capture_may_be_finished_for_so_many_hours(tmp_path: Path, hours: int, end: int) -> None:
    loaded = load_settings(
        {
            "GGUF_ASSETS_DATA_DIR": str(tmp_path),
            "GGUF_SYNC__SYNC_BEHAVIOR__LATE_CAPTURE_HOURS": str(hours),
        }
    )
    assert end_of_capture(FIRST, loaded) == datetime(2025, 8, 11, end, tzinfo=UTC)


def test_what_the_settings_say_of_the_mode_reaches_the_decision(tmp_path: Path) -> None:
    said = {
        "MODE": "incremental",
        "FORCE_FULL_SYNC": "true",
        "INCREMENTAL_WINDOW_HOURS": "12",
        "FULL_SYNC_THRESHOLD_HOURS": "99",
        "SIGNIFICANT_CHANGE_THRESHOLD": "0.25",
        "CENSUS": "false",
        "ENABLE_MULTI_STRATEGY_DISCOVERY": "false",
    }
    environ = {f"GGUF_SYNC__SYNC_BEHAVIOR__{key}": text for key, text in said.items()}
    loaded = load_settings({"GGUF_ASSETS_DATA_DIR": str(tmp_path), **environ})
    assert sync_rules(loaded) == SyncRules(
        mode=SyncMode.INCREMENTAL,
        force_full_sync=True,
        incremental_window_hours=12,
        full_sync_threshold_hours=99,
        significant_change_threshold=0.25,
        census=False,
        multi_strategy_discovery=False,
    )
