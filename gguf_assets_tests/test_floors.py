"""The pure rooms know no Dagster and no network, shown in a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "gguf_assets"
FORBIDDEN = ("dagster", "huggingface_hub", "httpx", "httpx2", "starlette", "uvicorn", "typer")
IMPORT_ALL = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
print(json.dumps(sorted(name for name in sys.modules if name.startswith("gguf_assets."))))
"""


@pytest.mark.parametrize(
    ("room", "may_know"),
    [("catalogue", {"catalogue", "errors", "jsontext", "masking"}),
     ("quality", {"quality", "catalogue", "errors", "jsontext", "masking"})],
)  # fmt: skip
def test_a_pure_room_imports_no_dagster_no_network_and_no_other_room(room, may_know):
    modules = sorted(f"gguf_assets.{room}.{path.stem}" for path in (PACKAGE / room).glob("[a-z]*.py"))
    assert modules
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *modules],
        cwd=PACKAGE.parent,
        check=True,
        capture_output=True,
        text=True,
    )
    loaded, rooms = map(json.loads, done.stdout.splitlines())
    assert not set(FORBIDDEN) & set(loaded)
    assert {name.split(".")[1] for name in rooms} <= may_know
