"""The numerical gradient: against the book's loop, against backpropagation, and how it grows."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest

from fastnn import available_backends, load_mnist, train
from fastnn.bench.book_net import BOOK, BOOK_PARAMETERS, BookNet
from fastnn.bench.timing import Contestant, blas_threads, repeat, timed_with_threads

from . import plain
from .peers import contestants
from .problems import DTYPES, LEARNING_RATE, Problem, Size, assert_close
from .recording import Claim, Record, extra_memory
from .test_training import fastnn_steps

#: How many times as fast as the book's loop on one thread each backend is to be.
TIMES_FASTER = {
    ("mnist", "float64"): {"numba": 80_000, "numpy": 10_000},
    ("mnist", "float32"): {"numba": 50_000},
    ("dense", "float64"): {"numba": 40_000},
    ("dense", "float32"): {"numba": 40_000},
}

#: How many times a step by backpropagation one by numerical gradient may take on each backend.
AT_MOST_BACKPROPAGATIONS = {"numba": 1.5, "numpy": 3}


def fastnn_gradients(problem: Problem) -> dict[str, Contestant | str]:
    """A contestant for each backend: the numerical gradient, checked, or why it cannot run."""
    rows = problem.rows(1)[0]
    result: dict[str, Contestant | str] = {}
    double = {name: value.astype(np.float64) for name, value in problem.params.items()}
    expected = plain.gradient(double, problem.x[rows].astype(np.float64), problem.t[rows])
    for name, found in available_backends().items():
        if not found.available:
            result[f"fastnn {name}"] = found.reason
            continue
        network = problem.network(name)
        x, t = network.backend.asarray(problem.x[rows]), network.backend.asarray(problem.t[rows])
        for key, value in network.numerical_gradient(x, t).items():
            # Backpropagation leaves the 1e-7 in the loss out: 1e-6 of a gradient where the target
            # has the probability 0.1.
            assert_close(network.backend.to_numpy(value), expected[key], 1e-5, f"{key} of {name}")

        result[f"fastnn {name}"] = repeat(
            lambda network=network, x=x, t=t: network.numerical_gradient(x, t),
            network.backend.synchronize,
        )
    return result


def book_gradients(problem: Problem, parameters: int) -> dict[str, Contestant]:
    """The book's loop by numbers of BLAS threads, on so many parameters; scaled to all of them."""
    rows = problem.rows(1)[0]
    x, targets = problem.x[rows], problem.targets[rows]
    network = BookNet(problem.params)
    sampled = min(parameters, network.params["W1"].size)
    return timed_with_threads(
        BOOK,
        lambda: network.numerical_gradient(x, targets, sampled),
        sampled / problem.size.parameters,
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("data", ["mnist", "dense"])
def test_against_the_book(data: str, dtype: str, record: Record, problem: Any) -> None:
    p = problem("book", dtype, data)
    book = book_gradients(p, BOOK_PARAMETERS)
    one_thread = next(iter(book))
    claims = [
        Claim(f"fastnn {name}", (one_thread,), times_faster=times)
        for name, times in TIMES_FASTER[data, dtype].items()
    ]
    record.compare(
        f"numerical gradient, {p.size}, {data}, {dtype}",
        book | fastnn_gradients(p),
        claims,
        unit="gradient",
        seconds=6,
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_against_backpropagation(dtype: str, record: Record, problem: Any) -> None:
    """A step by numerical gradient, against ours and the book's by backpropagation."""
    p = problem("book", dtype)
    iterations = 3 if record.quick else 200
    ours = {
        f"{name}, {kind}": contestant
        for kind in ("numerical", "backprop")
        for name, contestant in fastnn_steps(
            p, iterations, tuple(AT_MOST_BACKPROPAGATIONS), gradient=kind
        ).items()
    }
    book = contestants(p, iterations, (BOOK,))
    record.compare(
        f"training step by numerical gradient, {p.size}, {dtype}",
        ours | book,
        [
            *(
                Claim(f"fastnn {name}, numerical", (f"fastnn {name}, backprop",), at_most=most)
                for name, most in AT_MOST_BACKPROPAGATIONS.items()
            ),
            Claim("fastnn numba, numerical", tuple(book), at_most=1),
        ],
        unit="iteration",
    )


def test_whole_training(record: Record, problem: Any) -> None:
    """10,000 iterations by numerical gradient, then the book's own loop by backpropagation."""
    p = problem("book", "float64")
    iterations = 10 if record.quick else 10_000
    network, book = p.network("numba"), BookNet(p.params)
    rows = p.rows(iterations)

    def ours() -> float:
        return train(
            network,
            p.x,
            p.t,
            iterations=iterations,
            batch_size=p.size.batch,
            learning_rate=LEARNING_RATE,
            gradient="numerical",
            evaluate_every=0,
            rng=2,
        ).seconds

    def theirs() -> float:
        with blas_threads(1):
            started = time.perf_counter()
            book.train(p.x, p.targets, rows, LEARNING_RATE)
            return time.perf_counter() - started

    record.compare(
        f"{iterations:,} iterations, {p.size}, float64",
        {"fastnn numba, numerical gradient": ours, "book's loop, backpropagation": theirs},
        [Claim("fastnn numba, numerical gradient", at_most=0.32)],
        unit="training",
        most=1,
    )
    if not record.quick:
        _, (x_test, t_test) = load_mnist()
        error = 1 - network.accuracy(x_test, t_test)
        text = (
            "after training by numerical gradient alone, "
            "at most 0.06 of the test images are misclassified"
        )
        record.statement("10,000 iterations, 784-50-10, float64", text, error, 0.06)


def test_growth(record: Record) -> None:
    """Over hidden units and batch sizes: time should grow as parameters times samples."""
    sizes = (
        [Size(30, 3, 5), Size(30, 6, 5)]
        if record.quick
        else [Size(784, hidden, 100) for hidden in (50, 100, 200, 400, 800)]
        + [Size(784, 50, n) for n in (10, 30, 300, 1000)]
    )
    points = []
    for size in sizes:
        p = Problem(size, "float64", quick=record.quick)
        running = fastnn_gradients(p) | book_gradients(p, 20)
        timings = record.compare(
            f"numerical gradient, {size}, mnist, float64, growth",
            running,
            unit="gradient",
            seconds=1.5,
        )
        points += [
            {
                "contestant": name,
                "x": size.parameters * size.batch,
                "parameters": size.parameters,
                "batch": size.batch,
                "median": timing.median,
                "low": timing.low,
                "high": timing.high,
                "memory_mb": extra_memory(running[name]),
            }
            for name, timing in timings.items()
        ]
    record.curve(
        "growth of the numerical gradient", "parameters × samples", "time of a gradient", points
    )
    ours = [(p["x"], p["median"]) for p in points if p["contestant"] == "fastnn numba"]
    slope = float(np.polyfit([math.log(x) for x, _ in ours], [math.log(y) for _, y in ours], 1)[0])
    text = "the time on Numba grows with at most the 1.1th power of parameters × samples"
    record.statement("growth of the numerical gradient", text, slope, 1.1)
