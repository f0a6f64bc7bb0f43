"""One day of a generated Hub from the day before: what happens to its repositories, and the truth about it.

Events are what a catalogue must find out; counters and tags that the Hub computes move besides and are
none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from random import Random

from gguf_assets.demo.state import HubFile, ListedFiles, Repository, made_file

Upload = Callable[[datetime], Repository]
"""Makes a new repository, created at the given time."""

# Change → (at least so many a day, share of the repositories). Shares are near those counted on the real Hub.
FREQUENCY: dict[str, tuple[int, float]] = {
    "added": (6, 0.001_25),
    "updated": (8, 0.001_6),
    "removed": (3, 0.000_2),
    "renamed": (3, 0.000_1),
    "recreated": (1, 0.000_02),
    "restored": (1, 0.000_02),
    "gated": (1, 0.000_02),
    "ungated": (1, 0.000_02),
    "disabled": (1, 0.000_01),
    "enabled": (1, 0.000_01),
}
STALLED_EVERY = 5
"""On every fifth day the counters stand still, as they do on the real Hub."""
LATER_LABELS = (
    "Q4_K_M",
    "Q6_K",
    "Q5_K_M",
    "IQ4_XS",
    "Q8_0",
    "Q3_K_M",
    "Q4_K_S",
    "Q5_0",
    "Q4_0",
    "Q2_K",
    "IQ3_M",
)


@dataclass(frozen=True)
class Event:
    """Something that happened to a repository, named as the catalogue's `changes` name it.

    `previous_model_id` is set for a rename, `previous_hub_id` where a name was taken up anew; `detail` says
    which of several ways it went.
    """

    change: str
    hub_id: str
    model_id: str
    previous_model_id: str | None = None
    previous_hub_id: str | None = None
    detail: str = ""


@dataclass(frozen=True)
class Day:
    """The repositories of a day (private ones included), the deleted ones, and the events that led here."""

    day: date
    repositories: tuple[Repository, ...]
    deleted: tuple[Repository, ...] = ()
    events: tuple[Event, ...] = ()
    number: int = 0


def next_day(before: Day, day: date, random: Random, upload: Callable[[], Upload]) -> Day:
    """Return the day after `before`; `upload` makes the next new repository.

    A repository has at most one event a day.
    """
    return _Turn(before, day, random, upload).run()


class _Turn:
    """The making of one day."""

    def __init__(self, before: Day, day: date, random: Random, upload: Callable[[], Upload]) -> None:
        self.before, self.day, self.random, self.upload = before, day, random, upload
        self.present = {repository.hub_id: repository for repository in before.repositories}
        self.deleted = {repository.hub_id: repository for repository in before.deleted}
        self.names = {repository.model_id.lower() for repository in (*before.repositories, *before.deleted)}
        self.events: list[Event] = []
        self.pool: list[str] = []

    def run(self) -> Day:
        # Who has an event today, in random order; every kind takes from it whom it can use.
        self.pool = [r.hub_id for r in self.before.repositories if not r.private]
        self.random.shuffle(self.pool)
        steps = (
            ("restored", self._restore),
            ("enabled", self._enable),
            ("ungated", self._ungate),
            ("removed", self._remove),
            ("renamed", self._rename),
            ("recreated", self._recreate),
            ("updated", self._update),
            ("disabled", self._disable),
            ("gated", self._gate),
            ("added", self._add),
        )
        for change, step in steps:
            least, share = FREQUENCY[change]
            for turn in range(max(least, round(share * len(self.before.repositories)))):
                step(turn)
        number = self.before.number + 1
        self._move_counters(stalled=number % STALLED_EVERY == STALLED_EVERY - 2)
        return Day(
            self.day, tuple(self.present.values()), tuple(self.deleted.values()), tuple(self.events), number
        )

    def _pick(self, fits: Callable[[Repository], bool] = lambda r: True) -> Repository | None:
        """Take the first of the pool that fits, or None when nobody does."""
        for position in range(len(self.pool) - 1, -1, -1):
            repository = self.present[self.pool[position]]
            if _is_gguf(repository) and fits(repository):
                del self.pool[position]
                return repository
        return None

    def _record(self, change: str, repository: Repository, detail: str = "", **previous: str) -> None:
        self.events.append(Event(change, repository.hub_id, repository.model_id, detail=detail, **previous))

    def _moment(self) -> datetime:
        """Some time in the morning: the day is looked at from noon on."""
        return datetime.combine(self.day, time(), UTC) + timedelta(seconds=self.random.randrange(11 * 3_600))

    def _sha(self, repository: Repository) -> str:
        text = f"{repository.hub_id}/{self.day}"
        return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def _commit(self, repository: Repository, files: Sequence[HubFile], **changes: object) -> Repository:
        """Return the repository with a new head holding these files."""
        present = replace(
            repository,
            sha=self._sha(repository),
            last_modified=stamp(self._moment()),
            file_set=ListedFiles(tuple(files)),
        )
        return replace(present, **changes)  # type: ignore[arg-type]

    def _add(self, turn: int) -> None:
        added = self.upload()(self._moment())
        # A new upload has had no time to be popular, and nobody has looked at it yet.
        added = replace(
            added,
            last_modified=added.created_at,
            downloads=added.downloads % 50,
            likes=0,
            disabled=False,
            gated=False,
        )
        self.present[added.hub_id] = added
        self._record("added", added)

    def _update(self, turn: int) -> None:
        repository = self._pick()
        if repository is None:
            return
        files = list(repository.files)
        gguf = [i for i, file in enumerate(files) if file.path.endswith(".gguf") and "-of-" not in file.path]
        match turn % 4:
            case 0 if len(gguf) > 1:
                detail = "file removed"
                del files[gguf[self.random.randrange(len(gguf))]]
            case 1 if gguf:
                detail = "file replaced"
                position = gguf[self.random.randrange(len(gguf))]
                # Every other replacement keeps the size, so only the checksum tells.
                size = files[position].size + (64 if turn % 8 == 1 else 0)
                files[position] = self._made(repository, files[position].path, size)
            case 2:
                detail = "model card edited"
                position = next(i for i, file in enumerate(files) if file.path == "README.md")
                readme = self._made(repository, "README.md", files[position].size + 37, lfs=False)
                files[position] = readme
            case _:
                detail = "file added"
                files.append(self._made(repository, _unused_path(repository), 4_683_073_952))
        changed = self._commit(repository, files)
        if turn % 8 == 4:
            # The date is no watermark: now and then a commit leaves it as it was.
            changed = replace(changed, last_modified=repository.last_modified)
            detail += ", date unchanged"
        self.present[repository.hub_id] = changed
        self._record("updated", changed, detail)

    def _made(self, repository: Repository, path: str, size: int, *, lfs: bool = True) -> HubFile:
        return made_file(path, size, f"{repository.hub_id}/{path}@{self.day}", lfs=lfs)

    def _remove(self, turn: int) -> None:
        repository = self._pick()
        if repository is None:
            return
        match turn % 3:
            case 0:
                detail = "deleted"
                del self.present[repository.hub_id]
                self.deleted[repository.hub_id] = repository
            case 1:
                detail = "made private"
                self.present[repository.hub_id] = replace(repository, private=True)
            case _:
                detail = "no GGUF file left"
                left = [file for file in repository.files if not file.path.endswith(".gguf")]
                tags = tuple(tag for tag in repository.tags if tag != "gguf")
                self.present[repository.hub_id] = self._commit(repository, left, tags=tags, gguf=None)
        self._record("removed", repository, detail)

    def _restore(self, turn: int) -> None:
        hidden = [r for r in self.before.repositories if r.private and self.present[r.hub_id].private]
        candidates = sorted((*self.deleted.values(), *hidden), key=lambda r: r.hub_id)
        if not candidates:
            return
        repository = candidates[self.random.randrange(len(candidates))]
        detail = "made public" if repository.private else "undeleted"
        self.deleted.pop(repository.hub_id, None)
        self.present[repository.hub_id] = replace(repository, private=False)
        self._record("restored", repository, detail)

    def _rename(self, turn: int) -> None:
        repository = self._pick(lambda r: self._new_name(r, turn) is not None)
        if repository is None:
            return
        name = self._new_name(repository, turn)
        assert name is not None
        self.names.add(name.lower())
        self.present[repository.hub_id] = renamed = replace(repository, model_id=name)
        self._record("renamed", renamed, previous_model_id=repository.model_id)

    def _new_name(self, repository: Repository, turn: int) -> str | None:
        """Return a near name, as most new names are: another case, another ending, another owner."""
        owner, _, name = repository.model_id.partition("/")
        near = (f"{owner}/{name.lower()}", f"{owner}/{name}-v1", f"{owner}-labs/{name}")[turn % 3]
        if near == repository.model_id or (turn % 3 and near.lower() in self.names):
            return None
        return near

    def _recreate(self, turn: int) -> None:
        repository = self._pick()
        if repository is None:
            return
        created = self._moment()
        # The counter sometimes starts again and sometimes runs on.
        downloads = 0 if self.random.random() < 0.4 else repository.downloads
        again = replace(
            repository,
            hub_id=f"{int(created.timestamp()):08x}{self._sha(repository)[:16]}",
            sha=self._sha(repository),
            created_at=stamp(created),
            last_modified=stamp(created),
            likes=0,
            downloads=downloads,
            downloads_all_time=downloads,
        )
        del self.present[repository.hub_id]
        self.present[again.hub_id] = again
        self._record("recreated", again, previous_hub_id=repository.hub_id)

    def _gate(self, turn: int) -> None:
        self._set("gated", lambda r: not r.gated, gated="auto" if self.random.random() < 0.7 else "manual")

    def _ungate(self, turn: int) -> None:
        self._set("ungated", lambda r: bool(r.gated), gated=False)

    def _disable(self, turn: int) -> None:
        self._set("disabled", lambda r: not r.disabled, disabled=True)

    def _enable(self, turn: int) -> None:
        self._set("enabled", lambda r: r.disabled, disabled=False)

    def _set(self, change: str, fits: Callable[[Repository], bool], **values: bool | str) -> None:
        repository = self._pick(fits)
        if repository is not None:
            self.present[repository.hub_id] = replace(repository, **values)  # type: ignore[arg-type]
            self._record(change, repository)

    def _move_counters(self, *, stalled: bool) -> None:
        """Move downloads, likes and tags that the Hub computes: no commit and no event stands for them."""
        random = self.random.random
        for hub_id, repository in self.present.items():
            chance = random()
            changes: dict[str, object] = {}
            if chance < 0.45 and not stalled:
                step = int(repository.downloads * 0.1 * (random() - 0.46)) + int(3 * random())
                changes["downloads"] = max(0, repository.downloads + step)
                changes["downloads_all_time"] = (repository.downloads_all_time or 0) + abs(step)
            if chance > 0.97 and not stalled:
                changes["likes"] = max(0, repository.likes + (1 if chance > 0.975 else -1))
            if chance > 0.999:
                changes["tags"] = _toggled(repository.tags, "endpoints_compatible")
            if changes:
                self.present[hub_id] = replace(repository, **changes)  # type: ignore[arg-type]


def _toggled(tags: tuple[str, ...], tag: str) -> tuple[str, ...]:
    return tuple(t for t in tags if t != tag) if tag in tags else (*tags, tag)


def _is_gguf(repository: Repository) -> bool:
    return "gguf" in repository.tags


def _unused_path(repository: Repository) -> str:
    """Return a path for one more quantization."""
    taken = set(repository.file_set.paths())
    stem = repository.model_id.partition("/")[2]
    paths = (f"{stem}.{label}.gguf" for label in LATER_LABELS)
    return next((path for path in paths if path not in taken), f"{stem}.{len(taken)}.gguf")


def stamp(moment: datetime) -> str:
    """Return a time as the Hub writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")
