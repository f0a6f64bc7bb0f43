"""Some random fault sequences; `python -m gguf_assets_tests.fault_sequences --seeds 0-999` plays them all."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from gguf_assets_tests.fault_sequences import Bench, bench, failure_of

pytestmark = pytest.mark.slow

SEEDS = int(os.environ.get("GGUF_ASSETS_FAULT_SEEDS", "4"))
"""How many are played, from 0 on."""


@pytest.fixture(scope="module")
def shared() -> Iterator[Bench]:
    with bench() as made:
        yield made


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_run_ends_published_and_true_or_failed_and_untouched(shared: Bench, seed: int) -> None:
    wrong = failure_of(seed, shared)
    assert wrong is None, wrong
