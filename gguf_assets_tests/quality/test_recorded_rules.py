"""What the rules find on eight recorded days of the Hub: nothing but what is true there.

The days are derived without store and Dagster. Every expected finding was looked at in the recording, and the
tables below say what is there. The recording made its hashes up from path and size: it cannot show the same
bytes under two labels.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gguf_assets.catalogue.details import read_details
from gguf_assets.catalogue.schema import FILE_CHANGES_DATASET
from gguf_assets.quality.history_rules import DayFigures
from gguf_assets.quality.rules import RULES, Validation, ValidationResult
from gguf_assets.quality.verification_rules import FACTS, Evidence
from gguf_assets_tests.catalogue.days import (
    Day,
    build,
    delta,
    recorded_answers,
    recorded_days,
    recorded_listing,
    recorded_rows,
)

pytestmark = [pytest.mark.recording, pytest.mark.slow]

COUNTED = {
    # The file of musaini/claude-4 has 0 bytes from its first day on.
    "empty_file": [0, 0, 1, 1, 1, 1, 1, 1],
    # Made anew with the same files, counters at 0: see MADE_ANEW. The recording made `lastModified` up.
    "created_after_modified": [0, 0, 0, 1, 6, 7, 7, 7],
    # On 11 August shards of DevQuasar/deepcogito were still being uploaded. From the 15th on there is
    # ApocalypseParty/iceblink-q4ks with a second shard misspelt `icelbink`: two sets of two, one shard each.
    "shard_set_incomplete": [0, 1, 0, 0, 0, 2, 2, 2],
    # Tagged gguf, but only a Modelfile, an adapter or a README: see WITHOUT_FILE.
    "no_gguf_file": [1, 1, 2, 3, 4, 4, 4, 4],
    # Other bytes under the same path: see REPLACED.
    "replaced_in_place": [0, 0, 0, 2, 0, 1, 0, 5],
    # See MISLABELLED for the last day; the same repositories, fewer of them, on the days before.
    "label_size_mismatch": [56, 69, 72, 89, 89, 93, 104, 115],
}
"""Rule to the number of true findings on each of the days; all other rules find nothing."""

DAYS = [date(2025, 8, day) for day in range(10, 18)]

MADE_ANEW = {
    "alwosaby/csv_2_json",
    "dorka9/gemma-3n-E2B-football-scout-2ep-merged-Q4_K_M-GGUF",
    "danbev/basemodel-9-800m-it-qat-GGUF",
    "danbev/basemodel-9-800m-qat-GGUF",
    "danbev/basemodel-9-800m-it-GGUF",
    "danbev/basemodel-9-800m-GGUF",
    "CreitinGameplays/Mistral-Nemo-12B-OpenO1-Q4_K_M-GGUF",
}
WITHOUT_FILE = {
    "kholiavko/ministral-8B-11-08-25",
    "kholiavko/ministral-8B-10-08-25",
    "MeWan2808/scaai_gemma_1b",
    "akhbar/Qwen3-14B-Norwegian",
}
REPLACED = {
    # Grew or shrank by some hundred bytes: made anew with other metadata.
    "dac4.2-q4_k_m.gguf",
    "emotron-3b-q8_0.gguf",
    "unsloth.Q4_K_M.gguf",
    # Grew by a tenth: quantized anew by another recipe.
    "Impish_Longtail_12B-Q4_HA.gguf",
    "Impish_Longtail_12B-Q5_HA.gguf",
    "SicariusSicariiStuff_Impish_Nemo_12B-Q4_HA.gguf",
    "SicariusSicariiStuff_Impish_Nemo_12B-Q5_HA.gguf",
    "SicariusSicariiStuff_Impish_Nemo_12B-Q6_HA.gguf",
}
MISLABELLED = {
    # "15b" is 1.5 billion parameters.
    "johnbridges/qwen2-15b-rewritequery_orpo-GGUF": 37,
    # Failed conversions: 7,819,616 bytes for each of 12 labels.
    "tensorblock/tarun7r_Finance-Llama-8B-GGUF": 12,
    # "16b" is the width of a weight.
    "mradermacher/grpo_saved_lora_anita_16b-GGUF": 12,
    # "4b" is the effective size of a Gemma 3n; its weights are 6.9 billion.
    "mradermacher/Gemma-3n-4b-Vision-Finetuned-GGUF": 12,
    # "4b" has 2.6 billion weights: 5.26 GB in f16.
    "mradermacher/grit-gemma-3-4b-it-lora-v3-GGUF": 10,
    # Other repositories with one to five each: test files of some bytes, projectors, uploads that broke off
    # (llama-2-70b-chat.Q5_K_S.gguf of TheBloke: 30.6 GB beside a Q4_K_S of 39 GB).
    "others": 32,
}


@dataclass(frozen=True)
class Judged:
    """What became of the recorded days."""

    results: list[ValidationResult]
    figures: list[DayFigures]

    def issues(self, rule: str) -> list[dict[str, Any]]:
        """All findings of a rule, of all days."""
        return [row for result in self.results for row in result.issues.to_pylist() if row["rule"] == rule]


@pytest.fixture(scope="module")
def judged(recording: Path) -> Judged:
    if not set(DAYS) <= set(recorded_days(recording)):
        pytest.skip(f"{recording} holds other days than those that were looked at")
    results: list[ValidationResult] = []
    figures: list[DayFigures] = []
    before: Day | None = None
    commits: dict[str, str] = {}
    for day in DAYS:
        rows = recorded_rows(recording, day)
        changed = [row for row in rows if commits.get(row["_id"]) != row["sha"]]
        now = build(recorded_listing(rows), recorded_answers(changed), before, day=day)
        difference = None if before is None else delta(before, now)
        figures.append(
            DayFigures(
                day,
                now.figures.listed,
                None if difference is None else difference.changes.num_rows,
                now.figures.counters_compared,
                now.figures.counters_moved,
            )
        )
        validation = Validation(
            day,
            earlier=None if before is None else before.models_table,
            evidence=Evidence(asked_again(rows)) if day == DAYS[-1] else None,
        )
        for batch in now.models_table.to_batches(max_chunksize=700):
            validation.models(batch)
        for batch in now.files_table.to_batches(max_chunksize=10_000):
            validation.files(batch)
        changes = FILE_CHANGES_DATASET.empty() if difference is None else difference.file_changes
        validation.history(figures[-1], figures[:-1], changes)
        results.append(validation.finish())
        before, commits = now, {row["_id"]: row["sha"] for row in rows}
    return Judged(results, figures)


def asked_again(rows: list[dict[str, Any]]) -> pa.Table:
    """The facts of every third model, as the Hub would name them again."""
    asked = rows[::3]
    files = read_details(recorded_answers(asked)).files
    commits = {row["_id"]: row["sha"] for row in asked}
    shas = pa.array([commits[hub_id] for hub_id in files["hub_id"].to_pylist()], pa.string())
    return files.append_column("sha", shas).select(FACTS.names)


def test_every_rule_is_silent_but_for_what_is_true(judged: Judged) -> None:
    found = {
        rule: [result.counts[rule] for result in judged.results]
        for rule in RULES
        if any(result.counts[rule] for result in judged.results)
    }
    assert found == COUNTED
    assert all(result.publishable for result in judged.results)


def test_the_findings_are_those_that_were_looked_at(judged: Judged) -> None:
    assert {row["model_id"] for row in judged.issues("created_after_modified")} == MADE_ANEW
    assert {row["model_id"] for row in judged.issues("no_gguf_file")} == WITHOUT_FILE
    assert {row["path"] for row in judged.issues("replaced_in_place")} == REPLACED
    sets = {(row["model_id"], row["value"]) for row in judged.issues("shard_set_incomplete")}
    deepcogito = "deepcogito.cogito-v2-preview-deepseek-671B-MoE"
    assert sets == {
        (f"DevQuasar/{deepcogito}-GGUF", f"{deepcogito}.Q6_K-of-00044.gguf"),
        ("ApocalypseParty/iceblink-q4ks", "iceblink-Q4ks-of-00002.gguf"),
        ("ApocalypseParty/iceblink-q4ks", "icelbink-Q4ks-of-00002.gguf"),
    }
    assert {row["model_id"] for row in judged.issues("empty_file")} == {"musaini/claude-4"}


def test_labels_that_do_not_fit_are_those_of_few_repositories(judged: Judged) -> None:
    last = judged.results[-1].issues.to_pylist()
    names = Counter(row["model_id"] for row in last if row["rule"] == "label_size_mismatch")
    found: Counter[str] = Counter()
    for name, count in names.items():
        found[name if name in MISLABELLED else "others"] += count
    assert found == MISLABELLED


def test_the_counters_of_the_recording_stood_still_on_no_day(judged: Judged) -> None:
    """As counted from the recording: `downloads` and `likes` of who was there the day before."""
    moved = [(one.counters_compared, one.counters_moved) for one in judged.figures]
    assert moved == [
        (0, 0),
        (793, 541),
        (985, 510),
        (1127, 364),
        (1327, 31),
        (1470, 674),
        (1654, 557),
        (1887, 48),
    ]


def test_what_the_recording_cannot_show_reads_skipped(judged: Judged) -> None:
    headers = dict.fromkeys(
        ("header_unreadable", "header_label_mismatch", "header_architecture_mismatch"), "no header was read"
    )
    first, last = judged.results[0], judged.results[-1]
    assert last.why_skipped == headers | {
        "counters_possible": "no model states both counters",
        "counters_rolled_back": "no model has `downloads_all_time` on both days",
    }
    assert first.why_skipped == headers | {
        "counters_possible": "no model states both counters",
        "counters_rolled_back": "no baseline",
        "counters_stalled": "no baseline",
        "partial_day": "fewer than 3 published days before it",
        "stalled_day": "no baseline",
        "replaced_in_place": "no baseline",
        "file_facts_confirmed": "no file facts were asked for again",
    }
    assert last.checked["file_facts_confirmed"] == "passed"
