"""How an alert reads: as plain text, as Markdown and in the dialect of chat webhooks.

Every text is masked before it is shortened, so that no half of a secret survives, and holds no character that
a terminal, a mail header or JSON could stumble over. What does not belong here: where a text goes.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from gguf_assets.alerts.alert import Alert, Severity
from gguf_assets.masking import MASK, mask

LONGEST_TITLE: Final = 200
"""Characters of a title, a subject or a heading."""

LONGEST_PLAIN: Final = 20_000
"""Characters of a plain text: a mail that can still be read."""

LONGEST_MARKDOWN: Final = 60_000
"""Characters of a Markdown text; GitHub takes 65,536."""

LONGEST_CHAT: Final = 3000
"""Characters of a chat message; what Slack takes in one block."""

_MOST_FACTS = 50
_LONGEST_FACT = 1000
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_MENTION = re.compile(r"@(?=[A-Za-z])")
_NO_MENTION = "@\u200b"  # a space of no width: nobody is called by an address in an error message


def masked(alert: Alert) -> Alert:
    """Return the alert without secrets."""
    return replace(
        alert,
        condition=mask(alert.condition),
        title=mask(alert.title),
        text=mask(alert.text),
        remedy=None if alert.remedy is None else mask(alert.remedy),
        facts={mask(name): _value(mask(name), value) for name, value in alert.facts.items()},
        url=None if alert.url is None else mask(alert.url),
    )


def one_line(text: str, longest: int = LONGEST_TITLE) -> str:
    """Return a masked text in one line of at most so many characters."""
    return _shortened(" ".join(_clean(text).split()), longest)


def heading(alert: Alert, *, over: bool) -> str:
    """Return the title as one line, which says whether the condition is over."""
    return one_line(f"Over: {alert.title}" if over else alert.title)


def kind(alert: Alert, *, over: bool) -> str:
    """Return in one word what an alert is: its severity, or `over`."""
    return "over" if over else alert.severity.value


def subject(alert: Alert, *, over: bool) -> str:
    """Return the line that stands for an alert where only one line fits, such as the subject of a mail."""
    return one_line(f"[gguf-assets] {kind(alert, over=over)}: {alert.title}")


def plain(alert: Alert, *, longest: int = LONGEST_PLAIN) -> str:
    """Return what an alert says below its heading as plain text."""
    parts = [_clean(alert.text)]
    if alert.remedy:
        parts.append(f"What to do: {_clean(alert.remedy)}")
    facts = [f"{name}: {value}" for name, value in facts_of(alert)]
    if facts:
        parts.append("\n".join(facts))
    if alert.url:
        parts.append(one_line(alert.url, 2000))
    return _shortened(mask("\n\n".join(part for part in parts if part)), longest)


def markdown(alert: Alert, *, longest: int = LONGEST_MARKDOWN) -> str:
    """Return what an alert says below its heading as Markdown: no HTML, nobody mentioned."""
    parts = [inert(_clean(alert.text))]
    if alert.remedy:
        parts.append(f"**What to do:** {inert(_clean(alert.remedy))}")
    facts = [f"- **{inert(name)}:** {inert(value)}" for name, value in facts_of(alert)]
    if facts:
        parts.append("\n".join(facts))
    if alert.url:
        parts.append(f"<{inert(one_line(alert.url, 2000))}>")
    return _shortened(mask("\n\n".join(part for part in parts if part)), longest)


def chat(alert: Alert, *, over: bool) -> str:
    """Return a whole alert for chat webhooks: no markup, nobody mentioned."""
    return _shortened(inert(f"{subject(alert, over=over)}\n{plain(alert)}"), LONGEST_CHAT)


def inert(text: str) -> str:
    """Return a text in which neither chats nor Markdown see HTML, links or mentions."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MENTION.sub(_NO_MENTION, escaped)


def state(alert: Alert, *, over: bool) -> str:
    """Return for machines whether a condition is `firing` or `resolved`, or this is a one-off `note`."""
    if over:
        return "resolved"
    return "note" if alert.severity is Severity.SUCCESS else "firing"


def facts_of(alert: Alert) -> list[tuple[str, str]]:
    """Return the masked names and values of the facts, each in one line."""
    facts = list(alert.facts.items())[:_MOST_FACTS]
    return [(one_line(name), one_line(_value(name, value), _LONGEST_FACT)) for name, value in facts]


def _value(name: str, value: str) -> str:
    """Return the masked value of a fact; the name alone may tell that it is a secret."""
    before, shown = f"{name}: ", mask(f"{name}: {value}")
    return shown.removeprefix(before) if shown.startswith(before) else MASK


def _clean(text: str) -> str:
    """Mask a text and take out what is no character to read: escapes, half surrogates, turned directions."""
    return _UNPRINTABLE.sub(" ", mask(text.replace("\r\n", "\n"))).strip()


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"
