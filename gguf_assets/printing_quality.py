"""How rules look on the command line. No facts are found here."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from gguf_assets.orchestration.rule_switches import ListedRule

_SEVERITIES = {"error": "red", "warning": "yellow", "info": "blue"}


def print_rules(listed: Sequence[ListedRule]) -> None:
    """Print a table of rules for each group, and what the words in it mean."""
    console = Console(highlight=False)
    for group, members in groupby(listed, key=lambda entry: entry.rule.group):
        table = Table(title=f"Rules: {group}", title_justify="left", show_lines=True, expand=True)
        for column, ratio in (("rule", 4), ("severity", 2), ("is", 3), ("what must hold, why, by what", 9)):
            table.add_column(column, overflow="fold", ratio=ratio)
        for entry in members:
            rule = entry.rule
            state = entry.state if entry.why is None else f"{entry.state}: {entry.why}"
            about = escape(f"{rule.what}\n{rule.reason}\n{rule.reference}")
            severity = f"[{_SEVERITIES[rule.severity]}]{rule.severity}[/]"
            table.add_row(escape(rule.name), severity, escape(state), about)
        console.print(table)
    console.print(
        "A broken rule of severity error keeps the day from being published; in the group reading it sets "
        "the row or value aside.\n"
        "Switch one off: gguf-assets config show validation.disabled_rules says where; rules that are always "
        "on hold a day together.",
        markup=False,
        soft_wrap=True,
    )
