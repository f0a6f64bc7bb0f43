"""Two months of a catalogue in one process: a Hub that lives on, a moved clock, a daemon played by hand.

The Hub is generated, its troubles are written down in `SCENARIO`. Schedule and sensors are evaluated at their
times as Dagster's daemon does it, and what they request is run. Beside that the truth is kept, naively and
from the Hub alone. What it all must amount to: `test_two_months`.
`python -m gguf_assets_tests.simulation` runs it and prints the table.
"""

from __future__ import annotations

import os
import tempfile
import time as real_time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from unittest import mock

import dagster as dg
import pyarrow.parquet as pq
import time_machine

from gguf_assets.demo.events import Event, stamp
from gguf_assets.demo.faults import Fault
from gguf_assets.demo.generate import GeneratedHub
from gguf_assets.demo.server import LoopbackHub
from gguf_assets.demo.state import HubState, Repository
from gguf_assets.orchestration.build import build_defs
from gguf_assets.orchestration.instance import open_instance
from gguf_assets.store.history import SyncRecord
from gguf_assets.store.layout import Layout
from gguf_assets.store.store import Store
from gguf_assets_tests.running import environment

DAYS, REPOSITORIES, PAGE = 60, 300, 100
LAST = date(2026, 11, 20)
SENSORS = ("full_sync_threshold_sensor", "failed_sync_repair_sensor")
SCHEDULE = "daily_sync_schedule"
LOOKS = (time(6), time(18))
"""When the sensors are evaluated; a real daemon does it every few minutes."""
AFTERNOON = time(14, 30)
HALF_TIME = time(13)
"""On days with two syncs half of what happens on the Hub happens at this time."""

Models = Mapping[str, Repository]
Rows = frozenset[tuple[str, str]]
"""(change, hub_id) as in the data set `changes`."""


@dataclass(frozen=True)
class Scenario:
    """What goes wrong on which day, counted from 0.

    Attributes:
        off: the machine is switched off; nothing is evaluated.
        refusing: the Hub answers every request with 503.
        breaking: the Hub answers every page of the listing but the first with 503.
        stopped: nothing listens at the Hub's address.
        late: the Hub answers 503 until `LOOKS[0]`.
        twice: a second sync is asked for in the afternoon.
        refusing_afternoon: on such a day the Hub answers it with 503.
        jump: the Hub has 12 % more models than the day before.
    """

    off: frozenset[int] = frozenset({9, 16, 17, 38, 54})
    refusing: frozenset[int] = frozenset({5, 13, 43, 44, 45, 46})
    breaking: frozenset[int] = frozenset({33})
    stopped: frozenset[int] = frozenset({40, 41, 42})
    late: frozenset[int] = frozenset({36})
    twice: frozenset[int] = frozenset(range(22, 29))
    refusing_afternoon: int = 25
    jump: int = 30

    def trouble(self, number: int, at: time) -> str:
        """Return in one word what is wrong with the Hub at that time; empty when nothing is."""
        if number in self.stopped:
            return "stopped"
        if number in self.breaking:
            return "breaking"
        refusing = number in self.refusing or (number in self.late and at < LOOKS[0])
        return "refusing" if refusing or (number, at) == (self.refusing_afternoon, AFTERNOON) else ""


SCENARIO = Scenario()


