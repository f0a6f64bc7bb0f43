"""How the configuration looks on the command line: tables, text, problems. No facts are found here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from gguf_assets.settings.checking import CheckedFile
    from gguf_assets.settings.difference import Change
    from gguf_assets.settings.document import Advice
    from gguf_assets.settings.effective import Effective
    from gguf_assets.settings.environment_variables import Stranger, Variable
    from gguf_assets.settings.inventory import Inventory, ListedFile
    from gguf_assets.settings.preflight import CheckedItem
    from gguf_assets.settings.problems import Problem
    from gguf_assets.settings.reference import KeyFacts

_MARKS = {"ok": "[green]✓[/]", "note": "[yellow]![/]", "problem": "[red]✗[/]"}
_NOT_THERE = "(not there)"


def _console() -> Console:
    return Console(soft_wrap=True, highlight=False)


def say(text: str) -> None:
    """Print a text as it is."""
    _console().print(text, markup=False)


def warn(text: str) -> None:
    """Print a warning, to stderr."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"Warning: {text}", markup=False)


def print_advice(found: Iterable[Advice]) -> None:
    """Print warnings on values that are allowed and probably not meant, to stderr."""
    for advice in found:
        warn(_advised(advice))


def _advised(advice: Advice) -> str:
    return f"{', '.join(advice.keys)}: {advice.text}\n  hint: {advice.hint}"


def problem_block(problem: Problem) -> str:
    """Return a problem as a block: the documented line, then one fact a line."""
    facts = (
        problem.key if problem.value is None else f"{problem.key} = {problem.value}",
        problem.origin and f"in {problem.origin}",
        problem.allowed and f"allowed: {problem.allowed}",
        problem.hint and f"hint: {problem.hint}",
    )
    return "\n".join((f"Error: {problem.headline}", *(f"  {fact}" for fact in facts if fact)))


def print_verdicts(found: Sequence[CheckedFile]) -> None:
    """Print the verdict on each file, below it all problems and warnings: to stdout, for a log."""
    width = max((len(checked.path.name) for checked in found), default=0)
    for checked in found:
        notes = [_count(len(checked.problems), "problem")] if checked.problems else []
        notes += [_count(len(checked.advice), "warning")] if checked.advice else []
        verdict = "valid" if checked.valid else "invalid"
        environment = checked.environment or "(no environment)"
        say(f"{checked.path.name:<{width}}  {verdict:<7}  {environment:<11}  {', '.join(notes)}".rstrip())
        for problem in checked.problems:
            say(problem_block(problem))
        for advice in checked.advice:
            say(f"Warning: {_advised(advice)}")


def verdicts_as_json(found: Sequence[CheckedFile]) -> dict[str, Any]:
    """Return the verdicts on files as plain JSON values."""
    files = [
        {
            "file": str(checked.path),
            "environment": checked.environment,
            "valid": checked.valid,
            "problems": [vars(problem) for problem in checked.problems],
            "warnings": [advice_as_json(advice) for advice in checked.advice],
        }
        for checked in found
    ]
    return {"valid": all(checked.valid for checked in found), "files": files}


def advice_as_json(advice: Advice) -> dict[str, Any]:
    """Return a warning as plain JSON values."""
    return {"keys": list(advice.keys), "text": advice.text, "hint": advice.hint}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def print_changes(changes: Sequence[Change], indent: str = "  ") -> None:
    """Print old and new value of every key that changes."""
    width = max((len(change.key) for change in changes), default=0)
    for change in changes:
        say(f"{indent}{change.key:<{width}}  {_or_not(change.old)} → {_or_not(change.new)}")


def _or_not(value: str | None) -> str:
    return _NOT_THERE if value is None else value


def print_comparison(left: str, right: str, changes: Sequence[Change]) -> None:
    """Print the keys in which two configurations differ, with both values."""
    if not changes:
        say(f"{left} and {right} say the same: no key differs.")
        return
    table = Table(
        "key",
        escape(left),
        escape(right),
        title=f"{_count(len(changes), 'key')} differ{'s' * (len(changes) == 1)}",
    )
    for column in table.columns:
        column.overflow = "fold"
    for change in changes:
        table.add_row(*(escape(text) for text in (change.key, _or_not(change.old), _or_not(change.new))))
    _console().print(table)


def print_effective(effective: Effective, *, origins: bool, changed: bool) -> None:
    """Print the settings of this process as YAML, after what applies and where things lie."""
    for name, value in effective.facts.items():
        say(f"# {name}: {value}")
    rows = [line for line in effective.lines if line.changed or not changed]
    texts = [f"{'  ' * (len(line.path) - 1)}{line.path[-1]}: {line.value}" for line in rows]
    width = min(max(map(len, texts), default=0), 60)
    section: tuple[str, ...] = ()
    for line, text in zip(rows, texts, strict=True):
        if line.path[:-1] != section:
            section = line.path[:-1]
            if section:
                say(f"\n{section[0]}:")
        say(f"{text:<{width}}  # {line.place}" if origins else text)
    if not rows:
        say("# every key has its default")
    print_advice(effective.advice)


