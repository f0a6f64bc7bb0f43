"""The audit trail: whole lines, no secret, and whatever a caller throws at it."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import pwd
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gguf_assets.errors import PermanentError
from gguf_assets.masking import register_secret
from gguf_assets.settings.audit import Actor, AuditTrail, audit_file, present_actor
from gguf_assets_tests.settings.trees import ACTOR, mode


@pytest.fixture
def trail(tmp_path: Path) -> AuditTrail:
    return AuditTrail(audit_file(tmp_path))


def test_entries_are_lines_of_json_that_only_the_owner_reads(trail: AuditTrail, tmp_path: Path) -> None:
    assert trail.entries() == []
    trail.append("deploy", ACTOR, file=Path("/a/b"), changes={"log_level": {"old": "INFO", "new": "DEBUG"}})
    trail.append("backup", ACTOR, at="2026-03-01T00:00:00+00:00")
    assert trail.path == tmp_path / "logs" / "audit.jsonl"
    assert mode(trail.path) == 0o600
    first, second = (json.loads(line) for line in trail.path.read_text().splitlines())
    assert first | {"at": ""} == {
        "at": "",
        "event": "deploy",
        "who": "somebody@somewhere",
        "command": "gguf-assets config …",
        "file": "/a/b",
        "changes": {"log_level": {"old": "INFO", "new": "DEBUG"}},
    }
    assert abs((datetime.now(UTC) - datetime.fromisoformat(first["at"])).total_seconds()) < 60
    assert second["at"] == "2026-03-01T00:00:00+00:00"
    assert trail.entries() == [first, second]


def test_a_file_that_others_may_read_is_closed_to_them(trail: AuditTrail) -> None:
    trail.path.parent.mkdir()
    trail.path.touch(0o644)
    trail.ensure_writable()
    assert mode(trail.path) == 0o600


def test_a_torn_line_is_left_out_and_swallows_nothing(trail: AuditTrail) -> None:
    trail.append("one", ACTOR)
    with trail.path.open("ab") as file:
        file.write(b'{"at": "2026')
    assert [entry["event"] for entry in trail.entries()] == ["one"]
    trail.append("two", ACTOR)
    assert [entry["event"] for entry in trail.entries()] == ["one", "two"]


def test_no_secret_is_written(trail: AuditTrail) -> None:
    register_secret("correct-horse-battery")
    actor = Actor("me@host", "gguf-assets config … --set x=correct-horse-battery")
    token = "hf_" + "b" * 30
    trail.append(f"{token}", actor, note={"correct-horse-battery": ["https://user:pw@host/x", token]})
    text = trail.path.read_text()
    assert not any(secret in text for secret in ("correct-horse-battery", token, "user:pw"))


class _Odd:
    def __str__(self) -> str:
        raise RuntimeError("no text")


_ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.datetimes()
    | st.builds(_Odd)
    | st.builds(object),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3),
    max_leaves=8,
)


@given(facts=st.dictionaries(st.text(st.characters(categories=["L"]), min_size=1), _ODD, max_size=3))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_odd_values_are_written_as_valid_json(trail: AuditTrail, facts: dict[str, Any]) -> None:
    facts = {name: value for name, value in facts.items() if name not in ("event", "actor", "at", "self")}
    trail.append("odd", ACTOR, **facts)
    line = trail.path.read_bytes().splitlines()[-1]
    entry = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert set(facts) <= set(entry)


def test_what_contains_itself_is_written_too(trail: AuditTrail) -> None:
    loop: list[Any] = []
    loop.append(loop)
    trail.append("odd", ACTOR, loop=loop)
    assert [entry["event"] for entry in trail.entries()] == ["odd"]


def test_a_full_disk_leaves_no_half_line(trail: AuditTrail, monkeypatch: pytest.MonkeyPatch) -> None:
    trail.append("one", ACTOR)
    before, write = trail.path.read_bytes(), os.write

    def full(descriptor: int, data: Any) -> int:
        if len(data) < 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[: len(data) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(PermanentError, match=r"audit\.jsonl: No space left on device"):
            trail.append("two", ACTOR)
    assert trail.path.read_bytes() == before


def _append_many(path: str, name: str) -> None:
    for number in range(20):
        AuditTrail(Path(path)).append(name, ACTOR, number=number, filler="x" * 20_000)


def test_lines_of_several_processes_stay_whole(trail: AuditTrail) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_append_many, args=(str(trail.path), name)) for name in "abc"]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=30)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    entries = trail.entries()
    assert len(trail.path.read_bytes().splitlines()) == len(entries) == 60
    for name in "abc":
        assert [entry["number"] for entry in entries if entry["event"] == name] == list(range(20))


def test_the_actor_is_who_called_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    own = pwd.getpwuid(os.getuid()).pw_name
    monkeypatch.setattr("platform.node", lambda: "here")
    monkeypatch.setenv("USER", "mallory")
    monkeypatch.setenv("SUDO_USER", "alice")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert present_actor("x") == Actor("alice@here", "x")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert present_actor("x").name == f"{own}@here"
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    assert present_actor("x").name == "uid 4000000@here"
