"""What the path of a file says: whether it is GGUF-related, its role, its shard set and its quantization.

What belongs here: taking one path apart. What does not: the spelling of labels (`quantization.py`), whole
columns of paths (`paths_table.py`), and anything that needs a size or the content of a file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gguf_assets.catalogue.quantization import canonical_label, read_label

_TEXT = re.IGNORECASE | re.ASCII | re.DOTALL


@dataclass(frozen=True, slots=True)
class PathFacts:
    """What a path says; every field is None, empty or False where it says nothing.

    Attributes:
        related: whether the file is GGUF-related; where it is not, the other fields say nothing.
        role: one of `schema.ROLES`.
        quantization: canonical label, e.g. `Q4_K_M`.
        quantization_source: `file name` or `folder`.
        imatrix: True when the name or a folder says that an importance matrix was used.
        shard_set: the path with the shard number left out: equal for the shards of one set.
        shard_index: the number of the shard as written (letters count from 1).
        shard_count: the number of shards the name announces.
        flags: `mixed` (several types glued, no clear body), `part` (a piece, to be concatenated).
    """

    related: bool = False
    role: str = "other"
    quantization: str | None = None
    quantization_source: str | None = None
    imatrix: bool | None = None
    shard_set: str | None = None
    shard_index: int | None = None
    shard_count: int | None = None
    flags: tuple[str, ...] = ()


UNRELATED = PathFacts()


@dataclass(frozen=True, slots=True)
class _Name:
    """A base name without extension and shard number; `cut` is where in the base name the number stood."""

    stem: str
    companion: bool = False
    part: bool = False
    cut: tuple[int, int] | None = None
    index: int | None = None
    count: int | None = None


_EXTENSION = re.compile(r"(.*)\.gguf([^a-z0-9].*)?\Z", _TEXT)
_WHOLE = re.compile(
    r"_file | \?download=true | [ _-]?\(\d+\) | \.(?:bak|old|orig|backup)", _TEXT | re.VERBOSE
)
_UNFINISHED = re.compile(r"\.(?:tmp|part|partial|incomplete|crdownload|download)", _TEXT)
_PIECE = re.compile(
    r"""[-._] (?: (?:split|part|piece|chunk) [-._]? (?P<index>\d{1,5}|[a-z]{1,2}|\?)
                  (?: [-._]? of [-._]? (?P<count>\d{1,5}) )?
                | (?P<bare>\d{2,5}|a[a-z]) )""",
    _TEXT | re.VERBOSE,
)
_SHARD = re.compile(r"(?P<cut>[-_.](?P<index>\d{1,6}))[-_]of[-_](?P<count>\d{1,6})\Z", _TEXT)
_PART_OF = re.compile(r"[-._]part[-._]?(?P<cut>(?P<index>\d{1,5}))[-._]?of[-._]?(?P<count>\d{1,5})\Z", _TEXT)
_HAND_MADE = re.compile(r"[-._]Q[458]_0(?P<cut>(?P<index>[1-9]))\Z", _TEXT)
_NUMBERED = re.compile(
    r"(?<![a-z0-9])(?:I?Q[1-8](?:_[0-9a-z]{1,3}){0,3}|B?FP?(?:16|32)|MXFP4)(?P<cut>-(?P<index>\d{5}))\Z",
    _TEXT,
)

_IMATRIX_FILE = re.compile(
    r"(?:.*\.imatrix | (?=.*(?<![a-z])imat(?:rix)?(?![a-z])).*\.dat)(?:\.at_\d+)?\Z", _TEXT | re.VERBOSE
)
_LOST_EXTENSION = re.compile(r"(?:.*[^a-z])?gguf[-_.](?P<label>[a-z0-9_]+)\Z", _TEXT)


def describe(path: str) -> PathFacts:
    """Say what the path of a file inside its repository tells.

    Args:
        path: the path as listed, with `/` between folders; any text is accepted.
    """
    base_start = path.rfind("/") + 1
    base = path[base_start:]
    if _IMATRIX_FILE.match(base):
        return PathFacts(related=True, role="imatrix")
    name = _take_apart(base)
    if name is None:
        return UNRELATED
    if name.companion:
        return PathFacts(related=True)
    folders = path[:base_start].split("/")[:-1]

    label = read_label(name.stem)
    source = "file name"
    if _is_imatrix(name.stem, label.text if label else None):
        role, label, imatrix = "imatrix", None, None
    else:
        role = _role(name.stem, folders, label.text if label else None)
        if label is None:
            source = "folder"
            labels = (read_label(folder, at_the_edge=True) for folder in reversed(folders))
            label = next((found for found in labels if found is not None), None)
        if role in ("vocab", "control_vector"):
            label = None
        imatrix = True if _IMATRIX_WORD.search(path) else None
    flags = (("mixed",) if label and label.mixed else ()) + (("part",) if name.part else ())
    return PathFacts(
        related=True,
        role=role,
        quantization=label.text if label else None,
        quantization_source=source if label else None,
        imatrix=imatrix,
        shard_set=path[: base_start + name.cut[0]] + path[base_start + name.cut[1] :] if name.cut else None,
        shard_index=name.index,
        shard_count=name.count,
        flags=flags,
    )


def _take_apart(base: str) -> _Name | None:
    """Separate extension, shard and piece numbers from the stem; None when the file is not GGUF-related."""
    match = _EXTENSION.match(base)
    if match is None:
        # An upload that lost its extension (`…-GGUF_F16`): believed only with a label in its place.
        lost = _LOST_EXTENSION.match(base)
        return _take_stem(base) if lost is not None and canonical_label(lost["label"]) else None
    stem, tail = match[1], match[2]
    if not tail or _WHOLE.fullmatch(tail):
        return _take_stem(stem)
    if _UNFINISHED.fullmatch(tail):
        return _Name(stem, part=True)
    piece = _PIECE.fullmatch(tail)
    if piece is None:
        return _Name(stem, companion=True)
    group = "index" if piece["index"] is not None else "bare"
    start = match.start(2)
    cut = (start + piece.start(group), start + piece.end(group))
    return _Name(stem, part=True, cut=cut, index=_number(piece[group]), count=_count(piece["count"]))


def _take_stem(stem: str) -> _Name:
    for pattern in (_PART_OF, _SHARD, _HAND_MADE, _NUMBERED):
        match = pattern.search(stem)
        if match is not None:
            count = _count(match.groupdict().get("count"))
            if pattern is _SHARD and count is None:
                break
            rest = stem[: match.start() if pattern in (_SHARD, _PART_OF) else match.start("cut")]
            return _Name(
                rest,
                part=pattern is not _SHARD,
                cut=match.span("cut"),
                index=int(match["index"]),
                count=count,
            )
    return _Name(stem)


def _number(text: str) -> int | None:
    """Number a piece: digits as written, letters from 1 (`a` = `aa` = 1)."""
    if text.isdecimal():
        return int(text)
    letters = [ord(letter) - ord("a") for letter in text.lower() if letter != "?"]
    return sum(value * 26**place for place, value in enumerate(reversed(letters))) + 1 if letters else None


def _count(text: str | None) -> int | None:
    return (int(text) or None) if text else None


_IMATRIX_WORD = re.compile(r"(?<![a-z0-9])(?<!no[-_])(?<!non[-_])(?:i1|d?imat(?:rix)?\d*)(?![a-z0-9])", _TEXT)
_IMATRIX_FIRST = re.compile(r"imatrix(?![a-z])", _TEXT)
_IMATRIX_LAST = re.compile(
    r"(?P<dot>\.)? (?<![a-z]) imatrix (?: [-_. ](?:unsloth|data|dat|file|gguf|v?\d{1,8}) ){0,3} \Z",
    _TEXT | re.VERBOSE,
)
_HIGH_PRECISION = frozenset({None, "F32", "F16", "BF16", "Q8_0"})
"""What importance matrices are computed from: `X-Q8_0-imatrix` is a matrix, `X-Q4_K_M-imatrix` a model."""


def _is_imatrix(stem: str, label: str | None) -> bool:
    if _IMATRIX_FIRST.match(stem):
        return label in _HIGH_PRECISION
    match = _IMATRIX_LAST.search(stem)
    return match is not None and (match["dot"] is not None or label in _HIGH_PRECISION)


_MMPROJ = re.compile(
    r"""mm[-_]?proj
      | (?<![a-z]) (?:vision|audio|image|multi-?modal) [-_]? (?:projector|encoder|tower) (?![a-z])
      | vl [^/]{0,60} [-_.] vision \Z""",
    _TEXT | re.VERBOSE,
)
_VOCAB = re.compile(r"ggml-vocab-.* | (?:.*[-_.])?vocab(?:[-_.]only)?", _TEXT | re.VERBOSE)
_CONTROL = re.compile(
    r"""(?<![a-z]) (?: control[-_.\ ]?vectors? | c_?vec(?:tor)?s? | steering[-_.\ ]?vectors? ) (?![a-z])
      | [-:_] (?: (?:language|storytelling|character_focus|outlook|[a-z]{1,30}_vs_[a-z]{1,30}) __ [a-z]+
                | [a-z]+ __ debias ) \Z""",
    _TEXT | re.VERBOSE,
)
_ADAPTER = re.compile(
    r"(?: (?<![a-z]) | (?<=\d[bm]) ) (?: q?loras? | adapters? ) (?![a-z])", _TEXT | re.VERBOSE
)
_MERGED = re.compile(r"merged? | fused", _TEXT | re.VERBOSE)
_DRAFT = re.compile(
    r"""(?: mtp | nextn ) [-_.]
      | .* (?<![a-z]) (?: draft(?:er)? | d(?:flash|spark) | eagle[-_]?3 | speculator
                        | (?:mtp|eagle|medusa|nextn)[-_](?:head|layer|draft|only|module)s? ) (?![a-z.]) """,
    _TEXT | re.VERBOSE,
)
_FOLDER_ROLES = {
    "mmproj": "mmproj",
    "draft": "draft",
    "drafter": "draft",
    "mtp": "draft",
    "dflash": "draft",
    "eagle3": "draft",
    "control_vectors": "control_vector",
    "control-vectors": "control_vector",
}


def _role(stem: str, folders: list[str], label: str | None) -> str:
    if _MMPROJ.search(stem):
        return "mmproj"
    if label is None and _VOCAB.fullmatch(stem):
        return "vocab"
    if label is None and _CONTROL.search(stem):
        return "control_vector"
    if _is_adapter(stem, label):
        return "lora"
    if _DRAFT.match(stem):
        return "draft"
    return next(
        (_FOLDER_ROLES[name] for name in map(str.lower, reversed(folders)) if name in _FOLDER_ROLES), "model"
    )


_STORED_AS = re.compile(r"(?P<separator>[-_.]?)(?:bf16|fp?16|fp?32|q8_0)\Z", _TEXT)


def _is_adapter(stem: str, label: str | None) -> bool:
    """Tell an adapter from a model that was made with one: adapters are stored as floats and say so last."""
    words = list(_ADAPTER.finditer(stem))
    if not words or _MERGED.search(stem):
        return False
    if label is None:
        return True
    end = _STORED_AS.search(stem)
    if end is None:
        return False
    last = words[-1].end() == end.start()
    if label == "Q8_0":
        return last and words[-1][0].lower().startswith("adapter")
    # `name.f16` is how whole models are published; adapters so named carry the word right before it.
    return last or end["separator"] != "."
