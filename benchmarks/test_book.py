"""The book's reader: a reader's own script, and what it calls, with fastnn and without."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastnn import load_mnist
from fastnn.backends import get_backend
from fastnn.bench.timing import Contestant, blas_threads
from fastnn.book.acceleration import accelerate
from fastnn.book.probe import probe

from .recording import Claim, Record

#: The scripts of the tests, and the book's modules as plain files.
SCRIPTS = Path(__file__).parent.parent / "tests" / "book_scripts"
PLAIN = SCRIPTS / "plain"

#: What keeps the processes to one thread.
ONE = {f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL", "NUMBA")}

#: Chapter 4's network of functions, and chapter 5's of layers.
NETWORKS = {
    "functions": PLAIN / "two_layer_net.py",
    "layers": SCRIPTS / "ch05" / "two_layer_net.py",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the plain modules find MNIST, as IDX files that are not packed."""
    place = tmp_path_factory.mktemp("mnist")
    pairs = load_mnist(normalize=False)
    for part, (x, t) in zip(("train", "t10k"), pairs, strict=True):
        (place / f"{part}-images-idx3-ubyte").write_bytes(bytes(16) + x.tobytes())
        (place / f"{part}-labels-idx1-ubyte").write_bytes(bytes(8) + t.tobytes())
    return place


def _script(
    folder: Path, network: str, iterations: int, *, plain: bool, one_thread: bool
) -> tuple[Contestant, list[str]]:
    """The training script as a process, in seconds of the processor or, with all threads, the wall.

    The list takes what it writes.
    """
    place = folder / network
    place.mkdir(exist_ok=True)
    shutil.copy(SCRIPTS / "ch05" / "train_neuralnet.py", place)
    shutil.copy(NETWORKS[network], place)
    paths = [str(PLAIN)] if plain else []
    written: list[str] = []
    variables = {name: value for name, value in os.environ.items() if name not in ONE}
    variables |= (ONE if one_thread else {}) | {"BOOK_MNIST": str(folder)}
    variables["PYTHONPATH"] = os.pathsep.join([*paths, str(SCRIPTS.parent.parent)])
    run = [] if plain else ["-m", "fastnn.book", "--backend", "numba"]

    def sample() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *run, "train_neuralnet.py", str(iterations)],
            cwd=place,
            env=variables,
            capture_output=True,
            text=True,
            check=True,
        )
        wall = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        written.append(done.stdout)
        busy = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        return busy if one_thread else wall

    return sample, written


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("one_thread", [True, False], ids=["one thread", "all threads"])
def test_training_script(network: str, one_thread: bool, folder: Path, record: Record) -> None:
    iterations = 3 if record.quick else 10_000
    ours, written = _script(folder, network, iterations, plain=False, one_thread=one_thread)
    plain, expected = _script(folder, network, iterations, plain=True, one_thread=one_thread)
    threads = "processor time, one thread" if one_thread else "wall clock, all threads"
    record.compare(
        f"the training script, a network of {network}, {threads}",
        {"fastnn.book": ours, "plain Python": plain},
        [Claim("fastnn.book", at_most=0.65 if one_thread else 0.5)],
        unit="script",
        seconds=0 if record.quick else 60,
        fewest=1 if record.quick else 3,
        most=3,
    )
    assert float(written[-1]) == pytest.approx(float(expected[-1]), abs=1e-3)
    if network == "layers" and not record.quick:
        text = "a reader's ReLU network gets all but 3.5 % of the test images right"
        record.statement("the training script", text, 1 - float(written[-1]), 0.035)


def _networks() -> tuple[Any, Any]:
    """A reader's network as it is, and one of the same class that is accelerated."""
    sys.path.insert(0, str(PLAIN))
    try:
        source = NETWORKS["functions"].read_text(encoding="utf-8")
        made = []
        for _ in range(2):
            names: dict[str, Any] = {"__name__": "two_layer_net"}
            exec(compile(source, str(NETWORKS["functions"]), "exec"), names)
            made.append(names["TwoLayerNet"])
    finally:
        sys.path.remove(str(PLAIN))
        for name in [name for name in sys.modules if name.partition(".")[0] == "common"]:
            del sys.modules[name]
    plain, ours = made
    accelerate(ours, probe(ours), get_backend("numba", threads=1), lambda _line: None)
    networks = plain(784, 50, 10), ours(784, 50, 10)
    networks[1].params = networks[0].params
    return networks


@pytest.mark.parametrize(
    ("method", "samples", "bound"),
    [("gradient", 100, 0.65), ("loss", 100, 0.7), ("accuracy", 60_000, 0.45)],
)
def test_one_call(method: str, samples: int, bound: float, record: Record) -> None:
    """On plain arrays of MNIST, as a script hands them in: float32 images, one-hot rows."""
    (x, t), _ = load_mnist(one_hot_label=True)
    rows = np.random.default_rng(0).permutation(60_000)[: 200 if record.quick else samples]
    x, t = x[rows], t[rows].astype(float)
    plain, ours = _networks()

    def contestant(network: Any) -> Contestant:
        call: Callable[..., Any] = getattr(network, method)
        repeats = max(1, 20_000 // len(x) if not record.quick else 1)

        def sample() -> float:
            with blas_threads(1):
                call(x, t)
                started = time.process_time()
                for _ in range(repeats):
                    call(x, t)
                return (time.process_time() - started) / repeats

        return sample

    found, expected = getattr(ours, method)(x, t), getattr(plain, method)(x, t)
    if isinstance(found, dict):
        for name, value in found.items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-9, atol=1e-12)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    record.compare(
        f"{method} of {samples:,} samples of a reader's network, one thread, processor time",
        {"fastnn.book": contestant(ours), "plain Python": contestant(plain)},
        [Claim("fastnn.book", at_most=bound)],
        unit="call",
    )
