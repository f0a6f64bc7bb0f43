"""The datasets of the catalogue, declared once: names, types, meaning and plain limits of every column.

Arrow schemas, the pandera schemas of `quality/`, the column descriptions in the Dagster UI and
`docs/data.md` all come from this declaration. Columns are only ever added; each addition raises
`SCHEMA_VERSION`. What does not belong here: how a value is found (parse, snapshot, delta) and rules that
look at more than one column (`quality/`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa

SCHEMA_VERSION = 1
"""Counts the additions to the columns below; recorded in every manifest and Parquet file."""

ROW_GROUP_ROWS = 65_536
"""Rows of a Parquet row group: fixed, so that the same rows give the same bytes on every machine."""

TIMESTAMP = pa.timestamp("us", tz="UTC")
STRINGS = pa.list_(pa.string())

ROLES = ("model", "mmproj", "imatrix", "lora", "draft", "control_vector", "vocab", "other")
PRESENCES = ("listed", "put back", "unconfirmed")
GATED = ("no", "auto", "manual")
CHANGES = (
    "added",
    "updated",
    "removed",
    "renamed",
    "recreated",
    "restored",
    "gated",
    "ungated",
    "disabled",
    "enabled",
)
FILE_CHANGES = ("added", "removed", "replaced", "learned")
SEVERITIES = ("error", "warning", "info")
GRADES = ("A", "B", "C", "D", "F")


@dataclass(frozen=True)
class Column:
    """One column: its Arrow type, its meaning, and the limits that a single value must keep.

    Attributes:
        name: column name, the Hub's own term where there is one.
        type: Arrow type; sizes are bytes, timestamps microseconds UTC.
        description: what the value means and when it is null.
        nullable: whether the value may be unknown.
        minimum: smallest allowed number.
        allowed: the only allowed texts.
        pattern: regular expression (RE2) the whole text must match.
    """

    name: str
    type: pa.DataType
    description: str
    nullable: bool = True
    minimum: int | None = None
    allowed: tuple[str, ...] = ()
    pattern: str | None = None


@dataclass(frozen=True)
class Dataset:
    """A dataset of the catalogue: one Parquet file a day with these columns, in this order.

    Attributes:
        name: folder name under `published/`.
        grain: what one row is.
        key: the columns that identify a row within a day.
        columns: the declaration, in file order.
    """

    name: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    arrow: pa.Schema = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        schema = pa.schema([pa.field(c.name, c.type, nullable=c.nullable) for c in self.columns])
        object.__setattr__(self, "arrow", schema)

    def column(self, name: str) -> Column:
        """Return the declaration of a column.

        Raises:
            KeyError: there is no such column.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.name} has no column {name!r}")

    def empty(self) -> pa.Table:
        """Return a table of no rows with the dataset's schema."""
        return self.arrow.empty_table()


_SHA = r"[0-9a-f]{40}"
_SHA256 = r"[0-9a-f]{64}"
_HUB_ID = r"[0-9a-f]{24}"

_DAY = Column("snapshot_date", pa.date32(), "The UTC day of the snapshot by the Hub's clock.", nullable=False)
_BASELINE = Column(
    "baseline_date", pa.date32(), "The published day this one was compared with; null on the first day."
)
_ID = Column(
    "hub_id",
    pa.string(),
    "The Hub's own `_id` of the repository: its identity, which survives a rename.",
    nullable=False,
    pattern=_HUB_ID,
)
_NAME = Column("model_id", pa.string(), "Repository name `owner/name` as listed on the day.", nullable=False)
_HEAD = Column(
    "sha", pa.string(), "Commit at the head of the default branch; null when not listed.", pattern=_SHA
)
_DETAILS = Column(
    "details_sha",
    pa.string(),
    "The commit whose file details (sizes, hashes) are known; they hold today only where it equals `sha`.",
    pattern=_SHA,
)
_PATH = Column("path", pa.string(), "Path of the file inside the repository.", nullable=False)

