"""What is written down of everything that runs: the log file, and security events in the audit trail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gguf_assets.orchestration.log_file import log_file
from gguf_assets.orchestration.security_events import security_events
from gguf_assets.settings.load import LoadedSettings
from gguf_assets.store.layout import Layout


@contextmanager
def recorded(loaded: LoadedSettings, layout: Layout, command: str) -> Iterator[None]:
    """Have log lines and security events written down until the block ends.

    Args:
        loaded: the settings.
        layout: where the log file lies.
        command: what runs, as the audit trail tells it.
    """
    with log_file(loaded, layout), security_events(loaded, command):
        yield