def print_variables(found: Sequence[Variable], unknown: Sequence[Stranger]) -> None:
    """Print the environment variables of the product."""
    table = Table("variable", "overrides", "value", title="Environment variables", show_lines=False)
    table.columns[0].no_wrap = True
    table.columns[1].min_width = max(len(variable.key or "") for variable in found)
    table.columns[2].overflow = "fold"
    for variable in found:
        value = "[dim]not set[/]" if variable.value is None else escape(variable.value)
        if variable.state == "overruled":
            value += f"\n[yellow]overruled {escape(variable.note or '')}[/]"
        elif variable.state == "invalid":
            value += f"\n[red]{escape(variable.note or '')}[/]"
        table.add_row(variable.name, variable.key or escape(f"({variable.purpose})"), value)
    _console().print(table)
    say(
        "Any other key can be set as GGUF_SYNC__SECTION__KEY. A variable of its own wins over that one; "
        "where a key has two, the upper one wins; an empty one counts as unset."
    )
    for stranger in unknown:
        warn(f"{stranger.name} is set and {stranger.effect}: {stranger.hint}")


def print_reference(sections: Iterable[tuple[str, str, Sequence[KeyFacts]]]) -> None:
    """Print the reference of all keys as one table a section."""
    for section, text, facts in sections:
        table = Table(
            title=f"{section or 'top level'}: {text}", show_lines=True, title_justify="left", expand=True
        )
        table.add_column("key", overflow="fold", ratio=3)
        table.add_column("what it does", ratio=4)
        table.add_column("values", overflow="fold", ratio=3)
        for fact in facts:
            values = [fact.allowed, f"default {fact.default}"]
            if fact.key.unit is not None:
                values.insert(1, f"in {fact.key.unit}")
            if section or fact.name != "environment":
                values += [f"{name} {value}" for name, value in fact.differing.items()]
            key = fact.key.path[-1]
            named = "".join(f"\n[dim]{name}[/]" for name in fact.key.variables)
            table.add_row(
                f"{key}{named}", escape(f"{fact.description}\n{_effect(fact)}"), escape("\n".join(values))
            )
        _console().print(table)
    say(
        "Each key also has the variable GGUF_SYNC__SECTION__KEY. For an editor: gguf-assets config schema "
        "--format json"
    )


def _effect(fact: KeyFacts) -> str:
    words = {
        "next sync": "takes effect at the next sync",
        "reload": "takes effect when the code location is reloaded",
    }
    return words.get(fact.effect, fact.effect)


def print_preflight(found: Sequence[CheckedItem], environment: str, source: Path) -> None:
    """Print the checklist before a deployment."""
    console = _console()
    say(f"Preflight for {environment}: {source}")
    for item in found:
        console.print(_MARKS[item.state], f"{item.topic}:", end=" ")
        say(item.text)
        if item.remedy:
            say(f"    → {item.remedy}")
    failed = sum(item.state == "problem" for item in found)
    warned = sum(item.state == "note" for item in found)
    verdict = f"Not ready: {_count(failed, 'failure')}" if failed else "Ready"
    say(f"{verdict}, {_count(warned, 'warning')}." if warned else f"{verdict}.")


def print_inventory(found: Inventory) -> None:
    """Print the configuration files that there are, and how the active one came there."""
    say(f"Configuration folder: {found.folder}")
    if found.files:
        table = Table("file", "environment", "mode", "concurrency", "debug", "state")
        table.columns[0].no_wrap = True
        table.columns[0].min_width = max(len(file.name) for file in found.files)
        for file in found.files:
            environment = file.environment or "?"
            if file.deployed_as is not None:
                environment = f"{environment}, deployed as {file.deployed_as}"
            name = f"[bold]{escape(file.name)}[/]" if file.active else escape(file.name)
            cells = (environment, file.mode or "?", file.concurrency or "?", file.debug or "?", _state(file))
            table.add_row(name, *map(escape, cells))
        _console().print(table)
    else:
        say("There is no configuration file yet. Begin with: gguf-assets config create development")
    say(f"In force: {found.in_force}")
    for line in found.active_notes:
        say(line)
    newest = f", the newest {found.newest_backup}" if found.newest_backup else ""
    say(f"Backups: {found.backups}{newest}")
    for text in found.warnings:
        warn(text)
    if any(file.problems or file.warnings for file in found.files):
        say("Problems and warnings in full: gguf-assets config validate")


def _state(file: ListedFile) -> str:
    parts = ["active"] if file.active else []
    parts.append("valid" if file.valid else f"invalid, {_count(file.problems, 'problem')}")
    if file.warnings:
        parts.append(_count(file.warnings, "warning"))
    return ", ".join(parts)


def json_text(content: Any) -> str:
    """Return JSON to be read by people and editors."""
    return json.dumps(content, indent=2, ensure_ascii=False)