class TwoMonths:
    """A generated Hub with a jump; on days with two syncs half of the events happen between them."""

    def __init__(self, scenario: Scenario = SCENARIO, seed: int = 0) -> None:
        self._hub = GeneratedHub(seed, REPOSITORIES, DAYS, LAST)
        self._scenario = scenario
        self.days: tuple[date, ...] = tuple(self._hub.days)
        self._jump = self._newcomers(self.days[scenario.jump])

    def at(self, moment: datetime) -> Look:
        """Return the Hub as it is at a moment."""
        return Look(self, moment)

    def state(self, day: date, now: datetime) -> HubState:
        """Return the Hub on a day as far as the day has come by now."""
        number = self.days.index(day)
        state = self._hub.on(day)
        repositories = list(state.repositories)
        if number in self._scenario.twice and now < datetime.combine(day, HALF_TIME, UTC):
            repositories = _without(self._late(day), state, self._hub.on(self.days[number - 1]))
        if number >= self._scenario.jump:
            repositories += self._jump
        return HubState(day, repositories, lambda: self.state(self.days[number - 1], now) if number else None)

    def log(self) -> list[tuple[datetime, Event]]:
        """Return everything that happens on the Hub, with the time from which it shows, in that order."""
        entries = []
        for number, day in enumerate(self.days):
            late = self._late(day) if number in self._scenario.twice else ()
            for event in self._hub.events(day):
                at = HALF_TIME if event in late else time()
                entries.append((datetime.combine(day, at, UTC), event))
            if number == self._scenario.jump:
                entries += [
                    (datetime.combine(day, time(), UTC), Event("added", r.hub_id, r.model_id, detail="jump"))
                    for r in self._jump
                ]
        return sorted(entries, key=lambda entry: entry[0])

    def _late(self, day: date) -> tuple[Event, ...]:
        return tuple(self._hub.events(day))[1::2]

    def _newcomers(self, day: date) -> list[Repository]:
        """Return as many new repositories as make the Hub 12 % larger than it was the day before."""
        before = len(public_models(self._hub.on(day - timedelta(days=1))))
        count = round(1.12 * before) - len(public_models(self._hub.on(day)))
        created = stamp(datetime.combine(day, time(1), UTC))
        return [
            replace(
                repository,
                hub_id=f"{int(datetime.combine(day, time(1), UTC).timestamp()):08x}{repository.sha[:16]}",
                model_id=f"jump-{repository.model_id}",
                created_at=created,
                last_modified=created,
            )
            for repository in GeneratedHub(1, count, 1, day).on(day).repositories
        ]


@dataclass(frozen=True)
class Look:
    """The Hub at a moment: a `HubSource`."""

    months: TwoMonths
    moment: datetime

    @property
    def days(self) -> Sequence[date]:
        """See `HubSource`."""
        return self.months.days

    def on(self, day: date) -> HubState:
        """See `HubSource`."""
        return self.months.state(day, self.moment)


def _without(late: Sequence[Event], state: HubState, before: HubState) -> list[Repository]:
    """Return the repositories of a day as they were before these of its events."""
    touched = {event.hub_id for event in late} | {event.previous_hub_id for event in late}
    unchanged = [repository for repository in state.repositories if repository.hub_id not in touched]
    return unchanged + [repository for repository in before.repositories if repository.hub_id in touched]


def public_models(state: HubState) -> dict[str, Repository]:
    """Return the public GGUF models of a Hub by identity (rule 10)."""
    return {
        r.hub_id: r
        for r in state.repositories
        if not r.private
        and ("gguf" in r.tags or any(path.lower().endswith(".gguf") for path in r.file_set.paths()))
    }


class Truth:
    """What the published days have to say, from nothing but what the Hub showed when they were synced."""

    def __init__(self) -> None:
        self.told: dict[date, tuple[date | None, Rows]] = {}
        self._days: dict[date, tuple[Models, dict[str, str]]] = {}

    def publish(self, day: date, models: Models) -> tuple[date | None, Rows]:
        """Return the baseline of a day that shows these models, and the changes against it."""
        baseline = max((known for known in self._days if known < day), default=None)
        if baseline is None:
            # The first day has nothing to be compared with.
            self._days[day], self.told[day] = (models, {}), (None, frozenset())
        else:
            old, gone = self._days[baseline]
            removed = {hub_id: old[hub_id].model_id for hub_id in old if hub_id not in models}
            away = {hub_id: name for hub_id, name in (gone | removed).items() if hub_id not in models}
            self._days[day] = (models, away)
            self.told[day] = (baseline, changes_between(old, models, gone, away))
        return self.told[day]


