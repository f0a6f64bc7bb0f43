"""The resources: settings, store and Hub, each a plain object of the core built when a run starts.

Settings are read anew for every run, so a changed file or variable needs no reload, and what is in force is
noted in the run's event log. While they are invalid, all three are `Unavailable`: no lock is taken, nothing
is written, nobody is asked. A token is checked before the first request that is sent with it, once a process.
The store's resource takes the writer's lock for the length of the run, completes what a dead process left and
reaps dead runs.
"""

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import dagster as dg
from pydantic import Field

from gguf_assets.errors import GgufAssetsError, Refused, TransientError
from gguf_assets.hub.client import HubClient
from gguf_assets.hub.limits import RequestLimits
from gguf_assets.orchestration.config import checked_overrides
from gguf_assets.orchestration.configuration import note_in_force
from gguf_assets.orchestration.executors import run_process
from gguf_assets.orchestration.failures import Unavailable
from gguf_assets.orchestration.recording import recorded
from gguf_assets.orchestration.runs import PID, end_dead_syncs, process_tags, reap_dead_runs
from gguf_assets.settings.fields import below
from gguf_assets.settings.limits import effective_limits
from gguf_assets.settings.load import LoadedSettings, load_settings
from gguf_assets.settings.secret_variables import SHARED_LIMITS_URL, secret_variable
from gguf_assets.settings.token import require_token
from gguf_assets.store.layout import Layout
from gguf_assets.store.lock import WriterLock
from gguf_assets.store.publish import recover
from gguf_assets.store.store import Store

_logger = logging.getLogger(__name__)
_PATIENCE_SECONDS = 2.0
"""How long a step waits while it cannot be told who holds the lock."""

_checked: set[str] = set()
"""Accounts (`HubClient.account`) whose token was checked for this process, so that each is checked once."""

_checking = threading.Lock()


def layout_of(loaded: LoadedSettings) -> Layout:
    """Return where everything lies according to the settings."""
    storage = loaded.settings.storage
    return Layout(
        data=loaded.data_dir,
        state=loaded.state_dir,
        config=loaded.config_dir,
        last_sync=loaded.last_sync_file,
        reports=below(loaded.data_dir, storage.reports_directory),
        # Several processes lock log files, which needs a local disk.
        logs=below(loaded.state_dir, storage.logs_directory),
        backups=below(loaded.data_dir, storage.backup_directory),
        compress_captures=storage.enable_compression,
        stale_hours=loaded.settings.monitoring.freshness_warning_hours,
        failed_hours=loaded.settings.monitoring.freshness_failure_hours,
    )


def request_limits(loaded: LoadedSettings) -> RequestLimits:
    """Return the limits in force as the Hub's client takes them."""
    limits, settings = effective_limits(loaded), loaded.settings
    parallel = settings.performance.enable_parallel_processing
    return RequestLimits(
        requests_per_second=limits.requests_per_second,
        requests_per_hour=limits.requests_per_hour,
        timeout_seconds=limits.timeout_seconds,
        max_retries=limits.max_retries,
        backoff_base=limits.backoff_base,
        backoff_jitter=limits.backoff_jitter,
        exponential_backoff=limits.exponential_backoff,
        max_concurrent_requests=limits.max_concurrent_requests if parallel else 1,
        adaptive=settings.performance.enable_adaptive_parameters,
        max_requests_per_run=settings.rate_limiting.max_requests_per_run,
    )


def open_hub(loaded: LoadedSettings) -> HubClient:
    """Return a client of the configured Hub; it has its token checked before the first request it sends.

    Raises:
        Refused: the environment demands a token and there is none.
    """
    from gguf_assets.orchestration.memory import memory_short

    token = require_token(loaded)
    shared_limits_url = secret_variable(os.environ, SHARED_LIMITS_URL)
    validated = token is not None and loaded.settings.security.enable_token_validation
    return HubClient(
        loaded.endpoint,
        token=None if token is None else token.get_secret_value(),
        limits=request_limits(loaded),
        limiter_file=layout_of(loaded).limits_dir / "requests.sqlite",
        allowed_domains=tuple(loaded.settings.security.allowed_domains),
        time_limit_seconds=loaded.settings.workflow_timeout_hours * 3600.0,
        shared_limits_url=None if shared_limits_url is None else shared_limits_url.get_secret_value(),
        memory_short=memory_short(loaded),
        before_first=check_token_once if validated else None,
    )


