"""The compiled kernels on disk: those of the present code, intact, or compiled anew.

Each test runs fresh processes over a copy of the package, whose cache is its own.
"""

import json
import os
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import fastnn

USE = """
import logging, sys, numpy as np, fastnn
logging.basicConfig(level="INFO", format="%(message)s")
backend = fastnn.get_backend("numba")
for dtype in sys.argv[1:] or ["float64"]:
    one = np.ones((1, 1), dtype)
    print(f"{backend.dense(one, one, one[0], 'sigmoid')[0, 0]:.6g}")
"""
SIGMOID = "return like(x, 1) / (like(x, 1) + exp(-x))"

RIGHT = [0.880797]

#: The loss of a probability of 0: what is printed is the guard.
LOSS = """
import math, numpy as np, fastnn
loss = fastnn.get_backend("numba").loss(np.zeros((1, 2)), np.array([0]), "cross_entropy")
print(f"{math.exp(-loss):.0e}")
"""


@pytest.fixture
def package(tmp_path):
    """A copy of fastnn."""
    copy = tmp_path / "fastnn"
    ignored = shutil.ignore_patterns("__pycache__", "mnist")
    return Path(shutil.copytree(Path(fastnn.__file__).parent, copy, ignore=ignored))


@pytest.fixture
def use(package, python):
    """Use a kernel in a new process; the numbers printed, and whether anything was compiled."""

    def run(*dtypes):
        found = python("-c", USE, *dtypes, path=[package.parent])
        assert found.code == 0, found.err
        assert "Traceback" not in found.err
        return [float(number) for number in found.out.split()], "compiling" in found.err

    return run


def change(path, old, new):
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def change_sigmoid(package):
    """To one that is a quarter everywhere."""
    change(
        package / "backends" / "numba" / "kernels" / "elementary.py",
        SIGMOID,
        "return like(x, 0.25)",
    )


def on_disk(package, suffix="nb[ic]"):
    return sorted(Path(package).rglob(f"*.{suffix}"))


@pytest.fixture(autouse=True)
def in_tree(monkeypatch):
    """Kernels and bytecode are kept beside their source, as they are by default."""
    for name in ("NUMBA_CACHE_DIR", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"):
        monkeypatch.delenv(name, raising=False)


# -- what they depend on ---------------------------------------------------------------------------


def test_a_function_that_a_kernel_calls_has_changed(package, use):
    assert use() == (RIGHT, True)
    assert use() == (RIGHT, False)
    change_sigmoid(package)
    assert use() == ([0.25], True)
    assert use() == ([0.25], False)


@pytest.mark.parametrize("time", ["now", "older", "future", "same"])
def test_a_constant_of_another_module_has_changed_whatever_the_time_of_the_file(
    package, python, time
):
    functions = package / "functions" / "losses.py"
    before = functions.stat()
    assert python("-c", LOSS, path=[package.parent]).out == "1e-07\n"
    change(functions, "LOG_GUARD = 1e-7", "LOG_GUARD = 1e-2")
    assert functions.stat().st_size == before.st_size
    if time != "now":
        moved = before.st_mtime + {"older": -1e6, "future": 1e8, "same": 0}[time]
        os.utime(functions, (moved, moved))
    if time == "same":  # Python itself then goes on with the old bytecode
        assert python("-c", LOSS, path=[package.parent]).out == "1e-07\n"
        for bytecode in package.rglob(f"{functions.stem}.*.pyc"):
            bytecode.unlink()
    assert python("-c", LOSS, path=[package.parent]).out == "1e-02\n"


def test_the_time_of_unchanged_files_makes_nothing_wrong(package, use):
    assert use() == (RIGHT, True)
    for time in (0, 2**31 - 2):
        for path in package.rglob("*.py"):
            os.utime(path, (time, time))
        assert use()[0] == RIGHT


def test_a_process_with_old_code_compiles_late(package, python, use):
    """Into the same folder, after a process with new code has."""
    late = """
import subprocess, sys, numpy as np, fastnn
backend = fastnn.get_backend("numba")
text = open(sys.argv[1], encoding="utf-8").read()
open(sys.argv[1], "w", encoding="utf-8").write(text.replace(sys.argv[2], "return like(x, 0.25)"))
print(subprocess.check_output([sys.executable, "-c", sys.argv[3]], text=True).strip())
one = np.ones((1, 1))
print(f"{backend.dense(one, one, one[0], 'sigmoid')[0, 0]:.6g}")
"""
    elementary = package / "backends" / "numba" / "kernels" / "elementary.py"
    done = python("-c", late, elementary, SIGMOID, USE, path=[package.parent])
    assert done.out.split() == ["0.25", "0.880797"], done.err
    assert use()[0] == [0.25]
    assert use() == ([0.25], False)


def test_what_is_outdated_is_removed_but_not_that_of_other_versions_of_python(package, use):
    use("float32", "float64")
    old = on_disk(package)
    assert len(old) == 3
    other = [old[0].with_name(name) for name in ("layers.f-1.py399.nbi", "layers.f-1.py399.1.nbc")]
    for path in other:
        path.touch()
    change_sigmoid(package)
    # Lines move.
    change(
        package / "backends" / "numba" / "kernels" / "layers.py",
        "from __future__",
        "\n\nfrom __future__",
    )
    assert use() == ([0.25], True)
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in other)
    assert len(on_disk(package)) == 2 + len(other)


