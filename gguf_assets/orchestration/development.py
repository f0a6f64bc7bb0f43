"""Opening the Dagster UI on the instance and data of the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import NoReturn

from gguf_assets.orchestration.configuration import at_load
from gguf_assets.orchestration.demonstration import DEMO_FOLDER
from gguf_assets.orchestration.instance import open_instance
from gguf_assets.orchestration.resources import layout_of
from gguf_assets.orchestration.runs import reap_dead_runs
from gguf_assets.store.layout import Layout
from gguf_assets.store.store import Store

ENVIRONMENT = "SYNC_ENVIRONMENT"
DATA, STATE, CONFIG = "GGUF_ASSETS_DATA_DIR", "GGUF_ASSETS_STATE_DIR", "GGUF_ASSETS_CONFIG_DIR"


def start_ui(environ: Mapping[str, str], host: str, port: int, say: Callable[[str], None]) -> NoReturn:
    """Become `dagster dev`, so that signals reach it and it ends what it has started.

    Where nothing is stored yet but the demo has been run, the demo's data are shown.
    """
    loaded_with = at_load(environ)
    if loaded_with.refusal is not None:
        say(f"{loaded_with.refusal.message}\nThe UI opens all the same; no run does anything until then.")
    layout = layout_of(loaded_with.loaded)
    demo = DEMO_FOLDER.absolute()
    if (
        Store(layout).earliest_day() is None
        and not environ.get(DATA)
        and Store(Layout(demo, demo)).published.days()
    ):
        say(f"Nothing is stored in {layout.data} yet: showing the demo's data in {demo}")
        layout = Layout(demo, demo)
    with open_instance(layout.dagster_home) as instance:
        for run_id in reap_dead_runs(instance):
            say(f"Run {run_id}: its process is gone, it is now shown as failed")
    say(f"Dagster UI: http://{host}:{port} (data in {layout.data}). Stop it with Ctrl-C.")
    command = [sys.executable, "-m", "dagster", "dev", "-m", "gguf_assets.definitions"]
    layout.config_dir.mkdir(parents=True, exist_ok=True)
    # No schedule may begin to sync the real Hub into the demo's data by itself.
    quiet = {ENVIRONMENT: "development"} if layout.data == demo else {}
    settings = {
        **quiet,
        DATA: str(layout.data.absolute()),
        STATE: str(layout.state.absolute()),
        CONFIG: str(layout.config_dir.absolute()),
        "DAGSTER_HOME": str(layout.dagster_home.absolute()),
        "PYTHONWARNINGS": "ignore",
    }
    # Elsewhere Dagster warns of a second dagster.yaml in the working folder.
    os.chdir(layout.dagster_home)
    sys.stdout.flush()
    os.execve(sys.executable, [*command, "--host", host, "--port", str(port)], {**os.environ, **settings})
