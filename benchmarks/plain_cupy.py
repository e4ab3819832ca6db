"""The steps of plain.py as calls of CuPy: what a reader of CuPy's tutorial would write."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from fastnn.backends import Backend
from fastnn.bench.timing import Contestant

from . import plain
from .problems import LEARNING_RATE, Problem, assert_close, tolerance


def plain_steps(gpu: Backend, problem: Problem, iterations: int) -> Contestant:
    """A contestant: so many steps, the data and the row numbers on the device.

    Raises
    ------
    AssertionError
        If after one of them the parameters are not those of plain NumPy.
    """
    xp, x, t = gpu.xp, gpu.asarray(problem.x), gpu.asarray(problem.t)
    W1, b1, W2, b2 = (gpu.asarray(value) for value in problem.params.values())
    own = gpu.asarray(np.arange(problem.size.batch))

    def step(rows: Any) -> Any:
        x_batch, t_batch = x[rows], t[rows]
        z1 = 1 / (1 + xp.exp(-(x_batch @ W1 + b1)))
        logits = z1 @ W2 + b2
        y = xp.exp(logits - logits.max(axis=1, keepdims=True))
        y /= y.sum(axis=1, keepdims=True)
        loss = -xp.log(y[own, t_batch] + 1e-7).mean()
        y[own, t_batch] -= 1
        y /= len(y)
        delta1 = y @ W2.T * z1 * (1 - z1)
        for parameter, gradient in (
            (W1, x_batch.T @ delta1),
            (b1, delta1.sum(axis=0)),
            (W2, z1.T @ y),
            (b2, y.sum(axis=0)),
        ):
            parameter -= LEARNING_RATE * gradient
        return loss

    def run(rows: np.ndarray) -> float:
        with gpu.current():
            gpu.synchronize()
            started = time.perf_counter()
            for batch in gpu.asarray(rows):
                step(batch)
            gpu.synchronize()
            return (time.perf_counter() - started) / len(rows)

    rows, expected = problem.rows(iterations), problem.params
    run(rows[:1])
    plain.step(expected, problem.x[rows[0]], problem.t[rows[0]])
    for value, (name, parameter) in zip((W1, b1, W2, b2), expected.items(), strict=True):
        assert_close(gpu.to_numpy(value), parameter, tolerance(problem.dtype), name)
    return lambda: run(rows)
