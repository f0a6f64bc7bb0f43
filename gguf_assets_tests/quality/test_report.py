from __future__ import annotations

import string
from dataclasses import replace
from datetime import date

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gguf_assets.quality.completeness import REQUIRED_FIELDS, gate, measure
from gguf_assets.quality.day_facts import DayFacts, Highlights, change_counts
from gguf_assets.quality.health_checks import HEALTH_CHECKS
from gguf_assets.quality.highlights import LostPoints, Movers, Vocabulary, WorstModel
from gguf_assets.quality.markdown import TEXT_LENGTH, escaped, table
from gguf_assets.quality.report import day_report, sync_mode_report

from .tables import DAY, batch, hub_id, model, models

COMPLETENESS = measure(
    listed=96,
    quarantined=1,
    absent_unconfirmed=2,
    put_back=1,
    seen_by_other_routes=0,
    baseline_known=True,
    filled=dict.fromkeys(REQUIRED_FIELDS, 96),
    walk_ended=True,
)
FACTS = DayFacts(
    day=DAY,
    baseline=date(2025, 8, 16),
    mode="incremental",
    reason="last sync 24.0h ago",
    models=1_234,
    files=45_678,
    processed=150,
    details_known=617,
    requests=152,
    detail_requests=150,
    durations={"listing": 40.0, "details": 5.25},
    completeness=COMPLETENESS,
    gate=gate(COMPLETENESS, 0.95),
    findings={"no_gguf_file": 5, "upper_case": 4, "empty_file": 3, "schema": 0, "of_old": 2},
    skipped=["label_size_mismatch", "stalled_day"],
    why_skipped={"label_size_mismatch": "switched off by validation.disabled_rules"},
    blocking=[],
    grades={"A": 3, "C": 1},
    published=True,
    window_hours=48,
)


def change(number, kind, name="o/m", previous=None):
    return {
        "snapshot_date": DAY,
        "hub_id": hub_id(number),
        "model_id": name,
        "change": kind,
        "previous_model_id": previous,
    }


def changes(*rows):
    return pa.Table.from_batches([batch("changes", list(rows))])


def report(facts=FACTS, rows=(), movers=None, **more):
    moved = {} if movers is None else {"rising": movers.rising, "falling": movers.falling}
    return day_report(facts, Highlights(changes(*rows), **moved, **more))


def cells(text, first):
    """The cells after the first of the one table row that starts with it."""
    [row] = [line for line in text.splitlines() if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in row.strip("|").split(" | ")[1:]]


def test_the_sync_mode_report_has_the_documented_lines():
    counts = change_counts(changes(change(1, "added"), change(2, "added"), change(3, "removed")))
    assert sync_mode_report(FACTS, counts).splitlines() == [
        "SYNC MODE REPORT",
        "Sync Mode: INCREMENTAL",
        "Reason: last sync 24.0h ago",
        "Duration: 45.2 seconds",
        "Models Processed: 150",
        "Requests: 152",
        "Incremental Changes:",
        "  Added: 2",
        "  Updated: 0",
        "  Removed: 1",
        "  Window: 48 hours",
    ]


def test_a_full_sync_reports_no_incremental_changes():
    text = sync_mode_report(replace(FACTS, mode="full", window_hours=None), change_counts(changes()))
    assert "Sync Mode: FULL" in text
    assert "Incremental" not in text
    assert "Window" not in text


def test_the_report_shows_the_figures_of_the_day():
    text = report(
        rows=[change(1, "added", "a/new"), change(2, "renamed", "a/b", "a/old"), change(3, "gated")]
    )
    assert text.startswith("# GGUF catalogue, 2025-08-17\n")
    assert "Published: 1,234 models, 45,678 files." in text
    assert "compared with 2025-08-16" in text
    for kind, count in [("added", "1"), ("updated", "0"), ("removed", "0"), ("renamed", "1"), ("gated", "1")]:
        assert cells(text, kind) == [count]
    assert "Added: a/new." in text
    assert "Renamed: a/old → a/b." in text
    assert cells(text, "completeness")[0] == cells(text, "coverage")[0] == "0.9600"
    assert cells(text, "unconfirmed")[0] == "2"
    assert cells(text, "walk ended")[0] == "yes"
    assert cells(text, "file details known")[0] == "0.5000"
    assert cells(text, "A") == ["3", "75.0%"]
    assert cells(text, "B") == ["0", "0.0%"]
    assert "152 requests, 150 of them for details." in text
    assert cells(text, "listing") == ["40.0"]


def test_findings_are_told_with_severity_group_what_was_fixed_and_what_was_skipped():
    text = report()
    assert cells(text, "`empty_file`")[:4] == ["3", "warning", "files", ""]
    assert cells(text, "`upper_case`")[:4] == ["4", "info", "reading", "put right"]
    assert cells(text, "`of_old`")[0] == "2"
    assert "`schema`" not in text
    assert text.index("`empty_file`") < text.index("`no_gguf_file`") < text.index("`of_old`")
    assert "Skipped: `label_size_mismatch` (switched off by validation.disabled\\_rules)" in text
    assert "`stalled_day` (switched off, or without what it needs)." in text