def changes_between(old: Models, new: Models, gone: Mapping[str, str], away: Mapping[str, str]) -> Rows:
    """Return what changed between two looks at the Hub (DESIGN §4, `docs/data.md`).

    Args:
        old, new: the models by identity.
        gone: names of those that were known and gone at the first look.
        away: the same at the second look.
    """
    changes = {("removed", hub_id) for hub_id in old if hub_id not in new}
    names_of_the_gone = {name.lower() for name in away.values()}
    for hub_id, now in new.items():
        was = old.get(hub_id)
        if was is None:
            taken_up = now.model_id.lower() in names_of_the_gone
            changes.add(("restored" if hub_id in gone else "recreated" if taken_up else "added", hub_id))
            continue
        happened = {
            "updated": was.sha != now.sha,
            "renamed": was.model_id != now.model_id,
            "gated": bool(now.gated) and not was.gated,
            "ungated": bool(was.gated) and not now.gated,
            "disabled": now.disabled and not was.disabled,
            "enabled": was.disabled and not now.disabled,
        }
        changes |= {(change, hub_id) for change, did in happened.items() if did}
    return frozenset(changes)


@dataclass(frozen=True)
class Sync:
    """A run that something asked for.

    Attributes:
        moment: the clock, of Hub and machine alike.
        day: the partition.
        cause: the schedule's or sensor's name, or `refetch`.
        full_asked: whether the run was asked to be full.
        trouble: see `Scenario.trouble`.
        success: whether the run succeeded.
        record: what the history tells of it; None when it left no trace there.
        requests: requests that reached the Hub; a run without any uses what is stored and is no new look.
        listed: public GGUF models that the Hub showed.
        baseline: the day that the published one says it was compared with.
        recorded: the published `changes`, None when nothing was published.
        due_baseline, due: what the truth says of both.
    """

    moment: datetime
    day: date
    cause: str
    full_asked: bool
    trouble: str
    success: bool
    record: SyncRecord | None
    requests: int
    listed: int
    baseline: date | None = None
    recorded: Rows | None = None
    due_baseline: date | None = None
    due: Rows | None = None


@dataclass
class Story:
    """What happened.

    Attributes:
        days: the simulated days.
        log: events on the Hub, see `TwoMonths.log`.
        syncs: the runs in their order.
        history: all records of the sync history.
        published: the published days at the end, with the rows of `changes`.
        requested: (moment, sensor, run key) of everything that sensors requested and Dagster ran.
        skipped: (moment, schedule or sensor, why) of every evaluation that requested nothing.
    """

    days: tuple[date, ...]
    log: list[tuple[datetime, Event]]
    syncs: list[Sync] = field(default_factory=list)
    history: list[SyncRecord] = field(default_factory=list)
    published: dict[date, Rows] = field(default_factory=dict)
    requested: list[tuple[datetime, str, str | None]] = field(default_factory=list)
    skipped: list[tuple[datetime, str, str]] = field(default_factory=list)

    def last_published(self) -> dict[date, Sync]:
        """Return the sync that each published day comes from."""
        return {sync.day: sync for sync in self.syncs if sync.success and sync.requests}


