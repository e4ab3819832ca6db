"""Small chaos, with the real parts: each run gives the right result, or says why in one line.

Limits of the system's, no home, a package that cannot be written, damaged kernels, and many
processes at once on a cold cache; all in fresh processes. `test_hostile.py` has each by itself.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import python_after
from idx import write_mnist

import fastnn

resource = pytest.importorskip("resource", reason="needs limits of POSIX")

#: One kernel: a cold start of all takes some ten seconds.
USE = """
import numpy as np, fastnn
one = np.ones((1, 1))
print(f"{fastnn.get_backend('numba').dense(one, one, one[0], 'sigmoid')[0, 0]:.6g}")
"""
RIGHT = "0.880797\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    directory = tmp_path_factory.mktemp("data")
    write_mnist(directory, train=400, test=20)
    return directory


@pytest.fixture(scope="module")
def train(data):
    """Train in a fresh process: exit code, the last line of the result, standard error."""

    def run(backend="numba", limit="", variables=None, path=(), **options):
        command = ["-m", "fastnn", "train", "--data", data, "--backend", backend]
        command += ["--iterations", 20, "--batch-size", 5, "--hidden", 20]
        done = subprocess.run(
            python_after(limit, *command),
            env=environment(path) | (variables or {}),
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options,
        )
        return done.returncode, "".join((done.stdout or "").splitlines()[-1:]), done.stderr

    return run


def environment(path=()):
    paths = [*map(str, path), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


@pytest.fixture(scope="module")
def right(train):
    """The last line of the result where nothing is wrong."""
    code, last, err = train()
    assert (code, err) == (0, "")
    assert last.startswith("test accuracy")
    return last


def limits(which, value):
    return f"import resource; resource.setrlimit({int(which)}, ({value}, {value}))"


#: Root has no limit before it gives up what is root's: CAP_SYS_ADMIN and CAP_SYS_RESOURCE.
ONE_PROCESS = """
import ctypes, resource
if os.getuid() == 0:
    prctl, drop = ctypes.CDLL(None).prctl, 24
    for capability in (21, 24):
        prctl(drop, capability, 0, 0, 0)
    os.setresuid(65534, 0, 0)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
"""


def assert_right_or_one_line(done, right):
    code, last, err = done
    if code == 0:
        assert last == right
    else:
        assert code == 2
        assert last == ""
        assert err.splitlines()[-1].startswith("fastnn: error: ")
    assert err.count("fastnn: ") <= 1
    assert "Traceback" not in err


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the limit is not kept")
@pytest.mark.parametrize(
    ("megabytes", "backend"), [(200, "numba"), (350, "numpy"), (500, "numpy"), (3000, "numba")]
)
def test_little_memory(train, right, megabytes, backend):
    """In between, LLVM ends a process for which there is no memory without a word to Python."""
    limit = limits(resource.RLIMIT_AS, megabytes << 20)
    one_thread = {"OPENBLAS_NUM_THREADS": "1"}
    assert_right_or_one_line(train(backend, limit, one_thread), right)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's rights")
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_no_threads(train, right, backend):
    """For root, for whom there is no limit: as another user, without the right to pass it."""
    assert train(backend, ONE_PROCESS) == (0, right, "")


def test_no_home(train, right):
    gone = {"HOME": "/nonexistent", "XDG_CACHE_HOME": "", "PATH": "", "LANG": "C"}
    assert train(variables=gone) == (0, right, "")


def test_no_standard_error(train, right):
    assert train(limit="os.close(2)", stderr=None)[:2] == (0, right)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package, with its own kernels on disk."""
    # Python writes its own files there, too, and does not see that a limit cuts them off.
    for name in ("NUMBA_CACHE_DIR", "PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    ignored = shutil.ignore_patterns("__pycache__", "mnist")
    folder = tmp_path / "site"
    shutil.copytree(Path(fastnn.__file__).parent, folder / "fastnn", ignore=ignored)
    return folder


def start(package, limit=""):
    return subprocess.Popen(
        python_after(limit, "-c", USE),
        cwd=package,
        env=environment([package]),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def use(package, limit=""):
    return start(package, limit).communicate()


def test_no_large_files(package, train, right, tmp_path):
    """Neither kernels nor a result can be written."""
    out, err = use(package, limits(resource.RLIMIT_FSIZE, 100))
    assert out == RIGHT, err
    assert err.count("RuntimeWarning: compiled kernels cannot be kept on disk") == 1
    for size, unbuffered in ((100, ""), (100, "1"), (4000, "")):
        alone = {"PYTHONUNBUFFERED": unbuffered}
        with (tmp_path / "result").open("w") as result:
            limit = limits(resource.RLIMIT_FSIZE, size)
            code, _, err = train("numpy", limit, alone, stdout=result)
        assert code == (2 if size == 100 else 0)
        assert err.count("\n") == (size == 100)
        assert ("File too large" in err) == (size == 100)
    assert (tmp_path / "result").read_text().splitlines()[-1] == right


def test_eight_processes_on_a_cold_cache_and_then_on_a_damaged_one(package):
    processes = [start(package) for _ in range(8)]
    assert [process.communicate() for process in processes] == [(RIGHT, "")] * 8
    files = sorted(package.rglob("*.nb[ic]"))
    assert files
    for number, file in enumerate(files):  # cut off in the middle, or empty
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2 * (number % 2)])
    assert use(package) == (RIGHT, "")


def test_a_package_that_cannot_be_written(package, tmp_path):
    """A mount that is read-only for root, too; without the right to mount, rights of files."""
    mounted = subprocess.run(
        f"mount --bind {package} {package} && mount -o remount,ro,bind {package}",
        shell=True,
        capture_output=True,
    )
    if mounted.returncode and os.getuid() == 0:
        subprocess.run(["umount", str(package)], capture_output=True)
        pytest.skip("root may write anywhere, and a mount is refused here")
    for folder, _, _ in os.walk(package) if mounted.returncode else ():
        Path(folder).chmod(0o555)
    try:
        assert use(package) == (RIGHT, "")
        assert list((tmp_path / "cache").rglob("*.nbi"))
        assert not list(package.rglob("*.nbi"))
    finally:
        if mounted.returncode:
            for folder, _, _ in os.walk(package):
                Path(folder).chmod(0o755)
        else:
            subprocess.run(["umount", str(package)], check=True)
