"""What may be published when the Hub showed this and these faults struck: independent of the product.

Reads what a reader reads: `latest.json`, manifests and Parquet files, by pyarrow alone. What does not belong
here: faults (`fault_sequences`) and making Hubs (`fault_worlds`).
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from gguf_assets.demo.state import Repository
from gguf_assets_tests.fault_worlds import World

Row = dict[str, Any]


@dataclass
class Excuses:
    """What faults struck on a day, as far as it can excuse a row that is not the Hub's own.

    Attributes:
        unseen: models that a page lacked, or whose row was not readable.
        edited: values of their rows that the Hub showed instead, by identity and column.
        denied: whether the Hub denied that some repository exists (404, 401, 403).
        unanswered: whether questions by name may have stayed without an answer.
    """

    unseen: set[str] = field(default_factory=set)
    edited: dict[str, dict[str, set[Any]]] = field(default_factory=dict)
    denied: bool = False
    unanswered: bool = False


class Oracle:
    """Judges published days of one catalogue against a world."""

    def __init__(self, published: Path, world: World) -> None:
        self._folder, self._world = published, world
        self.excuses: dict[date, Excuses] = {}
        self._models: dict[date, dict[str, Row]] = {}
        self._gone: dict[date, dict[str, str]] = {}

    def excuse(self, day: date) -> Excuses:
        """Return the excuses of a day, to be added to."""
        return self.excuses.setdefault(day, Excuses())

    def days(self) -> list[date]:
        """Return the days with a manifest."""
        found = (self._folder / "manifest").glob("date=*.json")
        return sorted(date.fromisoformat(path.stem.removeprefix("date=")) for path in found)

    def judge_reader(self) -> None:
        """Assert that a reader who starts at latest.json sees one consistent day, and the export a whole."""
        pointer = self._folder / "latest.json"
        if not pointer.exists():
            return
        latest = json.loads(pointer.read_bytes())
        content = (self._folder / latest["manifest"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == latest["sha256"], "latest.json names another manifest"
        self.judge_files(date.fromisoformat(latest["date"]))
        export = self._folder / "latest" / "models.json.gz"
        if export.exists():
            told = json.loads(gzip.decompress(export.read_bytes()))
            day = date.fromisoformat(told["date"])
            assert day in self.days(), f"the export is of {day}, which is not published"

    def judge_files(self, day: date) -> None:
        """Assert that every file of a day is the one its manifest names."""
        manifest = json.loads((self._folder / "manifest" / f"date={day}.json").read_bytes())
        assert manifest["files"], f"{day} has no files"
        for dataset, info in manifest["files"].items():
            content = self._file(dataset, day).read_bytes()
            assert hashlib.sha256(content).hexdigest() == info["sha256"], (
                f"{dataset} of {day} is another file"
            )
            assert pq.read_metadata(self._file(dataset, day)).num_rows == info["rows"]

    def judge_day(self, day: date) -> None:
        """Assert that a published day is true."""
        self.judge_files(day)
        before = max((other for other in self.days() if other < day), default=None)
        rows = self._rows("models", day)
        models = {row["hub_id"]: row for row in rows}
        assert len(models) == len(rows), "an identity is there twice"
        names = [row["model_id"].lower() for row in rows]
        assert len(set(names)) == len(names), "a name is there twice"
        was = {} if before is None else self._models[before]
        self._judge_models(day, models, was, self._excuses_since(before, day))
        self._models[day] = models
        if before is None:
            assert not self._rows("changes", day) and not self._rows("tombstones", day)
            self._gone[day] = {}
        else:
            self._judge_changes(day, models, was, self._gone[before])
            self._judge_file_changes(day, before)
        self._judge_files_of(day, models)
        stones = {row["hub_id"] for row in self._rows("tombstones", day)}
        assert stones == self._gone[day].keys(), f"tombstones {stones}, gone are {set(self._gone[day])}"

    def _excuses_since(self, before: date | None, day: date) -> list[Excuses]:
        """The excuses of a day and of those since the baseline: answers are kept while one is absent."""
        days = (other for other in self.excuses if (before is None or other > before) and other <= day)
        return [self.excuses[other] for other in sorted(days)]

    def _judge_models(
        self, day: date, models: dict[str, Row], was: dict[str, Row], excuses: Iterable[Excuses]
    ) -> None:
        truth, excuse = self._world.truth(day), self.excuse(day)
        denied = any(each.denied for each in excuses)
        for hub_id, row in models.items():
            told = f"{row['model_id']} ({row['presence']}) on {day}"
            one, earlier = truth.get(hub_id), was.get(hub_id)
            match row["presence"]:
                case "listed":
                    assert one is not None, f"{told}: the Hub does not list it"
                    self._same(row, one, excuse.edited.get(hub_id, {}), told)
                case "put back":
                    assert one is not None and hub_id in excuse.unseen, f"{told}: no hole was made for it"
                    assert (row["model_id"], row["sha"]) == (one.model_id, one.sha), told
                case "unconfirmed":
                    assert earlier is not None, f"{told}: nobody knew it"
                    assert one is None or hub_id in excuse.unseen, f"{told}: the Hub lists it"
                    assert denied or excuse.unanswered, f"{told}: nothing kept the Hub from answering"
                    for name in ("model_id", "sha", "downloads", "gated"):
                        assert row[name] == earlier[name], f"{told}: {name}"
                case other:
                    raise AssertionError(f"{told}: presence {other}")
        for hub_id in truth.keys() - models.keys():
            name = truth[hub_id].model_id
            assert hub_id in excuse.unseen, f"{name} is missing on {day}"
            assert hub_id not in was or denied, f"{name} is gone on {day} without a proof"

    def _same(self, row: Row, one: Repository, edited: Mapping[str, set[Any]], told: str) -> None:
        gated = {False: "no"}.get(one.gated, one.gated)  # type: ignore[call-overload]
        expected = {
            "model_id": one.model_id,
            "sha": one.sha,
            "downloads": one.downloads,
            "likes": one.likes,
            "gated": gated,
            "disabled": one.disabled,
        }
        for name, value in expected.items():
            allowed = {value} | edited.get(name, set())
            assert row[name] in allowed, f"{told}: {name} is {row[name]!r}, the Hub said {value!r}"

    def _judge_changes(
        self, day: date, now: dict[str, Row], was: dict[str, Row], gone: Mapping[str, str]
    ) -> None:
        removed = {hub_id: was[hub_id]["model_id"] for hub_id in was.keys() - now.keys()}
        left = {row["model_id"].lower() for row in now.values()}
        expected = {("removed", hub_id) for hub_id in removed}
        former = {name.lower() for name in (*gone.values(), *removed.values())} & left
        for hub_id in now.keys() - was.keys():
            known = now[hub_id]["model_id"].lower() in former
            expected.add(("restored" if hub_id in gone else "recreated" if known else "added", hub_id))
        for hub_id in now.keys() & was.keys():
            expected |= {(kind, hub_id) for kind in _turned(was[hub_id], now[hub_id])}
        rows = self._rows("changes", day)
        found = [(row["change"], row["hub_id"]) for row in rows]
        assert len(found) == len(set(found)), "a change is told twice"
        assert set(found) == expected, f"{day}: {set(found) ^ expected} differ"
        assert all(row["evidence"] for row in rows)
        self._gone[day] = {k: v for k, v in {**gone, **removed}.items() if k not in now}

    def _judge_file_changes(self, day: date, before: date) -> None:
        old = {(row["hub_id"], row["path"]): _content(row) for row in self._rows("files", before)}
        now = {(row["hub_id"], row["path"]): _content(row) for row in self._rows("files", day)}
        for row in self._rows("file_changes", day):
            key = (row["hub_id"], row["path"])
            assert (key in old) == (row["change"] != "added"), f"{row['change']} {key}"
            if row["change"] == "removed":
                del old[key]
            else:
                old[key] = _content(row)
        assert old.keys() == now.keys(), f"{day}: file changes lead elsewhere: {old.keys() ^ now.keys()}"
        for key, content in now.items():
            if content != (None, None):
                assert content == old[key], f"{day}: {key} is {content}, by the changes {old[key]}"

    def _judge_files_of(self, day: date, models: Mapping[str, Row]) -> None:
        """What is known at the current commit is what the Hub has there."""
        truth = self._world.truth(day)
        found: dict[str, dict[str, tuple[Any, Any]]] = {}
        for row in self._rows("files", day):
            found.setdefault(row["hub_id"], {})[row["path"]] = _content(row)
        for hub_id, row in models.items():
            one = truth.get(hub_id)
            if one is None or row["sha"] != one.sha or row["details_sha"] != one.sha:
                continue
            expected = {file.path: (file.size, file.lfs) for file in one.files if file.lfs}
            assert found.get(hub_id, {}) == expected, f"{day}: files of {one.model_id}"

    def _rows(self, dataset: str, day: date) -> list[Row]:
        with pq.ParquetFile(self._file(dataset, day)) as file:
            return file.read().to_pylist()

    def _file(self, dataset: str, day: date) -> Path:
        return self._folder / dataset / f"date={day}" / "part-0.parquet"


def _content(row: Row) -> tuple[Any, Any]:
    return row["size_bytes"], row["sha256"]


def _turned(was: Row, now: Row) -> set[str]:
    """Return what became of a model that is there on both days."""
    turns: dict[str, Callable[[], bool]] = {
        "updated": lambda: None not in (was["sha"], now["sha"]) and was["sha"] != now["sha"],
        "renamed": lambda: was["model_id"] != now["model_id"],
        "gated": lambda: was["gated"] == "no" and now["gated"] in ("auto", "manual"),
        "ungated": lambda: now["gated"] == "no" and was["gated"] in ("auto", "manual"),
        "disabled": lambda: was["disabled"] is False and now["disabled"] is True,
        "enabled": lambda: was["disabled"] is True and now["disabled"] is False,
    }
    return {kind for kind, happened in turns.items() if happened()}
