"""How the command line shows how fresh the catalogue is, and by which channels nobody is reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gguf_assets.orchestration.overview import Overview


def freshness_lines(facts: Overview) -> list[str]:
    """Return the lines of `status`: the state with its remedy, and each channel that does not work."""
    freshness, now = facts.freshness, facts.seen_at
    lines = []
    if freshness.latest_day is not None:
        lines.append(f"Published catalogue: {freshness.sentence(now)}")
        remedy = freshness.remedy(now)
        if remedy is not None:
            lines.append(f"    → {remedy}")
    lines += [f"Nobody is told by {name}: {why}" for name, why in facts.unreached.items()]
    return lines
