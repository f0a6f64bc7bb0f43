"""The manifest of a capture: what was planned, what has come so far and the digest of every stored file.

What belongs here: the dataclasses and their JSON. What does not: the files themselves and the order in
which they are written (`captures.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

FORMAT = 1


@dataclass(frozen=True)
class CapturePlan:
    """What a walk was started for; everything after the capture reads it from here.

    Attributes:
        endpoint: the Hub, `scheme://host[:port]`.
        kind: `full` (all fields), `census` (without file names) or `window` (what was modified lately).
        mode: `full` or `incremental`.
        reason: code of the reason for the mode, e.g. `first_run`.
        reason_text: the same in words.
        fields: the expanded fields of the listing.
        detail_limit: most detail requests of the run; None for all.
        window_start: edge of an incremental window, ISO 8601; None without one.
        window_hours: how long that window is; None without one.
        notes: remarks on the decision, e.g. that the window was widened.
        routes: whether further discovery routes belong to the listing.
    """

    endpoint: str
    kind: str
    mode: str
    reason: str
    reason_text: str
    fields: tuple[str, ...]
    detail_limit: int | None = None
    window_start: str | None = None
    window_hours: float | None = None
    notes: tuple[str, ...] = ()
    routes: bool = False


@dataclass(frozen=True)
class PageEntry:
    """A stored page of the listing.

    Attributes:
        name: file name inside the capture's folder.
        rows: rows of the page as counted by the walk.
        bytes: size of the page as it came.
        sha256: digest of the file as it is stored.
        date: the Hub's clock when the page was answered.
    """

    name: str
    rows: int
    bytes: int
    sha256: str
    date: datetime


@dataclass(frozen=True)
class DetailsEntry:
    """A sealed file of detail answers.

    Attributes:
        name: file name inside the capture's folder.
        answers: number of answers in it.
        requests: requests they took.
        sha256: digest of the file as it is stored.
    """

    name: str
    answers: int
    requests: int
    sha256: str


@dataclass
class RouteEntry:
    """What a further discovery route has brought so far.

    Attributes:
        links: paths and queries still to be asked for, the next one first.
        pages: its stored pages.
        capped: whether it was ended at its most pages, with more to be had.
        error: why it broke off; None when it did not.
        requests: requests it took.
    """

    links: list[str]
    pages: list[PageEntry] = field(default_factory=list)
    capped: bool = False
    error: str | None = None
    requests: int = 0

    @property
    def done(self) -> bool:
        """Whether nothing is left to be asked for."""
        return not self.links or self.error is not None


@dataclass
class AbsenceEntry:
    """How the asking after absent models went; the answers lie in sealed files.

    Attributes:
        absent: models of the baseline that nothing listed, when the asking began.
        asked: how many of them were asked for by name, in this capture.
        control: listed repositories that were asked for in between, to see whether the Hub tells the truth.
        trusted: whether each of those answered; if not, no answer proves that a model is gone.
        anonymous: whether no token was sent: only then does a 401 say that a repository is not there.
        done: whether the asking has ended.
        requests: requests it took.
        files: sealed files of answers.
    """

    absent: int
    anonymous: bool
    asked: int = 0
    control: list[str] = field(default_factory=list)
    trusted: bool = True
    done: bool = False
    requests: int = 0
    files: list[DetailsEntry] = field(default_factory=list)


@dataclass(frozen=True)
class HeadEntry:
    """What came of reading the beginning of a file.

    Attributes:
        hub_id, model_id, sha, path: the file, at a commit.
        status: HTTP status; 400 for a name that was never asked for.
        requests: requests that it took.
        file_bytes: size of the whole file as the Hub said it; None where it did not.
        name: file name inside the capture's folder; None where there are no bytes.
        sha256: digest of the file as it is stored; None without one.
    """

    hub_id: str
    model_id: str
    sha: str
    path: str
    status: int
    requests: int
    file_bytes: int | None = None
    name: str | None = None
    sha256: str | None = None


@dataclass
class VerificationEntry:
    """How the asking again for what is known went; its answers lie among those of the details.

    Attributes:
        after: identity after which the turn of the models began; None for the first of all.
        last: the last one answered, after which the next day goes on.
        heads_after, heads_last: the same for the beginnings of files.
        answered: models whose details were told again.
        refused: models of which it was told why they are not: gone, renamed, disabled since the listing.
        requests: requests of both.
        failed: models and files that stayed out of reach in the run that ended the asking.
        stopped: why the asking again ended: `done`, `budget`, `deadline`, `failing`; None before.
        heads: the files whose beginnings were asked for.
    """

    after: str | None = None
    last: str | None = None
    heads_after: str | None = None
    heads_last: str | None = None
    answered: int = 0
    refused: int = 0
    requests: int = 0
    failed: int = 0
    stopped: str | None = None
    heads: list[HeadEntry] = field(default_factory=list)


@dataclass
class CaptureManifest:
    """Everything a capture knows of itself besides the bytes.

    Attributes:
        day: the day of the capture.
        run: number of the capture among those of the day, from 1.
        plan: what the walk was started for.
        pages: stored pages in the order of the walk.
        next_link: path and query of the next page to fetch; None before the first page and after the last.
        listing_complete: whether the walk ended at a page without a next link.
        requests: requests of the listing, those of earlier, killed runs included.
        routes: further discovery routes by name; empty where none belong to the listing.
        absence: the asking after absent models; None before it.
        details: sealed files of detail answers, in stored order.
        details_complete: whether the details phase has ended, at whatever it ended.
        details_stopped: why it ended: `done`, `budget`, `deadline` or `failing`; None before.
        details_failed: repositories whose details stayed out of reach.
        detail_requests: requests of the details phase.
        verification: how the asking again for what is known went; None before it, and in older captures.
    """

    day: date
    run: int
    plan: CapturePlan
    pages: list[PageEntry] = field(default_factory=list)
    next_link: str | None = None
    listing_complete: bool = False
    requests: int = 0
    routes: dict[str, RouteEntry] = field(default_factory=dict)
    absence: AbsenceEntry | None = None
    details: list[DetailsEntry] = field(default_factory=list)
    details_complete: bool = False
    details_stopped: str | None = None
    details_failed: int = 0
    detail_requests: int = 0
    verification: VerificationEntry | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the document that is stored; orjson writes the dataclasses and times in it as they are."""
        return {"format": FORMAT, **vars(self)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> CaptureManifest:
        """Return the manifest that a stored document describes.

        Raises:
            KeyError, TypeError, ValueError: it is no such document.
        """
        values = dict(content)
        if (version := values.pop("format")) != FORMAT:
            raise ValueError(f"format {version} is not the supported {FORMAT}")
        values["day"] = date.fromisoformat(values["day"])
        plan = values["plan"]
        lists = {name: tuple(plan.get(name, ())) for name in ("fields", "notes")}
        values["plan"] = CapturePlan(**{**plan, **lists})
        values["pages"] = _pages(values["pages"])
        values["routes"] = {
            name: RouteEntry(**{**entry, "pages": _pages(entry["pages"])})
            for name, entry in values.get("routes", {}).items()
        }
        if (absence := values.get("absence")) is not None:
            values["absence"] = AbsenceEntry(**{**absence, "files": _details(absence["files"])})
        values["details"] = _details(values["details"])
        if (verified := values.get("verification")) is not None:
            heads = [HeadEntry(**head) for head in verified["heads"]]
            values["verification"] = VerificationEntry(**{**verified, "heads": heads})
        return cls(**values)


def _pages(entries: list[dict[str, Any]]) -> list[PageEntry]:
    return [
        PageEntry(**{**page, "date": datetime.fromisoformat(page["date"]).astimezone(UTC)})
        for page in entries
    ]


def _details(entries: list[dict[str, Any]]) -> list[DetailsEntry]:
    return [DetailsEntry(**entry) for entry in entries]
