"""What a Hub holds on one day: repositories, their files, and what became of earlier names and heads.

Recorded and generated Hubs both come down to these types, so the server knows no source. What does not
belong here: the shape of any JSON (`documents.py`) and how days come about (`recording.py`, `generate.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property, partial
from typing import Any, Protocol

from gguf_assets.demo import content
from gguf_assets.errors import Refused


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository: path, size in bytes and, for an LFS file, its sha256 (None: a plain file).

    `content_key` names the bytes to serve; without one they follow from sha256, or path and size.
    """

    path: str
    size: int
    lfs: str | None = None
    content_key: str | None = None

    @property
    def key(self) -> str:
        """Name of the content served for this file."""
        return self.content_key or self.lfs or f"{self.path}:{self.size}"

    @property
    def blob_id(self) -> str:
        """Git object id; for an LFS file that of its pointer."""
        if self.lfs is None:
            return content.plain_blob_id(self.key, self.size)
        return content.git_blob_id(content.lfs_pointer(self.lfs, self.size))


def made_file(path: str, size: int, key: str, *, lfs: bool = True) -> HubFile:
    """Return a file whose checksum is that of the bytes served for `key` (see `content.sha256_of`)."""
    return HubFile(path, size, content.sha256_of(key, size) if lfs else None, key)


class FileSet(Protocol):
    """The files of one commit. Paths are asked for far more often than sizes and checksums."""

    def paths(self) -> Sequence[str]:
        """Paths in the repository's order."""
        ...

    def files(self) -> Sequence[HubFile]:
        """The same files in the same order, with sizes and checksums."""
        ...


@dataclass(frozen=True, slots=True)
class ListedFiles:
    """A file set that is simply written down."""

    listed: tuple[HubFile, ...]

    def paths(self) -> Sequence[str]:
        """See `FileSet`."""
        return [file.path for file in self.listed]

    def files(self) -> Sequence[HubFile]:
        """See `FileSet`."""
        return self.listed


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository as it stands at one commit; field names and values as the Hub's API has them."""

    hub_id: str
    model_id: str
    sha: str
    created_at: str
    last_modified: str
    file_set: FileSet
    tags: tuple[str, ...] = ("gguf", "region:us")
    downloads: int = 0
    likes: int = 0
    gated: bool | str = False
    private: bool = False
    disabled: bool = False
    pipeline_tag: str | None = None
    library_name: str | None = None
    author: str | None = None
    trending_score: float | None = None
    downloads_all_time: int | None = None
    gguf: Mapping[str, Any] | None = None

    @property
    def owner(self) -> str:
        """The first part of the name, or the recorded author."""
        return self.author or self.model_id.partition("/")[0]

    @property
    def files(self) -> Sequence[HubFile]:
        """Files with sizes and checksums, in the repository's order."""
        return self.file_set.files()


@dataclass(frozen=True)
class HubState:
    """All repositories of a Hub on one day; `previous` leads to the day before, where there is one.

    Redirects of old names and earlier heads are looked up in the earlier days, `redirects` adds to them.
    """

    day: date
    repositories: Sequence[Repository]
    previous: Callable[[], HubState | None] = lambda: None
    redirects: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def by_name(self) -> dict[str, Repository]:
        """Repositories by `owner/name`."""
        return {repository.model_id: repository for repository in self.repositories}

    @cached_property
    def by_hub_id(self) -> dict[str, Repository]:
        """Repositories by their identity."""
        return {repository.hub_id: repository for repository in self.repositories}

    @cached_property
    def _by_folded_name(self) -> dict[str, str]:
        return {name.lower(): name for name in self.by_name}

    def redirect_of(self, name: str) -> str | None:
        """Return the present name behind one not in use (another case, a renamed repository), or None."""
        target = self._by_folded_name.get(name.lower()) or self.redirects.get(name)
        if target is not None:
            return target
        for state in self._earlier_days():
            # The name may have passed to another since: identity tells who bore it then.
            known = state.by_name.get(name) or state.by_name.get(state.redirects.get(name, ""))
            if known is not None:
                present = self.by_hub_id.get(known.hub_id)
                return present.model_id if present is not None else None
        return None

    def at_revision(self, repository: Repository, revision: str) -> Repository | None:
        """Return `repository` as it stood at `revision` (a branch name or a known head), or None."""
        if revision in ("main", "refs/heads/main", repository.sha):
            return repository
        return next((known for known in self.heads(repository) if known.sha == revision), None)

    def heads(self, repository: Repository) -> Iterator[Repository]:
        """Yield the repository at each known head, newest first."""
        yield repository
        last = repository.sha
        for state in self._earlier_days():
            known = state.by_hub_id.get(repository.hub_id)
            if known is not None and known.sha != last:
                last = known.sha
                # Today's name and counters, the content of then.
                yield replace(
                    repository,
                    sha=known.sha,
                    last_modified=known.last_modified,
                    file_set=known.file_set,
                    gguf=known.gguf,
                )

    def _earlier_days(self) -> Iterator[HubState]:
        state = self.previous()
        while state is not None:
            yield state
            state = state.previous()


def _same(state: HubState | None) -> HubState | None:
    return state


class HubSource(Protocol):
    """A Hub over some days."""

    @property
    def days(self) -> Sequence[date]:
        """The days it knows, ascending, at least one."""
        ...

    def on(self, day: date) -> HubState:
        """Return the Hub as it stood on `day`; one not in `days` is `Refused`."""
        ...


class WrittenHub:
    """A Hub whose days are handed over as lists of repositories, with redirects from name to name."""

    def __init__(
        self, days: Mapping[date, Sequence[Repository]], redirects: Mapping[str, str] | None = None
    ) -> None:
        self.days: tuple[date, ...] = tuple(sorted(days))
        self._states: dict[date, HubState] = {}
        before: HubState | None = None
        for day in self.days:
            before = HubState(day, days[day], partial(_same, before), redirects or {})
            self._states[day] = before

    def on(self, day: date) -> HubState:
        """See `HubSource`."""
        return self._states[check_day(self, day)]


def check_day(source: HubSource, day: date) -> date:
    """Return `day` if the source knows it, else raise `Refused` naming the days it knows."""
    if day in source.days:
        return day
    first, last = source.days[0], source.days[-1]
    raise Refused(
        f"This Hub has no day {day}: it has {len(source.days)}, from {first} to {last}.",
        remedy=f"Choose one of them, for example: gguf-assets hub serve --recording DIR --day {last}",
    )
