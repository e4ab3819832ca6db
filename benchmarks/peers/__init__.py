"""The peers: other ways to train the same network and differentiate its loss, on the same data.

Each is a class that is given a :class:`benchmarks.problems.Problem`, trains from its initial
weights with its batches, and raises ImportError where the library or the device that it needs is
missing. `PEERS` names those that run on the CPU, `GPU_PEERS` those on a GPU.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from fastnn.bench.timing import Contestant, blas_threads

from .. import plain
from ..problems import Problem, assert_close, tolerance

#: name → (where it is, the numbers of threads to try; None leaves the library its own choice).
#: Small matrices are often faster with one thread than with two.
PEERS: dict[str, tuple[str, tuple[int | None, ...]]] = {
    "book's loop": ("numpy_by_hand:Book", (1, 2)),
    "NumPy by hand": ("numpy_by_hand:Lean", (1, 2)),
    "PyTorch eager": ("pytorch:Eager", (1, 2)),
    "PyTorch by hand": ("pytorch:ByHand", (1, 2)),
    "PyTorch compiled": ("pytorch:Compiled", (1, 2)),
    "JAX step": ("jax_numpy:Step", (None,)),
    "JAX scan": ("jax_numpy:Scan", (None,)),
    "scikit-learn fit": ("scikit_learn:Fit", (1, 2)),
    "scikit-learn partial_fit": ("scikit_learn:PartialFit", (1, 2)),
}
GPU_PEERS: dict[str, tuple[str, tuple[int | None, ...]]] = {
    "PyTorch CUDA graph": ("pytorch:CudaGraph", (None,)),
    "PyTorch CUDA graph of 50 steps": ("pytorch:CudaGraphOfManySteps", (None,)),
    "JAX scan on the GPU": ("jax_numpy:ScanOnGpu", (None,)),
}


class Peer(Protocol):
    """A network in training."""

    def __init__(self, problem: Problem) -> None: ...

    def run(self, rows: np.ndarray) -> None:
        """One iteration on the samples of each row of `rows`; finished when it returns."""

    def params(self) -> dict[str, np.ndarray]:
        """The parameters now, under the book's names."""


def contestants(
    problem: Problem, iterations: int, names: tuple[str, ...] = tuple(PEERS)
) -> dict[str, Contestant | str]:
    """Each peer as a contestant, by number of threads, or the reason why it cannot take part.

    Raises
    ------
    AssertionError
        If after three iterations its parameters are not those of plain NumPy.
    """
    rows = problem.rows(iterations)
    result: dict[str, Contestant | str] = {}
    for name in names:
        where, threads = (PEERS | GPU_PEERS)[name]
        try:
            peer = _checked(name, where, problem, rows[:3])
        except ImportError as error:
            result[name] = str(error)
            continue
        for count in threads:
            label = name if count is None else f"{name}, {count} thread{'s' if count > 1 else ''}"
            result[label] = _contestant(peer, rows, count)
    return result


def _checked(name: str, where: str, problem: Problem, rows: np.ndarray) -> Peer:
    module, _, attribute = where.partition(":")
    peer: Peer = getattr(import_module(f".{module}", __name__), attribute)(problem)
    peer.run(rows)
    expected = problem.params
    for batch in rows:
        plain.step(expected, problem.x[batch], problem.t[batch])
    for key, value in peer.params().items():
        assert_close(value, expected[key], tolerance(problem.dtype), f"{key} of {name}")
    return peer


def _contestant(peer: Peer, rows: np.ndarray, count: int | None) -> Contestant:
    def sample() -> float:
        with threads(count):
            started = time.perf_counter()
            peer.run(rows)
            return (time.perf_counter() - started) / len(rows)

    return sample


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Give BLAS and PyTorch so many threads for a while; None changes nothing."""
    if count is None:
        yield
        return
    torch: Any = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    with blas_threads(count):
        if torch:
            torch.set_num_threads(count)
        try:
            yield
        finally:
            if torch:
                torch.set_num_threads(before)
