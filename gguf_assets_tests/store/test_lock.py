import os
import signal
import subprocess
import sys
import time

import pytest

from gguf_assets.errors import ErrorCategory, PermanentError, Refused
from gguf_assets.store.layout import Layout
from gguf_assets.store.lock import WriterLock

HOLD = """
import sys, time
from pathlib import Path
from gguf_assets.store.layout import Layout
from gguf_assets.store.lock import WriterLock
WriterLock(Layout(Path(sys.argv[1]), Path(sys.argv[2]))).acquire(run_id="run-1", command="gguf-assets sync")
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def other(layout):
    """Another process that holds the lock."""
    arguments = [sys.executable, "-c", HOLD, str(layout.data), str(layout.state)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_told_who_holds_the_lock(layout, other):
    with pytest.raises(Refused) as caught:
        WriterLock(layout).acquire(command="gguf-assets sync --mode full")
    assert caught.value.category is ErrorCategory.REFUSED
    for part in (str(layout.data), f"process {other.pid} ", "run run-1", "`gguf-assets sync`", "since 20"):
        assert part in caught.value.message
    assert f"kill {other.pid}" in caught.value.remedy


def test_a_killed_holder_frees_the_lock_at_once(layout, other):
    assert WriterLock(layout).holder().pid == other.pid
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    assert WriterLock(layout).holder() is None
    with WriterLock(layout).held(command="gguf-assets sync"):
        assert WriterLock(layout).holder().pid == os.getpid()


def test_the_holder_may_take_it_again_and_gives_it_back_as_often(layout):
    outer, inner = WriterLock(layout), WriterLock(layout)
    outer.acquire(run_id="run-1", command="gguf-assets sync")
    inner.acquire(run_id="run-1", command="dagster")
    inner.release()
    holder = outer.holder()
    assert (holder.pid, holder.run_id, holder.command) == (os.getpid(), "run-1", "gguf-assets sync")
    outer.release()
    assert outer.holder() is None
    outer.release()


def test_asking_who_holds_it_never_makes_a_start_fail(layout):
    probing = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys\nfrom pathlib import Path\n"
            "from gguf_assets.store.layout import Layout\nfrom gguf_assets.store.lock import WriterLock\n"
            "lock = WriterLock(Layout(Path(sys.argv[1]), Path(sys.argv[2])))\nprint('on', flush=True)\n"
            "while True: lock.holder()",
            str(layout.data),
            str(layout.state),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        probing.stdout.readline()
        for _ in range(50):
            with WriterLock(layout).held(command="gguf-assets sync"):
                time.sleep(0.001)
    finally:
        probing.kill()
        probing.communicate()


def test_a_forked_child_does_not_take_itself_for_the_holder(layout):
    with WriterLock(layout).held(command="gguf-assets sync"):
        child = os.fork()
        if child == 0:
            try:
                WriterLock(layout).acquire(command="child")
            except Refused:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_stores_do_not_lock_each_other(layout, tmp_path):
    another = Layout(tmp_path / "other", tmp_path / "other")
    with WriterLock(layout).held(command="a"), WriterLock(another).held(command="b"):
        assert WriterLock(layout).holder().command == "a"
        assert WriterLock(another).holder().command == "b"


def test_an_unwritable_state_folder_is_an_error_of_the_disk(tmp_path):
    (tmp_path / "state").write_bytes(b"")
    with pytest.raises(PermanentError) as caught:
        WriterLock(Layout(tmp_path / "data", tmp_path / "state")).acquire(command="gguf-assets sync")
    assert caught.value.category is ErrorCategory.STORAGE
