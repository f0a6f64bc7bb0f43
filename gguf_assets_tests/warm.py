"""Preloaded by the server that tests fork processes from: without it each of them imports for seconds.

What belongs here: whatever a sync imports late, and `quicker`. What does not: anything that starts a thread.
"""

import importlib

from gguf_assets_tests.quicker import quicken_dagster, sketched_charts

LATE = (
    "dagster._core.definitions.repository_definition.repository_data_builder",
    "dagster._core.execution.execute_in_process",
    "dagster._core.executor.in_process",
    "dagster._core.instance.factory",
    "dagster._core.secrets.env_file",
    "dagster._core.storage.migration.utils",
    "dagster._core.storage.noop_compute_log_manager",
    "dagster._core.storage.root",
    "dagster._core.storage.sqlite_storage",
    "dateutil.parser",
    "gguf_assets.cli.config",
    "gguf_assets.hub.transport",
    "gguf_assets.orchestration.coordinator",
    "gguf_assets.orchestration.dry_run",
    "gguf_assets.orchestration.report_pages",
    "gguf_assets.orchestration.syncing",
    "gguf_assets.printing",
    "gguf_assets.quality.report",
    "h11",
    "httpcore2",
    "huggingface_hub.utils._http",
    "hypothesis.extra.pandas",
    "pandera.backends.pandas.register",
    "pandera.pandas",
    "pandera.strategies.pandas_strategies",
    "pyarrow.dataset",
    "upath.implementations.local",
)

for name in LATE:
    importlib.import_module(name)
quicken_dagster()
sketched = sketched_charts()
sketched.__enter__()