class Daemon:
    """Plays Dagster's daemon for one catalogue: evaluates, and runs in this process what is requested."""

    def __init__(self, home: Path, hub: LoopbackHub, months: TwoMonths, scenario: Scenario) -> None:
        self._environ = environment(home, hub.url, MAX_RETRIES="0")  # retries would only wait
        self._hub, self._months, self._scenario = hub, months, scenario
        self._store = Store(Layout(home / "data", home / "data"))
        self._truth = Truth()
        self._run_keys: set[tuple[str, str]] = set()
        self._cursors: dict[str, str | None] = {}
        self._trouble = ""
        self.story = Story(months.days, months.log())

    def live(self) -> Story:
        """Live through all days and tell the story."""
        with (
            mock.patch.dict(os.environ, self._environ, clear=True),
            open_instance(self._store.layout.dagster_home) as instance,
        ):
            for number, day in enumerate(self._months.days):
                if number not in self._scenario.off:
                    self._day(instance, number, day)
            self.story.history = self._store.history.syncs()
            self.story.published = {day: self._changes(day) for day in self._store.published.days()}
        return self.story

    def _day(self, instance: dg.DagsterInstance, number: int, day: date) -> None:
        if number == 0 or number - 1 in self._scenario.off:
            with self._clock(datetime.combine(day, time(0, 10), UTC), number):
                # A code server keeps what it has loaded until it is started again.
                self._defs = build_defs(environ=self._environ)
                self._time = self._schedule_time()
        if number - 1 in self._scenario.off:
            # Switched on again shortly after midnight, Dagster makes up for the last tick that it missed.
            with self._clock(datetime.combine(day, time(0, 10), UTC), number):
                missed = datetime.combine(self._months.days[number - 1], self._time, UTC)
                self._tick(instance, missed)
        moments = [(datetime.combine(day, self._time, UTC), SCHEDULE)]
        moments += [(datetime.combine(day, look, UTC), name) for look in LOOKS for name in SENSORS]
        if number in self._scenario.twice:
            moments.append((datetime.combine(day, AFTERNOON, UTC), "refetch"))
        for moment, cause in sorted(moments, key=lambda entry: entry[0]):
            with self._clock(moment, number):
                if cause == SCHEDULE:
                    self._tick(instance, moment)
                elif cause == "refetch":
                    config = {"ops": {"hub_listing": {"config": {"refetch": True}}}}
                    self._run(instance, dg.RunRequest(partition_key=str(day), run_config=config), cause)
                else:
                    self._look(instance, cause)

    def _clock(self, moment: datetime, number: int) -> time_machine.travel:
        """Return the machine's clock at a moment, with the Hub moved there as well."""
        self._now = self._months.at(moment)
        trouble = self._scenario.trouble(number, moment.time())
        self._hub.source = self._now
        self._hub.set_day(moment.date(), moment.time())
        if trouble == "stopped":
            self._hub.stop()
        elif self._trouble == "stopped":
            self._hub.start()
        path = {"refusing": "", "breaking": "cursor="}.get(trouble)
        self._hub.faults[:] = [] if path is None else [Fault("status", path=path, count=None)]
        self._trouble = trouble
        return time_machine.travel(moment, tick=False)

    def _schedule_time(self) -> time:
        schedule = self._defs.resolve_schedule_def(SCHEDULE)
        minute, hour, *every_day = str(schedule.cron_schedule).split()
        assert every_day == ["*", "*", "*"], schedule.cron_schedule
        assert schedule.execution_timezone in (None, "UTC"), schedule.execution_timezone
        return time(int(hour), int(minute))

    def _tick(self, instance: dg.DagsterInstance, due: datetime) -> None:
        schedule = self._defs.resolve_schedule_def(SCHEDULE)
        with dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=due,
            repository_def=self._defs.get_repository_def(),
        ) as context:
            told = schedule.evaluate_tick(context)
        if not told.run_requests:
            self.story.skipped.append((self._now.moment, SCHEDULE, told.skip_message or ""))
        for request in told.run_requests or []:
            self._run(instance, request, SCHEDULE, schedule.job_name)

    def _look(self, instance: dg.DagsterInstance, name: str) -> None:
        sensor = self._defs.resolve_sensor_def(name)
        with dg.build_sensor_context(
            instance=instance, cursor=self._cursors.get(name), sensor_name=name, definitions=self._defs
        ) as context:
            told = sensor.evaluate_tick(context)
        self._cursors[name] = told.cursor
        if not told.run_requests:
            self.story.skipped.append((self._now.moment, name, told.skip_message or ""))
        for request in told.run_requests or []:
            if request.run_key is not None:
                # A sensor's run key is remembered for ever.
                if (name, request.run_key) in self._run_keys:
                    continue
                self._run_keys.add((name, request.run_key))
            self.story.requested.append((self._now.moment, name, request.run_key))
            self._run(instance, request, name, sensor.job_name if request.job_name is None else None)

    def _run(
        self, instance: dg.DagsterInstance, request: dg.RunRequest, cause: str, job: str | None = None
    ) -> None:
        name = request.job_name or job or "daily_sync"
        assert request.partition_key is not None
        day = date.fromisoformat(request.partition_key)
        models = public_models(self._now.on(self._now.moment.date()))
        self._hub.clear_requests()
        run_key = {} if request.run_key is None else {"dagster/run_key": request.run_key}
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        result = self._defs.resolve_job_def(name).execute_in_process(
            partition_key=request.partition_key,
            run_config={**request.run_config, **quiet},
            tags={**request.tags, **run_key},
            instance=instance,
            raise_on_error=False,
        )
        asked = request.run_config.get("ops", {}).get("hub_listing", {}).get("config", {})
        sync = Sync(
            moment=self._now.moment,
            day=day,
            cause=cause,
            full_asked=name == "full_sync" or asked.get("mode") == "full" or bool(asked.get("force")),
            trouble=self._trouble,
            success=result.success,
            record=next((r for r in self._store.history.syncs() if r.sync_id == result.run_id), None),
            requests=len(self._hub.requests),
            listed=len(models),
        )
        if result.success:
            manifest = self._store.published.manifest(day)
            assert manifest is not None
            walked = any(request.target.startswith("/api/models?") for request in self._hub.requests)
            due_baseline, due = self._truth.publish(day, models) if walked else self._truth.told[day]
            sync = replace(
                sync,
                baseline=None if manifest.baseline is None else manifest.baseline.date,
                recorded=self._changes(day),
                due_baseline=due_baseline,
                due=due,
            )
        self.story.syncs.append(sync)

    def _changes(self, day: date) -> Rows:
        with pq.ParquetFile(self._store.published.file("changes", day)) as file:
            table = file.read(["change", "hub_id"])
        return frozenset(zip(table["change"].to_pylist(), table["hub_id"].to_pylist(), strict=True))


