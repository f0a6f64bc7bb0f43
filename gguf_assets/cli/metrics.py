"""The command that tells how things stand in numbers, for Prometheus."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from gguf_assets.cli.exits import clear


@clear
def metrics(
    output: Annotated[
        Path | None,
        typer.Option(
            help="Write them to this file instead, all at once: for the textfile collector of node_exporter, "
            "which wants a name that ends in .prom."
        ),
    ] = None,
) -> None:
    """Print how things stand in numbers, in the text format of Prometheus.

    Read from what is stored: nobody is asked, nothing is changed, and a sync may run meanwhile.

    Example: gguf-assets metrics --output /var/lib/node_exporter/gguf_assets.prom
    """
    from gguf_assets.atomic import write_atomically
    from gguf_assets.orchestration.metrics import metrics_text
    from gguf_assets.orchestration.resources import layout_of
    from gguf_assets.settings.load import load_settings
    from gguf_assets.store.store import Store

    text = metrics_text(Store(layout_of(load_settings(os.environ))), datetime.now(UTC))
    if output is None:
        typer.echo(text.decode(), nl=False)
    else:
        write_atomically(output, text)
