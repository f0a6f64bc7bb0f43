"""A sound day for tests of the rules, and days that are broken for one rule each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import pyarrow as pa

from gguf_assets.catalogue.schema import FILE_CHANGES_DATASET, MODELS
from gguf_assets.quality.history_rules import DayFigures
from gguf_assets.quality.rules import Validation, ValidationResult
from gguf_assets.quality.verification_rules import FACTS, Evidence, HeaderSaid
from gguf_assets_tests.quality.tables import DAY, OBSERVED, file, files, hub_id, model, models, sha

Row = dict[str, Any]

MODEL_ROWS = (
    model(
        4,
        downloads=40,
        downloads_all_time=400,
        architecture="llama",
        first_seen=DAY - timedelta(days=2),
        last_changed=DAY,
    ),
    model(3, downloads=30, downloads_all_time=30, first_seen=DAY, last_changed=DAY),
    model(1, created_at=None),
    model(2, created_at=None, presence="unconfirmed"),
)
FILE_ROWS = (
    file(4, "a.gguf"),
    file(4, "b-00001-of-00002.gguf", shard_set="b-of-00002.gguf", shard_index=1, shard_count=2),
    file(4, "b.gguf", shard_set_complete=True),
    file(3, "a.gguf"),
    file(2, "sub/ü b:c.gguf", size_bytes=None, sha256=None, details_sha=None, sha=None),
)


def before(days: int, **changed: Any) -> DayFigures:
    """The figures of a usual day so many days ago."""
    usual = DayFigures(
        DAY - timedelta(days=days), listed=3, changed=2, counters_compared=200, counters_moved=90
    )
    return replace(usual, **changed)


def replaced(path: str = "a.gguf", **changed: Any) -> Row:
    """A changed file of the model 4, whose content on the baseline day is not known."""
    row = {
        "snapshot_date": DAY,
        "hub_id": hub_id(4),
        "model_id": "owner/Model-4-GGUF",
        "path": path,
        "change": "replaced",
        "previous_size_bytes": 1,
        "size_bytes": 2,
        "sha256": f"{4:064x}",
    }
    return row | changed


@dataclass(frozen=True)
class DayToJudge:
    """All that a validation is handed."""

    models: tuple[Row, ...] = MODEL_ROWS
    files: tuple[Row, ...] = FILE_ROWS
    earlier: Mapping[str, int | None] | None = field(default_factory=lambda: {hub_id(4): 390, hub_id(9): 7})
    today: DayFigures = field(default_factory=lambda: before(0))
    recent: tuple[DayFigures, ...] = tuple(before(days) for days in (3, 2, 1))
    file_changes: tuple[Row, ...] = (replaced(), replaced("new.gguf", change="added"))
    facts: tuple[Row, ...] = tuple(row for row in FILE_ROWS if row["hub_id"] == hub_id(4))
    headers: tuple[HeaderSaid, ...] = (
        HeaderSaid(hub_id(4), sha(4), "a.gguf", architecture="llama", label="Q4_K_M"),
    )

    def judged(
        self, *, with_history: bool = True, schema: bool = True, off: Iterable[str] = (), **options: Any
    ) -> ValidationResult:
        """Judge the day; the schema rule is slow on single rows, so some tests do without."""
        switched_off = dict.fromkeys((*off, *(() if schema else ("schema",))), "a test")
        validation = Validation(
            DAY, off=switched_off, earlier=self._earlier(), evidence=self._evidence(), **options
        )
        validation.models(models(*self.models))
        validation.files(files(*self.files))
        if with_history:
            validation.history(self.today, self.recent, self._file_changes())
        return validation.finish()

    def _earlier(self) -> pa.Table | None:
        if self.earlier is None:
            return None
        columns = [list(self.earlier), list(self.earlier.values()), [1] * len(self.earlier)]
        names = ["hub_id", "downloads_all_time", "likes"]
        types = [MODELS.arrow.field(name).type for name in names]
        return pa.table({n: pa.array(c, t) for n, c, t in zip(names, columns, types, strict=True)})

    def _evidence(self) -> Evidence | None:
        if not self.facts and not self.headers:
            return None
        rows = [{name: row[name] for name in FACTS.names} for row in self.facts]
        return Evidence(pa.Table.from_pylist(rows, schema=FACTS), self.headers)

    def _file_changes(self) -> pa.Table:
        return pa.Table.from_pylist(list(self.file_changes), schema=FILE_CHANGES_DATASET.arrow)


SOUND = DayToJudge()
EMPTY = DayToJudge(models=(), files=(), file_changes=(), facts=(), headers=())
LATE = OBSERVED + timedelta(days=1, microseconds=1)


def edited(rows: tuple[Row, ...], index: int, **changed: Any) -> tuple[Row, ...]:
    """The rows with one of them changed."""
    return (*rows[:index], rows[index] | changed, *rows[index + 1 :])


def _models(index: int, **changed: Any) -> DayToJudge:
    return replace(SOUND, models=edited(MODEL_ROWS, index, **changed))


def _files(index: int, **changed: Any) -> DayToJudge:
    return replace(SOUND, files=edited(FILE_ROWS, index, **changed))


def _header(**changed: Any) -> DayToJudge:
    return replace(SOUND, headers=(replace(SOUND.headers[0], **changed),))


_TWICE = model(4, model_id="owner/other", downloads_all_time=400)
_SHARDS = tuple(file(3, f"b{n}", shard_set="b-of-3", shard_set_complete=False) for n in (1, 3))

BROKEN: dict[str, tuple[DayToJudge, int]] = {
    "schema": (_models(0, downloads=-1), 1),
    "snapshot_date": (_models(1, snapshot_date=date(2025, 8, 18)), 1),
    "model_unique_id": (replace(SOUND, models=(MODEL_ROWS[0], _TWICE, *MODEL_ROWS[1:])), 2),
    "model_order": (
        replace(SOUND, models=tuple(MODEL_ROWS[i] for i in (0, 2, 1, 3)), files=FILE_ROWS[:3]),
        1,
    ),
    "file_parent": (replace(SOUND, files=(*FILE_ROWS, file(9, "a.gguf"), file(9, "b.gguf"))), 1),
    "file_unique": (replace(SOUND, files=(FILE_ROWS[0], *FILE_ROWS)), 1),
    "file_order": (replace(SOUND, files=(FILE_ROWS[3], *FILE_ROWS[:3])), 1),
    "file_path": (_files(3, path="../a.gguf"), 1),
    "file_facts_current": (_files(3, details_sha=sha(99)), 1),
    "model_unique_name": (_models(1, model_id="OWNER/model-4-gguf"), 2),
    "created_after_modified": (_models(0, created_at=OBSERVED), 1),
    "date_in_future": (_models(2, last_modified=LATE), 1),
    "dates_in_order": (_models(1, first_seen=DAY, last_changed=DAY - timedelta(days=1)), 1),
    "counters_possible": (_models(1, downloads=31), 1),
    "counters_rolled_back": (replace(SOUND, earlier={hub_id(4): 401, hub_id(3): 30}), 1),
    "counters_stalled": (
        replace(
            SOUND,
            today=before(0, counters_moved=1),
            recent=(before(3), before(2), before(1, counters_moved=0)),
        ),
        1,
    ),
    "partial_day": (replace(SOUND, today=before(0, listed=2)), 1),
    "stalled_day": (replace(SOUND, today=before(0, changed=0)), 1),
    "file_facts_confirmed": (replace(SOUND, facts=edited(SOUND.facts, 0, size_bytes=1)), 1),
    "shard_set_incomplete": (replace(SOUND, files=(*FILE_ROWS[:3], *_SHARDS)), 1),
    "empty_file": (_files(3, size_bytes=0), 1),
    "same_bytes_under_two_labels": (_files(1, quantization="Q8_0"), 1),
    "header_unreadable": (_header(error="no GGUF magic", architecture=None, label=None), 1),
    "header_label_mismatch": (_header(label="Q8_0"), 1),
    "header_architecture_mismatch": (_header(architecture="qwen2"), 1),
    "label_size_mismatch": (_files(1, flags=["part", "label_size_mismatch"]), 1),
    "replaced_in_place": (
        replace(SOUND, file_changes=(*SOUND.file_changes, replaced("b.gguf", previous_sha256=f"{5:064x}"))),
        1,
    ),
    "no_gguf_file": (_models(1, gguf_files=0), 1),
}
"""Rule to a day that breaks this rule and no other, and the number of its findings."""