MODELS = Dataset(
    "models",
    "a model on a day",
    ("hub_id",),
    (
        _DAY,
        _ID,
        _NAME,
        Column("owner", pa.string(), "User or organisation: the part of `model_id` before the slash."),
        _HEAD,
        Column("created_at", TIMESTAMP, "When the repository was created; the Hub's floor is 2022-03-02."),
        Column("last_modified", TIMESTAMP, "When the repository last got a commit; null when not listed."),
        Column("downloads", pa.int64(), "Downloads of the last 30 days, so it may fall.", minimum=0),
        Column("downloads_delta", pa.int64(), "Change of `downloads` since the baseline; null without one."),
        Column("downloads_all_time", pa.int64(), "Downloads since the repository was created.", minimum=0),
        Column("likes", pa.int64(), "Likes.", minimum=0),
        Column("likes_delta", pa.int64(), "Change of `likes` since the baseline; null without one."),
        Column("trending_score", pa.float64(), "The Hub's own trending score."),
        Column("counters_observed_at", TIMESTAMP, "When the counters of this row were read off the Hub."),
        Column(
            "counters_stalled",
            pa.bool_(),
            "Whether `downloads`, `downloads_all_time` and `likes` are all what they were on the baseline "
            "day (unknown equals unknown); null without a row there, and for rows not listed today.",
        ),
        _BASELINE,
        Column("gated", pa.string(), "Access: `no`, `auto` (granted on request) or `manual`.", allowed=GATED),
        Column("private", pa.bool_(), "Whether the repository is private (seen with a token only)."),
        Column("disabled", pa.bool_(), "Whether the Hub has disabled the repository."),
        Column("library_name", pa.string(), "Library the Hub assigns, often `gguf`."),
        Column("pipeline_tag", pa.string(), "Task the Hub assigns, e.g. `text-generation`."),
        Column("license", pa.string(), "Licence from the `license:` tag; null when none is stated."),
        Column("languages", STRINGS, "Language codes among the tags, in the Hub's order."),
        Column("base_models", STRINGS, "Repositories named by `base_model:` tags, in the Hub's order."),
        Column("base_relation", pa.string(), "Relation to the base: quantized, finetune, adapter or merge."),
        Column("tags", STRINGS, "All tags as listed; some are computed by the Hub and change by themselves."),
        Column("architecture", pa.string(), "Architecture the Hub read from a GGUF header, e.g. `llama`."),
        Column("parameter_count", pa.int64(), "Parameters the Hub read from a GGUF header.", minimum=0),
        Column("context_length", pa.int64(), "Context length in tokens from a GGUF header.", minimum=0),
        Column("gguf_files", pa.int64(), "Number of files ending in `.gguf`; null while unknown.", minimum=0),
        Column("gguf_bytes", pa.int64(), "Their sizes in bytes; null while any is unknown.", minimum=0),
        Column("quantizations", STRINGS, "Distinct quantizations of the files with role `model`, sorted."),
        _DETAILS,
        Column(
            "presence",
            pa.string(),
            "`listed`; `put back` (a hole in the listing, found when asked by name); `unconfirmed` (absent "
            "from the listing, not yet known to be gone: the row is the last one seen).",
            nullable=False,
            allowed=PRESENCES,
        ),
        Column(
            "discovered_by",
            STRINGS,
            "Who saw the model: `gguf` (the tag filter), on full syncs also `search`, `publishers`, `apps`; "
            "`name`: it was asked for by its name.",
        ),
        Column("first_seen", pa.date32(), "First day the catalogue had the model."),
        Column("last_changed", pa.date32(), "Last day its `sha` changed; the first day seen if never."),
        Column("observed_at", TIMESTAMP, "The Hub's clock at the first page of the walk that saw the row."),
    ),
)

