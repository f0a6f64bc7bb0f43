"""Reading a quantization label out of a name: how labels are spelled, and which of several is the real one.

What belongs here: the spellings and the rules of precedence, on one name without extension and shard number.
What does not: taking a path apart (`paths.py`) and what a label means in bits (`quantization_bits.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_SIZE = "XXS|XS|S|M|L|XL|XXL"

_LABEL = rf"""
    (?: (?P<ud>UD)[-_] )?
    (?:
        (?P<vendor>  Q[1-8]_[HM]A | HQ[1-8]_K (?: _(?:{_SIZE}) )? | Q8_KV )
      | IQ(?P<i>[1-6]) [_-]? (?P<i_type>XXS|XS|NL|KSS|KS|KT|KL|BN|K|S|M)
            (?: _(?P<i_size>{_SIZE}) )? (?P<i_rows>_R\d{{1,2}})?
      | Q(?P<k>[1-8]) (?: _?K (?: _?(?P<k_size>{_SIZE}|H) )? | -K (?: -(?P<k_size_2>{_SIZE}) )? )
            (?P<k_rows>_R\d{{1,2}})?
      | Q4_0_(?P<arm>4_4|4_8|8_8)
      | Q(?P<q>[1-8]) _ (?P<q_type>[01]) (?: _(?P<q_size>{_SIZE}) )? (?P<q_rows>_R\d{{1,2}})?
      | Q(?P<h>[1-8]) - (?P<h_type>[01]) (?!\.\d)
      | Q(?P<n>[2-6]) _? (?P<n_type>XXS|XS|NL)
      | Q(?P<s>[2-8]) _ (?P<s_size>S|M|L|XL)
      | (?P<mxfp4>MXFP4) (?: [_-]? (?P<moe>MOE)\d? )? (?: _(?P<mxfp4_size>H) )?
      | (?P<as_is>NVFP4 | I[28]_S)
      | TQ(?P<t>[12]) (?:_0)?
      | (?P<bf16>BF16|BFLOAT16)
      | (?:FP|FLOAT|F)(?P<f>16|32)
      | (?P<pair>Q[2-8]Q[2-8])
      | Q(?P<c>[458])(?P<c_type>[01])
      | (?P<weak>Q[2-8] | INT[48] | FP8)
    )
"""

_IGNORE = re.IGNORECASE | re.ASCII | re.VERBOSE
_BOUNDED = re.compile(rf"(?<![A-Z0-9]) {_LABEL} (?: (?![A-Z0-9]) | (?=GGUF) )", _IGNORE)

# Labels grown into a word. Only unmistakable forms count: a capital after a small letter, a digit or "gguf".
_GLUED = re.compile(
    r"""
    (?: (?<=[a-z0-9]) | (?<=GGUF) | (?<![A-Za-z0-9]) )
    (?:
        (?P<full> I?Q[1-8]_(?: K(?:_(?:XXS|XS|S|M|L|XL|XXL))? | XXS | XS | NL | S | M | [01] ) )
            (?![A-Za-z0-9])
      | (?P<lower> q[2-8]_k(?:_[sml])? ) (?![A-Za-z0-9])
      | (?P<float> (?: BF | bf | FP | Fp | fp | F ) (?:16|32) ) $
      | (?P<camel> Q[2-8](?: K[SML]? | [01] ) ) (?= $ | [-_.] | G[Gg][Uu][Ff] | [A-Z][a-z] )
    )
  | (?<=GGUF) (?P<bare> Q[2-8] ) $
    """,
    re.ASCII | re.VERBOSE,
)

# Words that may follow a label without making it a part of the model's own name.
_TAIL = re.compile(
    r"""(?: [-_.\ ()\[\]]+
            (?: gguf | ggml | imat(?:rix)? | i1 | p | v?\d+ | final | fixed | new | old | latest | updated
              | test | pure | merged | mixed | quant | quantized )
        )* [-_.\ ()\[\]]* \Z""",
    _IGNORE,
)

TENSORS = "attn|attention|output|out|embd|embed|embedding|embeddings|tok|token|ffn|exp|exps|shexp|shexps|head"
"""Names of tensors (pattern): a label behind one (`-embd-Q8_0`) is that tensor's, not the file's."""

_TENSOR = re.compile(rf"(?<![A-Z])(?:{TENSORS})[-_.]\Z", _IGNORE)
_LONGEST_TENSOR = len("-embeddings-")

_FLOATS = frozenset({"F16", "BF16", "F32"})
_OUTER_TYPES = _FLOATS | {"Q8"}
"""Types given to embeddings and output while the body has another: what follows the body's label."""


@dataclass(frozen=True, slots=True)
class Label:
    """A quantization label in canonical spelling.

    Attributes:
        text: upper case, e.g. `Q4_K_M`, `UD-IQ2_XXS`, `BF16_Q8_0`; FP16 and F16 are both `F16`.
        mixed: several types glued together, none of them clearly the body's.
    """

    text: str
    mixed: bool = False


