"""Training: fastnn against NumPy by hand, what the dispatch costs, and what `auto` chooses."""

from __future__ import annotations

import time
from itertools import product
from typing import Any

import numpy as np
import pytest

from fastnn import available_backends
from fastnn.backends import Backend, get_backend
from fastnn.bench.measure import training_steps
from fastnn.bench.timing import Contestant, blas_threads
from fastnn.optimizers import SGD
from fastnn.stepping import runner, single_step

from . import plain
from .peers import contestants
from .problems import DTYPES, LEARNING_RATE, OUTPUTS, Problem, Size, assert_close, tolerance
from .recording import Claim, Record

#: Floating-point operations that one sample of training steps of any size comes to, about: some
#: hundredths of a second.
WORK = 2e9


def steps(problem: Problem, backend: str | Backend, iterations: int, **options: Any) -> Contestant:
    """The training loop on a backend that is warm.

    Raises
    ------
    AssertionError
        If its first step by backpropagation does not make what plain NumPy's does.
    """
    network, rows, expected = problem.network(backend), problem.rows(1), problem.params
    network.backend.warm_up(problem.dtype)
    data, fixed = (
        network.dataset(problem.x, problem.t),
        {"batch_size": problem.size.batch},
    )
    run = runner(network, data, gradient="backprop", optimizer=SGD(), **fixed)
    rate = np.array([LEARNING_RATE])
    with network.backend.current():
        run(network.backend.asarray(rows), network.backend.empty(1, problem.dtype), rate)
    plain.step(expected, problem.x[rows[0]], problem.t[rows[0]])
    for name, value in expected.items():
        assert_close(
            network.backend.to_numpy(network.params[name]), value, tolerance(problem.dtype), name
        )
    fixed |= {"learning_rate": LEARNING_RATE, "iterations": iterations} | options
    return training_steps(problem.network(backend), problem.x, problem.t, **fixed)


