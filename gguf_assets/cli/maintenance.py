"""The command that removes what is too old; how it looks is in `printing_maintenance`."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Annotated

import typer

from gguf_assets.cli.exits import Json, clear, print_json


@clear
def maintain(
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only say what would be removed and thinned; nothing is written."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Remove captures, candidates and backups that are too old, and thin the files of older days.

    The job maintenance does it every day. Never removed: the newest ones, and what the next sync uses. A
    thinned day is rebuilt exactly when it is needed, or by: gguf-assets restore --date DAY
    """
    from gguf_assets.orchestration.maintenance import maintain as do
    from gguf_assets.orchestration.resources import layout_of
    from gguf_assets.orchestration.syncing import writing
    from gguf_assets.printing_maintenance import maintained_as_json, print_maintained
    from gguf_assets.settings.audit import present_actor
    from gguf_assets.settings.load import load_settings
    from gguf_assets.store.store import Store

    now, actor = datetime.now(UTC), present_actor("gguf-assets maintain")
    if dry_run:
        loaded = load_settings(os.environ)
        done = do(Store(layout_of(loaded)), loaded, actor, now, dry_run=True)
    else:
        with writing(os.environ, "gguf-assets maintain") as place:
            done = do(place.store, place.loaded, actor, now)
    if done.problem is not None:
        if not as_json:
            print_maintained(done)
        raise done.problem
    if as_json:
        print_json(maintained_as_json(done))
    else:
        print_maintained(done)
