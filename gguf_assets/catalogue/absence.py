"""Absent is not removed (rule 4): whom to ask after, and what the Hub's answers prove.

Pure. What does not belong here: asking (`hub/absences`), and what becomes of the verdicts (`merge`, `delta`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue.findings import Finding
from gguf_assets.catalogue.fixes import FIXES, IDENTITY, mended
from gguf_assets.catalogue.parse import LISTED, parse_listing_page, says_gguf
from gguf_assets.jsontext import parse_json

DELETED = "deleted or private"
NO_LONGER_GGUF = "no longer gguf"
LED_ELSEWHERE = "its name leads to another repository"

BASELINE_COLUMNS = ("hub_id", "model_id", "observed_at", "downloads")
"""Columns of the baseline's `models` that say who is absent and whom to ask after first."""


class AbsenceAnswer(Protocol):
    """The Hub's answer about one model, asked for by name."""

    @property
    def hub_id(self) -> str:
        """Identity of the model."""

    @property
    def model_id(self) -> str:
        """Name it was asked for by."""

    @property
    def status(self) -> int:
        """HTTP status."""

    @property
    def info(self) -> bytes | None:
        """Raw JSON of the model info, with status 200."""


@dataclass(frozen=True)
class Absences:
    """What the answers prove.

    Attributes:
        gone: evidence by `hub_id` of the models that are not there any more.
        there: rows of models that the listing lacks and that are there, schema `LISTED`.
        findings: what could not be read in those rows.
    """

    gone: dict[str, str] = field(default_factory=dict)
    there: pa.Table = field(default_factory=LISTED.empty_table)
    findings: tuple[Finding, ...] = ()


def absent_models(baseline: pa.Table, listed_ids: pa.Array, listed_names: pa.Array) -> pa.Table:
    """Return the baseline's models to be asked after: first the one seen longest ago, then by popularity.

    Args:
        baseline: columns `BASELINE_COLUMNS` of the baseline's models.
        listed_ids: identities of all models that the walk or another route saw.
        listed_names: their names; who has lost its name to one of them is gone without asking (rule 2).

    Returns:
        Columns hub_id and model_id.
    """
    gone = pc.is_in(pc.utf8_lower(baseline["model_id"]), value_set=pc.unique(pc.utf8_lower(listed_names)))
    seen = pc.is_in(baseline["hub_id"], value_set=listed_ids)
    absent = baseline.filter(pc.invert(pc.or_(seen, gone)))
    keys = [("observed_at", "ascending"), ("downloads", "descending"), ("hub_id", "ascending")]
    return absent.take(pc.sort_indices(absent, sort_keys=keys)).select(["hub_id", "model_id"])


def judge_absences(
    answers: Iterable[AbsenceAnswer], *, trusted: bool, anonymous: bool, fix: bool = False
) -> Absences:
    """Say what answers prove.

    Args:
        answers: the Hub's answers.
        trusted: whether listed repositories, asked for in between, all answered; otherwise nothing proves
            that a model is gone.
        anonymous: whether no token was sent: only then does a 401 say "not there" (with one it says that the
            token was not accepted).
        fix: whether values are mended as `parse_listing_page` does it.
    """
    not_there = {404, 401} if anonymous else {404}
    gone: dict[str, str] = {}
    infos: dict[str, bytes] = {}
    for answer in answers:
        if answer.status == 200 and answer.info is not None:
            infos[answer.hub_id] = answer.info
        elif answer.status in not_there and trusted:
            gone[answer.hub_id] = DELETED
    if not infos:
        return Absences(gone)
    page = parse_listing_page("asked by name", b"[" + b",".join(infos.values()) + b"]", fix=fix)
    strange = {finding.hub_id for finding in page.findings if finding.rule not in FIXES}
    rows = page.models.filter(says_gguf(page.models))
    there = set(rows["hub_id"].to_pylist())
    for hub_id, info in infos.items():
        if not trusted or hub_id in there:
            continue
        identity = _identity(info, fix=fix)
        if identity == hub_id and hub_id not in strange:
            gone[hub_id] = NO_LONGER_GGUF
        elif identity is not None and identity != hub_id:
            gone[hub_id] = LED_ELSEWHERE
    wanted = rows.filter(pc.is_in(rows["hub_id"], value_set=pa.array(list(infos), pa.string())))
    return Absences(gone, wanted, page.findings)


def _identity(info: bytes, *, fix: bool) -> str | None:
    """Return the `_id` of a model info, whatever else is in it; None where that cannot be read."""
    value = parse_json(info)
    identity = value.get("_id") if isinstance(value, dict) else None
    if fix:
        identity, _ = mended("_id", identity, IDENTITY)
    return identity if isinstance(identity, str) else None
