"""The files a quantizer uploads: which labels, under which names, in how many shards, with what beside them.

Paths, sizes and checksums follow from the recipe alone, so a repository costs nothing until its files are
asked for. What does not belong here: who uploads what and when (`generate.py`).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from gguf_assets.demo.state import HubFile, made_file

# Thousandths of a bit per weight, as measured on real files where the field notes have them.
MILLIBITS = {
    "IQ1_S": 2000, "IQ1_M": 2150, "IQ2_XXS": 2380, "IQ2_XS": 2590, "IQ2_S": 2740, "IQ2_M": 2930,
    "Q2_K_S": 3160, "Q2_K": 3340, "IQ3_XXS": 3250, "IQ3_XS": 3500, "IQ3_S": 3660, "IQ3_M": 3760,
    "Q3_K_S": 3770, "Q3_K_M": 4150, "Q3_K_L": 4480, "IQ4_XS": 4590, "IQ4_NL": 4790, "Q4_0": 4750,
    "Q4_1": 5230, "Q4_K_S": 4800, "Q4_K_M": 4990, "Q4_K_L": 5180, "Q5_0": 5700, "Q5_1": 6180,
    "Q5_K_S": 5710, "Q5_K_M": 5850, "Q5_K_L": 6040, "Q6_K": 6730, "Q6_K_L": 6900, "Q8_0": 8710,
    "f16": 16390, "bf16": 16380, "UD-Q2_K_XL": 3480, "UD-Q3_K_XL": 4280,
    "UD-Q4_K_XL": 5030, "UD-Q5_K_XL": 5900, "UD-Q6_K_XL": 7200, "UD-Q8_K_XL": 10400, "UD-IQ1_S": 2080,
    "UD-IQ1_M": 2230, "UD-IQ2_XXS": 2480, "UD-IQ2_M": 3000, "UD-IQ3_XXS": 3320,
}  # fmt: skip
STATIC = tuple("Q2_K Q3_K_S Q3_K_M Q3_K_L IQ4_XS Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K Q8_0 f16".split())
IMATRIX = tuple(
    "IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_S IQ2_M Q2_K_S Q2_K IQ3_XXS IQ3_XS Q3_K_S IQ3_S IQ3_M Q3_K_M Q3_K_L "
    "IQ4_XS IQ4_NL Q4_0 Q4_K_S Q4_K_M Q4_1 Q5_K_S Q5_K_M Q6_K".split()
)
CURATED = tuple(
    "IQ2_XS IQ2_S IQ2_M Q2_K IQ3_XXS IQ3_XS IQ3_M Q3_K_S Q3_K_M Q3_K_L IQ4_XS IQ4_NL Q4_0 Q4_1 Q4_K_S "
    "Q4_K_M Q4_K_L Q5_K_S Q5_K_M Q5_K_L Q6_K Q6_K_L Q8_0 bf16".split()
)
DYNAMIC = tuple(
    "UD-IQ1_S UD-IQ1_M UD-IQ2_XXS UD-IQ2_M UD-Q2_K_XL UD-IQ3_XXS UD-Q3_K_XL UD-Q4_K_XL UD-Q5_K_XL "
    "UD-Q6_K_XL UD-Q8_K_XL Q2_K Q3_K_S Q3_K_M IQ4_XS IQ4_NL Q4_0 Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K Q8_0 "
    "bf16".split()
)

SHARD_BYTES = 45_000_000_000
TENSOR_SHARDS = 1_148
MAIN_EXTRAS = (".gitattributes", "README.md")
TRANSFORMERS_EXTRAS = (
    "config.json", "generation_config.json", "model.safetensors.index.json", "special_tokens_map.json",
    "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "LICENSE", "chat_template.jinja",
    "assets/banner.png", "assets/evaluation.svg", "Modelfile", "params",
)  # fmt: skip


@dataclass(frozen=True)
class Style:
    """How one kind of uploader names and chooses files; `{stem}` and `{label}` are filled in."""

    suffix: str
    pattern: str
    labels: tuple[str, ...]
    imatrix: str | None = None
    extras: tuple[str, ...] = MAIN_EXTRAS
    lower: bool = False
    folders: bool = False


STYLES: dict[str, Style] = {
    "static": Style("-GGUF", "{stem}.{label}.gguf", STATIC),
    "imatrix": Style("-i1-GGUF", "{stem}.i1-{label}.gguf", IMATRIX, "imatrix.dat"),
    "curated": Style("-GGUF", "{stem}-{label}.gguf", CURATED, "{stem}.imatrix"),
    "dynamic": Style("-GGUF", "{stem}-{label}.gguf", DYNAMIC, "imatrix_{stem}.gguf", folders=True),
    "few": Style(
        "-gguf", "{stem}_{label}.gguf", ("Q4_K_M", "Q5_K_M", "Q8_0"), extras=(*MAIN_EXTRAS, "config.json")
    ),
    "single": Style("-Q4_K_M-GGUF", "{stem}-{label}.gguf", ("Q4_K_M",), lower=True),
    "personal": Style("", "{stem}.gguf", ("f16",), extras=(*MAIN_EXTRAS, *TRANSFORMERS_EXTRAS)),
    "tensors": Style("-THREAD-SPLIT", "{stem}-SPECIAL_TENSOR", ("Q8_0",)),
    "placeholder": Style("-GGUF-soon", "", ()),
}


@dataclass(frozen=True)
class Recipe:
    """The files of a generated repository: a `FileSet` that is worked out when asked.

    `origin` names the upload and so the contents: equal paths of different origins are different bytes.
    """

    origin: str
    stem: str
    parameters: int
    style: str
    vision: bool = False

    def paths(self) -> Sequence[str]:
        """See `FileSet`."""
        return [path for path, _, _ in self._entries()]

    def files(self) -> Sequence[HubFile]:
        """See `FileSet`."""
        return self._files

    @cached_property
    def _files(self) -> tuple[HubFile, ...]:
        return tuple(
            made_file(path, size, f"{self.origin}/{path}", lfs=lfs) for path, size, lfs in self._entries()
        )

    def _entries(self) -> Iterator[tuple[str, int, bool]]:
        """Yield (path, bytes, whether LFS) of every file."""
        style = STYLES[self.style]
        stem = self.stem.lower() if style.lower else self.stem
        salt = zlib.crc32(self.stem.encode())
        for position, path in enumerate(style.extras):
            large = path == "tokenizer.json"
            yield (
                path,
                (7_000_000 if large else 700) + (salt >> position) % 4_000,
                large or path.endswith(".png"),
            )
        if self.style == "tensors":
            yield from self._tensors(stem, salt)
            return
        if style.imatrix is not None:
            # One float a column of every matrix: grows with the square root of the model.
            size = 4_096 + 50 * int(self.parameters**0.5) + salt % 1_000
            yield style.imatrix.format(stem=stem), size, True
        if self.vision:
            yield f"mmproj-{stem}-f16.gguf", 851_251_104 + salt % 512 * 32, True
        for label in style.labels:
            size = self.parameters * MILLIBITS[label] // 8_000 // 32 * 32 + salt % 3_000 * 32
            name = style.pattern.format(stem=stem, label=label.lower() if style.lower else label)
            if size <= SHARD_BYTES:
                yield name, size, True
                continue
            folder = f"{label}/" if style.folders else ""
            shards = -(-size // SHARD_BYTES)
            for number in range(1, shards + 1):
                part = size // shards + (size % shards if number == shards else 0)
                yield f"{folder}{name[:-5]}-{number:05d}-of-{shards:05d}.gguf", part, True

    def _tensors(self, stem: str, salt: int) -> Iterator[tuple[str, int, bool]]:
        """One tensor a shard, as some uploaders do to mix quantizations freely."""
        each = self.parameters // TENSOR_SHARDS // 32 * 32
        for number in range(1, TENSOR_SHARDS + 1):
            path = f"{stem}-SPECIAL_TENSOR-{number:05d}-of-{TENSOR_SHARDS:05d}.gguf"
            yield path, each + (salt + number) % 512 * 32, True
