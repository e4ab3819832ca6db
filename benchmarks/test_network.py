"""The paths through a network by backend and dtype: gradients, training step and epoch."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
import pytest

from fastnn import numerical_gradient, train
from fastnn.backends import Backend
from fastnn.bench.book_net import sampled_indices
from fastnn.optimizers import SGD
from fastnn.stepping import runner

from . import plain
from .problems import (
    LEARNING_RATE,
    REFERENCE_PARAMETERS,
    STEP,
    Problem,
    Size,
    assert_close,
    tolerance,
)

pytestmark = pytest.mark.usefixtures("one_blas_thread")


def test_gradient(backend: Backend, dtype: str, benchmark: Any, record: Any, problem: Any) -> None:
    p = problem("book", dtype)
    network, params = p.network(backend), p.params
    batches = [(p.x[rows], p.t[rows]) for rows in p.rows(4)]
    on_backend = cycle([(backend.asarray(x), backend.asarray(t)) for x, t in batches])

    def call(x: Any, t: Any) -> Any:
        result = network.gradient(x, t)
        backend.synchronize()
        return result

    found, expected = call(*next(on_backend)), plain.gradient(params, *batches[0])
    for name, value in expected.items():
        assert_close(backend.to_numpy(found[name]), value, tolerance(dtype), name)
    record.benchmark(
        benchmark,
        call,
        lambda: plain.gradient(params, *batches[0]),
        fresh=lambda: next(on_backend),
        **_labels("gradient", backend, p),
    )


def test_training_step(
    backend: Backend, dtype: str, benchmark: Any, record: Any, problem: Any
) -> None:
    """Gathering a batch, both passes and the update, as the training loop does them."""
    p = problem("book", dtype)
    network, params = p.network(backend), p.params
    data = network.dataset(p.x, p.t)
    options = {"gradient": "backprop", "batch_size": p.size.batch, "optimizer": SGD()}
    run, rates = runner(network, data, **options), np.array([LEARNING_RATE])
    losses = backend.empty(1, dtype)
    rows = p.rows(100)
    on_backend = cycle([backend.asarray(batch[None]) for batch in rows])

    def call(batch: Any) -> None:
        run(batch, losses, rates)
        backend.synchronize()

    for batch in rows[:3]:
        call(next(on_backend))
        plain.step(params, p.x[batch], p.t[batch])
    for name, value in params.items():
        assert_close(backend.to_numpy(network.params[name]), value, tolerance(dtype), name)
    record.benchmark(
        benchmark,
        call,
        lambda: plain.step(params, p.x[rows[0]], p.t[rows[0]]),
        fresh=lambda: (next(on_backend),),
        **_labels("training step", backend, p),
    )


def test_epoch(backend: Backend, dtype: str, benchmark: Any, record: Any, problem: Any) -> None:
    """A call of `train` for one epoch: data checked and kept, all steps, both accuracies once."""
    p = problem("book", dtype)
    iterations = len(p.x) // p.size.batch
    network, params = p.network(backend), p.params
    rows = p.rows(iterations)
    train(network, p.x, p.t, iterations=3, batch_size=p.size.batch, evaluate_every=0, rng=2)
    for batch in rows[:3]:
        plain.step(params, p.x[batch], p.t[batch])
    for name, value in params.items():
        assert_close(backend.to_numpy(network.params[name]), value, tolerance(dtype), name)

    def reference() -> None:
        for batch in rows:
            plain.step(params, p.x[batch], p.t[batch])

    record.benchmark(
        benchmark,
        lambda: train(network, p.x, p.t, iterations=iterations, batch_size=p.size.batch, rng=2),
        reference,
        **_labels("epoch", backend, p),
    )


def test_numerical_gradient_incremental(
    backend: Backend, dtype: str, benchmark: Any, record: Any, problem: Any
) -> None:
    _numerical_gradient("incremental", backend, benchmark, record, problem("book", dtype))


def test_numerical_gradient_full(backend: Backend, dtype: str, benchmark: Any, record: Any) -> None:
    """The book's loop, on a network that is small enough to wait for it."""
    _numerical_gradient(
        "full", backend, benchmark, record, Problem(Size(36, 6, 20), dtype, quick=True)
    )


def _numerical_gradient(
    method: str, backend: Backend, benchmark: Any, record: Any, p: Problem
) -> None:
    """`full` in float32 is rounding noise, as the book's is, and is not checked."""
    network, params = p.network(backend), p.params
    rows = p.rows(1)[0]
    x, t = p.x[rows], p.t[rows]
    x_there, t_there = backend.asarray(x), backend.asarray(t)
    indices = sampled_indices(params["W1"], REFERENCE_PARAMETERS)

    def call() -> Any:
        result = network.numerical_gradient(x_there, t_there, method=method)
        backend.synchronize()
        return result

    found = backend.to_numpy(call()["W1"])
    if method == "incremental" or p.dtype == "float64":
        double = {name: value.astype(np.float64) for name, value in params.items()}
        expected = plain.gradient(double, x.astype(np.float64), t)["W1"]
        # Backpropagation leaves the 1e-7 in the loss out: 1e-6 of a gradient where the target has
        # the probability 0.1.
        assert_close(found, expected, 1e-4 if p.dtype == "float32" else 1e-5, "the gradient of W1")
    record.benchmark(
        benchmark,
        call,
        lambda: plain.numerical_gradient(params, "W1", indices, x, t, STEP),
        **_labels(f"numerical gradient, {method}", backend, p),
    )


def test_numerical_gradient_generic(
    backend: Backend, dtype: str, benchmark: Any, record: Any
) -> None:
    """Of a function of 1000 variables, no network; the reference is the function's own cost."""
    size = 10 if record.quick else 1000
    host = np.random.default_rng(5).normal(size=size).astype(dtype)
    x = backend.asarray(host)

    def f(x: Any) -> Any:
        return (x * x).sum()

    def call() -> Any:
        result = numerical_gradient(f, x)
        backend.synchronize()
        return result

    if dtype == "float64":
        assert_close(backend.to_numpy(call()), 2 * host, 1e-6, "the gradient of a sum of squares")

    def reference() -> None:
        for _ in range(2 * size):
            f(host)

    record.benchmark(
        benchmark,
        call,
        reference,
        group="numerical gradient, generic",
        backend=backend.name,
        dtype=dtype,
        size="1000 variables",
    )


def _labels(group: str, backend: Backend, problem: Problem) -> dict[str, str]:
    return {
        "group": group,
        "backend": backend.name,
        "dtype": problem.dtype,
        "size": str(problem.size),
    }
