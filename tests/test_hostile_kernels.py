"""No place, or a bad one, for compiled kernels: they run all the same, and the reason is one line.

One of the kinds that ``test_hostile.py`` lists; ``test_numba_cache.py`` has what is damaged.
"""

import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from idx import write_mnist

import fastnn
from fastnn.backends.cupy.sources import MODULES

USE = """
import numpy as np, fastnn
net = fastnn.TwoLayerNet(4, 3, 2, backend={backend!r}, rng=0)
print(fastnn.train(net, np.eye(4), [0, 1, 0, 1], iterations=5, batch_size=2, rng=0).loss[-1])
"""


@pytest.fixture(scope="module")
def loss():
    net = fastnn.TwoLayerNet(4, 3, 2, backend="numpy", rng=0)
    history = fastnn.train(net, np.eye(4), [0, 1, 0, 1], iterations=5, batch_size=2, rng=0)
    return pytest.approx(history.loss[-1], rel=1e-9)


@pytest.fixture
def no_place(monkeypatch, tmp_path):
    """A copy of the package without a place for kernels, also for root, who may write anywhere."""
    ignored = shutil.ignore_patterns("__pycache__")
    copy = shutil.copytree(Path(fastnn.__file__).parent, tmp_path / "fastnn", ignore=ignored)
    nowhere = tmp_path / "a file"
    nowhere.touch()
    for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(nowhere / "cache"))
    for name in ("NUMBA_CACHE_DIR", "PYTHONPYCACHEPREFIX"):
        monkeypatch.delenv(name, raising=False)
    (copy / "backends" / "numba" / "kernels" / "__pycache__").touch()
    return tmp_path


def test_no_place_for_kernels_at_the_command_line(no_place, python):
    done = python("-m", "fastnn", "backends", path=[no_place])
    assert done.code == 0
    assert "\nnumba " in done.out
    assert done.err.startswith("fastnn: warning: compiled kernels cannot be kept on disk")
    assert done.err.count("\n") == 1
    write_mnist(no_place, train=40, test=20)
    options = ["--data", no_place, "--iterations", 3, "--batch-size", 5]
    done = python("-m", "fastnn", "train", *options, path=[no_place])
    assert done.code == 0, done.err
    assert "test accuracy" in done.out
    assert done.err.count("\n") == 1


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs rights of POSIX")
@pytest.mark.parametrize(
    ("rights", "above", "warned"),
    [(0o777, 0o755, True), (0o1777, 0o755, False), (0o755, 0o777, True), (0o755, 0o1777, False)],
    ids=oct,
)
def test_a_folder_that_others_can_write_to(python, tmp_path, monkeypatch, rights, above, warned):
    """In one with the sticky bit, as /tmp, our own folder is ours."""
    folder = tmp_path / "above" / "kernels"
    folder.mkdir(parents=True)
    folder.chmod(rights)
    folder.parent.chmod(above)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(folder))
    code = "from fastnn.backends.numba.kernels import softmax, layers"
    done = python("-c", code)
    assert done.code == 0
    assert done.err.count("RuntimeWarning") == warned
    if warned:
        assert str(folder if rights == 0o777 else folder.parent) in done.err
        assert "NUMBA_CACHE_DIR" in done.err


def archive(tmp_path):
    package, archive = Path(fastnn.__file__).parent, tmp_path / "archive.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in [*package.rglob("*.py"), *package.rglob("*.cu")]:
            file.write(path, path.relative_to(package.parent))
    return archive


FROZEN = """
import importlib.abc, importlib.util, sys, zipfile
class Frozen(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    archive = zipfile.ZipFile(sys.argv[1])
    def find_spec(self, name, path=None, target=None):
        stem = name.replace(".", "/")
        for file in (f"{stem}/__init__.py", f"{stem}.py"):
            if file in self.archive.namelist():
                package = file.endswith("__init__.py")
                return importlib.util.spec_from_loader(name, self, is_package=package)
    def is_package(self, name):
        return f"{name.replace('.', '/')}/__init__.py" in self.archive.namelist()
    def get_source(self, name):
        stem = name.replace(".", "/")
        file = f"{stem}/__init__.py" if self.is_package(name) else f"{stem}.py"
        return self.archive.read(file).decode()
    def get_code(self, name):
        return compile(self.get_source(name), f"{name.replace('.', '/')}.py", "exec")
sys.frozen = True
sys.meta_path.insert(0, Frozen())
import fastnn
assert not hasattr(fastnn, "__file__")
"""


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("packed", ["zip", "frozen"])
def test_without_files(python, tmp_path, monkeypatch, packed, backend, loss):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    file = archive(tmp_path)
    start, path = (FROZEN, []) if packed == "frozen" else ("", [file])
    done = python("-c", start + USE.format(backend=backend), file, path=path)
    assert done.code == 0, done.err
    assert float(done.out) == loss
    assert done.err.count("\n") <= 2  # that nothing is kept


def test_the_source_of_the_cuda_kernels_in_an_archive(python, tmp_path):
    code = """
import fastnn
from fastnn.backends.cupy.sources import MODULES
assert ".zip" in fastnn.__file__
print(sum(len(sources.source()) for sources in MODULES.values()))
"""
    done = python("-c", code, path=[archive(tmp_path)])
    length = sum(len(sources.source()) for sources in MODULES.values())
    assert (done.code, int(done.out)) == (0, length), done.err


LITTLE_MEMORY = """
import resource
import numpy as np, fastnn
backend = fastnn.get_backend("numba")
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + {more} * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
net = fastnn.TwoLayerNet(4, 3, 2, backend=backend, rng=0)
try:
    fastnn.train(net, np.eye(4), [0, 1, 0, 1], iterations=5, batch_size=2)
except fastnn.HostMemoryError as error:
    print(error)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
@pytest.mark.parametrize("more", [2, 20, 70, 150])
@pytest.mark.parametrize("compiled", [False, True])
def test_no_memory_for_the_compiler(python, tmp_path, monkeypatch, more, compiled):
    """LLVM would end the process, or worse."""
    if not compiled:
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    done = python("-c", LITTLE_MEMORY.format(more=more))
    assert done.code == 0, done.err
    assert done.out.startswith("there are no 256 MiB of memory for the compiler of kernels; ")
    assert done.out.count("\n") == 1


def test_the_blas_of_scipy_is_loaded_before_a_worker_is(python, tmp_path, monkeypatch):
    """In a worker, which is kept off a processor, it would count too few."""
    pytest.importorskip("scipy")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    done = python(
        "-c",
        "import sys, fastnn; fastnn.get_backend('numba'); "
        "print('scipy.linalg.cython_blas' in sys.modules)",
    )
    assert (done.code, done.out) == (0, "True\n"), done.err
