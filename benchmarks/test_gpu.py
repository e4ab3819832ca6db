"""On an NVIDIA GPU: training with either gradient, and large layers against plain calls of CuPy."""

from __future__ import annotations

from typing import Any

import pytest

from fastnn.backends import Backend

from .plain_cupy import plain_steps
from .problems import DTYPES, Problem, Size
from .recording import Claim, Record
from .test_training import steps

#: What is claimed of a step on a GPU of the H200's class, in microseconds: at first, and then.
MOST = {("backprop", "float32"): (15, 5), ("numerical", "float64"): (60, 25)}


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
    for most in MOST.get((gradient, dtype), ()):
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
            "plain CuPy": plain_steps(gpu, p, iterations),
        },
        [Claim("fastnn cupy", at_most=1.05)],
        unit="iteration",
    )