def test_other_bytecode_of_the_same_code_has_kernels_of_its_own(package, python, use):
    assert use() == (RIGHT, True)
    for compiles in (True, False):
        found = python("-OO", "-c", USE, path=[package.parent])
        assert (found.out, "compiling" in found.err) == ("0.880797\n", compiles)
    assert use() == (RIGHT, False)


def test_several_processes_at_once(package, use):
    use()
    change_sigmoid(package)
    with ThreadPoolExecutor() as threads:
        found = list(threads.map(lambda dtype: use(dtype)[0], ["float32", "float64"] * 3))
    assert found == [[0.25]] * 6
    assert use("float32", "float64")[0] == [0.25, 0.25]


# -- what is damaged -------------------------------------------------------------------------------


def flip(data, position):
    return data[:position] + bytes([data[position] ^ 255]) + data[position + 1 :]


DAMAGE = {
    "empty": lambda _: b"",
    "cut-off": lambda data: data[: len(data) * 2 // 3],
    "zeros": lambda data: bytes(len(data)),
    "text": lambda _: b"<<<<<<< HEAD\n",
    "a pickle of something else": lambda _: b"\x80\x04N.",
    "one byte": lambda data: flip(data, len(data) // 2),
}


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_damaged_files_are_compiled_again(package, use, suffix):
    use()
    for damage, damaged in DAMAGE.items():
        (path,) = on_disk(package, suffix)
        path.write_bytes(damaged(path.read_bytes()))
        assert use() == (RIGHT, True), damage
        assert use() == (RIGHT, False), damage


def test_a_kernel_for_other_types_is_not_taken(package, use):
    """Two processes that write at the same time may take one file for both."""
    assert use("float32", "float64")[0] == RIGHT * 2
    one, two = on_disk(package, "nbc")
    for source, target in ((one, two), (two, one)):
        before = source.read_bytes(), target.read_bytes()
        target.write_bytes(before[0])
        assert use("float32", "float64") == (RIGHT * 2, True)
        assert use("float32", "float64") == (RIGHT * 2, False)


# -- where nothing can be written ------------------------------------------------------------------


def block(package, monkeypatch):
    """Let there be no folder for Numba's cache, also for root, who may write anywhere."""
    nowhere = package.parent / "a file"
    nowhere.touch()
    for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(nowhere / "cache"))
    folder = package / "backends" / "numba" / "kernels" / "__pycache__"
    if folder.exists():
        shutil.rmtree(folder)
    folder.touch()


def test_without_a_folder_it_compiles_in_each_process_and_warns_once(
    package, python, use, monkeypatch
):
    block(package, monkeypatch)
    for _ in range(2):
        found = python("-c", USE, "float32", "float64", path=[package.parent])
        assert (found.code, found.out) == (0, "0.880797\n0.880797\n"), found.err
        assert found.err.count("RuntimeWarning") == 1
        assert "NUMBA_CACHE_DIR" in found.err
    elsewhere = package.parent / "elsewhere"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(elsewhere))
    assert use() == (RIGHT, True)
    assert use() == (RIGHT, False)
    assert len(on_disk(elsewhere)) == 2


def test_a_folder_that_cannot_be_written_any_more(package, python):
    lost = """
import shutil, numpy as np, fastnn
from fastnn.backends.numba.kernels import layers
backend, folder = fastnn.get_backend("numba"), layers.add_bias_and_activate.stats.cache_path
shutil.rmtree(folder)
open(folder, "w").close()
for dtype in ("float32", "float64"):
    one = np.ones((1, 1), dtype)
    print(f"{backend.dense(one, one, one[0], 'sigmoid')[0, 0]:.6g}")
"""
    done = python("-c", lost, path=[package.parent])
    assert (done.code, done.out) == (0, "0.880797\n0.880797\n"), done.err
    assert done.err.count("RuntimeWarning") == 1