FILES = Dataset(
    "files",
    "a GGUF-related file on a day",
    ("hub_id", "path"),
    (
        _DAY,
        _ID,
        _NAME,
        _HEAD,
        _DETAILS,
        _PATH,
        Column(
            "role",
            pa.string(),
            "What the file is for: " + ", ".join(f"`{role}`" for role in ROLES) + ".",
            nullable=False,
            allowed=ROLES,
        ),
        Column(
            "quantization", pa.string(), "Canonical label, e.g. `Q4_K_M`; null when the name carries none."
        ),
        Column("quantization_source", pa.string(), "Where the label was read: `file name` or `folder`."),
        Column("imatrix", pa.bool_(), "Whether name or folder says an importance matrix was used."),
        Column("size_bytes", pa.int64(), "Size in bytes; null unless `details_sha` = `sha`.", minimum=0),
        Column(
            "sha256",
            pa.string(),
            "SHA-256 of the content; null unless `details_sha` = `sha`, and for files outside LFS.",
            pattern=_SHA256,
        ),
        Column(
            "shard_set", pa.string(), "Path of the set with the shard number left out; null for a whole file."
        ),
        Column("shard_index", pa.int32(), "Number of this shard, from 1.", minimum=0),
        Column(
            "shard_count",
            pa.int32(),
            "Number of shards the name announces; null when it does not.",
            minimum=1,
        ),
        Column(
            "shard_set_complete",
            pa.bool_(),
            "Whether all announced shards are there; null when not announced.",
        ),
        Column(
            "shard_set_bytes",
            pa.int64(),
            "Bytes of the whole set; null while incomplete or unknown.",
            minimum=0,
        ),
        Column(
            "bits_per_weight",
            pa.float64(),
            "8 x bytes of file or complete set / parameters; null while either is unknown.",
        ),
        Column(
            "memory_bytes_estimate",
            pa.int64(),
            "Rule of thumb for the memory that inference takes: 1.2 x bytes of the file or of its complete "
            "shard set, rounded up (20 % on top of the weights: EleutherAI, Transformer Math 101); long "
            "contexts take more. Only for files with role `model`; null while the bytes are unknown.",
            minimum=0,
        ),
        Column(
            "flags",
            STRINGS,
            "Remarks on name and size: `mixed` (several types glued, no clear body), `label_size_mismatch`, "
            "`empty`, `part` (a byte-wise piece, to be concatenated).",
        ),
    ),
)

CHANGES_DATASET = Dataset(
    "changes",
    "a kind of change of a model, against the baseline",
    ("hub_id", "change"),
    (
        _DAY,
        _BASELINE,
        _ID,
        _NAME,
        Column(
            "change",
            pa.string(),
            "What happened: " + ", ".join(CHANGES) + ".",
            nullable=False,
            allowed=CHANGES,
        ),
        Column("previous_model_id", pa.string(), "Name on the baseline day, where it differs."),
        Column(
            "changed_fields", STRINGS, "Columns of `models` whose content changed; counters are not content."
        ),
        Column("previous_sha", pa.string(), "`sha` on the baseline day.", pattern=_SHA),
        _HEAD,
        Column("files_added", pa.int64(), "GGUF-related files added; null while unknown.", minimum=0),
        Column("files_removed", pa.int64(), "GGUF-related files removed; null while unknown.", minimum=0),
        Column("files_replaced", pa.int64(), "Same path, other content; null while unknown.", minimum=0),
        Column("bytes_delta", pa.int64(), "Change of the bytes of GGUF-related files; null while unknown."),
        Column("evidence", pa.string(), "What proves the change."),
    ),
)

FILE_CHANGES_DATASET = Dataset(
    "file_changes",
    "a file added, removed, replaced or learned, against the baseline",
    ("hub_id", "path"),
    (
        _DAY,
        _ID,
        _NAME,
        _PATH,
        Column(
            "change",
            pa.string(),
            "`added`, `removed`, `replaced` (same path, other content), or `learned` (same path, size and "
            "hash were unknown on the baseline day).",
            nullable=False,
            allowed=FILE_CHANGES,
        ),
        Column(
            "previous_sha256", pa.string(), "SHA-256 on the baseline day; null when unknown.", pattern=_SHA256
        ),
        Column("sha256", pa.string(), "SHA-256 today; null when unknown or removed.", pattern=_SHA256),
        Column("previous_size_bytes", pa.int64(), "Size on the baseline day; null when unknown.", minimum=0),
        Column("size_bytes", pa.int64(), "Size today; null when unknown or removed.", minimum=0),
    ),
)

