"""Which rules the settings in force switch off, and by which key.

Here: the way from keys to rules. Not here: how a rule that is off looks (`rule_checks`, `printing_quality`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gguf_assets.catalogue.fixes import FIXES
from gguf_assets.quality.file_rules import VERIFIED
from gguf_assets.quality.findings import GROUPS, Rule
from gguf_assets.quality.reading_rules import READING_RULES
from gguf_assets.quality.rules import RULES
from gguf_assets.quality.schema_rule import SCHEMA
from gguf_assets.quality.verification_rules import FILE_FACTS_CONFIRMED, OF_HEADERS
from gguf_assets.settings.quality_sections import Validation


def switched_off(validation: Validation) -> dict[str, str]:
    """Return the rules that somebody switched off: rule to the words that say by which key."""
    off: dict[str, str] = {}
    for name in validation.disabled_rules:
        off[name] = "switched off by validation.disabled_rules"
    if not validation.enable_schema_validation:
        off[SCHEMA.name] = "switched off by validation.enable_schema_validation"
    if not validation.enable_file_verification:
        verified = (rule.name for rule in (*VERIFIED, FILE_FACTS_CONFIRMED))
        off |= dict.fromkeys(verified, "switched off by validation.enable_file_verification")
    if not validation.enable_automatic_fixes:
        off |= dict.fromkeys(FIXES, "switched off by validation.enable_automatic_fixes")
    return off


def without_evidence(validation: Validation) -> dict[str, str]:
    """Return the rules for which syncs gather nothing to look at: rule to the words that say why."""
    without = {}
    if not validation.file_verification_requests:
        without[FILE_FACTS_CONFIRMED.name] = "validation.file_verification_requests is 0"
    if not validation.header_sample:
        without |= dict.fromkeys((rule.name for rule in OF_HEADERS), "validation.header_sample is 0")
    return without


@dataclass(frozen=True)
class ListedRule:
    """A rule under the settings in force.

    Attributes:
        rule: the rule.
        state: `on`, `off`, or `always` for one that cannot be switched off.
        why: by which key it is off; None where it is not.
    """

    rule: Rule
    state: Literal["on", "off", "always"]
    why: str | None

    def as_json(self) -> dict[str, str | None]:
        """Return the rule as plain JSON values."""
        rule = self.rule
        return {
            "group": rule.group,
            "name": rule.name,
            "severity": rule.severity,
            "state": self.state,
            "why": self.why,
            "what": rule.what,
            "reason": rule.reason,
            "reference": rule.reference,
        }


def listed_rules(validation: Validation) -> list[ListedRule]:
    """Return all rules, group by group, gravest first in each, with what the settings make of them."""
    off = without_evidence(validation) | switched_off(validation)
    order = {group: place for place, group in enumerate(GROUPS)}
    rules = sorted((*RULES.values(), *READING_RULES.values()), key=lambda rule: order[rule.group])
    return [
        ListedRule(
            rule,
            "off" if rule.name in off else "on" if rule.switchable or rule.name in FIXES else "always",
            off.get(rule.name),
        )
        for rule in rules
    ]
