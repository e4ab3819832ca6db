"""Files are written whole or not at all, and only where there is a file, or room for one.

Independent of the code under test are what a folder holds afterwards, and the bytes of the files.
"""

import errno
import os
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn import CheckpointError, DataFileError, DtypeError, TwoLayerNet
from fastnn.files import atomic, container

fcntl = pytest.importorskip("fcntl") if os.name == "posix" else None

posix = pytest.mark.skipif(os.name != "posix", reason="limits, FIFOs and modes are POSIX's")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "network.safetensors"


def names_in(folder):
    return sorted(entry.name for entry in folder.iterdir())


def assert_one_line(caught):
    text = str(caught.value)
    assert len(text) <= 300, text
    assert text.isprintable(), text


def assert_same(a, b):
    assert {n: p.tobytes() for n, p in a.params.items()} == {
        n: p.tobytes() for n, p in b.params.items()
    }


# -- Paths -----------------------------------------------------------------------------------------

NETWORK = TwoLayerNet(3, 2, 2, rng=0)


@pytest.mark.parametrize("path", [None, 3, 2.5, b"file", ["file"], np.zeros((300, 300))])
def test_what_is_no_path_is_refused(path):
    for use in (NETWORK.save, fastnn.load):
        with pytest.raises(DtypeError, match="path is a") as caught:
            use(path)
        assert_one_line(caught)


@pytest.mark.parametrize(
    "name",
    ["\0", "a\0b", "x" * 256, "x" * 5000, "/".join(["x" * 200] * 30), "", "\ud800", "/", "."],
    ids=lambda name: f"{name[:3]!a} of {len(name)}",
)
def test_a_path_that_no_file_can_have_is_named_in_one_line(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for use in (NETWORK.save, fastnn.load):
        with pytest.raises(CheckpointError) as caught:
            use(name)
        assert_one_line(caught)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "two\nlines", " ", "[a]*?", "-", "\udcff"])
def test_a_path_that_a_file_can_have_is_taken(tmp_path, name):
    path = tmp_path / name
    NETWORK.save(path)
    NETWORK.save(path)
    assert_same(fastnn.load(str(path), "numpy"), NETWORK)
    assert names_in(tmp_path) == [name]


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read: No such file") as caught:
        fastnn.load(tmp_path / "missing")
    assert_one_line(caught)
    with pytest.raises(CheckpointError, match="no such folder; make it first") as caught:
        NETWORK.save(tmp_path / "missing" / "file")
    assert_one_line(caught)
    for use in (NETWORK.save, fastnn.load):
        with pytest.raises(CheckpointError, match="is a directory") as caught:
            use(tmp_path)
        (tmp_path / "file").touch()
        with pytest.raises(CheckpointError) as caught:
            use(tmp_path / "file" / "below")
        assert_one_line(caught)


