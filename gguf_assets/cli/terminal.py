"""What the terminal shows besides the words of a command: log lines of the package, on stderr."""

from __future__ import annotations

import logging
from collections.abc import Mapping


def open_terminal() -> None:
    """Show warnings of the package, such as retries, until the settings say more or less."""
    from gguf_assets.settings.verbosity import PACKAGE, Terminal

    logging.getLogger(PACKAGE).addHandler(Terminal())


def how_much_is_shown(environ: Mapping[str, str], *, debug: bool) -> bool:
    """Let the terminal show as much as `--debug` and the settings ask for.

    Settings that are not valid are said by the command that needs them, so they are passed over here.

    Returns:
        Whether errors come with their traceback.
    """
    from gguf_assets.errors import GgufAssetsError
    from gguf_assets.settings.load import load_settings
    from gguf_assets.settings.verbosity import follow_settings, show_everything, wants_tracebacks

    if debug:
        show_everything()
    try:
        loaded = load_settings(environ)
    except GgufAssetsError:
        return debug
    follow_settings(loaded)
    return debug or wants_tracebacks(loaded)
