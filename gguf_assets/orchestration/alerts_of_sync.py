"""Telling people of a sync that the command line runs, for those who have no daemon: cron and workflows.

What belongs here: what is heard while the sync holds the store, told when it has let go of it, and the
annotations of a workflow of GitHub Actions. What does not: what is told, and to whom (`alerting`).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import dagster as dg

from gguf_assets.alerts.alert import Alert, Severity
from gguf_assets.errors import GgufAssetsError
from gguf_assets.masking import mask
from gguf_assets.orchestration.alert_conditions import Raise, SyncOutcomeFacts, sync_steps
from gguf_assets.orchestration.alert_facts import facts_of_run, facts_of_sync
from gguf_assets.orchestration.alerting import anybody_is_told, tell_about_sync
from gguf_assets.orchestration.log_file import log_file
from gguf_assets.settings.load import LoadedSettings
from gguf_assets.store.store import Store

_log = logging.getLogger(__name__)


class Heard:
    """What is known of a sync of the command line; nothing here raises."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._place: tuple[LoadedSettings, Store] | None = None
        self._facts: SyncOutcomeFacts | None = None

    def begins(self, loaded: LoadedSettings, store: Store) -> None:
        """Note where the sync works."""
        self._place = loaded, store

    def failed_before_its_run(self, sync_id: str, error: GgufAssetsError) -> None:
        """Note a sync that failed before there was a run: the Hub did not even tell its date."""
        if self._place is not None:
            syncs = self._place[1].history.syncs()
            sync = next((one for one in syncs if one.sync_id == sync_id), None)
            self._facts = None if sync is None else facts_of_sync(sync, error.remedy)

    @contextmanager
    def run(self, instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
        """Gather what is to be told of a run when it has ended, however it does."""
        try:
            yield
        finally:
            self._gather(instance, run_id)

    def _gather(self, instance: dg.DagsterInstance, run_id: str) -> None:
        if self._place is None:
            return
        loaded, store = self._place
        if not (anybody_is_told(loaded) or in_workflow(loaded, self._environ)):
            return
        try:
            run = instance.get_run_by_id(run_id)
            self._facts = None if run is None else facts_of_run(instance, run, store)
        except Exception as error:  # noqa: BLE001 (telling must not hurt what it is about)
            _log.warning("Nobody can be told of this sync: %s", mask(f"{type(error).__name__}: {error}"))

    def tell(self, error: BaseException | None) -> None:
        """Tell people, now that the store is free again.

        Args:
            error: what ended the command; None when it is done.
        """
        if self._place is None or isinstance(error, KeyboardInterrupt):
            return
        loaded, store = self._place
        with log_file(loaded, store.layout):
            self._tell(loaded, store, error)

    def _tell(self, loaded: LoadedSettings, store: Store, error: BaseException | None) -> None:
        if in_workflow(loaded, self._environ):
            annotate(self._facts, error, store, self._environ)
        if self._facts is not None:
            if isinstance(error, GgufAssetsError) and self._facts.remedy is None:
                self._facts = replace(self._facts, remedy=error.remedy)
            tell_about_sync(self._facts, loaded, store, environ=self._environ)
        elif error is None:
            tell_about_sync(None, loaded, store, environ=self._environ)


def in_workflow(loaded: LoadedSettings, environ: Mapping[str, str]) -> bool:
    """Return whether a workflow of GitHub Actions is running that wants annotations."""
    wanted = loaded.settings.enable_github_actions_integration
    return wanted and environ.get("GITHUB_ACTIONS", "").strip().lower() == "true"


def annotate(
    facts: SyncOutcomeFacts | None, error: BaseException | None, store: Store, environ: Mapping[str, str]
) -> None:
    """Annotate a workflow with failures and warnings, and append to its summary what came out.

    Annotations go to standard error, which the runner reads, too: with `--json` the object stays the last
    line of standard output.

    Args:
        facts: the sync that has ended; None where none was begun.
        error: what ended the command; None when it is done.
        store: where the report of the day lies.
        environ: environment variables; `GITHUB_STEP_SUMMARY` names the file of the summary.
    """
    try:
        from gguf_assets.alerts.channels.actions import actions_channel

        channel = actions_channel(environ, sys.stderr)
        if channel is None:
            return
        steps = [] if facts is None else sync_steps(facts)
        alerts = [step.alert for step in steps if isinstance(step, Raise)]
        if not alerts and isinstance(error, GgufAssetsError):
            title = f"Nothing was synced ({error.category.value})"
            alerts = [Alert("refused", Severity.FAILURE, title, error.message, error.remedy)]
        for alert in alerts:
            channel.send(alert, over=False)
        if error is None and facts is not None and facts.sync.day is not None:
            _append_report(store.layout.report_file(facts.sync.day), environ)
    except Exception as problem:  # noqa: BLE001 (telling must not hurt what it is about)
        _log.warning("The workflow could not be annotated: %s", mask(f"{type(problem).__name__}: {problem}"))


def _append_report(report: Path, environ: Mapping[str, str]) -> None:
    summary = environ.get("GITHUB_STEP_SUMMARY", "").strip()
    if summary and report.is_file():
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(mask(report.read_text(encoding="utf-8")).rstrip() + "\n\n")