@posix
def test_what_is_no_regular_file_is_left_alone(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/null"), Path("/dev/zero")):
        before = path.stat().st_mode
        for use in (NETWORK.save, fastnn.load):
            with pytest.raises(CheckpointError, match="not a regular file") as caught:
                use(path)
            assert_one_line(caught)
        assert path.stat().st_mode == before


@posix
def test_a_file_that_has_become_a_fifo_is_not_waited_for(tmp_path, monkeypatch):
    """Between the look at it and the opening of it."""
    os.mkfifo(tmp_path / "fifo")
    looked = iter([bool, container._check_regular])
    monkeypatch.setattr(container, "_check_regular", lambda mode: next(looked)(mode))
    with pytest.raises(CheckpointError, match="not a regular file"):
        fastnn.load(tmp_path / "fifo")


as_somebody = """
import os, sys, fastnn
from fastnn.checkpoints import CheckpointWriter
net = fastnn.TwoLayerNet(3, 2, 2, rng=0)
net.save("own")  # and so everything is imported, which another user might not be able to
fastnn.load("own", "numpy")
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
path, act = sys.argv[1:]
try:
    if act == "save":
        net.save(path)
    elif act == "begin":
        CheckpointWriter(path).begin(net)
    else:
        fastnn.load(path, "numpy")
except fastnn.CheckpointError as error:
    print(error)
"""


@pytest.fixture
def reachable():
    """A folder that any user can reach, which pytest's are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@posix
@pytest.mark.parametrize(
    ("may", "may_in_folder", "act", "message"),
    [
        ("", "rx", "load", "cannot be read: Permission denied"),
        ("r", "r", "load", "cannot be read: Permission denied"),
        ("r", "rwx", "save", "write-protected"),
        ("rw", "rx", "save", "cannot be written: Permission denied"),
        ("rw", "r", "save", "cannot be written: Permission denied"),
        ("rw", "rx", "begin", "its folder is write-protected"),
        ("r", "rwx", "begin", "cannot be written: it is write-protected"),
        ("rw", "rwx", "begin", ""),
        ("rw", "rwx", "save", ""),
        ("rw", "wx", "save", ""),
    ],
)
def test_without_permission(reachable, python, may, may_in_folder, act, message):
    folder = reachable / "folder"
    folder.mkdir()
    path = folder / "file"
    NETWORK.save(path)
    before = path.read_bytes()
    # Root may do anything, and so becomes one of the others.
    for each, bits in ((path, may), (folder, may_in_folder)):
        mode = sum({"r": 4, "w": 2, "x": 1}[bit] for bit in bits)
        each.chmod(mode if os.getuid() == 0 else mode << 6)
    try:
        code, out, err = python("-c", as_somebody, path, act)
    finally:
        folder.chmod(0o700)
    path.chmod(0o600)
    assert (code, err) == (0, "")
    assert message in out
    assert out.count("\n") == bool(message)
    assert names_in(folder) == ["file"]
    assert path.read_bytes() == before


# -- Written whole or not at all -------------------------------------------------------------------


@posix
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_any_new_file_or_of_the_old_one(path, mask):
    before = os.umask(mask)
    try:
        NETWORK.save(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
        path.chmod(0o640)
        NETWORK.save(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    finally:
        os.umask(before)


@posix
def test_a_symbolic_link_stays_one(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    link, file = tmp_path / "a" / "link", tmp_path / "b" / "file"
    link.symlink_to("../b/file")
    for _ in range(2):  # to what is not there yet, and to what is
        NETWORK.save(link)
        assert link.is_symlink()
        assert not file.is_symlink()
        assert_same(fastnn.load(link, "numpy"), NETWORK)
        assert (names_in(link.parent), names_in(file.parent)) == (["link"], ["file"])


@posix
def test_a_symbolic_link_in_a_circle_is_refused(tmp_path):
    for name, other in ("ab", "ba"):
        (tmp_path / name).symlink_to(other)
    for use in (NETWORK.save, fastnn.load):
        with pytest.raises(CheckpointError, match="symbolic links"):
            use(tmp_path / "a")
    assert names_in(tmp_path) == ["a", "b"]


@posix
def test_a_full_disk_leaves_the_old_file(path, python):
    NETWORK.save(path)
    before = path.read_bytes()
    script = """
import resource, sys, fastnn
sys.dont_write_bytecode = True  # see `python_after`
net = fastnn.TwoLayerNet(100, 50, 10, rng=0)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
for name in sys.argv[1:]:
    try:
        net.save(name)
    except fastnn.CheckpointError as error:
        print(error)
"""
    code, out, err = python("-c", script, path, path.with_name("new"))
    assert (code, err) == (0, "")
    first, second = out.splitlines()
    assert f"{path} cannot be written: File too large" in first
    assert "new cannot be written" in second
    assert path.read_bytes() == before
    assert names_in(path.parent) == [path.name]


@pytest.mark.parametrize("step", ["write", "fsync", "replace", "interrupt"])
def test_whatever_fails_leaves_the_old_file_and_no_other(path, monkeypatch, step):
    NETWORK.save(path)
    before = path.read_bytes()

    def fail(*_):
        if step == "interrupt":
            raise KeyboardInterrupt
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if step in ("write", "interrupt"):
        monkeypatch.setattr(atomic, "_write", fail)
    elif step == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(type(path), "replace", fail)
    with pytest.raises(KeyboardInterrupt if step == "interrupt" else CheckpointError) as caught:
        TwoLayerNet(30, 20, 10).save(path)
    assert step == "interrupt" or "No space left" in str(caught.value)
    assert path.read_bytes() == before
    assert names_in(path.parent) == [path.name]


def test_other_files_have_errors_of_their_own(tmp_path):
    atomic.replace(tmp_path / "file", (b"one, ", memoryview(b"two")), error=DataFileError)
    assert (tmp_path / "file").read_bytes() == b"one, two"
    with pytest.raises(DataFileError, match="is a directory"):
        atomic.replace(tmp_path, (b"",), error=DataFileError)


def test_file_and_folder_are_flushed_in_order(path, monkeypatch):
    done = []
    fsync, move = os.fsync, type(path).replace

    def flush(descriptor):
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def rename(source, target):
        done.append("rename")
        return move(source, target)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(type(path), "replace", rename)
    NETWORK.save(path)
    assert done == (["file", "rename", "folder"] if os.name == "posix" else ["file", "rename"])


def test_writes_in_pieces_are_whole(path, monkeypatch):
    """A system may take less than it is given."""

    class Slow:
        def __init__(self, file):
            self.file = file

        def write(self, part):
            return self.file.write(part[:7])

    write = atomic._write
    monkeypatch.setattr(atomic, "_write", lambda file, part: write(Slow(file), part))
    NETWORK.save(path)
    assert_same(fastnn.load(path, "numpy"), NETWORK)


def test_threads_that_write_the_same_file_leave_one_of_theirs(path):
    nets = [TwoLayerNet(20, 10, 5, rng=seed) for seed in range(4)]
    errors = []

    def write(net):
        try:
            for _ in range(5):
                net.save(path)
                fastnn.load(path, "numpy")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(net,)) for net in nets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    found = fastnn.load(path, "numpy").params["W1"].tobytes()
    assert found in [net.params["W1"].tobytes() for net in nets]
    assert names_in(path.parent) == [path.name]


# -- Writers that are killed -----------------------------------------------------------------------

killing = """
import itertools, os, random, signal, sys, time
from pathlib import Path
import fastnn

path = Path(sys.argv[1])
nets = [fastnn.TwoLayerNet(400, 50, 10, rng=seed) for seed in (0, 1)]
whole = {net.params["W1"].tobytes() for net in nets}
nets[0].save("own")  # and so everything is imported before the clock starts
moments = random.Random(0)
killed = 0
for _ in range(20):
    writer = os.fork()
    if not writer:
        for net in itertools.cycle(nets):
            net.save(path)
    time.sleep(moments.uniform(0, 0.02))
    os.kill(writer, signal.SIGKILL)
    assert os.waitpid(writer, 0)[1] == signal.SIGKILL
    others = [entry.name for entry in path.parent.iterdir() if entry != path]
    assert len(others) <= 1, others  # a writer has one, and removes the one before
    killed += len(others)
    if path.exists():
        assert fastnn.load(path, "numpy").params["W1"].tobytes() in whole
print(killed)
nets[0].save(path)
"""


@posix
def test_a_writer_that_is_killed_leaves_a_whole_file(tmp_path, python):
    """At 20 random moments: there is the old one or the new one, and nothing else for long."""
    path = tmp_path / "folder" / "network.safetensors"
    path.parent.mkdir()
    code, out, err = python("-W", "ignore", "-c", killing, path)  # of forks, when there are threads
    assert (code, err) == (0, "")
    assert int(out), "no writer was killed in the middle of a write"
    assert names_in(path.parent) == [path.name]
    assert_same(fastnn.load(path, "numpy"), TwoLayerNet(400, 50, 10, rng=0))


def leftover(path, process):
    """A file as a writer of this number leaves it behind that is killed."""
    name = f"{atomic._stem(path)}{process}-0123abcd.tmp"
    path.with_name(name).write_bytes(b"half of i")
    return path.with_name(name)


def ended():
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_next_writer_removes_what_is_left(path):
    """Whoever has the number of the process by now, as in a container the first always has."""
    for process in (ended(), os.getpid(), os.getppid(), 1, 2**40):
        file = leftover(path, process)
        NETWORK.save(path)
        assert not file.exists()
    assert names_in(path.parent) == [path.name]


def test_nothing_else_is_removed(path):
    others = [
        leftover(path.with_name("other.safetensors"), ended()),
        *(path.with_name(f"{atomic._stem(path)}{rest}") for rest in ("1.tmp", "x-0123abcd.tmp")),
        path.with_name(f"{atomic._stem(path)}1-0123abcd.tmp.safetensors"),
        path.with_name("a.tmp"),
    ]
    for file in others:
        file.write_bytes(b"of somebody")
    directory = path.with_name(f"{atomic._stem(path)}1-00000000.tmp")
    directory.mkdir()
    NETWORK.save(path)
    assert names_in(path.parent) == sorted([path.name, directory.name, *(f.name for f in others)])


@posix
def test_what_a_living_writer_has_open_is_not_removed(path):
    """Of the same process or another, whatever number stands in its name."""
    file = leftover(path, ended())
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, sys; f = open(sys.argv[1], 'r+b'); fcntl.flock(f, fcntl.LOCK_EX);"
            "print('ready', flush=True); sys.stdin.read()",
            file,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout.readline() == "ready\n"
        NETWORK.save(path)
        assert file.exists()
        holder.kill()
    NETWORK.save(path)
    assert not file.exists()


@posix
def test_without_locks_the_number_of_the_process_tells(path, monkeypatch):
    """Some file systems have none."""

    def fail(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", fail)
    dead, alive = leftover(path, ended()), leftover(path, os.getpid())
    NETWORK.save(path)
    assert names_in(path.parent) == sorted([alive.name, path.name])
    assert not dead.exists()


@posix
def test_a_temporary_file_that_was_taken_for_a_leftover_is_made_anew(path, monkeypatch):
    """In the moment between its making and its lock."""
    lock, taken = atomic._lock, []

    def late(descriptor, *, wait):
        if wait and len(taken) < 3:
            atomic.remove_leftovers(path)
            taken.append([name for name in names_in(path.parent) if name != path.name])
        return lock(descriptor, wait=wait)

    monkeypatch.setattr(atomic, "_lock", late)
    NETWORK.save(path)
    assert taken == [[]] * 3
    assert names_in(path.parent) == [path.name]
    assert_same(fastnn.load(path, "numpy"), NETWORK)