def check_token_once(hub: HubClient) -> None:
    """Have the Hub check the token, unless it has accepted it for this process before.

    A Hub that is out of reach or too busy to tell is asked no second time here: the sync itself will say so.

    Raises:
        PermanentError: the Hub does not accept the token.
    """
    with _checking:
        key = hub.account
        if key in _checked:
            return
        try:
            name = hub.validate_token(max_retries=0)
        except TransientError as error:
            _logger.debug("The token could not be checked: %s", error.message)
            return
        _checked.add(key)
    _logger.info("The token is accepted by %s%s", hub.endpoint, "" if name is None else f" ({name})")


class SettingsResource(dg.ConfigurableResource[LoadedSettings | Unavailable]):
    """The settings in force: code default < file < environment variable < overrides of this run.

    Made with `configure_at_launch()`, so that there is one of it in a run and those who depend on it see the
    run's overrides; made directly, each of them would get its own without them.
    """

    overrides: dict[str, str] = Field(
        default={},
        description="Settings of this run alone, stronger than variables and file: dotted key → text, e.g. "
        "`sync_behavior.mode: incremental`; numbers and switches in quotes. All keys: `gguf-assets config "
        "schema`. Secrets are not taken here, since run configurations are stored and shown.",
    )

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[LoadedSettings | Unavailable]:
        """Read the settings, note in the event log what is in force, and record the run as they want it.

        Invalid ones are `Unavailable`.
        """
        try:
            loaded = load_settings(os.environ, overrides=checked_overrides(self.overrides))
        except GgufAssetsError as error:
            yield Unavailable(error)
            return
        run = context.run
        if context.instance is not None and run is not None:
            note_in_force(context.instance, run, loaded)
        with recorded(
            loaded, layout_of(loaded), "dagster" if run is None else f"run {run.run_id} of {run.job_name}"
        ):
            yield loaded


class HubResource(dg.ConfigurableResource[HubClient]):
    """The Hugging Face Hub behind one rate-limited transport."""

    settings: dg.ResourceDependency[LoadedSettings | Unavailable]

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[HubClient]:
        """Open the client for the length of a run."""
        if isinstance(self.settings, Unavailable):
            yield self.settings  # type: ignore[misc]
            return
        with ExitStack() as opened:
            try:
                client = opened.enter_context(open_hub(self.settings))
            except GgufAssetsError as error:
                yield Unavailable(error)  # type: ignore[misc]
                return
            yield client


class StoreResource(dg.ConfigurableResource[Store]):
    """The store, held for writing: one run at a time, what a dead run left is put right first."""

    settings: dg.ResourceDependency[LoadedSettings | Unavailable]

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Store]:
        """Take the writer's lock for the length of a run (of a step, with one process a step)."""
        if isinstance(self.settings, Unavailable):
            yield self.settings  # type: ignore[misc]
            return
        layout = layout_of(self.settings)
        lock, run = WriterLock(layout), context.run
        command = "dagster" if run is None else f"dagster run {run.job_name}"
        try:
            _acquire(lock, None if run is None else run.run_id, command)
        except GgufAssetsError as error:
            yield Unavailable(error)  # type: ignore[misc]
            return
        try:
            yield self._prepared(layout, context)
        finally:
            lock.release()

    def _prepared(self, layout: Layout, context: dg.InitResourceContext) -> Store:
        """Return the store with what dead runs left put right; `Unavailable` where the disk refuses that."""
        store, instance = Store(layout), context.instance
        try:
            if instance is not None and context.run is not None:
                _mark(instance, context.run)
                reap_dead_runs(instance)
            recover(layout)
            if instance is not None:
                for sentence in end_dead_syncs(instance, store.history):
                    (context.log or _logger).warning(sentence)
        except GgufAssetsError as error:
            return Unavailable(error)  # type: ignore[return-value]
        return store


def _mark(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Mark a run with its process, which is not that of the step where each has one of its own."""
    if run.tags.get(PID) == process_tags()[PID]:
        return
    process = run_process(os.environ)
    if process is not None:
        instance.add_run_tags(run.run_id, process_tags(process))


def _acquire(lock: WriterLock, run_id: str | None, command: str) -> None:
    """Take the lock; steps of the same run in other processes are waited for, other writers are not."""
    patience = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            lock.acquire(run_id=run_id, command=command)
        except Refused:
            holder = lock.holder()
            sibling = holder is not None and holder.run_id is not None and holder.run_id == run_id
            # Between two steps the lock is free, or taken and its note not yet written.
            unknown = holder is None or holder.pid == 0
            if not sibling and not (unknown and time.monotonic() < patience):
                raise
            time.sleep(0.1)
        else:
            return
