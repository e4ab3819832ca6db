"""The NumPy backend: the reference on NumPy's BLAS, without what NumPy would do twice.

What is NumPy's own stands here: results that are written where their arguments were, reductions by
columns, labels that index, arrays that begin at a cache line.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any, Self

import numpy as np

from ..functions import LOG_GUARD
from ..validation import Array, check_size, ones, positive_int
from . import processor
from .availability import Availability
from .base import Backend
from .sharing import shared

#: Bytes on which arrays begin. Weights that do not begin at half a line at least cost a product on
#: two threads of OpenBLAS up to an eighth of its time.
CACHE_LINE = 64

#: How many rows are many, and of how many values a row is short, where it matters in which order
#: NumPy takes them.
MANY_ROWS, SHORT_ROW = 50, 20


# -- formulas that are written over their arguments ------------------------------------------------


def _sigmoid(a: Array) -> Array:
    np.negative(a, out=a)
    np.exp(a, out=a)
    a += 1
    return np.reciprocal(a, out=a)


def _softmax(logits: Array, out: Array | None) -> Array:
    # NumPy reduces rows one by one, which takes longer than a short row itself; stored by columns,
    # many are reduced at once.
    by_columns = len(logits) >= MANY_ROWS and logits.shape[1] <= SHORT_ROW
    y = logits.copy(order="F") if by_columns else logits
    # The methods of an array take twice as long for a short row.
    highest = np.maximum.reduce(y, axis=1, keepdims=True)
    y = np.subtract(y, highest, out=y if by_columns else out)
    np.exp(y, out=y)
    y /= np.add.reduce(y, axis=1, keepdims=True)
    if not by_columns:
        return y
    if out is None:
        return y.copy(order="C")
    out[...] = y
    return out


def _multiply_by_sigmoid_derivative(z: Array, delta: Array) -> None:
    derivative = 1 - z
    derivative *= z
    delta *= derivative


#: The support tables. Activation → f(a), written over a.
ACTIVATE: dict[str, Callable[[Array], Array]] = {
    "sigmoid": _sigmoid,
    "tanh": lambda a: np.tanh(a, out=a),
    "relu": lambda a: np.maximum(a, 0, out=a),
    "identity": lambda a: a,
}

#: Activation → delta ⊙ f′, from z and written over delta.
MULTIPLY_BY_DERIVATIVE: dict[str, Callable[[Array, Array], None]] = {
    "sigmoid": _multiply_by_sigmoid_derivative,
    "identity": lambda _z, _delta: None,
}

#: The losses of the softmax that need, of each sample, the probability of its label alone.
OF_LABELS = frozenset({"cross_entropy"})

#: The losses to which the largest output tells the class.
OF_THE_LARGEST = frozenset({"cross_entropy", "mean_squared_error"})


class NumpyBackend(Backend):
    """Array operations of NumPy on the CPU.

    Parameters
    ----------
    threads : int, optional
        How many threads the BLAS gets while a network is trained; by default as many as pay.
    """

    name = "numpy"
    xp = np
    array_type = np.ndarray

    def __init__(self, threads: int | None = None) -> None:
        self.threads = None if threads is None else positive_int(threads, "threads")

    @classmethod
    def create(cls, device: str | None = None, threads: int | None = None) -> Self:
        return (
            super().create(device)
            if threads is None or device is not None
            else shared(cls, threads=threads)
        )

    @classmethod
    def probe(cls) -> Availability:
        return Availability(True, processor.cpu_name())

    def __repr__(self) -> str:
        chosen = (
            ""
            if self.threads is None
            else f", {self.threads} thread{'s' if self.threads > 1 else ''}"
        )
        return f"{super().__repr__()[:-1]}{chosen}>"

    def warm_up(self, dtype: Any = "float64") -> None:
        """Let the next training measure again how many BLAS threads pay.

        That may depend on what else the machine does.
        """
        super().warm_up(dtype)
        processor.forget_measurements()

    def limit_threads(self, multiplications: int) -> AbstractContextManager[Any]:
        """One BLAS thread where several would wait for each other longer than they work."""
        if self.threads is not None:
            return processor.blas_threads(self.threads)
        return processor.threads_that_pay(multiplications)

    def empty(self, shape: int | tuple[int, ...], dtype: Any) -> Array:
        check_size(shape, dtype)
        count = math.prod(shape) if isinstance(shape, tuple) else shape
        size = int(count) * np.dtype(dtype).itemsize
        memory = np.empty(size + CACHE_LINE, np.uint8)
        start = -memory.ctypes.data % CACHE_LINE
        return memory[start : start + size].view(dtype).reshape(shape)

    def largest(self, a: Array) -> float:
        return max(float(a.max()), -float(a.min()))

    def all_finite(self, a: Array) -> bool:
        # Nothing cancels out in a sum of squares; where they are too large, each number is asked.
        every = a.ravel(order="K")
        return math.isfinite(np.dot(every, every)) or super().all_finite(a)

    # -- operations --------------------------------------------------------------------------------

    def take(self, a: Array, rows: Array, *, out: Array | None = None) -> Array:
        # Any mode that can raise copies through a second buffer.
        return a.take(rows, axis=0, out=out, mode="clip")

    def dense(
        self,
        x: Array,
        W: Array,
        b: Array,
        activation: str = "identity",
        *,
        out: Array | None = None,
    ) -> Array:
        activate = ACTIVATE.get(activation)
        if activate is None:
            return super().dense(x, W, b, activation, out=out)
        a = self._product(x, W, out=out)
        a += b
        return activate(a)

    def output(self, logits: Array, loss: str, *, out: Array | None = None) -> Array:
        return _softmax(logits, out) if loss in OF_LABELS else super().output(logits, loss, out=out)

    def loss(self, y: Array, t: Array, loss: str) -> Array:
        if t.ndim != 1 or loss not in OF_LABELS:
            return super().loss(y, t, loss)
        return _mean_surprisal(y[_numbers(len(t)), t])

    def loss_gradient(
        self, logits: Array, t: Array, loss: str, *, out: Array | None = None
    ) -> tuple[Array, Array]:
        if t.ndim != 1 or loss not in OF_LABELS:
            return super().loss_gradient(logits, t, loss, out=out)
        y = _softmax(logits, out)
        own = _numbers(len(t)), t
        p = y[own]
        y[own] = p - 1
        y /= len(y)
        return _mean_surprisal(p), y

    def dense_backward(
        self, delta: Array, W: Array, z: Array, activation: str, *, out: Array | None = None
    ) -> Array:
        multiply = MULTIPLY_BY_DERIVATIVE.get(activation)
        if multiply is None:
            return super().dense_backward(delta, W, z, activation, out=out)
        out = self._product(delta, W.T, out=out)
        multiply(z, out)
        return out

    def dense_gradient(self, x: Array, delta: Array) -> tuple[Array, Array]:
        return _layer_gradient(x, delta)

    def dense_descent(
        self,
        W: Array,
        b: Array,
        x: Array,
        delta: Array,
        learning_rate: float,
        *,
        out: Array | None = None,
    ) -> None:
        delta *= learning_rate
        dW, db = _layer_gradient(x, delta, out=out)
        W -= dW
        b -= db

    def count_correct(self, logits: Array, t: Array, loss: str = "cross_entropy") -> Array:
        if loss not in OF_THE_LARGEST:
            return super().count_correct(logits, t, loss)
        labels = t if t.ndim == 1 else t.argmax(axis=1)
        return (logits.argmax(axis=1) == labels).sum()

    def nonzero_features(self, row: Array) -> Any:
        return np.flatnonzero(row)

    _product = staticmethod(np.dot)  # a call of which costs half a microsecond less than matmul's


def _layer_gradient(x: Array, delta: Array, *, out: Array | None = None) -> tuple[Array, Array]:
    # A column by a row, the gradient of a single sample, takes matmul six times as long; with more
    # of them it is dot that loses time, because it clears `out` first.
    product = np.dot if len(x) == 1 else np.matmul
    return product(x.T, delta, out=out), ones(len(delta), delta.dtype) @ delta


def _mean_surprisal(p: Array) -> Array:
    """The mean of −log of the targets' probabilities, with the guard of the cross-entropy."""
    return np.log(p + LOG_GUARD).sum() / -len(p)


@lru_cache(maxsize=16)
def _numbers(size: int) -> np.ndarray:
    numbers = np.arange(size)
    numbers.flags.writeable = False
    return numbers
