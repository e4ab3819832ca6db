"""The Numba backend: compiled kernels on the CPU where array operations spend their time on zeros, overhead or temporaries.

Products of dense matrices are left to the BLAS, which nothing compiled here would beat; what
surrounds them is fused into one pass. Samples that are mostly zeros are compressed when they enter
(:meth:`NumbaBackend.dataset`), and a batch of them goes through kernels that read only what is not
zero.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import numpy as np

from ...errors import BackendImportError, BackendNotInstalledError
from ...functions import one_hot
from ...validation import Array, positive_int
from ..base import OPERATIONS, Availability, Dataset
from ..numpy_backend import LARGE, NumpyBackend, cpu_name
from ..recorder import NumericalStep, Recorder, numerical_step, two_layer_step
from .samples import SparseDataset, SparseRows
from .threads import WorkerPool

#: Up to which share of non-zero values samples are compressed: about where the sparse kernels and
#: the BLAS take the same time, which also depends on the dtype and on the number of hidden units,
#: unknown when data enter.
SPARSE_DENSITY = 0.25

#: How many multiplications by sparse values are worth a part of their own, for another thread to
#: take: well more than are done until that thread has woken up.
SPARSE_GRAIN = 1_500_000
#: How many perturbations of hidden units are: more than that, because each part also repeats some
#: work.
PERTURBATION_GRAIN = 300_000
#: And how many multiplications are for each thread of those that stay from step to step.
FUSED_GRAIN = 50_000
#: The kernel over many steps does not cut large matrices into blocks, as the BLAS does. Above how
#: many weights of the output layer that is faster, and above how many multiplications of dense
#: samples by the weights of the hidden layer.
LARGEST_FUSED_OUTPUT = 20_000
LARGEST_FUSED_PRODUCT = 1_500_000_000
#: After how many multiplications a kernel over many steps returns, so that Python sees to signals:
#: some tenths of a second.
INTERRUPTIBLE = 1_000_000_000


class NumbaBackend(NumpyBackend):
    """Array operations of NumPy, with Numba kernels in place of those that train the book's network.

    Parameters
    ----------
    threads : int, optional
        How many threads the kernels use at most; by default what ``NUMBA_NUM_THREADS`` says, or
        else the number of cores.
    """

    name = "numba"

    def __init__(self, threads: int | None = None) -> None:
        import numba  # takes half a second, as do our modules that import it

        from .kernels import (
            activations,
            backprop_steps,
            compression,
            layers,
            numerical_gradient,
            numerical_steps,
            panels,
            softmax,
            workspace,
        )

        self._codes = activations.ACTIVATION_CODES
        self._layers = layers
        self._softmax = softmax
        self._compression = compression
        self._incremental = numerical_gradient
        self._incremental_training = numerical_steps
        self._memory = workspace
        self._panels = panels
        self._training = backprop_steps
        self._recorder = Recorder(self, OPERATIONS)
        available = int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
        self._pool = WorkerPool(available if threads is None else positive_int(threads, "threads"))

    @classmethod
    def probe(cls) -> Availability:
        if importlib.util.find_spec("numba") is None:
            return Availability.refused(BackendNotInstalledError, "Numba is not installed", "pip install numba")
        try:
            import numba  # noqa: F401
        except Exception as error:  # for example a NumPy newer than this Numba knows
            reason = f"Numba is installed but does not import ({type(error).__name__}: {error})"
            return Availability.refused(BackendImportError, reason, "pip install --upgrade numba", error)
        return Availability(True, cpu_name())

    def warm_up(self, dtype: Any = "float64") -> None:
        """Compile every kernel for this dtype, or load it from Numba's cache on disk."""
        W, b, rows = np.ones((3, 3), dtype), np.ones(3, dtype), np.zeros((1, 2), np.int64)
        every = np.ones((2, 3), dtype)
        batch = rows[0]
        sparse = self.dataset(np.zeros((2, 3), dtype), np.zeros(2, np.intp)).batch(batch)[0]
        panels = self._panels.allocate(1, 2, 3, 3, 3, W.dtype)
        for t in (np.zeros(2, np.intp), every):
            for x in (every, sparse):
                z = self.dense(x, W, b, "sigmoid")
                self.loss(self.output(z, "cross_entropy"), t, "cross_entropy")
                delta = self.dense_backward(self.loss_gradient(z, t, "cross_entropy")[1], W, z, "sigmoid")
                self.dense_descent(W, b, x, delta, 0.0)
                self.numerical_gradient(x, t, W, b, W, b, "sigmoid", "cross_entropy", 1e-4)
                counters, samples = np.zeros((1, 3, 2), np.int64), x.samples if isinstance(x, SparseRows) else x
                arguments = counters, np.zeros(1, np.int64), 1, samples, rows, t, 1, W.dtype.type(0), panels, np.empty(1, dtype)
                self._training.sgd_steps(*arguments)
            taken = {id(t): (t, batch)}
            steps = self._fused_numerical(NumericalStep(sparse, t, W, b, W, b, "sigmoid", "cross_entropy", 1e-4, 0.0, taken), batch)
            assert steps is not None
            steps(rows, np.empty(1, dtype))

    def limit_threads(self, multiplications: int) -> AbstractContextManager[Any]:
        """One BLAS thread but for large products: more would wait for work in a busy loop, in the way of the kernels' threads."""
        return super().limit_threads(multiplications if multiplications >= LARGE else 0)

    def dataset(self, x: Array, t: Array) -> Dataset:
        """Compress the samples if most of their values are zero; keep them as they are if not."""
        count = int(np.count_nonzero(x))
        if count > SPARSE_DENSITY * x.size:
            return Dataset(self, x, t)
        return SparseDataset(self, self._compress(x, count), t, x.shape[1])

    def compile(self, step: Callable[..., Array]) -> Callable[[Array, Array], None]:
        """Make all steps in one kernel, if they are what it does with a whole sequence of batches."""
        chosen: Callable[[Array, Array], None] | None = None

        def run(rows: Array, losses: Array) -> None:
            nonlocal chosen
            if len(rows):
                chosen = chosen or self._fused(step, rows[0]) or super(NumbaBackend, self).compile(step)
                chosen(rows, losses)

        return run

    def rehearse(self, step: Callable[..., Array], batch_size: int, dtype: Any) -> None:
        rows = np.zeros((1, batch_size), np.int64)
        if fused := self._fused(step, rows[0]):
            fused(rows, np.empty(1, dtype))
        else:
            super().rehearse(step, batch_size, dtype)

    def _fused(self, step: Callable[..., Array], rows: Array) -> Callable[[Array, Array], None] | None:
        """What makes this step with each of many batches in one kernel, if there is one that does.

        There is for a two-layer network trained on the cross-entropy: by backpropagation, up to
        where the BLAS is as fast, and on compressed samples by the numerical gradient.
        """
        calls = self._recorder.record(lambda: step(rows)) or []
        if numerical := numerical_step(calls):
            return self._fused_numerical(numerical, rows)
        found = two_layer_step(calls)
        if found is None:
            return None
        x, W1, b1, W2, b2 = found.x, found.W1, found.b1, found.W2, found.b2
        samples, x_rows = (x.samples, x.rows) if isinstance(x, SparseRows) else found.taken.get(id(x), (None, None))
        targets, t_rows = found.taken.get(id(found.t), (None, None))
        work = self._multiplications(x, W1)
        known = (
            x_rows is rows
            and t_rows is rows
            and found.loss == "cross_entropy"
            and W2.size <= LARGEST_FUSED_OUTPUT
            and (isinstance(x, SparseRows) or work <= LARGEST_FUSED_PRODUCT)
        )
        if not known:
            return None
        training, code = self._training, self._codes[found.activation]
        threads = max(1, min(self._pool.size, work // FUSED_GRAIN, W1.shape[1], len(rows)))
        panels = self._panels.allocate(threads, len(rows), *W1.shape, W2.shape[1], W1.dtype)
        at_a_time = max(1, INTERRUPTIBLE // max(work, 1))
        rate = W1.dtype.type(found.learning_rate)

        def run(rows: Array, losses: Array) -> None:
            self._panels.enter(panels, W1, b1, W2, b2)
            for start in range(0, len(rows), at_a_time):
                batches, values = rows[start : start + at_a_time], losses[start : start + at_a_time]
                counters = np.zeros((len(batches), 3, 1 + len(panels.W1)), np.int64), np.zeros(1, np.int64)
                arguments = (*counters, threads, samples, batches, targets, code, rate, panels, values)
                self._pool.run(partial(training.sgd_steps, *arguments), threads)
            self._panels.leave(panels, W1, b1, W2, b2)

        return run

    def _fused_numerical(self, found: NumericalStep, rows: Array) -> Callable[[Array, Array], None] | None:
        x, parameters = found.x, (found.W1, found.b1, found.W2, found.b2)
        labels, t_rows = found.taken.get(id(found.t), (None, None))
        known = (
            isinstance(x, SparseRows)
            and x.rows is rows
            and t_rows is rows
            and found.loss == "cross_entropy"
            and all(p.flags.c_contiguous for p in parameters)
        )
        if not known:
            return None
        W1, W2 = found.W1, found.W2
        kernel, parts = self._incremental_training.descent_steps, self._perturbation_parts(x, W1)
        work = self._memory.workspace(len(rows), *W1.shape, W2.shape[1], W1.dtype, parts)
        gradients = tuple(np.empty_like(p) for p in parameters)
        modes = self._codes[found.activation], True
        most = len(rows) * (1 if labels.ndim == 1 else labels.shape[1])
        targets = np.zeros(len(rows) + 1, np.intp), np.empty(most, np.intp), np.empty(most)
        rate, at_a_time = W1.dtype.type(found.learning_rate), max(1, INTERRUPTIBLE // (8 * self._multiplications(x, W1) + 1))

        def run(rows: Array, losses: Array) -> None:
            for start in range(0, len(rows), at_a_time):
                batches, values = rows[start : start + at_a_time], losses[start : start + at_a_time]
                counters = np.zeros((len(batches), 3, 2), np.int64)
                data = counters, parts, x.samples, batches, *parameters, labels, targets, np.empty((0, 0))
                self._pool.run(partial(kernel, *data, float(found.h), modes, rate, work, gradients, values), parts)

        return run

    def _compress(self, x: Array, count: int) -> tuple[Array, Array, Array]:
        """The values of x that are not zero, of which there are at most `count`."""
        # Indices are unsigned: a signed one might be negative, and the kernels would have to ask.
        samples = np.empty(len(x) + 1, np.intp), np.empty(count + 1, np.uint32), np.empty(count + 1, x.dtype)
        self._compression.compress(x, *samples)
        indptr, indices, values = samples
        return indptr, indices[: indptr[-1]], values[: indptr[-1]]

    # -- operations ----------------------------------------------------------------------------------------------------

    def dense(self, x: Array, W: Array, b: Array, activation: str = "identity", *, out: Array | None = None) -> Array:
        code = self._codes[activation]
        if not isinstance(x, SparseRows):
            out = self._product(x, W, out=out)
            self._layers.add_bias_and_activate(out, b, code)
            return out
        out = np.empty((len(x.rows), W.shape[1]), W.dtype) if out is None else out
        self._share(self._layers.sparse_dense, self._parts(x, W, SPARSE_GRAIN), x.samples, x.rows, W, b, code, out)
        return out

    def output(self, logits: Array, loss: str, *, out: Array | None = None) -> Array:
        if loss != "cross_entropy":
            return super().output(logits, loss, out=out)
        out = np.empty_like(logits) if out is None else out
        self._softmax.softmax(logits, out)
        return out

    def loss(self, y: Array, t: Array, loss: str) -> Array:
        if loss != "cross_entropy":
            return super().loss(y, t, loss)
        kernel = self._softmax.cross_entropy_of_labels if t.ndim == 1 else self._softmax.cross_entropy_of_targets
        return y.dtype.type(kernel(y, t))

    def loss_gradient(self, logits: Array, t: Array, loss: str, *, out: Array | None = None) -> tuple[Array, Array]:
        if loss != "cross_entropy":
            return super().loss_gradient(logits, t, loss, out=out)
        out = np.empty_like(logits) if out is None else out
        kernels = self._softmax
        kernel = kernels.softmax_cross_entropy_of_labels if t.ndim == 1 else kernels.softmax_cross_entropy_of_targets
        return logits.dtype.type(kernel(logits, t, out)), out

    def dense_backward(self, delta: Array, W: Array, z: Array, activation: str, *, out: Array | None = None) -> Array:
        out = self._product(delta, W.T, out=out)
        if activation != "identity":
            self._layers.multiply_by_derivative(z, self._codes[activation], out)
        return out

    def dense_gradient(self, x: Array, delta: Array) -> tuple[Array, Array]:
        if not isinstance(x, SparseRows):
            return super().dense_gradient(x, delta)
        dW, db = np.zeros((x.features, delta.shape[1]), delta.dtype), np.zeros(delta.shape[1], delta.dtype)
        self.dense_descent(dW, db, x, delta, -1.0)
        return dW, db

    def dense_descent(self, W: Array, b: Array, x: Array, delta: Array, learning_rate: float, *, out: Array | None = None) -> None:
        if not isinstance(x, SparseRows):
            super().dense_descent(W, b, x, delta, learning_rate, out=out)
            return
        rate = W.dtype.type(learning_rate)
        self._share(self._layers.sparse_descent, self._parts(x, W, SPARSE_GRAIN), x.samples, x.rows, delta, rate, W)
        self._layers.bias_descent(delta, rate, b)

    def numerical_gradient(
        self, x: Array, t: Array, W1: Array, b1: Array, W2: Array, b2: Array, activation: str, loss: str, h: float
    ) -> tuple[Array, tuple[Array, Array, Array, Array]]:
        x = x if isinstance(x, SparseRows) else SparseRows(self._compress(x, x.size), np.arange(len(x)), x.shape[1])
        cross_entropy = loss == "cross_entropy"
        targets, values = _targets(t, W2.shape[1], cross_entropy)
        gradients = np.empty_like(W1), np.empty_like(b1), np.empty_like(W2), np.empty_like(b2)
        samples, rows = x.samples, x.rows
        modes = self._codes[activation], cross_entropy
        parts = self._perturbation_parts(x, W1)
        work = self._memory.workspace(len(rows), *W1.shape, W2.shape[1], W1.dtype, parts)
        arguments = np.zeros((3, 2), np.int64), parts, samples, rows, W1, b1, W2, b2, targets, values, h, modes, work, gradients
        self._pool.run(lambda: self._incremental.differences(*arguments), parts)
        return W1.dtype.type(work.losses.sum()), gradients

    def _share(self, kernel: Any, parts: int, *arguments: Any) -> None:
        """Call a kernel whose work is cut into `parts`, on several threads if there are several."""
        counters = np.zeros(2, np.int64)
        self._pool.run(lambda: kernel(counters, parts, *arguments), parts)

    def _parts(self, x: SparseRows, W: Array, grain: int) -> int:
        """In how many parts to cut what takes one operation for each value of x and column of W: one if threads do not pay."""
        if self._pool.size == 1:
            return 1
        return min(max(self._multiplications(x, W) // grain, 1), 4 * self._pool.size)

    def _perturbation_parts(self, x: SparseRows, W: Array) -> int:
        return min(self._parts(x, W, PERTURBATION_GRAIN), self._pool.size)

    @staticmethod
    def _multiplications(x: Array | SparseRows, W: Array) -> int:
        """How many there are in x·W, as if all rows were like the average row."""
        if not isinstance(x, SparseRows):
            return x.size * W.shape[1]
        indptr, indices, _ = x.samples
        return len(x.rows) * len(indices) // (len(indptr) - 1) * W.shape[1]


def _targets(t: Array, outputs: int, cross_entropy: bool) -> tuple[tuple[Array, Array, Array], Array]:
    """The non-zero targets sample by sample, (start, classes, weights), and for the squared error all of them."""
    if not cross_entropy:
        return _targets(np.zeros(0, np.intp), outputs, True)[0], one_hot(t, outputs, np.dtype(np.float64)).astype(np.float64)
    if t.ndim == 1:
        return (np.arange(len(t) + 1), t, np.ones(len(t))), np.empty((0, 0))
    rows, classes = np.nonzero(t)
    return (np.searchsorted(rows, np.arange(len(t) + 1)), classes, t[rows, classes].astype(np.float64)), np.empty((0, 0))
