"""What a quantization label promises in bits per weight, and whether a size keeps the promise.

What belongs here: expected bits, the parameter count stated in a name, and the comparison with a size. What
does not: reading labels (`quantization.py`). Bits are those of whole files, embeddings included: medians over
published single-file dense models of 3 billion parameters and more, filled up from llama.cpp's block sizes.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_BITS = {
    "F32": 32.1, "F16": 16.3, "BF16": 16.2, "FP8": 8.3, "INT8": 8.7, "INT4": 4.8,
    "Q8": 8.7, "Q8_0": 8.71, "Q8_1": 9.2, "Q8_K": 8.7, "Q8_K_XL": 10.1, "Q8_KV": 8.5, "I8_S": 8.3,
    "Q6": 6.73, "Q6_0": 6.7, "Q6_K": 6.73, "Q6_K_XL": 7.4, "IQ6_K": 6.8,
    "Q5": 5.8, "Q5_0": 5.68, "Q5_1": 6.27, "Q5_K": 5.85, "Q5_K_S": 5.72, "Q5_K_M": 5.85, "Q5_K_L": 5.94,
    "IQ5_K": 5.75, "IQ5_KS": 5.5,
    "Q4": 4.85, "Q4_0": 4.75, "Q4_1": 5.25, "Q4_K": 4.9, "Q4_K_S": 4.80, "Q4_K_M": 4.99, "Q4_K_L": 5.11,
    "IQ4_XXS": 4.3, "IQ4_XS": 4.59, "IQ4_NL": 4.79, "IQ4_K": 4.8, "IQ4_KS": 4.55, "IQ4_KSS": 4.3,
    "IQ4_KT": 4.3, "MXFP4": 4.7, "NVFP4": 4.9,
    "Q3": 4.0, "Q3_K": 4.0, "Q3_K_XS": 3.55, "Q3_K_S": 3.77, "Q3_K_M": 4.15, "Q3_K_L": 4.48, "Q3_K_XL": 4.6,
    "IQ3_XXS": 3.38, "IQ3_XS": 3.62, "IQ3_S": 3.82, "IQ3_M": 3.93, "IQ3_K": 3.75, "IQ3_KS": 3.5,
    "IQ3_KL": 4.2, "IQ3_KT": 3.4,
    "Q2": 3.34, "Q2_0": 2.4, "Q2_K": 3.34, "Q2_K_XS": 3.0, "Q2_K_S": 3.13, "Q2_K_L": 3.4, "Q2_M": 3.1,
    "IQ2_XXS": 2.48, "IQ2_XS": 2.71, "IQ2_S": 2.86, "IQ2_M": 3.05, "IQ2_K": 2.7, "IQ2_KS": 2.5, "IQ2_KL": 3.0,
    "IQ2_KT": 2.45,
    "IQ1_S": 2.1, "IQ1_M": 2.25, "IQ1_KT": 2.1, "Q1_0": 1.4,
    "TQ1_0": 2.0, "TQ2_0": 2.4, "I2_S": 2.4, "IQ1_BN": 2.0, "IQ2_BN": 2.4,
}  # fmt: skip

_VARIANT = re.compile(r"_(?:R\d+|XXS|XS|S|M|L|XL|XXL|H|MOE|4_4|4_8|8_8)\Z")
"""What may follow a label without changing its width by much."""

_SMALL_MODEL = 3_000_000_000
_TINY_MODEL = 500_000_000
"""Below these, embeddings kept at higher precision, and types that fall back to wider ones, dominate."""


def nominal_bits(label: str) -> float | None:
    """Return the bits per weight that files of a label have, or None for labels of no fixed width.

    Args:
        label: a canonical label, e.g. `UD-Q4_K_XL`; mixed and vendor labels have no fixed width.
    """
    plain = label.removeprefix("UD-")
    while plain not in _BITS:
        variant = _VARIANT.search(plain)
        if variant is None:
            return None
        plain = plain[: variant.start()]
    return _BITS[plain]


def label_fits_size(label: str | None, size_bytes: int | None, parameter_count: int | None) -> bool | None:
    """Say whether a file can be what its label says; None when anything needed is unknown.

    Only what cannot be explained contradicts: names round parameter counts, mixtures of experts share
    weights, vision towers lie in files of their own, and the embeddings of small models are wide.

    Args:
        label: canonical label.
        size_bytes: bytes of the whole file or shard set.
        parameter_count: parameters, e.g. from `stated_parameters`.
    """
    bits = nominal_bits(label) if label else None
    if bits is None or size_bytes is None or not parameter_count or parameter_count < 0:
        return None
    actual = 8 * size_bytes / parameter_count
    if parameter_count >= _SMALL_MODEL:
        return 0.72 * bits <= actual <= 1.4 * bits + 0.75
    return 0.6 * bits <= actual <= max(1.65 * bits, 11 if parameter_count >= _TINY_MODEL else 14)


_COUNT = re.compile(
    r"""(?<![a-z0-9.])
        (?: (?P<experts>\d{1,3}) x )? (?P<number> [01]_\d | \d{1,4} (?: \.\d{1,4} )? ) (?P<unit>[bm])
        (?![a-z0-9])""",
    re.IGNORECASE | re.ASCII | re.VERBOSE,
)
_EFFECTIVE = re.compile(r"(?<![a-z0-9])E([24])B(?![a-z0-9])", re.IGNORECASE | re.ASCII)
_ACTIVE_ONLY = re.compile(r"(?<![a-z0-9.])\d{1,3}E(?![a-z0-9])", re.IGNORECASE | re.ASCII)
_EFFECTIVE_SIZES = {2: 4_460_000_000, 4: 6_870_000_000}
"""Weights of the models that are named after their effective size."""

_EXPERT_SHARE = 5 / 6
"""Part of `8x7B` that such a model holds: the experts share the attention (Mixtral: 46.7 of 56)."""

_SMALLEST_EXPERT = 1.0
"""Billions of parameters of an expert below which embeddings, held once, outweigh what is shared."""

_FEWEST_MILLIONS = 10
"""Fewer millions are context lengths (`7B-1M`)."""


def stated_parameters(name: str) -> int | None:
    """Return the one parameter count that a repository or file name states.

    `8B`, `1.5b`, `1_5b` and `270M` are counts; `8x7B` is the total of a mixture, of `30B-A3B` the total
    counts; `E2B` and `E4B` stand for what those models hold. None when the name states no count, counts that
    differ, active parameters only (`17B-16E`), or experts of less than a billion (`256x135M`).
    """
    if _ACTIVE_ONLY.search(name):
        return None
    counts = {_EFFECTIVE_SIZES[int(match[1])] for match in _EFFECTIVE.finditer(name)}
    for match in _COUNT.finditer(name):
        number = float(match["number"].replace("_", "."))
        if match["unit"] in "mM":
            if number < _FEWEST_MILLIONS:
                continue
            number /= 1000
        if match["experts"]:
            if number < _SMALLEST_EXPERT:
                return None
            number *= int(match["experts"]) * _EXPERT_SHARE
        counts.add(round(number * 1e9))
    return counts.pop() or None if len(counts) == 1 else None


_OWN_BITS = "gpt-oss"
"""The architecture whose experts are stored in MXFP4 whatever the label of a file says."""


def keeps_own_bits(models: pa.Table | pa.RecordBatch) -> npt.NDArray[np.bool_]:
    """Return for which models sizes say nothing about labels: gpt-oss, and what was made of it.

    By the header, or where that is unknown by the names of the model and its bases.

    Args:
        models: n rows with model_id, base_models and architecture.
    """
    names, bases, header = (_array(models[name]) for name in ("model_id", "base_models", "architecture"))
    by_name = np.array(pc.match_substring(names, _OWN_BITS, ignore_case=True))
    of_it = pc.match_substring(pc.list_flatten(bases), _OWN_BITS, ignore_case=True)
    by_name[np.asarray(pc.list_parent_indices(bases).filter(of_it))] = True
    stated = np.asarray(pc.fill_null(pc.equal(header, _OWN_BITS), False))
    return np.where(np.asarray(pc.is_valid(header)), stated, by_name)


def _array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