def fastnn_steps(
    problem: Problem, iterations: int, backends: tuple[str, ...] = (), **options: Any
) -> dict[str, Contestant | str]:
    """A contestant for each of these backends, or all: its training loop, or why it cannot run."""
    result: dict[str, Contestant | str] = {}
    for name in backends or available_backends():
        found = available_backends().get(name)
        if found and not found.available:
            result[f"fastnn {name}"] = found.reason
            continue
        result[f"fastnn {name}"] = steps(problem, name, iterations, **options)
    return result


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("data", ["mnist", "dense"])
def test_against_numpy_by_hand(data: str, dtype: str, record: Record, problem: Any) -> None:
    p = problem("book", dtype, data)
    # Whose samples exceed the cache: they come from memory, as in training.
    iterations = 3 if record.quick else 300
    by_hand = contestants(p, iterations, ("book's loop", "NumPy by hand"))
    ours = fastnn_steps(p, iterations)
    numpy = ours["fastnn numpy"]
    assert callable(numpy)

    def on_one_thread() -> float:
        with blas_threads(1):
            return numpy()

    record.compare(
        f"training step, {p.size}, {data}, {dtype}",
        ours | {"fastnn numpy, 1 thread": on_one_thread} | by_hand,
        [
            Claim(
                "fastnn numpy",
                tuple(name for name in by_hand if name.startswith("NumPy by hand")),
                at_most=1.0,
            ),
            # Two threads of OpenBLAS may lose to one, and win a moment later: this is the same on
            # both sides.
            Claim("fastnn numpy, 1 thread", ("NumPy by hand, 1 thread",), at_most=1.0),
        ],
        unit="iteration",
        seconds=40,
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("data", ["mnist", "dense"])
def test_threads_of_few_units(data: str, dtype: str, record: Record, problem: Any) -> None:
    """What a second thread is worth where all hidden units are one vector, and a batch is large."""
    p = problem("book", dtype, data).resized(hidden=64 // np.dtype(dtype).itemsize, batch=1000)
    count = 3 if record.quick else p.size.iterations(5 * WORK)
    record.compare(
        f"training step on Numba, {p.size}, {data}, {dtype}",
        {
            name: steps(p, get_backend("numba", threads=threads), count)
            for threads, name in ((2, "two threads"), (1, "one thread"))
        },
        [Claim("two threads", at_most=0.75)],
        unit="iteration",
        seconds=10,
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_dispatch(dtype: str, record: Record, problem: Any) -> None:
    """The smallest step there is, through the layer and with the same array calls written out."""
    p = problem("tiny", dtype)
    rows = p.rows(3 if record.quick else 2000)
    network = p.network("numpy")
    data = network.dataset(p.x, p.t)
    single = single_step(network, data, "backprop", p.size.batch, SGD(LEARNING_RATE))
    calls = _array_calls(p)

    def step(batch: np.ndarray) -> Any:
        return single(batch, LEARNING_RATE)

    losses = [(float(step(batch)), float(calls(batch))) for batch in rows[:3]]
    assert_close(
        np.array([a for a, _ in losses]),
        np.array([b for _, b in losses]),
        tolerance(dtype),
        "the loss",
    )

    def loop(step: Any) -> Contestant:
        def sample() -> float:
            started = time.perf_counter()
            for batch in rows:
                step(batch)
            return (time.perf_counter() - started) / len(rows)

        return sample

    record.compare(
        f"cost of dispatch, {p.size}, {dtype}",
        {"fastnn numpy": loop(step), "the same array calls": loop(calls)},
        [Claim("fastnn numpy", at_most=1.15)],
        unit="iteration",
    )


def _array_calls(problem: Problem) -> Any:
    """A training step by the array calls that the NumPy backend makes, and by nothing else.

    There are no networks, backends or tables of functions.
    """
    W1, b1, W2, b2 = problem.params.values()
    size, x, t = problem.size, problem.x, problem.t
    x_batch, z1, delta1 = (
        np.empty((size.batch, n), problem.dtype) for n in (size.inputs, size.hidden, size.hidden)
    )
    logits, y = (np.empty((size.batch, OUTPUTS), problem.dtype) for _ in range(2))
    dW1, dW2 = np.empty_like(W1), np.empty_like(W2)
    ones = np.ones(size.batch, problem.dtype)
    product = np.dot if size.batch == 1 else np.matmul

    def step(rows: np.ndarray) -> Any:
        x.take(rows, axis=0, out=x_batch, mode="clip")
        t_batch = t.take(rows, axis=0, mode="clip")
        np.dot(x_batch, W1, out=z1)
        np.add(z1, b1, out=z1)
        np.negative(z1, out=z1)
        np.exp(z1, out=z1)
        np.add(z1, 1, out=z1)
        np.reciprocal(z1, out=z1)
        np.dot(z1, W2, out=logits)
        np.add(logits, b2, out=logits)
        np.subtract(logits, logits.max(axis=1, keepdims=True), out=y)
        np.exp(y, out=y)
        np.divide(y, y.sum(axis=1, keepdims=True), out=y)
        own = np.arange(len(t_batch)), t_batch
        p = y[own]
        loss = np.log(p + 1e-7).sum() / -len(p)
        y[own] = p - 1
        np.divide(y, len(y), out=y)
        np.dot(y, W2.T, out=delta1)
        slope = np.subtract(1, z1)
        np.multiply(delta1, np.multiply(slope, z1, out=slope), out=delta1)
        for W, b, entering, delta, dW in ((W1, b1, x_batch, delta1, dW1), (W2, b2, z1, y, dW2)):
            np.multiply(delta, LEARNING_RATE, out=delta)
            np.subtract(W, product(entering.T, delta, out=dW), out=W)
            np.subtract(b, ones @ delta, out=b)
        return loss

    return step


def test_auto(record: Record) -> None:
    """What `auto` chooses is never much slower than the best that is available."""
    hidden, batches = (
        ((10, 100, 500, 2000), (1, 30, 300, 2000)) if not record.quick else ((3,), (1, 5))
    )
    available = tuple(name for name, found in available_backends().items() if found.available)
    worst, where, points = 1.0, "", []
    for data, j, batch in product(("mnist", "dense"), hidden, batches):
        p = Problem(Size(784, j, batch), "float32", data, quick=record.quick)
        timings = record.compare(
            f"auto, {p.size}, {data}, float32",
            fastnn_steps(p, 3 if record.quick else p.size.iterations(WORK), available),
            unit="iteration",
            seconds=2.5,
            fewest=7,
        )
        chosen = p.network("auto").backend.name
        best = min(timings, key=lambda name: timings[name].median).removeprefix("fastnn ")
        ratio = timings[f"fastnn {chosen}"].median / timings[f"fastnn {best}"].median
        points.append(
            {
                "contestant": f"auto / best, {data}, {j} hidden units",
                "x": batch,
                "ratio": ratio,
                "best": best,
            }
        )
        if ratio > worst:
            worst, where = ratio, f"; worst at {p.size}, {data}, where the best is {best}"
    record.curve(
        "what auto chooses", "batch size", "time of auto over that of the best backend", points
    )
    record.statement(
        "auto on a grid of sizes",
        f"what auto chooses takes at most 1.1 of the time of the best backend{where}",
        worst,
        1.10,
    )
