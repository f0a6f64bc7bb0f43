"""Alerts as annotations of a GitHub Actions workflow and lines of its step summary.

The runner reads commands from standard output and standard error alike. What does not belong here: issues
(`github`), and what a workflow looks like.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from gguf_assets.alerts.alert import Alert, ChannelError, Severity
from gguf_assets.alerts.wording import heading, inert, kind, markdown, one_line, plain

_COMMANDS = {
    Severity.SUCCESS: "notice",
    Severity.WARNING: "warning",
    Severity.FAILURE: "error",
    Severity.CRITICAL: "error",
}
_LONGEST_ANNOTATION = 4000
_LONGEST_SUMMARY = 20_000


class ActionsChannel:
    """Annotates the running workflow.

    Args:
        stream: where the runner reads commands.
        summary: the file of the step summary, None for none.
    """

    name = "github actions"
    takes_notes = True

    def __init__(self, stream: TextIO, summary: Path | None) -> None:
        self._stream = stream
        self._summary = summary

    def send(self, alert: Alert, *, over: bool) -> None:
        """Write a line that annotates, and a paragraph of the summary.

        Raises:
            ChannelError: the stream or the file cannot be written.
        """
        title = heading(alert, over=over)
        try:
            if self._summary is not None:
                with self._summary.open("a", encoding="utf-8") as summary:
                    body = markdown(alert, longest=_LONGEST_SUMMARY)
                    summary.write(f"### {inert(title)}\n\n{inert(kind(alert, over=over))}: {body}\n\n")
            command = "notice" if over else _COMMANDS[alert.severity]
            message = _data(plain(alert, longest=_LONGEST_ANNOTATION))
            self._stream.write(f"::{command} title={_property(title)}::{message}\n")
            self._stream.flush()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise ChannelError(f"the annotation could not be written: {reason}") from error


def actions_channel(environ: Mapping[str, str], stream: TextIO) -> ActionsChannel | None:
    """Return the channel where a workflow of GitHub Actions is running, None elsewhere.

    Args:
        environ: the environment variables; GITHUB_ACTIONS and GITHUB_STEP_SUMMARY are read.
        stream: where the runner reads commands; standard error leaves standard output to machines.
    """
    if environ.get("GITHUB_ACTIONS", "").strip().lower() != "true":
        return None
    summary = environ.get("GITHUB_STEP_SUMMARY", "").strip()
    return ActionsChannel(stream, Path(summary) if summary else None)


def error_line(title: str, text: str) -> str:
    """Return the line with which a workflow shows an error.

    Args:
        title: shortly.
        text: in full; may have several lines.
    """
    return f"::error title={_property(one_line(title))}::{_data(one_line(text, _LONGEST_ANNOTATION))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
