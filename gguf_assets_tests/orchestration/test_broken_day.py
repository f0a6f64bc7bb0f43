"""A day that is broken for every group of rules, judged in the UI's way: each check says so with its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import dagster as dg
import orjson
import pyarrow as pa
import pytest

from gguf_assets.catalogue.findings import Finding, findings_table
from gguf_assets.catalogue.schema import DATASETS, ISSUES
from gguf_assets.orchestration.judging import Judgement, judge
from gguf_assets.settings.load import load_settings
from gguf_assets.store.datasets import read_table, write_table
from gguf_assets_tests.calling import Catalogue, failure_text, launch
from gguf_assets_tests.hubs import gguf, hub_of, plain, repository

FIRST, SECOND = date(2025, 8, 10), date(2025, 8, 11)
ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
TWO_LABELS = (plain("README.md"), gguf("m.Q4_K_M.gguf"), gguf("m.Q8_0.gguf", 8_000_000_000))
REPOSITORIES = [repository(f"owner/model-{number}", files=TWO_LABELS) for number in range(8)]
BROKEN = {
    # group: the rule that is broken, and the severity of the check
    "structure": ("model_unique_id", ERROR),
    "paths": ("file_path", ERROR),
    "dates": ("created_after_modified", WARN),
    "counters": ("counters_possible", WARN),
    "files": ("empty_file", WARN),
    "labels": ("same_bytes_under_two_labels", WARN),
    "contents": ("no_gguf_file", WARN),
    "day": ("partial_day", WARN),
    "reading": ("wrong_type", WARN),
}
SWITCHABLE = sorted(
    rule for group, (rule, _) in BROKEN.items() if group not in ("structure", "paths", "reading")
)

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Judged:
    """What came of judging and publishing the broken day in one run."""

    catalogue: Catalogue
    before: dict[str, str]
    run: dg.ExecuteInProcessResult
    checks: dict[str, dg.AssetCheckEvaluation]


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    with hub_of({FIRST: REPOSITORIES, SECOND: REPOSITORIES}) as hub:
        catalogue = Catalogue(tmp_path_factory.mktemp("broken"), hub)
        for day in (FIRST, SECOND):
            hub.set_day(day)
            assert catalogue.sync("--details", "all").code == 0
        remember_larger_days(catalogue)
        rewrite(catalogue, "models", break_models)
        rewrite(catalogue, "files", break_files)
        found = Finding("wrong_type", "warning", "`likes` is no number", model_id="owner/a\n|b", value="many")
        write_table(
            catalogue.store.layout.candidate_findings(SECOND), findings_table([found], SECOND), ISSUES.arrow
        )
        before = catalogue.published()
        run = launch(catalogue, SECOND, "validation_report", "published_catalogue")
        checks = {check.check_name: check for check in run.get_asset_check_evaluations()}
        yield Judged(catalogue, before, run, checks)


def remember_larger_days(catalogue: Catalogue) -> None:
    """Let the first day stand on three earlier ones on which the Hub listed ten times as many."""
    path = catalogue.store.layout.published_manifest(FIRST)
    manifest = orjson.loads(path.read_bytes())
    for back in (1, 2, 3):
        day = FIRST - timedelta(days=back)
        manifest["baseline"] = {"date": day.isoformat(), "digest": "0" * 64}
        path.write_bytes(orjson.dumps(manifest))
        path = path.with_name(f"date={day}.json")
        manifest = {
            **manifest,
            "day": day.isoformat(),
            "baseline": None,
            "figures": {**manifest["figures"], "listed": 10 * len(REPOSITORIES)},
        }
        path.write_bytes(orjson.dumps(manifest))


def rewrite(catalogue: Catalogue, dataset: str, change: Callable[[Rows], None]) -> None:
    """Change rows of the candidate."""
    store = catalogue.store
    rows = read_table(store.layout.candidate_file(dataset, SECOND)).to_pylist()
    change(rows)
    with store.candidates.writer(dataset, SECOND) as writer:
        writer.write(pa.Table.from_pylist(rows, schema=DATASETS[dataset].arrow))
    store.candidates.record(SECOND, {dataset: writer.info})


def break_models(rows: Rows) -> None:
    rows[1]["last_modified"] = rows[1]["created_at"] - timedelta(days=1)
    rows[2]["downloads_all_time"] = rows[2]["downloads"] - 1
    rows[3]["gguf_files"] = 0
    rows.insert(0, rows[0])


def break_files(rows: Rows) -> None:
    rows[0]["path"] = "../../etc/passwd"
    rows[2]["size_bytes"] = 0
    of_last = [row for row in rows if row["hub_id"] == rows[-1]["hub_id"] and row["role"] == "model"]
    for row in of_last:
        row["sha256"] = "f" * 64


@pytest.mark.parametrize("group", BROKEN)
def test_every_check_tells_the_broken_rule_and_shows_its_rows(broken: Judged, group: str) -> None:
    rule, severity = BROKEN[group]
    check = broken.checks[group]
    assert (check.passed, check.severity) == (False, severity)
    assert f"{rule} (" in (check.description or "").partition("broken: ")[2]
    assert int(str(check.metadata[rule].value)) >= 1
    table = check.metadata["findings"]
    assert isinstance(table, dg.TableMetadataValue)
    assert 1 <= len(table.records) <= 10
    assert rule in {record.data["rule"] for record in table.records}
    assert all(str(cell).isprintable() for record in table.records for cell in record.data.values())


def test_rows_name_model_path_and_value(broken: Judged) -> None:
    (row,) = [r.data for r in broken.checks["paths"].metadata["findings"].records]
    assert row == {
        "rule": "file_path",
        "severity": "error",
        "model": row["model"],
        "path": "../../etc/passwd",
        "value": "../../etc/passwd",
        "message": "The path would lead out of its repository.",
        "fixed to": "",
    }
    assert row["model"] in {repository.model_id for repository in REPOSITORIES}


def test_red_checks_stop_publishing_in_the_same_run(broken: Judged) -> None:
    assert not broken.run.success, "a failed blocking check fails the run"
    assert {name for name, check in broken.checks.items() if check.blocking and not check.passed} >= {
        "structure",
        "paths",
    }
    written = {event.asset_key.to_user_string() for event in broken.run.get_asset_materialization_events()}
    assert written == {"validation_report"}
    assert broken.catalogue.published() == broken.before


def test_published_catalogue_alone_refuses_the_day_with_the_broken_rules(broken: Judged) -> None:
    alone = launch(broken.catalogue, SECOND, "published_catalogue")
    assert not alone.success
    told = failure_text(alone)
    assert "rule model_unique_id is broken (2 findings)" in told
    assert "rule file_path is broken (1 findings)" in told
    assert broken.catalogue.published() == broken.before


def test_the_counts_of_every_rule_are_numbers_of_the_materialisation(broken: Judged) -> None:
    (event,) = broken.run.get_asset_materialization_events()
    metadata = {key: entry.value for key, entry in event.materialization.metadata.items()}
    for rule, _ in BROKEN.values():
        assert int(metadata[f"findings_{rule}"]) >= 1, rule
    assert metadata["findings_file_parent"] == 0
    assert (metadata["fixed"], metadata["rules_not_checked"]) == (0, 0)
    assert metadata["skipped"]["header_unreadable"] == "no header was read"
    assert metadata["rules_skipped"] == len(metadata["skipped"])


def judged(broken: Judged, **validation: str) -> Judgement:
    """Judge the broken day under these settings of the section `validation`."""
    variables = {f"GGUF_SYNC__VALIDATION__{key.upper()}": text for key, text in validation.items()}
    loaded = load_settings({**broken.catalogue.environ, **variables})
    return judge(broken.catalogue.store, loaded, SECOND)


def test_rules_that_are_switched_off_find_nothing_and_never_look_like_passed(broken: Judged) -> None:
    judgement = judged(broken, disabled_rules=",".join(SWITCHABLE))
    checks = {str(check.check_name): check for check in judgement.results}
    for group, (rule, _) in BROKEN.items():
        check = checks[group]
        if rule in SWITCHABLE:
            assert (check.passed, check.severity) == (False, WARN)
            assert f"{rule} (switched off by validation.disabled_rules)" in (check.description or "")
            assert "broken" not in (check.description or "")
            assert judgement.verdict.figures["findings"][rule] == 0
    why = judgement.verdict.figures["why_skipped"]
    assert {rule for rule, text in why.items() if text.startswith("switched off")} == set(SWITCHABLE)
    manifest = broken.catalogue.store.candidates.manifest(SECOND)
    issues = read_table(broken.catalogue.store.layout.candidate_file("issues", SECOND))
    assert manifest.files["issues"].rows == issues.num_rows
    assert set(issues["rule"].to_pylist()).isdisjoint(SWITCHABLE)
