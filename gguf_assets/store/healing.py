"""What can heal a damaged day: a way is named when it was tried and works, never by guessing.

What belongs here: that question. What does not: finding the damage (`verifying.py`) and healing it
(`restoring.py`, and the derivation in `orchestration/`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import orjson

from gguf_assets import __version__
from gguf_assets.errors import GgufAssetsError
from gguf_assets.store.captures import Captures
from gguf_assets.store.digests import sha256_of
from gguf_assets.store.layout import Layout
from gguf_assets.store.publish import Published
from gguf_assets.store.restoring import choose_backup, plan_restore


def what_heals(layout: Layout, day: date, is_whole: Callable[[date], bool], move: Path | None = None) -> str:
    """Return what can heal a day.

    Args:
        layout: where everything lies.
        day: the day.
        is_whole: whether another published day is as its manifest says.
        move: a file that could also be moved away.
    """
    ways = []
    try:
        chosen = choose_backup(layout, None, day)
        plan = plan_restore(layout, chosen, day=day)
        if not plan.empty:
            ways.append(f"gguf-assets restore --date {day}")
    except GgufAssetsError:
        pass
    if _can_be_derived(layout, day, is_whole):
        ways.append(f"gguf-assets rederive --from {day} --to {day}")
    if move is not None:
        ways.append(f"or move it away: mv {move} ELSEWHERE")
    if ways:
        return ", or ".join(way.removeprefix("or ") for way in ways)
    return (
        "No backup holds it whole and no capture of the day is there, so nothing here can bring it back; "
        "name another folder of backups if there is one: gguf-assets restore --list --folder DIR"
    )


def _can_be_derived(layout: Layout, day: date, is_whole: Callable[[date], bool]) -> bool:
    """Whether the day comes out of its capture again: a whole capture, and a baseline that is whole."""
    try:
        if Captures(layout).latest_complete(day) is None:
            return False
        manifest = Published(layout).manifest(day)
        if manifest is None or manifest.pipeline_version != __version__:
            return False
        capture = Captures(layout).open(day, manifest.capture.run)
        path = layout.capture_manifest(day, capture.run)
        for name, digest in named_digests(orjson.loads(path.read_bytes())):
            if sha256_of(path.parent / name) != digest:
                return False
        baseline = None if manifest.baseline is None else manifest.baseline.date
        return baseline is None or is_whole(baseline)
    except (GgufAssetsError, OSError, ValueError):
        return False


def named_digests(content: Any) -> Iterator[tuple[str, str]]:
    """Yield name and digest of every file that the manifest of a capture names, wherever it stands there."""
    if isinstance(content, Mapping):
        name, digest = content.get("name"), content.get("sha256")
        if isinstance(name, str) and isinstance(digest, str):
            yield name, digest
        for value in content.values():
            yield from named_digests(value)
    elif isinstance(content, list):
        for value in content:
            yield from named_digests(value)
