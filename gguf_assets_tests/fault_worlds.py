"""Small random Hubs over three days, and what they truly show: the measure of the fault sequences.

What belongs here: making the days, and who is listed on each. What does not: faults (`fault_sequences`) and
the comparison with what was published (`fault_oracle`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from random import Random

from gguf_assets.demo.state import HubFile, ListedFiles, Repository
from gguf_assets_tests.hubs import gguf, plain, repository

FIRST = date(2025, 8, 10)
DAYS = tuple(FIRST + timedelta(days=n) for n in range(3))
_QUANTIZATIONS = ("Q2_K", "Q4_K_M", "Q5_K_S", "Q8_0", "F16")
_OWNERS = ("ana", "ben", "corp")


@dataclass(frozen=True)
class World:
    """The repositories of every day, the pages they come in, and what was done in words."""

    days: dict[date, list[Repository]]
    page_size: int
    story: tuple[str, ...]

    def truth(self, day: date) -> dict[str, Repository]:
        """Return who is a GGUF model that the Hub shows on a day, by identity."""
        return {one.hub_id: one for one in self.days[day] if _is_listed(one)}


def random_world(rng: Random) -> World:
    """Make 6 to 14 repositories and let some of them change between the days."""
    maker = _Maker(rng)
    today = [maker.make(FIRST) for _ in range(rng.randint(6, 14))]
    days, gone = {FIRST: today}, []
    for day in DAYS[1:]:
        today = maker.next_day(day, today, gone)
        days[day] = today
    return World(days, rng.randint(3, 5), tuple(maker.story))


def _is_listed(one: Repository) -> bool:
    return not one.private and ("gguf" in one.tags or any(path.endswith(".gguf") for path in paths_of(one)))


def paths_of(one: Repository) -> list[str]:
    """Return the paths of the files of a repository."""
    return list(one.file_set.paths())


class _Maker:
    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.made = 0
        self.story: list[str] = []

    def make(self, day: date, name: str | None = None) -> Repository:
        """Make a repository that nobody has seen before."""
        self.made += 1
        owner = self.rng.choice(_OWNERS)
        model_id = name or f"{owner}/model-{self.made}-{self.rng.choice(('GGUF', 'gguf', 'chat'))}"
        digest = hashlib.sha256(f"{model_id}@{self.made}".encode()).hexdigest()
        created = day - timedelta(days=0 if self.made > 14 else self.rng.randint(1, 40))
        return repository(
            model_id,
            hub_id=f"68600000{digest[:16]}",
            sha=digest[:40],
            files=self.files(model_id),
            created_at=f"{created}T0{self.rng.randint(0, 9)}:00:00.000Z",
            last_modified=f"{created}T10:00:00.000Z",
            downloads=self.rng.randint(0, 5000),
            likes=self.rng.randint(0, 50),
            gated=self.rng.choice((False, False, False, "auto", "manual")),
        )

    def files(self, model_id: str) -> Sequence[HubFile]:
        stem = model_id.partition("/")[2]
        labels = self.rng.sample(_QUANTIZATIONS, self.rng.randint(1, 3))
        version = self.rng.randint(1, 10**6)
        sizes = (self.rng.randint(10**8, 9 * 10**9) for _ in labels)
        return (
            plain("README.md"),
            *(gguf(f"{stem}.{label}.gguf", size, version) for label, size in zip(labels, sizes, strict=True)),
        )

    def next_day(self, day: date, before: list[Repository], gone: list[Repository]) -> list[Repository]:
        """Return the repositories a day later; who goes joins `gone`, who comes back leaves it."""
        today = [
            replace(one, downloads=one.downloads + self.rng.randint(0, 90), likes=one.likes + (n % 2))
            for n, one in enumerate(before)
        ]
        for _ in range(self.rng.randint(0, 5)):
            self.change(day, today, gone)
        return today

    def change(self, day: date, today: list[Repository], gone: list[Repository]) -> None:
        """Let one thing happen."""
        kinds = "add update update remove rename recreate gate disable hide unmake return".split()
        kind = self.rng.choice(kinds)
        place = self.rng.randrange(len(today))
        one = today[place]
        self.story.append(f"{day}: {kind} {one.model_id}")
        match kind:
            case "add":
                today.insert(0, self.make(day))
            case "update":
                files = self.files(one.model_id)
                sha = hashlib.sha256(f"{one.sha}+{self.rng.random()}".encode()).hexdigest()[:40]
                today[place] = replace(
                    one,
                    sha=sha,
                    tags=("gguf", "region:us"),
                    file_set=ListedFiles(tuple(files)),
                    last_modified=f"{day}T01:00:00.000Z",
                )
            case "remove" if len(today) > 4:
                gone.append(today.pop(place))
            case "rename":
                today[place] = replace(
                    one, model_id=f"{one.model_id}-v{self.rng.randint(2, 99)}", author=None
                )
            case "recreate":
                today[place] = self.make(day, one.model_id)
            case "gate":
                others = [state for state in (False, "auto", "manual") if state != one.gated]
                today[place] = replace(one, gated=self.rng.choice(others))
            case "disable":
                today[place] = replace(one, disabled=not one.disabled)
            case "hide" if len(today) > 4:
                today[place] = replace(one, private=not one.private)
            case "unmake" if len(today) > 4:
                files = (plain("README.md"),)
                sha = hashlib.sha256(f"{one.sha}-".encode()).hexdigest()[:40]
                today[place] = replace(
                    one,
                    sha=sha,
                    tags=("region:us",),
                    library_name=None,
                    file_set=ListedFiles(files),
                    last_modified=f"{day}T01:00:00.000Z",
                )
            case "return" if gone:
                back = gone.pop()
                names = {other.model_id.lower() for other in today}
                if back.model_id.lower() not in names:
                    today.append(back)
            case _:
                self.story.pop()
