"""How a command ends: errors become a message, a remedy and an exit code, never a traceback.

Exit codes: 0 done · 1 ran, but failed or did not publish · 2 refused before starting (usage, settings) ·
130 interrupted by SIGINT or SIGTERM. Errors go to stderr; with `--json` the last line of stdout is one JSON
object.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import Annotated, Any, ParamSpec

import typer

from gguf_assets.errors import ErrorCategory, GgufAssetsError, Refused

REFUSED, FAILED, INTERRUPTED = 2, 1, 130
_P = ParamSpec("_P")
_tracebacks = _tracebacks_of_refusals = False

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")]


def show_tracebacks(wanted: bool, *, refusals: bool) -> None:
    """Show the traceback of an error, without secrets, from now on or no longer; that of a refusal, too?"""
    global _tracebacks, _tracebacks_of_refusals
    _tracebacks, _tracebacks_of_refusals = wanted, refusals


def clear(command: Callable[_P, None]) -> Callable[_P, None]:
    """Turn errors of a command into a message and an exit code."""

    @functools.wraps(command)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except GgufAssetsError as error:
            _fail(error, as_json=bool(kwargs.get("as_json")))
        except KeyboardInterrupt:
            text = "Interrupted. Nothing is lost: the same command goes on where it stopped."
            typer.echo(text, err=True)
            if kwargs.get("as_json"):
                print_json({"error": text, "category": ErrorCategory.SYSTEM.value, "published": False})
            raise typer.Exit(INTERRUPTED) from None
        except (typer.Exit, BrokenPipeError):  # the end of a command, or of who was reading
            raise
        except Exception as error:  # noqa: BLE001 (nobody above would say it to people)
            unexpected = GgufAssetsError(
                f"Unexpected {type(error).__name__}: {error}",
                category=ErrorCategory.SYSTEM,
                remedy="Run it again with `gguf-assets --debug …` and report the traceback.",
            )
            _fail(unexpected, as_json=bool(kwargs.get("as_json")))

    return wrapped


def _fail(error: GgufAssetsError, *, as_json: bool) -> None:
    from gguf_assets.masking import mask
    from gguf_assets.settings.problems import InvalidSettings

    refused = isinstance(error, Refused) or error.category is ErrorCategory.CONFIGURATION
    if _tracebacks_of_refusals if refused else _tracebacks:
        typer.echo(mask(traceback.format_exc()), err=True)
    message, remedy = mask(error.message), None if error.remedy is None else mask(error.remedy)
    # Of several problems each is an error: the documented lines stand there whole, wherever they come.
    texts = [str(problem) for problem in error.problems] if isinstance(error, InvalidSettings) else [message]
    for text in texts:
        typer.echo(f"Error: {text}", err=True)
    if remedy:
        typer.echo(remedy, err=True)
    if as_json:
        print_json({"error": message, "remedy": remedy, "category": error.category.value, "published": False})
    raise typer.Exit(REFUSED if refused else FAILED)


def print_json(content: dict[str, Any]) -> None:
    """Print one JSON object on a line."""
    import orjson

    typer.echo(orjson.dumps(content).decode())
