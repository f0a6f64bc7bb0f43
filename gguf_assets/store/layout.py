"""Where everything lies: the one place that joins paths.

What belongs here: names of folders and files under the data folder (kept for ever) and the state folder
(local, may be lost). What does not: reading or writing any of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

PART_NAME = "part-0.parquet"
MANIFEST_NAME = "manifest.json"
LAST_SYNC_NAME = "last_sync_metadata.json"
PAGE_NAME = "index.html"
DASHBOARD_NAME = "dashboard.html"
COMPRESSED = ".zst"
"""How the names of compressed files of captures end."""

_DAY_PREFIX = "date="
_RUN_PREFIX = "run="


@dataclass(frozen=True)
class Layout:
    """The paths of one store.

    Attributes:
        data: folder of captures, candidates, published days, reports and the sync history.
        state: folder on a local disk for locks, spools, Dagster's instance, configuration and logs.
        config: folder of the live configuration; `state/config` when None.
        last_sync: file of the last sync's metadata; inside `data` when None.
        reports: folder of the reports of all days; `data/reports` when None.
        logs: folder of the log files of runs; `state/logs` when None.
        compress_captures: whether new files of captures are compressed, which their names tell.
        backups: folder of the backups of published days; `data/backups` when None.
        stale_hours, failed_hours: hours after the last success from which the catalogue counts as stale, and
            from which that is a failure; `freshness.json` holds the times.
    """

    data: Path
    state: Path
    config: Path | None = None
    last_sync: Path | None = None
    reports: Path | None = None
    logs: Path | None = None
    compress_captures: bool = True
    backups: Path | None = None
    stale_hours: int = 26
    failed_hours: int = 50

    @property
    def captures(self) -> Path:
        """Folder of all captures."""
        return self.data / "captures"

    def captures_of(self, day: date) -> Path:
        """Folder of the captures of a day."""
        return self.captures / day_folder(day)

    def run_dir(self, day: date, run: int) -> Path:
        """Folder of one capture; runs of a day count from 1."""
        return self.captures_of(day) / run_folder(run)

    def capture_manifest(self, day: date, run: int) -> Path:
        """Manifest of one capture."""
        return self.run_dir(day, run) / MANIFEST_NAME

    @property
    def raw_suffix(self) -> str:
        """How the names of new files of captures end after `.json` and `.jsonl`."""
        return COMPRESSED if self.compress_captures else ""

    def details_spool(self, day: date, run: int) -> Path:
        """Local file of the detail answers of a capture that are not yet sealed into it."""
        return self.spool_dir / f"details-{day.isoformat()}-{run_folder(run)}.jsonl"

    def absences_spool(self, day: date, run: int) -> Path:
        """Local file of the answers about absent models that are not yet sealed into a capture."""
        return self.spool_dir / f"absences-{day.isoformat()}-{run_folder(run)}.jsonl"

    @property
    def candidate(self) -> Path:
        """Folder of the candidates: what a day would look like when published."""
        return self.data / "candidate"

    def candidate_file(self, dataset: str, day: date) -> Path:
        """Candidate Parquet file of a dataset and day."""
        return self.candidate / dataset / day_folder(day) / PART_NAME

    def candidate_findings(self, day: date) -> Path:
        """What the derivation of a candidate set aside; becomes a part of its `issues`."""
        return self.candidate / "findings" / day_folder(day) / PART_NAME

    @property
    def candidate_manifests(self) -> Path:
        """Folder of the manifests of all candidates."""
        return self.candidate / "manifest"

    def candidate_manifest(self, day: date) -> Path:
        """Manifest of a day's candidate."""
        return self.candidate_manifests / f"{day_folder(day)}.json"

    @property
    def published(self) -> Path:
        """Folder of what readers open."""
        return self.data / "published"

    def published_dataset(self, dataset: str) -> Path:
        """Hive folder of a published dataset, all days."""
        return self.published / dataset

    def published_file(self, dataset: str, day: date) -> Path:
        """Published Parquet file of a dataset and day."""
        return self.published_dataset(dataset) / day_folder(day) / PART_NAME

    @property
    def published_manifests(self) -> Path:
        """Folder of the manifests of all published days."""
        return self.published / "manifest"

    def published_manifest(self, day: date) -> Path:
        """Manifest of a published day."""
        return self.published_manifests / f"{day_folder(day)}.json"

    @property
    def latest(self) -> Path:
        """File that names the latest published day."""
        return self.published / "latest.json"

    @property
    def export_file(self) -> Path:
        """The models of the latest published day as one gzipped JSON object, for web pages."""
        return self.published / "latest" / "models.json.gz"

    @property
    def journal(self) -> Path:
        """Journal of a publishing under way; absent at rest."""
        return self.published / "journal.json"

    @property
    def reports_dir(self) -> Path:
        """Folder of the reports of all days."""
        return self.reports or self.data / "reports"

    def reports_of(self, day: date) -> Path:
        """Folder of a day's reports."""
        return self.reports_dir / day_folder(day)

    def report_file(self, day: date) -> Path:
        """The sync report of a day, as Markdown."""
        return self.reports_of(day) / "report.md"

    def day_page(self, day: date) -> Path:
        """The sync report of a day, as a page for the browser."""
        return self.reports_of(day) / PAGE_NAME

    @property
    def index_page(self) -> Path:
        """The page that lists the reports of all days."""
        return self.reports_dir / PAGE_NAME

    @property
    def dashboard_page(self) -> Path:
        """The page of the trends over all published days."""
        return self.reports_dir / DASHBOARD_NAME

    @property
    def history_file(self) -> Path:
        """Append-only history of all syncs."""
        return self.data / "history" / "syncs.jsonl"

    @property
    def last_sync_file(self) -> Path:
        """Metadata of the last sync."""
        return self.last_sync or self.data / LAST_SYNC_NAME

    @property
    def locks_dir(self) -> Path:
        """Folder of lock files."""
        return self.state / "locks"

    @property
    def lock_file(self) -> Path:
        """Lock of the one process that may write."""
        return self.locks_dir / "writer.lock"

    @property
    def lock_note(self) -> Path:
        """Who holds the writer's lock."""
        return self.locks_dir / "writer.json"

    @property
    def candidate_lock_file(self) -> Path:
        """Lock held for the moment in which a candidate's manifest is changed."""
        return self.locks_dir / "candidate.lock"

    @property
    def spool_dir(self) -> Path:
        """Folder of answers not yet sealed."""
        return self.state / "spool"

    @property
    def limits_dir(self) -> Path:
        """Folder of the rate limiter's counters."""
        return self.state / "limits"

    @property
    def dagster_home(self) -> Path:
        """Folder of the Dagster instance."""
        return self.state / "dagster"

    @property
    def config_dir(self) -> Path:
        """Folder of the live configuration."""
        return self.config or self.state / "config"

    @property
    def logs_dir(self) -> Path:
        """Folder of the log files of runs."""
        return self.logs or self.state / "logs"

    @property
    def run_log(self) -> Path:
        """The log file of all runs."""
        return self.logs_dir / "update_models.log"

    @property
    def backups_dir(self) -> Path:
        """Folder of the backups of published days, history and configuration."""
        return self.backups or self.data / "backups"

    @property
    def freshness_file(self) -> Path:
        """How fresh the published catalogue is, for other programs."""
        return self.data / "freshness.json"

    @property
    def alerts_dir(self) -> Path:
        """Folder of what is remembered of alerts."""
        return self.state / "alerts"

    @property
    def thinned(self) -> Path:
        """Folder of the notes on days whose `files` are left out, to be rebuilt when needed."""
        return self.published / "thinned"

    def thinned_note(self, day: date) -> Path:
        """Note on a day whose `files` are left out: from what they are rebuilt, and what must come out."""
        return self.thinned / f"{day_folder(day)}.json"

    def thinned_rows(self, day: date) -> Path:
        """The rows of a day's `files` that do not come out when rebuilt, and so are kept."""
        return self.thinned / day_folder(day) / PART_NAME

    @property
    def rebuilt_dir(self) -> Path:
        """Local folder of rebuilt `files`; may be lost at any time."""
        return self.state / "rebuilt"


def day_folder(day: date) -> str:
    """Return the hive folder name of a day, `date=YYYY-MM-DD`."""
    return f"{_DAY_PREFIX}{day.isoformat()}"


def parse_day(name: str) -> date | None:
    """Return the day of a hive folder name, None when the name is no such thing."""
    try:
        day = date.fromisoformat(name.removeprefix(_DAY_PREFIX))
    except ValueError:
        return None
    return day if name == day_folder(day) else None


def run_folder(run: int) -> str:
    """Return the folder name of a capture, `run=NN`."""
    return f"{_RUN_PREFIX}{run:02d}"


def parse_run(name: str) -> int | None:
    """Return the number of a capture's folder name, None when the name is no such thing."""
    number = name.removeprefix(_RUN_PREFIX)
    if not (number.isascii() and number.isdecimal()):
        return None
    return int(number) if name == run_folder(int(number)) else None
