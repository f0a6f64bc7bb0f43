"""What is remembered of telling, in `STATE/alerts/told.json`: each run is told once, whoever comes first.

Command line and sensors both tell; the file says what is told already. It may be lost: then something is told
twice. What belongs here: this file. What does not: conditions and cool-downs (`alerts/notifier`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from gguf_assets.atomic import read_json, write_json
from gguf_assets.errors import GgufAssetsError
from gguf_assets.masking import mask
from gguf_assets.store.freshness import FreshnessState

REMINDER = timedelta(hours=20)
"""A catalogue that stays stale is told of again after this time."""

_KEPT_RUNS = 200
_PATIENCE_SECONDS = 3.0
T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass
class _Told:
    runs: dict[str, str]
    state: str
    state_at: str
    left_out: dict[str, str]


class AlertMemory:
    """The memory of one state folder. Nothing here raises: what cannot be remembered is told again."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "told.json"

    def claim(self, run_id: str, now: datetime) -> bool:
        """Return whether nobody has told of a run yet; from now on somebody has."""

        def work(told: _Told) -> bool:
            if run_id in told.runs:
                return False
            told.runs[run_id] = now.isoformat()
            return True

        return self._change(work, default=True)

    def is_told(self, run_id: str) -> bool:
        """Return whether somebody has told of a run."""
        return run_id in self._read().runs

    def freshness_is_news(self, state: FreshnessState, now: datetime) -> bool:
        """Return whether a state of the catalogue is to be told: when it changed, and as a reminder."""

        def work(told: _Told) -> bool:
            if told.state == state.value and (
                state in (FreshnessState.FRESH, FreshnessState.EMPTY)
                or abs(now - datetime.fromisoformat(told.state_at)) < REMINDER
            ):
                return False
            told.state, told.state_at = state.value, now.isoformat()
            return True

        return self._change(work, default=True)

    def forget_freshness(self) -> None:
        """Let the state of the catalogue be news again, because somebody could not be told of it."""

        def work(told: _Told) -> None:
            told.state = ""

        self._change(work, default=None)

    def newly_left_out(self, left_out: Mapping[str, str]) -> dict[str, str]:
        """Return the channels that are left out since now, with the reason; remembers all of them."""

        def work(told: _Told) -> dict[str, str]:
            new = {name: why for name, why in left_out.items() if told.left_out.get(name) != why}
            told.left_out = dict(left_out)
            return new

        if dict(left_out) == self._read().left_out:
            return {}
        return self._change(work, default=dict(left_out))

    def left_out(self) -> dict[str, str]:
        """Return the channels that were left out when somebody was told last, with the reason."""
        return self._read().left_out

    def _change(self, work: Callable[[_Told], T], *, default: T) -> T:
        try:
            with self._locked():
                told = self._read()
                before = _document(told)
                result = work(told)
                after = _document(told)
                if after != before:
                    write_json(self._path, after)
                return result
        except (GgufAssetsError, OSError, Timeout) as error:
            _log.warning("What was told cannot be remembered, so it may be told twice: %s", mask(str(error)))
            return default

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self._path.with_name(f"{self._path.name}.lock"), timeout=_PATIENCE_SECONDS):
            yield

    def _read(self) -> _Told:
        try:
            content: Any = read_json(self._path)
            return _Told(
                {str(run): str(at) for run, at in content["runs"].items()},
                str(content["state"]),
                datetime.fromisoformat(content["state_at"]).isoformat(),
                {str(name): str(why) for name, why in content["left_out"].items()},
            )
        except (GgufAssetsError, KeyError, TypeError, ValueError, AttributeError):  # missing or damaged
            return _Told({}, FreshnessState.FRESH.value, "2000-01-01T00:00:00+00:00", {})


def _document(told: _Told) -> dict[str, Any]:
    return {
        "runs": dict(list(told.runs.items())[-_KEPT_RUNS:]),
        "state": told.state,
        "state_at": told.state_at,
        "left_out": dict(told.left_out),
    }
