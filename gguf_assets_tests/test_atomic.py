import errno
import os
import subprocess
import sys

import pytest

from gguf_assets.atomic import read_json, replacing, sweep, write_atomically, write_json
from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets_tests.store.processes import contents, outcomes_of_dying


def dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_a_file_is_whole_or_not_there_wherever_the_writer_dies(tmp_path):
    path = tmp_path / "day" / "file.json"
    deaths = 0

    def start_again():
        write_atomically(path, b"old" * 1000)

    for where in outcomes_of_dying(lambda: write_atomically(path, b"new" * 1000), start_again):
        deaths += 1
        assert path.read_bytes() in (b"old" * 1000, b"new" * 1000), where
        write_atomically(path, b"newest")
        assert contents(tmp_path) == {"day/file.json": b"newest"}, where
    assert deaths >= 6


def test_a_failed_block_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(KeyError), replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise KeyError
    assert contents(tmp_path) == {"file": b"old"}


def test_readers_that_look_for_parquet_never_see_a_temporary_file(tmp_path):
    with replacing(tmp_path / "part-0.parquet") as temporary:
        assert temporary.name.startswith(".")
        assert temporary.suffix != ".parquet"
        temporary.write_bytes(b"")


def test_sweeping_takes_what_dead_processes_left_and_nothing_else(tmp_path):
    left = tmp_path / f".file.{dead_pid()}-0.tmp"
    living = tmp_path / f".file.{os.getppid()}-0.tmp"
    for path in (left, living, tmp_path / ".hidden", tmp_path / "file.tmp"):
        path.write_bytes(b"")
    with replacing(tmp_path / "mine") as mine:
        mine.write_bytes(b"x")
        assert sweep(tmp_path) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [".hidden", "file.tmp", living.name, "mine"]
    )


def test_a_number_reused_by_this_process_does_not_protect_a_leftover(tmp_path):
    left = tmp_path / f".file.{os.getpid()}-999999.tmp"
    left.write_bytes(b"")
    assert sweep(tmp_path) == [left]


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "data").write_bytes(b"")
    with pytest.raises(PermanentError, match=r"data.*: (File exists|Not a directory)") as caught:
        write_atomically(tmp_path / "data" / "file", b"")
    assert caught.value.category is ErrorCategory.STORAGE
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("number", "says"),
    [(errno.ENOSPC, "Free some space"), (errno.EACCES, "GGUF_ASSETS_DATA_DIR"), (errno.EROFS, "writable")],
)
def test_a_refusal_of_the_disk_names_path_reason_and_remedy(tmp_path, monkeypatch, number, says):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def refuse(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(PermanentError) as caught:
        write_atomically(path, b"new")
    assert caught.value.category is ErrorCategory.STORAGE
    assert caught.value.message == f"Cannot write {path}: {os.strerror(number)}"
    assert says in caught.value.remedy
    assert contents(tmp_path) == {"file": b"old"}


def test_json_comes_back_and_damage_is_told_from_absence(tmp_path):
    path = tmp_path / "file.json"
    assert read_json(path) is None
    write_json(path, {"a": [1, None]})
    assert read_json(path) == {"a": [1, None]}
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(PermanentError, match=r"file\.json is damaged: it is not JSON") as caught:
        read_json(path)
    assert caught.value.category is ErrorCategory.DATA
