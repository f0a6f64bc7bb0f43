"""What the tags of a model say: licence, languages, base models and the relation to them.

Tags are the only place of a listing that carries these, so they are read here for every row, column-wise.
Source of the forms: the Hub's tags `license:<id>`, bare ISO 639 codes, `base_model:<repo>` and
`base_model:<relation>:<repo>`.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# A plain list: the first `pa.array` of a process imports pandas, and reading definitions must not.
_LANGUAGES = (
    "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da "
    "de dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz "
    "ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln "
    "lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi "
    "pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti "
    "tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu ceb fil yue multilingual "
).split()
_RELATIONS = ("quantized", "finetune", "adapter", "merge")
_RELATION = f"^(?P<relation>{'|'.join(_RELATIONS)}):"


def tag_columns(tags: pa.ListArray) -> dict[str, pa.Array]:
    """Return `license`, `languages`, `base_models` and `base_relation` for every row of tags.

    Args:
        tags: list<string> of n rows; a null row is unknown and gives nulls.

    Returns:
        Four arrays of n rows. A model that states several licences or relations keeps its first.
    """
    count = len(tags)
    known = pc.is_valid(tags)
    flat, parents = pc.list_flatten(tags), pc.list_parent_indices(tags)

    def chosen(mask: pa.Array) -> tuple[pa.Array, np.ndarray]:
        return flat.filter(mask), parents.filter(mask).to_numpy(zero_copy_only=False)

    licences, licence_rows = chosen(_beyond(flat, "license:"))
    languages, language_rows = chosen(pc.is_in(flat, value_set=pa.array(_LANGUAGES)))
    bases, base_rows = chosen(_beyond(flat, "base_model:", *_RELATIONS))
    bases = pc.utf8_slice_codeunits(bases, len("base_model:"))
    relations = pc.struct_field(pc.extract_regex(bases, _RELATION), "relation")
    stated = pc.is_valid(relations)
    targets, target_rows = _distinct(pc.replace_substring_regex(bases, _RELATION, ""), base_rows)
    return {
        "license": _first(pc.utf8_slice_codeunits(licences, len("license:")), licence_rows, count),
        "languages": _lists(languages, language_rows, count, known),
        "base_models": _lists(targets, target_rows, count, known),
        "base_relation": _first(
            relations.filter(stated), base_rows[stated.to_numpy(zero_copy_only=False)], count
        ),
    }


def _beyond(tags: pa.Array, prefix: str, *qualifiers: str) -> pa.Array:
    """Return which tags begin with the prefix and say something after it and its qualifiers."""
    empty = pa.array([prefix, *(f"{prefix}{qualifier}:" for qualifier in qualifiers)])
    return pc.and_not(pc.starts_with(tags, prefix), pc.is_in(tags, value_set=empty))


def _first(values: pa.Array, rows: np.ndarray, count: int) -> pa.Array:
    """Spread values over `count` rows, the first of each row; rows without one are null."""
    found, positions = np.unique(rows, return_index=True)
    index = np.full(count, -1, dtype=np.int64)
    index[found] = positions
    return values.take(pa.array(index, mask=index < 0))


def _lists(values: pa.Array, rows: np.ndarray, count: int, known: pa.Array) -> pa.ListArray:
    """Gather values, ordered by row, into one list a row; unknown rows are null, others may be empty."""
    offsets = np.searchsorted(rows, np.arange(count + 1)).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets), values.cast(pa.string()), mask=pc.invert(known) if count else None
    )


def _distinct(values: pa.Array, rows: np.ndarray) -> tuple[pa.Array, np.ndarray]:
    """Drop repeated values within a row, keeping the first of each."""
    if len(values) == 0:
        return values, rows
    encoded = pc.dictionary_encode(values)
    keys = rows * np.int64(len(encoded.dictionary)) + encoded.indices.to_numpy(zero_copy_only=False)
    _, positions = np.unique(keys, return_index=True)
    positions.sort()
    return values.take(pa.array(positions)), rows[positions]
