"""A workflow of GitHub Actions: annotations, the step summary, and nothing of it when switched off."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml

from gguf_assets.demo.faults import Fault
from gguf_assets.demo.server import LoopbackHub
from gguf_assets_tests.calling import Catalogue
from gguf_assets_tests.hubs import hub_of, repository

FIRST = date(2025, 8, 10)
DAYS = [FIRST + timedelta(days=number) for number in range(2)]
MODELS = [repository(f"owner/model-{number}") for number in range(3)]
DOWN = Fault("status", status=503, count=None)
SWITCH = "GGUF_SYNC__ENABLE_GITHUB_ACTIONS_INTEGRATION"
DOCUMENT = Path(__file__).parents[1] / "docs" / "github-actions.md"


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    with hub_of(dict.fromkeys(DAYS, MODELS), day=FIRST, tick=0) as hub:
        yield hub


@pytest.fixture(scope="module")
def first_day(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    catalogue = Catalogue(tmp_path_factory.mktemp("first"), hub, GITHUB_ACTIONS="true", **{SWITCH: "false"})
    summary = catalogue.home / "summary.md"
    hub.set_day(FIRST)
    done = catalogue.sync(GITHUB_STEP_SUMMARY=str(summary))
    assert done.code == 0
    assert "::" not in done.stdout + done.stderr.replace("::1", "")
    assert not summary.exists(), "switched off: nothing of it"
    return catalogue


class Workflow:
    """A runner's step in a copy of the catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue, self.summary = catalogue, catalogue.home / "summary.md"
        self.environ = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(self.summary), SWITCH: "true"}

    @property
    def said(self) -> str:
        return self.summary.read_text() if self.summary.exists() else ""


@pytest.fixture
def workflow(first_day: Catalogue, hub: LoopbackHub, tmp_path: Path) -> Workflow:
    hub.set_day(DAYS[1])
    return Workflow(first_day.copy(tmp_path, MAX_RETRIES="0"))


def annotations(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("::")]


def test_a_failed_sync_is_an_error_line_and_stands_in_the_summary(workflow):
    failed = workflow.catalogue.sync("--json", fault=DOWN, **workflow.environ)
    assert failed.code == 1
    (line,) = annotations(failed.stderr)
    assert line.startswith("::error title=")
    assert "503" in line
    assert failed.json["published"] is False, "the object is the last line of stdout"
    assert annotations(failed.stdout) == []
    assert "failed (api)" in workflow.said
    assert "Run the same command again later" in workflow.said


def test_a_day_that_is_published_brings_its_report(workflow):
    done = workflow.catalogue.sync("--json", **workflow.environ)
    assert done.code == 0
    assert done.json["published"] is True
    report = (workflow.catalogue.data / "reports" / f"date={DAYS[1]}" / "report.md").read_text()
    assert workflow.said.strip().endswith(report.strip())


def test_a_check_that_warns_is_a_warning_line(workflow, tmp_path):
    more = [*MODELS, repository("owner/new")]
    with hub_of({FIRST: MODELS, DAYS[1]: more}, day=DAYS[1], tick=0) as other:
        done = workflow.catalogue.call(
            "sync",
            "--details",
            "none",
            **workflow.environ,
            HF_ENDPOINT=other.url,
            GGUF_SYNC__VALIDATION__MIN_FILE_DETAIL_COVERAGE="1",
        )
    assert done.code == 0
    assert any(
        line.startswith("::warning title=") and "file_detail_coverage" in line
        for line in annotations(done.stderr)
    ), done.stderr


def test_a_refusal_is_an_error_line_with_its_exit_code(workflow):
    refused = workflow.catalogue.sync("--date", "2024-01-01", **workflow.environ)
    assert refused.code == 2
    (line,) = annotations(refused.stderr)
    assert line.startswith("::error title=Nothing was synced")


@pytest.mark.parametrize("away", [{SWITCH: "false"}, {"GITHUB_ACTIONS": ""}])
def test_elsewhere_and_switched_off_nothing_of_it_is_there(workflow, away):
    failed = workflow.catalogue.sync(fault=DOWN, **{**workflow.environ, **away})
    assert failed.code == 1
    assert annotations(failed.stderr + failed.stdout) == []
    assert workflow.said == ""


def test_a_summary_that_cannot_be_written_fails_nothing(workflow):
    workflow.summary.mkdir()
    assert workflow.catalogue.sync(**workflow.environ).code == 0


def test_the_documented_workflow_is_one():
    text = DOCUMENT.read_text(encoding="utf-8")
    document = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    triggers = document.get("on", document.get(True))  # YAML 1.1 reads the key `on` as true
    assert triggers["schedule"][0]["cron"] == "30 2 * * *"
    (job,) = document["jobs"].values()
    steps = [step.get("run", "") for step in job["steps"]]
    assert any("gguf-assets sync" in step for step in steps)
    assert "secrets.HUGGINGFACE_TOKEN" in str(job)
    assert any(step.get("uses", "").startswith("actions/upload-artifact@") for step in job["steps"])
    assert job["permissions"]["issues"] == "write"
