"""A token reaches the Hub and nothing else: no file, no message, no event of Dagster."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from gguf_assets.demo.faults import Fault, FaultKind
from gguf_assets.demo.server import LoopbackHub
from gguf_assets_tests.calling import Catalogue, assert_clear
from gguf_assets_tests.hubs import hub_of, repository
from gguf_assets_tests.running import run

DAY = date(2025, 8, 10)
TOKEN = "hf_" + "PlantedSecret" * 3
WRONG = "hf_" + "WrongSecret" * 4
ODD = "tok.en+with/odd=signs~and-more"
"""A token of a shape that nothing recognises: it must be known by being told."""


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    with hub_of([repository(f"owner/model-{number}") for number in range(5)]) as hub:
        yield hub


def contents(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file below a folder as it is and, where it is compressed, as it was."""
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            yield path, content
            if path.suffix == ".zst":
                with pa.CompressedInputStream(pa.BufferReader(content), "zstd") as stream:
                    yield path, stream.read()
            elif path.suffix == ".gz":
                yield path, gzip.decompress(content)


def assert_nowhere(secret: str, folder: Path, *texts: str) -> None:
    """No part of the secret of ten characters stands anywhere, as it is or in base64."""
    parts = [secret[start : start + 10] for start in (0, len(secret) // 2, len(secret) - 10)]
    spellings = [part.encode() for part in parts] + [base64.b64encode(secret.encode())]
    found = list(contents(folder))
    assert any(path.suffix == ".db" for path, _ in found), "Dagster's events are among what is searched"
    for path, content in found:
        for spelling in spellings:
            assert spelling not in content, f"{spelling!r} in {path}"
    for text in texts:
        assert not any(spelling.decode() in text for spelling in spellings), text


@pytest.mark.parametrize("variable", ["HF_TOKEN", "HUGGINGFACE_TOKEN"])
@pytest.mark.parametrize("token", [TOKEN, ODD], ids=["usual", "odd"])
def test_a_sync_that_works_leaves_no_token_behind(hub, tmp_path, variable, token):
    catalogue = Catalogue(tmp_path, hub, **{variable: token})
    ended = catalogue.sync("--json")
    assert ended.code == 0, ended
    assert all(request.authorized for request in hub.requests), "the Hub got it"
    said = [ended.stdout, ended.stderr]
    for command in ("status", "report", "doctor"):
        shown = catalogue.call(command)
        said += [shown.stdout, shown.stderr]
    assert_nowhere(token, tmp_path, *said)


@pytest.mark.parametrize("day", [(), ("--date", str(DAY))], ids=["clock", "walk"])
@pytest.mark.parametrize("padding", [0, 140], ids=["whole", "across the cut"])
def test_a_token_that_the_hub_echoes_is_masked(hub, tmp_path, day, padding):
    """The Hub repeats the token in its answer, also where a long message is cut off."""
    catalogue = Catalogue(tmp_path, hub, HF_TOKEN=WRONG)
    message = "x" * padding + f" Invalid credentials in Authorization header ({WRONG})"
    echo = Fault(
        FaultKind.STATUS, status=401, headers={"x-error-message": message, "x-token": WRONG}, count=None
    )
    ended = catalogue.sync("--json", *day, fault=echo)
    assert_clear(ended, 1, "answered 401", "does not accept the token")
    assert (catalogue.last.state, catalogue.last.category) == ("failed", "authentication")
    doctor = catalogue.call("doctor")
    assert_nowhere(WRONG, tmp_path, ended.stdout, ended.stderr, doctor.stdout, doctor.stderr)


def test_a_token_that_the_hub_echoes_in_other_answers_is_masked_too(hub, tmp_path):
    catalogue = Catalogue(tmp_path, hub, HF_TOKEN=ODD, MAX_RETRIES="0")
    for status in (403, 404, 500):
        echo = Fault(
            FaultKind.STATUS, "sort=", status=status, headers={"x-error-message": f"no: {ODD}"}, count=None
        )
        ended = catalogue.sync("--date", str(DAY), fault=echo)
        assert_clear(ended, 1, f"answered {status} (no: ***)")
        assert_nowhere(ODD, tmp_path, ended.stdout, ended.stderr)
    leave = Fault(FaultKind.FOREIGN_LINK, "sort=", origin=f"http://user:{ODD}@elsewhere.invalid")
    ended = catalogue.sync("--date", str(DAY), fault=leave)
    assert_clear(ended, 1, "which is another origin")
    assert_nowhere(ODD, tmp_path, ended.stdout, ended.stderr)


def test_credentials_in_the_endpoint_are_refused_and_not_repeated(hub, tmp_path):
    catalogue = Catalogue(tmp_path, hub)
    assert catalogue.sync("--details", "none").code == 0
    ended = catalogue.sync(HF_ENDPOINT=f"http://user:{ODD}@127.0.0.1:9")
    assert ended.code == 2, ended
    assert_nowhere(ODD, tmp_path, ended.stdout, ended.stderr)


@pytest.mark.slow
def test_the_traceback_that_debug_shows_holds_no_token(hub, tmp_path):
    catalogue = Catalogue(tmp_path, hub, HF_TOKEN=WRONG)
    message = f"Invalid credentials: Bearer {WRONG}"
    hub.faults[:] = [
        Fault(FaultKind.STATUS, "sort=", status=401, headers={"x-error-message": message}, count=None)
    ]
    ended = run("--debug", "sync", environ=catalogue.environ)
    hub.faults.clear()
    assert ended.code == 1
    assert "Traceback" in ended.stderr
    assert_nowhere(WRONG, tmp_path, ended.stdout, ended.stderr)
