"""The log file: what stands in it, how it rotates, several writers, a disk that refuses."""

from __future__ import annotations

import gzip
import logging
import multiprocessing
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from gguf_assets.demo.faults import Fault, FaultKind
from gguf_assets.masking import register_secret
from gguf_assets.orchestration import rotating_file
from gguf_assets.orchestration.log_file import RUN_LINES, log_file
from gguf_assets.settings.load import LoadedSettings, load_settings
from gguf_assets.settings.verbosity import PACKAGE
from gguf_assets.store.layout import Layout
from gguf_assets_tests.calling import Catalogue
from gguf_assets_tests.hubs import hub_of, repository

HUB = logging.getLogger("gguf_assets.hub.client")
RUN = logging.getLogger(RUN_LINES)
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR|CRITICAL) (\S+): (.*)")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    package = logging.getLogger(PACKAGE)
    level, handlers = package.level, list(package.handlers)
    package.setLevel(logging.DEBUG)
    yield
    package.setLevel(level)
    assert package.handlers == handlers, "whoever opened the file has closed it"


def settings(home: Path, **environ: str) -> LoadedSettings:
    return load_settings(
        {"SYNC_ENVIRONMENT": "testing", "GGUF_ASSETS_DATA_DIR": str(home / "data"), **environ}
    )


def layout(home: Path) -> Layout:
    return Layout(home / "data", home / "data")


def log_of(home: Path) -> Path:
    return home / "data" / "logs" / "update_models.log"


def test_lines_of_package_and_run_stand_in_the_file_with_time_and_level(tmp_path: Path) -> None:
    with log_file(settings(tmp_path), layout(tmp_path)):
        assert not log_of(tmp_path).exists(), "a file without a line is none"
        HUB.warning("try %d of %d", 2, 6)
        RUN.info("Listing: 12 models")
        logging.getLogger("elsewhere").error("not ours")
    HUB.warning("after the run")
    lines = [LINE.fullmatch(line) for line in log_of(tmp_path).read_text().splitlines()]
    assert [line and line.groups() for line in lines] == [
        ("WARNING", "hub.client", "try 2 of 6"),
        ("INFO", "run", "Listing: 12 models"),
    ]
    assert stat.S_IMODE(log_of(tmp_path).stat().st_mode) == 0o600


def test_the_level_is_that_of_the_settings(tmp_path: Path) -> None:
    with log_file(settings(tmp_path, LOG_LEVEL="WARNING"), layout(tmp_path)):
        RUN.info("a detail")
        HUB.debug("a request")
        RUN.error("a failure")
    assert [line.split(": ")[1] for line in log_of(tmp_path).read_text().splitlines()] == ["a failure"]


def test_secrets_and_their_tracebacks_are_masked(tmp_path: Path) -> None:
    secret = "planted-in-the-log-file"
    register_secret(secret)
    with log_file(settings(tmp_path), layout(tmp_path)):
        try:
            raise ValueError(f"refused {secret}")
        except ValueError:
            HUB.exception("it said %s", secret)
    text = log_of(tmp_path).read_text()
    assert "ValueError: refused ***" in text
    assert secret not in text


def test_inner_blocks_change_nothing(tmp_path: Path) -> None:
    with log_file(settings(tmp_path), layout(tmp_path)):
        with log_file(settings(tmp_path), layout(tmp_path)):
            RUN.info("once")
        RUN.info("still open")
    assert len(log_of(tmp_path).read_text().splitlines()) == 2


def _write(home: Path, name: str, lines: int) -> None:
    rotating_file.BYTES = 4000
    with log_file(settings(home), layout(home)):
        for number in range(lines):
            RUN.info("%s %04d", name, number)


def test_it_rotates_compressed_and_loses_no_line_of_several_processes(tmp_path: Path) -> None:
    """Three processes, some 18,000 bytes of lines, files of 4,000: every line is there once and whole."""
    forks = multiprocessing.get_context("fork")
    writers = [forks.Process(target=_write, args=(tmp_path, name, 120)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    files = list(log_of(tmp_path).parent.glob("update_models.log*"))
    aside = [path for path in files if path.suffix == ".gz"]
    assert aside, files
    assert all(len(gzip.decompress(path.read_bytes())) < 4200 for path in aside)
    texts = [log_of(tmp_path).read_text(), *(gzip.decompress(path.read_bytes()).decode() for path in aside)]
    said = sorted(LINE.fullmatch(line).group(3) for text in texts for line in text.splitlines())  # type: ignore[union-attr]
    assert said == sorted(f"{name} {number:04d}" for name in "abc" for number in range(120))


def test_no_more_files_are_kept_than_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotating_file, "BYTES", 300)
    monkeypatch.setattr(rotating_file, "KEPT", 2)
    with log_file(settings(tmp_path), layout(tmp_path)):
        for number in range(100):
            RUN.info("line %d", number)
    names = sorted(path.name for path in log_of(tmp_path).parent.iterdir() if not path.name.startswith("."))
    assert names == ["update_models.log", "update_models.log.1.gz", "update_models.log.2.gz"]
    assert log_of(tmp_path).read_text().endswith("line 99\n")


@pytest.mark.parametrize("what", ["file in the way", "name too long", "closed disk"])
def test_a_disk_that_refuses_is_said_once_and_hurts_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    where = layout(tmp_path)
    if what == "file in the way":
        where.data.mkdir()
        (where.data / "logs").write_text("")
    elif what == "name too long":
        where = Layout(where.data, where.state, logs=where.data / ("x" * 300))
    else:
        real = os.open

        def refusing(path: object, *args: object, **more: object) -> int:
            if "update_models" in str(path):
                raise OSError(28, "No space left on device")
            return real(path, *args, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(os, "open", refusing)
        monkeypatch.setattr("concurrent_log_handler._os_open", refusing)
        monkeypatch.setattr("concurrent_log_handler._open", refusing)
    with log_file(settings(tmp_path), where):
        for _ in range(3):
            RUN.info("a line")
    said = [record.getMessage() for record in caplog.records if "cannot be written" in record.getMessage()]
    assert len(said) == 1, caplog.text
    assert said[0].endswith("; the run goes on without it")


def test_a_sync_writes_where_the_setting_says(tmp_path: Path) -> None:
    """Its decisions, its failed tries and why it failed; commands that only look write nothing."""
    with hub_of([repository(f"owner/model-{number}") for number in range(3)]) as hub:
        catalogue = Catalogue(tmp_path, hub, GGUF_SYNC__STORAGE__LOGS_DIRECTORY="told/logs", MAX_RETRIES="1")
        for command in ("status", "doctor", "config list"):
            catalogue.call(*command.split())
        file = catalogue.data / "told" / "logs" / "update_models.log"
        assert not file.exists()
        assert catalogue.sync().code == 0
        lines = file.read_text().splitlines()
        assert any(line.endswith("SYNC MODE REPORT") or "Listing: 3 models" in line for line in lines)
        failed = catalogue.sync("--refetch", fault=Fault(FaultKind.STATUS, "sort=", status=500, count=None))
        assert failed.code == 1
    added = file.read_text().splitlines()[len(lines) :]
    assert any(" WARNING hub.trying: " in line and "answered 500" in line for line in added), added
    assert any(" ERROR run: " in line and line.endswith("(api)") for line in added), added
    assert not (catalogue.data / "logs" / "update_models.log").exists()
