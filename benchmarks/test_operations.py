"""Every operation of the backends' contract, by backend, dtype and size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
import pytest

from fastnn.backends import Backend
from fastnn.backends.base import OPERATIONS
from fastnn.bench.book_net import sampled_indices

from . import plain
from .problems import (
    LEARNING_RATE,
    REFERENCE_PARAMETERS,
    SIZES,
    STEP,
    Problem,
    assert_close,
    tolerance,
)


@dataclass
class Arrays:
    """What the operations of a training step work on: batch, parameters, and what lies between."""

    x: Any
    t: Any
    W1: Any
    b1: Any
    W2: Any
    b2: Any
    z1: Any
    logits: Any
    y: Any
    delta2: Any
    delta1: Any
    gradient: Any
    order: Any

    @property
    def params(self) -> dict[str, Any]:
        """Under the book's names."""
        return {name: getattr(self, name) for name in ("W1", "b1", "W2", "b2")}

    @classmethod
    def of(cls, problem: Problem, rows: np.ndarray) -> Arrays:
        """Computed plainly on the host, from weights so large that nothing is nearly constant."""
        x, t = problem.x[rows], problem.t[rows]
        rng = np.random.default_rng(4)
        W1, b1, W2, b2 = (
            rng.normal(0, 0.1, p.shape).astype(problem.dtype) for p in problem.params.values()
        )
        z1 = plain.dense(x, W1, b1, "sigmoid")
        logits = plain.dense(z1, W2, b2, "identity")
        delta2 = plain.loss_gradient(logits, t)[1]
        delta1 = plain.dense_backward(delta2, W2, z1)
        gradient = plain.dense_gradient(x, delta1)[0]
        order = rng.permutation(len(x))
        return cls(
            x, t, W1, b1, W2, b2, z1, logits, plain.softmax(logits), delta2, delta1, gradient, order
        )

    def on(self, backend: Backend, data: Any, rows: np.ndarray) -> Arrays:
        """New copies of these arrays on a backend, with the batch as its own data set has it."""
        copies = {
            name: backend.asarray(a.copy())
            for name, a in vars(self).items()
            if name not in ("x", "t")
        }
        x, t = data.batch(backend.asarray(rows))
        return Arrays(x, t, **copies)


@dataclass(frozen=True)
class Case:
    """How an operation is called, and what it comes to when written plainly.

    Attributes
    ----------
    arguments, plain : callable
        From the arrays: the arguments, and the result, which is also the reference kernel.
    out : str, optional
        Which of the arrays to write to.
    changes : tuple of str
        Which of them the operation changes, where it has no result.
    expected : callable, optional
        The result, where that is more than what the reference kernel computes.
    tolerance : float
        How far the expected result is from the true one, relative to its largest entry.
    """

    arguments: Callable[[Arrays], tuple]
    plain: Callable[[Arrays], Any]
    out: str | None = None
    changes: tuple[str, ...] = ()
    expected: Callable[[Arrays], Any] | None = None
    tolerance: float = 0.0


