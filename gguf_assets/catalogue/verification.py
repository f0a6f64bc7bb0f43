"""Whose turn it is to be asked again: models whose details are known, in rotation over the whole catalogue.

The turn goes by `hub_id` and begins after the last one of the day before, so it comes round to everybody
whoever joins or leaves, and nobody's popularity counts. The same rows and the same start give the same
choice. What does not belong here: asking, and comparing the answers (`quality/verification_rules`).
"""

from __future__ import annotations

from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from gguf_assets.catalogue.targets import TARGETS

KNOWN_FACTS = ("hub_id", "model_id", "sha", "details_sha", "gated")
"""Columns of the baseline's `models` that the choice needs."""

FILE_COLUMNS = ("hub_id", "path", "role", "size_bytes", "shard_set", "shard_index")
"""Columns of the baseline's `files` that the choice of files needs."""

HEAD_TARGETS = pa.schema([*TARGETS, ("path", pa.string())])

_SPARE = 4
"""Models looked at for every file wanted: not each has a file whose beginning is a header."""


def known_models(heads: pa.Table, known: pa.Table, *, walked_all: bool) -> pa.Table:
    """Return the models whose details are known at their present sha.

    Args:
        heads: hub_id, model_id and sha of the models that the walk listed.
        known: the columns `KNOWN_FACTS` of the baseline's models.
        walked_all: whether the walk was one over all models; after another one, models that were not listed
            are where the baseline has them.

    Returns:
        Columns hub_id, model_id (of today), sha and gated (of the baseline), in the baseline's order.
    """
    known = known.combine_chunks()
    stand = pc.fill_null(pc.equal(known["details_sha"], known["sha"]), False)
    known = known.filter(stand)
    heads = heads.combine_chunks()
    rows = pc.index_in(known["hub_id"], value_set=heads["hub_id"].combine_chunks()).combine_chunks()
    listed = pc.is_valid(rows)
    same = pc.fill_null(
        pc.equal(heads["sha"].combine_chunks().take(rows), known["sha"].combine_chunks()), False
    )
    wanted = same if walked_all else pc.or_(same, pc.invert(listed))
    names = pc.coalesce(heads["model_id"].combine_chunks().take(rows), known["model_id"].combine_chunks())
    columns = [known["hub_id"], names, known["sha"], known["gated"]]
    return pa.table(columns, names=["hub_id", "model_id", "sha", "gated"]).filter(wanted)


def models_to_verify(models: pa.Table, after: str | None, limit: int) -> pa.Table:
    """Return whose turn it is.

    Args:
        models: what `known_models` says.
        after: identity after which the turn begins; None for the first of all.
        limit: most models.

    Returns:
        Schema `TARGETS`, in the order of asking: by `hub_id` from `after` on, then from the beginning; each
        model once.
    """
    ids = models["hub_id"].combine_chunks()
    later = pc.greater(ids, after) if after is not None else pa.repeat(pa.scalar(True), len(ids))
    first = _lowest(models.filter(later), limit)
    rest = _lowest(models.filter(pc.invert(later)), limit - first.num_rows)
    return pa.concat_tables([first, rest]).select(TARGETS.names).cast(TARGETS)


def models_to_look_into(models: pa.Table, after: str | None, limit: int) -> pa.Table:
    """Return the models among which so many files can be found, as `models_to_verify`; gated ones are not."""
    free = pc.fill_null(pc.equal(models["gated"], "no"), False)
    return models_to_verify(models.filter(free), after, _SPARE * limit)


def files_to_look_into(targets: pa.Table, files: pa.Table, day: date, limit: int) -> pa.Table:
    """Return the files whose headers are read: one of each model, another one on another day.

    Args:
        targets: the models in their turn, schema `TARGETS`.
        files: the columns `FILE_COLUMNS` of their files.
        day: the day.
        limit: most files.

    Returns:
        Schema `HEAD_TARGETS`: whole files and first shards with the role of a model, in the models' order.
    """
    whole = pc.and_(pc.is_null(files["shard_set"]), pc.ends_with(files["path"], ".gguf"))
    begins = pc.or_(whole, pc.fill_null(pc.equal(files["shard_index"], 1), False))
    sized = pc.fill_null(pc.greater(files["size_bytes"], 0), False)
    found = files.filter(pc.and_(pc.and_(pc.equal(files["role"], "model"), sized), begins))
    found = found.sort_by([("hub_id", "ascending"), ("path", "ascending")])
    paths: dict[str, list[str]] = {}
    for hub_id, path in zip(found["hub_id"].to_pylist(), found["path"].to_pylist(), strict=True):
        paths.setdefault(hub_id, []).append(path)
    chosen = [row for row in targets.to_pylist() if row["hub_id"] in paths][:limit]
    for row in chosen:
        own = paths[row["hub_id"]]
        row["path"] = own[day.toordinal() % len(own)]
    return pa.Table.from_pylist(chosen, schema=HEAD_TARGETS)


def _lowest(models: pa.Table, count: int) -> pa.Table:
    """Return the rows with the lowest identities, in their order."""
    if count <= 0 or models.num_rows == 0:
        return models.slice(0, 0)
    order = pc.select_k_unstable(models, k=min(count, models.num_rows), sort_keys=[("hub_id", "ascending")])
    return models.take(order)
