"""On an NVIDIA GPU: training with either gradient, and large layers against plain calls of CuPy."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from fastnn.backends import Backend
from fastnn.bench.timing import Contestant

from . import plain
from .problems import DTYPES, LEARNING_RATE, Problem, Size, assert_close, tolerance
from .recording import Claim, Record
from .test_training import steps

#: What is claimed of a step on a GPU of the H200's class, in microseconds.
MOST = {("backprop", "float32"): 15, ("numerical", "float64"): 60}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
def test_training(gradient: str, dtype: str, gpu: Backend, record: Record, problem: Any) -> None:
    """10,000 iterations of the book's network, with the recording of a step.

    The parameters are finished when they end.
    """
    p = problem("book", dtype)
    iterations = 3 if record.quick else 10_000
    name = f"training on the GPU, {gradient}, {p.size}, mnist, {dtype}"
    timings = record.compare(
        name, {"fastnn cupy": steps(p, gpu, iterations, gradient=gradient)}, unit="iteration"
    )
    seconds = timings["fastnn cupy"].median
    record.statement(name, f"{iterations:,} iterations take at most 1 s", iterations * seconds, 1)
    if most := MOST.get((gradient, dtype)):
        record.statement(name, f"an iteration takes at most {most} µs", 1e6 * seconds, most)


@pytest.mark.parametrize("dtype", DTYPES)
def test_large_layers(dtype: str, gpu: Backend, record: Record) -> None:
    """What cuBLAS is for: fastnn must not be in its way."""
    size = Size(784, 4096, 8192)
    p = Problem(size.shrunk() if record.quick else size, dtype, quick=record.quick)
    iterations = 3 if record.quick else 50
    record.compare(
        f"training step on the GPU, {p.size}, mnist, {dtype}",
        {
            "fastnn cupy": steps(p, gpu, iterations),
            "plain CuPy": _plain_steps(gpu, p, iterations),
        },
        [Claim("fastnn cupy", at_most=1.05)],
        unit="iteration",
    )


def _plain_steps(gpu: Backend, problem: Problem, iterations: int) -> Contestant:
    """The steps of plain.py as calls of CuPy, the data and the row numbers on the device.

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
