"""Time and memory as the batch, the hidden layer and the data grow, and time by threads."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
import pytest

from fastnn import available_backends, train
from fastnn.backends import Backend, get_backend
from fastnn.bench.book_net import BOOK
from fastnn.bench.machine import machine
from fastnn.bench.timing import Contestant, blas_threads, repeat

from .peers import contestants
from .problems import Problem, Size
from .recording import Record, extra_memory
from .test_training import WORK, fastnn_steps, steps


@pytest.mark.parametrize("dtype", ["float32"])
@pytest.mark.parametrize(
    ("grows", "sizes"),
    [
        ("batch size", [Size(784, 50, n) for n in (1, 10, 100, 1000, 10_000)]),
        ("hidden units", [Size(784, n, 100) for n in (10, 50, 200, 1000, 4000)]),
    ],
)
def test_training_step(grows: str, sizes: list[Size], dtype: str, record: Record) -> None:
    points = []
    for size in [s.shrunk() for s in sizes] if record.quick else sizes:
        p = Problem(size, dtype, quick=record.quick)
        iterations = 3 if record.quick else size.iterations(WORK)
        running = fastnn_steps(p, iterations) | contestants(p, iterations, (BOOK,))
        timings = record.compare(
            f"training step, {size}, mnist, {dtype}, growth", running, unit="iteration", seconds=1
        )
        memory = {name: extra_memory(running[name]) for name in timings}
        points += [
            {
                "contestant": name,
                "x": size.batch if grows == "batch size" else size.hidden,
                "median": timing.median,
                "low": timing.low,
                "high": timing.high,
                "memory_mb": memory[name],
            }
            for name, timing in timings.items()
        ]
    record.curve(f"growth of a training step with {grows}", grows, "time of an iteration", points)


def test_rows(record: Record) -> None:
    """Up to a million samples, MNIST tiled: entering them, and an iteration of the book's size."""
    points = []
    for copies in (1,) if record.quick else (1, 4, 17):  # the last is a million rows
        p = Problem(Size(784, 50, 100), "float32", quick=record.quick)
        rows = len(p.x) * copies
        memory = machine()["memory_gb"]
        if memory is not None and 4 * p.x[0].nbytes * rows > memory * 2**30:
            continue
        x, t = np.tile(p.x, (copies, 1)), np.tile(p.t, copies)
        for name, found in available_backends().items():
            if not found.available:
                continue
            network = p.network(name)
            iterations = 10 if record.quick else 500
            whole = []

            def run(
                network: Any = network,
                whole: list = whole,
                x: Any = x,
                t: Any = t,
                iterations: int = iterations,
            ) -> float:
                started = time.perf_counter()
                seconds = train(
                    network, x, t, iterations=iterations, evaluate_every=0, rng=2
                ).seconds
                whole.append(time.perf_counter() - started - seconds)
                return seconds / iterations

            memory_mb = extra_memory(run)
            samples = [run() for _ in range(1 if record.quick else 3)]
            median = float(np.median(samples))
            spread = {"low": min(samples), "high": max(samples), "memory_mb": memory_mb}
            points.append(
                {"contestant": f"fastnn {name}, iteration", "x": rows, "median": median} | spread
            )
            points.append(
                {
                    "contestant": f"fastnn {name}, data enter",
                    "x": rows,
                    "median": float(np.median(whole)),
                }
            )
    record.curve("growth of training with the data", "samples", "time", points)


@pytest.mark.parametrize(
    ("what", "size"),
    [
        ("training step", Size(784, 50, 100)),
        ("training step", Size(784, 500, 1000)),
        ("numerical gradient", Size(784, 50, 100)),
    ],
)
def test_threads(what: str, size: Size, record: Record) -> None:
    """One to all cores."""
    from fastnn.backends.numba.backend import NumbaBackend

    p = Problem(size.shrunk() if record.quick else size, "float32", quick=record.quick)
    cores = os.cpu_count() or 1
    running: dict[str, Contestant] = {}
    for count in sorted({1, cores} | {n for n in (2, 4, 8, 16, 32) if n < cores}):
        if what == "numerical gradient":
            running[f"numba, {count}"] = _numerical_gradient(p, NumbaBackend(threads=count))
        else:
            running[f"numba, {count}"] = _limited(
                _steps(p, NumbaBackend(threads=count), record.quick), count
            )
            running[f"numpy, {count}"] = _limited(
                _steps(p, get_backend("numpy"), record.quick), count
            )
    timings = record.compare(
        f"{what}, {p.size}, float32, by threads", running, unit=what.split()[-1], seconds=2
    )
    points = [
        {"contestant": f"fastnn {name.split(', ')[0]}", "x": int(name.split(", ")[1])}
        | {"median": timing.median, "low": timing.low, "high": timing.high}
        for name, timing in timings.items()
    ]
    record.curve(f"{what}, {p.size}, by threads", "threads", f"time of a {what}", points)


def _steps(problem: Problem, backend: Backend, quick: bool) -> Contestant:
    return steps(problem, backend, 3 if quick else problem.size.iterations(WORK))


def _numerical_gradient(problem: Problem, backend: Backend) -> Contestant:
    rows = problem.rows(1)[0]
    network = problem.network(backend)
    return repeat(lambda: network.numerical_gradient(problem.x[rows], problem.t[rows]))


def _limited(contestant: Contestant, count: int) -> Contestant:
    def sample() -> float:
        with blas_threads(count):
            return contestant()

    return sample
