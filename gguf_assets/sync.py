"""The choice of the sync mode for programs: what would be done now, and why.

What belongs here: names for other people's code, none of which this package uses itself. What does not: any
rule; the decision is `catalogue.sync_plan`, what it is made from `orchestration.planning`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from gguf_assets.catalogue.heads import modified_since
from gguf_assets.catalogue.row_reader import RowReader
from gguf_assets.catalogue.sync_plan import (
    SWITCHING,
    SyncMode,
    SyncPast,
    SyncPlan,
    effective_window,
    hours_between,
    in_window_text,
    is_significant,
    plan_sync,
    significant_change_text,
)
from gguf_assets.orchestration.planning import sync_past, sync_rules
from gguf_assets.quality.report import mode_report
from gguf_assets.settings.load import load_settings
from gguf_assets.settings.model import SyncConfiguration
from gguf_assets.settings.sections import SyncBehavior
from gguf_assets.store.history import SyncMetadata
from gguf_assets.store.layout import Layout
from gguf_assets.store.lock import WriterLock
from gguf_assets.store.store import Store

__all__ = ["SyncConfig", "SyncMetadata", "SyncMode", "SyncModeManager"]

_DEFAULTS = SyncBehavior()
_DEFAULT_MODE = SyncMode(_DEFAULTS.mode)
_log = logging.getLogger(__name__)
Model = TypeVar("Model")


@dataclass(frozen=True)
class SyncConfig:
    """The six settings that choose the mode: a part of `sync_behavior`.

    Attributes:
        mode: auto, incremental or full.
        incremental_window_hours: hours back within which an incremental sync looks for modified models.
        full_sync_threshold_hours: age of the last full sync above which the next one is full.
        force_full_sync: full, whatever else says otherwise.
        last_sync_file: metadata of the last sync, inside the data folder, for which a leading data/ stands.
        significant_change_threshold: relative change of the number of models from which a run turns full.
    """

    mode: SyncMode = _DEFAULT_MODE
    incremental_window_hours: int = _DEFAULTS.incremental_window_hours
    full_sync_threshold_hours: int = _DEFAULTS.full_sync_threshold_hours
    force_full_sync: bool = _DEFAULTS.force_full_sync
    last_sync_file: str = _DEFAULTS.last_sync_file
    significant_change_threshold: float = _DEFAULTS.significant_change_threshold

    @classmethod
    def of(cls, settings: SyncConfiguration) -> SyncConfig:
        """Return what a configuration says."""
        behavior = settings.sync_behavior
        values = {name: getattr(behavior, name) for name in cls.__dataclass_fields__}
        return cls(**values | {"mode": SyncMode(behavior.mode)})


class SyncModeManager:
    """Says what the next sync would do, from the settings and the stored history; writes nothing.

    Attributes:
        config: what holds after the environment variables.
    """

    def __init__(self, config: SyncConfig | None = None, *, environ: Mapping[str, str] | None = None) -> None:
        """Load the settings in force.

        Args:
            config: stands in place of what the configuration file says of these six keys; environment
                variables such as SYNC_MODE are stronger. None for the file's.
            environ: environment variables; those of the process when None.

        Raises:
            InvalidSettings: with everything that is wrong.
        """
        variables = os.environ if environ is None else environ
        loaded = load_settings(variables)
        if config is not None:
            given = {f"sync_behavior.{name}": str(value) for name, value in vars(config).items()}
            overruled = {key for key in given if loaded.origins[key].startswith("environment variable ")}
            loaded = load_settings(
                variables, overrides={key: text for key, text in given.items() if key not in overruled}
            )
        self.config = SyncConfig.of(loaded.settings)
        self._rules = sync_rules(loaded)
        self._layout = Layout(
            loaded.data_dir, loaded.state_dir, config=loaded.config_dir, last_sync=loaded.last_sync_file
        )
        self._store = Store(self._layout)

    def determine_sync_mode(self, now: datetime | None = None) -> SyncMode:
        """Return the mode of a sync that starts now, never `auto`; the log says why.

        Args:
            now: with time zone; the later of this machine's clock and the Hub's as last seen when None.

        Raises:
            PermanentError: the stored history cannot be read.
        """
        plan = self.plan(now)
        for line in plan.log_lines():
            _log.info(line)
        return plan.mode

    def plan(self, now: datetime | None = None) -> SyncPlan:
        """Return the whole decision, with reason and window; arguments and errors as above."""
        moment = self._moment(now)
        return plan_sync(self._past(moment), self._rules, moment)

    def filter_models_for_incremental_sync(
        self, models: Iterable[Model], now: datetime | None = None
    ) -> list[Model]:
        """Return the models that were modified within the window or have no usable date, in their order.

        Args:
            models: answers of the Hub (mappings with `lastModified`), or objects with `last_modified`. Times
                are ISO 8601 or datetimes; without a time zone they are UTC.
            now: as above.

        Raises:
            PermanentError: the stored history cannot be read.
        """
        given, moment = list(models), self._moment(now)
        age = hours_between(self._past(moment).last_success, moment)
        hours, notes = effective_window(self._rules.incremental_window_hours, age)
        start = moment - timedelta(hours=hours)
        rows = [{"_id": "", "id": "", "lastModified": _modified(model)} for model in given]
        inside = modified_since(RowReader(rows, []).times("lastModified"), start).to_pylist()
        chosen = [model for model, within in zip(given, inside, strict=True) if within]
        for line in (
            *notes,
            f"Filtering models modified after {start.isoformat()}",
            in_window_text(len(chosen), len(given), hours),
        ):
            _log.info(line)
        return chosen

    def should_trigger_full_sync(self, current_count: int, previous_count: int) -> bool:
        """Return whether the number of models changed so much that a run turns full; the log says so.

        Args:
            current_count: models listed now.
            previous_count: models of the last published day; with 0 there is nothing to compare with.
        """
        if not is_significant(current_count, previous_count, self._rules.significant_change_threshold):
            return False
        _log.warning(significant_change_text(current_count, previous_count))
        _log.info(SWITCHING)
        return True

    def log_sync_mode_report(self, metadata: SyncMetadata) -> None:
        """Log the block that ends the log of a sync."""
        changes = {
            "added": metadata.models_added,
            "updated": metadata.models_updated,
            "removed": metadata.models_removed,
        }
        report = mode_report(
            metadata.sync_mode or "undecided",
            metadata.sync_duration,
            metadata.total_models_processed,
            changes,
            window_hours=self._rules.incremental_window_hours,
        )
        for line in report.splitlines():
            _log.info(line)

    def last_sync(self) -> SyncMetadata | None:
        """Return the metadata of the last sync; None without any.

        Raises:
            PermanentError: the file cannot be read.
        """
        return self._store.history.last_sync()

    def _moment(self, now: datetime | None) -> datetime:
        if now is not None:
            return now
        seen = self._store.newest_hub_time()
        return max(moment for moment in (datetime.now(UTC), seen) if moment is not None)

    def _past(self, moment: datetime) -> SyncPast:
        holder = WriterLock(self._layout).holder()
        day = moment.astimezone(UTC).date()
        return sync_past(self._store, day, running=None if holder is None else holder.run_id)


def _modified(model: Any) -> str | None:
    if isinstance(model, Mapping):
        value = model.get("lastModified", model.get("last_modified"))
    else:
        value = getattr(model, "last_modified", None)
    return value.isoformat() if isinstance(value, datetime) else value if isinstance(value, str) else None
