"""The command line `gguf-assets`: parses, calls and prints; it has no rules of its own.

One module per group of commands, `exits` for how a command ends. What does not belong here: how results look
(`printing`).
"""

from gguf_assets.cli.commands import app, main

__all__ = ["app", "main"]
