"""`python -m gguf_assets.cli` is `gguf-assets`."""

from gguf_assets.cli.commands import main

main()