def test_from_a_zip_archive(package, python, monkeypatch, tmp_path):
    archive = tmp_path / "archive.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in package.rglob("*.py"):
            file.write(path, path.relative_to(tmp_path))
    shutil.rmtree(package)
    for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))
    for compiles in (True, False):
        found = python(
            "-c", "import fastnn\nassert '.zip' in fastnn.__file__" + USE, path=[archive]
        )
        assert (found.code, found.out, "compiling" in found.err) == (0, "0.880797\n", compiles), (
            found.err
        )


def test_in_a_frozen_program(package, python, monkeypatch, tmp_path):
    """Its modules may have loaders that know no more than to load them."""
    for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))
    frozen = """
import sys, importlib.util
find_spec = importlib.util.find_spec

class Loader: pass

def find(name):
    spec = find_spec(name)
    if name.startswith("fastnn"):
        spec.loader, spec.submodule_search_locations = Loader(), None
    return spec

sys.frozen, importlib.util.find_spec = True, find
"""
    found = python("-c", frozen + USE, path=[package.parent])
    assert (found.code, found.out) == (0, "0.880797\n"), found.err


# -- what is said ----------------------------------------------------------------------------------


def test_compilation_is_logged_once_however_many_backends_there_are(package, python):
    code = """
import logging, numpy as np
from fastnn.backends.numba.backend import NumbaBackend
logging.basicConfig(level="INFO", format="%(message)s")
one = np.ones((1, 1))
for backend in [NumbaBackend() for _ in range(3)]:
    backend.dense(one, one, one[0])
    backend.output(one, "cross_entropy")
"""
    assert python("-c", code, path=[package.parent]).err.count("compiling kernels") == 1


def test_a_function_without_a_module_is_compiled_beside_ours(python):
    code = """
import numba, fastnn
fastnn.get_backend("numba")  # listens to what is compiled
names = {"numba": numba}
exec("@numba.njit\\ndef f(x):\\n    return x + 1", names)  # what exec() defines has none
print(names["f"](1))
"""
    assert python("-c", code).out == "2\n"


def test_nothing_of_numba_is_imported_before_the_kernels_are(python):
    code = """
import sys
from fastnn.backends.numba import backend, cache, kernels, samples, threads
assert "numba" not in sys.modules
import fastnn.backends.numba.kernels.layers
assert "numba" in sys.modules
"""
    done = python("-c", code)
    assert done.code == 0, done.err


def test_functions_of_a_factory_have_names_of_their_own():
    # Or kernels that processes have compiled in another order share one of them when loaded.
    from fastnn.backends.numba.kernels import products

    for factory in (products._product, products._transposed_product):
        names = {factory(width).py_func.__qualname__ for width in (8, 16, 32)}
        assert len(names) == 3
    wide = products.by_width(products._product), products.by_width(products._transposed_product)
    assert len({function.py_func.__qualname__ for function in wide}) == 2


ONE_OR_TWO = """
import json, sys
import numpy as np
import fastnn
rng = np.random.default_rng(0)
x = rng.random((60, 20)) * (rng.random((60, 20)) < 0.3)
t = rng.integers(4, size=60)
losses = []
for optimizer in sys.argv[2:]:
    net = fastnn.TwoLayerNet(20, 9, 4, 0.5, backend=sys.argv[1], rng=0)
    history = fastnn.train(net, x, t, iterations=40, batch_size=7, optimizer=optimizer, rng=1)
    losses += history.loss.tolist()
print(json.dumps(losses))
"""


def test_kernels_of_several_processes_do_not_share_their_functions(python, tmp_path, monkeypatch):
    """One compiles a kernel, the next another and loads the first, and each is right."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))

    def losses(*arguments):
        done = python("-c", ONE_OR_TWO, *arguments)
        assert done.code == 0, done.err
        return json.loads(done.out)

    first = losses("numba", "nesterov")
    both = losses("numba", "adam", "nesterov")
    assert both[40:] == first
    assert both == pytest.approx(losses("numpy", "adam", "nesterov"), rel=1e-9)


INTERRUPTED = """
import os, signal, sys
os.environ["NUMBA_CACHE_DIR"] = sys.argv[1]
from numba.core import event
import fastnn

class Sends:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
        for _ in range(10):
            pass

class InTheMiddle(event.Listener):
    sent = False

    def on_start(self, event):
        if not self.sent:
            self.sent = True
            Sends()

    def on_end(self, event):
        pass

backend = fastnn.get_backend("numba")
event.register("numba:compile", InTheMiddle())
try:
    backend.warm_up("float32")
except KeyboardInterrupt:
    print("interrupted")
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


def test_ctrl_c_is_not_lost_while_something_is_compiled(python, tmp_path):
    """Where the signal comes in the middle of a finalizer, as one of the compiler's."""
    done = python("-c", INTERRUPTED, tmp_path / "cache")
    assert done.out == "interrupted\nTrue\n", done.err
    assert "Exception ignored" not in done.err
