"""Whether a sync may start without a token of the Hub.

What belongs here: the rule, and what to do about it. What does not: finding the token (`load`), sending it
(`hub/`).
"""

from __future__ import annotations

from typing import Final

from pydantic import SecretStr

from gguf_assets.errors import ErrorCategory, Refused
from gguf_assets.settings.load import SYNC_DOCUMENT, LoadedSettings

TOKEN_ENVIRONMENTS: Final = frozenset({"staging", "production"})


def require_token(loaded: LoadedSettings) -> SecretStr | None:
    """Return the token, or None where a sync may run anonymously; asked when a sync starts.

    Anonymous syncs are allowed in development and testing, with `security.enable_token_validation` off, and
    always against a Hub on this machine (a loopback endpoint).

    Raises:
        Refused: a token is demanded and there is none (category `authentication`).
    """
    settings = loaded.settings
    if (
        loaded.token is not None
        or loaded.is_loopback
        or settings.environment not in TOKEN_ENVIRONMENTS
        or not settings.security.enable_token_validation
    ):
        return loaded.token
    # An active file decides the environment by itself, so another one cannot be chosen beside it.
    active = loaded.file is not None and loaded.file.name == SYNC_DOCUMENT.active_file
    without = (
        "GGUF_SYNC__SECURITY__ENABLE_TOKEN_VALIDATION=false" if active else "SYNC_ENVIRONMENT=development"
    )
    raise Refused(
        "Hugging Face token is required",
        category=ErrorCategory.AUTHENTICATION,
        remedy=f"Set HUGGINGFACE_TOKEN (or HF_TOKEN) for {settings.environment}, or run without one at the "
        f"limits of anonymous callers: {without} gguf-assets sync",
    )
