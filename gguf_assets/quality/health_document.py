"""`docs/health.md`, written from the declared checks, limits and weights: `make docs`.

What belongs here: the words around the declarations. What does not: the checks (`health_checks`) and the
formulas (`health`, `catalogue_health`).
"""

from __future__ import annotations

from collections.abc import Iterator

from gguf_assets.catalogue.schema import GRADES
from gguf_assets.quality.catalogue_health import GREEN_FROM, YELLOW_FROM
from gguf_assets.quality.file_facts import SMALLEST_GGUF
from gguf_assets.quality.health import GRADE_FROM, explain

_WHAT = """\
# Health

Generated from `gguf_assets/quality/` by `make docs`; do not edit by hand.

Each model of a day has a score from 0 to 10 in the dataset `health`. It says how well a repository is looked
after as a place to fetch a GGUF model from: is it there and open, is there something whole to run, can a
download be verified, and is it stated what it is, what it was made of and under which licence. The form is
that of OpenSSF Scorecard: single checks, each with a reason and a weight, and a sum that anybody can redo.

## Score of a model

    score = sum(check x weight) / sum(weight), over the checks whose facts are known, rounded to 2 digits

Each check gives 0 to 10, shares rounded down, so that 10 means that nothing is wanting. Half a hundredth is
rounded up. A check whose facts are not known is left out of both sums and named in `unknown`; it neither
helps nor harms. A model of which no check is known has no score. On the day a model is first seen its file
details may not be fetched yet: then the checks of sizes, labels and checksums are unknown, and the score
rests on the others.
"""

_CHECKS = f"""\
## Checks

The number before each reason is what it scores. Weights are the defaults.
Models that run are files with role `model` or `draft`, adapters are those with role `lora` or
`control_vector`; a file below {SMALLEST_GGUF} bytes cannot hold a GGUF header and one tensor.
"""

_WEIGHTS = """\
## Weights

Every weight is a setting of its own, `quality_scoring.weight_<check>`, a whole number from 0 to 100; 0 leaves
the check out: it is then neither in `checks` nor in `unknown`. The weights used stand beside each check in
the rows, and in the manifest of the day. Other weights count from the next derivation on; published days keep
theirs until `gguf-assets rederive` makes them anew.
"""

_CATALOGUE = f"""\
## Health of the catalogue

    mean = sum of the scores / number of scored models, rounded to 3 digits

The median is exact: the middle score, or the mean of the two in the middle. Every model counts once, however
often it is downloaded.

| status | mean |
| --- | --- |
| green | from {GREEN_FROM:g} |
| yellow | from {YELLOW_FROM:g} |
| red | below |
| unknown | no model is scored, or `validation.enable_quality_scoring` is off |

With mean, median and status the manifest of a day (`figures.health`) holds how many models have each grade
and each whole score, and for every check the mean, how many models it is known for, how many of those have
full marks, and its weight. The asset `health_scores` shows the same figures in the UI, with the least healthy
models, what each lacks and what its owner can do.

## What the score does not say

- Nothing about how good a model is at its task, and nothing about how safe it is to run: no file is opened.
- Nothing about popularity: downloads, likes and trending are not looked at.
- Nothing about age: some models are finished.
- Labels are compared with sizes through the number of parameters that a header or the repository's name
  states. A name that states another number than the model has costs the model points it deserves.
- An unfinished upload looks like a broken one until it is finished.
- The score stops nothing: a day is published whatever its health.
"""


def health_document() -> str:
    """Return `docs/health.md`."""
    return "\n".join([_WHAT, *_grades(), _CHECKS, explain(), _WEIGHTS, _CATALOGUE])


def _grades() -> Iterator[str]:
    yield "| grade | score |"
    yield "| --- | --- |"
    for grade, limit in zip(GRADES, GRADE_FROM, strict=False):
        yield f"| {grade} | from {limit:g} |"
    yield f"| {GRADES[-1]} | below |\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(health_document())