def read_label(name: str, *, at_the_edge: bool = False) -> Label | None:
    """Find the quantization label in a file or folder name.

    Args:
        name: the name without extension, shard number and piece number.
        at_the_edge: accept only a label that begins or ends the name (for folders, whose names say
            more about the model than about the file).

    Returns:
        The label, or None when the name carries no known one; never a guess.
    """
    # A bare `Q3`, `INT4` or `Q80` in mid-name is a word of the model's name.
    found = [m for m in _BOUNDED.finditer(name) if (m["weak"] or m["c"]) is None or _ends(name, m)]
    if not found:
        return None if at_the_edge else _read_glued(name)
    if at_the_edge and not _ends(name, found[-1]):
        first = found[0]
        return Label(_canonical(first)) if first.start() == 0 and first["weak"] is None else None
    return _choose(name, found)


def canonical_label(spelling: str) -> str | None:
    """Return the canonical spelling of one full label (`q4_k_m` to `Q4_K_M`), or None when it is not one."""
    match = _BOUNDED.fullmatch(spelling)
    if match is None or (match["weak"] or match["c"] or match["pair"]) is not None:
        return None
    return _canonical(match)


def _ends(name: str, match: re.Match[str]) -> bool:
    return _TAIL.match(name, match.end()) is not None


def _is_of_a_tensor(name: str, match: re.Match[str]) -> bool:
    return _TENSOR.search(name[max(0, match.start() - _LONGEST_TENSOR) : match.start()]) is not None


def _choose(name: str, found: list[re.Match[str]]) -> Label:
    """Pick among several labels: the last one, but a compound as a whole and a body before its outer type."""
    of_the_file = [match for match in found if not _is_of_a_tensor(name, match)]
    if of_the_file and _canonical(of_the_file[-1]) not in _FLOATS:
        found = of_the_file
    last = found[-1]
    text = _canonical(last)
    if last["pair"] is not None:
        return Label(text, mixed=True)
    if len(found) == 1:
        return Label(text)
    before = found[-2]
    separator = name[before.end() : last.start()]
    if separator == "_":
        return _compound(name, found)
    body = _canonical(before)
    if separator == "-" and text in _OUTER_TYPES and body not in _FLOATS:
        return Label(body)
    return Label(text)


def _compound(name: str, found: list[re.Match[str]]) -> Label:
    """Join labels glued by underscores, if they make up a word of their own in a name of other separators."""
    first = len(found) - 1
    while first > 0 and name[found[first - 1].end() : found[first].start()] == "_":
        first -= 1
    start = found[first].start()
    if start > 0 and name[start - 1] == "_":
        return Label(_canonical(found[-1]))
    parts = list(dict.fromkeys(_canonical(match) for match in found[first:]))
    return Label("_".join(parts), mixed=len(parts) > 1)


def _read_glued(name: str) -> Label | None:
    match = None
    for match in _GLUED.finditer(name):  # noqa: B007  the last one is wanted
        pass
    if match is None:
        return None
    bounded = _BOUNDED.match(match[match.lastgroup or 0])
    return None if bounded is None else Label(_canonical(bounded))


def _canonical(match: re.Match[str]) -> str:
    return _canonical_spelling(match[0])


@lru_cache(maxsize=4096)
def _canonical_spelling(spelling: str) -> str:
    """Spell a label as the field does: upper case, parts joined by underscores, synonyms made one."""
    match = _BOUNDED.fullmatch(spelling)
    part = {key: value.upper() for key, value in match.groupdict().items() if value} if match else {}
    return ("UD-" if "ud" in part else "") + _canonical_type(part)


def _canonical_type(part: dict[str, str]) -> str:
    def sized(text: str, *keys: str) -> str:
        rows = "".join(part.get(key, "") for key in ("i_rows", "k_rows", "q_rows"))
        return text + "".join(f"_{part[key]}" for key in keys if key in part) + rows

    for key in ("vendor", "as_is", "pair", "weak", "bf16"):
        if key in part:
            return "BF16" if key == "bf16" else part[key]
    if "i" in part:
        return sized(f"IQ{part['i']}_{part['i_type']}", "i_size")
    if "k" in part:
        return sized(f"Q{part['k']}_K", "k_size", "k_size_2")
    if "arm" in part:
        return f"Q4_0_{part['arm']}"
    if "q" in part:
        return sized(f"Q{part['q']}_{part['q_type']}", "q_size")
    if "n" in part:
        return f"IQ{part['n']}_{part['n_type']}"
    if "s" in part:
        return f"Q{part['s']}_{part['s_size']}"
    if "mxfp4" in part:
        return sized("MXFP4", "moe", "mxfp4_size")
    if "t" in part:
        return f"TQ{part['t']}_0"
    if "f" in part:
        return f"F{part['f']}"
    bits, kind = (part["h"], part["h_type"]) if "h" in part else (part["c"], part["c_type"])
    return f"Q{bits}_{kind}"
