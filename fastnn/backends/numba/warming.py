"""All kernels for a dtype, compiled by several processes.

Each makes the calls that need the kernels, in an order of its own (:mod:`.compilers`), so that
nothing says which kernels a call needs.
"""

from __future__ import annotations

import sys
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base import TrainingStep
from ..steps import PlainDescent
from .compilers import helping
from .kernels.columns import PaddedColumns
from .support import LINE, SORTED_VECTORS, SPARSE_SIZE

if TYPE_CHECKING:
    from ...validation import Array
    from ..datasets import Dataset
    from .backend import NumbaBackend

_FORMULAS = "sigmoid", "cross_entropy"


class Calls:
    """Calls of the operations, small ones, that need all kernels for a dtype.

    Parameters
    ----------
    backend : NumbaBackend
    dtype : numpy.dtype
    """

    def __init__(self, backend: NumbaBackend, dtype: np.dtype) -> None:
        self._backend, self._dtype = backend, dtype
        self._W1, self._b1 = np.ones((3, 3), dtype), np.ones(3, dtype)
        self._W2, self._b2 = self._W1.copy(), self._b1.copy()
        self._layers = self._W1, self._b1, self._W2, self._b2
        self._rows = np.zeros((1, 2), np.int64)
        self._every = np.ones((2, 3), dtype)

    @cached_property
    def _cases(self) -> list[tuple[Any, Any]]:
        """Samples with and without zeros, with labels and with rows of targets."""
        compressed = self._backend.kept_samples(np.zeros((2, 3), self._dtype), self._dtype)
        targets = np.zeros(2, np.intp), self._every
        return [(x, t) for t in targets for x in (compressed, self._every)]

    def numerical_gradient(self) -> None:
        for samples, t in self._cases:
            x, _ = self._backend.dataset(samples, t).batch(self._rows[0])
            self._backend.numerical_gradient(x, t, *self._layers, *_FORMULAS, 1e-4)

    def numerical_steps(self) -> None:
        self._steps("numerical")

    def backprop_steps(self) -> None:
        self._steps("backprop")

    def sorted_steps(self) -> None:
        """Steps whose batches are sorted, as those of many samples and hidden units are."""
        units = SORTED_VECTORS * LINE // self._dtype.itemsize
        x = self._backend.kept_samples(np.eye(1, 4).repeat(64, axis=0), self._dtype)
        data = self._backend.dataset(x, np.zeros(64, np.intp))
        rows = np.arange(32)[np.newaxis]
        self._step("backprop", self._layers_of(4, units), data, rows)

    def widths(self) -> None:
        """Of compressed samples, for hidden units that fill 1, 2, 3 … half vectors."""
        samples, t = self._cases[0]
        data = self._backend.dataset(samples, t)
        x, _ = data.batch(self._rows[0])
        for half in range(1, 1 + PaddedColumns.COUNT):
            layers = self._layers_of(3, half * LINE // 2 // self._dtype.itemsize)
            self._step("backprop", layers, data, self._rows)
            self._backend.numerical_gradient(x, t, *layers, *_FORMULAS, 1e-4)

    def _layers_of(self, features: int, units: int) -> tuple[Array, Array, Array, Array]:
        ones = partial(np.ones, dtype=self._dtype)
        return ones((features, units)), ones(units), ones((units, 3)), ones(3)

    def _steps(self, gradient: str) -> None:
        for samples, t in self._cases:
            data = self._backend.dataset(samples, t)
            self._step(gradient, self._layers, data, self._rows)

    def _step(self, gradient: str, layers: Any, data: Dataset, rows: Array) -> None:
        params = dict(zip(("W1", "b1", "W2", "b2"), layers, strict=True))
        work = "two_layer", params, *_FORMULAS, gradient, 1e-4, PlainDescent()
        if run := self._backend.runner(TrainingStep(*work, data, rows.shape[1], max)):
            run(rows, np.empty(1, self._dtype), np.zeros(1))

    def operations(self) -> None:
        backend, dtype = self._backend, self._dtype
        backend.largest(self._W1)
        backend.kernels.helpers.ready()
        for kind in (np.float32, np.float64):
            backend.samples(np.eye(2, SPARSE_SIZE, dtype=kind), dtype)
        backend.two_layer_output(self._every, *self._layers, *_FORMULAS)
        W, b = self._W1, self._b1
        for samples, t in self._cases:
            x, _ = backend.dataset(samples, t).batch(self._rows[0])
            z = backend.dense(x, W, b, "sigmoid")
            backend.loss(backend.output(z, "cross_entropy"), t, "cross_entropy")
            _, delta = backend.loss_gradient(z, t, "cross_entropy")
            backend.dense_descent(W, b, x, backend.dense_backward(delta, W, z, "sigmoid"), 0.0)


#: What each of up to four processes calls, one after the other. Functions that both kernels of two
#: processes are made of are compiled by each.
ORDERS = (
    (
        *("numerical_gradient", "numerical_steps", "backprop_steps", "widths"),
        *("sorted_steps", "operations"),
    ),
    ("operations", "sorted_steps", "widths", "backprop_steps", "numerical_steps"),
    ("numerical_steps", "widths"),
    ("backprop_steps", "widths"),
)


def compile_all(backend: NumbaBackend, dtype: np.dtype, processes: int) -> None:
    """Compile all kernels that are not on disk, by so many processes at most."""
    helpers = [(str(dtype), str(process)) for process in range(1, min(processes, len(ORDERS)))]
    with helping(__name__, helpers):
        _call(backend, dtype, 0)


def _call(backend: NumbaBackend, dtype: np.dtype, process: int) -> None:
    calls = Calls(backend, dtype)
    for name in ORDERS[process]:
        getattr(calls, name)()


if __name__ == "__main__":
    from .backend import NumbaBackend

    _call(NumbaBackend(threads=1), np.dtype(sys.argv[1]), int(sys.argv[2]))
