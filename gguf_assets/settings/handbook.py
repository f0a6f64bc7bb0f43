"""The handbook of the configuration, `docs/configuration.md`: how it works, then every variable and key.

What belongs here: the tables in the prose of `handbook.md`, made from the schema. What does not: the facts in
them (`reference`, `environment_variables`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import resources

from gguf_assets.settings.environment_variables import variables
from gguf_assets.settings.model import ENVIRONMENTS
from gguf_assets.settings.reference import KeyFacts, by_section, reference


def handbook() -> str:
    """Return the text of `docs/configuration.md`."""
    prose = (resources.files("gguf_assets.settings") / "handbook.md").read_text(encoding="utf-8")
    parts = {"environments": ", ".join(ENVIRONMENTS), "variables": _variables(), "keys": _keys()}
    for name, text in parts.items():
        prose = prose.replace(f"{{{name}}}", text)
    return prose


def _variables() -> str:
    rows = (
        (f"`{variable.name}`", variable.key and f"`{variable.key}`", variable.purpose)
        for variable in variables({})
    )
    return _table(("variable", "sets", "meaning"), rows)


def _keys() -> str:
    head = ("key", "allowed", "default", *ENVIRONMENTS, "takes effect", "meaning")
    return "\n\n".join(
        f"### {section or 'Top level'}\n\n{text}\n\n{_table(head, map(_cells, facts))}"
        for section, text, facts in by_section(reference())
    )


def _cells(fact: KeyFacts) -> tuple[str, ...]:
    allowed = fact.allowed if fact.key.unit is None else f"{fact.allowed} ({fact.key.unit})"
    values = [fact.profiles[name] if name in fact.differing else "=" for name in ENVIRONMENTS]
    return (f"`{fact.key.path[-1]}`", allowed, fact.default, *values, fact.effect, fact.description)


def _table(head: Sequence[str], rows: Iterable[Sequence[str | None]]) -> str:
    return "\n".join(map(_row, (head, ["---"] * len(head), *rows)))


def _row(cells: Sequence[str | None]) -> str:
    texts = (" ".join((cell or "").replace("|", "\\|").split()) for cell in cells)
    return f"| {' | '.join(texts)} |"
