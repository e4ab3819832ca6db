"""The Numba backend: compiled kernels on the CPU for the operations where array calls spend their time on overhead."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from ..errors import BackendImportError, BackendNotInstalledError
from ..validation import Array
from .base import Availability, Backend
from .numpy_backend import cpu_name


class NumbaBackend(Backend):
    """Array operations of NumPy, with Numba kernels in place of those that train the book's network."""

    name = "numba"
    xp = np

    def __init__(self) -> None:
        from . import numba_kernels  # imports Numba, which takes half a second

        self._kernels = numba_kernels

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
