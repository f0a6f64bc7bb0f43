"""Whose details to ask for, and in which order: new and changed models first, popular ones before others.

Details at an equal sha are facts (rule 3), so a model is asked about once per commit, in every mode. One that
goes back to an earlier commit is asked again: the baseline holds details of no commit but its own.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

TARGETS = pa.schema([("hub_id", pa.string()), ("model_id", pa.string()), ("sha", pa.string())])
KNOWN = ("hub_id", "sha", "details_sha", "gguf_files")
"""Columns of the baseline's `models` that say what is known already."""


def detail_targets(heads: pa.Table, known: pa.Table | None) -> pa.Table:
    """Return the models whose details are not known at their present sha, in the order of asking.

    Args:
        heads: hub_id, model_id, sha, downloads of every model of today.
        known: the columns `KNOWN` of the baseline's models, None on the first day.

    Returns:
        Schema `TARGETS`: new models, changed shas and models whose files nobody has named yet first, then
        those left over from earlier days; more downloads first within each, then hub_id.
    """
    shas = heads["sha"].combine_chunks()
    if known is None:
        left_over = done = pa.repeat(pa.scalar(False), heads.num_rows)
    else:
        rows = pc.index_in(heads["hub_id"], value_set=known["hub_id"].combine_chunks()).combine_chunks()
        had, detailed, files = (known[name].combine_chunks().take(rows) for name in KNOWN[1:])
        same = pc.fill_null(pc.equal(had, shas), False)
        done = pc.and_(same, pc.fill_null(pc.equal(detailed, shas), False))
        left_over = pc.and_(same, pc.is_valid(files))
    wanted = heads.append_column("left_over", left_over.cast(pa.int8()))
    wanted = wanted.filter(pc.and_not(pc.is_valid(shas), done))
    order = pc.sort_indices(
        wanted,
        sort_keys=[("left_over", "ascending"), ("downloads", "descending"), ("hub_id", "ascending")],
    )
    return wanted.take(order).select(TARGETS.names)