CASES = {
    "take": Case(lambda a: (a.z1, a.order), lambda a: a.z1[a.order], out="delta1"),
    "dense": Case(
        lambda a: (a.x, a.W1, a.b1, "sigmoid"),
        lambda a: plain.dense(a.x, a.W1, a.b1, "sigmoid"),
        out="delta1",
    ),
    "output": Case(
        lambda a: (a.logits, "cross_entropy"), lambda a: plain.softmax(a.logits), out="delta2"
    ),
    "two_layer_output": Case(
        lambda a: (a.x, *a.params.values(), "sigmoid", "cross_entropy"),
        lambda a: plain.predict(a.params, a.x),
    ),
    "loss": Case(lambda a: (a.y, a.t, "cross_entropy"), lambda a: plain.cross_entropy(a.y, a.t)),
    "loss_gradient": Case(
        lambda a: (a.logits, a.t, "cross_entropy"),
        lambda a: plain.loss_gradient(a.logits, a.t),
        out="delta2",
    ),
    "count_correct": Case(lambda a: (a.logits, a.t), lambda a: plain.count_correct(a.logits, a.t)),
    "dense_backward": Case(
        lambda a: (a.delta2, a.W2, a.z1, "sigmoid"),
        lambda a: plain.dense_backward(a.delta2, a.W2, a.z1),
        out="delta1",
    ),
    "dense_gradient": Case(
        lambda a: (a.x, a.delta1), lambda a: plain.dense_gradient(a.x, a.delta1)
    ),
    "dense_descent": Case(
        lambda a: (a.W1, a.b1, a.x, a.delta1, LEARNING_RATE),
        lambda a: plain.dense_descent(a.W1, a.b1, a.x, a.delta1),
        out="gradient",
        changes=("W1", "b1"),
    ),
    "descent": Case(
        lambda a: (a.W1, a.gradient, LEARNING_RATE),
        lambda a: plain.descent(a.W1, a.gradient),
        changes=("W1",),
    ),
    "numerical_gradient": Case(
        lambda a: (a.x, a.t, *a.params.values(), "sigmoid", "cross_entropy", STEP),
        lambda a: plain.numerical_gradient(
            a.params, "W1", sampled_indices(a.W1, REFERENCE_PARAMETERS), a.x, a.t, STEP
        ),
        expected=lambda a: (
            plain.loss(a.params, a.x, a.t),
            *plain.gradient(a.params, a.x, a.t).values(),
        ),
        tolerance=1e-5,  # backpropagation leaves the 1e-7 in the loss out
    ),
}


pytestmark = pytest.mark.usefixtures("one_blas_thread")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_operation(
    operation: str,
    size: str,
    backend: Backend,
    dtype: str,
    benchmark: Any,
    record: Any,
    problem: Any,
) -> None:
    assert operation in CASES, (
        f"the operation {operation!r} of the contract has no benchmark: add it to CASES"
    )
    case = CASES[operation]
    batches = _batches(problem(size, dtype), backend)
    method = getattr(backend, operation)

    def call(a: Arrays) -> Any:
        result = method(*case.arguments(a), **({"out": getattr(a, case.out)} if case.out else {}))
        backend.synchronize()
        return result

    _check(case, call, *next(batches), backend, tolerance(dtype))
    host = next(batches)[0]
    record.benchmark(
        benchmark,
        call,
        lambda: case.plain(host),
        fresh=lambda: (next(batches)[1],),
        group=operation,
        backend=backend.name,
        dtype=dtype,
        size=size,
    )


def _batches(problem: Problem, backend: Backend) -> Iterator[tuple[Arrays, Arrays]]:
    """New batches without end, on the host and on the backend."""
    data = problem.network(backend).dataset(problem.x[:10_000], problem.t[:10_000])
    rows = problem.rows(4) % 10_000
    hosts = [Arrays.of(problem, batch) for batch in rows]
    for batch, host in cycle(zip(rows, hosts, strict=True)):
        yield host, host.on(backend, data, batch)


def _check(
    case: Case, call: Any, host: Arrays, arrays: Arrays, backend: Backend, tolerance: float
) -> None:
    result = call(arrays)
    copies = Arrays(**{name: a.copy() for name, a in vars(host).items()})
    values = (case.expected or case.plain)(copies)
    if case.changes:
        result, values = ([getattr(a, name) for name in case.changes] for a in (arrays, copies))
    for found, value in zip(_flat(result), _flat(values), strict=True):
        assert_close(
            backend.to_numpy(found), np.asarray(value), max(tolerance, case.tolerance), "the result"
        )


def _flat(result: Any) -> list[Any]:
    """The arrays of a result, however its tuples are nested."""
    return (
        [a for part in result for a in _flat(part)]
        if isinstance(result, tuple | list)
        else [result]
    )
