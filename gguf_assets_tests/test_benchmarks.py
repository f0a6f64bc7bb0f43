"""The benchmark measures what it says: a whole sync and the peer on the same Hub, the quality of the day.

No wall time is asserted.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_sync_and_peer_see_the_same_hub_and_every_stage_and_part_is_timed():
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.full_day", "--repositories", "150", "--second-day", "--json"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    result = json.loads(ended.stdout.splitlines()[-1])
    sync, peer = result["sync"], result["peer"]
    assert sync["models"] == peer["models"] == 150
    assert peer["requests"] == sync["pages"] == 1
    assert sync["requests"] == 1 + 12, "name search, apps and the ten largest publishers, a page each"
    later = result["second_day"]
    assert later["requests"] < sync["requests"], "a quiet day costs the census and who is absent"
    assert later["stages"].keys() == sync["stages"].keys()
    assert result["ratio"] == pytest.approx(sync["seconds"] / peer["seconds"])
    assert sum(sync["stages"].values()) == pytest.approx(sync["seconds"], rel=0.01)
    assert {"hub_listing", "catalogue_tables", "validation_report", "published_catalogue"} <= {
        *sync["stages"]
    }
    parts = result["quality"]
    assert [*parts] == ["start", "validation", "health", "reports", "export"]
    assert all(part["seconds"] > 0 for part in parts.values())
    assert all(part["peak_bytes"] > 50_000_000 for part in parts.values()), "an interpreter with Arrow in it"
