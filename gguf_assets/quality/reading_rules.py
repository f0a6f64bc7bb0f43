"""The rules that `catalogue/` applies while it reads the Hub's answers, for whoever shows its findings.

A value that is not what the Hub promises becomes null, a row without identity is set aside, and some values
are mended; each is a finding in `issues`. None of them can be switched off: without them the value could not
be stored. None blocks publishing by itself: what was set aside lowers completeness, which is what blocks.
Here: the declarations. Not here: how answers are read (`catalogue/`: `row_reader`, `details` and others).
"""

from __future__ import annotations

from gguf_assets.catalogue.fixes import FIXES
from gguf_assets.quality.findings import Rule, Severity

_API = "https://huggingface.co/docs/hub/api: GET /api/models"


def _reading(name: str, severity: Severity, what: str, reason: str, reference: str = _API) -> Rule:
    return Rule(name, severity, what, reason, "reading", reference, switchable=False)


READING_RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        _reading(
            "row_not_an_object",
            "error",
            "A row of the listing is a JSON object.",
            "Anything else names no repository; the row is set aside and counts against completeness.",
        ),
        _reading(
            "hub_id_invalid",
            "error",
            "A row has an `_id` of 24 hexadecimal digits.",
            "Without identity a row cannot be followed from day to day; it is set aside.",
        ),
        _reading(
            "model_id_invalid",
            "error",
            "A row has an `id` that the Hub allows as the name of a repository.",
            "Names become addresses and folders; a row with another one is set aside.",
            "huggingface_hub: validate_repo_id",
        ),
        _reading(
            "unsafe_path",
            "warning",
            "A path stays inside its repository: not absolute, no drive, no `..` part, no NUL.",
            "Readers join paths to folders of their own; such a file is left out.",
            "https://cwe.mitre.org/data/definitions/22.html",
        ),
        _reading(
            "details_unusable",
            "warning",
            "An answer about a repository is about the repository and commit asked for, and lists its files.",
            "Sizes and checksums of something else are worse than none; the details stay unknown.",
        ),
        _reading(
            "size_missing",
            "warning",
            "An answer about a repository states the size of every file.",
            "Whoever plans a download needs it; sums that lack it stay unknown. One finding a repository.",
        ),
        _reading(
            "wrong_type",
            "warning",
            "A value is of the type that its field has.",
            "A value of another type has no certain reading; it is taken as unknown.",
        ),
        _reading(
            "malformed",
            "warning",
            "Times, commits and checksums are written as such.",
            "A text that is none says nothing; it is taken as unknown.",
        ),
        _reading(
            "out_of_range",
            "warning",
            "Counters, sizes and times are possible ones.",
            "Negative or absurdly large values would spoil every sum; they are taken as unknown.",
        ),
        _reading(
            "listed_twice",
            "warning",
            "A walk lists a repository once.",
            "A listing that changes while it is walked repeats rows; the first one counts.",
        ),
        *(
            _reading(fix.name, "info", f"Mended: {fix.what}.", fix.reason, fix.reference)
            for fix in FIXES.values()
        ),
    )
}
"""All rules of reading by name, gravest first; a fix comes under its own name."""
