"""A catalogue under test in this process: a home folder, the Hub it is filled from, what lies on the disk.

Commands run through the command line's own parser, in this process, which takes a second where a process of
its own takes four. `running` has the latter.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import pyarrow.parquet as pq
import typer.main
import typer.testing
from typer.testing import CliRunner

from gguf_assets.demo.faults import Fault
from gguf_assets.demo.server import LoopbackHub
from gguf_assets.store.history import SyncRecord
from gguf_assets.store.layout import Layout
from gguf_assets.store.store import Store
from gguf_assets_tests.quicker import close_databases
from gguf_assets_tests.running import Ended, environment


def call(*arguments: str, environ: Mapping[str, str]) -> Ended:
    """Run `gguf-assets ARGUMENTS` in this process, which has nothing but this environment meanwhile."""
    from gguf_assets.cli import app

    with mock.patch.dict(os.environ, environ, clear=True):
        result = runner().invoke(app, list(arguments))
    return Ended(result.exit_code, result.stdout, result.stderr)


@cache
def runner() -> CliRunner:
    """Return what runs commands; it builds the parsers once, which takes longer than most commands."""
    typer.testing._get_command = cache(typer.main.get_command)  # type: ignore[attr-defined]
    return CliRunner()


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder, by its path there."""
    close_databases()
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class Catalogue:
    """A catalogue in `home`, filled from `hub`; `environ` holds further variables."""

    def __init__(self, home: Path, hub: LoopbackHub, **environ: str) -> None:
        self.home, self.hub = home, hub
        self.environ = environment(home, hub.url, **environ)
        self.data = home / "data"
        self.store = Store(Layout(self.data, self.data))

    def call(self, *arguments: str, **environ: str) -> Ended:
        """Run a command in this process, `environ` on top."""
        return call(*arguments, environ={**self.environ, **environ})

    def sync(self, *arguments: str, fault: Fault | None = None, **environ: str) -> Ended:
        """Sync while the Hub has at most this fault."""
        self.hub.faults[:] = [] if fault is None else [fault]
        self.hub.clear_requests()
        try:
            return self.call("sync", *arguments, **environ)
        finally:
            self.hub.faults.clear()

    def copy(self, home: Path, **environ: str) -> Catalogue:
        """Return a catalogue with the same data in another home."""
        close_databases()
        shutil.copytree(self.data, home / "data")
        # It names its own folder; a missing one is written anew.
        (home / "data" / "dagster" / "dagster.yaml").unlink()
        return Catalogue(home, self.hub, **environ)

    def published(self) -> dict[str, str]:
        """Return the digests of everything that readers see."""
        return digests(self.data / "published") if (self.data / "published").exists() else {}

    def rows(self, dataset: str, day: date) -> list[dict[str, Any]]:
        """Return the published rows of a dataset and day."""
        with pq.ParquetFile(self.store.published.file(dataset, day)) as file:
            return file.read().to_pylist()

    def models(self, day: date) -> dict[str, dict[str, Any]]:
        """Return the published models of a day by name."""
        return {row["model_id"]: row for row in self.rows("models", day)}

    @property
    def last(self) -> SyncRecord:
        """The last sync as the history tells it."""
        return self.store.history.syncs()[-1]

    @property
    def last_sync_file(self) -> dict[str, Any]:
        """The metadata of the last sync as other programs read them."""
        return json.loads((self.data / "last_sync_metadata.json").read_bytes())


def assert_clear(ended: Ended, code: int, *parts: str) -> None:
    """Assert that a command failed with a message holding all parts, a next step, and no traceback."""
    assert ended.code == code, ended
    lines = ended.stderr.strip().splitlines()
    assert lines[0].startswith("Error: "), ended.stderr
    assert len(lines) > 1, f"no next step: {ended.stderr}"
    assert "Traceback" not in ended.stdout + ended.stderr
    assert "Unexpected" not in ended.stderr, ended.stderr
    assert "An unexpected error" not in ended.stderr, ended.stderr
    for part in parts:
        assert part in ended.stderr, f"{part!r} is not in {ended.stderr!r}"


def launch(catalogue: Catalogue, day: date, *assets: str) -> dg.ExecuteInProcessResult:
    """Materialise some assets of a day alone, as the UI does it, in this process."""
    from gguf_assets.orchestration.build import build_defs
    from gguf_assets.orchestration.instance import open_instance

    with (
        mock.patch.dict(os.environ, catalogue.environ, clear=True),
        open_instance(catalogue.store.layout.dagster_home) as instance,
    ):
        job = build_defs().resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            partition_key=day.isoformat(),
            instance=instance,
            asset_selection=[dg.AssetKey(name) for name in assets],
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )


def failure_text(result: dg.ExecuteInProcessResult) -> str:
    """The description of the first failed step."""
    failures = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failures, "no step failed"
    described = failures[0].user_failure_data
    return (described.description or "") if described else str(failures[0].error)


def checks_of(catalogue: Catalogue) -> dict[str, dg.AssetCheckEvaluation]:
    """The checks of the last run by name."""
    from gguf_assets.orchestration.instance import open_instance

    with (
        mock.patch.dict(os.environ, catalogue.environ, clear=True),
        open_instance(catalogue.store.layout.dagster_home) as instance,
    ):
        run_id = instance.get_runs(limit=1)[0].run_id
        kind = dg.DagsterEventType.ASSET_CHECK_EVALUATION
        records = instance.all_logs(run_id, of_type=kind)
    evaluations: list[Any] = [record.dagster_event.event_specific_data for record in records]
    return {evaluation.check_name: evaluation for evaluation in evaluations}