HEALTH_CHECK = pa.struct(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("score", pa.int8(), nullable=False),
        pa.field("weight", pa.int8(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ]
)

HEALTH = Dataset(
    "health",
    "a model on a day",
    ("hub_id",),
    (
        _DAY,
        _ID,
        _NAME,
        Column("score", pa.float64(), "0 to 10: weighted mean of the known checks; null when none is known."),
        Column("grade", pa.string(), "A from 9, B from 7.5, C from 6, D from 4, else F.", allowed=GRADES),
        Column("checks", pa.list_(HEALTH_CHECK), "The known checks: score 0 to 10, weight and reason code."),
        Column("unknown", STRINGS, "Checks left out because the facts they need are not known."),
    ),
)

ISSUES = Dataset(
    "issues",
    "a validation finding",
    ("hub_id", "path", "rule", "value"),
    (
        _DAY,
        Column("hub_id", pa.string(), "Identity of the model; null when the row had none."),
        Column("model_id", pa.string(), "Name of the model; null when the row had none."),
        Column("path", pa.string(), "Path of the file, or page and position of a row that was set aside."),
        Column("rule", pa.string(), "Name of the rule.", nullable=False),
        Column("severity", pa.string(), "`error`, `warning` or `info`.", nullable=False, allowed=SEVERITIES),
        Column("value", pa.string(), "The offending value as found, shortened."),
        Column("message", pa.string(), "What is wrong, in words.", nullable=False),
        Column("fixed_to", pa.string(), "The value after an automatic fix; null when nothing was fixed."),
    ),
)

TOMBSTONES = Dataset(
    "tombstones",
    "a model once known and gone, up to this day",
    ("hub_id",),
    (
        _ID,
        Column("last_model_id", pa.string(), "Last name it had.", nullable=False),
        Column("last_sha", pa.string(), "Last commit seen.", pattern=_SHA),
        Column("first_seen", pa.date32(), "First day the catalogue had the model."),
        Column("removed_on", pa.date32(), "Day it was found to be gone.", nullable=False),
        Column("evidence", pa.string(), "What proved it.", nullable=False),
    ),
)

DATASETS: dict[str, Dataset] = {
    d.name: d for d in (FILES, CHANGES_DATASET, FILE_CHANGES_DATASET, HEALTH, ISSUES, TOMBSTONES, MODELS)
}
"""All published datasets, in the order in which a day's files become visible: `models` last."""


def data_dictionary(datasets: Iterable[Dataset] = tuple(DATASETS.values())) -> str:
    """Return `docs/data.md`: every dataset and column with type, null and meaning, as Markdown."""
    lines = [
        "# Data dictionary",
        "",
        "Generated from `gguf_assets/catalogue/schema.py` by `make docs`; do not edit by hand.",
        f"Schema version {SCHEMA_VERSION}. Timestamps are UTC, sizes are bytes, unknown is null.",
        "",
        "Each dataset lies in `published/<dataset>/date=YYYY-MM-DD/part-0.parquet`. `date` is only",
        "the name of the folder; the column inside is `snapshot_date`. Rows are in the order of the walk:",
        "newest repository first, then `hub_id`, then `path`. Files are compressed with zstd, or not at all",
        "where `performance.enable_data_compression` is off.",
        "",
        "Of days older than `storage.files_full_days` only the first of each ISO week keeps its `files`.",
        "The others are rebuilt exactly, to the SHA-256 in their manifest, from an earlier day, the",
        "`file_changes` since and `models`; this is tried before a file is removed, and a day that does not",
        "come out stays.",
        "`published/thinned/date=D.json` says from which day, and beside it lie the few rows that no change",
        "tells.",
    ]
    for dataset in datasets:
        lines += [
            "",
            f"## {dataset.name}",
            "",
            f"One row: {dataset.grain}. Key: {', '.join(f'`{k}`' for k in dataset.key)}.",
            "",
            "| column | type | null | meaning |",
            "| --- | --- | --- | --- |",
        ]
        lines += [
            f"| `{c.name}` | {c.type} | {'yes' if c.nullable else 'no'} | {c.description} |"
            for c in dataset.columns
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(data_dictionary())
