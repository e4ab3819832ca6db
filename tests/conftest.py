"""What the tests share: the backends they run over, both dtypes, the data, and fresh processes."""

import os
import signal
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest
from cuda_on_cpu import raw_module
from cuda_on_cpu.backend import CupyOnCpuBackend
from hypothesis import settings

import fastnn
from fastnn.backends import availability
from fastnn.backends.array_api import ArrayApiBackend
from fastnn.backends.base import Backend
from fastnn.backends.numba import compilers

# Scripts of the book's kind, a package that a test installs, and what only imports where NVRTC is.
collect_ignore = ["book_scripts", "book_notebooks", "mirror", "faults", "nvrtc.py"]

# A shell ignores SIGINT for what it starts in the background, and Python keeps to that. The tests
# send some, to themselves and to others.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("fastnn", deadline=None, max_examples=40)
settings.register_profile(
    "fastnn-ci", settings.get_profile("fastnn"), derandomize=True, print_blob=True
)
settings.load_profile("fastnn-ci" if os.environ.get("CI") else "fastnn")


#: Runs its first argument, and Python with the others in its place: what a process is to find, set
#: without a fork of this one (of which JAX and, from 3.12 on, Python itself warn).
IN_PLACE = """
import os, signal, sys
exec(sys.argv[1])
os.execv(sys.executable, [sys.executable, "-B", *sys.argv[2:]])
"""


def python_after(code, *arguments):
    """The command that runs Python after `code`: limits and handlers outlive the exec.

    Without .pyc files: where files have a limit, Python leaves one cut off, which then nobody can
    import (python/cpython#126606).
    """
    return [sys.executable, "-ISc", IN_PLACE, code, *map(str, arguments)]


class ReferenceBackend(Backend):
    """The reference implementation of the contract over NumPy, with nothing overridden."""

    name = "reference"
    xp = np


class StrictBackend(ArrayApiBackend):
    """The reference over the array API standard and nothing more."""

    name = "strict"

    def __init__(self):
        super().__init__(pytest.importorskip("array_api_strict"))


@pytest.fixture(scope="session", autouse=True)
def _compile_alone():
    """Where tests run side by side, each process compiles its kernels: others would be in the way.

    It is the processes that tests start that are helped, and the tests of that.
    """
    with pytest.MonkeyPatch.context() as patch:
        if "PYTEST_XDIST_WORKER" in os.environ:
            patch.setattr(compilers, "HAS_LOCKS", False)
        yield


@pytest.fixture(scope="session")
def cupy_on_the_cpu():
    if not raw_module.compiler():
        pytest.skip("there is no g++ to build the CUDA kernels for the CPU; apt-get install g++")

    return CupyOnCpuBackend()


@pytest.fixture(params=["cpu", pytest.param("gpu", marks=pytest.mark.gpu)])
def cupy(request):
    """The CuPy backend over kernels that run on the CPU, and on a GPU where there is one."""
    if request.param == "cpu":
        return request.getfixturevalue("cupy_on_the_cpu")
    if not (found := availability("cupy")).available:
        pytest.skip(f"{found.reason}; {found.remedy}")
    return fastnn.get_backend("cupy")


@pytest.fixture(
    scope="session",
    params=[
        *("reference", "array-api-strict", "numpy", "numba", "cupy-on-cpu"),
        pytest.param("torch", marks=pytest.mark.torch),
        pytest.param("cupy", marks=pytest.mark.gpu),
    ],
    ids=lambda name: name,
)
def backend(request):
    """Each backend, and the reference that all start from.

    Only those for GPUs and PyTorch may be missing.
    """
    if request.param == "reference":
        return ReferenceBackend()
    if request.param == "array-api-strict":
        return StrictBackend()
    if request.param == "cupy-on-cpu":
        return request.getfixturevalue("cupy_on_the_cpu")
    if request.param in ("torch", "cupy") and not (found := availability(request.param)).available:
        pytest.skip(f"{found.reason}; {found.remedy}")
    return fastnn.get_backend(request.param)


@pytest.fixture(scope="session", params=["float32", "float64"])
def dtype(request):
    return np.dtype(request.param)


@pytest.fixture(scope="session")
def mnist():
    """(x_train, t_train), (x_test, t_test), with labels."""
    return fastnn.load_mnist()


@pytest.fixture(scope="session")
def digits_model(tmp_path_factory, mnist):
    """The file of a network that knows nine digits of ten, with what its samples are."""
    net = fastnn.TwoLayerNet(784, 50, 10, dtype="float32", backend="numpy", rng=0)
    fastnn.train(net, *mnist[0], iterations=2500, learning_rate=0.5, progress=False, rng=0)
    fastnn.load_data().describe(net)
    path = tmp_path_factory.mktemp("digits") / "digits.safetensors"
    net.save(path)
    return path


class Finished(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def python(tmp_path):
    """Run Python in a fresh process, and return exit code and output.

    `path` are directories to put before its path.
    """

    def run(*arguments, path=(), stdout=subprocess.PIPE):
        paths = [str(entry) for entry in path] + os.environ.get("PYTHONPATH", "").split(os.pathsep)
        variables = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PYTHONUTF8": "1",
        }
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=tmp_path,
            env=variables,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )
        return Finished(done.returncode, done.stdout or "", done.stderr)

    return run
