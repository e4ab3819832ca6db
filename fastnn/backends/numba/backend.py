"""The Numba backend: compiled kernels on the CPU where array operations waste time.

They spend it there on zeros, overhead or temporaries.

Products of dense matrices are left to the BLAS, which nothing compiled here would beat; what
surrounds them is fused into one pass. Samples that are mostly zeros are compressed when they enter
(:meth:`NumbaBackend.kept_samples`), and a batch of them goes through kernels that read only what is
not zero. What each override can do stands in :data:`fastnn.backends.numba.support.SUPPORT`.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from contextvars import copy_context
from functools import cache
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...errors import BackendImportError, BackendNotInstalledError
from ...streams import Stream
from ...validation import Array, float_dtype
from .. import processor
from ..base import Availability, Dataset, Runner, TrainingStep
from ..numpy import NumpyBackend
from ..support import supported
from . import compressing, training
from .linking import kinds, pointers_of
from .samples import SparseDataset, SparseRows, nonzero_targets, sparse_rows, with_all_values
from .support import (
    FEW_MULTIPLICATIONS,
    PERTURBATION_GRAIN,
    SPARSE_GRAIN,
    SUPPORT,
    cut,
    multiplications,
    shared_rows,
    stage_counters,
)
from .threads import WorkerPool


class NumbaBackend(NumpyBackend):
    """Array operations of NumPy, with Numba kernels for those that train the book's network.

    Parameters
    ----------
    threads : int, optional
        How many threads the kernels use at most; by default what ``NUMBA_NUM_THREADS`` says, but no
        more than there are cores, or than a container has processor time for.
    """

    name = "numba"
    #: What is compressed stays in the cache until it is read.
    rows_at_a_time = 1000

    def __init__(self, threads: int | None = None) -> None:
        super().__init__(threads)
        import numba  # takes half a second, as do the kernels that import it

        self.kernels = _kernels()
        self._codes: dict[str, int] = self.kernels.activations.ACTIVATION_CODES
        available = int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
        # Of more than there are processors for each waits for others that are not running.
        most = min(available, processor.cores())
        self.pool = WorkerPool(most if self.threads is None else self.threads)
        of = self.kernels.numerical_gradient
        self._pointers = pointers_of(of.differences, of.all_stages_of, self.pool.size)

    @classmethod
    def probe(cls) -> Availability:
        if importlib.util.find_spec("numba") is None:
            return Availability.refused(
                BackendNotInstalledError, "Numba is not installed", "pip install numba"
            )
        try:
            import numba  # noqa: F401
        except Exception as error:  # for example a NumPy newer than this Numba knows
            reason = f"Numba is installed but does not import ({type(error).__name__}: {error})"
            return Availability.refused(
                BackendImportError, reason, "pip install --upgrade numba", error
            )
        return Availability(True, processor.cpu_name())

    def warm_up(self, dtype: Any = "float64") -> None:
        """Compile every kernel for this dtype, or load it from Numba's cache on disk.

        Where something is to be compiled, other processes help: as many altogether as there are
        threads, up to four.
        """
        from .warming import compile_all  # with the compiler

        compile_all(self, float_dtype(dtype), self.pool.size)

    def limit_threads(self, multiplications: int) -> AbstractContextManager[Any]:
        """One BLAS thread but for large products.

        More would wait for work in a busy loop, in the way of the kernels' threads.
        """
        large = multiplications >= processor.LARGE
        return super().limit_threads(multiplications) if large else processor.threads_that_pay(0)

    def each(
        self, function: Callable[[Any], Any], items: Sequence[Any], x: Array | Stream
    ) -> list[Any]:
        if compressing.pays(self.kernels, x):
            context = copy_context()  # of the caller: what NumPy warns of, for example
            return self.pool.map(lambda item: context.copy().run(function, item), items)
        return super().each(function, items, x)  # the BLAS has threads of its own

    def sparse_samples(self, a: Any, dtype: Any, *, name: str = "x") -> SparseRows:
        return sparse_rows(a, dtype, name)

    def samples(self, x: Array, dtype: np.dtype) -> SparseRows | None:
        return compressing.for_one_call(self.kernels, x, dtype)

    def kept_samples(self, x: Array, dtype: np.dtype) -> SparseRows | None:
        return compressing.for_many_calls(self.kernels, self.pool, x, dtype)

    def collected(self, x: Stream, dtype: np.dtype) -> Any:
        found = compressing.in_pieces(self.kernels, self.pool, x, dtype)
        return super().collected(x, dtype) if found is None else found

    def dataset(self, x: Array, t: Array) -> Dataset:
        t = t.copy() if t.ndim == 1 else t  # the kernels index with labels
        return (SparseDataset if isinstance(x, SparseRows) else Dataset)(self, x, t)

    def runner(self, step: TrainingStep) -> Runner | None:
        """Make all steps in one kernel, if there is one: :mod:`fastnn.backends.numba.training`."""
        return (
            training.runner(self.kernels, self.pool, step)
            if self.computes_as(NumbaBackend)
            else None
        )

    # -- one pass where NumPy makes two, or writes an array of bools -----------------------------

    def largest(self, a: Array) -> float:
        return self.kernels.magnitude.largest(a.reshape(-1))  # in any order

    def all_finite(self, a: Array) -> bool:
        return math.isfinite(self.largest(a))

    # -- operations --------------------------------------------------------------------------------

    @supported(SUPPORT["dense"])
    def dense(
        self,
        x: Array,
        W: Array,
        b: Array,
        activation: str = "identity",
        *,
        out: Array | None = None,
    ) -> Array:
        code = self._codes[activation]
        if not isinstance(x, SparseRows):
            out = self._product(x, W, out=out)
            self.kernels.layers.add_bias_and_activate(out, b, code)
            return out
        out = np.empty((len(x.rows), W.shape[1]), W.dtype) if out is None else out
        self._share(self.kernels.layers.sparse_dense, x, W, W, b, code, out)
        return out

    @supported(SUPPORT["output"])
    def output(self, logits: Array, loss: str, *, out: Array | None = None) -> Array:
        out = np.empty_like(logits, order="C") if out is None else out
        self.kernels.softmax.softmax(logits, out)
        return out

    @supported(SUPPORT["two_layer_output"], composed=True)
    def two_layer_output(
        self, x: Array, W1: Array, b1: Array, W2: Array, b2: Array, activation: str, loss: str
    ) -> Array:
        few = type(x) is np.ndarray and x.shape[0] * W1.size <= FEW_MULTIPLICATIONS
        few = few and x.flags.c_contiguous
        if not few or self._changes(NumbaBackend, "dense", "output"):
            return super().two_layer_output(x, W1, b1, W2, b2, activation, loss)
        out = np.empty((x.shape[0], b2.size), x.dtype)
        code = self._codes[activation]
        self.kernels.prediction.probabilities(x, W1, b1, W2, b2, code, out)
        return out

    @supported(SUPPORT["loss"])
    def loss(self, y: Array, t: Array, loss: str) -> Array:
        softmax = self.kernels.softmax
        kernel = (
            softmax.cross_entropy_of_labels if t.ndim == 1 else softmax.cross_entropy_of_targets
        )
        return y.dtype.type(kernel(y, t))

    @supported(SUPPORT["loss_gradient"])
    def loss_gradient(
        self, logits: Array, t: Array, loss: str, *, out: Array | None = None
    ) -> tuple[Array, Array]:
        out = np.empty_like(logits, order="C") if out is None else out
        softmax = self.kernels.softmax
        labels = t.ndim == 1
        kernel = (
            softmax.softmax_cross_entropy_of_labels
            if labels
            else softmax.softmax_cross_entropy_of_targets
        )
        return logits.dtype.type(kernel(logits, t, out)), out

    @supported(SUPPORT["dense_backward"])
    def dense_backward(
        self, delta: Array, W: Array, z: Array, activation: str, *, out: Array | None = None
    ) -> Array:
        out = self._product(delta, W.T, out=out)
        if activation != "identity":
            self.kernels.layers.multiply_by_derivative(z, self._codes[activation], out)
        return out

    @supported(SUPPORT["dense_gradient"])
    def dense_gradient(self, x: Array, delta: Array) -> tuple[Array, Array]:
        if not isinstance(x, SparseRows):
            return super().dense_gradient(x, delta)
        dW = np.empty((x.features, delta.shape[1]), delta.dtype)
        db = np.zeros(delta.shape[1], delta.dtype)
        self._descend(x, delta, -1.0, dW, db, fresh=True)
        return dW, db

    @supported(SUPPORT["dense_descent"])
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
        if not isinstance(x, SparseRows):
            super().dense_descent(W, b, x, delta, learning_rate, out=out)
            return
        self._descend(x, delta, learning_rate, W, b)

    @supported(SUPPORT["numerical_gradient"])
    def numerical_gradient(
        self,
        x: Array,
        t: Array,
        W1: Array,
        b1: Array,
        W2: Array,
        b2: Array,
        activation: str,
        loss: str,
        h: float,
    ) -> tuple[Array, tuple[Array, Array, Array, Array]]:
        if isinstance(x, SparseRows):
            dense = np.empty((0, 0), W1.dtype)
        else:
            # Of an array of another kind the kernels would be compiled once more.
            dense = np.require(x, W1.dtype, ["C", "A", "W"])
            x = with_all_values(dense)
        cross_entropy = loss == "cross_entropy"
        targets, residuals = nonzero_targets(t, W2.shape[1], cross_entropy)
        parameters = [np.ascontiguousarray(p) for p in (W1, b1, W2, b2)]
        dW1, db1, dW2, db2 = (np.empty(p.shape, p.dtype) for p in parameters)
        gradients = dW1, db1, dW2, db2
        work = multiplications(x, W1.shape[1])
        parts = cut(work, PERTURBATION_GRAIN, self.pool.size)
        sizes = len(x.rows), *W1.shape, W2.shape[1], W1.dtype, parts, 1, dense.size > 0
        memory = self.kernels.workspace.borrow(*sizes)
        numbers = np.arange(len(x.rows), dtype=np.uint64)
        modes = self._codes[activation], cross_entropy
        rest = targets, residuals, float(h), modes, numbers, memory
        data = x.samples, x.rows, dense, *parameters
        counters = stage_counters(1, 3, self.kernels.numerical_gradient.BLOCKS * parts)[0]
        given = counters, parts, *data, *rest, gradients
        kind = kinds((*data, targets, residuals)), W1.shape[1], dense.size > 0
        of_stages = dense, parameters[1], x.samples, x.rows, parameters[3], *rest
        stages = self._pointers(kind, given, of_stages)
        self.pool.run(self.kernels.numerical_gradient.differences, (*given, stages), parts)
        value = W1.dtype.type(np.add.reduce(memory.losses))
        self.kernels.workspace.give_back(memory, *sizes)
        return value, gradients

    def _descend(
        self, x: SparseRows, delta: Array, rate: float, W: Array, b: Array, *, fresh: bool = False
    ) -> None:
        """What `dense_descent` does on compressed samples; a W that is fresh counts as zero."""
        rate = W.dtype.type(rate)
        self._share(self.kernels.layers.sparse_descent, x, W, delta, rate, fresh, W)
        self.kernels.layers.bias_descent(delta, rate, b)

    def _share(self, kernel: Any, x: SparseRows, W: Array, *arguments: Any) -> None:
        """Call a kernel with compressed samples; on several threads, if that pays for `W`."""
        work, size = multiplications(x, W.shape[1]), self.pool.size
        parts = 1 if size == 1 else cut(work, SPARSE_GRAIN, 4 * size)
        threads = min(parts, size)
        self.pool.run(kernel, shared_rows(threads, parts, x, *arguments), threads)


#: The modules of compiled code that are used here and in `training`.
_KERNELS = (
    *("activations", "backprop_steps", "compression", "helpers", "layers", "magnitude"),
    *("numerical_gradient", "numerical_steps", "objectives", "panels", "pointers", "prediction"),
    *("rules", "softmax", "sorted_products", "workspace"),
)


@cache
def _kernels() -> SimpleNamespace:
    """The modules of compiled code, by name."""
    # Numba imports it with its first kernel. In a worker, which is kept off a processor, the BLAS
    # of SciPy would count one processor less, for good.
    with suppress(ImportError):
        import_module("scipy.linalg.cython_blas")
    return SimpleNamespace(
        **{name: import_module(f".kernels.{name}", __package__) for name in _KERNELS}
    )
