"""Numerical gradients: fastnn's, beside those of peers that differentiate the same loss.

The loss is taken as a function of its parameters.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn.bench.book_net import sampled_indices
from fastnn.bench.timing import Contestant, blas_threads

from .. import plain
from ..problems import DTYPES, STEP, Problem, assert_close
from ..recording import Record
from ..test_numerical_gradient import book_gradients, fastnn_gradients


class Loss:
    """The network's loss as a function of some entries of W1, the others held fixed."""

    def __init__(self, problem: Problem, parameters: int) -> None:
        rows = problem.rows(1)[0]
        self.x, self.t = problem.x[rows], problem.t[rows]
        self.params = problem.params
        self.indices = sampled_indices(self.params["W1"], parameters)
        self._where = tuple(np.array(self.indices).T)
        self.start = self.params["W1"][self._where].copy()

    def __call__(self, values: np.ndarray) -> float:
        self.params["W1"][self._where] = values
        return plain.loss(self.params, self.x, self.t)

    def vectorized(self, points: np.ndarray) -> np.ndarray:
        """Of an array (entries, ...): one loss for each point."""
        flat = points.reshape(len(points), -1)
        return np.array([self(flat[:, i]) for i in range(flat.shape[1])]).reshape(points.shape[1:])

    def gradient(self) -> np.ndarray:
        """By backpropagation, in float64."""
        double = {name: value.astype(np.float64) for name, value in self.params.items()}
        return plain.gradient(double, self.x.astype(np.float64), self.t)["W1"][self._where]


def _fastnn(f: Loss) -> Callable[[], np.ndarray]:
    return lambda: fastnn.numerical_gradient(f, f.start, h=STEP)


def _jax(f: Loss) -> Callable[[], np.ndarray]:
    from .jax_numpy import central_differences

    return central_differences(f.params, f.x, f.t, f.indices, STEP)


def _scipy_forward(f: Loss) -> Callable[[], np.ndarray]:
    from scipy.optimize import approx_fprime

    return lambda: approx_fprime(f.start, f, STEP)


def _scipy_jacobian(f: Loss) -> Callable[[], np.ndarray]:
    from scipy.differentiate import jacobian

    return lambda: jacobian(f.vectorized, f.start, initial_step=STEP, order=2, maxiter=1).df


def _numdifftools(f: Loss) -> Callable[[], np.ndarray]:
    from numdifftools import Gradient

    return lambda: Gradient(f, step=STEP, method="central", order=2)(f.start)


#: name → (what makes the function to time, on how many parameters it is timed)
PEERS: dict[str, tuple[Callable[[Loss], Callable[[], np.ndarray]], int]] = {
    "fastnn.numerical_gradient": (_fastnn, 200),
    "JAX vmap": (_jax, 500),
    "SciPy approx_fprime (forward)": (_scipy_forward, 200),
    "SciPy jacobian": (_scipy_jacobian, 50),
    "numdifftools Gradient": (_numdifftools, 50),
}


@pytest.mark.parametrize("dtype", DTYPES)
def test_numerical_gradient(dtype: str, record: Record, problem: Any) -> None:
    """Times are for all parameters; those of one entry at a time are timed on some and scaled."""
    p = problem("book", dtype)
    running: dict[str, Contestant | str] = fastnn_gradients(p) | book_gradients(p, 100)
    for name, (make, parameters) in PEERS.items():
        try:
            running[name] = _contestant(make, Loss(p, parameters), p, name)
        except ImportError as error:
            running[name] = str(error)
    record.compare(
        f"numerical gradient beside the peers, {p.size}, mnist, {dtype}",
        running,
        unit="gradient",
        seconds=6,
    )


def _contestant(make: Callable, f: Loss, problem: Problem, name: str) -> Contestant:
    call = make(f)
    if problem.dtype == "float64":  # in float32, differences of losses in float32 are noise
        assert_close(call(), f.gradient(), 1e-2 if "forward" in name else 1e-4, name)

    def sample() -> float:
        with blas_threads(1):
            started = time.perf_counter()
            call()
            return (time.perf_counter() - started) * problem.size.parameters / len(f.start)

    return sample
