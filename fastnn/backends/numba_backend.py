"""The Numba backend: compiled kernels on the CPU for the operations where array calls spend their time on overhead."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from ..errors import BackendImportError, BackendNotInstalledError
from ..functions import one_hot
from ..validation import Array
from .base import Availability, Backend
from .numpy_backend import cpu_name


class NumbaBackend(Backend):
    """Array operations of NumPy, with Numba kernels in place of those that train the book's network."""

    name = "numba"
    xp = np

    def __init__(self) -> None:
        from . import numba_kernels, numba_numerical_gradient, numba_threads  # imports Numba, which takes half a second

        self._kernels = numba_kernels
        self._incremental = numba_numerical_gradient
        self._team = numba_threads.team

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
        x = np.ones((2, 3), dtype)
        for t in (np.zeros(2, np.intp), np.ones((2, 3), dtype)):
            logits = self.dense(x, np.ones((3, 3), dtype), x[0].copy(), "tanh")
            self.loss(self.output(logits, "cross_entropy"), t, "cross_entropy")

    def dense(self, x: Array, W: Array, b: Array, activation: str = "identity", *, out: Array | None = None) -> Array:
        out = np.empty((x.shape[0], W.shape[1]), W.dtype) if out is None else out
        self._kernels.dense(x, W, b, self._kernels.ACTIVATION_CODES[activation], out)
        return out

    def output(self, logits: Array, loss: str, *, out: Array | None = None) -> Array:
        if loss != "cross_entropy":
            return super().output(logits, loss, out=out)
        out = np.empty_like(logits) if out is None else out
        self._kernels.softmax(logits, out)
        return out

    def loss(self, y: Array, t: Array, loss: str) -> Array:
        if loss != "cross_entropy":
            return super().loss(y, t, loss)
        kernel = self._kernels.cross_entropy_labels if t.ndim == 1 else self._kernels.cross_entropy_targets
        return y.dtype.type(kernel(y, t))

    def numerical_gradient(
        self, x: Array, t: Array, W1: Array, b1: Array, W2: Array, b2: Array, activation: str, loss: str, h: float
    ) -> tuple[Array, tuple[Array, Array, Array, Array]]:
        kernels = self._incremental
        batch, rows = _compressed(kernels, x)
        cross_entropy = loss == "cross_entropy"
        targets, values = _targets(t, W2.shape[1], cross_entropy)
        gradients = np.empty_like(W1), np.empty_like(b1), np.empty_like(W2), np.empty_like(b2)
        # A perturbation of one unit takes about 3 ns, and starting a second thread some µs.
        perturbations = len(batch[1]) * W1.shape[1]
        with self._team(max(1, perturbations // 20_000)) as threads:
            kernel = kernels.serial if threads == 1 else kernels.parallel
            work = kernels.workspace(len(rows), *W1.shape, W2.shape[1], W1.dtype, threads)
            modes = kernels.ACTIVATION_CODES[activation], cross_entropy
            value = kernel(batch, rows, W1, b1, W2, b2, targets, values, h, modes, threads, work, gradients)
        return W1.dtype.type(value), gradients


def _compressed(kernels: Any, x: Array) -> tuple[tuple[Array, Array, Array], Array]:
    """The non-zero values of samples row by row, and the numbers of all the rows."""
    batch = np.empty(len(x) + 1, np.intp), np.empty(x.size + 1, np.int32), np.empty(x.size + 1, x.dtype)
    kernels.compress(x, *batch)
    indptr, indices, values = batch
    return (indptr, indices[: indptr[-1]], values[: indptr[-1]]), np.arange(len(x))


def _targets(t: Array, outputs: int, cross_entropy: bool) -> tuple[tuple[Array, Array, Array], Array]:
    """The non-zero targets sample by sample, (start, classes, weights), and for the squared error all of them."""
    if not cross_entropy:
        return _targets(np.zeros(0, np.intp), outputs, True)[0], one_hot(t, outputs, np.dtype(np.float64)).astype(
            np.float64, copy=False
        )
    if t.ndim == 1:
        return (np.arange(len(t) + 1), t, np.ones(len(t))), np.empty((0, 0))
    rows, classes = np.nonzero(t)
    return (np.searchsorted(rows, np.arange(len(t) + 1)), classes, t[rows, classes].astype(np.float64)), np.empty((0, 0))
