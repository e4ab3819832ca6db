"""Training steps with optimizers: what a rule costs beside plain gradient descent."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from fastnn.backends import Backend, get_backend
from fastnn.bench.timing import Contestant
from fastnn.optimizers import OPTIMIZERS
from fastnn.stepping import runner

from .problems import DTYPES, Problem, assert_close, tolerance
from .recording import Claim, Record

#: How long a step with these may take, over one of plain gradient descent.
BOUNDS = {"momentum": 1.5, "adam": 2.0}

#: The learning rate of each optimizer here; the book's defaults.
RATES = {name: cls().lr for name, cls in OPTIMIZERS.items()}


def optimizer_steps(
    problem: Problem, backend: str | Backend, name: str, iterations: int
) -> Contestant:
    """The steps of a training, with an optimizer of this name, by the runner of the loop.

    Raises
    ------
    AssertionError
        If the first three steps do not make what the optimizer's own update makes.
    """
    backend = get_backend(backend)
    network, rows = problem.network(backend), problem.rows(iterations)
    data = network.dataset(problem.x, problem.t)
    options: Any = {"gradient": "backprop", "batch_size": problem.size.batch}
    _check(problem, backend, name, rows[:3], data, options)
    optimizer = OPTIMIZERS[name](lr=RATES[name])
    run = runner(network, data, optimizer=optimizer, **options)
    on_backend, losses = backend.asarray(rows), backend.empty(iterations, problem.dtype)
    rates = np.full(iterations, optimizer.lr)

    def sample() -> float:
        with backend.current():
            started = time.perf_counter()
            run(on_backend, losses, rates)
            backend.synchronize()
            return (time.perf_counter() - started) / iterations

    return sample


def _check(
    problem: Problem, backend: Backend, name: str, rows: np.ndarray, data: Any, options: Any
) -> None:
    network, expected = problem.network(backend), problem.network("numpy")
    optimizers = [OPTIMIZERS[name](lr=RATES[name]) for _ in range(2)]
    run = runner(network, data, optimizer=optimizers[0], **options)
    with backend.current():
        losses, rates = backend.empty(len(rows), problem.dtype), np.full(len(rows), RATES[name])
        run(backend.asarray(rows), losses, rates)
    for batch in rows:
        gradients = expected.gradient(problem.x[batch], problem.t[batch])
        optimizers[1].update(expected.params, gradients)
    for key, value in expected.params.items():
        # A gradient that is rounding alone is divided by its own size.
        loose = 1e-2 if problem.dtype == "float32" else 1e3 * tolerance(problem.dtype)
        assert_close(backend.to_numpy(network.params[key]), value, loose, f"{key} by {name}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("data", ["mnist", "dense"])
@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_optimizers(backend: str, data: str, dtype: str, record: Record, problem: Any) -> None:
    p = problem("book", dtype, data)
    iterations = 3 if record.quick else 300
    timed = {name: optimizer_steps(p, backend, name, iterations) for name in OPTIMIZERS}
    record.compare(
        f"optimizers on {backend}, {p.size}, {data}, {dtype}",
        timed,
        [Claim(name, ("sgd",), at_most=bound) for name, bound in BOUNDS.items()]
        if backend == "numba"
        else [],
        unit="iteration",
        seconds=20,
    )
