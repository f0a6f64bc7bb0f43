"""Rules that look at a day beside the days before it: is it cut short, does it stand still.

They compare figures that the manifests of published days keep, and the day's own `file_changes`. Here: the
rules and the limits they go by, each with where it comes from. Not here: rules over the rows of a day
(`model_rules`, `file_rules`), and reading manifests (`orchestration/`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from statistics import median

import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.quality.findings import Findings, Rule

RECENT_DAYS = 14
"""How many published days the median is taken over: two weeks, so that each day of the week counts twice."""

LEAST_RECENT_DAYS = 3
"""Fewer days have no median worth the name: with two, one odd day moves it by half."""

PARTIAL_SHARE = 0.1
"""A tenth less than the median is a part of a day: the Hub grows, and this is the share at which a sync, too,
takes a change of the number of models for significant (sync_behavior.significant_change_threshold)."""

STALLED_SHARE = 0.01
"""Below this share of models with a moved counter, the Hub has not counted between two walks. Of 174 listings
taken every half day in the summer of 2026, 88 had fewer than 1 % changed, though 45 % of all rows did."""

LEAST_COMPARED = 100
"""Of fewer models that share is not even one: none moved in a window or a small catalogue says little."""

COUNTERS_STALLED = Rule(
    "counters_stalled",
    "warning",
    "Counters of at least 1 % of the models have moved since the published day before, or had on that day.",
    "The Hub counts about once a day, so a day without is legal and several running are an alarm. One "
    "finding for the day.",
    "counters",
    "88 of 174 listings taken every half day had fewer than 1 % changed; docs/data.md: `counters_stalled`",
)
PARTIAL_DAY = Rule(
    "partial_day",
    "warning",
    "The walk listed at least 90 % of the median of the recent up to 14 published days.",
    "A listing that ends too early looks like a catalogue that shrank.",
    "day",
    "gguf_assets/quality/history_rules.py: median of the recent days",
)
STALLED_DAY = Rule(
    "stalled_day",
    "warning",
    "Something changed since the published day before, where something did on most of the recent days.",
    "On the living Hub no day passes without a new or an edited model: the walk may have got an old answer.",
    "day",
    "0.16 % of models were edited in half a day, counted over 505,405 pairs of listings",
)
REPLACED_IN_PLACE = Rule(
    "replaced_in_place",
    "info",
    "A file keeps its content as long as it keeps its path.",
    "Who has downloaded it has other bytes than the repository now offers under the same name.",
    "contents",
    "docs/data.md: `file_changes`; LocalAI's gallery met 216 such changes in two years",
)


@dataclass(frozen=True)
class DayFigures:
    """What is known of a day without its tables; taken from its manifest.

    Attributes:
        day: the day.
        listed: models that the walk listed; None where it was no walk over all models.
        changed: changes of any kind against its baseline; None on the first day.
        counters_compared: listed models that its baseline had, too; 0 where that is not known.
        counters_moved: those of them whose counters differ from the baseline's.
    """

    day: date
    listed: int | None
    changed: int | None
    counters_compared: int
    counters_moved: int

    @property
    def stalled(self) -> bool:
        """Whether the Hub's counters stood still; to be asked only where some were compared."""
        return self.counters_moved < STALLED_SHARE * self.counters_compared


class HistoryRules:
    """Judges a day by the days before it.

    Args:
        findings: receives what is found.
    """

    def __init__(self, findings: Findings) -> None:
        self._findings = findings

    def judge(
        self, today: DayFigures, recent: Sequence[DayFigures], file_changes: pa.Table
    ) -> dict[str, str]:
        """Judge a day.

        Args:
            today: figures of the candidate.
            recent: figures of published days before it, in any order; the latest 14 count.
            file_changes: the candidate's `file_changes`; at least hub_id, model_id, path, change and hashes.

        Returns:
            Rule name to what it lacked, for the rules that could not be applied.
        """
        days = sorted((day for day in recent if day.day < today.day), key=lambda day: day.day)
        before = days[-RECENT_DAYS:]
        lacking = {
            COUNTERS_STALLED.name: self._check_counters(today, before),
            PARTIAL_DAY.name: self._check_listed(today, before),
            STALLED_DAY.name: self._check_changes(today, before),
            REPLACED_IN_PLACE.name: self._check_replaced(today, file_changes),
        }
        return {name: reason for name, reason in lacking.items() if reason is not None}

    def _check_counters(self, today: DayFigures, before: Sequence[DayFigures]) -> str | None:
        if not today.counters_compared:
            return _NO_BASELINE
        if today.counters_compared < LEAST_COMPARED:
            return _TOO_FEW_COMPARED
        if not before or before[-1].counters_compared < LEAST_COMPARED:
            return f"{_TOO_FEW_COMPARED} on the published day before"
        if today.stalled and before[-1].stalled:
            self._findings.add_day(
                COUNTERS_STALLED,
                value=str(today.counters_moved),
                message="The Hub's counters stand still: those of "
                f"{today.counters_moved:,} of {today.counters_compared:,} models moved, and on "
                f"{before[-1].day} those of {before[-1].counters_moved:,} of "
                f"{before[-1].counters_compared:,}.",
            )
        return None

    def _check_listed(self, today: DayFigures, before: Sequence[DayFigures]) -> str | None:
        if today.listed is None:
            return "the walk was none over all models"
        known = [day.listed for day in before if day.listed is not None]
        if len(known) < LEAST_RECENT_DAYS:
            return _TOO_FEW_DAYS
        usual = median(known)
        if today.listed < (1 - PARTIAL_SHARE) * usual:
            self._findings.add_day(
                PARTIAL_DAY,
                value=str(today.listed),
                message=f"{today.listed:,} models were listed; the median of the last {len(known)} published "
                f"days is {usual:,.0f}.",
            )
        return None

    def _check_changes(self, today: DayFigures, before: Sequence[DayFigures]) -> str | None:
        if today.changed is None:
            return _NO_BASELINE
        known = [day.changed for day in before if day.changed is not None]
        if len(known) < LEAST_RECENT_DAYS:
            return _TOO_FEW_DAYS
        usual = median(known)
        if today.changed == 0 and usual > 0:
            self._findings.add_day(
                STALLED_DAY,
                value="0",
                message=f"Nothing at all changed; the median of the last {len(known)} published days is "
                f"{usual:,.0f} changes.",
            )
        return None

    def _check_replaced(self, today: DayFigures, file_changes: pa.Table) -> str | None:
        if today.changed is None:
            return _NO_BASELINE
        # Null where a hash is not known, which counts as not broken.
        other = pc.not_equal(file_changes["previous_sha256"], file_changes["sha256"])
        replaced = file_changes.filter(pc.and_(pc.equal(file_changes["change"], "replaced"), other))
        if replaced.num_rows:
            rows = replaced.combine_chunks().to_batches()[0]
            self._findings.add_rows(
                REPLACED_IN_PLACE,
                rows,
                pa.array(range(len(rows)), pa.int64()),
                values=pc.binary_join_element_wise(rows["previous_sha256"], rows["sha256"], " -> "),
                message="The file has another content than on the baseline day, under the same path.",
            )
        return None


_NO_BASELINE = "no baseline"
_TOO_FEW_COMPARED = f"the counters of fewer than {LEAST_COMPARED} models were compared"
_TOO_FEW_DAYS = f"fewer than {LEAST_RECENT_DAYS} published days before it"