def test_the_least_healthy_models_are_told_with_what_they_lack_and_its_remedy():
    lost = (LostPoints("model_file", 0, "no_gguf_file", 5), LostPoints("gone", 3, "no_more", 1))
    text = report(worst=[WorstModel("a/b|c", hub_id(1), 1.5, "F", lost)])
    assert cells(text, "a/b\\|c") == [
        "1.50",
        "F",
        f"`model_file`: no GGUF file at all. {HEALTH_CHECKS['model_file'].remedy}<br>`gone`: no_more.",
    ]
    assert "## Least healthy" not in report()


def test_the_first_day_claims_no_change():
    text = report(replace(FACTS, baseline=None))
    assert "This is the first day" in text
    assert "| added |" not in text


def test_a_day_that_was_not_published_says_so_and_why():
    text = report(replace(FACTS, published=False, blocking=["file_path"]))
    assert "**Not published.**" in text
    assert "Blocking findings: `file_path`." in text


def test_a_day_that_was_published_although_it_failed_says_so_and_why():
    text = report(replace(FACTS, failed=("completeness 0.5 is too low", "rule `schema` is broken")))
    assert "- **Published although its checks failed**: completeness 0.5 is too low; rule" in text
    assert "although" not in report()


def test_many_changes_are_named_up_to_a_limit():
    text = report(rows=[change(n, "added", f"o/m{n}") for n in range(25)])
    assert "o/m9 and 15 more." in text
    assert "o/m10" not in text


def test_movers_are_the_largest_in_each_direction_whatever_the_batches():
    rows = [model(n, downloads_delta=(n * 37) % 101 - 50) for n in range(100)] + [
        model(200, downloads_delta=None)
    ]
    whole, cut = Movers(), Movers()
    whole.add(models(*rows))
    for start in range(0, len(rows), 7):
        cut.add(models(*rows[start : start + 7]))
    assert (cut.rising, cut.falling) == (whole.rising, whole.falling)
    deltas = sorted(row["downloads_delta"] for row in rows[:-1])
    assert [mover.delta for mover in whole.rising] == deltas[:-11:-1]
    assert [mover.delta for mover in whole.falling] == deltas[:10]


def test_equal_movers_are_ordered_by_identity():
    movers = Movers(shown=2)
    for number in (9, 3, 7):
        movers.add(models(model(number, downloads_delta=5)))
    assert [mover.model_id for mover in movers.rising] == ["owner/Model-3-GGUF", "owner/Model-7-GGUF"]


def test_a_day_without_movement_shows_no_movers():
    movers = Movers()
    movers.add(models(model(1, downloads_delta=0), model(2, downloads_delta=None)))
    text = report(movers=movers)
    assert "## Rising" not in text
    assert "## Falling" not in text


def test_movers_are_shown_with_sign_and_level():
    movers = Movers()
    movers.add(models(model(5, downloads_delta=-1_500, downloads=20_000)))
    text = report(movers=movers)
    assert "## Falling downloads" in text
    assert "## Rising" not in text
    assert cells(text, "owner/Model-5-GGUF") == ["-1,500", "20,000"]


def test_the_words_of_a_day_are_gathered_over_batches():
    words = Vocabulary()
    words.add(models(model(1, architecture="llama", quantizations=["Q4_K_M", "NVFP4"])))
    words.add(models(model(2, architecture=None, quantizations=None), model(3, quantizations=["Q8_0"])))
    assert (words.architectures, words.quantizations) == ({"llama"}, {"Q4_K_M", "NVFP4", "Q8_0"})


def test_labels_and_architectures_new_since_the_day_before_are_named():
    text = report(architectures=["new|arch"], quantizations=[f"Q{number}" for number in range(12)])
    assert "Architectures: new\\|arch." in text
    assert "Quantizations: Q0, Q1, Q2, Q3, Q4, Q5, Q6, Q7, Q8, Q9 and 2 more." in text
    assert "Not seen" not in report()


def test_the_same_facts_give_the_same_text():
    assert report() == report()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("owner/Model-7B.Q4", "owner/Model-7B.Q4"),
        ("a_b*c`d", "a\\_b\\*c\\`d"),
        ("[x](http://y)", "\\[x\\]\\(http\\://y\\)"),
        ("<img src=x>", "&lt;img src=x&gt;"),
        ("&lt;", "&amp;lt;"),
        ("a|b\nc\r\nd\te", "a\\|b c d e"),
        ("a\\", "a\\\\"),
        ("ab\u202ecd\x00", "ab cd"),
    ],
)
def test_markup_of_strangers_stays_text(value, expected):
    assert escaped(value) == expected


def test_long_values_are_cut():
    assert escaped("x" * 500) == "x" * (TEXT_LENGTH - 1) + "…"


@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from(string.punctuation + "\n\r\u2028"))))
def test_an_escaped_value_is_one_cell_on_one_line(value):
    text = escaped(value)
    assert len(text.splitlines()) <= 1
    bare = text.replace("\\\\", "").replace("\\|", "")
    assert "|" not in bare
    assert "<" not in text
    [_, _, row] = table(["head"], [[text]])
    assert row == f"| {text} |"
