"""Fuzzing of what strangers' bytes and names reach first, outside CI.

`python -m gguf_assets_tests.fuzzing header|names [--seconds 300]` throws bytes, steered by coverage, at the
GGUF header reader or at the reader of file names, until the time is up or something breaks. It needs atheris,
which is no dependency of the project. What always runs: the hypothesis tests of the same properties.
"""

from __future__ import annotations

import argparse
import importlib
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

INSTALL = (
    "atheris is not installed. Make an environment of your own for it:\n"
    "  python3.11 -m venv /tmp/fuzzing && /tmp/fuzzing/bin/pip install atheris hypothesis -e .\n"
    "  /tmp/fuzzing/bin/python -m gguf_assets_tests.fuzzing header --seconds 300"
)
LONGEST_STEP = 2.0
"""Seconds of processor time that one input may take; inputs are at most 64 KiB."""

_MOST_BYTES = 65_536


def fuzz_header(data: bytes) -> None:
    """The reader of headers answers every input with a header or with `HeaderError`."""
    from gguf_assets.hub.gguf_header import GgufHeader, HeaderError, read_header

    size = len(data) if not data or data[-1] % 2 else 10**10
    try:
        header = read_header(data, size)
    except HeaderError as error:
        assert 0 < len(error.reason) <= 200, error.reason
        return
    assert isinstance(header, GgufHeader)
    assert header.truncated is False or size > len(data)
    for text in (header.architecture, header.size_label):
        assert text is None or (0 < len(text) <= 100 and text.isprintable())


def fuzz_names(data: bytes) -> None:
    """The readers of names answer every path with facts that fit into the dataset, and both with the same."""
    from gguf_assets.catalogue.paths import describe
    from gguf_assets.catalogue.quantization import canonical_label, read_label
    from gguf_assets.catalogue.quantization_bits import nominal_bits, stated_parameters
    from gguf_assets.catalogue.schema import ROLES
    from gguf_assets.quality.verification_rules import label_family

    path = data.decode("utf-8", "replace")
    facts = describe(path)
    assert facts.role in ROLES
    assert facts.related or facts.quantization is None
    assert (facts.quantization is None) == (facts.quantization_source is None)
    found = read_label(path)
    for label in (facts.quantization, canonical_label(path), None if found is None else found.text):
        if label is None:
            continue
        assert label.isascii() and label == label.upper() and len(label) < 40, label
        nominal_bits(label)
        label_family(label)
    stated_parameters(path)
    _together.append(path)
    if len(_together) >= _COLUMN:
        compare_columns(_together)
        _together.clear()


_COLUMN = 256
_together: list[str] = []
"""Paths to be described in columns, which costs the same for one as for many."""


def compare_columns(paths: Sequence[str]) -> None:
    """Whole columns are described as each path is alone."""
    import pyarrow as pa

    from gguf_assets.catalogue.paths import describe
    from gguf_assets.catalogue.paths_table import describe_paths

    for path, row in zip(paths, describe_paths(pa.array(paths, pa.string())).to_pylist(), strict=True):
        facts = describe(path)
        alone = {name: getattr(facts, name) for name in row}
        assert row == alone | {"flags": list(facts.flags)}, f"{path!r}: {row} in a column, alone {alone}"


TARGETS: dict[str, Callable[[bytes], None]] = {"header": fuzz_header, "names": fuzz_names}

_INSTRUMENTED = {
    "header": ["gguf_assets.hub.gguf_header"],
    "names": [
        "gguf_assets.catalogue.paths",
        "gguf_assets.catalogue.paths_table",
        "gguf_assets.catalogue.quantization",
        "gguf_assets.catalogue.quantization_bits",
    ],
}


def seeds(target: str) -> list[bytes]:
    """Inputs to begin with."""
    if target == "header":
        from gguf_assets_tests.gguf_files import model_header

        sound = model_header().to_bytes()
        return [sound, sound[:60], model_header(order=">").to_bytes(), model_header(version=2).to_bytes()]
    return [
        path.encode()
        for path in (
            "model-Q4_K_M-00001-of-00003.gguf",
            "UD-IQ2_XXS/x.i1-UD-IQ2_XXS.gguf",
            "mmproj-F16.gguf",
            "x.Q8_0.gguf.part1of2",
            "imatrix.dat",
            "ü/bf16_q8_0.GGUF",
        )
    ]


class Counted:
    """A target that counts its inputs and times the slowest."""

    def __init__(self, target: Callable[[bytes], None]) -> None:
        self._target = target
        self.inputs = 0
        self.slowest = 0.0

    def __call__(self, data: bytes) -> None:
        began = time.process_time()
        self._target(data)
        took = time.process_time() - began
        self.inputs += 1
        self.slowest = max(self.slowest, took)
        if took > LONGEST_STEP:
            raise AssertionError(f"an input of {len(data):,} bytes took {took:.1f} s")


def main(arguments: Sequence[str]) -> int:
    """Fuzz one target; ends with the process, whose code is not 0 where something broke."""
    parser = argparse.ArgumentParser(prog="python -m gguf_assets_tests.fuzzing", description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=int, default=300)
    chosen = parser.parse_args(arguments)
    try:
        atheris: Any = importlib.import_module("atheris")
    except ImportError:
        print(INSTALL, file=sys.stderr)
        return 2
    with atheris.instrument_imports(include=_INSTRUMENTED[chosen.target]):
        for module in _INSTRUMENTED[chosen.target]:
            importlib.import_module(module)
    target = Counted(TARGETS[chosen.target])
    for seed in seeds(chosen.target):
        target(seed)
    _fuzz(atheris, chosen.target, target, chosen.seconds)
    return 0


def _fuzz(atheris: Any, name: str, target: Counted, seconds: int) -> None:
    """Fuzz until the time is up, which ends the process; what breaks the target is left in a folder."""
    folder = Path(tempfile.mkdtemp(prefix="gguf-assets-fuzzing-"))
    for number, seed in enumerate(seeds(name)):
        (folder / f"seed-{number}").write_bytes(seed)
    end = time.monotonic() + seconds

    def step(data: bytes) -> None:
        target(data)
        if time.monotonic() >= end:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"{name}: {target.inputs:,} inputs in {seconds} s, nothing broke; slowest "
                f"{target.slowest * 1000:.1f} ms, peak memory of the process {peak:,.0f} MB",
                flush=True,
            )
            shutil.rmtree(folder)
            os._exit(0)  # atheris takes every other end for a crash

    options = [f"-max_len={_MOST_BYTES}", "-rss_limit_mb=1024", f"-artifact_prefix={folder}/"]
    atheris.Setup([sys.argv[0], *options, str(folder)], step)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
