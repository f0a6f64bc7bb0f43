"""`docs/validation.md`: every rule with severity, meaning, reason and reference, from the declarations.

Here: the wording around the tables. Not here: the rules (`rules`, `reading_rules`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gguf_assets.catalogue.fixes import FIXES
from gguf_assets.quality.findings import GROUPS, Group, Rule
from gguf_assets.quality.markdown import table
from gguf_assets.quality.reading_rules import READING_RULES
from gguf_assets.quality.rules import RULES

_ABOUT = """\
# Validation

Generated from the rules in `gguf_assets/quality/` by `make docs`; do not edit by hand.

Every day is judged before it is published. What is found are rows of the dataset `issues`: model, path,
rule, severity, value and message. `gguf-assets rules` lists the rules and which of them are on.

- An **error** keeps the day from being published: the candidate stays under `data/candidate`, what was
  published stays as it is. Errors of the group `reading` are about single rows of an answer, which are set
  aside and lower the completeness instead.
- A **warning** or **info** never blocks. At most 1,000 findings of a rule with the same message become rows
  of `issues`; the counts are exact, and one further row says how many were not listed.
- A rule that is switched off (`validation.disabled_rules`), or lacks what it needs (a day before, answers
  that were asked for again, headers that were read), reads *skipped*; one that the time budget
  (`validation.validation_timeout_seconds`) did not reach reads *not checked*, and such a day is not
  published. Neither is ever counted as passed. Rules marked *always* cannot be switched off: without them a
  day would not hold together, or a value could not be stored.
- In the Dagster UI each group is one check of `validation_report`, with the first failing rows as a table.

## What is mended

Where a value of the Hub's answer has exactly one right reading, it is mended and used; each repair is a
finding of its own rule in the group `reading`, with the value before in `value` and after in `fixed_to`,
both as `field=JSON`. So every repair can be undone from `issues` alone, and the capture keeps what the Hub
sent. `validation.enable_automatic_fixes: false` switches all of it off: such values are then taken as
unknown, and an identity that is not usable sets its row aside.

## Files

Sizes and SHA-256 come from the metadata of repositories; no file is touched, since the Hub counts that as a
download. At an equal commit they are facts, so each is asked for once. To notice what nobody would, a sync
asks again for up to `validation.file_verification_requests` models whose details are known, going round the
whole catalogue day by day, with what the detail requests of the run leave over; a disagreement is a finding
of `file_facts_confirmed`.

With `validation.header_sample` above 0 a sync also reads the headers of so many files by one range request
each (256 KiB at most). Each counts as a download on the Hub, so it is off by default. What a header says of
architecture and quantization is compared with the listing and the name.
"""


def rules_document() -> str:
    """Return `docs/validation.md`."""
    rules = [*RULES.values(), *READING_RULES.values()]
    sections = (_section(group, [r for r in rules if r.group == group]) for group in GROUPS)
    return _ABOUT + "".join(line + "\n" for section in sections for line in section)


def _section(group: Group, rules: Iterable[Rule]) -> Iterator[str]:
    yield ""
    yield f"## {group}: {GROUPS[group]}"
    yield ""
    rows = [(f"`{r.name}`", r.severity, r.what, r.reason, r.reference, _applied(r)) for r in rules]
    yield from table(["rule", "severity", "what must hold", "why", "reference", "applied"], rows)


def _applied(rule: Rule) -> str:
    if rule.name in FIXES:
        return "unless `enable_automatic_fixes` is off"
    return "can be switched off" if rule.switchable else "always"


if __name__ == "__main__":
    import sys

    sys.stdout.write(rules_document())
