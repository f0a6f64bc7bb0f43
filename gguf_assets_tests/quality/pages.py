"""Facts of made-up days for the tests of the pages, and a reader of pages that takes nothing for granted."""

from __future__ import annotations

from datetime import date, timedelta
from html.parser import HTMLParser
from typing import Any

import pyarrow as pa

from gguf_assets.quality.completeness import REQUIRED_FIELDS, gate, measure
from gguf_assets.quality.day_facts import DayFacts, Highlights
from gguf_assets.quality.day_page import day_page
from gguf_assets.quality.highlights import LostPoints, Mover, WorstModel
from gguf_assets.quality.trends import DayTrend

from .tables import batch, hub_id

DAY = date(2025, 8, 17)
FILLED = dict.fromkeys(REQUIRED_FIELDS, 96)
COMPLETENESS = measure(
    listed=96, quarantined=1, absent_unconfirmed=2, put_back=1, seen_by_other_routes=0,
    baseline_known=True, filled=FILLED, walk_ended=True,
)  # fmt: skip
HEALTH = {
    "mean": 7.25,
    "median": 8.5,
    "status": "yellow",
    "scored": 90,
    "grades": {"A": 30, "B": 45, "C": 10, "D": 4, "F": 1},
    "scores": [1, 0, 0, 0, 4, 0, 10, 0, 45, 20, 10],
    "checks": {
        "licensed": {"mean": 5.5, "known": 80, "full": 40, "weight": 4},
        "verifiable": {"mean": None, "known": 0, "full": 0, "weight": 2},
    },
}


def facts(**changed: Any) -> DayFacts:
    """A published day that has something of everything."""
    told: dict[str, Any] = {
        "day": DAY,
        "baseline": DAY - timedelta(1),
        "mode": "incremental",
        "reason": "last sync 24.0h ago",
        "models": 1_234,
        "files": 45_678,
        "processed": 150,
        "details_known": 617,
        "requests": 152,
        "detail_requests": 150,
        "durations": {"listing": 40.0, "details": 5.25},
        "completeness": COMPLETENESS,
        "gate": gate(COMPLETENESS, 0.95),
        "findings": {"empty_file": 3, "schema": 0, "upper_case": 2, "no_gguf_file": 1_001, "of_old": 4},
        "skipped": ["label_size_mismatch", "stalled_day"],
        "why_skipped": {"label_size_mismatch": "switched off by validation.disabled_rules"},
        "not_checked": ["file_order"],
        "blocking": [],
        "grades": HEALTH["grades"],
        "published": True,
        "health": HEALTH,
    }
    return DayFacts(**{**told, **changed})


def highlights(name: str = "owner/Model-GGUF", word: str = "NVFP4") -> Highlights:
    """What stands out on that day, all of it under one name and one word."""
    kinds = ["added"] * 12 + ["updated", "removed", "renamed"]
    rows = [
        {
            "snapshot_date": DAY,
            "hub_id": hub_id(number),
            "model_id": name,
            "change": kind,
            "previous_model_id": f"{name}-before" if kind == "renamed" else None,
        }
        for number, kind in enumerate(kinds)
    ]
    lost = (
        LostPoints("licensed", 0, "license_missing", 4),
        LostPoints("described", 5, "partly_described", 2),
    )
    return Highlights(
        changes=pa.Table.from_batches([batch("changes", rows)]),
        rising=[Mover(name, 20_000, 1_500)],
        falling=[Mover(name, None, -7)],
        architectures=[word],
        quantizations=[word, *(f"Q{number}" for number in range(11))],
        worst=[WorstModel(name, hub_id(1), 1.5, "F", lost)],
    )


def days(number: int, **changed: Any) -> list[DayTrend]:
    """So many published days, the last one on `DAY`; the first has no changes."""
    return [
        DayTrend(
            DAY - timedelta(number - 1 - place),
            **{
                "models": 1_000 + 10 * place,
                "files": 40_000 + 100 * place,
                "changes": {"added": 11 + place, "removed": 1} if place else None,
                "completeness": 0.96 + 0.001 * (place % 7),
                "coverage": 0.97,
                "fill": 0.99,
                "details": 0.5 + 0.003 * place,
                "health_mean": 7.0 + 0.01 * place,
                "health_median": 8.0,
                "findings": {"error": 0, "warning": 3, "info": 100 + place},
                "requests": 150 + place,
                "seconds": 45.25 + place,
                "failed_syncs": place % 2,
                **changed,
            },
        )
        for place in range(number)
    ]


def first_day(name: str = "owner/Model-GGUF") -> str:
    """The page of a first day, which draws nothing over time, with this name wherever one is chosen."""
    shown = highlights(name, name)
    return str(day_page(facts(), shown, days(1), navigation=[("../index.html", "All days")]))


class Page(HTMLParser):
    """A page as a browser would read it: elements that nest, texts, attributes, tables.

    Raises:
        AssertionError: an element is closed that is not the open one, or is never closed.
    """

    VOID = frozenset({"meta", "br", "hr", "line", "path", "rect", "circle"})

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self._rows: list[list[str]] = []
        self.declared = ""
        self.feed(markup)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_decl(self, decl: str) -> None:
        self.declared = decl

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute twice in {tag}: {names}"
        self.elements.append((tag, dict(attrs)))
        if tag == "table":
            self._rows = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in self.VOID:
            return
        assert self.open, f"{tag} is closed and was never opened"
        assert self.open.pop() == tag, f"{tag} is closed out of turn"

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.texts.append(data)
        if "caption" in self.open:
            self.tables[data] = self._rows
        elif {"td", "th"} & set(self.open):
            self._rows[-1][-1] += data

    @property
    def text(self) -> str:
        """All texts in order."""
        return "".join(self.texts)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    def row(self, caption: str, first: str) -> list[str]:
        """The cells after the first of the one row of a table that starts with it."""
        [row] = [row for row in self.tables[caption] if row[0] == first]
        return [cell.strip() for cell in row[1:]]
