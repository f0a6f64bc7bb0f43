"""Plays Dagster's daemon for a catalogue: evaluates schedules and sensors, runs what they request.

Runs happen in this process, in the catalogue's real instance on SQLite, and through the loopback Hub.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from unittest import mock

import dagster as dg
import time_machine
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from gguf_assets.orchestration.build import build_defs
from gguf_assets.orchestration.instance import open_instance
from gguf_assets.store.history import SyncRecord
from gguf_assets_tests.calling import Catalogue

REPOSITORY = RemoteRepositoryOrigin(
    ManagedGrpcPythonEnvCodeLocationOrigin(
        LoadableTargetOrigin(module_name="gguf_assets.definitions"), "gguf_assets.definitions"
    ),
    "__repository__",
)
"""Where Dagster's daemon finds the definitions, as it writes it beside a run or a switch."""

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Ran:
    """A run that has ended.

    Attributes:
        success: whether it succeeded.
        run: as Dagster keeps it.
        lines: what it logged, one entry a message.
        listing: metadata of `hub_listing`; empty where it was not materialised.
        record: what the history tells of it; None when it left no trace there.
        requests: requests that reached the Hub.
    """

    success: bool
    run: dg.DagsterRun
    lines: list[str]
    listing: dict[str, Any]
    record: SyncRecord | None
    requests: int

    @property
    def choice(self) -> tuple[str | None, str | None]:
        """Mode and reason in the history."""
        return (None, None) if self.record is None else (self.record.mode, self.record.reason)


class Player:
    """The daemon of one catalogue; made by `playing`."""

    def __init__(self, catalogue: Catalogue, instance: dg.DagsterInstance) -> None:
        self.catalogue, self.instance = catalogue, instance
        self.cursors: dict[str, str | None] = {}
        self.reload()

    def reload(self) -> None:
        """Load the definitions as a code server does when it starts."""
        self.defs = build_defs()

    @contextmanager
    def at(self, moment: datetime) -> Iterator[None]:
        """Set this machine's clock to a moment and let it stand there, and the Hub's to the same."""
        self.catalogue.hub.set_day(moment.date(), moment.time())
        with time_machine.travel(moment, tick=False):
            yield

    def tick(self, name: str, due: datetime | None = None) -> dg.RunRequest | str:
        """Evaluate a schedule as due then (now when None); return its request or why there is none."""
        with dg.build_schedule_context(
            instance=self.instance,
            scheduled_execution_time=due or datetime.now(UTC),
            repository_def=self.defs.get_repository_def(),
        ) as context:
            told = self.defs.resolve_schedule_def(name).evaluate_tick(context)
        return _answer(told.run_requests, told.skip_message)

    def look(self, name: str) -> dg.RunRequest | str:
        """Evaluate a sensor; return its request or why there is none."""
        with dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursors.get(name),
            sensor_name=name,
            definitions=self.defs,
        ) as context:
            told = self.defs.resolve_sensor_def(name).evaluate_tick(context)
        self.cursors[name] = told.cursor
        return _answer(told.run_requests, told.skip_message)

    def known(self, sensor: str, request: dg.RunRequest) -> bool:
        """Whether the daemon would leave a sensor's request alone: it has a run of that key."""
        tags = {"dagster/run_key": str(request.run_key), "dagster/sensor_name": sensor}
        return bool(self.instance.get_runs(filters=dg.RunsFilter(tags=tags)))

    def do(self, automation: str, request: dg.RunRequest) -> Ran:
        """Run what a schedule or sensor requested."""
        key = {} if request.run_key is None else {"dagster/run_key": request.run_key}
        repository = self.defs.get_repository_def()
        acting = [sensor for sensor in repository.sensor_defs if sensor.targets]
        jobs = {made.name: made.job_name for made in (*repository.schedule_defs, *acting)}
        assert request.partition_key is not None
        return self.run(
            jobs[automation],
            date.fromisoformat(request.partition_key),
            dict(request.run_config),
            {**request.tags, **key},
        )

    def run(
        self,
        job: str,
        day: date,
        config: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Ran:
        """Run a job for a day with its own run config, or with another one."""
        definition = self.defs.resolve_job_def(job)
        config = config or definition.get_run_config_for_partition_key(str(day))
        hub = self.catalogue.hub
        hub.clear_requests()
        done = definition.execute_in_process(
            partition_key=str(day),
            instance=self.instance,
            run_config={**config, **QUIET},
            tags=dict(tags or {}),
            raise_on_error=False,
        )
        return self.ended(done.run_id, len(hub.requests))

    def ended(self, run_id: str, requests: int = 0) -> Ran:
        """Return what an ended run has left."""
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        entries = list(self.instance.all_logs(run_id))
        made = [entry.dagster_event for entry in entries if entry.dagster_event is not None]
        listing = [
            event.step_materialization_data.materialization.metadata
            for event in made
            if event.is_step_materialization and event.asset_key == dg.AssetKey("hub_listing")
        ]
        syncs = {sync.sync_id: sync for sync in self.catalogue.store.history.syncs()}
        return Ran(
            success=run.status is dg.DagsterRunStatus.SUCCESS,
            run=run,
            lines=[entry.user_message for entry in entries if entry.dagster_event is None],
            listing={key: value.value for key, value in listing[0].items()} if listing else {},
            record=syncs.get(run_id),
            requests=requests,
        )

    def pend(
        self,
        job: str,
        day: date,
        status: dg.DagsterRunStatus = dg.DagsterRunStatus.QUEUED,
        **tags: str,
    ) -> str:
        """Put a run of a job into the instance as if it were queued or under way; return its id."""
        definition = self.defs.resolve_job_def(job)
        run = self.instance.create_run_for_job(
            definition,
            status=status,
            tags={**definition.tags, "dagster/partition": str(day), **tags},
            remote_job_origin=RemoteJobOrigin(REPOSITORY, job),
        )
        return run.run_id

    def end(self, run_id: str, *, failed: bool = False) -> None:
        """Let such a run end now."""
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        if failed:
            self.instance.report_run_failed(run)
        else:
            self.instance.report_run_canceled(run)


def launchpad(**options: Any) -> dict[str, Any]:
    """The run config of somebody who sets options of `hub_listing` in the Launchpad."""
    return {"ops": {"hub_listing": {"config": options}}}


@contextmanager
def playing(catalogue: Catalogue, **environ: str) -> Iterator[Player]:
    """Play the daemon of a catalogue; meanwhile this process has its environment and `environ`."""
    with (
        mock.patch.dict(os.environ, {**catalogue.environ, **environ}, clear=True),
        open_instance(catalogue.store.layout.dagster_home) as instance,
    ):
        yield Player(catalogue, instance)


def _answer(requests: Any, skipped: str | None) -> dg.RunRequest | str:
    if skipped is not None:
        assert not requests
        return skipped
    (request,) = requests
    assert isinstance(request, dg.RunRequest)
    return request
