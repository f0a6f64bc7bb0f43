"""Edits: what people and tests change in the days of a Hub while it is served.

An edit is made to the repository, found by its `_id`, that bears a name on one day, and holds from that day
on. What does not belong here: how a served Hub takes one (`control.py`, `app.py`), what answers look like
(`routes.py`), and the events of generated days (`events.py`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import cache, partial
from threading import RLock

from gguf_assets.demo.clock import at
from gguf_assets.demo.state import HubSource, HubState, ListedFiles, Repository, check_day
from gguf_assets.errors import Refused

_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
_GATES = ("auto", "manual")


class EditKind(StrEnum):
    """What becomes of the repository."""

    REMOVE = "remove"
    """It is gone and answers like one that never was."""
    RENAME = "rename"
    """It is called `new_name`; its old name redirects there."""
    RECREATE = "recreate"
    """It is gone, and another with the same files bears its name: new `_id` and sha, created at noon."""
    GATE = "gate"
    """Access to its files must be asked for: `gated` is "auto" (the default) or "manual"."""
    UNGATE = "ungate"
    """Everybody may have its files."""
    DISABLE = "disable"
    """The Hub keeps its files back."""
    ENABLE = "enable"
    """The Hub hands its files out again."""
    PRIVATE = "private"
    """It is listed no more, and strangers are told that there is none."""
    PUBLIC = "public"
    """Everybody can see it."""
    UNGGUF = "ungguf"
    """A new commit without its GGUF files; with them go the tag and the library name `gguf`."""
    TOUCH = "touch"
    """A new commit with the same files, the head until the source itself has a later one.

    lastModified stays as it is unless `last_modified` is given."""


_OPTIONS = {EditKind.RENAME: "new_name", EditKind.GATE: "gated", EditKind.TOUCH: "last_modified"}


@dataclass(frozen=True)
class Edit:
    """A change to one repository.

    Args:
        kind: what becomes of it.
        model_id: the name it bears on `day`, edits made before included.
        day: the day from which on the edit holds; None: the day the Hub shows when the edit is made.
        new_name: for a rename, `owner/name`.
        gated: for a gate, "auto" or "manual".
        last_modified: for a touch, an ISO 8601 time with a time zone.

    Raises:
        Refused: the kind is unknown, or a value is missing, wrong or of another kind.
    """

    kind: EditKind | str
    model_id: str
    day: date | None = None
    new_name: str | None = None
    gated: str | None = None
    last_modified: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in list(EditKind):
            raise Refused(f"{self.kind} is no kind of edit. Known are: {', '.join(EditKind)}.")
        object.__setattr__(self, "kind", EditKind(self.kind))
        for kind, option in _OPTIONS.items():
            if getattr(self, option) is not None and kind != self.kind:
                raise Refused(f"{option} belongs to the edit {kind}, not to {self.kind} ({self.model_id}).")
        if self.kind == EditKind.RENAME and not _NAME.fullmatch(str(self.new_name)):
            raise Refused(
                f"The new_name of {self.model_id} is {self.new_name}: it must be owner/name, "
                "of letters, digits, '.', '_' and '-'."
            )
        if self.kind == EditKind.GATE and self.gated not in (None, *_GATES):
            raise Refused(f"{self.model_id} cannot be gated {self.gated}, only {' or '.join(_GATES)}.")
        if self.last_modified is not None:
            object.__setattr__(self, "last_modified", _stamp(_moment(self.last_modified)))


@dataclass(frozen=True)
class MadeEdit:
    """An edit in force, on a day, and the repository it was made to as it stood before."""

    edit: Edit
    day: date
    before: Repository

    @property
    def hub_id(self) -> str:
        """The identity of the repository it was made to."""
        return self.before.hub_id

    def document(self) -> dict[str, str]:
        """Return the edit as a JSON object: its fields that say something, and the `hub_id`."""
        said = {key: value for key, value in asdict(self.edit).items() if value is not None}
        return said | {"kind": str(self.edit.kind), "day": str(self.day), "hub_id": self.hub_id}

    def applied(self, row: Repository) -> Repository | None:
        """Return the repository as the edit leaves it on the edit's day or a later one; None: it is gone."""
        match self.edit.kind:
            case EditKind.REMOVE:
                return None
            case EditKind.RENAME:
                assert self.edit.new_name is not None
                # A recorded author would stay the old owner.
                return replace(row, model_id=self.edit.new_name, author=None)
            case EditKind.RECREATE:
                return self._recreated(row)
            case EditKind.GATE:
                return replace(row, gated=self.edit.gated or "auto")
            case EditKind.UNGATE:
                return replace(row, gated=False)
            case EditKind.DISABLE | EditKind.ENABLE:
                return replace(row, disabled=self.edit.kind == EditKind.DISABLE)
            case EditKind.PRIVATE | EditKind.PUBLIC:
                return replace(row, private=self.edit.kind == EditKind.PRIVATE)
            case EditKind.UNGGUF:
                return self._without_gguf(row)
            case _:
                return self._touched(row)

    def _recreated(self, row: Repository) -> Repository:
        noon = at(self.day)
        return replace(
            row,
            # The first four bytes of an `_id` are the second it was created in.
            hub_id=f"{int(noon.timestamp()):08x}{self._digest(self.hub_id)[:16]}",
            sha=self._digest(row.sha),
            created_at=_stamp(noon),
            last_modified=max(row.last_modified, _stamp(noon)),
            # Counters begin anew and move as the source moves them.
            downloads=max(0, row.downloads - self.before.downloads),
            likes=max(0, row.likes - self.before.likes),
            downloads_all_time=None
            if row.downloads_all_time is None
            else max(0, row.downloads_all_time - (self.before.downloads_all_time or 0)),
        )

    def _without_gguf(self, row: Repository) -> Repository:
        left = tuple(file for file in row.files if not file.path.lower().endswith(".gguf"))
        return replace(
            row,
            sha=self._digest(row.sha),
            last_modified=max(row.last_modified, _stamp(at(self.day))),
            file_set=ListedFiles(left),
            tags=tuple(tag for tag in row.tags if tag != "gguf"),
            library_name=None if row.library_name == "gguf" else row.library_name,
            gguf=None,
        )

    def _touched(self, row: Repository) -> Repository:
        if row.sha != self.before.sha:
            return row
        return replace(
            row, sha=self._digest(row.sha), last_modified=self.edit.last_modified or row.last_modified
        )

    def _digest(self, origin: str) -> str:
        """Return 40 hex digits that follow from the edit and what it was made to."""
        text = f"{self.hub_id}/{origin}/{self.edit.kind}/{self.day}"
        return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class EditedHub:
    """A Hub whose days are those of `source`, with edits; without edits they are the source's own.

    An edit holds on every day from its own on, also where the source goes on listing the repository as it
    was. Edits of one repository compose in the order in which they were made, whatever their days.
    """

    def __init__(self, source: HubSource) -> None:
        self.source = source
        self._made: tuple[MadeEdit, ...] = ()
        self._states: dict[date, HubState] = {}
        # A served Hub asks from its own thread, edits may come from another.
        self._lock = RLock()

    @property
    def days(self) -> Sequence[date]:
        """See `HubSource`."""
        return self.source.days

    @property
    def edits(self) -> tuple[MadeEdit, ...]:
        """The edits in force, in the order in which they were made."""
        return self._made

    def on(self, day: date) -> HubState:
        """See `HubSource`."""
        with self._lock:
            if day not in self._states:
                check_day(self, day)
                self._states[day] = self._state(day, tuple(made for made in self._made if made.day <= day))
            return self._states[day]

    def edit(self, *edits: Edit) -> None:
        """Make edits, one after the other: all of them or, if one is refused, none.

        States handed out before stay as they are: ask for them again.

        Raises:
            Refused: no repository has that name on that day, the source lacks the day, none is given, or a
                new name is in use on that day or a later one.
        """
        with self._lock:
            before = self._made
            try:
                for edit in edits:
                    self._make(edit)
            except BaseException:
                self._become(before)
                raise

    def clear_edits(self) -> None:
        """Take back all edits."""
        with self._lock:
            self._become(())

    def _make(self, edit: Edit) -> None:
        if edit.day is None:
            raise Refused(f"The edit {edit.kind} of {edit.model_id} does not say from which day on it holds.")
        state = self.on(edit.day)
        repository = state.by_name.get(edit.model_id)
        if repository is None:
            present = state.redirect_of(edit.model_id)
            raise Refused(
                f"There is no model {edit.model_id} to {edit.kind} on {edit.day}.",
                remedy=f"Use its present name: {present}" if present in state.by_name else None,
            )
        if edit.new_name is not None:
            for day in self.days[self.days.index(edit.day) :]:
                _check_unused(edit.new_name, repository, self.on(day))
        self._become((*self._made, MadeEdit(edit, edit.day, repository)))

    def _become(self, made: tuple[MadeEdit, ...]) -> None:
        """Have these edits in force, more or fewer than before, and drop the states they make different."""
        shorter, longer = sorted((self._made, made), key=len)
        for m in longer[len(shorter) :]:
            self._states = {day: state for day, state in self._states.items() if day < m.day}
        self._made = made

    def _state(self, day: date, made: tuple[MadeEdit, ...]) -> HubState:
        source = self.source.on(day)
        if not made:
            return source
        edited = {m.hub_id for m in made}
        repositories = []
        for row in source.repositories:
            changed = _edited(row, made) if row.hub_id in edited else row
            if changed is not None:
                repositories.append(changed)

        previous: Callable[[], HubState]
        earlier = tuple(m for m in made if m.day < day)
        if len(earlier) < len(made):
            # Names and heads that the day's own edits replaced are found in the day without them.
            previous = cache(partial(self._state, day, earlier))
        else:
            previous = partial(self.on, self.days[self.days.index(day) - 1])
        return HubState(day, repositories, previous, _redirects(source, made, repositories))


