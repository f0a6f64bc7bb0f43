"""Generated days of a small Hub, and the rules of a day written down naively, as an independent answer.

Everything that can happen to a repository happens: it appears, vanishes and comes back, is renamed, takes a
name over, is gated or disabled, gets new commits and goes back to old ones, and its creation time changes or
cannot be read.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from gguf_assets.catalogue.paths import describe
from gguf_assets_tests.catalogue.days import Answer, Files, answer, hub_id, noon, row, sha, sha256

REPOSITORIES = 6
NAMES = ("a/x-gguf", "A/Y-gguf", "b/x-gguf", "b/z-gguf", "c/w-gguf", "c/W2-gguf", "d/x-gguf")
PATHS = (
    "README.md",
    "model.Q4_K_M.gguf",
    "model.Q8_0.gguf",
    "mmproj-model-f16.gguf",
    "Q6_K/model-Q6_K-00001-of-00002.gguf",
    "Q6_K/model-Q6_K-00002-of-00002.gguf",
    "zoë.Q2_K.gguf",
    "imatrix.dat",
)


def content_of(number: int, commit: str) -> Files:
    """Return the files of a repository at a commit: the same ones whenever they are asked for."""
    chance = random.Random(f"{number} {commit}")
    paths = chance.sample(PATHS, chance.randrange(0, len(PATHS)))
    versions = [(path, chance.randrange(2)) for path in paths]
    return {
        path: (0 if v and path == "imatrix.dat" else 1000 + v, sha256(f"{path}{v}")) for path, v in versions
    }


@dataclass(frozen=True)
class Repository:
    """A listed repository; `created` is in hours, `commit` and `created` are None where unreadable."""

    number: int
    name: str
    created: int | None
    commit: str | None
    downloads: int | None
    downloads_all_time: int | None = 100
    gated: Any = False
    disabled: bool = False

    @property
    def created_at(self) -> datetime | None:
        return (
            None if self.created is None else datetime(2025, 8, 1, tzinfo=UTC) + timedelta(hours=self.created)
        )

    @property
    def sha(self) -> str | None:
        return None if self.commit is None else sha(f"{self.number} {self.commit}")

    @property
    def content(self) -> Files:
        return {} if self.commit is None else content_of(self.number, self.commit)

    def listed(self) -> dict[str, Any]:
        created = self.created_at
        return row(
            self.number,
            id=self.name,
            sha=self.sha,
            createdAt=None if created is None else created.isoformat(),
            downloads=self.downloads,
            downloadsAllTime=self.downloads_all_time,
            gated=self.gated,
            disabled=self.disabled,
            siblings=[{"rfilename": path} for path in self.content],
        )


@dataclass(frozen=True)
class HubDay:
    """What the Hub shows on a day: its repositories, which of them answer, and whether names are listed."""

    repositories: tuple[Repository, ...]
    answering: frozenset[int]
    full: bool

    def listing(self) -> list[dict[str, Any]]:
        """Return the rows of the walk, in its order."""
        rows = [(r.created_at, r.listed()) for r in self.repositories]
        rows.sort(key=lambda pair: pair[1]["_id"])
        rows.sort(key=lambda pair: pair[0] or datetime.min.replace(tzinfo=UTC), reverse=True)
        return [
            listed if self.full else {key: value for key, value in listed.items() if key != "siblings"}
            for _, listed in rows
        ]

    def answers(self) -> list[Answer]:
        return [
            answer(r.listed(), r.content, gguf={"total": 7_000_000_000, "architecture": f"arch-{r.commit}"})
            for r in self.repositories
            if r.number in self.answering and r.commit is not None
        ]


@st.composite
def hub_days(draw: st.DrawFn) -> HubDay:
    """One day; drawn independently of others, so that anything can happen between two."""
    numbers = draw(st.lists(st.integers(1, REPOSITORIES), unique=True, max_size=REPOSITORIES))
    names = draw(st.permutations(NAMES))
    usual = draw(st.booleans())  # most days keep the creation times
    repositories = tuple(
        Repository(
            number,
            name=names[place] if draw(st.integers(0, 3)) == 0 else NAMES[number],
            created=number // 2 if usual else draw(st.sampled_from([None, 0, 1, 2, number // 2])),
            commit=draw(st.sampled_from(["one", "one", "two", "three", None])),
            downloads=draw(st.sampled_from([0, 5, 12, None])),
            downloads_all_time=draw(st.sampled_from([100, 100, 101, None])),
            gated=draw(st.sampled_from([False, False, "auto", "manual"])),
            disabled=draw(st.booleans()),
        )
        for place, number in enumerate(numbers)
    )
    return HubDay(
        _with_names_once(repositories),
        draw(st.frozensets(st.sampled_from(numbers or [0]))),
        draw(st.booleans()),
    )


def _with_names_once(repositories: tuple[Repository, ...]) -> tuple[Repository, ...]:
    """Give every name to one repository, as the Hub does."""
    free = [name for name in NAMES if name not in {r.name for r in repositories}]
    borne: set[str] = set()
    result = []
    for repository in repositories:
        name = repository.name if repository.name not in borne else free.pop()
        borne.add(name)
        result.append(replace(repository, name=name))
    return tuple(result)


@dataclass(frozen=True)
class Known:
    """A model as the rules say it has to stand in the catalogue; `files` is None while names are unknown."""

    model_id: str
    sha: str | None
    details_sha: str | None
    architecture: str | None
    created_at: datetime | None
    downloads: int | None
    downloads_delta: int | None
    downloads_all_time: int | None
    counters_stalled: bool | None
    gated: str
    disabled: bool
    presence: str
    first_seen: date
    last_changed: date
    observed_at: datetime
    files: Files | None

    @property
    def details_known(self) -> bool:
        return self.sha is not None and self.details_sha == self.sha


Catalogue = dict[str, Known]


def next_day(yesterday: Catalogue | None, hub: HubDay, day: date) -> Catalogue:
    """Say what the catalogue of a day is, rule by rule (DESIGN 3 to 5), one model after the other."""
    before = yesterday or {}
    today: Catalogue = {}
    for repository in hub.repositories:
        old = before.get(hub_id(repository.number))
        today[hub_id(repository.number)] = _listed(repository, old, hub, day)
    names = {known.model_id.lower() for known in today.values()}
    for identity, old in before.items():
        if identity not in today and old.model_id.lower() not in names:
            today[identity] = replace(
                old, presence="unconfirmed", downloads_delta=None, counters_stalled=None
            )
    return today


def _listed(repository: Repository, old: Known | None, hub: HubDay, day: date) -> Known:
    details_sha = None if old is None else old.details_sha
    architecture, files = None, None
    related = {path: facts for path, facts in repository.content.items() if describe(path).related}
    if old is not None and old.details_known and old.sha == repository.sha:
        architecture, files = old.architecture, old.files
    elif repository.sha is not None and repository.number in hub.answering:
        details_sha, architecture, files = repository.sha, f"arch-{repository.commit}", related
    else:
        if details_sha == repository.sha:
            details_sha = None  # the details of that commit were given up when another one came
        if hub.full:
            files = dict.fromkeys(related, (None, None))
        elif old is not None and old.files is not None:
            files = dict.fromkeys(old.files, (None, None))
    changed = old is not None and None not in (old.sha, repository.sha) and old.sha != repository.sha
    counters = (repository.downloads, repository.downloads_all_time)
    counts = (repository.downloads, None if old is None else old.downloads)
    return Known(
        model_id=repository.name,
        sha=repository.sha,
        details_sha=details_sha,
        architecture=architecture,
        created_at=repository.created_at or (old.created_at if old else None),
        downloads=repository.downloads,
        downloads_delta=None if None in counts else counts[0] - counts[1],
        downloads_all_time=repository.downloads_all_time,
        counters_stalled=None if old is None else counters == (old.downloads, old.downloads_all_time),
        gated=repository.gated or "no",
        disabled=repository.disabled,
        presence="listed",
        first_seen=day if old is None else old.first_seen,
        last_changed=day if old is None or changed else old.last_changed,
        observed_at=noon(day),
        files=files,
    )