def live_two_months(home: Path, scenario: Scenario = SCENARIO) -> Story:
    """Live through the two months with a catalogue in `home`."""
    months = TwoMonths(scenario)
    first = months.at(datetime.combine(months.days[0], time(), UTC))
    with LoopbackHub(first, day=months.days[0], page_size=PAGE, tick=0) as hub:
        return Daemon(home, hub, months, scenario).live()


SUPERSEDES: dict[str, frozenset[str]] = {
    "added": frozenset({"removed", "recreated"}),
    "removed": frozenset({"added", "restored", "recreated"}),
    "restored": frozenset({"removed", "recreated"}),
    "recreated": frozenset({"added", "restored", "removed", "renamed"}),
    "renamed": frozenset({"added", "removed", "restored", "recreated", "renamed"}),
    "updated": frozenset({"added", "removed", "restored", "recreated"}),
    "gated": frozenset({"added", "removed", "restored", "recreated", "ungated"}),
    "ungated": frozenset({"added", "removed", "restored", "recreated", "gated"}),
    "disabled": frozenset({"added", "removed", "restored", "recreated", "enabled"}),
    "enabled": frozenset({"added", "removed", "restored", "recreated", "disabled"}),
}
"""Change → others that leave no trace of it between two looks at the Hub: the model was not there at one of
them, or it is again as it was."""


@dataclass(frozen=True)
class Accounted:
    """What became of an event: `day` records it, or the event `by` within the same gap superseded it."""

    happened: datetime
    event: Event
    day: date
    by: Event | None = None


@dataclass(frozen=True)
class Account:
    """Events of the Hub against the rows of one published day.

    Attributes:
        day: the published day.
        events: every event since the last published day.
        lost: events that are neither recorded nor superseded.
        invented: rows that no event of that time explains.
    """

    day: date
    events: list[Accounted]
    lost: list[Event]
    invented: Rows


def accounts(story: Story) -> list[Account]:
    """Return the account of every published day, in order."""
    told: list[Account] = []
    unknown = {event.hub_id for _, event in story.log if event.change in ("added", "recreated")}
    after = datetime.min.replace(tzinfo=UTC)
    for day, sync in sorted(story.last_published().items()):
        happened = [entry for entry in story.log if after < entry[0] <= sync.moment]
        told.append(_account(day, happened, story.published[day], unknown))
        unknown -= {hub_id for _, hub_id in story.published[day]}
        after = sync.moment
    return told


