"""Of several processes that want a kernel one compiles it, and others wait no longer than that."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from fastnn.backends.numba import locks
from fastnn.backends.numba.locks import Lock

pytestmark = pytest.mark.skipif(not locks.HAS_LOCKS, reason="this system has no locks of a file")

HOLDS = """
import os, sys, time
from fastnn.backends.numba.locks import Lock
lock = Lock(sys.argv[1], "a")
print(lock.take(), flush=True)
sys.stdin.readline()
lock.release()
print("released", flush=True)
sys.stdin.readline()
"""

#: Takes it, and has a child, as a pool of processes has, that lives on.
FORKS = """
import os, sys, time
from fastnn.backends.numba.locks import Lock
Lock(sys.argv[1], "a").take()
if (child := os.fork()) == 0:
    time.sleep(60)
    os._exit(0)
print(child, flush=True)
sys.stdin.readline()
"""


def running(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def holder(tmp_path):
    """A process that has the lock "a" until it is sent a line."""
    process = running(HOLDS, tmp_path)
    assert process.stdout.readline() == "True\n"
    yield process
    process.kill()
    process.communicate()


def test_one_process_has_it_until_it_releases_it(holder, tmp_path):
    lock = Lock(str(tmp_path), "a")
    assert not lock.take()
    assert Lock(str(tmp_path), "b").take()
    holder.stdin.write("\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "released\n"
    assert lock.take()
    assert lock.take()  # again
    lock.release()


def test_a_process_that_is_killed_has_none(holder, tmp_path):
    lock = Lock(str(tmp_path), "a")
    assert not lock.take()
    os.kill(holder.pid, signal.SIGKILL)
    with lock:
        pass
    assert holder.wait() == -signal.SIGKILL


def test_nobody_waits_for_ever(holder, tmp_path, monkeypatch):
    """For one that was stopped."""
    monkeypatch.setattr(locks, "PATIENCE", 0.2)
    began = time.monotonic()
    Lock(str(tmp_path), "a").wait()
    assert 0.2 <= time.monotonic() - began < 10


def test_a_process_that_was_forked_has_none(tmp_path):
    parent = running(FORKS, tmp_path)
    child = int(parent.stdout.readline())
    try:
        lock = Lock(str(tmp_path), "a")
        assert not lock.take()
        parent.kill()
        parent.wait()
        assert lock.take()
        os.kill(child, 0)  # it is still there
    finally:
        os.kill(child, signal.SIGKILL)
        parent.communicate()


@pytest.mark.parametrize("folder", ["a file", "not ours"])
def test_where_nothing_can_be_written_everybody_has_it(tmp_path, folder, monkeypatch):
    place = tmp_path / folder
    if folder == "a file":
        place.touch()
    else:
        monkeypatch.setattr(os, "open", lambda *_: (_ for _ in ()).throw(PermissionError()))
    lock = Lock(str(place), "a")
    assert lock.take()
    lock.wait()
    lock.release()


@pytest.mark.parametrize("error", [BlockingIOError, PermissionError])
def test_both_errors_of_posix_say_that_another_process_has_it(tmp_path, monkeypatch, error):
    def refused(*_):
        raise error

    monkeypatch.setattr(locks.fcntl, "lockf", refused)
    assert not Lock(str(tmp_path), "a").take()


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks.fcntl, "lockf", refused)
    with Lock(str(tmp_path), "a") as lock:
        assert lock.take()


#: Compiles one kernel, and says how often this process has done so.
COMPILES = """
import sys, numpy as np, fastnn
from numba.core import event
backend = fastnn.get_backend("numba")
with event.install_recorder("numba:compile") as compiled:
    one = np.ones((1, 1))
    {begin}
    backend.dense(one, one, one[0], 'sigmoid')
names = [e.data["dispatcher"].py_func.__qualname__ for _, e in compiled.buffer if e.is_start]
print(names.count("add_bias_and_activate"), flush=True)
sys.stdin.readline()
"""


#: Is refused the memory that it needs, once.
REFUSED = """
    from unittest import mock
    with mock.patch("numba.core.dispatcher._FunctionCompiler.compile", side_effect=MemoryError):
        try:
            backend.dense(one, one, one[0], 'sigmoid')
        except MemoryError:
            print("refused", flush=True)
    sys.stdin.readline()
""".strip()


def compiling(begin="pass"):
    return running(COMPILES.format(begin=begin))


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))


@pytest.mark.usefixtures("empty_cache")
def test_one_of_several_processes_compiles():
    """And the others go on when it has, though it lives."""
    ready = "fastnn.backends.numba.locks.PATIENCE = 1e9; print(flush=True); sys.stdin.readline()"
    processes = [compiling(ready) for _ in range(4)]
    too_late = threading.Timer(300, lambda: [process.kill() for process in processes])
    too_late.start()
    for process in processes:
        process.stdout.readline()
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    found = [int(process.stdout.readline()) for process in processes]
    for process in processes:
        process.communicate("\n")
    too_late.cancel()
    assert sorted(found) == [0, 0, 0, 1]


@pytest.mark.usefixtures("empty_cache")
def test_what_cannot_be_compiled_is_not_waited_for():
    first = compiling(REFUSED)
    assert first.stdout.readline() == "refused\n"
    second, _ = compiling().communicate("\n", timeout=60)
    assert second == "1\n"
    first.communicate("\n\n")