def _edited(row: Repository, made: Sequence[MadeEdit]) -> Repository | None:
    changed: Repository | None = row
    for m in made:
        if changed is not None and changed.hub_id == m.hub_id:
            changed = m.applied(changed)
    return changed


def _redirects(
    source: HubState, made: Sequence[MadeEdit], repositories: Sequence[Repository]
) -> dict[str, str]:
    """Return old name → present name, of the source's redirects and of the renames made."""
    former: dict[str, str] = {}
    for m in made:
        if m.edit.new_name is not None:
            former[m.edit.model_id] = m.hub_id
            # Who takes up a name ends the redirect from it.
            former.pop(m.edit.new_name, None)
    for name, target in source.redirects.items():
        if target in source.by_name:
            former.setdefault(name, source.by_name[target].hub_id)
    names = {repository.hub_id: repository.model_id for repository in repositories}
    return {name: names[hub_id] for name, hub_id in former.items() if hub_id in names}


def _check_unused(name: str, repository: Repository, state: HubState) -> None:
    """Refuse a new name of `repository` that is its own or, in whatever case, another's."""
    if name == repository.model_id:
        raise Refused(f"{name} is the name it has already.")
    for other in state.repositories:
        if other.model_id.lower() == name.lower() and other.hub_id != repository.hub_id:
            raise Refused(
                f"{repository.model_id} cannot be renamed to {name}: on {state.day} {other.model_id} "
                f"({other.hub_id}) has that name.",
                remedy="Choose another name, or remove or rename that model first.",
            )


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError("it has no time zone")
    except ValueError as error:
        raise Refused(f"last_modified is {text}: it must be like 2025-08-11T09:30:00.000Z.") from error
    return moment


def _stamp(moment: datetime) -> str:
    """Return a time as the Hub writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