def _account(day: date, happened: Sequence[tuple[datetime, Event]], rows: Rows, unknown: set[str]) -> Account:
    """Return the account of one day; `unknown` are models that no earlier day has seen."""
    kin = _kin(event for _, event in happened)
    events, lost = [], []
    explained: set[tuple[str, str]] = set()
    for moment, event in happened:
        wanted = {(event.change, event.hub_id)}
        if event.change == "recreated":
            wanted.add(("removed", str(event.previous_hub_id)))
        if event.change == "restored" and event.hub_id in unknown:
            # It came and went while nobody looked, and so is new, perhaps under a name that is known.
            wanted = {(new, event.hub_id) for new in ("added", "recreated")} & rows or wanted
        by = None
        if not wanted <= rows:
            others = kin[event.hub_id]
            by = next((o for o in others if o is not event and o.change in SUPERSEDES[event.change]), None)
            if by is None:
                lost.append(event)
                continue
            # Who was made anew under a name that was not known is simply new.
            wanted |= {("added", event.hub_id)} if event.change == "recreated" else set()
        explained |= wanted
        events.append(Accounted(moment, event, day, by))
    return Account(day, events, lost, rows - explained)


def _kin(events: Iterator[Event]) -> dict[str, list[Event]]:
    """Return the events of each repository, with those of the repositories it was made anew from."""
    kin: dict[str, list[Event]] = {}
    for event in events:
        same = kin.setdefault(event.previous_hub_id or event.hub_id, [])
        same.append(event)
        kin[event.hub_id] = same
    return kin


def table(story: Story) -> Iterator[str]:
    """Yield the lines of the table that explains every day, as Markdown."""
    yield "| day | sync | requests | events | recorded | superseded | lost | rows | invented | remarks |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    told = {account.day: account for account in accounts(story)}
    for number, day in enumerate(story.days):
        syncs = [sync for sync in story.syncs if sync.moment.date() == day]
        account = told.get(day)
        figures = ["–"] * 6
        if account is not None:
            by = sum(1 for entry in account.events if entry.by is not None)
            total = len(account.events) + len(account.lost)
            rows = len(story.published[day])
            figures = [str(total), str(total - by - len(account.lost)), str(by)]
            figures += [str(len(account.lost)), str(rows), str(len(account.invented))]
        cells = [
            f"{number} ({day:%m-%d})",
            "<br>".join(_told(sync) for sync in syncs) or "–",
            str(sum(sync.requests for sync in syncs)),
            *figures,
            _remark(number, SCENARIO),
        ]
        yield f"| {' | '.join(cells)} |"


def _told(sync: Sync) -> str:
    assert sync.record is not None
    choice = f"{sync.record.mode}, {sync.record.reason}" if sync.record.mode else "undecided"
    cause = "" if sync.cause == SCHEDULE else f" ({sync.cause.replace('_', ' ')})"
    return f"{sync.moment:%H:%M} {choice}{cause}{'' if sync.success else ': failed'}"


def _remark(number: int, scenario: Scenario) -> str:
    remarks = {
        "machine off": number in scenario.off,
        "Hub refuses": number in scenario.refusing,
        "Hub breaks off in mid-walk": number in scenario.breaking,
        "Hub out of reach": number in scenario.stopped,
        "Hub refuses until morning": number in scenario.late,
        "two syncs": number in scenario.twice,
        "the second one refused": number == scenario.refusing_afternoon,
        "12 % more models": number == scenario.jump,
    }
    return ", ".join(remark for remark, holds in remarks.items() if holds)


def main() -> None:
    """Live through the two months in a fresh folder and print the table."""
    began = real_time.perf_counter()
    with tempfile.TemporaryDirectory() as home:
        story = live_two_months(Path(home))
    print("\n".join(table(story)))
    told = accounts(story)
    entries = [entry for account in told for entry in account.events]
    print(
        f"\n{len(story.syncs)} runs, {len(story.published)} days published, {len(story.log)} events: "
        f"{sum(entry.by is None for entry in entries)} recorded, "
        f"{sum(entry.by is not None for entry in entries)} superseded within a gap, "
        f"{sum(len(account.lost) for account in told)} lost; "
        f"{sum(len(account.invented) for account in told)} rows invented. "
        f"{real_time.perf_counter() - began:.0f} s"
    )
    for entry in entries:
        if entry.by is not None:
            event = entry.event
            print(
                f"- {entry.happened:%m-%d} {event.change} {event.model_id}, {entry.by.change} in the same gap"
            )


if __name__ == "__main__":
    main()
