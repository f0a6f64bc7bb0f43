"""How long every step of the last run took, by Dagster's own record.

    python -m benchmarks.stages DATA_FOLDER

Prints one JSON object: step to seconds, in the order in which they began.
"""

from __future__ import annotations

import sys
from pathlib import Path

import orjson

from gguf_assets.orchestration.instance import open_instance
from gguf_assets.store.layout import Layout


def main(folder: str) -> None:
    """Print the steps of the last run."""
    data = Path(folder)
    with open_instance(Layout(data=data, state=data).dagster_home) as instance:
        run = instance.get_runs(limit=1)[0]
        stats = [entry for entry in instance.get_run_step_stats(run.run_id) if entry.start_time]
        stats.sort(key=lambda entry: entry.start_time or 0.0)
        steps = {entry.step_key: (entry.end_time or 0.0) - (entry.start_time or 0.0) for entry in stats}
    print(orjson.dumps(steps).decode())


if __name__ == "__main__":
    main(sys.argv[1])
