"""The generated Hub: the same for the same arguments, believable, and true about its events."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_assets.demo.content import TRUE_CONTENT_LIMIT, content
from gguf_assets.demo.generate import GeneratedHub
from gguf_assets.demo.vocabulary import fine_tune, person
from gguf_assets.errors import Refused

LAST = date(2026, 11, 20)
# The vocabulary of DESIGN §6, `changes`.
CHANGES = {
    "added",
    "updated",
    "removed",
    "renamed",
    "recreated",
    "restored",
    "gated",
    "ungated",
    "disabled",
    "enabled",
}


@pytest.fixture(scope="module")
def hub():
    return GeneratedHub(last_day=LAST)


def listed(hub, day):
    """The repositories a listing with `filter=gguf` shows."""
    return {r.hub_id: r for r in hub.on(day).repositories if "gguf" in r.tags and not r.private}


def test_two_processes_make_the_same_hub_whatever_their_hash_seed():
    program = (
        "import hashlib, sys, datetime\n"
        "from gguf_assets.demo.generate import GeneratedHub\n"
        "hub = GeneratedHub(seed=7, repositories=80, days=3, last_day=datetime.date(2026, 11, 20))\n"
        "for day in hub.days:\n"
        "    for r in hub.on(day).repositories:\n"
        "        fields = [getattr(r, name) for name in r.__slots__ if name != 'file_set']\n"
        "        sys.stdout.write(repr((fields, r.files)))\n"
        "    sys.stdout.write(repr(hub.events(day)))\n"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            check=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]
    assert len(outputs[0]) > 100_000
    assert hashlib.sha256(outputs[0]).digest() == hashlib.sha256(outputs[1]).digest()


def test_days_asked_for_in_any_order_are_the_same(hub):
    other = GeneratedHub(last_day=LAST)
    for day in reversed(other.days):
        assert other.on(day).repositories == hub.on(day).repositories


def test_another_seed_is_another_hub(hub):
    other = GeneratedHub(seed=1, last_day=LAST)
    assert {r.hub_id for r in hub.on(LAST).repositories}.isdisjoint(
        r.hub_id for r in other.on(LAST).repositories
    )


def test_every_kind_of_event_happens_in_the_default_five_days(hub):
    assert hub.events(hub.days[0]) == ()
    assert {event.change for day in hub.days for event in hub.events(day)} == CHANGES
    details = {event.detail for day in hub.days for event in hub.events(day)}
    assert {
        "file added",
        "file removed",
        "file replaced",
        "model card edited",
        "file removed, date unchanged",
        "deleted",
        "made private",
        "no GGUF file left",
    } <= details


def test_events_are_exactly_what_comparing_the_days_finds(hub):
    check_events(hub)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(2, 9))
def test_events_are_the_truth_for_any_seed_and_size(seed, repositories, days):
    check_events(GeneratedHub(seed, repositories, days, LAST))


def check_events(hub):
    known = dict(listed(hub, hub.days[0]))
    for before_day, day in zip(hub.days, hub.days[1:], strict=False):
        before, after = listed(hub, before_day), listed(hub, day)
        taken_over = {r.model_id: r.hub_id for r in before.values() if r.hub_id not in after}
        found = set()
        for hub_id, now in after.items():
            if hub_id not in before:
                again = now.model_id in taken_over
                change = "restored" if hub_id in known else "recreated" if again else "added"
                found.add((change, hub_id, now.model_id, None))
                continue
            then = before[hub_id]
            if now.sha != then.sha:
                found.add(("updated", hub_id, now.model_id, None))
            if now.model_id != then.model_id:
                found.add(("renamed", hub_id, now.model_id, then.model_id))
            if bool(now.gated) != bool(then.gated):
                found.add(("gated" if now.gated else "ungated", hub_id, now.model_id, None))
            if now.disabled != then.disabled:
                found.add(("disabled" if now.disabled else "enabled", hub_id, now.model_id, None))
        present = {r.model_id for r in after.values()}
        found |= {
            ("removed", hub_id, r.model_id, None)
            for hub_id, r in before.items()
            if hub_id not in after and r.model_id not in present
        }
        told = [(e.change, e.hub_id, e.model_id, e.previous_model_id) for e in hub.events(day)]
        assert len(told) == len(set(told))
        assert set(told) == found
        known |= after


def test_file_contents_change_with_the_sha_and_only_with_it(hub):
    for before_day, day in zip(hub.days, hub.days[1:], strict=False):
        before = hub.on(before_day).by_hub_id
        for now in hub.on(day).repositories:
            then = before.get(now.hub_id)
            if then is not None:
                assert (now.sha == then.sha) == (now.files == then.files)


def test_names_and_identities_are_unique_and_ids_begin_with_the_creation_time(hub):
    for day in hub.days:
        state = hub.on(day)
        assert len(state.by_name) == len(state.by_hub_id) == len(state.repositories)
        for r in state.repositories:
            seconds = int(r.hub_id[:8], 16)
            assert time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds)) == r.created_at
            assert re.fullmatch("[0-9a-f]{24}", r.hub_id)
            assert re.fullmatch("[0-9a-f]{40}", r.sha)
            assert r.created_at <= r.last_modified < f"{day}T12"
            assert min(r.downloads, r.likes) >= 0


def test_names_pass_the_clients_own_rules(hub):
    from huggingface_hub.utils import validate_repo_id

    for day in hub.days:
        for r in hub.on(day).repositories:
            validate_repo_id(r.model_id)


def test_it_looks_like_a_hub(hub):
    repositories = hub.on(hub.days[0]).repositories
    owners = {}
    for r in repositories:
        owners[r.owner] = owners.get(r.owner, 0) + 1
    paths = [path for r in repositories for path in r.file_set.paths()]
    ggufs = [path for path in paths if path.endswith(".gguf")]
    assert max(owners.values()) > 0.2 * len(repositories)
    assert len(owners) > 40
    assert 0.9 * len(ggufs) < len(set(ggufs))
    assert any("mmproj" in path for path in ggufs)
    assert any("imatrix" in path for path in paths)
    assert any(re.search(r"^(UD-[^/]+|bf16)/.+-00001-of-0000\d\.gguf$", path) for path in ggufs)
    assert any(len(r.file_set.paths()) > 1_000 for r in repositories)
    assert any(not any(p.endswith(".gguf") for p in r.file_set.paths()) for r in repositories)
    created = [r.created_at for r in repositories]
    assert len(set(created)) < len(created), "some are made in the same second"


def test_sizes_fit_label_and_parameters(hub):
    checked = 0
    for r in hub.on(hub.days[0]).repositories:
        for file in r.files:
            if file.path.endswith("Q4_K_M.gguf") and r.gguf["total"] > 10**9:
                assert 4.9 < 8 * file.size / r.gguf["total"] < 5.1
                checked += 1
    assert checked > 50


def test_downloads_fall_for_some_and_rise_for_others(hub):
    one, two = (hub.on(day).by_hub_id for day in hub.days[:2])
    steps = [two[i].downloads - one[i].downloads for i in one if i in two]
    assert any(step > 0 for step in steps)
    assert any(step < 0 for step in steps)
    assert sum(step == 0 for step in steps) > len(steps) / 3


def test_checksums_of_small_files_are_those_of_the_bytes_served(hub):
    small = {
        f
        for day in hub.days
        for r in hub.on(day).repositories
        for f in r.files
        if f.lfs and f.size <= TRUE_CONTENT_LIMIT
    }
    small = sorted(small, key=lambda file: (file.path.endswith(".png"), file.size, file.path))[:20]
    assert any(file.path.endswith(".gguf") for file in small)
    for file in small:
        assert hashlib.sha256(content(file.key, file.size)).hexdigest() == file.lfs


def test_made_up_names_never_repeat():
    assert len({fine_tune(n)[0] for n in range(700_000)}) == 700_000
    assert len({person(n) for n in range(50_000)}) == 50_000


@pytest.mark.parametrize("arguments", [{"repositories": 0}, {"days": 0}, {"last_day": date(2023, 8, 23)}])
def test_a_hub_that_cannot_be_is_refused(arguments):
    with pytest.raises(Refused):
        GeneratedHub(**arguments)


@pytest.mark.slow
def test_a_big_hub_is_made_in_seconds_with_distinct_file_names():
    started = time.process_time()
    repositories = GeneratedHub(repositories=50_000, days=1, last_day=LAST).on(LAST).repositories
    paths = [path for r in repositories for path in r.file_set.paths()]
    spent = time.process_time() - started
    ggufs = [path for path in paths if path.endswith(".gguf")]
    assert spent < 15
    assert 17 < len(paths) / 50_000 < 21
    assert 12 < len(ggufs) / 50_000 < 16
    assert len(set(ggufs)) > 0.95 * len(ggufs)
