"""A recorded Hub: a folder with one `YYYY-MM-DD.jsonl.gz` a day, one repository a line; read and written.

A line holds `_id, id, author, sha, createdAt, lastModified, downloads, likes, tags, gated, private,
disabled, pipeline_tag, library_name` as the API names them and `files: [{path, size, lfs}]`: `lfs` is the
sha256 of an LFS file and null for a plain one. `trendingScore`, `downloadsAllTime`, `gguf` and a file's
`content` (the name of its bytes) are optional. Renames and removals follow from comparing the days
(`state.py`).
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import Any

import orjson

from gguf_assets.demo.state import HubFile, HubSource, HubState, ListedFiles, Repository, check_day
from gguf_assets.errors import Refused

SUFFIX = ".jsonl.gz"


class RecordedHub:
    """The Hub as recorded in `folder`; a day is read when it is first asked for.

    Raises:
        Refused: the folder is missing, holds no recorded day, or a day cannot be read.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.days: tuple[date, ...] = tuple(sorted(_recorded_days(self.folder)))
        self._states: dict[date, HubState] = {}
        if not self.days:
            raise Refused(
                f"{self.folder} is no recorded Hub: it holds no YYYY-MM-DD{SUFFIX}.",
                remedy="Write one: gguf-assets hub generate DIR",
            )

    def on(self, day: date) -> HubState:
        """See `HubSource`."""
        check_day(self, day)
        if day not in self._states:
            position = self.days.index(day)
            self._states[day] = HubState(
                day,
                _read_day(self.folder / f"{day}{SUFFIX}"),
                previous=lambda: self.on(self.days[position - 1]) if position else None,
            )
        return self._states[day]


def write_day(state: HubState, path: Path) -> None:
    """Write one day of a Hub in the recording's format; equal states give equal lines."""
    # No name and no time in the gzip header: the bytes follow from the content alone.
    with path.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as target:
        for repository in state.repositories:
            target.write(orjson.dumps(_line(repository)) + b"\n")


def write_recording(
    hub: HubSource, folder: Path | str, *, on_day: Callable[[Path], None] = lambda path: None
) -> list[Path]:
    """Write every day of a Hub into `folder`, made if missing; return the files written.

    `on_day` is called with each file when it is written.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for day in hub.days:
        path = target / f"{day}{SUFFIX}"
        write_day(hub.on(day), path)
        written.append(path)
        on_day(path)
    return written


def _recorded_days(folder: Path) -> Iterable[date]:
    for path in folder.glob(f"*{SUFFIX}"):
        try:
            yield date.fromisoformat(path.name.removesuffix(SUFFIX))
        except ValueError:
            continue


def _read_day(path: Path) -> list[Repository]:
    repositories: list[Repository] = []
    try:
        with gzip.open(path) as lines:
            repositories.extend(_repository(orjson.loads(line)) for line in lines)
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        raise Refused(
            f"{path}, line {len(repositories) + 1}, cannot be read ({type(error).__name__}: {error}).",
            remedy="Record or generate the day again.",
        ) from error
    return repositories


def _repository(line: dict[str, Any]) -> Repository:
    return Repository(
        hub_id=line["_id"],
        model_id=line["id"],
        author=line["author"],
        sha=line["sha"],
        created_at=line["createdAt"],
        last_modified=line["lastModified"],
        downloads=line["downloads"],
        likes=line["likes"],
        tags=tuple(line["tags"]),
        gated=line["gated"],
        private=line["private"],
        disabled=line["disabled"],
        pipeline_tag=line["pipeline_tag"],
        library_name=line["library_name"],
        trending_score=line.get("trendingScore"),
        downloads_all_time=line.get("downloadsAllTime"),
        gguf=line.get("gguf"),
        file_set=ListedFiles(
            tuple(
                HubFile(file["path"], file["size"], file["lfs"], file.get("content"))
                for file in line["files"]
            )
        ),
    )


def _line(repository: Repository) -> dict[str, Any]:
    line: dict[str, Any] = {
        "_id": repository.hub_id,
        "id": repository.model_id,
        "author": repository.owner,
        "sha": repository.sha,
        "createdAt": repository.created_at,
        "lastModified": repository.last_modified,
        "downloads": repository.downloads,
        "likes": repository.likes,
        "tags": list(repository.tags),
        "gated": repository.gated,
        "private": repository.private,
        "disabled": repository.disabled,
        "pipeline_tag": repository.pipeline_tag,
        "library_name": repository.library_name,
    }
    optional = {
        "trendingScore": repository.trending_score,
        "downloadsAllTime": repository.downloads_all_time,
        "gguf": repository.gguf,
    }
    line |= {key: value for key, value in optional.items() if value is not None}
    line["files"] = [_file(file) for file in repository.files]
    return line


def _file(file: HubFile) -> dict[str, Any]:
    entry: dict[str, Any] = {"path": file.path, "size": file.size, "lfs": file.lfs}
    if file.content_key is not None:
        entry["content"] = file.content_key
    return entry
